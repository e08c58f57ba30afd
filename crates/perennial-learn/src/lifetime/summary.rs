//! From single purchases to one history per customer.
//!
//! Promise: purchases of one customer on one day are one occasion; the answer does not depend on
//! the order of the rows; customers come out in the order of their keys. Absent on purpose:
//! calendars. Days are whole numbers counted from any origin.

use super::{Purchases, gamma_gamma::Spend};
use crate::input::{BadInput, LARGEST, no_measure, same_length};

/// One purchase, or one line of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bought {
    /// Who, as any number that stands for a customer.
    pub customer: u64,
    /// When, in whole days from any origin.
    pub day: i64,
    /// What was paid, in money; refunds are negative.
    pub amount: f64,
}

/// Histories of customers up to a day, one row per customer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// Keys, ascending.
    pub customer: Vec<u64>,
    /// What the repeat-buying models read.
    pub purchases: Vec<Purchases>,
    /// What the Gamma-Gamma model reads: mean value of the repeat occasions.
    pub spend: Vec<Spend>,
    /// Occasions after the observed period and up to `follow_until`; empty when none was asked for.
    pub later: Vec<u32>,
}

/// Which days count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Period {
    /// Last day that the models may see.
    pub until: i64,
    /// Last day of the hold-out that `later` counts, if any.
    pub follow_until: Option<i64>,
    /// Days per unit of time of the answer: 7 for weeks.
    pub days_per_unit: f64,
}

/// Days that a calendar has: three million years either way.
const NEAR: &str = "between -1e9 and 1e9";

fn far(day: i64) -> bool {
    !(-1_000_000_000..=1_000_000_000).contains(&day)
}

/// Sums purchases up per customer.
///
/// Customers whose first purchase is after `until`, or on it (no time to observe them), are left
/// out. Refuses amounts that are not finite, days that no calendar has and periods that make no sense.
pub fn summarise(purchases: &[Bought], period: Period) -> Result<Summary, BadInput> {
    if !(period.days_per_unit.is_finite() && period.days_per_unit > 0.0) {
        return Err(BadInput::OutOfRange { field: "days_per_unit".into(), row: 0, allowed: "more than 0" });
    }
    let ends = [period.until, period.follow_until.unwrap_or(period.until)];
    if ends.iter().any(|&day| far(day)) {
        return Err(BadInput::OutOfRange { field: "until".into(), row: 0, allowed: NEAR });
    }
    for (row, bought) in purchases.iter().enumerate() {
        if bought.amount.is_nan() || bought.amount.abs() > LARGEST {
            return Err(no_measure("amount", row, bought.amount));
        }
        if far(bought.day) {
            return Err(BadInput::OutOfRange { field: "day".into(), row, allowed: NEAR });
        }
    }
    let mut sorted = purchases.to_vec();
    sorted.sort_by(|a, b| (a.customer, a.day).cmp(&(b.customer, b.day)).then(a.amount.total_cmp(&b.amount)));
    let mut summary = Summary::default();
    for rows in sorted.chunk_by(|a, b| a.customer == b.customer) {
        add_customer(rows, period, &mut summary);
    }
    if summary.customer.is_empty() {
        return Err(BadInput::Empty { field: "purchases before the last observed day".into() });
    }
    Ok(summary)
}

#[expect(clippy::cast_precision_loss, reason = "days and counts stay far below 2^53")]
fn add_customer(rows: &[Bought], period: Period, summary: &mut Summary) {
    let first = rows[0].day;
    if first >= period.until {
        return;
    }
    let (mut frequency, mut later, mut last, mut value) = (0_u32, 0, first, 0.0);
    for occasion in rows.chunk_by(|a, b| a.day == b.day) {
        let day = occasion[0].day;
        if day <= period.until && day > first {
            frequency += 1;
            last = day;
            value += occasion.iter().map(|b| b.amount).sum::<f64>();
        } else if day > period.until && period.follow_until.is_some_and(|end| day <= end) {
            later += 1;
        }
    }
    let units = |days: i64| days as f64 / period.days_per_unit;
    summary.customer.push(rows[0].customer);
    summary.purchases.push(Purchases { frequency, recency: units(last - first), age: units(period.until - first) });
    let mean = if frequency > 0 { value / f64::from(frequency) } else { 0.0 };
    summary.spend.push(Spend { frequency, mean });
    if period.follow_until.is_some() {
        summary.later.push(later);
    }
}

/// How far predictions fell from what came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HoldOut {
    /// Mean absolute error per customer.
    pub mae: f64,
    /// Root mean squared error per customer.
    pub rmse: f64,
    /// Sum of the predictions.
    pub predicted: f64,
    /// Sum of what came.
    pub actual: f64,
    /// Pearson correlation of both; NaN when either does not vary.
    pub correlation: f64,
}

/// Compares predicted with actual purchases, customer by customer.
#[expect(clippy::cast_precision_loss, reason = "a count of customers")]
pub fn hold_out(predicted: &[f64], actual: &[u32]) -> Result<HoldOut, BadInput> {
    same_length("predicted", predicted.len(), actual.len())?;
    if predicted.is_empty() {
        return Err(BadInput::Empty { field: "predicted".into() });
    }
    let n = predicted.len() as f64;
    let pairs = || predicted.iter().copied().zip(actual.iter().map(|&y| f64::from(y)));
    let (total_p, total_y) = pairs().fold((0.0, 0.0), |(p, y), (a, b)| (p + a, y + b));
    let [mut absolute, mut squared, mut pp, mut py, mut yy] = [0.0; 5];
    for (p, y) in pairs() {
        absolute += (p - y).abs();
        squared += (p - y) * (p - y);
        let (dp, dy) = (p - total_p / n, y - total_y / n);
        pp += dp * dp;
        py += dp * dy;
        yy += dy * dy;
    }
    Ok(HoldOut {
        mae: absolute / n,
        rmse: (squared / n).sqrt(),
        predicted: total_p,
        actual: total_y,
        correlation: py / (pp * yy).sqrt(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_one_occasion_and_the_first_is_no_repeat() {
        let bought = |customer, day, amount| Bought { customer, day, amount };
        let rows = [
            bought(2, 10, 5.0),
            bought(1, 21, 4.0),
            bought(1, 0, 9.0),
            bought(1, 21, 6.0),
            bought(1, 14, 2.0),
            bought(1, 40, 3.0),
            bought(3, 33, 1.0),
        ];
        let period = Period { until: 28, follow_until: Some(41), days_per_unit: 7.0 };
        let summary = summarise(&rows, period).unwrap();
        assert_eq!(summary.customer, [1, 2]);
        assert_eq!(summary.purchases[0], Purchases { frequency: 2, recency: 3.0, age: 4.0 });
        assert_eq!(summary.spend[0], Spend { frequency: 2, mean: 6.0 });
        assert_eq!(summary.purchases[1].frequency, 0);
        assert_eq!(summary.later, [1, 0]);
        assert!(summarise(&[], period).is_err());
    }

    #[test]
    fn a_perfect_prediction_has_no_error() {
        let told = hold_out(&[1.0, 0.0, 3.0], &[1, 0, 3]).unwrap();
        assert!(told.mae == 0.0 && told.rmse == 0.0 && (told.correlation - 1.0).abs() < 1e-12);
        assert!(hold_out(&[1.0], &[1, 2]).is_err());
    }
}
