//! `learn`: what the numbers say about a file, for an analyst with a table and no manual.
//!
//! Each command reads a table, says what it took the columns for and what it chose, prints the figure
//! by which it chose, writes its answers as CSV and, with `--report`, as one HTML page. Promise: the
//! same file and seed give the same answers; what is wrong with a table is said in a sentence that names
//! the column and the remedy. Absent on purpose: journals. The jobs of a running shop call the same methods.

pub mod check;
mod clv;
mod frame;
mod link;
mod orders;
mod propensity;
mod recommend;
mod report;
mod segment;
mod sentiment;
mod uplift;

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use report::Report;

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Answer every case of a reference file and compare. Exit 0 when all are met, 1 when one is not,
    /// 2 when the file cannot be read.
    Check(check::Arguments),
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
}

/// What all commands take.
#[derive(Args, Debug, Clone)]
pub struct Common {
    /// Seed of all randomness; the same seed gives the same answers.
    #[arg(long, global = true, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Threads, where a method can use more than one; the answers do not depend on them.
    #[arg(long, global = true, default_value_t = 2)]
    pub(crate) threads: usize,
    /// No progress bars.
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
}

/// Runs a command; the exit code.
///
/// # Errors
/// A sentence that names the file or column and the remedy.
pub fn run(verb: &Verb, common: &Common) -> Result<u8, String> {
    match verb {
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

/// Says what a command found, and writes its page.
fn finish(report: &Report, out: &Path, page: Option<&Path>) -> Result<u8, String> {
    println!("{}", report.finding);
    report.notes.iter().for_each(|note| println!("  {note}"));
    println!("{} holds the answers", out.display());
    if let Some(page) = page {
        report.write(page)?;
        println!("{} shows them with figures", page.display());
    }
    Ok(0)
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
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(4));
    let style = ProgressStyle::with_template("{msg:24} [{bar:30}] {percent:>3} %  {elapsed} gone, {eta} to go");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// A running mark for work whose length is not known beforehand.
fn working(what: &'static str, quiet: bool) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4));
    let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed} gone");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
