//! Putting aside what is made again from the journal, so that a rebuild that fails loses nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backup::DUPLICATES;
use crate::{Duplicates, Failure, Journal, Keys, State, refuse_cut_journal, refuse_missing, remove_if_there, take};

/// What can be made again from the journal, out of the way until that is done.
pub struct Aside {
    folder: PathBuf,
}

/// The name of a file that lies aside.
const ASIDE: &str = "before-rebuild";

impl Aside {
    /// Puts the state and the list of duplicates of a folder aside that nobody has open. First the keys and the
    /// end of the journal are looked at; with `accept_loss` the journal may end before what the two have seen.
    ///
    /// # Errors
    /// When the folder is in use, or is none that the two can be made again in.
    pub fn put(folder: &Path, accept_loss: bool) -> Result<Self, Failure> {
        refuse_missing("rebuild", folder)?;
        let taken = Arc::new(take(folder)?);
        let keys = Keys::open(folder, None, taken.clone())?;
        let journal = Journal::open(&folder.join("journal.db"), keys)?;
        journal.reader().check_keys()?;
        // One that cannot be read tells nothing.
        let state = State::open(&folder.join("state.db"), taken.clone()).and_then(|state| state.position());
        let duplicates = Duplicates::open(&folder.join(DUPLICATES), taken).map(|seen| seen.position());
        if !accept_loss {
            refuse_cut_journal(journal.last_seq(), "state", state.unwrap_or(0))?;
            refuse_cut_journal(journal.last_seq(), "list of duplicates", duplicates.unwrap_or(0))?;
        }
        drop(journal);
        let aside = Self { folder: folder.into() };
        aside.discard()?; // Of a rebuild that was cut off.
        aside.each(move_if_there)?;
        Ok(aside)
    }

    /// Lets go of what a rebuild that was cut off has left: it may hold people who are erased by now.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn forget(folder: &Path) -> Result<(), Failure> {
        Self { folder: folder.into() }.discard()
    }

    /// Puts it back, in the place of what was made.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn put_back(self) -> Result<(), Failure> {
        let back = |file: &Path, aside: &Path| remove_if_there(file).and_then(|()| move_if_there(aside, file));
        self.each(back)
    }

    /// Lets it go: another was made.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn discard(&self) -> Result<(), Failure> {
        self.each(|_, aside| remove_if_there(aside))
    }

    fn each(&self, work: impl Fn(&Path, &Path) -> std::io::Result<()>) -> Result<(), Failure> {
        for name in
            ["state.db", DUPLICATES].iter().flat_map(|file| ["", "-wal", "-shm"].map(|log| format!("{file}{log}")))
        {
            let file = self.folder.join(&name);
            work(&file, &self.folder.join(format!("{name}.{ASIDE}")))
                .map_err(|e| Failure::io("put a file aside", &file, &e))?;
        }
        Ok(())
    }
}

fn move_if_there(from: &Path, to: &Path) -> std::io::Result<()> {
    if from.exists() { std::fs::rename(from, to) } else { Ok(()) }
}
