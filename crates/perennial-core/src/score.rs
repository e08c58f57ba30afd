//! Scores: what a published model said of a customer, recorded when it was first known.
//!
//! Invariant: scores are whole numbers and texts, and one that is recorded is never reckoned again,
//! so a refold needs no model. A customer has at most one score of each kind of model, the latest.
//! Absent on purpose: models and floating point. Whoever trains and asks a model hands its answer in.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::customer::Customer;
use crate::feature::instant_value;
use crate::money::Currency;
use crate::time::Timestamp;
use crate::value::Value;

/// What a model is for; a programme asks for each under `models`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// What a customer will be worth, and whether they will come again.
    Value,
    /// Groups of customers who shop alike.
    Clusters,
    /// What goes with what.
    Recommend,
}

impl ModelKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Value, Self::Clusters, Self::Recommend];

    /// The word in programmes and addresses.
    pub fn word(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Clusters => "clusters",
            Self::Recommend => "recommend",
        }
    }
}

impl std::str::FromStr for ModelKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.word() == text).ok_or(())
    }
}

/// A trained model as it is published: what it was trained on and how good it is, in plain data. What
/// is inside is known to those who train and ask it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// What it is for.
    pub kind: ModelKind,
    /// Its version among those of its kind, from 1.
    pub version: u32,
    /// The method, as the field knows it.
    pub method: Box<str>,
    /// The first order it was trained on.
    pub from: Timestamp,
    /// The end of what it was trained on: scores hold as of then.
    pub until: Timestamp,
    /// The last journal entry it was trained on.
    pub position: u64,
    /// Customers it was trained on.
    pub customers: u64,
    /// Orders it was trained on.
    pub orders: u64,
    /// Where random choices began.
    pub seed: u64,
    /// How good it was on what was hidden from it: names and values in millionths.
    pub figures: Vec<(Box<str>, i64)>,
    /// The model itself, encoded by who trained it; people are shown its size only.
    #[serde(serialize_with = "for_readers")]
    pub body: Box<[u8]>,
}

fn for_readers<S: serde::Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.collect_str(&format_args!("{} bytes", body.len()))
    } else {
        body.serialize(serializer)
    }
}

/// What a score was reckoned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// The instant it holds for.
    pub at: Timestamp,
    /// Days with an order that stands.
    pub orders: u32,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// Minor units that stand of all orders.
    pub spend: i64,
}

/// A score with the model it is of and what it was reckoned from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scored {
    /// The model's version.
    pub version: u32,
    /// What it was reckoned from.
    pub basis: Basis,
    /// What the model said.
    pub score: Score,
}

/// What a model said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Score {
    /// Of value.
    Value {
        /// What the customer is expected to spend in the next twelve months, in minor units of the
        /// programme's currency of today.
        clv_12m: i64,
        /// The chance that they are still a customer, in millionths.
        p_alive: u32,
        /// The chance that they order nothing in the next 90 days, in millionths.
        churn_risk: u32,
        /// The instant by which the next order has come with a chance of one half; none when it is
        /// more likely that none will come.
        next_purchase: Option<Timestamp>,
    },
    /// Of clusters.
    Cluster {
        /// The cluster's name; empty when it is none any more.
        name: Box<str>,
    },
}

/// A score as expressions name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ScoreName {
    /// `clv_12m`, in major units.
    Clv12m,
    /// `p_alive`, from 0 to 1.
    PAlive,
    /// `churn_risk`, from 0 to 1.
    ChurnRisk,
    /// `next_purchase`, an instant.
    NextPurchase,
    /// `cluster`, a text.
    Cluster,
}

impl ScoreName {
    /// All names.
    pub const ALL: [Self; 5] = [Self::Clv12m, Self::PAlive, Self::ChurnRisk, Self::NextPurchase, Self::Cluster];

    /// The word in expressions.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clv12m => "clv_12m",
            Self::PAlive => "p_alive",
            Self::ChurnRisk => "churn_risk",
            Self::NextPurchase => "next_purchase",
            Self::Cluster => "cluster",
        }
    }

    /// The model it comes from.
    pub fn kind(self) -> ModelKind {
        if self == Self::Cluster { ModelKind::Clusters } else { ModelKind::Value }
    }

    /// The score's value now; absent until a model has spoken of the customer.
    pub fn of(self, customer: &Customer, currency: Currency) -> Value {
        let millionths = |n: u32| Value::Number(Decimal::new(i64::from(n), 6));
        match (self, customer.score(self.kind()).map(|scored| &scored.score)) {
            (Self::Clv12m, Some(Score::Value { clv_12m, .. })) => Value::Number(currency.major(*clv_12m)),
            (Self::PAlive, Some(Score::Value { p_alive, .. })) => millionths(*p_alive),
            (Self::ChurnRisk, Some(Score::Value { churn_risk, .. })) => millionths(*churn_risk),
            (Self::NextPurchase, Some(Score::Value { next_purchase, .. })) => {
                next_purchase.map_or(Value::Null, instant_value)
            }
            (Self::Cluster, Some(Score::Cluster { name })) => Value::Text(name.clone()),
            _ => Value::Null,
        }
    }
}

impl Scored {
    /// The kind of model that said it.
    pub fn kind(&self) -> ModelKind {
        match self.score {
            Score::Value { .. } => ModelKind::Value,
            Score::Cluster { .. } => ModelKind::Clusters,
        }
    }
}

impl Customer {
    /// The latest score of a kind of model.
    pub fn score(&self, kind: ModelKind) -> Option<&Scored> {
        self.scores.iter().find(|scored| scored.kind() == kind)
    }

    /// Takes a score over in the place of an earlier one of its kind.
    pub(crate) fn keep_score(&mut self, new: &Scored) {
        if matches!(&new.score, Score::Cluster { name } if name.is_empty()) {
            return self.scores.retain(|scored| scored.kind() != new.kind());
        }
        match self.scores.iter_mut().find(|scored| scored.kind() == new.kind()) {
            Some(old) => *old = new.clone(),
            None => self.scores.push(new.clone()),
        }
    }
}
