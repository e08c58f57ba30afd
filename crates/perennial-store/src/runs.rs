//! Sorted runs: rows keyed by hashes, written in order of arrival and sorted together later.
//!
//! One sorted table would rewrite a page for each row, because hashes lie anywhere. New rows come
//! together in a small run; eight runs of a level are merged into one of the next, a slice at a time.
//! (A log-structured merge tree with one file: O'Neil et al., Acta Informatica 33, 1996.)
//!
//! Invariant: of a key that lies in several runs the newest row counts; a run of a lower level is newer
//! than any of a higher one, and within a level the one with the larger number. A run that is being
//! built or taken down is marked so, and an interrupted merge is cleared away by the next.
//! Absent on purpose: threads and locks. Whoever owns the connection calls.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use crate::failure::{Doing as _, Failure};

/// Runs of a level that are merged into one.
const FAN: i64 = 8;
const MERGING: &str = "merge sorted runs";
/// Keys begin with a byte below this, most of them with a hash behind it.
const SORTS: u8 = 4;

/// The tables `runs(run, level, state)` and `sorted(run, <key>, <value>)` of a file.
pub(crate) struct Runs {
    pub(crate) key: &'static str,
    pub(crate) value: &'static str,
}

impl Runs {
    /// Merges what has come together, and clears away what was merged. What a merge left that failed (on
    /// a full disk, say) goes first, so that trying again takes no more room each time.
    pub(crate) fn tidy(&self, db: &mut Connection) -> Result<(), Failure> {
        give_up_building(db).doing(MERGING)?;
        self.clear_dead(db)?;
        while let Some(sources) = mergeable(db)? {
            self.merge(db, &sources)?;
        }
        self.clear_dead(db)
    }

    /// Merges slice by slice, each in a transaction of its own, so that others never wait for long.
    fn merge(&self, db: &mut Connection, (level, newest_first): &(i64, Vec<i64>)) -> Result<(), Failure> {
        let (key, value) = (self.key, self.value);
        let sql = format!(
            "INSERT OR IGNORE INTO sorted SELECT ?1, {key}, {value} FROM sorted WHERE run = ?2 AND {key} >= ?3 AND {key} < ?4"
        );
        let target = new_run(db, level.saturating_add(1), "building")?;
        for (from, to) in slices() {
            let tx = begin(db, MERGING)?;
            for source in newest_first {
                let values = params![target, source, from, to];
                tx.prepare_cached(&sql).and_then(|mut s| s.execute(values)).doing(MERGING)?;
            }
            tx.commit().doing(MERGING)?;
        }
        let tx = begin(db, MERGING)?;
        for source in newest_first {
            tx.execute("UPDATE runs SET state = 'dead' WHERE run = ?1", [source]).doing(MERGING)?;
        }
        tx.execute("UPDATE runs SET state = 'live' WHERE run = ?1", [target]).doing(MERGING)?;
        tx.commit().doing(MERGING)
    }

    fn clear_dead(&self, db: &Connection) -> Result<(), Failure> {
        let mut statement = db.prepare_cached("SELECT run FROM runs WHERE state = 'dead'").doing(MERGING)?;
        let runs: Vec<i64> = statement.query_map([], |row| row.get(0)).and_then(Iterator::collect).doing(MERGING)?;
        let sql = format!("DELETE FROM sorted WHERE run = ?1 AND {0} >= ?2 AND {0} < ?3", self.key);
        for run in runs {
            for (from, to) in slices() {
                db.prepare_cached(&sql).and_then(|mut s| s.execute(params![run, from, to])).doing(MERGING)?;
            }
            db.execute("DELETE FROM runs WHERE run = ?1", [run]).doing(MERGING)?;
        }
        Ok(())
    }
}

/// Marks what an interrupted merge left, so that it is cleared away; for the start, and for whoever
/// merges.
pub(crate) fn give_up_building(db: &Connection) -> rusqlite::Result<usize> {
    db.execute("UPDATE runs SET state = 'dead' WHERE state = 'building'", [])
}

pub(crate) fn begin<'c>(db: &'c mut Connection, doing: &str) -> Result<Transaction<'c>, Failure> {
    db.transaction_with_behavior(TransactionBehavior::Immediate).doing(doing)
}

pub(crate) fn new_run(db: &Connection, level: i64, state: &str) -> Result<i64, Failure> {
    let sql = "INSERT INTO runs(run, level, state) SELECT coalesce(max(run), 0) + 1, ?1, ?2 FROM runs";
    db.execute(sql, params![level, state]).doing(MERGING)?;
    Ok(db.last_insert_rowid())
}

/// The live runs of the lowest level that has enough of them, the newest first, and that level.
fn mergeable(db: &Connection) -> Result<Option<(i64, Vec<i64>)>, Failure> {
    let sql = "SELECT level FROM runs WHERE state = 'live' GROUP BY level HAVING count(*) >= ?1 ORDER BY level LIMIT 1";
    let level: Option<i64> = db.query_row(sql, [FAN], |row| row.get(0)).optional().doing(MERGING)?;
    let Some(level) = level else { return Ok(None) };
    let sql = "SELECT run FROM runs WHERE state = 'live' AND level = ?1 ORDER BY run DESC";
    let mut statement = db.prepare_cached(sql).doing(MERGING)?;
    let runs = statement.query_map([level], |row| row.get(0));
    Ok(Some((level, runs.and_then(Iterator::collect).doing(MERGING)?)))
}

/// All keys in slices: those of each sort by the first byte of their hash, then everything else.
fn slices() -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let of = |sort: u8| {
        (0..=u8::MAX).map(move |byte| (vec![sort, byte], byte.checked_add(1).map_or(vec![sort + 1], |b| vec![sort, b])))
    };
    (0..SORTS).flat_map(of).chain([(vec![SORTS], vec![u8::MAX])])
}
