//! A small trained classifier: words and characters, linear, in seconds.
//!
//! Features are word pairs and singles and character runs of two to five within words, each block
//! by sublinear term frequency and inverse document frequency at unit length, plus the lexicon's
//! four scores. One linear machine per label (a single one for two labels) is trained by dual
//! coordinate descent on the squared hinge loss (Hsieh et al. 2008). Scores become probabilities
//! by a temperature learnt on sentences held out from training.

use super::lexicon::Lexicon;
use crate::input::{BadInput, Problem, real, same_length};
use crate::seed::{Rng, below, generator};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How strongly errors count against simplicity.
const COST: f64 = 1.0;
/// Passes at most.
const PASSES: usize = 30;
/// What the lexicon's scores are multiplied with.
const LEXICON_WEIGHT: f64 = 2.0;
pub(super) const LEXICON_FEATURES: usize = 4;

/// A trained model: plain data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Classifier {
    /// The labels, sorted.
    pub labels: Vec<String>,
    /// Hashes of the known pieces of text, ascending.
    pub(super) keys: Vec<u64>,
    /// The inverse document frequency of each.
    pub(super) rarity: Vec<f32>,
    /// One row per machine: a weight per key, then the lexicon's, then the intercept.
    pub(super) weights: Vec<Vec<f32>>,
    /// Scores are multiplied with it before they become probabilities.
    pub(super) sharpness: f64,
}

/// What the model thinks of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The position of the likeliest label in [`Classifier::labels`].
    pub label: usize,
    /// The probability of each label.
    pub probabilities: Vec<f64>,
}

/// A sparse row: positions and values.
type Row = Vec<(u32, f32)>;

/// Mixes bytes into a 64-bit hash; `kind` keeps words and characters apart.
fn hash(kind: u64, text: &[u8]) -> u64 {
    let mut h = kind.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x2545_F491_4F6C_DD1D;
    for &b in text {
        h = (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01B3);
        h ^= h >> 31;
    }
    h.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The pieces of a text with their counts, words and characters apart, in order of hash.
fn pieces(text: &str) -> [Vec<(u64, f32)>; 2] {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|w| !w.is_empty()).collect();
    let mut singles: Vec<u64> = words.iter().map(|w| hash(1, w.as_bytes())).collect();
    singles.extend(words.windows(2).map(|w| hash(2, w.join(" ").as_bytes())));
    let mut runs = Vec::with_capacity(lower.len() * 4);
    for word in lower.split_whitespace() {
        let padded = format!(" {word} ");
        let mut starts: Vec<usize> = padded.char_indices().map(|(i, _)| i).collect();
        starts.push(padded.len());
        for length in 2..=5 {
            for pair in starts.windows(length + 1) {
                runs.push(hash(3, &padded.as_bytes()[pair[0]..pair[length]]));
            }
        }
    }
    [counted(singles), counted(runs)]
}

fn counted(mut hashes: Vec<u64>) -> Vec<(u64, f32)> {
    hashes.sort_unstable();
    let mut out: Vec<(u64, f32)> = Vec::with_capacity(hashes.len());
    for h in hashes {
        match out.last_mut() {
            Some(last) if last.0 == h => last.1 += 1.0,
            _ => out.push((h, 1.0)),
        }
    }
    out
}

#[expect(clippy::cast_possible_truncation, reason = "weights need no more than single precision")]
fn single(x: f64) -> f32 {
    x as f32
}

impl Classifier {
    /// Learns from labelled texts. The order of texts and the seed decide nothing but rounding.
    ///
    /// # Errors
    /// When lengths differ, there are fewer than ten texts or only one label.
    pub fn train(texts: &[&str], labels: &[&str], seed: u64) -> Result<Self, BadInput> {
        Self::train_small(texts, labels, usize::MAX, seed)
    }

    /// [`Self::train`] for a model that knows at most `most` pieces of text: those that weigh most in a
    /// model of all pieces; their weights are then learnt anew.
    ///
    /// # Errors
    /// As [`Self::train`].
    pub fn train_small(texts: &[&str], labels: &[&str], most: usize, seed: u64) -> Result<Self, BadInput> {
        same_length("labels", labels.len(), texts.len())?;
        if texts.len() < 10 {
            let problem = Problem::TooFew { found: texts.len(), needed: 10 };
            return Err(BadInput::new("texts", problem, "label more texts"));
        }
        let mut names: Vec<String> = labels.iter().map(|l| (*l).to_owned()).collect();
        names.sort();
        names.dedup();
        if names.len() < 2 {
            return Err(BadInput::new("labels", Problem::OneClass, "give texts of two labels at least"));
        }
        let targets: Vec<usize> = labels.iter().map(|l| names.partition_point(|n| n.as_str() < *l)).collect();
        let mut model = Self::vocabulary(texts, names);
        let lexicon = Lexicon::new();
        if model.keys.len() > most {
            let rows: Vec<Row> = texts.iter().map(|t| model.row(t, &lexicon)).collect();
            model.weights = model.machines(&rows, &targets, |_| true, seed);
            model.keep_strongest(most);
        }
        let rows: Vec<Row> = texts.iter().map(|t| model.row(t, &lexicon)).collect();
        // A fifth is held out once to learn how sharp scores are; the model itself uses all.
        let mut rng = generator(seed);
        let held: Vec<bool> = (0..rows.len()).map(|_| below(&mut rng, 5) == 0).collect();
        model.weights = model.machines(&rows, &targets, |i| !held[i], seed);
        model.sharpness = model.learn_sharpness(&rows, &targets, &held);
        model.weights = model.machines(&rows, &targets, |_| true, seed);
        Ok(model)
    }

    fn vocabulary(texts: &[&str], labels: Vec<String>) -> Self {
        let mut documents: BTreeMap<u64, u32> = BTreeMap::new();
        for text in texts {
            for (h, _) in pieces(text).into_iter().flatten() {
                *documents.entry(h).or_default() += 1;
            }
        }
        let n = real(texts.len());
        let rarity = documents.values().map(|d| single(((1.0 + n) / (1.0 + f64::from(*d))).ln() + 1.0)).collect();
        Self { labels, keys: documents.into_keys().collect(), rarity, weights: Vec::new(), sharpness: 1.0 }
    }

    /// Forgets all but the pieces of text that weigh most.
    fn keep_strongest(&mut self, most: usize) {
        let strength = |at: usize| self.rarity[at] * self.weights.iter().map(|machine| machine[at].abs()).sum::<f32>();
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_by(|&a, &b| strength(b).total_cmp(&strength(a)).then(a.cmp(&b)));
        order.truncate(most);
        order.sort_unstable();
        self.rarity = order.iter().map(|&at| self.rarity[at]).collect();
        self.keys = order.iter().map(|&at| self.keys[at]).collect();
        self.weights.clear();
    }

    fn width(&self) -> usize {
        self.keys.len() + LEXICON_FEATURES + 1
    }

    fn row(&self, text: &str, lexicon: &Lexicon) -> Row {
        let mut row = Row::new();
        for block in pieces(text) {
            let from = row.len();
            let mut square = 0.0f32;
            for (h, count) in block {
                if let Ok(at) = self.keys.binary_search(&h) {
                    let value = (1.0 + count.ln()) * self.rarity[at];
                    square += value * value;
                    row.push((as_position(at), value));
                }
            }
            let length = square.sqrt().max(1e-12);
            row[from..].iter_mut().for_each(|(_, v)| *v /= length);
        }
        let s = lexicon.score(text);
        for (j, score) in [s.negative, s.neutral, s.positive, s.compound].into_iter().enumerate() {
            row.push((as_position(self.keys.len() + j), single(LEXICON_WEIGHT * score)));
        }
        row.push((as_position(self.width() - 1), 1.0));
        row
    }

    fn machines(&self, rows: &[Row], targets: &[usize], used: impl Fn(usize) -> bool, seed: u64) -> Vec<Vec<f32>> {
        let picks: Vec<usize> = (0..rows.len()).filter(|&i| used(i)).collect();
        let squares: Vec<f64> = rows.iter().map(|r| r.iter().map(|(_, v)| f64::from(*v).powi(2)).sum()).collect();
        let positives: Vec<usize> = if self.labels.len() == 2 { vec![1] } else { (0..self.labels.len()).collect() };
        positives
            .into_iter()
            .map(|label| machine(rows, &squares, &picks, |i| targets[i] == label, self.width(), seed))
            .collect()
    }

    fn scores(&self, row: &Row) -> Vec<f64> {
        let one = |w: &Vec<f32>| row.iter().map(|&(j, v)| f64::from(w[j as usize] * v)).sum::<f64>();
        match self.weights.as_slice() {
            [only] => {
                let s = one(only);
                vec![-s, s]
            }
            all => all.iter().map(one).collect(),
        }
    }

    fn learn_sharpness(&self, rows: &[Row], targets: &[usize], held: &[bool]) -> f64 {
        let scored: Vec<(Vec<f64>, usize)> =
            (0..rows.len()).filter(|&i| held[i]).map(|i| (self.scores(&rows[i]), targets[i])).collect();
        let loss =
            |sharpness: f64| -> f64 { scored.iter().map(|(s, t)| -softmax(s, sharpness)[*t].max(1e-12).ln()).sum() };
        let steps = (-20..=30).map(|i| 2.0f64.powf(f64::from(i) * 0.2));
        steps.min_by(|a, b| loss(*a).total_cmp(&loss(*b))).unwrap_or(1.0)
    }

    /// Classifies one text.
    pub fn predict(&self, text: &str, lexicon: &Lexicon) -> Prediction {
        let probabilities = softmax(&self.scores(&self.row(text, lexicon)), self.sharpness);
        let mut label = 0;
        for (i, p) in probabilities.iter().enumerate() {
            if *p > probabilities[label] {
                label = i;
            }
        }
        Prediction { label, probabilities }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "vocabularies are shorter than 2^32")]
fn as_position(at: usize) -> u32 {
    at as u32
}

fn softmax(scores: &[f64], sharpness: f64) -> Vec<f64> {
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let raised: Vec<f64> = scores.iter().map(|s| ((s - top) * sharpness).exp()).collect();
    let total: f64 = raised.iter().sum();
    raised.into_iter().map(|r| r / total).collect()
}

/// Dual coordinate descent on `|w|^2 / 2 + COST * sum max(0, 1 - y w x)^2`; rows whose multiplier
/// rests at zero are put aside until the others have settled.
fn machine(
    rows: &[Row],
    squares: &[f64],
    picks: &[usize],
    positive: impl Fn(usize) -> bool,
    width: usize,
    seed: u64,
) -> Vec<f32> {
    let diagonal = 0.5 / COST;
    let mut w = vec![0.0f32; width];
    let mut multipliers = vec![0.0f64; rows.len()];
    let mut active = picks.to_vec();
    let mut rng = generator(seed);
    let mut last_top = f64::INFINITY;
    for _ in 0..PASSES {
        shuffle(&mut active, &mut rng);
        let (mut top, mut bottom) = (f64::NEG_INFINITY, f64::INFINITY);
        active.retain(|&i| {
            let y = if positive(i) { 1.0 } else { -1.0 };
            let margin: f32 = rows[i].iter().map(|&(j, v)| w[j as usize] * v).sum();
            let gradient = y * f64::from(margin) - 1.0 + multipliers[i] * diagonal;
            if multipliers[i] == 0.0 && gradient > last_top {
                return false;
            }
            let projected = if multipliers[i] == 0.0 { gradient.min(0.0) } else { gradient };
            (top, bottom) = (top.max(projected), bottom.min(projected));
            if projected.abs() > 1e-12 {
                let before = multipliers[i];
                multipliers[i] = (before - gradient / (squares[i] + diagonal)).max(0.0);
                let step = single((multipliers[i] - before) * y);
                rows[i].iter().for_each(|&(j, v)| w[j as usize] += step * v);
            }
            true
        });
        if top - bottom < 0.05 {
            if active.len() == picks.len() {
                break;
            }
            active = picks.to_vec();
            last_top = f64::INFINITY;
        } else {
            last_top = if top > 0.0 { top } else { f64::INFINITY };
        }
    }
    w
}

fn shuffle(order: &mut [usize], rng: &mut impl Rng) {
    for i in (1..order.len()).rev() {
        order.swap(i, below(rng, i + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_characters_tell_intents_apart() {
        let (mut texts, mut labels) = (Vec::new(), Vec::new());
        for i in 0..12 {
            for (text, label) in [
                ("where is my parcel", "delivery"),
                ("refund my money please", "refund"),
                ("reset the password", "account"),
            ] {
                texts.push(format!("{text} number {i}"));
                labels.push(label);
            }
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let model = Classifier::train(&texts, &labels, 1).unwrap();
        let lexicon = Lexicon::new();
        let told = |text: &str| model.labels[model.predict(text, &lexicon).label].clone();
        assert_eq!(told("my parcel is missing"), "delivery");
        assert_eq!(told("i forgot my passwrd"), "account");
        let p = model.predict("refund", &lexicon).probabilities;
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn one_label_or_few_texts_are_refused() {
        assert!(Classifier::train(&["a"; 20], &["x"; 20], 0).is_err());
        assert!(Classifier::train(&["a"], &["x"], 0).is_err());
    }
}
