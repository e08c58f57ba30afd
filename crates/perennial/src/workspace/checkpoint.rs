//! Checkpoints: what changed since the last one, written by another thread.
//!
//! Promise: intake goes on while a checkpoint is gathered and while the disk works. Customers are
//! written out a few at a time, and before they change, so that all are as they were at its position.
//! What is being written stays in memory until it is there; a checkpoint that fails is written with
//! the next one.

use std::thread::JoinHandle;

use perennial_core::time::Timestamp;
use perennial_store::{Checkpoint, DuplicatesCheckpoint, Failure, Keys, State};

use super::{Workspace, tail};
use crate::background::{self, Haste};

/// Entries after which a checkpoint is due however small it will be, or large: a restart folds them
/// again in a second.
const ENTRIES_DUE: u64 = 100_000;
/// Bytes of customers that one entry is worth, about as many as it takes in the journal: where little
/// comes in, what is large waits for more of it.
const BYTES_AN_ENTRY: u64 = 512;
/// After so long one is due when it is worth it.
const QUIET_MS: i64 = 3_000;
/// After so long one is due when anything changed.
const IDLE_MS: i64 = 60_000;
/// Bytes of customers written out at a time: less than a millisecond.
const SLICE: usize = 1 << 18;

/// Messages of a checkpoint in the making.
pub(super) struct InTheMaking(DuplicatesCheckpoint);

/// A checkpoint on its way to the disk.
pub(super) struct InFlight {
    thread: JoinHandle<Result<(), Failure>>,
}

impl InFlight {
    /// Waits until it is written, or has failed.
    pub(super) fn ended(self) -> Result<(), Failure> {
        self.thread.join().unwrap_or_else(|_| Err(super::misfit("write a checkpoint", "the thread died")))
    }
}

impl Workspace {
    /// Starts a checkpoint when one is due, takes the one in the making a step further, and finishes
    /// the one before.
    ///
    /// # Errors
    /// When the last one failed: the journal still has everything, and memory is made again from it.
    pub fn checkpoint_if_due(&mut self, now: Timestamp) -> Result<(), Failure> {
        if self.in_flight.as_ref().is_some_and(|f| !f.thread.is_finished()) || self.broken {
            return Ok(());
        }
        self.land()?;
        if self.is_checkpoint_due(now) && !self.makes_checkpoint() {
            self.checkpoint_at = now;
            self.begin()?;
        }
        self.launch(SLICE)
    }

    /// Whether what changed is worth a checkpoint, if that is about as large as the last one was.
    fn is_checkpoint_due(&self, now: Timestamp) -> bool {
        let (behind, waited) = (self.warm.behind(), now.since(self.checkpoint_at));
        let worth = (self.warm.bytes_gathered() / BYTES_AN_ENTRY).clamp(1, ENTRIES_DUE);
        let worth = if self.warm.is_urgent() { 1 } else { worth };
        behind >= ENTRIES_DUE || (waited >= QUIET_MS && behind >= worth) || (waited >= IDLE_MS && behind > 0)
    }

    /// Whether a checkpoint is in the making: [`Workspace::checkpoint_if_due`] has something to do.
    pub fn makes_checkpoint(&self) -> bool {
        self.warm.is_gathering() && !self.broken
    }

    /// Writes what changed since the last checkpoint, and waits for it.
    ///
    /// # Errors
    /// The store's failure; the journal still has everything.
    pub fn checkpoint(&mut self) -> Result<(), Failure> {
        // What a failed checkpoint took along is no longer news: memory is made again first.
        self.ready(self.now)?;
        self.launch_whole()?;
        self.land()?;
        self.begin()?;
        self.launch_whole()?;
        self.land()
    }

    /// Takes down what is news at this position.
    fn begin(&mut self) -> Result<(), Failure> {
        self.let_all_in()?; // Nobody would know of them any more who begins at this position.
        self.commit()?; // The state says nothing that the journal might not.
        self.settle()?;
        let position = self.journal.last_seq();
        let changed = std::mem::take(&mut self.changed);
        let published = if changed.published { Some(tail::encode(self)?) } else { None };
        let counters = if changed.counters { Some(tail::encode_counters(self)?) } else { None };
        self.in_the_making = Some(InTheMaking(self.duplicates.checkpoint(position)));
        self.warm.gather(position, published, counters);
        Ok(())
    }

    /// Writes customers out, and sends the checkpoint on its way once it is whole.
    fn launch(&mut self, bytes: usize) -> Result<(), Failure> {
        let news = self.warm.gather_on(bytes);
        self.send_off(news)
    }

    /// The same with all that are left.
    fn launch_whole(&mut self) -> Result<(), Failure> {
        let news = self.warm.gather_rest();
        self.send_off(news)
    }

    fn send_off(&mut self, news: Result<Option<Checkpoint>, Failure>) -> Result<(), Failure> {
        let Some(news) = news.inspect_err(|_| self.broken = true)? else { return Ok(()) };
        let Some(InTheMaking(messages)) = self.in_the_making.take() else { return Ok(()) };
        let (state, keys) = (self.state.clone(), self.keys.clone());
        let work = move || write(&state, &keys, news, &messages);
        let thread = background::spawn("checkpoint", Haste::Soon, work);
        let thread = thread.map_err(|e| super::misfit("start a checkpoint", &e.to_string()));
        let thread = thread.inspect_err(|_| self.broken = true)?;
        self.in_flight = Some(InFlight { thread });
        Ok(())
    }

    /// Waits for the checkpoint on its way. What it failed to write is folded again.
    fn land(&mut self) -> Result<(), Failure> {
        let Some(flight) = self.in_flight.take() else { return Ok(()) };
        match flight.ended() {
            Ok(()) => {
                self.warm.landed();
                Ok(())
            }
            Err(failure) => {
                self.broken = true;
                Err(failure)
            }
        }
    }
}

/// The messages first: a state without its messages would fold a repetition twice.
fn write(state: &State, keys: &Keys, news: Checkpoint, messages: &DuplicatesCheckpoint) -> Result<(), Failure> {
    messages.write()?;
    let somebody_left = !news.gone.is_empty();
    state.checkpoint(news)?;
    if let Err(failure) = state.tidy() {
        tracing::warn!(error = %failure, "the state is written, but not sorted together; the next checkpoint tries again");
    }
    if somebody_left && let Err(failure) = state.purge() {
        // A reader holds the log; what it holds is overwritten as the log goes on.
        tracing::warn!(error = %failure, "the state's log still holds customers that are no more");
    }
    if let Err(failure) = keys.purge() {
        tracing::warn!(error = %failure, "the log of keys still holds destroyed ones; the next checkpoint tries again");
    }
    Ok(())
}
