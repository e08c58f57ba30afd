//! Orders that the state surely does not hold. Most orders are new, and asking the file for one costs
//! more than folding it.
//!
//! Promise: an order that a checkpoint has written is never called absent. What the file held before
//! is read in by the checkpoints after a start, some each; until all is in, nothing is called absent.

use std::sync::Mutex;

use perennial_core::id::OrderRef;
use rusqlite::Connection;

use crate::failure::{Doing as _, Failure};
use crate::filter::Filter;
use crate::sqlite::{guard, to_sql};
use crate::state::{KeptKey, ORDER};

/// Tags of the first filter and of the largest, as powers of two.
const SMALLEST_BITS: u32 = 17;
const LARGEST_BITS: u32 = 22;
/// Filters at most: some 70 million orders, 150 MB. A larger shop asks the file.
const FILTERS_MAX: usize = 24;
const READING: &str = "read the orders";
/// Keys of orders lie between these.
const FIRST: KeptKey = [ORDER; 17];
const LAST: KeptKey = {
    let mut key = [u8::MAX; 17];
    key[0] = ORDER;
    key
};
/// Orders that are read in at a time, so that nobody waits for long.
const SLICE: usize = if cfg!(test) { 100 } else { 20_000 };
/// Slices of one checkpoint.
const SLICES: usize = 50;

pub(crate) struct SeenOrders(Mutex<Seen>);

struct Seen {
    filters: Vec<Filter>,
    reading: Reading,
}

/// How far the file is read in.
#[derive(Clone, Copy, PartialEq)]
enum Reading {
    /// Runs in the order of their numbers, each in the order of keys, up to here. What a merge moves
    /// comes again in a run of a larger number.
    UpTo(i64, KeptKey),
    Done,
    GivenUp,
}

impl SeenOrders {
    /// Nothing of a file is read in yet, but that it is empty is known at once: a refold would else ask
    /// it for every order.
    pub(crate) fn of(db: &Connection) -> Result<Self, Failure> {
        let reading = run_after(db, 0)?.map_or(Reading::Done, |run| Reading::UpTo(run, FIRST));
        Ok(Self(Mutex::new(Seen { filters: Vec::new(), reading })))
    }

    /// Whether an order is surely not in the file.
    pub(crate) fn lacks(&self, order: OrderRef) -> bool {
        let seen = guard(&self.0);
        seen.reading == Reading::Done && !seen.filters.iter().any(|filter| filter.contains(hash(order)))
    }

    /// Takes note of orders that are about to be written. Call it first.
    pub(crate) fn note(&self, orders: impl Iterator<Item = OrderRef>) {
        let mut seen = guard(&self.0);
        orders.for_each(|order| seen.insert(order));
    }

    /// Reads in some of what the file holds.
    pub(crate) fn read_on(&self, db: &Connection) -> Result<(), Failure> {
        for _ in 0..SLICES {
            let Reading::UpTo(run, last) = guard(&self.0).reading else { return Ok(()) };
            let slice = slice(db, run, last)?;
            let next = match slice.last() {
                Some(last) if slice.len() == SLICE => Reading::UpTo(run, *last),
                _ => run_after(db, run)?.map_or(Reading::Done, |run| Reading::UpTo(run, FIRST)),
            };
            let mut seen = guard(&self.0);
            slice.iter().for_each(|key| seen.insert(order_of(key)));
            if seen.reading != Reading::GivenUp {
                seen.reading = next;
            }
        }
        Ok(())
    }
}

impl Seen {
    fn insert(&mut self, order: OrderRef) {
        if self.reading == Reading::GivenUp {
            return;
        }
        if self.filters.last().is_none_or(Filter::is_full) {
            if self.filters.len() == FILTERS_MAX {
                *self = Self { filters: Vec::new(), reading: Reading::GivenUp };
                return;
            }
            let steps = u32::try_from(self.filters.len()).unwrap_or(LARGEST_BITS);
            self.filters.push(Filter::with_bits((SMALLEST_BITS + steps).min(LARGEST_BITS)));
        }
        if let Some(filter) = self.filters.last_mut() {
            filter.insert(hash(order));
        }
    }
}

fn run_after(db: &Connection, run: i64) -> Result<Option<i64>, Failure> {
    let sql = "SELECT min(run) FROM runs WHERE run > ?1 AND state IN ('open', 'live')";
    db.query_row(sql, [run], |row| row.get(0)).doing(READING)
}

fn slice(db: &Connection, run: i64, after: KeptKey) -> Result<Vec<KeptKey>, Failure> {
    let sql = "SELECT key FROM sorted WHERE run = ?1 AND key > ?2 AND key <= ?3 ORDER BY key LIMIT ?4";
    let mut statement = db.prepare_cached(sql).doing(READING)?;
    let rows = statement.query_map((run, after, LAST, to_sql(SLICE as u64)), |row| row.get(0));
    rows.and_then(Iterator::collect).doing(READING)
}

fn order_of(key: &KeptKey) -> OrderRef {
    OrderRef(key.last_chunk().copied().unwrap_or_default())
}

/// Names of orders are keyed hashes, so their first bytes are as random as any.
fn hash(order: OrderRef) -> u64 {
    u64::from_le_bytes(order.0.first_chunk().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use perennial_core::id::{CustomerId, Secret};

    use super::*;
    use crate::{Checkpoint, Store};

    const ANA: CustomerId = CustomerId([1; 16]);

    fn order(n: u32) -> OrderRef {
        OrderRef(Secret([7; 16]).digest(&[&n.to_le_bytes()]))
    }

    fn with(orders: std::ops::Range<u32>) -> Checkpoint {
        Checkpoint { orders: orders.map(|n| (order(n), ANA)).collect(), ..Checkpoint::default() }
    }

    #[test]
    fn every_order_is_found_however_far_the_file_is_read_in() {
        let dir = tempfile::tempdir().unwrap();
        Store::open(dir.path()).unwrap().state.checkpoint(with(0..12_000)).unwrap();
        let state = Store::open(dir.path()).unwrap().state;
        for known in (12_000..12_050).step_by(10) {
            assert!((0..known).all(|n| state.order_owner(order(n)).unwrap() == Some(ANA)), "{known} orders");
            assert_eq!(state.order_owner(order(known)).unwrap(), None);
            state.checkpoint(with(known..known + 10)).unwrap();
        }
    }

    #[test]
    fn a_stranger_is_absent_without_a_look_into_the_file_once_all_is_read_in() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(crate::state::LAYOUT.schema).unwrap();
        for run in 1..=2 {
            db.execute("INSERT INTO runs(run, level, state) VALUES(?1, 0, 'live')", [run]).unwrap();
        }
        for n in 0..7_000 {
            let key = [&[ORDER][..], &order(n).0].concat();
            db.execute("INSERT INTO sorted VALUES(?1, ?2, ?3)", (1 + n % 2, key, ANA.0)).unwrap();
        }
        let seen = SeenOrders::of(&db).unwrap();
        let absent = |range: std::ops::Range<u32>| range.filter(|n| seen.lacks(order(*n))).count();
        seen.read_on(&db).unwrap();
        assert_eq!(absent(0..20_000), 0, "2,000 orders are still to be read");
        seen.read_on(&db).unwrap();
        assert_eq!(absent(0..7_000), 0);
        assert!(absent(7_000..20_000) > 12_900);
        seen.note([order(19_999)].into_iter());
        assert!(!seen.lacks(order(19_999)));
    }
}
