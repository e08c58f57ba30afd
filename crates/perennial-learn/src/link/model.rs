//! Fellegi-Sunter weights, learnt without labels by expectation maximisation.
//!
//! A pair's score is a sum: the prior log-odds that two records are one person, and for each
//! comparison the log of `m / u`, the chance of its level among true pairs over that among
//! strangers (Fellegi and Sunter 1969; EM after Winkler 1988). `u` comes from random pairs, `m`
//! and the prior from candidate pairs. Exact agreement is weighed by the value: sharing a rare
//! surname says more than sharing "smith" (Winkler 2000), and copies of one person do not make
//! their values common.
//! Absent on purpose: clusters. This module knows pairs only.

use serde::{Deserialize, Serialize};

use super::cluster::Told;
use super::compare::{self, EXACT};
use super::kind::Kind;
use super::plan::Prepared;
use super::table::MISSING;
use crate::seed::{self, Rng};

/// Random pairs from which the chances among strangers are counted.
const RANDOM_PAIRS: usize = 200_000;
/// Rounds of expectation maximisation at most.
const ROUNDS: usize = 60;
/// True pairs that one answer stands for.
const ANSWER_COUNTS: f64 = 5.0;
/// Converged when the expected number of matches moves by less than this share.
const STILL: f64 = 1e-5;
/// Pseudo-observations that keep a chance away from zero.
const PSEUDO: f64 = 0.3;

/// Learnt weights of a plan's comparisons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// Chance that two records drawn at random are one person.
    pub prior: f64,
    /// One entry per comparison.
    pub fields: Vec<FieldWeights>,
}

/// Chances of the levels of one comparison; index 0 is the first level, exact agreement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldWeights {
    /// Among pairs that are one person.
    pub m: Vec<f64>,
    /// Among strangers.
    pub u: Vec<f64>,
}

/// A candidate pair: rows, packed levels, and how rare the values are that both share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) left: u32,
    pub(super) right: u32,
    /// Sum of `-ln share` over the comparisons that agree exactly.
    pub(super) rarity: f32,
    pub(super) levels: u64,
}

/// Score tables for quick sums: `[comparison][level]`, level 0 (missing) being no evidence.
#[derive(Debug, Clone)]
pub(super) struct Scores {
    pub(super) prior: f64,
    pub(super) table: Vec<[f64; 16]>,
}

impl Weights {
    /// A first guess: agreement is likely among true pairs, each further level less so.
    fn guess(prepared: &Prepared) -> Self {
        let fields = prepared.fields.iter().map(|field| {
            let levels = field.kind.levels().len();
            let mut m = falling(field.kind.whole_levels());
            m.extend(falling(levels - m.len()));
            FieldWeights { m, u: vec![1.0 / whole(levels); levels] }
        });
        Self { prior: 1.0 / whole(prepared.rows), fields: fields.collect() }
    }

    /// Tables for quick sums. Exact agreement lacks its `-ln share`, which depends on the value.
    pub(super) fn scores(&self) -> Scores {
        let table = self.fields.iter().map(|field| {
            let mut row = [0.0; 16];
            for (level, (m, u)) in field.m.iter().zip(&field.u).enumerate() {
                row[level + 1] = if level == 0 { m.ln() } else { (m / u).ln() };
            }
            row
        });
        Scores { prior: (self.prior / (1.0 - self.prior)).ln(), table: table.collect() }
    }
}

impl Scores {
    /// Log-odds that a candidate pair is one person.
    pub(super) fn log_odds(&self, candidate: &Candidate) -> f64 {
        let mut sum = self.prior + f64::from(candidate.rarity);
        let mut levels = candidate.levels;
        for row in &self.table {
            sum += row[(levels & 15) as usize];
            levels >>= 4;
        }
        sum
    }

    /// The weight of one comparison of a pair, in natural logarithms.
    pub(super) fn weight(&self, prepared: &Prepared, at: usize, level: usize, code: u32) -> f64 {
        let rarity =
            if level == usize::from(EXACT) { -f64::from(prepared.fields[at].log_share[code as usize]) } else { 0.0 };
        self.table[at][level] + rarity
    }
}

impl Candidate {
    /// Reckons the rarity anew after the shares of values have changed.
    pub(super) fn refresh(&mut self, prepared: &Prepared) {
        self.rarity = rarity(prepared, self.left, self.levels);
    }
}

/// Pairs that are compared together, so that memory is fetched for many at once.
pub(super) struct Batch<'a, F> {
    prepared: &'a Prepared,
    pairs: Vec<(u32, u32)>,
    levels: Vec<u64>,
    found: F,
}

/// Pairs compared together.
const BATCH: usize = 128;

impl<'a, F: FnMut(Candidate)> Batch<'a, F> {
    pub(super) fn new(prepared: &'a Prepared, found: F) -> Self {
        Self { prepared, pairs: Vec::with_capacity(BATCH), levels: Vec::with_capacity(BATCH), found }
    }

    /// Adds a pair; pairs are compared when the batch is full.
    pub(super) fn add(&mut self, left: u32, right: u32) {
        self.pairs.push((left.min(right), left.max(right)));
        if self.pairs.len() == BATCH {
            self.flush();
        }
    }

    /// Compares what is left.
    pub(super) fn flush(&mut self) {
        compare::levels_of_many(self.prepared, &self.pairs, &mut self.levels);
        for (&(left, right), &levels) in self.pairs.iter().zip(&self.levels) {
            (self.found)(Candidate { left, right, rarity: rarity(self.prepared, left, levels), levels });
        }
        self.pairs.clear();
    }
}

/// Sum of `-ln share` over the comparisons that agree exactly.
fn rarity(prepared: &Prepared, left: u32, levels: u64) -> f32 {
    let codes = prepared.row(left as usize);
    let exact = |&(at, _): &(usize, &u32)| compare::level_at(levels, at) == usize::from(EXACT);
    codes.iter().enumerate().filter(exact).map(|(at, &code)| -prepared.fields[at].log_share[code as usize]).sum()
}

/// Probability from log-odds.
pub(super) fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Learns weights from candidate pairs (distinct, nearly all true pairs among them) and random
/// ones. `start` continues from earlier weights.
pub(super) fn learn(
    prepared: &Prepared,
    candidates: &[Candidate],
    random: &[Candidate],
    told: &Told,
    start: Option<&Weights>,
) -> Weights {
    let is_told = |(at, candidate): (usize, &Candidate)| Some((at, *told.get(&(candidate.left, candidate.right))?));
    let answers: Vec<(usize, bool)> =
        if told.is_empty() { Vec::new() } else { candidates.iter().enumerate().filter_map(is_told).collect() };
    let mut weights = start.cloned().unwrap_or_else(|| Weights::guess(prepared));
    let all_pairs = pair_count(prepared.rows);
    strangers(prepared, random, &weights.scores(), &mut weights, start.is_none());
    let mut before = 0.0;
    for round in 0..ROUNDS {
        let matches = maximise(prepared, candidates, &answers, &mut weights, all_pairs);
        if round % 5 == 1 {
            strangers(prepared, random, &weights.scores(), &mut weights, false);
        }
        if (matches - before).abs() < STILL * matches {
            break;
        }
        before = matches;
    }
    weights
}

/// One round: expected levels among true pairs, then new `m` and prior. Returns the expected
/// number of true pairs.
fn maximise(
    prepared: &Prepared,
    candidates: &[Candidate],
    answers: &[(usize, bool)],
    weights: &mut Weights,
    all_pairs: f64,
) -> f64 {
    let scores = weights.scores();
    let mut seen = vec![[0.0f64; 16]; prepared.fields.len()];
    let mut matches = 0.0;
    for candidate in candidates {
        let p = probability(scores.log_odds(candidate));
        if p < 1e-6 {
            continue;
        }
        matches += p;
        tally(&mut seen, candidate.levels, p);
    }
    for &(at, same) in answers {
        let p = probability(scores.log_odds(&candidates[at]));
        tally(&mut seen, candidates[at].levels, ANSWER_COUNTS * f64::from(u8::from(same)) - p);
    }
    for ((field, seen), values) in weights.fields.iter_mut().zip(&seen).zip(&prepared.fields) {
        field.m = grouped(&seen[1..=field.m.len()], values.kind);
        cap_difference(&mut field.m[..values.kind.whole_levels()]);
    }
    weights.prior = (matches.max(0.5) / all_pairs).clamp(1e-15, 0.9);
    matches
}

fn tally(seen: &mut [[f64; 16]], mut levels: u64, amount: f64) {
    for row in seen {
        row[(levels & 15) as usize] += amount;
        levels >>= 4;
    }
}

/// Chances of levels among strangers, from random pairs less those that are probably matches.
fn strangers(prepared: &Prepared, random: &[Candidate], scores: &Scores, weights: &mut Weights, all: bool) {
    let mut seen = vec![[0.0f64; 16]; prepared.fields.len()];
    for candidate in random {
        let p = if all { 0.0 } else { probability(scores.log_odds(candidate)) };
        tally(&mut seen, candidate.levels, 1.0 - p);
    }
    for ((field, seen), values) in weights.fields.iter_mut().zip(&seen).zip(&prepared.fields) {
        let rests = field.u.split_off(values.kind.whole_levels());
        field.u = chances(&seen[1..=field.u.len()], PSEUDO);
        field.u.extend(rests);
        field.u[0] = field.u[0].max(values.collision * 1e-3);
    }
    if all {
        strangers_rests(prepared, random, weights);
    }
}

/// Chances among strangers of what is left of values that are built from others. Rests do not
/// depend on the parts that were taken out, so all random pairs count.
fn strangers_rests(prepared: &Prepared, random: &[Candidate], weights: &mut Weights) {
    for at in prepared.built() {
        let rests: Vec<String> = (0..prepared.rows).map(|row| prepared.rest(at, row)).collect();
        let start = prepared.fields[at].kind.whole_levels();
        let mut seen = [0.0; 3];
        for pair in random {
            let (a, b) = (&rests[pair.left as usize], &rests[pair.right as usize]);
            if !a.is_empty() && !b.is_empty() {
                seen[usize::from(compare::rest_level(a, b)) - start - 1] += 1.0;
            }
        }
        weights.fields[at].u.splice(start.., chances(&seen, PSEUDO));
    }
}

/// Falling chances for a first guess: agreement is likely, difference is not.
fn falling(levels: usize) -> Vec<f64> {
    let mut chances = vec![0.25 / whole(levels.saturating_sub(2)).max(1.0); levels];
    if let Some(first) = chances.first_mut() {
        *first = 0.65;
    }
    if let Some(last) = chances.last_mut() {
        *last = 0.1;
    }
    chances
}

/// True pairs differ in at most this share of cases; without it, groups of strangers who share a
/// name may pass for the people sought.
const MOST_DIFFERENCE: f64 = 0.35;

/// Takes from the last level what it has too much.
fn cap_difference(m: &mut [f64]) {
    let Some((last, others)) = m.split_last_mut() else {
        return;
    };
    if *last > MOST_DIFFERENCE {
        let scale = (1.0 - MOST_DIFFERENCE) / (1.0 - *last);
        for chance in others {
            *chance *= scale;
        }
        *last = MOST_DIFFERENCE;
    }
}

/// Chances of levels of whole values and of rests, which each add up to one.
fn grouped(seen: &[f64], kind: Kind) -> Vec<f64> {
    let (wholes, rests) = seen.split_at(kind.whole_levels());
    let mut chances_of_all = chances(wholes, PSEUDO);
    chances_of_all.extend(chances(rests, PSEUDO));
    chances_of_all
}

fn chances(seen: &[f64], pseudo: f64) -> Vec<f64> {
    let total: f64 = seen.iter().map(|count| count.max(0.0) + pseudo).sum();
    seen.iter().map(|count| (count.max(0.0) + pseudo) / total).collect()
}

/// Random pairs of distinct rows; all pairs when they are few.
pub(super) fn random_pairs(prepared: &Prepared, rng: &mut impl Rng) -> Vec<Candidate> {
    let rows = prepared.rows;
    let mut pairs = Vec::new();
    let mut batch = Batch::new(prepared, |candidate| pairs.push(candidate));
    if pair_count(rows) <= whole(RANDOM_PAIRS) {
        for left in 0..rows {
            (left + 1..rows).for_each(|right| batch.add(index(left), index(right)));
        }
    } else {
        for _ in 0..RANDOM_PAIRS {
            let left = seed::below(rng, rows);
            let step = 1 + seed::below(rng, rows - 1);
            batch.add(index(left), index((left + step) % rows));
        }
    }
    batch.flush();
    pairs
}

/// Corrects the shares of values for copies of one person: a value that only one person's records
/// hold is as rare as a value seen once.
pub(super) fn discount_copies(
    prepared: &mut Prepared,
    candidates: &mut [Candidate],
    scores: &Scores,
    counts: &[Vec<u32>],
) {
    let mut matched: Vec<Vec<f32>> = counts.iter().map(|counts| vec![0.0; counts.len()]).collect();
    for candidate in candidates.iter() {
        #[expect(clippy::cast_possible_truncation, reason = "a share needs no more than single precision")]
        let p = probability(scores.log_odds(candidate)) as f32;
        for (at, &code) in prepared.row(candidate.left as usize).iter().enumerate() {
            if compare::level_at(candidate.levels, at) == usize::from(EXACT) {
                matched[at][code as usize] += p;
            }
        }
    }
    for ((field, counts), matched) in prepared.fields.iter_mut().zip(counts).zip(&matched) {
        let present: f64 = counts.iter().skip(1).map(|&count| f64::from(count)).sum();
        for ((share, &count), &copies) in field.log_share.iter_mut().zip(counts).zip(matched).skip(1) {
            let count = f64::from(count.max(1));
            let strangers = (count - 2.0 * f64::from(copies) / count).max(1.0);
            #[expect(clippy::cast_possible_truncation, reason = "a logarithm needs no more than single precision")]
            let log = (strangers / present.max(1.0)).ln() as f32;
            *share = log;
        }
    }
    for candidate in candidates {
        candidate.rarity = rarity(prepared, candidate.left, candidate.levels);
    }
}

/// How often each code occurs, per comparison; the missing count nothing.
pub(super) fn counts(prepared: &Prepared) -> Vec<Vec<u32>> {
    let mut counts: Vec<Vec<u32>> = prepared.fields.iter().map(|field| vec![0; field.values.len()]).collect();
    for row in 0..prepared.rows {
        for (counts, &code) in counts.iter_mut().zip(prepared.row(row)) {
            counts[code as usize] += u32::from(code != MISSING);
        }
    }
    counts
}

/// Number of unordered pairs of rows.
pub(super) fn pair_count(rows: usize) -> f64 {
    whole(rows) * (whole(rows) - 1.0) / 2.0
}

#[expect(clippy::cast_precision_loss, reason = "row counts fit a double exactly")]
pub(super) fn whole(count: usize) -> f64 {
    count as f64
}

/// A row number; tables are held below four billion rows.
pub(super) fn index(row: usize) -> u32 {
    u32::try_from(row).expect("the table was held below four billion rows")
}
