//! Programmes and their expressions: compiled, or refused with all problems; as YAML and as JSON alike.
//!
//! What does not look like a programme is tried as the expression of a segment.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perennial_core::program::{Program, compile, compile_value, parse_value};

const COFFEE: &str = include_str!("../../programs/coffee.yaml");

fuzz_target!(|text: &str| {
    if text.contains("perennial") {
        compiles_alike(text);
    } else {
        let expression = serde_json::to_string(text).expect("text is text");
        compiles_alike(&COFFEE.replace("orders >= 10", &expression));
    }
});

fn compiles_alike(text: &str) {
    let compiled = compile(text);
    if let Err(problems) = &compiled {
        assert!(!problems.is_empty(), "a refusal says why");
        assert!(problems.iter().all(|problem| !problem.message.is_empty()));
    }
    let Ok(document) = parse_value(text) else {
        assert!(compiled.is_err(), "what is no document is no programme");
        return;
    };
    let json = document.to_string();
    let by_value = shown(compile_value(document).ok());
    assert_eq!(shown(compiled.ok()), by_value, "the file and the API take the same programmes");
    assert_eq!(shown(compile(&json).ok()), by_value, "YAML and JSON mean the same");
}

fn shown(program: Option<Program>) -> Option<String> {
    program.map(|program| format!("{program:?}"))
}
