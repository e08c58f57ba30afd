//! Sorted runs: rows keyed by hashes, written in order of arrival and sorted together later.
//!
//! One sorted table would rewrite a page for each row, because hashes lie anywhere. New rows come
//! together in a small run; eight runs of a level are merged into one of the next, a slice at a time.
//! (A log-structured merge tree with one file: O'Neil et al., Acta Informatica 33, 1996.)
//!
//! Promise: merging large runs takes its time, some rows whenever it is asked for, and holds up neither
//! the merging of small ones nor whoever asks.
//! Invariant: of a key that lies in several runs the newest row counts; a run of a lower level is newer
//! than any of a higher one, and within a level the one with the larger number. A run that is being
//! built or taken down is marked so; what a process leaves half built is cleared away by the next.
//! Absent on purpose: threads and locks. Whoever owns the connection calls.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::failure::{Doing as _, Failure};

/// Runs of a level that are merged into one.
const FAN: usize = 8;
/// Rows that are moved at a time, and as many cleared away, for each run there is: where merging falls
/// behind there are more of them, and it catches up.
const ROWS_A_RUN: usize = if cfg!(any(test, fuzzing)) { 100 } else { 40_000 };
const MERGING: &str = "merge sorted runs";
/// Keys begin with a byte below this, most of them with a hash behind it.
const SORTS: u8 = 3;

/// The tables `runs(run, level, state)` and `sorted(run, <key>, <value>)` of a file.
pub(crate) struct Runs {
    key: &'static str,
    value: &'static str,
    /// Under way, by the level that is merged.
    merges: BTreeMap<i64, Merge>,
}

/// Runs that become one.
struct Merge {
    newest_first: Vec<i64>,
    target: i64,
    slices: Box<dyn Iterator<Item = Slice> + Send>,
}

impl Merge {
    /// All is moved: the target takes the place of its sources.
    fn end(&self, tx: &Transaction<'_>) -> Result<(), Failure> {
        for source in &self.newest_first {
            tx.execute("UPDATE runs SET state = 'dead' WHERE run = ?1", [source]).doing(MERGING)?;
        }
        tx.execute("UPDATE runs SET state = 'live' WHERE run = ?1", [self.target]).doing(MERGING)?;
        Ok(())
    }
}

/// Keys from one on, up to another.
type Slice = (Vec<u8>, Vec<u8>);

impl Runs {
    /// Runs whose columns for key and value have these names.
    pub(crate) fn new(key: &'static str, value: &'static str) -> Self {
        Self { key, value, merges: BTreeMap::new() }
    }

    /// Goes on merging what has come together, and clears away what was merged. What a merge left that failed
    /// (on a full disk, say) goes first, so that trying again takes no more room each time.
    pub(crate) fn tidy(&mut self, db: &mut Connection) -> Result<(), Failure> {
        let result = self.go_on(db);
        if result.is_err() {
            self.merges.clear();
        }
        result
    }

    fn go_on(&mut self, db: &mut Connection) -> Result<(), Failure> {
        if self.merges.is_empty() {
            give_up_building(db).doing(MERGING)?;
        }
        let rows = ROWS_A_RUN * (live(db)?.len() + 1);
        let mut to_clear = rows;
        self.clear_dead(db, &mut to_clear)?;
        let mut to_move = rows;
        while to_move > 0 && self.step(db, &mut to_move)? {}
        self.clear_dead(db, &mut to_clear)
    }

    /// Takes the merge of the lowest level a step further, a slice in a transaction of its own, so that
    /// others never wait for long. Says whether there was one.
    fn step(&mut self, db: &mut Connection, to_move: &mut usize) -> Result<bool, Failure> {
        let Some(level) = self.lowest(db)? else { return Ok(false) };
        let Some(merge) = self.merges.get_mut(&level) else { return Ok(false) };
        let tx = begin(db, MERGING)?;
        let Some((from, to)) = merge.slices.next() else {
            merge.end(&tx)?;
            tx.commit().doing(MERGING)?;
            self.merges.remove(&level);
            return Ok(true);
        };
        let (key, value) = (self.key, self.value);
        let sql = format!(
            "INSERT OR IGNORE INTO sorted SELECT ?1, {key}, {value} FROM sorted WHERE run = ?2 AND {key} >= ?3 AND {key} < ?4"
        );
        for source in &merge.newest_first {
            let values = params![merge.target, source, from, to];
            let moved = tx.prepare_cached(&sql).and_then(|mut s| s.execute(values)).doing(MERGING)?;
            *to_move = to_move.saturating_sub(moved);
        }
        tx.commit().doing(MERGING)?;
        Ok(true)
    }

    /// The lowest level of which runs are being merged, or can be: then that begins.
    fn lowest(&mut self, db: &Connection) -> Result<Option<i64>, Failure> {
        let mut free: BTreeMap<i64, Vec<i64>> = self.merges.keys().map(|level| (*level, Vec::new())).collect();
        for (level, run) in live(db)? {
            if self.merges.get(&level).is_none_or(|merge| !merge.newest_first.contains(&run)) {
                free.entry(level).or_default().push(run);
            }
        }
        let found = free.into_iter().find(|(level, runs)| self.merges.contains_key(level) || runs.len() >= FAN);
        let Some((level, runs)) = found else { return Ok(None) };
        if let Entry::Vacant(place) = self.merges.entry(level) {
            let target = new_run(db, level.saturating_add(1), "building")?;
            place.insert(Merge { newest_first: runs, target, slices: Box::new(slices()) });
        }
        Ok(Some(level))
    }

    fn clear_dead(&self, db: &Connection, to_clear: &mut usize) -> Result<(), Failure> {
        let mut statement = db.prepare_cached("SELECT run FROM runs WHERE state = 'dead'").doing(MERGING)?;
        let runs: Vec<i64> = statement.query_map([], |row| row.get(0)).and_then(Iterator::collect).doing(MERGING)?;
        let sql = format!("DELETE FROM sorted WHERE run = ?1 AND {0} >= ?2 AND {0} < ?3", self.key);
        for run in runs {
            for (from, to) in slices() {
                if *to_clear == 0 {
                    return Ok(());
                }
                let cleared =
                    db.prepare_cached(&sql).and_then(|mut s| s.execute(params![run, from, to])).doing(MERGING)?;
                *to_clear = to_clear.saturating_sub(cleared);
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

/// Levels and numbers of the live runs, the newest of a level first.
fn live(db: &Connection) -> Result<Vec<(i64, i64)>, Failure> {
    let sql = "SELECT level, run FROM runs WHERE state = 'live' ORDER BY level, run DESC";
    let mut statement = db.prepare_cached(sql).doing(MERGING)?;
    let runs = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    runs.and_then(Iterator::collect).doing(MERGING)
}

/// All keys in slices: those of each sort by the first byte of their hash, then everything else.
fn slices() -> impl Iterator<Item = Slice> {
    let of = |sort: u8| {
        (0..=u8::MAX).map(move |byte| (vec![sort, byte], byte.checked_add(1).map_or(vec![sort + 1], |b| vec![sort, b])))
    };
    (0..SORTS).flat_map(of).chain([(vec![SORTS], vec![u8::MAX])])
}
