//! Sufficient statistics: what must be remembered of a variant to read it out.
//!
//! All of them merge by addition, in any order and any grouping.

use crate::input::{BadInput, LARGEST, Problem, countable, positive, real64};
use serde::{Deserialize, Serialize};

/// Yes or no per customer.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Proportion {
    /// Customers.
    pub n: u64,
    /// Customers who said yes.
    pub sum: f64,
}

/// A number per customer.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Mean {
    /// Customers.
    pub n: u64,
    /// The sum over customers.
    pub sum: f64,
    /// The sum of squares over customers.
    pub sum_squares: f64,
}

/// Two numbers per customer whose totals are divided: spend per order, clicks per message.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Ratio {
    /// What is counted above the line.
    pub numerator: Mean,
    /// What is counted below the line.
    pub denominator: Mean,
    /// The sum over customers of numerator times denominator.
    pub sum_of_products: f64,
}

/// A measure with the same customers' measure from before the experiment (CUPED, Deng et al. 2013).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Cuped {
    /// The measure during the experiment.
    pub post: Mean,
    /// The measure before it.
    pub pre: Mean,
    /// The sum over customers of post times pre.
    pub sum_of_products: f64,
}

/// One variant's tallies for one measure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Statistic {
    /// A share of customers.
    Proportion(Proportion),
    /// A mean per customer.
    Mean(Mean),
    /// A ratio of totals.
    Ratio(Ratio),
    /// A mean adjusted by the time before.
    Cuped(Cuped),
}

impl Proportion {
    /// The share of yes.
    pub fn mean(&self) -> f64 {
        self.sum / real64(self.n)
    }

    /// The variance of one customer, p(1 - p).
    pub fn variance(&self) -> f64 {
        self.mean() * (1.0 - self.mean())
    }
}

impl Mean {
    /// Gathers the sums of a list.
    pub fn of(values: &[f64]) -> Self {
        let mut all = Self::default();
        values.iter().for_each(|&v| all.push(v));
        all
    }

    /// Adds one customer.
    pub fn push(&mut self, value: f64) {
        self.n += 1;
        self.sum += value;
        self.sum_squares += value * value;
    }

    /// The mean per customer.
    pub fn mean(&self) -> f64 {
        self.sum / real64(self.n)
    }

    /// The unbiased variance of one customer.
    pub fn variance(&self) -> f64 {
        let n = real64(self.n);
        ((self.sum_squares - self.sum * self.sum / n) / (n - 1.0)).max(0.0)
    }

    /// Both groups together.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        Self { n: self.n + other.n, sum: self.sum + other.sum, sum_squares: self.sum_squares + other.sum_squares }
    }
}

fn covariance(a: &Mean, b: &Mean, sum_of_products: f64) -> f64 {
    let n = real64(a.n);
    (sum_of_products - a.sum * b.sum / n) / (n - 1.0)
}

impl Ratio {
    /// The ratio of totals.
    pub fn mean(&self) -> f64 {
        self.numerator.sum / self.denominator.sum
    }

    /// The variance of one customer by the delta method.
    pub fn variance(&self) -> f64 {
        let (top, below) = (self.numerator.mean(), self.denominator.mean());
        let r = top / below;
        let shared = covariance(&self.numerator, &self.denominator, self.sum_of_products);
        (self.numerator.variance() - 2.0 * r * shared + r * r * self.denominator.variance()) / (below * below)
    }
}

impl Cuped {
    /// The covariance of post and pre.
    pub fn covariance(&self) -> f64 {
        covariance(&self.post, &self.pre, self.sum_of_products)
    }

    /// The adjusted mean: post minus `theta` times pre.
    pub fn mean(&self, theta: f64) -> f64 {
        self.post.mean() - theta * self.pre.mean()
    }

    /// The variance of one adjusted customer.
    pub fn variance(&self, theta: f64) -> f64 {
        (self.post.variance() + theta * theta * self.pre.variance() - 2.0 * theta * self.covariance()).max(0.0)
    }
}

/// The regression coefficient of post on pre over both arms' customers taken together; zero when
/// the time before does not vary.
pub fn pooled_theta(a: &Cuped, b: &Cuped) -> f64 {
    let all = Cuped {
        post: a.post.merge(&b.post),
        pre: a.pre.merge(&b.pre),
        sum_of_products: a.sum_of_products + b.sum_of_products,
    };
    let spread = all.pre.variance();
    if spread > 0.0 { all.covariance() / spread } else { 0.0 }
}

impl Statistic {
    /// Customers behind the statistic.
    pub fn n(&self) -> u64 {
        match self {
            Self::Proportion(p) => p.n,
            Self::Mean(m) => m.n,
            Self::Ratio(r) => r.numerator.n,
            Self::Cuped(c) => c.post.n,
        }
    }

    /// The mean before any adjustment; what a relative effect divides by.
    pub fn unadjusted_mean(&self) -> f64 {
        match self {
            Self::Proportion(p) => p.mean(),
            Self::Mean(m) => m.mean(),
            Self::Ratio(r) => r.mean(),
            Self::Cuped(c) => c.post.mean(),
        }
    }

    pub(super) fn check(&self, field: &str) -> Result<(), BadInput> {
        if self.n() < 2 {
            let problem = Problem::TooFew { found: usize::from(self.n() == 1), needed: 2 };
            return Err(BadInput::new(format!("{field}.n"), problem, "wait for more customers"));
        }
        countable(&format!("{field}.n"), self.n())?;
        match self {
            Self::Proportion(p) if !(0.0..=real64(p.n)).contains(&p.sum) => {
                Err(BadInput::range(format!("{field}.sum"), p.sum, "between 0 and n"))
            }
            Self::Proportion(_) => Ok(()),
            Self::Mean(m) => check_mean(m, m.n, field),
            Self::Ratio(r) => {
                check_mean(&r.numerator, r.numerator.n, &format!("{field}.numerator"))?;
                check_mean(&r.denominator, r.numerator.n, &format!("{field}.denominator"))?;
                positive(&format!("{field}.denominator.sum"), r.denominator.sum)
            }
            Self::Cuped(c) => {
                check_mean(&c.post, c.post.n, &format!("{field}.post"))?;
                check_mean(&c.pre, c.post.n, &format!("{field}.pre"))
            }
        }
    }
}

fn check_mean(m: &Mean, n: u64, field: &str) -> Result<(), BadInput> {
    if m.n != n {
        return Err(BadInput::range(format!("{field}.n"), real64(m.n), "the same number of customers as its partner"));
    }
    if m.sum.abs() <= LARGEST && (0.0..=LARGEST * LARGEST).contains(&m.sum_squares) {
        return Ok(());
    }
    if m.sum.is_finite() && m.sum_squares.is_finite() {
        return Err(BadInput::range(
            format!("{field}.sum"),
            m.sum,
            "at most 1e100 either way, with the sum of its squares",
        ));
    }
    Err(BadInput::new(format!("{field}.sum"), Problem::NotFinite { at: 0 }, "remove or fill the missing values"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn merging_equals_gathering_together(a in prop::collection::vec(-50.0..50.0f64, 1..20), b in prop::collection::vec(-50.0..50.0f64, 1..20)) {
            let merged = Mean::of(&a).merge(&Mean::of(&b));
            let together = Mean::of(&[a, b].concat());
            prop_assert_eq!(merged.n, together.n);
            prop_assert!((merged.sum - together.sum).abs() < 1e-9);
            prop_assert!((merged.sum_squares - together.sum_squares).abs() < 1e-7);
        }
    }

    #[test]
    fn a_ratio_to_a_constant_one_is_a_mean() {
        let values = [3.0, 5.0, 4.0, 9.0];
        let mean = Mean::of(&values);
        let ratio = Ratio { numerator: mean, denominator: Mean::of(&[1.0; 4]), sum_of_products: mean.sum };
        assert!((ratio.variance() - mean.variance()).abs() < 1e-12);
    }
}
