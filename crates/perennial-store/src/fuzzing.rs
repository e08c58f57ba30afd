//! A door for the fuzz targets into the journal's format and into rows on disk; no part of the program.

use std::path::Path;
use std::sync::LazyLock;

use perennial_core::input::Entry;
use rusqlite::types::Value;

use crate::damage;
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
        format::decode(self.0.clone(), Some(&KEY))
    }

    /// Turns over one bit of the input, other than those of the key's kind.
    pub fn damage_input(&mut self, at: usize) {
        let Some(input) = &mut self.0.input else { return };
        let mut place = at % input.len();
        place = if place == 1 { 2 } else { place };
        input[place] ^= 1 << (at % 8);
    }
}

/// Makes a whole `state.db` and `duplicates.db` in a folder.
pub fn make_rows(folder: &Path) -> Result<(), Failure> {
    damage::use_state(&folder.join("state.db"))?;
    damage::make_duplicates(&folder.join("duplicates.db"))
}

/// Damages a copy of one of them as the bytes say, and uses it: which file, then for some columns what
/// stands there.
///
/// # Panics
/// When a failure does not say which file is damaged.
pub fn use_damaged_rows(whole: &Path, home: &Path, bytes: &[u8]) {
    let Some((which, mut bytes)) = bytes.split_first() else { return };
    let (name, use_it): (_, fn(&Path) -> Result<(), Failure>) =
        if which % 2 == 0 { ("state.db", damage::use_state) } else { ("duplicates.db", damage::use_duplicates) };
    let copy = home.join(name);
    std::fs::copy(whole.join(name), &copy).expect("the folder can be written to");
    let columns = damage::columns(&copy);
    while let Some((at, value, rest)) = cell(bytes) {
        let (table, column) = &columns[at % columns.len()];
        damage::put_in_each(&copy, table, column, value);
        bytes = rest;
    }
    if let Err(failure) = use_it(&copy) {
        assert!(damage::says_what(&failure, &copy), "{failure}");
    }
}

/// The column, the kind of value, its length where it has one, and the value.
fn cell(bytes: &[u8]) -> Option<(usize, Value, &[u8])> {
    let [at, kind, length, rest @ ..] = bytes else { return None };
    let (body, rest) = rest.split_at_checked(usize::from(*length))?;
    let number = || body.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    let value = match kind % 5 {
        0 => Value::Null,
        1 => Value::Integer(number().cast_signed()),
        2 => Value::Real(f64::from_bits(number())),
        3 => Value::Text(String::from_utf8_lossy(body).into()),
        _ => Value::Blob(body.to_vec()),
    };
    Some((usize::from(*at), value, rest))
}
