//! Files of reference results: cases with inputs, expected answers and tolerances.
//!
//! They hold data that may not be redistributed, so they are read from the folder that
//! `PERENNIAL_SHARED` names and the tests say so when it is absent.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Where the shared reference files and data are, if anywhere.
pub(crate) fn shared() -> Option<PathBuf> {
    let found = env::var_os("PERENNIAL_SHARED").map(PathBuf::from);
    if found.is_none() {
        println!("skipped: set PERENNIAL_SHARED to the folder with reference/ and data/");
    }
    found
}

/// One file of cases.
pub(crate) fn load(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Computes every case of `file` with `evaluate(file, case)` and compares; panics listing all differences.
pub(crate) fn hold(file: &Value, evaluate: impl Fn(&Value, &Value) -> Value) -> usize {
    let cases = file["cases"].as_array().expect("a list of cases");
    let mut wrong = Vec::new();
    for case in cases {
        let id = case["id"].as_str().expect("an id");
        let tolerance = |key: &str, usual: f64| case["tol"][key].as_f64().unwrap_or(usual);
        let (abs, rel) = (tolerance("abs", 1e-9), tolerance("rel", 1e-6));
        differences(id, &case["expected"], &evaluate(file, case), abs, rel, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    cases.len()
}

fn differences(path: &str, want: &Value, got: &Value, abs: f64, rel: f64, out: &mut Vec<String>) {
    match (want, got) {
        (Value::Object(want), _) => {
            for (key, value) in want.iter().filter(|(k, _)| !k.starts_with("info_")) {
                differences(&format!("{path}.{key}"), value, &got[key], abs, rel, out);
            }
        }
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => {
            for (i, (w, g)) in want.iter().zip(got).enumerate() {
                differences(&format!("{path}[{i}]"), w, g, abs, rel, out);
            }
        }
        (Value::Number(w), Value::Number(g)) => {
            let (w, g) = (w.as_f64().unwrap_or(f64::NAN), g.as_f64().unwrap_or(f64::NAN));
            let near = (g - w).abs() <= abs + rel * w.abs();
            if !near {
                out.push(format!("{path}: want {w} got {g}"));
            }
        }
        _ if want == got => {}
        _ => out.push(format!("{path}: want {want} got {got}")),
    }
}

/// A list of numbers.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}
