//! The model of clusters: groups of customers who shop alike, with a name in words.
//!
//! k-means over how long ago, how often and how large; the number of groups is what silhouette, gap
//! and stability agree on, less as long as a group would hold under one customer in a hundred.

use perennial_core::score::{Basis, Model, ModelKind, Score};
use perennial_learn::segment::{
    ChosenK, FeatureWords, KMeans, Points, Scaling, choose_k, explain, silhouette_sampled, suggest_names,
};
use serde::{Deserialize, Serialize};

use super::history::{History, day_of};
use super::{Progress, Untrained, encode, millionths};

/// Customers with an order that the model needs.
pub const CUSTOMERS_MIN: usize = 200;
/// Groups tried at most.
const MOST: usize = 8;
/// A group holds at least one in so many customers.
const SMALLEST: usize = 100;
/// Rows that tell how far groups lie apart.
const SAMPLE: usize = 2_000;
/// Customers of whom the groups are made at most; the others are assigned.
const CUSTOMERS_MAX: usize = 200_000;

/// What customers are grouped by, with the words for little and much of it.
const FEATURES: [(&str, &str, &str); 3] = [
    ("days since the last order", "recent", "not seen for long"),
    ("days with an order", "few orders", "frequent"),
    (MONEY, "small orders", "large orders"),
];
/// The one that is money.
const MONEY: &str = "spent per order";

/// The published model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clusters {
    scaling: Scaling,
    groups: KMeans,
    names: Vec<Box<str>>,
}

/// A feature's part in the choice of a customer's cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The feature.
    pub feature: &'static str,
    /// The customer's value; minor units where it is money.
    pub value: f64,
    /// Whether it is money.
    pub money: bool,
    /// What it says for this cluster against the next nearest; all parts add up to the lead.
    pub weight: f64,
}

/// Trains on a history.
///
/// # Errors
/// [`Untrained`], with the reason in words.
pub fn train(history: &History, version: u32, seed: u64, progress: &Progress) -> Result<Model, Untrained> {
    let customers = history.customers();
    if customers < CUSTOMERS_MIN {
        return Err(Untrained::Thin(format!("{customers} customers have ordered, {CUSTOMERS_MIN} are needed")));
    }
    progress.begin(3);
    let failed = |why: perennial_learn::input::BadInput| Untrained::Failed(why.to_string());
    let every = customers.div_ceil(CUSTOMERS_MAX);
    let rows: Vec<f64> = history.bases().iter().step_by(every).flat_map(row).collect();
    let raw = Points::new(rows, FEATURES.len()).map_err(failed)?;
    let scaling = Scaling::learn_automatically(&raw).map_err(failed)?;
    let points = scaling.apply(&raw).map_err(failed)?;
    progress.step(1)?;
    let chosen = choose_k(&points, MOST, seed, &mut |_| ()).map_err(failed)?;
    progress.step(1)?;
    let mut k = chosen.k;
    let mut fit = KMeans::fit(&points, k, seed).map_err(failed)?;
    while k > 2 && fit.model.sizes.iter().any(|size| size * SMALLEST < points.len()) {
        k -= 1;
        fit = KMeans::fit(&points, k, seed).map_err(failed)?;
    }
    let words = FEATURES.map(|(_, low, high)| FeatureWords { low: low.into(), high: high.into() });
    let names = suggest_names(&fit.model, &words).map_err(failed)?.into_iter().map(Into::into).collect();
    let apart = silhouette_sampled(&points, &fit.labels, SAMPLE, seed).unwrap_or(f64::NAN);
    progress.step(1)?;
    Ok(Model {
        kind: ModelKind::Clusters,
        version,
        method: "k-means".into(),
        from: history.earliest,
        until: history.latest,
        position: history.position,
        customers: customers as u64,
        orders: history.orders,
        seed,
        figures: figures(k, &chosen, apart),
        body: encode(&Clusters { scaling, groups: fit.model, names })?,
    })
}

#[expect(clippy::cast_precision_loss, reason = "at most eight groups")]
fn figures(k: usize, chosen: &ChosenK, apart: f64) -> Vec<(Box<str>, i64)> {
    let stable = chosen.evidence.iter().find(|e| e.k == k).map_or(f64::NAN, |e| e.stability);
    vec![
        ("clusters".into(), millionths(k as f64)),
        ("silhouette".into(), millionths(apart)),
        ("stability".into(), millionths(stable)),
    ]
}

/// The features of a customer.
#[expect(clippy::cast_precision_loss, reason = "money below 2^53 minor units")]
fn row(basis: &Basis) -> [f64; 3] {
    let orders = f64::from(basis.orders.max(1));
    let silent = day_of(basis.at) - day_of(basis.last);
    [f64::from(silent), f64::from(basis.orders), basis.spend.max(0) as f64 / orders]
}

impl Clusters {
    fn scaled(&self, basis: &Basis) -> [f64; 3] {
        let mut row = row(basis);
        self.scaling.apply_row(&mut row);
        row
    }

    /// The cluster of a customer.
    pub fn score(&self, basis: &Basis) -> Score {
        let (nearest, _) = self.groups.assign(&self.scaled(basis));
        Score::Cluster { name: self.names[nearest].clone() }
    }

    /// Names and sizes of the clusters in training, the largest first.
    pub fn sizes(&self) -> Vec<(&str, usize)> {
        let mut sizes: Vec<(&str, usize)> =
            self.names.iter().map(|name| &**name).zip(self.groups.sizes.iter().copied()).collect();
        sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        sizes
    }

    /// What speaks for a customer's cluster, the strongest first, and the name of the next nearest one.
    pub fn parts(&self, basis: &Basis) -> Option<(Vec<Part>, &str)> {
        let why = explain(&self.groups, &self.scaled(basis)).ok()?;
        let values = row(basis);
        let parts = FEATURES.iter().zip(values).zip(&why.per_feature);
        let mut parts: Vec<Part> = parts
            .map(|((&(feature, ..), value), &weight)| Part { feature, value, money: feature == MONEY, weight })
            .collect();
        parts.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        Some((parts, &self.names[why.next]))
    }
}
