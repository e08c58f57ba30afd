//! Documents: YAML as a tree that remembers lines, with every name that stands twice in a map.
//!
//! Promise: of a name that stands twice the first value counts and the second is told with its path, so
//! that everything else can be told beside it. Absent on purpose: what a document should hold (`shape`).

use std::collections::HashSet;
use std::fmt;

use perennial_core::program::Problem;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

/// A value and the line on which it begins.
pub(super) struct Document {
    line: usize,
    what: Content,
}

enum Content {
    /// Nothing, yes or no, a number or a text.
    Scalar(Value),
    List(Vec<Document>),
    Map(Vec<Entry>),
}

/// A name, its line, and its value.
struct Entry {
    name: String,
    line: usize,
    value: Document,
}

impl Document {
    /// Reads a document.
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::PassThrough, with_snippet: false };
        serde_saphyr::from_str_with_options::<Spanned<Content>>(text, options).map(Self::from).map_err(|e| {
            let line = e.location().map_or(0, line);
            Problem { path: "the mapping".into(), line, message: format!("not YAML: {e}") }
        })
    }

    /// The document without lines.
    pub(super) fn value(&self) -> Value {
        match &self.what {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(Self::value).collect(),
            Content::Map(entries) => {
                let mut map = Map::new();
                for entry in entries {
                    if !map.contains_key(&entry.name) {
                        map.insert(entry.name.clone(), entry.value.value());
                    }
                }
                Value::Object(map)
            }
        }
    }

    /// The names that stand twice.
    pub(super) fn doubles(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        self.find_doubles("", &mut found);
        found
    }

    fn find_doubles(&self, path: &str, found: &mut Vec<Problem>) {
        match &self.what {
            Content::Scalar(_) => {}
            Content::List(items) => {
                items.iter().enumerate().for_each(|(i, item)| item.find_doubles(&format!("{path}[{i}]"), found));
            }
            Content::Map(entries) => {
                let mut seen = HashSet::new();
                for Entry { name, line, value } in entries {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    if seen.insert(name) {
                        value.find_doubles(&path, found);
                    } else {
                        let message = format!("'{name}' is written twice; keep one of the two");
                        found.push(Problem { path, line: *line, message });
                    }
                }
            }
        }
    }

    /// The line of a place, or of what there is on the way to it: `files.sales.skip[0].reason`.
    pub(super) fn line_of(&self, path: &str) -> usize {
        let (mut here, mut line, mut rest) = (self, self.line, path);
        loop {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let next = match &here.what {
                Content::Scalar(_) => None,
                Content::List(items) => {
                    rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).and_then(|(index, behind)| {
                        let item = items.get(index.parse::<usize>().ok()?)?;
                        Some((item, item.line, behind))
                    })
                }
                // Names of columns may have points in them.
                Content::Map(entries) => entries
                    .iter()
                    .filter_map(|entry| Some((entry, rest.strip_prefix(&*entry.name)?)))
                    .filter(|(_, behind)| behind.is_empty() || behind.starts_with(['.', '[']))
                    .min_by_key(|(_, behind)| behind.len())
                    .map(|(entry, behind)| (&entry.value, entry.line, behind)),
            };
            let Some(next) = next else { return line };
            (here, line, rest) = next;
        }
    }
}

fn line(at: Location) -> usize {
    usize::try_from(at.line()).unwrap_or(0)
}

impl From<Spanned<Content>> for Document {
    fn from(spanned: Spanned<Content>) -> Self {
        Self { line: line(spanned.referenced), what: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Content>>()? {
            list.push(item.into());
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut map = Vec::new();
        while let Some((name, value)) = entries.next_entry::<Spanned<String>, Spanned<Content>>()? {
            map.push(Entry { line: line(name.referenced), name: name.value, value: value.into() });
        }
        Ok(Content::Map(map))
    }
}
