//! The real server, killed under load again and again: what clients had acknowledged is there, once.
//!
//! `PERENNIAL_CRASH_ROUNDS` says how often it is killed; `cargo xtask crash --kills N` sets it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const ROUNDS: usize = 3;
const CLIENTS: usize = 3;
const MEMBERS: usize = 4;
/// What an espresso costs at the coffee shop.
const ESPRESSO: i64 = 12;
const PATIENCE: Duration = Duration::from_secs(60);

/// Ingest 16.
#[test]
fn what_was_acknowledged_survives_every_kill() {
    let rounds = std::env::var("PERENNIAL_CRASH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    let (write, secret) = server.keys.clone().expect("the first start shows keys");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|n| Client::new(n, &write, &secret)).collect();
    clients.iter_mut().for_each(|c| c.enroll(&server.address));
    for round in 0..rounds as u64 {
        load(&mut clients, &mut server, Duration::from_millis(60 + (round * 37) % 240));
        if round % 3 == 1 {
            stillborn(folder.path(), Duration::from_millis((round * 7) % 60));
        }
        server = Server::start(folder.path());
    }
    let mut acknowledged = 0;
    for client in &mut clients {
        client.finish(&server.address);
        client.check(&server.address);
        acknowledged += client.batches;
    }
    server.kill();
    let verified = perennial(folder.path(), "verify", &[]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let spent: i64 = clients.iter().flat_map(|c| c.spent).sum();
    assert!(acknowledged > 0, "nothing was acknowledged between the kills");
    println!(
        "{rounds} kills under load; {acknowledged} batches of 5 orders and {} redemptions acknowledged, each counted once",
        spent / ESPRESSO
    );
}

#[test]
fn a_second_process_on_the_folder_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let first = Server::start(folder.path());
    let second = perennial(folder.path(), "serve", &["--listen", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && said.contains("is held by process"), "{said}");
    // The first one goes on.
    assert_eq!(request(&first.address, "GET", "/healthz", &[], "").map(|a| a.0), Some(200));
}

/// What an operating system or a supervisor sends to ask a process to end.
fn ask_to_end(process: &Child) {
    let asked = Command::new("sh").args(["-c", &format!("kill -TERM {}", process.id())]).status();
    assert!(asked.unwrap().success());
}

#[track_caller]
fn ends_well(mut process: Child) {
    let start = Instant::now();
    let code = loop {
        match process.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if start.elapsed() > PATIENCE => panic!("it does not end"),
            None => std::thread::sleep(Duration::from_millis(5)), // Another process is waited for.
        }
    };
    assert_eq!(code, Some(0), "none means that the signal killed it");
}

#[test]
fn a_server_that_is_asked_to_end_while_it_starts_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    for after_ms in [0, 1, 3, 10, 30] {
        let mut process = command(folder.path(), "serve", &["--listen", "127.0.0.1:0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It hears signals before it says its first word.
        let mut said = BufReader::new(process.stderr.take().unwrap());
        said.read_line(&mut String::new()).unwrap();
        std::thread::sleep(Duration::from_millis(after_ms)); // The moment is the experiment.
        ask_to_end(&process);
        ends_well(process);
    }
    let verified = perennial(folder.path(), "verify", &[]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn a_server_that_is_asked_to_end_as_soon_as_it_listens_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let mut server = Server::start(folder.path());
        ask_to_end(&server.process);
        let gone = std::mem::replace(&mut server.process, Command::new("true").spawn().unwrap());
        ends_well(gone);
    }
}

/// All clients send until the server dies under them.
fn load(clients: &mut [Client], server: &mut Server, life: Duration) {
    let dead = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in clients {
            let (dead, address) = (&dead, &*server.address);
            scope.spawn(move || while !dead.load(Ordering::Relaxed) && client.step(address) {});
        }
        std::thread::sleep(life); // The length of a life is the experiment; nothing waits for it.
        server.process.kill().unwrap();
        dead.store(true, Ordering::Relaxed);
    });
    server.kill();
}

/// A server that dies while it starts, wherever it is then.
fn stillborn(folder: &Path, life: Duration) {
    let mut process = command(folder, "serve", &["--listen", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(life); // The moment of death is the experiment; nothing waits for it.
    process.kill().unwrap();
    process.wait().unwrap();
}

/// A client that sends again what was not answered, under the same names.
struct Client {
    name: String,
    write: String,
    secret: String,
    sent: usize,
    /// A batch or a redemption without an answer yet.
    pending: Option<Pending>,
    batches: usize,
    earned: [i64; MEMBERS],
    orders: [i64; MEMBERS],
    spent: [i64; MEMBERS],
}

#[derive(Clone)]
enum Pending {
    Batch { body: String, euros: Vec<(usize, i64)> },
    Redeem { member: usize, key: String },
}

impl Client {
    fn new(n: usize, write: &str, secret: &str) -> Self {
        Self {
            name: format!("client-{n}"),
            write: format!("Bearer {write}"),
            secret: format!("Bearer {secret}"),
            sent: 0,
            pending: None,
            batches: 0,
            earned: [0; MEMBERS],
            orders: [0; MEMBERS],
            spent: [0; MEMBERS],
        }
    }

    fn member(&self, m: usize) -> String {
        format!("{}-{m}", self.name)
    }

    fn enroll(&mut self, address: &str) {
        for m in 0..MEMBERS {
            let path = format!("/v1/customers/{}/enroll", self.member(m));
            let answer = request(address, "POST", &path, &[("Authorization", &self.secret)], "{}");
            assert_eq!(answer.map(|a| a.0), Some(200));
        }
    }

    /// Sends what is pending, or something new; false when there was no answer.
    fn step(&mut self, address: &str) -> bool {
        let pending = self.pending.take().unwrap_or_else(|| self.something());
        if self.send(address, &pending) {
            return true;
        }
        self.pending = Some(pending);
        false
    }

    /// A redemption, a batch, or a batch once more that was answered long ago.
    fn something(&mut self) -> Pending {
        self.sent += 1;
        let n = self.sent;
        if n.is_multiple_of(4) {
            return Pending::Redeem { member: n % MEMBERS, key: format!("{}-{n}", self.name) };
        }
        if n.is_multiple_of(5) {
            let (body, _) = self.batch(n - 4);
            return Pending::Batch { body, euros: Vec::new() };
        }
        let (body, euros) = self.batch(n);
        Pending::Batch { body, euros }
    }

    /// Five orders: the same ones whenever they are asked for.
    fn batch(&self, n: usize) -> (String, Vec<(usize, i64)>) {
        let amount = i64::try_from(1 + n * 7 % 9).unwrap();
        let euros: Vec<(usize, i64)> = (0..5).map(|i| ((n + i) % MEMBERS, amount)).collect();
        let batch = euros.iter().enumerate().map(|(i, (member, amount))| {
            let order = format!("{}-{n}-{i}", self.name);
            json!({
                "type": "track", "messageId": order, "userId": self.member(*member), "event": "Order Completed",
                "properties": { "order_id": order, "currency": "EUR", "subtotal": amount }
            })
        });
        let batch: Vec<Value> = batch.collect();
        (json!({ "batch": batch }).to_string(), euros)
    }

    fn send(&mut self, address: &str, pending: &Pending) -> bool {
        match pending {
            Pending::Batch { body, euros } => {
                let answer = request(address, "POST", "/v1/batch", &[("Authorization", &self.write)], body);
                let Some((200, _)) = answer else { return unanswered(answer.as_ref()) };
                self.batches += usize::from(!euros.is_empty());
                for (member, amount) in euros {
                    self.earned[*member] += amount;
                    self.orders[*member] += 1;
                }
            }
            Pending::Redeem { member, key } => {
                let path = format!("/v1/customers/{}/redeem", self.member(*member));
                let headers = [("Authorization", &*self.secret), ("Idempotency-Key", key)];
                match request(address, "POST", &path, &headers, r#"{"reward":"espresso"}"#) {
                    Some((200 | 201, _)) => self.spent[*member] += ESPRESSO,
                    Some((409, body)) => assert!(body.contains("insufficient_points"), "{body}"),
                    answer => return unanswered(answer.as_ref()),
                }
            }
        }
        true
    }

    /// Sends the rest, and everything of the last batch once more.
    fn finish(&mut self, address: &str) {
        let start = Instant::now();
        while self.pending.is_some() && start.elapsed() < PATIENCE {
            self.step(address);
        }
        assert!(self.pending.is_none(), "the server does not answer any more");
        let counted = (self.earned, self.orders, self.spent, self.batches);
        self.sent = self.sent.saturating_sub(1);
        let again = self.something();
        assert!(self.send(address, &again), "a repetition is answered");
        (self.earned, self.orders, self.spent, self.batches) = counted;
    }

    fn check(&self, address: &str) {
        for m in 0..MEMBERS {
            let path = format!("/v1/customers/{}", self.member(m));
            let (status, body) = request(address, "GET", &path, &[("Authorization", &self.secret)], "").unwrap();
            assert_eq!(status, 200, "{body}");
            let view: Value = serde_json::from_str(&body).unwrap();
            let found = (&view["points"]["available"], &view["points"]["spent"], &view["features"]["orders"]);
            let expected = (&json!(self.earned[m] - self.spent[m]), &json!(self.spent[m]), &json!(self.orders[m]));
            assert_eq!(found, expected, "{} after all kills: {body}", self.member(m));
        }
    }
}

/// No answer, or one that asks to come again later; any other answer is wrong.
fn unanswered(answer: Option<&(u16, String)>) -> bool {
    assert!(matches!(answer, None | Some((429 | 503, _))), "{answer:?}");
    false
}

struct Server {
    process: Child,
    address: String,
    keys: Option<(String, String)>,
}

impl Server {
    fn start(folder: &Path) -> Self {
        Self::wait(&mut command(folder, "serve", &["--listen", "127.0.0.1:0"]))
    }

    /// Starts a server and waits until it listens.
    fn wait(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (mut write, mut secret) = (None, None);
        for line in BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok) {
            let last = line.split_whitespace().last().unwrap_or_default().to_owned();
            if line.contains("write key") {
                write = Some(last);
            } else if line.contains("secret key") {
                secret = Some(last);
            } else if let Some(address) = last.strip_prefix("http://") {
                return Self { process, address: address.into(), keys: write.zip(secret) };
            }
        }
        panic!("the server ended before it listened: {:?}", process.wait());
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(folder: &Path, verb: &str, more: &[&str]) -> Command {
    let programme: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../programs/coffee.yaml"].iter().collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
    command.arg(verb).arg("--folder").arg(folder).args(more);
    if verb == "serve" {
        command.arg("--program").arg(programme);
    }
    command.stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

fn perennial(folder: &Path, verb: &str, more: &[&str]) -> Output {
    command(folder, verb, more).output().unwrap()
}

/// One request on a connection of its own; none when there was no whole answer.
fn request(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    headers.iter().for_each(|(name, value)| head.extend([name, ": ", value, "\r\n"]));
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.trim().parse().ok());
    if length.is_some_and(|length: usize| length != body.len()) {
        return None; // It was cut off.
    }
    Some((head.split_whitespace().nth(1)?.parse().ok()?, body.to_owned()))
}

/// Ingest 13: a limit on the size of files stands for the full disk: writes fail, and the process lives on.
#[test]
fn a_full_disk_acknowledges_nothing_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    let (write, secret) = server.keys.clone().expect("the first start shows keys");
    let mut client = Client::new(0, &write, &secret);
    client.enroll(&server.address);
    server.kill();
    let mut server = Server::wait(&mut small_disk(folder.path()));
    let start = Instant::now();
    while client.step(&server.address) {
        assert!(start.elapsed() < PATIENCE, "the disk does not get full");
    }
    assert!(server.process.try_wait().unwrap().is_none(), "the server goes on");
    assert!(client.batches > 0, "some were acknowledged before the disk was full");
    server.kill();
    let mut server = Server::start(folder.path());
    client.finish(&server.address);
    client.check(&server.address);
    server.kill();
    let verified = perennial(folder.path(), "verify", &[]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn verify_says_that_it_had_to_make_the_state_first() {
    let folder = tempfile::tempdir().unwrap();
    Server::start(folder.path()).kill();
    std::fs::remove_file(folder.path().join("state.db")).unwrap();
    for note in [true, false] {
        let verified = perennial(folder.path(), "verify", &[]);
        let said = String::from_utf8_lossy(&verified.stdout);
        assert!(verified.status.success() && said.contains("all in order"), "{said}");
        assert_eq!(said.contains("state.db was missing and was made from the journal"), note, "{said}");
    }
    std::fs::remove_file(folder.path().join("keys.db")).unwrap();
    let said = String::from_utf8_lossy(&perennial(folder.path(), "verify", &[]).stderr).into_owned();
    assert!(said.contains("put keys.db back from a backup"), "{said}");
}

/// The server under a limit of 1,000 or 2,000 kB a file, as the shell counts blocks.
fn small_disk(folder: &Path) -> Command {
    let plain = command(folder, "serve", &["--listen", "127.0.0.1:0"]);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 2000; exec \"$0\" \"$@\""]);
    command.arg(plain.get_program()).args(plain.get_args()).stdin(Stdio::null());
    command
}
