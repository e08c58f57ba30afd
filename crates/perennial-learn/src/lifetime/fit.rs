//! From a likelihood with derivatives to a fit with standard errors, the same way for each model.

use serde::{Deserialize, Serialize};

use super::{Purchases, group::Grouped};
use crate::{
    input::BadInput,
    optimise::{self, Local, Maximum},
};

/// A model given by positive parameters.
pub trait Parameters: Copy {
    /// Names of the parameters, in order.
    const NAMES: &'static [&'static str];
    /// The parameters, in the order of `NAMES`.
    fn values(&self) -> Vec<f64>;
    /// The same kind of model with these parameters.
    #[must_use]
    fn with(&self, values: &[f64]) -> Self;
}

/// A fitted model, how well it explains the customers, and how surely it is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit<M> {
    /// The published model.
    pub model: M,
    /// The maximum reached.
    pub log_likelihood: f64,
    /// Customers that took part.
    pub customers: usize,
    /// Inverse observed information in the model's own parameters (not their logarithms); absent
    /// when the likelihood is flat in some direction, so that no errors can be stated.
    pub covariance: Option<Vec<Vec<f64>>>,
}

impl<M> Fit<M> {
    /// The same fit under another type.
    pub fn map<N>(self, into: impl FnOnce(M) -> N) -> Fit<N> {
        Fit {
            model: into(self.model),
            log_likelihood: self.log_likelihood,
            customers: self.customers,
            covariance: self.covariance,
        }
    }

    /// Standard errors of the parameters, in their order.
    pub fn standard_errors(&self) -> Option<Vec<f64>> {
        let covariance = self.covariance.as_ref()?;
        Some((0..covariance.len()).map(|i| covariance[i][i].max(0.0).sqrt()).collect())
    }
}

impl<M: Parameters> Fit<M> {
    /// Standard error of any answer of the model, by the delta method with central differences.
    ///
    /// It covers the parameters' uncertainty only, not the spread of what customers then do.
    pub fn standard_error_of(&self, answer: impl Fn(&M) -> f64) -> Option<f64> {
        let covariance = self.covariance.as_ref()?;
        let at = self.model.values();
        let slope: Vec<f64> = (0..at.len())
            .map(|i| {
                let (mut up, mut down) = (at.clone(), at.clone());
                let step = at[i] * 1e-4;
                up[i] += step;
                down[i] -= step;
                (answer(&self.model.with(&up)) - answer(&self.model.with(&down))) / (2.0 * step)
            })
            .collect();
        let variance: f64 = (0..at.len())
            .flat_map(|i| (0..at.len()).map(move |j| (i, j)))
            .map(|(i, j)| slope[i] * covariance[i][j] * slope[j])
            .sum();
        Some(variance.max(0.0).sqrt())
    }
}

/// Parameters further out than e^±ESCAPED (times their scale) count as having run away.
const ESCAPED: f64 = 25.0;

/// Derivatives in the parameters turned into derivatives in their logarithms.
pub(super) fn in_logarithms<const N: usize>(natural: &Local<N>, parameters: &[f64; N]) -> Local<N> {
    let mut local = *natural;
    for i in 0..N {
        local.gradient[i] = parameters[i] * natural.gradient[i];
        for j in 0..N {
            local.hessian[i][j] = parameters[i] * parameters[j] * natural.hessian[i][j];
        }
        local.hessian[i][i] += local.gradient[i];
    }
    local
}

/// Climbs in the logarithms of the parameters from `start`, which are parameters.
pub(super) fn climb<const N: usize>(
    start: [f64; N],
    tolerance: f64,
    mut likelihood: impl FnMut(&[f64; N]) -> Local<N>,
) -> Maximum<N> {
    let mut maximum = optimise::newton(start.map(f64::ln), tolerance, |at| {
        let parameters = at.map(f64::exp);
        in_logarithms(&likelihood(&parameters), &parameters)
    });
    maximum.at = maximum.at.map(f64::exp);
    maximum
}

/// Samples that a fit starts from: rough parameters cost a fraction of a pass over everybody.
const SAMPLES: [usize; 2] = [3_000, 60_000];

/// Fits four positive parameters to customers: on samples first, then on all.
pub(super) fn fit_grouped<M>(
    name: &'static str,
    start: [f64; 4],
    customers: &[Purchases],
    likelihood: impl Fn(&[f64; 4], &Grouped) -> Local<4>,
    model: impl FnOnce([f64; 4]) -> M,
) -> Result<Fit<M>, BadInput> {
    let mut start = start;
    for sample in SAMPLES.into_iter().filter(|s| s * 3 < customers.len()) {
        let few = Grouped::sample(customers, sample);
        let rough = climb(start, 1e-3, |p| likelihood(p, &few));
        if rough.converged {
            start = rough.at;
        }
    }
    let everybody = Grouped::of(customers.iter().copied());
    let tolerance = 1e-9 + 1e-13 * everybody.customers;
    let maximum = climb(start, tolerance.max(1e-8), |p| likelihood(p, &everybody));
    finish(name, &maximum, customers.len(), model)
}

/// Checks a maximum and turns its curvature into a covariance matrix.
pub(super) fn finish<M, const N: usize>(
    name: &'static str,
    maximum: &Maximum<N>,
    customers: usize,
    model: impl FnOnce([f64; N]) -> M,
) -> Result<Fit<M>, BadInput> {
    let value = maximum.local.value;
    if !value.is_finite() || maximum.at.iter().any(|p| !p.is_finite() || *p <= 0.0) {
        return Err(BadInput::NoMaximum { model: name });
    }
    let inside = maximum.at.iter().all(|p| p.ln().abs() < ESCAPED);
    let information = maximum.local.hessian.map(|row| row.map(|h| -h));
    let covariance = optimise::inverse(information).filter(|_| maximum.converged && inside).map(|inverse| {
        (0..N).map(|i| (0..N).map(|j| inverse[i][j] * maximum.at[i] * maximum.at[j]).collect()).collect()
    });
    Ok(Fit { model: model(maximum.at), log_likelihood: value, customers, covariance })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::{RepeatBuying, bgnbd, gamma_gamma, made_up, mbgnbd, pareto};

    /// Standard errors by second differences of a log-likelihood.
    fn by_differences<M: Parameters, const N: usize>(model: &M, value: impl Fn(&M) -> f64) -> [f64; N] {
        let at = model.values();
        let step: [f64; N] = std::array::from_fn(|i| at[i] * 1e-3);
        let moved = |i: usize, by: f64, j: usize, and: f64| {
            let mut values = at.clone();
            values[i] += by * step[i];
            values[j] += and * step[j];
            value(&model.with(&values))
        };
        let bend = |i: usize, j: usize| {
            let crosswise = moved(i, 1.0, j, 1.0) - moved(i, 1.0, j, -1.0) - moved(i, -1.0, j, 1.0);
            (crosswise + moved(i, -1.0, j, -1.0)) / (4.0 * step[i] * step[j])
        };
        let information = std::array::from_fn(|i| std::array::from_fn(|j| -bend(i, j)));
        let inverse: [[f64; N]; N] = optimise::inverse(information).unwrap();
        std::array::from_fn(|i| inverse[i][i].sqrt())
    }

    fn agrees<M: Parameters, const N: usize>(fit: &Fit<M>, value: impl Fn(&M) -> f64) {
        let (stated, found) = (fit.standard_errors().unwrap(), by_differences::<M, N>(&fit.model, value));
        for ((stated, found), name) in stated.iter().zip(found).zip(M::NAMES) {
            assert!((stated / found - 1.0).abs() < 0.01, "{name}: {stated} stated, {found} by differences");
        }
    }

    #[test]
    fn standard_errors_are_those_of_the_curvature_at_the_maximum() {
        let customers = made_up::customers(1_500, 7);
        agrees::<_, 4>(&bgnbd::fit(&customers).unwrap(), |m| m.log_likelihood(&customers));
        agrees::<_, 4>(&mbgnbd::fit(&customers).unwrap(), |m| m.log_likelihood(&customers));
        let leaving: Vec<_> = made_up::exponential(2_000, 5);
        agrees::<_, 4>(&pareto::fit(&leaving).unwrap(), |m| m.log_likelihood(&leaving));
        let spends = made_up::spends(900);
        agrees::<_, 3>(&gamma_gamma::fit(&spends).unwrap(), |m| m.log_likelihood(&spends));
    }
}

#[cfg(test)]
pub(super) mod derivatives {
    //! A law for every likelihood: its stated derivatives are those of its value.
    use super::Local;

    pub(crate) fn hold<const N: usize>(at: [f64; N], f: impl Fn(&[f64; N]) -> Local<N>) {
        let here = f(&at);
        for i in 0..N {
            let h = at[i] * 1e-5;
            let (mut up, mut down) = (at, at);
            up[i] += h;
            down[i] -= h;
            let (up, down) = (f(&up), f(&down));
            let slope = (up.value - down.value) / (2.0 * h);
            assert!((slope - here.gradient[i]).abs() < 1e-5 * (1.0 + slope.abs()), "gradient {i}: {slope} {here:?}");
            for j in 0..N {
                let bend = (up.gradient[j] - down.gradient[j]) / (2.0 * h);
                assert!(
                    (bend - here.hessian[i][j]).abs() < 1e-5 * (1.0 + bend.abs()),
                    "hessian {i} {j}: {bend} {here:?}"
                );
            }
        }
    }
}
