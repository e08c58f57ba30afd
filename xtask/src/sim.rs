//! `cargo xtask sim --seed N --steps M`: a random shop, looking for broken laws.

/// Steps from which an optimised build pays.
const LONG: u64 = 50_000;

/// Hands everything to the simulator, built as suits the length of the run.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let steps = arguments.iter().skip_while(|a| *a != "--steps").nth(1);
    let long = steps.and_then(|n| n.replace('_', "").parse().ok()).is_some_and(|n: u64| n >= LONG);
    let mut line = vec!["run", "--quiet", "--package", "perennial-sim"];
    line.extend(long.then_some("--release"));
    line.push("--");
    line.extend(arguments.iter().map(String::as_str));
    crate::run("cargo", &line)
}
