//! What the benchmarks share: a clock that other work on the machine disturbs little.

use std::{fs, time::Instant};

/// CPU seconds of this thread so far (Linux), or nothing where the system does not say.
fn cpu_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds * 1e-9)
}

/// Runs `job` `times` times; answers its last result and the median of its CPU seconds.
pub fn timed<T>(times: usize, mut job: impl FnMut() -> T) -> (T, f64) {
    let mut seconds = Vec::new();
    let mut result = None;
    for _ in 0..times.max(1) {
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        result = Some(job());
        let spent = cpu.zip(cpu_seconds()).map(|(before, after)| after - before);
        seconds.push(spent.unwrap_or_else(|| wall.elapsed().as_secs_f64()));
    }
    seconds.sort_by(f64::total_cmp);
    (result.expect("at least one run"), seconds[seconds.len() / 2])
}
