//! Why does this customer belong to this group, and not to the next nearest?
//!
//! The squared distances to both centres are sums over features, so their difference is too:
//! feature j speaks for the own group by `(x_j - other_j)^2 - (x_j - own_j)^2`. The contributions
//! add up exactly to the lead of the own group.

use super::kmeans::KMeans;
use crate::input::{BadInput, Problem, finite, same_length};
use serde::{Deserialize, Serialize};

/// Why one row lies where it lies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// The row's group.
    pub own: usize,
    /// The next nearest group.
    pub next: usize,
    /// What each feature says for `own` against `next`; negative speaks for `next`.
    pub per_feature: Vec<f64>,
    /// The sum: squared distance to `next` minus squared distance to `own`.
    pub lead: f64,
}

/// Explains the assignment of one scaled row.
///
/// # Errors
/// When the row has the wrong length or a value that is not finite, or the model has one group.
pub fn explain(model: &KMeans, row: &[f64]) -> Result<Contribution, BadInput> {
    same_length("row", row.len(), model.dimensions)?;
    finite("row", row)?;
    if model.k() < 2 {
        return Err(BadInput::new("model", Problem::OneClass, "explain a model with two groups at least"));
    }
    let (own, _) = model.assign(row);
    let distance = |c: usize| -> f64 { row.iter().zip(model.centre(c)).map(|(x, m)| (x - m).powi(2)).sum() };
    let next = (0..model.k()).filter(|&c| c != own).min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap_or(own);
    let per_feature: Vec<f64> = row
        .iter()
        .zip(model.centre(own).iter().zip(model.centre(next)))
        .map(|(x, (own, next))| (x - next).powi(2) - (x - own).powi(2))
        .collect();
    let lead = per_feature.iter().sum();
    Ok(Contribution { own, next, per_feature, lead })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn contributions_add_up_and_never_speak_for_another_group(row in prop::collection::vec(-4.0..4.0f64, 3), centres in prop::collection::vec(-4.0..4.0f64, 9)) {
            let model = KMeans { dimensions: 3, centres, sizes: vec![1; 3] };
            let why = explain(&model, &row).unwrap();
            prop_assert!((why.per_feature.iter().sum::<f64>() - why.lead).abs() < 1e-12);
            prop_assert!(why.lead >= -1e-12);
        }
    }
}
