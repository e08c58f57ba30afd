//! Visits: what people looked at and put into carts, one thing after the other, until half an hour of
//! silence; and what comes next in a visit, from visits that went alike (V-SKNN and its rivals).
//!
//! Promise: past visits stay out of what is published. The model says which methods with which settings
//! were best on visits hidden from them, and between which entries of the journal the visits lie; a
//! process reads them there again and keeps them in memory only, so that an erased person's visits are
//! in no later copy. Reading is bounded by [`ENTRIES_MAX`] entries and [`TOUCHES_MAX`] views.

use std::collections::{BTreeMap, HashMap};

use perennial_core::event::{Body, CartChange, Line};
use perennial_core::id::CustomerId;
use perennial_core::input::{Entry, Input};
use perennial_learn::recommend::{Choice, Columns, Effort, Halt, Interactions, Recommender, Search, Settings, Task};
use perennial_store::JournalReader;
use serde::{Deserialize, Serialize};

use super::{DAY_MS, Progress, Untrained, shop};

/// Entries of the journal that are looked through, the latest.
const ENTRIES_MAX: u64 = 300_000;
/// Views that are kept of them, the latest.
const TOUCHES_MAX: usize = 200_000;
/// Lines of one cart that count.
const LINES_MAX: usize = 20;
/// Silence that ends a visit: half an hour, as web analytics has it.
const SILENCE_MS: i64 = 30 * 60 * 1_000;
/// Views of one visit, the latest; nobody looks at more who is not a machine.
const VIEWS_MAX: usize = 50;
/// Visits of two views or more that the model needs.
pub const VISITS_MIN: usize = 200;
/// One in so many visits, the latest, is hidden to judge by.
const HIDDEN: usize = 10;
/// Hidden visits that are asked about.
const JUDGED: usize = 1_000;
/// Questions by which settings are compared.
const QUESTIONS: usize = 400;
/// Past visits that are looked at and that vote, so that an answer stays quick.
const SAMPLE_MAX: usize = 1_000;

/// What answers for a running visit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Plan {
    /// Visits, learnt so from the entries of the journal from one to another.
    Learnt {
        /// The methods that were best.
        choice: Choice,
        /// The first entry that was read.
        from: u64,
        /// The last.
        until: u64,
    },
    /// What lies in orders with the items of the visit; and why.
    Instead(String),
}

/// Visits in the order of their ends.
#[derive(Clone, Debug, Default)]
pub struct Visits {
    items: Vec<Box<str>>,
    /// Items of each visit, oldest first, with days since 1970; no item twice in a row.
    sequences: Vec<Vec<(u32, f64)>>,
    from: u64,
    until: u64,
}

/// What was learnt, and the figures of how good it is.
pub(super) struct Learnt {
    pub(super) plan: Plan,
    pub(super) figures: Vec<(&'static str, f64)>,
}

/// Somebody looked at an item, or put it into a cart.
struct Touch {
    who: u32,
    at: i64,
    item: u32,
}

impl Visits {
    /// Reads the latest visits up to an entry of the journal.
    ///
    /// # Errors
    /// The store's failure, or [`Untrained::Cancelled`].
    pub fn latest(journal: &JournalReader, until: u64, progress: &Progress) -> Result<Self, Untrained> {
        Self::between(journal, until.saturating_sub(ENTRIES_MAX) + 1, until, progress)
    }

    /// Reads the visits from one entry to another.
    ///
    /// # Errors
    /// The store's failure, or [`Untrained::Cancelled`].
    pub fn between(journal: &JournalReader, from: u64, until: u64, progress: &Progress) -> Result<Self, Untrained> {
        let (mut people, mut numbers, mut touches) = (HashMap::new(), HashMap::new(), Vec::new());
        let mut items: Vec<Box<str>> = Vec::new();
        for entry in journal.iter(from) {
            let entry = entry?;
            if entry.seq > until {
                break;
            }
            progress.step(0)?;
            let Some((who, at, lines)) = touched(&entry) else { continue };
            let next = u32::try_from(people.len()).unwrap_or(u32::MAX);
            let who = *people.entry(who).or_insert(next);
            for line in lines.iter().filter(|line| !line.product_id.is_empty()).take(LINES_MAX) {
                let item = *numbers.entry(line.product_id.clone()).or_insert_with(|| {
                    items.push(line.product_id.clone());
                    u32::try_from(items.len() - 1).unwrap_or(u32::MAX)
                });
                touches.push(Touch { who, at, item });
            }
            if touches.len() >= 2 * TOUCHES_MAX {
                touches.drain(..touches.len() - TOUCHES_MAX);
            }
        }
        touches.drain(..touches.len().saturating_sub(TOUCHES_MAX));
        Ok(Self { items, sequences: visits(touches), from, until })
    }

    /// How many visits there are.
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    fn table(&self, visits: &[Vec<(u32, f64)>]) -> Result<Interactions, Untrained> {
        let (mut users, mut items, mut at) = (Vec::new(), Vec::new(), Vec::new());
        for (number, visit) in visits.iter().enumerate() {
            for (item, when) in visit {
                users.push(number.to_string());
                items.push(self.items[*item as usize].to_string());
                at.push(*when);
            }
        }
        let columns = Columns { users: &users, items: &items, at: &at, baskets: &users };
        Interactions::read(&columns).map_err(shop::failed)
    }

    /// Learns what comes next, and judges it on the latest visits beside what is bought together.
    pub(super) fn learn(&self, together: &Recommender, seed: u64, halt: &Halt) -> Result<Learnt, Untrained> {
        if self.len() < VISITS_MIN {
            let found = self.len();
            let why =
                format!("{found} visits are known, {VISITS_MIN} are needed: what lies in orders with these items");
            return Ok(Learnt { plan: Plan::Instead(why), figures: Vec::new() });
        }
        let (known, hidden) = self.sequences.split_at(self.len() - self.len() / HIDDEN);
        let earlier = self.table(known)?;
        let mut choice = choose(&earlier, halt)?;
        shop::sow(&mut choice, seed);
        let model = Recommender::fit(&earlier, Task::Session, choice.clone(), 1, halt).map_err(shop::failed)?;
        let (ours, theirs) = (self.judge(&model, hidden), self.judge(together, hidden));
        let figures = vec![("session_hits_of_10", ours), ("together_in_sessions_hits_of_10", theirs)];
        let plan = if ours >= theirs {
            Plan::Learnt { choice, from: self.from, until: self.until }
        } else {
            Plan::Instead("orders foretold visits better than visits did: what lies in orders with these items".into())
        };
        Ok(Learnt { plan, figures })
    }

    /// In which share of visits the last view was one of ten recommended from those before it.
    #[expect(clippy::cast_precision_loss, reason = "a thousand visits")]
    fn judge(&self, model: &Recommender, hidden: &[Vec<(u32, f64)>]) -> f64 {
        let every = hidden.len().div_ceil(JUDGED).max(1);
        let asked = hidden.iter().step_by(every).filter_map(|visit| visit.split_last());
        let foretold = |((last, _), before): (&(u32, f64), &[(u32, f64)])| {
            let before: Vec<&str> = before.iter().map(|(item, _)| &*self.items[*item as usize]).collect();
            model.after(&before, shop::TOP).iter().any(|got| *got.item == *self.items[*last as usize])
        };
        let hits: Vec<bool> = asked.map(foretold).collect();
        hits.iter().filter(|hit| **hit).count() as f64 / hits.len().max(1) as f64
    }

    /// Fits a choice to all visits.
    ///
    /// # Errors
    /// [`Untrained::Failed`] when nothing is left of them.
    pub fn fit(&self, choice: Choice, halt: &Halt) -> Result<Recommender, Untrained> {
        Recommender::fit(&self.table(&self.sequences)?, Task::Session, choice, 1, halt).map_err(shop::failed)
    }
}

/// What suits visits by its own trials.
fn choose(data: &Interactions, halt: &Halt) -> Result<Choice, Untrained> {
    let effort = Effort { questions: QUESTIONS, threads: 1 };
    let search = Search { effort, items_only: false, keep: Some(shop::KEEP), halt: halt.clone() };
    let mut choice = Recommender::choose(data, Task::Session, &search, &mut |_| {}).map_err(shop::failed)?;
    for (how, _) in &mut choice.blend {
        if let Settings::Sessions(how) = how {
            how.sample = how.sample.min(SAMPLE_MAX);
            how.nearest = how.nearest.min(SAMPLE_MAX);
        }
    }
    Ok(choice)
}

/// Who touched which products in an entry, and when.
fn touched(entry: &Entry) -> Option<(CustomerId, i64, &[Line])> {
    let Some(Input::Event(event)) = &entry.input else { return None };
    let lines = match &event.body {
        Body::ProductViewed(line) => std::slice::from_ref(line),
        Body::Cart { change: CartChange::Added, lines } => lines,
        _ => return None,
    };
    Some((entry.customer?, event.at.as_millis(), lines))
}

/// Cuts the touches of each person where they fell silent; visits of one view say nothing.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of our age are below 2^53")]
fn visits(mut touches: Vec<Touch>) -> Vec<Vec<(u32, f64)>> {
    touches.sort_by_key(|touch| (touch.who, touch.at));
    let mut ended = BTreeMap::new();
    for visit in touches.chunk_by(|a, b| a.who == b.who && b.at - a.at <= SILENCE_MS) {
        let mut views: Vec<(u32, f64)> = visit.iter().map(|t| (t.item, t.at as f64 / DAY_MS as f64)).collect();
        views.dedup_by_key(|(item, _)| *item);
        views.drain(..views.len().saturating_sub(VIEWS_MAX));
        let last = &visit[visit.len() - 1];
        if views.len() > 1 {
            ended.insert((last.at, last.who), views);
        }
    }
    ended.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(touches: &[(u32, i64, u32)]) -> Vec<Vec<u32>> {
        let touches = touches.iter().map(|&(who, minute, item)| Touch { who, at: minute * 60_000, item }).collect();
        visits(touches).into_iter().map(|visit| visit.into_iter().map(|(item, _)| item).collect()).collect()
    }

    #[test]
    fn a_visit_ends_with_half_an_hour_of_silence() {
        assert_eq!(walk(&[(1, 0, 7), (1, 30, 8), (1, 61, 9), (1, 62, 7)]), [vec![7, 8], vec![9, 7]]);
    }

    #[test]
    fn people_do_not_share_a_visit_and_the_last_to_leave_stands_last() {
        assert_eq!(walk(&[(1, 0, 7), (2, 1, 8), (1, 9, 6), (2, 3, 5)]), [vec![8, 5], vec![7, 6]]);
    }

    #[test]
    fn looking_at_the_same_thing_again_is_one_view_and_coming_back_to_it_another() {
        assert_eq!(walk(&[(1, 0, 7), (1, 1, 7)]), Vec::<Vec<u32>>::new());
        assert_eq!(walk(&[(1, 0, 7), (1, 1, 7), (1, 2, 8), (1, 3, 7)]), [vec![7, 8, 7]]);
    }

    #[test]
    fn of_a_machine_that_looks_at_everything_the_end_is_kept() {
        let all: Vec<(u32, i64, u32)> = (0..80).map(|n| (1, i64::from(n), n)).collect();
        assert_eq!(walk(&all), [(30..80).collect::<Vec<u32>>()]);
    }
}
