//! Keys: one JSON object becomes a row under a header that grows with the keys that are met.
//!
//! Promise: numbers keep all their digits; a key that stands twice, a list or a map where one value is asked for, and a
//! truth value where a name is, are faults and never a guess. Absent on purpose: lines. `read` finds them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::mapping::File;
use super::read::{Ask, MOST_COLUMNS, Record, holds, names_nothing};

/// Bytes in the name of a column that no mapping mentions.
const LONGEST_NAME: usize = 1_000;

/// The keys of JSON lines: columns, in the order in which they are met.
pub(super) struct Keys {
    places: HashMap<String, usize>,
    /// Of those that were known before the first line.
    asks: Vec<Ask>,
    met: Vec<bool>,
    /// Some line was in order.
    any: bool,
}

impl Keys {
    pub(super) fn of(header: &[String], file: &File) -> Self {
        let places = header.iter().enumerate().map(|(i, name)| (name.clone(), i)).collect();
        let asks: Vec<Ask> = header.iter().map(|name| Ask::of(file, name)).collect();
        Self { places, met: vec![false; asks.len()], asks, any: false }
    }

    /// Names of the header that were known before and that no line had, if any line was in order.
    pub(super) fn absent<'h>(&self, header: &'h [String]) -> Vec<&'h str> {
        header.iter().zip(&self.met).filter(|(_, met)| self.any && !**met).map(|(name, _)| name.as_str()).collect()
    }

    /// The values that a JSON object has, in the order of the header, to which new keys are added. Numbers are the
    /// texts that they are written as: read as floats, ids that differ in their last digits would be one.
    ///
    /// Where a value is at fault, the others are there all the same.
    pub(super) fn divide(&mut self, line: &[u8], header: &mut Vec<String>, record: &mut Record) -> Result<(), String> {
        let Record { fields, rest, .. } = record;
        fields.clear();
        rest.clear();
        let mut json = serde_json::Deserializer::from_slice(line);
        let said = Object { keys: self, header, rest }.deserialize(&mut json);
        let said = said.and_then(|said| json.end().map(|()| said));
        let Said { values, twice } = said
            .map_err(|e| if e.is_data() { "is not a JSON object".to_owned() } else { format!("is not JSON: {e}") })?;
        self.met.iter_mut().zip(&values).for_each(|(met, value)| *met |= value.is_some());
        let mut fault = twice.map(|i| format!("names '{}' twice; which value is meant?", header[i]));
        for (i, name) in header.iter().enumerate() {
            let ask = self.asks.get(i).copied().unwrap_or(Ask::Nothing);
            let value = values.get(i).copied().flatten().map_or("null", RawValue::get);
            match text(name, value, ask) {
                Ok(text) => fields.push_field(&text),
                Err(why) => {
                    fields.push_field("");
                    fault = fault.or(Some(why));
                }
            }
        }
        self.any |= fault.is_none();
        fault.map_or(Ok(()), Err)
    }
}

/// The text of a value, if that is one.
fn text<'v>(name: &str, value: &'v str, ask: Ask) -> Result<Cow<'v, str>, String> {
    match (value.as_bytes().first(), ask) {
        (Some(b'n'), _) => Ok("".into()),
        (Some(b'"'), _) => match serde_json::from_str::<String>(value) {
            Err(e) if ask != Ask::Nothing => Err(format!("is not JSON: {name}: {e}")),
            text => Ok(text.map_or(value.into(), Cow::from)),
        },
        (Some(b'['), Ask::Value | Ask::Name) => Err(holds(name, "a list")),
        (Some(b'{'), Ask::Value | Ask::Name) => Err(holds(name, "a map")),
        (Some(b't' | b'f'), Ask::Name) => Err(names_nothing(name, value)),
        _ => Ok(value.into()),
    }
}

/// What a JSON object says, by the places of its keys.
#[derive(Default)]
struct Said<'l> {
    values: Vec<Option<&'l RawValue>>,
    /// A key that stands in it more than once.
    twice: Option<usize>,
}

struct Object<'k> {
    keys: &'k mut Keys,
    header: &'k mut Vec<String>,
    rest: &'k mut String,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Said<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Said<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Said<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Said<'de>, A::Error> {
        let Self { keys, header, rest } = self;
        let mut said = Said::default();
        while let Some(place) = entries.next_key_seed(Key { places: &mut keys.places, header })? {
            let value: &'de RawValue = entries.next_value()?;
            match place {
                Ok(place) => {
                    said.values.resize(header.len().max(said.values.len()), None);
                    if said.values[place].replace(value).is_some() {
                        said.twice = said.twice.or(Some(place));
                    }
                }
                Err(name) => rest.extend(["\n", &name, "\n", value.get()]),
            }
        }
        Ok(said)
    }
}

/// Finds the column of a key, or makes one; the key itself when there are too many.
struct Key<'k> {
    places: &'k mut HashMap<String, usize>,
    header: &'k mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        if let Some(place) = self.places.get(name) {
            return Ok(Ok(*place));
        }
        if self.header.len() >= MOST_COLUMNS || name.len() > LONGEST_NAME {
            return Ok(Err(name.to_owned()));
        }
        let place = self.header.len();
        self.header.push(name.to_owned());
        self.places.insert(name.to_owned(), place);
        Ok(Ok(place))
    }
}
