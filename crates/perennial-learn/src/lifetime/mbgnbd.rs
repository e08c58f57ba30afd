//! MBG/NBD: customers who may leave after every purchase, the first included
//! (Batislam, Denizel & Filiztekin 2007).
//!
//! Promise: the maximum of the published likelihood; one-time buyers may have left, unlike in BG/NBD.

use super::{Fit, Purchases, beta_geometric::BetaGeometric};
use crate::input::BadInput;

/// A published MBG/NBD model: a customer may leave after any purchase, the first included.
pub type Mbgnbd = BetaGeometric<true>;

/// Fits MBG/NBD by maximum likelihood.
///
/// # Errors
/// They name the field when a customer is impossible, and say so when nobody bought again.
pub fn fit(customers: &[Purchases]) -> Result<Fit<Mbgnbd>, BadInput> {
    Mbgnbd::fit("MBG/NBD", customers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::{RepeatBuying, made_up};

    #[test]
    fn one_time_buyers_may_have_left() {
        let fitted = fit(&made_up::customers(1_500, 17)).unwrap();
        let once = Purchases { frequency: 0, recency: 0.0, age: 30.0 };
        let alive = fitted.model.p_alive(once);
        assert!(alive > 0.0 && alive < 1.0);
        assert!(fitted.model.p_alive(Purchases { age: 60.0, ..once }) < alive);
    }
}
