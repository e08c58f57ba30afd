//! Keeps it: the journal, keys, checkpoints of state, messages seen. SQLite and memory; PostgreSQL later.
//!
//! The journal is the truth; everything else here is a fold of it that may be deleted and made
//! again, except the keys, without which the truth cannot be read.
//!
//! | Part | Who uses it | Durable when | If its file is lost |
//! |---|---|---|---|
//! | [`Journal`] | one writer; [`JournalReader`]s anywhere | `append` returns (`fsync`) | restore a backup |
//! | [`Keys`] | appends, readers, erasure | before the append that needs them (`fsync`, only for new ones) | restore a backup |
//! | [`State`] | one thread writes checkpoints; anybody reads | its log is copied, some checkpoints later | folded again |
//! | [`Duplicates`] | the writer asks and remembers; one thread saves | as the state | the journal's tail is remembered |
//!
//! After a failed append nothing may be acknowledged and [`Duplicates::forget_after`] takes back what
//! was remembered; `last_seq` tells what is on the disk. A full disk mends itself once there is room:
//! the same store goes on ([`Failure::may_pass`]).
//!
//! ```
//! use perennial_core::id::CustomerId;
//! use perennial_core::input::Entry;
//! use perennial_core::time::Timestamp;
//! use perennial_store::{Checkpoint, CustomerRow, Parts, Store};
//!
//! # fn main() -> Result<(), perennial_store::Failure> {
//! let Store { mut journal, state, .. } = Store::memory(); // or Store::open(folder)?
//! let (ana, at) = (CustomerId([1; 16]), Timestamp::EPOCH);
//! let entry = Entry {
//!     seq: 1, recorded_at: at, customer: Some(ana), root: Some(ana), cause: None, input: None, outcome: vec![],
//! };
//! journal.append(&[entry])?; // on the disk when this returns: reply now
//!
//! let row = CustomerRow { id: ana, next_due: None, body: b"what the fold came to".to_vec(), parts: Parts::default() };
//! state.checkpoint(Checkpoint { position: 1, customers: vec![row], timeline: vec![(ana, 1)], ..Checkpoint::default() })?;
//! assert_eq!(state.timeline(ana, None, 10)?, [1]);
//! # Ok(())
//! # }
//! ```
//!
//! One folder belongs to one process. A new backend is a new arm in each part's `Backend`, and the
//! suite in `tests/it/suite.rs` states what it must promise.

mod aside;
mod backup;
#[cfg(any(test, fuzzing))]
mod damage;
mod desk;
mod digests;
mod duplicates;
mod failure;
mod filter;
mod format;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod journal;
mod keyring;
mod keys;
mod memory;
mod private;
mod runs;
mod seal;
mod seen_orders;
mod sqlite;
mod state;

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;

pub use aside::Aside;
use backup::DUPLICATES;
pub use backup::{Restored, backup, restore};
pub use digests::DigestMap;
pub use duplicates::{Duplicates, DuplicatesCheckpoint, Fingerprint, Seen};
pub use failure::{Failure, Trouble};
pub use journal::{Appended, Entries, Journal, JournalReader, READ_MAX};
pub use keys::Keys;
pub use memory::{Fault, MemoryDisk, Write};
pub use private::private_file;
pub use state::{Archived, Checkpoint, CustomerRow, KeptKey, Parts, PostingRow, ROWS_MAX, State};

/// All that is kept of one workspace. Take it apart: the journal goes to the writer, the others to
/// whoever needs them. The folder belongs to this process until the last part is dropped.
pub struct Store {
    /// What came in and what followed.
    pub journal: Journal,
    /// What seals it.
    pub keys: Keys,
    /// What the fold had come to.
    pub state: State,
    /// Which messages were seen.
    pub duplicates: Duplicates,
}

/// How to open a folder.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// The master key, when it is not to be kept in the folder as `master.key`.
    pub master_key: Option<[u8; 32]>,
}

/// This process's mark on a folder; every part holds it, and dropping the last frees the folder.
pub(crate) enum Taken {
    /// The lock on this file goes when it is closed.
    Folder { _lock: File },
    /// A disk in memory.
    Memory(MemoryDisk),
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Self::Memory(disk) = self {
            disk.contents().in_use = false;
        }
    }
}

impl Store {
    /// Opens a folder, and makes what is not there yet.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        Self::open_with(folder, Options::default())
    }

    /// Opens a folder with options.
    pub fn open_with(folder: &Path, options: Options) -> Result<Self, Failure> {
        private::make_folder(folder).map_err(|e| Failure::io("make the data folder", folder, &e))?;
        let taken = Arc::new(take(folder)?);
        refuse_lost_keys(folder)?;
        refuse_lost_journal(folder)?;
        let keys = Keys::open(folder, options.master_key, taken.clone())?;
        let journal = Journal::open(&folder.join("journal.db"), keys.clone())?;
        let state = State::open(&folder.join("state.db"), taken.clone())?;
        let duplicates = Duplicates::open(&folder.join(DUPLICATES), taken)?;
        Self { journal, keys, state, duplicates }.checked()
    }

    /// A store that lives as long as its handles.
    pub fn memory() -> Self {
        Self::on(&MemoryDisk::new()).expect("an empty disk is whole and nobody has it open")
    }

    /// A store on a memory disk, which outlives it: what a crash leaves can be opened again.
    pub fn on(disk: &MemoryDisk) -> Result<Self, Failure> {
        if std::mem::replace(&mut disk.contents().in_use, true) {
            return Err(Failure::new(Trouble::InUse, "open a memory disk", "it is open already"));
        }
        let taken = Arc::new(Taken::Memory(disk.clone()));
        let keys = Keys::memory(disk, taken.clone());
        let duplicates = Duplicates::memory(disk, taken.clone())?;
        let journal = Journal::memory(disk, keys.clone());
        Self { journal, keys, state: State::memory(disk, taken), duplicates }.checked()
    }

    /// A state that is ahead of its journal is the state of another journal, or the journal is cut.
    /// The keys are looked at before anything is sealed with others.
    fn checked(self) -> Result<Self, Failure> {
        self.journal.reader().check_keys()?;
        let last = self.journal.last_seq();
        refuse_cut_journal(last, "state", self.state.position()?)?;
        refuse_cut_journal(last, "list of duplicates", self.duplicates.position())?;
        Ok(self)
    }
}

fn refuse_cut_journal(last: u64, what: &str, position: u64) -> Result<(), Failure> {
    if position <= last {
        return Ok(());
    }
    let detail = format!("the journal ends at entry {last}, but the {what} goes to {position}");
    Err(Failure::new(Trouble::Lost, "open the data folder", detail))
}

/// A state that has lost its journal is not to get an empty one.
fn refuse_lost_journal(folder: &Path) -> Result<(), Failure> {
    let is_there = |file: &str| folder.join(file).exists();
    if is_there("state.db") && is_there("keys.db") && !is_there("journal.db") {
        let detail = format!("{} has a state, but no journal.db", folder.display());
        return Err(Failure::new(Trouble::Lost, "open the data folder", detail));
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// What no data folder is without; the others can be made again.
const NEEDED: [&str; 2] = ["journal.db", "keys.db"];

/// Whether a folder holds something of ours, be it damaged: it is not to be taken for a new one.
pub fn is_begun(folder: &Path) -> bool {
    NEEDED.iter().any(|file| folder.join(file).exists())
}

/// Refuses a folder that is none of ours: without journal and keys it is nothing.
///
/// # Errors
/// When one of the two is not there, or empty.
pub fn refuse_missing(doing: &str, folder: &Path) -> Result<(), Failure> {
    if !is_begun(folder) {
        let detail = format!("{} is no data folder: it has no journal.db", folder.display());
        return Err(Failure::new(Trouble::Absent, doing, detail));
    }
    let empty = |file: &&&str| std::fs::metadata(folder.join(file)).map_or(true, |found| found.len() == 0);
    match NEEDED.iter().find(empty) {
        Some(file) => {
            let detail = format!("{} has no {file}, or an empty one", folder.display());
            Err(Failure::new(Trouble::Foreign, doing, detail))
        }
        None => Ok(()),
    }
}

/// A journal without its keys gets no new ones: what is sealed could never be read again, and nobody
/// would be recognised.
fn refuse_lost_keys(folder: &Path) -> Result<(), Failure> {
    if journal::is_one(&folder.join("journal.db")) && !folder.join("keys.db").exists() {
        let detail = format!("{} has a journal, but no keys.db", folder.display());
        return Err(Failure::corrupt("open the key store", detail));
    }
    Ok(())
}

/// Deletes the state of a folder that nobody has open, so that the next start folds the journal again.
///
/// # Errors
/// When the folder is in use or holds no journal, or the files cannot be deleted.
pub fn discard_state(folder: &Path) -> Result<(), Failure> {
    discard(folder, "state.db")
}

/// As [`discard_state`], with the list of messages that were seen.
///
/// # Errors
/// As [`discard_state`].
pub fn discard_duplicates(folder: &Path) -> Result<(), Failure> {
    discard(folder, DUPLICATES)
}

fn discard(folder: &Path, file: &str) -> Result<(), Failure> {
    let doing = format!("discard {file}");
    if !folder.join("journal.db").is_file() {
        return Err(Failure::new(Trouble::Foreign, doing, format!("{} has no journal.db", folder.display())));
    }
    let _taken = take(folder)?;
    for part in ["", "-wal", "-shm"] {
        let path = folder.join(format!("{file}{part}"));
        remove_if_there(&path).map_err(|e| Failure::io(&doing, folder, &e))?;
    }
    Ok(())
}

/// The file that marks a folder as taken.
pub(crate) const LOCK: &str = "lock";
const DOING: &str = "take the data folder";

fn held(folder: &Path, error: TryLockError) -> Failure {
    let path = folder.join(LOCK);
    match error {
        TryLockError::WouldBlock => {
            let holder = std::fs::read_to_string(&path).unwrap_or_default();
            let detail = format!("{} is held by process {}", folder.display(), holder.trim());
            Failure::new(Trouble::InUse, DOING, detail)
        }
        TryLockError::Error(e) => Failure::io(DOING, &path, &e),
    }
}

/// Keeps others from writing to a folder that is only read. Where nobody may write a mark, one that stands there
/// already is respected.
fn take_to_read(folder: &Path) -> Result<Option<Taken>, Failure> {
    let refused = match take(folder) {
        Err(refused) if refused.trouble == Trouble::ReadOnly => refused,
        taken => return taken.map(Some),
    };
    match File::open(folder.join(LOCK)) {
        Ok(file) => {
            file.try_lock_shared().map_err(|e| held(folder, e))?;
            Ok(Some(Taken::Folder { _lock: file }))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(_) => Err(refused),
    }
}

/// Marks the folder as ours, for as long as the file is open.
fn take(folder: &Path) -> Result<Taken, Failure> {
    let path = folder.join(LOCK);
    let failed = |e: std::io::Error| Failure::io(DOING, &path, &e);
    let opened = private_file().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = opened.map_err(|e| match e.kind() {
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            Failure { trouble: Trouble::ReadOnly, ..failed(e) }
        }
        _ => failed(e),
    })?;
    file.try_lock().map_err(|e| held(folder, e))?;
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
    write!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(Taken::Folder { _lock: file })
}
