//! `cargo xtask browser`: walks the first page in a real browser, and asks axe about it.
//!
//! Absent on purpose: downloads of browsers. Where there is none, the walk says so and is skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where browsers are found besides `CHROMIUM`.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Serves the simulated shop and walks its page.
pub(crate) fn walk(root: &Path) -> Result<(), String> {
    let Some(browser) = browser() else {
        println!("skipped: no Chromium here; install one (apt-get install chromium) or name it in CHROMIUM");
        return Ok(());
    };
    let scripts = root.join("crates/perennial/tests/browser");
    if !installed(&scripts) {
        println!("skipped: node's packages could not be installed in {}", scripts.display());
        return Ok(());
    }
    crate::run("cargo", &["build", "--quiet", "--package", "perennial"])?;
    let (server, address) = crate::demo::open(root)?;
    let shots = root.join("target/browser");
    let walked = Command::new("node")
        .arg("walk.mjs")
        .env("CHROMIUM", &browser)
        .env("PAGE", &address)
        .env("SHOTS", &shots)
        .current_dir(&scripts)
        .status();
    server.end()?;
    match walked {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the walk failed: {status}")),
        Err(error) => Err(format!("node: {error}")),
    }
}

fn browser() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Some(named.into());
    }
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let all = BROWSERS.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.into_iter().find(|path| path.is_file())
}

/// Exactly what the lock file names; nothing when it is there already.
fn installed(scripts: &Path) -> bool {
    scripts.join("node_modules/playwright-core").is_dir()
        || Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(scripts)
            .status()
            .is_ok_and(|status| status.success())
}
