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

/// Tags of the first filter and of the largest, as powers of two.
const SMALLEST_BITS: u32 = 17;
const LARGEST_BITS: u32 = 22;
/// Filters at most: some 70 million orders, 150 MB. A larger shop asks the file.
const FILTERS_MAX: usize = 24;
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
    /// In the order of keys, up to this one.
    UpTo(Option<OrderRef>),
    Done,
    GivenUp,
}

impl SeenOrders {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Seen { filters: Vec::new(), reading: Reading::UpTo(None) }))
    }

    /// Whether an order is surely not in the file.
    pub(crate) fn lacks(&self, order: OrderRef) -> bool {
        let seen = guard(&self.0);
        seen.reading == Reading::Done && !seen.filters.iter().any(|filter| filter.contains(hash(order)))
    }

    /// Takes note of orders that are about to be written. Call it first.
    pub(crate) fn note(&self, orders: impl Iterator<Item = OrderRef>) {
        let mut seen = guard(&self.0);
        for order in orders {
            let comes_later = matches!(seen.reading, Reading::UpTo(last) if last.is_none_or(|last| order > last));
            if !comes_later {
                seen.insert(order);
            }
        }
    }

    /// Reads in some of what the file holds.
    pub(crate) fn read_on(&self, db: &Connection) -> Result<(), Failure> {
        for _ in 0..SLICES {
            let Reading::UpTo(last) = guard(&self.0).reading else { return Ok(()) };
            let slice = slice(db, last)?;
            let mut seen = guard(&self.0);
            let next = if slice.len() < SLICE { Reading::Done } else { Reading::UpTo(slice.last().copied()) };
            seen.reading = next;
            slice.into_iter().for_each(|order| seen.insert(order));
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

fn slice(db: &Connection, after: Option<OrderRef>) -> Result<Vec<OrderRef>, Failure> {
    const DOING: &str = "read the orders";
    let mut statement =
        db.prepare_cached("SELECT hash FROM orders WHERE hash > ?1 ORDER BY hash LIMIT ?2").doing(DOING)?;
    let after = after.map_or_else(Vec::new, |order| order.0.to_vec());
    let rows = statement.query_map((after, to_sql(SLICE as u64)), |row| row.get(0).map(OrderRef));
    rows.and_then(Iterator::collect).doing(DOING)
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
        db.execute_batch("CREATE TABLE orders(hash BLOB PRIMARY KEY, customer BLOB) WITHOUT ROWID").unwrap();
        for n in 0..7_000 {
            db.execute("INSERT INTO orders VALUES(?1, ?2)", (order(n).0, ANA.0)).unwrap();
        }
        let seen = SeenOrders::new();
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
