//! EASE: the item-item weights that best rebuild every history from its other items.
//!
//! Steck 2019, "Embarrassingly shallow autoencoders for sparse data": with `G = X'X + ridge` and
//! `P = G^-1`, `B = -P / diag(P)` off the diagonal. Histories may count `n^-evenness`, so that a few
//! long ones do not rule. Large catalogues are cut to their most popular items, and only the
//! strongest weights of the matrix are kept: one threshold for all loses less than as many
//! weights for each item.

use super::{
    Error, Halt,
    fading::Fading,
    interactions::{Histories, Postings},
    inverse,
    item_item::ItemItem,
    parallel,
    sparse::{ItemMatrix, Row, reached},
    top::index,
};
use serde::{Deserialize, Serialize};
use std::sync::Mutex;

/// Settings of EASE.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ease {
    /// Added to the diagonal, in histories that hold an item once.
    pub ridge: f32,
    /// Added to the diagonal in proportion to the item's own count (dropout of Steck 2020).
    pub dropout: f32,
    /// A history of `n` touches counts `n^-evenness`, scaled so that an average one counts 1.
    pub evenness: f32,
    /// What the touches of a history count when it is read.
    pub fading: Fading,
    /// Weights kept per item on average: the largest of the whole matrix.
    pub keep: usize,
    /// Items taken, the most popular first; the others get no weights.
    pub catalogue: usize,
}

impl Default for Ease {
    fn default() -> Self {
        Self {
            ridge: 300.0,
            dropout: 0.0,
            evenness: 0.0,
            fading: Fading::default(),
            keep: usize::MAX,
            catalogue: 4_000,
        }
    }
}

impl Ease {
    /// Fits the weights; histories must hold an item at most once.
    ///
    /// # Errors
    /// [`Error::Singular`] when the ridge is too small for the data.
    pub(crate) fn fit(
        &self,
        histories: &Histories,
        items: usize,
        threads: usize,
        halt: &Halt,
    ) -> Result<ItemItem, Error> {
        let postings = histories.postings(items);
        let chosen = most_popular(&postings, items, self.catalogue);
        let n = chosen.len();
        let mut g = self.gram(histories, &postings, &chosen, items, threads);
        if !inverse::invert(&mut g, n, threads, halt)? {
            return Err(Error::Singular { ridge: f64::from(self.ridge) });
        }
        weigh(&mut g, n);
        let matrix = if self.keep < n {
            let least = reached(g.iter().copied(), self.keep * n);
            let mut place = vec![None; items];
            for (row, &item) in chosen.iter().enumerate() {
                place[item as usize] = Some(row);
            }
            let kept = |weight: f32| weight != 0.0 && weight.abs() >= least;
            let row = |i: usize| {
                let row = chosen.iter().copied().zip(g[i * n..(i + 1) * n].iter().copied());
                row.filter(|&(_, weight)| kept(weight)).collect::<Row>()
            };
            ItemMatrix::build(items, threads, || (), |(), item| place[item].map_or_else(Row::new, row))
        } else {
            ItemMatrix::whole(items, chosen, g)
        };
        Ok(ItemItem { matrix, fading: self.fading })
    }

    /// The lower triangle of `X'WX + ridge` over the chosen items.
    fn gram(
        &self,
        histories: &Histories,
        postings: &Postings,
        chosen: &[u32],
        items: usize,
        threads: usize,
    ) -> Vec<f32> {
        let n = chosen.len();
        let mut place = vec![u32::MAX; items];
        for (row, &item) in chosen.iter().enumerate() {
            place[item as usize] = index(row);
        }
        let (starts, places) = compact(histories, &place);
        let even = evenness(histories, self.evenness);
        let mut g = vec![0.0; n * n];
        let rows: Vec<Mutex<&mut [f32]>> = g.chunks_mut(n.max(1)).map(Mutex::new).collect();
        parallel::runs(n, 16, threads, |range| {
            for i in range {
                let Ok(mut row) = rows[i].lock() else { return };
                for &(owner, _) in postings.of(chosen[i] as usize) {
                    let owner = owner as usize;
                    let even = even[owner];
                    // Places ascend, so that the lower triangle ends where the item itself is met.
                    for &j in &places[starts[owner]..starts[owner + 1]] {
                        if j as usize > i {
                            break;
                        }
                        row[j as usize] += even;
                    }
                }
                row[i] += self.ridge + self.dropout * row[i];
            }
        });
        drop(rows);
        g
    }
}

/// Turns the inverse `P` into the weights `-P / diag(P)` where it lies, with none from an item to itself.
fn weigh(p: &mut [f32], n: usize) {
    let scale: Vec<f32> = (0..n).map(|j| -1.0 / p[j * n + j]).collect();
    for (i, row) in p.chunks_exact_mut(n.max(1)).enumerate() {
        row.iter_mut().zip(&scale).for_each(|(weight, scale)| *weight *= scale);
        row[i] = 0.0;
    }
}

/// The chosen items of every history as ascending places, in one flat column.
fn compact(histories: &Histories, place: &[u32]) -> (Vec<usize>, Vec<u32>) {
    let mut starts = vec![0];
    let mut places = Vec::with_capacity(histories.items.len());
    for owner in 0..histories.len() {
        let begin = places.len();
        let known = histories.items_of(owner).iter().map(|&item| place[item as usize]);
        places.extend(known.filter(|&place| place != u32::MAX));
        places[begin..].sort_unstable();
        starts.push(places.len());
    }
    (starts, places)
}

/// What each history counts, 1 on average over touches.
#[expect(clippy::cast_precision_loss, reason = "lengths as weights")]
fn evenness(histories: &Histories, exponent: f32) -> Vec<f32> {
    let length = |owner: usize| histories.range(owner).len().max(1) as f32;
    let mut even: Vec<f32> = (0..histories.len()).map(|owner| length(owner).powf(-exponent)).collect();
    let total: f32 = even.iter().enumerate().map(|(owner, weight)| weight * length(owner)).sum();
    let scale = histories.items.len().max(1) as f32 / total.max(f32::MIN_POSITIVE);
    even.iter_mut().for_each(|weight| *weight *= scale);
    even
}

/// The most popular items that occur at all, ascending by number.
fn most_popular(postings: &Postings, items: usize, count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..index(items)).filter(|&item| !postings.of(item as usize).is_empty()).collect();
    order.sort_by_key(|&item| std::cmp::Reverse(postings.of(item as usize).len()));
    order.truncate(count);
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommend::interactions::{Owner, table};

    fn histories() -> Histories {
        let rows = [("a", "x", 1.0), ("a", "y", 2.0), ("b", "x", 1.0), ("b", "y", 2.0), ("c", "x", 1.0)];
        Histories::group(&table(&rows), Owner::User, true)
    }

    #[test]
    fn two_items_have_their_weights_in_closed_form() {
        // G = [[3 + r, 2], [2, 2 + r]]: B from x to y is 2 / (3 + r), from y to x it is 2 / (2 + r).
        let fitted = Ease { ridge: 0.5, ..Ease::default() }.fit(&histories(), 2, 1, &Halt::default()).expect("a ridge");
        assert!((fitted.matrix.weight(0, 1) - 2.0 / 3.5).abs() < 1e-5);
        assert!((fitted.matrix.weight(1, 0) - 2.0 / 2.5).abs() < 1e-5);
        assert!(fitted.matrix.weight(0, 0).abs() < 1e-6, "no item speaks for itself");
    }

    #[test]
    fn few_weights_are_the_largest_and_a_short_catalogue_the_most_popular() {
        let rows =
            [("a", "x", 1.0), ("a", "y", 2.0), ("b", "y", 1.0), ("b", "z", 2.0), ("c", "x", 1.0), ("c", "y", 2.0)];
        let histories = Histories::group(&table(&rows), Owner::User, true);
        let whole = Ease { ridge: 1.0, ..Ease::default() };
        let sizes = |how: Ease| {
            let matrix = how.fit(&histories, 3, 1, &Halt::default()).expect("a ridge").matrix;
            (0..3)
                .flat_map(|item| matrix.row(item).map(|(_, weight)| weight.abs()).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        let (all, few) = (sizes(whole), sizes(Ease { keep: 1, ..whole }));
        let least = few.iter().copied().fold(f32::INFINITY, f32::min);
        assert_eq!((all.len(), few.len()), (6, 3));
        assert_eq!(all.iter().filter(|&&size| size >= least).count(), 3);
        assert_eq!(sizes(Ease { catalogue: 2, ..whole }).len(), 2, "x and y alone");
    }
}
