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
mod lookup;
mod model;
mod plan;
mod report;
mod table;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use block::{Atom, Cuts, Form, Rule};
pub use kind::Kind;
pub use lookup::{Found, Index};
pub use model::{FieldWeights, Weights};
pub use plan::Comparison;
pub use report::{Answer, ErrorRates, Explanation, Part, Question};
pub use table::Table;

use block::{Keys, Market};
use cluster::{Judge, Told};
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
        Self { seed: 1, threshold: 0.5 }
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
    /// Where the sorted values of each comparison are cut, for the rules that look at stretches.
    #[serde(default)]
    pub cuts: Vec<Cuts>,
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
    prepared: Prepared,
    kept: Vec<Candidate>,
    told: Told,
    /// Columns of the table.
    columns: usize,
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
    /// A row is outside the table.
    NoSuchRow {
        /// The row asked for.
        row: usize,
        /// Rows of the table.
        rows: usize,
    },
    /// A row is paired with itself.
    SameRow {
        /// The row.
        row: usize,
    },
    /// Two answers about one pair contradict each other.
    Contradiction {
        /// The lower row.
        left: u32,
        /// The higher row.
        right: u32,
    },
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoColumns => write!(f, "the table has no columns: name at least one that tells people apart"),
            Self::RepeatedColumn { column } => {
                write!(f, "two columns are called `{column}`: rename one of them")
            }
            Self::WrongWidth { row, given, expected } => {
                write!(f, "row {row} has {given} values, not {expected}: give one value per column")
            }
            Self::TooMuchText { column } => {
                write!(f, "column `{column}` holds more than 4 GB of distinct text: leave it out or shorten its values")
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
            Self::BadThreshold => write!(f, "`threshold` is not between 0 and 1: give a probability such as 0.5"),
            Self::NoSuchRow { row, rows } => {
                write!(f, "there is no row {row}: the table has {rows} rows, counted from 0")
            }
            Self::SameRow { row } => write!(f, "row {row} is paired with itself: name two different rows"),
            Self::Contradiction { left, right } => {
                write!(f, "the answers about rows {left} and {right} contradict each other: keep one of them")
            }
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
    link_with(table, settings, &[])
}

/// [`link`] with answers of people about some pairs: they decide those pairs, keep clusters
/// together or apart, and teach the weights where the table is small enough to learn from all of it.
///
/// # Errors
/// As [`link`]; also an answer about a row outside the table or about one row twice, and answers
/// that contradict each other.
pub fn link_with(table: &Table, settings: &Settings, answers: &[Answer]) -> Result<Linkage, LinkError> {
    if !(settings.threshold > 0.0 && settings.threshold < 1.0) {
        return Err(LinkError::BadThreshold);
    }
    let plan = plan::plan(table)?;
    let told = heed(table.rows(), answers)?;
    let mut prepared = Prepared::new(table, &plan)?;
    let mut rng = crate::seed::generator(settings.seed);
    let learnt = learn(&mut prepared, &plan, settings, &told, &mut rng);
    let scores = learnt.weights.scores();
    let (kept, compared) = keep(&prepared, &scores, learnt.rules.as_deref(), &told);
    let judge = Judge { prepared: &prepared, scores: &scores, told: &told, threshold: log_odds(settings.threshold) };
    let clusters = cluster::clusters(&judge, &kept);
    let pair = |c: &Candidate| Pair { left: c.left, right: c.right, probability: model::probability(judge.pair(c)) };
    let pairs: Vec<Pair> = kept.iter().map(pair).collect();
    let rules = learnt.rules.unwrap_or_default();
    let cuts = block::cuts_of(&prepared, &rules);
    let model = Model { plan, weights: learnt.weights, rules, cuts };
    Ok(Linkage { model, pairs, clusters, compared, prepared, kept, told, columns: table.names().len() })
}

fn log_odds(probability: f64) -> f64 {
    (probability / (1.0 - probability)).ln()
}

/// Answers by pair.
fn heed(rows: usize, answers: &[Answer]) -> Result<Told, LinkError> {
    let mut told = Told::new();
    for answer in answers {
        let (left, right) = (answer.left.min(answer.right), answer.left.max(answer.right));
        if left == right {
            return Err(LinkError::SameRow { row: left as usize });
        }
        if right as usize >= rows {
            return Err(LinkError::NoSuchRow { row: right as usize, rows });
        }
        if told.insert((left, right), answer.same).is_some_and(|before| before != answer.same) {
            return Err(LinkError::Contradiction { left, right });
        }
    }
    Ok(told)
}

/// Compares all candidates; those that are not clearly strangers, by rows, and how many there were.
fn keep(prepared: &Prepared, scores: &model::Scores, rules: Option<&[Rule]>, told: &Told) -> (Vec<Candidate>, u64) {
    let mut kept = Vec::new();
    let mut compared = 0;
    each_candidate(prepared, rules, |candidate| {
        compared += 1;
        if scores.log_odds(&candidate) > KEPT {
            kept.push(candidate);
        }
    });
    let mut batch = Batch::new(prepared, |candidate| kept.push(candidate));
    for &(left, right) in told.keys() {
        batch.add(left, right);
    }
    batch.flush();
    kept.sort_unstable_by_key(|candidate| (candidate.left, candidate.right));
    kept.dedup_by_key(|candidate| (candidate.left, candidate.right));
    (kept, compared)
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
    told: &Told,
    rng: &mut impl crate::seed::Rng,
) -> Learnt {
    let rows = prepared.rows;
    let mut sample = if rows > LEARNING_ROWS { Some(prepared.choice(&choose(rows, rng))) } else { None };
    let whole_table = sample.is_none();
    let nothing_told = Told::new();
    let told = if whole_table { told } else { &nothing_told };
    let learning = sample.as_mut().unwrap_or(prepared);
    let counts = if whole_table { model::counts(learning) } else { Vec::new() };
    let mut random = model::random_pairs(learning, rng);
    let market = (model::pair_count(rows) > budget(rows)).then(|| Market::new(learning, plan, rows));
    let mut rules = market.as_ref().map(|market| market.first_rules(budget(rows)));
    let mut weights: Option<Weights> = None;
    for round in 0.. {
        let mut candidates = Vec::new();
        each_candidate(learning, rules.as_deref(), |candidate| {
            candidates.push(candidate);
        });
        let mut learnt = model::learn(learning, &candidates, &random, told, weights.as_ref());
        if whole_table {
            model::discount_copies(learning, &mut candidates, &learnt.scores(), &counts);
            for pair in &mut random {
                pair.refresh(learning);
            }
            learnt = model::learn(learning, &candidates, &random, told, Some(&learnt));
        }
        let Some(market) = market.as_ref().filter(|_| round + 1 < ROUNDS) else {
            return Learnt { weights: learnt, rules };
        };
        rules = Some(market.learn(&matched(learning, &learnt, &candidates, settings, told), budget(rows)));
        weights = Some(learnt);
    }
    unreachable!("the last round returns")
}

/// Pairs within clusters of the present weights.
fn matched(
    prepared: &Prepared,
    weights: &Weights,
    candidates: &[Candidate],
    settings: &Settings,
    told: &Told,
) -> Vec<(u32, u32)> {
    let scores = weights.scores();
    let edges: Vec<Candidate> =
        candidates.iter().filter(|candidate| scores.log_odds(candidate) > KEPT).copied().collect();
    let judge = Judge { prepared, scores: &scores, told, threshold: log_odds(settings.threshold) };
    let mut order: Vec<(u32, u32)> = cluster::clusters(&judge, &edges).into_iter().zip(0..).collect();
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
