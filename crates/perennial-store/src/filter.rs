//! A cuckoo filter (Fan et al. 2014): two bytes a key, no false "never", about one false "perhaps" in
//! ten thousand.
//!
//! Each key has a tag of 16 bits that lies in one of two buckets of four; the second bucket follows
//! from the first and the tag, so that tags can move without the key being known.

/// Tags in a bucket.
const BUCKET: usize = 4;
/// Tags that are pushed on before a filter counts as full.
const PUSHES: usize = 500;

/// A set of 64-bit hashes that may say "perhaps" for what is not in it.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    tags: Vec<u16>,
    len: usize,
    /// A tag that found no room when the filter became full, and one of its buckets.
    homeless: Option<(u16, usize)>,
}

impl Filter {
    /// A filter with room for 2^`bits` tags, of which 95 in a hundred can be used.
    pub(crate) fn with_bits(bits: u32) -> Self {
        Self { tags: vec![0; 1 << bits.clamp(3, 30)], len: 0, homeless: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> usize {
        self.tags.len() * 2
    }

    pub(crate) fn is_full(&self) -> bool {
        self.homeless.is_some() || self.len >= self.tags.len() / 100 * 95
    }

    pub(crate) fn contains(&self, hash: u64) -> bool {
        let (tag, first) = (tag_of(hash), self.bucket_of(hash));
        let second = self.other(first, tag);
        self.bucket(first).contains(&tag)
            || self.bucket(second).contains(&tag)
            || self.homeless.is_some_and(|(t, at)| t == tag && (at == first || at == second))
    }

    /// Adds a hash. The caller starts another filter once [`Filter::is_full`].
    pub(crate) fn insert(&mut self, hash: u64) {
        let (tag, first) = (tag_of(hash), self.bucket_of(hash));
        self.len += 1;
        if self.put(first, tag) || self.put(self.other(first, tag), tag) {
            return;
        }
        let (mut tag, mut at) = (tag, first);
        for push in 0..PUSHES {
            let slot = at * BUCKET + (usize::from(tag) + push) % BUCKET;
            std::mem::swap(&mut tag, &mut self.tags[slot]);
            at = self.other(at, tag);
            if self.put(at, tag) {
                return;
            }
        }
        self.homeless = Some((tag, at));
    }

    /// The filter as bytes: length, homeless tag, tags.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24 + self.bytes());
        out.extend_from_slice(&(self.len as u64).to_le_bytes());
        let (tag, at) = self.homeless.unwrap_or((0, 0));
        out.extend_from_slice(&u64::from(tag).to_le_bytes());
        out.extend_from_slice(&(at as u64).to_le_bytes());
        out.extend(self.tags.iter().flat_map(|tag| tag.to_le_bytes()));
        out
    }

    /// Reads what [`Filter::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut number = || {
            let (head, tail) = rest.split_first_chunk::<8>()?;
            rest = tail;
            usize::try_from(u64::from_le_bytes(*head)).ok()
        };
        let (len, tag, at) = (number()?, u16::try_from(number()?).ok()?, number()?);
        let tags: Vec<u16> = rest.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let plausible =
            tags.len().is_power_of_two() && tags.len() >= 8 && len <= tags.len() && rest.len().is_multiple_of(2);
        plausible.then_some(Self { tags, len, homeless: (tag != 0).then_some((tag, at)) })
    }

    fn buckets(&self) -> usize {
        self.tags.len() / BUCKET
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
    fn bucket_of(&self, hash: u64) -> usize {
        hash as usize & (self.buckets() - 1)
    }

    fn other(&self, bucket: usize, tag: u16) -> usize {
        // An odd multiplier spreads the 16 bits over the whole table.
        (bucket ^ (usize::from(tag).wrapping_mul(0x5bd1_e995))) & (self.buckets() - 1)
    }

    fn bucket(&self, at: usize) -> &[u16] {
        &self.tags[at * BUCKET..][..BUCKET]
    }

    fn put(&mut self, at: usize, tag: u16) -> bool {
        let free = self.tags[at * BUCKET..][..BUCKET].iter_mut().find(|slot| **slot == 0);
        if let Some(slot) = free {
            *slot = tag;
            return true;
        }
        false
    }
}

/// The upper bits, which the bucket does not use; 0 means an empty place.
fn tag_of(hash: u64) -> u16 {
    u16::try_from(hash >> 48).unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random (splitmix64).
    fn hash(n: u64) -> u64 {
        let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn full(bits: u32) -> (Filter, u64) {
        let mut filter = Filter::with_bits(bits);
        let mut n = 0;
        while !filter.is_full() {
            filter.insert(hash(n));
            n += 1;
        }
        (filter, n)
    }

    #[test]
    fn a_full_filter_forgets_nothing_and_uses_nearly_all_its_room() {
        for bits in [3, 6, 10, 16] {
            let (filter, n) = full(bits);
            assert!((0..n).all(|n| filter.contains(hash(n))), "{bits} bits");
            let read = Filter::from_bytes(&filter.to_bytes()).unwrap();
            assert!((0..n).all(|n| read.contains(hash(n))), "{bits} bits, read back");
        }
        assert!(full(16).1 > 60_000);
    }

    #[test]
    fn few_strangers_seem_known() {
        let (filter, n) = full(16);
        let wrong = (n..n + 100_000).filter(|n| filter.contains(hash(*n))).count();
        assert!(wrong < 40, "{wrong} in 100,000");
    }

    #[test]
    fn half_a_filter_is_not_read() {
        let bytes = full(10).0.to_bytes();
        assert!(Filter::from_bytes(&bytes[..bytes.len() - 2]).is_none());
        assert!(Filter::from_bytes(&bytes[..10]).is_none());
    }
}
