//! How long contracts last when some have not ended yet: Kaplan-Meier curves and the log-rank test.
//!
//! Promise: the product-limit estimate (Kaplan & Meier 1958) with Greenwood's variance and log-log
//! intervals, which stay within [0, 1]. Absent on purpose: covariates; compare groups instead.

#![allow(clippy::float_cmp, reason = "values that were copied or counted are compared, not computed ones")]

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};

use crate::input::{self, BadInput, same_length};

/// One time at which customers left.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Time since the start.
    pub time: f64,
    /// Customers still there just before.
    pub at_risk: u32,
    /// Customers who left then.
    pub left: u32,
    /// Share still there just after, in [0, 1].
    pub survival: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// A survival curve: 1 before the first step, constant between steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The steps, by time.
    pub steps: Vec<Step>,
    /// Longest time observed; the curve says nothing beyond.
    pub until: f64,
}

/// Estimates a survival curve.
///
/// `time` is how long each customer was observed (0 or more), `left` whether that ended it;
/// `confidence` is that of the pointwise intervals, for example 0.95.
pub fn kaplan_meier(time: &[f64], left: &[bool], confidence: f64) -> Result<Curve, BadInput> {
    check(time, left)?;
    if !(confidence > 0.0 && confidence < 1.0) {
        return Err(BadInput::OutOfRange { field: "confidence".into(), row: 0, allowed: "between 0 and 1" });
    }
    let z = Normal::standard().inverse_cdf(0.5 + 0.5 * confidence);
    let rows = sorted(time, left);
    let (mut at_risk, mut survival, mut greenwood) = (count(rows.len()), 1.0, 0.0);
    let mut steps = Vec::new();
    for tied in rows.chunk_by(|a, b| a.0 == b.0) {
        let ended = count(tied.iter().filter(|r| r.1).count());
        if ended > 0 {
            let (n, d) = (f64::from(at_risk), f64::from(ended));
            survival *= 1.0 - d / n;
            greenwood += d / (n * (n - d));
            let (low, high) = log_log_interval(survival, greenwood, z);
            steps.push(Step { time: tied[0].0, at_risk, left: ended, survival, low, high });
        }
        at_risk -= count(tied.len());
    }
    Ok(Curve { steps, until: rows.last().map_or(0.0, |r| r.0) })
}

/// Interval of the survival on the scale ln(-ln S); degenerate at 1 and 0.
fn log_log_interval(survival: f64, greenwood: f64, z: f64) -> (f64, f64) {
    if survival <= 0.0 || survival >= 1.0 {
        return (survival, survival);
    }
    let spread = z * greenwood.sqrt() / -survival.ln();
    (survival.powf(spread.exp()), survival.powf((-spread).exp()))
}

impl Curve {
    /// Share still there after `time`, in [0, 1]; beyond `until` the last known share.
    pub fn at(&self, time: f64) -> f64 {
        let passed = self.steps.partition_point(|s| s.time <= time);
        if passed == 0 { 1.0 } else { self.steps[passed - 1].survival }
    }

    /// The first time at which at most `share` are still there; nothing when it was not reached.
    pub fn time_until(&self, share: f64) -> Option<f64> {
        self.steps.iter().find(|s| s.survival <= share).map(|s| s.time)
    }

    /// The median lifetime; nothing while more than half are still there.
    pub fn median(&self) -> Option<f64> {
        self.time_until(0.5)
    }

    /// Chance in [0, 1] that a customer who has stayed `stayed` leaves within `horizon` more.
    pub fn churn_risk(&self, stayed: f64, horizon: f64) -> f64 {
        let now = self.at(stayed);
        if now > 0.0 { 1.0 - self.at(stayed + horizon) / now } else { 1.0 }
    }

    /// Area under the curve up to `horizon`: the mean lifetime, cut off there.
    pub fn mean_until(&self, horizon: f64) -> f64 {
        let (mut area, mut from, mut height) = (0.0, 0.0, 1.0);
        for step in self.steps.iter().take_while(|s| s.time < horizon) {
            area += height * (step.time - from);
            (from, height) = (step.time, step.survival);
        }
        area + height * (horizon - from).max(0.0)
    }
}

/// Whether groups last equally long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LogRank {
    /// Chi-squared statistic.
    pub statistic: f64,
    /// Groups minus one.
    pub degrees: u32,
    /// Probability of so large a statistic when all groups last equally long.
    pub p_value: f64,
}

/// The log-rank test (Mantel 1966; Peto & Peto 1972) of two groups: `member` says which.
pub fn log_rank(time: &[f64], left: &[bool], member: &[bool]) -> Result<LogRank, BadInput> {
    check(time, left)?;
    same_length("member", member.len(), time.len())?;
    input::two_classes("member", member)?;
    let mut order: Vec<usize> = (0..time.len()).collect();
    order.sort_by(|&a, &b| time[a].total_cmp(&time[b]));
    let (mut n, mut m) = (f64::from(count(time.len())), f64::from(count(member.iter().filter(|&&g| g).count())));
    let (mut surplus, mut variance) = (0.0, 0.0);
    for tied in order.chunk_by(|&a, &b| time[a] == time[b]) {
        let d = f64::from(count(tied.iter().filter(|&&i| left[i]).count()));
        let of_members = f64::from(count(tied.iter().filter(|&&i| left[i] && member[i]).count()));
        surplus += of_members - d * m / n;
        if n > 1.0 {
            variance += d * (m / n) * (1.0 - m / n) * (n - d) / (n - 1.0);
        }
        n -= f64::from(count(tied.len()));
        m -= f64::from(count(tied.iter().filter(|&&i| member[i]).count()));
    }
    if variance <= 0.0 {
        return Err(BadInput::OneClass { field: "left".into() });
    }
    let statistic = surplus * surplus / variance;
    let p_value = ChiSquared::new(1.0).map_or(f64::NAN, |chi| chi.sf(statistic));
    Ok(LogRank { statistic, degrees: 1, p_value })
}

fn check(time: &[f64], left: &[bool]) -> Result<(), BadInput> {
    if time.is_empty() {
        return Err(BadInput::Empty { field: "time".into() });
    }
    same_length("left", left.len(), time.len())?;
    input::all("time", time, "0 or more", |t| t >= 0.0)
}

fn sorted(time: &[f64], left: &[bool]) -> Vec<(f64, bool)> {
    let mut rows: Vec<_> = time.iter().copied().zip(left.iter().copied()).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Remission times of Freireich et al. (1963), the textbook example of censored data.
    fn leukaemia() -> (Vec<f64>, Vec<bool>, Vec<bool>) {
        let treated = [
            (6, 1),
            (6, 1),
            (6, 1),
            (6, 0),
            (7, 1),
            (9, 0),
            (10, 1),
            (10, 0),
            (11, 0),
            (13, 1),
            (16, 1),
            (17, 0),
            (19, 0),
            (20, 0),
            (22, 1),
            (23, 1),
            (25, 0),
            (32, 0),
            (32, 0),
            (34, 0),
            (35, 0),
        ];
        let control = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23];
        let mut rows: Vec<(f64, bool, bool)> = treated.iter().map(|&(t, e)| (f64::from(t), e == 1, true)).collect();
        rows.extend(control.iter().map(|&t| (f64::from(t), true, false)));
        (rows.iter().map(|r| r.0).collect(), rows.iter().map(|r| r.1).collect(), rows.iter().map(|r| r.2).collect())
    }

    #[test]
    fn the_textbook_curve_and_test_come_out() {
        let (time, left, treated) = leukaemia();
        let curve = kaplan_meier(&time[..21], &left[..21], 0.95).unwrap();
        assert!((curve.at(6.0) - 0.857_142_857).abs() < 1e-8);
        assert!((curve.at(30.0) - 0.448_179_272).abs() < 1e-8);
        assert_eq!(curve.median(), Some(23.0));
        let test = log_rank(&time, &left, &treated).unwrap();
        assert!((test.statistic - 16.793).abs() < 5e-3, "{test:?}");
        assert!(test.p_value < 1e-4);
    }

    #[test]
    fn without_censoring_the_curve_is_the_share_left() {
        let curve = kaplan_meier(&[1.0, 2.0, 3.0, 4.0], &[true; 4], 0.9).unwrap();
        assert_eq!(curve.at(2.5), 0.5);
        assert_eq!(curve.at(0.5), 1.0);
        assert!((curve.mean_until(10.0) - 2.5).abs() < 1e-12);
        assert!((curve.churn_risk(1.0, 1.0) - 1.0 / 3.0).abs() < 1e-12);
        assert!(curve.steps.iter().all(|s| s.low <= s.survival && s.survival <= s.high));
    }

    #[test]
    fn times_that_cannot_be_are_refused() {
        assert!(kaplan_meier(&[], &[], 0.95).is_err());
        assert!(kaplan_meier(&[-1.0], &[true], 0.95).unwrap_err().to_string().contains("`time`"));
        assert!(kaplan_meier(&[1.0, 2.0], &[true], 0.95).is_err());
    }
}
