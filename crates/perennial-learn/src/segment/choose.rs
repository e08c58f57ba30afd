//! How many groups? Three witnesses are heard and their evidence is kept.
//!
//! Silhouette says where groups are tight and apart; the gap statistic (Tibshirani, Walther &
//! Hastie 2001) says where they beat a structureless box; stability says how many groups come back
//! when the customers are drawn anew. Two that agree win; otherwise the middle one of the three.

use super::agreement::agreement;
use super::kmeans::KMeans;
use super::points::Points;
use super::quality::silhouette;
use crate::input::{BadInput, real};
use crate::seed::{Rng, below, generator, uniform};
use serde::{Deserialize, Serialize};

/// What was seen for one number of groups.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The number of groups.
    pub k: usize,
    /// The sum of squared distances to the centres on the sample.
    pub inertia: f64,
    /// The mean silhouette on the sample.
    pub silhouette: f64,
    /// The mean adjusted Rand index between clusterings of redrawn customers.
    pub stability: f64,
    /// The gap statistic.
    pub gap: f64,
    /// Its standard error.
    pub gap_error: f64,
}

/// The number chosen, each witness's own choice, and everything they saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChosenK {
    /// The number of groups to use.
    pub k: usize,
    /// The choice by silhouette.
    pub by_silhouette: usize,
    /// The choice by gap.
    pub by_gap: usize,
    /// The choice by stability.
    pub by_stability: usize,
    /// One entry per number of groups tried.
    pub evidence: Vec<Evidence>,
}

/// Rows looked at; more would not change the choice.
const SAMPLE: usize = 1_500;
const REFERENCES: usize = 6;
const REDRAWS: usize = 6;
/// A number of groups counts as stable from here on.
const STABLE: f64 = 0.85;

/// Tries 2 to `most` groups, or to as many as the redrawn customers still fill. `watch` hears what
/// share of the work is done, from 0 to 1.
///
/// # Errors
/// When `most` is below two or the redrawn customers are too few, or too much alike, for two groups.
pub fn choose_k(points: &Points, most: usize, seed: u64, watch: &mut dyn FnMut(f64)) -> Result<ChosenK, BadInput> {
    if most < 2 {
        return Err(BadInput::range("most", real(most), "2 or more"));
    }
    let mut rng = generator(seed);
    let sample = redraw(points, points.len().min(SAMPLE), &mut rng);
    let boxes: Vec<Points> = (0..REFERENCES).map(|_| uniform_box(&sample, &mut rng)).collect();
    let halves: Vec<Points> = (0..REDRAWS).map(|_| redraw(&sample, sample.len() * 4 / 5, &mut rng)).collect();
    let mut evidence = Vec::new();
    // One more than asked for, because the gap rule looks at the next number.
    let last = (most + 1).min(sample.len() - 1);
    for k in 1..=last {
        // A clustering takes time in proportion to its groups.
        watch(real((k - 1) * k) / real(last * (last + 1)));
        match witness(&sample, &boxes, &halves, k, seed) {
            Ok(seen) => evidence.push(seen),
            Err(why) if k <= 2 => return Err(why),
            Err(_) => break,
        }
    }
    let most = most.min(evidence.len()).max(2);
    let by_gap = gap_choice(&evidence, most);
    let tried: Vec<Evidence> = evidence.into_iter().filter(|e| (2..=most).contains(&e.k)).collect();
    let top = |f: fn(&Evidence) -> f64| {
        tried.iter().fold((2, f64::NEG_INFINITY), |b, e| if f(e) > b.1 { (e.k, f(e)) } else { b }).0
    };
    let by_silhouette = top(|e| e.silhouette);
    let by_stability = tried.iter().rev().find(|e| e.stability >= STABLE).map_or_else(|| top(|e| e.stability), |e| e.k);
    let mut votes = [by_silhouette, by_gap, by_stability];
    votes.sort_unstable();
    Ok(ChosenK { k: votes[1], by_silhouette, by_gap, by_stability, evidence: tried })
}

fn redraw(points: &Points, rows: usize, rng: &mut impl Rng) -> Points {
    let mut order: Vec<usize> = (0..points.len()).collect();
    for i in 0..rows.min(order.len()) {
        let j = i + below(rng, order.len() - i);
        order.swap(i, j);
    }
    points.pick(&order[..rows.max(1)])
}

fn uniform_box(points: &Points, rng: &mut impl Rng) -> Points {
    let d = points.dimensions();
    let (mut low, mut high) = (vec![f64::INFINITY; d], vec![f64::NEG_INFINITY; d]);
    for row in points.rows() {
        for j in 0..d {
            low[j] = low[j].min(row[j]);
            high[j] = high[j].max(row[j]);
        }
    }
    let positions: Vec<usize> = (0..points.len()).collect();
    let mut values = points.pick(&positions).values().to_vec();
    values.iter_mut().enumerate().for_each(|(i, v)| *v = low[i % d] + uniform(rng) * (high[i % d] - low[i % d]));
    Points::new(values, d).unwrap_or_else(|_| points.clone())
}

fn witness(sample: &Points, boxes: &[Points], halves: &[Points], k: usize, seed: u64) -> Result<Evidence, BadInput> {
    let fit = KMeans::fit(sample, k, seed)?;
    let logs: Vec<f64> =
        boxes.iter().map(|b| KMeans::fit(b, k, seed).map(|f| f.inertia.max(1e-300).ln())).collect::<Result<_, _>>()?;
    let mean = logs.iter().sum::<f64>() / real(logs.len());
    let variance = logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / real(logs.len());
    let (mut stability, mut silhouette_mean) = (1.0, 0.0);
    if k > 1 {
        silhouette_mean = silhouette(sample, &fit.labels)?;
        stability = mean_agreement(sample, halves, k, seed)?;
    }
    Ok(Evidence {
        k,
        inertia: fit.inertia,
        silhouette: silhouette_mean,
        stability,
        gap: mean - fit.inertia.max(1e-300).ln(),
        gap_error: variance.sqrt() * (1.0 + 1.0 / real(logs.len())).sqrt(),
    })
}

fn mean_agreement(sample: &Points, halves: &[Points], k: usize, seed: u64) -> Result<f64, BadInput> {
    let labelings: Vec<Vec<usize>> = halves
        .iter()
        .zip(seed..)
        .map(|(half, s)| Ok(KMeans::fit(half, k, s)?.model.assign_all(sample)))
        .collect::<Result<_, BadInput>>()?;
    let mut total = 0.0;
    for pair in labelings.windows(2) {
        total += agreement(&pair[0], &pair[1])?.ari;
    }
    Ok(total / real(labelings.len() - 1))
}

/// The first number whose gap is not beaten by the next one by more than its error.
fn gap_choice(evidence: &[Evidence], most: usize) -> usize {
    let found = evidence.windows(2).find(|w| w[0].gap >= w[1].gap - w[1].gap_error).map(|w| w[0].k);
    found.unwrap_or(most).clamp(2, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handful_of_customers_is_grouped_as_far_as_it_goes() {
        let points = Points::new(vec![0.0, 0.1, 0.2, 5.0, 5.1, 9.0, 9.1], 1).unwrap();
        let chosen = choose_k(&points, 6, 1, &mut |_| ()).unwrap();
        assert!((2..=5).contains(&chosen.k), "redrawn, five of seven are left: {chosen:?}");
        assert!(choose_k(&Points::new(vec![1.0; 5], 1).unwrap(), 3, 1, &mut |_| ()).is_err(), "all alike");
    }

    #[test]
    fn four_clear_groups_are_counted() {
        let mut rng = generator(9);
        let values: Vec<f64> = (0..400)
            .flat_map(|i| {
                let (x, y) = (f64::from(i % 2) * 8.0, f64::from(i / 2 % 2) * 8.0);
                [x + uniform(&mut rng), y + uniform(&mut rng)]
            })
            .collect();
        let mut heard = Vec::new();
        let chosen = choose_k(&Points::new(values, 2).unwrap(), 7, 1, &mut |share| heard.push(share)).unwrap();
        assert_eq!(chosen.k, 4, "{chosen:?}");
        assert_eq!((chosen.by_silhouette, chosen.by_gap), (4, 4), "either witness alone: {chosen:?}");
        assert!(chosen.evidence[2].stability > 0.99, "the same four come back: {chosen:?}");
        assert_eq!(chosen.evidence.len(), 6);
        assert!(heard.len() == 8 && heard.is_sorted() && heard[0] == 0.0 && heard[7] < 1.0, "{heard:?}");
    }
}
