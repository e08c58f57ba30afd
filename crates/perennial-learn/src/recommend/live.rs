//! Live neighbours: item-kNN whose counts move with every event, between trainings.
//!
//! Keeps how many customers took each item and each pair; a weight is computed when it is asked for,
//! so an event costs one step per item of the customer's history and nothing is rebuilt.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a pair's count becomes a weight.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// `count / sqrt(a * b)`.
    Cosine,
    /// BM25 (Robertson and Walker 1994) of the target: its rarity times a count that saturates with `k1`,
    /// damped by `b` for items that have many pairs.
    Bm25 {
        /// Saturation; around 1.2.
        k1: f32,
        /// Damping of items with many pairs, in `0..=1`.
        b: f32,
    },
}

/// Counts of items and pairs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveNeighbours {
    customers: u32,
    counts: BTreeMap<String, u32>,
    pairs: BTreeMap<String, BTreeMap<String, u32>>,
}

impl LiveNeighbours {
    /// A customer with this history (each item once) took one more item; an item that is already in the
    /// history changes nothing.
    pub fn observe<S: AsRef<str>>(&mut self, history: &[S], item: &str) {
        if history.iter().any(|other| other.as_ref() == item) {
            return;
        }
        self.customers += u32::from(history.is_empty());
        *self.counts.entry(item.to_owned()).or_default() += 1;
        for other in history.iter().map(AsRef::as_ref) {
            for (from, to) in [(item, other), (other, item)] {
                *self.pairs.entry(from.to_owned()).or_default().entry(to.to_owned()).or_default() += 1;
            }
        }
    }

    /// The `count` items with the highest weights beside an item, best first, ties by name.
    pub fn neighbours(&self, item: &str, count: usize, weighting: Weighting) -> Vec<(String, f32)> {
        let Some(pairs) = self.pairs.get(item) else {
            return Vec::new();
        };
        let mut found: Vec<(String, f32)> =
            pairs.iter().map(|(other, &both)| (other.clone(), self.weight(item, other, both, weighting))).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        found.truncate(count);
        found
    }

    #[expect(clippy::cast_precision_loss, reason = "counts as weights")]
    fn weight(&self, item: &str, other: &str, both: u32, weighting: Weighting) -> f32 {
        let taken = |name: &str| self.counts.get(name).copied().unwrap_or(1).max(1) as f32;
        let both = both as f32;
        match weighting {
            Weighting::Cosine => both / (taken(item) * taken(other)).sqrt(),
            Weighting::Bm25 { k1, b } => {
                let total: u32 = self.counts.values().sum();
                let mean = total as f32 / self.counts.len().max(1) as f32;
                let rarity = (1.0 + self.customers as f32 / taken(other)).ln();
                let length = 1.0 - b + b * taken(other) / mean.max(f32::MIN_POSITIVE);
                rarity * both * (k1 + 1.0) / (both + k1 * length)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LiveNeighbours, Weighting};

    fn two_customers() -> LiveNeighbours {
        let mut live = LiveNeighbours::default();
        live.observe::<&str>(&[], "tea");
        live.observe(&["tea"], "cup");
        live.observe(&["tea", "cup"], "tea");
        live.observe::<&str>(&[], "tea");
        live.observe(&["tea"], "pan");
        live
    }

    #[test]
    fn an_event_moves_the_counts_at_once() {
        let mut live = two_customers();
        let names = |live: &LiveNeighbours| -> Vec<String> {
            live.neighbours("tea", 9, Weighting::Cosine).into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(&live), ["cup", "pan"]);
        live.observe::<&str>(&[], "cup");
        assert_eq!(names(&live), ["pan", "cup"]);
    }

    #[test]
    fn cosine_and_bm25_have_their_textbook_values() {
        let live = two_customers();
        let weight = |weighting| live.neighbours("tea", 1, weighting)[0].1;
        assert!((weight(Weighting::Cosine) - 1.0 / 2f32.sqrt()).abs() < 1e-6);
        // rarity ln 3; one of mean 4/3 items, b = 0: 1 * 2.2 / (1 + 1.2)
        assert!((weight(Weighting::Bm25 { k1: 1.2, b: 0.0 }) - 3f32.ln()).abs() < 1e-6);
    }
}
