//! Timelines: each entry names its customer and the entry before it of the same customer.
//!
//! A timeline is read backwards from its head and written at the end of the table, whoever it belongs to.
//! Sixty-four entries share a row, twelve bytes each (customer, 4; entry before, 8; little-endian), so that
//! most are written without a statement of their own. Zeros: an entry that is in nobody's timeline.

use perennial_core::id::CustomerId;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{WRITING, stub};
use crate::failure::{Doing as _, Failure};
use crate::sqlite::{from_sql, to_sql};

/// Entries of one row.
const ENTRIES: u64 = 64;
/// Bytes of an entry's link.
const LINK: usize = 4 + 8;
const READING: &str = "read a timeline";

/// Where an entry leads: the number of its customer, and the entry before.
struct Link {
    customer: i64,
    before: u64,
}

/// New entries of all timelines.
pub(super) struct Chains(Vec<(u64, Link)>);

impl Chains {
    pub(super) fn with_capacity(entries: usize) -> Self {
        Self(Vec::with_capacity(entries))
    }

    /// Chains new entries to the timeline of customer `n`; its new head.
    pub(super) fn lengthen(&mut self, n: i64, head: i64, entries: &[(CustomerId, u64)]) -> i64 {
        let chained = entries.iter().fold(from_sql(head), |before, (_, seq)| {
            self.0.push((*seq, Link { customer: n, before }));
            *seq
        });
        to_sql(chained)
    }

    /// In the order of the journal: rows go behind the last one of the table, and fill its pages.
    pub(super) fn write(mut self, tx: &Transaction<'_>) -> Result<(), Failure> {
        self.0.sort_unstable_by_key(|(seq, _)| *seq);
        let mut statement = tx.prepare_cached("INSERT OR REPLACE INTO timeline VALUES(?1, ?2)").doing(WRITING)?;
        for row in self.0.chunk_by(|a, b| a.0 / ENTRIES == b.0 / ENTRIES) {
            let number = row[0].0 / ENTRIES;
            let mut links = links(tx, number)?.unwrap_or_default();
            for (seq, link) in row {
                put(&mut links, *seq, link)?;
            }
            statement.execute(params![to_sql(number), links]).doing(WRITING)?;
        }
        Ok(())
    }
}

fn put(links: &mut Vec<u8>, seq: u64, link: &Link) -> Result<(), Failure> {
    let at = place(seq);
    if links.len() < at + LINK {
        links.resize(at + LINK, 0);
    }
    let customer =
        u32::try_from(link.customer).map_err(|_| Failure::corrupt(WRITING, "a customer's number is too large"))?;
    links[at..at + 4].copy_from_slice(&customer.to_le_bytes());
    links[at + 4..at + LINK].copy_from_slice(&link.before.to_le_bytes());
    Ok(())
}

/// Where an entry's link begins in its row.
fn place(seq: u64) -> usize {
    usize::try_from(seq % ENTRIES).unwrap_or_default() * LINK
}

fn links(db: &Connection, number: u64) -> Result<Option<Vec<u8>>, Failure> {
    let mut statement = db.prepare_cached("SELECT links FROM timeline WHERE number = ?1").doing(READING)?;
    statement.query_row([to_sql(number)], |row| row.get(0)).optional().doing(READING)
}

/// The row that was read last: neighbours in a timeline often share one.
#[derive(Default)]
struct Page {
    number: Option<u64>,
    links: Vec<u8>,
}

impl Page {
    /// The link of an entry, when it is in a timeline.
    fn link(&mut self, db: &Connection, seq: u64) -> Result<Option<Link>, Failure> {
        let number = seq / ENTRIES;
        if self.number != Some(number) {
            self.links = links(db, number)?.unwrap_or_default();
            self.number = Some(number);
        }
        let at = place(seq);
        let Some((customer, before)) = self.links.get(at..at + LINK).and_then(<[u8]>::split_first_chunk) else {
            return Ok(None);
        };
        let customer = i64::from(u32::from_le_bytes(*customer));
        let before = before.first_chunk().copied().map_or(0, u64::from_le_bytes);
        Ok((customer > 0).then_some(Link { customer, before }))
    }
}

/// Entries of a customer before a number, the latest first.
pub(super) fn read(db: &Connection, id: CustomerId, before: u64, limit: usize) -> Result<Vec<u64>, Failure> {
    let Some(stub) = stub(db, id)? else { return Ok(Vec::new()) };
    let mut page = Page::default();
    // The next page starts where the last one ended, without walking there again.
    let mut at = match page.link(db, before)? {
        Some(link) if link.customer == stub.n => link.before,
        _ => from_sql(stub.head),
    };
    let mut found = Vec::new();
    while at > 0 && found.len() < limit {
        if at < before {
            found.push(at);
        }
        at = match page.link(db, at)? {
            Some(link) if link.before < at => link.before,
            _ => return Err(Failure::corrupt(READING, format!("the chain breaks at entry {at}"))),
        };
    }
    Ok(found)
}
