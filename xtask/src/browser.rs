//! `cargo xtask browser`: walks the first page in a real browser, and asks axe about it.

use std::path::Path;
use std::process::Command;

use crate::outside;

/// Serves the simulated shop and walks its page.
pub(crate) fn walk(root: &Path) -> Result<(), String> {
    let scripts = root.join("crates/perennial/tests/browser");
    let tools = outside::node_packages(&scripts).and_then(|()| outside::browser());
    let browser = match tools {
        Ok(browser) => browser,
        Err(why) => return outside::skip("the walk through the page", &why),
    };
    crate::run("cargo", &["build", "--quiet", "--package", "perennial"])?;
    let (server, address) = crate::demo::open_anew(root)?;
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
