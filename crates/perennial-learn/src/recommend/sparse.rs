//! Sparse item-item matrices: the one form in which neighbours of items are kept and served.
//!
//! A row is a source item, its entries are targets in ascending order. EASE, nearest neighbours,
//! order-aware counts and baskets differ only in how they fill it.

use super::{
    compact::{gaps, halves},
    interactions::Case,
    parallel,
    top::index,
};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// A square matrix by rows. Either each weight has its target, or, where nothing was left out, all rows that
/// are not empty share one list of targets: half the memory, and nothing is copied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Published")]
pub struct ItemMatrix {
    starts: Vec<usize>,
    #[serde(with = "gaps")]
    targets: Vec<u32>,
    #[serde(with = "halves")]
    weights: Vec<f32>,
}

/// A matrix as it was published, before anybody relies on it.
#[derive(Deserialize)]
struct Published {
    starts: Vec<usize>,
    #[serde(with = "gaps")]
    targets: Vec<u32>,
    #[serde(with = "halves")]
    weights: Vec<f32>,
}

impl TryFrom<Published> for ItemMatrix {
    type Error = &'static str;

    fn try_from(Published { starts, targets, weights }: Published) -> Result<Self, Self::Error> {
        let items = starts.len().saturating_sub(1);
        let width = |row: &[usize]| row[1] - row[0];
        let ends = starts.first().is_none_or(|first| *first == 0) && starts.last().unwrap_or(&0) == &weights.len();
        let shared = targets.len() != weights.len();
        let rows =
            starts.is_sorted() && (!shared || starts.windows(2).map(width).all(|w| w == 0 || w == targets.len()));
        let known = targets.iter().all(|target| (*target as usize) < items);
        if ends && rows && known {
            Ok(Self { starts, targets, weights })
        } else {
            Err("a matrix that does not fit together")
        }
    }
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

    /// A matrix with all weights between the `chosen` items (ascending), row by row, and none elsewhere; zeros
    /// count as left out.
    pub(crate) fn whole(items: usize, chosen: Vec<u32>, weights: Vec<f32>) -> Self {
        let width = chosen.len();
        assert!(weights.len() == width * width);
        let mut starts = vec![0; items + 1];
        chosen.iter().for_each(|&item| starts[item as usize + 1] = width);
        for item in 0..items {
            starts[item + 1] += starts[item];
        }
        Self { starts, targets: chosen, weights }
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
        self.weights.len()
    }

    /// The neighbours of an item, ascending by number.
    pub fn row(&self, item: u32) -> impl Iterator<Item = (u32, f32)> + '_ {
        let (targets, weights) = self.slices(item);
        targets.iter().copied().zip(weights.iter().copied()).filter(|&(_, weight)| weight != 0.0)
    }

    /// The weight from one item to another; 0 when it is not kept.
    pub fn weight(&self, from: u32, to: u32) -> f32 {
        let (targets, weights) = self.slices(from);
        targets.binary_search(&to).map_or(0.0, |place| weights[place])
    }

    fn slices(&self, item: u32) -> (&[u32], &[f32]) {
        let item = item as usize;
        let range = self.starts[item]..self.starts[item + 1];
        let shared = self.targets.len() != self.weights.len();
        let targets = if shared { &self.targets[..range.len()] } else { &self.targets[range.clone()] };
        (targets, &self.weights[range])
    }

    /// The largest weights of the whole matrix, about `keep` per item that has any.
    pub(crate) fn thinned(&self, keep: usize) -> Self {
        let rows = (0..index(self.items())).filter(|&item| self.row(item).next().is_some()).count();
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

    /// The largest weight of an item's row; 0 when none is positive.
    fn most(&self, item: u32) -> f32 {
        self.slices(item).1.iter().copied().fold(0.0, f32::max)
    }

    /// A case's touches with what each counts, ready to be asked for reasons.
    pub(crate) fn voices(&self, case: &Case, factor: impl Fn(usize) -> f32) -> Voices<'_> {
        let voice = |(place, &item): (usize, &u32)| {
            let factor = factor(place);
            Voice { item, place: index(place), factor, most: factor * self.most(item) }
        };
        let mut voices: Vec<Voice> = case.items.iter().enumerate().map(voice).collect();
        voices.sort_unstable_by(|a, b| b.most.total_cmp(&a.most).then(a.place.cmp(&b.place)));
        Voices { matrix: self, voices }
    }
}

/// What the touches of a case say for items, the loudest first.
pub(crate) struct Voices<'a> {
    matrix: &'a ItemMatrix,
    voices: Vec<Voice>,
}

struct Voice {
    item: u32,
    place: u32,
    factor: f32,
    /// The most that it can say for any item.
    most: f32,
}

impl Voices<'_> {
    /// The touch that speaks most for an item: its item and its weight; the first of equal ones. Those that
    /// cannot say more than what was found are not asked.
    pub(crate) fn reason(&self, target: u32) -> Option<(u32, f32)> {
        let mut best: Option<(&Voice, f32)> = None;
        for voice in &self.voices {
            let found = best.map_or(0.0, |(_, weight)| weight);
            if voice.most < found {
                break;
            }
            let weight = voice.factor * self.matrix.weight(voice.item, target);
            let first = best.is_some_and(|(other, _)| weight >= found && voice.place < other.place);
            if weight > found || first {
                best = Some((voice, weight));
            }
        }
        best.map(|(voice, weight)| (voice.item, weight))
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

    proptest! {
        #[test]
        fn the_reason_is_the_touch_that_asking_all_of_them_finds(
            rows in prop::collection::vec(prop::collection::vec(-3i16..6, 6), 6),
            touches in prop::collection::vec((0u32..6, 0i16..4), 0..8),
            target in 0u32..6,
        ) {
            let row = |item: usize| -> Row { (0..).zip(rows[item].iter().copied().map(f32::from)).collect() };
            let matrix = ItemMatrix::build(6, 1, || (), |(), item| row(item));
            let items: Vec<u32> = touches.iter().map(|(item, _)| *item).collect();
            let factor = |place: usize| f32::from(touches[place].1);
            let mut expected: Option<(u32, f32)> = None;
            for (place, &item) in items.iter().enumerate() {
                let weight = factor(place) * matrix.weight(item, target);
                if weight > expected.map_or(0.0, |(_, most)| most) {
                    expected = Some((item, weight));
                }
            }
            prop_assert_eq!(matrix.voices(&Case::of_session(&items), factor).reason(target), expected);
        }
    }

    #[test]
    fn a_whole_matrix_says_what_the_same_weights_say_one_by_one() {
        // Items 1, 3 and 4 of five; 4 has nothing to say.
        let weights = vec![0.0, 0.5, -0.2, 0.25, 0.0, 0.1, 0.0, 0.0, 0.0];
        let whole = ItemMatrix::whole(5, vec![1, 3, 4], weights);
        let rows = [vec![], vec![(3, 0.5), (4, -0.2)], vec![], vec![(1, 0.25), (4, 0.1)], vec![]];
        let single = ItemMatrix::build(5, 1, || (), |(), item| rows[item].clone());
        for item in 0..5 {
            assert_eq!(whole.row(item).collect::<Row>(), rows[item as usize]);
            assert!((0..5).all(|to| whole.weight(item, to).to_bits() == single.weight(item, to).to_bits()));
            let (mut of_whole, mut of_single) = ([0.0; 5], [0.0; 5]);
            whole.add(item, 0.7, &mut of_whole);
            single.add(item, 0.7, &mut of_single);
            assert_eq!(of_whole.map(f32::to_bits), of_single.map(f32::to_bits));
        }
        assert_eq!((whole.items(), whole.thinned(1)), (5, single.thinned(1)));
    }

    #[test]
    fn a_matrix_is_read_as_it_was_published_and_one_that_does_not_fit_together_is_refused() {
        let rows = [vec![(1, 0.5), (2, -0.25)], vec![(0, 1.0)], vec![]];
        let single = ItemMatrix::build(3, 1, || (), |(), item| rows[item].clone());
        for matrix in [single, ItemMatrix::whole(4, vec![0, 3], vec![0.0, 0.5, 0.25, 0.0]), ItemMatrix::default()] {
            let text = serde_json::to_string(&matrix).unwrap();
            assert_eq!(serde_json::from_str::<ItemMatrix>(&text).unwrap(), matrix, "{text}");
        }
        let one = |starts: &str, targets: &str| {
            let weights = "[1.0, [[0, 60], [0, 60]]]";
            let text = format!(r#"{{"starts": {starts}, "targets": {targets}, "weights": {weights}}}"#);
            serde_json::from_str::<ItemMatrix>(&text).is_ok()
        };
        assert!(one("[0, 1, 2]", "[1, -1]") && one("[0, 1, 2]", "[1]"));
        for (starts, targets) in [
            ("[0, 1, 3]", "[1, -1]"),    // more weights are promised than there are
            ("[0, 2, 1, 2]", "[1, -1]"), // rows that go back
            ("[1, 1, 2]", "[1, -1]"),    // weights that no row has
            ("[0, 1, 2]", "[1, 1]"),     // an item that there is not
            ("[0, 2, 2, 2]", "[1]"),     // a row that is wider than the common list
        ] {
            assert!(!one(starts, targets), "{starts} {targets}");
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
