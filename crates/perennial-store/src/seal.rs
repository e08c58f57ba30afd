//! Seals: authenticated encryption of what is personal, and the names of the keys.
//!
//! Promise: `XChaCha20-Poly1305`; a nonce is never used twice under one key, even when an append
//! fails and its numbers are given out again, because half of it is fresh entropy of the attempt.
//! Key bytes are wiped when dropped.

use std::fmt;

use chacha20::{R20, hchacha};
use perennial_core::id::CustomerId;
use perennial_core::time::{DAY_MS, Timestamp};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::failure::{Failure, Trouble};

/// 256 bits that seal things.
#[derive(Clone)]
pub(crate) struct Key(Zeroizing<[u8; 32]>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        <[u8; 32]>::try_from(bytes).ok().map(Self::new)
    }

    /// Fresh keys, with one call for all their entropy.
    pub(crate) fn random(count: usize) -> Result<Vec<Self>, Failure> {
        let mut bytes = Zeroizing::new(vec![0; 32 * count]);
        entropy(&mut bytes)?;
        Ok(bytes.chunks_exact(32).filter_map(Self::from_slice).collect())
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals what follows the first `header` bytes, in their place; `context` must be given again to
    /// open it.
    pub(crate) fn seal(
        &self,
        nonce: [u8; 24],
        context: &[u8],
        text: &mut Vec<u8>,
        header: usize,
    ) -> Result<(), Failure> {
        let (key, nonce) = self.of_one_text(nonce).ok_or_else(|| Failure::misuse("seal", "the key has no 256 bits"))?;
        let plain = text.get_mut(header..).unwrap_or_default();
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(context), plain)
            .map_err(|_| Failure::misuse("seal", "the text is too long"))?;
        text.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Opens a sealed text in its place; `None` when the key, the context or a byte differs.
    pub(crate) fn open<'a>(&self, nonce: [u8; 24], context: &[u8], sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let (key, nonce) = self.of_one_text(nonce)?;
        key.open_in_place(nonce, Aad::from(context), sealed).ok()
    }

    /// The key and nonce of `ChaCha20-Poly1305` that stand for a long nonce (draft-irtf-cfrg-xchacha-03,
    /// 2.3): the first half makes a key for this text alone, the second half counts under it.
    fn of_one_text(&self, nonce: [u8; 24]) -> Option<(LessSafeKey, Nonce)> {
        let (first, second) = nonce.split_first_chunk::<16>()?;
        let own: Zeroizing<[u8; 32]> = Zeroizing::new(hchacha::<R20>((&*self.0).into(), first.into()).into());
        let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, own.as_slice()).ok()?);
        let mut short = [0; NONCE_LEN];
        short[4..].copy_from_slice(second);
        Some((key, Nonce::assume_unique_for_key(short)))
    }
}

/// Fills a buffer with entropy of the system.
pub(crate) fn entropy(bytes: &mut [u8]) -> Result<(), Failure> {
    getrandom::fill(bytes).map_err(|e| Failure::new(Trouble::Io, "draw random bytes", e.to_string()))
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum KeyName {
    /// One root profile (rule 29).
    Root(CustomerId),
    /// Entries that belong to nobody in particular.
    Workspace,
    /// Rejects of one day, counted from 1970-01-01 in UTC.
    Day(i64),
}

impl KeyName {
    pub(crate) fn day_of(at: Timestamp) -> Self {
        Self::Day(at.as_millis().div_euclid(DAY_MS))
    }

    /// The name that [`KeyName::bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8; 17]) -> Option<Self> {
        let (sort, rest) = bytes.split_first()?;
        match sort {
            1 => rest.try_into().ok().map(|id| Self::Root(CustomerId(id))),
            2 => Some(Self::Workspace),
            3 => rest.first_chunk().map(|day| Self::Day(i64::from_be_bytes(*day) ^ i64::MIN)),
            _ => None,
        }
    }

    /// The name as the key store writes it: one byte for the sort, then the id.
    pub(crate) fn bytes(self) -> [u8; 17] {
        let mut out = [0; 17];
        match self {
            Self::Root(id) => {
                out[0] = 1;
                out[1..].copy_from_slice(&id.0);
            }
            Self::Workspace => out[0] = 2,
            Self::Day(day) => {
                out[0] = 3;
                out[1..9].copy_from_slice(&(day ^ i64::MIN).to_be_bytes());
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use chacha20poly1305::XChaCha20Poly1305;
    use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sealing_is_xchacha20_poly1305(
            key: [u8; 32], nonce: [u8; 24],
            context in prop::collection::vec(any::<u8>(), 0..40),
            text in prop::collection::vec(any::<u8>(), 0..2_000),
        ) {
            let cipher = XChaCha20Poly1305::new((&key).into());
            let payload = Payload { msg: &text, aad: &context };
            let mut sealed = [b"head".to_vec(), text.clone()].concat();
            Key::new(key).seal(nonce, &context, &mut sealed, 4).unwrap();
            prop_assert_eq!(&sealed[..4], b"head");
            let mut sealed = sealed.split_off(4);
            prop_assert_eq!(&sealed, &cipher.encrypt(&nonce.into(), payload).unwrap());
            let mut damaged = sealed.clone();
            prop_assert_eq!(Key::new(key).open(nonce, &context, &mut sealed), Some(&mut text.clone()[..]));
            let last = damaged.len() - 1;
            damaged[last] ^= 1;
            prop_assert_eq!(Key::new(key).open(nonce, &context, &mut damaged), None);
        }
    }
}
