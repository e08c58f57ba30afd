//! MBG/NBD: customers who may leave after every purchase, the first included
//! (Batislam, Denizel & Filiztekin 2007).
//!
//! Promise: the maximum of the published likelihood; one-time buyers may have left, unlike in BG/NBD.

use serde::{Deserialize, Serialize};

use super::{
    Fit, Parameters, Purchases, RepeatBuying, check,
    fit::fit_grouped,
    geometric::{self, Leaves},
    group::Grouped,
};
use crate::input::BadInput;

const LEAVES: Leaves = Leaves::AfterAny;

/// A published MBG/NBD model: purchase rates ~ Gamma(r, alpha), chances to leave ~ Beta(a, b).
///
/// All parameters are positive; `alpha` has the unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mbgnbd {
    /// Shape of the purchase rates.
    pub r: f64,
    /// Scale of the purchase rates, in time.
    pub alpha: f64,
    /// First shape of the chances to leave.
    pub a: f64,
    /// Second shape of the chances to leave.
    pub b: f64,
}

/// Fits MBG/NBD by maximum likelihood.
///
/// Errors name the field when a customer is impossible, and say so when nobody bought again.
pub fn fit(customers: &[Purchases]) -> Result<Fit<Mbgnbd>, BadInput> {
    check(customers)?;
    fit_grouped(
        "MBG/NBD",
        geometric::start(customers),
        customers,
        |p, grouped| geometric::likelihood(p, LEAVES, grouped),
        |[r, alpha, a, b]| Mbgnbd { r, alpha, a, b },
    )
}

impl Mbgnbd {
    fn array(&self) -> [f64; 4] {
        [self.r, self.alpha, self.a, self.b]
    }
}

impl Parameters for Mbgnbd {
    const NAMES: &'static [&'static str] = &["r", "alpha", "a", "b"];

    fn values(&self) -> Vec<f64> {
        self.array().to_vec()
    }

    fn with(&self, values: &[f64]) -> Self {
        Self { r: values[0], alpha: values[1], a: values[2], b: values[3] }
    }
}

impl RepeatBuying for Mbgnbd {
    fn log_likelihood(&self, customers: &[Purchases]) -> f64 {
        geometric::likelihood(&self.array(), LEAVES, &Grouped::of(customers.iter().copied())).value
    }

    fn p_alive(&self, customer: Purchases) -> f64 {
        geometric::p_alive(&self.array(), LEAVES, customer)
    }

    fn expected_purchases(&self, customer: Purchases, horizon: f64) -> f64 {
        geometric::expected_purchases(&self.array(), LEAVES, customer, horizon)
    }

    fn expected_purchases_of_new(&self, age: f64) -> f64 {
        geometric::expected_purchases_of_new(&self.array(), LEAVES, age)
    }

    fn p_purchase_within(&self, customer: Purchases, horizon: f64) -> f64 {
        geometric::p_purchase_within(&self.array(), LEAVES, customer, horizon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::made_up;

    #[test]
    fn one_time_buyers_may_have_left() {
        let fitted = fit(&made_up::customers(1_500, 17)).unwrap();
        let once = Purchases { frequency: 0, recency: 0.0, age: 30.0 };
        let alive = fitted.model.p_alive(once);
        assert!(alive > 0.0 && alive < 1.0);
        assert!(fitted.model.p_alive(Purchases { age: 60.0, ..once }) < alive);
    }
}
