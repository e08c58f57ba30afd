//! The pump: one thread works on the workspace; everybody else sends it work and waits for the answer,
//! or glances at the workspace while the thread rests.
//!
//! Promise: an event or a command is answered only after it is durable. It is folded as it arrives and
//! begun at once; the journal writes together what comes while it is busy. What waits is bounded by
//! [`QUEUE_BYTES`]; beyond it callers are told to come back. The wall clock is read here and nowhere
//! else, and never goes back.
//! Absent on purpose: HTTP, and any second writer.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use perennial_core::id::Secret;
use perennial_core::input::{Asked, Entry, Input, Published};
use perennial_core::time::Timestamp;
use serde::Serialize;
use tokio::sync::{broadcast, oneshot};

use crate::models::shelf::Shelf;
use crate::view::word;
use crate::wire::Arrival;
use crate::workspace::{Answer, Failure, Marked, Receipt, Status, Workspace};

/// Most bytes of work that may wait.
pub const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// What a piece of work weighs besides its events.
const JOB_BYTES: usize = 1_024;
/// How often timers are looked at while nothing comes in.
const TICK: Duration = Duration::from_millis(250);
/// How long those who wait are served between two steps of a checkpoint.
const BREATH: Duration = Duration::from_millis(2);
/// How long the thread lets work come together while the journal is busy.
const NAP: Duration = Duration::from_micros(250);
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
    /// No answer in time: it may be done still.
    Late,
    /// It panicked: a fault of ours, and nothing was done. Asking again is of no use.
    Broken,
}

impl From<&Failure> for Trouble {
    fn from(failure: &Failure) -> Self {
        Self::Unavailable(failure.to_string())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too much is waiting"),
            Self::Unavailable(why) => f.write_str(why),
            Self::Late => f.write_str("no answer in time"),
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
    /// `event`, `command`, `timer`, `identity` or `publication`.
    pub kind: &'static str,
    /// The journal entry, if one was written.
    pub seq: Option<u64>,
    /// When it was written.
    pub at: Timestamp,
    /// The event's or command's name, what was due (`activate`, `expire`, `hold_lapse`, `review`, ...), `joined`, or
    /// what was published.
    pub name: String,
    /// `accepted`, `duplicate` (also of a command whose first answer was given again), `rejected`, `quarantined`, or
    /// `refused`.
    pub status: &'static str,
    /// The customer, if it concerns one.
    pub customer: Option<String>,
}

type Call = Box<dyn FnOnce(&mut Workspace, Timestamp) + Send>;

enum Job {
    Take(Vec<Marked>, Caller<Vec<Receipt>>),
    Ask(&'static str, Box<Asked>, Caller<Answer>),
    Call(Call),
    Stop,
}

/// Who waits for an answer, and what the work weighed that was sent with the question.
struct Caller<T> {
    weight: usize,
    reply: oneshot::Sender<Result<T, Trouble>>,
}

impl<T> Caller<T> {
    fn tell(self, shared: &Shared, answer: Result<T, Trouble>) {
        shared.release(self.weight);
        let _ = self.reply.send(answer); // the caller may have gone
    }
}

/// What the thread and its callers share.
struct Shared {
    queued: AtomicUsize,
    limit: usize,
    last_ms: AtomicI64,
    healthy: AtomicBool,
    /// When the journal or the store last failed.
    failed: Mutex<Option<Instant>>,
    clock: Clock,
    notices: broadcast::Sender<Notice>,
    shelf: Arc<Shelf>,
    secret: Secret,
    meters: OnceLock<Meters>,
}

/// What is measured; found once, because finding a meter by its labels costs more than using it.
struct Meters {
    queue_bytes: metrics::Gauge,
    append_entries: metrics::Histogram,
    append_seconds: metrics::Histogram,
    accepted: metrics::Counter,
    duplicate: metrics::Counter,
    rejected: metrics::Counter,
    quarantined: metrics::Counter,
}

impl Meters {
    fn find() -> Self {
        let events = |status: &'static str| metrics::counter!("events_total", "status" => status);
        Self {
            queue_bytes: metrics::gauge!("pump_queue_bytes"),
            append_entries: metrics::histogram!("journal_append_entries"),
            append_seconds: metrics::histogram!("journal_append_seconds"),
            accepted: events("accepted"),
            duplicate: events("duplicate"),
            rejected: events("rejected"),
            quarantined: events("quarantined"),
        }
    }

    fn count(&self, status: &Status) {
        let counter = match status {
            Status::Accepted => &self.accepted,
            Status::Duplicate => &self.duplicate,
            Status::Rejected { .. } => &self.rejected,
            Status::Quarantined => &self.quarantined,
        };
        counter.increment(1);
    }
}

impl Shared {
    /// Looked for at their first use: whoever collects them is there by then.
    fn meters(&self) -> &Meters {
        self.meters.get_or_init(Meters::find)
    }

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
        self.meters().queue_bytes.set(precise(before + weight));
        Ok(())
    }

    /// After a failure the doors open again with the next append that works, or after [`RETRY`], so
    /// that one can come.
    fn report(&self, works: bool) {
        let failed = if works { None } else { Some(Instant::now()) };
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        self.healthy.store(works, Ordering::Relaxed);
    }

    fn failed_lately(&self) -> bool {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < RETRY)
    }

    fn release(&self, weight: usize) {
        let before = self.queued.fetch_sub(weight, Ordering::AcqRel);
        self.meters().queue_bytes.set(precise(before - weight));
    }
}

/// The workspace, until its thread gives it back. Held by the thread while it does something, and by
/// others for as long as a glance takes.
type Place = Arc<Mutex<Option<Workspace>>>;

fn lock(place: &Place) -> MutexGuard<'_, Option<Workspace>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The way to the workspace; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
    place: Place,
}

/// The running thread; stop it to get the workspace back.
pub struct Pump {
    handle: Handle,
    thread: JoinHandle<Option<Workspace>>,
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
        let last = workspace.latest();
        warn_of_the_past(clock.read(), last);
        let shared = Arc::new(Shared {
            queued: AtomicUsize::new(0),
            limit: queue_bytes,
            last_ms: AtomicI64::new(last.as_millis()),
            healthy: AtomicBool::new(true),
            failed: Mutex::new(None),
            clock,
            notices: broadcast::channel(NOTICES).0,
            shelf: workspace.shelf(),
            secret: workspace.secret(),
            meters: OnceLock::new(),
        });
        let place: Place = Arc::new(Mutex::new(Some(workspace)));
        let handle = Handle { jobs, shared: shared.clone(), place: place.clone() };
        let thread = std::thread::Builder::new().name("pump".into()).spawn(move || run(&place, &shared, &work))?;
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
        self.thread.join().ok().flatten().ok_or_else(died)
    }
}

/// So far a clock may be behind the journal before it is worth a line, in milliseconds.
const BEHIND_MS: i64 = 60_000;

/// What is dated by a clock that was set back would be booked in the past: the time stands still instead.
fn warn_of_the_past(clock_ms: i64, last: Timestamp) {
    if clock_ms < last.as_millis().saturating_sub(BEHIND_MS) {
        let clock = Timestamp::from_millis(clock_ms);
        tracing::warn!(
            "the machine's clock says {clock}, before the last entry of the journal at {last}: set it right; \
             until it has caught up, everything is dated at the last entry"
        );
    }
}

impl Handle {
    /// The time: never before the last entry of the journal.
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

    /// Takes messages in that are `bytes` bytes long, unpacked; durable when it returns.
    ///
    /// # Errors
    /// [`Trouble`]; then none of them counts.
    pub async fn submit(&self, batch: Vec<Arrival>, bytes: usize) -> Result<Vec<Receipt>, Trouble> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let weight = bytes + JOB_BYTES;
        self.shared.reserve(weight)?;
        let batch = batch.into_iter().map(|arrival| Marked::new(&self.shared.secret, arrival)).collect();
        let (reply, answer) = oneshot::channel();
        self.send(Job::Take(batch, Caller { weight, reply }), weight)?;
        wait(answer).await?
    }

    /// Answers a command; durable when it returns.
    ///
    /// # Errors
    /// [`Trouble`]; asking again under the same key is safe.
    pub async fn ask(&self, name: &'static str, asked: Asked) -> Result<Answer, Trouble> {
        self.shared.reserve(JOB_BYTES)?;
        let (reply, answer) = oneshot::channel();
        self.send(Job::Ask(name, Box::new(asked), Caller { weight: JOB_BYTES, reply }), JOB_BYTES)?;
        wait(answer).await?
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

    /// Looks at the workspace on the caller's thread, unless something is being done with it; for
    /// questions that memory answers in microseconds. None says to [`Handle::call`], also when the look
    /// panicked: there the panic is told and contained.
    pub fn peek<T>(&self, look: impl FnOnce(&Workspace, Timestamp) -> Option<T>) -> Option<T> {
        let held = self.place.try_lock().ok()?;
        let workspace = held.as_ref()?;
        catch_unwind(AssertUnwindSafe(|| look(workspace, self.shared.now()))).ok().flatten()
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
        return done.map_err(|failure| Trouble::from(&failure));
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
        Err(_) => Err(Trouble::Late),
    }
}

/// How long the doors stay shut after a failure when nothing is appended.
const RETRY: Duration = Duration::from_secs(5);

/// Does what comes in until it is told to stop; gives the workspace back.
fn run(place: &Place, shared: &Arc<Shared>, work: &Receiver<Job>) -> Option<Workspace> {
    let _gone = MarkGone(shared.clone());
    watch_appends(lock(place).as_mut()?, shared);
    let (mut next, mut ticked, mut went_on, mut patience) = (None, Instant::now(), Instant::now(), TICK);
    let mut is_busy = false;
    loop {
        let job = match next.take() {
            Some(job) => Ok(job),
            None if is_busy => nap(work),
            None => work.recv_timeout(patience),
        };
        let mut held = lock(place);
        let mut writer = Writer { workspace: held.as_mut()?, shared };
        match job {
            Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(job) => writer.carry_out(job),
            Err(RecvTimeoutError::Timeout) => {}
        }
        next = work.try_recv().ok();
        writer.begin(next.is_some());
        if ticked.elapsed() >= TICK {
            writer.tick();
            ticked = Instant::now();
        } else if next.is_none() || went_on.elapsed() >= BREATH {
            writer.go_on();
            went_on = Instant::now();
        }
        // While a checkpoint is in the making there is always something to do.
        patience = if writer.workspace.makes_checkpoint() { Duration::ZERO } else { TICK };
        is_busy = !writer.workspace.is_settled();
    }
    let mut workspace = lock(place).take()?;
    Writer { workspace: &mut workspace, shared }.tick();
    if let Err(failure) = workspace.checkpoint() {
        tracing::error!(error = %failure, "the last checkpoint failed; the next start folds the journal's tail");
    }
    Some(workspace)
}

/// Lets the doors be known by each append before it is told, and wakes this thread, which may nap.
fn watch_appends(workspace: &mut Workspace, shared: &Arc<Shared>) {
    let listeners = shared.notices.clone();
    workspace.herald(move |batch| {
        if listeners.receiver_count() == 0 {
            return None;
        }
        let (listeners, news): (_, Vec<_>) = (listeners.clone(), batch.iter().filter_map(unasked).collect());
        Some(Box::new(move || news.into_iter().for_each(|notice| drop(listeners.send(notice)))))
    });
    let (shared, pump) = (shared.clone(), std::thread::current());
    workspace.watch_appends(move |append| {
        pump.unpark();
        shared.meters().append_entries.record(precise(append.entries));
        shared.meters().append_seconds.record(append.took);
        shared.report(append.result.is_ok());
        if let Err(failure) = append.result {
            tracing::error!(error = %failure, "append failed; nothing of it was acknowledged");
        }
    });
}

/// Waits until the journal is free or a moment has passed. To be woken for every event that must wait
/// anyway would cost more than to fold it.
fn nap(work: &Receiver<Job>) -> Result<Job, RecvTimeoutError> {
    std::thread::park_timeout(NAP);
    work.try_recv().map_err(|empty| match empty {
        TryRecvError::Empty => RecvTimeoutError::Timeout,
        TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
    })
}

/// The workspace in the hands of its thread.
struct Writer<'a> {
    workspace: &'a mut Workspace,
    shared: &'a Arc<Shared>,
}

impl Writer<'_> {
    fn carry_out(&mut self, job: Job) {
        match job {
            Job::Take(batch, caller) => self.take(batch, caller),
            Job::Ask(name, asked, caller) => self.decide(name, *asked, caller),
            Job::Call(call) => self.answer(call),
            Job::Stop => {}
        }
    }

    /// A question sees only what is durable.
    fn answer(&mut self, call: Call) {
        let _ = self.workspace.settle(); // What failed is mended before the question is asked.
        call(self.workspace, self.shared.now());
    }

    /// Fires what is due and lets the workspace write a checkpoint if one is due.
    fn tick(&mut self) {
        let now = self.shared.now();
        self.in_background(|workspace| {
            workspace.advance(now)?;
            workspace.pass_midnight(now)?;
            workspace.checkpoint_if_due(now)
        });
    }

    /// Takes a checkpoint in the making a step further.
    fn go_on(&mut self) {
        let now = self.shared.now();
        if self.workspace.makes_checkpoint() {
            self.in_background(|workspace| workspace.checkpoint_if_due(now));
        }
    }

    fn in_background(&mut self, work: impl FnOnce(&mut Workspace) -> Result<(), Failure>) {
        match contained(self.workspace, work) {
            Err(trouble) => self.lose(&trouble, "timers or checkpoint failed"),
            Ok(()) if !self.shared.failed_lately() => self.shared.report(true),
            Ok(()) => {}
        }
    }

    fn take(&mut self, batch: Vec<Marked>, caller: Caller<Vec<Receipt>>) {
        let now = self.shared.now();
        let heard = self.shared.notices.receiver_count() > 0;
        let names: Vec<_> = if heard { batch.iter().map(name_of).collect() } else { Vec::new() };
        let folded = contained(self.workspace, |workspace| workspace.fold_marked(now, batch));
        self.promise(folded, caller, move |receipts, shared| {
            for receipt in receipts {
                shared.meters().count(&receipt.status);
            }
            tell(now, receipts, names, shared);
        });
    }

    fn decide(&mut self, name: &'static str, asked: Asked, caller: Caller<Answer>) {
        let now = self.shared.now();
        let decided = contained(self.workspace, |workspace| workspace.decide_in(now, asked));
        self.promise(decided, caller, move |answer, shared| {
            let status = match &answer.outcome {
                _ if answer.replayed => "duplicate",
                Ok(_) => "accepted",
                Err(_) => "refused",
            };
            let (seq, name, customer) = (Some(answer.seq), name.into(), answer.customer.map(|c| c.to_string()));
            let _ = shared.notices.send(Notice { kind: "command", seq, at: now, name, status, customer });
        });
    }

    /// Begins to make durable what was folded.
    fn begin(&mut self, more: bool) {
        if self.workspace.owes_answers() {
            self.workspace.flush(more);
        }
    }

    /// Answers once what was folded is durable, and lets listeners know.
    fn promise<T: Send + 'static>(
        &mut self,
        folded: Result<T, Trouble>,
        caller: Caller<T>,
        announce: impl FnOnce(&T, &Shared) + Send + 'static,
    ) {
        let shared = self.shared.clone();
        let answer = match folded {
            Ok(answer) => answer,
            Err(trouble) => {
                self.lose(&trouble, "folding failed");
                return caller.tell(&shared, Err(trouble));
            }
        };
        self.workspace.when_durable(move |done| {
            let answer = done.as_ref().map(|()| answer).map_err(Trouble::from);
            if let Ok(answer) = &answer {
                announce(answer, &shared);
            }
            caller.tell(&shared, answer);
        });
    }

    /// What was half done is made undone.
    fn lose(&mut self, trouble: &Trouble, what: &str) {
        tracing::error!(error = %trouble, "{what}; nothing of it was acknowledged");
        self.workspace.distrust();
        self.shared.report(false);
    }
}

/// Tells callers that the thread is gone, also when it panicked.
struct MarkGone(Arc<Shared>);

impl Drop for MarkGone {
    fn drop(&mut self) {
        self.0.healthy.store(false, Ordering::Relaxed);
    }
}

/// What comes about without a message or a command: by time, by a publication, or because two turn out to be one.
/// Time that changed nothing is no news.
fn unasked(entry: &Entry) -> Option<Notice> {
    let (kind, name) = match entry.input.as_ref()? {
        Input::Timer(timer) if !entry.outcome.is_empty() => ("timer", word(timer.kind)),
        Input::Joined { .. } => ("identity", "joined".into()),
        Input::Published(news) => ("publication", published(&news.what).into()),
        _ => return None,
    };
    let customer = entry.customer.map(|id| id.to_string());
    Some(Notice { kind, seq: Some(entry.seq), at: entry.recorded_at, name, status: "accepted", customer })
}

fn published(what: &Published) -> &'static str {
    match what {
        Published::Program { .. } => "programme",
        Published::Catalog(_) => "catalogue",
        Published::Threshold { .. } => "threshold",
        Published::Model(_) => "model",
        Published::Scores(_) => "scores",
    }
}

/// Tells listeners what became of events.
fn tell(at: Timestamp, receipts: &[Receipt], names: Vec<String>, shared: &Shared) {
    for (receipt, name) in receipts.iter().zip(names) {
        let status = status_word(&receipt.status);
        let customer = receipt.customer.map(|c| c.to_string());
        let notice = Notice { kind: "event", seq: receipt.seq, at, name, status, customer };
        if shared.notices.send(notice).is_err() {
            return; // the last listener left
        }
    }
}

fn name_of(message: &Marked) -> String {
    match message {
        Marked::Event(event, _) => event.name().to_owned(),
        Marked::Reject(reject) => reject.code.to_string(),
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

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn the_gauge_of_what_waits_rises_when_something_comes_and_falls_when_it_is_done() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let pump = Pump::start(Workspace::memory().unwrap(), Clock::System).unwrap();
        let shared = &pump.handle.shared;
        let gauge = |change: &dyn Fn()| {
            metrics::with_local_recorder(&recorder, change);
            let said = recorder.handle().render();
            said.lines().find_map(|line| line.strip_prefix("pump_queue_bytes ")).map(str::to_owned)
        };
        assert_eq!(gauge(&|| shared.reserve(5_000).unwrap()).as_deref(), Some("5000"));
        assert_eq!(gauge(&|| shared.reserve(70_000).unwrap()).as_deref(), Some("75000"));
        assert_eq!(gauge(&|| shared.release(5_000)).as_deref(), Some("70000"));
    }
}
