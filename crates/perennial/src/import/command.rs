//! `perennial import`: the command's arguments and what it prints.
//!
//! Absent on purpose: the sink. Whoever opens the data folder passes it in.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use perennial_core::time::Timestamp;

use super::emit::NOT_IN_PILOT;
use super::{Failure, MAX_ROWS, Options, Plan, Reconciliation, RejectedRow, Sink};

/// Arguments of `perennial import`.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// The mapping file, such as `imports/generic_orders.yaml`.
    #[arg(required_unless_present = "schema")]
    pub mapping: Option<PathBuf>,
    /// The folder of the files, or the file itself when the mapping has one.
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub data: PathBuf,
    /// Another path for one of the mapping's files, such as a mended reject file; repeatable.
    #[arg(long = "file", value_name = "NAME=PATH", value_parser = name_and_path)]
    pub files: Vec<(String, PathBuf)>,
    /// Bring in at most so many named customers: a fair sample that is always the same.
    #[arg(long, value_name = "N")]
    pub limit_customers: Option<usize>,
    /// Move all instants by so many weeks, so that a demonstration's year ends today; for history of
    /// one's own leave it out.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub shift_weeks: i32,
    /// Bring orders in though the programme does not know their currency: they earn nothing.
    #[arg(long)]
    pub history_only: bool,
    /// Where rows that do not come in are written, with line, field and reason.
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// Stop when the files have more rows than this.
    #[arg(long, value_name = "N", default_value_t = MAX_ROWS)]
    pub max_rows: u64,
    /// How the reconciliation is printed.
    #[arg(long, value_enum, default_value_t = Shown::Table)]
    pub format: Shown,
    /// Print the JSON Schema of mapping files and do nothing else.
    #[arg(long)]
    pub schema: bool,
}

/// How the reconciliation is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shown {
    /// A table for people.
    Table,
    /// JSON for machines.
    Json,
}

fn name_and_path(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("write NAME=PATH, as sales=mended.csv")?;
    Ok((name.to_owned(), path.into()))
}

/// An import that was looked at: its mapping is sound, and its files are there.
pub struct Ready {
    plan: Plan,
    options: Options,
    format: Shown,
}

/// Reads the mapping and looks at the files. No folder is made before that.
///
/// # Errors
/// See [`Failure`].
pub fn prepare(arguments: &Arguments, now: Timestamp, marker: Option<PathBuf>) -> Result<Ready, Failure> {
    let plan = Plan::read(arguments.mapping.as_deref().unwrap_or(Path::new("")))?;
    let options = Options {
        data: arguments.data.clone(),
        replace: arguments.files.iter().cloned().collect(),
        now,
        shift_weeks: arguments.shift_weeks,
        limit_customers: arguments.limit_customers,
        max_rows: arguments.max_rows,
        history_only: arguments.history_only,
        rejects: arguments.rejects.clone(),
        marker,
        progress: ProgressBar::hidden(),
    };
    plan.look(&options)?;
    Ok(Ready { plan, options, format: arguments.format })
}

/// Runs the command; the exit code is 0 when everything came in or was left out on purpose, 1 when
/// there are rejects, and an error otherwise. `notes` hears what nobody asked to be written.
///
/// # Errors
/// See [`Failure`]. Where only the rejects could not be written, the reconciliation is printed all the same.
pub fn run(
    ready: Ready,
    sink: &mut dyn Sink,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<(Reconciliation, u8), Failure> {
    let Ready { plan, options, format } = ready;
    let options = Options { progress: progress(), ..options };
    let done = plan.run(sink, &options);
    options.progress.finish_and_clear();
    let totals = match &done {
        Ok(totals) => totals,
        Err(Failure::Rejects { totals, .. }) => &**totals,
        Err(_) => return done.map(|totals| (totals, 0)),
    };
    let shown = match format {
        Shown::Table => totals.table(),
        Shown::Json => serde_json::to_string_pretty(&totals).unwrap_or_default() + "\n",
    };
    print(&shown, out)?;
    if options.rejects.is_none() {
        let _ = notes.write_all(unkept(totals).as_bytes()); // Nothing depends on it.
    }
    let clean = totals.gaps().is_empty()
        && totals.rejected_rows() == 0
        && totals.not_enrolled.keys().all(|code| code == NOT_IN_PILOT);
    done.map(|totals| (totals, u8::from(!clean)))
}

/// What did not come in and is in no reject file: how many rows, the first of them, and how to get all.
fn unkept(totals: &Reconciliation) -> String {
    let n = totals.rejected_rows();
    if n == 0 {
        return String::new();
    }
    let rows = if n == 1 { "row was" } else { "rows were" };
    let mut told = format!("perennial: {n} {rows} rejected and not written down:\n");
    for RejectedRow { file, line, code, field, reason } in &totals.first_rejects {
        let field = if field.is_empty() { String::new() } else { format!(", {field}") };
        let row = format!("  {file}, line {line}, {code}{field}: {reason}");
        // What a file says must not steer a terminal.
        told.extend(row.chars().map(|c| if c.is_control() { ' ' } else { c }).chain(['\n']));
    }
    let more = n.saturating_sub(totals.first_rejects.len() as u64);
    if more > 0 {
        let _ = writeln!(told, "  and {more} more");
    }
    told + "Run the same import again with --rejects FILE: it books nothing twice and writes all of them there, to be mended and fed\n"
}

/// Prints the JSON Schema of mapping files (`--schema`); needs no sink.
///
/// # Errors
/// When it cannot be written.
pub fn print_schema(out: &mut dyn Write) -> Result<(), Failure> {
    print(&format!("{:#}\n", super::schema()), out)
}

fn print(text: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::Io { path: "the standard output".into(), reason: e.to_string() };
    out.write_all(text.as_bytes()).map_err(failed)
}

/// A bar with an estimate on a terminal, nothing elsewhere.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(4));
    let style = ProgressStyle::with_template("{msg:24} [{bar:30}] {percent:>3} %  {elapsed} gone, {eta} to go");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
