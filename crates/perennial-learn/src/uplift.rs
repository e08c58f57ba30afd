//! Uplift: whom a message changes, not who would have bought anyway.
//!
//! Learners S, T, X (Künzel et al. 2019), class transformation (Jaskowski & Jaroszewicz 2012, as
//! transformed outcome), the doubly robust learner (Kennedy 2023) and a forest ([`forest`]). The
//! automatic entry [`fit`] trains them on folds, weighs them by how well they foretell doubly robust
//! effects of rows left out, and says how sure it is that effects differ at all. Promise: treatment is
//! taken to be random with a constant share; [`metrics`] measures any ranking. Absent on purpose:
//! treatments chosen by someone; see `causal`.

#![allow(clippy::float_cmp, reason = "values that were copied or counted are compared, not computed ones")]

mod forest;
pub mod metrics;

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::{
    boosting::{self, Ensemble, Loss, Settings},
    input::{self, BadInput, same_length},
    optimise::solve_dense,
    parallel,
    propensity::{self, Propensity},
    table::{Column, Table, stratified_folds},
};

/// A way to learn effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Learner {
    /// One model with the treatment as a column.
    S,
    /// Two models, one an arm.
    T,
    /// Effects imputed by the other arm's model, then learnt.
    X,
    /// The outcome transformed so that its mean is the effect.
    ClassTransformation,
    /// The transformed residual of both arms' models.
    DoublyRobust,
    /// Trees that split on differences of effects.
    Forest,
}

/// All learners, in the order of reports.
pub const LEARNERS: [Learner; 6] =
    [Learner::S, Learner::T, Learner::X, Learner::ClassTransformation, Learner::DoublyRobust, Learner::Forest];

impl Learner {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::S => "S-learner",
            Self::T => "T-learner",
            Self::X => "X-learner",
            Self::ClassTransformation => "class transformation",
            Self::DoublyRobust => "doubly robust learner",
            Self::Forest => "uplift forest",
        }
    }
}

/// A published model of an outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Of yes or no.
    Propensity(Propensity),
    /// Of a number.
    Trees(Ensemble),
}

impl Response {
    fn expected(&self, table: &Table) -> Result<Vec<f64>, BadInput> {
        match self {
            Self::Propensity(model) => model.probabilities(table),
            Self::Trees(model) => model.answers(table),
        }
    }
}

/// A published model of effects, in units of the outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// A response with the treatment as column [`TREATED`].
    Single(Box<Response>),
    /// The difference of two responses.
    Difference {
        /// Of the treated.
        treated: Box<Response>,
        /// Of the control group.
        control: Box<Response>,
    },
    /// Effects as learnt.
    Direct(Ensemble),
    /// Two models of effects, mixed.
    Mixed {
        /// Learnt on the treated.
        of_treated: Ensemble,
        /// Learnt on the control group.
        of_control: Ensemble,
        /// Share of `of_control`.
        share: f64,
    },
    /// The mean effect plus weighted deviations.
    Weighted {
        /// The mean effect.
        mean: f64,
        /// The learners' models.
        parts: Vec<Part>,
    },
}

/// One learner's share in a weighted effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// At least 0.
    pub weight: f64,
    /// The model's mean answer in training.
    pub centre: f64,
    /// The model.
    pub effect: Effect,
}

/// The name of the column that an S-learner adds.
pub const TREATED: &str = "(treated)";

impl Effect {
    /// The effect of treating each row of a table, in units of the outcome.
    pub fn uplift(&self, table: &Table) -> Result<Vec<f64>, BadInput> {
        match self {
            Self::Single(response) => {
                let with = |value| table.with(Column::numbers(TREATED, vec![value; table.rows()]));
                Ok(minus(response.expected(&with(1.0)?)?, &response.expected(&with(0.0)?)?))
            }
            Self::Difference { treated, control } => Ok(minus(treated.expected(table)?, &control.expected(table)?)),
            Self::Direct(model) => model.answers(table),
            Self::Mixed { of_treated, of_control, share } => {
                let (a, b) = (of_treated.answers(table)?, of_control.answers(table)?);
                Ok(a.iter().zip(b).map(|(a, b)| (1.0 - share) * a + share * b).collect())
            }
            Self::Weighted { mean, parts } => {
                let mut total = vec![*mean; table.rows()];
                for part in parts {
                    let answers = part.effect.uplift(table)?;
                    total.iter_mut().zip(answers).for_each(|(t, a)| *t += part.weight * (a - part.centre));
                }
                Ok(total)
            }
        }
    }
}

fn minus(mut a: Vec<f64>, b: &[f64]) -> Vec<f64> {
    a.iter_mut().zip(b).for_each(|(x, y)| *x -= y);
    a
}

/// Rows of an experiment, checked.
struct Trial<'a> {
    table: &'a Table,
    treated: &'a [bool],
    outcome: &'a [f64],
    binary: bool,
    share: f64,
    seed: u64,
}

/// Rows of each arm that are needed at least.
const LEAST_OF_ARM: usize = 50;

impl<'a> Trial<'a> {
    fn new(table: &'a Table, treated: &'a [bool], outcome: &'a [f64], seed: u64) -> Result<Self, BadInput> {
        same_length("treated", treated.len(), table.rows())?;
        same_length("outcome", outcome.len(), table.rows())?;
        input::finite("outcome", outcome)?;
        input::two_classes("treated", treated)?;
        if outcome.iter().all(|&y| y == outcome[0]) {
            return Err(BadInput::OneClass { field: "outcome".into() });
        }
        if table.column(TREATED).is_some() {
            return Err(BadInput::Duplicate { field: TREATED.into() });
        }
        let count = treated.iter().filter(|&&t| t).count();
        let fewer = count.min(treated.len() - count);
        if fewer < LEAST_OF_ARM {
            return Err(BadInput::TooFew { field: "treated".into(), found: fewer, needed: LEAST_OF_ARM });
        }
        let binary = outcome.iter().all(|&y| y == 0.0 || y == 1.0);
        Ok(Self { table, treated, outcome, binary, share: float(count) / float(treated.len()), seed })
    }

    fn rows_of(&self, arm: bool) -> Vec<usize> {
        (0..self.treated.len()).filter(|&i| self.treated[i] == arm).collect()
    }

    /// Effects of single rows whose mean, given the columns, is the true effect: the transformed
    /// residual of each row added to the models' difference (Robins, Rotnitzky & Zhao 1994).
    fn robust_effect(&self, row: usize, [control, treated]: [f64; 2]) -> f64 {
        let (own, scale) =
            if self.treated[row] { (treated, 1.0 / self.share) } else { (control, -1.0 / (1.0 - self.share)) };
        treated - control + (self.outcome[row] - own) * scale
    }

    fn robust_effects(&self, expected: &[Vec<f64>; 2]) -> Vec<f64> {
        let expected = expected[0].iter().zip(&expected[1]);
        expected.enumerate().map(|(i, (&control, &treated))| self.robust_effect(i, [control, treated])).collect()
    }

    /// Arm and answer of a row as one number.
    fn class(&self, row: usize) -> usize {
        usize::from(self.treated[row]) + if self.binary && self.outcome[row] > 0.5 { 2 } else { 0 }
    }

    /// All rows, or about `most` of them with each class's share, in their order.
    fn sample(&self, most: usize) -> Vec<usize> {
        let rows = self.outcome.len();
        let class: Vec<usize> = (0..rows).map(|i| self.class(i)).collect();
        let part = rows.div_ceil(most).min(200);
        let fold = stratified_folds(&class, part, self.seed.wrapping_add(1));
        (0..rows).filter(|&i| fold[i] == 0).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of rows")]
fn float(count: usize) -> f64 {
    count as f64
}

/// The models of both arms, with each row's expected outcome in either arm: that of its own arm
/// comes from rows left out.
struct Responses {
    treated: Response,
    control: Response,
    expected: [Vec<f64>; 2],
}

/// The model of one arm, with every row's expected outcome in it.
struct OfArm {
    model: Response,
    expected: Vec<f64>,
}

impl OfArm {
    fn fit(trial: &Trial, arm: bool) -> Result<Self, BadInput> {
        let rows = trial.rows_of(arm);
        let outcome: Vec<f64> = rows.iter().map(|&i| trial.outcome[i]).collect();
        let (model, left_out) = respond(&trial.table.take(&rows)?, &outcome, trial.binary, trial.seed)?;
        let mut expected = model.expected(trial.table)?;
        rows.iter().zip(left_out).for_each(|(&i, e)| expected[i] = e);
        Ok(Self { model, expected })
    }
}

impl Responses {
    fn of(trial: &Trial) -> Result<Self, BadInput> {
        Ok(Self::new(OfArm::fit(trial, false)?, OfArm::fit(trial, true)?))
    }

    fn new(control: OfArm, treated: OfArm) -> Self {
        Self { treated: treated.model, control: control.model, expected: [control.expected, treated.expected] }
    }
}

/// Models an outcome; also answers what rows are expected to do by models that did not see them.
fn respond(table: &Table, outcome: &[f64], binary: bool, seed: u64) -> Result<(Response, Vec<f64>), BadInput> {
    if binary {
        let label: Vec<bool> = outcome.iter().map(|&y| y > 0.5).collect();
        let trained = propensity::fit(table, &label, seed)?;
        return Ok((Response::Propensity(trained.model), trained.out_of_fold));
    }
    let fold = folds_of(outcome.len(), seed);
    let boosted = boosting::fit(table, outcome, Loss::Squared, &fold, Settings::default(), seed)?;
    Ok((Response::Trees(boosted.ensemble), boosted.out_of_fold))
}

fn folds_of(rows: usize, seed: u64) -> Vec<u8> {
    stratified_folds(&vec![0; rows], FOLDS, seed)
}

/// Trees for effects: smaller and slower than for outcomes, because effects are mostly noise.
fn effect_trees(table: &Table, effect: &[f64], seed: u64) -> Result<Ensemble, BadInput> {
    let rows = float(effect.len());
    let settings = Settings {
        learning_rate: 0.04,
        leaves: 4,
        row_share: 0.6,
        ridge: 0.01 * rows,
        least_rows: (rows * 0.01).max(20.0),
        patience: 25,
        ..Settings::default()
    };
    Ok(boosting::fit(table, effect, Loss::Squared, &folds_of(effect.len(), seed), settings, seed)?.ensemble)
}

/// Trains one learner. `treated` must have been random; `outcome` is 0 and 1, or any number.
pub fn fit_one(
    learner: Learner,
    table: &Table,
    treated: &[bool],
    outcome: &[f64],
    seed: u64,
) -> Result<Effect, BadInput> {
    let trial = Trial::new(table, treated, outcome, seed)?;
    let responses = match learner {
        Learner::T | Learner::X | Learner::DoublyRobust => Some(Responses::of(&trial)?),
        _ => None,
    };
    learn(learner, &trial, responses.as_ref())
}

fn learn(learner: Learner, trial: &Trial, responses: Option<&Responses>) -> Result<Effect, BadInput> {
    match (learner, responses) {
        (Learner::T, Some(r)) => {
            Ok(Effect::Difference { treated: Box::new(r.treated.clone()), control: Box::new(r.control.clone()) })
        }
        (Learner::X, Some(r)) => learn_x(trial, r),
        (Learner::DoublyRobust, Some(r)) => {
            effect_trees(trial.table, &trial.robust_effects(&r.expected), trial.seed).map(Effect::Direct)
        }
        (Learner::ClassTransformation, _) => {
            let nothing = [vec![0.0; trial.outcome.len()], vec![0.0; trial.outcome.len()]];
            effect_trees(trial.table, &trial.robust_effects(&nothing), trial.seed).map(Effect::Direct)
        }
        (Learner::Forest, _) => Ok(Effect::Direct(forest::fit(trial.table, trial.treated, trial.outcome, trial.seed))),
        _ => {
            let flags = trial.treated.iter().map(|&t| f64::from(u8::from(t))).collect();
            let table = trial.table.with(Column::numbers(TREATED, flags))?;
            let (model, _) = respond(&table, trial.outcome, trial.binary, trial.seed)?;
            Ok(Effect::Single(Box::new(model)))
        }
    }
}

/// What each row's outcome is above (treated) or below (control) the other arm's expectation.
fn learn_x(trial: &Trial, responses: &Responses) -> Result<Effect, BadInput> {
    let of_arm = |arm: bool| {
        let rows = trial.rows_of(arm);
        let effects: Vec<f64> = rows
            .iter()
            .map(|&i| {
                let gap = trial.outcome[i] - responses.expected[usize::from(!arm)][i];
                if arm { gap } else { -gap }
            })
            .collect();
        effect_trees(&trial.table.take(&rows)?, &effects, trial.seed)
    };
    Ok(Effect::Mixed { of_treated: of_arm(true)?, of_control: of_arm(false)?, share: trial.share })
}

/// How one learner did on rows left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The learner.
    pub learner: Learner,
    /// Its weight in the published model.
    pub weight: f64,
    /// Normalised Qini area on rows left out; absent when the outcome is not yes or no.
    pub qini_auc: Option<f64>,
}

/// What was learnt and how sure it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Mean effect, doubly robust, in units of the outcome.
    pub mean_effect: f64,
    /// Its standard error.
    pub mean_effect_error: f64,
    /// The learners.
    pub candidates: Vec<Candidate>,
    /// Slope of the effects found on those foretold, on rows left out: near 1 when they are right,
    /// near 0 when all customers react alike (Chernozhukov et al. 2018).
    pub slope: f64,
    /// Standard error of the slope.
    pub slope_error: f64,
    /// One-sided probability of so steep a slope when all customers react alike.
    pub p_value: f64,
    /// Normalised Qini area of the mixture on rows left out.
    pub qini_auc: Option<f64>,
}

/// A model with its report.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// What to publish.
    pub effect: Effect,
    /// What to tell.
    pub report: Report,
}

/// Folds of the comparison.
const FOLDS: usize = 3;

/// Rows on which learners are weighed, at most: what their weights need to be steady.
const MOST_WEIGHED: usize = 45_000;

/// Trains all learners and weighs them by what they foretell on rows left out.
///
/// The answer does not depend on `threads`. `watch` hears now and then what share of the work is done,
/// from 0 to 1, from whichever thread did it.
pub fn fit(
    table: &Table,
    treated: &[bool],
    outcome: &[f64],
    seed: u64,
    threads: usize,
    watch: &(dyn Fn(f64) + Sync),
) -> Result<Trained, BadInput> {
    let trial = Trial::new(table, treated, outcome, seed)?;
    let sample = trial.sample(MOST_WEIGHED);
    let courses = courses(&trial, &sample)?;
    let work = Work::of(&courses, watch);
    let responses = respond_all(&courses, threads, &work)?;
    let learners = learn_all(&courses, &responses, threads, &work)?;
    let honest = Honest::of(&trial, &sample, &courses, &responses, &learners)?;
    let weights = weigh(&honest);
    let report = report(&trial, &honest, &weights, &responses[0])?;
    let parts = learners.into_iter().take(LEARNERS.len()).zip(weights);
    let parts = parts.map(|(l, weight)| Part { weight, centre: mean(&l.foretold), effect: l.effect }).collect();
    Ok(Trained { effect: Effect::Weighted { mean: report.mean_effect, parts }, report })
}

/// Rows that learners are trained on, and rows that they are asked about.
struct Course {
    table: Table,
    treated: Vec<bool>,
    outcome: Vec<f64>,
    asked: Vec<usize>,
    asked_table: Table,
    binary: bool,
    share: f64,
    seed: u64,
}

impl Course {
    fn of(trial: &Trial, train: &[usize], asked: Vec<usize>) -> Result<Self, BadInput> {
        Ok(Self {
            table: trial.table.take(train)?,
            treated: train.iter().map(|&i| trial.treated[i]).collect(),
            outcome: train.iter().map(|&i| trial.outcome[i]).collect(),
            asked_table: trial.table.take(&asked)?,
            asked,
            binary: trial.binary,
            share: trial.share,
            seed: trial.seed,
        })
    }

    fn trial(&self) -> Trial<'_> {
        let Self { table, treated, outcome, .. } = self;
        Trial { table, treated, outcome, binary: self.binary, share: self.share, seed: self.seed }
    }
}

/// First that of all rows, asked about the sample; then, fold by fold, the sample's others, asked
/// about the fold.
fn courses(trial: &Trial, sample: &[usize]) -> Result<Vec<Course>, BadInput> {
    let class: Vec<usize> = sample.iter().map(|&i| trial.class(i)).collect();
    let fold = stratified_folds(&class, FOLDS, trial.seed);
    let all: Vec<usize> = (0..trial.outcome.len()).collect();
    let mut courses = vec![Course::of(trial, &all, sample.to_vec())?];
    for f in 0..FOLDS {
        let of = |inside: bool| {
            let pairs = sample.iter().zip(&fold).filter(move |(_, g)| (usize::from(**g) == f) == inside);
            pairs.map(|(&i, _)| i).collect::<Vec<usize>>()
        };
        courses.push(Course::of(trial, &of(false), of(true))?);
    }
    Ok(courses)
}

/// How much is done: each piece of a course counts the rows that it learns from.
struct Work<'a> {
    total: f64,
    done: AtomicUsize,
    watch: &'a (dyn Fn(f64) + Sync),
}

impl<'a> Work<'a> {
    fn of(courses: &[Course], watch: &'a (dyn Fn(f64) + Sync)) -> Self {
        let rows: usize = courses.iter().map(|course| course.outcome.len()).sum();
        Self { total: float(rows * (2 + LEARNERS.len())), done: AtomicUsize::new(0), watch }
    }

    fn done(&self, course: &Course) {
        let rows = course.outcome.len();
        (self.watch)(float(self.done.fetch_add(rows, Ordering::Relaxed) + rows) / self.total);
    }
}

/// Both arms' models of every course.
fn respond_all(courses: &[Course], threads: usize, work: &Work) -> Result<Vec<Responses>, BadInput> {
    let arms = parallel::runs(2 * courses.len(), 1, threads, |run| {
        let course = &courses[run.start / 2];
        let arm = OfArm::fit(&course.trial(), run.start % 2 == 1);
        work.done(course);
        arm
    });
    let mut arms = arms.into_iter();
    let mut all = Vec::with_capacity(courses.len());
    while let (Some(control), Some(treated)) = (arms.next(), arms.next()) {
        all.push(Responses::new(control?, treated?));
    }
    Ok(all)
}

/// A learner after its course.
struct Taught {
    effect: Effect,
    /// Of the rows asked about.
    foretold: Vec<f64>,
}

/// Every learner on every course, course by course.
fn learn_all(
    courses: &[Course],
    responses: &[Responses],
    threads: usize,
    work: &Work,
) -> Result<Vec<Taught>, BadInput> {
    let learners = LEARNERS.len();
    let taught = parallel::runs(learners * courses.len(), 1, threads, |run| {
        let course = run.start / learners;
        let effect = learn(LEARNERS[run.start % learners], &courses[course].trial(), Some(&responses[course]))?;
        let foretold = effect.uplift(&courses[course].asked_table)?;
        work.done(&courses[course]);
        Ok(Taught { effect, foretold })
    });
    taught.into_iter().collect()
}

/// Effects foretold by each learner for rows it had not seen, and the rows' robust effects.
struct Honest {
    rows: Vec<usize>,
    foretold: Vec<Vec<f64>>,
    robust: Vec<f64>,
}

impl Honest {
    fn of(
        trial: &Trial,
        sample: &[usize],
        courses: &[Course],
        responses: &[Responses],
        taught: &[Taught],
    ) -> Result<Self, BadInput> {
        let mut place = vec![0; trial.outcome.len()];
        sample.iter().enumerate().for_each(|(at, &i)| place[i] = at);
        let mut foretold = vec![vec![0.0; sample.len()]; LEARNERS.len()];
        let mut expected = [vec![0.0; sample.len()], vec![0.0; sample.len()]];
        for (c, course) in courses.iter().enumerate().skip(1) {
            let fill = |own: &mut Vec<f64>, told: &[f64]| {
                course.asked.iter().zip(told).for_each(|(&i, &e)| own[place[i]] = e);
            };
            fill(&mut expected[0], &responses[c].control.expected(&course.asked_table)?);
            fill(&mut expected[1], &responses[c].treated.expected(&course.asked_table)?);
            for (own, one) in foretold.iter_mut().zip(&taught[c * LEARNERS.len()..]) {
                fill(own, &one.foretold);
            }
        }
        let robust =
            sample.iter().enumerate().map(|(at, &i)| trial.robust_effect(i, [expected[0][at], expected[1][at]]));
        Ok(Self { rows: sample.to_vec(), robust: robust.collect(), foretold })
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / float(values.len())
}

/// Weights at least 0 that foretell the robust effects with least squares, drawn half-way to equal
/// ones, because effects of single rows are noisy and equal weights are hard to beat.
fn weigh(honest: &Honest) -> Vec<f64> {
    let k = honest.foretold.len();
    let centred = |v: &[f64]| {
        let m = mean(v);
        v.iter().map(|x| x - m).collect::<Vec<f64>>()
    };
    let columns: Vec<Vec<f64>> = honest.foretold.iter().map(|v| centred(v)).collect();
    let target = centred(&honest.robust);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let mut used: Vec<usize> = (0..k).filter(|&i| dot(&columns[i], &columns[i]) > 0.0).collect();
    let mut weights = vec![0.0; k];
    // Least squares without the most negative weight, until none is.
    while !used.is_empty() {
        let m = used.len();
        let mut gram: Vec<f64> = (0..m * m).map(|c| dot(&columns[used[c / m]], &columns[used[c % m]])).collect();
        let trace: f64 = (0..m).map(|i| gram[i * m + i]).sum();
        (0..m).for_each(|i| gram[i * m + i] += 1e-6 * trace);
        let mut solved: Vec<f64> = used.iter().map(|&i| dot(&columns[i], &target)).collect();
        if !solve_dense(&mut gram, &mut solved) {
            break;
        }
        let worst = (0..m).min_by(|&a, &b| solved[a].total_cmp(&solved[b])).unwrap_or(0);
        if solved[worst] < 0.0 {
            used.remove(worst);
            continue;
        }
        used.iter().zip(&solved).for_each(|(&i, &w)| weights[i] = w);
        break;
    }
    weights.into_iter().map(|w| 0.5 * w + 0.5 / float(k)).collect()
}

fn report(trial: &Trial, honest: &Honest, weights: &[f64], all: &Responses) -> Result<Report, BadInput> {
    let robust = trial.robust_effects(&all.expected);
    let mean_effect = mean(&robust);
    let spread = mean(&robust.iter().map(|e| (e - mean_effect).powi(2)).collect::<Vec<f64>>());
    let n = honest.robust.len();
    let mixture: Vec<f64> = (0..n).map(|i| honest.foretold.iter().zip(weights).map(|(v, w)| w * v[i]).sum()).collect();
    let (slope, slope_error) = slope(&mixture, &honest.robust);
    let label: Vec<bool> = honest.rows.iter().map(|&i| trial.outcome[i] > 0.5).collect();
    let treated: Vec<bool> = honest.rows.iter().map(|&i| trial.treated[i]).collect();
    let qini = |score: &[f64]| -> Result<Option<f64>, BadInput> {
        if !trial.binary {
            return Ok(None);
        }
        Ok(Some(metrics::measure(&label, &treated, score, 0.3)?.qini_auc))
    };
    let mut candidates = Vec::new();
    for ((learner, &weight), told) in LEARNERS.into_iter().zip(weights).zip(&honest.foretold) {
        candidates.push(Candidate { learner, weight, qini_auc: qini(told)? });
    }
    let p_value = if slope_error > 0.0 { Normal::standard().sf(slope / slope_error) } else { 1.0 };
    let qini_auc = qini(&mixture)?;
    Ok(Report {
        mean_effect,
        mean_effect_error: (spread / float(robust.len())).sqrt(),
        candidates,
        slope,
        slope_error,
        p_value,
        qini_auc,
    })
}

/// Slope of y on x with its heteroscedasticity-robust standard error (White 1980).
fn slope(x: &[f64], y: &[f64]) -> (f64, f64) {
    let (mx, my) = (mean(x), mean(y));
    let sxx: f64 = x.iter().map(|v| (v - mx) * (v - mx)).sum();
    if sxx <= 0.0 {
        return (0.0, 0.0);
    }
    let slope = x.iter().zip(y).map(|(a, b)| (a - mx) * (b - my)).sum::<f64>() / sxx;
    let noise: f64 = x.iter().zip(y).map(|(a, b)| ((a - mx) * (b - my - slope * (a - mx))).powi(2)).sum();
    (slope, noise.sqrt() / sxx)
}

impl fmt::Display for Report {
    /// A few sentences for the analyst.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let half = 1.96 * self.mean_effect_error;
        writeln!(
            f,
            "Mean effect {:.5} ({:.5} to {:.5}).",
            self.mean_effect,
            self.mean_effect - half,
            self.mean_effect + half
        )?;
        for c in &self.candidates {
            write!(f, "{}: weight {:.2}", c.learner.name(), c.weight)?;
            match c.qini_auc {
                Some(qini) => writeln!(f, ", Qini {qini:.4} on rows left out.")?,
                None => writeln!(f, ".")?,
            }
        }
        let verdict = if self.p_value < 0.05 {
            "customers react differently"
        } else {
            "no proof that customers react differently"
        };
        writeln!(
            f,
            "Effects found rise by {:.2} (error {:.2}) for 1 foretold: {verdict} (p = {:.4}).",
            self.slope, self.slope_error, self.p_value
        )?;
        if let Some(qini) = self.qini_auc {
            writeln!(f, "Mixture: Qini {qini:.4} on rows left out.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{generator, uniform};

    /// x drives the effect when `differs`, z the outcome.
    fn drawn(rows: usize, differs: bool, seed: u64) -> (Table, Vec<bool>, Vec<f64>, Vec<f64>) {
        let mut rng = generator(seed);
        let mut draw = || uniform(&mut rng);
        let (mut x, mut z, mut treated, mut outcome, mut truth) = (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..rows {
            let (a, b, sent) = (draw(), draw(), draw() < 0.5);
            let effect = if !differs {
                0.1
            } else if a > 0.5 {
                0.4
            } else {
                -0.1
            };
            x.push(a);
            z.push(if b > 0.5 { "loyal" } else { "new" });
            treated.push(sent);
            truth.push(effect);
            let chance = 0.15 + if b > 0.5 { 0.3 } else { 0.0 } + if sent { effect } else { 0.0 };
            outcome.push(f64::from(u8::from(draw() < chance)));
        }
        let columns = vec![Column::numbers("x", x), Column::categories("z", z)];
        (Table::new(columns).unwrap(), treated, outcome, truth)
    }

    #[test]
    fn every_learner_finds_whom_the_message_moves() {
        let (table, treated, outcome, _) = drawn(2_000, true, 1);
        let (new, _, _, truth) = drawn(300, true, 2);
        for learner in LEARNERS {
            let effect = fit_one(learner, &table, &treated, &outcome, 5).unwrap();
            let told = effect.uplift(&new).unwrap();
            let mean_of = |moved: bool| {
                let of: Vec<f64> = (0..300).filter(|&i| (truth[i] > 0.2) == moved).map(|i| told[i]).collect();
                mean(&of)
            };
            assert!(mean_of(true) - mean_of(false) > 0.15, "{}: {} {}", learner.name(), mean_of(true), mean_of(false));
        }
    }

    #[test]
    fn the_report_tells_difference_from_sameness() {
        let (table, treated, outcome, _) = drawn(1_500, true, 3);
        let differs = fit(&table, &treated, &outcome, 5, 2, &|_| ()).unwrap();
        assert!(differs.report.p_value < 1e-3, "{}", differs.report);
        assert!((differs.report.mean_effect - 0.15).abs() < 4.0 * differs.report.mean_effect_error);
        let (table, treated, outcome, _) = drawn(1_500, false, 4);
        let same = fit(&table, &treated, &outcome, 5, 2, &|_| ()).unwrap();
        assert!(same.report.p_value > 0.01, "{}", same.report);
    }

    #[test]
    fn the_model_does_not_depend_on_the_number_of_threads() {
        let (table, treated, outcome, _) = drawn(600, true, 8);
        let told = std::sync::Mutex::new(0.0);
        let watch = |share: f64| {
            let mut most = told.lock().unwrap();
            *most = share.max(*most);
        };
        let fit = |threads| fit(&table, &treated, &outcome, 5, threads, &watch).unwrap();
        assert_eq!(fit(1), fit(3));
        assert_eq!(*told.lock().unwrap(), 1.0, "all of the work was told");
    }

    #[test]
    fn learners_are_weighed_on_a_sample_with_each_class_s_share() {
        let (table, treated, outcome, _) = drawn(3_000, true, 9);
        let trial = Trial::new(&table, &treated, &outcome, 5).unwrap();
        let sample = trial.sample(1_000);
        let share = |rows: &[usize]| mean(&rows.iter().map(|&i| float(trial.class(i))).collect::<Vec<f64>>());
        assert!((990..=1_010).contains(&sample.len()) && sample.is_sorted(), "{}", sample.len());
        assert!((share(&sample) - share(&trial.sample(3_000))).abs() < 0.01);
        assert_eq!(trial.sample(3_000).len(), 3_000);
    }

    #[test]
    fn money_can_be_the_outcome() {
        let (table, treated, outcome, _) = drawn(1_000, true, 6);
        let spent: Vec<f64> =
            outcome.iter().enumerate().map(|(i, y)| y * (10.0 + f64::from(u8::from(i % 2 == 0)))).collect();
        let trained = fit(&table, &treated, &spent, 5, 2, &|_| ()).unwrap();
        assert!(trained.report.qini_auc.is_none() && trained.report.slope > 0.0);
    }

    #[test]
    fn trials_that_cannot_be_are_refused() {
        let (table, treated, outcome, _) = drawn(200, true, 7);
        assert!(matches!(fit(&table, &[true; 200], &outcome, 1, 2, &|_| ()), Err(BadInput::OneClass { .. })));
        assert!(matches!(fit(&table, &treated, &[0.0; 200], 1, 2, &|_| ()), Err(BadInput::OneClass { .. })));
        assert!(matches!(fit(&table, &treated[1..], &outcome, 1, 2, &|_| ()), Err(BadInput::Length { .. })));
        let mut few = vec![false; 200];
        few[0] = true;
        assert!(matches!(fit(&table, &few, &outcome, 1, 2, &|_| ()), Err(BadInput::TooFew { .. })));
    }
}
