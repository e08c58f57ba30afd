//! What customers have in common besides their history: covariates that do not change with time.
//!
//! As in Fader & Hardie (2007), "Incorporating time-invariant covariates": a customer with
//! covariates z has purchase scale α e^(-γ·z), and chances to leave Beta(a e^(δ·z), b e^(δ·z)) in
//! BG/NBD and MBG/NBD. Promise: a maximum of that likelihood by L-BFGS with exact gradients; with no
//! covariates it is the plain fit. Absent on purpose: covariates that change with time.

use serde::{Deserialize, Serialize};

use super::{Purchases, bgnbd, bgnbd::Bgnbd, geometric};
use crate::{
    input::{self, BadInput, same_length},
    optimise,
};

/// One covariate: a value for each customer.
#[derive(Debug, Clone, PartialEq)]
pub struct Covariate {
    /// Its name, unique.
    pub name: String,
    /// Values, finite, not all equal; 0 and 1 for yes-or-no.
    pub values: Vec<f64>,
}

/// What one covariate does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The covariate's name.
    pub name: String,
    /// γ: one unit more multiplies the purchase rate by e^γ.
    pub on_rate: f64,
    /// Standard error of `on_rate`; absent when the likelihood is flat.
    pub on_rate_error: Option<f64>,
    /// δ: above 0 chances to leave vary less between customers with one unit more.
    pub on_leaving: f64,
    /// Standard error of `on_leaving`.
    pub on_leaving_error: Option<f64>,
}

/// BG/NBD with covariates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WithCovariates {
    /// The model of a customer whose covariates are all 0.
    pub baseline: Bgnbd,
    /// Effects, in the order of the covariates handed in.
    pub effects: Vec<Effect>,
    /// The maximum reached.
    pub log_likelihood: f64,
    /// Twice the gain in log-likelihood over the fit without covariates: chi-squared with two
    /// degrees of freedom a covariate when they do nothing.
    pub likelihood_ratio: f64,
    /// Whether the climb ended at a maximum rather than by running out of steps.
    pub converged: bool,
}

/// Evaluations the climb may take.
const MOST: usize = 400;

/// Fits BG/NBD with covariates.
pub fn fit(customers: &[Purchases], covariates: &[Covariate]) -> Result<WithCovariates, BadInput> {
    let plain = bgnbd::fit(customers)?;
    let scaled = standardise(covariates, customers.len())?;
    let k = covariates.len();
    let mut start: Vec<f64> = [plain.model.r, plain.model.alpha, plain.model.a, plain.model.b].map(f64::ln).to_vec();
    start.resize(4 + 2 * k, 0.0);
    #[expect(clippy::cast_precision_loss, reason = "a count of customers")]
    let tolerance = 1e-6 * (customers.len() as f64).max(10.0);
    let likelihood = |at: &[f64], gradient: &mut [f64]| likelihood(at, customers, &scaled, gradient);
    let peak = optimise::lbfgs(start, tolerance, MOST, likelihood);
    let errors = errors(&peak.at, likelihood);
    let found = publish(&peak, plain.log_likelihood, errors.as_deref(), &scaled);
    let Bgnbd { r, alpha, a, b } = found.baseline;
    let sound = [r, alpha, a, b].iter().all(|p| *p > 0.0 && p.is_finite()) && found.log_likelihood.is_finite();
    if sound { Ok(found) } else { Err(BadInput::NoMaximum { model: "BG/NBD with covariates" }) }
}

/// A covariate moved to mean 0 and spread 1, and how to move back.
struct Scaled {
    name: String,
    values: Vec<f64>,
    mean: f64,
    spread: f64,
}

fn standardise(covariates: &[Covariate], customers: usize) -> Result<Vec<Scaled>, BadInput> {
    let mut scaled: Vec<Scaled> = Vec::with_capacity(covariates.len());
    for covariate in covariates {
        let field = covariate.name.as_str();
        same_length(field, covariate.values.len(), customers)?;
        input::finite(field, &covariate.values)?;
        if scaled.iter().any(|s| s.name == field) {
            return Err(BadInput::Duplicate { field: field.into() });
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of customers")]
        let n = customers as f64;
        let mean = covariate.values.iter().sum::<f64>() / n;
        let spread = (covariate.values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt();
        if spread <= mean.abs() * 1e-12 {
            return Err(BadInput::Constant { field: field.into() });
        }
        let values = covariate.values.iter().map(|v| (v - mean) / spread).collect();
        scaled.push(Scaled { name: field.into(), values, mean, spread });
    }
    Ok(scaled)
}

/// Log-likelihood and gradient in `[ln r, ln α, ln a, ln b, γ.., δ..]`, covariates standardised.
fn likelihood(at: &[f64], customers: &[Purchases], covariates: &[Scaled], gradient: &mut [f64]) -> f64 {
    let k = covariates.len();
    let (gamma, delta) = at[4..].split_at(k);
    gradient.fill(0.0);
    let mut total = 0.0;
    for (row, &customer) in customers.iter().enumerate() {
        let (mut rate, mut leaving) = (0.0, 0.0);
        for (j, covariate) in covariates.iter().enumerate() {
            rate += gamma[j] * covariate.values[row];
            leaving += delta[j] * covariate.values[row];
        }
        let own = [at[0], at[1] - rate, at[2] + leaving, at[3] + leaving].map(f64::exp);
        let local = geometric::likelihood_of_one(&own, geometric::Leaves::AfterRepeat, customer);
        total += local.value;
        let slope: [f64; 4] = std::array::from_fn(|i| own[i] * local.gradient[i]);
        for (g, s) in gradient.iter_mut().zip(slope) {
            *g += s;
        }
        for (j, covariate) in covariates.iter().enumerate() {
            gradient[4 + j] -= slope[1] * covariate.values[row];
            gradient[4 + k + j] += (slope[2] + slope[3]) * covariate.values[row];
        }
    }
    total
}

/// Standard errors at a maximum from central differences of the gradient.
fn errors(at: &[f64], likelihood: impl Fn(&[f64], &mut [f64]) -> f64) -> Option<Vec<f64>> {
    let n = at.len();
    let mut information = vec![0.0; n * n];
    let (mut up, mut down) = (vec![0.0; n], vec![0.0; n]);
    for i in 0..n {
        let mut moved = at.to_vec();
        moved[i] += 1e-4;
        likelihood(&moved, &mut up);
        moved[i] -= 2e-4;
        likelihood(&moved, &mut down);
        for j in 0..n {
            let curvature = (down[j] - up[j]) / 2e-4;
            information[i * n + j] += 0.5 * curvature;
            information[j * n + i] += 0.5 * curvature;
        }
    }
    (0..n)
        .map(|i| {
            let (mut matrix, mut unit) = (information.clone(), vec![0.0; n]);
            unit[i] = 1.0;
            optimise::solve_dense(&mut matrix, &mut unit).then(|| unit[i].max(0.0).sqrt())
        })
        .collect()
}

/// Moves the answer back to the covariates' own units.
fn publish(peak: &optimise::Peak, plain: f64, errors: Option<&[f64]>, covariates: &[Scaled]) -> WithCovariates {
    let k = covariates.len();
    let mut baseline: [f64; 4] = std::array::from_fn(|i| peak.at[i]);
    let effects = covariates
        .iter()
        .enumerate()
        .map(|(j, c)| {
            let (rate, leaving) = (peak.at[4 + j] / c.spread, peak.at[4 + k + j] / c.spread);
            baseline[1] += rate * c.mean;
            baseline[2] -= leaving * c.mean;
            baseline[3] -= leaving * c.mean;
            let error = |i: usize| errors.map(|e| e[i] / c.spread);
            Effect {
                name: c.name.clone(),
                on_rate: rate,
                on_rate_error: error(4 + j),
                on_leaving: leaving,
                on_leaving_error: error(4 + k + j),
            }
        })
        .collect();
    let [r, alpha, a, b] = baseline.map(f64::exp);
    WithCovariates {
        baseline: Bgnbd { r, alpha, a, b },
        effects,
        log_likelihood: peak.value,
        likelihood_ratio: 2.0 * (peak.value - plain),
        converged: peak.converged,
    }
}

impl WithCovariates {
    /// The plain model of a customer with these covariates, in the order of the effects; covariates
    /// that are missing at the end count as 0.
    pub fn model_of(&self, covariates: &[f64]) -> Bgnbd {
        let (mut rate, mut leaving) = (0.0, 0.0);
        for (effect, value) in self.effects.iter().zip(covariates) {
            rate += effect.on_rate * value;
            leaving += effect.on_leaving * value;
        }
        let Bgnbd { r, alpha, a, b } = self.baseline;
        Bgnbd { r, alpha: alpha * (-rate).exp(), a: a * leaving.exp(), b: b * leaving.exp() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::made_up;

    #[test]
    fn without_covariates_it_is_the_plain_fit() {
        let customers = made_up::customers(400, 2);
        let plain = bgnbd::fit(&customers).unwrap();
        let same = fit(&customers, &[]).unwrap();
        assert!((same.log_likelihood - plain.log_likelihood).abs() < 1e-6);
    }

    #[test]
    fn those_who_live_faster_are_seen_to() {
        // The second half has its time stretched: it buys at half the rate.
        let mut customers = made_up::customers(1_200, 29);
        let slow =
            Covariate { name: "slow".into(), values: (0..1_200).map(|i| f64::from(u8::from(i >= 600))).collect() };
        for c in &mut customers[600..] {
            c.recency *= 2.0;
            c.age *= 2.0;
        }
        let fitted = fit(&customers, std::slice::from_ref(&slow)).unwrap();
        let effect = &fitted.effects[0];
        let error = effect.on_rate_error.unwrap();
        assert!((effect.on_rate + 2.0_f64.ln()).abs() < 3.0 * error, "{effect:?}");
        assert!(fitted.likelihood_ratio > 10.0 && fitted.converged);
        let ratio = fitted.model_of(&[1.0]).alpha / fitted.model_of(&[0.0]).alpha;
        assert!((ratio.ln() + effect.on_rate).abs() < 1e-12);
        let twice = fit(&customers, &[slow.clone(), slow]);
        assert!(matches!(twice, Err(BadInput::Duplicate { .. })));
    }

    #[test]
    fn a_customer_who_buys_at_half_the_pace_is_worth_as_much_in_twice_the_time() {
        use crate::lifetime::value::{Horizon, discounted};
        let slow = Effect {
            name: "slow".into(),
            on_rate: -2.0_f64.ln(),
            on_rate_error: None,
            on_leaving: 0.0,
            on_leaving_error: None,
        };
        let fitted = WithCovariates {
            baseline: Bgnbd { r: 0.24, alpha: 4.4, a: 0.8, b: 2.4 },
            effects: vec![slow],
            log_likelihood: 0.0,
            likelihood_ratio: 0.0,
            converged: true,
        };
        let quick = Purchases { frequency: 3, recency: 20.0, age: 30.0 };
        let same_but_slow = Purchases { recency: 40.0, age: 60.0, ..quick };
        let year = |length| Horizon { periods: 12, length, discount: 0.01 };
        let value = |slow: f64, customer, length| discounted(&fitted.model_of(&[slow]), customer, 10.0, year(length));
        assert!((value(0.0, quick, 4.0) - value(1.0, same_but_slow, 8.0)).abs() < 1e-9);
        assert!(value(1.0, quick, 4.0) < value(0.0, quick, 4.0));
    }
}
