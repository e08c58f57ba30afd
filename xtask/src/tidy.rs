//! Tidiness is a test: what the architecture promises, read off the sources.

use std::fs;
use std::path::{Path, PathBuf};

/// Who may depend on whom. An arrow that is not here is a finding.
const ARROWS: [(&str, &[&str]); 5] = [
    ("perennial-core", &[]),
    ("perennial-store", &["perennial-core"]),
    ("perennial-learn", &["perennial-core"]),
    ("perennial", &["perennial-core", "perennial-store", "perennial-learn"]),
    ("perennial-sim", &["perennial-core", "perennial-store", "perennial"]),
];

/// What the core is built from: parsers, calendars, encodings and hashes, whose results depend on what they
/// are given and on nothing else.
const CORE_USES: [&str; 12] = [
    "cel",
    "idna",
    "jiff",
    "num-bigint",
    "postcard",
    "rust_decimal",
    "schemars",
    "serde",
    "serde-saphyr",
    "serde_json",
    "siphasher",
    "strsim",
];

/// What the core must not know: clocks, entropy, runtimes, files, sockets, unordered maps. `::now` is
/// everybody's: the standard library's and that of calendars, which the core has for other things.
const FORBIDDEN_IN_CORE: [&str; 10] =
    ["::now", "getrandom", "rand::", "rand_", "tokio", "std::fs", "std::net", "std::thread", "HashMap", "HashSet"];

/// Where core knows floating point, and what for. Points, money and whatever else is decided are integers and
/// decimals.
const FLOATS_IN_CORE: [(&str, &str); 4] = [
    ("octets.rs", "carries bytes to the encoder in its largest primitive, as bits"),
    ("value.rs", "writes decimals of few digits as JSON's one kind of number"),
    ("program/document.rs", "is told of YAML's numbers so by the parser"),
    ("program/shape.rs", "compares with the bounds of a JSON schema, to explain"),
];

/// No function is longer than this; the ratchet only goes down. Tests may hold long tables.
const LONGEST_FUNCTION: usize = 70;

/// Checks everything; the error lists all findings.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let mut findings = Vec::new();
    for (name, allowed) in ARROWS {
        let manifest = root.join("crates").join(name).join("Cargo.toml");
        findings.extend(arrows(name, allowed, &read(&manifest)?));
    }
    findings.extend(not_for_core(&read(&root.join("crates/perennial-core/Cargo.toml"))?));
    let argued = read(&root.join("docs/dependencies.md"))?;
    findings.extend(not_argued_for(&read(&root.join("Cargo.toml"))?, &argued));
    for file in rust_files(&root.join("crates"))?.into_iter().chain(rust_files(&root.join("xtask"))?) {
        let source = read(&file)?;
        let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        if shown.starts_with("crates/perennial-core/src") {
            findings.extend(impurities(&shown, &source));
        }
        if !shown.contains("/tests/") {
            findings.extend(long_functions(&shown, &source));
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(format!("not tidy:\n  {}", findings.join("\n  "))) }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Dependencies of the built crate on others of ours, tests excepted.
fn arrows(name: &str, allowed: &[&str], manifest: &str) -> Vec<String> {
    let ours = dependencies(manifest).into_iter().filter(|d| d.starts_with("perennial"));
    let wrong = ours.filter(|d| *d != name && !allowed.contains(d));
    wrong.map(|d| format!("{name} must not depend on {d}")).collect()
}

/// Dependencies of the core that are not on its list, tests excepted.
fn not_for_core(manifest: &str) -> Vec<String> {
    let others = dependencies(manifest).into_iter().filter(|name| !CORE_USES.contains(name));
    let why = "what follows from an event may depend on the event alone, so what core uses is on a list (CORE_USES): \
               add what knows no clock, randomness, files or threads, and keep the rest in another crate";
    others.map(|name| format!("perennial-core must not depend on {name}; {why}")).collect()
}

/// Names that a manifest depends on to build its crate, in lines (`serde.workspace = true`) or in sections
/// of their own (`[dependencies.serde]`), for any target; of one that has another name here, both.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let (mut is_listing, mut is_built) = (false, false);
    for line in manifest.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.split(']').next().unwrap_or_default();
            is_built = section.contains("dependencies") && !section.contains("dev-dependencies");
            is_listing = is_built && section.ends_with("dependencies");
            let single = section.split_once("dependencies.").filter(|(kind, _)| !kind.ends_with("dev-"));
            names.extend(single.map(|(_, name)| name));
        } else if is_listing {
            names.extend(line.split(['.', ' ', '=']).next().filter(|name| !name.is_empty()));
        }
        let renamed = line.split_once("package = \"").filter(|_| is_built);
        names.extend(renamed.and_then(|(_, name)| name.split('"').next()));
    }
    names
}

/// Dependencies of the workspace that no line of the page argues for.
fn not_argued_for(manifest: &str, page: &str) -> Vec<String> {
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    let others = names.filter(|name| !name.starts_with("perennial") && !name.starts_with('#'));
    let missing = others.filter(|name| !page.contains(&format!("`{name}`")));
    missing.map(|name| format!("docs/dependencies.md does not say why {name} earned its place")).collect()
}

fn impurities(file: &str, source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    let mut findings = Vec::new();
    for (at, line) in lines {
        for word in FORBIDDEN_IN_CORE.iter().filter(|word| mentions(line, word)) {
            findings.push(format!("{file}:{}: core must not use {word}", at + 1));
        }
        let is_argued = FLOATS_IN_CORE.iter().any(|(here, _)| file.ends_with(&format!("/src/{here}")));
        if !is_argued && ["f32", "f64"].iter().any(|float| is_word(line, float)) {
            findings.push(format!("{file}:{}: core decides nothing by floating point (FLOATS_IN_CORE)", at + 1));
        }
    }
    findings
}

/// Whether a line has this as a word of its own, or at the end of a number.
fn is_word(line: &str, word: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        !after.starts_with(goes_on) && !before.ends_with(|c: char| goes_on(c) && !c.is_ascii_digit())
    })
}

/// Whether a word stands in a line; a crate's name also at its beginning, as `brand_` is no `rand_`.
fn mentions(line: &str, word: &str) -> bool {
    let is_crate = word.starts_with(|c: char| c.is_ascii_lowercase());
    let goes_on = |before: &str| before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| !(is_crate && goes_on(&line[..at])))
}

/// A function ends at the first line that closes its own indentation.
fn long_functions(file: &str, source: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    for (at, line) in source.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match open {
            None if starts_function(line) => open = Some((at, indent)),
            Some((start, depth)) if indent == depth && line.trim_start().starts_with('}') => {
                if at - start > LONGEST_FUNCTION {
                    findings.push(format!("{file}:{}: a function of {} lines", start + 1, at - start));
                }
                open = None;
            }
            Some((_, depth)) if indent == depth && line.trim_end().ends_with(';') => open = None,
            _ => {}
        }
    }
    findings
}

fn starts_function(line: &str) -> bool {
    let mut words =
        line.split_whitespace().skip_while(|w| w.starts_with("pub") || ["const", "async", "unsafe"].contains(w));
    words.next() == Some("fn") && !line.trim_end().ends_with('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        assert_eq!(check(&crate::root()), Ok(()));
    }

    #[test]
    fn an_arrow_the_wrong_way_is_found() {
        let manifest =
            "[dependencies]\nperennial-store.workspace = true\n[dev-dependencies]\nperennial.workspace = true\n";
        assert_eq!(arrows("perennial-core", &[], manifest), ["perennial-core must not depend on perennial-store"]);
    }

    #[test]
    fn an_arrow_behind_the_tests_or_under_another_name_is_found() {
        for manifest in [
            "[dev-dependencies]\nproptest = \"1\"\n\n[target.'cfg(unix)'.dependencies]\nperennial-store.workspace = true\n",
            "[dev-dependencies]\nproptest = \"1\"\n\n[dependencies.perennial-store]\nworkspace = true\n",
            "[dependencies]\nstore = { package = \"perennial-store\", path = \"../perennial-store\" }\n",
            "[dependencies.store]\npackage = \"perennial-store\"\n",
        ] {
            let found = arrows("perennial-core", &[], manifest);
            assert_eq!(found, ["perennial-core must not depend on perennial-store"], "{manifest}");
        }
        assert_eq!(
            arrows("perennial-core", &[], "[dev-dependencies]\ns = { package = \"perennial-store\" }\n"),
            [""; 0]
        );
    }

    #[test]
    fn floating_point_in_core_is_found() {
        for code in ["let share: f64 = 0.5;", "let n = points as f32;", "let half = 1f64 / 2f64;"] {
            assert_eq!(impurities("crates/perennial-core/src/ledger.rs", code).len(), 1, "{code}");
            assert!(impurities("crates/perennial-core/src/octets.rs", code).is_empty(), "it says why");
        }
        assert!(impurities("crates/perennial-core/src/ledger.rs", "fn visit_f64_or(leaf64: u8)").is_empty());
    }

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let manifest = "[workspace.dependencies]\nserde = \"1\"\nleft-pad = \"1\"\n\n[profile.dev]\ndebug = 1\n";
        let findings = not_argued_for(manifest, "| `serde` | why |");
        assert_eq!(findings, ["docs/dependencies.md does not say why left-pad earned its place"]);
    }

    #[test]
    fn a_clock_in_core_is_found() {
        assert_eq!(impurities("x.rs", "let t = Instant::now();\n// Instant::now is fine here\n").len(), 1);
        for impure in ["jiff::Zoned::now()", "Timestamp::now().in_tz(zone)", "at.unwrap_or_else(Timestamp::now)"] {
            assert_eq!(impurities("x.rs", impure), ["x.rs:1: core must not use ::now"], "{impure}");
        }
        assert!(impurities("x.rs", "let now = scope.now();").is_empty(), "an instant that was handed in");
    }

    #[test]
    fn dice_and_a_runtime_in_core_are_found() {
        for impure in
            ["use rand::Rng;", "let n = rand_core::next();", "tokio::spawn(fold);", "let m: AHashMap<u8, u8>;"]
        {
            assert_eq!(impurities("x.rs", impure).len(), 1, "{impure}");
        }
        assert!(impurities("x.rs", "let brand_name = operand::of(product.brand);").is_empty());
    }

    #[test]
    fn a_dependency_that_core_may_not_have_is_found() {
        let manifest = "[dependencies]\nserde.workspace = true\n# rand = \"1\"\nrand = \"1\"\n\n\
            [dependencies.tokio]\nversion = \"1\"\n\n[target.'cfg(unix)'.dependencies]\nrustix = { version = \"1\" }\n\n\
            [dev-dependencies]\nproptest.workspace = true\n\n[dev-dependencies.mimalloc]\nversion = \"1\"\n\n\
            [build-dependencies]\ncc = \"1\"\n";
        assert_eq!(dependencies(manifest), ["serde", "rand", "tokio", "rustix", "cc"]);
        let findings = not_for_core(manifest);
        assert_eq!(findings.len(), 4);
        assert!(findings[0].starts_with("perennial-core must not depend on rand; what follows from an event"));
    }

    #[test]
    fn a_long_function_is_found() {
        let long = format!("fn long() {{\n{}}}\n", "    work();\n".repeat(80));
        assert_eq!(long_functions("x.rs", &long).len(), 1);
        assert!(long_functions("x.rs", "fn short() {\n    work();\n}\n").is_empty());
    }
}
