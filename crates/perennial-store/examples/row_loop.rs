//! The other denominator: a row per everything, as loyalty systems are usually written.
//!
//! Per event: a unique index over the sender's random message id, an event row, two postings, the
//! balance updated in place and the profile row (1.5 kB) rewritten. Batches of 512, each on the disk
//! before the next.
//!
//! `cargo run --release -p perennial-store --example row_loop -- [EVENTS] [FOLDER]`

#[path = "shared/loop_report.rs"]
mod loop_report;

use loop_report::{BATCH, CUSTOMERS, PAYLOAD, Run};
use rusqlite::{Connection, params};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let run = Run::from_args("row")?;
    let mut db = Connection::open(run.file("row.db"))?;
    db.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-65536;
         CREATE TABLE events(seq INTEGER PRIMARY KEY, message BLOB UNIQUE, customer INTEGER, at INTEGER, body BLOB);
         CREATE TABLE postings(id INTEGER PRIMARY KEY, seq INTEGER, customer INTEGER, account INTEGER, amount INTEGER);
         CREATE TABLE balances(customer INTEGER PRIMARY KEY, points INTEGER);
         CREATE TABLE profiles(customer INTEGER PRIMARY KEY, body BLOB);",
    )?;
    fill(&mut db)?;
    let copier = run.copier("row.db")?;
    let mut timer = run.start();
    let mut seq = 0;
    while seq < run.events {
        let began = timer.now();
        let tx = db.transaction()?;
        for _ in 0..BATCH {
            seq += 1;
            write(&tx, &run, seq)?;
        }
        tx.commit()?;
        timer.batch(began);
        copier.wrote(BATCH);
    }
    timer.report(seq);
    Ok(())
}

fn fill(db: &mut Connection) -> rusqlite::Result<()> {
    let tx = db.transaction()?;
    {
        let mut balance = tx.prepare("INSERT INTO balances VALUES(?1, 0)")?;
        let mut profile = tx.prepare("INSERT INTO profiles VALUES(?1, ?2)")?;
        for customer in 0..CUSTOMERS {
            balance.execute([customer])?;
            profile.execute(params![customer, &[b'p'; 1_500][..]])?;
        }
    }
    tx.commit()
}

fn write(tx: &rusqlite::Transaction<'_>, run: &Run, seq: i64) -> rusqlite::Result<()> {
    let customer = run.customer(seq);
    let mut profile = [b'q'; 1_500];
    profile[..8].copy_from_slice(&seq.to_le_bytes());
    tx.prepare_cached("INSERT OR IGNORE INTO events VALUES(?1, ?2, ?3, ?4, ?5)")?.execute(params![
        seq,
        run.message(seq),
        customer,
        seq,
        &PAYLOAD[..]
    ])?;
    let mut posting =
        tx.prepare_cached("INSERT INTO postings(seq, customer, account, amount) VALUES(?1, ?2, ?3, ?4)")?;
    posting.execute(params![seq, customer, 1, -7])?;
    posting.execute(params![seq, customer, 2, 7])?;
    tx.prepare_cached("UPDATE balances SET points = points + 7 WHERE customer = ?1")?.execute([customer])?;
    tx.prepare_cached("UPDATE profiles SET body = ?2 WHERE customer = ?1")?.execute(params![customer, &profile[..]])?;
    Ok(())
}
