//! Small helpers shared by the measuring programs.

use std::time::Instant;

/// CPU seconds that this process has used so far, where the system tells (Linux); else wall time.
pub(crate) fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Option<f64> = after_name.split_whitespace().nth(11).and_then(|t| t.parse().ok());
    ticks.map_or_else(|| START.with(|s| s.elapsed().as_secs_f64()), |t| t / 100.0)
}

thread_local! { static START: Instant = Instant::now(); }

/// Runs a task and prints its CPU seconds.
pub(crate) fn timed<T>(name: &str, task: impl FnOnce() -> T) -> (T, f64) {
    let before = cpu_seconds();
    let out = task();
    let spent = cpu_seconds() - before;
    println!("{name}: {spent:.3} CPU s");
    (out, spent)
}
