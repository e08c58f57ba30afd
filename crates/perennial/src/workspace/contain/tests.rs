//! Folds that panic, on purpose: what becomes of them, and that everything else goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use perennial_core::event::Event;
use perennial_core::id::Identifier;
use perennial_core::input::{Asked, Command, Input};
use perennial_core::time::{DAY_MS, Timestamp};
use perennial_store::{Fault, MemoryDisk, Write};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::http::keys::KeyRing;
use crate::http::{App, router};
use crate::pump::{Clock, Pump, Trouble};
use crate::wire::segment::{Call, parse};
use crate::wire::{Arrival, Circumstances};
use crate::workspace::{Answer, Receipt, Status, Workspace};

const COFFEE: &str = include_str!("../../../../../programs/coffee.yaml");
const ECOEXPLORERS: &str = include_str!("../../../../../programs/ecoexplorers.yaml");
const ALWAYS: u32 = u32::MAX;

fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn day(n: i64) -> Timestamp {
    noon().plus_millis(n * DAY_MS)
}

/// A disk with a workspace on it: `program` is in force, and ana and bo have joined.
fn shop(program: &str) -> (MemoryDisk, Workspace) {
    let disk = MemoryDisk::new();
    let mut workspace = Workspace::on_disk(&disk).unwrap();
    workspace.publish(noon(), "test", program).unwrap();
    for who in ["ana", "bo"] {
        let enroll = Command::Enroll;
        assert!(ask(&mut workspace, noon(), who, "join", enroll).outcome.is_ok());
    }
    (disk, workspace)
}

fn trap(workspace: &Workspace, here: &str, times: u32) {
    workspace.traps.borrow_mut().insert(here.into(), times);
}

fn ask(workspace: &mut Workspace, at: Timestamp, who: &str, key: &str, command: Command) -> Answer {
    let who: Identifier = who.parse().unwrap();
    workspace.ask(at, Asked::new(at, "test", who, Some(key.into()), command)).unwrap()
}

/// Messages in the wire's own shape.
fn messages(at: Timestamp, items: &[String]) -> Vec<Arrival> {
    let body = format!(r#"{{"batch":[{}]}}"#, items.join(","));
    parse(Call::Batch, body.as_bytes(), &Circumstances::live("web", at)).unwrap()
}

fn order(id: &str, who: &str, euros: u32) -> String {
    format!(
        r#"{{"type":"track","messageId":"{id}","userId":"{who}","event":"Order Completed","properties":{{"order_id":"{id}","subtotal":{euros}}}}}"#
    )
}

fn statuses(receipts: &[Receipt]) -> Vec<String> {
    let word = |status: &Status| match status {
        Status::Rejected { code, .. } => code.to_string(),
        other => format!("{other:?}").to_lowercase(),
    };
    receipts.iter().map(|r| word(&r.status)).collect()
}

/// Points to spend and points pending.
fn points(workspace: &mut Workspace, at: Timestamp, who: &str) -> (i64, i64) {
    let customer = workspace.customer(at, &who.parse().unwrap()).unwrap().unwrap();
    let wallet = customer.member.unwrap().wallet;
    (wallet.available(), wallet.totals().pending)
}

fn is_sound(workspace: &mut Workspace, at: Timestamp) {
    workspace.catch_up(at).unwrap();
    let found = workspace.verify().unwrap();
    assert!(found.faults.is_empty(), "{:?}", found.faults);
}

/// Ingest 15.
#[test]
fn an_event_whose_fold_panics_is_set_aside_and_its_customer_goes_on() {
    let (disk, mut workspace) = shop(COFFEE);
    trap(&workspace, "m2", ALWAYS);
    let batch = [order("m1", "ana", 10), order("m2", "ana", 5), order("m3", "bo", 7), order("m4", "ana", 20)];
    let receipts = workspace.take(noon(), messages(noon(), &batch)).unwrap();
    assert_eq!(statuses(&receipts), ["accepted", "poison", "accepted", "accepted"]);
    let next = workspace.take(day(1), messages(day(1), &[order("m5", "ana", 30)])).unwrap();
    assert_eq!(statuses(&next), ["accepted"]);
    assert_eq!((points(&mut workspace, day(1), "ana").0, points(&mut workspace, day(1), "bo").0), (60, 7));
    is_sound(&mut workspace, day(1));

    drop(workspace);
    let mut workspace = Workspace::on_disk(&disk).unwrap();
    assert_eq!((points(&mut workspace, day(1), "ana").0, points(&mut workspace, day(1), "bo").0), (60, 7));
    is_sound(&mut workspace, day(1));
    let receipt = workspace.receipt(Some("web"), "m2").unwrap().unwrap();
    assert_eq!((&*receipt.status, receipt.code.as_deref()), ("rejected", Some("poison")));
    // The same message gets the same answer, and is written once.
    let last = workspace.last_seq();
    let again = workspace.take(day(1), messages(day(2), &[order("m2", "ana", 5)])).unwrap();
    assert_eq!((statuses(&again), again[0].seq, workspace.last_seq()), (vec!["poison".into()], receipt.seq, last));
}

#[test]
fn what_was_set_aside_can_be_folded_by_a_mended_program() {
    let (_, mut workspace) = shop(COFFEE);
    trap(&workspace, "m1", ALWAYS);
    let receipts = workspace.take(noon(), messages(noon(), &[order("m1", "ana", 10)])).unwrap();
    let entry = workspace.journal().entry(receipts[0].seq.unwrap()).unwrap().unwrap();
    let Some(Input::Reject(reject)) = entry.input else { panic!("no reject: {:?}", entry.input) };
    let event: Event = serde_json::from_str(&reject.body).unwrap();
    let (_, mut mended) = shop(COFFEE);
    let folded = mended.take(noon(), vec![Arrival::Event(Box::new(event))]).unwrap();
    assert_eq!((statuses(&folded), points(&mut mended, noon(), "ana").0), (vec!["accepted".into()], 10));
}

#[test]
fn what_panics_once_is_folded_at_the_second_try() {
    let (_, mut workspace) = shop(COFFEE);
    trap(&workspace, "m2", 1);
    let batch = [order("m1", "ana", 10), order("m2", "ana", 5)];
    let receipts = workspace.take(noon(), messages(noon(), &batch)).unwrap();
    assert_eq!(statuses(&receipts), ["accepted", "accepted"]);
    assert_eq!(points(&mut workspace, noon(), "ana").0, 15);
    is_sound(&mut workspace, noon());
}

#[test]
fn a_panic_while_a_visitor_logs_in_leaves_two_customers() {
    let (_, mut workspace) = shop(COFFEE);
    let visit = r#"{"type":"page","messageId":"v","anonymousId":"tablet","name":"home"}"#;
    let log_in = r#"{"type":"identify","messageId":"l","anonymousId":"tablet","userId":"ana"}"#;
    workspace.take(noon(), messages(noon(), &[visit.into()])).unwrap();
    trap(&workspace, "merge", ALWAYS);
    let receipts = workspace.take(noon(), messages(noon(), &[log_in.into(), order("m1", "ana", 10)])).unwrap();
    assert_eq!(statuses(&receipts), ["poison", "accepted"]);
    let visitor = workspace.customer(noon(), &"anonymous:tablet".parse().unwrap()).unwrap().unwrap();
    let member = workspace.customer(noon(), &"ana".parse().unwrap()).unwrap().unwrap();
    assert_ne!(visitor.id, member.id);
    is_sound(&mut workspace, noon());
}

#[test]
fn a_command_that_panics_is_refused_and_its_key_remembers_that() {
    let (disk, mut workspace) = shop(COFFEE);
    workspace.take(noon(), messages(noon(), &[order("m1", "ana", 30)])).unwrap();
    trap(&workspace, "redeem", ALWAYS);
    let redeem = || Command::Redeem { reward: "espresso".into(), quantity: 1 };
    let refused = ask(&mut workspace, noon(), "ana", "r1", redeem()).outcome.unwrap_err();
    assert_eq!(&*refused.code, "poison");
    assert_eq!(points(&mut workspace, noon(), "ana").0, 30);
    let adjust = Command::Adjust { points: 5, reason: "goodwill".into(), by: "test".into() };
    assert!(ask(&mut workspace, noon(), "ana", "a1", adjust).outcome.is_ok());
    is_sound(&mut workspace, noon());

    drop(workspace); // The next program is mended.
    let mut workspace = Workspace::on_disk(&disk).unwrap();
    let again = ask(&mut workspace, noon(), "ana", "r1", redeem());
    assert_eq!((again.replayed, again.outcome), (true, Err(refused)));
    assert!(ask(&mut workspace, noon(), "ana", "r2", redeem()).outcome.is_ok());
    assert_eq!(points(&mut workspace, noon(), "ana").0, 23);
    is_sound(&mut workspace, noon());
}

#[test]
fn a_merge_by_hand_that_panics_is_refused() {
    let (_, mut workspace) = shop(COFFEE);
    workspace.take(noon(), messages(noon(), &[order("m1", "ana", 30), order("m2", "bo", 5)])).unwrap();
    trap(&workspace, "merge", ALWAYS);
    let merge = Command::Merge { from: "bo".parse().unwrap() };
    let answer = ask(&mut workspace, noon(), "ana", "u", merge);
    assert_eq!(&*answer.outcome.unwrap_err().code, "poison");
    assert_eq!((points(&mut workspace, noon(), "ana").0, points(&mut workspace, noon(), "bo").0), (30, 5));
    is_sound(&mut workspace, noon());
}

#[test]
fn a_wake_up_that_panics_is_put_off_and_the_others_come() {
    let (disk, mut workspace) = shop(ECOEXPLORERS);
    let batch = [order("m1", "ana", 10), order("m2", "bo", 20)];
    workspace.take(noon(), messages(noon(), &batch)).unwrap();
    trap(&workspace, "Activate", 2); // Twice for whoever comes first, so that it is set aside.
    assert!(!workspace.advance(day(31)).unwrap());
    let both = |w: &mut Workspace, at| (points(w, at, "ana"), points(w, at, "bo"));
    let (ana, bo) = both(&mut workspace, day(31));
    assert!([((0, 10), (20, 0)), ((10, 0), (0, 20))].contains(&(ana, bo)), "one is put off: {ana:?}, {bo:?}");
    let next = workspace.take(day(31), messages(day(31), &[order("m3", "ana", 1), order("m4", "bo", 1)])).unwrap();
    assert_eq!(statuses(&next), ["accepted", "accepted"]);
    is_sound(&mut workspace, day(31));

    drop(workspace);
    let mut workspace = Workspace::on_disk(&disk).unwrap();
    assert!(!workspace.advance(day(33)).unwrap());
    assert_eq!(both(&mut workspace, day(33)), ((10, 1), (20, 1)));
    is_sound(&mut workspace, day(33));
}

#[test]
fn a_wake_up_that_always_panics_is_tried_once_a_day() {
    let (_, mut workspace) = shop(ECOEXPLORERS);
    workspace.take(noon(), messages(noon(), &[order("m1", "ana", 10)])).unwrap();
    trap(&workspace, "Activate", ALWAYS);
    for at in [31, 31, 31, 32, 33] {
        assert!(!workspace.advance(day(at)).unwrap());
        assert_eq!(points(&mut workspace, day(at), "ana"), (0, 10));
    }
    let aside = workspace.journal().iter(1).filter(|e| {
        let entry = e.as_ref().unwrap();
        matches!(entry.outcome.first(), Some(perennial_core::fact::Fact::SetAside { again: Some(_) }))
    });
    assert_eq!(aside.count(), 3);
    is_sound(&mut workspace, day(33));
}

#[test]
fn a_review_that_was_put_off_is_held_as_of_its_day() {
    let (_, mut workspace) = shop(ECOEXPLORERS);
    workspace.take(noon(), messages(noon(), &[order("m1", "ana", 600)])).unwrap();
    trap(&workspace, "Review", 2);
    let tier = |w: &mut Workspace, at| {
        w.customer(at, &"ana".parse().unwrap()).unwrap().unwrap().member.unwrap().tier.unwrap().level
    };
    let new_year: Timestamp = "2028-01-01T12:00:00Z".parse().unwrap();
    while workspace.advance(new_year).unwrap() {}
    assert_eq!(tier(&mut workspace, new_year), 1, "the review is put off");
    assert_eq!(tier(&mut workspace, new_year.plus_millis(2 * DAY_MS)), 0);
    is_sound(&mut workspace, new_year.plus_millis(2 * DAY_MS));
}

#[test]
fn a_programme_that_cannot_be_adopted_is_followed_all_the_same() {
    let (disk, mut workspace) = shop(COFFEE);
    workspace.take(noon(), messages(noon(), &[order("m1", "ana", 10)])).unwrap();
    workspace.publish(day(1), "test", &COFFEE.replace("1 per 1.00", "2 per 1.00")).unwrap();
    trap(&workspace, "adopt", ALWAYS);
    let receipts = workspace.take(day(1), messages(day(1), &[order("m2", "ana", 10)])).unwrap();
    assert_eq!(statuses(&receipts), ["accepted"]);
    assert_eq!(points(&mut workspace, day(1), "ana").0, 30);
    is_sound(&mut workspace, day(1));
    drop(workspace);
    let mut workspace = Workspace::on_disk(&disk).unwrap();
    assert_eq!(points(&mut workspace, day(1), "ana").0, 30);
    is_sound(&mut workspace, day(1));
}

#[test]
fn one_that_cannot_follow_its_order_is_set_aside_once_and_the_others_follow() {
    let (disk, mut workspace) = shop(COFFEE);
    let refund = |n: i64| {
        format!(
            r#"{{"type":"track","messageId":"r{n}","event":"Order Refunded","properties":{{"order_id":"o","refund_id":"r{n}","total":1}}}}"#
        )
    };
    let refunds: Vec<String> = (0..70).map(refund).collect();
    workspace.take(noon(), messages(noon(), &refunds)).unwrap();
    let sold = r#"{"type":"track","messageId":"o","userId":"ana","event":"Order Completed","properties":{"order_id":"o","subtotal":500}}"#;
    trap(&workspace, "let in r3", ALWAYS);
    workspace.take(noon(), messages(noon(), &[sold.to_owned()])).unwrap();
    workspace.advance(day(1)).unwrap();
    let returned = |workspace: &mut Workspace| points(workspace, day(1), "ana");
    let once = returned(&mut workspace);
    let (rejects, last) = (workspace.journal().iter(1).filter(is_poison).count(), workspace.last_seq());
    assert_eq!(rejects, 1);
    drop(workspace);
    let mut workspace = Workspace::on_disk(&disk).unwrap();
    workspace.advance(day(1)).unwrap();
    assert_eq!((returned(&mut workspace), workspace.last_seq()), (once, last), "nothing follows twice");
    is_sound(&mut workspace, day(1));
}

fn is_poison(entry: &Result<perennial_core::input::Entry, perennial_store::Failure>) -> bool {
    entry.as_ref().is_ok_and(|entry| matches!(&entry.input, Some(Input::Reject(reject)) if &*reject.code == "poison"))
}

/// What happens next to a workspace on its disk.
type Next<'a> = &'a dyn Fn(&mut Workspace, &MemoryDisk);

#[test]
fn whoever_waits_for_a_fold_is_told_once_and_told_the_truth() {
    let fail = |workspace: &mut Workspace, disk: &MemoryDisk| {
        disk.fail_next(Write::Append, Fault::Before);
        workspace.take(noon(), messages(noon(), &[order("other", "bo", 1)])).unwrap_err();
    };
    let counts: [(&str, Next<'_>, bool); 6] = [
        ("its flush", &|workspace, _| workspace.flush(false), true),
        ("somebody's question", &|workspace, _| assert!(!workspace.advance(day(1)).unwrap()), true),
        ("a checkpoint", &|workspace, _| workspace.checkpoint().unwrap(), true),
        ("a panic in other work", &|workspace, _| poisoned(workspace), true),
        ("a disk that fails under other work", &fail, false),
        ("a panic where none is contained", &|workspace, _| workspace.distrust(), false),
    ];
    for (after, next, counted) in counts {
        let (disk, mut workspace) = shop(COFFEE);
        let (tell, told) = std::sync::mpsc::channel();
        workspace.fold_in(noon(), messages(noon(), &[order("o", "ana", 10)])).unwrap();
        workspace.when_durable(move |done| tell.send(done.is_ok()).unwrap());
        assert!(told.try_recv().is_err(), "{after}: told before it was durable");
        next(&mut workspace, &disk);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [counted], "{after}");
        drop(workspace);
        let mut workspace = Workspace::on_disk(&disk).unwrap();
        assert_eq!(points(&mut workspace, noon(), "ana").0, if counted { 10 } else { 0 }, "{after}");
        let sent_again = workspace.take(noon(), messages(noon(), &[order("o", "ana", 10)])).unwrap();
        assert_eq!(statuses(&sent_again), [if counted { "duplicate" } else { "accepted" }], "{after}");
    }
}

fn poisoned(workspace: &mut Workspace) {
    trap(workspace, "poison", ALWAYS);
    let receipts = workspace.take(noon(), messages(noon(), &[order("poison", "bo", 1)])).unwrap();
    assert_eq!(statuses(&receipts), ["poison"]);
}

/// A whole server without a socket, on a workspace with traps.
struct House {
    pump: Pump,
    router: Router,
    write: String,
    secret: String,
}

impl House {
    fn open(traps: &[&str]) -> Self {
        let (_, workspace) = shop(COFFEE);
        traps.iter().for_each(|here| trap(&workspace, here, ALWAYS));
        let clock = Arc::new(AtomicI64::new(0));
        clock.store(noon().as_millis(), Ordering::Relaxed);
        let pump = Pump::start(workspace, Clock::Manual(clock)).unwrap();
        let (keys, first) = KeyRing::in_memory(noon()).unwrap();
        let (app, _) = App::new(pump.handle(), keys, None);
        Self { pump, router: router(app), write: first.write, secret: first.secret }
    }

    async fn send(&self, method: &str, path: &str, key: &str, body: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {key}"));
        let request = request.header("idempotency-key", "k").body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }
}

#[tokio::test]
async fn over_http_a_poisoned_event_has_a_receipt_and_the_next_one_counts() {
    let house = House::open(&["m2"]);
    let batch = [order("m1", "ana", 10), order("m2", "ana", 5), order("m3", "ana", 7)].join(",");
    let sent = house.send("POST", "/v1/batch", &house.write, &format!(r#"{{"batch":[{batch}]}}"#)).await;
    assert_eq!(sent.0, 200, "{}", sent.1);
    let (status, receipt) = house.send("GET", "/v1/events/m2", &house.secret, "").await;
    assert_eq!((status, &receipt["status"], &receipt["code"]), (200, &"rejected".into(), &"poison".into()));
    let (_, ana) = house.send("GET", "/v1/customers/ana", &house.secret, "").await;
    assert_eq!(ana["points"]["available"], 17);
    // A client that asks about this one message alone is told to give up.
    let (status, told) = house.send("POST", "/v1/track", &house.write, &order("m2", "ana", 5)).await;
    assert_eq!((status, &told["code"]), (422, &"poison".into()));
}

#[tokio::test]
async fn over_http_a_command_that_panics_is_told_so() {
    let house = House::open(&["adjust"]);
    let body = r#"{"points":5,"reason":"goodwill"}"#;
    let (status, told) = house.send("POST", "/v1/customers/ana/adjust", &house.secret, body).await;
    assert_eq!((status, &told["code"]), (422, &"poison".into()), "{told}");
    assert_eq!(house.send("GET", "/v1/customers/ana", &house.secret, "").await.0, 200);
}

#[tokio::test]
async fn a_question_that_panics_reaches_neither_the_writer_nor_the_next_one() {
    let house = House::open(&[]);
    let handle = house.pump.handle();
    let asked = handle.call(|_, _| -> Result<(), _> { panic!("a question of the tests") }).await;
    assert_eq!(asked, Err(Trouble::Broken));
    let sent = house.send("POST", "/v1/track", &house.write, &order("m1", "ana", 10)).await;
    assert_eq!(sent.0, 200, "{}", sent.1);
    let mut workspace = house.pump.stop().unwrap();
    assert_eq!(points(&mut workspace, noon(), "ana").0, 10);
    is_sound(&mut workspace, noon());
}
