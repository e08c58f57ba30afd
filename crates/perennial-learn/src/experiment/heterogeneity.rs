//! For whom does it work? Subgroups found in one half and measured in the other (honest splits;
//! Athey & Imbens 2016).
//!
//! One half of the customers proposes the groups: for each feature the cut at a quartile that
//! separates effects most. The other half, which took no part in the search, measures them, and
//! Holm's correction covers the number of groups. So an effect reported here is not the winner of
//! a search over noise.

use super::multiple::holm;
use super::statistic::{Mean, Statistic};
use super::{Difference, Side, compare, fixed::welch};
use crate::input::{BadInput, Problem, finite, real, same_length};
use crate::seed::{generator, uniform};
use serde::{Deserialize, Serialize};

/// One cut and what the honest half says about its two sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubgroupEffect {
    /// The feature's position.
    pub feature: usize,
    /// Customers with a value of at most this are "below".
    pub cut: f64,
    /// The absolute effect below the cut, and its standard error.
    pub below: (f64, f64),
    /// The absolute effect above the cut, and its standard error.
    pub above: (f64, f64),
    /// The p-value that both are equal, after Holm's correction over the cuts.
    pub p_value: f64,
}

/// The cuts, the clearest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heterogeneity {
    /// One entry per feature that could be cut.
    pub subgroups: Vec<SubgroupEffect>,
    /// Customers in the half that measured.
    pub honest_n: usize,
}

type Cells = [[Mean; 2]; 2];

fn cells(rows: &[usize], column: &[f64], cut: f64, treated: &[bool], outcome: &[f64]) -> Cells {
    let mut cells = Cells::default();
    for &i in rows {
        cells[usize::from(column[i] > cut)][usize::from(treated[i])].push(outcome[i]);
    }
    cells
}

fn side(cells: &Cells, above: usize) -> Option<(f64, f64)> {
    let [control, treatment] = cells[above].map(Statistic::Mean);
    compare(&control, &treatment, Difference::Absolute).ok().map(|e| (e.estimate, e.standard_error))
}

fn separation(cells: &Cells) -> Option<f64> {
    let ((low, low_se), (high, high_se)) = (side(cells, 0)?, side(cells, 1)?);
    Some((high - low).abs() / low_se.hypot(high_se))
}

/// Looks for features along which the effect of the treatment differs.
///
/// `features` are columns of equal length; `treated` and `outcome` have one entry per customer.
///
/// # Errors
/// When lengths differ, values are not finite, there are fewer than 40 customers, or all are in one variant.
pub fn honest_split(
    features: &[Vec<f64>],
    treated: &[bool],
    outcome: &[f64],
    seed: u64,
) -> Result<Heterogeneity, BadInput> {
    let n = outcome.len();
    same_length("treated", treated.len(), n)?;
    finite("outcome", outcome)?;
    for (j, column) in features.iter().enumerate() {
        same_length(&format!("features[{j}]"), column.len(), n)?;
        finite(&format!("features[{j}]"), column)?;
    }
    if n < 40 {
        return Err(BadInput::new("outcome", Problem::TooFew { found: n, needed: 40 }, "wait for more customers"));
    }
    if treated.iter().all(|&t| t == treated[0]) {
        return Err(BadInput::new("treated", Problem::OneClass, "give customers of both variants"));
    }
    let mut rng = generator(seed);
    let (search, honest): (Vec<usize>, Vec<usize>) = (0..n).partition(|_| uniform(&mut rng) < 0.5);
    let mut subgroups: Vec<SubgroupEffect> = features
        .iter()
        .enumerate()
        .filter_map(|(feature, column)| measure(feature, column, &search, &honest, treated, outcome))
        .collect();
    let raw: Vec<f64> = subgroups.iter().map(|s| s.p_value).collect();
    let corrected = holm(&raw, 0.05)?;
    subgroups.iter_mut().zip(corrected.p_values).for_each(|(s, p)| s.p_value = p);
    subgroups.sort_by(|a, b| a.p_value.total_cmp(&b.p_value).then(a.feature.cmp(&b.feature)));
    Ok(Heterogeneity { subgroups, honest_n: honest.len() })
}

fn measure(
    feature: usize,
    column: &[f64],
    search: &[usize],
    honest: &[usize],
    treated: &[bool],
    outcome: &[f64],
) -> Option<SubgroupEffect> {
    let cut = best_cut(column, search, treated, outcome)?;
    let cells = cells(honest, column, cut, treated, outcome);
    let (below, above) = (side(&cells, 0)?, side(&cells, 1)?);
    let effect = super::Effect {
        estimate: above.0 - below.0,
        standard_error: below.1.hypot(above.1),
        degrees_of_freedom: real(honest.len().saturating_sub(4)).max(1.0),
        n: honest.len() as u64,
        control_mean: 0.0,
        theta: None,
    };
    let p_value = welch(&effect, Side::Both, 0.05).ok()?.p_value;
    Some(SubgroupEffect { feature, cut, below, above, p_value })
}

fn best_cut(column: &[f64], search: &[usize], treated: &[bool], outcome: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = search.iter().map(|&i| column[i]).collect();
    sorted.sort_by(f64::total_cmp);
    let mut candidates: Vec<f64> = (1..4).filter_map(|q| sorted.get(sorted.len() * q / 4).copied()).collect();
    candidates.push(0.5 * (sorted.first()? + sorted.last()?));
    candidates.dedup();
    candidates
        .into_iter()
        .filter_map(|cut| Some((cut, separation(&cells(search, column, cut, treated, outcome))?)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(cut, _)| cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop(seed: u64, gain: f64) -> (Vec<Vec<f64>>, Vec<bool>, Vec<f64>) {
        let mut rng = generator(seed);
        let mut draw = |n: usize| (0..n).map(|_| uniform(&mut rng)).collect::<Vec<_>>();
        let (age, noise, coin, base) = (draw(3000), draw(3000), draw(3000), draw(3000));
        let treated: Vec<bool> = coin.iter().map(|c| *c < 0.5).collect();
        let outcome = (0..3000).map(|i| base[i] + if treated[i] && age[i] > 0.5 { gain } else { 0.0 }).collect();
        (vec![age, noise], treated, outcome)
    }

    #[test]
    fn the_feature_that_matters_is_found() {
        let (x, t, y) = shop(1, 0.3);
        let found = honest_split(&x, &t, &y, 7).unwrap();
        assert_eq!(found.subgroups[0].feature, 0);
        assert!(found.subgroups[0].p_value < 1e-6 && found.subgroups[1].p_value > 0.01);
    }

    #[test]
    fn noise_rarely_looks_like_a_subgroup() {
        let claims = (0..100)
            .filter(|&s| {
                let (x, t, y) = shop(100 + s, 0.0);
                honest_split(&x, &t, &y, s).unwrap().subgroups[0].p_value < 0.05
            })
            .count();
        assert!(claims <= 12, "{claims} of 100");
    }
}
