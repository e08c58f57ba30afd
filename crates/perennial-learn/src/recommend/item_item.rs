//! Neighbours of items from counts: one core for item-kNN, order-aware kNN and baskets.
//!
//! Two touches of one history count for each other, the more the nearer they are, and the later
//! item counts as a consequence of the earlier one; the count is then damped by how often both
//! items occur: `weight(i -> j) = count / (popularity_i^source * popularity_j^target)`. With equal
//! weights for all pairs and both exponents one half this is cosine (Sarwar et al. 2001; Deshpande
//! and Karypis 2004), with a target exponent alone it is the damped confidence of baskets.

use super::{
    fading::Fading,
    interactions::{Case, Histories, Postings},
    sparse::{ItemMatrix, Row, strongest},
    top::index,
};
use serde::{Deserialize, Serialize};

/// How neighbours are counted and how a history is read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbours {
    /// A pair `d` steps apart counts `1 / d^nearness`; 0 counts all pairs alike.
    pub nearness: f32,
    /// What a pair counts in which the target came first, against 1 the other way round.
    pub backward: f32,
    /// A history of `n` touches counts `n^-evenness` per pair.
    pub evenness: f32,
    /// The age at which a history counts half; `None` counts old ones in full.
    pub half_life: Option<f32>,
    /// Exponent of the source's popularity.
    pub source: f32,
    /// Exponent of the target's popularity.
    pub target: f32,
    /// What the touches of a history count.
    pub fading: Fading,
    /// Added to both popularities, so that rare items need more evidence.
    pub shrink: f32,
    /// Neighbours kept per item.
    pub keep: usize,
}

impl Default for Neighbours {
    fn default() -> Self {
        Self {
            nearness: 0.0,
            backward: 1.0,
            evenness: 0.0,
            half_life: None,
            source: 0.5,
            target: 0.5,
            fading: Fading::default(),
            shrink: 0.0,
            keep: 600,
        }
    }
}

/// Touches of a history beyond which repeats are added up before rows are.
const MANY: usize = 64;

/// A fitted matrix of neighbours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemItem {
    /// The weights.
    pub matrix: ItemMatrix,
    /// What the touches of a history count.
    pub fading: Fading,
}

impl ItemItem {
    /// Counts and damps the neighbours of `items` items; where only some are asked for, rows of the others stay empty.
    pub(crate) fn fit(
        histories: &Histories,
        items: usize,
        asked: Option<&[bool]>,
        how: &Neighbours,
        threads: usize,
    ) -> Self {
        let postings = histories.postings(items);
        let counter = Counter::new(histories, &postings, how);
        let popular: Vec<f32> = (0..items).map(|item| counter.popularity(item) + how.shrink).collect();
        let damp: Vec<f32> = popular.iter().map(|&count| count.powf(-how.target)).collect();
        let matrix = ItemMatrix::build(
            items,
            threads,
            || Sums::new(items),
            |sums, item| {
                if asked.is_some_and(|asked| !asked[item]) {
                    return Row::new();
                }
                let own = popular[item].powf(-how.source);
                let mut row = counter.row(item, sums);
                for (target, weight) in &mut row {
                    *weight *= own * damp[*target as usize];
                }
                strongest(&mut row, how.keep);
                row
            },
        );
        Self { matrix, fading: how.fading }
    }

    /// The same with the strongest weights of each item only.
    pub(crate) fn pruned(&self, keep: usize, threads: usize) -> Self {
        let matrix = ItemMatrix::build(
            self.matrix.items(),
            threads,
            || (),
            |(), item| {
                let mut row: Row = self.matrix.row(index(item)).collect();
                strongest(&mut row, keep);
                row
            },
        );
        Self { matrix, fading: self.fading }
    }

    /// The same with the strongest weights of all, about `keep` per item.
    pub(crate) fn thinned(&self, keep: usize) -> Self {
        Self { matrix: self.matrix.thinned(keep), fading: self.fading }
    }

    /// Adds the scores of all items to `scores`.
    pub(crate) fn score(&self, case: &Case, scores: &mut [f32]) {
        let touches = case.items.iter().enumerate().map(|(place, &item)| (item, self.fading.factor(case, place)));
        let mut touches: Vec<(u32, f32)> = touches.filter(|(_, factor)| *factor > 1e-6).collect();
        if case.items.len() > MANY {
            // Who buys the same things again asks for each row once.
            touches.sort_by_key(|(item, _)| *item);
            touches.dedup_by(|again, first| {
                let same = again.0 == first.0;
                first.1 += if same { again.1 } else { 0.0 };
                same
            });
        }
        touches.into_iter().for_each(|(item, factor)| self.matrix.add(item, factor, scores));
    }
}

/// Counts the pairs of one item at a time.
pub(crate) struct Counter<'a> {
    histories: &'a Histories,
    postings: &'a Postings,
    near: Vec<f32>,
    even: Vec<f32>,
    fresh: Vec<f32>,
    backward: f32,
}

/// Beyond this many steps a pair counts as if it were this far apart.
const FAR: usize = 64;

impl<'a> Counter<'a> {
    #[expect(clippy::cast_precision_loss, reason = "steps and lengths as weights")]
    pub(crate) fn new(histories: &'a Histories, postings: &'a Postings, how: &Neighbours) -> Self {
        let near = (0..FAR).map(|step| (step.max(1) as f32).powf(-how.nearness)).collect();
        let even = (0..histories.len())
            .map(|owner| {
                let length = histories.range(owner).len().max(1) as f32;
                length.powf(-how.evenness) * histories.freshness(owner, how.half_life)
            })
            .collect();
        let fresh = (0..histories.len()).map(|owner| histories.freshness(owner, how.half_life)).collect();
        Self { histories, postings, near, even, fresh, backward: how.backward }
    }

    /// How many histories an item is in, old ones counting less; at least a hundredth.
    fn popularity(&self, item: usize) -> f32 {
        let fresh = |&(owner, _): &(u32, u32)| self.fresh[owner as usize];
        self.postings.of(item).iter().map(fresh).sum::<f32>().max(0.01)
    }

    /// The counted pairs of an item; `sums` is empty before and after.
    fn row(&self, item: usize, sums: &mut Sums) -> Row {
        let flat = self.backward >= 1.0 && self.near.last() == Some(&1.0);
        for &(owner, place) in self.postings.of(item) {
            let even = self.even[owner as usize];
            let range = self.histories.range(owner as usize);
            if flat {
                self.histories.items[range].iter().for_each(|&other| sums.add(other, even));
                continue;
            }
            let here = self.histories.steps[place as usize];
            let others = self.histories.items[range.clone()].iter().zip(&self.histories.steps[range]);
            for (&other, &step) in others {
                let apart = (step.abs_diff(here) as usize).min(FAR - 1);
                let side = if step < here { self.backward } else { 1.0 };
                sums.add(other, even * side * self.near[apart]);
            }
        }
        let mut row = sums.take();
        row.retain(|&(target, _)| target != index(item));
        row
    }
}

/// Items whose sums lie beside one another and are looked at together.
const BLOCK: usize = 8;

/// Sums per item, most of them zero: what was added to is found again without looking at every item.
struct Sums {
    of: Vec<f32>,
    /// One per block of items: something was added.
    touched: Vec<u8>,
}

impl Sums {
    fn new(items: usize) -> Self {
        let blocks = items.div_ceil(BLOCK).next_multiple_of(BLOCK);
        Self { of: vec![0.0; blocks * BLOCK], touched: vec![0; blocks] }
    }

    #[inline]
    fn add(&mut self, item: u32, more: f32) {
        let item = item as usize;
        self.of[item] += more;
        self.touched[item / BLOCK] = 1;
    }

    /// What is not zero, ascending by item; nothing stays.
    fn take(&mut self) -> Row {
        let mut row = Row::new();
        for (eight, touched) in self.touched.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            if *touched == [0; BLOCK] {
                continue;
            }
            for (nth, mark) in touched.iter_mut().enumerate().filter(|(_, mark)| **mark != 0) {
                *mark = 0;
                let first = (eight * BLOCK + nth) * BLOCK;
                for (offset, sum) in
                    self.of[first..first + BLOCK].iter_mut().enumerate().filter(|(_, sum)| **sum != 0.0)
                {
                    row.push((index(first + offset), std::mem::take(sum)));
                }
            }
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommend::interactions::{Owner, table};

    /// Three customers: x then y, x then y, y then x; one takes z alone.
    fn histories() -> Histories {
        let rows = [("a", "x", 1.0), ("a", "y", 2.0), ("b", "x", 1.0), ("b", "y", 2.0), ("c", "y", 1.0)];
        let data = table(&[&rows[..], &[("c", "x", 2.0), ("d", "z", 1.0), ("d", "x", 9.0)]].concat());
        Histories::group(&data, Owner::User, true)
    }

    #[test]
    fn with_even_weights_it_is_cosine() {
        let cosine = ItemItem::fit(&histories(), 3, None, &Neighbours::default(), 1).matrix;
        assert!((cosine.weight(0, 1) - 3.0 / (4.0f32 * 3.0).sqrt()).abs() < 1e-6);
        assert!((cosine.weight(1, 0) - cosine.weight(0, 1)).abs() < 1e-6);
        assert!(cosine.weight(1, 2).abs() < 1e-6);
    }

    #[test]
    fn a_long_history_asks_for_each_row_once_and_says_the_same() {
        let fitted = ItemItem::fit(&histories(), 3, None, &Neighbours::default(), 1);
        let long: Vec<u32> = (0..200).map(|n| n % 3).collect();
        let (mut scores, mut slow) = (vec![0.0; 3], vec![0.0; 3]);
        fitted.score(&Case::of_session(&long), &mut scores);
        long.iter().for_each(|item| fitted.matrix.add(*item, 1.0, &mut slow));
        assert!(scores.iter().zip(&slow).all(|(one, other)| (one - other).abs() < 1e-3 * other), "{scores:?} {slow:?}");
    }

    #[test]
    fn what_came_after_counts_more_than_what_came_before() {
        let how = Neighbours { backward: 0.5, source: 0.0, target: 0.0, ..Neighbours::default() };
        let ordered = ItemItem::fit(&histories(), 3, None, &how, 1).matrix;
        assert!((ordered.weight(0, 1) - 2.5).abs() < 1e-6);
        assert!((ordered.weight(1, 0) - 2.0).abs() < 1e-6);
    }

    #[test]
    fn rows_that_nobody_asks_for_stay_empty() {
        let how = Neighbours::default();
        let all = ItemItem::fit(&histories(), 3, None, &how, 1).matrix;
        let some = ItemItem::fit(&histories(), 3, Some(&[true, false, true]), &how, 1).matrix;
        assert_eq!(some.row(0).collect::<Row>(), all.row(0).collect::<Row>());
        assert_eq!(some.row(2).collect::<Row>(), all.row(2).collect::<Row>());
        assert_eq!((all.row(1).count(), some.row(1).count()), (1, 0));
    }

    #[test]
    fn sums_are_taken_in_the_order_of_items_and_leave_nothing() {
        let mut sums = Sums::new(1000);
        for item in [999, 3, 64, 3, 500] {
            sums.add(item, 0.5);
        }
        sums.add(7, 0.0);
        assert_eq!(sums.take(), [(3, 1.0), (64, 0.5), (500, 0.5), (999, 0.5)]);
        assert_eq!(sums.take(), []);
    }

    #[test]
    fn old_histories_fade() {
        let how = Neighbours { half_life: Some(7.0), source: 0.0, target: 0.0, ..Neighbours::default() };
        let faded = ItemItem::fit(&histories(), 3, None, &how, 1).matrix;
        assert!((faded.weight(0, 1) - 1.5).abs() < 1e-6, "three histories, each one half-life old");
        assert!((faded.weight(2, 0) - 1.0).abs() < 1e-6);
    }
}
