//! Scenario files: whatever is written in one, it is played to a verdict, and twice to the same.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use perennial::scenario;

const COFFEE: &str = include_str!("../../programs/coffee.yaml");

/// A folder in memory, where the file is written over and over.
static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.expect("a folder for scenarios");
    std::fs::write(folder.path().join("coffee.yaml"), COFFEE).expect("a programme to play");
    folder
});

fuzz_target!(|text: &str| {
    let file = FOLDER.path().join("story.yaml");
    std::fs::write(&file, text).expect("a scenario to play");
    let verdict = scenario::run(&file);
    assert_eq!(verdict.to_string(), scenario::run(&file).to_string(), "the same story ends the same");
});
