//! SQLite: opening files that are ours, refusing those that are not, and a small pool of readers.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::failure::{Doing as _, Failure, Trouble};
use crate::private;

/// One of our files: its mark in the header and its layout.
pub(crate) struct Layout {
    /// What the file is called in messages.
    pub(crate) name: &'static str,
    /// `application_id` of the header.
    pub(crate) mark: i32,
    /// `user_version` of the header.
    pub(crate) version: i32,
    /// What a file of an older layout is: to be made again, or damaged, when no release wrote one.
    pub(crate) older: Trouble,
    /// Bytes per page.
    pub(crate) page_size: u32,
    /// `synchronous`: `FULL` where an answer depends on it.
    pub(crate) synchronous: &'static str,
    /// Pages of the writer's cache, in KiB.
    pub(crate) cache_kib: u32,
    /// The tables.
    pub(crate) schema: &'static str,
}

/// How long a statement waits for a lock.
pub(crate) const WAIT: Duration = Duration::from_secs(30);
/// How much of a file readers of single keys map.
const MAP_BYTES: i64 = 4 << 30;
/// Pages that other readers keep, in KiB.
const CACHE_KIB: i64 = 1_024;
/// Readers that stay open when nobody reads.
const IDLE_READERS: usize = 4;

/// Opens a file for writing; makes it when it is new.
pub(crate) fn open(path: &Path, layout: &Layout) -> Result<Connection, Failure> {
    let doing = format!("open the {} ({})", layout.name, path.display());
    private::make_file(path).map_err(|e| Failure::io(&doing, path, &e))?;
    let db = Connection::open(path).doing(&doing)?;
    db.busy_timeout(WAIT).doing(&doing)?;
    check_mark(&db, layout, &doing)?;
    let mode: String = db.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0)).doing(&doing)?;
    if mode != "wal" {
        return Err(Failure::new(Trouble::Io, doing, "the file system does not support write-ahead logs"));
    }
    let settings = format!(
        "PRAGMA synchronous={}; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-{}; PRAGMA temp_store=MEMORY;",
        layout.synchronous, layout.cache_kib
    );
    db.execute_batch(&settings).doing(&doing)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// A new file gets its tables and its mark in one transaction, so that no half-made one is left.
fn check_mark(db: &Connection, layout: &Layout, doing: &str) -> Result<(), Failure> {
    let mark: i32 = db.pragma_query_value(None, "application_id", |row| row.get(0)).doing(doing)?;
    let version: i32 = db.pragma_query_value(None, "user_version", |row| row.get(0)).doing(doing)?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).doing(doing)?;
    if mark == 0 && version == 0 && tables == 0 {
        let make = format!(
            "PRAGMA page_size={}; BEGIN IMMEDIATE; {} PRAGMA application_id={}; PRAGMA user_version={}; COMMIT;",
            layout.page_size, layout.schema, layout.mark, layout.version
        );
        return db.execute_batch(&make).doing(doing);
    }
    if mark != layout.mark {
        return Err(Failure::new(Trouble::Foreign, doing, "it is not a file of ours"));
    }
    if version > layout.version {
        let detail = format!("its layout is {version}, and this version knows {}", layout.version);
        return Err(Failure::new(Trouble::Newer, doing, detail));
    }
    if version < layout.version {
        let detail = format!("its layout is {version}, and this version writes {}", layout.version);
        return Err(Failure::new(layout.older, doing, detail));
    }
    Ok(())
}

/// Copies what the write-ahead log holds into the file, without waiting for anybody.
pub(crate) fn checkpoint_passive(db: &Connection) -> Result<(), Failure> {
    db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).doing("copy the write-ahead log into the file")
}

/// Copies the write-ahead log, and lets the next write begin it anew. The file keeps its size: to cut
/// it off takes hundreds of milliseconds, and the writer waits for that.
pub(crate) fn checkpoint_restart(db: &Connection) -> Result<(), Failure> {
    db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).doing("begin the write-ahead log anew")
}

/// Copies the write-ahead log and empties it; waits for readers, at most as long as the connection
/// waits for locks. `false` when somebody was still reading.
pub(crate) fn checkpoint_truncate(db: &Connection) -> Result<bool, Failure> {
    let busy: i64 =
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).doing("empty the write-ahead log")?;
    Ok(busy == 0)
}

/// Connections that only read, handed out one at a time.
pub(crate) struct Readers {
    path: PathBuf,
    name: &'static str,
    map_bytes: i64,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Readers of single keys: they map the file.
    pub(crate) fn new(path: &Path, name: &'static str) -> Self {
        Self { path: path.into(), name, map_bytes: MAP_BYTES, idle: Mutex::new(Vec::new()) }
    }

    /// Readers that walk through a whole table: what they pass by does not stay in our memory.
    pub(crate) fn walking(path: &Path, name: &'static str) -> Self {
        Self { map_bytes: 0, ..Self::new(path, name) }
    }

    /// Lends a reader to `work`.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let taken = guard(&self.idle).pop();
        let db = match taken {
            Some(db) => db,
            None => self.open()?,
        };
        let result = work(&db).map_err(|failure| failure.of(&self.path));
        let mut idle = guard(&self.idle);
        if idle.len() < IDLE_READERS {
            idle.push(db);
        }
        result
    }

    fn open(&self) -> Result<Connection, Failure> {
        let doing = format!("read the {} ({})", self.name, self.path.display());
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.path, flags).doing(&doing)?;
        db.busy_timeout(WAIT).doing(&doing)?;
        db.pragma_update(None, "mmap_size", self.map_bytes).doing(&doing)?;
        db.pragma_update(None, "cache_size", -CACHE_KIB).doing(&doing)?;
        db.set_prepared_statement_cache_capacity(32);
        Ok(db)
    }
}

/// A lock whose holder panicked still guards consistent data here: every change is one statement
/// or one transaction.
pub(crate) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Our numbers are below 2^63.
pub(crate) fn to_sql(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A number that was written by [`to_sql`].
pub(crate) fn from_sql(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
