//! Shapes: a document held against the schema of its types.

use serde_json::Value;

use super::document::Node;
use super::problem::{Path, Problems};
use super::source::Source;

/// The source as far as its shape is right; what is wrong is reported and set aside.
pub(super) fn check(document: &Node, problems: &mut Problems) -> Option<Source> {
    let value = Value::from(document);
    problems.check(&Path::default(), serde_json::from_value(value))
}

/// The JSON Schema of programme documents, for editors.
pub fn schema() -> Value {
    schemars::schema_for!(Source).into()
}
