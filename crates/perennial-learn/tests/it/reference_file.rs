//! Reference files: read the cases, answer each, compare within the case's tolerance.

use serde_json::{Map, Value};
use std::path::PathBuf;

/// The folder of shared reference files and data, when this machine has it.
pub(crate) fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("PERENNIAL_SHARED").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: PERENNIAL_SHARED does not name the folder of reference files");
    }
    folder
}

/// Answers every case of a file and panics with the list of those that differ.
pub(crate) fn check_every_case(file: &str, answer: impl Fn(&str, &Map<String, Value>) -> Result<Value, String>) {
    let Some(folder) = shared() else { return };
    let text = std::fs::read_to_string(folder.join("reference").join(file)).expect("the reference file can be read");
    let reference: Value = serde_json::from_str(&text).expect("the reference file is JSON");
    let cases = reference["cases"].as_array().expect("the file lists cases");
    let mut wrong = Vec::new();
    for case in cases {
        let kind = case["kind"].as_str().expect("a case has a kind");
        let input = case["input"].as_object().expect("a case has an input");
        match answer(kind, input) {
            Ok(got) => differences("", &case["expected"], &got, tolerance(case), &mut wrong, &case["id"]),
            Err(why) => wrong.push(format!("{} {kind}: {why}", case["id"])),
        }
    }
    println!("{file}: {} cases", cases.len());
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
}

fn tolerance(case: &Value) -> (f64, f64) {
    let read = |key: &str, default| case["tol"][key].as_f64().unwrap_or(default);
    (read("abs", 1e-9), read("rel", 1e-6))
}

fn differences(path: &str, want: &Value, got: &Value, tol: (f64, f64), out: &mut Vec<String>, id: &Value) {
    match (want, got) {
        (Value::Object(want), _) => {
            for (key, value) in want.iter().filter(|(key, _)| !key.starts_with("info_")) {
                // "max_allowed_..." is a bar: any smaller number passes.
                let bar = key.starts_with("max_allowed_");
                if bar && got[key].as_f64().zip(value.as_f64()).is_some_and(|(got, want)| got <= want) {
                    continue;
                }
                differences(&format!("{path}.{key}"), value, &got[key], tol, out, id);
            }
        }
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => {
            for (i, (a, b)) in want.iter().zip(got).enumerate() {
                differences(&format!("{path}[{i}]"), a, b, tol, out, id);
            }
        }
        (Value::Number(want), Value::Number(got)) => {
            let (want, got) = (want.as_f64().unwrap_or(f64::NAN), got.as_f64().unwrap_or(f64::NAN));
            let close = (got - want).abs() <= tol.0 + tol.1 * want.abs();
            if !close {
                out.push(format!("{id}{path}: want {want} got {got}"));
            }
        }
        _ if want == got => {}
        _ => out.push(format!("{id}{path}: want {want} got {got}")),
    }
}
