//! Group sequential designs: a few planned looks with error spending (Lan & DeMets 1983).
//!
//! The boundary of each look solves the recursive integral of Armitage, McPherson & Rowe (1969) on
//! a grid of the score statistic, so any spacing of looks is allowed.

use super::distribution::{normal_cdf, normal_density, normal_quantile};
use crate::input::{BadInput, Problem, open_unit, real};
use serde::{Deserialize, Serialize};

/// How the error is spent over the looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spending {
    /// Little at first: close to O'Brien and Fleming's boundary.
    OBrienFleming,
    /// Evenly: close to Pocock's boundary.
    Pocock,
}

/// The boundary of one look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Boundary {
    /// The share of the planned information at the look, in (0, 1].
    pub information: f64,
    /// The experiment may stop when |z| reaches this.
    pub z: f64,
    /// The two-sided error spent up to and including the look.
    pub spent: f64,
}

fn spent(spending: Spending, alpha: f64, t: f64) -> f64 {
    match spending {
        Spending::OBrienFleming => (4.0 - 4.0 * normal_cdf(-normal_quantile(alpha / 4.0) / t.sqrt())).min(alpha),
        Spending::Pocock => alpha * (1.0 + (std::f64::consts::E - 1.0) * t).ln(),
    }
}

/// Symmetric two-sided boundaries for the looks at the given shares of information.
///
/// # Errors
/// When `alpha` lies outside (0, 1), there is no look, or the shares do not rise within (0, 1].
pub fn group_sequential_bounds(information: &[f64], spending: Spending, alpha: f64) -> Result<Vec<Boundary>, BadInput> {
    open_unit("alpha", alpha)?;
    if information.is_empty() {
        return Err(BadInput::new("information", Problem::Empty, "plan at least one look"));
    }
    let mut before = 0.0;
    for &t in information {
        if !(t > before && t <= 1.0) {
            return Err(BadInput::range("information", t, "rising, above 0 and at most 1"));
        }
        before = t;
    }
    Ok(walk(information, spending, alpha))
}

/// The score's density among the paths that have not stopped, on a grid over the last boundary.
struct Alive {
    information: f64,
    points: Vec<f64>,
    mass: Vec<f64>,
}

fn walk(information: &[f64], spending: Spending, alpha: f64) -> Vec<Boundary> {
    let mut alive = Alive { information: 0.0, points: vec![0.0], mass: vec![1.0] };
    let mut already = 0.0;
    let mut looks = Vec::with_capacity(information.len());
    for &t in information {
        let target = spent(spending, alpha, t);
        let z = boundary(&alive, t, target - already);
        looks.push(Boundary { information: t, z, spent: target });
        alive = survive(&alive, t, z * t.sqrt());
        already = target;
    }
    looks
}

/// The boundary that the surviving paths cross with the probability to be spent now.
fn boundary(alive: &Alive, t: f64, spend: f64) -> f64 {
    let step = (t - alive.information).sqrt();
    let crossing = |z: f64| -> f64 {
        let b = z * t.sqrt();
        alive
            .points
            .iter()
            .zip(&alive.mass)
            .map(|(&x, m)| m * (normal_cdf((x - b) / step) + normal_cdf((-b - x) / step)))
            .sum()
    };
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..80 {
        let z = 0.5 * (low + high);
        if crossing(z) > spend { low = z } else { high = z }
    }
    0.5 * (low + high)
}

fn survive(alive: &Alive, t: f64, limit: f64) -> Alive {
    const PANELS: usize = 400;
    let step = (t - alive.information).sqrt();
    let limit = limit.min(8.0 * t.sqrt());
    let width = 2.0 * limit / real(PANELS);
    let points: Vec<f64> = (0..=PANELS).map(|i| width.mul_add(real(i), -limit)).collect();
    let simpson = |i: usize| {
        if i == 0 || i == PANELS {
            1.0
        } else if i % 2 == 1 {
            4.0
        } else {
            2.0
        }
    };
    let density = |y: f64| -> f64 {
        alive.points.iter().zip(&alive.mass).map(|(&x, m)| m * normal_density((y - x) / step) / step).sum()
    };
    let mass = points.iter().enumerate().map(|(i, &y)| density(y) * simpson(i) * width / 3.0).collect();
    Alive { information: t, points, mass }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published boundaries for five equal looks at 5 % (Lan & DeMets; Jennison & Turnbull).
    #[test]
    fn five_equal_looks_match_the_published_boundaries() {
        let looks = [0.2, 0.4, 0.6, 0.8, 1.0];
        let obf = group_sequential_bounds(&looks, Spending::OBrienFleming, 0.05).unwrap();
        for (b, want) in obf.iter().zip([4.877, 3.357, 2.680, 2.290, 2.031]) {
            assert!((b.z - want).abs() < 0.002, "{b:?} {want}");
        }
        let pocock = group_sequential_bounds(&looks, Spending::Pocock, 0.05).unwrap();
        for (b, want) in pocock.iter().zip([2.438, 2.427, 2.410, 2.397, 2.386]) {
            assert!((b.z - want).abs() < 0.002, "{b:?} {want}");
        }
    }
}
