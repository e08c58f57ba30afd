//! Popularity and trend: what everybody takes, lately more than long ago.
//!
//! A trend is a gamma-Poisson posterior mean (Clayton and Kaldor 1987, "Empirical Bayes estimates of
//! age-standardized relative risks"), so that a rare item needs more than one touch to rise.

use super::interactions::{Case, Histories, Interactions, Owner};
use serde::{Deserialize, Serialize};

/// Decayed counts per item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Popularity {
    /// Touches per item, each `0.5^(age / half_life)`.
    pub counts: Vec<f32>,
}

impl Popularity {
    /// Counts a table's touches, in the order of its items; `half_life` is in the unit of its times.
    pub fn of(data: &Interactions, half_life: Option<f32>) -> Self {
        let histories = Histories::group(data, Owner::User, false);
        Self::fit(&histories, data.items.len(), data.now(), half_life)
    }

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
    /// `(recent + strength) / (expected + strength)`; `strength` is in touches.
    pub fn trend(recent: &Self, all: &Self, strength: f32) -> Vec<f32> {
        let sum = |counts: &[f32]| counts.iter().sum::<f32>().max(f32::MIN_POSITIVE);
        let scale = sum(&recent.counts) / sum(&all.counts);
        let pairs = recent.counts.iter().zip(&all.counts);
        pairs.map(|(&recent, &all)| (recent + strength) / (all * scale + strength)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommend::interactions::table;

    #[test]
    fn old_touches_fade_and_trends_are_shrunk() {
        let data = table(&[("a", "x", 0.0), ("b", "x", 0.0), ("a", "y", 10.0), ("b", "y", 10.0), ("c", "z", 10.0)]);
        let (all, recent) = (Popularity::of(&data, None), Popularity::of(&data, Some(5.0)));
        let near = |counts: &[f32], expected: [f32; 3]| counts.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&all.counts, [2.0, 2.0, 1.0]) && near(&recent.counts, [0.5, 2.0, 1.0]));
        let trend = |strength| Popularity::trend(&recent, &all, strength);
        // 3.5 of 5 remain: x is expected at 1.4 and seen at 0.5.
        assert!((trend(0.0)[0] - 0.5 / 1.4).abs() < 1e-6);
        assert!((trend(2.0)[0] - 2.5 / 3.4).abs() < 1e-6);
        assert!(trend(0.0)[1] > 1.0 && trend(1e9)[1] - 1.0 < 1e-6);
    }
}
