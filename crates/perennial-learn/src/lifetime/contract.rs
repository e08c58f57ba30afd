//! Customers with a contract: who renews, told by the shifted beta-geometric model
//! (Fader & Hardie 2007, "How to project customer retention").
//!
//! At each renewal a customer leaves with an own, constant chance ~ Beta(a, b). Loyal customers
//! remain, so retention of a cohort rises although nobody changes. Absent on purpose: covariates
//! and changing chances; see [`super::survival`] for what needs no model.

use serde::{Deserialize, Serialize};
use statrs::function::gamma::{digamma, ln_gamma};

use super::{
    Fit, Parameters,
    fit::{climb, finish},
};
use crate::{input::BadInput, optimise::Local, special::trigamma};

/// How many renewals a customer met and whether the last one ended the contract.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Renewals {
    /// Renewal dates met so far, the one that ended the contract included.
    pub met: u32,
    /// Whether the contract has ended.
    pub ended: bool,
}

/// A published shifted beta-geometric model: chances to leave at a renewal ~ Beta(a, b).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Contract {
    /// First shape of the chances to leave.
    pub a: f64,
    /// Second shape of the chances to leave.
    pub b: f64,
}

/// Fits by maximum likelihood. Needs customers who ended and customers who renewed.
pub fn fit(customers: &[Renewals]) -> Result<Fit<Contract>, BadInput> {
    let field = || "renewals".to_string();
    if customers.is_empty() {
        return Err(BadInput::Empty { field: field() });
    }
    if let Some(row) = customers.iter().position(|c| c.ended && c.met == 0) {
        return Err(BadInput::OutOfRange { field: field(), row, allowed: "at least 1 when the contract ended" });
    }
    let renewed = |c: &Renewals| c.met > u32::from(c.ended);
    if !customers.iter().any(|c| c.ended) || !customers.iter().any(renewed) {
        return Err(BadInput::OneClass { field: "ended".into() });
    }
    let mut sorted = customers.to_vec();
    sorted.sort_by_key(|c| (c.met, c.ended));
    let grouped: Vec<(Renewals, f64)> = sorted
        .chunk_by(|a, b| a == b)
        .map(|same| {
            #[expect(clippy::cast_precision_loss, reason = "a count of customers")]
            let count = same.len() as f64;
            (same[0], count)
        })
        .collect();
    let maximum = climb([1.0, 3.0], 1e-9, |p| likelihood(p, &grouped));
    finish("shifted beta-geometric", &maximum, customers.len(), |[a, b]| Contract { a, b })
}

/// ln B(a + ended, b + renewed) - ln B(a, b), summed, with derivatives in `[a, b]`.
fn likelihood(p: &[f64; 2], grouped: &[(Renewals, f64)]) -> Local<2> {
    let [a, b] = *p;
    let gammas = |z: f64| [ln_gamma(z), digamma(z), trigamma(z)];
    let (of_a, of_b, of_ab) = (gammas(a), gammas(b), gammas(a + b));
    let mut total = Local { value: 0.0, gradient: [0.0; 2], hessian: [[0.0; 2]; 2] };
    for (c, n) in grouped {
        let ended = f64::from(u8::from(c.ended));
        let met = f64::from(c.met);
        let (na, nb, nab) = (gammas(a + ended), gammas(b + met - ended), gammas(a + b + met));
        total.value += n * (na[0] - of_a[0] + nb[0] - of_b[0] - nab[0] + of_ab[0]);
        let shared = [nab[1] - of_ab[1], nab[2] - of_ab[2]];
        total.gradient[0] += n * (na[1] - of_a[1] - shared[0]);
        total.gradient[1] += n * (nb[1] - of_b[1] - shared[0]);
        total.hessian[0][0] += n * (na[2] - of_a[2] - shared[1]);
        total.hessian[1][1] += n * (nb[2] - of_b[2] - shared[1]);
        total.hessian[0][1] -= n * shared[1];
    }
    total.hessian[1][0] = total.hessian[0][1];
    total
}

impl Contract {
    /// Share of a cohort still there after `renewals`, in [0, 1].
    pub fn survival(&self, renewals: u32) -> f64 {
        (0..renewals).map(|n| 1.0 - self.churn_risk(n)).product()
    }

    /// Chance in [0, 1] that a customer who has renewed `renewed` times leaves at the next renewal.
    pub fn churn_risk(&self, renewed: u32) -> f64 {
        self.a / (self.a + self.b + f64::from(renewed))
    }

    /// Discounted periods still to be paid by a customer who has renewed `renewed` times and whose
    /// next renewal is one period away (Fader & Hardie 2010), over at most `periods`.
    pub fn discounted_periods(&self, renewed: u32, discount: f64, periods: u32) -> f64 {
        let (mut there, mut factor, mut sum) = (1.0, 1.0, 0.0);
        for n in 0..periods {
            there *= 1.0 - self.churn_risk(renewed + n);
            factor /= 1.0 + discount;
            sum += there * factor;
        }
        sum
    }
}

impl Parameters for Contract {
    const NAMES: &'static [&'static str] = &["a", "b"];

    fn values(&self) -> Vec<f64> {
        vec![self.a, self.b]
    }

    fn with(&self, values: &[f64]) -> Self {
        Self { a: values[0], b: values[1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::fit::derivatives;

    /// The "regular" cohort of Fader & Hardie (2007), seven years, per thousand.
    fn regular() -> Vec<Renewals> {
        let there = [1000_u32, 631, 468, 382, 326, 289, 262, 241];
        let mut customers = Vec::new();
        for (year, pair) in there.windows(2).enumerate() {
            let met = u32::try_from(year).unwrap() + 1;
            customers.extend((0..pair[0] - pair[1]).map(|_| Renewals { met, ended: true }));
        }
        customers.extend((0..241).map(|_| Renewals { met: 7, ended: false }));
        customers
    }

    #[test]
    fn the_published_cohort_gives_the_published_parameters() {
        let fitted = fit(&regular()).unwrap();
        assert!((fitted.model.a - 0.704).abs() < 0.002 && (fitted.model.b - 1.182).abs() < 0.003, "{fitted:?}");
        assert!((fitted.model.survival(1) - 0.627).abs() < 0.002);
        assert!(fitted.model.churn_risk(5) < fitted.model.churn_risk(0));
        assert!(fitted.standard_errors().is_some());
    }

    #[test]
    fn stated_derivatives_are_those_of_the_likelihood() {
        let rows = [(Renewals { met: 3, ended: true }, 2.0), (Renewals { met: 5, ended: false }, 4.0)];
        derivatives::hold([0.8, 2.0], |p| likelihood(p, &rows));
    }

    #[test]
    fn a_cohort_that_never_ends_is_refused() {
        assert!(fit(&[Renewals { met: 2, ended: false }; 4]).is_err());
        assert!(fit(&[Renewals { met: 0, ended: true }]).unwrap_err().to_string().contains("row 0"));
    }
}
