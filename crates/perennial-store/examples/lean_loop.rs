//! The denominator of our speed: what a careful programmer writes by hand for one shop.
//!
//! One event row and two posting rows, duplicate keys in the order of arrival, batches of 512, every
//! batch on the disk before the next. Whether a message is new, balances and profiles (1.5 kB) are in
//! memory. Nothing else: no rules, no identity, no encryption.
//!
//! `cargo run --release -p perennial-store --example lean_loop -- [EVENTS] [FOLDER]`

#[path = "shared/loop_report.rs"]
mod loop_report;

use std::collections::{HashMap, HashSet};

use loop_report::{BATCH, CUSTOMERS, PAYLOAD, Run};
use rusqlite::{Connection, params};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let run = Run::from_args("lean")?;
    let mut db = Connection::open(run.file("lean.db"))?;
    db.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;
         CREATE TABLE events(seq INTEGER PRIMARY KEY, message BLOB, customer INTEGER, at INTEGER, body BLOB);
         CREATE TABLE postings(id INTEGER PRIMARY KEY, seq INTEGER, customer INTEGER, account INTEGER, amount INTEGER);",
    )?;
    let copier = run.copier("lean.db")?;
    let mut seen = HashSet::new();
    let mut customers: HashMap<i64, (i64, [u8; 1_500])> = (0..CUSTOMERS).map(|n| (n, (0, [b'p'; 1_500]))).collect();
    let mut timer = run.start();
    let mut seq = 0;
    while seq < run.events {
        let began = timer.now();
        let tx = db.transaction()?;
        {
            let mut event = tx.prepare_cached("INSERT INTO events VALUES(?1, ?2, ?3, ?4, ?5)")?;
            let mut posting =
                tx.prepare_cached("INSERT INTO postings(seq, customer, account, amount) VALUES(?1, ?2, ?3, ?4)")?;
            for _ in 0..BATCH {
                seq += 1;
                let customer = run.customer(seq);
                let message = run.message(seq);
                if !seen.insert(message) {
                    continue;
                }
                event.execute(params![seq, message, customer, seq, &PAYLOAD[..]])?;
                posting.execute(params![seq, customer, 1, -7])?;
                posting.execute(params![seq, customer, 2, 7])?;
                if let Some((points, profile)) = customers.get_mut(&customer) {
                    *points += 7;
                    profile[..8].copy_from_slice(&seq.to_le_bytes());
                }
            }
        }
        tx.commit()?;
        timer.batch(began);
        copier.wrote(BATCH);
    }
    timer.report(seq);
    Ok(())
}
