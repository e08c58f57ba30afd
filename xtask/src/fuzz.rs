//! `cargo xtask fuzz [--target T] [--seconds N]`: parsers fed with what nobody would write.
//!
//! Each target in `fuzz/fuzz_targets` runs for a while, from seeds taken out of the repository's own
//! examples and fixtures; they are copied each time and committed nowhere twice.
//! Absent on purpose: memory sanitizers. The program forbids unsafe code, and they double the build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run_with;

/// Seconds for each target, unless told otherwise.
const SECONDS: &str = "60";
/// Longest input, in bytes: two messages of the largest size.
const LONGEST: &str = "-max_len=65536";

/// Runs one target or each of them, and stops at the first find.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let told = |name: &str| arguments.iter().skip_while(|a| *a != name).nth(1).map(String::as_str);
    let seconds = told("--seconds").unwrap_or(SECONDS);
    seconds.parse::<u32>().map_err(|_| format!("--seconds {seconds}: give a whole number of seconds"))?;
    let all = targets(root)?;
    let chosen: Vec<&str> = match told("--target") {
        Some(one) if all.iter().any(|target| target == one) => vec![one],
        Some(one) => return Err(format!("no target {one}; there are {}", all.join(", "))),
        None => all.iter().map(String::as_str).collect(),
    };
    if !Command::new("cargo").args(["fuzz", "--version"]).output().is_ok_and(|out| out.status.success()) {
        return Err("there is no cargo fuzz; cargo install cargo-fuzz brings it. docs/fuzzing.md".into());
    }
    for target in chosen {
        let corpus = seed(root, target)?;
        let corpus = corpus.to_string_lossy();
        let (limit, name) = (format!("-max_total_time={seconds}"), target);
        let line = ["fuzz", "run", "--sanitizer", "none", name, &corpus, "--", &limit, LONGEST, "-timeout=20"];
        run_with("cargo", &line, &[compiler()]).map_err(|error| {
            format!("{error}\nWhat it found lies in fuzz/artifacts/{target}: make it a test, then mend the cause. docs/fuzzing.md")
        })?;
    }
    Ok(())
}

/// The nightly compiler, or the one at hand told to take the same options.
fn compiler() -> (&'static str, &'static str) {
    let listed = Command::new("rustup").args(["toolchain", "list"]).output();
    let nightly = listed.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("nightly"));
    if nightly { ("RUSTUP_TOOLCHAIN", "nightly") } else { ("RUSTC_BOOTSTRAP", "1") }
}

fn targets(root: &Path) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = files(&root.join("fuzz/fuzz_targets"), "rs")?
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Puts a target's seeds into its corpus, which is not committed.
fn seed(root: &Path, target: &str) -> Result<PathBuf, String> {
    let corpus = root.join("fuzz/corpus").join(target);
    fs::create_dir_all(&corpus).map_err(|e| format!("{}: {e}", corpus.display()))?;
    if target == "state" {
        customers(&corpus)?;
    }
    for (at, seed) in seeds(root, target)?.into_iter().enumerate() {
        fs::write(corpus.join(format!("seed-{at:03}")), seed).map_err(|e| e.to_string())?;
    }
    Ok(corpus)
}

fn seeds(root: &Path, target: &str) -> Result<Vec<Vec<u8>>, String> {
    let texts = |folder: &str| -> Result<Vec<String>, String> {
        let paths = files(&root.join(folder), if folder.ends_with("recorded") { "json" } else { "yaml" })?;
        paths.iter().map(|path| fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))).collect()
    };
    Ok(match target {
        "wire" => texts("crates/perennial/tests/it/recorded")?.iter().filter_map(|text| body(text)).collect(),
        "program" => {
            texts("programs")?.iter().flat_map(|text| [text.clone().into()].into_iter().chain(rules(text))).collect()
        }
        "scenario" => texts("scenarios")?.iter().map(|text| at_the_coffee_shop(text).into()).collect(),
        "import" => texts("imports")?.iter().map(|text| with_rows(text)).collect(),
        "journal" => journal(root)?,
        "rows" => rows(),
        "text" => TEXTS.lines().map(|line| line.as_bytes().to_vec()).collect(),
        _ => Vec::new(),
    })
}

const TEXTS: &str = "2026-03-01T09:00:00.5+02:00 Europe/Paris P1M\n12.345 EUR\n-0.5 JPY\nP1Y2M3DT4H5M6S\nemail:ana@example.com\n100 1 1 1";

/// The body of a recorded request, behind the byte that says it is a batch.
fn body(recorded: &str) -> Option<Vec<u8>> {
    let text = recorded.split_once("\"body\": \"")?.1.rsplit_once("\"\n")?.0;
    Some([&[7], text.replace("\\\"", "\"").replace("\\\\", "\\").as_bytes()].concat())
}

/// What a programme says of its segments, each as one expression.
fn rules(program: &str) -> Vec<Vec<u8>> {
    let quoted = program.lines().filter_map(|line| line.split('"').nth(1));
    quoted.map(|rule| rule.as_bytes().to_vec()).collect()
}

/// The same story with the one programme that the target knows.
fn at_the_coffee_shop(story: &str) -> String {
    let lines = story.lines().map(|line| if line.starts_with("program:") { "program: coffee.yaml" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// A mapping and a few rows of the shape that the generic one reads.
fn with_rows(mapping: &str) -> Vec<u8> {
    let rows = "order_id,ordered_at,customer_id,email,phone,birthday,sku,product_name,quantity,unit_price\n\
        A,2025-03-01T10:00:00Z,ana,ana@example.com,,01.02.1990,tea,Green tea,2,4.50\n\
        A,2025-03-01T10:00:00Z,ana,,,,cup,Cup,1,9.99\nB,02.03.2025 11:30,ben,,,,tea,Green tea,-1,4.50\n";
    format!("{mapping}\n---\n{rows}").into_bytes()
}

/// For each file and column one number, one text and some bytes.
fn rows() -> Vec<Vec<u8>> {
    let one = |file: u8, column: u8| vec![file, column, 1, 1, 7, column, 3, 1, b'x', column, 4, 2, 0, 255];
    (0..=1).flat_map(|file| (0..40).map(move |column| one(file, column))).collect()
}

/// Inputs and outcomes of the frozen fixture.
fn journal(root: &Path) -> Result<Vec<Vec<u8>>, String> {
    let path = root.join("crates/perennial-store/tests/it/fixtures/journal-v1.txt");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let unhex = |hex: &str| -> Vec<u8> {
        let pairs = (0..hex.len() / 2).filter_map(|at| hex.get(2 * at..2 * at + 2));
        pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
    };
    Ok(text.lines().flat_map(|line| line.split(' ').skip(5).map(unhex).collect::<Vec<_>>()).collect())
}

/// Customers of two shops of the simulation: one that is reckoned again, and one that does everything.
fn customers(corpus: &Path) -> Result<(), String> {
    let corpus = corpus.to_string_lossy();
    for seed in ["2", "3"] {
        let shop = ["--seed", seed, "--steps", "300", "--customers", &corpus];
        run_with("cargo", &[&["run", "--quiet", "--package", "perennial-sim", "--"], &shop[..]].concat(), &[])?;
    }
    Ok(())
}

/// Files below a folder that end so, in order.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, String> {
    let unreadable = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            found.extend(files(&path, ending)?);
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
