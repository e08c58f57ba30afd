//! The journal's format: how an entry becomes a row and a row an entry.
//!
//! Promise: whatever a released version wrote can be read for ever; `tests/it/fixtures/` holds one
//! frozen row per version. A new layout gets a new version byte and keeps the old arms.
//!
//! A sealed input is `version, key kind, 16 random bytes, sealed postcard`; the nonce is the random
//! bytes and the entry's number, the associated data the version and the number. An outcome is
//! `version, postcard`: it carries opaque ids only and stays readable after an erasure.

use perennial_core::fact::Outcome;
use perennial_core::id::CustomerId;
use perennial_core::input::{Entry, Input};
use perennial_core::time::Timestamp;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::seal::{Key, KeyName};

const INPUT_V1: u8 = 1;
const OUTCOME_V1: u8 = 1;
/// Version, key kind and the random half of the nonce.
const HEADER: usize = 2 + 16;

/// An entry as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) seq: u64,
    pub(crate) recorded_at: i64,
    pub(crate) customer: Option<[u8; 16]>,
    pub(crate) root: Option<[u8; 16]>,
    pub(crate) cause: Option<u64>,
    pub(crate) input: Option<Vec<u8>>,
    pub(crate) outcome: Vec<u8>,
}

/// The key that an entry's input is sealed with.
pub(crate) fn key_of(entry: &Entry) -> KeyName {
    match (&entry.input, entry.root) {
        (Some(Input::Reject(_)), _) => KeyName::day_of(entry.recorded_at),
        (_, Some(root)) => KeyName::Root(root),
        (_, None) => KeyName::Workspace,
    }
}

/// Writes an entry. Without a key (it was destroyed) the input is not kept.
pub(crate) fn encode(entry: &Entry, key: Option<&Key>, random: [u8; 16]) -> Result<Row, Failure> {
    let input = match (&entry.input, key) {
        (Some(input), Some(key)) => Some(seal_input(entry, input, key, random)?),
        _ => None,
    };
    let outcome = postcard::to_extend(&entry.outcome, vec![OUTCOME_V1]).map_err(|e| unwritable(entry.seq, &e))?;
    Ok(Row {
        seq: entry.seq,
        recorded_at: entry.recorded_at.as_millis(),
        customer: entry.customer.map(|id| id.0),
        root: entry.root.map(|id| id.0),
        cause: entry.cause,
        input,
        outcome,
    })
}

fn seal_input(entry: &Entry, input: &Input, key: &Key, random: [u8; 16]) -> Result<Vec<u8>, Failure> {
    let plain = Zeroizing::new(postcard::to_stdvec(input).map_err(|e| unwritable(entry.seq, &e))?);
    let sealed = key.seal(nonce(random, entry.seq), &context(INPUT_V1, entry.seq), &plain)?;
    let mut out = Vec::with_capacity(HEADER + sealed.len());
    out.extend_from_slice(&[INPUT_V1, kind_of(key_of(entry))]);
    out.extend_from_slice(&random);
    out.extend_from_slice(&sealed);
    Ok(out)
}

/// The key that a row's input was sealed with; none when there is no input.
pub(crate) fn key_of_row(row: &Row) -> Result<Option<KeyName>, Failure> {
    let Some(input) = &row.input else { return Ok(None) };
    match (input.get(1), row.root) {
        (Some(1), Some(root)) => Ok(Some(KeyName::Root(CustomerId(root)))),
        (Some(2), _) => Ok(Some(KeyName::Workspace)),
        (Some(3), _) => Ok(Some(KeyName::day_of(Timestamp::from_millis(row.recorded_at)))),
        _ => Err(damaged(row.seq, "the header of its input cannot be read")),
    }
}

/// Reads an entry. Without a key (it was destroyed) it has no input.
pub(crate) fn decode(row: &Row, key: Option<&Key>) -> Result<Entry, Failure> {
    let input = match (&row.input, key) {
        (Some(input), Some(key)) => Some(open_input(row.seq, input, key)?),
        _ => None,
    };
    Ok(Entry {
        seq: row.seq,
        recorded_at: Timestamp::from_millis(row.recorded_at),
        customer: row.customer.map(CustomerId),
        root: row.root.map(CustomerId),
        cause: row.cause,
        input,
        outcome: read_outcome(row.seq, &row.outcome)?,
    })
}

fn open_input(seq: u64, bytes: &[u8], key: &Key) -> Result<Input, Failure> {
    let (Some(&version), Some(random), Some(sealed)) = (bytes.first(), bytes.get(2..HEADER), bytes.get(HEADER..))
    else {
        return Err(damaged(seq, "its input is cut short"));
    };
    if version != INPUT_V1 {
        return Err(damaged(seq, &format!("its input has format {version}, and this version knows {INPUT_V1}")));
    }
    let random: [u8; 16] = random.try_into().map_err(|_| damaged(seq, "its input is cut short"))?;
    let plain = key
        .open(nonce(random, seq), &context(version, seq), sealed)
        .ok_or_else(|| damaged(seq, "its input does not open with its key"))?;
    let plain = Zeroizing::new(plain);
    postcard::from_bytes(&plain).map_err(|e| damaged(seq, &format!("its input cannot be read: {e}")))
}

fn read_outcome(seq: u64, bytes: &[u8]) -> Result<Outcome, Failure> {
    match bytes.split_first() {
        Some((&OUTCOME_V1, facts)) => {
            postcard::from_bytes(facts).map_err(|e| damaged(seq, &format!("its outcome cannot be read: {e}")))
        }
        Some((version, _)) => Err(damaged(seq, &format!("its outcome has the unknown format {version}"))),
        None => Err(damaged(seq, "its outcome is empty")),
    }
}

fn kind_of(name: KeyName) -> u8 {
    name.bytes()[0]
}

fn nonce(random: [u8; 16], seq: u64) -> [u8; 24] {
    let mut out = [0; 24];
    out[..16].copy_from_slice(&random);
    out[16..].copy_from_slice(&seq.to_le_bytes());
    out
}

fn context(version: u8, seq: u64) -> [u8; 9] {
    let mut out = [version; 9];
    out[1..].copy_from_slice(&seq.to_le_bytes());
    out
}

fn damaged(seq: u64, why: &str) -> Failure {
    Failure::corrupt(format!("read entry {seq} of the journal"), why)
}

fn unwritable(seq: u64, error: &postcard::Error) -> Failure {
    Failure::misuse(format!("write entry {seq} of the journal"), error.to_string())
}
