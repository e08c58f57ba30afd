//! Sparse item-item matrices: the one form in which neighbours of items are kept and served.
//!
//! A row is a source item, its entries are targets in ascending order. EASE, nearest neighbours,
//! order-aware counts and baskets differ only in how they fill it.

use super::{interactions::Case, parallel, top::index};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// A square matrix by rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemMatrix {
    starts: Vec<usize>,
    targets: Vec<u32>,
    weights: Vec<f32>,
}

/// Rows that are made in one go: few enough to share among threads, enough to make room for once.
const ROWS_AT_ONCE: usize = 256;

/// One row while it is made: targets with weights, ascending by target.
pub(crate) type Row = Vec<(u32, f32)>;

impl ItemMatrix {
    /// Makes the rows in parallel; `row` must be a pure function of the item.
    pub(crate) fn build<State>(
        items: usize,
        threads: usize,
        state: impl Fn() -> State + Sync,
        row: impl Fn(&mut State, usize) -> Row + Sync,
    ) -> Self {
        // A row cut to its strongest still has the room of all that were counted: it is copied and let go at once.
        let parts = parallel::runs(items, ROWS_AT_ONCE, threads, |range| {
            let mut state = state();
            let mut part = Self::with_room(0, 0);
            range.for_each(|item| part.push(&row(&mut state, item)));
            part.targets.shrink_to_fit();
            part.weights.shrink_to_fit();
            part
        });
        let mut matrix = Self::with_room(items, parts.iter().map(Self::kept).sum());
        parts.into_iter().for_each(|part| matrix.append(part));
        matrix
    }

    /// A matrix without a row.
    fn with_room(items: usize, weights: usize) -> Self {
        let mut starts = Vec::with_capacity(items + 1);
        starts.push(0);
        Self { starts, targets: Vec::with_capacity(weights), weights: Vec::with_capacity(weights) }
    }

    fn push(&mut self, row: &[(u32, f32)]) {
        self.targets.extend(row.iter().map(|&(target, _)| target));
        self.weights.extend(row.iter().map(|&(_, weight)| weight));
        self.starts.push(self.targets.len());
    }

    /// Adds the rows of another matrix below.
    fn append(&mut self, other: Self) {
        let before = self.kept();
        self.starts.extend(other.starts[1..].iter().map(|end| before + end));
        self.targets.extend(other.targets);
        self.weights.extend(other.weights);
    }

    /// Number of items.
    pub fn items(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Number of kept weights.
    pub fn kept(&self) -> usize {
        self.targets.len()
    }

    /// The neighbours of an item, ascending by number.
    pub fn row(&self, item: u32) -> impl Iterator<Item = (u32, f32)> + '_ {
        let (targets, weights) = self.slices(item);
        targets.iter().copied().zip(weights.iter().copied())
    }

    /// The weight from one item to another; 0 when it is not kept.
    pub fn weight(&self, from: u32, to: u32) -> f32 {
        let (targets, weights) = self.slices(from);
        targets.binary_search(&to).map_or(0.0, |place| weights[place])
    }

    fn slices(&self, item: u32) -> (&[u32], &[f32]) {
        let item = item as usize;
        let range = self.starts[item]..self.starts[item + 1];
        (&self.targets[range.clone()], &self.weights[range])
    }

    /// The largest weights of the whole matrix, about `keep` per item that has any.
    pub(crate) fn thinned(&self, keep: usize) -> Self {
        let rows = self.starts.windows(2).filter(|pair| pair[0] < pair[1]).count();
        let least = reached(self.weights.iter().copied(), keep.saturating_mul(rows));
        Self::build(
            self.items(),
            1,
            || (),
            |(), item| self.row(index(item)).filter(|(_, weight)| weight.abs() >= least).collect(),
        )
    }

    /// Adds `factor` times an item's row to the scores.
    pub(crate) fn add(&self, item: u32, factor: f32, scores: &mut [f32]) {
        let (targets, weights) = self.slices(item);
        for (&target, &weight) in targets.iter().zip(weights) {
            scores[target as usize] += factor * weight;
        }
    }

    /// The touch of the case that speaks most for an item: its place and its weight.
    pub(crate) fn reason(&self, case: &Case, factor: impl Fn(usize) -> f32, target: u32) -> Option<(u32, f32)> {
        let mut best: Option<(u32, f32)> = None;
        for (place, &item) in case.items.iter().enumerate() {
            let weight = factor(place) * self.weight(item, target);
            if weight > best.map_or(0.0, |(_, weight)| weight) {
                best = Some((item, weight));
            }
        }
        best
    }
}

/// Keeps the `keep` entries that are largest in size; the row ascends by target, before and after. Of equal ones
/// those with the lower target stay.
pub(crate) fn strongest(row: &mut Row, keep: usize) {
    row.retain(|&(_, weight)| weight != 0.0);
    if row.len() <= keep {
        return;
    }
    // Of positive numbers the larger has the larger bits.
    let size = |weight: f32| weight.abs().to_bits();
    let mut sizes: Vec<u32> = row.iter().map(|&(_, weight)| size(weight)).collect();
    let least = if keep > 0 { *sizes.select_nth_unstable_by(keep - 1, |a, b| b.cmp(a)).1 } else { u32::MAX };
    let larger = row.iter().filter(|&&(_, weight)| size(weight) > least).count();
    let mut equal = keep.saturating_sub(larger);
    row.retain(|&(_, weight)| match size(weight).cmp(&least) {
        Ordering::Greater => true,
        Ordering::Equal if equal > 0 => {
            equal -= 1;
            true
        }
        _ => false,
    });
}

/// The size that about `keep` of some weights reach: the lower edge of one of 128 bins per doubling.
pub(crate) fn reached(weights: impl Iterator<Item = f32>, keep: usize) -> f32 {
    const SHIFT: u32 = 16;
    let mut counts = vec![0usize; 1 << SHIFT];
    for weight in weights {
        // Of positive numbers the larger has the larger bits.
        counts[(weight.abs().to_bits() >> SHIFT) as usize] += 1;
    }
    let mut larger = 0;
    for bin in (1..index(counts.len())).rev() {
        larger += counts[bin as usize];
        if larger >= keep {
            return f32::from_bits(bin << SHIFT);
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_of_many_parts_stand_in_their_order() {
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let row = |item: usize| -> Row { (0..index(item % 7)).map(|target| (target, item as f32 + 1.0)).collect() };
        let matrix = ItemMatrix::build(200, 3, || (), |(), item| row(item));
        assert_eq!(matrix.items(), 200);
        assert!((0..200).all(|item| matrix.row(index(item)).collect::<Row>() == row(item)));
        assert_eq!(matrix, ItemMatrix::build(200, 1, || (), |(), item| row(item)));
    }

    #[test]
    fn about_as_many_weights_are_reached_as_asked() {
        let weights: Vec<f32> = (1..=1000u16).map(|n| f32::from(n) * if n % 2 == 0 { -0.001 } else { 0.001 }).collect();
        for keep in [1, 10, 500, 1000] {
            let least = reached(weights.iter().copied(), keep);
            let kept = weights.iter().filter(|weight| weight.abs() >= least).count();
            assert!(kept >= keep && kept <= keep + 8, "{kept} of {keep}");
        }
        assert!(reached(weights.iter().copied(), 2000) < f32::MIN_POSITIVE);
    }

    proptest! {
        #[test]
        fn the_strongest_of_a_row_are_those_that_sorting_finds(
            weights in prop::collection::vec(-20i16..20, 0..80),
            keep in 0usize..30,
        ) {
            let mut row: Row = (0..).zip(weights.into_iter().map(f32::from)).collect();
            let mut sorted = row.clone();
            sorted.retain(|&(_, weight)| weight != 0.0);
            sorted.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
            sorted.truncate(keep);
            sorted.sort_by_key(|&(target, _)| target);
            strongest(&mut row, keep);
            prop_assert_eq!(row, sorted);
        }
    }

    #[test]
    fn a_thinned_matrix_keeps_the_largest_of_all_rows() {
        let rows = [vec![(1, 0.5), (2, -0.4)], vec![(0, 0.01)], vec![]];
        let matrix = ItemMatrix::build(3, 1, || (), |(), item| rows[item].clone());
        let thin = matrix.thinned(1);
        assert_eq!(thin.kept(), 2);
        assert_eq!(thin.row(0).collect::<Row>(), rows[0]);
        assert_eq!(thin.row(1).count(), 0);
    }
}
