//! Foreign shapes: bytes of other people's protocols become our own types here, and end here.
//!
//! Promise: nothing that arrives is dropped without a trace. Every message becomes an [`Event`] or
//! a [`Reject`] that names the field and the remedy; only a body that cannot be taken apart at all
//! is [`Malformed`]. No bytes make this code panic.
//! Absent on purpose: clocks, keys and storage. When and from whom comes with [`Circumstances`].

use std::fmt;

use perennial_core::event::{Event, Origin};
use perennial_core::input::Reject;
use perennial_core::time::Timestamp;
use perennial_core::value::Value;

pub mod catalog;
pub mod commerce;
pub mod json;
pub mod person;
pub mod segment;

/// One message, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It happened.
    Event(Box<Event>),
    /// It could not be read; kept with its reason.
    Reject(Box<Reject>),
}

/// What a message does not say about itself.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The name of the write key's source.
    pub source: &'a str,
    /// When it reached us.
    pub received_at: Timestamp,
    /// Live traffic or history.
    pub origin: Origin,
    /// The request carried `Sec-GPC: 1`.
    pub opted_out: bool,
}

impl<'a> Circumstances<'a> {
    /// Live traffic of a source, received now.
    pub fn live(source: &'a str, received_at: Timestamp) -> Self {
        Self { source, received_at, origin: Origin::Live, opted_out: false }
    }
}

/// Why bytes are not what they claim: a stable code, the field as a path, a sentence with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// A stable code: `malformed`, `too_large`, `too_many`, `too_deep`, `missing_field`, ...
    pub code: &'static str,
    /// The field, as a path like `properties.products[2].price`; empty for the whole.
    pub field: String,
    /// What is wrong and what would mend it.
    pub reason: String,
}

impl Malformed {
    /// A fault of one field.
    pub fn new(code: &'static str, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { code, field: field.into(), reason: reason.into() }
    }

    /// A field that has to hold a text, and does not: it is missing, or something else is there.
    pub fn no_text(field: &str, found: Option<&Value>, remedy: &str) -> Self {
        match found {
            None | Some(Value::Null | Value::Text(_)) => Self::missing(field, remedy),
            Some(_) => Self::new("wrong_type", field, format!("must be a text; {remedy}")),
        }
    }

    /// A field that has to be there and is not.
    pub fn missing(field: impl Into<String>, remedy: &str) -> Self {
        let field = field.into();
        let reason = format!("{field} is missing; {remedy}");
        Self { code: "missing_field", field, reason }
    }
}

/// How a text is no JSON, in words: what its parser says is meant for programmers.
pub(crate) fn broken(error: &serde_json::Error) -> String {
    const PLAINLY: [(&str, &str); 6] = [
        ("expected ident", "a word that is none of true, false and null"),
        ("expected value", "no value where one should be"),
        ("trailing characters", "something behind its end"),
        ("trailing comma", "a comma with nothing behind it"),
        ("key must be a string", "a name without quotation marks"),
        ("recursion limit exceeded", "nested too deeply"),
    ];
    if error.is_eof() && (error.line(), error.column()) == (1, 0) {
        return "is empty; send JSON".into();
    }
    if error.is_eof() {
        return "ends before its JSON does: it was cut off".into();
    }
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    let why = PLAINLY.iter().find(|(theirs, _)| *theirs == said).map_or(said, |(_, ours)| ours);
    format!("is not JSON: {why}, at line {}, column {}", error.line(), error.column())
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() { f.write_str(&self.reason) } else { write!(f, "{}: {}", self.field, self.reason) }
    }
}

impl std::error::Error for Malformed {}
