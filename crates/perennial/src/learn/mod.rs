//! `learn`: what the numbers say about a file, for an analyst with a table and no manual.
//!
//! Each command reads a table, says what it took the columns for and what it chose, prints the figure
//! by which it chose, writes its answers as CSV and, with `--report`, as one HTML page. Promise: the
//! same file and seed give the same answers; what is wrong with a table is said in a sentence that names
//! the column and the remedy; files appear whole or not at all. Absent on purpose: journals. The jobs of
//! a running shop call the same methods.

mod amounts;
pub mod check;
mod clv;
mod dates;
mod drafts;
mod frame;
mod link;
mod orders;
mod page;
mod propensity;
mod recommend;
mod report;
mod segment;
mod sentiment;
mod uplift;
mod words;

use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use drafts::Drafts;
use page::Page;
use words::many;

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Everything from one table of orders: customers' value, groups, bought together, bought next.
    Report(report::Arguments),
    /// What each customer is worth in the months to come, from a table of orders.
    Clv(clv::Arguments),
    /// Groups of customers with names and reasons, from a table of orders or of features.
    Segment(segment::Arguments),
    /// Lists of items for customers, baskets and sessions; what is bought together.
    Recommend(recommend::Arguments),
    /// Which records are one person.
    Link(link::Arguments),
    /// How likely something is for each customer, such as leaving.
    Propensity(propensity::Arguments),
    /// Whom a message changes, from an experiment.
    Uplift(uplift::Arguments),
    /// The mood of texts, and what they are about.
    Sentiment(sentiment::Arguments),
    /// Answer every case of a reference file and compare. Exit 0 when all are met, 1 when one is not,
    /// 2 when the file cannot be read.
    Check(check::Arguments),
}

/// What all commands take.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Running")]
pub struct Common {
    /// Seed of all randomness; the same seed gives the same answers.
    #[arg(long, global = true, default_value_t = 1, value_name = "NUMBER")]
    pub(crate) seed: u64,
    /// Threads, where a method can use more than one; the answers do not depend on them.
    #[arg(long, global = true, default_value_t = 2, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Show no progress.
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
}

impl Common {
    /// Threads to use, at least one.
    pub(crate) fn threads(&self) -> usize {
        usize::from(self.threads).max(1)
    }
}

/// Shown under the list of commands.
pub const EXAMPLES: &str = "\
Begin with a table of orders, one row per order or line, with names of columns in the first row:

  perennial learn report --input orders.csv --out report.html

It finds the columns by their names, says what it took for what, and writes one page with everything and
the tables beside it. Open the page in a browser. Nothing leaves this machine.

Tables may be CSV (also with ; or tabs, gzip or not) or Parquet. Each command explains itself:
  perennial learn clv --help";

/// Runs a command; the exit code.
///
/// # Errors
/// A sentence that names the file or column and the remedy.
pub fn run(verb: &Verb, common: &Common) -> Result<u8, String> {
    match verb {
        Verb::Report(arguments) => report::run(arguments, common),
        Verb::Check(arguments) => check::run(arguments, common),
        Verb::Clv(arguments) => clv::run(arguments, common),
        Verb::Segment(arguments) => segment::run(arguments, common),
        Verb::Recommend(arguments) => recommend::run(arguments, common),
        Verb::Link(arguments) => link::run(arguments, common),
        Verb::Propensity(arguments) => propensity::run(arguments, common),
        Verb::Uplift(arguments) => uplift::run(arguments, common),
        Verb::Sentiment(arguments) => sentiment::run(arguments, common),
    }
}

/// Where a command writes.
#[derive(Args, Debug)]
struct Outputs {
    /// The answers, as CSV.
    #[arg(long, value_name = "FILE.csv")]
    out: std::path::PathBuf,
    /// A page with figures that opens in a browser, offline.
    #[arg(long, value_name = "FILE.html")]
    report: Option<std::path::PathBuf>,
}

impl Outputs {
    /// Begins the files of a command that reads `inputs`.
    fn begin(&self, inputs: &[&Path]) -> Result<Drafts, String> {
        self.begin_with(inputs, None)
    }

    /// The same with one file more.
    fn begin_with(&self, inputs: &[&Path], more: Option<&Path>) -> Result<Drafts, String> {
        let own = std::iter::once(&self.out).chain(&self.report).map(std::path::PathBuf::as_path);
        Drafts::begin(inputs, &own.chain(more).collect::<Vec<_>>())
    }

    /// Publishes what a command found, and says it; `row` is what a row of the answers is.
    fn finish(&self, drafts: Drafts, mut page: Page, row: &str) -> Result<u8, String> {
        if let Some(path) = &self.report {
            page.files.push((file_name(&self.out), row.to_owned()));
            drafts.text(path, &page.html())?;
        }
        drafts.publish()?;
        let mut lines = vec![format!("{}.", page.finding), format!("  {}.", page.source)];
        let sentences = page.chapters.iter().flat_map(|chapter| chapter.told.iter().chain(&chapter.how));
        lines.extend(sentences.map(|sentence| format!("  {sentence}")));
        lines.push(format!("{} holds the answers: each row is {row}", self.out.display()));
        lines.extend(self.report.iter().map(|path| format!("{} shows them with figures", path.display())));
        print(&lines);
        Ok(0)
    }
}

/// Prints lines; whoever stops listening has heard enough.
fn print(lines: &[String]) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", lines.join("\n"));
}

/// The name of a file without its folder.
fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Answers `0..count` on some threads, in order.
fn in_parallel<T: Send>(count: usize, threads: usize, answer: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let part = count.div_ceil(threads.clamp(1, 64)).max(1);
    let mut parts: Vec<Vec<T>> = (0..count).step_by(part).map(|_| Vec::new()).collect();
    std::thread::scope(|scope| {
        for (at, slot) in parts.iter_mut().enumerate() {
            let answer = &answer;
            scope.spawn(move || slot.extend((at * part..((at + 1) * part).min(count)).map(answer)));
        }
    });
    parts.into_iter().flatten().collect()
}

/// A bar with an estimate on a terminal, nothing elsewhere.
fn progress(what: &'static str, total: u64, quiet: bool) -> ProgressBar {
    shown(Some(total), "{msg:24} [{bar:30}] {percent:>3} %  {elapsed} gone, {eta} to go", what, quiet)
}

/// A bar for work that tells what share of it is done; it goes when it is dropped.
struct Shares(ProgressBar);

/// Steps of a bar of shares.
const SHARES: u16 = 1_000;

fn shares(what: &'static str, quiet: bool) -> Shares {
    Shares(progress(what, u64::from(SHARES), quiet))
}

impl Shares {
    /// Moves to a share from 0 to 1; never back, whichever thread tells first.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the steps")]
    fn reach(&self, share: f64) {
        let step = (share.clamp(0.0, 1.0) * f64::from(SHARES)) as u64;
        if step > self.0.position() {
            self.0.set_position(step);
        }
    }
}

impl Drop for Shares {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A running mark for work whose length is not known beforehand.
fn working(what: &'static str, quiet: bool) -> ProgressBar {
    shown(None, "{spinner} {msg}  {elapsed} gone", what, quiet)
}

fn shown(total: Option<u64>, template: &str, what: &'static str, quiet: bool) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(4));
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
