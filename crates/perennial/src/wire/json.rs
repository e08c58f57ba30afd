//! JSON under caps: one message becomes a [`Value`] tree in a single pass.
//!
//! Promise: texts are in Unicode normal form C and free of NUL; no more than [`DEPTH_MAX`] levels
//! and [`VALUES_MAX`] values; a fault says where it is. A name said twice keeps its last value.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use perennial_core::value::{Properties, Value};
use rust_decimal::Decimal;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

use super::Malformed;

/// Deepest nesting of one message.
pub const DEPTH_MAX: usize = 32;
/// Most properties and list items of one message, at all levels together.
pub const VALUES_MAX: usize = 10_000;

/// 2^64: whole numbers from here on have lost digits on their way through a float, and an id with
/// other digits is another person's.
const EXACT_BELOW: f64 = 18_446_744_073_709_551_616.0;

/// Reads one JSON object.
///
/// # Errors
/// When the text is not one JSON object within the caps.
pub fn object(text: &str) -> Result<Properties, Malformed> {
    let mut reader = Reader::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Seed(&mut reader).deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    match read {
        Ok(Value::Map(map)) => Ok(map),
        Ok(_) => Err(Malformed::new("malformed", "", "a message is a JSON object")),
        Err(error) => Err(reader.fault(&error)),
    }
}

/// A text in normal form C.
pub fn normalised(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

#[derive(Default)]
struct Reader {
    depth: usize,
    values: usize,
    /// Why we stopped, when it was our doing and not the parser's.
    stop: Option<(&'static str, &'static str)>,
    /// Where we stopped, innermost name first.
    path: Vec<String>,
}

impl Reader {
    fn fault(self, error: &serde_json::Error) -> Malformed {
        let field = join(&self.path);
        match self.stop {
            Some((code, reason)) => Malformed::new(code, field, reason),
            None => Malformed::new("malformed", field, format!("the message {}", super::broken(error))),
        }
    }

    fn stop<E: serde::de::Error>(&mut self, code: &'static str, reason: &'static str) -> E {
        self.stop = Some((code, reason));
        E::custom(reason)
    }

    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.stop("too_deep", "nested more than 32 levels deep; flatten it"));
        }
        Ok(())
    }

    fn count<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(self.stop("too_many", "more than 10,000 properties; send fewer"));
        }
        Ok(())
    }

    fn text<E: serde::de::Error>(&mut self, text: &str) -> Result<Box<str>, E> {
        if text.contains('\0') {
            return Err(self.stop("nul_character", "holds the character NUL; remove it"));
        }
        Ok(normalised(text).into())
    }
}

/// `properties.products[2].price` from its parts, innermost first.
fn join(path: &[String]) -> String {
    let mut joined = String::new();
    for part in path.iter().rev() {
        if !joined.is_empty() && !part.starts_with('[') {
            joined.push('.');
        }
        joined.push_str(part);
    }
    joined
}

struct Seed<'a>(&'a mut Reader);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Number(n.into()))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(Value::Number(n.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Value, E> {
        if let Some(number) = hundredths(n) {
            return Ok(Value::Number(number));
        }
        // The shortest text that reads back as this float is what the sender wrote, up to 17 digits.
        match n.to_string().parse::<Decimal>() {
            Ok(number) if n.abs() < EXACT_BELOW => Ok(Value::Number(number)),
            _ => Err(self.0.stop("bad_number", "is too large for an exact number; send it as a text")),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.0.text(text).map(Value::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let reader = self.0;
        reader.enter()?;
        let mut items = Vec::new();
        loop {
            match seq.next_element_seed(Seed(reader)) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => {
                    reader.path.push(format!("[{}]", items.len()));
                    return Err(error);
                }
            }
            reader.count()?;
        }
        reader.depth -= 1;
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let reader = self.0;
        reader.enter()?;
        let mut entries: Vec<(Box<str>, Value)> = Vec::new();
        while let Some(key) = map.next_key_seed(Name(reader))? {
            reader.count()?;
            match map.next_value_seed(Seed(reader)) {
                Ok(value) => entries.push((key, value)),
                Err(error) => {
                    reader.path.push(key.chars().take(80).collect());
                    return Err(error);
                }
            }
        }
        reader.depth -= 1;
        keep_last(&mut entries);
        Ok(Value::Map(Properties(entries)))
    }
}

/// A number with no more than two decimals, as prices are: no other number of up to fifteen digits
/// reads as the same float.
#[expect(clippy::float_cmp, reason = "whether it is the same float is the question")]
fn hundredths(n: f64) -> Option<Decimal> {
    let all = (n * 100.0).round();
    if all.abs() >= 1e15 || all / 100.0 != n {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 10^15")]
    let all = all as i64;
    Some(match (all % 100, all % 10) {
        (0, _) => Decimal::new(all / 100, 0),
        (_, 0) => Decimal::new(all / 10, 1),
        _ => Decimal::new(all, 2),
    })
}

/// The name of a property.
struct Name<'a>(&'a mut Reader);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Box<str>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Box<str>, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Box<str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Box<str>, E> {
        self.0.text(text)
    }
}

/// Below this many entries comparing all pairs is quicker than building a set.
const FEW: usize = 24;

/// Leaves the last of the entries that share a name.
fn keep_last(entries: &mut Vec<(Box<str>, Value)>) {
    let twice = if entries.len() <= FEW {
        entries.iter().enumerate().any(|(i, (key, _))| entries[i + 1..].iter().any(|(other, _)| other == key))
    } else {
        entries.iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len() < entries.len()
    };
    if twice {
        let mut seen = BTreeSet::new();
        entries.reverse();
        entries.retain(|(key, _)| seen.insert(key.clone()));
        entries.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, (&str, &str)>) {
        let read = object(text).map(|map| serde_json::to_string(&map).unwrap());
        let read = read.as_deref().map_err(|e| (e.code, e.field.as_str()));
        assert_eq!(read, expected, "{}", text.chars().take(80).collect::<String>());
    }

    #[test]
    fn texts_are_normalised_and_numbers_exact() {
        check("{\"e\u{301}\":\"Ame\u{301}lie\"}", Ok("{\"é\":\"Amélie\"}"));
        check(r#"{"n":9007199254740993,"p":19.90,"q":-0.05}"#, Ok(r#"{"n":9007199254740993,"p":19.9,"q":-0.05}"#));
        check(r#"{"a":1,"b":2,"a":3}"#, Ok(r#"{"b":2,"a":3}"#));
        check(r#"{"name":"ılık 🛒 مرحبا"}"#, Ok(r#"{"name":"ılık 🛒 مرحبا"}"#));
    }

    #[test]
    fn prices_are_read_as_their_shortest_texts_are() {
        let cents = (-2_000..2_000).map(|n| f64::from(n) / 100.0);
        let others =
            [0.001, 1e15, 123_456_789_012.345, 9_999_999_999_999.99, 1e-9, -0.0, 1.005, 4.35, 2.675, 1e14 + 0.5];
        for n in cents.chain(others).chain((1..3_000).map(|n| f64::from(n * 7_919) / 997.0)) {
            let exact: Decimal = n.to_string().parse().unwrap();
            if let Some(fast) = hundredths(n) {
                assert_eq!((fast.mantissa(), fast.scale()), (exact.mantissa(), exact.scale()), "{n}");
            }
        }
        assert!(hundredths(19.99).is_some() && hundredths(0.001).is_none());
    }

    #[test]
    fn a_fault_names_its_place() {
        check(r#"{"a":{"b":[1,"x\u0000y"]}}"#, Err(("nul_character", "a.b[1]")));
        check(r#"{"a":{"b":"\ud800"}}"#, Err(("malformed", "a.b")));
        check(r#"{"a":{"b":tru}}"#, Err(("malformed", "a.b")));
        check("[1]", Err(("malformed", "")));
        check("{} x", Err(("malformed", "")));
        check("", Err(("malformed", "")));
    }

    #[test]
    fn depth_and_number_are_capped() {
        let nested = |n: usize| format!("{}1{}", r#"{"a":"#.repeat(n), "}".repeat(n));
        assert!(object(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(object(&nested(DEPTH_MAX + 1)).unwrap_err().code, "too_deep");
        assert_eq!(object(&nested(1_000)).unwrap_err().code, "too_deep");
        let wide = |n: usize| {
            let pairs: Vec<String> = (0..n).map(|i| format!("\"{i}\":1")).collect();
            format!("{{{}}}", pairs.join(","))
        };
        assert!(object(&wide(VALUES_MAX)).is_ok());
        assert_eq!(object(&wide(VALUES_MAX + 1)).unwrap_err().code, "too_many");
    }
}
