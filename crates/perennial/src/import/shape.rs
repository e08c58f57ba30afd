//! Shape: whether a document has the form that its JSON Schema asks for, and everywhere it has not.
//!
//! Promise: all deviations at once, each with its path and a remedy. serde stops at the first one,
//! so the shape is checked here before serde reads the document.
//! Absent on purpose: formats, patterns and ranges. Those are questions of meaning and belong to
//! the reader of the document.

use perennial_core::program::Problem;
use serde_json::{Map, Value};

/// Deviations listed at most; a document with more is not the kind of document that it claims.
const MOST: usize = 100;
/// Nesting followed at most.
const DEEPEST: usize = 32;

/// Everything in `document` that `schema` does not allow.
pub(super) fn check(schema: &Value, document: &Value) -> Vec<Problem> {
    let mut walk = Walk { root: schema, found: Vec::new() };
    walk.visit(schema, document, "", 0);
    walk.found.truncate(MOST);
    walk.found
}

struct Walk<'s> {
    root: &'s Value,
    found: Vec<Problem>,
}

impl<'s> Walk<'s> {
    fn visit(&mut self, schema: &'s Value, value: &Value, path: &str, depth: usize) {
        let Some(rules) = self.resolved(schema) else { return };
        if depth > DEEPEST || self.found.len() > MOST {
            return;
        }
        if let Some(choices) = rules.get("anyOf").or_else(|| rules.get("oneOf")).and_then(Value::as_array) {
            return self.visit_choices(choices, value, path, depth);
        }
        if let Some(all) = rules.get("allOf").and_then(Value::as_array) {
            for part in all {
                self.visit(part, value, path, depth + 1);
            }
        }
        if !self.type_fits(rules, value, path) {
            return;
        }
        match value {
            Value::Object(map) => self.visit_map(rules, map, path, depth),
            Value::Array(items) => {
                let Some(each) = rules.get("items") else { return };
                for (i, item) in items.iter().enumerate() {
                    self.visit(each, item, &format!("{path}[{i}]"), depth + 1);
                }
            }
            _ => self.visit_scalar(rules, value, path),
        }
    }

    /// The schema itself, behind any reference.
    fn resolved(&self, mut schema: &'s Value) -> Option<&'s Map<String, Value>> {
        for _ in 0..DEEPEST {
            let rules = schema.as_object()?;
            let Some(pointer) = rules.get("$ref").and_then(Value::as_str) else { return Some(rules) };
            schema = self.root.pointer(pointer.strip_prefix('#')?)?;
        }
        None
    }

    /// Of several shapes, the one that comes closest speaks.
    fn visit_choices(&mut self, choices: &'s [Value], value: &Value, path: &str, depth: usize) {
        let words: Vec<&Value> = choices.iter().filter_map(|c| words(self.resolved(c)?)).flatten().collect();
        if !words.is_empty() && value.is_string() {
            return self.visit_words(&words, value, path);
        }
        let mut closest: Option<Vec<Problem>> = None;
        for choice in choices {
            if value.is_object() && self.resolved(choice).is_some_and(|r| r.get("type") == Some(&"null".into())) {
                continue;
            }
            let mut attempt = Walk { root: self.root, found: Vec::new() };
            attempt.visit(choice, value, path, depth + 1);
            if closest.as_ref().is_none_or(|best| attempt.found.len() < best.len()) {
                closest = Some(attempt.found);
            }
        }
        self.found.extend(closest.unwrap_or_default());
    }

    fn type_fits(&mut self, rules: &Map<String, Value>, value: &Value, path: &str) -> bool {
        let allowed: Vec<&str> = match rules.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => return true,
        };
        let fits = allowed.iter().any(|kind| match *kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            _ => value.is_null(),
        });
        if !fits {
            let wanted =
                allowed.iter().copied().filter(|k| *k != "null").map(in_words).collect::<Vec<_>>().join(" or ");
            self.report(path, format!("expected {wanted}, found {}", shown(value)));
        }
        fits
    }

    fn visit_map(&mut self, rules: &'s Map<String, Value>, map: &Map<String, Value>, path: &str, depth: usize) {
        let known = rules.get("properties").and_then(Value::as_object);
        let others = rules.get("additionalProperties");
        for (key, value) in map {
            let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match (known.and_then(|k| k.get(key)), others) {
                (Some(schema), _) | (None, Some(schema @ Value::Object(_))) => {
                    self.visit(schema, value, &below, depth + 1);
                }
                (None, Some(Value::Bool(false))) => {
                    let names = known.map(|k| k.keys().map(String::as_str).collect()).unwrap_or_default();
                    self.report(&below, format!("unknown key '{key}'; {}", suggestion(key, names)));
                }
                (None, _) => {}
            }
        }
        let required = rules.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str).filter(|name| !map.contains_key(*name)) {
            let below = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            self.report(&below, format!("missing; add '{name}:'"));
        }
    }

    fn visit_scalar(&mut self, rules: &Map<String, Value>, value: &Value, path: &str) {
        if let Some(allowed) = words(rules) {
            self.visit_words(&allowed, value, path);
        }
    }

    fn visit_words(&mut self, allowed: &[&Value], value: &Value, path: &str) {
        if !allowed.contains(&value) {
            let list = allowed.iter().filter_map(|v| v.as_str()).collect();
            self.report(
                path,
                format!("{} is not one of the choices; {}", shown(value), suggestion(&shown(value), list)),
            );
        }
    }

    fn report(&mut self, path: &str, message: String) {
        self.found.push(Problem { path: path.to_owned(), line: 0, message });
    }
}

/// The fixed values that a schema allows, if it lists them.
fn words(rules: &Map<String, Value>) -> Option<Vec<&Value>> {
    match (rules.get("enum"), rules.get("const")) {
        (Some(Value::Array(list)), _) => Some(list.iter().collect()),
        (_, Some(one)) => Some(vec![one]),
        _ => None,
    }
}

/// "did you mean", or the list when nothing is near.
pub(crate) fn suggestion(word: &str, mut known: Vec<&str>) -> String {
    let near = known.iter().map(|k| (strsim::damerau_levenshtein(word.trim_matches('\''), k), *k)).min();
    match near {
        Some((distance, name)) if distance <= 2.max(name.len() / 3) => format!("did you mean '{name}'?"),
        _ => {
            known.sort_unstable();
            known.truncate(30);
            format!("known: {}", known.join(", "))
        }
    }
}

fn in_words(kind: &str) -> &'static str {
    match kind {
        "object" => "a map",
        "array" => "a list",
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        _ => "true or false",
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", text.chars().take(40).collect::<String>()),
        Value::Object(_) => "a map".into(),
        Value::Array(_) => "a list".into(),
        Value::Null => "nothing".into(),
        other => other.to_string(),
    }
}
