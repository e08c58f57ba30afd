//! Propensities on fixed folds against what common tools reach.

use std::path::Path;

use perennial_learn::{
    calibrate::{auc, brier, log_loss},
    propensity,
    table::{Column, Table},
};
use serde_json::{Value, json};

use crate::reference::{load, shared};

/// What the AUC may fall short of the best tool's: a fifth of its spread between folds.
const NOISE: f64 = 0.002;

#[test]
fn untuned_propensities_reach_the_best_tool() {
    let Some(shared) = shared() else { return };
    let file = load(&shared.join("reference/propensity.json"));
    for case in file["cases"].as_array().expect("a list of cases") {
        let told = evaluate(&case["input"], &shared.join("data"), 1);
        let best = case["expected"]["info_best_auc"].as_f64().expect("a figure");
        let reached = told["auc_mean"].as_f64().expect("a figure");
        println!("{}: {told}, best tool {best:.5}", case["id"]);
        assert!(reached > best - NOISE, "AUC {reached} against {best}");
    }
}

/// One case of kind `propensity.quality` over the first `repeats` columns of folds.
fn evaluate(input: &Value, data: &Path, repeats: usize) -> Value {
    let path = |key: &str| data.join(input[key].as_str().expect("a file name"));
    let (columns, folds) = (read(&path("file")), read(&path("folds")));
    let label: Vec<bool> = columns[columns.len() - 1].1.iter().map(|t| t == "Yes").collect();
    let kept = columns[1..columns.len() - 1].iter();
    let column = |(name, texts): &(String, Vec<String>)| {
        Column::from_text(name, &texts.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let table = Table::new(kept.map(column).collect()).expect("a table");
    let (mut aucs, mut losses, mut briers) = (vec![], vec![], vec![]);
    for (_, fold) in folds.iter().skip(1).take(repeats) {
        for k in ["0", "1", "2", "3", "4"] {
            let (test, train): (Vec<usize>, Vec<usize>) = (0..label.len()).partition(|&i| fold[i] == k);
            let pick = |rows: &[usize]| rows.iter().map(|&i| label[i]).collect::<Vec<bool>>();
            let trained = propensity::fit(&table.take(&train).expect("rows"), &pick(&train), 1).expect("a model");
            let told = trained.model.probabilities(&table.take(&test).expect("rows")).expect("the same columns");
            let truth = pick(&test);
            aucs.push(auc(&told, &truth).expect("both outcomes"));
            losses.push(log_loss(&told, &truth).expect("both outcomes"));
            briers.push(brier(&told, &truth).expect("both outcomes"));
        }
    }
    let mean = |v: &[f64]| v.iter().sum::<f64>() / f64::from(u32::try_from(v.len()).unwrap_or(1));
    json!({ "auc_mean": mean(&aucs), "logloss": mean(&losses), "brier": mean(&briers) })
}

/// The columns of a CSV file as texts.
fn read(path: &Path) -> Vec<(String, Vec<String>)> {
    let mut reader = csv::Reader::from_path(path).expect("a table");
    let names = reader.headers().expect("a header").clone();
    let mut columns: Vec<(String, Vec<String>)> = names.iter().map(|n| (n.into(), vec![])).collect();
    for row in reader.records() {
        columns.iter_mut().zip(row.expect("a row").iter()).for_each(|(c, text)| c.1.push(text.into()));
    }
    columns
}
