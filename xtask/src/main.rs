//! Every repository chore, in Rust: `cargo xtask <chore>`.

mod bench;
mod browser;
mod crash;
mod demo;
mod fuzz;
mod outside;
mod sim;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const CHORES: &str = "chores:
  demo    a shop's year through EcoExplorers Rewards, served on this machine
  browser the first page walked through in a browser, where there is one
  test    everything that proves the project: tidiness, tests of all crates, scenarios, clients, the browser
  lint    formatting and clippy, warnings as errors
  bench   the goals of speed and size as one table; --quick for one small round
  sim     a random shop, looking for broken laws: --seed N --steps M
  crash   the server killed under load: --kills N (200 unless told)
  fuzz    parsers fed with what nobody would write: --target T --seconds N (each target a minute unless told)
  tidy    crate arrows, no clock in core, function length";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("demo") => demo::run(&root(), arguments.get(1..).unwrap_or_default()),
        Some("browser") => browser::walk(&root()),
        Some("test") => test(),
        Some("lint") => lint(),
        Some("bench") => bench::run(&root(), arguments.get(1..).unwrap_or_default()),
        Some("sim") => sim::run(arguments.get(1..).unwrap_or_default()),
        Some("crash") => crash::run(arguments.get(1..).unwrap_or_default()),
        Some("fuzz") => fuzz::run(&root(), arguments.get(1..).unwrap_or_default()),
        Some("tidy") => tidy::check(&root()),
        _ => Err(CHORES.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root, wherever the chore was called.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// A program as whoever called the chore would start it: what the cargo that runs the chore says of this crate would
/// be news to another cargo's build scripts, and each would build again what the other has built.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    let said = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_str().is_some_and(is_of_a_crate));
    for name in said {
        command.env_remove(name);
    }
    command
}

/// Whether cargo sets a variable for the crate it runs; the others of its name are its user's.
fn is_of_a_crate(variable: &str) -> bool {
    ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|named| variable.starts_with(named))
        || ["CARGO", "CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"].contains(&variable)
}

/// Runs a program in the repository's root; a failure names the command.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    run_with(program, arguments, &[])
}

fn run_with(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    let line = format!("{program} {}", arguments.join(" "));
    eprintln!("$ {line}");
    let mut command = command(program);
    let status = command.args(arguments).envs(environment.iter().copied()).current_dir(root()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` failed: {status}")),
        Err(error) => Err(format!("`{line}` could not be started: {error}")),
    }
}

/// Tidiness, all tests of all crates with real client libraries among them, and the page in a browser.
fn test() -> Result<(), String> {
    tidy::check(&root())?;
    run("cargo", &["fmt", "--all", "--check"])?;
    let nextest = command("cargo").args(["nextest", "--version"]).output().is_ok_and(|o| o.status.success());
    let what: &[&str] = if nextest { &["nextest", "run"] } else { &["test"] };
    // Examples are benchmarks: `lint` and `bench` build them, and they take as long as all the rest.
    let runner: &[&str] = &[what, &["--workspace", "--lib", "--bins", "--tests"]].concat();
    // Packages arrive while the compiler is at work.
    let clients = std::thread::scope(|scope| {
        let clients = scope.spawn(|| outside::clients(&root()));
        run("cargo", &[runner, &["--no-run"]].concat())?;
        clients.join().map_err(|_| "fetching the client libraries broke".to_owned())
    })?;
    match clients {
        Ok(()) => run_with("cargo", runner, &[("PERENNIAL_SDKS", "1")])?,
        Err(why) => {
            outside::skip("the test with unmodified client libraries", &why)?;
            run("cargo", runner)?;
        }
    }
    real_data(what)?;
    browser::walk(&root())
}

/// Tests that only real data can pass, by the variable that names its folder: they are ignored otherwise.
const REAL_DATA: [(&str, &[&str]); 2] = [
    (
        "PERENNIAL_SHARED",
        &[
            "online_retail_reconciles_to_the_published_counts",
            "complete_journey_reconciles_to_the_file",
            "every_case_of_the_reference_files_is_met",
            "intents_of_unseen_questions_are_told",
        ],
    ),
    ("PERENNIAL_COMPLETEJOURNEY", &["the_python_package_reconciles_to_its_own_sums"]),
];

/// Runs the tests with real data, as far as somebody has it.
fn real_data(what: &[&str]) -> Result<(), String> {
    for (variable, tests) in REAL_DATA {
        if std::env::var_os(variable).is_none_or(|folder| !Path::new(&folder).is_dir()) {
            println!("SKIPPED: {}: {variable} names no folder", tests.join(", "));
            continue;
        }
        let packages = ["-p", "perennial", "-p", "perennial-learn", "--tests"];
        let ignored: &[&str] =
            if what == ["nextest", "run"] { &["--run-ignored", "only", "--"] } else { &["--", "--ignored"] };
        run("cargo", &[what, &packages, ignored, tests].concat())?;
    }
    Ok(())
}

fn lint() -> Result<(), String> {
    run("cargo", &["fmt", "--all", "--check"])?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"])
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn a_cargo_that_a_chore_starts_builds_as_if_called_by_hand() {
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "cargo runs this test");
        let started = command("cargo");
        let taken: Vec<_> = started.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        assert!(taken.iter().any(|name| *name == "CARGO_MANIFEST_DIR"), "{taken:?}");
        assert!(taken.iter().any(|name| *name == "CARGO_PKG_NAME"), "{taken:?}");
        assert!(!taken.iter().any(|name| *name == "CARGO_HOME" || *name == "CARGO_INCREMENTAL"), "{taken:?}");
    }
}
