//! BG/NBD: customers who may leave after each repeat purchase (Fader, Hardie & Lee 2005).
//!
//! Promise: the maximum of the published likelihood. A customer without repeats counts as alive by
//! construction; where that is unwanted use MBG/NBD.

use serde::{Deserialize, Serialize};

use super::{
    Fit, Parameters, Purchases, RepeatBuying, check,
    fit::fit_grouped,
    geometric::{self, Leaves},
    group::Grouped,
};
use crate::input::BadInput;

const LEAVES: Leaves = Leaves::AfterRepeat;

/// A published BG/NBD model: purchase rates ~ Gamma(r, alpha), chances to leave ~ Beta(a, b).
///
/// All parameters are positive; `alpha` has the unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bgnbd {
    /// Shape of the purchase rates.
    pub r: f64,
    /// Scale of the purchase rates, in time.
    pub alpha: f64,
    /// First shape of the chances to leave.
    pub a: f64,
    /// Second shape of the chances to leave.
    pub b: f64,
}

/// Fits BG/NBD by maximum likelihood.
///
/// Errors name the field when a customer is impossible, and say so when nobody bought again.
pub fn fit(customers: &[Purchases]) -> Result<Fit<Bgnbd>, BadInput> {
    check(customers)?;
    fit_grouped(
        "BG/NBD",
        geometric::start(customers),
        customers,
        |p, grouped| geometric::likelihood(p, LEAVES, grouped),
        |[r, alpha, a, b]| Bgnbd { r, alpha, a, b },
    )
}

impl Bgnbd {
    fn array(&self) -> [f64; 4] {
        [self.r, self.alpha, self.a, self.b]
    }
}

impl Parameters for Bgnbd {
    const NAMES: &'static [&'static str] = &["r", "alpha", "a", "b"];

    fn values(&self) -> Vec<f64> {
        self.array().to_vec()
    }

    fn with(&self, values: &[f64]) -> Self {
        Self { r: values[0], alpha: values[1], a: values[2], b: values[3] }
    }
}

impl RepeatBuying for Bgnbd {
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
    fn a_fit_beats_its_neighbours_and_ignores_order() {
        let mut customers = made_up::customers(1_500, 7);
        let fitted = fit(&customers).unwrap();
        customers.reverse();
        let again = fit(&customers).unwrap();
        assert!((fitted.log_likelihood - again.log_likelihood).abs() < 1e-6);
        for i in 0..4 {
            for factor in [0.9, 1.1] {
                let mut values = fitted.model.values();
                values[i] *= factor;
                assert!(fitted.model.with(&values).log_likelihood(&customers) < fitted.log_likelihood);
            }
        }
    }

    #[test]
    fn time_may_be_measured_in_any_unit() {
        let weeks = made_up::customers(800, 11);
        let days: Vec<_> =
            weeks.iter().map(|c| Purchases { recency: c.recency * 7.0, age: c.age * 7.0, ..*c }).collect();
        let (by_week, by_day) = (fit(&weeks).unwrap(), fit(&days).unwrap());
        assert!((by_day.model.alpha / by_week.model.alpha / 7.0 - 1.0).abs() < 1e-4);
        let (week, day) =
            (by_week.model.expected_purchases(weeks[0], 10.0), by_day.model.expected_purchases(days[0], 70.0));
        assert!((week - day).abs() < 1e-5);
    }

    #[test]
    fn standard_errors_shrink_with_the_root_of_the_customers() {
        let few = made_up::customers(1_000, 13);
        let many: Vec<_> = few.iter().cycle().take(4_000).copied().collect();
        let (few, many) = (fit(&few).unwrap(), fit(&many).unwrap());
        let (wide, narrow) = (few.standard_errors().unwrap(), many.standard_errors().unwrap());
        assert!((wide[0] / narrow[0] - 2.0).abs() < 0.01);
        let of_r = few.standard_error_of(|m| m.r).unwrap();
        assert!((of_r / wide[0] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_next_purchase_comes_by_its_quantile() {
        let model = Bgnbd { r: 0.24, alpha: 4.4, a: 0.8, b: 2.4 };
        let regular = Purchases { frequency: 10, recency: 38.0, age: 39.0 };
        let by = model.next_purchase(regular, 0.5).unwrap();
        assert!((model.p_purchase_within(regular, by) - 0.5).abs() < 1e-9);
        let lost = Purchases { frequency: 10, recency: 5.0, age: 39.0 };
        assert_eq!(model.next_purchase(lost, 0.5), None);
    }
}
