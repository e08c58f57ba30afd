//! Hostile clients against a listening server: each gets a clear answer, and the next one is served.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use perennial::http::keys::KeyRing;
use perennial::http::server::{Config, Server};
use perennial::http::{App, router};
use perennial::pump::{Clock, Pump};
use perennial_core::time::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const NOON_MS: i64 = 1_795_348_800_000;
const GOOD: &str = r#"{"userId":"ana","event":"Tested"}"#;

/// A listening server and the hand of its clock.
struct Place {
    address: SocketAddr,
    write: String,
    secret: String,
    hand: Arc<AtomicI64>,
    _pump: Pump,
}

impl Place {
    async fn open() -> Self {
        let hand = Arc::new(AtomicI64::new(NOON_MS));
        let pump = Pump::start(crate::shop::workspace(), Clock::Manual(hand.clone())).unwrap();
        let (keys, first) = KeyRing::in_memory(Timestamp::from_millis(NOON_MS)).unwrap();
        let (app, stop) = App::new(pump.handle(), keys, None);
        let quick = Duration::from_millis(300);
        let config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            header_timeout: quick,
            answer_timeout: quick,
            ..Config::default()
        };
        let server = Server::bind(config, router(app), stop).await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(server.run(std::future::pending()));
        Self { address, write: first.write, secret: first.secret, hand, _pump: pump }
    }

    /// Sends a track call with more headers; the status and the whole answer.
    async fn track(&self, headers: &str, body: &[u8]) -> (u16, String) {
        let head = format!(
            "POST /v1/track HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n{headers}\r\n",
            self.write,
            body.len()
        );
        self.exchange(head.as_bytes(), body).await
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
            self.secret
        );
        self.exchange(head.as_bytes(), b"").await
    }

    async fn exchange(&self, head: &[u8], body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may answer and hang up before everything is sent.
        let _ = stream.write_all(head).await;
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        (text.split_whitespace().nth(1).and_then(|s| s.parse().ok()).unwrap_or(0), text)
    }

    /// Sends what is to be a request to the letter; the status, and what the problem says, if there is one.
    async fn raw(&self, request: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        Self::answered(stream).await
    }

    /// The same, and hangs up after it.
    async fn broken_off(&self, request: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let _ = stream.shutdown().await;
        Self::answered(stream).await
    }

    async fn answered(mut stream: TcpStream) -> (u16, String) {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.split_whitespace().nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        let said = ["code", "field", "detail"].map(|name| problem[name].as_str().unwrap_or_default());
        assert!(body.is_empty() || (!said[0].is_empty() && !text.contains("panic")), "{text}");
        (status, said.join(" ").trim_end().to_owned())
    }

    async fn is_well(&self) {
        assert_eq!(self.track("", GOOD.as_bytes()).await.0, 200, "the next client is served");
    }
}

fn bomb() -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![b' '; 1 << 20];
    (0..256).for_each(|_| gz.write_all(&zeros).unwrap());
    gz.finish().unwrap()
}

/// Ingest 5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_is_not_unpacked() {
    let place = Place::open().await;
    let (status, text) = place.track("Content-Encoding: gzip\r\n", &bomb()).await;
    assert!((400..500).contains(&status) && text.contains("too_large"), "{text}");
    place.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_body_is_cut_off() {
    let place = Place::open().await;
    let (status, text) = place.track("", &vec![b'x'; 6 << 20]).await;
    // The connection may be closed while the client still sends; then there is no answer to read.
    assert!(status == 0 || (400..500).contains(&status), "{text}");
    place.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_announced_too_large_is_not_waited_for() {
    let place = Place::open().await;
    for (path, key) in [
        ("/v1/batch", &place.write),
        ("/v1/customers/ana/adjust", &place.secret),
        ("/v1/programs/coffee", &place.secret),
        ("/v1/products", &place.secret),
    ] {
        let method = if path.starts_with("/v1/pro") { "PUT" } else { "POST" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
             Idempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
        );
        let answer = tokio::time::timeout(Duration::from_secs(10), place.exchange(head.as_bytes(), b"")).await;
        let (status, text) = answer.unwrap_or_else(|_| panic!("{path} waits for the body"));
        assert!((400..500).contains(&status) && text.contains("too_large"), "{path}: {text}");
    }
    place.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_told_what_is_wrong() {
    let place = Place::open().await;
    for body in ["", "{", "[]", "null", "\"x\"", "{\"userId\":", "\u{0}", "{\"userId\":{}}"] {
        let (status, text) = place.track("", body.as_bytes()).await;
        assert!(status == 400 && text.contains("\"code\""), "{body:?} got {text}");
    }
    place.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_has_a_receipt_under_its_id() {
    let place = Place::open().await;
    let bodies: [&[u8]; 3] = [
        br#"{"messageId":"m0","userId":"ana","event":"Paid","properties":{"sum":1e300}}"#,
        br#"{"messageId":"m1","userId":"a\ud800","event":"Paid"}"#,
        b"{\"messageId\":\"m2\",\"userId\":\"\xff\",\"event\":\"Paid\"}",
    ];
    for (n, body) in bodies.iter().enumerate() {
        let (status, text) = place.track("", body).await;
        assert_eq!(status, 400, "{text}");
        let (status, text) = place.get(&format!("/v1/events/m{n}")).await;
        assert!(status == 200 && text.contains("\"rejected\""), "m{n}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_none_is_answered_by_its_status() {
    let place = Place::open().await;
    let many = |n| "X: a\r\n".repeat(n);
    for (head, status) in [
        ("\0\u{1} nonsense".to_owned(), 400),
        ("GET /healthz".into(), 400),
        ("GET /healthz HTTP/3.0\r\nHost: x".into(), 400),
        ("G@T /healthz HTTP/1.1\r\nHost: x".into(), 400),
        ("GET /a b HTTP/1.1\r\nHost: x".into(), 400),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nno colon".into(), 400),
        ("POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3".into(), 400),
        ("POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip".into(), 400),
        (format!("GET /{} HTTP/1.1\r\nHost: x", "a".repeat(70_000)), 414),
        (format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}", "a".repeat(110_000)), 431),
        (format!("GET /healthz HTTP/1.1\r\n{}Host: x", many(100)), 431),
    ] {
        let shown: String = head.chars().take(60).collect();
        assert_eq!(place.raw(format!("{head}\r\n\r\n").as_bytes()).await, (status, String::new()), "{shown}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", "a".repeat(65_000), many(98));
    assert_eq!(place.raw(long.as_bytes()).await.0, 404, "what is just short enough is read");
    place.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_framework_refuses_is_explained() {
    let place = Place::open().await;
    let key = format!("Authorization: Bearer {}", place.secret);
    for (head, status, said) in [
        ("GET /healthz HTTP/1.1\r\n", 400, "bad_header host Send the header Host once"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400, "bad_header host"),
        ("GET /no/such HTTP/1.1\r\nHost: x\r\n", 404, "not_found  There is nothing at this address"),
        ("GET /v1/nothing HTTP/1.1\r\nHost: x\r\n", 404, "not_found  There is nothing at this address"),
        ("GET /v1/track HTTP/1.1\r\nHost: x\r\n", 405, "method_not_allowed  This address does not"),
        ("BREW /v1/overview HTTP/1.1\r\nHost: x\r\n", 405, "method_not_allowed  This address does not"),
        ("PUT /v1/models/value/train HTTP/1.1\r\nHost: x\r\n", 405, "method_not_allowed  This address does not"),
        (
            "PUT /v1/products HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\n",
            400,
            "bad_encoding content-encoding Send the body as it is, without the encoding 'br'",
        ),
    ] {
        let (got, why) = place.raw(format!("{head}{key}\r\nConnection: close\r\n\r\n").as_bytes()).await;
        assert!(got == status && why.starts_with(said), "{head}: {got} {why}");
    }
    for (request, methods) in [("GET /v1/track", "POST"), ("BREW /v1/models/value/train", "POST,DELETE")] {
        let head = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let (_, text) = place.exchange(head.as_bytes(), b"").await;
        assert!(text.contains(&format!("allow: {methods}\r\n")), "{text}");
    }
    assert_eq!(place.raw(b"GET /no/such HTTP/1.0\r\n\r\n").await.0, 404, "HTTP/1.0 may name no host");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_off_is_told_so() {
    let place = Place::open().await;
    let half = "Content-Length: 200\r\n\r\n{\"a\":";
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n";
    let nonsense = "Transfer-Encoding: chunked\r\n\r\nzz\r\n{\"a\":\r\n";
    for (address, key) in [
        ("PUT /v1/products", &place.secret),
        ("PUT /v1/programs/club", &place.secret),
        ("POST /v1/customers/ana/adjust", &place.secret),
        ("POST /v1/track", &place.write),
    ] {
        for body in [half, chunked, nonsense] {
            let head =
                format!("{address} HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nAuthorization: Bearer {key}\r\n");
            let (status, why) = place.broken_off(format!("{head}{body}").as_bytes()).await;
            assert!(status == 400 && why.starts_with("broken_off"), "{address} {body:?}: {status} {why}");
        }
    }
    assert!(place.get("/v1/customers/ana").await.1.contains("unknown_customer"), "nothing came of them");
    place.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_head_is_not_waited_for() {
    let place = Place::open().await;
    let mut stream = TcpStream::connect(place.address).await.unwrap();
    stream.write_all(b"POST /v1/track HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the server hangs up on a head that does not end");
    place.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_no_answers_is_hung_up_on() {
    let place = Place::open().await;
    let mut stream = TcpStream::connect(place.address).await.unwrap();
    let asked = 2_000;
    stream.write_all("GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(asked).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut answers = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answers)).await;
    assert!(ended.is_ok(), "what was on its way comes, then the end");
    let told = String::from_utf8_lossy(&answers).matches("HTTP/1.1 200 OK").count();
    assert!((1..asked).contains(&told), "{told}");
    place.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_body_holds_up_nobody_else() {
    let place = Place::open().await;
    let mut slow = TcpStream::connect(place.address).await.unwrap();
    let head = format!(
        "POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        place.write,
        GOOD.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(&GOOD.as_bytes()[..5]).await.unwrap();
    place.is_well().await;
    slow.write_all(&GOOD.as_bytes()[5..]).await.unwrap();
    let mut answer = [0; 15];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_loses_nothing() {
    let place = Place::open().await;
    let year = 366 * 86_400_000;
    for (nth, at) in [NOON_MS, NOON_MS + year, NOON_MS - year, 0, NOON_MS + 2 * year].into_iter().enumerate() {
        place.hand.store(at, Ordering::Relaxed);
        let body = format!(
            r#"{{"userId":"ana","event":"Order Completed","messageId":"m{nth}","properties":{{"order_id":"o{nth}","subtotal":10}}}}"#
        );
        assert_eq!(place.track("", body.as_bytes()).await.0, 200, "clock at {at}");
    }
    let (status, text) = place.get("/v1/customers/ana").await;
    assert!(status == 200 && text.contains("\"orders\":5"), "{text}");
}
