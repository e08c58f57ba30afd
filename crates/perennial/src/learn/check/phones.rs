//! Answers to cases of telephone numbers.

use perennial_learn::phone;
use serde_json::{Value, json};

use super::text;

/// Answers one case: what a text says as a number of a country.
pub(super) fn answer(input: &Value) -> Result<Value, String> {
    let home = input["region"].as_str();
    Ok(match phone::read(text(input, "text")?, home) {
        None => json!({ "parsed": false }),
        Some(phone) => json!({
            "parsed": true,
            "valid": phone.valid,
            "possible": phone.possible,
            "e164": phone.e164,
            "national": phone.national,
            "region": phone.region,
        }),
    })
}
