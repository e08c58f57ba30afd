//! Forms: what a step may say.
//!
//! Promise: a slip in a step would be a check that checks nothing, so what an action does not know is
//! told, with what was probably meant.
//! Absent on purpose: expectations. They look after their own fields.

use perennial_core::id::Identifier;
use serde_json::{Map, Value};

use crate::import::suggestion;
use crate::wire::segment;

/// A step: one action, and what stands beside it.
pub(super) struct Step<'a> {
    /// Its place in the story, from 1.
    pub(super) number: usize,
    pub(super) action: &'a str,
    pub(super) body: &'a Value,
    /// The code that a command must be refused with.
    pub(super) refused: Option<String>,
    /// The code that an event must be rejected with.
    pub(super) rejected: Option<String>,
}

/// Calls, as an SDK sends them.
const CALLS: [&str; 7] = ["identify", "track", "page", "screen", "group", "alias", "batch"];

/// What else a step may do.
const OTHERS: [&str; 18] = [
    "enroll", "redeem", "hold", "capture", "release", "undo", "adjust", "review", "fulfill", "set_tier", "consent",
    "merge", "unmerge", "erase", "score", "publish", "advance", "expect",
];

/// What a later version will do.
const NOT_BUILT: [&str; 3] = ["decide", "survey", "case"];

impl<'a> Step<'a> {
    pub(super) fn read(number: usize, step: &'a Value) -> Result<Self, String> {
        let map = step.as_object().ok_or("a step is a map with one action")?;
        halved(step)?;
        let beside = ["refused", "rejected", "why"];
        let mut actions = map.iter().filter(|(name, _)| !beside.contains(&name.as_str()));
        let (Some((action, body)), None) = (actions.next(), actions.next()) else {
            let names: Vec<&str> = map.keys().map(String::as_str).collect();
            let found = if names.is_empty() { "nothing".into() } else { names.join(", ") };
            return Err(format!("a step is a map with one action, this one has {found}"));
        };
        let (refused, rejected) = (text(map, "refused")?, text(map, "rejected")?);
        let step = Self { number, action, body, refused, rejected };
        step.fits()?;
        Ok(step)
    }

    pub(super) fn is_call(&self) -> bool {
        CALLS.contains(&self.action)
    }

    fn fits(&self) -> Result<(), String> {
        let action = self.action;
        if !self.is_call() && !OTHERS.contains(&action) {
            return Err(unknown_action(action));
        }
        let command = !self.is_call() && !["advance", "score", "expect"].contains(&action);
        if self.refused.is_some() && !command {
            return Err(format!(
                "refused: stands beside a command, and '{action}' is none; an event can be 'rejected'"
            ));
        }
        if self.rejected.is_some() && !self.is_call() {
            return Err(format!(
                "rejected: stands beside an event, and '{action}' is none; a command can be 'refused'"
            ));
        }
        if self.is_call() { self.is_message() } else { self.is_known() }
    }

    fn is_known(&self) -> Result<(), String> {
        let (action, known) = (self.action, fields_of(self.action));
        let Some(map) = self.body.as_object().filter(|_| !known.is_empty()) else { return Ok(()) };
        match map.keys().find(|name| !known.contains(&name.as_str())) {
            Some(field) if action == "enroll" && ["referral_code", "referred_by"].contains(&field.as_str()) => {
                Err(format!("enroll: '{field}' is not built yet, no programme has rules for referrals: remove it"))
            }
            Some(stray) => Err(format!("{action}: unknown field '{stray}'; it takes {}", known.join(", "))),
            None if map.is_empty() => Err(format!("{action}: says nothing; it takes {}", known.join(", "))),
            None => Ok(()),
        }
    }

    /// What is no map at all is the intake's matter, as it is of a server.
    fn is_message(&self) -> Result<(), String> {
        let one = std::slice::from_ref(self.body);
        let messages = if self.action == "batch" { self.body.as_array().map_or(one, Vec::as_slice) } else { one };
        for (at, message) in messages.iter().enumerate() {
            let Some(message) = message.as_object() else { continue };
            if let Some(stray) = message.keys().find(|name| !segment::FIELDS.contains(&name.as_str())) {
                let known = suggestion(stray, segment::FIELDS.to_vec());
                return Err(format!("{}: unknown field '{stray}'; {known}", self.action));
            }
            let own = (self.number, at + 1);
            let given = message.get("messageId").and_then(Value::as_str);
            if let Some(name) = given.filter(|name| place(name).is_some_and(|of| of > own)) {
                return Err(format!("messageId: '{name}' is what a later step is called by itself; choose another"));
            }
        }
        Ok(())
    }

    /// Gives every message a name that has none, after its place.
    pub(super) fn named(&self) -> Value {
        let mut body = self.body.clone();
        match body.as_array_mut().filter(|_| self.action == "batch") {
            Some(items) => {
                let numbered = items.iter_mut().zip(1..);
                numbered.for_each(|(item, at)| name(item, || format!("step-{}.{at}", self.number)));
            }
            None => name(&mut body, || format!("step-{}", self.number)),
        }
        body
    }
}

fn name(message: &mut Value, by_place: impl FnOnce() -> String) {
    if let Some(map) = message.as_object_mut() {
        map.entry("messageId").or_insert_with(|| by_place().into());
    }
}

/// The place that a name of [`Step::named`] is for: a step, and a message of it.
fn place(name: &str) -> Option<(usize, usize)> {
    let place = name.strip_prefix("step-")?;
    let (step, message) = place.split_once('.').unwrap_or((place, "1"));
    Some((step.parse().ok()?, message.parse().ok()?))
}

fn unknown_action(action: &str) -> String {
    if NOT_BUILT.contains(&action) {
        return format!("'{action}' is not built yet: remove it");
    }
    format!("unknown action '{action}'; {}", suggestion(action, [&CALLS[..], &OTHERS].concat()))
}

/// The fields that an action knows; none for those that look after their own.
fn fields_of(action: &str) -> &'static [&'static str] {
    match action {
        "advance" => &["to"],
        "publish" => &["program", "patch"],
        "score" => &["customer", "clv_12m", "p_alive", "churn_risk", "next_purchase", "cluster"],
        "merge" => &["into", "from", "key"],
        "enroll" | "unmerge" | "erase" => &["customer", "key"],
        "capture" => &["hold", "points", "key"],
        "release" => &["hold", "key"],
        "redeem" => &["customer", "reward", "quantity", "key"],
        "adjust" => &["customer", "points", "reason", "by", "key"],
        "hold" => &["customer", "points", "for", "as", "key"],
        "undo" => &["customer", "redemption", "key"],
        "set_tier" => &["customer", "tier", "until", "key"],
        "review" => &["customer", "activity", "decision", "reason", "key"],
        "fulfill" => &["customer", "benefit", "order", "proof", "key"],
        "consent" => &["customer", "purpose", "channel", "given", "key"],
        _ => &[],
    }
}

/// `{ price: 4,50 }` is, to YAML, a price of 4 and a key 50 that has no value.
fn halved(value: &Value) -> Result<(), String> {
    match value {
        Value::Object(map) => map.iter().try_for_each(|(key, inner)| {
            if inner.is_null() && !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit()) {
                return Err(format!("'{key}' stands after a comma and has no value: decimals take a point, as 4.50"));
            }
            halved(inner)
        }),
        Value::Array(items) => items.iter().try_for_each(halved),
        _ => Ok(()),
    }
}

/// A map, as most actions and expectations take.
pub(super) fn object(body: &Value) -> Result<&Map<String, Value>, String> {
    body.as_object().ok_or_else(|| "expected a map like { name: value }".into())
}

/// A customer as stories name them.
pub(super) fn who(field: &str, name: &str) -> Result<Identifier, String> {
    let how = "a customer is named by userId, or like email:ana@example.com, anonymous:abc, loyalty:L-17";
    name.parse().map_err(|_| format!("{field}: '{name}' names nobody; {how}"))
}

/// A text, or a number written as one.
pub(super) fn text(map: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(n)) => Ok(Some(n.to_string())),
        Some(_) => Err(format!("{name}: expected a text")),
    }
}
