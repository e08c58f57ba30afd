//! History as models read it: who ordered when, for how much, and what.
//!
//! Read from the state's last checkpoint, which is the journal folded up to a position: refunds are
//! taken off, merged customers are one, erased ones are gone. Promise: one pass, page by page; only
//! compact columns stay in memory, and no more lines than [`LINES_MAX`].
//! Absent on purpose: names and traits of people. A customer is a number here.

use std::collections::HashMap;

use perennial_core::customer::Customer;
use perennial_core::score::Basis;
use perennial_core::time::Timestamp;
use perennial_store::State;

use super::{DAY_MS, Progress, Untrained};
use crate::workspace;

/// Order lines that are read at most: each costs some hundred bytes while a model is trained. Ids of
/// customers are hashes, so those who are read first are a fair sample.
pub const LINES_MAX: usize = 2_000_000;
/// Customers of one page.
const PAGE: usize = 200;

/// Days with an order of every customer who ordered.
#[derive(Debug, Default)]
pub struct History {
    /// Where each customer's days begin; one more than there are customers.
    starts: Vec<usize>,
    /// Days since 1970 with the minor units that stand of their orders, oldest first.
    days: Vec<(i32, i64)>,
    /// Days with an order that are older than the list of the customer, all before the first listed.
    older: Vec<u32>,
    /// The very first day of each customer.
    first: Vec<i32>,
    /// The last journal entry that the history knows.
    pub position: u64,
    /// The latest order of all.
    pub latest: Timestamp,
    /// The earliest order of all.
    pub earliest: Timestamp,
    /// Orders that stand.
    pub orders: u64,
}

/// One customer's part of it.
#[derive(Clone, Copy, Debug)]
pub struct Days<'a> {
    /// Days with the minor units spent on each, oldest first.
    pub days: &'a [(i32, i64)],
    /// Older days that are not listed.
    pub older: u32,
    /// The very first day.
    pub first: i32,
}

impl History {
    /// Reads everybody's days with an order in the programme's currency.
    ///
    /// # Errors
    /// The store's failure, or [`Untrained::Cancelled`].
    pub fn read(state: &State, progress: &Progress) -> Result<Self, Untrained> {
        let mut history =
            Self { starts: vec![0], position: state.position()?, earliest: Timestamp::NEVER, ..Self::default() };
        each(state, progress, |customer| {
            history.add(customer);
            true
        })?;
        Ok(history)
    }

    fn add(&mut self, customer: &Customer) {
        let from = self.days.len();
        let orders = customer.orders.iter().filter(|o| o.counts && o.stands());
        let mut listed = 0;
        for order in orders {
            self.earliest = self.earliest.min(order.at);
            self.latest = self.latest.max(order.at);
            self.days.push((day_of(order.at), order.left()));
            listed += 1;
        }
        if listed == 0 {
            return;
        }
        let own = &mut self.days[from..];
        own.sort_unstable();
        let mut kept = from;
        for at in from + 1..self.days.len() {
            if self.days[at].0 == self.days[kept].0 {
                self.days[kept].1 += self.days[at].1;
            } else {
                kept += 1;
                self.days[kept] = self.days[at];
            }
        }
        self.days.truncate(kept + 1);
        self.starts.push(self.days.len());
        let standing = customer.orders.standing;
        self.orders += u64::try_from(standing.count).unwrap_or(0);
        self.older.push(u32::try_from(standing.count - listed).unwrap_or(0));
        self.first.push(standing.first.map_or(self.days[from].0, day_of).min(self.days[from].0));
    }

    /// Customers who ordered.
    pub fn customers(&self) -> usize {
        self.older.len()
    }

    /// Each customer's days.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Days<'_>> {
        (0..self.customers()).map(|at| Days {
            days: &self.days[self.starts[at]..self.starts[at + 1]],
            older: self.older[at],
            first: self.first[at],
        })
    }

    /// What is known of each customer by the end of the history.
    pub fn bases(&self) -> Vec<Basis> {
        self.iter().map(|own| own.basis(self.latest)).collect()
    }

    /// First and last day of all.
    pub fn span(&self) -> (i32, i32) {
        (day_of(self.earliest), day_of(self.latest))
    }
}

impl Days<'_> {
    fn basis(&self, at: Timestamp) -> Basis {
        let last = self.days.last().map_or(self.first, |(day, _)| *day);
        let listed = u32::try_from(self.days.len()).unwrap_or(u32::MAX);
        let spend = self.days.iter().map(|(_, spent)| spent).sum();
        Basis {
            at,
            orders: listed.saturating_add(self.older),
            first: midnight(self.first),
            last: midnight(last),
            spend,
        }
    }
}

/// What is known of one customer at an instant; nothing of someone without an order that stands.
pub fn basis(customer: &Customer, at: Timestamp) -> Option<Basis> {
    let standing = customer.orders.standing;
    let mut days: Vec<i32> = customer.orders.counted().map(day_of).collect();
    let listed = i64::try_from(days.len()).unwrap_or(i64::MAX);
    days.sort_unstable();
    days.dedup();
    let (first, last) = (*days.first()?, *days.last()?);
    let older = u32::try_from(standing.count - listed).unwrap_or(0);
    Some(Basis {
        at: at.max(midnight(last)),
        orders: u32::try_from(days.len()).unwrap_or(u32::MAX).saturating_add(older),
        first: midnight(standing.first.map_or(first, day_of).min(first)),
        last: midnight(last),
        spend: standing.spend,
    })
}

/// Days since 1970 in UTC: models count days alike for every shop.
pub fn day_of(at: Timestamp) -> i32 {
    i32::try_from(at.as_millis().div_euclid(DAY_MS)).unwrap_or(i32::MAX)
}

fn midnight(day: i32) -> Timestamp {
    Timestamp::from_millis(i64::from(day) * DAY_MS)
}

/// Who took what and when, for recommenders.
#[derive(Debug, Default)]
pub struct Lines {
    /// The items' names.
    pub items: Vec<Box<str>>,
    /// Customer, item, and when in days since 1970.
    pub rows: Vec<(u32, u32, f64)>,
    /// Customers who took anything.
    pub customers: u32,
    /// Orders read.
    pub orders: u64,
    /// The last journal entry that is known.
    pub position: u64,
    /// First and last order.
    pub span: (Timestamp, Timestamp),
    /// More lines were there than are read.
    pub cut: bool,
}

impl Lines {
    /// Reads the standing lines of everybody's orders, in order of time for each customer.
    ///
    /// # Errors
    /// The store's failure, or [`Untrained::Cancelled`].
    pub fn read(state: &State, progress: &Progress) -> Result<Self, Untrained> {
        let mut lines =
            Self { position: state.position()?, span: (Timestamp::NEVER, Timestamp::EPOCH), ..Self::default() };
        let mut numbers = HashMap::new();
        each(state, progress, |customer| {
            lines.add(customer, &mut numbers);
            lines.cut = lines.rows.len() >= LINES_MAX;
            !lines.cut
        })?;
        Ok(lines)
    }

    fn add(&mut self, customer: &Customer, numbers: &mut HashMap<Box<str>, u32>) {
        let before = self.rows.len();
        for order in customer.orders.iter().filter(|o| o.stands()) {
            let at = days(order.at);
            for line in order.lines.iter().filter(|l| !l.pieces.is_zero() && !l.product_id.is_empty()) {
                let item = *numbers.entry(line.product_id.clone()).or_insert_with(|| {
                    self.items.push(line.product_id.clone());
                    u32::try_from(self.items.len() - 1).unwrap_or(u32::MAX)
                });
                self.rows.push((self.customers, item, at));
            }
            self.orders += 1;
            self.span = (self.span.0.min(order.at), self.span.1.max(order.at));
        }
        if self.rows.len() > before {
            self.rows[before..].sort_by(|a, b| a.2.total_cmp(&b.2));
            self.customers += 1;
        }
    }
}

/// An instant in days since 1970.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of our age are below 2^53")]
pub fn days(at: Timestamp) -> f64 {
    at.as_millis() as f64 / DAY_MS as f64
}

/// Calls `see` for every customer until it says no.
fn each(state: &State, progress: &Progress, mut see: impl FnMut(&Customer) -> bool) -> Result<(), Untrained> {
    progress.begin(state.count()?);
    let mut after = None;
    loop {
        let page = workspace::customers(state, after, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        for customer in &page {
            if !see(customer) {
                return Ok(());
            }
        }
        progress.step(page.len() as u64)?;
    }
}
