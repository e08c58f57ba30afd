//! What can be wrong with the columns a caller hands in, said so that it can be put right.
//!
//! One closed list for all methods: each error names the field and the remedy, and can be shown to
//! an analyst as it stands. Absent on purpose: anything about files; rows are counted from 0.

use std::fmt;

/// Why a model refuses its input; `field` is the column's name, `row` counts from 0.
#[expect(missing_docs, reason = "the fields of each variant say what its sentence says")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadInput {
    /// The column holds no rows at all.
    Empty { field: String },
    /// Fewer usable rows than the method needs.
    TooFew { field: String, found: usize, needed: usize },
    /// Columns of one table must be equally long.
    Length { field: String, found: usize, expected: usize },
    /// NaN or infinity where a number is needed.
    NotFinite { field: String, row: usize },
    /// The value lies outside what the field can mean.
    OutOfRange { field: String, row: usize, allowed: &'static str },
    /// All values are equal, so nothing can be learnt from them.
    Constant { field: String },
    /// The label has only one class.
    OneClass { field: String },
    /// Two columns carry one name.
    Duplicate { field: String },
    /// A column that the model was trained with is absent, or holds the other kind of value.
    Missing { field: String, expected: &'static str },
    /// The likelihood has no maximum inside the sensible range.
    NoMaximum { model: &'static str },
    /// What a statistic refuses, with a remedy of its own.
    Refused { field: String, problem: Problem, remedy: &'static str },
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

impl BadInput {
    /// A refusal with a remedy of its own.
    pub(crate) fn new(field: impl Into<String>, problem: Problem, remedy: &'static str) -> Self {
        Self::Refused { field: field.into(), problem, remedy }
    }

    pub(crate) fn range(field: impl Into<String>, found: f64, allowed: &'static str) -> Self {
        let problem = Problem::OutOfRange { found: found.to_string(), allowed };
        Self::new(field, problem, "give a number inside the range")
    }

    /// The name of the argument or column, as the caller knows it.
    pub fn field(&self) -> &str {
        match self {
            Self::Empty { field }
            | Self::TooFew { field, .. }
            | Self::Length { field, .. }
            | Self::NotFinite { field, .. }
            | Self::OutOfRange { field, .. }
            | Self::Constant { field }
            | Self::OneClass { field }
            | Self::Duplicate { field }
            | Self::Missing { field, .. }
            | Self::Refused { field, .. } => field,
            Self::NoMaximum { model } => model,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "is empty"),
            Self::TooFew { found, needed } => write!(f, "has {found} values, {needed} are needed"),
            Self::WrongLength { found, expected } => write!(f, "has length {found}, expected {expected}"),
            Self::NotFinite { at } => write!(f, "is not a finite number at position {at}"),
            Self::Constant => write!(f, "is constant"),
            Self::OneClass => write!(f, "holds one class only"),
            Self::OutOfRange { found, allowed } => write!(f, "is {found}, allowed is {allowed}"),
        }
    }
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { field } => write!(f, "`{field}` is empty; give at least one row"),
            Self::TooFew { field, found, needed } => {
                write!(f, "`{field}` has {found} usable rows; give at least {needed}")
            }
            Self::Length { field, found, expected } => {
                write!(f, "`{field}` has {found} rows where the others have {expected}; make the columns equally long")
            }
            Self::NotFinite { field, row } => {
                write!(f, "`{field}` is not a finite number in row {row}; fill in or leave out that row")
            }
            Self::OutOfRange { field, row, allowed } => {
                write!(f, "`{field}` in row {row} must be {allowed}; correct or leave out that row")
            }
            Self::Constant { field } => {
                write!(f, "`{field}` has the same value in every row; leave it out or give rows that differ")
            }
            Self::OneClass { field } => {
                write!(f, "`{field}` has only one class; give rows of both outcomes")
            }
            Self::Duplicate { field } => {
                write!(f, "`{field}` occurs twice; rename or leave out one")
            }
            Self::Missing { field, expected } => {
                write!(f, "`{field}` is needed as {expected}; add that column")
            }
            Self::NoMaximum { model } => write!(
                f,
                "the {model} likelihood has no maximum on these rows; give more customers with repeat purchases"
            ),
            Self::Refused { field, problem, remedy } => write!(f, "`{field}` {problem}: {remedy}"),
        }
    }
}

impl std::error::Error for BadInput {}

/// Refuses a column whose length differs from `expected`.
pub fn same_length(field: &str, found: usize, expected: usize) -> Result<(), BadInput> {
    if found == expected {
        return Ok(());
    }
    Err(BadInput::Length { field: field.into(), found, expected })
}

/// Larger numbers measure nothing, and their squares and cubes could not be added up.
pub const LARGEST: f64 = 1e100;

/// Refuses NaN, infinities, and numbers beyond [`LARGEST`] either way.
pub fn finite(field: &str, values: &[f64]) -> Result<(), BadInput> {
    match values.iter().position(|v| v.is_nan() || v.abs() > LARGEST) {
        Some(row) => Err(no_measure(field, row, values[row])),
        None => Ok(()),
    }
}

/// Why a number that is not finite, or lies beyond [`LARGEST`], is refused.
pub(crate) fn no_measure(field: &str, row: usize, value: f64) -> BadInput {
    let field = field.into();
    if value.is_finite() {
        return BadInput::OutOfRange { field, row, allowed: "between -1e100 and 1e100" };
    }
    BadInput::NotFinite { field, row }
}

/// Refuses the first value for which `allowed` is false; `wanted` completes "must be ...".
pub fn all(field: &str, values: &[f64], wanted: &'static str, allowed: impl Fn(f64) -> bool) -> Result<(), BadInput> {
    finite(field, values)?;
    match values.iter().position(|&v| !allowed(v)) {
        Some(row) => Err(BadInput::OutOfRange { field: field.into(), row, allowed: wanted }),
        None => Ok(()),
    }
}

/// Refuses a label with fewer than two classes.
pub fn two_classes(field: &str, label: &[bool]) -> Result<(), BadInput> {
    if label.is_empty() {
        return Err(BadInput::Empty { field: field.into() });
    }
    if label.iter().all(|&y| y == label[0]) {
        return Err(BadInput::OneClass { field: field.into() });
    }
    Ok(())
}

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

/// Refuses a probability outside the open unit interval, or so small that its inverse is beyond [`LARGEST`].
pub(crate) fn open_unit(field: &str, value: f64) -> Result<(), BadInput> {
    let inside = (1.0 / LARGEST..1.0).contains(&value);
    if inside { Ok(()) } else { Err(BadInput::range(field, value, "above 0 (from 1e-100) and below 1")) }
}

/// Refuses numbers that are not positive, beyond [`LARGEST`], or so small that their inverse is.
pub(crate) fn positive(field: &str, value: f64) -> Result<(), BadInput> {
    if (1.0 / LARGEST..=LARGEST).contains(&value) {
        return Ok(());
    }
    Err(BadInput::range(field, value, "positive, from 1e-100 to 1e100"))
}

/// Refuses counts that doubles cannot hold, so that sums of counts cannot overflow.
pub(crate) fn countable(field: &str, count: u64) -> Result<(), BadInput> {
    const MOST: u64 = 1 << 53;
    if count <= MOST { Ok(()) } else { Err(BadInput::range(field, real64(count), "at most 2^53")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_field_row_and_remedy() {
        let wrong = all("recency", &[1.0, -2.0], "0 or more", |v| v >= 0.0).unwrap_err();
        assert_eq!(wrong.to_string(), "`recency` in row 1 must be 0 or more; correct or leave out that row");
        assert!(finite("age", &[0.0, f64::NAN]).is_err());
    }
}
