//! The whole store under load, without rules: sealed inputs, keys of new customers, duplicates,
//! and checkpoints from a second thread. Compare with `lean_loop` and `row_loop`.
//!
//! `cargo run --release -p perennial-store --example store_loop -- [EVENTS] [FOLDER]`

#[path = "shared/loop_report.rs"]
mod loop_report;

use std::collections::BTreeSet;
use std::sync::mpsc::sync_channel;

use loop_report::{BATCH, PAYLOAD, Run};
use perennial_core::event::{Body, Event, Origin};
use perennial_core::fact::{Account, Cause, Fact, LotOpened, Posting, Unit};
use perennial_core::id::{CustomerId, Identifier, LotId, OrderRef};
use perennial_core::input::{Entry, Input};
use perennial_core::packed::Packed;
use perennial_core::time::Timestamp;
use perennial_core::value::{Properties, Value};
use perennial_store::{Checkpoint, CustomerRow, Fingerprint, Parts, Seen, Store};

/// Events between two checkpoints.
const CHECKPOINT: i64 = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let run = Run::from_args("store")?;
    let Store { mut journal, state, mut duplicates, keys, .. } = Store::open(&run.file("store"))?;
    let secret = keys.secret("identifiers")?;
    let (send, inbox) = sync_channel::<(Checkpoint, perennial_store::DuplicatesCheckpoint)>(1);
    let writer = std::thread::spawn(move || {
        for (checkpoint, duplicates) in inbox {
            state.checkpoint(checkpoint).and_then(|()| duplicates.write()).expect("a checkpoint is written");
        }
    });
    let mut timer = run.start();
    let (mut seq, mut dirty) = (0, Dirty::default());
    while seq < run.events {
        let began = timer.now();
        let mut batch = Vec::with_capacity(512);
        for _ in 0..BATCH {
            seq += 1;
            let id = secret.digest(&[&run.message(seq)]);
            let message = Fingerprint { id: u64::from_le_bytes(id[..8].try_into()?), body: 0 };
            assert_eq!(duplicates.seen(message)?, Seen::No);
            duplicates.remember(message, seq.unsigned_abs());
            batch.push(entry(seq.unsigned_abs(), CustomerId(secret.digest(&[&run.customer(seq).to_le_bytes()]))));
        }
        journal.append(&batch)?;
        dirty.note(&batch);
        if seq / CHECKPOINT != (seq - BATCH) / CHECKPOINT {
            let position = seq.unsigned_abs();
            send.send((dirty.take(position), duplicates.checkpoint(position)))?;
        }
        timer.batch(began);
    }
    drop(send);
    writer.join().map_err(|_| "the checkpoint thread failed")?;
    timer.report(seq);
    Ok(())
}

/// What the next checkpoint will write; a customer that changed ten times is written once.
#[derive(Default)]
struct Dirty {
    customers: BTreeSet<CustomerId>,
    rest: Checkpoint,
}

impl Dirty {
    fn note(&mut self, batch: &[Entry]) {
        for entry in batch {
            let Some(id) = entry.customer else { continue };
            self.customers.insert(id);
            self.rest.timeline.push((id, entry.seq));
            self.rest.orders.push((OrderRef(order(entry.seq)), id));
        }
    }

    fn take(&mut self, position: u64) -> Checkpoint {
        let Self { customers, rest } = std::mem::take(self);
        let row = |id| CustomerRow { id, next_due: None, body: vec![b'c'; 513], parts: Parts::default() };
        Checkpoint { position, customers: customers.into_iter().map(row).collect(), ..rest }
    }
}

fn order(seq: u64) -> [u8; 16] {
    let mixed = u128::from(seq).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (mixed ^ (mixed >> 61)).to_le_bytes()
}

fn entry(seq: u64, customer: CustomerId) -> Entry {
    let at = Timestamp::from_millis(1_767_258_000_000);
    let text = String::from_utf8_lossy(&PAYLOAD[..300]).into_owned();
    let event = Event {
        message_id: format!("message-{seq}").into(),
        source: "shop".into(),
        at,
        original_at: None,
        received_at: at,
        origin: Origin::Live,
        ids: vec![Identifier::of(customer)],
        traits: Properties::default(),
        body: Body::Track { name: "Tea Tasted".into() },
        properties: Properties(vec![("said".into(), Value::Text(text.into()))]).into(),
        consent: Vec::new(),
        opted_out: false,
        context: Packed::default(),
    };
    Entry {
        seq,
        recorded_at: at,
        customer: Some(customer),
        root: Some(customer),
        cause: None,
        input: Some(Input::Event(Box::new(event))),
        outcome: outcome(customer, at),
    }
}

fn outcome(owner: CustomerId, at: Timestamp) -> Vec<Fact> {
    let lot = LotId { owner, number: 1 };
    let posting =
        |from, to, cause| Fact::Posted(Posting { unit: Unit::Points, from, to, amount: 7, lot: Some(lot), cause });
    let opened = LotOpened {
        lot,
        order: None,
        earned_at: at,
        available_at: at,
        expires_at: at,
        rule: "order".into(),
        version: 1,
    };
    vec![
        Fact::LotOpened(opened),
        posting(Account::Issued, Account::Pending, Cause::Earn),
        posting(Account::Pending, Account::Available, Cause::Activate),
    ]
}
