//! String measures against rapidfuzz and jellyfish (`strings.json`).

use perennial_learn::text;
use serde_json::Value;

type Measure = fn(&str, &str) -> f64;

#[expect(clippy::cast_precision_loss, reason = "distances are small")]
fn measures() -> [(&'static str, Measure); 8] {
    [
        ("jaro", text::jaro),
        ("jaro_winkler", text::jaro_winkler),
        ("levenshtein", |a, b| text::levenshtein(a, b) as f64),
        ("osa", |a, b| text::osa(a, b) as f64),
        ("damerau_levenshtein", |a, b| text::damerau_levenshtein(a, b) as f64),
        ("indel_ratio", text::indel_ratio),
        ("token_sort_ratio", text::token_sort_ratio),
        ("token_set_ratio", text::token_set_ratio),
    ]
}

#[test]
fn every_reference_pair_has_the_reference_value() {
    let Some(folder) = std::env::var_os("PERENNIAL_SHARED") else {
        println!("skipped: PERENNIAL_SHARED is not set");
        return;
    };
    let path = std::path::Path::new(&folder).join("reference/strings.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for case in file["cases"].as_array().unwrap() {
        let (a, b) = (case["input"]["a"].as_str().unwrap(), case["input"]["b"].as_str().unwrap());
        let expected = &case["expected"];
        for (name, measure) in measures() {
            if (measure(a, b) - expected[name].as_f64().unwrap()).abs() > 1e-9 {
                wrong.push(format!("{name}({a:?}, {b:?}) = {}, not {}", measure(a, b), expected[name]));
            }
        }
        for (key, word) in [("soundex_a", a), ("soundex_b", b)] {
            if text::soundex(word) != expected[key].as_str().unwrap() {
                wrong.push(format!("soundex({word:?}) = {}, not {}", text::soundex(word), expected[key]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
