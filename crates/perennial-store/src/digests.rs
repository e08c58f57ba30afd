//! Maps by what is a keyed digest already.
//!
//! Absent on purpose: an order. What such a map holds is looked up, or sorted before it is written.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by keyed digests, as our opaque ids are: nobody can choose them, so they need no other hash.
pub type DigestMap<K, V> = HashMap<K, V, BuildHasherDefault<LastBytes>>;

/// Hashes a digest to its last eight bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastBytes(u64);

impl Hasher for LastBytes {
    fn write(&mut self, bytes: &[u8]) {
        bytes.last_chunk().into_iter().for_each(|last| self.0 ^= u64::from_le_bytes(*last));
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 ^= digest;
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
