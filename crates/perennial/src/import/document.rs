//! Documents of mappings: what is said of a name that stands twice, and where a place is.
//!
//! Promise: of a name that stands twice the first value counts and the second is told with its path, so
//! that everything else can be told beside it. Absent on purpose: what a document should hold (`shape`).

use std::collections::HashSet;

use perennial_core::program::{Content, Entry, Node, Problem};
use serde_json::{Map, Value};

/// A mapping as it is written.
pub(super) struct Document(Node);

impl Document {
    /// Reads a document.
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        Node::parse(text, "the mapping").map(Self)
    }

    /// The document without lines.
    pub(super) fn value(&self) -> Value {
        value(&self.0)
    }

    /// The names that stand twice.
    pub(super) fn doubles(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        find_doubles(&self.0, "", &mut found);
        found
    }

    /// The line of a place, or of what there is on the way to it: `files.sales.skip[0].reason`.
    pub(super) fn line_of(&self, path: &str) -> usize {
        let (mut here, mut line, mut rest) = (&self.0, self.0.line, path);
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
                    .filter_map(|entry| Some((entry, rest.strip_prefix(&*entry.key)?)))
                    .filter(|(_, behind)| behind.is_empty() || behind.starts_with(['.', '[']))
                    .min_by_key(|(_, behind)| behind.len())
                    .map(|(entry, behind)| (&entry.node, entry.line, behind)),
            };
            let Some(next) = next else { return line };
            (here, line, rest) = next;
        }
    }
}

fn value(node: &Node) -> Value {
    match &node.what {
        Content::Scalar(value) => value.clone(),
        Content::List(items) => items.iter().map(value).collect(),
        Content::Map(entries) => {
            let mut map = Map::new();
            for entry in entries {
                if !map.contains_key(&*entry.key) {
                    map.insert(entry.key.to_string(), value(&entry.node));
                }
            }
            Value::Object(map)
        }
    }
}

fn find_doubles(node: &Node, path: &str, found: &mut Vec<Problem>) {
    match &node.what {
        Content::Scalar(_) => {}
        Content::List(items) => {
            items.iter().enumerate().for_each(|(i, item)| find_doubles(item, &format!("{path}[{i}]"), found));
        }
        Content::Map(entries) => {
            let mut seen = HashSet::new();
            for Entry { key, line, node } in entries {
                let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
                if seen.insert(key) {
                    find_doubles(node, &path, found);
                } else {
                    let message = format!("'{key}' is written twice; keep one of the two");
                    found.push(Problem { path, line: *line, message });
                }
            }
        }
    }
}
