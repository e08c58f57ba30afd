//! Propensities without settings: give columns and a label, get calibrated probabilities and the
//! reasons for the choice.
//!
//! Boosting and logistic regression are both tried on the same folds; their log-odds are mixed in
//! the proportion that loses least on the rows left out, then calibrated there. Promise: every figure
//! in the report comes from rows that the scores had not seen. Absent on purpose: more than two outcomes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    boosting::{self, Ensemble, Loss, Settings},
    calibrate::{self, Bar, Calibrator},
    input::{self, BadInput, same_length},
    logistic::{self, Logistic},
    seed,
    special::sum_softplus,
    table::{Table, Values, stratified_folds},
};

/// A published model of how likely something is for a customer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Propensity {
    /// Trees, when they have a share.
    pub boosting: Option<Ensemble>,
    /// The linear model, when it has a share.
    pub logistic: Option<Logistic>,
    /// Share of the trees in the log-odds, in [0, 1].
    pub boosting_share: f64,
    /// From log-odds to probability.
    pub calibrator: Calibrator,
}

/// How one candidate did on rows left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Area under the ROC curve.
    pub auc: f64,
    /// Mean logarithmic loss.
    pub log_loss: f64,
    /// Brier score.
    pub brier: f64,
}

/// What was chosen and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Training rows.
    pub rows: usize,
    /// Share of rows where it came true.
    pub base_rate: f64,
    /// Folds the rows were left out in.
    pub folds: usize,
    /// Boosting on rows left out; absent when there were too few rows for it.
    pub boosting: Option<Quality>,
    /// Logistic regression on rows left out.
    pub logistic: Quality,
    /// The mixture, before calibration.
    pub chosen: Quality,
    /// Share of boosting in the mixture.
    pub boosting_share: f64,
    /// Trees per fold.
    pub rounds: usize,
    /// The ridge penalty of the logistic regression.
    pub ridge: f64,
    /// How scores become probabilities, in words.
    pub calibration: String,
    /// Reliability of the scores on rows left out, before calibration, in ten bars.
    pub reliability: Vec<Bar>,
    /// Columns that could not help: constant, or a different name in nearly every row.
    pub ignored: Vec<String>,
}

/// A model with its report.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// What to publish.
    pub model: Propensity,
    /// What to tell.
    pub report: Report,
    /// Calibrated probability of each training row by models that did not see it.
    pub out_of_fold: Vec<f64>,
}

/// Rows of each outcome that are needed at least.
const LEAST_OF_CLASS: usize = 5;
/// Rows below which trees are not tried.
const TREES_FROM: usize = 200;
/// Shares of boosting tried for the mixture, in twentieths.
const SHARES: u32 = 20;

/// Trains on a table and a label, choosing everything by itself.
pub fn fit(table: &Table, label: &[bool], seed: u64) -> Result<Trained, BadInput> {
    same_length("label", label.len(), table.rows())?;
    input::two_classes("label", label)?;
    let ones = label.iter().filter(|&&y| y).count();
    let fewer = ones.min(label.len() - ones);
    if fewer < LEAST_OF_CLASS {
        return Err(BadInput::TooFew { field: "label".into(), found: fewer, needed: LEAST_OF_CLASS });
    }
    let (table, ignored) = useful(table)?;
    let folds = if table.rows() < 1_000 { 5 } else { 3 };
    let class: Vec<usize> = label.iter().map(|&y| usize::from(y)).collect();
    let fold = stratified_folds(&class, folds, seed);
    let linear = logistic::fit(&table, label, &fold)?;
    let target: Vec<f64> = label.iter().map(|&y| f64::from(u8::from(y))).collect();
    let trees = if table.rows() < TREES_FROM {
        None
    } else {
        Some(boosting::fit(&table, &target, Loss::Logistic, &fold, Settings::default(), seed)?)
    };
    let (share, mixed) = match &trees {
        Some(trees) => mix(&trees.out_of_fold, &linear.out_of_fold, label),
        None => (0.0, linear.out_of_fold.clone()),
    };
    let calibrator = calibrate::choose(&mixed, label, &fold)?;
    let probability: Vec<f64> = mixed.iter().map(|&s| Calibrator::AsIs.probability(s)).collect();
    let report = Report {
        rows: table.rows(),
        base_rate: float(ones) / float(label.len()),
        folds,
        boosting: trees.as_ref().map(|t| quality(&t.out_of_fold, label)).transpose()?,
        logistic: quality(&linear.out_of_fold, label)?,
        chosen: quality(&mixed, label)?,
        boosting_share: share,
        rounds: trees.as_ref().map_or(0, |t| t.rounds),
        ridge: linear.ridge,
        calibration: calibrator.name().into(),
        reliability: calibrate::reliability(&probability, label, 10)?,
        ignored,
    };
    let out_of_fold = mixed.iter().map(|&s| calibrator.probability(s)).collect();
    let model = Propensity {
        boosting: trees.map(|t| t.ensemble).filter(|_| share > 0.0),
        logistic: (share < 1.0).then_some(linear.model),
        boosting_share: share,
        calibrator,
    };
    Ok(Trained { model, report, out_of_fold })
}

/// Leaves out columns that are constant or name nearly every row differently.
fn useful(table: &Table) -> Result<(Table, Vec<String>), BadInput> {
    let helps = |values: &Values| match values {
        Values::Numbers(v) => v.iter().any(|x| x.to_bits() != v[0].to_bits()),
        Values::Categories { codes, .. } => {
            let mut sorted = codes.clone();
            sorted.sort_unstable();
            sorted.dedup();
            sorted.len() > 1 && (sorted.len() < 30 || sorted.len() * 2 < codes.len())
        }
    };
    let (kept, ignored): (Vec<_>, Vec<_>) = table.columns().iter().partition(|c| helps(&c.values));
    let names = ignored.into_iter().map(|c| c.name.clone()).collect();
    if kept.is_empty() {
        return Err(BadInput::Constant { field: "columns".into() });
    }
    Ok((Table::new(kept.into_iter().cloned().collect())?, names))
}

/// The share of `trees` in the log-odds that loses least, and the mixture.
fn mix(trees: &[f64], linear: &[f64], label: &[bool]) -> (f64, Vec<f64>) {
    let mixture = |share: f64| trees.iter().zip(linear).map(move |(t, l)| share * t + (1.0 - share) * l);
    let loss = |share: f64| sum_softplus(mixture(share).zip(label).map(|(s, &y)| if y { -s } else { s }));
    // The loss is convex in the share: thirds close in on its minimum.
    let (mut low, mut high) = (0, SHARES);
    let at = |step: u32| f64::from(step) / f64::from(SHARES);
    while high - low > 2 {
        let third = (high - low) / 3;
        let (a, b) = (low + third, high - third);
        if loss(at(a)) <= loss(at(b)) {
            high = b;
        } else {
            low = a;
        }
    }
    let best = (low..=high).map(|s| (loss(at(s)), at(s))).min_by(|a, b| a.0.total_cmp(&b.0));
    let share = best.map_or(0.0, |b| b.1);
    (share, mixture(share).collect())
}

fn quality(score: &[f64], label: &[bool]) -> Result<Quality, BadInput> {
    let probability: Vec<f64> = score.iter().map(|&s| Calibrator::AsIs.probability(s)).collect();
    Ok(Quality {
        auc: calibrate::auc(score, label)?,
        log_loss: calibrate::log_loss(&probability, label)?,
        brier: calibrate::brier(&probability, label)?,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a count of rows")]
fn float(count: usize) -> f64 {
    count as f64
}

impl Propensity {
    /// Calibrated probabilities for the rows of a table; columns are found by name.
    pub fn probabilities(&self, table: &Table) -> Result<Vec<f64>, BadInput> {
        Ok(self.scores(table)?.into_iter().map(|s| self.calibrator.probability(s)).collect())
    }

    /// How much the answers rest on each column: the mean change of a row's probability when the column's values are
    /// dealt anew among the rows (Fisher, Rudin & Dominici 2019), in [0, 1], the largest first. Each column the model
    /// knows is asked about once; a few thousand rows are enough.
    pub fn reliance(&self, table: &Table, seed: u64) -> Result<Vec<(String, f64)>, BadInput> {
        let told = self.probabilities(table)?;
        let mut found = Vec::new();
        for (at, column) in table.columns().iter().enumerate() {
            let mut rng = seed::generator(seed.wrapping_add(at as u64));
            let mut order: Vec<usize> = (0..table.rows()).collect();
            (1..order.len()).rev().for_each(|row| order.swap(row, seed::below(&mut rng, row + 1)));
            let dealt = table.take(&order)?.columns()[at].clone();
            let columns =
                table.columns().iter().map(|old| if old.name == column.name { dealt.clone() } else { old.clone() });
            let anew = self.probabilities(&Table::new(columns.collect())?)?;
            let change: f64 = told.iter().zip(&anew).map(|(told, anew)| (told - anew).abs()).sum();
            found.push((column.name.clone(), change / float(table.rows())));
        }
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(found)
    }

    /// Log-odds before calibration, finer than probabilities for ranking.
    pub fn scores(&self, table: &Table) -> Result<Vec<f64>, BadInput> {
        let mut scores = vec![0.0; table.rows()];
        let mut add = |answers: Vec<f64>, share: f64| {
            scores.iter_mut().zip(answers).for_each(|(s, a)| *s += share * a);
        };
        if let Some(trees) = &self.boosting {
            add(trees.answers(table)?, self.boosting_share);
        }
        if let Some(linear) = &self.logistic {
            add(linear.answers(table)?, 1.0 - self.boosting_share);
        }
        Ok(scores)
    }
}

impl fmt::Display for Report {
    /// A few sentences for the analyst.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = 100.0 * self.boosting_share;
        writeln!(
            f,
            "{} rows, {:.1} % positive, {} folds left out in turn.",
            self.rows,
            100.0 * self.base_rate,
            self.folds
        )?;
        if let Some(b) = &self.boosting {
            writeln!(f, "Boosting ({} trees a fold): AUC {:.4}, log-loss {:.4}.", self.rounds, b.auc, b.log_loss)?;
        } else {
            writeln!(f, "Too few rows for boosting; logistic regression alone.")?;
        }
        writeln!(
            f,
            "Logistic regression (ridge {}): AUC {:.4}, log-loss {:.4}.",
            self.ridge, self.logistic.auc, self.logistic.log_loss
        )?;
        writeln!(
            f,
            "Chosen: {percent:.0} % boosting and {:.0} % logistic regression: AUC {:.4}, log-loss {:.4}; scores {}.",
            100.0 - percent,
            self.chosen.auc,
            self.chosen.log_loss,
            self.calibration
        )?;
        if !self.ignored.is_empty() {
            writeln!(f, "Left out, because they cannot help: {}.", self.ignored.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        seed::{generator, uniform},
        special::sigmoid,
        table::Column,
    };

    fn drawn(rows: usize, bent: bool, seed: u64) -> (Table, Vec<bool>) {
        let mut rng = generator(seed);
        let mut draw = || uniform(&mut rng);
        let (mut x, mut z, mut id, mut label) = (vec![], vec![], vec![], vec![]);
        for row in 0..rows {
            let (a, b) = (2.0 * draw() - 1.0, 2.0 * draw() - 1.0);
            x.push(a);
            z.push(b);
            id.push(format!("customer {row}"));
            let odds = if bent { 4.0 * (a * b).signum() } else { 3.0 * a - 2.0 * b };
            label.push(draw() < sigmoid(odds));
        }
        let columns = vec![
            Column::numbers("x", x),
            Column::numbers("z", z),
            Column::categories("id", id.iter().map(String::as_str)),
            Column::numbers("flat", vec![1.0; rows]),
        ];
        (Table::new(columns).unwrap(), label)
    }

    #[test]
    fn straight_data_goes_to_the_line_and_bent_data_to_the_trees() {
        let (table, label) = drawn(1_500, false, 1);
        let straight = fit(&table, &label, 7).unwrap();
        assert!(straight.report.boosting_share < 0.5, "{}", straight.report);
        assert_eq!(straight.report.ignored, ["id", "flat"]);
        let (table, label) = drawn(1_500, true, 2);
        let bent = fit(&table, &label, 7).unwrap();
        assert!(bent.report.boosting_share > 0.8, "{}", bent.report);
        assert!(bent.report.chosen.auc > 0.9);
    }

    #[test]
    fn probabilities_come_true_on_new_rows() {
        let (table, label) = drawn(3_000, false, 3);
        let trained = fit(&table, &label, 7).unwrap();
        let (new, truth) = drawn(3_000, false, 4);
        let told = trained.model.probabilities(&new).unwrap();
        let curve = calibrate::reliability(&told, &truth, 10).unwrap();
        assert!(calibrate::expected_calibration_error(&curve) < 0.035, "{curve:?}");
    }

    #[test]
    fn answers_rest_on_what_decides_and_not_on_noise() {
        let (table, label) = drawn(1_500, false, 6);
        let trained = fit(&table, &label, 7).unwrap();
        let rests = trained.model.reliance(&table, 1).unwrap();
        let names: Vec<&str> = rests.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[..2], ["x", "z"], "three times x, twice z: {rests:?}");
        assert!(rests[0].1 > 0.2 && rests[1].1 > 0.1, "{rests:?}");
        assert!(rests[2..].iter().all(|(_, change)| change.abs() < 1e-12), "{rests:?}");
        assert_eq!(rests, trained.model.reliance(&table, 1).unwrap());
    }

    #[test]
    fn hopeless_input_is_refused_and_small_input_is_not() {
        let (table, label) = drawn(60, false, 5);
        let small = fit(&table, &label, 1).unwrap();
        assert!(small.model.boosting.is_none());
        assert!(matches!(fit(&table, &[false; 60], 1), Err(BadInput::OneClass { .. })));
        let mut rare = vec![false; 60];
        rare[0] = true;
        assert!(matches!(fit(&table, &rare, 1), Err(BadInput::TooFew { .. })));
    }
}
