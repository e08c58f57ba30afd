//! What a linkage can say about itself: why a pair was judged as it was, how often a threshold
//! errs, and which pairs a person should look at next.
//!
//! Promise: an explanation's weights add up to its total, and the total gives the probability.
//! Error rates are expectations under the learnt model, over the pairs that were compared; pairs
//! that no blocking rule brought together are not in them.
//! Absent on purpose: truth. Measuring against labels is the caller's affair.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::compare::{self, ABSENT};
use super::model::{self, Candidate, whole};
use super::{LinkError, Linkage};

/// Why two rows were judged as they were; weights are in bits (logarithms to base 2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Log-odds before looking at any value.
    pub prior_bits: f64,
    /// One part per comparison.
    pub parts: Vec<Part>,
    /// The prior and all weights together.
    pub total_bits: f64,
    /// Probability that the two rows are one person, in `[0, 1]`.
    pub probability: f64,
}

/// What one comparison adds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Name of the column.
    pub column: String,
    /// The first row's value, as compared.
    pub left: Option<String>,
    /// The second row's value, as compared.
    pub right: Option<String>,
    /// What was found, such as "one letter off"; "not comparable" where a value is missing.
    pub found: String,
    /// Bits for one person (positive) or for strangers (negative).
    pub weight_bits: f64,
}

/// What to expect of a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ErrorRates {
    /// Pairs count as one person from this probability on.
    pub threshold: f64,
    /// Pairs at or above it.
    pub pairs: usize,
    /// Expected share of strangers among them.
    pub false_share: f64,
    /// Expected share of the true pairs that lie below it.
    pub missed_share: f64,
}

/// A doubtful pair that is worth a person's look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The lower row.
    pub left: u32,
    /// The higher row.
    pub right: u32,
    /// Probability that they are one person.
    pub probability: f64,
    /// Doubtful pairs that agree and differ in the same way; an answer speaks for them too.
    pub alike: usize,
}

/// A person's answer about two rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// One row.
    pub left: u32,
    /// The other row.
    pub right: u32,
    /// Whether they are one person.
    pub same: bool,
}

/// Pairs between these probabilities are doubtful.
const DOUBTFUL: std::ops::RangeInclusive<f64> = 0.02..=0.98;

impl Linkage {
    /// Explains how two rows compare, whether or not they were compared before.
    ///
    /// # Errors
    /// A row outside the table, or a row compared with itself.
    pub fn explain(&self, left: usize, right: usize) -> Result<Explanation, LinkError> {
        if left == right {
            return Err(LinkError::SameRow { row: left });
        }
        if let Some(row) = [left, right].into_iter().find(|&row| row >= self.prepared.rows) {
            return Err(LinkError::NoSuchRow { row, rows: self.prepared.rows });
        }
        let levels = compare::levels(&self.prepared, left, right);
        let scores = self.model.weights.scores();
        let parts: Vec<Part> =
            (0..self.prepared.fields.len()).map(|at| self.part(&scores, at, levels, (left, right))).collect();
        let prior_bits = scores.prior / std::f64::consts::LN_2;
        let total_bits = prior_bits + parts.iter().map(|part| part.weight_bits).sum::<f64>();
        Ok(Explanation {
            prior_bits,
            parts,
            total_bits,
            probability: model::probability(total_bits * std::f64::consts::LN_2),
        })
    }

    fn part(&self, scores: &model::Scores, at: usize, levels: u64, (left, right): (usize, usize)) -> Part {
        let (field, level) = (&self.prepared.fields[at], compare::level_at(levels, at));
        let code = self.prepared.row(left)[at];
        let text =
            |row: usize| Some(field.values.get(self.prepared.row(row)[at]).to_owned()).filter(|text| !text.is_empty());
        let absent = level == usize::from(ABSENT);
        Part {
            column: self.model.plan[at].name.clone(),
            left: text(left),
            right: text(right),
            found: if absent { "not comparable".to_owned() } else { field.kind.levels()[level - 1].to_owned() },
            weight_bits: if absent {
                0.0
            } else {
                scores.weight(&self.prepared, at, level, code) / std::f64::consts::LN_2
            },
        }
    }

    /// Expected error rates of the given thresholds.
    pub fn error_rates(&self, thresholds: &[f64]) -> Vec<ErrorRates> {
        let mut probabilities: Vec<f64> = self.pairs.iter().map(|pair| pair.probability).collect();
        probabilities.sort_unstable_by(|a, b| b.total_cmp(a));
        let expected: f64 = probabilities.iter().sum();
        let rates = |&threshold: &f64| {
            let pairs = probabilities.partition_point(|&probability| probability >= threshold);
            let right: f64 = probabilities[..pairs].iter().sum();
            let false_share = if pairs == 0 { 0.0 } else { 1.0 - right / whole(pairs) };
            let missed_share = if expected > 0.0 { 1.0 - right / expected } else { 0.0 };
            ErrorRates {
                threshold,
                pairs,
                false_share: false_share.max(0.0),
                missed_share: missed_share.clamp(0.0, 1.0),
            }
        };
        thresholds.iter().map(rates).collect()
    }

    /// The lowest threshold at which at most this share of the pairs said to be one person is
    /// expected to be strangers; 1 when no threshold does it.
    pub fn threshold_for(&self, false_share: f64) -> f64 {
        let mut probabilities: Vec<f64> = self.pairs.iter().map(|pair| pair.probability).collect();
        probabilities.sort_unstable_by(|a, b| b.total_cmp(a));
        let (mut right, mut lowest) = (0.0, 1.0);
        for (at, probability) in probabilities.into_iter().enumerate() {
            right += probability;
            if 1.0 - right / whole(at + 1) > false_share {
                break;
            }
            lowest = probability;
        }
        lowest
    }

    /// The `most` questions whose answers would tell most.
    ///
    /// Doubtful pairs that compare in the same way form a group; groups take turns by how much
    /// doubt they hold together, and the most doubtful pair of a group comes first (uncertainty
    /// sampling with diversity, Settles 2009). Give the answers to [`super::link_with`].
    pub fn questions(&self, most: usize) -> Vec<Question> {
        let scores = self.model.weights.scores();
        let mut groups: BTreeMap<u64, Vec<(f64, &Candidate)>> = BTreeMap::new();
        for candidate in &self.kept {
            let probability = model::probability(scores.log_odds(candidate));
            if DOUBTFUL.contains(&probability) && !self.answered(candidate) {
                groups.entry(candidate.levels).or_default().push((probability, candidate));
            }
        }
        let mut queue: Vec<(f64, Vec<(f64, &Candidate)>)> = groups.into_values().map(most_doubtful_first).collect();
        queue.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1[0].1.levels.cmp(&b.1[0].1.levels)));
        let deepest = queue.iter().map(|(_, group)| group.len()).max().unwrap_or(0);
        let turns = (0..deepest)
            .flat_map(|turn| queue.iter().filter_map(move |(_, group)| Some((group.get(turn)?, group.len()))));
        turns
            .take(most)
            .map(|(&(probability, pair), alike)| Question { left: pair.left, right: pair.right, probability, alike })
            .collect()
    }

    fn answered(&self, candidate: &Candidate) -> bool {
        self.told.contains_key(&(candidate.left, candidate.right))
    }
}

/// A group's total doubt, and its pairs from the most doubtful on.
fn most_doubtful_first(mut group: Vec<(f64, &Candidate)>) -> (f64, Vec<(f64, &Candidate)>) {
    let doubt = group.iter().map(|(probability, _)| probability * (1.0 - probability)).sum();
    let key = |(probability, pair): &(f64, &Candidate)| ((probability - 0.5).abs(), pair.left, pair.right);
    group.sort_by(|a, b| key(a).0.total_cmp(&key(b).0).then((key(a).1, key(a).2).cmp(&(key(b).1, key(b).2))));
    (doubt, group)
}
