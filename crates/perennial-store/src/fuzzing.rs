//! A door for the fuzz targets into the journal's format; no part of the program.

use std::sync::LazyLock;

use perennial_core::input::Entry;

use crate::failure::Failure;
use crate::format::{self, Row};
use crate::seal::Key;

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new([42; 32]));

/// An entry as it lies on disk.
pub struct Lying(Row);

impl Lying {
    /// An entry as it is written, its input sealed with a key that is always the same.
    pub fn write(entry: &Entry) -> Result<Self, Failure> {
        format::encode(entry, Some(&KEY), [5; 16]).map(Self)
    }

    /// Bytes that may be anything.
    pub fn of(input: Option<Vec<u8>>, outcome: Vec<u8>) -> Self {
        Self(Row { seq: 1, recorded_at: 0, customer: None, root: None, cause: None, input, outcome })
    }

    /// Reads it.
    pub fn read(&self) -> Result<Entry, Failure> {
        format::key_of_row(&self.0)?;
        format::decode(&self.0, Some(&KEY))
    }

    /// Turns over one bit of the input, other than those of the key's kind.
    pub fn damage_input(&mut self, at: usize) {
        let Some(input) = &mut self.0.input else { return };
        let mut place = at % input.len();
        place = if place == 1 { 2 } else { place };
        input[place] ^= 1 << (at % 8);
    }
}
