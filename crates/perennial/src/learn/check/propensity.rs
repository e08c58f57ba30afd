//! Answers to cases of propensity: the quality on fixed folds, untuned.

use perennial_learn::calibrate::{auc, brier, log_loss};
use perennial_learn::propensity;
use perennial_learn::table::{Column, Table};
use serde_json::{Value, json};

use super::{Desk, say, text};

/// Answers one case over the first column of folds: the mean of each measure over the folds left out.
pub(super) fn answer(desk: &Desk, input: &Value) -> Result<Value, String> {
    let (data, folds) = (desk.table(text(input, "file")?)?, desk.table(text(input, "folds")?)?);
    let (Some(last), Some(fold)) = (data.columns.len().checked_sub(1), folds.columns.get(1)) else {
        return Err("the table or its folds have too few columns".into());
    };
    let label: Vec<bool> = data.columns[last].iter().map(|t| t == "Yes" || t == "1").collect();
    if fold.len() != label.len() {
        return Err(format!("{} folds for {} rows", fold.len(), label.len()));
    }
    let column = |at: usize| {
        let texts: Vec<&str> = data.columns[at].iter().map(String::as_str).collect();
        Column::from_text(&data.header[at], &texts)
    };
    let table = Table::new((1..last).map(column).collect()).map_err(say)?;
    let mut names = fold.clone();
    names.sort();
    names.dedup();
    let mut sums = [0.0; 3];
    for name in &names {
        let one = left_out(&table, &label, |row| fold[row] == *name)?;
        sums.iter_mut().zip(one).for_each(|(sum, value)| *sum += value);
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful of folds")]
    let [a, l, b] = sums.map(|sum| sum / names.len() as f64);
    Ok(json!({ "info_best_auc": a, "auc_mean": a, "logloss": l, "brier": b, "folds": names.len() }))
}

/// AUC, logarithmic loss and Brier score on the rows that `out` names.
fn left_out(table: &Table, label: &[bool], out: impl Fn(usize) -> bool) -> Result<[f64; 3], String> {
    let (test, train): (Vec<usize>, Vec<usize>) = (0..label.len()).partition(|&row| out(row));
    let pick = |rows: &[usize]| rows.iter().map(|&row| label[row]).collect::<Vec<bool>>();
    let trained = propensity::fit(&table.take(&train).map_err(say)?, &pick(&train), 1).map_err(say)?;
    let told = trained.model.probabilities(&table.take(&test).map_err(say)?).map_err(say)?;
    let truth = pick(&test);
    Ok([auc(&told, &truth).map_err(say)?, log_loss(&told, &truth).map_err(say)?, brier(&told, &truth).map_err(say)?])
}
