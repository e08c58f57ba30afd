//! Failures: what disks, files and keys can do to us, in one type that names a remedy.
//!
//! Promise: every failure says what was being done, to which file, what went wrong and what would
//! mend it; nothing in it is personal.

use std::fmt;
use std::path::Path;

/// Files that are folds of the journal, and are made again from it.
const MADE_AGAIN: [&str; 2] = ["state.db", "duplicates.db"];

/// What sort of trouble it is. Closed, so that callers can decide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no room on the disk.
    DiskFull,
    /// The disk, or the system below it, refused or failed.
    Io,
    /// Another process, or a handle of this one, has the folder open.
    InUse,
    /// The file is damaged, or half of it is missing.
    Corrupt,
    /// There is no data folder.
    Absent,
    /// The folder may not be written to.
    ReadOnly,
    /// The file belongs to another program.
    Foreign,
    /// Nothing may be put where the caller wants it.
    Place,
    /// Entries of the journal are missing that other files have seen.
    Lost,
    /// The file was written by a newer version.
    Newer,
    /// The state was written by an older version: it is folded again instead of read.
    Outdated,
    /// The master key does not fit, or it is missing.
    MasterKey,
    /// A lock was not freed in time.
    Busy,
    /// The caller broke a promise of the interface: a bug, named.
    Misuse,
}

/// Something that failed, with its circumstances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What sort of trouble.
    pub trouble: Trouble,
    /// What was being done.
    pub doing: Box<str>,
    /// What went wrong.
    pub detail: Box<str>,
}

impl Failure {
    pub(crate) fn new(trouble: Trouble, doing: impl Into<Box<str>>, detail: impl Into<Box<str>>) -> Self {
        Self { trouble, doing: doing.into(), detail: detail.into() }
    }

    pub(crate) fn corrupt(doing: impl Into<Box<str>>, detail: impl Into<Box<str>>) -> Self {
        Self::new(Trouble::Corrupt, doing, detail)
    }

    pub(crate) fn misuse(doing: impl Into<Box<str>>, detail: impl Into<Box<str>>) -> Self {
        Self::new(Trouble::Misuse, doing, detail)
    }

    pub(crate) fn sqlite(doing: &str, error: &rusqlite::Error) -> Self {
        Self::new(trouble_of(error), doing, error.to_string())
    }

    pub(crate) fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
        let trouble = if full { Trouble::DiskFull } else { Trouble::Io };
        Self::new(trouble, doing, format!("{}: {error}", path.display()))
    }

    /// Says in which file, where that is not said yet.
    pub(crate) fn of(mut self, path: &Path) -> Self {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        if !self.names(&file) {
            self.doing = format!("{} ({file})", self.doing).into();
        }
        self
    }

    fn names(&self, file: &str) -> bool {
        self.doing.contains(file) || self.detail.contains(file)
    }

    /// Whether the same call may succeed later without anybody changing the caller.
    pub fn may_pass(&self) -> bool {
        matches!(self.trouble, Trouble::DiskFull | Trouble::Io | Trouble::Busy)
    }

    /// What would mend it.
    pub fn remedy(&self) -> &'static str {
        match self.trouble {
            Trouble::DiskFull => "free some space on the disk; writing resumes by itself",
            Trouble::Io => "look at the disk, also whether it is full, and at the permissions of the data folder",
            Trouble::InUse => "stop the other process, or give this one a data folder of its own",
            Trouble::Corrupt if MADE_AGAIN.iter().any(|file| self.names(file)) => {
                "stop the server and let `perennial rebuild` make that file again from the journal: nothing is lost"
            }
            Trouble::Corrupt if self.names("erasures") => {
                "complete the line from a copy of the file, let a start of the server finish the erasure that it was cut in, or remove it"
            }
            Trouble::Corrupt => {
                "restore the last backup; where only state.db or duplicates.db is damaged, `perennial rebuild` makes them again"
            }
            Trouble::Absent => "name the data folder with --folder; `perennial serve --program FILE` makes a new one",
            Trouble::ReadOnly => {
                "mend its permissions; to look into a backup where nothing may be written, copy it and name the copy (`restore` reads it where it is)"
            }
            Trouble::Foreign if self.names("keys.db") && self.detail.contains("has no") => {
                "put keys.db back from a backup of this folder: without it what is sealed cannot be read; or name another data folder"
            }
            Trouble::Foreign if self.names("journal.db") && self.detail.contains("has no") => {
                "put journal.db back from a backup of this folder, or name another data folder"
            }
            Trouble::Foreign => {
                "name another data folder, or move that file away: a backup has journal.db and keys.db, the others are made again"
            }
            Trouble::Place => "name a folder that is not there yet, outside of the data folder",
            Trouble::Lost => {
                "restore the last backup; only `perennial rebuild --accept-loss` goes on without what is missing"
            }
            Trouble::Newer => "start the version that wrote it, or a newer one",
            Trouble::Outdated => "let `perennial rebuild` make the state again from the journal",
            Trouble::MasterKey => "put the right master key back; without it what is sealed cannot be read",
            Trouble::Busy => "try again; if it stays, look for a stuck reader or backup",
            Trouble::Misuse => "please report this: it is a bug",
        }
    }
}

fn trouble_of(error: &rusqlite::Error) -> Trouble {
    use rusqlite::ErrorCode as Code;
    match error.sqlite_error_code() {
        Some(Code::DiskFull) => Trouble::DiskFull,
        Some(Code::NotADatabase) => Trouble::Foreign,
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => Trouble::Busy,
        // Our statements fit our tables: a table or row that cannot be read or be put there is not as we wrote it.
        Some(Code::DatabaseCorrupt | Code::ConstraintViolation | Code::TypeMismatch | Code::Unknown) => {
            Trouble::Corrupt
        }
        None => match error {
            rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
            | rusqlite::Error::QueryReturnedNoRows => Trouble::Corrupt,
            _ => Trouble::Io,
        },
        Some(_) => Trouble::Io,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.doing, self.detail, self.remedy())
    }
}

impl std::error::Error for Failure {}

/// Turns a result of SQLite into ours, saying what was being done.
pub(crate) trait Doing<T> {
    fn doing(self, what: &str) -> Result<T, Failure>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, what: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::sqlite(what, &error))
    }
}
