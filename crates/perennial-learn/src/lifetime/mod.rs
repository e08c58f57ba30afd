//! Lifetime value: how long a customer stays, buys and is worth.
//!
//! Without a contract nobody says goodbye, so the models infer it from silence: BG/NBD
//! ([`bgnbd`]), MBG/NBD ([`mbgnbd`]) and Pareto/NBD ([`pareto`]) read frequency, recency and age;
//! [`gamma_gamma`] reads the money; [`value`] puts both together. With a contract the end is seen:
//! [`survival`] and [`contract`]. Promise: a fit is the maximum of the published likelihood, found
//! by Newton steps with exact derivatives, and does not depend on the order of the customers.
//! Absent on purpose: time units. Whatever unit recency and age have, the answers have too.

pub mod beta_geometric;
pub mod bgnbd;
pub mod contract;
pub mod covariates;
mod fit;
pub mod gamma_gamma;
mod geometric;
mod group;
pub mod mbgnbd;
pub mod pareto;
pub mod range;
pub mod summary;
pub mod survival;
pub mod value;

use serde::{Deserialize, Serialize};

use crate::input::{BadInput, LARGEST, no_measure};

pub use fit::{Fit, Parameters};

/// What a buy-till-you-die model needs to know of one customer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Purchases {
    /// Repeat purchases: occasions after the first one.
    pub frequency: u32,
    /// Age at the last purchase; 0 when there was no repeat.
    pub recency: f64,
    /// Time from the first purchase to the end of observation.
    pub age: f64,
}

/// A model of customers who buy repeatedly and leave silently.
pub trait RepeatBuying {
    /// Total log-likelihood in the data's own time unit, without the x! term, as in
    /// Fader, Hardie & Lee (2005).
    fn log_likelihood(&self, customers: &[Purchases]) -> f64;

    /// Probability in `[0, 1]` that the customer has not left by the end of observation.
    fn p_alive(&self, customer: Purchases) -> f64;

    /// Expected purchases in the `horizon` after the end of observation, at least 0.
    fn expected_purchases(&self, customer: Purchases, horizon: f64) -> f64;

    /// Expected repeat purchases of a customer just gained, until `age`.
    fn expected_purchases_of_new(&self, age: f64) -> f64;

    /// Probability of at least one purchase in the `horizon` after the end of observation.
    fn p_purchase_within(&self, customer: Purchases, horizon: f64) -> f64;

    /// Time from the end of observation by which the next purchase has come with probability
    /// `chance`; nothing when that probability is never reached (the customer may have left).
    fn next_purchase(&self, customer: Purchases, chance: f64) -> Option<f64> {
        let far = (customer.age + 1.0) * 1e4;
        if self.p_purchase_within(customer, far) < chance {
            return None;
        }
        let (mut low, mut high) = (0.0, far);
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            if self.p_purchase_within(customer, middle) < chance {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(high)
    }
}

/// A published model of repeat buying, whichever it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "snake_case")]
pub enum Model {
    /// BG/NBD.
    Bgnbd(bgnbd::Bgnbd),
    /// MBG/NBD.
    Mbgnbd(mbgnbd::Mbgnbd),
    /// Pareto/NBD.
    Pareto(pareto::Pareto),
}

impl Model {
    fn inner(&self) -> &dyn RepeatBuying {
        match self {
            Self::Bgnbd(m) => m,
            Self::Mbgnbd(m) => m,
            Self::Pareto(m) => m,
        }
    }
}

impl RepeatBuying for Model {
    fn log_likelihood(&self, customers: &[Purchases]) -> f64 {
        self.inner().log_likelihood(customers)
    }
    fn p_alive(&self, customer: Purchases) -> f64 {
        self.inner().p_alive(customer)
    }
    fn expected_purchases(&self, customer: Purchases, horizon: f64) -> f64 {
        self.inner().expected_purchases(customer, horizon)
    }
    fn expected_purchases_of_new(&self, age: f64) -> f64 {
        self.inner().expected_purchases_of_new(age)
    }
    fn p_purchase_within(&self, customer: Purchases, horizon: f64) -> f64 {
        self.inner().p_purchase_within(customer, horizon)
    }
}

/// All three models fitted; which of them explains the customers best comes first.
///
/// They have four parameters each, so the order by log-likelihood is also that by AIC and BIC.
/// A model that cannot be fitted is left out; an error only when none can.
pub fn fit_best(customers: &[Purchases]) -> Result<Vec<Fit<Model>>, BadInput> {
    let attempts = [
        bgnbd::fit(customers).map(|f| f.map(Model::Bgnbd)),
        mbgnbd::fit(customers).map(|f| f.map(Model::Mbgnbd)),
        pareto::fit(customers).map(|f| f.map(Model::Pareto)),
    ];
    let mut fits = Vec::new();
    let mut refused = None;
    for attempt in attempts {
        match attempt {
            Ok(fit) => fits.push(fit),
            Err(why) => refused = Some(why),
        }
    }
    fits.sort_by(|a, b| b.log_likelihood.total_cmp(&a.log_likelihood));
    match refused {
        Some(why) if fits.is_empty() => Err(why),
        _ => Ok(fits),
    }
}

/// Refuses customers that no model can read.
fn check(customers: &[Purchases]) -> Result<(), BadInput> {
    if customers.is_empty() {
        return Err(BadInput::Empty { field: "customers".into() });
    }
    for (row, c) in customers.iter().enumerate() {
        let wrong = |field: &str, allowed| Err(BadInput::OutOfRange { field: field.into(), row, allowed });
        for (field, value) in [("recency", c.recency), ("age", c.age)] {
            if value.is_nan() || value.abs() > LARGEST {
                return Err(no_measure(field, row, value));
            }
        }
        if c.age <= 0.0 {
            return wrong("age", "more than 0 (observed for some time after the first purchase)");
        }
        if c.recency < 0.0 || c.recency > c.age {
            return wrong("recency", "between 0 and age");
        }
        if (c.frequency == 0) != (c.recency == 0.0) {
            return wrong("recency", "0 exactly when frequency is 0");
        }
    }
    if customers.iter().all(|c| c.frequency == 0) {
        return Err(BadInput::Constant { field: "frequency".into() });
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod made_up {
    //! Small made-up customers for the tests of all models.
    use super::{Purchases, gamma_gamma::Spend};
    use crate::seed::{generator, uniform};

    /// Customers drawn from BG/NBD-like behaviour: exponential gaps, a coin flip after each one.
    pub(crate) fn customers(count: usize, seed: u64) -> Vec<Purchases> {
        let mut rng = generator(seed);
        (0..count)
            .map(|_| {
                let age = (20.0 + 20.0 * uniform(&mut rng)).floor();
                let rate = -0.12 * uniform(&mut rng).max(1e-12).ln();
                let leave = 0.35 * uniform(&mut rng);
                let (mut frequency, mut recency, mut now) = (0, 0.0, 0.0);
                loop {
                    now += -uniform(&mut rng).max(1e-12).ln() / rate;
                    if now > age {
                        break;
                    }
                    (frequency, recency) = (frequency + 1, (now * 7.0).ceil() / 7.0_f64);
                    if uniform(&mut rng) < leave {
                        break;
                    }
                }
                Purchases { frequency, recency: f64::min(recency, age), age }
            })
            .collect()
    }

    /// Customers as Pareto/NBD has them: gamma-distributed rates to buy and to leave, both of shape 1.
    pub(crate) fn exponential(count: usize, seed: u64) -> Vec<Purchases> {
        let mut rng = generator(seed);
        let mut draw = || -uniform(&mut rng).max(1e-12).ln();
        (0..count)
            .map(|_| {
                let age = 40.0;
                let (rate, leaving) = (draw() * 0.1, draw() * 0.05);
                let ends = f64::min(age, draw() / leaving);
                let (mut frequency, mut recency, mut now) = (0, 0.0, draw() / rate);
                while now < ends {
                    (frequency, recency) = (frequency + 1, now);
                    now += draw() / rate;
                }
                Purchases { frequency, recency, age }
            })
            .collect()
    }

    /// Spends as Gamma-Gamma has them: each customer with a mean of its own, purchases spread about it.
    pub(crate) fn spends(count: u32) -> Vec<Spend> {
        let mut rng = generator(23);
        (0..count)
            .map(|i| {
                let mut exponential = || -(1.0 - uniform(&mut rng)).ln();
                let own = 30.0 / (exponential() + exponential() + exponential());
                let frequency = i % 6;
                let paid: f64 = (0..frequency).map(|_| own * exponential()).sum();
                Spend { frequency, mean: paid / f64::from(frequency.max(1)) }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_customers_are_refused_by_field_and_row() {
        let good = Purchases { frequency: 1, recency: 2.0, age: 5.0 };
        let cases = [
            (Purchases { recency: 6.0, ..good }, "recency"),
            (Purchases { age: f64::NAN, ..good }, "age"),
            (Purchases { frequency: 0, ..good }, "recency"),
            (Purchases { age: 0.0, recency: 0.0, frequency: 0 }, "age"),
        ];
        for (bad, field) in cases {
            let message = check(&[good, bad]).unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{field}`")) && message.contains("row 1"), "{message}");
        }
        assert!(check(&[]).is_err());
        assert!(check(&[Purchases { frequency: 0, recency: 0.0, age: 3.0 }]).is_err());
    }

    #[test]
    fn the_best_model_comes_first_and_survives_serialisation() {
        let fits = fit_best(&made_up::customers(400, 3)).unwrap();
        assert_eq!(fits.len(), 3);
        assert!(fits[0].log_likelihood >= fits[1].log_likelihood);
        let text = serde_json::to_string(&fits[0].model).unwrap();
        assert_eq!(serde_json::from_str::<Model>(&text).unwrap(), fits[0].model);
    }
}
