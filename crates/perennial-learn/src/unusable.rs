//! What a method says about input that it cannot use: the field, the problem, the remedy.
//!
//! Promise: a message of this type can be shown to an analyst as it stands.
//! Absent on purpose: panics. Every check of the analytic parts ends here.

use std::fmt;

/// Why an input cannot be used, with the field's name and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// The name of the argument or column, as the caller knows it.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
    /// What the caller may do.
    pub remedy: &'static str,
}

/// The closed list of things that can be wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// There is nothing to learn from.
    Empty,
    /// Fewer values than the method needs.
    TooFew {
        /// How many there are.
        found: usize,
        /// How many it takes.
        needed: usize,
    },
    /// Two lists that belong together differ in length.
    WrongLength {
        /// The length found.
        found: usize,
        /// The length that would fit.
        expected: usize,
    },
    /// A value is NaN or infinite; the position counts from zero.
    NotFinite {
        /// Where, counted from zero.
        at: usize,
    },
    /// All values are equal.
    Constant,
    /// Only one class occurs.
    OneClass,
    /// A number lies outside its range.
    OutOfRange {
        /// The number as text.
        found: String,
        /// The range as text.
        allowed: &'static str,
    },
}

impl Unusable {
    /// Builds the error.
    pub fn new(field: impl Into<String>, problem: Problem, remedy: &'static str) -> Self {
        Self { field: field.into(), problem, remedy }
    }

    pub(crate) fn range(field: impl Into<String>, found: f64, allowed: &'static str) -> Self {
        let problem = Problem::OutOfRange { found: found.to_string(), allowed };
        Self::new(field, problem, "give a number inside the range")
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.field)?;
        match &self.problem {
            Problem::Empty => write!(f, "is empty")?,
            Problem::TooFew { found, needed } => write!(f, "has {found} values, {needed} are needed")?,
            Problem::WrongLength { found, expected } => write!(f, "has length {found}, expected {expected}")?,
            Problem::NotFinite { at } => write!(f, "is not a finite number at position {at}")?,
            Problem::Constant => write!(f, "is constant")?,
            Problem::OneClass => write!(f, "holds one class only")?,
            Problem::OutOfRange { found, allowed } => write!(f, "is {found}, allowed is {allowed}")?,
        }
        write!(f, ": {}", self.remedy)
    }
}

impl std::error::Error for Unusable {}

/// A count as a double; exact below 2^53, which no list in memory reaches.
#[expect(clippy::cast_precision_loss, reason = "lists in memory are shorter than 2^53")]
pub(crate) const fn real(count: usize) -> f64 {
    count as f64
}

/// A 64-bit count as a double; exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of customers stay below 2^53")]
pub(crate) const fn real64(count: u64) -> f64 {
    count as f64
}

/// Refuses the first NaN or infinity.
pub(crate) fn finite(field: &str, values: &[f64]) -> Result<(), Unusable> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Unusable::new(field, Problem::NotFinite { at }, "remove or fill the missing values")),
    }
}

/// Refuses a list whose length differs from its partner's.
pub(crate) fn same_length(field: &str, found: usize, expected: usize) -> Result<(), Unusable> {
    if found == expected {
        return Ok(());
    }
    let problem = Problem::WrongLength { found, expected };
    Err(Unusable::new(field, problem, "give one value per row"))
}

/// Refuses a probability outside the open unit interval.
pub(crate) fn open_unit(field: &str, value: f64) -> Result<(), Unusable> {
    if value > 0.0 && value < 1.0 { Ok(()) } else { Err(Unusable::range(field, value, "above 0 and below 1")) }
}

/// Refuses numbers that are not finite and positive.
pub(crate) fn positive(field: &str, value: f64) -> Result<(), Unusable> {
    if value > 0.0 && value.is_finite() { Ok(()) } else { Err(Unusable::range(field, value, "positive and finite")) }
}
