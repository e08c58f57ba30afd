//! Drift: has the population moved since the model was trained?
//!
//! Two histograms over the same bins are compared; [`Bins`] cuts a numeric feature at the training
//! set's quantiles so that the comparison is the same on every later day.
//! Absent on purpose: a verdict. By custom a stability index below 0.1 is calm and above 0.25 a
//! shift, but those thresholds are habits, not theorems.

use crate::input::{BadInput, Problem, finite, real, same_length};
use serde::{Deserialize, Serialize};

fn shares(field: &str, counts: &[f64]) -> Result<Vec<f64>, BadInput> {
    finite(field, counts)?;
    if let Some(&c) = counts.iter().find(|c| **c < 0.0) {
        return Err(BadInput::range(field, c, "zero or more"));
    }
    let total: f64 = counts.iter().sum();
    if total <= 0.0 {
        return Err(BadInput::new(field, Problem::Empty, "give at least one observation"));
    }
    Ok(counts.iter().map(|c| c / total).collect())
}

fn both(expected: &[f64], observed: &[f64]) -> Result<(Vec<f64>, Vec<f64>), BadInput> {
    same_length("observed", observed.len(), expected.len())?;
    Ok((shares("expected", expected)?, shares("observed", observed)?))
}

/// The population stability index between two histograms: `sum (o - e) ln(o / e)`.
///
/// A bin that is empty on one side counts as half an observation there, so that the index stays
/// finite; histograms without empty bins are compared as they are.
///
/// # Errors
/// When lengths differ, a count is negative or not finite, or a histogram is empty.
pub fn population_stability(expected: &[f64], observed: &[f64]) -> Result<f64, BadInput> {
    let (e, o) = both(expected, observed)?;
    let half = |counts: &[f64]| 0.5 / counts.iter().sum::<f64>().max(1.0);
    let (least_e, least_o) = (half(expected), half(observed));
    Ok(e.iter()
        .zip(&o)
        .filter(|(e, o)| **e > 0.0 || **o > 0.0)
        .map(|(&e, &o)| {
            let e = if e > 0.0 { e } else { least_e };
            let o = if o > 0.0 { o } else { least_o };
            (o - e) * (o / e).ln()
        })
        .sum())
}

/// The Jensen-Shannon divergence in nats, between 0 and ln 2; empty bins are no trouble (Lin 1991).
///
/// # Errors
/// As [`population_stability`].
pub fn jensen_shannon(expected: &[f64], observed: &[f64]) -> Result<f64, BadInput> {
    let (e, o) = both(expected, observed)?;
    let part = |p: f64, q: f64| {
        if p > 0.0 { 0.5 * p * (2.0 * p / (p + q)).ln() } else { 0.0 }
    };
    Ok(e.iter().zip(&o).map(|(&e, &o)| part(e, o) + part(o, e)).sum::<f64>().max(0.0))
}

/// Cuts of a numeric feature at the training set's quantiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bins {
    /// Ascending; a value belongs to the first bin whose edge is not below it.
    pub edges: Vec<f64>,
}

impl Bins {
    /// Cuts into at most `count` bins of about equal size; ties share a bin.
    ///
    /// # Errors
    /// When there are no values, one is not finite, all are equal, or fewer than two bins are asked for.
    pub fn by_quantiles(values: &[f64], count: usize) -> Result<Self, BadInput> {
        finite("values", values)?;
        if values.is_empty() {
            return Err(BadInput::new("values", Problem::Empty, "give the training values"));
        }
        if count < 2 {
            return Err(BadInput::range("count", real(count), "2 or more"));
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let mut edges: Vec<f64> =
            (1..count).map(|q| sorted[(sorted.len() * q / count).min(sorted.len() - 1)]).collect();
        edges.dedup();
        edges.retain(|e| *e < sorted[sorted.len() - 1]);
        if edges.is_empty() {
            return Err(BadInput::new("values", Problem::Constant, "watch a feature that varies"));
        }
        Ok(Self { edges })
    }

    /// Counts values per bin; the last bin is open to the right.
    ///
    /// # Errors
    /// When a value is not finite.
    pub fn histogram(&self, values: &[f64]) -> Result<Vec<f64>, BadInput> {
        finite("values", values)?;
        let mut counts = vec![0.0; self.edges.len() + 1];
        for v in values {
            counts[self.edges.partition_point(|e| e < v)] += 1.0;
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_histograms_do_not_drift_and_disjoint_ones_do() {
        assert!(population_stability(&[3.0, 7.0], &[30.0, 70.0]).unwrap().abs() < 1e-12);
        assert!(population_stability(&[100.0, 0.0], &[0.0, 100.0]).unwrap() > 1.0);
        assert!((jensen_shannon(&[1.0, 0.0], &[0.0, 1.0]).unwrap() - 2.0f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn quantile_bins_hold_equal_shares() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let bins = Bins::by_quantiles(&values, 4).unwrap();
        let counts = bins.histogram(&values).unwrap();
        assert_eq!(counts.len(), 4);
        assert!(counts.iter().all(|c| (24.0..=26.0).contains(c)), "{counts:?}");
        assert!(Bins::by_quantiles(&[1.0; 9], 4).is_err());
    }
}
