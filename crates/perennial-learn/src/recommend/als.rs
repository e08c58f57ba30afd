//! Implicit ALS: customers and items as points whose products say what was taken.
//!
//! Hu, Koren and Volinsky 2008, with the loss of Rendle et al. 2022 ("Revisiting the performance of
//! iALS on item recommendation benchmarks"): squared error 1 on taken pairs, `unseen` on all
//! pairs, and a ridge that grows with how often a row occurs. Rows are solved by a few steps of
//! conjugate gradient from their last value (Takacs et al. 2011). A history that was never
//! trained on gets its point by solving its own row, so new customers need no training.

use super::{
    interactions::{Case, Histories},
    parallel,
};
use crate::seed;
use pulp::Arch;
use serde::{Deserialize, Serialize};

/// Settings of implicit ALS.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Als {
    /// Length of a point; rounded up to a multiple of 8.
    pub factors: usize,
    /// Weight of all pairs against the taken ones.
    pub unseen: f32,
    /// The ridge.
    pub ridge: f32,
    /// How the ridge grows with the number of touches: `ridge * (touches + unseen * others)^growth`.
    pub growth: f32,
    /// Rounds over both sides.
    pub rounds: usize,
    /// Where the random start comes from.
    pub seed: u64,
}

impl Default for Als {
    fn default() -> Self {
        Self { factors: 32, unseen: 0.1, ridge: 0.01, growth: 1.0, rounds: 15, seed: 7 }
    }
}

/// Fitted points of the items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factors {
    how: Als,
    /// Row-major, one point of `how.factors` numbers per item.
    points: Vec<f32>,
    gram: Vec<f32>,
    items: usize,
}

/// Steps of conjugate gradient per row and round.
const STEPS: usize = 3;
/// Steps for a history that starts from nothing.
const FOLD_STEPS: usize = 8;

impl Factors {
    /// Fits the points.
    pub(crate) fn fit(histories: &Histories, items: usize, how: &Als, threads: usize) -> Self {
        let how = Als { factors: how.factors.max(1).next_multiple_of(8), ..*how };
        let users = Side::of_histories(histories);
        let takers = Side::of_items(histories, items);
        let mut points = start(items, how.factors, how.seed);
        let mut people = vec![0.0; histories.len() * how.factors];
        for _ in 0..how.rounds {
            people = solve(&users, &points, people, &how, threads);
            points = solve(&takers, &people, points, &how, threads);
        }
        let gram = gram(&points, how.factors, threads);
        Self { how, points, gram, items }
    }

    /// Adds the products with all items to `scores`.
    pub(crate) fn score(&self, case: &Case, scores: &mut [f32]) {
        let mut point = vec![0.0; self.how.factors];
        let arch = Arch::new();
        let ridge = self.how.ridge(case.items.len(), self.items);
        arch.dispatch(|| {
            let row = Row { others: &self.points, taken: &case.items, gram: &self.gram, unseen: self.how.unseen, ridge };
            descend(&mut point, &row, FOLD_STEPS, &mut Room::new(self.how.factors));
            for (score, other) in scores.iter_mut().zip(self.points.chunks_exact(self.how.factors)) {
                *score += dot(&point, other);
            }
        });
    }
}

impl Als {
    #[expect(clippy::cast_precision_loss, reason = "counts as weights")]
    fn ridge(&self, taken: usize, others: usize) -> f32 {
        self.ridge * (taken as f32 + self.unseen * others as f32).powf(self.growth)
    }
}

/// The taken pairs by rows of one side.
struct Side {
    starts: Vec<usize>,
    others: Vec<u32>,
    width: usize,
}

impl Side {
    fn of_histories(histories: &Histories) -> Self {
        let width = histories.items.iter().max().map_or(0, |&last| last as usize + 1);
        Self { starts: histories.starts.clone(), others: histories.items.clone(), width }
    }

    fn of_items(histories: &Histories, items: usize) -> Self {
        let postings = histories.postings(items);
        let mut starts = vec![0];
        let mut others = Vec::with_capacity(histories.items.len());
        for item in 0..items {
            others.extend(postings.of(item).iter().map(|&(owner, _)| owner));
            starts.push(others.len());
        }
        Self { starts, others, width: histories.len() }
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }
}

/// Small random points, normal in shape (the sum of four uniform numbers).
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a random start needs no precision")]
fn start(count: usize, factors: usize, from: u64) -> Vec<f32> {
    let mut rng = seed::generator(from);
    let scale = 0.1 / (factors as f64).sqrt();
    (0..count * factors)
        .map(|_| {
            let sum: f64 = (0..4).map(|_| seed::uniform(&mut rng)).sum();
            ((sum - 2.0) * 1.732 * scale) as f32
        })
        .collect()
}

/// Solves all rows of a side against the points of the other one, from their present values.
fn solve(side: &Side, others: &[f32], now: Vec<f32>, how: &Als, threads: usize) -> Vec<f32> {
    const RUN: usize = 256;
    let f = how.factors;
    let gram = gram(others, f, threads);
    let arch = Arch::new();
    let parts = parallel::runs(side.len(), RUN, threads, |range| {
        let mut part = now[range.start * f..range.end * f].to_vec();
        arch.dispatch(|| {
            let mut room = Room::new(f);
            for (point, row) in part.chunks_exact_mut(f).zip(range) {
                let taken = &side.others[side.starts[row]..side.starts[row + 1]];
                let ridge = how.ridge(taken.len(), side.width);
                let row = Row { others, taken, gram: &gram, unseen: how.unseen, ridge };
                descend(point, &row, STEPS, &mut room);
            }
        });
        part
    });
    parts.concat()
}

/// One row's problem: `(unseen * gram + sum of taken outer products + ridge) x = sum of taken`.
struct Row<'a> {
    others: &'a [f32],
    taken: &'a [u32],
    gram: &'a [f32],
    unseen: f32,
    ridge: f32,
}

/// Vectors that conjugate gradient works in.
struct Room {
    rest: Vec<f32>,
    way: Vec<f32>,
    image: Vec<f32>,
}

impl Room {
    fn new(f: usize) -> Self {
        Self { rest: vec![0.0; f], way: vec![0.0; f], image: vec![0.0; f] }
    }
}

#[inline(always)]
fn descend(x: &mut [f32], row: &Row, steps: usize, room: &mut Room) {
    if row.taken.is_empty() {
        x.fill(0.0);
        return;
    }
    let Room { rest, way, image } = room;
    row.apply(x, rest, true);
    way.copy_from_slice(rest);
    let mut size = dot(rest, rest);
    for _ in 0..steps {
        if size < 1e-12 {
            break;
        }
        row.apply(way, image, false);
        let length = size / dot(way, image).max(f32::MIN_POSITIVE);
        axpy(length, way, x);
        axpy(-length, image, rest);
        let next = dot(rest, rest);
        let turn = next / size;
        for (way, &rest) in way.iter_mut().zip(rest.iter()) {
            *way = rest + turn * *way;
        }
        size = next;
    }
}

impl Row<'_> {
    /// `out = A x`, or with `rest` the residual `sum of taken - A x`.
    #[inline(always)]
    fn apply(&self, x: &[f32], out: &mut [f32], rest: bool) {
        let f = x.len();
        let sign = if rest { -1.0 } else { 1.0 };
        for (out, &value) in out.iter_mut().zip(x) {
            *out = sign * self.ridge * value;
        }
        for (&value, gram) in x.iter().zip(self.gram.chunks_exact(f)) {
            axpy(sign * self.unseen * value, gram, out);
        }
        for &other in self.taken {
            let other = &self.others[other as usize * f..(other as usize + 1) * f];
            let product = dot(other, x);
            axpy(if rest { 1.0 - product } else { product }, other, out);
        }
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[inline(always)]
fn axpy(factor: f32, a: &[f32], into: &mut [f32]) {
    for (into, a) in into.as_chunks_mut::<8>().0.iter_mut().zip(a.as_chunks::<8>().0) {
        for (into, a) in into.iter_mut().zip(a) {
            *into += factor * a;
        }
    }
}

/// The sum of outer products of all points.
fn gram(points: &[f32], f: usize, threads: usize) -> Vec<f32> {
    const RUN: usize = 4096;
    let arch = Arch::new();
    let parts = parallel::runs(points.len() / f, RUN, threads, |range| {
        let mut sum = vec![0.0; f * f];
        arch.dispatch(|| {
            for point in points[range.start * f..range.end * f].chunks_exact(f) {
                for (&value, row) in point.iter().zip(sum.chunks_exact_mut(f)) {
                    axpy(value, point, row);
                }
            }
        });
        sum
    });
    let mut total = vec![0.0; f * f];
    for part in parts {
        for (total, value) in total.iter_mut().zip(part) {
            *total += value;
        }
    }
    total
}
