//! Measures the set of duplicates at its bound: memory, speed, and what a restart takes.
//!
//! Remembers as many messages as a week at ten million a day brings, and some more, so that the
//! oldest are dropped. `cargo run --release -p perennial-store --example duplicates_memory -- [MESSAGES] [FOLDER]`

use std::path::PathBuf;
use std::time::Instant;

use perennial_store::{Duplicates, Fingerprint, Seen, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let messages: u64 = args.next().map_or(Ok(80_000_000), |text| text.parse())?;
    let temporary = tempfile::tempdir()?;
    let folder = args.next().map_or_else(|| temporary.path().to_path_buf(), PathBuf::from);
    let before = resident_mib();
    let mut store = Store::open(&folder)?;
    let began = Instant::now();
    let worst = fill(&mut store.duplicates, messages)?;
    report("filled", &store.duplicates, began, messages);
    println!("worst_gather_ms={worst:.1} resident_mib_before={before}");
    ask("strangers", &store.duplicates, messages..messages + 1_000_000)?;
    ask("recent", &store.duplicates, messages - 100_000..messages)?;
    ask("a week old", &store.duplicates, messages - 70_000_000.min(messages)..messages - 69_990_000.min(messages - 1))?;
    let Store { duplicates, .. } = store;
    drop(duplicates);
    Ok(())
}

/// Remembers messages, saving every 20,000 as the writer's checkpoints would; the longest gathering
/// in milliseconds.
fn fill(set: &mut Duplicates, messages: u64) -> Result<f64, Box<dyn std::error::Error>> {
    let mut worst = 0.0_f64;
    for n in 0..messages {
        set.remember(message(n), n + 1);
        if n % 20_000 == 19_999 {
            let began = Instant::now();
            let checkpoint = set.checkpoint(0);
            worst = worst.max(began.elapsed().as_secs_f64() * 1e3);
            checkpoint.write()?;
        }
        if n % 10_000_000 == 9_999_999 {
            println!("messages={} counted_mib={} resident_mib={}", n + 1, set.memory_bytes() >> 20, resident_mib());
        }
    }
    Ok(worst)
}

fn ask(what: &str, set: &Duplicates, numbers: std::ops::Range<u64>) -> Result<(), Box<dyn std::error::Error>> {
    let began = Instant::now();
    let (mut seen, count) = (0_u64, numbers.end - numbers.start);
    for n in numbers {
        seen += u64::from(set.seen(message(n))? != Seen::No);
    }
    let nanos = began.elapsed().as_nanos() / u128::from(count.max(1));
    println!("asked={what:?} count={count} seen={seen} nanoseconds_each={nanos}");
    Ok(())
}

fn report(what: &str, set: &Duplicates, began: Instant, count: u64) {
    let nanos = began.elapsed().as_nanos() / u128::from(count.max(1));
    println!(
        "{what} messages={count} remembered={} counted_mib={} resident_mib={} nanoseconds_each={nanos}",
        set.len(),
        set.memory_bytes() >> 20,
        resident_mib()
    );
}

fn message(n: u64) -> Fingerprint {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Fingerprint { id: z ^ (z >> 31), body: 1 }
}

/// Memory of this process, where the system counts it; 0 elsewhere.
fn resident_mib() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|n| n.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
