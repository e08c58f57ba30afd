//! What the benchmarks share: a clock that other work on the machine disturbs little.

use std::{fs, time::Instant};

/// CPU seconds of this thread so far (Linux), or nothing where the system does not say.
fn cpu_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds * 1e-9)
}

/// Runs `job` `times` times or for half a second, whichever is longer (the clock ticks every few
/// milliseconds); answers its last result and the mean of its CPU seconds.
pub(crate) fn timed<T>(times: u32, mut job: impl FnMut() -> T) -> (T, f64) {
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    let mut runs = 0;
    loop {
        let result = job();
        runs += 1;
        let spent = cpu.zip(cpu_seconds()).map(|(before, after)| after - before);
        let spent = spent.unwrap_or_else(|| wall.elapsed().as_secs_f64());
        if runs >= times && (spent > 0.5 || times == 1) {
            return (result, spent / f64::from(runs));
        }
    }
}
