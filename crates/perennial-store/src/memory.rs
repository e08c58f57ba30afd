//! The store in memory: the same promises without files, and a switch that makes it fail.
//!
//! A [`MemoryDisk`] is what a crash leaves behind: drop every handle, open another store on the same
//! disk, and what was durable is there. Secrets are the same in every memory store, so that nothing
//! that is computed from them differs between two runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use perennial_core::id::{CustomerId, IdentifierHash, OrderRef};

use crate::duplicates::DuplicateContents;
use crate::failure::{Failure, Trouble};
use crate::format::Row;
use crate::seal::{Key, KeyName};
use crate::sqlite::guard;
use crate::state::{CustomerRow, KeptKey, PostingRow};

/// When a write of a [`MemoryDisk`] fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was written.
    Before,
    /// Everything was written, but the answer is a failure, as when the power goes in between.
    After,
}

/// Which write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Write {
    /// An append to the journal.
    Append,
    /// The creation or destruction of keys.
    Keys,
    /// A checkpoint of the state.
    Checkpoint,
    /// A checkpoint of the duplicates.
    Duplicates,
}

/// What survives a crash of a memory store.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Disk>);

#[derive(Default)]
struct Disk {
    contents: Mutex<Contents>,
    let_go: Condvar,
}

#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) rows: Vec<Row>,
    pub(crate) keys: BTreeMap<KeyName, Option<Key>>,
    pub(crate) kept: BTreeMap<String, Vec<u8>>,
    pub(crate) state: StateContents,
    pub(crate) duplicates: DuplicateContents,
    faults: BTreeMap<Write, Fault>,
    held: BTreeSet<Write>,
    pub(crate) in_use: bool,
}

#[derive(Clone, Default)]
pub(crate) struct StateContents {
    pub(crate) position: u64,
    pub(crate) workspace: Option<Vec<u8>>,
    pub(crate) counters: Option<Vec<u8>>,
    pub(crate) customers: BTreeMap<CustomerId, CustomerRow>,
    pub(crate) identifiers: BTreeMap<IdentifierHash, CustomerId>,
    pub(crate) orders: BTreeMap<OrderRef, CustomerId>,
    pub(crate) kept: BTreeMap<KeptKey, Vec<u8>>,
    pub(crate) archive: BTreeMap<CustomerId, Vec<Vec<u8>>>,
    pub(crate) timeline: BTreeMap<CustomerId, Vec<u64>>,
    pub(crate) postings: Vec<PostingRow>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next write of this sort fail.
    pub fn fail_next(&self, write: Write, fault: Fault) {
        self.contents().faults.insert(write, fault);
    }

    /// Lets writes of this sort wait: what happens while the disk is slow can so be told again.
    /// Whoever waits for such a write waits until [`MemoryDisk::let_go`].
    pub fn hold(&self, write: Write) {
        self.contents().held.insert(write);
    }

    /// Lets everything that waits go on.
    pub fn let_go(&self) {
        self.contents().held.clear();
        self.0.let_go.notify_all();
    }

    /// Forgets the state, as when its file is deleted while stopped.
    pub fn delete_state(&self) {
        self.contents().state = StateContents::default();
    }

    pub(crate) fn contents(&self) -> MutexGuard<'_, Contents> {
        guard(&self.0.contents)
    }

    /// Does a write, or fails as it was told to.
    pub(crate) fn write(&self, write: Write, change: impl FnOnce(&mut Contents)) -> Result<(), Failure> {
        let held = |contents: &mut Contents| contents.held.contains(&write);
        let waited = self.0.let_go.wait_while(self.contents(), held);
        let mut contents = waited.unwrap_or_else(PoisonError::into_inner);
        let fault = contents.faults.remove(&write);
        if fault != Some(Fault::Before) {
            change(&mut contents);
        }
        match fault {
            None => Ok(()),
            Some(_) => Err(Failure::new(Trouble::DiskFull, format!("{write:?}"), "the disk was told to fail")),
        }
    }
}
