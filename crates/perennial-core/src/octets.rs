//! Runs of bytes in the journal's form (postcard), eight at a time.
//!
//! serde knows no bytes of a known number but a tuple of them, which is written one by one. A float is
//! written as its eight bytes, the lowest first, and moving one keeps its bits: the same bytes in an
//! eighth of the steps. They are never reckoned with.

use serde::ser::SerializeTuple as _;
use serde::{Deserialize, Deserializer, Serializer};

/// Writes bytes as they are, without their number.
pub(crate) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut tuple = s.serialize_tuple(words.len() + rest.len())?;
    words.iter().try_for_each(|word| tuple.serialize_element(&f64::from_le_bytes(*word)))?;
    rest.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
    tuple.end()
}

/// Reads the sixteen bytes of an id.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<[u8; 16], D::Error> {
    let (low, high) = <(f64, f64)>::deserialize(d)?;
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&low.to_le_bytes());
    bytes[8..].copy_from_slice(&high.to_le_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;

    use crate::id::CustomerId;

    #[derive(Serialize)]
    struct Run<'a>(#[serde(serialize_with = "super::serialize")] &'a [u8]);

    proptest! {
        #[test]
        fn bytes_are_written_as_they_are(bytes: Vec<u8>) {
            prop_assert_eq!(postcard::to_stdvec(&Run(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn ids_are_written_and_read_as_sixteen_bytes(bytes: [u8; 16]) {
            let written = postcard::to_stdvec(&CustomerId(bytes)).unwrap();
            prop_assert_eq!(&written[..], &bytes[..]);
            prop_assert_eq!(postcard::from_bytes::<CustomerId>(&written).unwrap(), CustomerId(bytes));
        }
    }

    #[test]
    fn a_float_that_is_no_number_keeps_its_bytes() {
        // A signalling one, with a payload: arithmetic would turn it into another.
        let odd = 0x7ff0_dead_beef_0001_u64.to_le_bytes();
        let id = CustomerId([odd, odd].concat().try_into().unwrap());
        let written = postcard::to_stdvec(&id).unwrap();
        assert_eq!(written, id.0);
        assert_eq!(postcard::from_bytes::<CustomerId>(&written).unwrap(), id);
    }
}
