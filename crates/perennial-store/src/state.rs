//! The state: what the fold had come to at a position of the journal. May be deleted while stopped.
//!
//! Promise: a [`Checkpoint`] is written whole or not at all, with its position, on the caller's
//! thread and through a connection and a file of its own, so that it never blocks an append.
//! Customers are opaque bytes. They may hold personal data, so what is deleted or replaced is
//! overwritten (`secure_delete`), and [`State::purge`] empties the write-ahead log after an erasure;
//! sealing them as well would cost every checkpoint and protect nothing that this does not.
//! Absent on purpose: migrations. A new layout means a refold.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use perennial_core::fact::Posting;
use perennial_core::id::{CustomerId, IdentifierHash, OrderRef};
use perennial_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use crate::Taken;
use crate::failure::{Doing as _, Failure, Trouble};
use crate::memory::{Contents, MemoryDisk, StateContents, Write};
use crate::runs::{Runs, give_up_building, new_run};
use crate::seen_orders::SeenOrders;
use crate::sqlite::{Layout, Readers, checkpoint_passive, checkpoint_truncate, from_sql, guard, open, to_sql};

pub(crate) const LAYOUT: Layout = Layout {
    name: "state store",
    mark: 0x5052_5331,
    version: 6,
    older: Trouble::Outdated,
    page_size: 4096,
    synchronous: "NORMAL", // a lost checkpoint is folded again
    cache_kib: 32_768,
    schema: "
        CREATE TABLE progress(id INTEGER PRIMARY KEY CHECK (id = 1), position INTEGER NOT NULL);
        INSERT INTO progress VALUES(1, 0);
        -- Rows of their own, because the first may be large and seldom changes.
        CREATE TABLE workspace(part INTEGER PRIMARY KEY, body BLOB NOT NULL);
        -- In order of arrival: new customers are appended, known ones are replaced in place.
        CREATE TABLE customers(
            n INTEGER PRIMARY KEY,
            id BLOB NOT NULL UNIQUE,
            next_due INTEGER,
            head INTEGER NOT NULL, -- the last entry of the customer's timeline
            in_parts INTEGER NOT NULL DEFAULT 0, -- whether the next table has something of them
            archived INTEGER NOT NULL DEFAULT 0, -- the last row of their archive
            body BLOB
        );
        -- What of a customer is kept apart: n * 2^32 + the part's number.
        CREATE TABLE parts(id INTEGER PRIMARY KEY, body BLOB NOT NULL);
        -- What has left their warm state (`state/archive.rs`).
        CREATE TABLE archive(number INTEGER PRIMARY KEY, before INTEGER NOT NULL, body BLOB NOT NULL);
        CREATE INDEX customers_due ON customers(next_due) WHERE next_due IS NOT NULL;
        -- Whose the entries are, many in a row (`state/timeline.rs`).
        CREATE TABLE timeline(number INTEGER PRIMARY KEY, links BLOB NOT NULL);
        CREATE TABLE identifiers(hash BLOB PRIMARY KEY, customer BLOB NOT NULL) WITHOUT ROWID;
        -- What is found by a key, in runs: whose an order is, and what is kept. One run is open.
        CREATE TABLE runs(run INTEGER PRIMARY KEY, level INTEGER NOT NULL, state TEXT NOT NULL, rows INTEGER NOT NULL DEFAULT 0);
        CREATE TABLE sorted(run INTEGER NOT NULL, key BLOB NOT NULL, body BLOB NOT NULL, PRIMARY KEY(run, key)) WITHOUT ROWID;
        CREATE TABLE postings(
            seq INTEGER NOT NULL,
            nth INTEGER NOT NULL,
            customer BLOB NOT NULL,
            unit TEXT NOT NULL,
            \"from\" TEXT NOT NULL,
            \"to\" TEXT NOT NULL,
            amount INTEGER NOT NULL,
            lot_owner BLOB,
            lot_number INTEGER,
            cause TEXT NOT NULL,
            PRIMARY KEY(seq, nth)
        ) WITHOUT ROWID;
    ",
};

/// The key of something kept: what sort of thing it is (1 or more), and its name or a hash of that.
pub type KeptKey = [u8; 17];

/// Rows of the open run, after which it is closed.
const RUN: i64 = if cfg!(any(test, fuzzing)) { 200 } else { 20_000 };
/// The sort of keys that say whose an order is.
pub(crate) const ORDER: u8 = 0;

/// Most rows that one call returns.
pub const ROWS_MAX: usize = 10_000;

/// A customer as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerRow {
    /// Whose.
    pub id: CustomerId,
    /// The customer's first timer, so that cold customers can be woken.
    pub next_due: Option<Timestamp>,
    /// The encoded customer.
    pub body: Vec<u8>,
    /// What of the customer is kept apart from the body, because it seldom changes.
    pub parts: Parts,
}

/// Parts of a customer, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Parts that are no more. Nothing when the customer was read.
    pub gone: Vec<Range<u32>>,
    /// Parts that changed, or all that there are, in ascending order.
    pub bodies: Vec<(u32, Vec<u8>)>,
}

impl CustomerRow {
    /// Bytes that this row writes.
    pub fn bytes(&self) -> usize {
        self.body.len() + self.parts.bodies.iter().map(|(_, body)| body.len()).sum::<usize>()
    }
}

/// What has left a customer's warm state, to be looked through when it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// What the customer has there is let go first.
    pub anew: bool,
    /// Added to it; nothing when empty.
    pub body: Vec<u8>,
}

/// A posting, for lists and SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostingRow {
    /// The entry it is in.
    pub seq: u64,
    /// Its place among the entry's facts.
    pub nth: u32,
    /// The entry's customer.
    pub customer: CustomerId,
    /// What moved.
    pub posting: Posting,
}

/// Everything that changed since the last checkpoint. Order does not matter: rows are sorted here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last entry that is folded in.
    pub position: u64,
    /// Customers that changed.
    pub customers: Vec<CustomerRow>,
    /// Customers that are no more (merged into another, erased); their timelines and archives stay.
    pub gone: Vec<CustomerId>,
    /// Identifiers that name another customer now, or nobody.
    pub identifiers: Vec<(IdentifierHash, Option<CustomerId>)>,
    /// Orders and whose they are.
    pub orders: Vec<(OrderRef, CustomerId)>,
    /// What has no place in a customer's warm state and is fetched by its key; nothing to let it go.
    pub kept: Vec<(KeptKey, Option<Vec<u8>>)>,
    /// What is added to customers' archives.
    pub archive: Vec<(CustomerId, Archived)>,
    /// Entries and whose timeline they are in: each entry once, in the checkpoint that passes it.
    pub timeline: Vec<(CustomerId, u64)>,
    /// Postings, for lists and SQL.
    pub postings: Vec<PostingRow>,
    /// What was published for the whole workspace (programme versions, the catalogue), when it changed.
    pub workspace: Option<Vec<u8>>,
    /// The workspace's counters (thresholds, stock), which are small, when they changed.
    pub counters: Option<Vec<u8>>,
}

mod archive;
mod timeline;
use timeline::Chains;

/// The state store. Handles are cheap to clone and may be used from any thread.
#[derive(Clone)]
pub struct State {
    backend: Arc<Backend>,
    _taken: Arc<Taken>,
}

enum Backend {
    Sqlite {
        writer: Box<Mutex<Connection>>,
        readers: Readers,
        walkers: Readers,
        seen_orders: Box<SeenOrders>,
        runs: Box<Mutex<Runs>>,
    },
    Memory(MemoryDisk),
}

impl State {
    pub(crate) fn open(path: &Path, taken: Arc<Taken>) -> Result<Self, Failure> {
        Self::open_file(path, taken).map_err(|failure| failure.of(path))
    }

    fn open_file(path: &Path, taken: Arc<Taken>) -> Result<Self, Failure> {
        let writer = open(path, &LAYOUT)?;
        writer.pragma_update(None, "secure_delete", true).doing("open the state store")?;
        give_up_building(&writer).doing("open the state store")?;
        let (readers, walkers) = (Readers::new(path, LAYOUT.name), Readers::walking(path, LAYOUT.name));
        let seen_orders = Box::new(SeenOrders::of(&writer)?);
        let (writer, runs) = (Box::new(Mutex::new(writer)), Box::new(Mutex::new(Runs::new("key", "body"))));
        let backend = Arc::new(Backend::Sqlite { writer, readers, walkers, seen_orders, runs });
        Ok(Self { backend, _taken: taken })
    }

    pub(crate) fn memory(disk: &MemoryDisk, taken: Arc<Taken>) -> Self {
        Self { backend: Arc::new(Backend::Memory(disk.clone())), _taken: taken }
    }

    /// Writes a checkpoint in one transaction. Readers see all of it or nothing.
    pub fn checkpoint(&self, mut checkpoint: Checkpoint) -> Result<(), Failure> {
        checkpoint.sort();
        match &*self.backend {
            Backend::Sqlite { writer, seen_orders, .. } => {
                write_file(&mut guard(writer), seen_orders, &checkpoint).map_err(in_file)
            }
            Backend::Memory(disk) => {
                check_position(disk.contents().state.position, checkpoint.position)?;
                disk.write(Write::Checkpoint, |c| write_memory(c, checkpoint))
            }
        }
    }

    /// Merges some of what has come together and copies the log into the file. For a thread that has time,
    /// after a checkpoint; nothing is lost when it fails.
    pub fn tidy(&self) -> Result<(), Failure> {
        let Backend::Sqlite { writer, runs, .. } = &*self.backend else { return Ok(()) };
        let mut db = guard(writer);
        guard(runs).tidy(&mut db).and_then(|()| checkpoint_passive(&db)).map_err(in_file)
    }

    /// Overwrites what the write-ahead log still holds of erased customers; call it after the
    /// checkpoint that erased them.
    pub fn purge(&self) -> Result<(), Failure> {
        let Backend::Sqlite { writer, .. } = &*self.backend else { return Ok(()) };
        if checkpoint_truncate(&guard(writer))? {
            return Ok(());
        }
        Err(Failure::new(Trouble::Busy, "purge the state store", "a reader holds it"))
    }

    /// The last entry that is folded in; 0 at the beginning.
    pub fn position(&self) -> Result<u64, Failure> {
        match &*self.backend {
            Backend::Sqlite { readers, .. } => readers.with(position_of),
            Backend::Memory(disk) => Ok(disk.contents().state.position),
        }
    }

    /// What was published for the whole workspace, once that was written.
    pub fn workspace(&self) -> Result<Option<Vec<u8>>, Failure> {
        self.read(|db| part_of_workspace(db, PUBLISHED), |state| state.workspace.clone())
    }

    /// The workspace's counters, once they were written.
    pub fn counters(&self) -> Result<Option<Vec<u8>>, Failure> {
        self.read(|db| part_of_workspace(db, COUNTERS), |state| state.counters.clone())
    }

    /// One customer.
    pub fn load(&self, id: CustomerId) -> Result<Option<CustomerRow>, Failure> {
        self.read(|db| load(db, id), |state| state.customers.get(&id).cloned())
    }

    /// Many customers at once, in the order asked for. They are read in key order, through one
    /// reader.
    pub fn load_many(&self, ids: &[CustomerId]) -> Result<Vec<Option<CustomerRow>>, Failure> {
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_unstable_by_key(|at| ids[*at]);
        self.read(
            |db| {
                let mut found = vec![None; ids.len()];
                for at in &order {
                    found[*at] = load(db, ids[*at])?;
                }
                Ok(found)
            },
            |state| ids.iter().map(|id| state.customers.get(id).cloned()).collect(),
        )
    }

    /// Whom an identifier names.
    pub fn lookup(&self, hash: IdentifierHash) -> Result<Option<CustomerId>, Failure> {
        self.read(
            |db| owner(db, "SELECT customer FROM identifiers WHERE hash = ?1", hash.0),
            |state| state.identifiers.get(&hash).copied(),
        )
    }

    /// Whose an order is.
    pub fn order_owner(&self, order: OrderRef) -> Result<Option<CustomerId>, Failure> {
        if let Backend::Sqlite { seen_orders, .. } = &*self.backend
            && seen_orders.lacks(order)
        {
            return Ok(None);
        }
        self.read(
            |db| {
                let Some(owner) = found(db, order_key(order))? else { return Ok(None) };
                let owner = owner.as_slice().try_into().map_err(|_| Failure::corrupt(FINDING, "an owner has no id"))?;
                Ok(Some(CustomerId(owner)))
            },
            |state| state.orders.get(&order).copied(),
        )
    }

    /// Something kept by its key.
    pub fn kept(&self, key: KeptKey) -> Result<Option<Vec<u8>>, Failure> {
        self.read(|db| found(db, key), |state| state.kept.get(&key).cloned())
    }

    /// Looks through the archive of a customer, what was added last first, until something is found.
    pub fn search_archive<T>(
        &self,
        id: CustomerId,
        look: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        match &*self.backend {
            Backend::Sqlite { readers, .. } => readers.with(|db| archive::search(db, id, look)),
            Backend::Memory(disk) => {
                let contents = disk.contents();
                let all = contents.state.archive.get(&id).into_iter().flatten();
                Ok(all.rev().map(Vec::as_slice).find_map(look))
            }
        }
    }

    /// Customers with a timer at or before an instant, the earliest first.
    pub fn due(&self, before: Timestamp, limit: usize) -> Result<Vec<(Timestamp, CustomerId)>, Failure> {
        let limit = limit.min(ROWS_MAX);
        self.read(|db| due(db, before, limit), |state| due_memory(state, before, limit))
    }

    /// Entries of a customer before a number (the end when none), the latest first.
    pub fn timeline(&self, id: CustomerId, before: Option<u64>, limit: usize) -> Result<Vec<u64>, Failure> {
        let (limit, before) = (limit.min(ROWS_MAX), before.unwrap_or(u64::MAX));
        self.read(
            |db| timeline::read(db, id, before, limit),
            |state| {
                let all = state.timeline.get(&id).map_or(&[][..], Vec::as_slice);
                all.iter().rev().copied().filter(|seq| *seq < before).take(limit).collect()
            },
        )
    }

    /// Those of some entries that hold postings, or are not folded in yet and may, in the order asked for.
    pub fn posted(&self, seqs: &[u64]) -> Result<Vec<u64>, Failure> {
        self.read(
            |db| posted(db, seqs),
            |state| {
                let holds = |seq: &u64| state.postings.binary_search_by_key(seq, |row| row.seq).is_ok();
                seqs.iter().copied().filter(|seq| *seq > state.position || holds(seq)).collect()
            },
        )
    }

    /// How many rows of postings of some entries, from the first to the last, are not these; all of them are asked for.
    pub fn postings_unlike(&self, first: u64, last: u64, rows: &[PostingRow]) -> Result<usize, Failure> {
        self.read(
            |db| postings_unlike(db, first, last, rows),
            |state| {
                let held = state.postings.iter().filter(|row| (first..=last).contains(&row.seq));
                unlike(&held.map(Columns::from).collect(), rows)
            },
        )
    }

    /// Customers after an id, in the order of ids.
    pub fn customers(&self, after: Option<CustomerId>, limit: usize) -> Result<Vec<CustomerRow>, Failure> {
        let limit = limit.min(ROWS_MAX);
        match &*self.backend {
            Backend::Sqlite { walkers, .. } => walkers.with(|db| customers(db, after, limit)),
            Backend::Memory(disk) => {
                let rows = &disk.contents().state.customers;
                Ok(rows.values().filter(|row| after.is_none_or(|after| row.id > after)).take(limit).cloned().collect())
            }
        }
    }

    /// The ids of customers after one, in their order.
    pub fn ids(&self, after: Option<CustomerId>, limit: usize) -> Result<Vec<CustomerId>, Failure> {
        let limit = limit.min(ROWS_MAX);
        match &*self.backend {
            Backend::Sqlite { walkers, .. } => walkers.with(|db| ids(db, after, limit)),
            Backend::Memory(disk) => {
                let customers = &disk.contents().state.customers;
                Ok(customers.keys().filter(|id| after.is_none_or(|after| **id > after)).take(limit).copied().collect())
            }
        }
    }

    /// How many customers there are.
    pub fn count(&self) -> Result<u64, Failure> {
        match &*self.backend {
            Backend::Sqlite { walkers, .. } => walkers.with(|db| {
                let sql = "SELECT count(*) FROM customers WHERE body IS NOT NULL";
                db.query_row(sql, [], |row| row.get(0)).map(from_sql).doing("count customers")
            }),
            Backend::Memory(disk) => Ok(disk.contents().state.customers.len() as u64),
        }
    }

    fn read<T>(
        &self,
        sqlite: impl FnOnce(&Connection) -> Result<T, Failure>,
        memory: impl FnOnce(&StateContents) -> T,
    ) -> Result<T, Failure> {
        match &*self.backend {
            Backend::Sqlite { readers, .. } => readers.with(sqlite),
            Backend::Memory(disk) => Ok(memory(&disk.contents().state)),
        }
    }
}

impl Checkpoint {
    fn sort(&mut self) {
        self.customers.sort_unstable_by_key(|row| row.id);
        self.gone.sort_unstable();
        self.identifiers.sort_by_key(|(hash, _)| *hash);
        self.orders.sort_by_key(|(order, _)| *order);
        self.kept.sort_by_key(|(key, _)| *key);
        self.archive.sort_by_key(|(id, _)| *id);
        self.timeline.sort_unstable();
        self.postings.sort_unstable_by_key(|row| (row.seq, row.nth));
    }

    /// The timeline's new entries by customer; they are sorted.
    fn timelines(&self) -> BTreeMap<CustomerId, &[(CustomerId, u64)]> {
        self.timeline.chunk_by(|a, b| a.0 == b.0).map(|entries| (entries[0].0, entries)).collect()
    }
}

fn check_position(old: u64, new: u64) -> Result<(), Failure> {
    if new >= old {
        return Ok(());
    }
    Err(Failure::misuse("write a checkpoint", format!("position {new} is before {old}")))
}

fn write_memory(contents: &mut Contents, checkpoint: Checkpoint) {
    let state = &mut contents.state;
    for (id, entries) in checkpoint.timelines() {
        state.timeline.entry(id).or_default().extend(entries.iter().map(|(_, seq)| *seq));
    }
    for mut row in checkpoint.customers {
        let old = state.customers.remove(&row.id).map(|old| old.parts.bodies).unwrap_or_default();
        let gone = std::mem::take(&mut row.parts.gone);
        let mut bodies: BTreeMap<u32, Vec<u8>> = old.into_iter().collect();
        bodies.retain(|number, _| !gone.iter().any(|range| range.contains(number)));
        bodies.extend(std::mem::take(&mut row.parts.bodies));
        row.parts.bodies = bodies.into_iter().collect();
        state.customers.insert(row.id, row);
    }
    for id in &checkpoint.gone {
        state.customers.remove(id);
    }
    for (hash, customer) in checkpoint.identifiers {
        match customer {
            Some(customer) => state.identifiers.insert(hash, customer),
            None => state.identifiers.remove(&hash),
        };
    }
    state.orders.extend(checkpoint.orders);
    for (key, body) in checkpoint.kept {
        match body {
            Some(body) => state.kept.insert(key, body),
            None => state.kept.remove(&key),
        };
    }
    for (id, Archived { anew, body }) in checkpoint.archive {
        let there = state.archive.entry(id).or_default();
        if anew {
            there.clear();
        }
        there.extend((!body.is_empty()).then_some(body));
    }
    state.postings.extend(checkpoint.postings);
    state.position = checkpoint.position;
    if checkpoint.workspace.is_some() {
        state.workspace = checkpoint.workspace;
    }
    if checkpoint.counters.is_some() {
        state.counters = checkpoint.counters;
    }
}

const WRITING: &str = "write a checkpoint";

fn in_file(failure: Failure) -> Failure {
    failure.of(Path::new("state.db"))
}

fn write_file(db: &mut Connection, seen_orders: &SeenOrders, checkpoint: &Checkpoint) -> Result<(), Failure> {
    check_position(position_of(db)?, checkpoint.position)?;
    seen_orders.read_on(db)?;
    seen_orders.note(checkpoint.orders.iter().map(|(order, _)| *order));
    let tx = db.transaction().doing(WRITING)?;
    write(&tx, checkpoint)?;
    tx.commit().doing(WRITING)
}

fn write(tx: &Transaction<'_>, checkpoint: &Checkpoint) -> Result<(), Failure> {
    write_customers(tx, checkpoint)?;
    write_identifiers(tx, &checkpoint.identifiers)?;
    write_found(tx, checkpoint)?;
    archive::write(tx, &checkpoint.archive)?;
    write_postings(tx, &checkpoint.postings)?;
    for (part, body) in [(PUBLISHED, &checkpoint.workspace), (COUNTERS, &checkpoint.counters)] {
        if let Some(body) = body {
            tx.execute("INSERT OR REPLACE INTO workspace VALUES(?1, ?2)", params![part, body]).doing(WRITING)?;
        }
    }
    tx.execute("UPDATE progress SET position = ?1", [to_sql(checkpoint.position)]).doing(WRITING)?;
    Ok(())
}

/// Parts of the workspace, by the number of their row.
const PUBLISHED: i64 = 1;
const COUNTERS: i64 = 2;

fn part_of_workspace(db: &Connection, part: i64) -> Result<Option<Vec<u8>>, Failure> {
    let sql = "SELECT body FROM workspace WHERE part = ?1";
    db.query_row(sql, [part], |row| row.get(0)).optional().doing("read the workspace")
}

/// What a customer's row says without its body.
struct Stub {
    n: i64,
    next_due: Option<i64>,
    head: i64,
    in_parts: bool,
}

fn write_customers(tx: &Transaction<'_>, checkpoint: &Checkpoint) -> Result<(), Failure> {
    let mut timelines = checkpoint.timelines();
    let mut chains = Chains::with_capacity(checkpoint.timeline.len());
    for row in &checkpoint.customers {
        let stub = stub(tx, row.id)?;
        let entries = timelines.remove(&row.id).unwrap_or_default();
        write_customer(tx, stub.as_ref(), row, entries, &mut chains)?;
    }
    for id in &checkpoint.gone {
        if let Some(stub) = stub(tx, *id)? {
            let all = std::iter::once(0..u32::MAX).collect();
            write_parts(tx, &stub, &Parts { gone: all, bodies: Vec::new() })?;
        }
        let sql = "UPDATE customers SET body = NULL, next_due = NULL, in_parts = 0 WHERE id = ?1";
        tx.prepare_cached(sql).and_then(|mut s| s.execute([id.0])).doing(WRITING)?;
    }
    for (id, entries) in timelines {
        let (n, head) = match stub(tx, id)? {
            Some(stub) => (stub.n, stub.head),
            None => (insert_customer(tx, id, None, None)?, 0),
        };
        let head = chains.lengthen(n, head, entries);
        let sql = "UPDATE customers SET head = ?2 WHERE n = ?1";
        tx.prepare_cached(sql).and_then(|mut s| s.execute([n, head])).doing(WRITING)?;
    }
    chains.write(tx)
}

fn stub(db: &Connection, id: CustomerId) -> Result<Option<Stub>, Failure> {
    let sql = "SELECT n, next_due, head, in_parts FROM customers WHERE id = ?1";
    let mut statement = db.prepare_cached(sql).doing("find a customer")?;
    let stub = statement
        .query_row([id.0], |row| {
            Ok(Stub { n: row.get(0)?, next_due: row.get(1)?, head: row.get(2)?, in_parts: row.get(3)? })
        })
        .optional();
    stub.doing("find a customer")
}

fn insert_customer(
    tx: &Transaction<'_>,
    id: CustomerId,
    next_due: Option<i64>,
    body: Option<&[u8]>,
) -> Result<i64, Failure> {
    let sql = "INSERT INTO customers(id, next_due, head, body) VALUES(?1, ?2, 0, ?3)";
    let mut statement = tx.prepare_cached(sql).doing(WRITING)?;
    statement.insert(params![id.0, next_due, body]).doing(WRITING)
}

fn write_customer(
    tx: &Transaction<'_>,
    stub: Option<&Stub>,
    row: &CustomerRow,
    entries: &[(CustomerId, u64)],
    chains: &mut Chains,
) -> Result<(), Failure> {
    let next_due = row.next_due.map(Timestamp::as_millis);
    let Some(stub) = stub else {
        let n = insert_customer(tx, row.id, next_due, Some(&row.body))?;
        let head = chains.lengthen(n, 0, entries);
        let in_parts = write_parts(tx, &Stub { n, next_due, head, in_parts: false }, &row.parts)?;
        if head == 0 && !in_parts {
            return Ok(());
        }
        let sql = "UPDATE customers SET head = ?2, in_parts = ?3 WHERE n = ?1";
        tx.prepare_cached(sql).and_then(|mut s| s.execute(params![n, head, in_parts])).doing(WRITING)?;
        return Ok(());
    };
    let head = chains.lengthen(stub.n, stub.head, entries);
    let in_parts = write_parts(tx, stub, &row.parts)?;
    if stub.next_due == next_due {
        // Naming `next_due` would rewrite its index entry, even with the same value.
        let sql = "UPDATE customers SET head = ?2, in_parts = ?3, body = ?4 WHERE n = ?1";
        let values = params![stub.n, head, in_parts, row.body];
        tx.prepare_cached(sql).and_then(|mut s| s.execute(values)).doing(WRITING)?;
    } else {
        let sql = "UPDATE customers SET head = ?2, in_parts = ?3, body = ?4, next_due = ?5 WHERE n = ?1";
        let values = params![stub.n, head, in_parts, row.body, next_due];
        tx.prepare_cached(sql).and_then(|mut s| s.execute(values)).doing(WRITING)?;
    }
    Ok(())
}

/// Brings a customer's parts up to date; whether there may be any now.
fn write_parts(tx: &Transaction<'_>, stub: &Stub, parts: &Parts) -> Result<bool, Failure> {
    if stub.in_parts {
        for gone in parts.gone.iter().filter(|gone| !gone.is_empty()) {
            let ids = [part_id(stub.n, gone.start), part_id(stub.n, gone.end)];
            let mut statement = tx.prepare_cached("DELETE FROM parts WHERE id >= ?1 AND id < ?2").doing(WRITING)?;
            statement.execute(ids).doing(WRITING)?;
        }
    }
    for (number, body) in &parts.bodies {
        let mut statement = tx.prepare_cached("INSERT OR REPLACE INTO parts VALUES(?1, ?2)").doing(WRITING)?;
        statement.execute(params![part_id(stub.n, *number), body]).doing(WRITING)?;
    }
    Ok(stub.in_parts || !parts.bodies.is_empty())
}

fn part_id(n: i64, number: u32) -> i64 {
    (n << 32) | i64::from(number)
}

fn write_identifiers(tx: &Transaction<'_>, rows: &[(IdentifierHash, Option<CustomerId>)]) -> Result<(), Failure> {
    for (hash, customer) in rows {
        let done = match customer {
            Some(customer) => tx
                .prepare_cached("INSERT OR REPLACE INTO identifiers VALUES(?1, ?2)")
                .and_then(|mut s| s.execute([hash.0, customer.0])),
            None => tx.prepare_cached("DELETE FROM identifiers WHERE hash = ?1").and_then(|mut s| s.execute([hash.0])),
        };
        done.doing(WRITING)?;
    }
    Ok(())
}

/// Adds to the open run, or to another one when that is full. What is let go is overwritten wherever
/// it lies.
fn write_found(tx: &Transaction<'_>, checkpoint: &Checkpoint) -> Result<(), Failure> {
    let mut run = open_run(tx)?;
    let orders = checkpoint.orders.iter().map(|(order, customer)| (order_key(*order), Some(&customer.0[..])));
    let kept = checkpoint.kept.iter().map(|(key, body)| (*key, body.as_deref()));
    let mut put = tx.prepare_cached("INSERT OR REPLACE INTO sorted VALUES(?1, ?2, ?3)").doing(WRITING)?;
    let mut let_go =
        tx.prepare_cached("DELETE FROM sorted WHERE run IN (SELECT run FROM runs) AND key = ?1").doing(WRITING)?;
    for (key, body) in orders.chain(kept) {
        let Some(body) = body else {
            let_go.execute([key]).doing(WRITING)?;
            continue;
        };
        put.execute(params![run.number, key, body]).doing(WRITING)?;
        run.rows += 1;
    }
    tx.execute("UPDATE runs SET rows = ?2 WHERE run = ?1", [run.number, run.rows]).doing(WRITING)?;
    Ok(())
}

struct Open {
    number: i64,
    rows: i64,
}

fn open_run(tx: &Transaction<'_>) -> Result<Open, Failure> {
    let sql = "SELECT run, rows FROM runs WHERE state = 'open'";
    let open = tx.query_row(sql, [], |row| Ok(Open { number: row.get(0)?, rows: row.get(1)? }));
    match open.optional().doing(WRITING)? {
        Some(open) if open.rows < RUN => Ok(open),
        full => {
            if let Some(full) = full {
                tx.execute("UPDATE runs SET state = 'live' WHERE run = ?1", [full.number]).doing(WRITING)?;
            }
            Ok(Open { number: new_run(tx, 0, "open")?, rows: 0 })
        }
    }
}

fn order_key(order: OrderRef) -> KeptKey {
    let mut key = [ORDER; 17];
    key[1..].copy_from_slice(&order.0);
    key
}

fn posted(db: &Connection, seqs: &[u64]) -> Result<Vec<u64>, Failure> {
    let reading = "look for postings";
    let position = position_of(db)?;
    let mut statement = db.prepare_cached("SELECT 1 FROM postings WHERE seq = ?1 LIMIT 1").doing(reading)?;
    let mut found = Vec::new();
    for seq in seqs {
        let stored = i64::try_from(*seq).unwrap_or(i64::MAX);
        if *seq > position || statement.exists([stored]).doing(reading)? {
            found.push(*seq);
        }
    }
    Ok(found)
}

/// A posting as its row has it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Columns {
    seq: i64,
    nth: u32,
    customer: [u8; 16],
    unit: String,
    from: String,
    to: String,
    amount: i64,
    lot_owner: Option<[u8; 16]>,
    lot_number: Option<u32>,
    cause: String,
}

impl From<&PostingRow> for Columns {
    fn from(row: &PostingRow) -> Self {
        let posting = &row.posting;
        Self {
            seq: to_sql(row.seq),
            nth: row.nth,
            customer: row.customer.0,
            unit: unit_name(&posting.unit),
            from: word(posting.from),
            to: word(posting.to),
            amount: posting.amount,
            lot_owner: posting.lot.map(|lot| lot.owner.0),
            lot_number: posting.lot.map(|lot| lot.number),
            cause: word(posting.cause),
        }
    }
}

fn write_postings(tx: &Transaction<'_>, rows: &[PostingRow]) -> Result<(), Failure> {
    let sql = "INSERT INTO postings VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let mut statement = tx.prepare_cached(sql).doing(WRITING)?;
    for row in rows {
        let Columns { seq, nth, customer, unit, from, to, amount, lot_owner, lot_number, cause } = row.into();
        let values = params![seq, nth, customer, unit, from, to, amount, lot_owner, lot_number, cause];
        statement.execute(values).doing(WRITING)?;
    }
    Ok(())
}

fn postings_unlike(db: &Connection, first: u64, last: u64, rows: &[PostingRow]) -> Result<usize, Failure> {
    const READING: &str = "read postings";
    let mut statement = db.prepare_cached("SELECT * FROM postings WHERE seq BETWEEN ?1 AND ?2").doing(READING)?;
    let held = statement.query_map([to_sql(first), to_sql(last)], |row| {
        Ok(Columns {
            seq: row.get(0)?,
            nth: row.get(1)?,
            customer: row.get(2)?,
            unit: row.get(3)?,
            from: row.get(4)?,
            to: row.get(5)?,
            amount: row.get(6)?,
            lot_owner: row.get(7)?,
            lot_number: row.get(8)?,
            cause: row.get(9)?,
        })
    });
    let held: rusqlite::Result<BTreeSet<Columns>> = held.doing(READING)?.collect();
    Ok(unlike(&held.doing(READING)?, rows))
}

/// Rows that are missing, or that nobody asked for.
fn unlike(held: &BTreeSet<Columns>, rows: &[PostingRow]) -> usize {
    let expected: BTreeSet<Columns> = rows.iter().map(Columns::from).collect();
    let (missing, more) = (expected.difference(held).count(), held.difference(&expected).count());
    missing.max(more)
}

fn unit_name(unit: &perennial_core::fact::Unit) -> String {
    use perennial_core::fact::Unit;
    match unit {
        Unit::Points => "points".into(),
        Unit::Stock(reward) => format!("stock:{reward}"),
        Unit::Impact(unit) => format!("impact:{unit}"),
    }
}

/// The name of a plain variant, in lower case.
fn word(variant: impl std::fmt::Debug) -> String {
    format!("{variant:?}").to_lowercase()
}

fn position_of(db: &Connection) -> Result<u64, Failure> {
    db.query_row("SELECT position FROM progress", [], |row| row.get(0)).map(from_sql).doing("read the position")
}

fn load(db: &Connection, id: CustomerId) -> Result<Option<CustomerRow>, Failure> {
    const DOING: &str = "load a customer";
    let sql = "SELECT id, next_due, body, n, in_parts FROM customers WHERE id = ?1 AND body IS NOT NULL";
    let mut statement = db.prepare_cached(sql).doing(DOING)?;
    let mut rows = statement.query([id.0]).doing(DOING)?;
    // The row is held while its parts are read, so that all are of the same checkpoint.
    let row = rows.next().doing(DOING)?;
    row.map(|row| customer_row(db, row)).transpose()
}

fn customer_row(db: &Connection, row: &Row<'_>) -> Result<CustomerRow, Failure> {
    const DOING: &str = "read a customer's row";
    let body = || {
        let next_due = row.get::<_, Option<i64>>(1)?.map(Timestamp::from_millis);
        Ok(CustomerRow { id: CustomerId(row.get(0)?), next_due, body: row.get(2)?, parts: Parts::default() })
    };
    let (mut found, n, in_parts) =
        body().and_then(|body| Ok((body, row.get(3)?, row.get::<_, bool>(4)?))).doing(DOING)?;
    if in_parts {
        found.parts.bodies = parts(db, n)?;
    }
    Ok(found)
}

fn parts(db: &Connection, n: i64) -> Result<Vec<(u32, Vec<u8>)>, Failure> {
    const DOING: &str = "read a customer's parts";
    let sql = "SELECT id & 4294967295, body FROM parts WHERE id >= ?1 AND id <= ?2 ORDER BY id";
    let mut statement = db.prepare_cached(sql).doing(DOING)?;
    let rows = statement.query_map([part_id(n, 0), part_id(n, u32::MAX)], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.and_then(Iterator::collect).doing(DOING)
}

fn owner(db: &Connection, sql: &str, key: [u8; 16]) -> Result<Option<CustomerId>, Failure> {
    let mut statement = db.prepare_cached(sql).doing("find an owner")?;
    statement.query_row([key], |row| row.get(0)).optional().map(|id| id.map(CustomerId)).doing("find an owner")
}

const FINDING: &str = "find by key";

/// What the newest run says of a key. The open run, of level 0, has the largest number of that level.
///
/// Runs are asked one by one while their list is held, so that all are of the same checkpoint; as one
/// statement with a join it was parsed again at every call, which took ten times as long.
fn found(db: &Connection, key: KeptKey) -> Result<Option<Vec<u8>>, Failure> {
    let sql = "SELECT run FROM runs WHERE state IN ('open', 'live') ORDER BY level, run DESC";
    let mut list = db.prepare_cached(sql).doing(FINDING)?;
    let mut runs = list.query([]).doing(FINDING)?;
    let mut row = db.prepare_cached("SELECT body FROM sorted WHERE run = ?1 AND key = ?2").doing(FINDING)?;
    while let Some(run) = runs.next().doing(FINDING)? {
        let run: i64 = run.get(0).doing(FINDING)?;
        let body = row.query_row(params![run, key], |row| row.get(0)).optional().doing(FINDING)?;
        if body.is_some() {
            return Ok(body);
        }
    }
    Ok(None)
}

fn due(db: &Connection, before: Timestamp, limit: usize) -> Result<Vec<(Timestamp, CustomerId)>, Failure> {
    let sql = "SELECT next_due, id FROM customers WHERE next_due IS NOT NULL AND next_due <= ?1
               ORDER BY next_due, id LIMIT ?2";
    let mut statement = db.prepare_cached(sql).doing("find due timers")?;
    let rows = statement.query_map(params![before.as_millis(), to_sql(limit as u64)], |row| {
        Ok((Timestamp::from_millis(row.get(0)?), CustomerId(row.get(1)?)))
    });
    rows.and_then(Iterator::collect).doing("find due timers")
}

fn due_memory(state: &StateContents, before: Timestamp, limit: usize) -> Vec<(Timestamp, CustomerId)> {
    let mut due: Vec<_> = state.customers.values().filter_map(|row| Some((row.next_due?, row.id))).collect();
    due.retain(|(at, _)| *at <= before);
    due.sort_unstable();
    due.truncate(limit);
    due
}

fn customers(db: &Connection, after: Option<CustomerId>, limit: usize) -> Result<Vec<CustomerRow>, Failure> {
    const DOING: &str = "list customers";
    let sql = "SELECT id, next_due, body, n, in_parts FROM customers WHERE id > ?1 AND body IS NOT NULL
               ORDER BY id LIMIT ?2";
    let mut statement = db.prepare_cached(sql).doing(DOING)?;
    let after = after.map_or_else(Vec::new, |id| id.0.to_vec());
    let mut rows = statement.query(params![after, to_sql(limit as u64)]).doing(DOING)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().doing(DOING)? {
        found.push(customer_row(db, row)?);
    }
    Ok(found)
}

fn ids(db: &Connection, after: Option<CustomerId>, limit: usize) -> Result<Vec<CustomerId>, Failure> {
    const DOING: &str = "list customers";
    let sql = "SELECT id FROM customers WHERE id > ?1 AND body IS NOT NULL ORDER BY id LIMIT ?2";
    let mut statement = db.prepare_cached(sql).doing(DOING)?;
    let after = after.map_or_else(Vec::new, |id| id.0.to_vec());
    let rows = statement.query_map(params![after, to_sql(limit as u64)], |row| row.get(0).map(CustomerId));
    rows.and_then(Iterator::collect).doing(DOING)
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    fn checkpoint(position: u64, count: u8) -> Checkpoint {
        let row =
            |n| CustomerRow { id: CustomerId([n; 16]), next_due: None, body: vec![n; 3_000], parts: Parts::default() };
        Checkpoint { position, customers: (0..count).map(row).collect(), ..Checkpoint::default() }
    }

    #[test]
    fn a_full_disk_fails_the_whole_checkpoint_and_the_next_one_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let Backend::Sqlite { writer, .. } = &*store.state.backend else { panic!("a state in a file") };
        let limit = |pages: i64| guard(writer).pragma_update(None, "max_page_count", pages).unwrap();
        limit(40);
        assert_eq!(store.state.checkpoint(checkpoint(1, 200)).unwrap_err().trouble, Trouble::DiskFull);
        assert_eq!((store.state.position().unwrap(), store.state.count().unwrap()), (0, 0));
        limit(1_000_000);
        store.state.checkpoint(checkpoint(1, 200)).unwrap();
        assert_eq!((store.state.position().unwrap(), store.state.count().unwrap()), (1, 200));
        assert!(store.journal.append(&[]).is_ok());
    }

    #[test]
    fn of_a_key_the_newest_row_counts_through_runs_and_merges() {
        let dir = tempfile::tempdir().unwrap();
        let name = |sort: u8, n: u64| {
            let mut key = [sort; 17];
            key[1..].copy_from_slice(&perennial_core::id::Secret([3; 16]).digest(&[&n.to_le_bytes()]));
            key
        };
        let mut known: BTreeMap<u64, Option<Vec<u8>>> = BTreeMap::new();
        let mut state = Store::open(dir.path()).unwrap().state;
        for round in 0..40_u64 {
            // New ones, some of them said again and some let go in every later round.
            let news: BTreeMap<u64, Option<Vec<u8>>> = (round * 400..(round + 1) * 400)
                .map(|n| (n, Some(n.to_le_bytes().to_vec())))
                .chain((0..round * 400).step_by(97).map(|n| (n, (n % 3 > 0).then(|| round.to_le_bytes().to_vec()))))
                .collect();
            known.extend(news.clone());
            let kept = news.iter().map(|(n, body)| (name(1, *n), body.clone())).collect();
            let owner = |n: u64| CustomerId(name(9, n + round)[1..].try_into().unwrap());
            let orders = news.keys().map(|n| (OrderRef(name(0, *n)[1..].try_into().unwrap()), owner(*n))).collect();
            state.checkpoint(Checkpoint { orders, kept, ..Checkpoint::default() }).unwrap();
            state.tidy().unwrap();
            if round % 13 == 12 {
                drop(state);
                state = Store::open(dir.path()).unwrap().state;
            }
        }
        let runs = |sql: &str| state.read(|db| Ok(db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()), |_| 0);
        assert!(runs("SELECT max(level) FROM runs").unwrap() >= 1, "runs were merged");
        for (n, body) in &known {
            assert_eq!(state.kept(name(1, *n)).unwrap(), *body, "{n}");
            let last = if n % 97 == 0 { 39.max(n / 400) } else { n / 400 };
            let owner = state.order_owner(OrderRef(name(0, *n)[1..].try_into().unwrap())).unwrap();
            assert_eq!(owner, Some(CustomerId(name(9, n + last)[1..].try_into().unwrap())), "{n}");
        }
    }

    #[test]
    fn what_was_replaced_is_overwritten_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut first = checkpoint(1, 20);
        first.customers[7].body = [b"Ana Lovelace ".repeat(200), vec![0]].concat();
        store.state.checkpoint(first).unwrap();
        store.state.checkpoint(checkpoint(2, 20)).unwrap();
        let gone = Checkpoint { position: 3, gone: vec![CustomerId([7; 16])], ..Checkpoint::default() };
        store.state.checkpoint(gone).unwrap();
        store.state.purge().unwrap();
        for file in ["state.db", "state.db-wal"] {
            let bytes = std::fs::read(dir.path().join(file)).unwrap();
            assert!(!bytes.windows(8).any(|w| w == b"Lovelace"), "{file} still holds the name");
        }
    }
}
