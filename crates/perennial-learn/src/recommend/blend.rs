//! Blends: weighted sums of methods, with weights found on held-out questions.
//!
//! Scores of different methods have different scales, and scales differ between customers: each
//! method's scores are divided by the mean of its ten best allowed ones before they are added.

use super::{
    Task,
    interactions::Case,
    method::Method,
    parallel, top,
    validate::{Validation, ban, count, quality},
};

/// Best scores that make the scale.
const SCALE: usize = 10;
/// Best items of each method that are looked at while weights are sought.
const POOL: usize = 100;
/// What a weight is multiplied with or set to in the search.
const FACTORS: [f32; 6] = [0.0, 0.5, 0.75, 1.33, 2.0, 4.0];

/// The scale of a method's scores for one question.
pub(crate) fn scale(scores: &[f32], list: &mut Vec<(u32, f32)>) -> f32 {
    top::best(scores, SCALE, list);
    let positive = list.iter().map(|&(_, score)| score).filter(|&score| score > 0.0);
    #[expect(clippy::cast_precision_loss, reason = "ten at most")]
    let mean = positive.clone().sum::<f32>() / positive.count().max(1) as f32;
    if mean > 0.0 { 1.0 / mean } else { 0.0 }
}

/// The scaled scores of all methods for the items that any of them likes, per question.
pub(crate) struct Pool {
    methods: usize,
    cases: Vec<Pooled>,
}

struct Pooled {
    items: Vec<u32>,
    /// One row of all items per method.
    scores: Vec<f32>,
}

impl Pool {
    pub(crate) fn gather(validation: &Validation, task: Task, methods: &[&Method], threads: usize) -> Self {
        let parts = parallel::runs(validation.cases.len(), 32, threads, |range| {
            let mut rows = vec![vec![0.0; validation.corpus.items]; methods.len()];
            validation.cases[range].iter().map(|case| pooled(case, task, methods, &mut rows)).collect::<Vec<_>>()
        });
        Self { methods: methods.len(), cases: parts.into_iter().flatten().collect() }
    }

    /// The mean quality under some weights.
    pub(crate) fn value(&self, validation: &Validation, task: Task, weights: &[f32], threads: usize) -> f64 {
        let parts = parallel::runs(self.cases.len(), 128, threads, |range| {
            let (mut sums, mut list, mut total) = (Vec::new(), Vec::new(), 0.0);
            for place in range {
                let case = &self.cases[place];
                sums.clear();
                sums.resize(case.items.len(), 0.0);
                for (row, &weight) in case.scores.chunks_exact(case.items.len().max(1)).zip(weights) {
                    if weight != 0.0 {
                        sums.iter_mut().zip(row).for_each(|(sum, score)| *sum += weight * score);
                    }
                }
                top::best(&sums, task.depth(), &mut list);
                let items = list.iter().map(|&(at, _)| case.items[at as usize]);
                total += quality(task, items, &validation.targets[place]);
            }
            total
        });
        parts.iter().sum::<f64>() / count(self.cases.len())
    }

    /// Weights by greedy steps: from the best single method, one weight is changed at a time
    /// as long as that helps by more than a breath.
    pub(crate) fn weigh(&self, validation: &Validation, task: Task, threads: usize) -> (Vec<f32>, f64) {
        let single = |method: usize| -> Vec<f32> { (0..self.methods).map(|m| if m == method { 1.0 } else { 0.0 }).collect() };
        let mut best = (vec![0.0; self.methods], f64::NEG_INFINITY);
        for method in 0..self.methods {
            let value = self.value(validation, task, &single(method), threads);
            if value > best.1 {
                best = (single(method), value);
            }
        }
        for _ in 0..6 {
            let before = best.1;
            for method in 0..self.methods {
                let now = best.0[method];
                let tried = FACTORS.map(|factor| if now == 0.0 { factor * 0.25 } else { factor * now });
                for weight in tried {
                    let mut weights = best.0.clone();
                    weights[method] = weight;
                    if weight == now || weights.iter().all(|&weight| weight == 0.0) {
                        continue;
                    }
                    let value = self.value(validation, task, &weights, threads);
                    if value > best.1 * 1.0002 {
                        best = (weights, value);
                    }
                }
            }
            if best.1 <= before * 1.0005 {
                break;
            }
        }
        best
    }
}

fn pooled(case: &Case, task: Task, methods: &[&Method], rows: &mut [Vec<f32>]) -> Pooled {
    let mut list = Vec::new();
    let mut items = Vec::new();
    for (method, row) in methods.iter().zip(rows.iter_mut()) {
        method.score(case, row);
        ban(row, Validation::banned(task, case));
        top::best(row, POOL, &mut list);
        items.extend(list.iter().map(|&(item, _)| item));
        let scale = scale(row, &mut list);
        row.iter_mut().for_each(|score| *score *= scale);
    }
    items.sort_unstable();
    items.dedup();
    let scores = rows.iter().flat_map(|row| items.iter().map(|&item| row[item as usize])).collect();
    Pooled { items, scores }
}
