//! Gaussian mixtures with full covariances, by expectation-maximisation, with a floor under each
//! covariance so that no component collapses onto a single value.

use super::kmeans::KMeans;
use super::points::Points;
use crate::input::{BadInput, positive, real, same_length};
use serde::{Deserialize, Serialize};

/// How a mixture is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MixtureSettings {
    /// Added to each variance, in squared units of the points.
    pub covariance_floor: f64,
    /// Rounds at most.
    pub iterations: usize,
    /// Stops when the mean log-likelihood rises by less.
    pub tolerance: f64,
}

impl Default for MixtureSettings {
    /// For standardised points: a floor of a tenth of a standard deviation, which discrete columns
    /// such as an order count need if information criteria are to mean anything.
    fn default() -> Self {
        Self { covariance_floor: 0.01, iterations: 500, tolerance: 1e-5 }
    }
}

/// A fitted mixture: the published model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    /// The number of columns.
    pub dimensions: usize,
    /// Component weights; they add up to one.
    pub weights: Vec<f64>,
    /// Component means, row-major.
    pub means: Vec<f64>,
    /// Lower Cholesky factors of the covariances, `dimensions * dimensions` values each, row-major.
    pub factors: Vec<f64>,
}

impl Mixture {
    /// Fits `k` components, starting from k-means.
    ///
    /// # Errors
    /// As [`KMeans::fit`], or when the floor is not positive.
    pub fn fit(points: &Points, k: usize, settings: MixtureSettings, seed: u64) -> Result<Self, BadInput> {
        positive("covariance_floor", settings.covariance_floor)?;
        let start = KMeans::fit(points, k, seed)?;
        let mut shares = vec![0.0; points.len() * k];
        start.labels.iter().enumerate().for_each(|(i, &c)| shares[i * k + c] = 1.0);
        let first = maximise(points, &shares, k, settings.covariance_floor);
        Ok(first.improve(points, settings))
    }

    /// Runs EM from given means with equal weights and unit covariances.
    ///
    /// # Errors
    /// When the means have the wrong length or the floor is not positive.
    pub fn fit_from(points: &Points, means: &[f64], settings: MixtureSettings) -> Result<Self, BadInput> {
        positive("covariance_floor", settings.covariance_floor)?;
        let d = points.dimensions();
        let k = means.len() / d;
        same_length("means", means.len(), (k * d).max(d))?;
        let unit = (0..d * d).map(|i| if i % (d + 1) == 0 { 1.0 } else { 0.0 });
        let factors = (0..k).flat_map(|_| unit.clone()).collect();
        let first = Self { dimensions: d, weights: vec![1.0 / real(k); k], means: means.to_vec(), factors };
        Ok(first.improve(points, settings))
    }

    /// The number of components.
    pub fn k(&self) -> usize {
        self.weights.len()
    }

    fn improve(mut self, points: &Points, settings: MixtureSettings) -> Self {
        let mut before = f64::NEG_INFINITY;
        for _ in 0..settings.iterations {
            let (shares, likelihood) = self.expect(points);
            self = maximise(points, &shares, self.k(), settings.covariance_floor);
            if likelihood - before < settings.tolerance {
                break;
            }
            before = likelihood;
        }
        self
    }

    /// Log weight plus log density of each component at a row.
    fn log_parts(&self, row: &[f64], out: &mut [f64], solved: &mut [f64]) {
        let d = self.dimensions;
        for (c, part) in out.iter_mut().enumerate() {
            let (mean, factor) = (&self.means[c * d..(c + 1) * d], &self.factors[c * d * d..(c + 1) * d * d]);
            let mut log = self.weights[c].max(1e-300).ln() - 0.5 * real(d) * (2.0 * std::f64::consts::PI).ln();
            let mut square = 0.0;
            for i in 0..d {
                let below: f64 = (0..i).map(|j| factor[i * d + j] * solved[j]).sum();
                solved[i] = (row[i] - mean[i] - below) / factor[i * d + i];
                square += solved[i] * solved[i];
                log -= factor[i * d + i].ln();
            }
            *part = log - 0.5 * square;
        }
    }

    /// Each row's share in each component, and the mean log-likelihood.
    fn expect(&self, points: &Points) -> (Vec<f64>, f64) {
        let k = self.k();
        let mut shares = vec![0.0; points.len() * k];
        let mut solved = vec![0.0; self.dimensions];
        let mut total = 0.0;
        for (row, out) in points.rows().zip(shares.chunks_exact_mut(k)) {
            self.log_parts(row, out, &mut solved);
            let sum = log_sum(out);
            out.iter_mut().for_each(|v| *v = (*v - sum).exp());
            total += sum;
        }
        (shares, total / real(points.len()))
    }

    /// The probability of each component for one row.
    pub fn probabilities(&self, row: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.k()];
        self.log_parts(row, &mut out, &mut vec![0.0; self.dimensions]);
        let sum = log_sum(&out);
        out.iter().map(|v| (v - sum).exp()).collect()
    }

    /// The mean log-likelihood of the rows.
    pub fn mean_log_likelihood(&self, points: &Points) -> f64 {
        self.expect(points).1
    }

    /// Free parameters: weights, means and covariances.
    pub fn parameters(&self) -> usize {
        let (k, d) = (self.k(), self.dimensions);
        k * d * (d + 1) / 2 + k * d + k - 1
    }

    /// Schwarz's criterion; smaller is better.
    pub fn bic(&self, points: &Points) -> f64 {
        let n = real(points.len());
        real(self.parameters()) * n.ln() - 2.0 * n * self.mean_log_likelihood(points)
    }

    /// Akaike's criterion; smaller is better.
    pub fn aic(&self, points: &Points) -> f64 {
        2.0 * real(self.parameters()) - 2.0 * real(points.len()) * self.mean_log_likelihood(points)
    }
}

fn log_sum(logs: &[f64]) -> f64 {
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + logs.iter().map(|v| (v - top).exp()).sum::<f64>().ln()
}

fn maximise(points: &Points, shares: &[f64], k: usize, floor: f64) -> Mixture {
    let d = points.dimensions();
    let mut weights = vec![10.0 * f64::EPSILON; k];
    let mut means = vec![0.0; k * d];
    for (row, share) in points.rows().zip(shares.chunks_exact(k)) {
        for (c, &s) in share.iter().enumerate() {
            weights[c] += s;
            means[c * d..(c + 1) * d].iter_mut().zip(row).for_each(|(m, v)| *m += s * v);
        }
    }
    means.iter_mut().enumerate().for_each(|(i, m)| *m /= weights[i / d]);
    let mut factors = vec![0.0; k * d * d];
    let mut gap = vec![0.0; d];
    for (row, share) in points.rows().zip(shares.chunks_exact(k)) {
        for (c, &s) in share.iter().enumerate().filter(|(_, s)| **s > 0.0) {
            gap.iter_mut().enumerate().for_each(|(j, g)| *g = row[j] - means[c * d + j]);
            for i in 0..d {
                for j in 0..=i {
                    factors[(c * d + i) * d + j] += s * gap[i] * gap[j];
                }
            }
        }
    }
    for (c, factor) in factors.chunks_exact_mut(d * d).enumerate() {
        factor.iter_mut().for_each(|v| *v /= weights[c]);
        (0..d).for_each(|i| factor[i * d + i] += floor);
        cholesky(factor, d, floor);
    }
    let total: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|w| *w /= total);
    Mixture { dimensions: d, weights, means, factors }
}

/// Replaces the lower triangle by its Cholesky factor; pivots never fall under the floor's root.
fn cholesky(a: &mut [f64], d: usize, floor: f64) {
    for i in 0..d {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|l| a[i * d + l] * a[j * d + l]).sum();
            let rest = a[i * d + j] - dot;
            a[i * d + j] = if i == j { rest.max(0.25 * floor).sqrt() } else { rest / a[j * d + j] };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{generator, uniform};

    #[test]
    fn two_bells_are_told_apart_and_probabilities_add_up() {
        let mut rng = generator(2);
        let mut bell = || (0..12).map(|_| uniform(&mut rng)).sum::<f64>() - 6.0;
        let values: Vec<f64> =
            (0..2000).flat_map(|i| if i % 4 == 0 { [bell() + 8.0, bell()] } else { [bell(), bell()] }).collect();
        let points = Points::new(values, 2).unwrap();
        let m = Mixture::fit(&points, 2, MixtureSettings::default(), 1).unwrap();
        let small = m.weights.iter().copied().fold(1.0, f64::min);
        assert!((small - 0.25).abs() < 0.01, "{:?}", m.weights);
        let p = m.probabilities(&[8.0, 0.0]);
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12 && p.iter().any(|v| *v > 0.999));
        assert!(m.bic(&points) < Mixture::fit(&points, 1, MixtureSettings::default(), 1).unwrap().bic(&points));
    }

    #[test]
    fn the_floor_stops_a_component_from_collapsing() {
        let values: Vec<f64> = (0..200).map(|i| if i % 2 == 0 { 0.0 } else { 1.0 + f64::from(i) }).collect();
        let m = Mixture::fit(&Points::new(values, 1).unwrap(), 3, MixtureSettings::default(), 1).unwrap();
        assert!(m.factors.iter().all(|f| *f >= 0.0999));
    }
}
