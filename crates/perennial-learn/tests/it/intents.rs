//! What support questions ask for, on the questions of banking77 (Casanueva et al. 2020; CC BY 4.0).

use perennial_learn::sentiment::{Classifier, Lexicon};
use std::path::PathBuf;

type Questions = Vec<(String, String)>;

fn questions(file: PathBuf) -> Questions {
    let file = flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap());
    let rows = csv::Reader::from_reader(file).into_records().map(Result::unwrap);
    rows.map(|row| (row[0].to_owned(), row[1].to_owned())).collect()
}

/// Half of the questions to learn from are enough to tell the 77 intents apart, at half the time.
#[test]
#[ignore = "needs PERENNIAL_SHARED, the folder that holds data/banking77"]
fn intents_of_unseen_questions_are_told() {
    let shared = std::env::var_os("PERENNIAL_SHARED").map(PathBuf::from);
    let folder = shared.expect("PERENNIAL_SHARED names the folder that holds data").join("data/banking77");
    let (known, unseen) = (questions(folder.join("train.csv.gz")), questions(folder.join("test.csv.gz")));
    let (texts, labels): (Vec<&str>, Vec<&str>) =
        known.iter().step_by(2).map(|(text, intent)| (text.as_str(), intent.as_str())).unzip();
    let model = Classifier::train(&texts, &labels, 1).unwrap();
    assert_eq!(model.labels.len(), 77);
    let lexicon = Lexicon::new();
    let asked: Questions = unseen.into_iter().step_by(4).collect();
    let right =
        asked.iter().filter(|(text, intent)| model.labels[model.predict(text, &lexicon).label] == *intent).count();
    let share = f64::from(u32::try_from(right).unwrap()) / f64::from(u32::try_from(asked.len()).unwrap());
    assert!(share > 0.86, "{share:.4} of {} right", asked.len());
}
