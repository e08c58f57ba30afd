//! What a sender said, packed until somebody reads it.
//!
//! Most properties of most events are only kept. They are packed where they arrive, in the very form
//! in which the journal keeps them (postcard), so that between threads they are one piece of memory.
//! Invariant: the bytes are those of the same [`Properties`]; there are none when nothing was said.

use std::fmt;

use serde::de::{self, DeserializeSeed, EnumAccess, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::octets;
use crate::value::{Properties, Value, decimal};

/// Named values, in the order they came, in one piece.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Packed(Box<[u8]>);

/// An empty list, packed.
const NOTHING: &[u8] = &[0];
/// Room that most properties need, so that they are packed without moving.
const USUAL_BYTES: usize = 256;

impl Packed {
    /// The value of a name. Looks through everything before it.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value)> {
        let count = postcard::take_from_bytes::<usize>(&self.0);
        let mut rest = count.map_or(&[][..], |(_, entries)| entries);
        std::iter::from_fn(move || {
            let (entry, after) = postcard::take_from_bytes(rest).ok()?;
            rest = after;
            Some(entry)
        })
    }

    /// The values, to be changed.
    pub fn unpack(&self) -> Properties {
        Properties(self.iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

impl From<&Properties> for Packed {
    fn from(properties: &Properties) -> Self {
        let mut bytes = Vec::new();
        if !properties.is_empty() {
            bytes.reserve(USUAL_BYTES);
            put(&mut bytes, properties);
        }
        Self(bytes.into())
    }
}

impl From<Properties> for Packed {
    fn from(properties: Properties) -> Self {
        Self::from(&properties)
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            return self.unpack().serialize(s);
        }
        octets::serialize(if self.is_empty() { NOTHING } else { &self.0 }, s)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            return Properties::deserialize(d).map(Self::from);
        }
        let mut bytes = Vec::new();
        Copied(&mut bytes, Shape::Map).deserialize(d)?;
        Ok(Self(if bytes == NOTHING { Box::default() } else { bytes.into() }))
    }
}

/// Appends something in the journal's form.
///
/// # Panics
/// Never: postcard refuses only lists of unknown length and full buffers, and there are neither.
fn put(bytes: &mut Vec<u8>, what: &(impl Serialize + ?Sized)) {
    *bytes = postcard::to_extend(what, std::mem::take(bytes)).expect("memory takes every value");
}

/// Appends a whole number in the journal's form: seven bits a byte, the lowest first.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// What comes next in the journal's form of properties.
#[derive(Clone, Copy)]
enum Shape {
    Map,
    Entry,
    Text,
    List,
    Value,
    /// The parts of a decimal.
    Scaled,
}

/// Copies what is read, piece by piece, so that no tree is built of it.
struct Copied<'a>(&'a mut Vec<u8>, Shape);

impl Copied<'_> {
    fn number<'de, D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        let (mantissa, scale) = <(i128, u8)>::deserialize(d)?;
        decimal::from_parts(mantissa, scale).map_err(de::Error::custom)?;
        match i64::try_from(mantissa) {
            // Signed numbers lie folded about nought: 0, -1, 1, -2 and so on.
            Ok(small) => {
                put_number(self.0, ((small << 1) ^ (small >> 63)).cast_unsigned());
                self.0.push(scale);
            }
            Err(_) => put(self.0, &(mantissa, scale)),
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Copied<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        match self.1 {
            Shape::Map | Shape::List => d.deserialize_seq(self),
            Shape::Entry => d.deserialize_tuple(2, self),
            Shape::Text => d.deserialize_str(self),
            Shape::Value => d.deserialize_enum("Packed", &[], self),
            Shape::Scaled => self.number(d),
        }
    }
}

impl<'de> Visitor<'de> for Copied<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("properties in the journal's form")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        put_number(self.0, text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let bytes = self.0;
        if let Shape::Entry = self.1 {
            seq.next_element_seed(Copied(bytes, Shape::Text))?;
            seq.next_element_seed(Copied(bytes, Shape::Value))?;
            return Ok(());
        }
        let each = if let Shape::Map = self.1 { Shape::Entry } else { Shape::Value };
        let (start, expected) = (bytes.len(), seq.size_hint().unwrap_or_default());
        if expected > 0 {
            bytes.reserve(USUAL_BYTES);
        }
        put_number(bytes, expected as u64);
        let (first, mut count) = (bytes.len(), 0_usize);
        while seq.next_element_seed(Copied(bytes, each))?.is_some() {
            count += 1;
        }
        if count != expected {
            let mut length = Vec::new();
            put_number(&mut length, count as u64);
            bytes.splice(start..first, length);
        }
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<(), A::Error> {
        let bytes = self.0;
        let (tag, variant) = data.variant::<u8>()?;
        bytes.push(tag); // A variant below 128 is one byte.
        match tag {
            0 => variant.unit_variant(),
            1 => variant.newtype_variant::<bool>().map(|yes| put(bytes, &yes)),
            2 => variant.newtype_variant::<i64>().map(|n| put(bytes, &n)),
            3 => variant.newtype_variant_seed(Copied(bytes, Shape::Scaled)),
            4 => variant.newtype_variant_seed(Copied(bytes, Shape::Text)),
            5 => variant.newtype_variant_seed(Copied(bytes, Shape::List)),
            6 => variant.newtype_variant_seed(Copied(bytes, Shape::Map)),
            _ => Err(de::Error::custom(format_args!("a value of the unknown kind {tag}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (any::<i64>(), 0_u32..=28).prop_map(|(n, scale)| Value::Number(Decimal::new(n, scale))),
            "\\PC{0,9}".prop_map(|text| Value::Text(text.into())),
        ];
        leaf.prop_recursive(3, 40, 200, |inner| {
            let name = "[a-z]{1,4}".prop_map(Box::<str>::from);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..150).prop_map(Value::List),
                prop::collection::vec((name, inner), 0..4).prop_map(|map| Value::Map(Properties(map))),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_journal_cannot_tell_packed_from_plain(values in prop::collection::vec(("[a-z]{1,4}", value()), 0..140)) {
            let plain = Properties(values.into_iter().map(|(key, value)| (key.into(), value)).collect());
            let packed = Packed::from(&plain);
            prop_assert_eq!(&packed.unpack(), &plain);
            let bytes = postcard::to_stdvec(&plain).unwrap();
            prop_assert_eq!(&postcard::to_stdvec(&packed).unwrap(), &bytes);
            prop_assert_eq!(&postcard::from_bytes::<Packed>(&bytes).unwrap(), &packed);
            prop_assert_eq!(serde_json::to_string(&packed).unwrap(), serde_json::to_string(&plain).unwrap());
            if let Some((name, _)) = plain.0.last() {
                prop_assert_eq!(packed.get(name), plain.get(name).cloned());
            }
            for end in [0, bytes.len() / 2, bytes.len() - 1] {
                prop_assert!(postcard::from_bytes::<Packed>(&bytes[..end]).is_err(), "cut off after {} bytes", end);
            }
        }
    }
}
