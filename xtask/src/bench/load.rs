//! A load generator: requests over kept-alive connections to this machine, counted and timed.
//!
//! Promise: bounded in count and time, never to another machine, over when the call returns.
//! Absent on purpose: TLS, redirects, and a runtime; one thread a connection is enough here.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The longest that any load lasts.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(25);

/// What to send, and how.
pub(crate) struct Load<'a> {
    /// The port on this machine.
    pub(crate) port: u16,
    /// Connections, each with a thread of its own.
    pub(crate) connections: u64,
    /// Requests in all.
    pub(crate) requests: u64,
    /// Requests a second over all connections; as fast as answers come when absent.
    pub(crate) pace: Option<f64>,
    /// The bytes of the n-th request.
    pub(crate) request: &'a (dyn Fn(u64) -> Vec<u8> + Sync),
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Answers with status 200.
    pub(crate) good: u64,
    /// Other answers.
    pub(crate) bad: u64,
    /// From the first request to the last answer.
    pub(crate) seconds: f64,
    /// Milliseconds of each answer; paced requests count from when they were due, so that a stall
    /// counts for everybody who waited.
    latencies: Vec<f64>,
}

impl Outcome {
    /// Good answers a second.
    #[expect(clippy::cast_precision_loss, reason = "a report")]
    pub(crate) fn rate(&self) -> f64 {
        self.good as f64 / self.seconds.max(1e-9)
    }

    /// The latency that this share of answers stayed below, in milliseconds.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let at = (last as f64 * share).round() as usize;
        self.latencies.get(at).copied().unwrap_or(f64::NAN)
    }
}

/// Sends the load and waits for its end.
pub(crate) fn run(load: &Load<'_>) -> Result<Outcome, String> {
    let began = Instant::now();
    let parts: Vec<Result<Outcome, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..load.connections).map(|nth| scope.spawn(move || one(load, nth, began))).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("a sender died".into()))).collect()
    });
    let mut whole = Outcome::default();
    for part in parts {
        let part = part?;
        whole.good += part.good;
        whole.bad += part.bad;
        whole.latencies.extend(part.latencies);
    }
    whole.seconds = began.elapsed().as_secs_f64();
    whole.latencies.sort_by(f64::total_cmp);
    Ok(whole)
}

/// One connection's share: every `connections`-th request.
#[expect(clippy::cast_precision_loss, reason = "a schedule")]
fn one(load: &Load<'_>, nth: u64, began: Instant) -> Result<Outcome, String> {
    let mut line = Line::open(load.port)?;
    let mut outcome = Outcome::default();
    let mut n = nth;
    while n < load.requests && began.elapsed() < PATIENCE {
        let request = (load.request)(n);
        let mut due = Instant::now();
        if let Some(pace) = load.pace {
            due = began + Duration::from_secs_f64(n as f64 / pace);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let status = line.ask(&request)?;
        outcome.latencies.push(due.elapsed().as_secs_f64() * 1e3);
        if status == 200 {
            outcome.good += 1;
        } else {
            outcome.bad += 1;
        }
        n += load.connections;
    }
    Ok(outcome)
}

/// A connection that is kept.
struct Line {
    out: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Line {
    fn open(port: u16) -> Result<Self, String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let connect = || {
            let out = TcpStream::connect_timeout(&address, ANSWER)?;
            out.set_nodelay(true)?;
            out.set_read_timeout(Some(ANSWER))?;
            out.set_write_timeout(Some(ANSWER))?;
            let answers = BufReader::new(out.try_clone()?);
            Ok(Self { out, answers })
        };
        connect().map_err(|e: std::io::Error| format!("{address}: {e}"))
    }

    /// Sends one request; the status of its answer.
    fn ask(&mut self, request: &[u8]) -> Result<u16, String> {
        self.out.write_all(request).map_err(|e| format!("send: {e}"))?;
        self.answer().map_err(|e| format!("receive: {e}"))
    }

    fn answer(&mut self) -> std::io::Result<u16> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
        let mut length = 0;
        loop {
            line.clear();
            self.answers.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        std::io::copy(&mut self.answers.by_ref().take(length), &mut std::io::sink())?;
        status.ok_or_else(|| std::io::Error::other("that is no HTTP answer"))
    }
}

/// A request with a JSON body.
pub(crate) fn post(path: &str, authorization: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {authorization}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A request without a body.
pub(crate) fn get(path: &str, authorization: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {authorization}\r\n\r\n").into_bytes()
}
