//! `kill -9` while appending: what was acknowledged is there, whole batches, in order.
//! `PERENNIAL_CRASH_ROUNDS` sets how often.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use perennial_store::Store;

use crate::suite::entry;

const FOLDER: &str = "PERENNIAL_CRASH_FOLDER";
const BATCH: u64 = 7;

/// Not a test of its own: the process that [`what_was_acknowledged_survives_a_kill`] kills.
#[test]
fn the_victim() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let mut store = Store::open(folder.as_ref()).unwrap();
    loop {
        let next = store.journal.last_seq() + 1;
        let batch: Vec<_> = (next..next + BATCH).map(|seq| entry(seq, u8::try_from(seq % 200).unwrap())).collect();
        store.journal.append(&batch).unwrap();
        println!("acknowledged {}", store.journal.last_seq());
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    let rounds = std::env::var("PERENNIAL_CRASH_ROUNDS").map_or(8, |text| text.parse().unwrap());
    for round in 0..rounds {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["crash::the_victim", "--exact", "--nocapture", "--test-threads=1"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let numbers = lines.map_while(Result::ok).filter_map(|line| line.split("acknowledged ").nth(1)?.parse().ok());
        let mut numbers = numbers.take(3 + round % 8 * 5);
        acknowledged = numbers.by_ref().last().unwrap_or(acknowledged);
        victim.kill().unwrap();
        victim.wait().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let last = store.journal.last_seq();
        assert!(last >= acknowledged, "{acknowledged} were acknowledged, {last} are there");
        assert_eq!(last % BATCH, 0, "half a batch is there");
        let count = store.journal.reader().iter(1).map(Result::unwrap).filter(|e| e.input.is_some()).count();
        assert_eq!(count as u64, last);
    }
    assert!(acknowledged > 0);
}
