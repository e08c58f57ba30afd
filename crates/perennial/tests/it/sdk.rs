//! Unmodified client libraries against a running server. They are not part of a plain build:
//! `tests/sdk/README.md` says how to install them; without `PERENNIAL_SDKS` this is skipped.

use std::path::Path;
use std::process::{Command, Stdio};

use perennial::http::keys::KeyRing;
use perennial::http::server::{Config, Server};
use perennial::http::{App, router};
use perennial::pump::{Clock, Pump};
use perennial::workspace::Who;
use perennial_core::time::Timestamp;

/// A client, how to run it, whom it names, and how many messages it sends about them at least.
const CLIENTS: &[(&str, &[&str], &str, usize)] = &[
    ("@segment/analytics-node", &["node", "node/segment.mjs"], "ana", 6),
    ("@rudderstack/rudder-sdk-node", &["node", "node/rudderstack.mjs"], "ana", 5),
    ("@segment/analytics-next", &["node", "node/browser.mjs"], "ana", 5),
    ("segment-analytics-python", &["python/venv/bin/python", "python/segment_client.py"], "12345", 6),
    ("rudder-sdk-python", &["python/venv/bin/python", "python/rudderstack_client.py"], "ana", 5),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unmodified_clients_deliver_everything() {
    if std::env::var_os("PERENNIAL_SDKS").is_none() {
        println!("skipped: the client libraries are not installed (see tests/sdk/README.md)");
        return;
    }
    for (client, command, customer, least) in CLIENTS {
        let delivered = deliver(command, customer).await;
        assert!(delivered >= *least, "{client} delivered {delivered} of {least} messages");
        println!("{client}: {delivered} messages");
    }
}

/// Runs a client against a server of its own; how many messages about the customer arrived.
async fn deliver(command: &'static [&'static str], customer: &str) -> usize {
    let pump = Pump::start(crate::shop::workspace(), Clock::System).unwrap();
    let (keys, first) = KeyRing::in_memory(Timestamp::EPOCH).unwrap();
    let (app, stop) = App::new(pump.handle(), keys, None);
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
    let server = Server::bind(config, router(app), stop).await.unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async { drop(ended.await) }));
    let worked = tokio::task::spawn_blocking(move || run(command, &url, &first.write)).await.unwrap();
    assert!(worked, "{command:?} failed");
    let who: Who = customer.parse().unwrap();
    let handle = pump.handle();
    let found = handle.call(move |workspace, now| workspace.timeline(now, &who, None, 500)).await.unwrap();
    end.send(()).unwrap();
    running.await.unwrap();
    pump.stop().map(drop).unwrap();
    found.map_or(0, |entries| entries.len())
}

fn run(command: &[&str], url: &str, write_key: &str) -> bool {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk");
    // A path to a program is taken from where we are, not from where it will run.
    let program = if command[0].contains('/') { folder.join(command[0]) } else { command[0].into() };
    let mut child = Command::new(program);
    child.args(&command[1..]).current_dir(folder).env("HOST_URL", url).env("WRITE_KEY", write_key);
    child.stdin(Stdio::null()).status().is_ok_and(|status| status.success())
}
