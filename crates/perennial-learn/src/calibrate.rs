//! Calibration: a score of 0.3 should come true three times in ten.
//!
//! Platt's sigmoid (Platt 1999) for few rows, isotonic regression by pooling adjacent violators
//! (Ayer et al. 1955) for many, the reliability curve to look at, and the usual measures of scores.
//! Promise: a calibrator never turns the order of two scores around. Absent on purpose: drawing.

#![allow(clippy::float_cmp, reason = "values that were copied or counted are compared, not computed ones")]

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::{
    input::{self, BadInput, same_length},
    optimise::{Local, newton},
    special::{logit, sigmoid, softplus},
};

/// A published map from log-odds to calibrated probabilities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calibrator {
    /// The scores are already calibrated.
    AsIs,
    /// Probability = 1 / (1 + exp(-(slope · log-odds + intercept))).
    Platt {
        /// At least 0.
        slope: f64,
        /// In log-odds.
        intercept: f64,
    },
    /// Piecewise linear between knots, constant outside.
    Isotonic {
        /// Log-odds, ascending.
        scores: Vec<f64>,
        /// Probabilities there, never falling.
        probabilities: Vec<f64>,
    },
}

impl Calibrator {
    /// The calibrated probability in [0, 1] of one score in log-odds.
    pub fn probability(&self, score: f64) -> f64 {
        match self {
            Self::AsIs => sigmoid(score),
            Self::Platt { slope, intercept } => sigmoid(slope * score + intercept),
            Self::Isotonic { scores, probabilities } => interpolate(scores, probabilities, score),
        }
    }

    /// Its name in words.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AsIs => "as they are",
            Self::Platt { .. } => "Platt's sigmoid",
            Self::Isotonic { .. } => "isotonic regression",
        }
    }
}

fn interpolate(xs: &[f64], ys: &[f64], x: f64) -> f64 {
    let after = xs.partition_point(|&v| v <= x);
    if after == 0 {
        return ys.first().copied().unwrap_or(f64::NAN);
    }
    if after == xs.len() {
        return ys[after - 1];
    }
    let share = (x - xs[after - 1]) / (xs[after] - xs[after - 1]);
    ys[after - 1] + share * (ys[after] - ys[after - 1])
}

fn check(score: &[f64], label: &[bool]) -> Result<(), BadInput> {
    same_length("score", score.len(), label.len())?;
    input::finite("score", score)?;
    input::two_classes("label", label)
}

#[expect(clippy::cast_precision_loss, reason = "a count of rows")]
fn float(count: usize) -> f64 {
    count as f64
}

/// Platt's sigmoid on scores in log-odds, with his shrunk targets against overconfidence.
pub fn platt(score: &[f64], label: &[bool]) -> Result<Calibrator, BadInput> {
    check(score, label)?;
    let ones = float(label.iter().filter(|&&y| y).count());
    let zeros = float(label.len()) - ones;
    let (high, low) = ((ones + 1.0) / (ones + 2.0), 1.0 / (zeros + 2.0));
    let likelihood = |at: &[f64; 2]| {
        let mut local = Local { value: 0.0, gradient: [0.0; 2], hessian: [[0.0; 2]; 2] };
        for (&s, &y) in score.iter().zip(label) {
            let z = at[0] * s + at[1];
            let (target, p) = (if y { high } else { low }, sigmoid(z));
            local.value += target * z - softplus(z);
            local.gradient[0] += (target - p) * s;
            local.gradient[1] += target - p;
            let w = p * (1.0 - p);
            local.hessian[0][0] -= w * s * s;
            local.hessian[0][1] -= w * s;
            local.hessian[1][1] -= w;
        }
        local.hessian[1][0] = local.hessian[0][1];
        local
    };
    let [slope, intercept] = newton([1.0, 0.0], 1e-7, likelihood).at;
    if slope > 0.0 {
        return Ok(Calibrator::Platt { slope, intercept });
    }
    // The scores point the wrong way: say the base rate rather than turn the order around.
    Ok(Calibrator::Platt { slope: 0.0, intercept: logit(ones / (ones + zeros)) })
}

/// Isotonic regression of the labels on scores in log-odds.
///
/// Blocks of equal answers become one knot at their mean score, so that between blocks the answer
/// rises and scores keep their order.
pub fn isotonic(score: &[f64], label: &[bool]) -> Result<Calibrator, BadInput> {
    check(score, label)?;
    let mut order: Vec<usize> = (0..score.len()).collect();
    order.sort_unstable_by(|&a, &b| score[a].total_cmp(&score[b]));
    // Blocks of (rows, sum of labels, sum of scores).
    let mut blocks: Vec<[f64; 3]> = Vec::new();
    for tied in order.chunk_by(|&a, &b| score[a] == score[b]) {
        let ones = float(tied.iter().filter(|&&i| label[i]).count());
        let n = float(tied.len());
        blocks.push([n, ones, n * score[tied[0]]]);
        while let [.., before, last] = blocks.as_mut_slice()
            && before[1] * last[0] >= last[1] * before[0]
        {
            (0..3).for_each(|i| before[i] += last[i]);
            blocks.pop();
        }
    }
    // Half a row of doubt at the ends keeps 0 and 1 from being certain.
    let probability = |b: &[f64; 3]| (b[1].max(0.5) / b[0]).min(1.0 - 0.5 / b[0]).clamp(0.0, 1.0);
    let mut probabilities: Vec<f64> = blocks.iter().map(probability).collect();
    for i in 1..probabilities.len() {
        probabilities[i] = probabilities[i].max(probabilities[i - 1]);
    }
    Ok(Calibrator::Isotonic { scores: blocks.iter().map(|b| b[2] / b[0]).collect(), probabilities })
}

/// Rows from which on isotonic regression is worth a try.
const ISOTONIC_FROM: usize = 2_000;
/// Loss per row that a calibrator must save to be preferred to a simpler one.
const WORTHWHILE: f64 = 2e-4;

/// Chooses among the scores as they are, Platt and isotonic by the loss on folds left out.
///
/// `score` are log-odds that did not see their own label; `fold` as in training.
pub fn choose(score: &[f64], label: &[bool], fold: &[u8]) -> Result<Calibrator, BadInput> {
    check(score, label)?;
    same_length("fold", fold.len(), label.len())?;
    let as_is = |_: &[f64], _: &[bool]| Ok(Calibrator::AsIs);
    let mut best = (cross_validated(score, label, fold, as_is)?, Calibrator::AsIs);
    let by_platt = cross_validated(score, label, fold, platt)?;
    if by_platt < best.0 - WORTHWHILE {
        best = (by_platt, platt(score, label)?);
    }
    if score.len() >= ISOTONIC_FROM {
        let by_isotonic = cross_validated(score, label, fold, isotonic)?;
        if by_isotonic < best.0 - WORTHWHILE {
            best = (by_isotonic, isotonic(score, label)?);
        }
    }
    Ok(best.1)
}

/// Mean logistic loss of each fold under a calibrator made from the others.
fn cross_validated(
    score: &[f64],
    label: &[bool],
    fold: &[u8],
    make: impl Fn(&[f64], &[bool]) -> Result<Calibrator, BadInput>,
) -> Result<f64, BadInput> {
    let folds = fold.iter().max().map_or(0, |&f| usize::from(f) + 1);
    let mut loss = 0.0;
    for f in 0..folds {
        let others: Vec<usize> = (0..score.len()).filter(|&i| usize::from(fold[i]) != f).collect();
        let scores: Vec<f64> = others.iter().map(|&i| score[i]).collect();
        let labels: Vec<bool> = others.iter().map(|&i| label[i]).collect();
        let calibrator = make(&scores, &labels)?;
        for i in (0..score.len()).filter(|&i| usize::from(fold[i]) == f) {
            loss += loss_of(calibrator.probability(score[i]), label[i]);
        }
    }
    Ok(loss / float(score.len()))
}

fn loss_of(probability: f64, label: bool) -> f64 {
    let p = if label { probability } else { 1.0 - probability };
    -p.max(1e-12).ln()
}

/// One bar of the reliability curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// Mean predicted probability.
    pub predicted: f64,
    /// Share that came true.
    pub observed: f64,
    /// Lower end of Wilson's 95 % interval of the share.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Rows.
    pub rows: u32,
}

/// The reliability curve: rows in order of their probability, in `bars` groups of equal size.
pub fn reliability(probability: &[f64], label: &[bool], bars: usize) -> Result<Vec<Bar>, BadInput> {
    check(probability, label)?;
    input::all("probability", probability, "between 0 and 1", |p| (0.0..=1.0).contains(&p))?;
    let mut order: Vec<usize> = (0..label.len()).collect();
    order.sort_by(|&a, &b| probability[a].total_cmp(&probability[b]));
    let bars = bars.clamp(1, label.len());
    let z = Normal::standard().inverse_cdf(0.975);
    let bar = |k: usize| {
        let rows = &order[k * label.len() / bars..(k + 1) * label.len() / bars];
        let n = float(rows.len());
        let observed = float(rows.iter().filter(|&&i| label[i]).count()) / n;
        let (centre, half) = wilson(observed, n, z);
        Bar {
            predicted: rows.iter().map(|&i| probability[i]).sum::<f64>() / n,
            observed,
            low: (centre - half).max(0.0),
            high: (centre + half).min(1.0),
            rows: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        }
    };
    Ok((0..bars).map(bar).collect())
}

/// Centre and half width of Wilson's interval (Wilson 1927).
fn wilson(share: f64, n: f64, z: f64) -> (f64, f64) {
    let scale = 1.0 / (1.0 + z * z / n);
    let centre = scale * (share + z * z / (2.0 * n));
    (centre, scale * z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt())
}

/// Mean distance between predicted and observed over the bars of a curve, weighted by rows.
pub fn expected_calibration_error(curve: &[Bar]) -> f64 {
    let rows: f64 = curve.iter().map(|b| f64::from(b.rows)).sum();
    curve.iter().map(|b| f64::from(b.rows) * (b.predicted - b.observed).abs()).sum::<f64>() / rows
}

/// Area under the ROC curve in [0, 1]: how often a true one scores above a false one, ties half.
pub fn auc(score: &[f64], label: &[bool]) -> Result<f64, BadInput> {
    check(score, label)?;
    let mut order: Vec<usize> = (0..score.len()).collect();
    order.sort_unstable_by(|&a, &b| score[a].total_cmp(&score[b]));
    let (mut zeros, mut wins) = (0.0, 0.0);
    for tied in order.chunk_by(|&a, &b| score[a] == score[b]) {
        let ones = float(tied.iter().filter(|&&i| label[i]).count());
        let others = float(tied.len()) - ones;
        wins += ones * (zeros + 0.5 * others);
        zeros += others;
    }
    Ok(wins / (zeros * (float(score.len()) - zeros)))
}

/// Mean logarithmic loss of probabilities, in nats.
pub fn log_loss(probability: &[f64], label: &[bool]) -> Result<f64, BadInput> {
    check(probability, label)?;
    Ok(probability.iter().zip(label).map(|(&p, &y)| loss_of(p, y)).sum::<f64>() / float(label.len()))
}

/// Mean squared distance between probability and outcome (Brier 1950), in [0, 1].
pub fn brier(probability: &[f64], label: &[bool]) -> Result<f64, BadInput> {
    check(probability, label)?;
    let one = |(&p, &y): (&f64, &bool)| (p - f64::from(u8::from(y))).powi(2);
    Ok(probability.iter().zip(label).map(one).sum::<f64>() / float(label.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{generator, uniform};
    use proptest::prelude::*;

    /// Scores twice too confident, labels from their halves.
    fn overconfident(rows: usize) -> (Vec<f64>, Vec<bool>, Vec<u8>) {
        let mut rng = generator(3);
        let truth: Vec<f64> = (0..rows).map(|_| 6.0 * uniform(&mut rng) - 3.0).collect();
        let label = truth.iter().map(|&z| uniform(&mut rng) < sigmoid(z)).collect();
        let fold = (0..rows).map(|i| u8::try_from(i % 5).unwrap()).collect();
        (truth.iter().map(|z| 2.0 * z).collect(), label, fold)
    }

    #[test]
    fn overconfidence_is_seen_and_taken_back() {
        let (score, label, fold) = overconfident(4_000);
        let calibrator = choose(&score, &label, &fold).unwrap();
        assert_ne!(calibrator, Calibrator::AsIs);
        let before: Vec<f64> = score.iter().map(|&s| sigmoid(s)).collect();
        let after: Vec<f64> = score.iter().map(|&s| calibrator.probability(s)).collect();
        let error = |p: &[f64]| expected_calibration_error(&reliability(p, &label, 10).unwrap());
        assert!(error(&after) < 0.03 && error(&before) > 0.06, "{} {}", error(&after), error(&before));
        assert!(log_loss(&after, &label).unwrap() < log_loss(&before, &label).unwrap());
        let Calibrator::Platt { slope, .. } = platt(&score, &label).unwrap() else { panic!("Platt") };
        assert!((slope - 0.5).abs() < 0.05, "{slope}");
    }

    #[test]
    fn scores_that_are_right_are_left_alone() {
        let (score, label, fold) = overconfident(4_000);
        let halved: Vec<f64> = score.iter().map(|s| 0.5 * s).collect();
        assert_eq!(choose(&halved, &label, &fold).unwrap(), Calibrator::AsIs);
    }

    #[test]
    fn known_measures_come_out() {
        let label = [false, false, true, true];
        assert_eq!(auc(&[0.1, 0.4, 0.35, 0.8], &label).unwrap(), 0.75);
        assert_eq!(auc(&[1.0; 4], &label).unwrap(), 0.5);
        assert!((brier(&[0.0, 0.5, 0.5, 1.0], &label).unwrap() - 0.125).abs() < 1e-15);
        assert!(auc(&[0.1; 4], &[true; 4]).is_err());
        assert!(auc(&[f64::NAN; 4], &label).is_err());
    }

    proptest! {
        #[test]
        fn calibrators_never_turn_two_scores_around(rows in prop::collection::vec((-5.0_f64..5.0, any::<bool>()), 4..60)) {
            let (score, label): (Vec<f64>, Vec<bool>) = rows.into_iter().unzip();
            prop_assume!(label.iter().any(|&y| y) && label.iter().any(|&y| !y));
            for calibrator in [platt(&score, &label).unwrap(), isotonic(&score, &label).unwrap()] {
                let mut sorted = score.clone();
                sorted.sort_by(f64::total_cmp);
                let told: Vec<f64> = sorted.iter().map(|&s| calibrator.probability(s)).collect();
                prop_assert!(told.windows(2).all(|w| w[0] <= w[1] + 1e-12));
                prop_assert!(told.iter().all(|p| (0.0..=1.0).contains(p)));
            }
        }
    }
}
