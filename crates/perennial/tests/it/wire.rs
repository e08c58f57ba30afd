//! Messages of other people's clients: recorded ones of real SDKs, tables of hard cases, and noise.

use std::io::Read as _;
use std::path::Path;

use expect_test::{Expect, expect};
use perennial::wire::segment::{BATCH_MAX, BODY_MAX, Call, EVENT_MAX, parse, write_key};
use perennial::wire::{Arrival, Circumstances};
use perennial_core::event::{Body, Event};
use perennial_core::input::Reject;
use perennial_core::time::Timestamp;
use proptest::prelude::*;

const RECEIVED: &str = "2026-11-22T18:00:00Z";

fn received() -> Timestamp {
    RECEIVED.parse().unwrap()
}

fn read(call: Call, body: &str) -> Vec<Arrival> {
    parse(call, body.as_bytes(), &Circumstances::live("web", received())).unwrap()
}

fn one(call: Call, body: &str) -> Result<Event, Reject> {
    match read(call, body).remove(0) {
        Arrival::Event(event) => Ok(*event),
        Arrival::Reject(reject) => Err(*reject),
    }
}

fn track(fields: &str) -> Result<Event, Reject> {
    one(Call::Track, &format!(r#"{{"messageId":"m","event":"Tested",{fields}}}"#))
}

fn rejected(result: Result<Event, Reject>) -> (String, String) {
    let reject = result.expect_err("must be rejected");
    assert!(!reject.reason.is_empty());
    (reject.code.into(), reject.field.into())
}

fn summary(arrival: &Arrival) -> String {
    match arrival {
        Arrival::Reject(r) => format!("REJECT {} {}: {}", r.code, r.field, r.reason),
        Arrival::Event(e) => {
            let ids: Vec<String> = e.ids.iter().map(ToString::to_string).collect();
            let detail = match &e.body {
                Body::Ordered(o) => {
                    let lines: Vec<String> =
                        o.lines.iter().map(|l| format!("{}x{}", l.quantity, l.product_id)).collect();
                    format!(" {} {} {}", o.order_id, o.subtotal.unwrap_or_default(), lines.join("+"))
                }
                Body::Alias { previous } => format!(" from {}:{}", previous.kind, previous.value),
                Body::Page { name } | Body::Screen { name } => format!(" {name}"),
                Body::Group { group_id } => format!(" {group_id}"),
                _ => String::new(),
            };
            format!("{}{detail} [{}]", e.name(), ids.join(" "))
        }
    }
}

/// Replays what a real client sent, as recorded, through the parser.
fn check_recording(client: &str, expected: &Expect) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/recorded").join(client);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let recorded: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let path = recorded["path"].as_str().unwrap();
        let Some(call) = Call::of_path(path.rsplit('/').next().unwrap()) else { continue };
        let arrivals = parse(call, &body_of(&recorded), &Circumstances::live("web", Timestamp::NEVER)).unwrap();
        lines.extend(arrivals.iter().map(summary));
    }
    expected.assert_eq(&(lines.join("\n") + "\n"));
}

pub(crate) fn body_of(recorded: &serde_json::Value) -> Vec<u8> {
    if let Some(text) = recorded["body"].as_str() {
        return text.as_bytes().to_vec();
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(raw_body(recorded).as_slice()).read_to_end(&mut plain).unwrap();
    plain
}

/// The bytes as they were on the wire.
pub(crate) fn raw_body(recorded: &serde_json::Value) -> Vec<u8> {
    match recorded["body_base64"].as_str() {
        Some(encoded) => from_base64(encoded),
        None => recorded["body"].as_str().unwrap().as_bytes().to_vec(),
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut bytes) = (0u32, 0, Vec::new());
    for digit in text.bytes().filter(|b| *b != b'=') {
        let value = DIGITS.iter().position(|d| *d == digit).expect("a base64 digit");
        bits = (bits << 6) | u32::try_from(value).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held).to_le_bytes()[0]);
        }
    }
    bytes
}

#[test]
fn segments_node_client_is_understood() {
    check_recording(
        "analytics-node",
        &expect![[r#"
        identify [ana email:ana@example.com]
        Order Completed A1 120.5 1xtent+2xmug [ana]
        Product Viewed [anonymous:anon-1]
        page Home [ana]
        screen Start [ana]
        group club [ana]
        alias from anonymous:anon-1 [ana]
    "#]],
    );
}

#[test]
fn segments_browser_client_is_understood() {
    check_recording(
        "analytics-next",
        &expect![[r#"
        page Tents [anonymous:a62c44b1-d16a-426c-83c1-b74a55eb30e9]
        Product Viewed [anonymous:a62c44b1-d16a-426c-83c1-b74a55eb30e9]
        identify [ana email:ana@example.com anonymous:a62c44b1-d16a-426c-83c1-b74a55eb30e9]
        Order Completed B1 50 5xmug [ana anonymous:a62c44b1-d16a-426c-83c1-b74a55eb30e9]
        group club [ana anonymous:a62c44b1-d16a-426c-83c1-b74a55eb30e9]
        alias from user:ana [ana anonymous:a62c44b1-d16a-426c-83c1-b74a55eb30e9]
    "#]],
    );
}

#[test]
fn segments_python_client_is_understood() {
    check_recording(
        "segment-analytics-python",
        &expect![[r#"
        identify [12345 email:ana@example.com]
        Order Completed P1 19.90 2xmug [12345]
        Product Added [anonymous:anon-3]
        page Home [12345]
        screen Start [12345]
        group club [12345]
        alias from anonymous:anon-3 [12345]
    "#]],
    );
    check_recording(
        "segment-analytics-python-gzip",
        &expect![[r#"
        identify [12345 email:ana@example.com]
        Order Completed P1 19.90 2xmug [12345]
        Product Added [anonymous:anon-3]
        page Home [12345]
        screen Start [12345]
        group club [12345]
        alias from anonymous:anon-3 [12345]
    "#]],
    );
}

#[test]
fn rudderstacks_node_client_is_understood() {
    check_recording(
        "rudder-sdk-node",
        &expect![[r#"
        identify [ana email:ana@example.com]
        Order Completed R1 20 2xmug [ana]
        Product Added [anonymous:anon-2]
        page Home [ana]
        group club [ana]
        alias from anonymous:anon-2 [ana]
    "#]],
    );
}

#[test]
fn rudderstacks_python_client_is_understood() {
    check_recording(
        "rudder-sdk-python",
        &expect![[r#"
        identify [ana email:ana@example.com]
        Order Completed Q1 30 3xmug [ana]
        page Home [ana]
        group club [ana]
        alias from anonymous:anon-4 [ana]
    "#]],
    );
}

#[test]
fn one_bad_item_does_not_fail_its_batch() {
    let items: Vec<String> = (0..100)
        .map(|i| match i {
            57 => r#"{"type":"track","userId":"ana","messageId":"m57","event":"Order Completed","properties":{"subtotal":1}}"#.into(),
            _ => format!(r#"{{"type":"track","userId":"ana","messageId":"m{i}","event":"Tested"}}"#),
        })
        .collect();
    let arrivals = read(Call::Batch, &format!(r#"{{"batch":[{}]}}"#, items.join(",")));
    let rejects: Vec<_> =
        arrivals.iter().filter_map(|a| if let Arrival::Reject(r) = a { Some(r) } else { None }).collect();
    assert_eq!(arrivals.len(), 100);
    assert_eq!(rejects.len(), 1);
    assert_eq!(rejects[0].message_id.as_deref(), Some("m57"));
    assert_eq!((&*rejects[0].code, &*rejects[0].field), ("missing_field", "properties.order_id"));
}

#[test]
fn items_that_are_no_messages_are_rejected_one_by_one() {
    for (item, code, field) in [
        ("5", "malformed", ""),
        ("null", "malformed", ""),
        (r#"{"userId":"ana"}"#, "missing_field", "type"),
        (r#"{"type":"batch","userId":"ana"}"#, "unknown_type", "type"),
        (r#"{"type":"t","userId":"ana"}"#, "unknown_type", "type"),
        (r#"{"type":"track","userId":"ana"}"#, "missing_field", "event"),
        (r#"{"type":"track","userId":"ana","event":"  "}"#, "missing_field", "event"),
        (r#"{"type":"group","userId":"ana"}"#, "missing_field", "groupId"),
        (r#"{"type":"alias","userId":"ana"}"#, "missing_field", "previousId"),
        (r#"{"type":"alias","userId":"ana","previousId":"null"}"#, "no_identifier", "previousId"),
        (r#"{"type":"track","event":"x","userId":123456789012345678901}"#, "bad_number", "userId"),
        (r#"{"type":"track","event":"x","userId":"\ud800"}"#, "malformed", "userId"),
        (r#"{"type":"track","event":"x","userId":"ana","properties":{"a":"\u0000"}}"#, "nul_character", "properties.a"),
        (r#"{"type":"track","event":"x","userId":"ana","properties":[1]}"#, "wrong_type", "properties"),
        (r#"{"type":"track","event":"x","userId":"ana","timestamp":"yesterday"}"#, "bad_timestamp", "timestamp"),
    ] {
        let arrivals = read(Call::Batch, &format!(r#"{{"batch":[{item},{{"type":"identify","userId":"bo"}}]}}"#));
        let [Arrival::Reject(reject), Arrival::Event(_)] = arrivals.as_slice() else { panic!("{item}: {arrivals:?}") };
        assert_eq!((&*reject.code, &*reject.field), (code, field), "{item}");
    }
}

#[test]
fn a_body_that_cannot_be_taken_apart_is_refused_whole() {
    for (call, body) in [
        (Call::Batch, "{"),
        (Call::Batch, "[]"),
        (Call::Batch, "{}"),
        (Call::Batch, r#"{"batch":{}}"#),
        (Call::Track, r#"{"event":"#),
        (Call::Track, "[]"),
        (Call::Track, ""),
    ] {
        let fault = parse(call, body.as_bytes(), &Circumstances::live("web", received())).unwrap_err();
        assert_eq!(fault.code, "malformed", "{body}");
    }
    let many = |n| format!(r#"{{"batch":[{}]}}"#, vec![r#"{"type":"identify","userId":"a"}"#; n].join(","));
    assert_eq!(read(Call::Batch, &many(BATCH_MAX)).len(), BATCH_MAX);
    let from = Circumstances::live("web", received());
    assert_eq!(parse(Call::Batch, many(BATCH_MAX + 1).as_bytes(), &from).unwrap_err().code, "too_many");
    assert_eq!(parse(Call::Batch, &vec![b' '; BODY_MAX + 1], &from).unwrap_err().code, "too_large");
}

#[test]
fn sizes_are_counted_in_bytes_of_utf8() {
    let sized = |bytes: usize| {
        let frame = r#"{"messageId":"m","userId":"ana","event":"x","properties":{"a":""}}"#.len();
        let fill = bytes - frame;
        let text = format!("{}{}", "é".repeat(fill / 2), "a".repeat(fill % 2));
        format!(r#"{{"messageId":"m","userId":"ana","event":"x","properties":{{"a":"{text}"}}}}"#)
    };
    assert_eq!(sized(EVENT_MAX).len(), EVENT_MAX);
    assert!(one(Call::Track, &sized(EVENT_MAX)).is_ok());
    let reject = one(Call::Track, &sized(EVENT_MAX + 1)).unwrap_err();
    assert_eq!((&*reject.code, reject.message_id.as_deref()), ("too_large", Some("m")));
    assert!(reject.body.len() <= EVENT_MAX);
}

/// Ingest 7.
#[test]
fn numbers_and_texts_of_the_same_digits_are_one_person() {
    let id = |value: &str| {
        track(&format!(r#""userId":{value}"#)).map(|e| e.ids[0].to_string()).map_err(|r| r.code.to_string())
    };
    assert_eq!(id("12345"), id(r#""12345""#));
    assert_eq!(id("12345.0").as_deref(), Ok("12345"));
    assert_ne!(id(r#""007""#), id("7"));
    assert_eq!(id("9007199254740993").as_deref(), Ok("9007199254740993"));
    assert_eq!(id("\"Ame\u{301}lie\""), id("\"Amélie\""));
    for nobody in [
        "0",
        "\"\"",
        "\"null\"",
        "\"undefined\"",
        "\"00000000-0000-0000-0000-000000000000\"",
        "null",
        "true",
        "{}",
        "-1",
        "1.5",
        "\"anonymous\"",
    ] {
        assert_eq!(id(nobody), Err("no_identifier".into()), "{nobody}");
    }
}

#[test]
fn a_placeholder_is_dropped_and_the_rest_used() {
    let ids = |fields: &str| track(fields).unwrap().ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(ids(r#""userId":"null","anonymousId":"a1""#), ["anonymous:a1"]);
    assert_eq!(ids(r#""userId":"ana","anonymousId":null"#), ["ana"]);
    assert_eq!(
        ids(r#""anonymousId":"a1","userId":"ana","context":{"traits":{"email":"Ana+x@Example.COM"},
            "device":{"type":"iOS","id":"d1","advertisingId":"00000000-0000-0000-0000-000000000000","token":"t1"},
            "externalIds":[{"id":"c1","type":"crm_id","collection":"users","encoding":"none"},
                           {"id":"g1","type":"account","collection":"accounts","encoding":"none"},
                           {"id":7,"type":"loyalty_id"},{"id":"h","type":"crm_id","encoding":"sha256"}]}"#),
        ["ana", "email:ana+x@example.com", "anonymous:a1", "crm_id:c1", "ios.id:d1", "ios.push_token:t1", "loyalty:7"]
    );
    assert_eq!(rejected(one(Call::Group, r#"{"groupId":"club"}"#)), ("no_identifier".into(), "userId".into()));
}

#[test]
fn what_identifiers_say_can_be_read_back() {
    let event = track(r#""userId":"ana","context":{"device":{"type":"android","id":"d1"}}"#).unwrap();
    for id in &event.ids {
        assert_eq!(id.to_string().parse(), Ok(id.clone()));
    }
}

/// Ingest 11.
#[test]
fn clocks_are_corrected_and_nothing_happens_in_the_future() {
    let at = |fields: &str| track(&format!(r#""userId":"ana",{fields}"#)).unwrap().at.to_string();
    for (fields, expected) in [
        // A device three years ahead: only the distance between its two readings counts.
        (r#""timestamp":"2029-11-22T12:00:00Z","sentAt":"2029-11-22T13:00:00Z""#, "2026-11-22T17:00:00Z"),
        (r#""originalTimestamp":"2026-11-22T17:00:00Z","sentAt":"2026-11-22T17:30:00Z""#, "2026-11-22T17:30:00Z"),
        (r#""timestamp":"2026-11-22T12:00:00Z""#, "2026-11-22T12:00:00Z"),
        (r#""timestamp":"2029-11-22T12:00:00Z""#, RECEIVED),
        (r#""timestamp":"2026-11-22T12:00:00Z","sentAt":"2026-11-22T11:00:00Z""#, RECEIVED),
        (r#""timestamp":"2026-11-22T12:00:00""#, "2026-11-22T12:00:00Z"),
        (r#""timestamp":"2024-02-29T12:00:00+01:00""#, "2024-02-29T11:00:00Z"),
        (r#""timestamp":"1970-01-01T00:00:00Z""#, "1970-01-01T00:00:00Z"),
        (r#""timestamp":1582977600000"#, "2020-02-29T12:00:00Z"),
        (r#""timestamp":"2026-11-22T12:00:00Z","sentAt":"soon""#, "2026-11-22T12:00:00Z"),
        (r#""timestamp":null,"sentAt":"2026-11-22T12:00:00Z""#, RECEIVED),
    ] {
        assert_eq!(at(fields), expected, "{fields}");
    }
}

#[test]
fn a_batchs_sent_at_and_context_hold_for_all_its_items() {
    let arrivals = read(
        Call::Batch,
        r#"{"sentAt":"2026-11-22T17:30:00Z","context":{"ip":"1.2.3.4","locale":"fr"},"integrations":{"All":false},"batch":[
            {"type":"track","event":"x","userId":"a","timestamp":"2026-11-22T17:00:00Z","context":{"locale":"de"}},
            {"type":"track","event":"x","userId":"a","timestamp":"2026-11-22T17:00:00Z","sentAt":"2026-11-22T17:10:00Z"}]}"#,
    );
    let [Arrival::Event(first), Arrival::Event(second)] = arrivals.as_slice() else { panic!("{arrivals:?}") };
    assert_eq!(first.at.to_string(), "2026-11-22T17:30:00Z");
    assert_eq!(first.original_at.unwrap().to_string(), "2026-11-22T17:00:00Z");
    assert_eq!(second.at.to_string(), "2026-11-22T17:50:00Z");
    let context = |e: &Event| serde_json::to_string(&e.context).unwrap();
    assert_eq!(context(first), r#"{"ip":"1.2.3.4","locale":"de","integrations":{"All":false}}"#);
    assert_eq!(context(second), r#"{"ip":"1.2.3.4","locale":"fr","integrations":{"All":false}}"#);
}

#[test]
fn a_message_without_an_id_is_named_by_its_bytes() {
    let body = r#"{"batch":[{"type":"track","event":"x","userId":"a"},{"type":"track","event":"x","userId":"a"}]}"#;
    let ids = |arrivals: Vec<Arrival>| -> Vec<String> {
        let id = |a: &Arrival| if let Arrival::Event(e) = a { e.message_id.to_string() } else { panic!("{a:?}") };
        arrivals.iter().map(id).collect()
    };
    let first = ids(read(Call::Batch, body));
    assert_ne!(first[0], first[1], "twice in one batch is two messages");
    assert_eq!(first, ids(read(Call::Batch, body)), "a retry is the same two messages");
    assert_eq!(one(Call::Track, r#"{"messageId":7,"event":"x","userId":"a"}"#).unwrap().message_id.as_ref(), "7");
}

#[test]
fn traits_of_the_person_are_gathered_and_those_of_a_group_are_not() {
    let event =
        one(Call::Identify, r#"{"userId":"a","traits":{"name":"A"},"context":{"traits":{"name":"B","plan":"x"}}}"#);
    assert_eq!(serde_json::to_string(&event.unwrap().traits).unwrap(), r#"{"name":"A","plan":"x"}"#);
    let group = one(Call::Group, r#"{"userId":"a","groupId":"g","traits":{"email":"office@x.example"}}"#).unwrap();
    assert!(group.traits.is_empty() && group.ids.len() == 1);
    assert!(group.property("email").is_some());
}

#[test]
fn consent_is_read_and_an_empty_object_refuses_everything() {
    let consent = |preferences: &str| {
        let fields = format!(r#""userId":"a","context":{{"consent":{preferences}}}"#);
        track(&fields).unwrap().consent.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        consent(r#"{"categoryPreferences":{"ads":false,"analytics":true,"odd":"yes"}}"#),
        "ads=false analytics=true"
    );
    assert_eq!(consent(r#"{"categoryPreferences":{}}"#), "*=false");
    assert_eq!(consent("{}"), "");
    assert_eq!(consent("null"), "");
}

#[test]
fn orders_of_both_versions_mean_the_same() {
    let v2 = r#"{"userId":"a","messageId":"m","event":"Order Completed","properties":{"order_id":"7","currency":"EUR","subtotal":"19.90",
        "tax":1,"coupon":"X","products":[{"product_id":"p","price":9.95,"quantity":2,"name":"Mug"}]}}"#;
    let v1 = r#"{"userId":"a","messageId":"m","event":"Completed Order","properties":{"orderId":7,"currency":"EUR","subtotal":19.9,
        "tax":"1","coupon":"X","products":[{"id":"p","price":"9.95","quantity":"2","name":"Mug"}]}}"#;
    let (v2, v1) = (one(Call::Track, v2).unwrap(), one(Call::Track, v1).unwrap());
    assert_eq!((&v2.body, &v2.properties), (&v1.body, &v1.properties));
    assert_eq!(serde_json::to_string(&v2.properties).unwrap(), r#"{"coupon":"X"}"#);
    let Body::Ordered(order) = v2.body else { panic!("{:?}", v2.body) };
    assert_eq!(serde_json::to_string(&order.lines[0].about).unwrap(), r#"{"name":"Mug"}"#);
}

#[test]
fn old_names_become_todays() {
    for (old, new) in [
        ("Completed Order", "Order Completed"),
        ("order completed", "Order Completed"),
        ("Added Product", "Product Added"),
        ("Removed Product", "Product Removed"),
        ("Viewed Product", "Product Viewed"),
        ("Viewed Cart", "Cart Viewed"),
        ("Order Canceled", "Order Cancelled"),
        ("Started Checkout", "Checkout Started"),
        ("My Own Event", "My Own Event"),
    ] {
        let body = format!(
            r#"{{"userId":"a","event":"{old}","properties":{{"order_id":"1","product_id":"p","products":[]}}}}"#
        );
        assert_eq!(one(Call::Track, &body).unwrap().name(), new);
    }
}

#[test]
fn an_order_that_cannot_count_says_why() {
    let order = |properties: &str| {
        let body =
            format!(r#"{{"userId":"a","event":"Order Completed","properties":{{"order_id":"1",{properties}}}}}"#);
        one(Call::Track, &body)
    };
    for (properties, code, field) in [
        (r#""subtotal":"€19""#, "bad_number", "properties.subtotal"),
        (r#""subtotal":-1"#, "bad_number", "properties.subtotal"),
        (r#""total":{}"#, "bad_number", "properties.total"),
        (r#""products":{}"#, "wrong_type", "properties.products"),
        (r#""products":[1]"#, "wrong_type", "properties.products[0]"),
        (r#""products":[{"price":1},{"price":"x"}]"#, "bad_number", "properties.products[1].price"),
        (r#""products":[{"quantity":-1}]"#, "bad_number", "properties.products[0].quantity"),
        (r#""paid_with_points":{"points":1.5,"amount":1}"#, "bad_number", "properties.paid_with_points.points"),
    ] {
        assert_eq!(rejected(order(properties)), (code.into(), field.into()), "{properties}");
    }
    let Body::Ordered(order) =
        order(r#""subtotal":"","products":[{"product_id":"cheese","price":10,"quantity":0.25},{"quantity":0}]"#)
            .unwrap()
            .body
    else {
        panic!()
    };
    assert_eq!(order.subtotal, None);
    assert_eq!(order.lines.len(), 1, "a line of no pieces is no line");
    let cheese = &order.lines[0];
    assert_eq!((cheese.price.unwrap().to_string(), cheese.quantity.to_string()), ("10".into(), "0.25".into()));
}

#[test]
fn an_id_that_is_too_long_is_told_so() {
    let call = |field: &str, bytes| format!(r#"{{"messageId":"m","event":"Paid","{field}":"{}"}}"#, "u".repeat(bytes));
    for field in ["userId", "anonymousId"] {
        assert!(one(Call::Track, &call(field, 512)).is_ok());
        let Err(reject) = one(Call::Track, &call(field, 513)) else { panic!("{field} of 513 bytes is taken") };
        assert_eq!((&*reject.code, &*reject.field), ("no_identifier", field));
        assert!(reject.reason.contains("513") && reject.reason.contains("512"), "{}", reject.reason);
    }
}

#[test]
fn only_what_an_order_owns_may_come_without_a_person() {
    let call = |event: &str| {
        format!(r#"{{"messageId":"m","event":"{event}","properties":{{"order_id":"1","product_id":"p"}}}}"#)
    };
    for event in ["Order Refunded", "Refunded Order", "Order Cancelled"] {
        let event = one(Call::Track, &call(event)).unwrap();
        assert!(event.ids.is_empty() && event.may_be_nameless(), "{}", event.name());
    }
    for event in ["Order Completed", "Order Updated", "Product Viewed", "Anything"] {
        assert_eq!(rejected(one(Call::Track, &call(event))), ("no_identifier".into(), "userId".into()), "{event}");
    }
}

#[test]
fn a_refund_without_an_id_is_named_by_its_message() {
    let refund = |properties: &str| {
        let body = format!(
            r#"{{"userId":"a","messageId":"m","event":"Order Refunded","properties":{{"order_id":"1",{properties}}}}}"#
        );
        let Body::Refunded(refund) = one(Call::Track, &body).unwrap().body else { panic!() };
        (refund.refund_id.to_string(), refund.total.unwrap_or_default().to_string())
    };
    assert_eq!(refund(r#""total":20"#), ("m".into(), "20".into()));
    assert_eq!(refund(r#""refund_id":"r","total":-20"#), ("r".into(), "20".into()));
}

#[test]
fn two_names_become_one_person() {
    let body = r#"{"mergeProperties":[{"type":"email","value":"A@x.example"},{"type":"user_id","value":"ana"}]}"#;
    let event = one(Call::Merge, body).unwrap();
    assert_eq!(summary(&Arrival::Event(Box::new(event))), "alias from user:ana [email:a@x.example]");
}

#[test]
fn a_body_that_is_not_utf8_fails_only_the_damaged_item() {
    let mut body = br#"{"batch":[{"type":"identify","userId":"a"},{"type":"identify","userId":"?"}]}"#.to_vec();
    let place = body.iter().position(|b| *b == b'?').unwrap();
    body[place] = 0xff;
    let arrivals = parse(Call::Batch, &body, &Circumstances::live("web", received())).unwrap();
    let [Arrival::Event(_), Arrival::Reject(reject)] = arrivals.as_slice() else { panic!("{arrivals:?}") };
    let sound = "{\"batch\":[{\"type\":\"identify\",\"userId\":\"a\",\"traits\":{\"name\":\"Caf\u{fffd}\"}}]}";
    let arrivals = parse(Call::Batch, sound.as_bytes(), &Circumstances::live("web", received())).unwrap();
    assert!(matches!(arrivals.as_slice(), [Arrival::Event(_)]), "damaged elsewhere, long ago: {arrivals:?}");
    assert_eq!(&*reject.code, "not_utf8");
}

fn any_call() -> impl Strategy<Value = Call> {
    prop::sample::select(vec![
        Call::Identify,
        Call::Track,
        Call::Page,
        Call::Screen,
        Call::Group,
        Call::Alias,
        Call::Merge,
        Call::Batch,
    ])
}

/// JSON that looks like messages, with every field of a random shape.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| f.to_string()),
        "\\PC{0,12}".prop_map(|s| serde_json::to_string(&s).unwrap()),
        Just(r#""Order Completed""#.to_owned()),
        Just(r#""2026-01-01T00:00:00Z""#.to_owned()),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        let name = prop::sample::select(vec![
            "type",
            "userId",
            "anonymousId",
            "event",
            "properties",
            "products",
            "order_id",
            "quantity",
            "price",
            "total",
            "context",
            "traits",
            "email",
            "externalIds",
            "device",
            "consent",
            "categoryPreferences",
            "timestamp",
            "sentAt",
            "messageId",
            "batch",
            "mergeProperties",
            "previousId",
            "paid_with_points",
            "id",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((name, inner), 0..8).prop_map(|entries| {
                let entries: Vec<String> = entries.into_iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
                format!("{{{}}}", entries.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_the_parser_panic(call in any_call(), body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(call, &body, &Circumstances::live("web", received()));
    }

    #[test]
    fn no_message_is_lost_or_from_the_future(call in any_call(), body in any_json()) {
        if let Ok(arrivals) = parse(call, body.as_bytes(), &Circumstances::live("web", received())) {
            prop_assert!(call == Call::Batch || arrivals.len() == 1);
            for arrival in arrivals {
                if let Arrival::Event(event) = arrival {
                    prop_assert!(event.at <= received() && !event.ids.is_empty() && !event.message_id.is_empty());
                }
            }
        }
    }

    #[test]
    fn a_batch_that_can_be_taken_apart_keeps_its_key(at in 0usize..300, byte in any::<u8>(), marked in any::<bool>()) {
        let key = r#"{"writeKey":"k","#;
        let rest = r#""sentAt":"2026","batch":[{"type":"track","userId":"é","event":"caf\u00e9"},{"userId":"bo"}],"x":{}}"#;
        let mut body = [if marked { &b"\xef\xbb\xbf"[..] } else { b"" }, key.as_bytes(), rest.as_bytes()].concat();
        let begins = body.len() - rest.len();
        body[begins + at % rest.len()] = byte;
        if parse(Call::Batch, &body, &Circumstances::live("web", received())).is_ok() {
            prop_assert_eq!(write_key(&body).unwrap(), Some("k".to_owned()));
        }
    }

    #[test]
    fn damaged_recordings_never_panic(cut in 0usize..3_000, flip in any::<u8>()) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/recorded/analytics-node/01.json");
        let recorded: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let mut body = body_of(&recorded);
        let at = cut % body.len();
        body[at] ^= flip;
        let _ = parse(Call::Batch, &body, &Circumstances::live("web", received()));
        body.truncate(at);
        let _ = parse(Call::Batch, &body, &Circumstances::live("web", received()));
    }
}
