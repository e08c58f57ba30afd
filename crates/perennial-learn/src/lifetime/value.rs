//! Lifetime value: future purchases times what they are worth, in today's money.
//!
//! Promise: a plain sum over equal periods, each discounted at its end, so that it can be checked
//! by hand. Absent on purpose: costs; hand in margins instead of revenue if margins are wanted.

use serde::{Deserialize, Serialize};

use super::{Purchases, RepeatBuying};
use crate::input::BadInput;

/// Weeks in a month as the common tools count them.
pub const WEEKS_PER_MONTH: f64 = 4.345;

/// How far to look ahead and how to discount.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Horizon {
    /// Number of periods, for example 12.
    pub periods: u32,
    /// Length of a period in the model's unit of time, for example [`WEEKS_PER_MONTH`].
    pub length: f64,
    /// Discount rate per period, for example 0.01; greater than -1.
    pub discount: f64,
}

impl Horizon {
    /// Refuses horizons that mean nothing.
    pub fn check(&self) -> Result<(), BadInput> {
        let wrong = |field: &str, allowed| BadInput::OutOfRange { field: field.into(), row: 0, allowed };
        if self.periods == 0 {
            return Err(wrong("periods", "at least 1"));
        }
        if !(self.length.is_finite() && self.length > 0.0) {
            return Err(wrong("length", "more than 0"));
        }
        if !(self.discount.is_finite() && self.discount > -1.0) {
            return Err(wrong("discount", "more than -1"));
        }
        Ok(())
    }
}

/// Discounted expected purchases of one customer over the horizon, counted from today.
pub fn discounted_purchases(model: &impl RepeatBuying, customer: Purchases, horizon: Horizon) -> f64 {
    let (mut before, mut factor, mut sum) = (0.0, 1.0, 0.0);
    for period in 1..=horizon.periods {
        let until = model.expected_purchases(customer, f64::from(period) * horizon.length);
        factor /= 1.0 + horizon.discount;
        sum += (until - before) * factor;
        before = until;
    }
    sum
}

/// Discounted value of one customer over the horizon, in the unit of `spend_per_purchase`.
pub fn discounted(model: &impl RepeatBuying, customer: Purchases, spend_per_purchase: f64, horizon: Horizon) -> f64 {
    spend_per_purchase * discounted_purchases(model, customer, horizon)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::bgnbd::Bgnbd;

    #[test]
    fn without_discount_value_is_purchases_times_spend() {
        let model = Bgnbd { r: 0.24, alpha: 4.4, a: 0.8, b: 2.4 };
        let c = Purchases { frequency: 3, recency: 20.0, age: 30.0 };
        let year = Horizon { periods: 12, length: WEEKS_PER_MONTH, discount: 0.0 };
        let want = 10.0 * model.expected_purchases(c, 12.0 * WEEKS_PER_MONTH);
        assert!((discounted(&model, c, 10.0, year) - want).abs() < 1e-9);
        assert!(discounted(&model, c, 10.0, Horizon { discount: 0.02, ..year }) < want);
        assert!(Horizon { length: f64::NAN, ..year }.check().is_err());
    }
}
