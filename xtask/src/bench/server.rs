//! A process under measurement: started, watched through `/proc`, and ended by its handle.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to begin.
const PATIENCE: Duration = Duration::from_secs(120);
/// Ticks of `/proc/<pid>/stat` a second, the same on every Linux we know.
pub(super) const TICKS: f64 = 100.0;

/// A server on this machine, ended when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) port: u16,
    /// The key for events; empty when this start did not show it.
    pub(crate) write_key: String,
    /// The key for everything else.
    pub(crate) secret_key: String,
    /// Seconds from the start of the process until it listened.
    pub(crate) ready: f64,
}

/// What a process has used so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Seconds on a processor, in user and system mode.
    pub(crate) cpu: f64,
    /// Bytes sent to the disk.
    pub(crate) written: f64,
    /// Resident bytes.
    pub(crate) resident: f64,
}

impl Server {
    /// Starts a program and waits until it says where it listens.
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Result<Self, String> {
        let began = Instant::now();
        let mut command = Command::new(program);
        command.args(arguments).env("RUST_LOG", "warn").stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
        let out = child.stdout.take().ok_or("a server without output")?;
        let mut server = Self { child, port: 0, write_key: String::new(), secret_key: String::new(), ready: 0.0 };
        for line in BufReader::new(out).lines() {
            let line = line.map_err(|e| e.to_string())?;
            let last = line.split_whitespace().last().unwrap_or_default();
            match line.trim() {
                text if text.starts_with("write key") => server.write_key = last.into(),
                text if text.starts_with("secret key") => server.secret_key = last.into(),
                text if text.contains("listens on") => {
                    server.port = last.rsplit(':').next().and_then(|p| p.parse().ok()).unwrap_or(0);
                    server.ready = began.elapsed().as_secs_f64();
                    return Ok(server);
                }
                _ if began.elapsed() > PATIENCE => break,
                _ => {}
            }
        }
        Err(format!("{} did not begin to listen", program.display()))
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Usage {
        let read =
            |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap_or_default();
        let stat = read("stat");
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
        let field = |text: &str, name: &str| -> f64 {
            let line = text.lines().find_map(|l| l.strip_prefix(name).map(str::to_owned)).unwrap_or_default();
            line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(f64::NAN)
        };
        Usage {
            cpu: ticks / TICKS,
            written: field(&read("io"), "write_bytes:"),
            resident: field(&read("status"), "VmRSS:") * 1024.0,
        }
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn crash(mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().map_err(|e| format!("kill: {e}"))?;
        self.child.wait().map(drop).map_err(|e| e.to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended already
        let _ = self.child.wait();
    }
}
