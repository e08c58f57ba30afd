//! Import: a shop's history comes in through a mapping file.
//!
//! A [`Plan`] is a compiled mapping; [`Plan::run`] reads the files, groups lines into orders, matches
//! returns, and hands inputs to a [`Sink`] in the order of time over all customers. Everything is
//! marked as imported, so it is booked on its own date and sends nothing.
//!
//! Promise: the same files give the same inputs with the same ids, so a second run adds nothing and
//! a broken one can be taken up again; what does not come in is in the reject file with its reason;
//! and the parts of the [`Reconciliation`] add up exactly to what the files hold.
//! Absent on purpose: the journal. The sink owns it.

mod cleanse;
pub mod command;
mod division;
mod document;
mod emit;
mod group;
mod keys;
mod mapping;
pub(crate) mod plain;
mod read;
mod reconcile;
mod rejects;
mod returns;
mod shape;
mod wide;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs;
use std::io::{BufWriter, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use perennial_core::event::{Product, Refund};
use perennial_core::id::{Identifier, Secret};
use perennial_core::input::Input;
use perennial_core::money::Currency;
use perennial_core::orders::{OrderLine, OrderRecord};
use perennial_core::program::Problem;
use perennial_core::quantity::Quantity;
use perennial_core::time::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher24};

use cleanse::{Bad, Cell};
use emit::{Script, hex};
use group::Gathered;
use mapping::{Duplicates, File};
pub use mapping::{Plan, compile, schema};
use read::{Record, Rows};
pub use reconcile::{FileTotals, Money, Reconciliation, RejectedRow, Sums, Taken};
use rejects::{Rejects, Unwritten};
pub(crate) use shape::suggestion;

use crate::workspace::History;
pub use crate::workspace::Refused;

/// Inputs handed over at once: what the journal writes in one go.
const BATCH: usize = 2_048;
/// Products handed over at once.
const PRODUCTS: usize = 10_000;
/// Mapping files larger than this are something else.
const MAPPING_BYTES: u64 = 1 << 20;
/// Rejects that are told without a reject file.
const SHOWN_REJECTS: usize = 5;
/// Rows of all files together, unless [`Options::max_rows`] says otherwise. A row takes 130 to 250
/// bytes until the end, so this is about 2 GB.
pub const MAX_ROWS: u64 = 10_000_000;

/// Where an import goes.
pub trait Sink {
    /// What is known of products; a product named again is replaced.
    ///
    /// # Errors
    /// When they could not be kept; the import stops and may be run again.
    fn catalogue(&mut self, products: Vec<Product>) -> Result<(), SinkError>;

    /// Events and enrolments in the order of time, to be kept in this order and answered once they
    /// are durable. Inputs that are known by message id, idempotency key or natural key change nothing.
    ///
    /// # Errors
    /// When they could not be kept; the import stops and may be run again.
    fn inputs(&mut self, inputs: Vec<Input>) -> Result<Batch, SinkError>;

    /// The programme's currency, where orders in another one earn nothing.
    fn currency(&self, _of: Currency) -> Option<Currency> {
        None
    }

    /// The booked orders of whoever the first of these names names: returns may be of those.
    ///
    /// # Errors
    /// When they could not be read; the import stops before anything is booked.
    fn orders(&mut self, _names: &[Identifier]) -> Result<Vec<Booked>, SinkError> {
        Ok(Vec::new())
    }

    /// The booked order that has this id, whoever bought it; returns may name it.
    ///
    /// # Errors
    /// When it could not be read; the import stops before anything is booked.
    fn order(&mut self, _order_id: &str) -> Result<Option<Booked>, SinkError> {
        Ok(None)
    }

    /// The refund that came in under this message id.
    ///
    /// # Errors
    /// When it could not be read; the import stops before anything is booked.
    fn refund(&mut self, _source: &str, _message_id: &str) -> Result<Option<Refund>, SinkError> {
        Ok(None)
    }
}

/// What became of a batch of inputs.
#[derive(Debug, Default)]
pub struct Batch {
    /// In numbers.
    pub taken: Taken,
    /// What changed nothing, and why.
    pub refused: Vec<Refused>,
}

impl From<History> for Batch {
    fn from(books: History) -> Self {
        let rejected = books.refused.len() as u64;
        let taken = Taken {
            new: books.new,
            duplicates: books.duplicates,
            rejected,
            before_enrolment: books.before_enrolment,
            points_granted: books.granted,
            points_reversed: books.reversed,
            points_waived: books.waived,
        };
        Self { taken, refused: books.refused }
    }
}

/// An order in the books, as returns need it.
#[derive(Clone, Debug)]
pub struct Booked {
    /// Its id.
    pub order_id: Box<str>,
    /// When it was placed.
    pub at: Timestamp,
    /// Of its money.
    pub currency: Currency,
    /// Its lines.
    pub lines: Vec<BookedLine>,
    /// Whether anything of it was refunded.
    pub refunded: bool,
}

/// A line of an order in the books.
#[derive(Clone, Debug)]
pub struct BookedLine {
    /// The product.
    pub product_id: Box<str>,
    /// What one piece cost.
    pub price: Decimal,
    /// Pieces bought.
    pub bought: Quantity,
    /// Of them, pieces that have not come back.
    pub left: Quantity,
}

impl From<OrderRecord> for Booked {
    fn from(record: OrderRecord) -> Self {
        let line = |line: &OrderLine| BookedLine {
            product_id: line.product_id.clone(),
            price: record.currency.major(line.price),
            bought: line.quantity,
            left: if record.cancelled { Quantity::ZERO } else { line.pieces },
        };
        Self {
            at: record.at,
            currency: record.currency,
            lines: record.lines.iter().map(line).collect(),
            refunded: !record.refunds.is_empty(),
            order_id: record.order_id,
        }
    }
}

/// Why a sink could not take something.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// How an import is run.
pub struct Options {
    /// The folder that the mapping's paths are below; or the one file, when the mapping has one.
    pub data: PathBuf,
    /// Other paths for files by their name in the mapping: a mended reject file, for example.
    pub replace: BTreeMap<String, PathBuf>,
    /// The instant of the import; rows later than it are rejected.
    pub now: Timestamp,
    /// Instants are moved by so many weeks: an old year becomes the last one, its weekdays kept.
    pub shift_weeks: i32,
    /// At most so many named customers, a fair and stable sample.
    pub limit_customers: Option<usize>,
    /// Rows of all files together; more end the import.
    pub max_rows: u64,
    /// Orders may be in a currency that the programme does not know: they earn nothing then.
    pub history_only: bool,
    /// Where rejects are written. With several files each has its own, named after this one.
    pub rejects: Option<PathBuf>,
    /// Where to remember how far the import has come. It belongs into the folder of the data that
    /// it is about: with the data, the marker must go too.
    pub marker: Option<PathBuf>,
    /// Shows how far it is.
    pub progress: ProgressBar,
}

impl Options {
    /// Everything below a folder, without rejects file, marker and progress.
    pub fn new(data: impl Into<PathBuf>, now: Timestamp) -> Self {
        Self {
            data: data.into(),
            replace: BTreeMap::new(),
            now,
            shift_weeks: 0,
            limit_customers: None,
            max_rows: MAX_ROWS,
            history_only: false,
            rejects: None,
            marker: None,
            progress: ProgressBar::hidden(),
        }
    }
}

/// Why an import could not be done.
#[derive(Debug)]
pub enum Failure {
    /// The mapping is wrong.
    Mapping(Vec<Problem>),
    /// The files are not what the mapping says.
    Files(Vec<Problem>),
    /// A file cannot be read or written.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Orders would earn nothing.
    Currency {
        /// Theirs.
        ours: Currency,
        /// The programme's.
        theirs: Currency,
    },
    /// There is more than the import may hold.
    TooLarge(u64),
    /// The receiving side failed.
    Sink(SinkError),
    /// Everything is booked, but what did not come in could not be written.
    Rejects {
        /// The file that could not be read or written.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What is booked.
        totals: Box<Reconciliation>,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mapping(problems) | Self::Files(problems) => {
                let n = problems.len();
                write!(f, "{n} problem{}:", if n == 1 { "" } else { "s" })?;
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
            Self::Io { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Currency { ours, theirs } => {
                write!(
                    f,
                    "there are orders in {ours}; the programme's currency is {theirs}, and it has no rate for {ours}: they would not \
                     earn. Mend 'currency' in the mapping (or the column 'orders.currency'), or publish a programme with 'rates: {{ {ours}: ... }}' (what one {ours} \
                     is in {theirs}); whoever wants the orders without points says --history-only"
                )
            }
            Self::TooLarge(rows) => {
                write!(
                    f,
                    "more than {rows} rows; import one period after the other, or raise --max-rows (about 200 bytes of memory each)"
                )
            }
            Self::Sink(e) => write!(f, "stopped: {e}; run the same import again to take it up"),
            Self::Rejects { path, reason, .. } => write!(
                f,
                "{}: {reason}. What came in is booked; what did not is not written. Run the same import again: it books \
                 nothing twice and writes the rejects",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Failure {}

fn io(path: &Path, reason: impl fmt::Display) -> Failure {
    Failure::Io { path: path.to_owned(), reason: reason.to_string() }
}

/// An unkeyed digest: names content, guards nothing.
fn digest(parts: &[&[u8]]) -> [u8; 16] {
    Secret([0; 16]).digest(parts)
}

/// How far an import has come. The file has a line for each batch, so that a long list of what was
/// refused is not written again and again.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    /// Of the mapping, the files and the limit: another import starts from the beginning.
    fingerprint: String,
    /// Steps that are durable.
    inputs: usize,
    /// Of them, what was refused, by step: of this batch in the file, of all in memory.
    #[serde(default)]
    refused: Vec<Refused>,
}

impl Plan {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// When it cannot be read, or all its problems at once.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let unread = |e: std::io::Error| match e.kind() {
            ErrorKind::InvalidData => io(path, "this is no text in UTF-8; save it with that encoding"),
            ErrorKind::NotFound => io(path, "there is no such file"),
            _ => io(path, e),
        };
        let size = path.metadata().map_err(unread)?.len();
        if size > MAPPING_BYTES {
            return Err(io(path, "is larger than 1 MB; that is no mapping file"));
        }
        let text = fs::read_to_string(path).map_err(unread)?;
        compile(&text).map_err(Failure::Mapping)
    }

    /// Runs the import.
    ///
    /// # Errors
    /// See [`Failure`]. Rejected rows are no failure; they are in the reject file and the totals.
    pub fn run(&self, sink: &mut dyn Sink, options: &Options) -> Result<Reconciliation, Failure> {
        // Known before a row is read, unless the rows say it.
        if self.orders.as_ref().is_some_and(|orders| orders.currency.is_none()) {
            earning(sink, options, [self.currency])?;
        }
        let paths = self.look(options)?;
        let mut gathered = Gathered::new(self, options.now, options.shift_weeks);
        let mut rows = 0;
        for (index, path) in paths.iter().enumerate() {
            self.gather(&mut gathered, index, path, &mut rows, options)?;
        }
        gathered.resolve_held();
        gathered.resolve_customers();
        if let Some(customers) = options.limit_customers {
            gathered.limit(customers);
        }
        earning(sink, options, gathered.currencies())?;
        let catalogue = gathered.catalogue();
        gathered.totals.products = catalogue.len() as u64;
        let script = Script::new(gathered, sink, options.now).map_err(Failure::Sink)?;
        let (taken, refused) = self.send(&script, catalogue, sink, options, &paths)?;
        let mut gathered = script.close(&refused);
        gathered.totals.taken = taken;
        let Gathered { totals, rejects, .. } = &mut gathered;
        for (file, rejects) in totals.files.iter_mut().zip(&*rejects) {
            file.rejected = rejects.by_line.len() as u64;
            let most = SHOWN_REJECTS - totals.first_rejects.len();
            totals.first_rejects.extend(rejects.first(&file.name, most));
        }
        match self.write_rejects(&gathered.rejects, &paths, options) {
            Ok(()) => Ok(gathered.totals),
            Err((path, reason)) => Err(Failure::Rejects { path, reason, totals: Box::new(gathered.totals) }),
        }
    }

    /// Looks at what is read and written, before a folder is made or anything is booked: whether the files are there
    /// and have the columns that the mapping names, and whether rejects can be written. Where each file is.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn look(&self, options: &Options) -> Result<Vec<PathBuf>, Failure> {
        let paths = self.paths(options)?;
        let targets = self.targets(options);
        for (file, path) in self.files.iter().zip(&paths) {
            let rows = Rows::open(path, file, &wanted(file)).map_err(|e| io(path, e))?;
            places(file, rows.header())?;
            // Rejects may replace a reject file that is fed again, but never somebody's export.
            let ours = rows.header().iter().any(|name| name == rejects::LINE);
            if let Some(target) = targets.iter().find(|target| !ours && same_file(target, path)) {
                let reason = "--rejects would replace this file, which is read; name another file there";
                return Err(io(target, reason));
            }
        }
        targets.iter().try_for_each(|target| try_target(target))?;
        Ok(paths)
    }

    /// Where each file is.
    fn paths(&self, options: &Options) -> Result<Vec<PathBuf>, Failure> {
        let mut problems = Vec::new();
        let mut problem = |path: String, message| problems.push(Problem { path, line: 0, message });
        for name in options.replace.keys().filter(|name| !self.files.iter().any(|f| *f.name == ***name)) {
            let known = self.files.iter().map(|f| &*f.name).collect();
            problem(
                format!("files.{name}"),
                format!("the mapping has no file '{name}'; {}", shape::suggestion(name, known)),
            );
        }
        let mut paths = Vec::new();
        for file in &self.files {
            let path = match options.replace.get(&*file.name) {
                Some(path) => path.clone(),
                None if self.files.len() == 1 && options.data.is_file() => options.data.clone(),
                None => options.data.join(&file.path),
            };
            if !path.is_file() {
                problem(format!("files.{}.path", file.name), format!("no file {}; check --data", path.display()));
            }
            paths.push(path);
        }
        if problems.is_empty() { Ok(paths) } else { Err(Failure::Files(problems)) }
    }

    fn gather(
        &self,
        gathered: &mut Gathered<'_>,
        index: usize,
        path: &Path,
        count: &mut u64,
        options: &Options,
    ) -> Result<(), Failure> {
        let file = &self.files[index];
        let mut rows = Rows::open(path, file, &wanted(file)).map_err(|e| io(path, e))?;
        let places = places(file, rows.header())?;
        let mut reading = Reading {
            file,
            index,
            places,
            cells: file.columns.iter().map(|_| Cell::default()).collect(),
            seen: HashSet::new(),
            by_name: rows.by_name(),
            known: 0,
            others: Vec::new(),
            totals: FileTotals { name: file.name.to_string(), ..FileTotals::default() },
        };
        options.progress.set_length(rows.length(path));
        options.progress.set_message(format!("reading {}", file.name));
        let mut record = Record::default();
        while rows.next(&mut record).map_err(|e| io(path, e))? {
            *count += 1;
            if *count > options.max_rows {
                return Err(Failure::TooLarge(options.max_rows));
            }
            if count.is_multiple_of(4_096) {
                options.progress.set_position(rows.position());
            }
            reading.row(gathered, &record, rows.header());
        }
        let unmapped =
            |name: &&String| !file.columns.iter().any(|c| *c.name == ***name) && !name.starts_with("reject_");
        reading.totals.unmapped_columns = rows.header().iter().filter(unmapped).cloned().collect();
        met(file, &rows, &reading.totals.unmapped_columns)?;
        gathered.totals.files.push(reading.totals);
        gathered.rejects[index].header = rows.header().to_vec();
        Ok(())
    }

    fn send(
        &self,
        script: &Script<'_>,
        catalogue: Vec<Product>,
        sink: &mut dyn Sink,
        options: &Options,
        paths: &[PathBuf],
    ) -> Result<(Taken, Vec<Refused>), Failure> {
        let mut marker = Marker::default();
        if let Some(path) = &options.marker {
            marker = resume(path, self.fingerprint(paths, options)?, script.len());
            begin(path, &marker)?;
        }
        let mut rest = catalogue;
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(PRODUCTS));
            sink.catalogue(rest).map_err(Failure::Sink)?;
            rest = later;
        }
        options.progress.set_length(script.len() as u64);
        options.progress.set_message("booking");
        let refused = marker.refused.len();
        let mut taken =
            Taken { duplicates: (marker.inputs - refused) as u64, rejected: refused as u64, ..Taken::default() };
        while marker.inputs < script.len() {
            let to = script.len().min(marker.inputs + BATCH);
            let (steps, inputs) = script.inputs(marker.inputs, to);
            taken.duplicates += (to - marker.inputs - steps.len()) as u64;
            let mut batch = sink.inputs(inputs).map_err(Failure::Sink)?;
            taken.add(batch.taken);
            batch.refused.iter_mut().for_each(|refused| refused.nth = steps[refused.nth]);
            marker.inputs = to;
            options.progress.set_position(to as u64);
            if let Some(path) = &options.marker {
                remember(path, &marker.fingerprint, to, &batch.refused)?;
            }
            marker.refused.append(&mut batch.refused);
        }
        match &options.marker {
            // Done: a further run asks the sink again, which knows every input.
            Some(path) if path.exists() => fs::remove_file(path).map_err(|e| io(path, e))?,
            _ => {}
        }
        Ok((taken, marker.refused))
    }

    /// Names the mapping, the content of the files, and what was selected of them.
    fn fingerprint(&self, paths: &[PathBuf], options: &Options) -> Result<String, Failure> {
        let mut parts = vec![self.fingerprint];
        for path in paths {
            parts.push(content(path)?);
        }
        let limit = format!("{:?} {}", options.limit_customers, options.shift_weeks);
        let parts: Vec<&[u8]> = parts.iter().map(|p| &p[..]).chain([limit.as_bytes()]).collect();
        Ok(hex(digest(&parts)))
    }

    /// Where the rejects of each file go; nowhere, when nobody asked for them.
    fn targets(&self, options: &Options) -> Vec<PathBuf> {
        let Some(target) = &options.rejects else { return Vec::new() };
        let target = |file: &File| if self.files.len() == 1 { target.clone() } else { beside(target, &file.name) };
        self.files.iter().map(target).collect()
    }

    /// Writes the reject files; which file failed, and why.
    fn write_rejects(
        &self,
        rejects: &[Rejects],
        paths: &[PathBuf],
        options: &Options,
    ) -> Result<(), (PathBuf, String)> {
        let targets = self.targets(options);
        for (((file, path), rejects), target) in self.files.iter().zip(paths).zip(rejects).zip(targets) {
            // An old reject file must not look like this run's, unless it is what was just fed.
            if rejects.by_line.is_empty() && (!target.exists() || paths.iter().any(|path| same_file(path, &target))) {
                continue;
            }
            // Written beside and renamed, so that a reject file may be mended and fed in place.
            let place = place(&target).map_err(|why| (target.clone(), why))?;
            let unfinished = unfinished(&place);
            let out = make(&unfinished).map_err(|e| Unwritten::Target(e.to_string()));
            let written = out.and_then(|out| rejects.write(BufWriter::new(out), path, file));
            let written =
                written.and_then(|()| fs::rename(&unfinished, &place).map_err(|e| Unwritten::Target(e.to_string())));
            written.map_err(|why| {
                let _ = fs::remove_file(&unfinished); // It may not be there at all.
                match why {
                    Unwritten::Source(why) => (path.clone(), format!("cannot be read a second time ({why})")),
                    Unwritten::Target(why) => (target, unwritable(&why)),
                }
            })?;
        }
        Ok(())
    }
}

/// Refuses orders that would earn nothing, unless that is what is wanted.
fn earning(sink: &dyn Sink, options: &Options, of: impl IntoIterator<Item = Currency>) -> Result<(), Failure> {
    let stranger = of.into_iter().find_map(|ours| Some((ours, sink.currency(ours)?)));
    match stranger {
        Some((ours, theirs)) if !options.history_only => Err(Failure::Currency { ours, theirs }),
        _ => Ok(()),
    }
}

/// Why a reject file cannot be written, and what to do.
fn unwritable(why: &str) -> String {
    format!("cannot be written ({why}); make room, or name another file for --rejects")
}

/// The file that a name for rejects leads to. A link keeps standing; what it leads to is replaced.
fn place(target: &Path) -> Result<PathBuf, String> {
    let Ok(here) = target.symlink_metadata() else { return Ok(target.to_owned()) };
    let place = if here.is_symlink() {
        let nowhere = |_| "is a link that leads to no file; take it away, or name another file for --rejects";
        target.canonicalize().map_err(nowhere)?
    } else {
        target.to_owned()
    };
    let kind = place.metadata().map_err(|e| unwritable(&e.to_string()))?.file_type();
    match what(kind) {
        None => Ok(place),
        Some(what) => Err(format!("is {what}; name a file for --rejects")),
    }
}

/// What stands where a file should; nothing to say of a file.
fn what(kind: fs::FileType) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if kind.is_char_device() || kind.is_block_device() {
            return Some("a device");
        }
        if kind.is_fifo() {
            return Some("a pipe");
        }
        if kind.is_socket() {
            return Some("a socket");
        }
    }
    if kind.is_dir() {
        return Some("a folder");
    }
    (!kind.is_file()).then_some("no ordinary file")
}

/// Whether rejects can be written: those of what is booked would be lost if they cannot.
fn try_target(target: &Path) -> Result<(), Failure> {
    let missing = target.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir());
    if let Some(folder) = missing {
        let reason = format!("there is no folder {}; make it, or name another file for --rejects", folder.display());
        return Err(io(target, reason));
    }
    let trial = unfinished(&place(target).map_err(|why| io(target, why))?);
    let tried = make(&trial).and_then(|_| fs::remove_file(&trial));
    tried.map_err(|e| io(target, unwritable(&e.to_string())))
}

/// Begins a file for what rows say of people: its owner's alone.
fn make(path: &Path) -> std::io::Result<fs::File> {
    perennial_store::private_file().write(true).create(true).truncate(true).open(path)
}

/// Where a reject file is written before it gets its name.
fn unfinished(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    target.with_file_name(name)
}

/// Whether two paths lead to one file.
fn same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// `rejects.csv` of the file `sales` is `rejects.sales.csv`.
fn beside(target: &Path, name: &str) -> PathBuf {
    let stem = target.file_stem().and_then(|s| s.to_str()).unwrap_or("rejects");
    let ending = target.extension().and_then(|s| s.to_str()).unwrap_or("csv");
    target.with_file_name(format!("{stem}.{name}.{ending}"))
}

fn wanted(file: &File) -> Vec<String> {
    file.columns.iter().map(|c| c.name.to_string()).collect()
}

/// A first row that another delimiter would divide.
fn undivided(file: &File, header: &[String]) -> Option<Problem> {
    let [only] = header else { return None };
    if file.columns.iter().any(|column| *column.name == **only) {
        return None;
    }
    let (mark, written) =
        [(';', ";"), (',', ","), ('\t', "\\t"), ('|', "|")].into_iter().find(|(mark, _)| only.contains(*mark))?;
    let message = format!(
        "the first row is one column here, '{}': it seems to be divided by '{written}', so write delimiter: \"{written}\"",
        only.replace(mark, written)
    );
    Some(Problem { path: format!("files.{}.delimiter", file.name), line: 0, message })
}

/// Where each of the mapping's columns is in the file.
fn places(file: &File, header: &[String]) -> Result<Vec<Option<usize>>, Failure> {
    if let Some(problem) = undivided(file, header) {
        return Err(Failure::Files(vec![problem]));
    }
    let mut problems = Vec::new();
    let mut places = Vec::new();
    for column in &file.columns {
        let found: Vec<usize> = (0..header.len()).filter(|i| *header[*i] == *column.name).collect();
        let mut problem = |message| {
            problems.push(Problem { path: format!("files.{}.columns.{}", file.name, column.name), line: 0, message });
        };
        if let [first, second, ..] = found[..] {
            problem(format!(
                "columns {} and {} of the file are both called '{}'; rename the one that is not meant, or take it out",
                first + 1,
                second + 1,
                column.name
            ));
        } else if found.is_empty() && !column.may_be_missing {
            let hint = shape::suggestion(&column.name, header.iter().map(String::as_str).collect());
            problem(format!("the file has no column '{}'; {hint}", column.name));
        }
        places.push(found.first().copied());
    }
    if problems.is_empty() { Ok(places) } else { Err(Failure::Files(problems)) }
}

/// Whether every column of a file without a header was met in some row.
fn met(file: &File, rows: &Rows, others: &[String]) -> Result<(), Failure> {
    let absent = rows.absent();
    let needed = file.columns.iter().filter(|column| !column.may_be_missing && absent.contains(&&*column.name));
    let problem = |column: &cleanse::Column| {
        let known: Vec<&str> = others.iter().map(String::as_str).collect();
        let hint =
            if known.is_empty() { "there are no other keys".into() } else { shape::suggestion(&column.name, known) };
        let instead = "if that is as it should be, say may_be_missing: true";
        let message = format!("no row of the file has '{}' ({hint}); {instead}", column.name);
        Problem { path: format!("files.{}.columns.{}", file.name, column.name), line: 0, message }
    };
    let problems: Vec<Problem> = needed.map(problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(Failure::Files(problems)) }
}

fn content(path: &Path) -> Result<[u8; 16], Failure> {
    let mut file = fs::File::open(path).map_err(|e| io(path, e))?;
    let mut hasher = SipHasher24::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer).map_err(|e| io(path, e))?;
        if n == 0 {
            return Ok(hasher.finish128().as_bytes());
        }
        std::hash::Hasher::write(&mut hasher, &buffer[..n]);
    }
}

/// Where to go on; lines of another import, and a last one that was cut, count as none.
fn resume(path: &Path, fingerprint: String, length: usize) -> Marker {
    let mut marker = Marker { fingerprint, ..Marker::default() };
    let text = fs::read_to_string(path).unwrap_or_default();
    for line in text.lines().filter_map(|line| serde_json::from_str::<Marker>(line).ok()) {
        if line.fingerprint == marker.fingerprint && line.inputs <= length {
            marker.inputs = line.inputs;
            marker.refused.extend(line.refused);
        }
    }
    marker
}

/// The file begins anew, in one line.
fn begin(path: &Path, marker: &Marker) -> Result<(), Failure> {
    let unfinished = path.with_extension("unfinished");
    let text = serde_json::to_string(marker).map_err(|e| io(path, e))? + "\n";
    make(&unfinished).and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| io(&unfinished, e))?;
    fs::rename(&unfinished, path).map_err(|e| io(path, e))
}

fn remember(path: &Path, fingerprint: &str, inputs: usize, refused: &[Refused]) -> Result<(), Failure> {
    let marker = Marker { fingerprint: fingerprint.to_owned(), inputs, refused: refused.to_vec() };
    let line = serde_json::to_string(&marker).map_err(|e| io(path, e))? + "\n";
    let mut file = fs::OpenOptions::new().append(true).open(path).map_err(|e| io(path, e))?;
    file.write_all(line.as_bytes()).map_err(|e| io(path, e))
}

/// One file while it is read.
struct Reading<'f> {
    file: &'f File,
    index: usize,
    places: Vec<Option<usize>>,
    cells: Vec<Cell>,
    seen: HashSet<[u8; 16]>,
    /// Rows are told by the names of their values.
    by_name: bool,
    /// Columns of the header that [`Self::others`] takes account of.
    known: usize,
    /// The columns that tell rows apart; by name, those that the mapping does not mention.
    others: Vec<usize>,
    totals: FileTotals,
}

impl Reading<'_> {
    fn row(&mut self, gathered: &mut Gathered<'_>, record: &Record, header: &[String]) {
        self.totals.rows += 1;
        let mut bads = self.read(record);
        if let Some(damage) = &record.damage {
            gathered.rejects[self.index].add(record.line, "malformed", "", damage.reason.as_str());
            gathered.hold(self.index, record.line, &self.cells, None);
            if gathered.moved(self.index, &self.cells).is_some() {
                gathered.totals.read.rows += 1;
                gathered.totals.rejected.entry("malformed".into()).or_default().rows += 1;
            }
            return;
        }
        let moved = gathered.moved(self.index, &self.cells);
        if let Some(m) = moved {
            gathered.totals.read.add(1, m.quantity, m.amount);
        }
        gathered.sight(self.index, &self.cells);
        let content = self.content(record, header);
        if self.file.duplicates == Duplicates::Drop && !self.seen.insert(content) {
            self.totals.duplicates += 1;
            if let Some(m) = moved {
                gathered.totals.duplicates.add(1, m.quantity, m.amount);
            }
            return;
        }
        if let Some((reason, _)) = self.file.skip.iter().find(|(_, when)| cleanse::holds(when, &self.cells)) {
            self.totals.skipped += 1;
            if let Some(m) = moved {
                gathered.totals.skipped.entry(reason.to_string()).or_default().add(1, m.quantity, m.amount);
            }
            return;
        }
        if bads.is_empty() {
            bads.extend(
                self.file.columns.iter().zip(&self.cells).filter_map(|(column, cell)| column.check(cell).err()),
            );
        }
        if bads.is_empty() {
            bads.extend(gathered.row(self.index, record.line, &self.cells, content).err());
        }
        if bads.is_empty() {
            return;
        }
        let code = gathered.rejects[self.index].add_all(record.line, &bads);
        gathered.hold(self.index, record.line, &self.cells, Some(&bads));
        if let Some(m) = moved {
            gathered.totals.rejected.entry(code.into()).or_default().add(1, m.quantity, m.amount);
        }
    }

    /// Cleanses the row; what its columns do not take.
    fn read(&mut self, record: &Record) -> Vec<Bad> {
        let mut bads = Vec::new();
        for ((column, place), cell) in self.file.columns.iter().zip(&self.places).zip(&mut self.cells) {
            let raw = place.and_then(|i| record.fields.get(i)).unwrap_or("");
            bads.extend(column.read(raw, cell).err());
        }
        bads
    }

    /// Names the row by all its texts but our own; needed only where rows are told apart by it.
    fn content(&mut self, record: &Record, header: &[String]) -> [u8; 16] {
        if self.file.duplicates == Duplicates::Keep && !self.file.tells_rows_apart {
            return [0; 16];
        }
        let text = |i: usize| record.fields.get(i).unwrap_or("").as_bytes();
        if self.known != header.len() {
            self.known = header.len();
            self.others = rejects::theirs(header);
            if self.by_name {
                self.others.retain(|i| !self.places.contains(&Some(*i)));
                self.others.sort_by_key(|i| &header[*i]);
            }
        }
        if !self.by_name {
            let parts: Vec<&[u8]> = self.others.iter().map(|i| text(*i)).collect();
            return digest(&parts);
        }
        let mut parts: Vec<&[u8]> = self.places.iter().map(|place| place.map_or(&b""[..], text)).collect();
        for i in self.others.iter().copied().filter(|i| !text(*i).is_empty()) {
            parts.extend([header[i].as_bytes(), text(i)]);
        }
        if !record.rest.is_empty() {
            parts.push(record.rest.as_bytes());
        }
        digest(&parts)
    }
}
