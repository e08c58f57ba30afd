//! Implicit ALS: customers and items as points whose products say what was taken.
//!
//! Hu, Koren and Volinsky 2008, with the loss of Rendle et al. 2022 ("Revisiting the performance of
//! iALS on item recommendation benchmarks"): squared error 1 on taken pairs, `unseen` on all
//! pairs, and a ridge that grows with how often a row occurs. Rows are solved by a few steps of
//! conjugate gradient from their last value (Takacs et al. 2011). A history that was never
//! trained on gets its point by solving its own row, so new customers need no training.

#![expect(clippy::inline_always, reason = "vector code must be inlined where the machine's features are known")]

use super::{
    Error, Halt,
    compact::halves,
    interactions::{Case, Histories},
    parallel,
};
use crate::seed;
use pulp::{Arch, Simd, WithSimd};
use serde::{Deserialize, Serialize};

/// Settings of implicit ALS.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Als {
    /// Length of a point; rounded up to a multiple of 16.
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
    #[serde(with = "halves")]
    points: Vec<f32>,
    gram: Vec<f32>,
    items: usize,
}

/// Numbers in the widest vector of any machine; lengths of points are multiples of it.
const WIDEST: usize = 16;
/// Steps of conjugate gradient per row and round.
const STEPS: usize = 3;
/// Steps for a history that starts from nothing.
const FOLD_STEPS: usize = 8;

impl Factors {
    /// Fits the points.
    pub(crate) fn fit(
        histories: &Histories,
        items: usize,
        how: &Als,
        threads: usize,
        halt: &Halt,
    ) -> Result<Self, Error> {
        let how = Als { factors: how.factors.max(1).next_multiple_of(WIDEST), ..*how };
        let users = Side::of_histories(histories);
        let takers = Side::of_items(histories, items);
        let mut points = start(items, how.factors, how.seed);
        let mut people = vec![0.0; histories.len() * how.factors];
        for _ in 0..how.rounds {
            halt.check()?;
            people = solve(&users, &points, &people, &how, threads);
            halt.check()?;
            points = solve(&takers, &people, &points, &how, threads);
        }
        let gram = gram(&points, how.factors, threads);
        Ok(Self { how, points, gram, items })
    }

    /// Adds the products with all items to `scores`.
    pub(crate) fn score(&self, case: &Case, scores: &mut [f32]) {
        Arch::new().dispatch(Products { factors: self, taken: &case.items, scores });
    }
}

/// Finds the point of a history and multiplies it with all items.
struct Products<'a> {
    factors: &'a Factors,
    taken: &'a [u32],
    scores: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Factors { how, points, gram, items } = self.factors;
        let ridge = how.ridge(self.taken.len(), *items);
        let row = Row { others: points, taken: self.taken, gram, unseen: how.unseen, ridge };
        let mut point = vec![0.0; how.factors];
        descend(simd, &mut point, &row, FOLD_STEPS, &mut Room::new(how.factors));
        for (score, other) in self.scores.iter_mut().zip(points.chunks_exact(how.factors)) {
            *score += dot(simd, &point, other);
        }
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
fn solve(side: &Side, others: &[f32], now: &[f32], how: &Als, threads: usize) -> Vec<f32> {
    const RUN: usize = 256;
    let f = how.factors;
    let gram = gram(others, f, threads);
    let parts = parallel::runs(side.len(), RUN, threads, |range| {
        let mut part = now[range.start * f..range.end * f].to_vec();
        Arch::new().dispatch(Solve { side, others, gram: &gram, how, first: range.start, part: &mut part });
        part
    });
    parts.concat()
}

/// Solves one run of rows.
struct Solve<'a> {
    side: &'a Side,
    others: &'a [f32],
    gram: &'a [f32],
    how: &'a Als,
    first: usize,
    part: &'a mut [f32],
}

impl WithSimd for Solve<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut room = Room::new(self.how.factors);
        for (offset, point) in self.part.chunks_exact_mut(self.how.factors).enumerate() {
            let row = self.first + offset;
            let taken = &self.side.others[self.side.starts[row]..self.side.starts[row + 1]];
            let ridge = self.how.ridge(taken.len(), self.side.width);
            let row = Row { others: self.others, taken, gram: self.gram, unseen: self.how.unseen, ridge };
            descend(simd, point, &row, STEPS, &mut room);
        }
    }
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
fn descend<S: Simd>(simd: S, x: &mut [f32], row: &Row, steps: usize, room: &mut Room) {
    if row.taken.is_empty() {
        x.fill(0.0);
        return;
    }
    let Room { rest, way, image } = room;
    row.apply(simd, x, rest, true);
    way.copy_from_slice(rest);
    let mut size = dot(simd, rest, rest);
    for _ in 0..steps {
        if size < 1e-12 {
            break;
        }
        row.apply(simd, way, image, false);
        let length = size / dot(simd, way, image).max(f32::MIN_POSITIVE);
        axpy(simd, [length], [way], x);
        axpy(simd, [-length], [image], rest);
        let next = dot(simd, rest, rest);
        let turn = next / size;
        for (way, &rest) in way.iter_mut().zip(rest.iter()) {
            *way = rest + turn * *way;
        }
        size = next;
    }
}

/// Rows of points that are added in one pass.
const GROUP: usize = 4;

impl Row<'_> {
    #[inline(always)]
    fn point(&self, other: u32, f: usize) -> &[f32] {
        &self.others[other as usize * f..(other as usize + 1) * f]
    }

    /// `out = A x`, or with `rest` the residual `sum of taken - A x`.
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, x: &[f32], out: &mut [f32], rest: bool) {
        let f = x.len();
        let sign = if rest { -1.0 } else { 1.0 };
        for (out, &value) in out.iter_mut().zip(x) {
            *out = sign * self.ridge * value;
        }
        for (values, rows) in x.chunks_exact(GROUP).zip(self.gram.chunks_exact(GROUP * f)) {
            let mut factors = [sign * self.unseen; GROUP];
            for (factor, value) in factors.iter_mut().zip(values) {
                *factor *= value;
            }
            axpy(simd, factors, quarters(rows, f), out);
        }
        let offset = if rest { 1.0 } else { 0.0 };
        let (groups, few) = self.taken.as_chunks::<GROUP>();
        for &[a, b, c, d] in groups {
            let rows = [self.point(a, f), self.point(b, f), self.point(c, f), self.point(d, f)];
            let mut factors = [offset; GROUP];
            for (factor, row) in factors.iter_mut().zip(rows) {
                *factor += sign * dot(simd, row, x);
            }
            axpy(simd, factors, rows, out);
        }
        for &other in few {
            let row = self.point(other, f);
            axpy(simd, [offset + sign * dot(simd, row, x)], [row], out);
        }
    }
}

/// Four rows that lie behind each other.
#[inline(always)]
fn quarters(rows: &[f32], f: usize) -> [&[f32]; GROUP] {
    [&rows[..f], &rows[f..2 * f], &rows[2 * f..3 * f], &rows[3 * f..4 * f]]
}

/// The product of two vectors whose length is a multiple of [`WIDEST`].
#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let (a, _) = S::as_simd_f32s(a);
    let (b, _) = S::as_simd_f32s(b);
    let mut even = simd.splat_f32s(0.0);
    let mut odd = even;
    for (a, b) in a.chunks(2).zip(b.chunks(2)) {
        even = simd.mul_add_f32s(a[0], b[0], even);
        if let ([_, a], [_, b]) = (a, b) {
            odd = simd.mul_add_f32s(*a, *b, odd);
        }
    }
    simd.reduce_sum_f32s(simd.add_f32s(even, odd))
}

/// Adds some rows, each times its factor.
#[inline(always)]
fn axpy<S: Simd, const N: usize>(simd: S, factors: [f32; N], rows: [&[f32]; N], into: &mut [f32]) {
    let (into, _) = S::as_mut_simd_f32s(into);
    let mut wide = [simd.splat_f32s(0.0); N];
    let mut vectors: [&[S::f32s]; N] = [&[]; N];
    for g in 0..N {
        wide[g] = simd.splat_f32s(factors[g]);
        vectors[g] = &S::as_simd_f32s(rows[g]).0[..into.len()];
    }
    for (place, into) in into.iter_mut().enumerate() {
        let mut sum = *into;
        for (factor, row) in wide.iter().zip(vectors) {
            sum = simd.mul_add_f32s(*factor, row[place], sum);
        }
        *into = sum;
    }
}

/// The sum of outer products of all points.
fn gram(points: &[f32], f: usize, threads: usize) -> Vec<f32> {
    const RUN: usize = 4096;
    let parts = parallel::runs(points.len() / f, RUN, threads, |range| {
        Arch::new().dispatch(Outer { points: &points[range.start * f..range.end * f], f })
    });
    let mut total = vec![0.0; f * f];
    for part in parts {
        for (total, value) in total.iter_mut().zip(part) {
            *total += value;
        }
    }
    total
}

struct Outer<'a> {
    points: &'a [f32],
    f: usize,
}

impl WithSimd for Outer<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let f = self.f;
        let mut sum = vec![0.0; f * f];
        let mut groups = self.points.chunks_exact(GROUP * f);
        for group in &mut groups {
            let rows = quarters(group, f);
            for (place, into) in sum.chunks_exact_mut(f).enumerate() {
                let factors = [rows[0][place], rows[1][place], rows[2][place], rows[3][place]];
                axpy(simd, factors, rows, into);
            }
        }
        for row in groups.remainder().chunks_exact(f) {
            for (place, into) in sum.chunks_exact_mut(f).enumerate() {
                axpy(simd, [row[place]], [row], into);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommend::interactions::{Owner, table};

    #[test]
    fn a_taste_is_completed_also_for_a_history_never_trained_on() {
        let names: Vec<String> = (0..12).map(|n| format!("{n}")).collect();
        let mut rows = Vec::new();
        for customer in 0..12usize {
            // Each takes four of the six items of one of two tastes.
            for step in 0..4 {
                rows.push((names[customer].as_str(), names[(customer % 2) * 6 + (customer + step) % 6].as_str(), 1.0));
            }
        }
        let data = table(&rows);
        let how = Als { factors: 5, ..Als::default() };
        let factors = Factors::fit(&Histories::group(&data, Owner::User, true), 12, &how, 1, &Halt::default())
            .expect("nobody calls it off");
        assert_eq!(factors.how.factors, WIDEST, "rounded up");
        let number = |name: usize| data.items.find(&names[name]).expect("every item is taken");
        let mut scores = vec![0.0; 12];
        factors.score(&Case::of_session(&[number(0), number(3)]), &mut scores);
        let of = |name: usize| scores[number(name) as usize];
        let (worst, best) = ((0..6).map(of).fold(f32::MAX, f32::min), (6..12).map(of).fold(f32::MIN, f32::max));
        assert!(worst > best, "{worst} of the own taste, {best} of the other");
    }

    #[test]
    fn a_point_solves_its_normal_equations() {
        let f = WIDEST;
        let others = start(30, f, 4);
        let (taken, unseen, ridge) = ([2, 7, 11, 19, 23], 0.1, 0.01);
        let gram = gram(&others, f, 1);
        let row = Row { others: &others, taken: &taken, gram: &gram, unseen, ridge };
        let side = Side { starts: vec![0, 5], others: taken.to_vec(), width: 30 };
        let mut point = vec![0.0; f];
        let how = Als { factors: f, unseen, ridge: 0.01, growth: 0.0, ..Als::default() };
        for _ in 0..20 {
            let solve = Solve { side: &side, others: &others, gram: &gram, how: &how, first: 0, part: &mut point };
            Arch::new().dispatch(solve);
        }
        // (unseen * all outer products + outer products of the taken + ridge) x = sum of the taken, by hand.
        let product = |other: u32| -> f32 { row.point(other, f).iter().zip(&point).map(|(y, x)| y * x).sum() };
        for (place, value) in point.iter().enumerate() {
            let all: f32 = (0..30).map(|other| unseen * product(other) * row.point(other, f)[place]).sum();
            let own: f32 = taken.iter().map(|&other| (product(other) - 1.0) * row.point(other, f)[place]).sum();
            assert!((all + own + ridge * value).abs() < 1e-5, "{place}");
        }
        assert!(point.iter().any(|x| x.abs() > 0.1));
    }
}
