//! The doors, tried in process: what clients and callers are answered.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use base64::Engine as _;
use expect_test::expect_file;
use perennial::http::keys::{Grant, KeyRing, Scope};
use perennial::http::server::{Config, Server};
use perennial::http::{App, Stop, docs, router};
use perennial::pump::{Clock, Pump};
use perennial::wire::segment::BODY_MAX;
use perennial::workspace::Workspace;
use perennial_core::time::Timestamp;
use perennial_store::{Fault, MemoryDisk, Write};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

use crate::wire::raw_body;

const NOON: &str = "2026-11-22T12:00:00Z";

/// A whole server without a socket.
pub(crate) struct House {
    pump: Pump,
    disk: MemoryDisk,
    router: Router,
    app: App,
    write_key: String,
    pub(crate) secret: String,
    read_only: String,
    stop: Stop,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    pub(crate) fn check(&self, status: u16, code: &str) {
        let body = self.json();
        assert_eq!((self.status.as_u16(), body["code"].as_str().unwrap_or("")), (status, code), "{}", self.text);
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }
}

impl House {
    pub(crate) fn open() -> Self {
        Self::with_queue(64 * 1024 * 1024)
    }

    fn with_queue(bytes: usize) -> Self {
        let disk = MemoryDisk::new();
        Self::over(crate::shop::on(&disk), disk, NOON.parse().unwrap(), bytes)
    }

    /// A server over a workspace, with a clock that stands still.
    pub(crate) fn over(workspace: Workspace, disk: MemoryDisk, noon: Timestamp, bytes: usize) -> Self {
        let clock = Clock::Manual(Arc::new(AtomicI64::new(noon.as_millis())));
        let pump = Pump::start_with(workspace, clock, bytes).unwrap();
        let (keys, first) = KeyRing::in_memory(noon).unwrap();
        let read_only = keys.add("reader", Grant::Secret { scopes: vec![Scope::Read] }, noon).unwrap();
        let (app, stop) = App::new(pump.handle(), keys, None);
        let router = router(app.clone());
        Self { pump, disk, router, app, write_key: first.write, secret: first.secret, read_only, stop }
    }

    /// Another key of this installation.
    pub(crate) fn key(&self, name: &str, grant: Grant) -> String {
        self.app.keys().add(name, grant, NOON.parse().unwrap()).unwrap()
    }

    /// What is answered, which must be what the API's description says.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let answer = Answer { status: head.status, headers: head.headers, text };
        crate::openapi::check(&method, &path, &answer);
        answer
    }

    /// The status alone, of what may answer without end.
    pub(crate) async fn status(&self, request: Request<Body>) -> u16 {
        self.router.clone().oneshot(request).await.unwrap().status().as_u16()
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Sends events as a client with the right key.
    pub(crate) async fn ingest(&self, path: &str, body: &Value) -> Answer {
        self.post(path, &[("authorization", &format!("Bearer {}", self.write_key))], body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("authorization", format!("Bearer {}", self.secret));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn command(&self, path: &str, key: &str, body: Value) -> Answer {
        let bearer = format!("Bearer {}", self.secret);
        self.post(path, &[("authorization", &bearer), ("idempotency-key", key)], body.to_string()).await
    }

    pub(crate) async fn call_off(&self, path: &str) -> Answer {
        let request = Request::delete(path).header("authorization", format!("Bearer {}", self.secret));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// The writer does nothing else until it is released.
    async fn keep_busy(&self) -> std::sync::mpsc::Sender<()> {
        let (release, held) = std::sync::mpsc::channel();
        let (started, running) = tokio::sync::oneshot::channel();
        let pump = self.pump.handle();
        tokio::spawn(async move {
            pump.call(move |_, _| {
                started.send(()).unwrap();
                held.recv().unwrap();
                Ok(())
            })
            .await
        });
        running.await.unwrap();
        release
    }

    /// The next append fails.
    fn break_journal(&self) {
        self.disk.fail_next(Write::Append, Fault::Before);
    }
}

fn track(message_id: &str) -> Value {
    json!({"type": "track", "messageId": message_id, "userId": "ana", "event": "Tested"})
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[tokio::test]
async fn recorded_clients_are_answered_as_delivered() {
    let house = House::open();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/recorded");
    let mut sent = 0;
    for client in std::fs::read_dir(folder).unwrap() {
        for file in std::fs::read_dir(client.unwrap().path()).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            // The recorded key is another installation's; ours takes its place in every form.
            let engine = base64::engine::general_purpose::STANDARD;
            let ours = engine.encode(format!("{}:", house.write_key));
            let text = text.replace("d2tfdGVzdDo=", &ours).replace("wk_test", &house.write_key);
            let recorded: Value = serde_json::from_str(&text).unwrap();
            let mut request = Request::builder()
                .method(recorded["method"].as_str().unwrap())
                .uri(recorded["path"].as_str().unwrap())
                .header("host", "collect.shop.example");
            for (name, value) in recorded["headers"].as_object().unwrap() {
                request = request.header(name, value.as_str().unwrap());
            }
            let answer = house.send(request.body(raw_body(&recorded).into()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::OK, "{text}\n{}", answer.text);
            if recorded["method"] == "POST" {
                assert_eq!(answer.text, r#"{"success":true}"#);
                assert_eq!(answer.header("content-type"), Some("application/json"));
                sent += 1;
            } else {
                assert_eq!(answer.json()["integrations"]["Segment.io"]["apiHost"], "collect.shop.example/v1");
            }
        }
    }
    assert!(sent >= 10, "only {sent} requests were recorded");
    assert_eq!(house.get("/v1/customers/ana").await.status, StatusCode::OK);
    assert_eq!(house.get("/v1/customers/12345").await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_path_and_its_letter_is_a_call() {
    let house = House::open();
    let body = json!({"userId": "ana", "event": "Tested", "groupId": "g", "previousId": "a1",
        "mergeProperties": [{"type": "email", "value": "a@x.example"}, {"type": "user", "value": "ana"}]});
    for call in "identify track page screen group alias merge i t p s g a".split(' ') {
        let answer = house.ingest(&format!("/v1/{call}"), &body).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, r#"{"success":true}"#), "{call}");
    }
    for call in ["batch", "import", "b"] {
        let answer = house.ingest(&format!("/v1/{call}"), &json!({"batch": [track("m1")]})).await;
        assert_eq!(answer.status, StatusCode::OK, "{call}");
    }
    house.ingest("/v1/nonsense", &body).await.check(404, "not_found");
    house.get("/v1/track").await.check(405, "method_not_allowed");
}

#[tokio::test]
async fn keys_are_taken_wherever_clients_put_them() {
    let house = House::open();
    let key = &house.write_key;
    let basic = |text: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
    let plain = track("m").to_string();
    for authorization in [basic(&format!("{key}:")), basic(key), format!("Bearer {key}")] {
        let answer = house.post("/v1/track", &[("authorization", &authorization)], plain.clone()).await;
        assert_eq!(answer.status, StatusCode::OK, "{authorization}");
    }
    let mut with_key = track("m2");
    with_key["writeKey"] = json!(key);
    assert_eq!(house.post("/v1/track", &[], with_key.to_string()).await.status, StatusCode::OK);
    let other = [("authorization", "Bearer someone-elses-token")];
    assert_eq!(house.post("/v1/track", &other, with_key.to_string()).await.status, StatusCode::OK);
    house.post("/v1/track", &[], plain.clone()).await.check(401, "invalid_write_key");
    let secret = format!("Bearer {}", house.secret);
    house.post("/v1/track", &[("authorization", &secret)], plain).await.check(401, "invalid_write_key");
}

/// Ingest 5.
#[tokio::test]
async fn encodings_are_undone_whatever_the_label_says() {
    let house = House::open();
    let auth = ("authorization", &*format!("Bearer {}", house.write_key));
    let body = json!({"batch": [track("m1")]}).to_string();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(body.as_bytes()).unwrap();
    let zlib = zlib.finish().unwrap();
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    raw.write_all(body.as_bytes()).unwrap();
    let raw = raw.finish().unwrap();
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (headers, body) in [
        (vec![auth, ("content-encoding", "gzip")], gzip(body.as_bytes())),
        (vec![auth, ("content-encoding", "gzip"), form], gzip(body.as_bytes())),
        (vec![auth, form], gzip(body.as_bytes())),
        (vec![auth, ("content-encoding", "gzip")], body.clone().into_bytes()),
        (vec![auth, ("content-encoding", "deflate")], zlib),
        (vec![auth, ("content-encoding", "deflate")], raw),
        (vec![auth, ("content-type", "text/plain")], body.clone().into_bytes()),
    ] {
        let answer = house.post("/v1/batch", &headers, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{headers:?}: {}", answer.text);
    }
    let packed = [auth, ("content-encoding", "gzip")];
    let whole = gzip(body.as_bytes());
    house.post("/v1/batch", &packed, whole[..whole.len() / 2].to_vec()).await.check(400, "bad_encoding");
    house.post("/v1/batch", &packed, gzip(&vec![b' '; 5 * BODY_MAX])).await.check(400, "too_large");
    house.post("/v1/batch", &[auth, ("content-encoding", "br")], body).await.check(400, "bad_encoding");
    house.post("/v1/batch", &[auth], vec![b' '; BODY_MAX + 1]).await.check(400, "too_large");
}

#[tokio::test]
async fn browsers_of_other_sites_may_send() {
    let house = House::open();
    let preflight = Request::options("/v1/t")
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-retry-count")
        .body(Body::empty())
        .unwrap();
    let answer = house.send(preflight).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let allowed = answer.header("access-control-allow-headers").unwrap();
    assert!(["authorization", "content-type", "x-retry-count"].iter().all(|h| allowed.contains(h)), "{allowed}");
    let refused = house.post("/v1/t", &[("origin", "https://shop.example")], "{}").await;
    refused.check(401, "invalid_write_key");
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"), "a browser must be able to read the error");
    assert_eq!(house.get("/v1/customers/ana").await.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_write_key_in_the_body_is_found_wherever_its_messages_are() {
    let house = House::open();
    let keyed = |messages: Vec<Value>| json!({"writeKey": house.write_key, "batch": messages}).to_string().into_bytes();
    let bad = json!({"type": "track", "messageId": "bad", "userId": "ana", "event": "caf#"});
    let mut body = [b"\xef\xbb\xbf", &keyed(vec![track("good"), bad])[..]].concat();
    let place = body.iter().position(|byte| *byte == b'#').unwrap();
    body[place] = 0xe9;
    let answer = house.post("/v1/batch", &[], body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(house.get("/v1/events/good").await.json()["status"], "accepted");
    assert_eq!(house.get("/v1/events/bad").await.json()["code"], "not_utf8");
    let single = json!({"writeKey": house.write_key, "userId": "ana", "event": "x", "context": {}, "messageId": "one"});
    let single = single.to_string().replace("{}", r#"{"a":1e400}"#);
    house.post("/v1/track", &[], single).await.check(400, "malformed");
    assert_eq!(house.get("/v1/events/one").await.json()["status"], "rejected");
}

#[tokio::test]
async fn a_body_that_is_no_json_is_told_so_before_it_is_asked_for_its_key() {
    let house = House::open();
    for (body, said) in [
        ("", "the body is empty; send JSON"),
        ("{", "the body ends before its JSON does: it was cut off"),
        ("[]", "the body is not the JSON that this call takes: "),
        ("user=ana", "the body is not JSON: no value where one should be, at line 1, column 1"),
        (r#"{"batch":[}"#, "the body is not JSON: no value where one should be, at line 1, column 11"),
        (r#"{"a":tru}"#, "the body is not JSON: a word that is none of true, false and null, at line 1, column "),
    ] {
        let answer = house.post("/v1/batch", &[], body).await;
        answer.check(400, "malformed");
        assert!(answer.text.contains(said), "{body}: {}", answer.text);
    }
    let answer = house.ingest("/v1/batch", &json!({})).await;
    answer.check(400, "malformed");
    assert!(answer.text.contains(r#"batch is missing; send {\"batch\": [...]}"#), "{}", answer.text);
    for body in ["{}", r#"{"writeKey":5}"#, r#"{"writeKey":"","batch":[]}"#, r#"{"writeKey":"nobodys","batch":[]}"#] {
        house.post("/v1/batch", &[], body).await.check(401, "invalid_write_key");
    }
}

#[tokio::test]
async fn receipts_say_what_became_of_a_message() {
    let house = House::open();
    let bad = json!({"type": "track", "messageId": "bad", "userId": "ana", "event": "Order Completed"});
    let answer = house.ingest("/v1/batch", &json!({"batch": [track("good"), bad]})).await;
    assert_eq!(answer.status, StatusCode::OK, "one bad item does not fail the batch");
    let good = house.get("/v1/events/good").await.json();
    assert_eq!(
        (&good["status"], &good["event"], &good["source"]),
        (&json!("accepted"), &json!("Tested"), &json!("default"))
    );
    assert!(good["customer"].as_str().unwrap().starts_with("cus_"));
    let bad = house.get("/v1/events/bad").await.json();
    assert_eq!(
        (&bad["status"], &bad["code"], &bad["field"]),
        (&json!("rejected"), &json!("missing_field"), &json!("properties.order_id"))
    );
    house.ingest("/v1/batch", &json!({"batch": [track("good"), track("good")]})).await;
    let again = house.get("/v1/events/good").await.json();
    assert_eq!((&good["repeated"], &again["repeated"]), (&json!(0), &json!(2)), "duplicates that changed nothing");
    assert_eq!((&again["seq"], &again["facts"]), (&good["seq"], &good["facts"]));
    house.get("/v1/events/never-sent").await.check(404, "unknown_event");
    house.get("/v1/events/good?source=other").await.check(404, "unknown_event");
}

#[tokio::test]
async fn a_trait_that_is_not_of_its_type_is_named_in_the_receipt() {
    let house = House::open();
    let said = |born: &str| json!({"messageId": born, "userId": "ana", "traits": {"birthday": born, "shoes": 5}});
    for (born, noted) in [("1990-11-26", json!([])), ("26.11.1990", json!(["wrong_type: birthday"]))] {
        assert_eq!(house.ingest("/v1/identify", &said(born)).await.status, StatusCode::OK);
        let receipt = house.get(&format!("/v1/events/{born}")).await.json();
        let facts = receipt["facts"].as_array().unwrap().iter();
        let notes: Vec<_> = facts.filter(|fact| fact["kind"] == "noted").map(|fact| fact["details"].clone()).collect();
        assert_eq!((&receipt["status"], json!(notes)), (&json!("accepted"), noted));
    }
}

#[tokio::test]
async fn a_single_message_that_cannot_count_is_told_so_and_kept() {
    let house = House::open();
    let answer = house.ingest("/v1/track", &json!({"messageId": "m", "event": "x", "userId": "null"})).await;
    answer.check(400, "no_identifier");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(house.get("/v1/events/m").await.json()["status"], "rejected");
    house.ingest("/v1/batch", &json!({"batch": 5})).await.check(400, "malformed");
    let many = json!({"batch": vec![track("m"); 2_501]});
    house.ingest("/v1/batch", &many).await.check(400, "too_many");
}

/// Ingest 4.
#[tokio::test]
async fn a_batch_with_one_bad_item_is_answered_as_taken() {
    let house = House::open();
    let mut items: Vec<Value> = (1..=100).map(|n| track(&format!("m{n}"))).collect();
    items.iter_mut().for_each(|item| item["type"] = "track".into());
    items[56]["event"] = json!(57);
    let answer = house.ingest("/v1/batch", &json!({ "batch": items })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    for (n, status) in [(56, "accepted"), (57, "rejected"), (58, "accepted")] {
        assert_eq!(house.get(&format!("/v1/events/m{n}")).await.json()["status"], status, "{n}");
    }
}

#[tokio::test]
async fn customers_are_read_by_any_of_their_names() {
    let house = House::open();
    house
        .ingest("/v1/identify", &json!({"userId": "ana", "anonymousId": "a1", "traits": {"email": "Ana@X.example"}}))
        .await;
    let id = house.get("/v1/customers/ana").await.json()["id"].as_str().unwrap().to_owned();
    for name in ["email:ana@x.example", "anonymous:a1", &id, "email%3Aana%40x.example"] {
        assert_eq!(house.get(&format!("/v1/customers/{name}")).await.json()["id"], json!(id), "{name}");
    }
    house.get("/v1/customers/bo").await.check(404, "unknown_customer");
    house.get("/v1/customers/null").await.check(400, "bad_reference");
    house.get("/v1/customers/bo/timeline").await.check(404, "unknown_customer");
    assert_eq!(house.get("/v1/customers/ana/ledger").await.json()["entries"], json!([]));
    house.ingest("/v1/track", &track("m2")).await;
    let page = house.get("/v1/customers/ana/timeline?limit=1").await.json();
    assert_eq!(page["entries"][0]["name"], "Tested");
    let before = page["next_before"].as_u64().unwrap();
    let rest = house.get(&format!("/v1/customers/ana/timeline?before={before}")).await.json();
    assert_eq!((&rest["entries"][0]["name"], &rest["next_before"]), (&json!("identify"), &Value::Null));
}

#[tokio::test]
async fn scopes_decide_who_may_ask() {
    let house = House::open();
    house.ingest("/v1/track", &track("m")).await;
    let with = |key: &str| format!("Bearer {key}");
    let read_only = with(&house.read_only);
    let get = |authorization: String| Request::get("/v1/customers/ana").header("authorization", authorization);
    let read = house.send(get(read_only.clone()).body(Body::empty()).unwrap()).await;
    assert_eq!(read.status, StatusCode::OK);
    let written = house.post("/v1/customers/ana/enroll", &[("authorization", &read_only)], "{}").await;
    written.check(403, "not_authorised");
    assert_eq!(written.header("content-type"), Some("application/problem+json"));
    house.send(get(with(&house.write_key)).body(Body::empty()).unwrap()).await.check(401, "invalid_key");
    house.send(Request::get("/v1/stream").body(Body::empty()).unwrap()).await.check(401, "invalid_key");
}

/// Hard case 21, 22.
#[tokio::test]
async fn a_key_gives_the_first_answer_again() {
    let house = House::open();
    let first = house.command("/v1/customers/ana/enroll", "k0", json!({})).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (StatusCode::OK, None), "{}", first.text);
    let path = "/v1/customers/ana/adjust";
    let first = house.command(path, "k1", json!({"points": 100, "reason": "sorry"})).await;
    let again = house.command(path, "k1", json!({"reason": "sorry", "points": 100})).await;
    assert_eq!((first.status, &first.text), (StatusCode::OK, &again.text));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    house.command(path, "k1", json!({"points": 150, "reason": "sorry"})).await.check(422, "idempotency_key_reused");
    let points = house.get("/v1/customers/ana").await.json()["points"]["available"].clone();
    assert_eq!(points, json!(100));
}

#[tokio::test]
async fn a_merge_is_taken_back_once_per_key() {
    let house = House::open();
    for who in ["ana", "bo"] {
        house.command(&format!("/v1/customers/{who}/enroll"), "e", json!({})).await;
    }
    let id = |answer: Answer| answer.json()["id"].as_str().unwrap().to_owned();
    let bo = id(house.get("/v1/customers/bo").await);
    house.command("/v1/customers/bo/unmerge", "u0", json!({})).await.check(409, "not_merged");
    house.command("/v1/customers/ana/merge", "m", json!({"from": "bo"})).await;
    assert_ne!(id(house.get("/v1/customers/bo").await), bo);
    let first = house.command("/v1/customers/bo/unmerge", "u", json!({})).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text);
    assert_eq!(first.json()["facts"][0]["kind"], "parted", "{}", first.text);
    let again = house.command("/v1/customers/bo/unmerge", "u", json!({})).await;
    assert_eq!((again.header("idempotency-replayed"), &again.text), (Some("true"), &first.text));
    house.command("/v1/customers/bo/unmerge", "u1", json!({})).await.check(409, "not_merged");
    for name in ["bo", &bo] {
        assert_eq!(id(house.get(&format!("/v1/customers/{name}")).await), bo);
    }
    let reader = format!("Bearer {}", house.read_only);
    house.post("/v1/customers/bo/unmerge", &[("authorization", &reader)], "{}").await.check(403, "not_authorised");
}

#[tokio::test]
async fn a_refusal_is_a_problem_and_is_remembered_too() {
    let house = House::open();
    house.ingest("/v1/track", &track("m")).await;
    let ask = || house.command("/v1/customers/ana/adjust", "k", json!({"points": 5, "reason": "x"}));
    let first = ask().await;
    first.check(409, "not_a_member");
    assert_eq!(first.header("content-type"), Some("application/problem+json"));
    assert_eq!(first.json()["type"], "/docs/problems#not_a_member");
    let enrolled = house.command("/v1/customers/ana/enroll", "k", json!({})).await;
    assert_eq!(enrolled.status, StatusCode::OK, "a key belongs to its operation");
    let again = ask().await;
    again.check(409, "not_a_member");
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    house.command("/v1/customers/ana/redeem", "k3", json!({"reward": "moon"})).await.check(422, "unknown_reward");
    house.command("/v1/customers/bo/redeem", "k4", json!({"reward": "moon"})).await.check(404, "unknown_customer");
}

#[tokio::test]
async fn a_refusal_is_told_again_with_its_words_and_figures_whatever_has_happened_since() {
    const CLUB: &str = "
perennial: 1
id: club
name: Club
currency: EUR
time_zone: UTC
tiers: { by: spend, levels: [{ id: base, from: 0 }, { id: gold, from: 500 }] }
rewards:
  - { id: mug, name: Mug, points: 100 }
  - { id: crown, name: Crown, points: 1, tier: gold }
  - { id: badge, name: Badge, points: 1, per_member: 1 }
  - { id: sticker, name: Sticker, points: 1, stock: 1 }
";
    let house = House::open();
    let request = Request::put("/v1/programs/club").header("authorization", format!("Bearer {}", house.secret));
    assert_eq!(house.send(request.body(Body::from(CLUB)).unwrap()).await.status, StatusCode::OK);
    let ask = async |operation: &str, key: &str, body: &Value| {
        house.command(&format!("/v1/customers/ana/{operation}"), key, body.clone()).await
    };
    let done = async |operation: &str, key: &str, body: Value| {
        let answer = ask(operation, key, &body).await;
        assert!(answer.status.is_success(), "{}", answer.text);
    };
    done("enroll", "e", json!({})).await;
    done("adjust", "a", json!({"points": 9, "reason": "welcome"})).await;
    done("redeem", "b", json!({"reward": "badge"})).await;
    let refusals = [
        ("redeem", json!({"reward": "mug"}), "insufficient_points", "this costs 100 points, 8 are available"),
        ("redeem", json!({"reward": "crown"}), "tier_required", "'crown' is for members who have reached gold"),
        ("redeem", json!({"reward": "badge"}), "limit_reached", "a member may have 'badge' 1 times"),
        ("redeem", json!({"reward": "sticker", "quantity": 2}), "out_of_stock", "of 'sticker' 1 are left"),
        ("redeem", json!({"reward": "rug"}), "unknown_reward", "no reward has the id 'rug', did you mean 'mug'?"),
        (
            "adjust",
            json!({"points": -9, "reason": "x"}),
            "insufficient_points",
            "this takes away 9 points, 8 are available",
        ),
        (
            "hold",
            json!({"points": 9, "for": "PT1H", "hold": "h"}),
            "insufficient_points",
            "this costs 9 points, 8 are available",
        ),
    ];
    let mut first = Vec::new();
    for (key, (operation, body, code, detail)) in refusals.iter().enumerate() {
        let answer = ask(operation, &format!("k{key}"), body).await;
        assert_eq!((&answer.json()["code"], &answer.json()["detail"]), (&json!(code), &json!(detail)));
        assert_eq!(answer.header("idempotency-replayed"), None);
        first.push(answer);
    }
    assert_eq!(first[0].json()["details"], json!({"asked": 100, "available": 8}));
    done("adjust", "a2", json!({"points": 1_000, "reason": "sorry"})).await;
    done("redeem", "s", json!({"reward": "sticker"})).await;
    for (key, (operation, body, ..)) in refusals.iter().enumerate() {
        let again = ask(operation, &format!("k{key}"), body).await;
        assert_eq!((again.status, &again.text), (first[key].status, &first[key].text));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
    let told = house.get("/v1/customers/ana/timeline?limit=100").await;
    assert!(told.text.contains("this costs 100 points, 8 are available"), "{}", told.text);
}

#[tokio::test]
async fn a_level_by_hand_holds_through_the_day_that_is_named() {
    let house = House::open(); // In Denver.
    house.command("/v1/customers/ana/enroll", "e", json!({})).await;
    let set = async |key: &str, until: &str| {
        house.command("/v1/customers/ana/set-tier", key, json!({"tier": "gold", "until": until})).await
    };
    for (until, end) in [("2027-01-31", "2027-02-01T07:00:00Z"), ("2027-01-31T07:00:00Z", "2027-01-31T07:00:00Z")] {
        let answer = set(until, until).await;
        assert_eq!(answer.json()["facts"][0]["details"]["until"], end, "{}", answer.text);
    }
    for over in ["2026-11-21", "2020-01-01T00:00:00Z", NOON] {
        set(over, over).await.check(422, "invalid");
    }
    assert!(set("today", "2026-11-22").await.status.is_success(), "today is not over");
}

#[tokio::test]
async fn what_an_adjustment_may_not_is_said_by_the_programme_and_its_key_remembers() {
    let house = House::open();
    house.command("/v1/customers/ana/enroll", "e", json!({})).await;
    for (points, reason, status, code) in [
        (0, "x", 409, "nothing_to_do"),
        (i64::MAX, "x", 409, "limit_reached"),
        (i64::MIN, "x", 409, "limit_reached"),
        (5, " ", 422, "invalid"),
    ] {
        let body = json!({ "points": points, "reason": reason });
        for again in [None, Some("true")] {
            let refused = house.command("/v1/customers/ana/adjust", &format!("k{points}"), body.clone()).await;
            refused.check(status, code);
            assert_eq!(refused.header("idempotency-replayed"), again, "{code}");
        }
    }
}

#[tokio::test]
async fn bodies_of_commands_are_read_strictly() {
    let house = House::open();
    for (path, body, code) in [
        ("redeem", "{}", "invalid"),
        ("redeem", "{", "malformed"),
        ("redeem", "null", "malformed"),
        ("adjust", r#"[5,"fields in their order",null]"#, "malformed"),
        ("redeem", r#"{"reward":"r","quantity":0}"#, "invalid"),
        ("redeem", r#"{"reward":"r","quantity":-1}"#, "invalid"),
        ("redeem", r#"{"reward":"r","colour":"red"}"#, "invalid"),
        ("hold", r#"{"points":1,"for":"P1D","hold":" "}"#, "invalid"),
        ("consent", r#"{"purpose":"","given":true}"#, "invalid"),
        ("consent", r#"{"purpose":"a\u0000b","given":true}"#, "invalid"),
        ("adjust", r#"{"points":1e30,"reason":"x"}"#, "invalid"),
        ("hold", r#"{"points":1,"for":"15 minutes","hold":"h"}"#, "invalid"),
        ("set-tier", r#"{"tier":"gold","until":"soon"}"#, "invalid"),
        ("review", r#"{"activity":"a","decision":"maybe"}"#, "invalid"),
        ("enroll", r#"{"referred_by":"bo"}"#, "invalid"),
        ("enroll", r#"{"referral_code":"BO-7"}"#, "invalid"),
        ("unmerge", r#"{"x":1}"#, "invalid"),
    ] {
        let bearer = format!("Bearer {}", house.secret);
        let answer = house.post(&format!("/v1/customers/ana/{path}"), &[("authorization", &bearer)], body).await;
        assert_eq!(answer.json()["code"], code, "{path} {body}: {}", answer.text);
        assert!(answer.status.is_client_error());
    }
    let bearer = format!("Bearer {}", house.secret);
    let purpose = format!(r#"{{"purpose":"{}","given":true}}"#, "x".repeat(2_000));
    house.post("/v1/customers/ana/consent", &[("authorization", &bearer)], purpose).await.check(422, "invalid");
    let long = "k".repeat(256);
    for keys in [&[("idempotency-key", &*long)][..], &[("idempotency-key", "k1"), ("idempotency-key", "k2")]] {
        let headers = [&[("authorization", &*bearer)], keys].concat();
        house.post("/v1/customers/ana/enroll", &headers, "{}").await.check(400, "bad_parameter");
    }
    let half = house.post("/v1/customers/ana/adjust", &[("authorization", &bearer)], r#"{"points":1.5}"#).await;
    assert!(half.text.contains("the number `1.5`, expected a whole number"), "{}", half.text);
    let large = format!(r#"{{"points":1,"reason":"{}"}}"#, "x".repeat(100_000));
    let answer = house.post("/v1/customers/ana/adjust", &[("authorization", &bearer)], large).await;
    answer.check(400, "too_large");
}

const NOT_UTF8: &str = "This is not UTF-8 when its escapes are undone.";
const BETWEEN: &str = "Send a number from 0 (the best first) to 1 (as unlike one another as can be).";

async fn publish(house: &House, address: &str) -> Answer {
    let request = Request::put(address).header("authorization", format!("Bearer {}", house.secret));
    house.send(request.body(Body::from(COFFEE)).unwrap()).await
}

#[tokio::test]
async fn what_cannot_be_read_is_named_with_what_mends_it() {
    let house = House::open();
    for (address, field, mends) in [
        ("/v1/customers/ana/timeline?limit=many", "limit", "Send a whole number, 0 or more."),
        ("/v1/customers/ana/ledger?before=-1", "before", "Send a whole number, 0 or more."),
        ("/v1/customers/ana/ledger?limit=1&limit=2", "limit", "This parameter is given twice; send it once."),
        ("/v1/recommendations/trending?price_to=cheap", "price_to", "Send a number like 19.90."),
        ("/v1/recommendations/trending?price_to=NaN", "price_to", "Send a number like 19.90."),
        (
            "/v1/recommendations/trending?price_from=9&price_to=1",
            "price_to",
            "Send a price that is not below price_from.",
        ),
        ("/v1/recommendations/trending?in_stock=maybe", "in_stock", "Send true or false."),
        ("/v1/recommendations/trending?diversity=much", "diversity", "Send a number like 19.90."),
        ("/v1/recommendations/trending?diversity=1.1", "diversity", BETWEEN),
        ("/v1/recommendations/trending?diversity=-0.1", "diversity", BETWEEN),
        ("/v1/recommendations/trending?diversity=NaN", "diversity", BETWEEN),
        ("/v1/recommendations/nonsense", "kind", "There is for-you, similar, together, again, trending and session."),
        ("/v1/recommendations/trending?limit=0", "limit", "Send how many items are wanted, 1 to 100."),
        ("/v1/recommendations/trending?limit=101", "limit", "Send how many items are wanted, 1 to 100."),
        ("/v1/customers/ana/timeline?limit=0", "limit", "Send how many entries are wanted, 1 to 500."),
        ("/v1/customers/ana/timeline?limit=501", "limit", "Send how many entries are wanted, 1 to 500."),
        ("/v1/customers/ana/ledger?limit=1000", "limit", "Send how many entries are wanted, 1 to 500."),
        ("/v1/recommendations/trending?category=%20", "category", "Name a category of the catalogue, or none."),
        ("/v1/recommendations/trending?category=Caf%e9&limit=1", "category", NOT_UTF8),
        ("/v1/recommendations/for-you?customer=%F0%28%8C%28", "customer", NOT_UTF8),
        ("/v1/customers/ana/ledger?limti=5", "limti", "There is no such parameter; there is before, limit."),
        ("/v1/programs/club?chekc=true", "chekc", "There is no such parameter; there is check."),
        ("/v1/events/m?sauce=till", "sauce", "There is no such parameter; there is source."),
        ("/v1/customers/%ff", "ref", "This part of the address is not UTF-8 when its escapes are undone."),
    ] {
        let answer =
            if address.contains("/programs/") { publish(&house, address).await } else { house.get(address).await };
        answer.check(400, "bad_parameter");
        assert_eq!((&answer.json()["field"], &answer.json()["detail"]), (&field.into(), &mends.into()), "{address}");
    }
    let bearer = format!("Bearer {}", house.secret);
    for (call, body, field) in [
        ("redeem", r#"{"reward":"r","quantity":-1}"#, "quantity"),
        ("redeem", r#"{"reward":"r","colour":"red"}"#, "colour"),
        ("redeem", r#"{"reward":"r","reward":"s"}"#, "reward"),
        ("enroll", r#"{"referred_by":"bo"}"#, "referred_by"),
        ("redeem", "{}", "reward"),
        ("hold", r#"{"points":1,"for":"15 minutes","hold":"h"}"#, "for"),
    ] {
        let answer = house.post(&format!("/v1/customers/ana/{call}"), &[("authorization", &bearer)], body).await;
        answer.check(422, "invalid");
        assert_eq!(answer.json()["field"], field, "{body}: {}", answer.text);
    }
    for (call, body, said) in [
        ("enroll", r#"{"x":1}"#, "The body does not fit: unknown field `x`, and none is wanted here: send {}."),
        ("redeem", r#"{"reward":"#, "The body ends before its JSON does: it was cut off."),
    ] {
        let answer = house.post(&format!("/v1/customers/ana/{call}"), &[("authorization", &bearer)], body).await;
        assert_eq!(answer.json()["detail"], said);
    }
    let answer = house
        .post("/v1/customers/emial:ana@example.com/redeem", &[("authorization", &bearer)], r#"{"reward":"r"}"#)
        .await;
    answer.check(404, "unknown_customer");
    assert!(answer.text.contains("nobody is known as 'emial:ana@example.com'"), "{}", answer.text);
}

/// Ingest 13.
#[tokio::test]
async fn nothing_is_acknowledged_while_the_journal_fails() {
    let house = House::open();
    house.break_journal();
    let answer = house.ingest("/v1/track", &track("m")).await;
    answer.check(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("5"));
    let ready = house.get("/readyz").await;
    ready.check(503, "unavailable");
    assert_eq!(ready.header("retry-after"), Some("5"));
    assert_eq!(house.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(house.ingest("/v1/track", &track("m")).await.status, StatusCode::OK);
    assert_eq!(house.get("/readyz").await.status, StatusCode::OK);
    assert_eq!(house.get("/v1/events/m").await.json()["status"], "accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_asks_to_come_back() {
    let house = House::with_queue(4_096);
    let release = house.keep_busy().await;
    let send = |name: &str| {
        let body = track(name).to_string() + &" ".repeat(3_500);
        let request = Request::post("/v1/track").header("authorization", format!("Bearer {}", house.write_key));
        house.send(request.header("origin", "https://shop.example").body(Body::from(body)).unwrap())
    };
    // Only one of them fits; the other is refused at once.
    let (mut one, mut other) = (Box::pin(send("m1")), Box::pin(send("m2")));
    let (refused, waiting) = tokio::select! {
        answer = &mut one => (answer, other),
        answer = &mut other => (answer, one),
    };
    refused.check(429, "busy");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("access-control-expose-headers"), Some("retry-after"), "a page can read it");
    release.send(()).unwrap();
    assert_eq!(waiting.await.status, StatusCode::OK, "what was waiting is not lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packed_body_weighs_what_it_is_when_it_is_unpacked() {
    let house = House::with_queue(40_000);
    let release = house.keep_busy().await;
    let send = |name: &str| {
        let body = gzip((track(name).to_string() + &" ".repeat(25_000)).as_bytes());
        assert!(body.len() < 1_000);
        let request = Request::post("/v1/track").header("authorization", format!("Bearer {}", house.write_key));
        house.send(request.header("content-encoding", "gzip").body(Body::from(body)).unwrap())
    };
    let (mut one, mut other) = (Box::pin(send("m1")), Box::pin(send("m2")));
    let (refused, waiting) = tokio::select! {
        answer = &mut one => (answer, other),
        answer = &mut other => (answer, one),
        () = tokio::time::sleep(std::time::Duration::from_secs(5)) => panic!("both wait"),
    };
    refused.check(429, "busy");
    release.send(()).unwrap();
    assert_eq!(waiting.await.status, StatusCode::OK);
}

/// Ingest 14: the queue holds one message at a time, and nothing leaves it before a hundred were told
/// to come back.
#[tokio::test]
async fn who_comes_back_when_told_to_loses_nothing_and_counts_once() {
    let house = House::with_queue(4_096);
    let release = house.keep_busy().await;
    let turned_away = Arc::new(AtomicI64::new(0));
    let senders: Vec<_> = (0..40)
        .map(|i| {
            let (router, auth, turned_away) =
                (house.router.clone(), format!("Bearer {}", house.write_key), turned_away.clone());
            tokio::spawn(async move {
                let body = track(&format!("m{i}")).to_string() + &" ".repeat(3_500);
                loop {
                    let request = Request::post("/v1/track").header("authorization", &auth);
                    let request = request.body(Body::from(body.clone())).unwrap();
                    let status = router.clone().oneshot(request).await.unwrap().status();
                    if status != StatusCode::TOO_MANY_REQUESTS {
                        return status;
                    }
                    turned_away.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    while turned_away.load(Ordering::Relaxed) < 100 {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    for sender in senders {
        assert_eq!(sender.await.unwrap(), StatusCode::OK);
    }
    let all = house.get("/v1/customers/ana/timeline?limit=500").await.json();
    assert_eq!(all["entries"].as_array().unwrap().len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_sent_at_once_counts_once() {
    let house = House::open();
    let senders: Vec<_> = (0..64)
        .map(|i| {
            let (router, auth) = (house.router.clone(), format!("Bearer {}", house.write_key));
            tokio::spawn(async move {
                let body = json!({"batch": [track(&format!("m{}", i % 32)), track(&format!("n{i}"))]}).to_string();
                let request = Request::post("/v1/batch").header("authorization", auth).body(Body::from(body)).unwrap();
                router.oneshot(request).await.unwrap().status()
            })
        })
        .collect();
    for sender in senders {
        assert_eq!(sender.await.unwrap(), StatusCode::OK);
    }
    let all = house.get("/v1/customers/ana/timeline?limit=500").await.json();
    assert_eq!(all["entries"].as_array().unwrap().len(), 32 + 64);
}

/// Hard case 23.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_used_at_the_same_moment_is_one_command_with_one_answer() {
    let house = Arc::new(House::open());
    house.command("/v1/customers/ana/enroll", "e", json!({})).await;
    let asking: Vec<_> = (0..16)
        .map(|_| {
            let house = house.clone();
            let body = json!({"points": 100, "reason": "sorry"});
            tokio::spawn(async move { house.command("/v1/customers/ana/adjust", "k", body).await })
        })
        .collect();
    let mut texts = Vec::new();
    for answer in asking {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        texts.push(answer.text);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert_eq!(house.get("/v1/customers/ana").await.json()["points"]["available"], 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_connection_streams_and_ends_gracefully() {
    let house = House::open();
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
    let server = Server::bind(config, house.router.clone(), house.stop).await.unwrap();
    let address = server.local_addr().unwrap();
    assert!(address.ip().is_loopback());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async { drop(ended.await) }));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let ask = format!("GET /v1/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", house.secret);
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut heard = read_until(&mut stream, "text/event-stream").await;
    let mut sender = tokio::net::TcpStream::connect(address).await.unwrap();
    let body = track("m").to_string();
    let send = format!(
        "POST /v1/track HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        house.write_key,
        body.len()
    );
    sender.write_all(send.as_bytes()).await.unwrap();
    assert!(read_until(&mut sender, r#"{"success":true}"#).await.starts_with("HTTP/1.1 200 OK"));
    heard += &read_until(&mut stream, r#""status":"accepted""#).await;
    assert!(heard.contains("event: event") && heard.contains(r#""name":"Tested""#), "{heard}");
    assert!(!heard.contains("ana"), "the stream names nobody");
    end.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("ends in time").unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "no more connections are taken");
    house.pump.stop().map(drop).unwrap();
}

async fn read_until(stream: &mut tokio::net::TcpStream, wanted: &str) -> String {
    let mut heard = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&heard).contains(wanted) {
            let mut bytes = [0; 4_096];
            let n = stream.read(&mut bytes).await.unwrap();
            assert!(n > 0, "ended before '{wanted}': {}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&bytes[..n]);
        }
    };
    tokio::time::timeout(Duration::from_secs(5), reading).await.expect("an answer in time");
    String::from_utf8(heard).unwrap()
}

#[tokio::test]
async fn metrics_count_by_route_and_name_nobody() {
    let house = House::open();
    house.ingest("/v1/track", &track("m")).await;
    house.get("/v1/customers/ana").await;
    let text = house.get("/metrics").await.text;
    for wanted in [
        "events_total{status=\"accepted\"}",
        "route=\"/v1/customers/{ref}\"",
        "http_request_seconds_bucket",
        "journal_append_seconds",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    assert!(!text.contains("ana\""));
}

#[tokio::test]
async fn the_documentation_needs_no_network() {
    let house = House::open();
    for path in ["/docs", "/docs/problems"] {
        let page = house.get(path).await.text;
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"), "{path}");
    }
    let page = house.get("/docs").await.text;
    assert!(page.contains("<code>GET /v1/models</code>") && !page.contains('`'), "code is shown as code");
    for name in page.split("href=#").skip(1).filter_map(|rest| rest.split('>').next()) {
        assert!(page.contains(&format!("<div id={name}>")), "{name} is told on the page");
    }
    let description = house.get("/openapi.json").await.json();
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.contains_key("/v1/{call}") && paths.contains_key("/v1/recommendations/{kind}"));
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let shown = format!("<b>{}</b> <code>{path}</code>", method.to_uppercase());
            assert!(page.contains(&shown), "{method} {path} is on the page");
        }
    }
    for style in ["/console/paper.css", "/console/style.css", "/console/docs.css"] {
        let urls = house.get(style).await.text;
        let urls: Vec<&str> = urls.split("url(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(urls.is_empty(), style != "/console/paper.css", "{style}");
        for url in urls {
            let font = house.router.clone().oneshot(Request::get(url).body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(
                (font.status().as_u16(), &font.headers()["content-type"]),
                (200, &"font/woff2".parse().unwrap()),
                "{url}"
            );
        }
    }
    assert!(house.get("/console/fonts/OFL.txt").await.text.contains("SIL Open Font License"));
    house.get("/nowhere").await.check(404, "not_found");
}

#[test]
fn committed_descriptions_are_up_to_date() {
    expect_file!["../../../../docs/openapi.json"].assert_eq(docs::openapi_json());
    expect_file!["../../../../docs/problems.md"].assert_eq(&docs::problems_markdown());
}

const COFFEE: &str = include_str!("../../../../programs/coffee.yaml");

#[tokio::test]
async fn a_programme_is_checked_and_published_whole() {
    let house = House::open();
    let put = async |path: &str, key: &str, body: &str| {
        let request = Request::put(path).header("authorization", format!("Bearer {key}"));
        house.send(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    house.get("/v1/programs/coffee").await.check(404, "not_found");
    put("/v1/programs/coffee", &house.read_only, COFFEE).await.check(403, "not_authorised");
    put("/v1/programs/tea", &house.secret, COFFEE).await.check(422, "invalid");

    let wrong = COFFEE.replace("currency: EUR", "currency: EURO").replace("points: 12", "points: twelve");
    let answer = put("/v1/programs/coffee", &house.secret, &wrong).await;
    answer.check(422, "invalid_program");
    let problems = answer.json()["details"]["problems"].as_array().unwrap().clone();
    assert!(problems.len() >= 2 && problems.iter().all(|p| p["line"].as_u64() > Some(0)), "{problems:?}");

    let checked = put("/v1/programs/coffee?check=true", &house.secret, COFFEE).await.json();
    assert_eq!(checked, json!({"version": 1, "changed": true}), "it would be another programme");
    house.get("/v1/programs/coffee").await.check(404, "not_found");
    let published = put("/v1/programs/coffee", &house.secret, COFFEE).await.json();
    assert_eq!(published, json!({"version": 2, "changed": true}));
    for address in ["/v1/programs/coffee", "/v1/programs/coffee?check=true"] {
        let again = put(address, &house.secret, COFFEE).await.json();
        assert_eq!(again, json!({"version": 2, "changed": false}));
    }
    let read = house.get("/v1/programs/coffee").await.json();
    assert_eq!((&read["version"], &read["source"]), (&json!(2), &json!(COFFEE)));
    let other = COFFEE.replace("points: 12", "points: 13");
    let order = json!({"messageId": "m", "userId": "ana", "event": "Order Completed",
        "properties": {"order_id": "o", "total": 20}});
    house.ingest("/v1/track", &order).await;
    for (path, change, field) in [("tea", ("id: coffee", "id: tea"), "id"), ("coffee", ("EUR", "JPY"), "currency")] {
        let changed = other.replace(change.0, change.1);
        for query in ["", "?check=true"] {
            let answer = put(&format!("/v1/programs/{path}{query}"), &house.secret, &changed).await;
            answer.check(422, "invalid_program");
            let line = 1 + changed.lines().position(|line| line.starts_with(field)).unwrap();
            let problem = &answer.json()["details"]["problems"][0];
            assert_eq!((&problem["path"], &problem["line"]), (&json!(field), &json!(line)), "{}", answer.text);
        }
    }
    house.break_journal();
    put("/v1/programs/coffee", &house.secret, &other).await.check(503, "unavailable");
    assert_eq!(house.get("/v1/programs/coffee").await.json()["source"], COFFEE, "nothing is half published");
}

#[tokio::test]
async fn what_the_next_level_takes_says_whether_it_is_points_or_money() {
    const BY_SPEND: &str = "
perennial: 1
id: club
name: Club
currency: JPY
time_zone: Asia/Tokyo
earn: [{ id: purchase, on: Order Completed, points: 1 per 100 }]
tiers: { by: spend, levels: [{ id: base, from: 0 }, { id: gold, from: 50000 }] }
";
    let order = json!({"messageId": "m", "userId": "ana", "event": "Order Completed",
        "properties": {"order_id": "o", "total": 20_000}});
    let cents = BY_SPEND.replace("JPY", "EUR").replace("50000", "50000.50");
    for (program, by, missing, needed, unit) in [
        (BY_SPEND, "spend", json!(30_000), json!(50_000), "JPY"),
        (&cents, "spend", json!(30_000.5), json!(50_000.5), "EUR"),
        (BY_SPEND, "points.earned", json!(49_800), json!(50_000), "points"),
    ] {
        let house = House::open();
        let program = program.replace("by: spend", &format!("by: {by}"));
        let request = Request::put("/v1/programs/club").header("authorization", format!("Bearer {}", house.secret));
        let published = house.send(request.body(Body::from(program)).unwrap()).await;
        assert_eq!(published.status, StatusCode::OK, "{}", published.text);
        let bearer = format!("Bearer {}", house.secret);
        house.post("/v1/customers/ana/enroll", &[("authorization", &bearer), ("idempotency-key", "e")], "{}").await;
        house.ingest("/v1/track", &order).await;
        let customer = house.get("/v1/customers/ana").await.json();
        let next = json!({"id": "gold", "name": "Gold", "missing": missing, "needed": needed, "unit": unit});
        assert_eq!(customer["tier"]["next"], next, "{customer}");
    }
}

#[tokio::test]
async fn products_are_told_to_a_running_shop_and_recommended_at_once() {
    let house = House::open();
    let put = async |key: &str, body: Value| {
        let request = Request::put("/v1/products").header("authorization", format!("Bearer {key}"));
        house.send(request.body(Body::from(body.to_string())).unwrap()).await
    };
    let cups = json!({"products": [{"product_id": "a", "name": "Red cup"}, {"product_id": "b", "name": "Blue cup"}]});
    put(&house.read_only, cups.clone()).await.check(403, "not_authorised");
    assert_eq!(put(&house.secret, cups.clone()).await.json(), json!({"products": 2, "changed": 2}));
    assert_eq!(put(&house.secret, cups).await.json(), json!({"products": 2, "changed": 0}));
    let like = house.get("/v1/recommendations/similar?item=a").await.json();
    let reason = json!({"code": "described_alike", "item": "a", "text": "like Red cup: cup"});
    assert_eq!((&like["items"][0]["item"], &like["items"][0]["reason"]), (&json!("b"), &reason), "{like}");
    let wrong = put(&house.secret, json!({"products": [{"product_id": "a", "fits": 7}]})).await;
    wrong.check(400, "wrong_type");
    assert_eq!(wrong.json()["field"], "products[0].fits");
    let heavy = json!({"products": [{"product_id": "a", "impact": {"kg": 9_223_372_036_854_775_i64}}]});
    put(&house.secret, heavy).await.check(400, "bad_number");
    let crowd: Vec<Value> = (0..501).map(|n| json!({"product_id": n})).collect();
    put(&house.secret, json!({"products": crowd})).await.check(400, "too_many");
    let long = "unknown,".repeat(7_000);
    let list = house.get(&format!("/v1/recommendations/similar?item=a&seen={long}b&limit=100")).await.json();
    assert_eq!(list["items"], json!([]), "all that is left was seen: {list}");
}

#[tokio::test]
async fn a_rejected_message_may_come_again_mended() {
    let house = House::open();
    let order = json!({"userId": "ana", "messageId": "o", "event": "Order Completed", "properties": {
        "order_id": "A", "currency": "USD", "products": [{ "product_id": "tent", "price": 10, "quantity": 1 }] }});
    house.ingest("/v1/track", &order).await;
    let refund = |product: &str| {
        json!({"userId": "ana", "messageId": "r", "event": "Order Refunded", "properties": {
            "order_id": "A", "products": [{ "product_id": product, "quantity": 1 }] }})
    };
    for _ in 0..2 {
        house.ingest("/v1/track", &refund("boat")).await;
        assert_eq!(house.get("/v1/events/r").await.json()["code"], "unknown_line");
    }
    for status in ["accepted", "accepted"] {
        house.ingest("/v1/track", &refund("tent")).await;
        assert_eq!(house.get("/v1/events/r").await.json()["status"], status);
    }
    let timeline = house.get("/v1/customers/ana/timeline").await.json();
    assert_eq!(timeline["entries"].as_array().unwrap().len(), 2, "the order and one refund: {timeline}");
}
