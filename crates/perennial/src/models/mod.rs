//! Models in the product: trained on history, published to the journal, asked about customers.
//!
//! The way through: [`history`] reads the state's last checkpoint into columns, [`visits`] the journal's
//! latest visits; [`value`], [`clusters`] and [`shop`] learn from them, each with a figure of how good it is on what was hidden from it; the
//! workspace publishes what came out and asks it about everybody; [`shelf`] serves recommendations from
//! memory; [`trainer`] does all this by the programme's rhythm while the server runs.
//!
//! Promise: what a model says of a customer becomes a fact when it is first said; nothing here decides
//! points. A published model holds no customer: parameters, centres and weights of items only.
//! `docs/models.md` argues the shape.

pub mod clusters;
mod goods;
pub mod history;
pub(crate) mod newcomers;
pub mod shelf;
pub mod shop;
pub mod trainer;
pub mod value;
pub mod visits;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use perennial_core::score::{Basis, Model, ModelKind, Score, Scored};
use perennial_core::time::Timestamp;
use perennial_learn::recommend::Halt;
use perennial_store::{Failure, JournalReader, State};

/// A day in milliseconds.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// Why there is no model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untrained {
    /// The history is too thin; the sentence says what is missing.
    Thin(String),
    /// The method did not come to an end on these data.
    Failed(String),
    /// Somebody called it off.
    Cancelled,
}

impl fmt::Display for Untrained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thin(why) => write!(f, "there is too little history: {why}"),
            Self::Failed(why) => write!(f, "the method found no answer: {why}"),
            Self::Cancelled => write!(f, "the training was called off"),
        }
    }
}

impl std::error::Error for Untrained {}

impl From<Failure> for Untrained {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.to_string())
    }
}

/// How far a training is, and whether it shall go on.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    all: AtomicU64,
    halt: Halt,
}

impl Progress {
    /// Begins anew with so many steps ahead.
    pub fn begin(&self, all: u64) {
        self.all.store(all, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
    }

    /// So many steps more are done.
    ///
    /// # Errors
    /// [`Untrained::Cancelled`] once somebody has called the training off.
    pub fn step(&self, steps: u64) -> Result<(), Untrained> {
        self.done.fetch_add(steps, Ordering::Relaxed);
        if self.halt.is_called_off() { Err(Untrained::Cancelled) } else { Ok(()) }
    }

    /// Ends the training, also in the middle of a step.
    pub fn call_off(&self) {
        self.halt.call_off();
    }

    /// What long steps look at.
    pub fn halt(&self) -> &Halt {
        &self.halt
    }

    /// Share of the steps that are done, in per cent.
    pub fn percent(&self) -> u64 {
        let (done, all) = (self.done.load(Ordering::Relaxed), self.all.load(Ordering::Relaxed));
        (100 * done).checked_div(all).unwrap_or(0).min(100)
    }
}

/// A published model, read from its body and ready to be asked. One is made from the body also where
/// it was just trained, so that every process asks the very same numbers.
#[derive(Clone, Debug)]
pub enum Ready {
    /// Of value.
    Value(Arc<value::Value>),
    /// Of clusters.
    Clusters(Arc<clusters::Clusters>),
    /// What goes with what.
    Recommend(Arc<shop::Shop>),
    /// It was trained by another version of this program; train anew.
    Foreign,
}

impl Ready {
    /// Reads a published model.
    pub fn of(model: &Model) -> Self {
        let read = match model.kind {
            ModelKind::Value => postcard::from_bytes(&model.body).ok().map(|m| Self::Value(Arc::new(m))),
            ModelKind::Clusters => postcard::from_bytes(&model.body).ok().map(|m| Self::Clusters(Arc::new(m))),
            ModelKind::Recommend => postcard::from_bytes(&model.body).ok().map(|m| Self::Recommend(Arc::new(m))),
        };
        read.unwrap_or(Self::Foreign)
    }

    /// What the model says of a customer with this history; nothing when it says nothing of customers.
    pub fn score(&self, version: u32, basis: Basis) -> Option<Scored> {
        let score: Score = match self {
            Self::Value(model) => model.score(&basis)?,
            Self::Clusters(model) => model.score(&basis),
            Self::Recommend(_) | Self::Foreign => return None,
        };
        Some(Scored { version, basis, score })
    }
}

impl Ready {
    /// What the model says of a customer of whose orders none stands any more.
    pub fn gone(&self, version: u32, at: Timestamp) -> Option<Scored> {
        let score = match self {
            Self::Value(_) => Score::Value { clv_12m: 0, p_alive: 0, churn_risk: 1_000_000, next_purchase: None },
            Self::Clusters(_) => Score::Cluster { name: "".into() },
            Self::Recommend(_) | Self::Foreign => return None,
        };
        Some(Scored { version, basis: Basis { at, orders: 0, first: at, last: at, spend: 0 }, score })
    }
}

/// The encoded form of a model of ours.
fn encode(model: &impl serde::Serialize) -> Result<Box<[u8]>, Untrained> {
    postcard::to_stdvec(model).map(Vec::into_boxed_slice).map_err(|e| Untrained::Failed(e.to_string()))
}

/// A figure as it is published: millionths, clamped to what fits.
#[expect(clippy::cast_possible_truncation, reason = "rounded and clamped")]
fn millionths(figure: f64) -> i64 {
    if figure.is_finite() { (figure * 1e6).round().clamp(-9e18, 9e18) as i64 } else { 0 }
}

/// A share as it is recorded.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1e6")]
fn parts_per_million(share: f64) -> u32 {
    if share.is_finite() { (share.clamp(0.0, 1.0) * 1e6).round() as u32 } else { 0 }
}

/// Trains a model of a kind on the state's last checkpoint, and on the journal's visits until then.
///
/// # Errors
/// [`Untrained`], with the reason in words.
pub fn train(
    kind: ModelKind,
    (state, journal): (&State, &JournalReader),
    version: u32,
    progress: &Progress,
) -> Result<Model, Untrained> {
    let history = || history::History::read(state, progress);
    match kind {
        ModelKind::Value => value::train(&history()?, version, progress),
        ModelKind::Clusters => clusters::train(&history()?, version, SEED, progress),
        ModelKind::Recommend => {
            let lines = history::Lines::read(state, progress)?;
            let visits = visits::Visits::latest(journal, lines.position, progress)?;
            shop::train(&lines, &visits, version, SEED, progress)
        }
    }
}

/// Where random choices begin: the same history gives the same model.
const SEED: u64 = 7;
