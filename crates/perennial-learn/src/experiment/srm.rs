//! Sample-ratio mismatch: did each variant get its share of customers?
//!
//! Fixed: Pearson's chi-squared. Sequential: the Dirichlet-multinomial Bayes factor of Lindon &
//! Malek, "Anytime-valid inference for multinomial count data" (2022), whose inverse is an
//! always-valid p-value.

use crate::input::{BadInput, Problem, countable, positive, real, real64, same_length};
use serde::{Deserialize, Serialize};
use statrs::function::gamma::{gamma_ur, ln_gamma};

/// The answer of the fixed test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SampleRatio {
    /// Pearson's statistic.
    pub chi2: f64,
    /// Its p-value; a mismatch is usually declared below 0.001.
    pub p_value: f64,
}

fn shares(weights: &[f64]) -> Result<Vec<f64>, BadInput> {
    if weights.len() < 2 {
        let problem = Problem::TooFew { found: weights.len(), needed: 2 };
        return Err(BadInput::new("weights", problem, "give one weight per variant"));
    }
    weights.iter().try_for_each(|&weight| positive("weights", weight))?;
    let total: f64 = weights.iter().sum();
    Ok(weights.iter().map(|w| w / total).collect())
}

/// Tests the variants' counts of customers against the planned weights.
///
/// # Errors
/// When the lists differ in length, fewer than two variants are given, a weight is not positive or
/// there are no customers.
pub fn sample_ratio(users: &[u64], weights: &[f64]) -> Result<SampleRatio, BadInput> {
    same_length("users", users.len(), weights.len())?;
    let shares = shares(weights)?;
    users.iter().try_for_each(|&count| countable("users", count))?;
    let total = real64(users.iter().sum());
    if total <= 0.0 {
        return Err(BadInput::new("users", Problem::Empty, "wait for the first customers"));
    }
    let chi2 = users.iter().zip(&shares).map(|(&o, w)| (real64(o) - w * total).powi(2) / (w * total)).sum::<f64>();
    let p_value = if chi2 > 0.0 { gamma_ur(real(users.len() - 1) / 2.0, chi2 / 2.0) } else { 1.0 };
    Ok(SampleRatio { chi2, p_value })
}

/// A mismatch test that may be looked at after every customer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequentialSampleRatio {
    shares: Vec<f64>,
    concentration: f64,
    counts: Vec<u64>,
    smallest_p: f64,
}

impl SequentialSampleRatio {
    /// The weight of the prior, in customers: large values look for small mismatches.
    pub const DEFAULT_CONCENTRATION: f64 = 10_000.0;

    /// Starts the test for the planned weights.
    ///
    /// # Errors
    /// When fewer than two variants are given or a weight is not positive.
    pub fn new(weights: &[f64]) -> Result<Self, BadInput> {
        let shares = shares(weights)?;
        let counts = vec![0; shares.len()];
        Ok(Self { shares, concentration: Self::DEFAULT_CONCENTRATION, counts, smallest_p: 1.0 })
    }

    /// Adds new customers per variant and answers with the always-valid p-value.
    ///
    /// # Errors
    /// When the list's length differs from the number of variants.
    pub fn add(&mut self, users: &[u64]) -> Result<f64, BadInput> {
        same_length("users", users.len(), self.shares.len())?;
        self.counts.iter().zip(users).try_for_each(|(count, new)| countable("users", count.saturating_add(*new)))?;
        self.counts.iter_mut().zip(users).for_each(|(c, u)| *c += u);
        self.smallest_p = self.smallest_p.min((-self.log_bayes_factor()).exp());
        Ok(self.smallest_p)
    }

    /// The log of P(counts | some other split) over P(counts | the planned split).
    fn log_bayes_factor(&self) -> f64 {
        let total = real64(self.counts.iter().sum());
        let c = self.concentration;
        let mut log = ln_gamma(c) - ln_gamma(c + total);
        for (&n, &w) in self.counts.iter().zip(&self.shares) {
            log += ln_gamma(c * w + real64(n)) - ln_gamma(c * w) - real64(n) * w.ln();
        }
        log
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{below, generator};

    #[test]
    fn an_even_split_is_not_a_mismatch_and_a_skewed_one_is() {
        assert!(sample_ratio(&[5000, 5000], &[1.0, 1.0]).unwrap().p_value > 0.99);
        assert!(sample_ratio(&[5000, 5400], &[0.5, 0.5]).unwrap().p_value < 1e-3);
        let mut test = SequentialSampleRatio::new(&[1.0, 1.0]).unwrap();
        assert!(test.add(&[50_000, 54_000]).unwrap() < 1e-6);
    }

    #[test]
    fn watching_an_honest_split_rarely_alarms() {
        let mut rng = generator(11);
        let mut alarms = 0;
        for _ in 0..200 {
            let mut test = SequentialSampleRatio::new(&[1.0, 1.0]).unwrap();
            let mut p = 1.0;
            for _ in 0..60 {
                let first = (0..50).filter(|_| below(&mut rng, 2) == 0).count() as u64;
                p = test.add(&[first, 50 - first]).unwrap();
            }
            alarms += usize::from(p < 0.05);
        }
        assert!(alarms <= 14, "{alarms} of 200");
    }

    #[test]
    fn a_split_that_is_a_little_off_is_found_while_watching() {
        let mut rng = generator(12);
        let mut test = SequentialSampleRatio::new(&[1.0, 1.0]).unwrap();
        let alarmed = (0..100).find(|_| {
            let first = (0..500).filter(|_| below(&mut rng, 100) < 53).count() as u64;
            test.add(&[first, 500 - first]).unwrap() < 1e-4
        });
        assert!(alarmed.is_some_and(|batch| batch > 0), "{alarmed:?}: not at once, and not never");
    }
}
