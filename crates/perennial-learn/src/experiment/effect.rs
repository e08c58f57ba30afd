//! From two variants to one effect with its standard error.

use super::statistic::{Cuped, Statistic, pooled_theta};
use crate::input::{BadInput, LARGEST, Problem, real64};
use serde::{Deserialize, Serialize};

/// How an effect is expressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Difference {
    /// Treatment minus control, divided by the control's (unadjusted) mean.
    #[default]
    Relative,
    /// Treatment minus control, in units of the measure.
    Absolute,
}

/// Treatment against control, before any question of significance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The effect's estimate.
    pub estimate: f64,
    /// Its standard error (delta method when relative).
    pub standard_error: f64,
    /// Satterthwaite's degrees of freedom.
    pub degrees_of_freedom: f64,
    /// Customers in both variants.
    pub n: u64,
    /// The control's unadjusted mean.
    pub control_mean: f64,
    /// The CUPED coefficient, when there is a time before.
    pub theta: Option<f64>,
}

/// Mean and variance of one customer, and the covariance of the adjusted with the unadjusted
/// measure (which differ only under CUPED).
struct Moments {
    mean: f64,
    variance: f64,
    with_unadjusted: f64,
    unadjusted_variance: f64,
}

fn moments(statistic: &Statistic, theta: f64) -> Moments {
    let plain = |mean, variance| Moments { mean, variance, with_unadjusted: variance, unadjusted_variance: variance };
    match statistic {
        Statistic::Proportion(p) => plain(p.mean(), p.variance()),
        Statistic::Mean(m) => plain(m.mean(), m.variance()),
        Statistic::Ratio(r) => plain(r.mean(), r.variance()),
        Statistic::Cuped(c) => Moments {
            mean: c.mean(theta),
            variance: c.variance(theta),
            with_unadjusted: c.post.variance() - theta * c.covariance(),
            unadjusted_variance: c.post.variance(),
        },
    }
}

fn same_kind<'a>(a: &'a Statistic, b: &'a Statistic) -> Result<Option<(&'a Cuped, &'a Cuped)>, BadInput> {
    if let (Statistic::Cuped(x), Statistic::Cuped(y)) = (a, b) {
        return Ok(Some((x, y)));
    }
    if std::mem::discriminant(a) == std::mem::discriminant(b) {
        return Ok(None);
    }
    let problem = Problem::OutOfRange { found: "another kind of statistic".into(), allowed: "the control's kind" };
    Err(BadInput::new("treatment", problem, "tally both variants the same way"))
}

/// Compares treatment with control.
///
/// With the control's mean `m`, a relative effect `d / m` has the variance
/// `(var(d) + l^2 var(m) - 2 l cov(d, m)) / m^2` (delta method). Under CUPED `d` is adjusted and `m`
/// is not, and the gradient's lift `l` is the unadjusted one: both arms' times before are the same
/// in expectation.
///
/// # Errors
/// When the kinds differ, a variant has fewer than two customers, nothing varies, or the effect is
/// relative and the control's mean is zero.
pub fn compare(control: &Statistic, treatment: &Statistic, difference: Difference) -> Result<Effect, BadInput> {
    control.check("control")?;
    treatment.check("treatment")?;
    let theta = same_kind(control, treatment)?.map(|(a, b)| pooled_theta(a, b));
    let (n_a, n_b) = (real64(control.n()), real64(treatment.n()));
    let (a, b) = (moments(control, theta.unwrap_or(0.0)), moments(treatment, theta.unwrap_or(0.0)));
    let (var_a, var_b) = (a.variance / n_a, b.variance / n_b);
    if var_a + var_b <= 0.0 {
        return Err(BadInput::new("control and treatment", Problem::Constant, "choose a measure that varies"));
    }
    let absolute = b.mean - a.mean;
    let base = control.unadjusted_mean();
    let mut effect = Effect {
        estimate: absolute,
        standard_error: (var_a + var_b).sqrt(),
        degrees_of_freedom: satterthwaite(var_a, n_a, var_b, n_b),
        n: control.n() + treatment.n(),
        control_mean: base,
        theta,
    };
    if difference == Difference::Relative {
        if base == 0.0 {
            return Err(BadInput::range("control mean", base, "not zero"));
        }
        let plain_lift = treatment.unadjusted_mean() / base - 1.0;
        let variance = var_a
            + var_b
            + plain_lift * plain_lift * a.unadjusted_variance / n_a
            + 2.0 * plain_lift * a.with_unadjusted / n_a;
        effect.estimate = absolute / base;
        effect.standard_error = variance.sqrt() / base.abs();
    }
    if [effect.estimate, effect.standard_error, effect.degrees_of_freedom].iter().all(|v| v.abs() <= LARGEST) {
        return Ok(effect);
    }
    Err(BadInput::range("control mean", base, "far enough from zero, and the measure not beyond 1e100"))
}

fn satterthwaite(var_a: f64, n_a: f64, var_b: f64, n_b: f64) -> f64 {
    let (a, b) = (var_a / (var_a + var_b), var_b / (var_a + var_b));
    1.0 / (a * a / (n_a - 1.0) + b * b / (n_b - 1.0))
}

#[cfg(test)]
mod tests {
    use super::super::statistic::{Mean, Proportion};
    use super::*;

    #[test]
    fn a_lift_of_shares_follows_the_delta_method() {
        let a = Statistic::Proportion(Proportion { n: 1000, sum: 100.0 });
        let b = Statistic::Proportion(Proportion { n: 1000, sum: 120.0 });
        let e = compare(&a, &b, Difference::Relative).unwrap();
        let by_hand = (0.12 * 0.88 / 1000.0 / 0.01 + 0.09 / 1000.0 * 0.0144 / 0.0001f64).sqrt();
        assert!((e.estimate - 0.2).abs() < 1e-12 && (e.standard_error - by_hand).abs() < 1e-12);
    }

    #[test]
    fn unlike_or_constant_variants_are_refused() {
        let a = Statistic::Proportion(Proportion { n: 10, sum: 5.0 });
        let b = Statistic::Mean(Mean::of(&[1.0, 2.0]));
        assert!(compare(&a, &b, Difference::Absolute).is_err());
        let flat = Statistic::Mean(Mean::of(&[2.0, 2.0]));
        let refused = compare(&flat, &flat, Difference::Absolute).unwrap_err();
        assert!(matches!(refused, BadInput::Refused { problem: Problem::Constant, .. }));
    }
}
