//! The published schema: what editors know of a programme while it is typed.
//!
//! Promise: it refuses nothing that the compiler accepts, and of what the compiler refuses as much as
//! JSON Schema can say. The shapes come from the types; what belongs together or excludes each other, and
//! how texts are written, is added here and nowhere read by us, so that our own messages stay our own.
//! Absent on purpose: whatever needs another part of the document, such as an id that must be declared.

use crate::event::{ORDER_CANCELLED, ORDER_COMPLETED, ORDER_REFUNDED, ORDER_UPDATED};
use serde_json::{Map, Value, json};

use super::document::merge_patch;
use super::{lower, shape};

/// The JSON Schema of programme documents, for editors.
pub fn schema() -> Value {
    let mut schema = shape::SCHEMA.clone();
    without_null(&mut schema);
    for part in [sections(), earning(), points(), customers(), texts()] {
        merge_patch(&mut schema, &part);
    }
    schema
}

/// What is optional is left out of a document: null is no value in it.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(keys) => {
            leave_null_out(keys);
            keys.values_mut().for_each(without_null);
        }
        _ => {}
    }
}

fn leave_null_out(keys: &mut Map<String, Value>) {
    if let Some(Value::Array(kinds)) = keys.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            keys.insert("type".into(), only);
        }
    }
    let Some(Value::Array(branches)) = keys.get_mut("anyOf") else { return };
    branches.retain(|branch| branch["type"] != "null");
    if let [Value::Object(only)] = branches.as_slice() {
        let only = only.clone();
        keys.remove("anyOf");
        keys.extend(only);
    }
}

/// A name that expressions can say.
const WORD: &str = "^[A-Za-z_][A-Za-z0-9_]{0,63}$";
/// Something to read, without control characters.
const NAME: &str = r"^ *[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u001F\u007F-\u009F]*$";
/// The same, or nothing at all.
const PLAIN: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";
/// What a length of time says beside months and years.
const EXACT: &str = "([0-9]+W)?([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+S)?)?";
/// A length of time that is more than none.
const SOME_TIME: &str = "[1-9]";
/// A length of time in months or years.
const BY_CALENDAR: &str = "^[^T]*[1-9][0-9]*[YM]";

/// The document's own keys.
fn sections() -> Value {
    json!({ "properties": {
        "name": { "pattern": NAME },
        "rates": { "propertyNames": { "pattern": "^[A-Za-z]{3}$" } },
        "traits": { "propertyNames": { "pattern": WORD } },
        "features": {
            "propertyNames": { "pattern": WORD, "not": { "enum": lower::taken().collect::<Vec<_>>() } },
        },
    } })
}

/// What earns, and what is earned for.
fn earning() -> Value {
    json!({ "$defs": {
        "EarnRule": {
            "oneOf": [{ "required": ["points"] }, { "required": ["multiply"] }],
            "dependentRequired": { "lines": ["multiply"] },
            "dependentSchemas": {
                "multiply": { "properties": { "limit": false, "unique_by": false, "review": false } },
            },
            "properties": {
                "on": { "not": { "enum": [ORDER_UPDATED, ORDER_REFUNDED, ORDER_CANCELLED] } },
                "multiply": { "maximum": 1000 },
            },
            "if": { "properties": { "on": { "const": ORDER_COMPLETED } } },
            "then": { "properties": { "unique_by": false, "review": false } },
            "else": { "properties": { "points": { "type": "integer" }, "multiply": false } },
        },
        "Tiers": {
            "properties": { "levels": { "allOf": [{ "prefixItems": [{ "properties": { "from": { "const": 0 } } }] }] } },
            "if": { "properties": { "by": { "const": "points.earned" } } },
            "then": { "properties": { "levels": { "items": { "properties": { "from": { "type": "integer" } } } } } },
        },
        "Benefit": { "pattern": NAME },
        "GrantedBenefit": { "properties": {
            "name": { "pattern": PLAIN },
            "on": { "not": { "enum": [ORDER_UPDATED, ORDER_REFUNDED, ORDER_CANCELLED] } },
        } },
        "BenefitGrant": { "properties": { "impact": {
            "minProperties": 1,
            "propertyNames": { "pattern": WORD },
        } } },
        "Reward": { "properties": { "name": { "pattern": NAME }, "stock": { "minimum": 1 } } },
        "MilestoneGrant": { "minProperties": 1 },
    } })
}

/// How points live.
fn points() -> Value {
    json!({ "$defs": { "Expires": {
        "oneOf": [{ "required": ["after"] }, { "required": ["after_inactivity"] }],
        "properties": {
            "after": { "pattern": SOME_TIME },
            "after_inactivity": { "pattern": SOME_TIME },
            "remind": { "pattern": SOME_TIME },
        },
    } } })
}

/// Who is who, and what is computed of them.
fn customers() -> Value {
    let of_event = |key: &str| json!({ "required": [key], "properties": { "on": false } });
    let no_event = json!({ "count": false, "first": false, "last": false });
    let of_value = |key: &str| json!({ "required": [key, "on"], "properties": no_event });
    let known = ["user", "email", "phone", "anonymous"];
    json!({ "$defs": {
        "Trait": { "allOf": [
            {
                "if": { "properties": { "identifies": { "const": true } }, "required": ["identifies"] },
                "then": { "properties": { "type": { "enum": ["email", "phone"] } } },
            },
            {
                "if": { "properties": { "identifies": { "type": "string" } }, "required": ["identifies"] },
                "then": { "properties": { "type": { "enum": ["text", "number"] } } },
            },
        ] },
        "Identifies": { "pattern": "^[a-z_]+$", "not": { "enum": known } },
        "JoinOn": { "properties": { "on": { "minItems": 1 } } },
        "Pilot": {
            "oneOf": [
                { "required": ["share", "salt"], "properties": { "segment": false } },
                { "required": ["segment"], "properties": { "share": false, "salt": false } },
            ],
            "properties": { "share": { "not": { "pattern": r"\.[0-9]{2}0*[1-9]" } } },
        },
        "Feature": {
            "oneOf": [
                of_event("count"), of_event("first"), of_event("last"),
                of_value("sum"), of_value("max"), of_value("min"), of_value("distinct"),
            ],
            "properties": { "within": { "pattern": SOME_TIME, "not": { "pattern": BY_CALENDAR } } },
        },
        "Top": { "properties": { "top": { "not": { "pattern": r"\.[0-9]{4}0*[1-9]" } } } },
    } })
}

/// What a pattern cannot say of a text: what it is not.
fn texts() -> Value {
    json!({ "$defs": {
        "EventName": { "not": { "pattern": r"^\s*$" } },
        "Length": { "not": { "pattern": "^P$|T$" } },
        "Rate": { "not": { "pattern": r"^ *[0.]+(e[0-9]+)? +per| per +[0.]+(e[0-9]+)?( |$)" } },
        "Share": { "not": { "pattern": "^ *[0.]* *%" } },
        "LimitText": {
            "allOf": [{ "pattern": format!("per +(day|month|year|order|P{EXACT}) *$") }],
            "not": { "pattern": "P[^1-9]*$|T *$" },
        },
        "Restore": {
            "allOf": [{ "pattern": format!("^original_dates$|^grace +P([0-9]+Y)?([0-9]+M)?{EXACT}$") }],
            "not": { "pattern": "P[^1-9]*$|T$" },
        },
    } })
}
