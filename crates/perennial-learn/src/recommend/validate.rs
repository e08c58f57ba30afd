//! Validation: what a recommender would have said, against what then happened.
//!
//! The held-out part is made the way the task will be asked: the last stretch of time where times
//! are a clock, each customer's last touch where they are only an order, whole baskets and
//! sessions where one item leads to the others. Nothing here ever sees data that the caller
//! keeps for its own test.

use super::{
    Task,
    interactions::{Case, Histories, Interactions, Order, Owner, late},
    method::{Corpus, Method},
    parallel, top,
};
use crate::seed;

/// Held-out questions with their answers, and the rest to learn from.
pub(crate) struct Validation {
    pub(crate) corpus: Corpus,
    pub(crate) cases: Vec<Case>,
    pub(crate) targets: Vec<Vec<u32>>,
    /// Whether the order of touches means something.
    pub(crate) ordered: bool,
    /// The time that the data to learn from covers; `None` where times are no clock.
    pub(crate) span: Option<f32>,
}

/// Share of rows held out by time.
const HELD_OUT: f64 = 0.17;
/// Share of sessions held out.
const HELD_OUT_SESSIONS: f64 = 0.07;

impl Validation {
    pub(crate) fn split(data: &Interactions, task: Task, limit: usize) -> Self {
        let mut validation = match task {
            Task::ForYou | Task::Again => by_customer(data, task),
            Task::Together => by_basket(data),
            Task::Session => by_session(data),
        };
        validation.thin(limit);
        validation.corpus.asked = Some(validation.asked());
        validation
    }

    /// The items that questions hold: neighbours of others decide nothing.
    fn asked(&self) -> Vec<bool> {
        let mut asked = vec![false; self.corpus.items];
        self.cases.iter().flat_map(|case| &case.items).for_each(|&item| asked[item as usize] = true);
        asked
    }

    /// Keeps at most `limit` questions, evenly spread.
    fn thin(&mut self, limit: usize) {
        let count = self.cases.len();
        if count > limit {
            let keep = |place: usize| place * limit / count != (place + 1) * limit / count;
            let mut place = 0..;
            self.cases.retain(|_| place.next().is_some_and(keep));
            let mut place = 0..;
            self.targets.retain(|_| place.next().is_some_and(keep));
        }
    }

    /// The items a question may not be answered with.
    pub(crate) fn banned(task: Task, case: &Case) -> &[u32] {
        match task {
            Task::ForYou | Task::Together => &case.items,
            Task::Again | Task::Session => &[],
        }
    }

    /// The mean quality of a method's lists.
    pub(crate) fn value(&self, task: Task, method: &Method, threads: usize) -> f64 {
        let parts = parallel::runs(self.cases.len(), 64, threads, |range| {
            let mut scores = vec![0.0; self.corpus.items];
            let mut list = Vec::new();
            let mut sum = 0.0;
            for place in range {
                let case = &self.cases[place];
                method.score(case, &mut scores);
                ban(&mut scores, Self::banned(task, case));
                top::best(&scores, task.depth(), &mut list);
                sum += quality(task, list.iter().map(|&(item, _)| item), &self.targets[place]);
            }
            sum
        });
        parts.iter().sum::<f64>() / count(self.cases.len())
    }
}

pub(crate) fn ban(scores: &mut [f32], items: &[u32]) {
    for &item in items {
        scores[item as usize] = f32::NEG_INFINITY;
    }
}

/// NDCG at the task's depth (Jarvelin and Kekalainen 2002).
pub(crate) fn quality(task: Task, list: impl Iterator<Item = u32>, targets: &[u32]) -> f64 {
    let gain = |rank: usize| 1.0 / (count(rank) + 2.0).log2();
    let hits = list.take(task.depth()).enumerate().filter(|(_, item)| targets.contains(item));
    let got: f64 = hits.map(|(rank, _)| gain(rank)).sum();
    let ideal: f64 = (0..targets.len().min(task.depth())).map(gain).sum();
    got / ideal.max(f64::MIN_POSITIVE)
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
pub(crate) fn count(number: usize) -> f64 {
    number as f64
}

fn by_customer(data: &Interactions, task: Task) -> Validation {
    let cut = late(data.at.clone(), HELD_OUT);
    if data.order == Order::Clock {
        let validation = customers(data, task, |row| data.at[row] < cut);
        // Where few customers come back, what is late says nothing about what is early.
        if validation.cases.len() * 20 > data.users.len() {
            return validation;
        }
    }
    let last = last_rows(data, task);
    customers(data, task, |row| !last[row])
}

/// Marks each customer's last row (in a table without an order: a fifth of them, spread).
fn last_rows(data: &Interactions, task: Task) -> Vec<bool> {
    let mut rows: Vec<usize> = (0..data.len()).collect();
    rows.sort_by(|&a, &b| data.user[a].cmp(&data.user[b]).then(data.at[a].total_cmp(&data.at[b])).then(a.cmp(&b)));
    let mut held = vec![false; data.len()];
    let mut rng = seed::generator(11);
    for group in rows.chunk_by(|&a, &b| data.user[a] == data.user[b]) {
        let same = |row: usize| task == Task::Again && data.basket[row] == data.basket[group[group.len() - 1]];
        if group.len() < 3 {
            continue;
        }
        for (place, &row) in group.iter().enumerate() {
            held[row] = match data.order {
                Order::None => seed::below(&mut rng, 5) == 0,
                Order::Clock | Order::Running => place + 1 == group.len() || same(row),
            };
        }
        if group.iter().all(|&row| held[row]) {
            group.iter().for_each(|&row| held[row] = false);
        }
    }
    held
}

fn customers(data: &Interactions, task: Task, early: impl Fn(usize) -> bool) -> Validation {
    let corpus = Corpus::new(&data.only(&early), false);
    let known = occurring(&corpus);
    let mut later: Vec<Vec<u32>> = vec![Vec::new(); data.users.len()];
    for row in (0..data.len()).filter(|&row| !early(row)) {
        later[data.user[row] as usize].push(data.item[row]);
    }
    let (mut cases, mut targets) = (Vec::new(), Vec::new());
    for (user, mut wanted) in later.into_iter().enumerate() {
        if user >= corpus.full.len() || corpus.full.range(user).is_empty() {
            continue;
        }
        let histories = if task == Task::Again { &corpus.full } else { &corpus.once };
        let case = histories.case(user, corpus.now);
        let banned = Validation::banned(task, &case);
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|item| known[*item as usize] && !banned.contains(item));
        if !wanted.is_empty() {
            cases.push(case);
            targets.push(wanted);
        }
    }
    Validation { corpus, cases, targets, ordered: data.order != Order::None, span: span(data) }
}

/// The time from first to last row, where times are a clock.
#[expect(clippy::cast_possible_truncation, reason = "a scale")]
fn span(data: &Interactions) -> Option<f32> {
    (data.order == Order::Clock).then(|| data.span() as f32)
}

fn occurring(corpus: &Corpus) -> Vec<bool> {
    let mut known = vec![false; corpus.items];
    corpus.full.items.iter().for_each(|&item| known[item as usize] = true);
    known
}

/// Late baskets (any, where times are no clock): one item is shown, the others are wanted.
fn by_basket(data: &Interactions) -> Validation {
    let cut = late(data.at.clone(), HELD_OUT);
    let all = Histories::group(data, Owner::Basket, true);
    let last_of = |basket: usize| all.at[all.range(basket)].last().copied();
    let mut rng = seed::generator(12);
    let held: Vec<bool> = (0..all.len())
        .map(|basket| match data.order {
            Order::Clock => last_of(basket).is_some_and(|at| at >= cut),
            Order::Running | Order::None => seed::below(&mut rng, 6) == 0,
        })
        .collect();
    let corpus = Corpus::new(&data.only(|row| !held[data.basket[row] as usize]), false);
    let known = occurring(&corpus);
    let (mut cases, mut targets) = (Vec::new(), Vec::new());
    for basket in (0..all.len()).filter(|&basket| held[basket]) {
        let mut items: Vec<u32> = all.items_of(basket).iter().copied().filter(|&item| known[item as usize]).collect();
        if items.len() >= 2 {
            // Which item is shown must not follow the order of rows.
            let shown = items.remove(basket.wrapping_mul(0x9E37_79B9) % items.len());
            cases.push(Case { items: vec![shown], back: vec![0], age: vec![0.0], owner: None });
            targets.push(items);
        }
    }
    Validation { corpus, cases, targets, ordered: data.order != Order::None, span: span(data) }
}

/// The last sessions: every view but the first is asked for, given those before it.
fn by_session(data: &Interactions) -> Validation {
    let sessions = data.basket.iter().max().map_or(0, |&last| last as usize + 1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    let cut = (count(sessions) * (1.0 - HELD_OUT_SESSIONS)) as u32;
    let corpus = Corpus::new(&data.only(|row| data.basket[row] < cut), true);
    let known = occurring(&corpus);
    let all = Histories::group(&data.only(|row| data.basket[row] >= cut), Owner::Basket, false);
    let (mut cases, mut targets) = (Vec::new(), Vec::new());
    for session in 0..all.len() {
        let items: Vec<u32> = all.items_of(session).iter().copied().filter(|&item| known[item as usize]).collect();
        for next in 1..items.len() {
            cases.push(Case::of_session(&items[..next]));
            targets.push(vec![items[next]]);
        }
    }
    Validation { corpus, cases, targets, ordered: data.order != Order::None, span: span(data) }
}
