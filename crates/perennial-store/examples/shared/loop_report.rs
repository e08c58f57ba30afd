//! What both denominator loops share: arguments, pretended shoppers, and the report.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unused_self)]

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// Events that are acknowledged together.
pub const BATCH: i64 = 512;
/// Shoppers.
pub const CUSTOMERS: i64 = 100_000;
/// An event as received.
pub const PAYLOAD: [u8; 403] = [b'e'; 403];

/// How a loop was asked to run.
pub struct Run {
    pub events: i64,
    name: &'static str,
    folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Run {
    /// Reads `[EVENTS] [FOLDER]`.
    pub fn from_args(name: &'static str) -> Result<Self, Box<dyn std::error::Error>> {
        let mut args = std::env::args().skip(1);
        let events = args.next().map_or(Ok(200_000), |text| text.parse())?;
        let (folder, temporary) = if let Some(folder) = args.next() {
            (PathBuf::from(folder), None)
        } else {
            let dir = tempfile::tempdir()?;
            (dir.path().to_path_buf(), Some(dir))
        };
        std::fs::create_dir_all(&folder)?;
        Ok(Self { events, name, folder, _temporary: temporary })
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A shopper, spread evenly.
    pub fn customer(&self, seq: i64) -> i64 {
        i64::try_from(mix(seq) % CUSTOMERS.unsigned_abs()).unwrap_or(0)
    }

    /// A message id as senders make them: random.
    pub fn message(&self, seq: i64) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&mix(seq).to_le_bytes());
        id[8..].copy_from_slice(&mix(!seq).to_le_bytes());
        id
    }

    pub fn start(&self) -> Timer {
        Timer { name: self.name, started: Instant::now(), written: written_bytes(), batches: Vec::new() }
    }

    /// Copies the write-ahead log on a thread of its own, as we do.
    pub fn copier(&self, file: &str) -> Result<Copier, rusqlite::Error> {
        let db = Connection::open(self.file(file))?;
        db.busy_timeout(Duration::from_secs(30))?;
        let (orders, inbox) = sync_channel::<()>(1);
        let thread = std::thread::spawn(move || {
            while inbox.recv().is_ok() {
                let _ = db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            }
        });
        Ok(Copier { orders: Some(orders), thread: Some(thread), rows: std::cell::Cell::new(0) })
    }
}

/// Copies the log now and then.
pub struct Copier {
    orders: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    rows: std::cell::Cell<i64>,
}

impl Copier {
    pub fn wrote(&self, rows: i64) {
        self.rows.set(self.rows.get() + rows);
        if self.rows.get() >= 8_192
            && let Some(orders) = &self.orders
            && orders.try_send(()).is_ok()
        {
            self.rows.set(0);
        }
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Measures batches and prints one line.
pub struct Timer {
    name: &'static str,
    started: Instant,
    written: u64,
    batches: Vec<Duration>,
}

impl Timer {
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    pub fn batch(&mut self, began: Instant) {
        self.batches.push(began.elapsed());
    }

    /// Prints a line for people that is also read by `cargo xtask bench`: `key=value` pairs.
    #[expect(clippy::cast_precision_loss, reason = "a report")]
    pub fn report(mut self, events: i64) {
        let seconds = self.started.elapsed().as_secs_f64();
        let written = written_bytes().saturating_sub(self.written);
        self.batches.sort_unstable();
        let at = |share: f64| {
            let last = self.batches.len().saturating_sub(1);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
            let index = (last as f64 * share) as usize;
            self.batches.get(index).map_or(0.0, |d| d.as_secs_f64() * 1e3)
        };
        println!(
            "loop={} events={events} events_per_second={:.0} written_bytes_per_event={:.0} batch_p50_ms={:.2} batch_p99_ms={:.2} batch_max_ms={:.2}",
            self.name,
            events as f64 / seconds,
            written as f64 / events as f64,
            at(0.5),
            at(0.99),
            at(1.0),
        );
    }
}

/// Bytes that this process sent to the disk, where the system counts them; 0 elsewhere.
pub fn written_bytes() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/io") else { return 0 };
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

/// Numbers that look random (splitmix64).
fn mix(n: i64) -> u64 {
    let mut z = n.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
