//! Message ids already seen: what makes sending twice harmless.

use std::collections::HashMap;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// Fingerprints of (source, message id), each with the entry that holds the message.
#[derive(Default)]
pub(super) struct Seen {
    entries: HashMap<u128, u64>,
}

impl Seen {
    pub(super) fn find(&self, source: &str, message_id: &str) -> Option<u64> {
        self.entries.get(&fingerprint(source, message_id)).copied()
    }

    pub(super) fn remember(&mut self, source: &str, message_id: &str, seq: u64) {
        self.entries.entry(fingerprint(source, message_id)).or_insert(seq);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, u64)> {
        self.entries.iter().map(|(k, v)| (*k, *v))
    }

    pub(super) fn restore(&mut self, fingerprint: u128, seq: u64) {
        self.entries.insert(fingerprint, seq);
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
