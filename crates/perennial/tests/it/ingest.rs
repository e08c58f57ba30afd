//! Hard cases of collecting that need more than a story: several senders or lives of the process, bytes that
//! a story cannot hold, history that is brought in.

use perennial::wire::segment::{BATCH_MAX, Call, EVENT_MAX, parse};
use perennial::wire::{Arrival, Circumstances};
use perennial::workspace::{Receipt, Status};
use perennial_core::event::Origin;
use perennial_core::fact::Fact;
use perennial_core::input::{Asked, Input};
use perennial_core::time::Timestamp;
use perennial_store::{Fault, Write};
use serde_json::{Value, json};

use crate::stage::{Shop, enroll};

/// Sends one message under a name of the test's own choice.
fn send(shop: &mut Shop, source: &str, message_id: &str, order: &str) -> Receipt {
    let properties = json!({ "order_id": order, "subtotal": 100 });
    let call: Value = json!({
        "userId": "ana", "event": "Order Completed", "messageId": message_id, "properties": properties,
    });
    let arrivals = parse(Call::Track, call.to_string().as_bytes(), &Circumstances::live(source, shop.now)).unwrap();
    shop.workspace.take(shop.now, arrivals).unwrap().remove(0)
}

fn orders(shop: &mut Shop) -> i64 {
    shop.customer("ana").orders.standing.count
}

/// Ingest 1.
#[test]
fn a_repetition_counts_once_across_batches_and_restarts() {
    for saved in [false, true] {
        let mut shop = Shop::open();
        shop.ask("ana", "e", enroll()).unwrap();
        let first = send(&mut shop, "web", "m", "A");
        for restarted in [false, true] {
            if restarted {
                saved.then(|| shop.workspace.checkpoint().unwrap());
                shop.reopen();
            }
            let again = send(&mut shop, "web", "m", "A");
            assert_eq!((again.status, again.seq), (Status::Duplicate, first.seq));
        }
        assert_eq!(orders(&mut shop), 1);
        shop.verify();
    }
}

/// Ingest 2.
#[test]
fn another_body_under_a_known_id_is_quarantined_after_a_restart_too() {
    let mut shop = Shop::open();
    send(&mut shop, "web", "m", "A");
    shop.reopen();
    assert_eq!(send(&mut shop, "web", "m", "B").status, Status::Quarantined);
    assert_eq!(orders(&mut shop), 1);
}

/// What lies beside the receipt of a message: when each came, and why it does not count.
fn conflicts(shop: &mut Shop, message_id: &str) -> Vec<(String, String)> {
    let receipt = shop.workspace.receipt(None, message_id).unwrap().unwrap();
    assert_eq!(receipt.status, "accepted");
    receipt.conflicts.into_iter().map(|c| (c.received_at, c.code)).collect()
}

#[test]
fn what_is_set_aside_is_told_with_the_receipt_of_its_id_after_restarts_and_a_refold_too() {
    let mut shop = Shop::open();
    send(&mut shop, "web", "m", "A");
    let mut sent = Vec::new();
    for life in 0..3 {
        shop.days(1);
        assert_eq!(send(&mut shop, "web", "m", "B").status, Status::Quarantined);
        sent.insert(0, (shop.now.to_string(), "conflict".into()));
        assert_eq!(conflicts(&mut shop, "m"), sent);
        (life == 1).then(|| shop.workspace.checkpoint().unwrap());
        shop.reopen();
        assert_eq!(conflicts(&mut shop, "m"), sent);
    }
    assert!(shop.workspace.receipt(None, "m\0").unwrap().is_none(), "no message has that id");
    assert_eq!(send(&mut shop, "web", "other", "C").status, Status::Accepted);
    assert_eq!(conflicts(&mut shop, "other"), []);
    shop.verify();
}

#[test]
fn an_append_that_failed_takes_no_earlier_conflict_with_it() {
    let mut shop = Shop::open();
    send(&mut shop, "web", "m", "A");
    send(&mut shop, "web", "m", "B");
    shop.workspace.checkpoint().unwrap();
    shop.disk.fail_next(Write::Append, Fault::Before);
    let again = json!({ "userId": "ana", "event": "C", "messageId": "m" }).to_string();
    let arrivals = || parse(Call::Track, again.as_bytes(), &Circumstances::live("web", shop.now)).unwrap();
    shop.workspace.take(shop.now, arrivals()).unwrap_err();
    shop.workspace.take(shop.now, arrivals()).unwrap();
    assert_eq!(conflicts(&mut shop, "m").len(), 2);
}

#[test]
fn a_receipt_tells_the_latest_twenty_conflicts() {
    let mut shop = Shop::open();
    send(&mut shop, "web", "m", "A");
    let orders = (0..25).map(|n| format!("B{n}"));
    let seqs: Vec<u64> = orders.map(|order| send(&mut shop, "web", "m", &order).seq.unwrap()).collect();
    let told = shop.workspace.receipt(Some("web"), "m").unwrap().unwrap().conflicts;
    assert!(told.iter().map(|c| c.seq).eq(seqs.into_iter().rev().take(20)));
}

#[test]
fn a_message_that_cannot_be_read_takes_no_receipt_from_the_one_that_was_folded() {
    let mut shop = Shop::open();
    let seen = |shop: &mut Shop, page: &str| {
        let call = json!({ "userId": "ana", "messageId": "m", "name": "Home", "timestamp": page }).to_string();
        let arrivals = parse(Call::Page, call.as_bytes(), &Circumstances::live("web", shop.now)).unwrap();
        shop.workspace.take(shop.now, arrivals).unwrap().remove(0).status
    };
    let noon = shop.now.to_string();
    assert_eq!(seen(&mut shop, &noon), Status::Accepted);
    assert!(matches!(seen(&mut shop, "yesterday"), Status::Rejected { .. }));
    for restarted in [false, true] {
        restarted.then(|| shop.reopen());
        assert_eq!(conflicts(&mut shop, "m").len(), 1);
        assert_eq!(seen(&mut shop, &noon), Status::Duplicate, "or it would count twice");
    }
}

/// Ingest 3.
#[test]
fn the_same_id_from_two_senders_is_two_messages() {
    let mut shop = Shop::open();
    assert_eq!(send(&mut shop, "web", "m", "A").status, Status::Accepted);
    assert_eq!(send(&mut shop, "till", "m", "B").status, Status::Accepted);
    assert_eq!(orders(&mut shop), 2);
    for (source, order) in [("web", "A"), ("till", "B")] {
        let receipt = shop.workspace.receipt(Some(source), "m").unwrap().unwrap();
        assert_eq!((&*receipt.source, &*receipt.status), (source, "accepted"));
        assert_eq!(send(&mut shop, source, "m", order).status, Status::Duplicate);
    }
    shop.verify();
}

/// The code of one message that cannot be read, and the field it names; none when it can.
fn rejected(shop: &Shop, call: Call, body: &str) -> Option<(String, String)> {
    match parse(call, body.as_bytes(), &Circumstances::live("web", shop.now)).unwrap().remove(0) {
        Arrival::Event(_) => None,
        Arrival::Reject(reject) => Some((reject.code.to_string(), reject.field.to_string())),
    }
}

/// Ingest 4.
#[test]
fn of_a_hundred_with_one_bad_ninety_nine_are_stored_and_one_is_told_why() {
    let mut shop = Shop::open();
    let item = |n: u32| {
        let price = if n == 57 { json!("ten") } else { json!(10) };
        let properties = json!({ "order_id": format!("A{n}"), "subtotal": price });
        json!({ "type": "track", "messageId": format!("m{n}"), "userId": "ana", "event": "Order Completed",
            "properties": properties })
    };
    let body = json!({ "batch": (1..=100).map(item).collect::<Vec<_>>() }).to_string();
    let arrivals = parse(Call::Batch, body.as_bytes(), &Circumstances::live("web", shop.now)).unwrap();
    let receipts = shop.workspace.take(shop.now, arrivals).unwrap();
    let stored = receipts.iter().filter(|receipt| receipt.status == Status::Accepted).count();
    assert_eq!((receipts.len(), stored, orders(&mut shop)), (100, 99, 99));
    let told = shop.workspace.receipt(None, "m57").unwrap().unwrap();
    assert_eq!((&*told.status, told.code.as_deref()), ("rejected", Some("bad_number")));
    assert_eq!(told.field.as_deref(), Some("properties.subtotal"));
    assert!(told.reason.is_some_and(|reason| !reason.is_empty()));
    shop.verify();
}

/// Ingest 6.
#[test]
fn a_byte_an_item_a_property_or_a_level_too_many_is_told() {
    let shop = Shop::open();
    let of_bytes = |bytes: usize| {
        let frame = r#"{"messageId":"m","userId":"ana","event":"x","properties":{"a":""}}"#.len();
        let text = "\u{e9}".repeat((bytes - frame) / 2) + &"a".repeat((bytes - frame) % 2);
        format!(r#"{{"messageId":"m","userId":"ana","event":"x","properties":{{"a":"{text}"}}}}"#)
    };
    assert_eq!(EVENT_MAX, 32 * 1024);
    for (bytes, code) in [(EVENT_MAX - 1, None), (EVENT_MAX, None), (EVENT_MAX + 1, Some("too_large"))] {
        assert_eq!(of_bytes(bytes).len(), bytes);
        let told = rejected(&shop, Call::Track, &of_bytes(bytes));
        assert_eq!(told.as_ref().map(|(code, _)| &**code), code, "{bytes} bytes");
    }
    assert_eq!(BATCH_MAX, 2_500);
    let many = format!(r#"{{"batch":[{}]}}"#, vec![r#"{"type":"identify","userId":"a"}"#; 2_501].join(","));
    let fault = parse(Call::Batch, many.as_bytes(), &Circumstances::live("web", shop.now)).unwrap_err();
    assert_eq!(fault.code, "too_many");
    let track = |properties: &str| format!(r#"{{"userId":"ana","event":"x","properties":{properties}}}"#);
    let wide = track(&format!("{{\"a\":[{}]}}", vec!["1"; 10_001].join(",")));
    assert!(wide.len() < EVENT_MAX);
    assert_eq!(rejected(&shop, Call::Track, &wide).unwrap().0, "too_many");
    let deep = track(&format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000)));
    assert_eq!(rejected(&shop, Call::Track, &deep).unwrap().0, "too_deep");
}

/// Ingest 9.
#[test]
fn a_name_with_a_nul_or_half_a_character_is_rejected_and_a_long_one_is_kept_whole() {
    let mut shop = Shop::open();
    let named = |name: &str| format!(r#"{{"userId":"ana","traits":{{"name":"{name}"}}}}"#);
    let field = || "traits.name".to_owned();
    let nul = rejected(&shop, Call::Identify, &named(r"a\u0000b"));
    assert_eq!(nul, Some(("nul_character".into(), field())));
    for half in [r"\ud800", r"\udfff", r"a\ud83cb"] {
        assert_eq!(rejected(&shop, Call::Identify, &named(half)), Some(("malformed".into(), field())), "{half}");
    }
    for id in [r"a\u0000b", r"\ud800"] {
        assert!(rejected(&shop, Call::Identify, &format!(r#"{{"userId":"{id}"}}"#)).is_some(), "{id}");
    }
    let long = "n\u{e9}".repeat(10 * 1024 / 3 + 1);
    assert!(long.len() >= 10 * 1024);
    shop.call(Call::Identify, json!({ "userId": "ana", "traits": { "plan": long } }));
    let glimpse = shop.workspace.glimpse(shop.now, &"ana".parse().unwrap()).unwrap().unwrap();
    assert_eq!(glimpse.view().unwrap().traits["plan"], Value::from(long.clone()));
    let told = rejected(&shop, Call::Identify, &json!({ "userId": long }).to_string());
    assert_eq!(told.map(|(_, field)| field), Some("userId".into()), "an id has fewer bytes than a name may have");
    shop.verify();
}

/// Ingest 12.
#[test]
fn history_of_2019_is_booked_on_its_own_dates_and_sends_nothing() {
    let mut workspace = crate::shop::workspace();
    let (joined, now): (Timestamp, Timestamp) =
        ("2019-01-01T09:00:00Z".parse().unwrap(), "2027-06-01T09:00:00Z".parse().unwrap());
    workspace.ask(joined, Asked::new(joined, "test", "ana".parse().unwrap(), None, enroll())).unwrap();
    let item = |order: &str, at: &str| {
        let properties = json!({ "order_id": order, "subtotal": 600 });
        json!({ "type": "track", "messageId": order, "userId": "ana", "event": "Order Completed",
            "timestamp": at, "properties": properties })
    };
    let body = json!({ "batch": [item("A", "2019-02-01T09:00:00Z"), item("B", "2019-11-30T09:00:00Z")] });
    let from = Circumstances { origin: Origin::Import, ..Circumstances::live("history", now) };
    let arrivals = parse(Call::Batch, body.to_string().as_bytes(), &from).unwrap();
    let inputs = arrivals.into_iter().map(|arrival| match arrival {
        Arrival::Event(event) => Input::Event(event),
        Arrival::Reject(reject) => Input::Reject(reject),
    });
    assert_eq!(workspace.take_history(now, inputs.collect()).unwrap().new, 2);
    workspace.advance(now).unwrap();
    let customer = workspace.customer(now, &"ana".parse().unwrap()).unwrap().unwrap();
    let member = customer.member.unwrap();
    assert_eq!(member.years.get(&2019).unwrap().points, 1_200);
    assert_eq!((member.years.len(), member.wallet.totals().expired), (1, 1_200));
    let facts: Vec<Fact> = workspace.journal().iter(0).flat_map(|entry| entry.unwrap().outcome).collect();
    let earned: Vec<String> = facts
        .iter()
        .filter_map(|fact| if let Fact::LotOpened(lot) = fact { Some(lot.earned_at.to_string()) } else { None })
        .collect();
    assert_eq!(earned, ["2019-02-01T09:00:00Z", "2019-11-30T09:00:00Z"]);
    assert!(!facts.iter().any(|fact| matches!(fact, Fact::Queued { .. })), "nobody is told");
    assert_eq!(workspace.verify().unwrap().faults, [""; 0]);
}
