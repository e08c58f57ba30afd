//! Documents: YAML as a tree, with every name that stands twice in a map.
//!
//! Promise: of a name that stands twice the first value counts and the second is told with its path, so
//! that everything else can be told beside it. Absent on purpose: what a document should hold (`shape`).

use std::cell::RefCell;
use std::fmt;

use perennial_core::program::Problem;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::DuplicateKeyPolicy;

/// Reads a document; with it the names that stand twice.
pub(super) fn read(text: &str) -> Result<(Value, Vec<Problem>), Problem> {
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::PassThrough };
    let doubles = RefCell::new(Vec::new());
    let root = Place { path: String::new(), doubles: &doubles };
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| root.deserialize(yaml));
    match read {
        Ok(document) => Ok((document, doubles.into_inner())),
        Err(e) => Err(Problem { path: String::new(), line: 0, message: format!("not YAML: {e}") }),
    }
}

/// Where a value stands.
struct Place<'d> {
    path: String,
    doubles: &'d RefCell<Vec<Problem>>,
}

impl Place<'_> {
    fn below(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { path, doubles: self.doubles }
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, list.len());
            match items.next_element_seed(Place { path, doubles: self.doubles })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let place = self.below(&name);
            if map.contains_key(&name) {
                let message = format!("'{name}' is written twice; keep one of the two");
                self.doubles.borrow_mut().push(Problem { path: place.path.clone(), line: 0, message });
                let _ = entries.next_value_seed(place)?;
            } else {
                let value = entries.next_value_seed(place)?;
                map.insert(name, value);
            }
        }
        Ok(Value::Object(map))
    }
}
