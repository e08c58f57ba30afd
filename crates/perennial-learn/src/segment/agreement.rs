//! Do two clusterings agree? Adjusted Rand (Hubert & Arabie 1985) and mutual information
//! (adjusted: Vinh, Epps & Bailey 2010, arithmetic mean of entropies).

use crate::input::{BadInput, Problem, real, same_length};
use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;
use std::collections::BTreeMap;

/// Agreement of two labelings; all are 1 for equal ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Adjusted Rand index: 0 is chance.
    pub ari: f64,
    /// Adjusted mutual information: 0 is chance.
    pub ami: f64,
    /// Normalised mutual information.
    pub nmi: f64,
    /// Whether each found group holds one true group only (the first labeling is the truth).
    pub homogeneity: f64,
    /// Whether each true group lies in one found group.
    pub completeness: f64,
    /// The harmonic mean of both.
    pub v_measure: f64,
}

struct Crossing {
    cells: Vec<(f64, usize, usize)>,
    rows: Vec<f64>,
    columns: Vec<f64>,
    n: f64,
}

fn dense(labels: &[usize]) -> (Vec<usize>, usize) {
    let mut names = BTreeMap::new();
    let renamed = labels
        .iter()
        .map(|l| {
            let next = names.len();
            *names.entry(l).or_insert(next)
        })
        .collect();
    (renamed, names.len())
}

fn cross(a: &[usize], b: &[usize]) -> Crossing {
    let ((a, k_a), (b, k_b)) = (dense(a), dense(b));
    let mut cells: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    let (mut rows, mut columns) = (vec![0.0; k_a], vec![0.0; k_b]);
    for (&i, &j) in a.iter().zip(&b) {
        *cells.entry((i, j)).or_default() += 1.0;
        rows[i] += 1.0;
        columns[j] += 1.0;
    }
    Crossing { cells: cells.into_iter().map(|((i, j), n)| (n, i, j)).collect(), rows, columns, n: real(a.len()) }
}

/// Compares two labelings of the same rows.
///
/// # Errors
/// When they differ in length or are empty.
pub fn agreement(truth: &[usize], found: &[usize]) -> Result<Agreement, BadInput> {
    same_length("found", found.len(), truth.len())?;
    if truth.is_empty() {
        return Err(BadInput::new("truth", Problem::Empty, "give the labels of at least one row"));
    }
    let c = cross(truth, found);
    let (h_a, h_b) = (entropy(&c.rows, c.n), entropy(&c.columns, c.n));
    let mutual = mutual_information(&c);
    let ratio = |top: f64, below: f64| {
        if below.abs() < 1e-15 { 1.0 } else { top / below }
    };
    let (homogeneity, completeness) = (ratio(mutual, h_a), ratio(mutual, h_b));
    let mean = 0.5 * (h_a + h_b);
    let chance = expected_mutual_information(&c);
    let trivial = c.rows.len() == c.columns.len() && (c.rows.len() == 1 || c.rows.len() == truth.len());
    Ok(Agreement {
        ari: adjusted_rand(&c),
        ami: if trivial { 1.0 } else { ratio(mutual - chance, mean - chance) },
        nmi: ratio(mutual, mean),
        homogeneity,
        completeness,
        v_measure: if homogeneity + completeness > 0.0 {
            2.0 * homogeneity * completeness / (homogeneity + completeness)
        } else {
            0.0
        },
    })
}

fn entropy(counts: &[f64], n: f64) -> f64 {
    counts.iter().map(|c| -c / n * (c / n).ln()).sum()
}

fn mutual_information(c: &Crossing) -> f64 {
    c.cells.iter().map(|&(m, i, j)| m / c.n * (m * c.n / (c.rows[i] * c.columns[j])).ln()).sum::<f64>().max(0.0)
}

fn adjusted_rand(c: &Crossing) -> f64 {
    let pairs = |m: f64| m * (m - 1.0) / 2.0;
    let together: f64 = c.cells.iter().map(|x| pairs(x.0)).sum();
    let rows: f64 = c.rows.iter().map(|m| pairs(*m)).sum();
    let columns: f64 = c.columns.iter().map(|m| pairs(*m)).sum();
    let all = pairs(c.n);
    let chance = if all > 0.0 { rows * columns / all } else { 0.0 };
    let most = 0.5 * (rows + columns);
    if (most - chance).abs() < 1e-15 { 1.0 } else { (together - chance) / (most - chance) }
}

/// The mean of the mutual information over all labelings with the same sizes.
fn expected_mutual_information(c: &Crossing) -> f64 {
    let log_factorial = |m: f64| ln_gamma(m + 1.0);
    let n = c.n;
    let mut sum = 0.0;
    for &a in &c.rows {
        for &b in &c.columns {
            let fixed =
                log_factorial(a) + log_factorial(b) + log_factorial(n - a) + log_factorial(n - b) - log_factorial(n);
            let mut m = (a + b - n).max(1.0);
            while m <= a.min(b) {
                let log_weight = fixed
                    - log_factorial(m)
                    - log_factorial(a - m)
                    - log_factorial(b - m)
                    - log_factorial(n - a - b + m);
                sum += m / n * (n * m / (a * b)).ln() * log_weight.exp();
                m += 1.0;
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{below, generator};

    #[test]
    fn names_do_not_matter_and_chance_scores_zero() {
        let a = [0, 0, 1, 1, 2, 2];
        let same = agreement(&a, &[7, 7, 3, 3, 0, 0]).unwrap();
        assert!(
            (same.ari - 1.0).abs() < 1e-12 && (same.ami - 1.0).abs() < 1e-9 && (same.v_measure - 1.0).abs() < 1e-12
        );
        let mut rng = generator(1);
        let mut draw = || (0..2000).map(|_| below(&mut rng, 5)).collect::<Vec<_>>();
        let chance = agreement(&draw(), &draw()).unwrap();
        assert!(chance.ari.abs() < 0.01 && chance.ami.abs() < 0.01);
        assert!(agreement(&[], &[]).is_err());
    }
}
