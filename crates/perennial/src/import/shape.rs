//! Shape: whether a document has the form that its JSON Schema asks for, and everywhere it has not.
//!
//! Promise: all deviations at once, each with its path and a remedy. serde stops at the first one,
//! so the shape is checked here before serde reads the document; and what is left of a document without
//! its deviations ([`fitted`]) can be read, so that questions of meaning are asked at the same time.
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
    let told = |Deviation { place, message, .. }| Problem { path: shown_place(&place), line: 0, message };
    deviations(schema, document).into_iter().map(told).collect()
}

/// The document without its deviations: what does not fit is left out, and what must be there is
/// something of the right shape. None of a document that is no map at all.
pub(super) fn fitted(schema: &Value, mut document: Value) -> Option<Value> {
    // What is left out may be missed: then the next round puts something there.
    for _ in 0..DEEPEST {
        let found = deviations(schema, &document);
        if found.is_empty() {
            return Some(document);
        }
        // From the back, so that items of a list keep their places.
        found.into_iter().rev().try_for_each(|deviation| deviation.mend(&mut document))?;
    }
    None
}

fn deviations(schema: &Value, document: &Value) -> Vec<Deviation> {
    let mut walk = Walk { root: schema, found: Vec::new() };
    walk.visit(schema, document, &[]);
    walk.found.truncate(MOST);
    walk.found
}

/// One step down a document.
#[derive(Clone, Debug)]
enum Step {
    Name(String),
    Item(usize),
}

/// Something that the schema does not allow.
struct Deviation {
    place: Vec<Step>,
    message: String,
    /// What may stand there instead; nothing, when it is to be left out.
    instead: Option<Value>,
}

impl Deviation {
    /// None when the document as a whole deviates.
    fn mend(self, document: &mut Value) -> Option<()> {
        let (last, above) = self.place.split_last()?;
        let holder = above.iter().try_fold(document, |here, step| match step {
            Step::Name(name) => here.get_mut(name),
            Step::Item(n) => here.get_mut(n),
        });
        match (holder, last, self.instead) {
            (Some(Value::Object(map)), Step::Name(name), Some(value)) => _ = map.insert(name.clone(), value),
            (Some(Value::Object(map)), Step::Name(name), None) => _ = map.remove(name),
            (Some(Value::Array(items)), Step::Item(n), None) if *n < items.len() => _ = items.remove(*n),
            _ => {} // It left with what it was part of.
        }
        Some(())
    }
}

/// A place in a document as people write it: `files.sales.skip[0].reason`.
fn shown_place(place: &[Step]) -> String {
    let mut path = String::new();
    for step in place {
        match step {
            Step::Name(name) if path.is_empty() => path.push_str(name),
            Step::Name(name) => path = format!("{path}.{name}"),
            Step::Item(n) => path = format!("{path}[{n}]"),
        }
    }
    path
}

fn below(place: &[Step], step: Step) -> Vec<Step> {
    [place, &[step]].concat()
}

struct Walk<'s> {
    root: &'s Value,
    found: Vec<Deviation>,
}

impl<'s> Walk<'s> {
    fn visit(&mut self, schema: &'s Value, value: &Value, place: &[Step]) {
        let Some(rules) = self.resolved(schema) else { return };
        if place.len() > DEEPEST || self.found.len() > MOST {
            return;
        }
        if let Some(choices) = rules.get("anyOf").or_else(|| rules.get("oneOf")).and_then(Value::as_array) {
            return self.visit_choices(choices, value, place);
        }
        if let Some(all) = rules.get("allOf").and_then(Value::as_array) {
            for part in all {
                self.visit(part, value, place);
            }
        }
        if !self.type_fits(rules, value, place) {
            return;
        }
        match value {
            Value::Object(map) => self.visit_map(rules, map, place),
            Value::Array(items) => {
                let Some(each) = rules.get("items") else { return };
                for (i, item) in items.iter().enumerate() {
                    self.visit(each, item, &below(place, Step::Item(i)));
                }
            }
            _ => self.visit_scalar(rules, value, place),
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
    fn visit_choices(&mut self, choices: &'s [Value], value: &Value, place: &[Step]) {
        let words: Vec<&Value> = choices.iter().filter_map(|c| words(self.resolved(c)?)).flatten().collect();
        if !words.is_empty() && value.is_string() {
            return self.visit_words(&words, value, place);
        }
        let mut closest: Option<Vec<Deviation>> = None;
        for choice in choices {
            if value.is_object() && self.resolved(choice).is_some_and(|r| r.get("type") == Some(&"null".into())) {
                continue;
            }
            let mut attempt = Walk { root: self.root, found: Vec::new() };
            attempt.visit(choice, value, place);
            if closest.as_ref().is_none_or(|best| attempt.found.len() < best.len()) {
                closest = Some(attempt.found);
            }
        }
        self.found.extend(closest.unwrap_or_default());
    }

    fn type_fits(&mut self, rules: &Map<String, Value>, value: &Value, place: &[Step]) -> bool {
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
            self.report(place, format!("expected {wanted}, found {}", shown(value)));
        }
        fits
    }

    fn visit_map(&mut self, rules: &'s Map<String, Value>, map: &Map<String, Value>, place: &[Step]) {
        let known = rules.get("properties").and_then(Value::as_object);
        let others = rules.get("additionalProperties");
        for (key, value) in map {
            let below = below(place, Step::Name(key.clone()));
            match (known.and_then(|k| k.get(key)), others) {
                (Some(schema), _) | (None, Some(schema @ Value::Object(_))) => {
                    self.visit(schema, value, &below);
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
            let instead = known.and_then(|known| known.get(name)).and_then(|schema| self.something(schema));
            let message = format!("missing; add '{name}:'");
            self.found.push(Deviation { place: below(place, Step::Name(name.to_owned())), message, instead });
        }
    }

    fn visit_scalar(&mut self, rules: &Map<String, Value>, value: &Value, place: &[Step]) {
        if let Some(allowed) = words(rules) {
            self.visit_words(&allowed, value, place);
        }
        let one = rules.get("maxLength") == Some(&1.into());
        if one && value.as_str().is_some_and(|text| text.chars().count() != 1) {
            self.report(place, format!("expected one character, found {}", shown(value)));
        }
        if let (Some(least), Some(n)) = (rules.get("minimum").and_then(Value::as_f64), value.as_f64())
            && n < least
        {
            self.report(place, format!("expected a number from {least}, found {n}"));
        }
    }

    /// The plainest value of a shape.
    fn something(&self, schema: &'s Value) -> Option<Value> {
        let rules = self.resolved(schema)?;
        if let Some(word) = words(rules).and_then(|words| words.first().copied()) {
            return Some(word.clone());
        }
        if let Some(choices) = rules.get("anyOf").or_else(|| rules.get("oneOf")).and_then(Value::as_array) {
            return choices.iter().find_map(|choice| self.something(choice));
        }
        let kind = match rules.get("type")? {
            Value::Array(kinds) => kinds.first()?,
            one => one,
        };
        Some(match kind.as_str()? {
            "object" => Value::Object(Map::new()),
            "array" => Value::Array(Vec::new()),
            "string" => "x".into(),
            "boolean" => false.into(),
            _ => 1.into(),
        })
    }

    fn visit_words(&mut self, allowed: &[&Value], value: &Value, place: &[Step]) {
        if !allowed.contains(&value) {
            let list = allowed.iter().filter_map(|v| v.as_str()).collect();
            self.report(
                place,
                format!("{} is not one of the choices; {}", shown(value), suggestion(&shown(value), list)),
            );
        }
    }

    fn report(&mut self, place: &[Step], message: String) {
        self.found.push(Deviation { place: place.to_vec(), message, instead: None });
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

/// What other programs call something, and what we do.
const ELSEWHERE: [(&str, &str); 4] =
    [("separator", "delimiter"), ("sep", "delimiter"), ("delimiter", "separator"), ("charset", "encoding")];

/// "did you mean", or the list when nothing is near.
pub(crate) fn suggestion(word: &str, mut known: Vec<&str>) -> String {
    if let Some((_, ours)) = ELSEWHERE.iter().find(|(theirs, ours)| *theirs == word && known.contains(ours)) {
        return format!("did you mean '{ours}'?");
    }
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
