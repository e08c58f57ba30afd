//! Answers to cases of string measures.

use perennial_learn::text as measure;
use serde_json::{Value, json};

use super::text;

/// Answers one case: all measures of two texts.
pub(super) fn answer(input: &Value) -> Result<Value, String> {
    let (a, b) = (text(input, "a")?, text(input, "b")?);
    Ok(json!({
        "jaro": measure::jaro(a, b),
        "jaro_winkler": measure::jaro_winkler(a, b),
        "levenshtein": measure::levenshtein(a, b),
        "osa": measure::osa(a, b),
        "damerau_levenshtein": measure::damerau_levenshtein(a, b),
        "indel_ratio": measure::indel_ratio(a, b),
        "token_sort_ratio": measure::token_sort_ratio(a, b),
        "token_set_ratio": measure::token_set_ratio(a, b),
        "soundex_a": measure::soundex(a),
        "soundex_b": measure::soundex(b),
    }))
}
