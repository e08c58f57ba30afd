//! The archive: what has left customers' warm state, to be looked through when it is asked for.
//!
//! Whatever is added of a customer in one checkpoint is a row, written at the end of the table whoever it
//! belongs to, and names the customer's row before it: the newest is found first.

use perennial_core::id::CustomerId;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Archived, WRITING, insert_customer};
use crate::failure::{Doing as _, Failure};

const READING: &str = "read the archive";

/// Where the archive of a customer ends.
struct Chain {
    n: i64,
    /// The last row; 0 when there is none.
    last: i64,
}

fn chain(db: &Connection, id: CustomerId) -> Result<Option<Chain>, Failure> {
    let mut statement = db.prepare_cached("SELECT n, archived FROM customers WHERE id = ?1").doing(READING)?;
    let chain = statement.query_row([id.0], |row| Ok(Chain { n: row.get(0)?, last: row.get(1)? }));
    chain.optional().doing(READING)
}

/// The rows before one, the newest first, until `look` has found what it looks for.
fn walk<T>(
    db: &Connection,
    last: i64,
    mut look: impl FnMut(i64, &[u8]) -> Result<Option<T>, Failure>,
) -> Result<Option<T>, Failure> {
    let mut statement = db.prepare_cached("SELECT before, body FROM archive WHERE number = ?1").doing(READING)?;
    let mut at = last;
    while at > 0 {
        let mut rows = statement.query([at]).doing(READING)?;
        let row = rows.next().doing(READING)?;
        let broken = || Failure::corrupt(READING, format!("the chain breaks at row {at}"));
        let row = row.ok_or_else(broken)?;
        let before: i64 = row.get(0).doing(READING)?;
        let body = row.get_ref(1).doing(READING)?.as_blob().map_err(|_| broken())?;
        if let Some(found) = look(at, body)? {
            return Ok(Some(found));
        }
        if before >= at {
            return Err(broken());
        }
        at = before;
    }
    Ok(None)
}

pub(super) fn search<T>(
    db: &Connection,
    id: CustomerId,
    mut look: impl FnMut(&[u8]) -> Option<T>,
) -> Result<Option<T>, Failure> {
    let last = chain(db, id)?.map_or(0, |chain| chain.last);
    walk(db, last, |_, body| Ok(look(body)))
}

pub(super) fn write(tx: &Transaction<'_>, archive: &[(CustomerId, Archived)]) -> Result<(), Failure> {
    for (id, news) in archive {
        let Chain { n, last } = match chain(tx, *id)? {
            Some(chain) => chain,
            None => Chain { n: insert_customer(tx, *id, None, None)?, last: 0 },
        };
        if news.anew {
            clear(tx, last)?;
        }
        let kept = if news.anew { 0 } else { last };
        let now = if news.body.is_empty() { kept } else { add(tx, kept, &news.body)? };
        if now != last {
            let sql = "UPDATE customers SET archived = ?2 WHERE n = ?1";
            tx.prepare_cached(sql).and_then(|mut s| s.execute([n, now])).doing(WRITING)?;
        }
    }
    Ok(())
}

fn add(tx: &Transaction<'_>, before: i64, body: &[u8]) -> Result<i64, Failure> {
    let sql = "INSERT INTO archive(before, body) VALUES(?1, ?2)";
    tx.prepare_cached(sql).and_then(|mut s| s.execute(params![before, body])).doing(WRITING)?;
    Ok(tx.last_insert_rowid())
}

/// Deletes a chain.
fn clear(tx: &Transaction<'_>, last: i64) -> Result<(), Failure> {
    let mut rows = Vec::new();
    walk(tx, last, |at, _| {
        rows.push(at);
        Ok(None::<()>)
    })?;
    for row in rows {
        let mut statement = tx.prepare_cached("DELETE FROM archive WHERE number = ?1").doing(WRITING)?;
        statement.execute([row]).doing(WRITING)?;
    }
    Ok(())
}
