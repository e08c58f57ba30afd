//! What can be wrong with the columns a caller hands in, said so that it can be put right.
//!
//! One closed list for the models of customers (lifetime, propensity, uplift): each error names
//! the field and the remedy. Absent on purpose: anything about files; rows are counted from 0.

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

/// Refuses NaN and infinities.
pub fn finite(field: &str, values: &[f64]) -> Result<(), BadInput> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(row) => Err(BadInput::NotFinite { field: field.into(), row }),
        None => Ok(()),
    }
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
