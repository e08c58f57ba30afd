//! Looking up one new person among the rows of a linkage, in well under a millisecond.
//!
//! The learnt rules give a handful of rows that might be the person; each is weighed with the
//! learnt weights.
//! Promise: the probability equals the one the linkage would give the same pair of rows under
//! the same weights and shares of values.
//! Absent on purpose: growing. New rows enter with the next linkage.

use serde::{Deserialize, Serialize};

use super::block::{self, Keys, row_of};
use super::compare::{self, EXACT};
use super::model::{self, Scores, index};
use super::plan::Prepared;
use super::table::{MISSING, normalise};
use super::{LinkError, Linkage, Model};

/// The code of a value that no row has.
const UNKNOWN: u32 = u32::MAX;

/// Rows of a linkage, ready for look-ups.
#[derive(Debug, Clone)]
pub struct Index<'a> {
    prepared: &'a Prepared,
    model: &'a Model,
    scores: Scores,
    columns: usize,
    /// Per rule, rows sorted by key.
    blocks: Vec<Vec<u64>>,
}

/// A row that may be the person looked up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The row.
    pub row: u32,
    /// Probability that it is the person, in `[0, 1]`.
    pub probability: f64,
}

impl<'a> Index<'a> {
    /// Prepares a linkage for look-ups; takes eight bytes per row and rule.
    pub fn new(linkage: &'a Linkage) -> Self {
        let keys = Keys::new(&linkage.prepared, &linkage.model.rules);
        Self {
            prepared: &linkage.prepared,
            model: &linkage.model,
            scores: linkage.model.weights.scores(),
            columns: linkage.columns,
            blocks: (0..linkage.model.rules.len()).map(|rule| keys.blocks(rule)).collect(),
        }
    }

    /// The rows that may be the person with these values, likeliest first, at most `most`.
    ///
    /// `values` has one value per column of the table, in its order, raw.
    ///
    /// # Errors
    /// Too few or too many values.
    pub fn find(&self, values: &[Option<&str>], most: usize) -> Result<Vec<Found>, LinkError> {
        if values.len() != self.columns {
            return Err(LinkError::WrongWidth { row: self.prepared.rows, given: values.len(), expected: self.columns });
        }
        let texts = self.canonical(values);
        let codes: Vec<u32> = self
            .prepared
            .fields
            .iter()
            .zip(&texts)
            .map(|(field, text)| code_of(text, field.values.find(text)))
            .collect();
        let mut found: Vec<Found> =
            self.candidates(&texts).into_iter().map(|row| self.weigh(row, &texts, &codes)).collect();
        found.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.row.cmp(&b.row)));
        found.truncate(most);
        Ok(found)
    }

    fn canonical(&self, values: &[Option<&str>]) -> Vec<String> {
        let normal = values.iter().map(|value| {
            let mut text = String::new();
            normalise(value.unwrap_or(""), &mut text);
            text
        });
        let normal: Vec<String> = normal.collect();
        let read = |comparison: &super::Comparison| {
            let mut text = String::new();
            comparison.read(|column| Some(normal[column].as_str()).filter(|text| !text.is_empty()), &mut text);
            text
        };
        self.model.plan.iter().map(read).collect()
    }

    /// Rows that meet the values under some rule; all rows of a table too small for rules.
    fn candidates(&self, texts: &[String]) -> Vec<u32> {
        if self.blocks.is_empty() {
            return (0..index(self.prepared.rows)).collect();
        }
        let mut rows = Vec::new();
        for (rule, entries) in self.model.rules.iter().zip(&self.blocks) {
            let key = u64::from(block::record_key(rule, texts, &self.model.cuts));
            let start = entries.partition_point(|entry| entry >> 32 < key);
            let same = entries[start..].iter().take_while(|&&entry| key != 0 && entry >> 32 == key);
            rows.extend(same.map(|&entry| index(row_of(entry))));
        }
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    fn weigh(&self, row: u32, texts: &[String], codes: &[u32]) -> Found {
        let levels = compare::levels_of_new(self.prepared, texts, codes, row as usize);
        let weights = self.prepared.row(row as usize).iter().enumerate().map(|(at, &code)| {
            let level = compare::level_at(levels, at);
            self.scores.weight(self.prepared, at, level, if level == usize::from(EXACT) { code } else { MISSING })
        });
        Found { row, probability: model::probability(self.scores.prior + weights.sum::<f64>()) }
    }
}

fn code_of(text: &str, known: Option<u32>) -> u32 {
    if text.is_empty() { MISSING } else { known.unwrap_or(UNKNOWN) }
}
