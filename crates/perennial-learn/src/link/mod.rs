//! Record linkage: which records are one person, with stated error rates.
//!
//! [`link`] takes a [`Table`] and nothing else: it recognises the columns, learns which pairs are
//! worth comparing, learns weights without labels, decides pairs and clusters, and can explain
//! each decision as a sum of weights (Fellegi and Sunter 1969).
//! Promise: the same table and seed give the same answer; headers and record ids are never
//! evidence; no pair is judged by one chain of neighbours.
//! Absent on purpose: merging of records. What to do with a cluster is the caller's decision.

mod block;
mod cluster;
mod compare;
mod kind;
mod model;
mod plan;
mod table;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use block::{Atom, Form, Rule};
pub use kind::Kind;
pub use model::{FieldWeights, Weights};
pub use plan::Comparison;
pub use table::Table;

use block::{Keys, Market};
use model::{Batch, Candidate, index, whole};
use plan::Prepared;

/// Comparisons at most; a pair's levels are packed into four bits each.
pub const MAX_COMPARISONS: usize = 16;

/// Rows from which blocking and weights are learnt at most.
const LEARNING_ROWS: usize = 60_000;
/// Pairs below these log-odds are not kept.
const KEPT: f64 = -5.0;
/// Rounds of learning rules from found pairs and weights from candidates.
const ROUNDS: usize = 3;

/// What may be chosen; everything else is chosen from the data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Seed of the random pairs.
    pub seed: u64,
    /// Two records count as one person from this probability on, in `(0, 1)`.
    pub threshold: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            threshold: 0.5,
        }
    }
}

/// Everything learnt from a table; plain data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// What is compared.
    pub plan: Vec<Comparison>,
    /// How much each agreement counts.
    pub weights: Weights,
    /// Which pairs are compared.
    pub rules: Vec<Rule>,
}

/// Two rows and the probability that they are one person, judged by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The lower row.
    pub left: u32,
    /// The higher row.
    pub right: u32,
    /// Probability in `[0, 1]`.
    pub probability: f64,
}

/// The answer for a table.
#[derive(Debug, Clone)]
pub struct Linkage {
    /// What was learnt.
    pub model: Model,
    /// Pairs that are not clearly strangers, by rows.
    pub pairs: Vec<Pair>,
    /// The cluster of each row: the lowest row of the same person.
    pub clusters: Vec<u32>,
    /// Pairs that were compared.
    pub compared: u64,
}

/// Why a table cannot be linked; each names what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkError {
    /// The table has no columns.
    NoColumns,
    /// Two columns have one name.
    RepeatedColumn {
        /// The name.
        column: String,
    },
    /// A row has too few or too many values.
    WrongWidth {
        /// Position of the row.
        row: usize,
        /// Values given.
        given: usize,
        /// Values needed.
        expected: usize,
    },
    /// A column's distinct values are too long to hold.
    TooMuchText {
        /// Name of the column.
        column: String,
    },
    /// There is nothing to link.
    TooFewRows {
        /// Rows given.
        rows: usize,
    },
    /// No column has two different values.
    NothingToCompare,
    /// The threshold is not a probability.
    BadThreshold,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoColumns => write!(
                f,
                "the table has no columns: name at least one that tells people apart"
            ),
            Self::RepeatedColumn { column } => {
                write!(f, "two columns are called `{column}`: rename one of them")
            }
            Self::WrongWidth {
                row,
                given,
                expected,
            } => {
                write!(
                    f,
                    "row {row} has {given} values, not {expected}: give one value per column"
                )
            }
            Self::TooMuchText { column } => {
                write!(
                    f,
                    "column `{column}` holds more than 4 GB of distinct text: leave it out or shorten its values"
                )
            }
            Self::TooFewRows { rows } => {
                write!(f, "the table has {rows} rows: linking needs at least two")
            }
            Self::NothingToCompare => {
                write!(
                    f,
                    "no column has two different values: add a column that tells people apart, such as a name or an e-mail address"
                )
            }
            Self::BadThreshold => write!(
                f,
                "`threshold` is not between 0 and 1: give a probability such as 0.5"
            ),
        }
    }
}

impl std::error::Error for LinkError {}

/// Finds the records of a table that are one person.
///
/// Rows and columns are as pushed into the [`Table`]; record ids and labels must not be among the
/// columns. Time grows with the number of candidate pairs, about linearly in the rows.
///
/// # Errors
/// Fewer than two rows, no column with two different values, or a threshold outside `(0, 1)`.
pub fn link(table: &Table, settings: &Settings) -> Result<Linkage, LinkError> {
    if !(settings.threshold > 0.0 && settings.threshold < 1.0) {
        return Err(LinkError::BadThreshold);
    }
    let plan = plan::plan(table)?;
    let mut prepared = Prepared::new(table, &plan)?;
    let mut rng = crate::seed::generator(settings.seed);
    let learnt = learn(&mut prepared, &plan, settings, &mut rng);
    let scores = learnt.weights.scores();
    let mut kept = Vec::new();
    let mut compared = 0;
    each_candidate(&prepared, learnt.rules.as_deref(), |candidate| {
        compared += 1;
        if scores.log_odds(&candidate) > KEPT {
            kept.push(candidate);
        }
    });
    let threshold = (settings.threshold / (1.0 - settings.threshold)).ln();
    let clusters = cluster::clusters(&prepared, &scores, &kept, threshold);
    let mut pairs: Vec<Pair> = kept
        .iter()
        .map(|c| Pair {
            left: c.left,
            right: c.right,
            probability: model::probability(scores.log_odds(c)),
        })
        .collect();
    pairs.sort_unstable_by_key(|pair| (pair.left, pair.right));
    let model = Model {
        plan,
        weights: learnt.weights,
        rules: learnt.rules.unwrap_or_default(),
    };
    Ok(Linkage {
        model,
        pairs,
        clusters,
        compared,
    })
}

/// Weights and rules; no rules where all pairs are few enough to compare.
struct Learnt {
    weights: Weights,
    rules: Option<Vec<Rule>>,
}

/// Pairs compared at most for a table of this many rows.
fn budget(rows: usize) -> f64 {
    (30.0 * whole(rows)).min(2.5e6 + 3.0 * whole(rows)).max(6e5)
}

/// Compares every pair of rows worth comparing and calls back with each.
fn each_candidate(prepared: &Prepared, rules: Option<&[Rule]>, found: impl FnMut(Candidate)) {
    let mut batch = Batch::new(prepared, found);
    if let Some(rules) = rules {
        Keys::new(prepared, rules).pairs(|left, right| batch.add(left, right));
    } else {
        for left in 0..prepared.rows {
            (left + 1..prepared.rows).for_each(|right| batch.add(index(left), index(right)));
        }
    }
    batch.flush();
}

/// Learns weights and rules on a choice of rows.
fn learn(
    prepared: &mut Prepared,
    plan: &[Comparison],
    settings: &Settings,
    rng: &mut impl crate::seed::Rng,
) -> Learnt {
    let rows = prepared.rows;
    let mut sample = if rows > LEARNING_ROWS {
        Some(prepared.choice(&choose(rows, rng)))
    } else {
        None
    };
    let whole_table = sample.is_none();
    let learning = sample.as_mut().unwrap_or(prepared);
    let counts = model::counts(learning);
    let mut random = model::random_pairs(learning, rng);
    let market =
        (model::pair_count(rows) > budget(rows)).then(|| Market::new(learning, plan, rows));
    let mut rules = market
        .as_ref()
        .map(|market| market.first_rules(budget(rows)));
    let mut weights: Option<Weights> = None;
    for round in 0..ROUNDS {
        let mut candidates = Vec::new();
        each_candidate(learning, rules.as_deref(), |candidate| candidates.push(candidate));
        let mut learnt = model::learn(learning, &candidates, &random, weights.as_ref());
        if whole_table {
            model::discount_copies(learning, &mut candidates, &learnt.scores(), &counts);
            random.iter_mut().for_each(|pair| pair.refresh(learning));
            learnt = model::learn(learning, &candidates, &random, Some(&learnt));
        }
        let last = round + 1 == ROUNDS;
        weights = Some(learnt);
        match (&market, &weights) {
            (Some(market), Some(weights)) if !last => {
                rules = Some(market.learn(
                    &matched(learning, weights, &candidates, settings),
                    budget(rows),
                ));
            }
            _ => break,
        }
    }
    let weights = weights.expect("at least one round was run");
    Learnt { weights, rules }
}

/// Pairs within clusters of the present weights.
fn matched(
    prepared: &Prepared,
    weights: &Weights,
    candidates: &[Candidate],
    settings: &Settings,
) -> Vec<(u32, u32)> {
    let scores = weights.scores();
    let edges: Vec<Candidate> = candidates
        .iter()
        .filter(|candidate| scores.log_odds(candidate) > KEPT)
        .copied()
        .collect();
    let threshold = (settings.threshold / (1.0 - settings.threshold)).ln();
    let labels = cluster::clusters(prepared, &scores, &edges, threshold);
    let mut order: Vec<(u32, u32)> = labels.iter().copied().zip(0..).collect();
    order.sort_unstable();
    let mut pairs = Vec::new();
    for group in order.chunk_by(|a, b| a.0 == b.0) {
        for (at, a) in group.iter().enumerate().take(30) {
            pairs.extend(group[at + 1..].iter().take(30).map(|b| (a.1, b.1)));
        }
    }
    pairs
}

/// Distinct random rows to learn from, in order.
fn choose(rows: usize, rng: &mut impl crate::seed::Rng) -> Vec<u32> {
    let mut chosen = Vec::with_capacity(LEARNING_ROWS);
    let mut needed = LEARNING_ROWS;
    for row in 0..rows {
        if crate::seed::below(rng, rows - row) < needed {
            chosen.push(index(row));
            needed -= 1;
        }
    }
    chosen
}
