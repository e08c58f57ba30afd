//! Documents: YAML or JSON as a tree that remembers lines.
//!
//! Promise: reading is bounded in size and depth, and a document without lines (a patched one)
//! is a document all the same.

use std::collections::BTreeSet;

use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;
use serde_saphyr::options::DuplicateKeyPolicy;

use super::Problem;
use super::problem::{Path, Problems, Step};

/// The longest document, in bytes.
pub const SOURCE_MAX: usize = 1 << 20;

/// A value and the line where it starts, 0 when unknown.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it starts.
    pub line: usize,
    /// What it is.
    pub what: Content,
}

/// What stands there.
#[derive(Clone, Debug)]
pub enum Content {
    /// Null, yes or no, a number or a text.
    Scalar(Value),
    /// Items in their order.
    List(Vec<Node>),
    /// Names in their order; one may stand twice.
    Map(Vec<Entry>),
}

/// A name and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name.
    pub key: Box<str>,
    /// Where the name stands.
    pub line: usize,
    /// The value.
    pub node: Node,
}

impl Node {
    /// Reads YAML, of which JSON is a part; `what` it is stands for the path in what is told. Names that stand twice
    /// are left to the reader.
    ///
    /// # Errors
    /// When the text is neither, or longer than [`SOURCE_MAX`].
    pub fn parse(text: &str, what: &str) -> Result<Self, Problem> {
        if text.len() > SOURCE_MAX {
            let message = format!("the document has {} bytes, {SOURCE_MAX} are allowed", text.len());
            return Err(Problem { path: what.into(), line: 0, message });
        }
        let options = serde_saphyr::options! {
            strict_booleans: true,
            with_snippet: false,
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
        };
        let read = |text: &str| serde_saphyr::from_str_with_options::<Spanned<Content>>(text, options.clone());
        // JSON may be indented with tabs, which YAML forbids; in its texts there are none.
        let read = match read(text) {
            Err(_) if serde_json::from_str::<IgnoredAny>(text).is_ok() => read(&text.replace('\t', " ")),
            read => read,
        };
        read.map(Self::from).map_err(|error| unreadable(&error, what))
    }

    /// The value of a name in a map.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match &self.what {
            Content::Map(entries) => entries.iter().find(|e| &*e.key == name).map(|e| &e.node),
            _ => None,
        }
    }

    /// The names of a map.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let entries: &[Entry] = if let Content::Map(entries) = &self.what { entries } else { &[] };
        entries.iter().map(|e| &*e.key)
    }

    /// The items of a list.
    pub(super) fn items(&self) -> &[Self] {
        if let Content::List(items) = &self.what { items } else { &[] }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        if let Content::Scalar(Value::String(text)) = &self.what { Some(text) } else { None }
    }

    fn is_nothing(&self) -> bool {
        matches!(self.what, Content::Scalar(Value::Null))
    }

    /// Adds names that stand twice and, where `new`, names and items without a value.
    pub(super) fn check(&self, at: &Path, new: bool, problems: &mut Problems) {
        let mut seen = BTreeSet::new();
        let entries: &[Entry] = if let Content::Map(entries) = &self.what { entries } else { &[] };
        for Entry { key, node, .. } in entries {
            let path = at.key(key);
            if !seen.insert(key) {
                problems.add(&path, format!("'{key}' is written twice: a name stands once"));
            }
            if new && node.is_nothing() && !problems.names(&path) {
                problems.add(&path, format!("'{key}' has no value: write one, or leave the name out"));
            }
            node.check(&path, new, problems);
        }
        for (i, item) in self.items().iter().enumerate() {
            let path = at.at(i);
            if new && item.is_nothing() && !problems.names(&path) {
                problems.add(&path, "an item without a value: write one, or take the '-' out");
            }
            item.check(&path, new, problems);
        }
    }

    /// Whether something stands at a path.
    pub(super) fn has(&self, path: &Path) -> bool {
        let found = path.steps().iter().try_fold(self, |here, step| match step {
            Step::Key(name) => here.get(name),
            Step::At(index) => here.items().get(*index),
        });
        found.is_some()
    }

    /// The line of a section.
    pub(super) fn line_of_section(&self, name: &str) -> usize {
        self.line_of(&Path::default().key(name))
    }

    /// The line of a path, or of what there is on the way to it.
    pub(super) fn line_of(&self, path: &Path) -> usize {
        let (mut line, mut here) = (self.line, self);
        for step in path.steps() {
            let next = match (step, &here.what) {
                (Step::Key(name), Content::Map(entries)) => {
                    entries.iter().rev().find(|e| e.key == *name).map(|e| (e.line, &e.node))
                }
                (Step::At(index), Content::List(items)) => items.get(*index).map(|item| (item.line, item)),
                _ => None,
            };
            let Some(next) = next else { break };
            (line, here) = next;
        }
        line
    }
}

/// What the reader of YAML says to programmers, and what is meant.
const PLAINLY: [(&str, &str); 6] = [
    ("from_str_multiple", "a file holds one document: take out the line '---' between two"),
    (
        "use Option<String>",
        "a name is missing before ':', or is null: write one, in quotes if it is a word of YAML's own",
    ),
    ("expected string scalar", "the name before ':' is a list or a map: write a text"),
    ("non-finite float", "a number without end is none: write it in digits"),
    ("weak recursion types", "a part cannot contain itself: write it out instead of naming it after '*'"),
    ("recursion limit exceeded", "this is nested too deeply: close the brackets that are open"),
];

fn unreadable(error: &serde_saphyr::Error, what: &str) -> Problem {
    let line = error.location().map_or(0, |at| usize::try_from(at.line()).unwrap_or(0));
    let said = error.to_string();
    if let Some((_, message)) = PLAINLY.iter().find(|(sign, _)| said.contains(sign)) {
        return Problem { path: what.into(), line, message: (*message).into() };
    }
    let remedy = if said.contains("tabs disallowed") || said.contains("found a tab") {
        "indent with spaces, not with tabs"
    } else {
        "keys stand in columns, and a text with ': ' or '#' in it needs quotes"
    };
    Problem { path: what.into(), line, message: format!("this is not readable as YAML ({said}): {remedy}") }
}

impl From<Spanned<Content>> for Node {
    fn from(spanned: Spanned<Content>) -> Self {
        Self { line: line(&spanned.referenced), what: spanned.value }
    }
}

fn line(at: &serde_saphyr::Location) -> usize {
    usize::try_from(at.line()).unwrap_or(0)
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        let what = match value {
            Value::Array(items) => Content::List(items.into_iter().map(Self::from).collect()),
            Value::Object(map) => {
                let entry = |(key, value): (String, Value)| Entry { key: key.into(), line: 0, node: Self::from(value) };
                Content::Map(map.into_iter().map(entry).collect())
            }
            scalar => Content::Scalar(scalar),
        };
        Self { line: 0, what }
    }
}

impl From<&Node> for Value {
    fn from(node: &Node) -> Self {
        match &node.what {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Self::Array(items.iter().map(Self::from).collect()),
            Content::Map(entries) => {
                Self::Object(entries.iter().map(|e| (e.key.to_string(), Self::from(&e.node))).collect())
            }
        }
    }
}

/// The document as a plain value, for patches and for the database.
///
/// # Errors
/// When the text is neither YAML nor JSON, or a name stands twice in it.
pub fn parse_value(text: &str) -> Result<Value, Problem> {
    let node = Node::parse(text, "programme")?;
    let mut problems = Problems::default();
    node.check(&Path::default(), false, &mut problems);
    let first = problems.finish(|path| node.line_of(path)).into_iter().next();
    first.map_or_else(|| Ok(Value::from(&node)), Err)
}

/// Changes `target` as RFC 7396 says: what the patch names is set, what it sets to null goes.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge_patch(fields.entry(name.as_str()).or_insert(Value::Null), change);
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Content;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Content, D::Error> {
        d.deserialize_any(self)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Content, E> {
        Ok(Content::Scalar(b.into()))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Content, E> {
        Ok(Content::Scalar(n.into()))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Content, E> {
        Ok(Content::Scalar(n.into()))
    }

    fn visit_f64<E: de::Error>(self, n: f64) -> Result<Content, E> {
        Number::from_f64(n).map(|n| Content::Scalar(n.into())).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Scalar(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Content>>()? {
            items.push(item.into());
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Content>>()? {
            entries.push(Entry { line: line(&key.referenced), key: key.value.into(), node: value.into() });
        }
        Ok(Content::Map(entries))
    }
}
