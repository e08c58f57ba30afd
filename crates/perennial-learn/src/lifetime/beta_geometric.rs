//! The model that BG/NBD and MBG/NBD are two cases of: gamma-distributed purchase rates, and a
//! beta-distributed chance to leave after a purchase.
//!
//! They differ in one bit: whether the first purchase already gives a chance to leave. Promise: the
//! maximum of the published likelihood, whichever of the two. The mathematics is in `geometric`.

use serde::{Deserialize, Serialize};

use super::{
    Fit, Parameters, Purchases, RepeatBuying, check,
    fit::fit_grouped,
    geometric::{self, Leaves},
    group::Grouped,
};
use crate::input::BadInput;

/// A published model: purchase rates ~ Gamma(r, alpha), chances to leave ~ Beta(a, b).
///
/// All parameters are positive; `alpha` has the unit of time. `FIRST_TOO` says whether a customer may
/// leave after the first purchase (MBG/NBD) or after repeats only (BG/NBD).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BetaGeometric<const FIRST_TOO: bool> {
    /// Shape of the purchase rates.
    pub r: f64,
    /// Scale of the purchase rates, in time.
    pub alpha: f64,
    /// First shape of the chances to leave.
    pub a: f64,
    /// Second shape of the chances to leave.
    pub b: f64,
}

impl<const FIRST_TOO: bool> BetaGeometric<FIRST_TOO> {
    const LEAVES: Leaves = if FIRST_TOO { Leaves::AfterAny } else { Leaves::AfterRepeat };

    /// Fits by maximum likelihood; `name` is what errors call the model.
    pub(super) fn fit(name: &'static str, customers: &[Purchases]) -> Result<Fit<Self>, BadInput> {
        check(customers)?;
        fit_grouped(
            name,
            geometric::start(customers),
            customers,
            |p, grouped| geometric::likelihood(p, Self::LEAVES, grouped),
            |[r, alpha, a, b]| Self { r, alpha, a, b },
        )
    }

    fn array(&self) -> [f64; 4] {
        [self.r, self.alpha, self.a, self.b]
    }
}

impl<const FIRST_TOO: bool> Parameters for BetaGeometric<FIRST_TOO> {
    const NAMES: &'static [&'static str] = &["r", "alpha", "a", "b"];

    fn values(&self) -> Vec<f64> {
        self.array().to_vec()
    }

    fn with(&self, values: &[f64]) -> Self {
        Self { r: values[0], alpha: values[1], a: values[2], b: values[3] }
    }
}

impl<const FIRST_TOO: bool> RepeatBuying for BetaGeometric<FIRST_TOO> {
    fn log_likelihood(&self, customers: &[Purchases]) -> f64 {
        geometric::likelihood(&self.array(), Self::LEAVES, &Grouped::of(customers.iter().copied())).value
    }

    fn p_alive(&self, customer: Purchases) -> f64 {
        geometric::p_alive(&self.array(), Self::LEAVES, customer)
    }

    fn expected_purchases(&self, customer: Purchases, horizon: f64) -> f64 {
        geometric::expected_purchases(&self.array(), Self::LEAVES, customer, horizon)
    }

    fn expected_purchases_of_new(&self, age: f64) -> f64 {
        geometric::expected_purchases_of_new(&self.array(), Self::LEAVES, age)
    }

    fn p_purchase_within(&self, customer: Purchases, horizon: f64) -> f64 {
        geometric::p_purchase_within(&self.array(), Self::LEAVES, customer, horizon)
    }
}
