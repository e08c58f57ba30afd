//! Recommendations: what a customer may like next, each with the item it comes from.
//!
//! [`Recommender::train`] is the door: from a table of interactions and a task it holds out a part,
//! tries the methods that suit the task, blends the best by what the held-out part says, and fits
//! the blend on everything. One sparse item-item core serves EASE, neighbours and baskets.
//! Absent on purpose: files, dates and threads that outlive a call.

pub mod als;
mod blend;
pub mod buy_again;
pub mod choose;
mod compact;
pub mod content;
pub mod diversity;
pub mod ease;
pub mod fading;
pub mod filter;
mod halt;
pub mod interactions;
mod inverse;
pub mod item_item;
pub mod live;
pub mod method;
pub mod next_basket;
pub mod popularity;
pub mod recommender;
pub mod session;
pub mod sparse;
mod top;
mod validate;

pub use choose::{Choice, Search, Trial};
pub use halt::Halt;
pub use interactions::{Columns, FARTHEST, Interactions, parse_time};
pub use method::{Method, Settings};
pub use recommender::{Effort, Reason, Recommendation, Recommender};

use crate::parallel;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// New items for a customer.
    ForYou,
    /// What goes into a basket with the items shown.
    Together,
    /// What a customer buys next, earlier purchases included.
    Again,
    /// The next item of a running session, repeats included.
    Session,
}

impl Task {
    /// Length of the lists by which methods are compared.
    pub(crate) fn depth(self) -> usize {
        if self == Self::Session { 20 } else { 10 }
    }
}

/// Why a recommender could not be trained or asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// A part that must have rows has none.
    Empty(&'static str),
    /// Columns of different lengths.
    Length {
        /// The column.
        field: &'static str,
        /// Its rows.
        found: usize,
        /// The rows of the first column.
        expected: usize,
    },
    /// A number that is not finite, or too large to measure anything.
    Undefined {
        /// The column.
        field: &'static str,
        /// The row, from 0.
        row: usize,
    },
    /// More rows than a model can number.
    TooMany {
        /// The rows.
        rows: usize,
    },
    /// A matrix that cannot be inverted.
    Singular {
        /// The ridge that was too small.
        ridge: f64,
    },
    /// Somebody called the training off.
    CalledOff,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty(part) => write!(f, "there are no {part}: give a table with more rows"),
            Self::Length { field, found, expected } => {
                write!(
                    f,
                    "column `{field}` has {found} rows where {expected} were expected: give columns of one length"
                )
            }
            Self::Undefined { field, row } => {
                write!(
                    f,
                    "column `{field}`, row {row}: not a number between -1e30 and 1e30; correct it or leave the row out"
                )
            }
            Self::TooMany { rows } => write!(f, "{rows} rows are more than a model can number: train on fewer"),
            Self::Singular { ridge } => write!(f, "a ridge of {ridge} is too small for this table: raise it"),
            Self::CalledOff => write!(f, "the training was called off"),
        }
    }
}

impl std::error::Error for Error {}
