//! Customers with the same history count once, with a weight.
//!
//! Likelihoods only see (frequency, recency, age), and shops measure those in days, so a million
//! customers often have a few ten thousand histories. Grouping is skipped when it does not pay.

#![allow(clippy::float_cmp, reason = "values that were copied or counted are compared, not computed ones")]

use std::ops::Range;

use super::Purchases;

/// One history and how many customers have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) frequency: u32,
    pub(super) recency: f64,
    pub(super) age: f64,
    pub(super) weight: f64,
}

/// Rows sorted into blocks of equal frequency.
pub(super) struct Grouped {
    pub(super) rows: Vec<Row>,
    pub(super) blocks: Vec<Range<usize>>,
    pub(super) customers: f64,
}

/// Customers looked at before deciding whether histories repeat often enough to group them.
const TRIAL: usize = 65_536;
/// A slot of the hash table that holds no row.
const VACANT: u32 = u32::MAX;

impl Grouped {
    pub(super) fn of(customers: impl ExactSizeIterator<Item = Purchases>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a count of customers")]
        let total = customers.len() as f64;
        let mut rows = unite(customers);
        rows.sort_unstable_by_key(|r| r.frequency);
        let mut blocks = Vec::new();
        let mut from = 0;
        while from < rows.len() {
            let frequency = rows[from].frequency;
            let to = from + rows[from..].partition_point(|r| r.frequency <= frequency);
            blocks.push(from..to);
            from = to;
        }
        Self { rows, blocks, customers: total }
    }

    /// Every `customers.len() / about`-th customer: a deterministic sample to start a fit from.
    pub(super) fn sample(customers: &[Purchases], about: usize) -> Self {
        Self::of(customers.iter().copied().step_by((customers.len() / about).max(1)))
    }
}

/// Unites equal histories; stops trying when the first ones are nearly all different.
fn unite(mut customers: impl ExactSizeIterator<Item = Purchases>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut table = vec![VACANT; 1 << 12];
    let mut seen = 0;
    for c in customers.by_ref() {
        let mut slot = spread(&c) & (table.len() - 1);
        loop {
            let held = table[slot];
            if held == VACANT {
                #[expect(clippy::cast_possible_truncation, reason = "fewer rows than 2^32 - 1")]
                let index = rows.len() as u32;
                table[slot] = index;
                rows.push(alone(c));
                break;
            }
            let row = &mut rows[held as usize];
            if row.frequency == c.frequency && row.age == c.age && row.recency == c.recency {
                row.weight += 1.0;
                break;
            }
            slot = (slot + 1) & (table.len() - 1);
        }
        seen += 1;
        if rows.len() * 2 > table.len() {
            table = rehash(&rows, table.len() * 4);
        }
        if seen == TRIAL && rows.len() > TRIAL / 4 * 3 {
            break;
        }
    }
    rows.extend(customers.map(alone));
    rows
}

fn alone(c: Purchases) -> Row {
    Row { frequency: c.frequency, recency: c.recency, age: c.age, weight: 1.0 }
}

fn rehash(rows: &[Row], size: usize) -> Vec<u32> {
    let mut table = vec![VACANT; size];
    for (index, row) in rows.iter().enumerate() {
        let key = Purchases { frequency: row.frequency, recency: row.recency, age: row.age };
        let mut slot = spread(&key) & (size - 1);
        while table[slot] != VACANT {
            slot = (slot + 1) & (size - 1);
        }
        #[expect(clippy::cast_possible_truncation, reason = "fewer rows than 2^32 - 1")]
        let index = index as u32;
        table[slot] = index;
    }
    table
}

/// A hash of a history (multiply and fold, after Fibonacci hashing).
#[expect(clippy::cast_possible_truncation, reason = "the table uses the lower bits of the folded hash")]
fn spread(c: &Purchases) -> usize {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let mixed = c.age.to_bits().wrapping_mul(GOLDEN) ^ c.recency.to_bits().rotate_left(23) ^ u64::from(c.frequency);
    let product = u128::from(mixed.wrapping_mul(GOLDEN)) * u128::from(GOLDEN);
    (product as u64 ^ (product >> 64) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::made_up;

    #[test]
    fn grouping_keeps_every_customer_once() {
        let customers = made_up::customers(30_000, 1);
        let grouped = Grouped::of(customers.iter().copied());
        let weight: f64 = grouped.rows.iter().map(|r| r.weight).sum();
        assert_eq!(weight, 30_000.0);
        assert!(grouped.rows.len() < 25_000);
        let bought: f64 = grouped.rows.iter().map(|r| r.weight * f64::from(r.frequency)).sum();
        let truth: u32 = customers.iter().map(|c| c.frequency).sum();
        assert_eq!(bought, f64::from(truth));
        for block in &grouped.blocks {
            assert!(grouped.rows[block.clone()].iter().all(|r| r.frequency == grouped.rows[block.start].frequency));
        }
    }

    #[test]
    fn histories_that_never_repeat_are_left_as_they_are() {
        let customers: Vec<_> =
            (0..100_000).map(|i| Purchases { frequency: 1, recency: 1.0, age: 2.0 + f64::from(i) * 1e-3 }).collect();
        assert_eq!(Grouped::of(customers.iter().copied()).rows.len(), 100_000);
    }
}
