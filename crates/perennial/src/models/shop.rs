//! The model of recommendations: what goes with what, and what is in demand.
//!
//! Four recommenders over one table of order lines: new items for a customer, items alike, what is
//! bought together, what is bought again; and one over visits ([`super::visits`]). Each tunes itself on a part that it hides from itself; then
//! the latest order of many customers is hidden from the tuned one, and the figures say in how many of
//! them one of ten recommended items lay.
//!
//! Promise: what is published knows items only. Methods that would carry the histories of customers
//! are not tried, whatever they would add. A training that is called off ends within a block of a matrix
//! or a round of factors.

use perennial_core::score::{Model, ModelKind};
use perennial_learn::recommend::item_item::Neighbours;
use perennial_learn::recommend::{
    Choice, Columns, Effort, Error, Halt, Interactions, Reason, Recommendation, Recommender, Search, Settings, Task,
};
use serde::{Deserialize, Serialize};

use super::history::Lines;
use super::visits::{Plan, Visits};
use super::{Progress, Untrained, encode, millionths};

/// Orders that the model needs.
pub const ORDERS_MIN: u64 = 200;
/// Customers that it needs.
pub const CUSTOMERS_MIN: u32 = 50;
/// Items that it needs.
pub const ITEMS_MIN: usize = 10;
/// Weights kept per item: what is published stays small and a question quick.
pub(super) const KEEP: usize = 100;
/// Questions by which settings are compared.
const QUESTIONS: usize = 400;
/// Hidden orders by which the result is judged.
const JUDGED: usize = 1_000;
/// Length of the lists that are judged.
pub(super) const TOP: usize = 10;
/// Days that count as lately.
const LATELY: f64 = 28.0;
/// Orders lately from which a trend is believed half.
const DOUBT: f32 = 20.0;

/// The published model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shop {
    for_you: Recommender,
    similar: Recommender,
    together: Recommender,
    again: Recommender,
    /// Orders lately and ever, by the items' number.
    demand: Vec<(f32, f32)>,
    /// What answers for a running visit.
    visits: Plan,
}

/// Rows of a table, in the columns that recommenders read.
#[derive(Default)]
struct Table {
    users: Vec<String>,
    items: Vec<String>,
    at: Vec<f64>,
    baskets: Vec<String>,
}

/// A hidden order: what its customer had before, and what it held.
struct Hidden {
    before: Vec<(String, f64)>,
    order: Vec<String>,
}

/// Trains on order lines and visits.
///
/// # Errors
/// [`Untrained`], with the reason in words.
pub fn train(lines: &Lines, visits: &Visits, version: u32, seed: u64, progress: &Progress) -> Result<Model, Untrained> {
    thick_enough(lines)?;
    progress.begin(9);
    let (earlier, hidden) = split(lines)?;
    progress.step(1)?;
    let all = Table::of(lines).read()?;
    let mut figures = Vec::new();
    let mut learn = |task: Task, name: &str| -> Result<(Recommender, Recommender), Untrained> {
        let choice = choose(&earlier, task, seed, progress.halt())?;
        progress.step(1)?;
        let judged = Recommender::fit(&earlier, task, choice.clone(), 1, progress.halt()).map_err(failed)?;
        figures.extend(judge(&judged, &hidden).map(|share| (name.into(), millionths(share))));
        let model = Recommender::fit(&all, task, choice, 1, progress.halt()).map_err(failed)?;
        progress.step(1)?;
        Ok((model.without_customers(), judged))
    };
    let (for_you, _) = learn(Task::ForYou, "for_you_hits_of_10")?;
    let (together, rival) = learn(Task::Together, "together_hits_of_10")?;
    let (again, _) = learn(Task::Again, "again_hits_of_10")?;
    figures.extend(best_sellers(&earlier, &hidden, progress));
    progress.step(1)?;
    let next = visits.learn(&rival, seed, progress.halt())?;
    figures.extend(next.figures.iter().map(|(name, share)| ((*name).into(), millionths(*share))));
    progress.step(1)?;
    let similar = alike(&all, progress)?;
    let demand = demand(lines, &for_you);
    let session = if let Plan::Learnt { choice, .. } = &next.plan { Some(choice) } else { None };
    let orders = [&for_you, &together, &again].map(|model| &model.choice);
    Ok(Model {
        kind: ModelKind::Recommend,
        version,
        method: method(orders.into_iter().chain(session)).into(),
        from: lines.span.0,
        until: lines.span.1,
        position: lines.position,
        customers: u64::from(lines.customers),
        orders: lines.orders,
        seed,
        figures,
        body: encode(&Shop { for_you, similar, together, again, demand, visits: next.plan })?,
    })
}

/// What customers of an item bought too.
fn alike(all: &Interactions, progress: &Progress) -> Result<Recommender, Untrained> {
    let alike = Choice::only(Settings::Neighbours(Neighbours { keep: KEEP, shrink: 5.0, ..Neighbours::default() }));
    let model = Recommender::fit(all, Task::Together, alike, 1, progress.halt()).map_err(failed)?;
    Ok(model.without_customers())
}

/// What simply listing the best sellers reaches.
fn best_sellers(earlier: &Interactions, hidden: &[Hidden], progress: &Progress) -> Option<(Box<str>, i64)> {
    let sold = Choice::only(Settings::Popularity(None));
    let popular = Recommender::fit(earlier, Task::Again, sold, 1, progress.halt()).ok()?;
    Some(("best_sellers_hits_of_10".into(), millionths(judge(&popular, hidden)?)))
}

fn thick_enough(lines: &Lines) -> Result<(), Untrained> {
    let thin = |what: &str, found: u64, needed: u64| {
        Err(Untrained::Thin(format!("it has {found} {what}, {needed} are needed")))
    };
    if lines.orders < ORDERS_MIN {
        return thin("orders", lines.orders, ORDERS_MIN);
    }
    if lines.customers < CUSTOMERS_MIN {
        return thin("customers", lines.customers.into(), CUSTOMERS_MIN.into());
    }
    if lines.items.len() < ITEMS_MIN {
        return thin("different items", lines.items.len() as u64, ITEMS_MIN as u64);
    }
    Ok(())
}

pub(super) fn failed(why: perennial_learn::recommend::Error) -> Untrained {
    match why {
        Error::CalledOff => Untrained::Cancelled,
        why => Untrained::Failed(why.to_string()),
    }
}

impl Table {
    fn of(lines: &Lines) -> Self {
        let mut table = Self::default();
        lines.rows.iter().for_each(|row| table.push(lines, *row));
        table
    }

    fn push(&mut self, lines: &Lines, (customer, item, at): (u32, u32, f64)) {
        self.users.push(customer.to_string());
        self.items.push(lines.items[item as usize].to_string());
        self.at.push(at);
        self.baskets.push(format!("{customer} {at}"));
    }

    fn read(&self) -> Result<Interactions, Untrained> {
        let columns = Columns { users: &self.users, items: &self.items, at: &self.at, baskets: &self.baskets };
        Interactions::read(&columns).map_err(failed)
    }
}

/// Hides the latest order of some customers who have an earlier one.
#[expect(clippy::float_cmp, reason = "lines of one order carry the same instant")]
fn split(lines: &Lines) -> Result<(Interactions, Vec<Hidden>), Untrained> {
    let every = (lines.customers as usize).div_ceil(JUDGED).max(1);
    let (mut earlier, mut hidden) = (Table::default(), Vec::new());
    for (nth, rows) in lines.rows.chunk_by(|a, b| a.0 == b.0).enumerate() {
        let last = rows[rows.len() - 1].2;
        let known = rows.partition_point(|row| row.2 < last);
        let hides = known > 0 && nth % every == 0;
        let kept = if hides { known } else { rows.len() };
        rows[..kept].iter().for_each(|row| earlier.push(lines, *row));
        if hides {
            let name = |row: &(u32, u32, f64)| lines.items[row.1 as usize].to_string();
            let before = rows[..known].iter().map(|row| (name(row), row.2)).collect();
            let order = rows.iter().filter(|row| row.2 == last).map(name).collect();
            hidden.push(Hidden { before, order });
        }
    }
    Ok((earlier.read()?, hidden))
}

/// The blend that suits a task by its own trials, with methods that know items only.
fn choose(data: &Interactions, task: Task, seed: u64, halt: &Halt) -> Result<Choice, Untrained> {
    let effort = Effort { questions: QUESTIONS, threads: 1 };
    let search = Search { effort, items_only: true, keep: Some(KEEP), halt: halt.clone() };
    let mut choice = Recommender::choose(data, task, &search, &mut |_| {}).map_err(failed)?;
    sow(&mut choice, seed);
    Ok(choice)
}

/// Where random choices begin; what was tried on the way is not published.
pub(super) fn sow(choice: &mut Choice, seed: u64) {
    for (how, _) in &mut choice.blend {
        if let Settings::Als(als) = how {
            als.seed = seed;
        }
    }
    choice.trials.clear();
}

/// In which share of the hidden orders one of ten recommended items lay.
#[expect(clippy::cast_precision_loss, reason = "a thousand orders")]
fn judge(model: &Recommender, hidden: &[Hidden]) -> Option<f64> {
    let (mut asked, mut hits) = (0, 0);
    for one in hidden {
        let before: Vec<(&str, f64)> = one.before.iter().map(|(item, at)| (item.as_str(), *at)).collect();
        let half = one.order.len() / 2;
        let (question, wanted): (Vec<(&str, f64)>, Vec<&String>) = match model.task {
            Task::Together => {
                (one.order[..half].iter().map(|i| (i.as_str(), 0.0)).collect(), one.order[half..].iter().collect())
            }
            Task::ForYou => {
                let fresh = |item: &&String| one.before.iter().all(|(known, _)| known != *item);
                (before, one.order.iter().filter(fresh).collect())
            }
            Task::Again | Task::Session => (before, one.order.iter().collect()),
        };
        if question.is_empty() || wanted.is_empty() {
            continue;
        }
        asked += 1;
        let list = model.after_history(&question, TOP, &|_| true);
        hits += usize::from(list.iter().any(|got| wanted.contains(&&got.item)));
    }
    (asked > 0).then(|| hits as f64 / f64::from(asked))
}

/// Names of the methods of all blends.
fn method<'a>(choices: impl Iterator<Item = &'a Choice>) -> String {
    let mut names: Vec<&str> = choices.flat_map(|choice| choice.blend.iter().map(|(how, _)| how.name())).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// Orders of each item, lately and ever.
fn demand(lines: &Lines, model: &Recommender) -> Vec<(f32, f32)> {
    let since = super::history::days(lines.span.1) - LATELY;
    let mut demand = vec![(0.0, 0.0); model.items.len()];
    for (_, item, at) in &lines.rows {
        if let Some(number) = model.items.find(&lines.items[*item as usize]) {
            let of = &mut demand[number as usize];
            of.0 += f32::from(u8::from(*at > since));
            of.1 += 1.0;
        }
    }
    demand
}

/// What is asked of a shop, and whom for; items are numbers that it gave them.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Items of the customer's orders with their times in days, oldest first.
    pub history: &'a [(u32, f64)],
    /// Items shown, in the basket, or looked at, oldest first.
    pub items: &'a [u32],
    /// How many are wanted.
    pub limit: usize,
}

/// Whether an item may be recommended, by its number.
pub type Allow<'a> = &'a dyn Fn(u32) -> bool;

impl Shop {
    /// New items for a customer.
    pub fn for_you(&self, question: Question<'_>, allow: Allow<'_>) -> Vec<Recommendation> {
        by_history(&self.for_you, question, allow)
    }

    /// What a customer buys again.
    pub fn again(&self, question: Question<'_>, allow: Allow<'_>) -> Vec<Recommendation> {
        let mut own: Vec<u32> = question.history.iter().map(|(item, _)| *item).collect();
        own.sort_unstable();
        own.dedup();
        by_history(&self.again, question, &|item| own.binary_search(&item).is_ok() && allow(item))
    }

    /// What customers of these items bought too.
    pub fn similar(&self, question: Question<'_>, allow: Allow<'_>) -> Vec<Recommendation> {
        beside(&self.similar, question, allow)
    }

    /// What lies in baskets with these items.
    pub fn together(&self, question: Question<'_>, allow: Allow<'_>) -> Vec<Recommendation> {
        beside(&self.together, question, allow)
    }

    /// Items in demand: ordered lately, and more than their share of all time suggests. `fresh` is what was
    /// ordered since the training; items that came since stand there by their name.
    pub fn trending(
        &self,
        limit: usize,
        fresh: &[(Known<'_>, f32)],
        allow: &dyn Fn(&str) -> bool,
    ) -> Vec<Recommendation> {
        let (mut demand, mut newer) = (self.demand.clone(), Vec::new());
        for (item, orders) in fresh {
            match item {
                Known::Number(number) => {
                    if let Some(of) = demand.get_mut(*number as usize) {
                        *of = (of.0 + orders, of.1 + orders);
                    }
                }
                Known::Name(name) => {
                    demand.push((*orders, *orders));
                    newer.push(*name);
                }
            }
        }
        let (lately, ever) = demand.iter().fold((0.0, f32::MIN_POSITIVE), |(a, b), (x, y)| (a + x, b + y));
        let scale = lately / ever;
        let rise = |(lately, ever): (f32, f32)| lately * (lately + DOUBT) / (ever * scale + DOUBT);
        let risen = demand.into_iter().enumerate().filter(|(_, (lately, _))| *lately > 0.0);
        let mut scored: Vec<(usize, f32)> = risen.map(|(item, of)| (item, rise(of))).collect();
        let name = |item: usize| {
            let newer = item.checked_sub(self.items()).and_then(|at| newer.get(at).copied());
            newer.unwrap_or_else(|| self.name(u32::try_from(item).unwrap_or(u32::MAX)))
        };
        let better = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        // Most items are allowed: a few more than asked for are sorted before all are.
        let mut sorted = limit.saturating_mul(2).saturating_add(16).min(scored.len());
        if sorted > 0 && sorted < scored.len() {
            scored.select_nth_unstable_by(sorted - 1, better);
        }
        scored[..sorted].sort_unstable_by(better);
        if scored[..sorted].iter().filter(|(item, _)| allow(name(*item))).count() < limit {
            scored.sort_unstable_by(better);
            sorted = scored.len();
        }
        let found = scored[..sorted].iter().filter(|(item, _)| allow(name(*item))).take(limit);
        found
            .map(|(item, score)| Recommendation { item: name(*item).into(), score: *score, reason: Reason::Popular })
            .collect()
    }

    /// What answers for a running visit.
    pub fn visits(&self) -> &Plan {
        &self.visits
    }

    /// How alike the customers of two items are, in `0..=1`.
    pub fn likeness(&self, one: u32, other: u32) -> f32 {
        self.similar.likeness(one, other)
    }

    /// How often an item was ordered before the training.
    pub fn orders(&self, item: u32) -> f32 {
        self.demand.get(item as usize).map_or(0.0, |(_, ever)| *ever)
    }

    /// What an item is called by its number.
    pub fn name(&self, item: u32) -> &str {
        self.for_you.items.name(item)
    }

    /// The names of its items, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = (u32, &str)> {
        (0u32..).map_while(|item| ((item as usize) < self.items()).then(|| (item, self.name(item))))
    }

    /// How many items it knows.
    pub fn items(&self) -> usize {
        self.for_you.items.len()
    }
}

/// An item that the shop knows, or one that came after it was trained.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    /// By the number that the shop gave it.
    Number(u32),
    /// By its id.
    Name(&'a str),
}

fn by_history(model: &Recommender, question: Question<'_>, allow: Allow<'_>) -> Vec<Recommendation> {
    if question.history.is_empty() {
        return Vec::new();
    }
    model.after_history_of_numbers(question.history, question.limit, allow)
}

fn beside(model: &Recommender, question: Question<'_>, allow: Allow<'_>) -> Vec<Recommendation> {
    if question.items.is_empty() {
        return Vec::new();
    }
    model.after_numbers(question.items, question.limit, allow)
}
