//! The pump: one thread owns the workspace; everybody else sends it work and waits for the answer.
//!
//! Promise: an event is answered only after it is durable. Work is grouped, up to [`GROUP_EVENTS`]
//! events or about two milliseconds an append. What waits is bounded by [`QUEUE_BYTES`]; beyond it
//! callers are told to come back. The wall clock is read here and nowhere else, and never goes back.
//! Absent on purpose: HTTP, and any second writer.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use perennial_core::input::Asked;
use perennial_core::time::Timestamp;
use serde::Serialize;
use tokio::sync::{broadcast, oneshot};

use crate::models::shelf::Shelf;
use crate::wire::Arrival;
use crate::workspace::{Answer, Failure, Receipt, Status, Workspace};

/// Most events of one append.
pub const GROUP_EVENTS: usize = 2_048;
/// Most bytes of work that may wait.
pub const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// What a piece of work weighs besides its events.
const JOB_BYTES: usize = 1_024;
/// How long a group waits for company once it has some.
const GROUP_WAIT: Duration = Duration::from_millis(2);
/// How often timers are looked at while nothing comes in.
const TICK: Duration = Duration::from_millis(250);
/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many notices a slow listener may fall behind.
const NOTICES: usize = 1_024;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Too much is waiting; come back in a moment.
    Busy,
    /// The journal or the store failed; nothing was done.
    Unavailable(String),
    /// It panicked: a fault of ours, and nothing was done. Asking again is of no use.
    Broken,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too much is waiting"),
            Self::Unavailable(why) => f.write_str(why),
            Self::Broken => f.write_str("a fault of this program: it panicked"),
        }
    }
}

/// Where the time comes from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's.
    #[default]
    System,
    /// A hand that tests move, in milliseconds since 1970.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    fn read(&self) -> i64 {
        match self {
            Self::Manual(ms) => ms.load(Ordering::Relaxed),
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
        }
    }
}

/// Something that happened, for whoever listens. Carries opaque ids and names of events only.
#[derive(Clone, Debug, Serialize)]
pub struct Notice {
    /// `event` or `command`.
    pub kind: &'static str,
    /// The journal entry, if one was written.
    pub seq: Option<u64>,
    /// When it was written.
    pub at: Timestamp,
    /// The event's or command's name.
    pub name: String,
    /// `accepted`, `duplicate`, `rejected`, `quarantined`, or `refused`.
    pub status: &'static str,
    /// The customer, if it concerns one.
    pub customer: Option<String>,
}

type Call = Box<dyn FnOnce(&mut Workspace, Timestamp) + Send>;
type Reply = oneshot::Sender<Result<Vec<Receipt>, Trouble>>;

enum Job {
    Take(Taking),
    Call(Call),
    Stop,
}

struct Taking {
    batch: Vec<Arrival>,
    weight: usize,
    reply: Reply,
}

/// What the thread and its callers share.
struct Shared {
    queued: AtomicUsize,
    limit: usize,
    last_ms: AtomicI64,
    healthy: AtomicBool,
    clock: Clock,
    notices: broadcast::Sender<Notice>,
    shelf: Arc<Shelf>,
}

impl Shared {
    /// The time, which never goes back even if the machine's clock does.
    fn now(&self) -> Timestamp {
        let ms = self.clock.read();
        Timestamp::from_millis(ms.max(self.last_ms.fetch_max(ms, Ordering::Relaxed)))
    }

    fn reserve(&self, weight: usize) -> Result<(), Trouble> {
        let before = self.queued.fetch_add(weight, Ordering::AcqRel);
        if before > 0 && before + weight > self.limit {
            self.queued.fetch_sub(weight, Ordering::AcqRel);
            return Err(Trouble::Busy);
        }
        Ok(())
    }

    fn release(&self, weight: usize) {
        let before = self.queued.fetch_sub(weight, Ordering::AcqRel);
        metrics::gauge!("pump_queue_bytes").set(precise(before - weight));
    }
}

/// The way to the workspace; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
}

/// The running thread; stop it to get the workspace back.
pub struct Pump {
    handle: Handle,
    thread: JoinHandle<Workspace>,
}

impl Pump {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(workspace: Workspace, clock: Clock) -> std::io::Result<Self> {
        Self::start_with(workspace, clock, QUEUE_BYTES)
    }

    /// Starts the thread with another bound on what may wait.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start_with(workspace: Workspace, clock: Clock, queue_bytes: usize) -> std::io::Result<Self> {
        let (jobs, work) = mpsc::channel();
        let shared = Arc::new(Shared {
            queued: AtomicUsize::new(0),
            limit: queue_bytes,
            last_ms: AtomicI64::new(i64::MIN),
            healthy: AtomicBool::new(true),
            clock,
            notices: broadcast::channel(NOTICES).0,
            shelf: workspace.shelf(),
        });
        let handle = Handle { jobs, shared: shared.clone() };
        let writer = Writer { workspace, shared, failed: None };
        let thread = std::thread::Builder::new().name("pump".into()).spawn(move || writer.run(&work))?;
        Ok(Self { handle, thread })
    }

    /// A way to the workspace.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Finishes what waits, writes a checkpoint and gives the workspace back.
    ///
    /// # Errors
    /// When the thread had died.
    pub fn stop(self) -> Result<Workspace, Trouble> {
        let died = || Trouble::Unavailable("the writer has stopped".into());
        self.handle.jobs.send(Job::Stop).map_err(|_| died())?;
        self.thread.join().map_err(|_| died())
    }
}

impl Handle {
    /// The time.
    pub fn now(&self) -> Timestamp {
        self.shared.now()
    }

    /// Where recommendations are served from, without asking the thread.
    pub fn shelf(&self) -> Arc<Shelf> {
        self.shared.shelf.clone()
    }

    /// Whether the last append worked.
    pub fn healthy(&self) -> bool {
        self.shared.healthy.load(Ordering::Relaxed)
    }

    /// What happens from now on; a listener that is too slow misses some and is told how many.
    pub fn listen(&self) -> broadcast::Receiver<Notice> {
        self.shared.notices.subscribe()
    }

    /// Takes messages in that came in `bytes` bytes; durable when it returns.
    ///
    /// # Errors
    /// [`Trouble`]; then none of them counts.
    pub async fn submit(&self, batch: Vec<Arrival>, bytes: usize) -> Result<Vec<Receipt>, Trouble> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let weight = bytes + JOB_BYTES;
        self.shared.reserve(weight)?;
        let (reply, answer) = oneshot::channel();
        self.send(Job::Take(Taking { batch, weight, reply }), weight)?;
        wait(answer).await?
    }

    /// Answers a command.
    ///
    /// # Errors
    /// [`Trouble`]; asking again under the same key is safe.
    pub async fn ask(&self, name: &'static str, asked: Asked) -> Result<Answer, Trouble> {
        let notices = self.shared.notices.clone();
        let shared = self.shared.clone();
        self.call(move |workspace, now| {
            let answer = workspace.ask(now, asked);
            shared.healthy.store(answer.is_ok(), Ordering::Relaxed);
            let answer = answer?;
            let status = if answer.outcome.is_ok() { "accepted" } else { "refused" };
            let seq = Some(answer.seq);
            // Nobody listening is no error.
            let _ = notices.send(Notice { kind: "command", seq, at: now, name: name.into(), status, customer: None });
            Ok(answer)
        })
        .await
    }

    /// Runs a question against the workspace, between appends.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn call<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Workspace, Timestamp) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Trouble> {
        self.shared.reserve(JOB_BYTES)?;
        let (reply, answer) = oneshot::channel();
        let shared = self.shared.clone();
        let job = Job::Call(Box::new(move |workspace, now| {
            shared.release(JOB_BYTES);
            let result = contained(workspace, |workspace| question(workspace, now));
            let _ = reply.send(result); // the caller may have gone
        }));
        self.send(job, JOB_BYTES)?;
        wait(answer).await?
    }

    fn send(&self, job: Job, weight: usize) -> Result<(), Trouble> {
        self.jobs.send(job).map_err(|_| {
            self.shared.release(weight);
            stopped()
        })
    }
}

/// Does something with the workspace; a panic reaches neither the thread nor what is done next.
fn contained<T>(
    workspace: &mut Workspace,
    work: impl FnOnce(&mut Workspace) -> Result<T, Failure>,
) -> Result<T, Trouble> {
    if let Ok(done) = catch_unwind(AssertUnwindSafe(|| work(workspace))) {
        return done.map_err(|failure| Trouble::Unavailable(failure.to_string()));
    }
    workspace.distrust();
    Err(Trouble::Broken)
}

fn stopped() -> Trouble {
    Trouble::Unavailable("the writer has stopped".into())
}

async fn wait<T>(answer: oneshot::Receiver<T>) -> Result<T, Trouble> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(stopped()),
        Err(_) => Err(Trouble::Unavailable("no answer in time".into())),
    }
}

struct Writer {
    workspace: Workspace,
    shared: Arc<Shared>,
    /// When the journal or the store last failed.
    failed: Option<Instant>,
}

/// After a failure the doors open again with the next append that works, or after this long, so
/// that one can come.
const RETRY: Duration = Duration::from_secs(5);

impl Writer {
    fn run(mut self, work: &Receiver<Job>) -> Workspace {
        let _gone = MarkGone(self.shared.clone());
        let mut next = None;
        let mut ticked = Instant::now();
        loop {
            let job = match next.take() {
                Some(job) => Ok(job),
                None => work.recv_timeout(TICK),
            };
            match job {
                Ok(Job::Take(first)) => next = self.take_group(first, work),
                Ok(Job::Call(call)) => call(&mut self.workspace, self.shared.now()),
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if ticked.elapsed() >= TICK {
                self.tick();
                ticked = Instant::now();
            }
        }
        self.tick();
        if let Err(failure) = self.workspace.checkpoint() {
            tracing::error!(error = %failure, "the last checkpoint failed; the next start folds the journal's tail");
        }
        self.workspace
    }

    fn background(&mut self, now: Timestamp) -> Result<(), Trouble> {
        contained(&mut self.workspace, |workspace| {
            workspace.advance(now)?;
            workspace.pass_midnight(now)?;
            workspace.checkpoint_if_due(now)
        })
    }

    /// Fires what is due and lets the workspace write a checkpoint if one is due.
    fn tick(&mut self) {
        let now = self.shared.now();
        let done = self.background(now);
        match done {
            Err(trouble) => {
                tracing::error!(error = %trouble, "timers or checkpoint failed");
                self.report(false);
            }
            Ok(()) if self.failed.is_none_or(|at| at.elapsed() >= RETRY) => self.report(true),
            Ok(()) => {}
        }
    }

    fn report(&mut self, works: bool) {
        self.failed = if works { None } else { Some(Instant::now()) };
        self.shared.healthy.store(works, Ordering::Relaxed);
    }

    /// Appends this work and what waits behind it in one go; the first piece of another kind that
    /// was met is handed back.
    fn take_group(&mut self, first: Taking, work: &Receiver<Job>) -> Option<Job> {
        let started = Instant::now();
        let mut events = first.batch.len();
        let mut group = vec![first];
        let mut other = None;
        while events < GROUP_EVENTS {
            // A lone piece goes at once; once there is company, a little waiting saves appends.
            let patience = if group.len() > 1 { GROUP_WAIT.saturating_sub(started.elapsed()) } else { Duration::ZERO };
            match work.recv_timeout(patience) {
                Ok(Job::Take(taking)) => {
                    events += taking.batch.len();
                    group.push(taking);
                }
                Ok(job) => {
                    other = Some(job);
                    break;
                }
                Err(_) => break,
            }
        }
        self.append(group, events);
        other
    }

    fn append(&mut self, mut group: Vec<Taking>, events: usize) {
        let now = self.shared.now();
        let mut batch = Vec::with_capacity(events);
        let sizes: Vec<usize> = group.iter().map(|taking| taking.batch.len()).collect();
        for taking in &mut group {
            batch.append(&mut taking.batch);
        }
        let names = if self.shared.notices.receiver_count() > 0 { batch.iter().map(name_of).collect() } else { vec![] };
        let started = Instant::now();
        let result = contained(&mut self.workspace, |workspace| workspace.take(now, batch));
        self.report(result.is_ok());
        metrics::histogram!("pump_append_seconds").record(started.elapsed());
        metrics::histogram!("pump_append_events").record(precise(events));
        match result {
            Ok(receipts) => {
                self.tell(now, &receipts, names);
                deliver(group, &sizes, receipts, &self.shared);
            }
            Err(trouble) => {
                tracing::error!(error = %trouble, events, "append failed; nothing of it was acknowledged");
                refuse(group, &trouble, &self.shared);
            }
        }
    }

    fn tell(&self, now: Timestamp, receipts: &[Receipt], names: Vec<String>) {
        for (receipt, name) in receipts.iter().zip(names) {
            let status = status_word(&receipt.status);
            let customer = receipt.customer.map(|c| c.to_string());
            let notice = Notice { kind: "event", seq: receipt.seq, at: now, name, status, customer };
            if self.shared.notices.send(notice).is_err() {
                return; // the last listener left
            }
        }
    }
}

/// Tells callers that the thread is gone, also when it panicked.
struct MarkGone(Arc<Shared>);

impl Drop for MarkGone {
    fn drop(&mut self) {
        self.0.healthy.store(false, Ordering::Relaxed);
    }
}

fn deliver(group: Vec<Taking>, sizes: &[usize], receipts: Vec<Receipt>, shared: &Shared) {
    let mut receipts = receipts.into_iter();
    for (taking, size) in group.into_iter().zip(sizes) {
        let own: Vec<Receipt> = receipts.by_ref().take(*size).collect();
        for receipt in &own {
            metrics::counter!("events_total", "status" => status_word(&receipt.status)).increment(1);
        }
        shared.release(taking.weight);
        let _ = taking.reply.send(Ok(own)); // the caller may have gone
    }
}

fn refuse(group: Vec<Taking>, trouble: &Trouble, shared: &Shared) {
    for taking in group {
        shared.release(taking.weight);
        let _ = taking.reply.send(Err(trouble.clone())); // the caller may have gone
    }
}

fn name_of(arrival: &Arrival) -> String {
    match arrival {
        Arrival::Event(event) => event.name().to_owned(),
        Arrival::Reject(reject) => reject.code.to_string(),
    }
}

/// The word for a status that receipts, notices and metrics share.
pub fn status_word(status: &Status) -> &'static str {
    match status {
        Status::Accepted => "accepted",
        Status::Duplicate => "duplicate",
        Status::Rejected { .. } => "rejected",
        Status::Quarantined => "quarantined",
    }
}

/// A count as a metric's number; exact below 2^32.
fn precise(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}
