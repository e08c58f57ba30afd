//! Post-stratification: compare like with like, then weight by the population (Miratrix et al. 2013).

use super::{Effect, Statistic, compare, effect::Difference};
use crate::input::{BadInput, Problem, positive};

/// One stratum: its share of the population and both variants' tallies in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stratum {
    /// The stratum's weight; weights need not add up to one.
    pub weight: f64,
    /// The control customers of the stratum.
    pub control: Statistic,
    /// The treatment customers of the stratum.
    pub treatment: Statistic,
}

/// Combines the strata's absolute effects by weight; degrees of freedom by Satterthwaite.
///
/// # Errors
/// When there is no stratum, a weight is not positive, or a stratum cannot be compared.
pub fn post_stratify(strata: &[Stratum]) -> Result<Effect, BadInput> {
    if strata.is_empty() {
        return Err(BadInput::new("strata", Problem::Empty, "give at least one stratum"));
    }
    let total: f64 = strata.iter().map(|s| s.weight).sum();
    let (mut estimate, mut variance, mut df_below, mut base, mut n) = (0.0, 0.0, 0.0, 0.0, 0);
    for s in strata {
        positive("stratum.weight", s.weight)?;
        let share = s.weight / total;
        let part = compare(&s.control, &s.treatment, Difference::Absolute)?;
        let part_variance = (share * part.standard_error).powi(2);
        estimate += share * part.estimate;
        variance += part_variance;
        df_below += part_variance * part_variance / part.degrees_of_freedom;
        base += share * part.control_mean;
        n += part.n;
    }
    Ok(Effect {
        estimate,
        standard_error: variance.sqrt(),
        degrees_of_freedom: variance * variance / df_below,
        n,
        control_mean: base,
        theta: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::statistic::Mean;
    use super::*;

    #[test]
    fn strata_remove_the_variance_between_them() {
        let low = [1.0, 2.0, 3.0, 2.0];
        let high = [101.0, 102.0, 103.0, 102.0];
        let mean = |v: &[f64]| Statistic::Mean(Mean::of(v));
        let plus_one = |v: &[f64]| v.iter().map(|x| x + 1.0).collect::<Vec<_>>();
        let strata = [low, high].map(|v| Stratum { weight: 0.5, control: mean(&v), treatment: mean(&plus_one(&v)) });
        let e = post_stratify(&strata).unwrap();
        let all = [low, high].concat();
        let plain = compare(&mean(&all), &mean(&plus_one(&all)), Difference::Absolute).unwrap();
        assert!((e.estimate - 1.0).abs() < 1e-12 && e.standard_error < plain.standard_error / 20.0);
    }
}
