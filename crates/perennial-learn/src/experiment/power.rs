//! Power and sample size for shares (Cohen's h, normal) and means (non-central t).

use super::distribution::{noncentral_student_cdf, normal_cdf, normal_quantile, solve_increasing, student_quantile};
use crate::input::{BadInput, Problem, open_unit, positive};
use serde::{Deserialize, Serialize};

/// What the test will look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Alternative {
    /// A difference in either direction.
    TwoSided,
    /// Treatment above control.
    Larger,
    /// Treatment below control.
    Smaller,
}

/// A planned test of shares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProportionPlan {
    /// The control's share.
    pub control: f64,
    /// The share that the treatment is hoped to reach.
    pub treatment: f64,
    /// The level of the test.
    pub alpha: f64,
    /// Treatment customers per control customer.
    pub ratio: f64,
    /// What is looked for.
    pub alternative: Alternative,
}

/// A planned test of means.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeanPlan {
    /// The effect in standard deviations of one customer.
    pub effect: f64,
    /// The level of the test.
    pub alpha: f64,
    /// Treatment customers per control customer.
    pub ratio: f64,
    /// What is looked for.
    pub alternative: Alternative,
}

/// Cohen's h: the difference of the arcsine-transformed shares, treatment minus control.
pub fn cohens_h(control: f64, treatment: f64) -> f64 {
    2.0 * treatment.sqrt().asin() - 2.0 * control.sqrt().asin()
}

/// The probability of a claim with `n_control` control customers.
///
/// # Errors
/// When a share or `alpha` lies outside (0, 1), or `ratio` or `n_control` is not positive.
pub fn proportion_power(plan: &ProportionPlan, n_control: f64) -> Result<f64, BadInput> {
    open_unit("control", plan.control)?;
    open_unit("treatment", plan.treatment)?;
    check_plan(plan.alpha, plan.ratio)?;
    positive("n_control", n_control)?;
    let n = n_control * plan.ratio / (1.0 + plan.ratio);
    let shift = cohens_h(plan.control, plan.treatment) * n.sqrt();
    let z = |tail: f64| -normal_quantile(tail);
    Ok(match plan.alternative {
        Alternative::TwoSided => {
            let c = z(plan.alpha / 2.0);
            normal_cdf(shift - c) + normal_cdf(-shift - c)
        }
        Alternative::Larger => normal_cdf(shift - z(plan.alpha)),
        Alternative::Smaller => normal_cdf(-shift - z(plan.alpha)),
    })
}

fn check_plan(alpha: f64, ratio: f64) -> Result<(), BadInput> {
    open_unit("alpha", alpha)?;
    positive("ratio", ratio)
}

/// The number of control customers (not rounded) that reaches `power`.
///
/// # Errors
/// As [`proportion_power`], or when no number of customers reaches the power.
pub fn proportion_sample_size(plan: &ProportionPlan, power: f64) -> Result<f64, BadInput> {
    open_unit("power", power)?;
    sample_size(|n| proportion_power(plan, n), 1e-3, power)
}

/// The probability of a claim with `n_control` control customers.
///
/// # Errors
/// When `alpha` lies outside (0, 1), `effect` is not finite, `ratio` is not positive or there are too few customers for one degree of freedom.
pub fn mean_power(plan: &MeanPlan, n_control: f64) -> Result<f64, BadInput> {
    check_plan(plan.alpha, plan.ratio)?;
    crate::input::finite("effect", &[plan.effect])?;
    positive("n_control", n_control)?;
    let df = n_control * (1.0 + plan.ratio) - 2.0;
    if df <= 0.0 {
        return Err(BadInput::range("n_control", n_control, "more than one customer per variant"));
    }
    let shift = plan.effect * (n_control * plan.ratio / (1.0 + plan.ratio)).sqrt();
    let t = |tail: f64| -student_quantile(tail, df);
    let above = |critical: f64| noncentral_student_cdf(-critical, df, -shift);
    let below = |critical: f64| noncentral_student_cdf(-critical, df, shift);
    Ok(match plan.alternative {
        Alternative::TwoSided => {
            let c = t(plan.alpha / 2.0);
            above(c) + below(c)
        }
        Alternative::Larger => above(t(plan.alpha)),
        Alternative::Smaller => below(t(plan.alpha)),
    })
}

/// The number of control customers (not rounded) that reaches `power`.
///
/// # Errors
/// As [`mean_power`], or when no number of customers reaches the power.
pub fn mean_sample_size(plan: &MeanPlan, power: f64) -> Result<f64, BadInput> {
    open_unit("power", power)?;
    sample_size(|n| mean_power(plan, n), 2.01 / (1.0 + plan.ratio), power)
}

/// The smallest effect, in standard deviations, that `n_control` customers show with `power`.
///
/// # Errors
/// As [`mean_power`]; for [`Alternative::Smaller`] the effect is negative.
pub fn mean_detectable(plan: &MeanPlan, n_control: f64, power: f64) -> Result<f64, BadInput> {
    open_unit("power", power)?;
    let sign = if plan.alternative == Alternative::Smaller { -1.0 } else { 1.0 };
    mean_power(&MeanPlan { effect: sign, ..*plan }, n_control)?;
    let at = |effect: f64| mean_power(&MeanPlan { effect: sign * effect, ..*plan }, n_control).unwrap_or(f64::NAN);
    let mut high = 0.01;
    while at(high) < power && high < 1e6 {
        high *= 2.0;
    }
    Ok(sign * solve_increasing(at, power, 0.0, high))
}

fn sample_size(power_at: impl Fn(f64) -> Result<f64, BadInput>, least: f64, power: f64) -> Result<f64, BadInput> {
    let mut high = least.max(2.0);
    while power_at(high)? < power {
        high *= 2.0;
        if high > 1e14 {
            let problem = Problem::OutOfRange {
                found: "too small or of the wrong sign".into(),
                allowed: "an effect that the test looks for",
            };
            return Err(BadInput::new("effect", problem, "plan for a larger effect or turn the alternative round"));
        }
    }
    Ok(solve_increasing(|n| power_at(n).unwrap_or(f64::NAN), power, least, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_size_reaches_its_power() {
        let plan = MeanPlan { effect: 0.2, alpha: 0.05, ratio: 1.5, alternative: Alternative::TwoSided };
        let n = mean_sample_size(&plan, 0.8).unwrap();
        assert!((mean_power(&plan, n).unwrap() - 0.8).abs() < 1e-9);
        assert!((mean_detectable(&plan, n, 0.8).unwrap() - 0.2).abs() < 1e-9);
    }

    #[test]
    fn an_effect_of_the_wrong_sign_is_refused() {
        let plan = MeanPlan { effect: -0.2, alpha: 0.05, ratio: 1.0, alternative: Alternative::Larger };
        assert_eq!(mean_sample_size(&plan, 0.8).unwrap_err().field(), "effect");
    }
}
