//! Every repository chore, in Rust: `cargo xtask <chore>`.

mod bench;
mod browser;
mod demo;
mod sim;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const CHORES: &str = "chores:
  demo    a shop's year through EcoExplorers Rewards, served on this machine
  browser the first page walked through in a browser, where there is one
  test    everything that proves the project: tests of all crates, scenarios, tidiness
  lint    formatting and clippy, warnings as errors
  bench   the goals of speed and size as one table; --quick for one small round
  sim     a random shop, looking for broken laws: --seed N --steps M
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

/// Runs a program in the repository's root; a failure names the command.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let line = format!("{program} {}", arguments.join(" "));
    eprintln!("$ {line}");
    let status = Command::new(program).args(arguments).current_dir(root()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` failed: {status}")),
        Err(error) => Err(format!("`{line}` could not be started: {error}")),
    }
}

fn test() -> Result<(), String> {
    tidy::check(&root())?;
    let nextest = Command::new("cargo").args(["nextest", "--version"]).output().is_ok_and(|o| o.status.success());
    let runner: &[&str] = if nextest { &["nextest", "run", "--workspace"] } else { &["test", "--workspace"] };
    run("cargo", runner)
}

fn lint() -> Result<(), String> {
    run("cargo", &["fmt", "--all", "--check"])?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"])
}
