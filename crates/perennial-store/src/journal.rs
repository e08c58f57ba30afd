//! The journal: everything that came in and what followed, in order, never edited.
//!
//! Promise: [`Journal::begin`] hands entries to a thread that seals and writes all of them or none and
//! then says so, when they are on the disk (one `fsync` of SQLite's write-ahead log,
//! `synchronous=FULL`; one more before it when keys of new customers must be written). Meanwhile the
//! caller folds what comes next, and what comes together is one append. What follows a failure fails
//! too, until [`Journal::resume`].
//! The log is copied into the file by another thread, never by the writer. Readers never wait for the
//! writer nor it for them.
//! Absent on purpose: any index but the number. A second index would cost ten times the append.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use perennial_core::input::Entry;
use rusqlite::{Connection, params};

use crate::desk::Desk;
use crate::failure::{Doing as _, Failure, Trouble};
use crate::format::{Row, decode, encode, key_of, key_of_row};
use crate::keys::Keys;
use crate::memory::{MemoryDisk, Write};
use crate::seal::entropy;
use crate::sqlite::{
    Layout, Readers, checkpoint_passive, checkpoint_restart, checkpoint_truncate, from_sql, guard, open, to_sql,
};

pub(crate) const LAYOUT: Layout = Layout {
    name: "journal",
    mark: 0x5052_4a31,
    version: 1,
    older: Trouble::Corrupt,
    page_size: 8192,
    synchronous: "FULL",
    cache_kib: 4096,
    schema: "
        CREATE TABLE entries(
            seq INTEGER PRIMARY KEY,
            recorded_at INTEGER NOT NULL,
            customer BLOB,
            root BLOB,
            cause INTEGER,
            input BLOB,
            outcome BLOB NOT NULL
        );
    ",
};

/// Most entries that one [`JournalReader::read`] returns.
pub const READ_MAX: usize = 10_000;
/// Entries that an iterator fetches at a time.
const PAGE: usize = 128;
/// Threads that read ahead: to unseal and read an entry takes about as long as to fold it twice.
const AHEAD: usize = 2;
/// Pages that each of them has ready.
const PAGES_AHEAD: usize = 2;
/// Bytes of the log after which it is copied into the file.
const COPY_AFTER: u64 = 4 << 20;
/// Bytes of the log after which it is begun anew, so that it is bounded while events never cease to come.
const ANEW_AFTER: u64 = 16 << 20;
/// As long the log is made ahead, once there is that much to do: an append that makes its file longer takes
/// the disk twice as long as one that writes over what was there.
const LOG_BYTES: u64 = 24 << 20;
/// Bytes that a transaction writes besides its rows, about: pages that were begun, and that lead to them.
const COMMIT_BYTES: usize = 2 * LAYOUT.page_size as usize;
/// How long that waits for readers, and so, at worst, the writer for it. While a reader stays longer (a
/// backup), the log grows and is begun anew later.
const ANEW_WAIT: Duration = Duration::from_millis(20);

/// The writing end of the journal; there is one.
pub struct Journal {
    backend: Writer, // first, so that its thread ends before the folder is given back
    reader: JournalReader,
    gate: Gate,
}

enum Writer {
    Sqlite(Desk),
    Memory(MemoryDisk),
}

/// An append that was tried.
#[derive(Debug)]
pub struct Appended<'a> {
    /// How many entries it had.
    pub entries: usize,
    /// How long it took.
    pub took: Duration,
    /// Whether they are durable.
    pub result: &'a Result<(), Failure>,
}

type Watch = Box<dyn Fn(&Appended<'_>) + Send>;

/// What every append goes through, wherever it is written.
#[derive(Clone, Default)]
struct Gate {
    /// What the journal failed of; what comes after it is refused.
    failed: Arc<Mutex<Option<Failure>>>,
    watch: Arc<Mutex<Option<Watch>>>,
}

impl Gate {
    /// Writes, unless something before it failed; whoever watches hears of it first.
    fn pass(&self, entries: &[Entry], write: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        self.check()?;
        if entries.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let result = write().inspect_err(|failure| *guard(&self.failed) = Some(failure.clone()));
        if let Some(watch) = &*guard(&self.watch) {
            watch(&Appended { entries: entries.len(), took: began.elapsed(), result: &result });
        }
        result
    }

    fn check(&self) -> Result<(), Failure> {
        guard(&self.failed).clone().map_or(Ok(()), Err)
    }
}

/// The reading end: cheap to clone, usable from any thread, sees what is durable.
#[derive(Clone)]
pub struct JournalReader {
    keys: Keys,
    last: Arc<AtomicU64>,
    backend: Source,
    /// Reads one entry after the other: what is read does not stay mapped.
    walks: bool,
}

#[derive(Clone)]
enum Source {
    Sqlite { readers: Arc<Readers>, walkers: Arc<Readers> },
    Memory(MemoryDisk),
}

/// Whether a file bears the journal's mark, which stands big-endian at byte 68 of its header.
pub(crate) fn is_one(path: &Path) -> bool {
    let mut header = [0; 72];
    let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut header));
    read.is_ok() && header[68..] == LAYOUT.mark.to_be_bytes()
}

impl Journal {
    pub(crate) fn open(path: &Path, keys: Keys) -> Result<Self, Failure> {
        let (scribe, reader) = Scribe::open(path, keys)?;
        Self::start(scribe, reader)
    }

    fn start(mut scribe: Scribe, reader: JournalReader) -> Result<Self, Failure> {
        let gate = Gate::default();
        let passed = gate.clone();
        let desk = Desk::start(move |entries| passed.pass(entries, || scribe.append(entries)))?;
        Ok(Self { backend: Writer::Sqlite(desk), reader, gate })
    }

    pub(crate) fn memory(disk: &MemoryDisk, keys: Keys) -> Self {
        let last = disk.contents().rows.len() as u64;
        let source = Source::Memory(disk.clone());
        let reader = JournalReader { keys, last: Arc::new(AtomicU64::new(last)), backend: source, walks: false };
        Self { reader, backend: Writer::Memory(disk.clone()), gate: Gate::default() }
    }

    /// Begins to append all entries, which are taken out of the list, or none; `done` is told when they are
    /// durable, or why they are not, after all those before it. Entries that are begun while others are
    /// being written become durable together, and so do those that come within moments where `more` are at
    /// hand. Returns at once, unless thousands wait.
    ///
    /// Keys of roots that are new are made first. The input of an entry whose root was erased is
    /// not kept. After a failure nothing may be acknowledged; whether the entries are there is told
    /// by [`Journal::last_seq`], because a disk may fail after having written.
    pub fn begin(
        &mut self,
        entries: &mut Vec<Entry>,
        more: bool,
        done: impl FnOnce(Result<(), Failure>) + Send + 'static,
    ) {
        match &self.backend {
            Writer::Sqlite(desk) => desk.lay(entries, more, Box::new(done)),
            Writer::Memory(disk) => {
                let written = self.gate.pass(entries, || self.append_to(disk, entries));
                entries.clear();
                done(written);
            }
        }
    }

    /// Shows every append that was tried, before those are told who wait for it; on another thread or on this one.
    pub fn watch(&self, watch: impl Fn(&Appended<'_>) + Send + 'static) {
        *guard(&self.gate.watch) = Some(Box::new(watch));
    }

    /// Waits until everything that was begun is durable.
    ///
    /// # Errors
    /// The first failure since the last [`Journal::resume`].
    pub fn wait(&self) -> Result<(), Failure> {
        if let Writer::Sqlite(desk) = &self.backend {
            desk.wait();
        }
        self.gate.check()
    }

    /// Whether everything that was begun is durable, or has failed.
    pub fn is_settled(&self) -> bool {
        match &self.backend {
            Writer::Sqlite(desk) => desk.is_settled(),
            Writer::Memory(_) => true,
        }
    }

    /// Whether something failed since the last [`Journal::resume`].
    pub fn has_failed(&self) -> bool {
        guard(&self.gate.failed).is_some()
    }

    /// Lets entries in again after a failure, from behind the last durable one.
    pub fn resume(&self) {
        let _ = self.wait(); // Whoever began what failed was told.
        *guard(&self.gate.failed) = None;
    }

    /// Appends all entries or none; they are durable when this returns `Ok`.
    ///
    /// # Errors
    /// As [`Journal::begin`] tells; the next append may work again.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        if entries.is_empty() {
            return Ok(());
        }
        self.begin(&mut entries.to_vec(), false, |_| ());
        self.wait().inspect_err(|_| self.resume())
    }

    /// The reading end.
    pub fn reader(&self) -> JournalReader {
        self.reader.clone()
    }

    /// The number of the last entry that is durable; 0 when there is none.
    pub fn last_seq(&self) -> u64 {
        self.reader.last_seq()
    }

    fn append_to(&self, disk: &MemoryDisk, entries: &[Entry]) -> Result<(), Failure> {
        let Some(last) = entries.last() else { return Ok(()) };
        check_order(entries, self.last_seq())?;
        let rows: Vec<Row> = seal(&self.reader.keys, entries)?.collect::<Result<_, _>>()?;
        let written = disk.write(Write::Append, |c| c.rows.extend(rows));
        // What the disk has counts, also when it failed after having written.
        let last = if written.is_ok() { last.seq } else { disk.contents().rows.len() as u64 };
        self.reader.last.store(last, Ordering::Release);
        written
    }
}

/// Entries as they are written, one after the other; their keys are there before the first.
fn seal<'a>(
    keys: &Keys,
    entries: &'a [Entry],
) -> Result<impl Iterator<Item = Result<Row, Failure>> + use<'a>, Failure> {
    let names: Vec<_> = entries.iter().map(key_of).collect();
    let own = keys.ensure(&names)?;
    let mut random = [0; 16];
    entropy(&mut random)?;
    Ok(entries.iter().zip(own).map(move |(entry, key)| encode(entry, key.as_ref(), random)))
}

/// Who writes: the connection and what it needs.
struct Scribe {
    db: Connection,
    copier: Copier,
    keys: Keys,
    last: Arc<AtomicU64>,
}

impl Scribe {
    fn open(path: &Path, keys: Keys) -> Result<(Self, JournalReader), Failure> {
        let db = open(path, &LAYOUT)?;
        let last = Arc::new(AtomicU64::new(last_of(&db)?));
        let second = open(path, &LAYOUT)?;
        second.busy_timeout(ANEW_WAIT).doing("open the journal")?;
        let copier = Copier::start(second, log_of(path), keys.clone())?;
        let (readers, walkers) = (Readers::new(path, LAYOUT.name), Readers::walking(path, LAYOUT.name));
        let source = Source::Sqlite { readers: Arc::new(readers), walkers: Arc::new(walkers) };
        let reader = JournalReader { keys: keys.clone(), last: last.clone(), backend: source, walks: false };
        Ok((Self { db, copier, keys, last }, reader))
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        let Some(last) = entries.last() else { return Ok(()) };
        check_order(entries, self.last.load(Ordering::Acquire))?;
        let rows = seal(&self.keys, entries)?;
        match insert(&mut self.db, rows) {
            Ok(bytes) => self.copier.wrote(bytes),
            Err(failure) => return Err(self.after_failure(failure)),
        }
        self.last.store(last.seq, Ordering::Release);
        Ok(())
    }

    /// A failed commit may have reached the disk; what the file says counts.
    fn after_failure(&self, failure: Failure) -> Failure {
        match last_of(&self.db) {
            Ok(last) => self.last.store(last, Ordering::Release),
            Err(second) => return Failure { detail: format!("{}; then {second}", failure.detail).into(), ..failure },
        }
        failure
    }
}

fn check_order(entries: &[Entry], last: u64) -> Result<(), Failure> {
    for (entry, expected) in entries.iter().zip(last + 1..) {
        if entry.seq != expected {
            let detail = format!("entry {} came where {expected} was expected", entry.seq);
            return Err(Failure::misuse("append to the journal", detail));
        }
    }
    Ok(())
}

fn insert(db: &mut Connection, rows: impl Iterator<Item = Result<Row, Failure>>) -> Result<u64, Failure> {
    const DOING: &str = "append to the journal";
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).doing(DOING)?;
    let mut bytes = COMMIT_BYTES;
    {
        let mut statement = tx.prepare_cached("INSERT INTO entries VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)").doing(DOING)?;
        for row in rows {
            let row = row?;
            bytes += 64 + row.input.as_ref().map_or(0, Vec::len) + row.outcome.len();
            statement
                .execute(params![
                    to_sql(row.seq),
                    row.recorded_at,
                    row.customer,
                    row.root,
                    row.cause.map(to_sql),
                    row.input,
                    row.outcome,
                ])
                .doing(DOING)?;
        }
    }
    tx.commit().doing(DOING)?;
    Ok(bytes as u64)
}

fn last_of(db: &Connection) -> Result<u64, Failure> {
    let last: Option<i64> =
        db.query_row("SELECT max(seq) FROM entries", [], |row| row.get(0)).doing("find the end of journal.db")?;
    Ok(last.map_or(0, from_sql))
}

impl JournalReader {
    /// The number of the last durable entry; 0 when there is none.
    pub fn last_seq(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Up to `limit` entries (at most [`READ_MAX`]) from a number on, unsealed where the key exists.
    /// A gap or a damaged entry is a failure that names it.
    pub fn read(&self, from: u64, limit: usize) -> Result<Vec<Entry>, Failure> {
        let last = self.last_seq();
        let from = from.max(1);
        if from > last {
            return Ok(Vec::new());
        }
        let expected = (last - from + 1).min(limit.min(READ_MAX) as u64);
        let rows = match &self.backend {
            Source::Sqlite { readers, walkers } => {
                let readers = if self.walks { walkers } else { readers };
                readers.with(|db| read_rows(db, from, expected))?
            }
            Source::Memory(disk) => {
                let contents = disk.contents();
                let start = usize::try_from(from - 1).unwrap_or(usize::MAX);
                let rows = contents.rows.get(start..).unwrap_or_default();
                rows.iter().take(usize::try_from(expected).unwrap_or(READ_MAX)).cloned().collect()
            }
        };
        check_gaps(&rows, from, expected)?;
        rows.into_iter().map(|row| self.open(row)).collect()
    }

    /// One entry, if it exists.
    pub fn entry(&self, seq: u64) -> Result<Option<Entry>, Failure> {
        if seq == 0 {
            return Ok(None);
        }
        Ok(self.read(seq, 1)?.pop())
    }

    /// All entries from a number on, a page at a time, up to the end as it was at each page.
    pub fn iter(&self, from: u64) -> Entries {
        Entries {
            reader: Self { walks: true, ..self.clone() },
            next: from.max(1),
            page: Vec::new().into_iter(),
            failed: false,
        }
    }

    /// Entries from a number on, to the end as it is now or a page further, read and unsealed ahead by
    /// threads of its own, for whoever has work with every entry. They end when the iterator is dropped.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn ahead(&self, from: u64) -> Result<impl Iterator<Item = Result<Entry, Failure>> + use<>, Failure> {
        let pages = (0..AHEAD).map(|nth| {
            let reader = Self { walks: true, ..self.clone() };
            Pages::start(reader, from.max(1) + (nth * PAGE) as u64)
        });
        Ok(Ahead { pages: pages.collect::<Result<_, _>>()?, page: Vec::new().into_iter() })
    }

    fn open(&self, row: Row) -> Result<Entry, Failure> {
        let key = match key_of_row(&row)? {
            Some(name) if self.walks => self.keys.get_on_a_walk(name)?,
            Some(name) => self.keys.get(name)?,
            None => None,
        };
        decode(row, key.as_ref())
    }

    /// Whether the keys are those of this journal: the first and the last entry, which tell a key
    /// store that is new, another one's, or older than the journal.
    pub(crate) fn check_keys(&self) -> Result<(), Failure> {
        let last = self.last_seq();
        for seq in [1, last].into_iter().filter(|_| last > 0) {
            self.entry(seq)?;
        }
        Ok(())
    }
}

fn read_rows(db: &Connection, from: u64, limit: u64) -> Result<Vec<Row>, Failure> {
    const DOING: &str = "read the journal";
    let sql = "SELECT seq, recorded_at, customer, root, cause, input, outcome FROM entries
               WHERE seq >= ?1 ORDER BY seq LIMIT ?2";
    let mut statement = db.prepare_cached(sql).doing(DOING)?;
    let rows = statement.query_map([to_sql(from), to_sql(limit)], |row| {
        Ok(Row {
            seq: from_sql(row.get(0)?),
            recorded_at: row.get(1)?,
            customer: row.get(2)?,
            root: row.get(3)?,
            cause: row.get::<_, Option<i64>>(4)?.map(from_sql),
            input: row.get(5)?,
            outcome: row.get(6)?,
        })
    });
    rows.and_then(Iterator::collect).doing(DOING)
}

fn check_gaps(rows: &[Row], from: u64, expected: u64) -> Result<(), Failure> {
    for (row, seq) in rows.iter().zip(from..) {
        if row.seq != seq {
            return Err(Failure::corrupt("read the journal", format!("entry {seq} is missing")));
        }
    }
    if (rows.len() as u64) < expected {
        let missing = from + rows.len() as u64;
        return Err(Failure::corrupt("read the journal", format!("entry {missing} is missing")));
    }
    Ok(())
}

/// Entries one after the other; ends after the first failure.
pub struct Entries {
    reader: JournalReader,
    next: u64,
    page: std::vec::IntoIter<Entry>,
    failed: bool,
}

impl Iterator for Entries {
    type Item = Result<Entry, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if let Some(entry) = self.page.next() {
            self.next = entry.seq + 1;
            return Some(Ok(entry));
        }
        match self.reader.read(self.next, PAGE) {
            Ok(page) if page.is_empty() => None,
            Ok(page) => {
                self.page = page.into_iter();
                self.next()
            }
            Err(failure) => {
                self.failed = true;
                Some(Err(failure))
            }
        }
    }
}

/// Pages that a thread reads ahead: every [`AHEAD`]th.
struct Pages {
    pages: Option<Receiver<Result<Vec<Entry>, Failure>>>,
    thread: Option<JoinHandle<()>>,
}

impl Pages {
    fn start(reader: JournalReader, from: u64) -> Result<Self, Failure> {
        let (out, pages) = sync_channel(PAGES_AHEAD);
        let last = reader.last_seq();
        let read_on = move || {
            for from in (from..=last).step_by(AHEAD * PAGE) {
                let page = reader.read(from, PAGE);
                if out.send(page).is_err() {
                    return; // Nobody wants more.
                }
            }
        };
        let thread = std::thread::Builder::new().name("journal-reader".into()).spawn(read_on);
        let thread = thread.map_err(|e| Failure::new(Trouble::Io, "read the journal", e.to_string()))?;
        Ok(Self { pages: Some(pages), thread: Some(thread) })
    }

    /// The next page; none at the end.
    fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        match self.pages.as_ref().map(Receiver::recv) {
            Some(Ok(page)) => page.map(Some),
            _ => self.ended().map(|()| None),
        }
    }

    /// The end, unless the thread died before it.
    fn ended(&mut self) -> Result<(), Failure> {
        self.pages = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(Failure::new(Trouble::Io, "read the journal", "its thread died; start again")),
            _ => Ok(()),
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let _ = self.ended(); // Nobody wants to know any longer.
    }
}

/// Entries that are read ahead: the threads' pages in turn.
struct Ahead {
    pages: VecDeque<Pages>,
    page: std::vec::IntoIter<Entry>,
}

impl Iterator for Ahead {
    type Item = Result<Entry, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.page.next() {
            return Some(Ok(entry));
        }
        let mut turn = self.pages.pop_front()?;
        match turn.next() {
            Ok(Some(page)) => {
                self.page = page.into_iter();
                self.pages.push_back(turn);
                self.page.next().map(Ok)
            }
            ended => {
                self.pages.clear(); // After the last page comes none of another thread's.
                ended.err().map(Err)
            }
        }
    }
}

/// Copies the write-ahead log into the file on a thread of its own.
struct Copier {
    orders: Option<SyncSender<Copy>>,
    thread: Option<JoinHandle<()>>,
    since_copy: u64,
    since_anew: u64,
}

#[derive(Clone, Copy)]
enum Copy {
    Passive,
    Anew,
}

impl Copier {
    fn start(db: Connection, log: PathBuf, keys: Keys) -> Result<Self, Failure> {
        let (orders, inbox) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("journal-copier".into())
            .spawn(move || copy_on_order(&db, &log, &keys, &inbox))
            .map_err(|e| Failure::new(Trouble::Io, "start the journal's thread", e.to_string()))?;
        Ok(Self { orders: Some(orders), thread: Some(thread), since_copy: 0, since_anew: 0 })
    }

    /// Notes what was written; orders a copy when enough has come together.
    fn wrote(&mut self, bytes: u64) {
        self.since_copy += bytes;
        self.since_anew += bytes;
        let order = match (self.since_anew >= ANEW_AFTER, self.since_copy >= COPY_AFTER) {
            (true, _) => Copy::Anew,
            (false, true) => Copy::Passive,
            (false, false) => return,
        };
        let Some(orders) = &self.orders else { return };
        match orders.try_send(order) {
            Ok(()) => {
                self.since_copy = 0;
                if matches!(order, Copy::Anew) {
                    self.since_anew = 0;
                }
            }
            // It is still busy with the last one: ask again after the next append. A thread that
            // is gone leaves the log to grow until the next start, which copies it.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

fn copy_on_order(db: &Connection, log: &Path, keys: &Keys, inbox: &Receiver<Copy>) {
    while let Ok(order) = inbox.recv() {
        let _ = lengthen(log); // Without it appends are slower, no more.
        // A failed copy loses nothing: the log stays, and the next order copies it too. So with keys.
        let _ = checkpoint_passive(db);
        if matches!(order, Copy::Anew) {
            let _ = checkpoint_restart(db);
        }
        let _ = keys.tidy();
    }
    let _ = checkpoint_truncate(db);
}

/// The write-ahead log of a file.
fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Makes the log's file as long as it will be, with zeros, which are no part of a log. They are appended:
/// what is written meanwhile stays.
fn lengthen(log: &Path) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().append(true).open(log)?;
    let mut missing = LOG_BYTES.saturating_sub(file.metadata()?.len());
    while missing > 0 {
        let zeros = vec![0; usize::try_from(missing.min(1 << 20)).unwrap_or(1 << 20)];
        std::io::Write::write_all(&mut file, &zeros)?;
        missing -= zeros.len() as u64;
    }
    file.sync_data()
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use perennial_core::fact::Fact;
    use perennial_core::input::{Input, Publication, Published};
    use perennial_core::time::Timestamp;

    use super::*;
    use crate::Store;

    fn entries(from: u64, count: u64) -> Vec<Entry> {
        let what = || Published::Program { version: 1, source: "x".repeat(4_000).into() };
        let publication = || Publication { at: Timestamp::EPOCH, by: "ana".into(), what: what() };
        let entry = |seq| Entry {
            seq,
            recorded_at: Timestamp::EPOCH,
            customer: None,
            root: None,
            cause: None,
            input: Some(Input::Published(Box::new(publication()))),
            outcome: vec![Fact::Noted("full".into())],
        };
        (from..from + count).map(entry).collect()
    }

    /// A journal on a disk with room for so many pages.
    fn scribe(folder: &Path, pages: i64) -> (Scribe, JournalReader) {
        let keys = Store::open(folder).unwrap().keys;
        let (scribe, reader) = Scribe::open(&folder.join("journal.db"), keys).unwrap();
        scribe.db.pragma_update(None, "max_page_count", pages).unwrap();
        (scribe, reader)
    }

    #[test]
    fn a_full_disk_fails_the_whole_append_and_the_next_one_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let (mut scribe, reader) = scribe(dir.path(), 10);
        scribe.append(&entries(1, 3)).unwrap();
        let failure = scribe.append(&entries(4, 100)).unwrap_err();
        assert_eq!((failure.trouble, failure.may_pass()), (Trouble::DiskFull, true));
        assert_eq!(reader.last_seq(), 3);
        assert_eq!(reader.read(1, 100).unwrap(), entries(1, 3));
        scribe.db.pragma_update(None, "max_page_count", 1_000_000).unwrap();
        scribe.append(&entries(4, 100)).unwrap();
        assert_eq!(reader.read(1, 200).unwrap(), entries(1, 103));
    }

    #[test]
    fn what_follows_a_failure_fails_until_the_journal_is_resumed() {
        let dir = tempfile::tempdir().unwrap();
        let (scribe, reader) = scribe(dir.path(), 10);
        let mut journal = Journal::start(scribe, reader).unwrap();
        let (told, heard) = std::sync::mpsc::channel();
        let begin = |journal: &mut Journal, from, count| {
            let told = told.clone();
            let done = move |done: Result<(), Failure>| told.send(done.map_err(|f| f.trouble)).unwrap();
            journal.begin(&mut entries(from, count), false, done);
        };
        begin(&mut journal, 1, 3);
        journal.wait().unwrap();
        begin(&mut journal, 4, 100);
        assert_eq!(journal.wait().unwrap_err().trouble, Trouble::DiskFull);
        begin(&mut journal, 104, 2);
        assert_eq!(journal.wait().unwrap_err().trouble, Trouble::DiskFull);
        assert!(journal.has_failed());
        journal.resume();
        begin(&mut journal, 4, 2);
        journal.wait().unwrap();
        drop(told);
        let all: Vec<_> = heard.iter().take(4).collect();
        assert_eq!(all, [Ok(()), Err(Trouble::DiskFull), Err(Trouble::DiskFull), Ok(())]);
        assert_eq!(journal.last_seq(), 5);
    }

    #[test]
    fn whoever_watches_sees_each_append_before_it_is_told() {
        let mut journal = Store::memory().journal;
        let (tell, told) = std::sync::mpsc::channel();
        let seen = tell.clone();
        journal.watch(move |append| seen.send((append.entries, append.result.is_ok())).unwrap());
        journal.begin(&mut entries(1, 3), false, move |done| tell.send((0, done.is_ok())).unwrap());
        journal.append(&entries(9, 2)).unwrap_err();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(3, true), (0, true), (2, false)]);
    }

    #[test]
    fn a_long_reader_does_not_stop_the_writer() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Store::open(dir.path()).unwrap().journal;
        journal.append(&entries(1, 1)).unwrap();
        let reader = Connection::open(dir.path().join("journal.db")).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM entries").unwrap();
        let mut longest = Duration::ZERO;
        for batch in 0..40_u64 {
            let began = std::time::Instant::now();
            journal.append(&entries(2 + batch * 500, 500)).unwrap();
            longest = longest.max(began.elapsed());
        }
        assert!(longest < Duration::from_secs(10), "an append waited {longest:?}");
        let seen: i64 = reader.query_row("SELECT count(*) FROM entries", [], |row| row.get(0)).unwrap();
        assert_eq!(seen, 1, "the reader keeps its view");
    }

    #[test]
    fn the_log_is_copied_away_while_appends_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Store::open(dir.path()).unwrap().journal;
        for batch in 0..40_u64 {
            journal.append(&entries(1 + batch * 500, 500)).unwrap();
        }
        let file = || std::fs::metadata(dir.path().join("journal.db")).unwrap().len();
        assert!(file() > COPY_AFTER, "nothing was copied while 80 MB went in");
        drop(journal);
        let log = std::fs::metadata(dir.path().join("journal.db-wal")).map_or(0, |log| log.len());
        assert_eq!(log, 0, "the last one out empties the log");
        assert!(file() > 80_000_000);
    }
}
