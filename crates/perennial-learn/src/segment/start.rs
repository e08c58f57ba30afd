//! Greedy k-means++ (Arthur & Vassilvitskii 2007; greedy form: Celebi, Kingravi & Vela 2013): each
//! new centre is the best of a few candidates drawn in proportion to their squared distance.

use super::points::{Points, squared_distance};
use crate::input::{BadInput, Problem};
use crate::seed::{Rng, below, uniform};

/// Picks `k` rows as first centres, row-major.
pub(super) fn greedy_plus_plus(points: &Points, k: usize, rng: &mut impl Rng) -> Result<Vec<f64>, BadInput> {
    let first = below(rng, points.len());
    let mut centres = points.row(first).to_vec();
    let mut nearest: Vec<f64> = points.rows().map(|r| squared_distance(r, &centres)).collect();
    let candidates = 2 + k.ilog2() as usize;
    let mut trial = vec![0.0; nearest.len()];
    let mut best_trial = trial.clone();
    for chosen in 1..k {
        let total: f64 = nearest.iter().sum();
        if total <= 0.0 {
            let problem = Problem::TooFew { found: chosen, needed: k };
            return Err(BadInput::new("distinct rows", problem, "ask for fewer clusters"));
        }
        let mut best = (f64::INFINITY, 0);
        for _ in 0..candidates {
            let candidate = draw(&nearest, total, rng);
            let row = points.row(candidate);
            let mut left = 0.0;
            for (t, (r, &old)) in trial.iter_mut().zip(points.rows().zip(&nearest)) {
                *t = old.min(squared_distance(r, row));
                left += *t;
            }
            if left < best.0 {
                best = (left, candidate);
                std::mem::swap(&mut trial, &mut best_trial);
            }
        }
        std::mem::swap(&mut nearest, &mut best_trial);
        centres.extend_from_slice(points.row(best.1));
    }
    Ok(centres)
}

/// Draws a position in proportion to its weight.
pub(super) fn draw(weights: &[f64], total: f64, rng: &mut impl Rng) -> usize {
    let mut left = uniform(rng) * total;
    for (i, w) in weights.iter().enumerate() {
        left -= w;
        if left < 0.0 && *w > 0.0 {
            return i;
        }
    }
    weights.iter().rposition(|w| *w > 0.0).unwrap_or(0)
}
