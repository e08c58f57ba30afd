//! How many purchases may well come: a range around the expected number, for one customer.
//!
//! Promise: the range agrees with the model's own chance of no purchase and with its expected number;
//! between them the purchases after the first are taken as negative binomial with the shape that the
//! model knows the customer's rate by (Schmittlein, Morrison & Colombo 1987 for the rate's posterior).
//! Absent on purpose: the exact distribution; check the ranges on a hold-out.

use super::{Purchases, RepeatBuying};

/// Purchases of one customer in a horizon: how likely none are, and how many are expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Probability in `[0, 1]` of no purchase.
    pub none: f64,
    /// Expected purchases, at least 0.
    pub expected: f64,
    /// How surely the rate is known: the shape of its distribution, more than 0.
    pub shape: f64,
}

/// No customer is foretold more purchases than this.
const MOST: u32 = 10_000;

impl Outlook {
    /// What a model says of a customer; `prior` is the shape of its rates over all customers (`r`).
    pub fn of(model: &impl RepeatBuying, prior: f64, customer: Purchases, horizon: f64) -> Self {
        Self {
            none: (1.0 - model.p_purchase_within(customer, horizon)).clamp(0.0, 1.0),
            expected: model.expected_purchases(customer, horizon).clamp(0.0, f64::INFINITY),
            shape: prior + f64::from(customer.frequency),
        }
    }

    /// The smallest number of purchases that is not exceeded with probability `chance`, in `(0, 1)`.
    pub fn quantile(&self, chance: f64) -> u32 {
        if chance <= self.none || self.none >= 1.0 {
            return 0;
        }
        // The purchases after the first, given that there is one.
        let some = 1.0 - self.none;
        let mean = (self.expected / some - 1.0).max(0.0);
        let rest = mean / (mean + self.shape);
        let mut weight = (1.0 - rest).powf(self.shape);
        let mut reached = self.none + some * weight;
        let mut count = 1;
        while reached < chance && count < MOST && weight > 0.0 {
            weight *= rest * (self.shape + f64::from(count) - 1.0) / f64::from(count);
            reached += some * weight;
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::bgnbd::Bgnbd;

    #[test]
    fn ranges_widen_with_the_chance_and_hold_the_expected_number() {
        let model = Bgnbd { r: 0.24, alpha: 4.4, a: 0.8, b: 2.4 };
        let lively = Purchases { frequency: 12, recency: 29.0, age: 30.0 };
        let outlook = Outlook::of(&model, model.r, lively, 52.0);
        let [low, middle, high] = [0.1, 0.5, 0.9].map(|chance| outlook.quantile(chance));
        assert!(low <= middle && middle <= high && high > low, "{low} {middle} {high}");
        assert!(f64::from(low) < outlook.expected && outlook.expected < f64::from(high));
    }

    #[test]
    fn who_has_surely_left_buys_nothing() {
        let gone = Outlook { none: 1.0, expected: 0.0, shape: 2.0 };
        assert_eq!([0.1, 0.9, 0.999].map(|chance| gone.quantile(chance)), [0, 0, 0]);
    }

    #[test]
    fn quantiles_are_those_of_the_stated_distribution() {
        // A geometric number after the first: shape 1, half of all buy, 3 expected of those.
        let outlook = Outlook { none: 0.5, expected: 1.5, shape: 1.0 };
        // P(X <= k) = 0.5 + 0.5 (1 - (2/3)^k).
        assert_eq!(outlook.quantile(0.5), 0);
        assert_eq!(outlook.quantile(0.66), 1);
        assert_eq!(outlook.quantile(0.77), 2);
        assert_eq!(outlook.quantile(0.9), 4);
    }
}
