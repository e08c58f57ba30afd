//! Bayesian read-outs with priors that are stated, never implied.

use super::distribution::{beta_density, normal_cdf, normal_density, normal_quantile, simpson};
use super::{Difference, Effect};
use crate::input::{BadInput, finite, open_unit, positive};
use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;

/// In which unit the prior speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PriorScale {
    /// As a share of the control's mean.
    #[default]
    Relative,
    /// In units of the measure.
    Absolute,
}

/// What is believed about the effect before the experiment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum GaussianPrior {
    /// Nothing: the posterior is the likelihood.
    Flat,
    /// A normal distribution.
    Normal {
        /// The effect expected.
        mean: f64,
        /// Its variance.
        variance: f64,
        /// The unit of both.
        scale: PriorScale,
    },
}

/// What is believed about the effect after the experiment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Posterior {
    /// The posterior mean.
    pub estimate: f64,
    /// The posterior standard deviation.
    pub standard_deviation: f64,
    /// The credible interval's lower end.
    pub lower: f64,
    /// The credible interval's upper end.
    pub upper: f64,
    /// P(effect > 0).
    pub chance_to_win: f64,
    /// The expected loss of keeping the control.
    pub risk_of_control: f64,
    /// The expected loss of choosing the treatment.
    pub risk_of_treatment: f64,
}

impl Posterior {
    /// The same posterior for a measure where less is better.
    #[must_use]
    pub fn inverted(self) -> Self {
        Self {
            chance_to_win: 1.0 - self.chance_to_win,
            risk_of_control: self.risk_of_treatment,
            risk_of_treatment: self.risk_of_control,
            ..self
        }
    }
}

/// Combines a prior with an effect (normal-normal). `difference` tells the effect's unit, so that a
/// prior in the other unit is converted by the control's mean.
///
/// # Errors
/// When `alpha` lies outside (0, 1) or the prior's variance is not positive.
pub fn gaussian_posterior(
    effect: &Effect,
    difference: Difference,
    prior: GaussianPrior,
    alpha: f64,
) -> Result<Posterior, BadInput> {
    open_unit("alpha", alpha)?;
    let (mut mean, mut variance) = (effect.estimate, effect.standard_error.powi(2));
    if let GaussianPrior::Normal { mean: prior_mean, variance: prior_variance, scale } = prior {
        positive("prior.variance", prior_variance)?;
        let unit = match (scale, difference) {
            (PriorScale::Relative, Difference::Absolute) => effect.control_mean.abs(),
            (PriorScale::Absolute, Difference::Relative) => 1.0 / effect.control_mean.abs(),
            _ => 1.0,
        };
        let prior_variance = prior_variance * unit * unit;
        // The data's share of what is known; both certain, or both vague, is half.
        let share = prior_variance / (prior_variance + variance);
        let share = if share.is_nan() { 0.5 } else { share };
        mean = share * mean + (1.0 - share) * prior_mean * unit;
        variance *= share;
    }
    let deviation = variance.sqrt();
    positive("effect.standard_error", deviation)?;
    finite("effect.estimate", &[mean])?;
    let z = mean / deviation;
    let reach = -normal_quantile(alpha / 2.0) * deviation;
    Ok(Posterior {
        estimate: mean,
        standard_deviation: deviation,
        lower: mean - reach,
        upper: mean + reach,
        chance_to_win: normal_cdf(z),
        risk_of_control: deviation * (normal_density(z) + z * normal_cdf(z)),
        risk_of_treatment: deviation * (normal_density(z) - z * normal_cdf(-z)),
    })
}

/// A Beta distribution over a share: the prior's counts plus those seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BetaPosterior {
    /// Prior weight of yes plus the yes seen.
    pub alpha: f64,
    /// Prior weight of no plus the no seen.
    pub beta: f64,
}

impl BetaPosterior {
    fn mean(self) -> f64 {
        self.alpha / (self.alpha + self.beta)
    }

    fn deviation(self) -> f64 {
        let n = self.alpha + self.beta;
        (self.mean() * (1.0 - self.mean()) / (n + 1.0)).sqrt()
    }

    fn below(self, x: f64) -> f64 {
        if x <= 0.0 {
            0.0
        } else if x >= 1.0 {
            1.0
        } else {
            beta_reg(self.alpha, self.beta, x)
        }
    }
}

/// Two shares against each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BetaContest {
    /// P(treatment's share > control's share).
    pub chance_to_win: f64,
    /// The expected shortfall when the control is chosen.
    pub loss_of_control: f64,
    /// The expected shortfall when the treatment is chosen.
    pub loss_of_treatment: f64,
}

/// Compares two independent Beta posteriors by quadrature:
/// `P(B > A) = ∫ b(x) F_A(x) dx` and `E[(A - B)+] = ∫ P(A > t) P(B < t) dt`.
///
/// # Errors
/// When a parameter is not positive.
pub fn beta_contest(control: BetaPosterior, treatment: BetaPosterior) -> Result<BetaContest, BadInput> {
    for (field, value) in [
        ("control.alpha", control.alpha),
        ("control.beta", control.beta),
        ("treatment.alpha", treatment.alpha),
        ("treatment.beta", treatment.beta),
    ] {
        positive(field, value)?;
    }
    let near = |p: BetaPosterior| (p.mean() - 14.0 * p.deviation(), p.mean() + 14.0 * p.deviation());
    let (a, b) = (near(control), near(treatment));
    let (low, high) = (a.0.min(b.0).max(0.0), a.1.max(b.1).min(1.0));
    // Panels follow the narrower of the two, so that a certain variant beside a vague one is seen.
    let finest = control.deviation().min(treatment.deviation());
    let panels = panels_for((high - low) / finest);
    let loss = |worse: BetaPosterior, better: BetaPosterior| {
        simpson(|t| (1.0 - better.below(t)) * worse.below(t), low, high, panels)
    };
    let chance_to_win = if treatment.alpha.min(treatment.beta) >= 1.0 {
        simpson(|x| density_inside(x, treatment) * control.below(x), low, high, panels)
    } else {
        // A density without a bound at the edge: integrate by parts, so that only distributions remain.
        win_by_steps(control, treatment)
    };
    Ok(BetaContest {
        chance_to_win: chance_to_win.clamp(0.0, 1.0),
        loss_of_control: loss(control, treatment),
        loss_of_treatment: loss(treatment, control),
    })
}

fn density_inside(x: f64, p: BetaPosterior) -> f64 {
    let x = x.clamp(1e-300, 1.0 - 1e-16);
    beta_density(x, p.alpha, p.beta)
}

/// P(B > A) as a Stieltjes sum over equal steps of B's distribution.
fn win_by_steps(control: BetaPosterior, treatment: BetaPosterior) -> f64 {
    const STEPS: usize = 20_000;
    let at = |i: usize| crate::input::real(i) / crate::input::real(STEPS);
    (0..STEPS)
        .map(|i| {
            let mass = treatment.below(at(i + 1)) - treatment.below(at(i));
            mass * 0.5 * (control.below(at(i)) + control.below(at(i + 1)))
        })
        .sum()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a small positive range")]
fn panels_for(widths: f64) -> usize {
    2 * ((widths * 12.0).clamp(400.0, 20_000.0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_win_half_the_time() {
        let p = BetaPosterior { alpha: 12.0, beta: 90.0 };
        let c = beta_contest(p, p).unwrap();
        assert!((c.chance_to_win - 0.5).abs() < 1e-8 && (c.loss_of_control - c.loss_of_treatment).abs() < 1e-10);
    }

    #[test]
    fn a_strong_prior_pulls_the_effect_towards_itself() {
        let e = Effect {
            estimate: 0.3,
            standard_error: 0.1,
            degrees_of_freedom: 100.0,
            n: 100,
            control_mean: 2.0,
            theta: None,
        };
        let prior = GaussianPrior::Normal { mean: 0.0, variance: 0.01, scale: PriorScale::Relative };
        let p = gaussian_posterior(&e, Difference::Relative, prior, 0.05).unwrap();
        assert!((p.estimate - 0.15).abs() < 1e-12);
        let flipped = p.inverted();
        assert!((flipped.chance_to_win + p.chance_to_win - 1.0).abs() < 1e-12);
    }
}
