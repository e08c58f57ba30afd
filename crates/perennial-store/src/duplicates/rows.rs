//! Where the duplicates lie: rows in arrival order, segments sorted by fingerprint, and filters.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Exact, Mark};
use crate::failure::{Doing as _, Failure, Trouble};
use crate::filter::Filter;
use crate::memory::{MemoryDisk, Write};
use crate::sqlite::{Layout, Readers, checkpoint_passive, from_sql, guard, open, to_sql};

const LAYOUT: Layout = Layout {
    name: "duplicates",
    mark: 0x5052_4431,
    version: 3,
    older: Trouble::Outdated,
    page_size: 8192,
    synchronous: "NORMAL", // a lost checkpoint is remembered again from the journal's tail
    cache_kib: 4096,
    schema: "
        CREATE TABLE progress(id INTEGER PRIMARY KEY CHECK (id = 1), position INTEGER NOT NULL, segment INTEGER NOT NULL);
        INSERT INTO progress VALUES(1, 0, 1);
        -- Marks in the order of arrival, many in a row.
        CREATE TABLE recent(n INTEGER PRIMARY KEY, marks BLOB NOT NULL);
        -- Segment first: a new one is written at the end of the table, whatever its fingerprints. A row
        -- is some marks in the order of their ids, from the first one's on.
        CREATE TABLE seen(
            segment INTEGER NOT NULL,
            first INTEGER NOT NULL,
            marks BLOB NOT NULL,
            PRIMARY KEY(segment, first)
        ) WITHOUT ROWID;
        CREATE TABLE filters(
            number INTEGER PRIMARY KEY,
            first_segment INTEGER NOT NULL,
            last_segment INTEGER NOT NULL,
            bytes BLOB NOT NULL
        );
    ",
};

pub(super) enum Rows {
    Sqlite { writer: Box<Mutex<Connection>>, readers: Readers },
    Memory(MemoryDisk),
}

/// One checkpoint.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) position: u64,
    pub(super) marks: Vec<Mark>,
    /// The segment that everything recent becomes, and that.
    pub(super) close: Option<(u64, Arc<Exact>)>,
    pub(super) filters: Vec<FilterSnapshot>,
    pub(super) oldest_generation: u64,
    pub(super) oldest_segment: u64,
}

pub(super) struct FilterSnapshot {
    pub(super) number: u64,
    pub(super) first_segment: u64,
    pub(super) last_segment: u64,
    pub(super) filter: Arc<Filter>,
}

#[derive(Clone)]
pub(super) struct SavedFilter {
    pub(super) number: u64,
    pub(super) first_segment: u64,
    pub(super) last_segment: u64,
    pub(super) bytes: Vec<u8>,
}

/// What a restart finds.
pub(super) struct Saved {
    pub(super) position: u64,
    pub(super) segment: u64,
    pub(super) recent: Vec<Mark>,
    pub(super) filters: Vec<SavedFilter>,
}

/// The same in memory.
#[derive(Default)]
pub(crate) struct DuplicateContents {
    pub(crate) position: u64,
    segments: u64,
    recent: Vec<Mark>,
    seen: BTreeMap<(u64, u64), Mark>,
    filters: BTreeMap<u64, SavedFilter>,
}

impl Rows {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let writer = Box::new(Mutex::new(open(path, &LAYOUT)?));
        Ok(Self::Sqlite { writer, readers: Readers::new(path, LAYOUT.name) })
    }

    pub(super) fn load(&self) -> Result<Saved, Failure> {
        match self {
            Self::Sqlite { readers, .. } => readers.with(load),
            Self::Memory(disk) => {
                let contents = &disk.contents().duplicates;
                Ok(Saved {
                    position: contents.position,
                    segment: contents.segments + 1,
                    recent: contents.recent.clone(),
                    filters: contents.filters.values().cloned().collect(),
                })
            }
        }
    }

    /// The message in the latest of these segments that has it.
    pub(super) fn find(&self, id: u64, segments: RangeInclusive<u64>) -> Result<Option<Mark>, Failure> {
        match self {
            Self::Sqlite { readers, .. } => readers.with(|db| {
                for segment in segments.rev() {
                    if let Some(mark) = find(db, id, segment)? {
                        return Ok(Some(mark));
                    }
                }
                Ok(None)
            }),
            Self::Memory(disk) => {
                let seen = &disk.contents().duplicates.seen;
                Ok(segments.rev().find_map(|segment| seen.get(&(segment, id)).copied()))
            }
        }
    }

    pub(super) fn write(&self, batch: &Batch) -> Result<(), Failure> {
        match self {
            Self::Sqlite { writer, .. } => {
                let mut db = guard(writer);
                let tx = db.transaction().doing(SAVING)?;
                write(&tx, batch)?;
                tx.commit().doing(SAVING)?;
                checkpoint_passive(&db)
            }
            Self::Memory(disk) => disk.write(Write::Duplicates, |c| write_memory(&mut c.duplicates, batch)),
        }
    }
}

pub(super) const LOADING: &str = "read the messages seen in duplicates.db";
const SAVING: &str = "save the messages seen in duplicates.db";

fn load(db: &Connection) -> Result<Saved, Failure> {
    let (position, segment) = db
        .query_row("SELECT position, segment FROM progress", [], |row| {
            Ok((from_sql(row.get(0)?), from_sql(row.get(1)?)))
        })
        .doing(LOADING)?;
    let mut recent = Vec::new();
    let mut statement = db.prepare("SELECT marks FROM recent ORDER BY n").doing(LOADING)?;
    let mut rows = statement.query([]).doing(LOADING)?;
    while let Some(row) = rows.next().doing(LOADING)? {
        let marks: Vec<u8> = row.get(0).doing(LOADING)?;
        recent.extend(read_marks(&marks, LOADING)?.iter().map(read_mark));
    }
    let sql = "SELECT number, first_segment, last_segment, bytes FROM filters ORDER BY number";
    let mut statement = db.prepare(sql).doing(LOADING)?;
    let filters = statement.query_map([], |row| {
        Ok(SavedFilter {
            number: from_sql(row.get(0)?),
            first_segment: from_sql(row.get(1)?),
            last_segment: from_sql(row.get(2)?),
            bytes: row.get(3)?,
        })
    });
    let filters = filters.and_then(Iterator::collect).doing(LOADING)?;
    let saved = Saved { position, segment, recent, filters };
    let last: Option<i64> = db.query_row("SELECT max(segment) FROM seen", [], |row| row.get(0)).doing(LOADING)?;
    if plausible(&saved, last.map_or(0, from_sql)) { Ok(saved) } else { Err(Failure::corrupt(LOADING, DISAGREE)) }
}

const DISAGREE: &str = "its segments, its filters and the number of the next segment do not go together";

/// Segments are numbered from 1 on, and a filter covers some that are there, or the next one.
fn plausible(saved: &Saved, last_segment: u64) -> bool {
    let covers = |f: &SavedFilter| {
        f.number > 0 && f.first_segment > 0 && f.first_segment <= f.last_segment && f.last_segment <= saved.segment
    };
    saved.segment == last_segment + 1 && saved.filters.iter().all(covers)
}

/// Marks of one row in a segment: as much as lies in a page of a table without row numbers. A larger row
/// would take a page of its own.
const ROW: usize = 100;
/// Marks of one row in the order of arrival: a page's worth.
const RECENT_ROW: usize = 400;
/// Bytes of a mark: id, entry and body, each little-endian.
const MARK: usize = 8 + 8 + 4;

fn find(db: &Connection, id: u64, segment: u64) -> Result<Option<Mark>, Failure> {
    let sql = "SELECT marks FROM seen WHERE segment = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1";
    let mut statement = db.prepare_cached(sql).doing("look for a duplicate")?;
    let marks = statement.query_row(params![to_sql(segment), id.cast_signed()], |row| row.get::<_, Vec<u8>>(0));
    let marks = marks.optional().doing("look for a duplicate")?.unwrap_or_default();
    Ok(read_marks(&marks, "look for a duplicate in duplicates.db")?.iter().map(read_mark).find(|mark| mark.id == id))
}

fn read_marks<'a>(row: &'a [u8], doing: &'static str) -> Result<&'a [[u8; MARK]], Failure> {
    let (marks, rest) = row.as_chunks();
    if rest.is_empty() { Ok(marks) } else { Err(Failure::corrupt(doing, "a row is cut short")) }
}

fn read_mark(bytes: &[u8; MARK]) -> Mark {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
    let body = u32::from_le_bytes(bytes[16..].try_into().unwrap_or_default());
    Mark { id: number(0), seq: number(8), body }
}

fn write_marks(marks: &[Mark]) -> Vec<u8> {
    let mut out = Vec::with_capacity(marks.len() * MARK);
    for mark in marks {
        out.extend_from_slice(&mark.id.to_le_bytes());
        out.extend_from_slice(&mark.seq.to_le_bytes());
        out.extend_from_slice(&mark.body.to_le_bytes());
    }
    out
}

fn write(tx: &Transaction<'_>, batch: &Batch) -> Result<(), Failure> {
    if let Some((segment, recent)) = &batch.close {
        close(tx, batch, *segment, recent)?; // with the marks of this batch
    } else {
        let mut statement = tx.prepare_cached("INSERT INTO recent(marks) VALUES(?1)").doing(SAVING)?;
        batch
            .marks
            .chunks(RECENT_ROW)
            .try_for_each(|row| statement.execute([write_marks(row)]).map(drop))
            .doing(SAVING)?;
    }
    let closed = batch.close.as_ref().map(|(segment, _)| to_sql(*segment));
    let sql = "UPDATE progress SET position = ?1, segment = coalesce(?2 + 1, segment)";
    tx.execute(sql, params![to_sql(batch.position), closed]).doing(SAVING)?;
    Ok(())
}

fn close(tx: &Transaction<'_>, batch: &Batch, segment: u64, recent: &Exact) -> Result<(), Failure> {
    let mut marks: Vec<Mark> = recent.iter().map(|(&id, &(seq, body))| Mark { id, seq, body }).collect();
    marks.sort_unstable_by_key(|mark| mark.id.cast_signed());
    let mut statement = tx.prepare_cached("INSERT INTO seen VALUES(?1, ?2, ?3)").doing(SAVING)?;
    for row in marks.chunks(ROW) {
        let values = params![to_sql(segment), row[0].id.cast_signed(), write_marks(row)];
        statement.execute(values).doing(SAVING)?;
    }
    tx.execute("DELETE FROM recent", []).doing(SAVING)?;
    for snapshot in &batch.filters {
        let values = params![
            to_sql(snapshot.number),
            to_sql(snapshot.first_segment),
            to_sql(snapshot.last_segment),
            snapshot.filter.to_bytes()
        ];
        tx.execute("INSERT OR REPLACE INTO filters VALUES(?1, ?2, ?3, ?4)", values).doing(SAVING)?;
    }
    tx.execute("DELETE FROM filters WHERE number < ?1", [to_sql(batch.oldest_generation)]).doing(SAVING)?;
    tx.execute("DELETE FROM seen WHERE segment < ?1", [to_sql(batch.oldest_segment)]).doing(SAVING)?;
    Ok(())
}

fn write_memory(contents: &mut DuplicateContents, batch: &Batch) {
    contents.recent.extend_from_slice(&batch.marks);
    contents.position = batch.position;
    let Some(segment) = batch.close.as_ref().map(|(segment, _)| *segment) else { return };
    for mark in contents.recent.drain(..) {
        contents.seen.insert((segment, mark.id), mark);
    }
    contents.segments = segment;
    for snapshot in &batch.filters {
        let saved = SavedFilter {
            number: snapshot.number,
            first_segment: snapshot.first_segment,
            last_segment: snapshot.last_segment,
            bytes: snapshot.filter.to_bytes(),
        };
        contents.filters.insert(snapshot.number, saved);
    }
    contents.filters.retain(|number, _| *number >= batch.oldest_generation);
    contents.seen.retain(|(segment, _), _| *segment >= batch.oldest_segment);
}
