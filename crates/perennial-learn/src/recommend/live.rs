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
        let mean = self.mean_count();
        let weight = |other: &str, both: u32| self.weight(item, other, both, weighting, mean);
        let mut found: Vec<(String, f32)> =
            pairs.iter().map(|(other, &both)| (other.clone(), weight(other, both))).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        found.truncate(count);
        found
    }

    /// How many customers took an item, on average.
    #[expect(clippy::cast_precision_loss, reason = "counts as weights")]
    fn mean_count(&self) -> f32 {
        let total: u32 = self.counts.values().sum();
        total as f32 / self.counts.len().max(1) as f32
    }

    #[expect(clippy::cast_precision_loss, reason = "counts as weights")]
    fn weight(&self, item: &str, other: &str, both: u32, weighting: Weighting, mean: f32) -> f32 {
        let taken = |name: &str| self.counts.get(name).copied().unwrap_or(1).max(1) as f32;
        let both = both as f32;
        match weighting {
            Weighting::Cosine => both / (taken(item) * taken(other)).sqrt(),
            Weighting::Bm25 { k1, b } => {
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
    use crate::recommend::{
        interactions::{Histories, Owner, table},
        item_item::{ItemItem, Neighbours},
    };
    use crate::seed::{below, generator};

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

    #[test]
    fn event_by_event_comes_to_what_training_on_all_of_them_comes_to() {
        let mut rng = generator(17);
        let names: Vec<String> = (0..9).map(|n| format!("{n}")).collect();
        let mut histories: Vec<Vec<&str>> = vec![Vec::new(); 30];
        let (mut live, mut rows) = (LiveNeighbours::default(), Vec::new());
        for _ in 0..150 {
            let (customer, item) = (below(&mut rng, 30), names[below(&mut rng, 9)].as_str());
            live.observe(&histories[customer], item);
            if !histories[customer].contains(&item) {
                histories[customer].push(item);
                rows.push((customer.to_string(), item));
            }
        }
        let rows: Vec<(&str, &str, f64)> =
            rows.iter().map(|(customer, item)| (customer.as_str(), *item, 1.0)).collect();
        let data = table(&rows);
        let trained =
            ItemItem::fit(&Histories::group(&data, Owner::User, true), 9, None, &Neighbours::default(), 1).matrix;
        for name in &names {
            let known = live.neighbours(name, 9, Weighting::Cosine);
            assert_eq!(known.len(), trained.row(data.items.find(name).expect("taken")).count());
            for (other, weight) in known {
                let number = |name: &str| data.items.find(name).expect("taken");
                assert!((weight - trained.weight(number(name), number(&other))).abs() < 1e-6, "{name} {other}");
            }
        }
    }
}
