//! What the program does besides serving scenarios: one function a command.
//!
//! Absent on purpose: parsing of arguments, which is `main`'s, and work, which is the library's.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use perennial_core::event::{Product, Refund};
use perennial_core::id::{CustomerId, Identifier};
use perennial_core::input::{Entry, Input};
use perennial_core::money::Currency;
use perennial_core::program::{self, Problem};
use perennial_core::score::{Model, ModelKind};
use perennial_core::time::Timestamp;
use perennial_store::Aside;

use crate::http::keys::{Grant, KeyRing};
use crate::http::server::{Config, Server, asked_to_end};
use crate::http::{self, App};
use crate::import::{self, Batch, Booked, Sink, SinkError};
use crate::models::{self, Progress};
use crate::pump::{Clock, Pump};
use crate::view::word;
use crate::workspace::verify::Findings;
use crate::workspace::{Failure, PublishError, Round, Workspace};

/// Why a command did not end well: sentences for the person who called it.
#[derive(Debug)]
pub struct Trouble(pub String);

impl<E: std::error::Error> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// The machine's clock; commands read it once.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Opens a data folder and puts a programme file in force, when one is given and it is news. A new folder is made for
/// a programme that is in order only: a mistyped name is told.
///
/// # Errors
/// The store's failure, or the problems of the programme.
pub fn open(data: &Path, program: Option<&Path>) -> Result<Workspace, Trouble> {
    let source =
        program.map(|path| std::fs::read_to_string(path).map_err(|e| Trouble(unread(path, &e)))).transpose()?;
    if !perennial_store::is_begun(data) {
        match (program, &source) {
            (Some(path), Some(source)) => drop(program::compile(source).map_err(|found| problems(path, &found))?),
            _ => perennial_store::refuse_missing("open the data folder", data)?,
        }
    }
    let mut workspace = Workspace::open(data)?;
    Aside::forget(data)?;
    match workspace.erase_listed(now()) {
        // A restore refuses such a list; a server that does not start would help nobody.
        Err(failure) if failure.trouble == perennial_store::Trouble::Corrupt => {
            tracing::error!(error = %failure, "whoever the list of erasures names was not looked for");
        }
        done => done?,
    }
    let (Some(path), Some(source)) = (program, source) else { return Ok(workspace) };
    if workspace.program_source() != Some(&source) {
        workspace.publish(now(), "command line", &source).map_err(|e| refused(path, e))?;
    }
    Ok(workspace)
}

/// Why a text file could not be read, and what mends it.
pub fn unread(path: &Path, error: &std::io::Error) -> String {
    let path = path.display();
    match error.kind() {
        std::io::ErrorKind::InvalidData => format!("{path}: this is no text in UTF-8; save it with that encoding"),
        std::io::ErrorKind::NotFound => format!("{path}: there is no such file"),
        _ => format!("{path}: {error}"),
    }
}

fn refused(path: &Path, error: PublishError) -> Trouble {
    match error {
        PublishError::Failure(failure) => failure.into(),
        PublishError::Problems(found) => problems(path, &found),
    }
}

fn problems(path: &Path, found: &[Problem]) -> Trouble {
    let lines: Vec<String> = found.iter().map(|problem| format!("{}: {problem}", path.display())).collect();
    Trouble(lines.join("\n"))
}

/// How long a training may take to see that it is called off when the server ends.
const MOMENT: Duration = Duration::from_millis(500);

/// Serves until the process is asked to end, which it may be at any moment from the first log line on.
///
/// # Errors
/// When the folder or the address cannot be had.
pub fn serve(data: &Path, program: Option<&Path>, listen: SocketAddr) -> Result<(), Trouble> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let mut end = std::pin::pin!(asked_to_end()?);
        tracing::info!("starting");
        // Before keys are made, which are shown only once, and before a long opening.
        drop(http::server::listener(listen).await?);
        let (data, program) = (data.to_owned(), program.map(Path::to_owned));
        let opening = tokio::task::spawn_blocking(move || start(&data, program.as_deref()));
        let (pump, keys) = tokio::select! {
            biased;
            opened = opening => opened??,
            // Nothing was promised to anybody: opening is left as a crash would leave it.
            () = &mut end => return Ok(None),
        };
        let (app, stop) = App::new(pump.handle(), keys, None);
        tokio::spawn(app.clone().keep_models());
        tokio::spawn(app.clone().keep_metrics());
        let config = Config { listen, ..Config::default() };
        let server = Server::bind(config, http::router(app), stop).await?;
        say(format_args!("Perennial listens on http://{}", server.local_addr()?));
        std::io::stdout().flush()?;
        server.run(end).await;
        Ok::<_, Trouble>(Some(pump))
    });
    runtime.shutdown_timeout(MOMENT); // A training that has not ended by itself publishes nothing.
    if let Some(pump) = served? {
        pump.stop().map_err(|e| Trouble(format!("{e:?}")))?;
    }
    Ok(())
}

/// Opens the folder, shows keys that are new, and starts the writer.
fn start(data: &Path, program: Option<&Path>) -> Result<(Pump, KeyRing), Trouble> {
    let workspace = open(data, program)?;
    if workspace.rules().latest().is_none() {
        return Err(Trouble(
            "no programme is published yet: start once with --program FILE, for example programs/coffee.yaml".into(),
        ));
    }
    let (keys, first) = KeyRing::open(&data.join(API_KEYS), now())?;
    if let Some(first) = first {
        say(format_args!(
            "Keys of this installation, shown this once:\n  write key (SDKs)  {}\n  secret key (API)  {}",
            first.write, first.secret
        ));
    }
    Ok((Pump::start(workspace, Clock::System)?, keys))
}

/// Imports history through a mapping file; the exit code.
///
/// # Errors
/// When the mapping, the files or the folder cannot be used.
pub fn import(data: &Path, program: Option<&Path>, arguments: &import::command::Arguments) -> Result<u8, Trouble> {
    let mut out = std::io::stdout().lock();
    if arguments.schema {
        import::command::print_schema(&mut out)?;
        return Ok(0);
    }
    let now = now();
    let ready = import::command::prepare(arguments, now, Some(data.join("import.progress")))?;
    let mut sink = Books { workspace: open(data, program)?, now };
    if sink.workspace.rules().latest().is_none() {
        return Err(Trouble("no programme is published yet: give one with --program FILE".into()));
    }
    let done = import::command::run(ready, &mut sink, &mut out, &mut std::io::stderr());
    if matches!(done, Ok(_) | Err(import::Failure::Rejects { .. })) {
        sink.close()?;
    }
    Ok(done?.1)
}

/// History goes straight into the books.
struct Books {
    workspace: Workspace,
    now: Timestamp,
}

impl Sink for Books {
    fn catalogue(&mut self, products: Vec<Product>) -> Result<(), SinkError> {
        self.workspace.learn_products(self.now, "import", products)?;
        Ok(())
    }

    fn inputs(&mut self, inputs: Vec<Input>) -> Result<Batch, SinkError> {
        let taken = self.workspace.take_history(self.now, inputs)?;
        self.workspace.checkpoint_if_due(now())?;
        Ok(taken.into())
    }

    fn currency(&self, of: Currency) -> Option<Currency> {
        let program = &self.workspace.rules().latest()?.program;
        program.rate(of).is_none().then_some(program.currency)
    }

    fn orders(&mut self, names: &[Identifier]) -> Result<Vec<Booked>, SinkError> {
        Ok(self.workspace.orders_of(names)?.into_iter().map(Booked::from).collect())
    }

    fn order(&mut self, order_id: &str) -> Result<Option<Booked>, SinkError> {
        Ok(self.workspace.booked(order_id)?.map(Booked::from))
    }

    fn refund(&mut self, source: &str, message_id: &str) -> Result<Option<Refund>, SinkError> {
        Ok(self.workspace.refund_of(source, message_id)?)
    }
}

impl Books {
    /// What is due since then happens, segments are ranked, and the state is written.
    fn close(&mut self) -> Result<(), Failure> {
        while self.workspace.advance(self.now)? {
            self.workspace.checkpoint_if_due(now())?;
        }
        self.workspace.rank(self.now)?;
        self.workspace.checkpoint()
    }
}

/// Trains the models that the programme asks for, or those named, publishes them and scores everybody;
/// the exit code: 1 when a model could not be trained.
///
/// # Errors
/// When the folder cannot be used, or the programme asks for no such model.
pub fn train(data: &Path, program: Option<&Path>, named: &[ModelKind]) -> Result<u8, Trouble> {
    perennial_store::refuse_missing("train", data)?; // Whatever the programme: nobody is in a new one.
    let mut workspace = open(data, program)?;
    let wanted = workspace.rules().latest().map(|edition| edition.program.models.clone()).unwrap_or_default();
    if let Some(kind) = named.iter().find(|kind| !wanted.contains_key(kind)) {
        let kind = kind.word();
        return Err(Trouble(format!(
            "the programme does not ask for it: add models: {{ {kind}: {{ train: weekly }} }}"
        )));
    }
    if wanted.is_empty() {
        return Err(Trouble("the programme asks for no model: add models: { value: { train: weekly } }".into()));
    }
    workspace.checkpoint()?;
    let mut code = 0;
    for kind in wanted.into_keys().filter(|kind| named.is_empty() || named.contains(kind)) {
        let version = workspace.model(kind).map_or(1, |held| held.about.version + 1);
        let from = (workspace.state(), &workspace.journal());
        match with_progress(kind.word(), |progress| models::train(kind, from, version, progress)) {
            Ok(model) => {
                say(format_args!("{}", told(&model)));
                workspace.publish_model(now(), "command line", model)?;
            }
            Err(why) => {
                say(format_args!("{}: {why}", kind.word()));
                code = 1;
            }
        }
    }
    let mut from = None;
    while let Round::From(mark) = workspace.score_some(now(), from.take(), 2_000)? {
        from = Some(mark);
        workspace.checkpoint_if_due(now())?;
    }
    workspace.checkpoint()?;
    Ok(code)
}

/// Runs a training while a bar shows how far it is.
fn with_progress<T>(name: &str, work: impl FnOnce(&Progress) -> T) -> T {
    let (progress, ended) = (Progress::default(), AtomicBool::new(false));
    let bar = indicatif::ProgressBar::new(100).with_message(name.to_owned());
    if let Ok(style) = indicatif::ProgressStyle::with_template("{msg} {bar:30} {percent} % {elapsed}") {
        bar.set_style(style);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                bar.set_position(progress.percent());
                std::thread::park_timeout(Duration::from_millis(200));
            }
            bar.finish_and_clear();
        });
        let done = work(&progress);
        ended.store(true, Ordering::Relaxed);
        done
    })
}

/// A model in a sentence.
#[expect(clippy::cast_precision_loss, reason = "figures are small")]
fn told(model: &Model) -> String {
    let figures: Vec<String> = model
        .figures
        .iter()
        .map(|(name, value)| format!("{} {:.3}", name.replace('_', " "), *value as f64 / 1e6))
        .collect();
    format!(
        "{} version {}: {}, trained on {} orders of {} customers, {} to {}; {}",
        model.kind.word(),
        model.version,
        model.method,
        model.orders,
        model.customers,
        model.from,
        model.until,
        figures.join(", ")
    )
}

/// Checks every invariant of a data folder.
///
/// # Errors
/// When the folder cannot be used.
pub fn verify(data: &Path) -> Result<Findings, Trouble> {
    let missing: Vec<&str> = MADE_AGAIN.into_iter().filter(|file| !data.join(file).exists()).collect();
    let mut findings = Workspace::open_existing(data)?.verify()?;
    let note =
        |file| format!("{file} was missing and was made from the journal: what it held before could not be compared");
    findings.notes.extend(missing.into_iter().map(note));
    Ok(findings)
}

/// Files that opening a folder makes from its journal where they are missing.
const MADE_AGAIN: [&str; 2] = ["state.db", "duplicates.db"];

/// Makes the state and the list of duplicates of a data folder again from its journal; entries folded and
/// customers. With `accept_loss` also from a journal that ends before what the two have seen.
///
/// # Errors
/// When the folder cannot be used; the two are as they were then.
pub fn rebuild(data: &Path, accept_loss: bool) -> Result<(u64, usize), Trouble> {
    let aside = Aside::put(data, accept_loss)?;
    match fold_again(data) {
        Ok(folded) => {
            aside.discard()?;
            Ok(folded)
        }
        Err(failure) => {
            aside.put_back()?;
            Err(failure.into())
        }
    }
}

fn fold_again(data: &Path) -> Result<(u64, usize), Failure> {
    let mut workspace = Workspace::open(data)?;
    workspace.checkpoint()?;
    Ok((workspace.last_seq(), workspace.everybody()?.len()))
}

/// Copies a data folder to a new one, also while a server works on it.
///
/// # Errors
/// When either folder cannot be used.
pub fn backup(data: &Path, to: &Path) -> Result<(), Trouble> {
    Ok(perennial_store::backup(data, to)?)
}

/// Prints a line. Whoever reads may have seen enough: a pipe that is closed is no trouble.
pub fn say(line: fmt::Arguments<'_>) {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => tracing::error!(%error, "nothing could be printed"),
        _ => {}
    }
}

const API_KEYS: &str = "api-keys.json";

fn key_ring(data: &Path) -> Result<KeyRing, Trouble> {
    perennial_store::refuse_missing("look for keys", data)?;
    Ok(KeyRing::existing(&data.join(API_KEYS))?)
}

/// The keys of a data folder, a line each.
///
/// # Errors
/// When there are none, or they cannot be read.
pub fn keys(data: &Path) -> Result<Vec<String>, Trouble> {
    Ok(key_ring(data)?.lines())
}

/// Makes a key; a server that works on the folder knows it within a second.
///
/// # Errors
/// When the name is taken or none, or the keys cannot be written.
pub fn add_key(data: &Path, name: &str, grant: Grant) -> Result<String, Trouble> {
    Ok(key_ring(data)?.add(name, grant, now())?)
}

/// Withdraws a key; a server that works on the folder refuses it within a second.
///
/// # Errors
/// When no key has that name, or the keys cannot be written.
pub fn revoke_key(data: &Path, name: &str) -> Result<(), Trouble> {
    if key_ring(data)?.revoke(name)? {
        return Ok(());
    }
    Err(Trouble(format!("no key is named '{name}': `perennial keys list` names them")))
}

/// The root profiles of whoever has a name. The id of somebody who was erased names them still.
fn roots(workspace: &mut Workspace, who: &Identifier) -> Result<Vec<CustomerId>, Trouble> {
    let own = who.as_own_id();
    match (workspace.roots_of(who)?, own) {
        (Some(roots), _) => Ok(roots),
        (None, Some(id)) => Ok(vec![id]),
        (None, None) => Err(Trouble(format!(
            "nobody is known as {who}: name a customer as the API does (ana, email:ana@example.com), or by the id cus_… of entries and answers"
        ))),
    }
}

/// Puts a backup in the place of a data folder; where the old one is now. Whoever the file `erasures` lists is
/// erased again, too.
///
/// # Errors
/// When either folder, or the file, cannot be used.
pub fn restore(from: &Path, to: &Path, erasures: Option<&Path>) -> Result<Option<PathBuf>, Trouble> {
    if let Some(list) = erasures {
        std::fs::metadata(list).map_err(|error| Trouble(unread(list, &error)))?;
    }
    let restored = perennial_store::restore(from, to, erasures, perennial_store::Options::default())?;
    if !restored.erased.is_empty() {
        let mut workspace = Workspace::open(to)?;
        workspace.erase_listed(now())?;
        workspace.checkpoint()?;
    }
    Ok(restored.replaced)
}

/// Which entries of the journal are wanted.
#[derive(clap::Args)]
pub struct Wanted {
    /// The first entry.
    #[arg(long, default_value_t = Self::default().from)]
    pub from: u64,
    /// Entries at most; it is said when there are more.
    #[arg(long, default_value_t = Self::default().limit)]
    pub limit: usize,
    /// Of this customer only: ana, email:ana@example.com, or the id cus_… that entries bear.
    #[arg(long)]
    pub customer: Option<Identifier>,
    /// Of this name only: an event's, a command's like redeem, what was due like expire, or a reject's code.
    #[arg(long)]
    pub name: Option<String>,
    /// Of this message only.
    #[arg(long)]
    pub message: Option<String>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { from: 1, limit: 1_000, customer: None, name: None, message: None }
    }
}

impl Wanted {
    fn holds(&self, input: Option<&Input>) -> bool {
        let (name, message) = match input {
            Some(Input::Event(event)) => (event.name().to_owned(), Some(&event.message_id)),
            Some(Input::Reject(reject)) => (reject.code.to_string(), reject.message_id.as_ref()),
            Some(Input::Command(asked)) => (asked.command.name().to_owned(), None),
            Some(Input::Timer(timer)) => (word(timer.kind), None),
            _ => (String::new(), None),
        };
        self.name.as_ref().is_none_or(|wanted| *wanted == name)
            && self.message.as_ref().is_none_or(|wanted| message.is_some_and(|id| **id == **wanted))
    }
}

/// Prints entries of the journal as JSON lines, and says where it stopped when there are more.
///
/// # Errors
/// When the folder cannot be used, or nobody has the name.
pub fn journal(data: &Path, wanted: &Wanted) -> Result<(), Trouble> {
    let mut workspace = Workspace::open_existing(data)?;
    let roots = wanted.customer.as_ref().map(|who| roots(&mut workspace, who)).transpose()?;
    let is_of = |entry: &Entry| roots.as_ref().is_none_or(|roots| entry.customer.is_some_and(|id| roots.contains(&id)));
    let Wanted { from, limit, .. } = *wanted;
    let mut out = std::io::stdout().lock();
    let mut shown = 0;
    for entry in workspace.journal().iter(from) {
        let entry = entry?;
        if !is_of(&entry) || !wanted.holds(entry.input.as_ref()) {
            continue;
        }
        if shown == limit {
            eprintln!("stopped after {limit} entries: --from {} goes on, --limit shows more at once", entry.seq);
            break;
        }
        shown += 1;
        let line = serde_json::json!({
            "seq": entry.seq,
            "recorded_at": entry.recorded_at,
            "customer": entry.customer,
            "cause": entry.cause,
            "input": entry.input,
            "outcome": entry.outcome,
        });
        if let Err(error) = writeln!(out, "{line}") {
            // Whoever reads has seen enough.
            return if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error.into()) };
        }
    }
    if shown == 0 {
        eprintln!("no such entry from {from} on; the journal goes to {}", workspace.journal().last_seq());
    }
    Ok(())
}
