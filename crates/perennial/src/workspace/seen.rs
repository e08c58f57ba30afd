//! Message ids already seen: what makes sending twice harmless.

use std::collections::{BTreeSet, HashMap};

use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// Fingerprints of (source, message id), each with the entry that holds the message.
#[derive(Default)]
pub(super) struct Seen {
    entries: HashMap<u128, u64>,
    sources: BTreeSet<Box<str>>,
}

impl Seen {
    pub(super) fn find(&self, source: &str, message_id: &str) -> Option<u64> {
        self.entries.get(&fingerprint(source, message_id)).copied()
    }

    pub(super) fn remember(&mut self, source: &str, message_id: &str, seq: u64) {
        self.entries.entry(fingerprint(source, message_id)).or_insert(seq);
        if !self.sources.contains(source) {
            self.sources.insert(source.into());
        }
    }

    /// A message of a source, or of any when the source is not known.
    pub(super) fn find_any(&self, source: Option<&str>, message_id: &str) -> Option<u64> {
        match source {
            Some(source) => self.find(source, message_id),
            None => self.sources.iter().find_map(|source| self.find(source, message_id)),
        }
    }
}

fn fingerprint(source: &str, message_id: &str) -> u128 {
    use std::hash::Hasher as _;
    let mut hasher = SipHasher13::new();
    hasher.write(source.as_bytes());
    hasher.write_u8(0);
    hasher.write(message_id.as_bytes());
    hasher.finish128().as_u128()
}
