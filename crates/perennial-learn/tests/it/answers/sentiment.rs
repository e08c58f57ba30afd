//! Answers to `sentiment.json`.

use perennial_learn::sentiment::Lexicon;
use serde_json::{Map, Value, json};

/// Answers one case.
pub(crate) fn answer(lexicon: &Lexicon, kind: &str, input: &Map<String, Value>) -> Result<Value, String> {
    if kind != "vader.scores" {
        return Err(format!("no answer for kind {kind}"));
    }
    let s = lexicon.score(input["text"].as_str().ok_or("the text is missing")?);
    Ok(json!({ "neg": s.negative, "neu": s.neutral, "pos": s.positive, "compound": s.compound }))
}
