//! What some tests need from outside: real client libraries and a browser.
//!
//! Promise: what is there already is not fetched again, and every version is one that a lock file
//! names. Where something cannot be had, the caller is told why; on a machine of continuous
//! integration (`CI` is set, and not to nothing) that is a failure, so that nothing is skipped there in silence.
//! Absent on purpose: downloads of browsers by test tools. Chromium comes from the system's packages.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where browsers are found besides `CHROMIUM`.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// The client libraries of the shop's side, for Node and for Python.
pub(crate) fn clients(root: &Path) -> Result<(), String> {
    let folder = root.join("crates/perennial/tests/sdk");
    node_packages(&folder.join("node"))?;
    python_packages(&folder.join("python"))
}

/// A browser: named by `CHROMIUM`, on the path, or out of Debian's packages where we may install.
pub(crate) fn browser() -> Result<PathBuf, String> {
    let lacking = "no Chromium; install one, or name it in CHROMIUM";
    provide(installed_browser, is_root(), || install(&["chromium"]), lacking)
}

/// Python with a module of its installer, which Debian keeps apart from it: on the path, or out of
/// Debian's packages where we may install.
pub(crate) fn python(module: &str) -> Result<(), String> {
    let lacking = format!("python3 has no {module}; install python3-pip and python3-venv");
    let there = || has_module(module).then_some(());
    provide(there, is_root(), || install(&["python3", "python3-pip", "python3-venv"]), &lacking)
}

fn has_module(name: &str) -> bool {
    let asked = Command::new("python3").arg("-c").arg(format!("import {name}")).output();
    asked.is_ok_and(|answer| answer.status.success())
}

/// What is found, if need be after it was installed.
fn provide<T>(
    find: impl Fn() -> Option<T>,
    may_install: bool,
    install: impl FnOnce() -> Result<(), String>,
    lacking: &str,
) -> Result<T, String> {
    if let Some(found) = find() {
        return Ok(found);
    }
    if may_install {
        install().map_err(|why| format!("{lacking} ({why})"))?;
    }
    find().ok_or_else(|| lacking.into())
}

/// Out of Debian's packages.
fn install(packages: &[&str]) -> Result<(), String> {
    run("apt-get", &["update"], Path::new("/"))?;
    run("apt-get", &[&["install", "--yes", "--no-install-recommends"], packages].concat(), Path::new("/"))
}

/// Exactly what the lock file names; nothing when that is there already.
pub(crate) fn node_packages(folder: &Path) -> Result<(), String> {
    let made = std::fs::metadata(folder.join("node_modules/.package-lock.json")).and_then(|m| m.modified());
    let lock = std::fs::metadata(folder.join("package-lock.json")).and_then(|m| m.modified());
    if let (Ok(made), Ok(lock)) = (made, lock)
        && made >= lock
    {
        return Ok(());
    }
    run("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
}

fn python_packages(folder: &Path) -> Result<(), String> {
    let done = folder.join("venv/installed.lock");
    let lock = folder.join("requirements.lock");
    let wanted = std::fs::read(&lock).map_err(|e| format!("{}: {e}", lock.display()))?;
    if std::fs::read(&done).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    python("ensurepip")?; // Without it an environment has no pip.
    run("python3", &["-m", "venv", "venv"], folder)?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.lock"];
    run(&folder.join("venv/bin/python").display().to_string(), &install, folder)?;
    std::fs::write(&done, wanted).map_err(|e| format!("{}: {e}", done.display()))
}

/// What cannot be had is said; on a machine of continuous integration it is a failure.
pub(crate) fn skip(what: &str, why: &str) -> Result<(), String> {
    skip_unless(std::env::var_os("CI").is_some_and(|ci| !ci.is_empty()), what, why)
}

fn skip_unless(is_strict: bool, what: &str, why: &str) -> Result<(), String> {
    if is_strict {
        return Err(format!("{what} cannot run: {why}"));
    }
    println!("SKIPPED: {what}: {why}");
    Ok(())
}

fn installed_browser() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Some(named.into());
    }
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let all = BROWSERS.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.into_iter().find(|path| path.is_file())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}

/// Runs a program quietly; a failure brings the last thing that it said.
fn run(program: &str, arguments: &[&str], folder: &Path) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program} could not be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), said.lines().last().unwrap_or("failed without a word")))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn continuous_integration_skips_nothing() {
        let started = include_str!("../../.ci/run").lines().skip_while(|line| *line != "export CI=\"${CI-1}\"");
        assert_eq!(started.last(), Some("exec make test"), "CI is set before the tests run");
        assert_eq!(skip_unless(true, "the walk", "no Chromium"), Err("the walk cannot run: no Chromium".into()));
        assert_eq!(skip_unless(false, "the walk", "no Chromium"), Ok(()));
    }

    #[test]
    fn what_is_missing_is_installed_where_we_may_and_named_where_not() {
        let installed = Cell::new(false);
        let find = || installed.get().then_some("here");
        let install = || {
            installed.set(true);
            Ok(())
        };
        assert_eq!(provide(find, false, install, "no pip"), Err("no pip".into()));
        assert_eq!(provide(find, true, || Err("no network".into()), "no pip"), Err("no pip (no network)".into()));
        assert_eq!(provide(find, true, install, "no pip"), Ok("here"));
        let never = || -> Result<(), String> { panic!("it is there already") };
        assert_eq!(provide(find, true, never, "no pip"), Ok("here"));
    }

    #[test]
    fn a_python_without_a_module_is_noticed() {
        assert!(!has_module("no_such_module_of_anybody"));
    }
}
