//! Measures sentiment: accuracy and speed of the lexicon, five-fold accuracy of the trained
//! classifier, accuracy of intents on a test set.
//!
//! usage: `sentiment_bench DATA [--write MODEL.bin]`; the second writes the model that ships with the
//! crate, learnt from all sentences. DATA holds `sentiment/*.txt` (sentence TAB 0 or 1) and, for
//! intents, `banking77/train.csv.gz` and `banking77/test.csv.gz` (text, category)

#![expect(clippy::cast_precision_loss, reason = "counts of rounds and rows are small")]

use perennial_learn::seed::{below, generator};
use perennial_learn::sentiment::{Classifier, Lexicon};
use std::path::Path;

#[path = "common/mod.rs"]
mod common;
use common::timed;

/// How often the lexicon reads all sentences, so that its time can be measured.
const TIMES: usize = 100;

type Labelled = Vec<(String, String)>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = std::env::args().nth(1).ok_or("usage: sentiment_bench DATA")?;
    let data = Path::new(&data);
    let lexicon = Lexicon::new();
    let mut all = Labelled::new();
    for name in ["amazon_cells", "yelp", "imdb"] {
        let Ok(bytes) = std::fs::read(data.join(format!("sentiment/{name}.txt"))) else {
            continue;
        };
        let rows: Labelled = String::from_utf8_lossy(&bytes)
            .lines()
            .filter_map(|l| l.rsplit_once('\t'))
            .map(|(t, y)| (t.trim().to_owned(), y.trim().to_owned()))
            .collect();
        let right = rows.iter().filter(|(t, y)| (lexicon.score(t).compound > 0.0) == (y == "1")).count();
        println!("{name}: {} sentences, lexicon (> 0) right in {:.4}", rows.len(), right as f64 / rows.len() as f64);
        all.extend(rows);
    }
    let (_, seconds) = timed("lexicon", || {
        (0..TIMES).map(|_| all.iter().map(|(t, _)| lexicon.score(t).compound).sum::<f64>()).sum::<f64>()
    });
    println!("  {:.0} sentences per CPU second", (all.len() * TIMES) as f64 / seconds);
    timed("classifier, five folds", || {
        println!("  five-fold accuracy {:.4}", five_folds(&all, &lexicon, usize::MAX));
    });
    timed("shipped size, five folds", || println!("  accuracy {:.4}", five_folds(&all, &lexicon, SHIPPED_PIECES)));
    if let [.., flag, path] = std::env::args().collect::<Vec<_>>().as_slice()
        && flag == "--write"
    {
        let named: Labelled =
            all.iter().map(|(t, y)| (t.clone(), if y == "1" { "positive" } else { "negative" }.into())).collect();
        std::fs::write(path, learn(&named, SHIPPED_PIECES).encode().ok_or("two labels")?)?;
    }
    let read = |name: &str| -> Result<Labelled, Box<dyn std::error::Error>> {
        let file = std::fs::File::open(data.join("banking77").join(name))?;
        let mut reader = csv::Reader::from_reader(flate2::read::GzDecoder::new(file));
        let rows: Result<Vec<csv::StringRecord>, _> = reader.records().collect();
        Ok(rows?.iter().map(|r| (r[0].to_owned(), r[1].to_owned())).collect())
    };
    if let (Ok(train), Ok(test)) = (read("train.csv.gz"), read("test.csv.gz")) {
        let (model, _) = timed("intents, training", || learn(&train, usize::MAX));
        let right = test.iter().filter(|(t, y)| model.labels[model.predict(t, &lexicon).label] == *y).count();
        println!("  {} questions unseen, intent right in {:.4}", test.len(), right as f64 / test.len() as f64);
    }
    Ok(())
}

/// Pieces of text that the shipped model knows.
const SHIPPED_PIECES: usize = 8_000;

fn learn(rows: &[(String, String)], most: usize) -> Classifier {
    let texts: Vec<&str> = rows.iter().map(|r| r.0.as_str()).collect();
    let labels: Vec<&str> = rows.iter().map(|r| r.1.as_str()).collect();
    Classifier::train_small(&texts, &labels, most, 1).expect("labelled texts")
}

fn five_folds(rows: &[(String, String)], lexicon: &Lexicon, most: usize) -> f64 {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let mut rng = generator(0);
    (1..order.len()).rev().for_each(|i| order.swap(i, below(&mut rng, i + 1)));
    // Stratified: within each label, every fifth row of the shuffled order.
    order.sort_by(|&a, &b| rows[a].1.cmp(&rows[b].1));
    let mut right = 0;
    for fold in 0..5 {
        let pick = |test: bool| {
            order
                .iter()
                .enumerate()
                .filter(|(at, _)| (at % 5 == fold) == test)
                .map(|(_, &i)| rows[i].clone())
                .collect::<Labelled>()
        };
        let model = learn(&pick(false), most);
        right += pick(true).iter().filter(|(t, y)| model.labels[model.predict(t, lexicon).label] == *y).count();
    }
    right as f64 / rows.len() as f64
}
