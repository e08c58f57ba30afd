//! What every store promises, stated once and run on each.

use std::ops::Range;

use perennial_core::event::{Body, Event, Origin};
use perennial_core::fact::{Account, Cause, Fact, Posting, Unit};
use perennial_core::id::{CustomerId, Identifier, IdentifierHash, LotId, OrderRef};
use perennial_core::input::{Entry, Input, Reject};
use perennial_core::packed::Packed;
use perennial_core::time::Timestamp;
use perennial_core::value::{Properties, Value};
use perennial_store::{
    Archived, Checkpoint, CustomerRow, Fingerprint, MemoryDisk, Parts, PostingRow, Seen, Store, Trouble,
};

/// A place where a store can be opened again after a crash.
pub(crate) enum Place {
    Folder(tempfile::TempDir),
    Memory(MemoryDisk),
}

impl Place {
    pub(crate) fn open(&self) -> Store {
        match self {
            Self::Folder(dir) => Store::open(dir.path()).unwrap(),
            Self::Memory(disk) => Store::on(disk).unwrap(),
        }
    }
}

/// Runs a promise on every store.
fn on_each(promise: impl Fn(&Place)) {
    promise(&Place::Memory(MemoryDisk::new()));
    promise(&Place::Folder(tempfile::tempdir().unwrap()));
}

pub(crate) fn customer(n: u8) -> CustomerId {
    CustomerId([n; 16])
}

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn event(who: &str, about: &str) -> Input {
    Input::Event(Box::new(Event {
        message_id: format!("m-{who}-{about}").into(),
        source: "shop".into(),
        at: at(1_000),
        original_at: None,
        received_at: at(1_000),
        origin: Origin::Live,
        ids: vec![Identifier::user(who).unwrap()],
        traits: Properties(vec![("city".into(), Value::from("Lyon"))]),
        body: Body::Track { name: about.into() },
        properties: Packed::default(),
        consent: vec![("marketing".into(), true)],
        opted_out: false,
        context: Packed::default(),
    }))
}

pub(crate) fn posting(owner: CustomerId, amount: i64) -> Posting {
    Posting {
        unit: Unit::Points,
        from: Account::Issued,
        to: Account::Available,
        amount,
        lot: Some(LotId { owner, number: 1 }),
        cause: Cause::Earn,
    }
}

/// An entry about customer `n`, with a fact.
pub(crate) fn entry(seq: u64, n: u8) -> Entry {
    Entry {
        seq,
        recorded_at: at(1_000_000 + i64::try_from(seq).unwrap()),
        customer: Some(customer(n)),
        root: Some(customer(n)),
        cause: (seq > 1).then_some(seq - 1),
        input: Some(event(&format!("person{n}"), "Tea Tasted")),
        outcome: vec![Fact::Created, Fact::Posted(posting(customer(n), 7))],
    }
}

fn entries(from: u64, to: u64) -> Vec<Entry> {
    (from..=to).map(|seq| entry(seq, u8::try_from(seq % 5).unwrap())).collect()
}

#[test]
fn what_was_appended_is_read_back_equal_and_in_order() {
    on_each(|place| {
        let mut store = place.open();
        store.journal.append(&entries(1, 30)).unwrap();
        store.journal.append(&[]).unwrap();
        store.journal.append(&entries(31, 40)).unwrap();
        let reader = store.journal.reader();
        assert_eq!(reader.last_seq(), 40);
        assert_eq!(reader.read(1, 100).unwrap(), entries(1, 40));
        assert_eq!(reader.read(29, 4).unwrap(), entries(29, 32));
        assert_eq!(reader.read(41, 4).unwrap(), vec![]);
        assert_eq!(reader.entry(7).unwrap(), entries(7, 7).pop());
        assert_eq!(reader.entry(0).unwrap(), None);
        assert_eq!(reader.iter(12).map(Result::unwrap).collect::<Vec<_>>(), entries(12, 40));
    });
}

#[test]
fn what_was_appended_is_there_after_a_restart() {
    on_each(|place| {
        let secret = {
            let mut store = place.open();
            store.journal.append(&entries(1, 20)).unwrap();
            store.keys.secret("identifiers").unwrap()
        };
        let mut store = place.open();
        assert_eq!(store.journal.reader().read(1, 100).unwrap(), entries(1, 20));
        assert!(store.keys.secret("identifiers").unwrap() == secret);
        assert!(store.keys.secret("vouchers").unwrap() != secret);
        store.journal.append(&entries(21, 22)).unwrap();
        assert_eq!(store.journal.last_seq(), 22);
    });
}

#[test]
fn entries_out_of_order_are_refused_and_none_is_written() {
    on_each(|place| {
        let mut store = place.open();
        store.journal.append(&entries(1, 3)).unwrap();
        for bad in [entries(3, 5), entries(5, 6), vec![entry(4, 1), entry(6, 1)]] {
            let failure = store.journal.append(&bad).unwrap_err();
            assert_eq!(failure.trouble, Trouble::Misuse);
        }
        assert_eq!(store.journal.last_seq(), 3);
        assert_eq!(store.journal.reader().read(1, 9).unwrap().len(), 3);
    });
}

#[test]
fn a_checkpoint_is_read_back() {
    on_each(|place| {
        let store = place.open();
        store.state.checkpoint(checkpoint(0)).unwrap();
        drop(store);
        let mut store = place.open();
        store.journal.append(&entries(1, 9)).unwrap();
        store.state.checkpoint(checkpoint(9)).unwrap();
        let state = &store.state;
        assert_eq!(state.position().unwrap(), 9);
        assert_eq!(state.workspace().unwrap().as_deref(), Some(&b"programme"[..]));
        assert_eq!(state.counters().unwrap().as_deref(), Some(&b"stock"[..]));
        assert_eq!(state.load(customer(2)).unwrap(), Some(row(2, 9)));
        assert_eq!(state.load(customer(9)).unwrap(), None);
        let many = state.load_many(&[customer(3), customer(9), customer(1)]).unwrap();
        assert_eq!(many, vec![Some(row(3, 9)), None, Some(row(1, 9))]);
        assert_eq!(state.lookup(IdentifierHash([1; 16])).unwrap(), Some(customer(1)));
        assert_eq!(state.lookup(IdentifierHash([2; 16])).unwrap(), None);
        assert_eq!(state.order_owner(OrderRef([1; 16])).unwrap(), Some(customer(3)));
        assert_eq!(state.customers(Some(customer(1)), 1).unwrap(), vec![row(2, 9)]);
        assert_eq!(state.count().unwrap(), 3);
    });
}

fn row(n: u8, position: u64) -> CustomerRow {
    CustomerRow {
        id: customer(n),
        next_due: (n != 2).then(|| at(100 * i64::from(10 - n))),
        body: format!("customer {n} at {position}").into_bytes(),
        parts: Parts::default(),
    }
}

fn archived(anew: bool, body: &str) -> Archived {
    Archived { anew, body: body.as_bytes().to_vec() }
}

fn checkpoint(position: u64) -> Checkpoint {
    Checkpoint {
        position,
        customers: vec![row(3, position), row(1, position), row(2, position)],
        identifiers: vec![(IdentifierHash([2; 16]), None), (IdentifierHash([1; 16]), Some(customer(1)))],
        orders: vec![(OrderRef([1; 16]), customer(3))],
        kept: [1, 2, 3].map(|n| ([n; 17], Some(b"old".to_vec()))).into(),
        archive: [1, 3, 7].map(|n| (customer(n), archived(false, "first"))).into(),
        timeline: (1..=position).map(|seq| (customer(u8::try_from(seq % 3).unwrap() + 1), seq)).collect(),
        postings: (1..=position)
            .map(|seq| PostingRow { seq, nth: 1, customer: customer(1), posting: posting(customer(1), 7) })
            .collect(),
        workspace: Some(b"programme".to_vec()),
        counters: Some(b"stock".to_vec()),
        ..Checkpoint::default()
    }
}

#[test]
fn an_erased_root_keeps_its_facts_and_loses_its_inputs() {
    on_each(|place| {
        let mut store = place.open();
        store.journal.append(&[entry(1, 1), entry(2, 2)]).unwrap();
        store.keys.destroy(customer(1)).unwrap();
        store.keys.destroy(customer(1)).unwrap();
        store.journal.append(&[entry(3, 1)]).unwrap();
        drop(store);
        let store = place.open();
        assert!(store.keys.is_destroyed(customer(1)).unwrap());
        assert!(!store.keys.is_destroyed(customer(2)).unwrap());
        let read = store.journal.reader().read(1, 9).unwrap();
        assert_eq!(read[0], Entry { input: None, ..entry(1, 1) });
        assert_eq!(read[1], entry(2, 2));
        assert_eq!(read[2], Entry { input: None, ..entry(3, 1) });
    });
}

#[test]
fn rejects_can_be_read_for_thirty_days() {
    const DAY: i64 = 86_400_000;
    on_each(|place| {
        let mut store = place.open();
        let mut reject = entry(1, 1);
        (reject.customer, reject.root, reject.recorded_at) = (None, None, at(10 * DAY + 5));
        reject.input = Some(Input::Reject(Box::new(Reject {
            message_id: None,
            source: "shop".into(),
            received_at: at(10 * DAY),
            code: "malformed".into(),
            field: "userId".into(),
            reason: "no identifier".into(),
            body: "{}".into(),
        })));
        store.journal.append(std::slice::from_ref(&reject)).unwrap();
        store.keys.destroy_old_days(at(40 * DAY + 6)).unwrap();
        assert_eq!(store.journal.reader().entry(1).unwrap(), Some(reject.clone()));
        store.keys.destroy_old_days(at(41 * DAY)).unwrap();
        reject.input = None;
        assert_eq!(store.journal.reader().entry(1).unwrap(), Some(reject));
    });
}

fn message(n: u64) -> Fingerprint {
    let secret = perennial_core::id::Secret([3; 16]);
    Fingerprint::of(&secret, "shop", &format!("message {n}"), b"{}")
}

#[test]
fn a_message_is_remembered_across_restarts_and_told_from_another_under_its_id() {
    on_each(|place| {
        let mut store = place.open();
        store.journal.append(&entries(1, 4)).unwrap();
        let set = &mut store.duplicates;
        (1..=3).for_each(|seq| set.remember(message(seq), seq));
        set.checkpoint(3).write().unwrap();
        set.remember(message(4), 4);
        assert_eq!(set.seen(message(4)).unwrap(), Seen::Perhaps { seq: 4, same_body: true });
        let other = Fingerprint { body: 0, ..message(2) };
        assert_eq!(set.seen(other).unwrap(), Seen::Perhaps { seq: 2, same_body: false });
        drop(store);
        let store = place.open();
        assert_eq!(store.duplicates.position(), 3, "the tail is for the caller");
        assert_eq!(store.duplicates.seen(message(1)).unwrap(), Seen::Perhaps { seq: 1, same_body: true });
        assert_eq!(store.duplicates.seen(message(4)).unwrap(), Seen::No);
    });
}

#[test]
fn messages_of_a_failed_append_are_not_remembered() {
    on_each(|place| {
        let mut store = place.open();
        (1..=4).for_each(|seq| store.duplicates.remember(message(seq), seq));
        store.duplicates.forget_after(2);
        let seen: Vec<bool> = (1..=4).map(|n| store.duplicates.seen(message(n)).unwrap() != Seen::No).collect();
        assert_eq!(seen, [true, true, false, false]);
    });
}

#[test]
fn messages_in_segments_are_found_and_strangers_are_not() {
    const COUNT: u64 = 410_000;
    on_each(|place| {
        let mut store = place.open();
        store.journal.append(&[entry(1, 1)]).unwrap();
        for n in 0..COUNT {
            store.duplicates.remember(message(n), n);
            if n % 50_000 == 0 {
                store.duplicates.checkpoint(1).write().unwrap();
            }
        }
        store.duplicates.checkpoint(1).write().unwrap();
        drop(store);
        let store = place.open();
        assert_eq!(store.duplicates.len(), usize::try_from(COUNT).unwrap());
        for n in (0..COUNT).step_by(777) {
            assert_eq!(store.duplicates.seen(message(n)).unwrap(), Seen::Perhaps { seq: n, same_body: true }, "{n}");
            assert_eq!(store.duplicates.seen(message(n + COUNT)).unwrap(), Seen::No, "{n}");
        }
    });
}

#[test]
fn of_messages_with_one_id_the_latest_counts_also_after_a_restart() {
    on_each(|place| {
        let mut store = place.open();
        store.journal.append(&entries(1, 9)).unwrap();
        for seq in [3, 7, 5] {
            store.duplicates.remember(message(1), seq);
            store.duplicates.checkpoint(9).write().unwrap();
        }
        let latest = Seen::Perhaps { seq: 7, same_body: true };
        assert_eq!(store.duplicates.seen(message(1)).unwrap(), latest);
        drop(store);
        assert_eq!(place.open().duplicates.seen(message(1)).unwrap(), latest);
    });
}

#[test]
fn a_checkpoint_adds_to_the_ones_before() {
    on_each(|place| {
        let mut store = place.open();
        store.journal.append(&entries(1, 12)).unwrap();
        let state = store.state.clone();
        state.checkpoint(checkpoint(9)).unwrap();
        let mut second = Checkpoint { position: 12, customers: vec![row(1, 12)], ..Checkpoint::default() };
        second.gone = vec![customer(3)];
        second.identifiers = vec![(IdentifierHash([1; 16]), Some(customer(2)))];
        second.orders = vec![(OrderRef([1; 16]), customer(2))];
        second.kept = vec![([1; 17], Some(b"new".to_vec())), ([2; 17], None)];
        second.archive = vec![(customer(1), archived(false, "second")), (customer(7), archived(true, ""))];
        second.timeline = vec![(customer(1), 12), (customer(3), 11), (customer(7), 10)];
        state.checkpoint(second).unwrap();
        assert_eq!(state.position().unwrap(), 12);
        assert_eq!(state.workspace().unwrap().as_deref(), Some(&b"programme"[..]), "unchanged, so kept");
        assert_eq!(state.counters().unwrap().as_deref(), Some(&b"stock"[..]), "unchanged, so kept");
        assert_eq!(state.load(customer(1)).unwrap(), Some(row(1, 12)));
        assert_eq!(state.load(customer(2)).unwrap(), Some(row(2, 9)));
        assert_eq!(state.load(customer(3)).unwrap(), None);
        assert_eq!(state.lookup(IdentifierHash([1; 16])).unwrap(), Some(customer(2)));
        assert_eq!(state.order_owner(OrderRef([1; 16])).unwrap(), Some(customer(2)));
        assert_eq!(state.kept([1; 17]).unwrap().as_deref(), Some(&b"new"[..]));
        assert_eq!(state.kept([2; 17]).unwrap(), None);
        assert_eq!(state.kept([3; 17]).unwrap().as_deref(), Some(&b"old"[..]));
        assert_eq!(state.timeline(customer(1), None, 9).unwrap(), [12, 9, 6, 3]);
        assert_eq!(state.timeline(customer(3), None, 9).unwrap(), [11, 8, 5, 2], "also of one that is no more");
        assert_eq!(state.timeline(customer(7), None, 9).unwrap(), [10]);
        assert_eq!(state.count().unwrap(), 2);
        let archive = |n, wanted: &[u8]| {
            let look = |body: &[u8]| (body.starts_with(wanted)).then(|| body.to_vec());
            state.search_archive(customer(n), look).unwrap()
        };
        assert_eq!(archive(1, b"").as_deref(), Some(&b"second"[..]), "what was added last comes first");
        assert_eq!(archive(1, b"first").as_deref(), Some(&b"first"[..]));
        assert_eq!(archive(1, b"third"), None);
        assert_eq!(archive(3, b"").as_deref(), Some(&b"first"[..]), "also of one that is no more");
        assert_eq!((archive(7, b""), archive(8, b"")), (None, None), "let go, and never there");
    });
}

#[test]
fn a_timeline_is_read_backwards_in_pages() {
    on_each(|place| {
        let mut store = place.open();
        store.journal.append(&entries(1, 9)).unwrap();
        store.state.checkpoint(checkpoint(9)).unwrap();
        let page = |before, limit| store.state.timeline(customer(2), before, limit).unwrap();
        assert_eq!(page(None, 2), [7, 4]);
        assert_eq!(page(Some(4), 2), [1]);
        assert_eq!(page(Some(5), 9), [4, 1], "from a number between");
        assert_eq!(page(Some(1), 9), [] as [u64; 0]);
        assert_eq!(page(Some(99), 0), [] as [u64; 0]);
        assert_eq!(store.state.timeline(customer(99), None, 9).unwrap(), [] as [u64; 0]);
    });
}

#[test]
fn timers_come_due_earliest_first() {
    on_each(|place| {
        let mut store = place.open();
        store.journal.append(&entries(1, 10)).unwrap();
        let state = &store.state;
        state.checkpoint(checkpoint(9)).unwrap();
        assert_eq!(state.due(at(5_000), 9).unwrap(), [(at(700), customer(3)), (at(900), customer(1))]);
        assert_eq!(state.due(at(5_000), 1).unwrap(), [(at(700), customer(3))]);
        assert_eq!(state.due(at(700), 9).unwrap(), [(at(700), customer(3))], "at the instant itself");
        assert_eq!(state.due(at(699), 9).unwrap(), []);
        let later = CustomerRow { next_due: Some(at(4_000)), ..row(3, 10) };
        let never = CustomerRow { next_due: None, ..row(1, 10) };
        let moved = Checkpoint { position: 10, customers: vec![later, never], ..Checkpoint::default() };
        state.checkpoint(moved).unwrap();
        assert_eq!(state.due(at(5_000), 9).unwrap(), [(at(4_000), customer(3))]);
    });
}

#[test]
fn parts_stay_until_they_change_or_are_no_more() {
    on_each(|place| {
        let mut store = place.open();
        store.journal.append(&entries(1, 12)).unwrap();
        let write = |position, customers: Vec<CustomerRow>| {
            store.state.checkpoint(Checkpoint { position, customers, ..Checkpoint::default() }).unwrap();
        };
        let with = |n: u8, gone: Option<Range<u32>>, bodies: &[(u32, &str)]| {
            let bodies = bodies.iter().map(|(number, body)| (*number, body.as_bytes().to_vec())).collect();
            CustomerRow { parts: Parts { gone: gone.into_iter().collect(), bodies }, ..row(n, 1) }
        };
        let last = u32::MAX - 1;
        write(9, vec![with(1, Some(0..last), &[(0, "a"), (7, "b"), (last, "c")]), with(2, None, &[(7, "d")])]);
        write(10, vec![with(1, Some(0..1), &[(7, "new")]), row(3, 1)]);
        drop(store);
        let store = place.open();
        let first = with(1, None, &[(7, "new"), (last, "c")]);
        assert_eq!(store.state.load(customer(1)).unwrap(), Some(first.clone()));
        let all = vec![first, with(2, None, &[(7, "d")]), row(3, 1)];
        assert_eq!(store.state.customers(None, 9).unwrap(), all);
        let gone = Checkpoint { position: 11, gone: vec![customer(1)], ..Checkpoint::default() };
        store.state.checkpoint(gone).unwrap();
        let back = Checkpoint { position: 12, customers: vec![row(1, 1)], ..Checkpoint::default() };
        store.state.checkpoint(back).unwrap();
        assert_eq!(store.state.load(customer(1)).unwrap(), Some(row(1, 1)), "what was erased does not come back");
    });
}

#[test]
fn a_checkpoint_never_goes_back() {
    on_each(|place| {
        let mut store = place.open();
        store.journal.append(&entries(1, 9)).unwrap();
        store.state.checkpoint(checkpoint(9)).unwrap();
        assert_eq!(store.state.checkpoint(checkpoint(8)).unwrap_err().trouble, Trouble::Misuse);
        assert_eq!(store.state.position().unwrap(), 9);
    });
}

#[test]
fn what_is_kept_with_the_keys_survives_and_can_be_replaced() {
    on_each(|place| {
        let store = place.open();
        assert_eq!(store.keys.kept("api keys").unwrap(), None);
        store.keys.keep("api keys", b"one").unwrap();
        store.keys.keep("api keys", b"two").unwrap();
        drop(store);
        assert_eq!(place.open().keys.kept("api keys").unwrap().as_deref(), Some(&b"two"[..]));
    });
}

#[test]
fn many_new_customers_in_one_batch_and_again() {
    on_each(|place| {
        let mut store = place.open();
        let batch = |from: u64| -> Vec<Entry> {
            (from..from + 500).map(|seq| entry(seq, u8::try_from(seq % 251).unwrap())).collect()
        };
        store.journal.append(&batch(1)).unwrap();
        store.journal.append(&batch(501)).unwrap();
        let read = store.journal.reader().read(1, usize::MAX).unwrap();
        assert_eq!(read, [batch(1), batch(501)].concat());
    });
}

#[test]
fn readers_see_what_is_durable_while_the_writer_goes_on() {
    on_each(|place| {
        let mut store = place.open();
        let (reader, state) = (store.journal.reader(), store.state.clone());
        std::thread::scope(|scope| {
            let watch = scope.spawn(move || {
                while reader.last_seq() < 400 {
                    let last = reader.last_seq();
                    assert!(reader.read(1, usize::MAX).unwrap().len() as u64 >= last);
                    assert_eq!(last % 10, 0, "whole batches");
                    std::thread::yield_now();
                }
            });
            for batch in 0..40 {
                store.journal.append(&entries(batch * 10 + 1, batch * 10 + 10)).unwrap();
                state.checkpoint(Checkpoint { position: batch * 10 + 10, ..Checkpoint::default() }).unwrap();
            }
            watch.join().unwrap();
        });
    });
}
