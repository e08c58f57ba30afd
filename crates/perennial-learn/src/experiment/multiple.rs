//! Many tests at once: Bonferroni, Holm (1979), Benjamini & Hochberg (1995), Benjamini & Yekutieli (2001).

use crate::input::{BadInput, open_unit, real};
use serde::{Deserialize, Serialize};

/// Adjusted p-values in the order given, and which of them hold at the level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adjusted {
    /// The adjusted p-values.
    pub p_values: Vec<f64>,
    /// Whether each hypothesis of "no effect" is rejected.
    pub reject: Vec<bool>,
}

fn check(p_values: &[f64], alpha: f64) -> Result<(), BadInput> {
    open_unit("alpha", alpha)?;
    match p_values.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        Some(&p) => Err(BadInput::range("p_values", p, "between 0 and 1")),
        None => Ok(()),
    }
}

fn ascending(p_values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    order
}

fn finish(p_values: Vec<f64>, alpha: f64) -> Adjusted {
    let reject = p_values.iter().map(|&p| p <= alpha).collect();
    Adjusted { p_values, reject }
}

/// Multiplies each p-value by their number: no false claim at all with probability `1 - alpha`.
///
/// # Errors
/// When `alpha` lies outside (0, 1) or a p-value outside [0, 1].
pub fn bonferroni(p_values: &[f64], alpha: f64) -> Result<Adjusted, BadInput> {
    check(p_values, alpha)?;
    Ok(finish(p_values.iter().map(|p| (p * real(p_values.len())).min(1.0)).collect(), alpha))
}

/// Holm's step-down: the same promise as Bonferroni, never weaker.
///
/// # Errors
/// As [`bonferroni`].
pub fn holm(p_values: &[f64], alpha: f64) -> Result<Adjusted, BadInput> {
    check(p_values, alpha)?;
    let mut adjusted = vec![0.0; p_values.len()];
    let mut floor: f64 = 0.0;
    for (rank, i) in ascending(p_values).into_iter().enumerate() {
        floor = floor.max((p_values[i] * real(p_values.len() - rank)).min(1.0));
        adjusted[i] = floor;
    }
    Ok(finish(adjusted, alpha))
}

fn step_up(p_values: &[f64], alpha: f64, penalty: f64) -> Adjusted {
    let mut adjusted = vec![0.0; p_values.len()];
    let mut ceiling: f64 = 1.0;
    for (rank, i) in ascending(p_values).into_iter().enumerate().rev() {
        ceiling = ceiling.min(p_values[i] * penalty * real(p_values.len()) / real(rank + 1));
        adjusted[i] = ceiling;
    }
    finish(adjusted, alpha)
}

/// Controls the share of false claims among the claims, for independent tests.
///
/// # Errors
/// As [`bonferroni`].
pub fn benjamini_hochberg(p_values: &[f64], alpha: f64) -> Result<Adjusted, BadInput> {
    check(p_values, alpha)?;
    Ok(step_up(p_values, alpha, 1.0))
}

/// Controls the share of false claims among the claims, for tests that depend in any way.
///
/// # Errors
/// As [`bonferroni`].
pub fn benjamini_yekutieli(p_values: &[f64], alpha: f64) -> Result<Adjusted, BadInput> {
    check(p_values, alpha)?;
    let harmonic: f64 = (1..=p_values.len()).map(|i| 1.0 / real(i)).sum();
    Ok(step_up(p_values, alpha, harmonic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn holm_lies_between_the_raw_and_bonferroni(p in prop::collection::vec(0.0..1.0f64, 1..30)) {
            let (b, h, f) = (bonferroni(&p, 0.05).unwrap(), holm(&p, 0.05).unwrap(), benjamini_hochberg(&p, 0.05).unwrap());
            for (i, &raw) in p.iter().enumerate() {
                prop_assert!(raw <= f.p_values[i] + 1e-15 && f.p_values[i] <= h.p_values[i] + 1e-12);
                prop_assert!(h.p_values[i] <= b.p_values[i] + 1e-15);
            }
        }
    }
}
