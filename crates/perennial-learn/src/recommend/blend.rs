//! Blends: weighted sums of methods, with weights found on held-out questions.
//!
//! Scores of different methods have different scales. They are divided by the mean of a method's
//! ten best allowed scores, either each question's own (methods speak equally loudly to everybody)
//! or one for all questions (a customer with a long history hears more of it); validation decides.

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
    /// One scale per method.
    scales: Vec<f32>,
}

/// Weights that were found.
pub(crate) struct Weights {
    /// One per method.
    pub(crate) each: Vec<f32>,
    /// Whether each question has its own scale; if not, weights hold the common one.
    pub(crate) own_scale: bool,
    /// The quality reached.
    pub(crate) value: f64,
}

impl Pool {
    pub(crate) fn gather(validation: &Validation, task: Task, methods: &[&Method], threads: usize) -> Self {
        let parts = parallel::runs(validation.cases.len(), 32, threads, |range| {
            let mut rows = vec![vec![0.0; validation.corpus.items]; methods.len()];
            validation.cases[range].iter().map(|case| pooled(case, task, methods, &mut rows)).collect::<Vec<_>>()
        });
        Self { methods: methods.len(), cases: parts.into_iter().flatten().collect() }
    }

    /// Scales that are the same for all questions: one over the mean of the ten best scores.
    #[expect(clippy::cast_precision_loss, reason = "a count of questions")]
    fn common(&self) -> Vec<f32> {
        let mean = |method: usize| {
            let known = self.cases.iter().map(|case| case.scales[method]).filter(|&scale| scale > 0.0);
            known.map(|scale| 1.0 / scale).sum::<f32>() / self.cases.len().max(1) as f32
        };
        (0..self.methods).map(mean).map(|mean| if mean > 0.0 { 1.0 / mean } else { 0.0 }).collect()
    }

    /// The mean quality under some weights.
    fn value(
        &self,
        validation: &Validation,
        task: Task,
        weights: &[f32],
        common: Option<&[f32]>,
        threads: usize,
    ) -> f64 {
        let parts = parallel::runs(self.cases.len(), 128, threads, |range| {
            let (mut sums, mut list, mut total) = (Vec::new(), Vec::new(), 0.0);
            for place in range {
                let case = &self.cases[place];
                sums.clear();
                sums.resize(case.items.len(), 0.0);
                let scales = common.unwrap_or(&case.scales);
                let rows = case.scores.chunks_exact(case.items.len().max(1));
                for ((row, &weight), &scale) in rows.zip(weights).zip(scales) {
                    let weight = weight * scale;
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

    /// The better of the best weights under own and under common scales.
    pub(crate) fn weigh(&self, validation: &Validation, task: Task, threads: usize) -> Weights {
        let common = self.common();
        let own = self.climb(|weights| self.value(validation, task, weights, None, threads));
        let shared = self.climb(|weights| self.value(validation, task, weights, Some(&common), threads));
        if own.1 >= shared.1 {
            return Weights { each: own.0, own_scale: true, value: own.1 };
        }
        let weights = shared.0.iter().zip(&common).map(|(weight, scale)| weight * scale).collect();
        Weights { each: weights, own_scale: false, value: shared.1 }
    }

    /// Weights by greedy steps: from the best single method, one weight is changed at a time
    /// as long as that helps by more than a breath.
    fn climb(&self, value: impl Fn(&[f32]) -> f64) -> (Vec<f32>, f64) {
        let single =
            |method: usize| -> Vec<f32> { (0..self.methods).map(|m| if m == method { 1.0 } else { 0.0 }).collect() };
        let singles = (0..self.methods).map(|method| (single(method), value(&single(method))));
        let Some(mut best) = singles.max_by(|a, b| a.1.total_cmp(&b.1)) else {
            return (Vec::new(), 0.0);
        };
        for _ in 0..5 {
            let before = best.1;
            for method in 0..self.methods {
                let now = best.0[method];
                for weight in FACTORS.map(|factor| if now == 0.0 { factor * 0.25 } else { factor * now }) {
                    let mut weights = best.0.clone();
                    weights[method] = weight;
                    if weight.to_bits() == now.to_bits() || weights.iter().all(|&weight| weight == 0.0) {
                        continue;
                    }
                    let value = value(&weights);
                    if value > best.1 * 1.0002 {
                        best = (weights, value);
                    }
                }
            }
            if best.1 <= before * 1.001 {
                break;
            }
        }
        best
    }
}

fn pooled(case: &Case, task: Task, methods: &[&Method], rows: &mut [Vec<f32>]) -> Pooled {
    let mut list = Vec::new();
    let (mut items, mut scales) = (Vec::new(), Vec::new());
    for (method, row) in methods.iter().zip(rows.iter_mut()) {
        method.score(case, row);
        ban(row, Validation::banned(task, case));
        top::best(row, POOL, &mut list);
        items.extend(list.iter().map(|&(item, _)| item));
        scales.push(scale(row, &mut list));
    }
    items.sort_unstable();
    items.dedup();
    let scores = rows.iter().flat_map(|row| items.iter().map(|&item| row[item as usize])).collect();
    Pooled { items, scores, scales }
}
