//! Threads for work that nobody waits for: they go on when others don't.
//!
//! Whoever sends or asks waits for a processor behind none of them. What they do must end all the same,
//! so that each keeps a share: where the system knows no priority of single threads, an equal one.

use std::io;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

/// How far a thread stands back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// What holds others up if it takes long, as a checkpoint does: a third of an equal share.
    Soon,
    /// What may take its hours: a tenth.
    Sometime,
}

#[cfg(target_os = "linux")]
impl Haste {
    /// A process is nicer to others by so much.
    const fn niceness(self) -> i32 {
        match self {
            Self::Soon => 5,
            Self::Sometime => 10,
        }
    }
}

/// Starts a thread that stands back.
///
/// # Errors
/// When the system refuses a thread.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    haste: Haste,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.into()).spawn(move || {
        give_way(haste);
        work()
    })
}

/// Does something on a thread that stands back, and waits for it. The thread goes on when nobody waits any
/// longer.
///
/// # Errors
/// When the system refuses a thread, or the work panicked; in words.
pub(crate) async fn run<T: Send + 'static>(
    name: &str,
    haste: Haste,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (done, result) = oneshot::channel();
    let started = spawn(name, haste, move || {
        let _ = done.send(work()); // nobody waits any longer
    });
    started.map_err(|e| format!("no thread for {name}: {e}"))?;
    result.await.map_err(|_| format!("the thread for {name} died"))
}

#[cfg(target_os = "linux")]
fn give_way(haste: Haste) {
    let this = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(this), haste.niceness()) {
        tracing::debug!(%error, "work that nobody waits for has the priority of everything else");
    }
}

#[cfg(not(target_os = "linux"))]
fn give_way(_: Haste) {}
