//! `cargo xtask crash --kills N`: the server killed under load, again and again.

/// How often it is killed when nothing is said.
const KILLS: u32 = 200;

/// Runs the crash test with so many rounds, in an optimised build: a server that starts faster takes
/// more load between two kills.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let kills = match arguments {
        [] => KILLS,
        [name, n] if name == "--kills" => n.parse().map_err(|_| format!("--kills: '{n}' is not a whole number"))?,
        _ => return Err("usage: cargo xtask crash [--kills N]".into()),
    };
    let test = ["test", "--quiet", "--package", "perennial", "--test", "it", "--release", "--"];
    let only = ["--exact", "crash::what_was_acknowledged_survives_every_kill", "--nocapture"];
    let status = crate::command("cargo")
        .args(test.iter().chain(&only))
        .env("PERENNIAL_CRASH_ROUNDS", kills.to_string())
        .current_dir(crate::root())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the crash test failed: {status}")),
        Err(error) => Err(format!("cargo could not be started: {error}")),
    }
}
