//! Comparing what finds customers, orders and entries with what a refold makes of it: whatever is missing there
//! would be forgotten, or counted twice, without a customer being different.

use std::collections::BTreeMap;

use perennial_core::id::{CustomerId, OrderRef};
use perennial_store::{Failure, ROWS_MAX};

use super::Warm;
use crate::workspace::rows;

/// Entries whose postings are compared at a time.
const SLICE: u64 = 10_000;

type Timelines = BTreeMap<CustomerId, Vec<u64>>;

impl Warm {
    /// What of it is not as another memory has it, which holds all of the same journal.
    pub(in crate::workspace) fn index_faults(&mut self, again: &mut Self) -> Result<Vec<String>, Failure> {
        let counted = [
            ("names that do not lead where they did", self.wrong_names(again)?),
            ("orders that are somebody else's or nobody's", self.wrong_orders(again)?),
            ("answers, redemptions or waiting entries that are not found under their keys", self.wrong_kept(again)?),
            ("old orders that are not as they were put away", self.wrong_old_orders(again)?),
            ("timelines that are not those of the journal", self.wrong_timelines(again)?),
            ("postings in the table that are not those of the journal", self.wrong_postings(again)?),
            ("customers in the table who are not woken when they should be", self.wrong_alarms()?),
        ];
        let wrong = counted.into_iter().filter(|(_, count)| *count > 0);
        Ok(wrong.map(|(what, count)| format!("{count} {what}: `perennial rebuild` mends that")).collect())
    }

    fn wrong_names(&mut self, again: &mut Self) -> Result<usize, Failure> {
        let names: Vec<_> = again.identifiers.iter().map(|(name, id)| (*name, *id)).collect();
        count(names, |(name, id)| {
            let held = self.lookup(name)?;
            let (held, expected) = (self.end_of(held)?, again.end_of(id)?);
            Ok(held == expected)
        })
    }

    fn end_of(&mut self, id: Option<CustomerId>) -> Result<Option<CustomerId>, Failure> {
        id.map(|id| self.survivor(id)).transpose()
    }

    fn wrong_orders(&mut self, again: &mut Self) -> Result<usize, Failure> {
        let orders: Vec<OrderRef> = again.orders.keys().copied().collect();
        count(orders, |order| Ok(self.order_owner(order)? == again.order_owner(order)?))
    }

    fn wrong_kept(&self, again: &Self) -> Result<usize, Failure> {
        count(&again.shelf, |(key, body)| Ok(self.kept_bytes(*key)? == *body))
    }

    fn wrong_old_orders(&self, again: &Self) -> Result<usize, Failure> {
        let mut wrong = 0;
        for owner in again.archive.keys() {
            let expected = again.old_orders_of(*owner)?;
            let held = self.old_orders_of(*owner)?;
            wrong += expected.iter().filter(|(order, record)| held.get(order) != Some(record)).count();
        }
        Ok(wrong)
    }

    fn wrong_timelines(&self, again: &Self) -> Result<usize, Failure> {
        let mut recent = by_customer(self.older.timeline.iter().chain(&self.news.timeline));
        count(by_customer(&again.news.timeline), |(id, expected)| {
            let mut held = recent.remove(&id).unwrap_or_default();
            let mut before = None;
            loop {
                let page = self.state.timeline(id, before, ROWS_MAX)?;
                let Some(last) = page.last() else { break };
                before = Some(*last);
                held.extend(page);
            }
            held.sort_unstable();
            held.dedup();
            Ok(held == expected)
        })
    }

    fn wrong_postings(&self, again: &Self) -> Result<usize, Failure> {
        let (rows, position) = (&again.news.postings, self.state.position()?);
        let mut wrong = 0;
        for first in (0..=position / SLICE).map(|slice| slice * SLICE + 1) {
            let last = position.min(first + SLICE - 1);
            let from = rows.partition_point(|row| row.seq < first);
            let until = rows.partition_point(|row| row.seq <= last);
            wrong += self.state.postings_unlike(first, last, &rows[from..until])?;
        }
        Ok(wrong)
    }

    fn wrong_alarms(&self) -> Result<usize, Failure> {
        let (mut wrong, mut after) = (0, None);
        loop {
            let page = self.state.customers(after, 1_000)?;
            let Some(last) = page.last() else { return Ok(wrong) };
            after = Some(last.id);
            wrong += count(&page, |row| Ok(rows::decode(row)?.next_due() == row.next_due))?;
        }
    }
}

/// How many are not right.
fn count<T>(
    all: impl IntoIterator<Item = T>,
    mut is_right: impl FnMut(T) -> Result<bool, Failure>,
) -> Result<usize, Failure> {
    let mut wrong = 0;
    for one in all {
        wrong += usize::from(!is_right(one)?);
    }
    Ok(wrong)
}

fn by_customer<'a>(entries: impl IntoIterator<Item = &'a (CustomerId, u64)>) -> Timelines {
    let mut timelines = Timelines::new();
    for (id, seq) in entries {
        timelines.entry(*id).or_default().push(*seq);
    }
    timelines
}
