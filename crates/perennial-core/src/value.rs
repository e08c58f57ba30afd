//! Values: what a property, a trait or an expression can be.
//!
//! Numbers are exact decimals; nothing here is a float.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::{self, Write as _};

use rust_decimal::Decimal;
use serde::de::{self, MapAccess, SeqAccess, VariantAccess as _, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One JSON-like value. A number that no exact decimal can hold stays a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Value {
    /// Nothing, or explicitly null.
    #[default]
    Null,
    /// Yes or no.
    Bool(bool),
    /// An exact decimal.
    Number(Decimal),
    /// A text.
    Text(Box<str>),
    /// A list.
    List(Vec<Value>),
    /// Named values, in the order they came.
    Map(Properties),
}

/// Named values, in the order they came; a name occurs once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<(Box<str>, Value)>);

impl Properties {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| &**key == name).map(|(_, value)| value)
    }

    /// Takes a value out.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(key, _)| &**key == name)?;
        Some(self.0.remove(at).1)
    }

    /// Sets the value of a name, in place when the name is known.
    pub fn set(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().find(|(key, _)| &**key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.into(), value)),
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }
}

impl Value {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A number, or a text that is one (`"19.90"`, as shops send money).
    pub fn as_number(&self) -> Option<Decimal> {
        match self {
            Self::Number(n) => Some(*n),
            Self::Text(text) if text.contains('_') => None, // Digits set apart as in a program: nobody's money.
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Yes or no, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(b) = self { Some(*b) } else { None }
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// A value that is equal in the same words: 4 and 4.0 are one number.
    pub fn normalized(&self) -> Cow<'_, Self> {
        match self {
            Self::Number(number) => Cow::Owned(Self::Number(number.normalize())),
            value => Cow::Borrowed(value),
        }
    }

    /// The one text of a value, for digests that are kept for ever: no release writes it otherwise.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        self.write_canonical(&mut text);
        text
    }

    fn write_canonical(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("Null"),
            Self::Bool(yes) => out.push_str(if *yes { "Bool(true)" } else { "Bool(false)" }),
            Self::Number(number) => {
                let _ = write!(out, "Number({number})");
            }
            Self::Text(text) => {
                out.push_str("Text(");
                quote(text, out);
                out.push(')');
            }
            Self::List(items) => {
                out.push_str("List([");
                for (n, item) in items.iter().enumerate() {
                    out.push_str(if n > 0 { ", " } else { "" });
                    item.write_canonical(out);
                }
                out.push_str("])");
            }
            Self::Map(Properties(named)) => {
                out.push_str("Map(Properties([");
                for (n, (name, item)) in named.iter().enumerate() {
                    out.push_str(if n > 0 { ", (" } else { "(" });
                    quote(name, out);
                    out.push_str(", ");
                    item.write_canonical(out);
                    out.push(')');
                }
                out.push_str("]))");
            }
        }
    }

    /// Numbers and texts among themselves have an order; nothing else has one.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// A text in quotes. Only what ends it, and control characters, whose list is closed, are written as escapes.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => out.push_str("\\0"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Number(n.into())
    }
}

/// The journal's form of a value; JSON is written and read as plain JSON instead.
#[derive(Serialize, Deserialize)]
enum Packed {
    Null,
    Bool(bool),
    Int(i64),
    Scaled(i128, u8),
    Text(Box<str>),
    List(Vec<Value>),
    Map(Vec<(Box<str>, Value)>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            return self.serialize_plain(s);
        }
        match self {
            Self::Null => s.serialize_unit_variant("Packed", 0, "Null"),
            Self::Bool(b) => s.serialize_newtype_variant("Packed", 1, "Bool", b),
            Self::Number(n) => match (n.scale(), i64::try_from(n.mantissa())) {
                (0, Ok(int)) => s.serialize_newtype_variant("Packed", 2, "Int", &int),
                _ => Packed::Scaled(n.mantissa(), u8::try_from(n.scale()).unwrap_or(28)).serialize(s),
            },
            Self::Text(text) => s.serialize_newtype_variant("Packed", 4, "Text", text),
            Self::List(items) => s.serialize_newtype_variant("Packed", 5, "List", items),
            Self::Map(map) => s.serialize_newtype_variant("Packed", 6, "Map", &map.0),
        }
    }
}

impl Value {
    fn serialize_plain<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => s.serialize_unit(),
            Self::Bool(b) => s.serialize_bool(*b),
            Self::Number(n) => decimal::serialize_plain(n, s),
            Self::Text(text) => s.serialize_str(text),
            Self::List(items) => items.serialize(s),
            Self::Map(map) => map.serialize(s),
        }
    }
}

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if !s.is_human_readable() {
            return self.0.serialize(s);
        }
        let mut map = s.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if !d.is_human_readable() {
            return Vec::deserialize(d).map(Self);
        }
        match Value::deserialize(d)? {
            Value::Map(map) => Ok(map),
            Value::Null => Ok(Self::default()),
            _ => Err(de::Error::custom("expected an object")),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            return d.deserialize_any(Plain);
        }
        Ok(match Packed::deserialize(d)? {
            Packed::Null => Self::Null,
            Packed::Bool(b) => Self::Bool(b),
            Packed::Int(n) => Self::Number(n.into()),
            Packed::Scaled(mantissa, scale) => {
                Self::Number(decimal::from_parts(mantissa, scale).map_err(de::Error::custom)?)
            }
            Packed::Text(text) => Self::Text(text),
            Packed::List(items) => Self::List(items),
            Packed::Map(map) => Self::Map(Properties(map)),
        })
    }
}

struct Plain;

impl<'de> Visitor<'de> for Plain {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
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

    fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
        // The shortest text that reads back as this float is what the sender wrote, up to 17 digits.
        let text = n.to_string();
        Ok(text.parse().map_or(Value::Text(text.into()), Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut properties: Vec<(Box<str>, Value)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<Box<str>, Value>()? {
            properties.push((key, value));
        }
        // A name that occurs twice keeps its last value, as JSON parsers commonly do.
        if properties.len() > 1 {
            let mut seen = std::collections::BTreeSet::new();
            properties.reverse();
            properties.retain(|(key, _)| seen.insert(key.clone()));
            properties.reverse();
        }
        Ok(Value::Map(Properties(properties)))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        let (name, variant) = data.variant::<Box<str>>()?;
        variant.unit_variant()?;
        Ok(Value::Text(name))
    }
}

/// Exact decimals as they are written: mantissa and scale in the journal, a number in JSON.
pub mod decimal {
    use super::{Decimal, Deserialize, Deserializer, Serialize, Serializer, Value, de};

    /// A decimal of these parts.
    ///
    /// # Errors
    /// When the parts are out of range.
    pub fn from_parts(mantissa: i128, scale: u8) -> Result<Decimal, String> {
        Decimal::try_from_i128_with_scale(mantissa, u32::from(scale)).map_err(|e| e.to_string())
    }

    pub(super) fn serialize_plain<S: Serializer>(n: &Decimal, s: S) -> Result<S::Ok, S::Error> {
        let plain = n.normalize();
        if let (0, Ok(int)) = (plain.scale(), i64::try_from(plain.mantissa())) {
            return s.serialize_i64(int);
        }
        // JSON has one kind of number; a decimal of 15 digits survives the trip through a double.
        match plain.to_string().parse::<f64>() {
            Ok(float) if plain.mantissa().unsigned_abs() < 1_000_000_000_000_000 => s.serialize_f64(float),
            _ => s.collect_str(&plain),
        }
    }

    /// For `#[serde(with = "value::decimal")]`.
    ///
    /// # Errors
    /// Those of the serialiser.
    pub fn serialize<S: Serializer>(n: &Decimal, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            return serialize_plain(n, s);
        }
        (n.mantissa(), u8::try_from(n.scale()).unwrap_or(28)).serialize(s)
    }

    /// For `#[serde(with = "value::decimal")]`.
    ///
    /// # Errors
    /// When the input is not a decimal.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Decimal, D::Error> {
        if d.is_human_readable() {
            let value = Value::deserialize(d)?;
            return value.as_number().ok_or_else(|| de::Error::custom("expected a number"));
        }
        let (mantissa, scale) = <(i128, u8)>::deserialize(d)?;
        from_parts(mantissa, scale).map_err(de::Error::custom)
    }

    /// The same for values that may be missing.
    pub mod option {
        use super::{Decimal, Deserialize, Deserializer, Serialize, Serializer};

        #[derive(Serialize, Deserialize)]
        struct Wrapped(#[serde(with = "super")] Decimal);

        /// For `#[serde(with = "value::decimal::option")]`.
        ///
        /// # Errors
        /// Those of the serialiser.
        pub fn serialize<S: Serializer>(n: &Option<Decimal>, s: S) -> Result<S::Ok, S::Error> {
            n.map(Wrapped).serialize(s)
        }

        /// For `#[serde(with = "value::decimal::option")]`.
        ///
        /// # Errors
        /// When the input is not a decimal.
        pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Decimal>, D::Error> {
            Ok(Option::<Wrapped>::deserialize(d)?.map(|w| w.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_journal_bring_back_the_same_value() {
        let json = r#"{"a":249.3,"b":[1,null,true,"x"],"big":9007199254740993,"c":{"d":-0.05}}"#;
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), json);
        let packed = postcard::to_stdvec(&value).unwrap();
        assert_eq!(postcard::from_bytes::<Value>(&packed).unwrap(), value);
    }

    #[test]
    fn the_text_that_digests_are_made_of_stays_as_it_is() {
        let json = r#"[null, true, 4.5, -0.05, "Gr\u00fc\u00dfe, \"x\"\\ \n\u0001'", {"a": {}, "\u4e2d": [1]}]"#;
        let value: Value = serde_json::from_str(json).unwrap();
        let frozen = r#"List([Null, Bool(true), Number(4.5), Number(-0.05), Text("Grüße, \"x\"\\ \n\u{1}'"), Map(Properties([("a", Map(Properties([]))), ("中", List([Number(1)]))]))])"#;
        assert_eq!(value.canonical(), frozen);
    }

    #[test]
    fn a_name_said_twice_keeps_the_last_value() {
        let value: Value = serde_json::from_str(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), r#"{"b":2,"a":3}"#);
    }
}
