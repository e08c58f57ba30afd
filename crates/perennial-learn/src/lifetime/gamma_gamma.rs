//! Gamma-Gamma: what a customer spends per purchase (Fader & Hardie 2013, after Colombo & Jiang 1999).
//!
//! Promise: the maximum of the full density of the mean spend. It assumes that spend does not go
//! along with frequency; [`correlation`] says how far that holds. Only repeat buyers take part.

#![allow(clippy::float_cmp, reason = "values that were copied or counted are compared, not computed ones")]

use serde::{Deserialize, Serialize};
use statrs::function::gamma::{digamma, ln_gamma};

use super::{
    Fit, Parameters,
    fit::{climb, finish},
};
use crate::{
    input::{BadInput, LARGEST, no_measure},
    optimise::Local,
    special::trigamma,
};

/// Repeat purchases and what they were worth on average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spend {
    /// Repeat purchases.
    pub frequency: u32,
    /// Mean value of a repeat purchase, in money; not read when `frequency` is 0.
    pub mean: f64,
}

/// A published Gamma-Gamma model: spends ~ Gamma(p, ν) with ν ~ Gamma(q, v) over customers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GammaGamma {
    /// Shape of one customer's spends.
    pub p: f64,
    /// Shape of the customers' scales; above 1 when the population has a mean.
    pub q: f64,
    /// Scale of the customers' scales, in money.
    pub v: f64,
}

/// Fits by maximum likelihood on the customers with repeat purchases of positive value.
///
/// Customers without repeats, or whose mean is 0 (gifts), are left out; negative means are refused.
pub fn fit(spends: &[Spend]) -> Result<Fit<GammaGamma>, BadInput> {
    let mut by_frequency = repeats(spends)?;
    by_frequency.sort_by(|a, b| a.frequency.cmp(&b.frequency).then(a.mean.total_cmp(&b.mean)));
    if by_frequency.len() < 3 {
        return Err(BadInput::TooFew { field: "spend".into(), found: by_frequency.len(), needed: 3 });
    }
    if by_frequency.iter().all(|s| s.mean == by_frequency[0].mean) {
        return Err(BadInput::Constant { field: "spend".into() });
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of customers")]
    let count = by_frequency.len() as f64;
    let mean = by_frequency.iter().map(|s| s.mean).sum::<f64>() / count;
    let maximum = climb([2.0, 3.0, mean], 1e-8 + 1e-13 * count, |p| likelihood(p, &by_frequency));
    finish("Gamma-Gamma", &maximum, by_frequency.len(), |[p, q, v]| GammaGamma { p, q, v })
}

/// The customers that have something to say about money.
fn repeats(spends: &[Spend]) -> Result<Vec<Spend>, BadInput> {
    let mut repeats = Vec::with_capacity(spends.len());
    for (row, spend) in spends.iter().enumerate().filter(|(_, s)| s.frequency > 0) {
        if spend.mean.is_nan() || spend.mean.abs() > LARGEST {
            return Err(no_measure("spend", row, spend.mean));
        }
        if spend.mean < 0.0 {
            return Err(BadInput::OutOfRange { field: "spend".into(), row, allowed: "0 or more (net of refunds)" });
        }
        if spend.mean > 0.0 {
            repeats.push(*spend);
        }
    }
    Ok(repeats)
}

/// Total log density of the mean spends with gradient and Hessian in `[p, q, v]`.
fn likelihood(at: &[f64; 3], spends: &[Spend]) -> Local<3> {
    let [p, q, v] = *at;
    let mut total = Local { value: 0.0, gradient: [0.0; 3], hessian: [[0.0; 3]; 3] };
    let [of_q, slope_q, bend_q] = [ln_gamma(q), digamma(q), trigamma(q)];
    let mut frequency = 0;
    let (mut x, mut shape, mut constant, mut slopes, mut bends) = (0.0, 0.0, 0.0, [0.0; 2], [0.0; 2]);
    for spend in spends {
        if spend.frequency != frequency {
            frequency = spend.frequency;
            x = f64::from(frequency);
            shape = p * x + q;
            constant = ln_gamma(shape) - ln_gamma(p * x) - of_q + q * v.ln() + p * x * x.ln();
            slopes = [digamma(shape) - digamma(p * x) + x.ln(), digamma(shape) - slope_q + v.ln()];
            bends = [trigamma(shape), trigamma(shape) - trigamma(p * x)];
        }
        let (spent, ln_mean) = (x * spend.mean + v, spend.mean.ln());
        let (ln_spent, inverse) = (spent.ln(), 1.0 / spent);
        total.value += constant + (p * x - 1.0) * ln_mean - shape * ln_spent;
        total.gradient[0] += x * (slopes[0] + ln_mean - ln_spent);
        total.gradient[1] += slopes[1] - ln_spent;
        total.gradient[2] += q / v - shape * inverse;
        total.hessian[0][0] += x * x * bends[1];
        total.hessian[0][1] += x * bends[0];
        total.hessian[0][2] -= x * inverse;
        total.hessian[1][1] += bends[0] - bend_q;
        total.hessian[1][2] += 1.0 / v - inverse;
        total.hessian[2][2] += shape * inverse * inverse - q / (v * v);
    }
    for i in 0..3 {
        for j in 0..i {
            total.hessian[i][j] = total.hessian[j][i];
        }
    }
    total
}

impl GammaGamma {
    /// Expected mean spend over all future purchases of one customer, in money: between what this
    /// customer spent and what the population spends. NaN when `q` is 1 or less and nothing is known.
    pub fn expected_spend(&self, spend: Spend) -> f64 {
        let Self { p, q, v } = *self;
        let known = p * f64::from(spend.frequency);
        if spend.frequency == 0 {
            return self.population_mean();
        }
        (p * v + known * spend.mean) / (known + q - 1.0)
    }

    /// Mean spend over the population, p v / (q - 1); NaN when `q` is 1 or less.
    pub fn population_mean(&self) -> f64 {
        if self.q > 1.0 { self.p * self.v / (self.q - 1.0) } else { f64::NAN }
    }

    /// Total log density of the mean spends of repeat buyers.
    pub fn log_likelihood(&self, spends: &[Spend]) -> f64 {
        let repeats: Vec<_> = spends.iter().copied().filter(|s| s.frequency > 0 && s.mean > 0.0).collect();
        likelihood(&[self.p, self.q, self.v], &repeats).value
    }
}

impl Parameters for GammaGamma {
    const NAMES: &'static [&'static str] = &["p", "q", "v"];

    fn values(&self) -> Vec<f64> {
        vec![self.p, self.q, self.v]
    }

    fn with(&self, values: &[f64]) -> Self {
        Self { p: values[0], q: values[1], v: values[2] }
    }
}

/// Pearson correlation of frequency and mean spend among repeat buyers, in [-1, 1]; the model
/// assumes it to be near 0. Nothing when there are fewer than three or either does not vary.
pub fn correlation(spends: &[Spend]) -> Option<f64> {
    let repeats = repeats(spends).ok()?;
    if repeats.len() < 3 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of customers")]
    let n = repeats.len() as f64;
    let mean_x = repeats.iter().map(|s| f64::from(s.frequency)).sum::<f64>() / n;
    let mean_m = repeats.iter().map(|s| s.mean).sum::<f64>() / n;
    let [mut xx, mut xm, mut mm] = [0.0; 3];
    for s in &repeats {
        let (dx, dm) = (f64::from(s.frequency) - mean_x, s.mean - mean_m);
        xx += dx * dx;
        xm += dx * dm;
        mm += dm * dm;
    }
    (xx > 0.0 && mm > 0.0).then(|| xm / (xx * mm).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::{fit::derivatives, made_up::spends};

    #[test]
    fn stated_derivatives_are_those_of_the_density() {
        let spends: Vec<_> = spends(60).into_iter().filter(|s| s.frequency > 0).collect();
        derivatives::hold([6.2, 3.7, 15.4], |p| likelihood(p, &spends));
    }

    #[test]
    fn expectations_lie_between_customer_and_population() {
        let fitted = fit(&spends(600)).unwrap();
        let population = fitted.model.population_mean();
        let dear = fitted.model.expected_spend(Spend { frequency: 3, mean: population * 2.0 });
        assert!(dear > population && dear < population * 2.0);
        let surer = fitted.model.expected_spend(Spend { frequency: 30, mean: population * 2.0 });
        assert!(surer > dear);
        assert!(fitted.standard_errors().is_some());
    }

    #[test]
    fn money_that_cannot_be_is_refused() {
        assert!(fit(&[Spend { frequency: 1, mean: -3.0 }]).unwrap_err().to_string().contains("`spend` in row 0"));
        assert!(fit(&[Spend { frequency: 0, mean: 3.0 }]).is_err());
        assert!(fit(&[Spend { frequency: 2, mean: 3.0 }; 5]).is_err());
        assert!(correlation(&spends(100)).unwrap().abs() < 0.5);
    }
}
