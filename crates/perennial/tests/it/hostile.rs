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
        let config = Config { listen: ([127, 0, 0, 1], 0).into(), header_timeout: quick, ..Config::default() };
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
