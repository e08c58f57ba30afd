//! How well scores rank customers by what a message changes: Qini, area under the uplift curve,
//! uplift among the best.
//!
//! Promise: the conventions of Radcliffe (2007) as common tools implement them. Curves have one
//! point for each distinct score; areas are counted above the straight line of a random order and
//! divided by that of the perfect order. Intervals come from a bootstrap over customers. Absent on
//! purpose: outcomes other than yes and no, for which the perfect order is not defined.

#![allow(clippy::float_cmp, reason = "values that were copied or counted are compared, not computed ones")]

use serde::{Deserialize, Serialize};

use crate::{
    input::{self, BadInput, same_length},
    seed::{below, generator},
};

/// Measures of one ranking. A figure that the rows do not define is not a number: an area where no
/// order is better than chance, an uplift where the best share holds one group only.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Qini area over random, divided by that of the perfect order; 0 for random, 1 at best.
    pub qini_auc: f64,
    /// The same for the uplift curve.
    pub auuc: f64,
    /// Qini area over random, per head of the population squared.
    pub raw_qini: f64,
    /// Difference of outcome rates among the best share of each group.
    pub uplift_at_share_by_group: f64,
    /// Difference of outcome rates among the best share of everybody.
    pub uplift_at_share_overall: f64,
}

/// An interval from the bootstrap; not a number where no draw had an order better than chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// One point of a curve to draw.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Customers reached so far, the highest scores first.
    pub customers: f64,
    /// Extra outcomes among the treated of them.
    pub gained: f64,
}

/// Scores with outcomes and treatment, checked.
struct Ranked<'a> {
    outcome: &'a [bool],
    treated: &'a [bool],
}

/// Rows in the order of a score, highest first, with the ends of ties.
struct Order {
    rows: Vec<usize>,
    ends_tie: Vec<bool>,
}

impl Order {
    fn of(score: impl Fn(usize) -> f64, rows: usize) -> Self {
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
        let ends_tie = (0..rows).map(|i| i + 1 == rows || score(order[i]) != score(order[i + 1])).collect();
        Self { rows: order, ends_tie }
    }
}

/// Which curve.
#[derive(Clone, Copy)]
enum Kind {
    /// Extra outcomes scaled to the treated: y₁ - y₀ n₁ / n₀.
    Qini,
    /// Difference of rates times customers: (y₁ / n₁ - y₀ / n₀) (n₁ + n₀).
    Uplift,
}

/// Numbers and outcomes of treated and control.
#[derive(Default, Clone, Copy)]
struct Arms {
    n: [f64; 2],
    y: [f64; 2],
}

impl Arms {
    fn add(&mut self, treated: bool, outcome: bool, weight: f64) {
        let arm = usize::from(treated);
        self.n[arm] += weight;
        self.y[arm] += if outcome { weight } else { 0.0 };
    }

    fn rate(&self, arm: usize) -> f64 {
        if self.n[arm] > 0.0 { self.y[arm] / self.n[arm] } else { 0.0 }
    }

    fn height(&self, kind: Kind) -> f64 {
        match kind {
            Kind::Qini => self.y[1] - self.rate(0) * self.n[1],
            Kind::Uplift => (self.rate(1) - self.rate(0)) * (self.n[0] + self.n[1]),
        }
    }
}

impl Ranked<'_> {
    /// Visits the points of a curve after (0, 0).
    fn trace(&self, order: &Order, weight: Option<&[f64]>, kind: Kind, mut visit: impl FnMut(f64, f64)) {
        let mut arms = Arms::default();
        for (&row, &ends) in order.rows.iter().zip(&order.ends_tie) {
            arms.add(self.treated[row], self.outcome[row], weight.map_or(1.0, |w| w[row]));
            if ends {
                visit(arms.n[0] + arms.n[1], arms.height(kind));
            }
        }
    }

    /// Area between a curve and the straight line to its end.
    fn area(&self, order: &Order, weight: Option<&[f64]>, kind: Kind) -> f64 {
        let (mut area, mut x, mut y) = (0.0, 0.0, 0.0);
        self.trace(order, weight, kind, |to, height| {
            area += 0.5 * (to - x) * (height + y);
            (x, y) = (to, height);
        });
        area - 0.5 * x * y
    }

    /// The best order for Qini: those whom the treatment won, then the rest, then those it lost.
    fn perfect_for_qini(&self) -> Order {
        let value = |i: usize| match (self.outcome[i], self.treated[i]) {
            (true, true) => 1.0,
            (true, false) => -1.0,
            _ => 0.0,
        };
        Order::of(value, self.outcome.len())
    }

    /// The best order for the uplift curve.
    fn perfect_for_uplift(&self) -> Order {
        let count =
            |y: bool, t: bool| self.outcome.iter().zip(self.treated).filter(|&(&a, &b)| a == y && b == t).count();
        let by_outcome = count(true, false) > count(false, true);
        let value = |i: usize| {
            let also = if by_outcome { self.outcome[i] } else { self.treated[i] };
            2.0 * f64::from(u8::from(self.outcome[i] == self.treated[i])) + f64::from(u8::from(also))
        };
        Order::of(value, self.outcome.len())
    }

    /// Extra outcomes over a random order, row by row, ties in the order given.
    fn raw_qini(&self, order: &Order) -> f64 {
        let n = float(order.rows.len());
        let (mut arms, mut sum, mut heights) = (Arms::default(), 0.0, 0.0);
        for &row in &order.rows {
            arms.add(self.treated[row], self.outcome[row], 1.0);
            heights = arms.height(Kind::Qini);
            sum += heights;
        }
        // Trapezoids with step 1/n less the triangle under the straight line.
        ((sum - 0.5 * heights) / n - 0.5 * heights) / n
    }

    /// Difference of rates among the best `share`, of everybody or of each group.
    fn uplift_at(&self, score: &[f64], share: f64, by_group: bool) -> f64 {
        let mut order: Vec<usize> = (0..score.len()).collect();
        order.sort_by(|&a, &b| score[b].total_cmp(&score[a]).then(b.cmp(&a)));
        let part = |rows: usize| truncated(float(rows) * share);
        let treated = self.treated.iter().filter(|&&t| t).count();
        let limits = [part(score.len() - treated), part(treated)];
        let (mut arms, mut taken) = (Arms::default(), 0);
        for row in order {
            let arm = usize::from(self.treated[row]);
            let open = if by_group { truncated(arms.n[arm]) < limits[arm] } else { taken < part(score.len()) };
            if open {
                arms.add(self.treated[row], self.outcome[row], 1.0);
                taken += 1;
            }
        }
        if arms.n[0] > 0.0 && arms.n[1] > 0.0 { arms.rate(1) - arms.rate(0) } else { f64::NAN }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of rows")]
fn float(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a count of rows")]
fn truncated(count: f64) -> usize {
    count as usize
}

fn check<'a>(outcome: &'a [bool], treated: &'a [bool], score: &[f64]) -> Result<Ranked<'a>, BadInput> {
    same_length("treated", treated.len(), outcome.len())?;
    same_length("score", score.len(), outcome.len())?;
    input::finite("score", score)?;
    input::two_classes("treated", treated)?;
    input::two_classes("outcome", outcome)?;
    Ok(Ranked { outcome, treated })
}

/// Measures a ranking; `share` in (0, 1] is that of the uplift among the best.
pub fn measure(outcome: &[bool], treated: &[bool], score: &[f64], share: f64) -> Result<Metrics, BadInput> {
    if !(share > 0.0 && share <= 1.0) {
        return Err(BadInput::range("share", share, "above 0 and at most 1"));
    }
    let ranked = check(outcome, treated, score)?;
    let order = Order::of(|i| score[i], score.len());
    let over_random = |kind, perfect: &Order| ranked.area(&order, None, kind) / ranked.area(perfect, None, kind);
    Ok(Metrics {
        qini_auc: over_random(Kind::Qini, &ranked.perfect_for_qini()),
        auuc: over_random(Kind::Uplift, &ranked.perfect_for_uplift()),
        raw_qini: ranked.raw_qini(&order),
        uplift_at_share_by_group: ranked.uplift_at(score, share, true),
        uplift_at_share_overall: ranked.uplift_at(score, share, false),
    })
}

/// Bootstrap intervals of the Qini area and the area under the uplift curve, in this order.
///
/// Customers are drawn with replacement `times` times (200 is enough to look at); `confidence` is
/// that of the percentile interval. It covers the luck of the test customers, not that of training.
pub fn intervals(
    outcome: &[bool],
    treated: &[bool],
    score: &[f64],
    times: usize,
    confidence: f64,
    seed: u64,
) -> Result<[Interval; 2], BadInput> {
    let ranked = check(outcome, treated, score)?;
    if times < 20 {
        return Err(BadInput::TooFew { field: "times".into(), found: times, needed: 20 });
    }
    if !(confidence > 0.0 && confidence < 1.0) {
        return Err(BadInput::OutOfRange { field: "confidence".into(), row: 0, allowed: "between 0 and 1" });
    }
    let order = Order::of(|i| score[i], score.len());
    let perfect = [ranked.perfect_for_qini(), ranked.perfect_for_uplift()];
    let mut rng = generator(seed);
    let mut drawn = [Vec::with_capacity(times), Vec::with_capacity(times)];
    let mut weight = vec![0.0; score.len()];
    for _ in 0..times {
        weight.fill(0.0);
        for _ in 0..score.len() {
            weight[below(&mut rng, score.len())] += 1.0;
        }
        for (k, kind) in [Kind::Qini, Kind::Uplift].into_iter().enumerate() {
            let best = ranked.area(&perfect[k], Some(&weight), kind);
            if best > 0.0 {
                drawn[k].push(ranked.area(&order, Some(&weight), kind) / best);
            }
        }
    }
    Ok(drawn.map(|mut values| {
        values.sort_by(f64::total_cmp);
        let at = |p: f64| values.get(truncated(p * float(values.len()))).or(values.last()).copied().unwrap_or(f64::NAN);
        Interval { low: at(0.5 - 0.5 * confidence), high: at(0.5 + 0.5 * confidence) }
    }))
}

/// The Qini curve of a ranking, (0, 0) first.
pub fn qini_curve(outcome: &[bool], treated: &[bool], score: &[f64]) -> Result<Vec<Point>, BadInput> {
    let ranked = check(outcome, treated, score)?;
    let mut points = vec![Point { customers: 0.0, gained: 0.0 }];
    let order = Order::of(|i| score[i], score.len());
    ranked.trace(&order, None, Kind::Qini, |customers, gained| {
        points.push(Point { customers, gained });
    });
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::uniform;

    /// Customers of whom those with x > 0.5 are won by treatment.
    pub(crate) fn drawn(rows: usize, seed: u64) -> (Vec<bool>, Vec<bool>, Vec<f64>) {
        let mut rng = generator(seed);
        let x: Vec<f64> = (0..rows).map(|_| uniform(&mut rng)).collect();
        let treated: Vec<bool> = (0..rows).map(|_| uniform(&mut rng) < 0.5).collect();
        let chance = |i: usize| if treated[i] && x[i] > 0.5 { 0.5 } else { 0.2 };
        let outcome = (0..rows).map(|i| uniform(&mut rng) < chance(i)).collect();
        (outcome, treated, x)
    }

    #[test]
    fn a_good_order_beats_a_random_one_and_a_bad_one_loses() {
        let (outcome, treated, x) = drawn(4_000, 1);
        let good = measure(&outcome, &treated, &x, 0.3).unwrap();
        let reversed: Vec<f64> = x.iter().map(|v| -v).collect();
        let bad = measure(&outcome, &treated, &reversed, 0.3).unwrap();
        assert!(good.qini_auc > 0.05 && bad.qini_auc < -0.05, "{good:?} {bad:?}");
        assert!(good.auuc > bad.auuc && good.raw_qini > 0.0);
        assert!((good.uplift_at_share_by_group - 0.3).abs() < 0.1);
    }

    #[test]
    fn the_perfect_order_has_area_one() {
        let (outcome, treated, _) = drawn(500, 2);
        let perfect: Vec<f64> = outcome
            .iter()
            .zip(&treated)
            .map(|(&y, &t)| match (y, t) {
                (true, true) => 1.0,
                (true, false) => -1.0,
                _ => 0.0,
            })
            .collect();
        assert!((measure(&outcome, &treated, &perfect, 0.5).unwrap().qini_auc - 1.0).abs() < 1e-12);
        assert_eq!(measure(&outcome, &treated, &vec![1.0; 500], 0.5).unwrap().qini_auc, 0.0);
    }

    #[test]
    fn the_interval_surrounds_the_figure() {
        let (outcome, treated, x) = drawn(1_500, 3);
        let qini = measure(&outcome, &treated, &x, 0.3).unwrap().qini_auc;
        let [of_qini, of_auuc] = intervals(&outcome, &treated, &x, 100, 0.9, 1).unwrap();
        assert!(of_qini.low < qini && qini < of_qini.high && of_auuc.low < of_auuc.high);
        assert!(intervals(&outcome, &treated, &x, 3, 0.9, 1).is_err());
        assert!(measure(&outcome, &[true; 1_500], &x, 0.3).is_err());
        let curve = qini_curve(&outcome, &treated, &x).unwrap();
        assert_eq!(curve.last().unwrap().customers, 1_500.0);
    }
}
