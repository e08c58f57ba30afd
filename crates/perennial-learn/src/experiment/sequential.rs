//! Intervals that hold at every look: asymptotic confidence sequences and the mixture SPRT.
//!
//! Papers: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and
//! asymptotic confidence sequences" (2021-2024), equations 9 and 14; Johari, Koomen, Pekelis &
//! Walsh, "Always valid inference" (2022).

use super::{Effect, Readout, Side};
use crate::input::{BadInput, Problem, finite, open_unit, positive, real64, same_length};
use serde::{Deserialize, Serialize};

/// The number of customers at which the default interval is tightest.
pub const DEFAULT_TUNING: f64 = 5000.0;

/// A one-sided sequence doubles its level, and its tuning needs that below one; p-values beyond
/// are reported as this.
const ONE_SIDED_CAP: f64 = 0.4999;

/// The squared mixture parameter that makes a level-`alpha` sequence tightest at `tuning`.
fn rho_squared(alpha: f64, tuning: f64) -> f64 {
    let l = -2.0 * alpha.ln();
    (l + (l + 1.0).ln()) / tuning
}

/// The half width in standard errors of a one-sided sequence; `v` is customers times rho squared.
fn one_sided_width(alpha: f64, v: f64) -> f64 {
    (2.0 * (v + 1.0) / v * ((v + 1.0).sqrt() / (2.0 * alpha)).ln_1p()).sqrt()
}

/// Reads out an effect so that the interval is valid at all times at once.
///
/// `tuning` is the number of customers (both variants) at which the interval should be tightest.
///
/// # Errors
/// When `alpha` lies outside (0, 1), or outside (0, 1/2) for one side, or `tuning` is not positive.
pub fn always_valid(effect: &Effect, side: Side, alpha: f64, tuning: f64) -> Result<Readout, BadInput> {
    open_unit("alpha", alpha)?;
    positive("tuning", tuning)?;
    if side != Side::Both && alpha >= ONE_SIDED_CAP {
        return Err(BadInput::range("alpha", alpha, "below 0.4999 for one side"));
    }
    let (estimate, se) = (effect.estimate, effect.standard_error);
    let z = estimate / se;
    let level = if side == Side::Both { alpha } else { 2.0 * alpha };
    let v = real64(effect.n) * rho_squared(level, tuning);
    let (lower, upper, p_value) = match side {
        Side::Both => {
            let reach = se * (2.0 * (v + 1.0) / v * (0.5 * v.ln_1p() - alpha.ln())).sqrt();
            let p = ((v + 1.0).sqrt() * (-0.5 * z * z * v / (v + 1.0)).exp()).min(1.0);
            (estimate - reach, estimate + reach, p)
        }
        Side::Greater => (estimate - se * one_sided_width(alpha, v), f64::INFINITY, one_sided_p(z, v)),
        Side::Less => (f64::NEG_INFINITY, estimate + se * one_sided_width(alpha, v), one_sided_p(-z, v)),
    };
    Ok(Readout { estimate, standard_error: se, lower, upper, p_value })
}

/// The level at which the one-sided sequence just excludes zero, with the mixture kept as tuned
/// for the level asked for; solved in closed form from the width.
fn one_sided_p(z: f64, v: f64) -> f64 {
    if z <= 0.0 {
        return ONE_SIDED_CAP;
    }
    let p = (v + 1.0).sqrt() / (2.0 * (0.5 * z * z * v / (v + 1.0)).exp_m1());
    p.min(ONE_SIDED_CAP)
}

/// A confidence sequence for the mean of a stream, updated one outcome at a time (equation 9).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceSequence {
    alpha: f64,
    rho: f64,
    count: u64,
    mean: f64,
    scatter: f64,
}

impl ConfidenceSequence {
    /// Starts a sequence at level `alpha` with mixture parameter `rho`.
    ///
    /// # Errors
    /// When `alpha` lies outside (0, 1) or `rho` is not positive.
    pub fn new(alpha: f64, rho: f64) -> Result<Self, BadInput> {
        open_unit("alpha", alpha)?;
        positive("rho", rho)?;
        Ok(Self { alpha, rho, count: 0, mean: 0.0, scatter: 0.0 })
    }

    /// Starts a sequence that is tightest after about `tuning` outcomes.
    ///
    /// # Errors
    /// As [`ConfidenceSequence::new`].
    pub fn tightest_at(alpha: f64, tuning: f64) -> Result<Self, BadInput> {
        open_unit("alpha", alpha)?;
        positive("tuning", tuning)?;
        Self::new(alpha, rho_squared(alpha, tuning).sqrt())
    }

    /// Takes the next outcome (Welford's update).
    ///
    /// # Errors
    /// When the outcome is not finite.
    pub fn push(&mut self, outcome: f64) -> Result<(), BadInput> {
        finite("outcome", &[outcome])?;
        self.count += 1;
        let before = outcome - self.mean;
        self.mean += before / real64(self.count);
        self.scatter += before * (outcome - self.mean);
        Ok(())
    }

    /// The running mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Half the interval's width; infinite before the first outcome.
    pub fn half_width(&self) -> f64 {
        if self.count == 0 {
            return f64::INFINITY;
        }
        let t = real64(self.count);
        let v = t * self.rho * self.rho;
        let spread = (self.scatter / t).sqrt();
        spread * (2.0 * (v + 1.0) / (t * v) * (0.5 * v.ln_1p() - self.alpha.ln())).sqrt()
    }
}

/// The mixture SPRT for the difference of two means with known variances: a normal mixture with
/// variance `tau2` over the effect. Its p-value never rises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MixtureTest {
    variance_sum: f64,
    tau2: f64,
    pairs: u64,
    sum: f64,
    p_value: f64,
}

impl MixtureTest {
    /// Starts a test; `variance_sum` is the sum of both outcomes' variances.
    ///
    /// # Errors
    /// When either number is not positive.
    pub fn new(variance_sum: f64, tau2: f64) -> Result<Self, BadInput> {
        positive("variance_sum", variance_sum)?;
        positive("tau2", tau2)?;
        Ok(Self { variance_sum, tau2, pairs: 0, sum: 0.0, p_value: 1.0 })
    }

    /// Takes one outcome of each variant and answers with the always-valid p-value.
    ///
    /// # Errors
    /// When an outcome is not finite.
    pub fn push(&mut self, control: f64, treatment: f64) -> Result<f64, BadInput> {
        finite("outcome", &[control, treatment])?;
        self.pairs += 1;
        self.sum += treatment - control;
        let (n, v) = (real64(self.pairs), self.variance_sum);
        let spread = v + n * self.tau2;
        let log_ratio = 0.5 * (v / spread).ln() + self.tau2 * self.sum * self.sum / (2.0 * v * spread);
        self.p_value = self.p_value.min((-log_ratio).exp());
        Ok(self.p_value)
    }

    /// Runs over two streams and gives the p-value after each pair.
    ///
    /// # Errors
    /// When the streams differ in length, are empty, or hold a value that is not finite.
    pub fn path(mut self, control: &[f64], treatment: &[f64]) -> Result<Vec<f64>, BadInput> {
        same_length("treatment", treatment.len(), control.len())?;
        if control.is_empty() {
            return Err(BadInput::new("control", Problem::Empty, "wait for the first outcomes"));
        }
        control.iter().zip(treatment).map(|(&a, &b)| self.push(a, b)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{generator, uniform};

    /// With no effect, peeking after each hundred customers must rarely claim one.
    #[test]
    fn peeking_keeps_the_promised_error_rate() {
        let mut rng = generator(5);
        let mut claims = 0;
        for _ in 0..400 {
            let mut sequence = ConfidenceSequence::tightest_at(0.05, 500.0).unwrap();
            let mut claimed = false;
            for t in 1..=1500 {
                sequence.push(uniform(&mut rng) - 0.5).unwrap();
                claimed |= t >= 50 && sequence.mean().abs() > sequence.half_width();
            }
            claims += usize::from(claimed);
        }
        assert!(claims <= 24, "{claims} of 400 claimed an effect that is not there");
    }

    #[test]
    fn one_sided_p_values_agree_with_their_interval() {
        let v = 11.0;
        for z in [2.6, 3.4, 5.0] {
            assert!((one_sided_width(one_sided_p(z, v), v) - z).abs() < 1e-9);
        }
        assert!((one_sided_p(-1.0, v) - ONE_SIDED_CAP).abs() < 1e-12);
    }
}
