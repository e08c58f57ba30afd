//! Halt: how whoever waits for a training calls it off, in the middle of a long step too.

use super::Error;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A word that others may say while a training runs: stop. The default is never said.
#[derive(Clone, Debug, Default)]
pub struct Halt(Arc<AtomicBool>);

impl Halt {
    /// Ends the trainings that look at this word; they do within a block of a matrix or a round of factors.
    pub fn call_off(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was said.
    pub fn is_called_off(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_called_off() { Err(Error::CalledOff) } else { Ok(()) }
    }
}
