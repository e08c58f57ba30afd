//! Popularity and trend: what everybody takes, lately more than long ago.

use super::interactions::{Case, Histories};
use serde::{Deserialize, Serialize};

/// Decayed counts per item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Popularity {
    /// Touches per item, each `0.5^(age / half_life)`.
    pub counts: Vec<f32>,
}

impl Popularity {
    /// Counts all touches; without a half-life all count alike.
    #[expect(clippy::cast_possible_truncation, reason = "counts need no more than single precision")]
    pub(crate) fn fit(histories: &Histories, items: usize, now: f64, half_life: Option<f32>) -> Self {
        let mut counts = vec![0.0f64; items];
        for (&item, &at) in histories.items.iter().zip(&histories.at) {
            counts[item as usize] += half_life.map_or(1.0, |half_life| ((at - now) / f64::from(half_life)).exp2());
        }
        Self { counts: counts.into_iter().map(|count| count as f32).collect() }
    }

    pub(crate) fn score(&self, _: &Case, scores: &mut [f32]) {
        for (score, &count) in scores.iter_mut().zip(&self.counts) {
            *score += count;
        }
    }

    /// How much more an item is taken lately than its long-run share suggests, shrunk towards 1:
    /// `(recent + strength) / (expected + strength)`, the gamma-Poisson posterior mean.
    pub fn trend(recent: &Self, all: &Self, strength: f32) -> Vec<f32> {
        let sum = |counts: &[f32]| counts.iter().sum::<f32>().max(f32::MIN_POSITIVE);
        let scale = sum(&recent.counts) / sum(&all.counts);
        let pairs = recent.counts.iter().zip(&all.counts);
        pairs.map(|(&recent, &all)| (recent + strength) / (all * scale + strength)).collect()
    }
}
