//! EASE: the item-item weights that best rebuild every history from its other items.
//!
//! Steck 2019, "Embarrassingly shallow autoencoders for sparse data": with `G = X'X + ridge` and
//! `P = G^-1`, `B = -P / diag(P)` off the diagonal. Histories may count `n^-evenness`, so that a few
//! long ones do not rule. Large catalogues are cut to their most popular items, and only the
//! strongest weights of each row are kept.

use super::{
    Error,
    fading::Fading,
    interactions::{Histories, Postings},
    inverse,
    item_item::ItemItem,
    parallel,
    sparse::{ItemMatrix, Row, entries, strongest},
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
    /// Weights kept per item.
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
    pub(crate) fn fit(&self, histories: &Histories, items: usize, threads: usize) -> Result<ItemItem, Error> {
        let postings = histories.postings(items);
        let chosen = most_popular(&postings, items, self.catalogue);
        let n = chosen.len();
        let mut g = self.gram(histories, &postings, &chosen, items, threads);
        if !inverse::invert(&mut g, n, threads) {
            return Err(Error::Singular { ridge: f64::from(self.ridge) });
        }
        let scale: Vec<f32> = (0..n).map(|j| -1.0 / g[j * n + j]).collect();
        let mut place = vec![None; items];
        for (row, &item) in chosen.iter().enumerate() {
            place[item as usize] = Some(row);
        }
        let matrix = ItemMatrix::build(
            items,
            threads,
            || vec![0.0; items],
            |dense: &mut Vec<f32>, item| {
                let Some(i) = place[item] else {
                    return Row::new();
                };
                for (j, (&p, &scale)) in g[i * n..(i + 1) * n].iter().zip(&scale).enumerate() {
                    dense[chosen[j] as usize] = p * scale;
                }
                dense[item] = 0.0;
                let mut row = entries(dense);
                strongest(&mut row, self.keep);
                row
            },
        );
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
