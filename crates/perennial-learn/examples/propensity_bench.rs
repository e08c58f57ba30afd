//! How good untuned propensities are on fixed folds, and how fast they train, in CPU seconds.
//!
//! usage: `cargo run --release -p perennial-learn --example propensity_bench -- DATA.csv FOLDS.csv TARGET [REPEATS]`
//! `FOLDS.csv` has the columns row, r0, r1, ...: the fold of the row in each repeat. The figures are
//! means over the folds left out. The first column named id or customerID is left out.

mod tables;

use std::error::Error;

use perennial_learn::{
    calibrate::{auc, brier, log_loss},
    propensity,
    table::{Column, Table},
};

use tables::timed;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [data, folds, target, rest @ ..] = args.as_slice() else {
        return Err("usage: propensity_bench DATA.csv FOLDS.csv TARGET [REPEATS]".into());
    };
    let (table, label) = read(data, target)?;
    let folds = columns(folds)?;
    let repeats = rest.first().map_or(Ok(folds.len() - 1), |r| r.parse())?;
    let (mut aucs, mut losses, mut briers, mut fits) = (vec![], vec![], vec![], vec![]);
    for (name, fold) in folds.iter().skip(1).take(repeats) {
        for k in 0..5 {
            let part = |inside: bool| -> Vec<usize> {
                (0..label.len()).filter(|&i| (fold[i].parse() == Ok(k)) == inside).collect()
            };
            let (train, test) = (part(false), part(true));
            let pick = |rows: &[usize]| rows.iter().map(|&i| label[i]).collect::<Vec<bool>>();
            let (some, labels) = (table.take(&train)?, pick(&train));
            let (trained, seconds) = timed(3, || propensity::fit(&some, &labels, 1));
            let trained = trained?;
            let (told, truth) = (trained.model.probabilities(&table.take(&test)?)?, pick(&test));
            aucs.push(auc(&told, &truth)?);
            losses.push(log_loss(&told, &truth)?);
            briers.push(brier(&told, &truth)?);
            fits.push(seconds);
            println!("{name} fold {k}: AUC {:.5}\n{}", aucs[aucs.len() - 1], trained.report);
        }
    }
    fits.sort_by(f64::total_cmp);
    println!(
        "AUC {:.5}  log-loss {:.5}  Brier {:.5}  median fit {:.4} s CPU",
        mean(&aucs),
        mean(&losses),
        mean(&briers),
        fits[fits.len() / 2]
    );
    Ok(())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap_or(1))
}

/// A column's name and its texts.
type Texts = (String, Vec<String>);

/// The columns of a CSV file as texts, in order.
fn columns(path: &str) -> Result<Vec<Texts>, Box<dyn Error>> {
    let mut reader = csv::Reader::from_path(path)?;
    let mut columns: Vec<(String, Vec<String>)> = reader.headers()?.iter().map(|h| (h.into(), Vec::new())).collect();
    for row in reader.records() {
        for (column, text) in columns.iter_mut().zip(row?.iter()) {
            column.1.push(text.into());
        }
    }
    Ok(columns)
}

fn read(path: &str, target: &str) -> Result<(Table, Vec<bool>), Box<dyn Error>> {
    let columns = columns(path)?;
    let (_, label) = columns.iter().find(|c| c.0 == target).ok_or("no such target column")?;
    let label = label.iter().map(|t| matches!(t.as_str(), "Yes" | "1" | "True" | "true")).collect();
    let kept = columns.iter().filter(|c| !["id", "customerID", target].contains(&c.0.as_str()));
    let read = kept.map(|(name, texts)| Column::from_text(name, &texts.iter().map(String::as_str).collect::<Vec<_>>()));
    Ok((Table::new(read.collect())?, label))
}
