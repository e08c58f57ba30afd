//! BG/NBD: customers who may leave after each repeat purchase (Fader, Hardie & Lee 2005).
//!
//! Promise: the maximum of the published likelihood. A customer without repeats counts as alive by
//! construction; where that is unwanted use MBG/NBD.

use super::{Fit, Purchases, beta_geometric::BetaGeometric};
use crate::input::BadInput;

/// A published BG/NBD model: a customer may leave after each repeat purchase.
pub type Bgnbd = BetaGeometric<false>;

/// Fits BG/NBD by maximum likelihood.
///
/// # Errors
/// They name the field when a customer is impossible, and say so when nobody bought again.
pub fn fit(customers: &[Purchases]) -> Result<Fit<Bgnbd>, BadInput> {
    Bgnbd::fit("BG/NBD", customers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::{Parameters, RepeatBuying, made_up};

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
