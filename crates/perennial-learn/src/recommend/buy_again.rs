//! Buy again: what a customer took before, faded by age, and what similar customers take.
//!
//! The form of TIFU-kNN (Hu et al. 2020, "Modeling personalized item frequency information for
//! next-basket recommendation"): decayed personal counts, and the mean of those of the nearest
//! customers by cosine.

use super::{
    fading::Fading,
    interactions::{Case, Histories},
    top::{self, index},
};
use serde::{Deserialize, Serialize};

/// The customer's own decayed counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Personal {
    /// What an earlier purchase still counts.
    pub fading: Fading,
}

impl Personal {
    pub(crate) fn score(&self, case: &Case, scores: &mut [f32]) {
        for (place, &item) in case.items.iter().enumerate() {
            scores[item as usize] += self.fading.factor(case, place);
        }
    }
}

/// Decayed counts of all customers, of which the nearest are averaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crowd {
    /// How purchases fade, for the customer asked about and the others alike.
    pub fading: Fading,
    /// Customers averaged.
    pub nearest: usize,
    starts: Vec<usize>,
    entries: Vec<(u32, f32)>,
    norms: Vec<f32>,
    item_starts: Vec<usize>,
    owners: Vec<(u32, f32)>,
}

impl Crowd {
    /// Keeps the decayed counts of every history.
    pub(crate) fn fit(histories: &Histories, items: usize, now: f64, fading: Fading, nearest: usize) -> Self {
        let mut crowd = Self {
            fading,
            nearest,
            starts: vec![0],
            entries: Vec::new(),
            norms: Vec::new(),
            item_starts: vec![0; items + 1],
            owners: Vec::new(),
        };
        for owner in 0..histories.len() {
            let counts = decayed(&histories.case(owner, now), &fading);
            crowd.norms.push(norm(&counts));
            for &(item, _) in &counts {
                crowd.item_starts[item as usize + 1] += 1;
            }
            crowd.entries.extend(counts);
            crowd.starts.push(crowd.entries.len());
        }
        crowd.index_by_item(items);
        crowd
    }

    fn index_by_item(&mut self, items: usize) {
        for item in 0..items {
            self.item_starts[item + 1] += self.item_starts[item];
        }
        let mut next = self.item_starts.clone();
        self.owners = vec![(0, 0.0); self.entries.len()];
        for owner in 0..self.norms.len() {
            for &(item, count) in &self.entries[self.starts[owner]..self.starts[owner + 1]] {
                let slot = &mut next[item as usize];
                self.owners[*slot] = (index(owner), count);
                *slot += 1;
            }
        }
    }

    pub(crate) fn score(&self, case: &Case, scores: &mut [f32]) {
        let mut near = vec![0.0; self.norms.len()];
        for (item, count) in decayed(case, &self.fading) {
            let item = item as usize;
            for &(owner, other) in &self.owners[self.item_starts[item]..self.item_starts[item + 1]] {
                near[owner as usize] += count * other;
            }
        }
        for (near, norm) in near.iter_mut().zip(&self.norms) {
            *near = if *near > 0.0 { *near / norm } else { f32::NEG_INFINITY };
        }
        if let Some(owner) = case.owner {
            near[owner as usize] = f32::NEG_INFINITY;
        }
        let mut nearest = Vec::new();
        top::best(&near, self.nearest, &mut nearest);
        for (owner, _) in nearest {
            let owner = owner as usize;
            for &(item, count) in &self.entries[self.starts[owner]..self.starts[owner + 1]] {
                scores[item as usize] += count;
            }
        }
    }
}

/// Decayed counts of a case, ascending by item.
fn decayed(case: &Case, fading: &Fading) -> Vec<(u32, f32)> {
    let mut counts: Vec<(u32, f32)> =
        case.items.iter().enumerate().map(|(place, &item)| (item, fading.factor(case, place))).collect();
    counts.sort_by_key(|&(item, _)| item);
    counts.dedup_by(|again, first| {
        let same = again.0 == first.0;
        if same {
            first.1 += again.1;
        }
        same
    });
    counts
}

fn norm(counts: &[(u32, f32)]) -> f32 {
    counts.iter().map(|&(_, count)| count * count).sum::<f32>().sqrt().max(f32::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommend::interactions::{Owner, table};

    fn histories() -> Histories {
        let rows = [("a", "x", 0.0), ("a", "x", 10.0), ("a", "y", 10.0), ("b", "x", 10.0), ("b", "z", 10.0)];
        Histories::group(&table(&[&rows[..], &[("c", "w", 10.0)]].concat()), Owner::User, false)
    }

    fn near(scores: &[f32], expected: [f32; 4]) -> bool {
        scores.iter().zip(expected).all(|(score, expected)| (score - expected).abs() < 1e-6)
    }

    #[test]
    fn own_purchases_fade_by_steps_and_by_time() {
        let mut scores = vec![0.0; 4];
        let fading = Fading { memory: 0.5, half_life: Some(10.0) };
        Personal { fading }.score(&histories().case(0, 10.0), &mut scores);
        assert!(near(&scores, [1.25, 1.0, 0.0, 0.0]), "{scores:?}");
    }

    #[test]
    fn similar_customers_speak_and_the_customer_does_not_speak_for_itself() {
        let crowd = Crowd::fit(&histories(), 4, 10.0, Fading::default(), 1);
        let mut scores = vec![0.0; 4];
        crowd.score(&histories().case(0, 10.0), &mut scores);
        assert!(near(&scores, [1.0, 0.0, 1.0, 0.0]), "b is near, c shares nothing: {scores:?}");
    }
}
