//! Shapes: a document held against the schema of its types.
//!
//! Promise: every slip of shape is reported with its place, and only the smallest part that
//! cannot stand without it is set aside; the rest goes on to the compiler.
//! Absent on purpose: a general JSON Schema validator. This reads what the types make.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::document::{Content, Entry, Node};
use super::problem::{Path, Problems, did_you_mean, one_of};
use super::source::Source;

pub(super) static SCHEMA: LazyLock<Value> = LazyLock::new(|| schemars::schema_for!(Source).into());

/// Sections and keys that the format will have; a document cannot use them yet.
const NOT_BUILT: &[&str] = &[
    "budget",
    "campaigns",
    "cases",
    "challenges",
    "community",
    "content",
    "experiments",
    "journeys",
    "kpis",
    "messages",
    "needs_reminder",
    "offers",
    "placements",
    "proceeds",
    "referral",
    "service",
    "surveys",
    "voucher",
    "vouchers",
];

/// The source as far as its shape is right; what is wrong is reported and set aside.
pub(super) fn check(document: &Node, problems: &mut Problems) -> Option<Source> {
    let mut reader = Reader { problems };
    let value = reader.read(&SCHEMA, document, &Path::default())?;
    let source = serde_json::from_value(value);
    if source.is_err() && !problems.is_empty() {
        return None;
    }
    problems.check(&Path::default(), source)
}

struct Reader<'a> {
    problems: &'a mut Problems,
}

impl Reader<'_> {
    /// The value of a node as far as it fits; `None` when it cannot stand.
    fn read(&mut self, schema: &Value, node: &Node, path: &Path) -> Option<Value> {
        let named = schema.get("$ref").and_then(Value::as_str);
        let schema = followed(schema);
        if let Some(branches) = branches(schema) {
            return self.branch(schema, &branches, node, path);
        }
        if !fits(schema, node) {
            return self.unexpected(&noun(schema), node, path);
        }
        match &node.what {
            Content::Map(entries) => self.map(schema, entries, path),
            Content::List(items) => self.list(schema, items, path),
            Content::Scalar(value) => self.scalar(schema, named, value, path),
        }
    }

    fn unexpected<T>(&mut self, noun: &str, node: &Node, path: &Path) -> Option<T> {
        if let Some(whole) = whole(node).filter(|_| noun.contains("whole number")) {
            // YAML reads `1e3` and `010` as numbers that may have decimal places.
            self.problems.add(path, format!("expected {noun}: write {whole}, in digits alone"));
            return None;
        }
        let remedy = match (&node.what, noun) {
            (Content::Scalar(Value::Number(share)), n) if n.contains('%') => match share.as_i64() {
                Some(1..=100) => &format!(": write {share}%"),
                _ => "",
            },
            (Content::Scalar(Value::Number(_) | Value::Bool(_)), n) if !n.contains("number") => ": put it in quotes",
            (Content::Scalar(Value::String(text)), n) if n.contains("number") && text.parse::<f64>().is_ok() => {
                ": remove the quotes"
            }
            _ => "",
        };
        self.problems.add(path, format!("expected {noun}, found {}{remedy}", found(node)));
        None
    }

    /// One of several shapes: a word of a fixed set, or the shape that the node's kind tells.
    fn branch(&mut self, schema: &Value, branches: &[&Value], node: &Node, path: &Path) -> Option<Value> {
        let words: Vec<&str> = branches.iter().filter_map(|b| b.get("const")?.as_str()).collect();
        if words.is_empty() {
            let fitting = branches.iter().find(|b| fits(b, node));
            let all = || one_of(branches.iter().map(|b| noun(b)).collect::<Vec<_>>().iter().map(String::as_str));
            return match fitting {
                Some(branch) => self.read(branch, node, path),
                None => self.unexpected(&all(), node, path),
            };
        }
        match node.text() {
            Some(text) if words.contains(&text) => Some(text.into()),
            Some(text) => {
                let hint = did_you_mean(text, words.iter().copied());
                let what = title(schema).trim_start_matches("a ").trim_start_matches("an ");
                self.problems.add(path, format!("unknown {what} '{text}': write {}{hint}", one_of(words)));
                None
            }
            None => self.unexpected(&one_of(words), node, path),
        }
    }

    fn map(&mut self, schema: &Value, entries: &[Entry], path: &Path) -> Option<Value> {
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let others = schema.get("additionalProperties").filter(|other| other.is_object());
        let mut kept = Map::new();
        for Entry { key, node, .. } in entries {
            let path = path.key(key);
            let Some(part) = properties.get(&**key).or(others) else {
                self.unknown_key(&path, key, node, properties);
                continue;
            };
            let optional = !is_required(schema, key);
            if optional && matches!(node.what, Content::Scalar(Value::Null)) {
                continue;
            }
            if let Some(value) = self.read(part, node, &path) {
                kept.insert(key.to_string(), value);
            }
        }
        self.complete(schema, properties, entries, &mut kept, path).then_some(Value::Object(kept))
    }

    /// Whether everything required is there, or something can stand in for it: a missing name shall
    /// not hide what else is wrong.
    fn complete(
        &mut self,
        schema: &Value,
        properties: &Map<String, Value>,
        entries: &[Entry],
        kept: &mut Map<String, Value>,
        path: &Path,
    ) -> bool {
        let mut complete = true;
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if kept.contains_key(name) {
                continue;
            }
            if !entries.iter().any(|e| &*e.key == name) {
                let like = example(&properties[name]);
                let like = like.map_or_else(String::new, |e| format!(", for example {name}: {}", plain(e)));
                self.problems.add(path, format!("missing '{name}'{like}"));
            }
            match stand_in(&properties[name], path) {
                Some(value) => {
                    kept.insert(name.into(), value);
                }
                None => complete = false,
            }
        }
        complete
    }

    fn unknown_key(&mut self, path: &Path, key: &str, node: &Node, properties: &Map<String, Value>) {
        let what = if path.steps().len() == 1 { "section" } else { "key" };
        let known = || properties.keys().map(String::as_str);
        let hint = did_you_mean(key, known());
        let message = if hint.is_empty() && NOT_BUILT.contains(&key) {
            format!("'{key}' is not built yet: remove it")
        } else if is_decimals(key, node) {
            format!("'{key}' after a comma begins a new key: write a number with a point, as 1.{key}")
        } else if hint.is_empty() {
            format!("unknown {what} '{key}': known are {}", one_of(known()).replace(" or ", " and "))
        } else {
            format!("unknown {what} '{key}'{hint}")
        };
        self.problems.add(path, message);
    }

    fn list(&mut self, schema: &Value, items: &[Node], path: &Path) -> Option<Value> {
        let limit = |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        if limit("minItems").is_some_and(|min| items.len() < min) {
            self.problems.add(path, "the list is empty: write at least one item");
        }
        if let Some(max) = limit("maxItems").or(Some(LIST_MAX)).filter(|max| items.len() > *max) {
            self.problems.add(path, format!("the list has {} items, at most {max} are allowed", items.len()));
            return None;
        }
        let item = schema.get("items")?;
        let read = items.iter().enumerate().map(|(i, node)| self.read(item, node, &path.at(i)).unwrap_or(Value::Null));
        Some(Value::Array(read.collect()))
    }

    fn scalar(&mut self, schema: &Value, named: Option<&str>, value: &Value, path: &Path) -> Option<Value> {
        let wrong = match value {
            Value::Number(number) => out_of_range(schema, number.as_f64()?),
            Value::String(text) => malformed(schema, named.map_or("", last), text),
            _ => None,
        };
        match wrong {
            None => Some(value.clone()),
            Some(message) => {
                self.problems.add(path, message);
                None
            }
        }
    }
}

/// Longer lists are no programme but data.
const LIST_MAX: usize = 1_000;

fn last(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or(reference)
}

/// The whole number that is written in another way than by its digits.
fn whole(node: &Node) -> Option<i64> {
    let Content::Scalar(Value::Number(number)) = &node.what else { return None };
    let exact = number.as_f64().filter(|n| number.is_f64() && n.fract() == 0.0 && n.abs() < 1e15)?;
    format!("{exact:.0}").parse().ok()
}

/// Whether a key without a value is what stands behind the comma of `1,00`.
fn is_decimals(key: &str, node: &Node) -> bool {
    matches!(node.what, Content::Scalar(Value::Null)) && key.starts_with(|c: char| c.is_ascii_digit())
}

/// The schema that a reference means.
fn followed(schema: &Value) -> &Value {
    let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return schema };
    SCHEMA.get("$defs").and_then(|defs| defs.get(last(reference))).unwrap_or(&Value::Null)
}

/// The shapes to choose from, without null: what is optional may be left out.
fn branches(schema: &Value) -> Option<Vec<&Value>> {
    let all = schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()?;
    Some(all.iter().filter(|b| b.get("type").and_then(Value::as_str) != Some("null")).collect())
}

fn is_required(schema: &Value, key: &str) -> bool {
    let required = schema.get("required").and_then(Value::as_array);
    required.is_some_and(|names| names.iter().any(|name| name == key))
}

/// Whether a node is of the kind that a schema asks for.
fn fits(schema: &Value, node: &Node) -> bool {
    let schema = followed(schema);
    if let Some(branches) = branches(schema) {
        return branches.iter().any(|branch| fits(branch, node));
    }
    let is = |kind: &str| match (&node.what, kind) {
        (Content::Map(_), "object") | (Content::List(_), "array") => true,
        (Content::Scalar(value), "integer") => value.is_i64() || value.is_u64(),
        (Content::Scalar(value), "number") => value.is_number(),
        (Content::Scalar(value), "string") => value.is_string(),
        (Content::Scalar(value), "boolean") => value.is_boolean(),
        _ => false,
    };
    match schema.get("type") {
        Some(Value::String(kind)) => is(kind),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}

fn title(schema: &Value) -> &str {
    schema.get("title").and_then(Value::as_str).unwrap_or("value")
}

/// What a schema asks for, in words.
fn noun(schema: &Value) -> String {
    let schema = followed(schema);
    if let Some(title) = schema.get("title").and_then(Value::as_str) {
        let examples: Vec<String> =
            schema.get("examples").and_then(Value::as_array).into_iter().flatten().map(plain).collect();
        return match one_of(examples.iter().map(String::as_str)) {
            none if none.is_empty() => title.into(),
            like => format!("{title} like {like}"),
        };
    }
    if let Some(branches) = branches(schema) {
        let nouns: Vec<String> = branches.into_iter().map(noun).collect();
        return one_of(nouns.iter().map(String::as_str));
    }
    let kind = schema.get("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
    match kind {
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        Some("array") => "a list",
        Some("object") => "a map of names and values",
        _ => "a text",
    }
    .into()
}

fn found(node: &Node) -> String {
    match &node.what {
        Content::Map(_) => "a map".into(),
        Content::List(_) => "a list".into(),
        Content::Scalar(Value::Null) => "nothing".into(),
        Content::Scalar(Value::Number(n)) => format!("the number {n}"),
        Content::Scalar(Value::Bool(b)) => format!("{b}"),
        Content::Scalar(value) => format!("the text '{}'", plain(value).chars().take(60).collect::<String>()),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

fn example(schema: &Value) -> Option<&Value> {
    let schema = followed(schema);
    schema.get("examples")?.as_array()?.first()
}

/// Something harmless in the place of a required value that is missing or wrong. Numbers and
/// expressions have none: what is checked against them would only confuse.
fn stand_in(schema: &Value, path: &Path) -> Option<Value> {
    let named = schema.get("$ref").and_then(Value::as_str).map_or("", last);
    if named == "Id" {
        return Some(path.to_string().into());
    }
    let schema = followed(schema);
    if let Some(word) = branches(schema).and_then(|all| all.first()?.get("const").cloned()) {
        return Some(word);
    }
    let plain = matches!(named, "" | "Code" | "ZoneName" | "EventName");
    if plain { example(schema).cloned() } else { None }
}

fn out_of_range(schema: &Value, number: f64) -> Option<String> {
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    let small = schema.get("format").is_some_and(|format| format == "uint32");
    let max = limit("maximum").or(small.then_some(f64::from(u32::MAX)));
    if let (Some(only), true) = (schema.get("minimum"), schema.get("minimum") == schema.get("maximum")) {
        let same = only.as_f64().map(f64::to_bits) == Some(number.to_bits());
        return (!same).then(|| format!("{number} is not known here: write {only}"));
    }
    if limit("exclusiveMinimum").is_some_and(|below| number <= below) {
        return Some(format!("{number} is too little: more than {}", limit("exclusiveMinimum")?));
    }
    match (limit("minimum"), max) {
        (Some(min), _) if number < min => Some(format!("{number} is too little: at least {min}")),
        (_, Some(max)) if number > max => Some(format!("{number} is too much: at most {max}")),
        _ => None,
    }
}

/// What the patterns of the schema say, for the texts that the compiler does not read itself.
fn malformed(schema: &Value, named: &str, text: &str) -> Option<String> {
    let length = text.chars().count();
    let limit = |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    if limit("maxLength").is_some_and(|max| length > max) {
        return Some(format!("the text has {length} characters, at most {} are allowed", limit("maxLength")?));
    }
    let right = match named {
        "Id" => is_id(text),
        "Code" => text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()),
        "EventName" => !text.trim().is_empty() && length <= 100,
        _ => !text.trim().is_empty() || limit("minLength").is_none() && named.is_empty(),
    };
    (!right).then(|| format!("expected {}, found '{text}'", noun(schema)))
}

fn is_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    text.len() <= 64 && text.bytes().all(allowed) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}
