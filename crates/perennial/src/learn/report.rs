//! `learn report`: everything that one table of orders says, in one page with tables beside it.
//!
//! Promise: each part stands for itself; what cannot be said of a table is told with its reason and remedy,
//! and the other parts are there. Absent on purpose: choices. Each part has a command of its own with options.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;

use super::clv::{self, Study};
use super::drafts::Drafts;
use super::frame::Frame;
use super::orders::{self, History, Named, Reading, Roles};
use super::page::{Chapter, Figure, Page};
use super::recommend::{Asked, Bought, Lists};
use super::segment::{Customers, Groups};
use super::words::{count, many};
use super::{Common, file_name, print, progress};

/// Orders in, a page and tables out.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  perennial learn report --input orders.csv --out report.html\n\n\
One row per order or order line; names of columns in the first row. A customer and a date are needed; an\n\
amount adds values, an item what is bought together and next, an order number makes both sharper.\n\n\
Beside report.html stand report-customers.csv (value, activity, group and reason of each customer),\n\
report-together.csv (what goes with each item) and report-next.csv (what each customer buys next).")]
pub struct Arguments {
    /// Orders: one row per order or line.
    #[arg(long, value_name = "ORDERS.csv")]
    input: PathBuf,
    /// The page; the tables beside it take its name.
    #[arg(long, value_name = "FILE.html", default_value = "report.html")]
    out: PathBuf,
    /// Months to look ahead.
    #[arg(long, default_value_t = 12, value_name = "NUMBER")]
    months: u32,
    /// What a month of waiting takes off money, as a share.
    #[arg(long, default_value_t = 0.01, value_name = "SHARE")]
    discount: f64,
    /// Items to leave out of what is bought together and next, such as postage.
    #[arg(long, value_delimiter = ',', value_name = "ITEMS")]
    without: Vec<String>,
    #[command(flatten)]
    columns: Named,
}

/// Companions listed for an item, and items listed for a customer.
const TOGETHER: usize = 10;
const NEXT: usize = 5;
/// Parts of the work, for the estimate of the time.
const PARTS: u64 = 5;

/// The tables beside a page.
struct Beside {
    customers: PathBuf,
    together: PathBuf,
    next: PathBuf,
}

impl Beside {
    fn of(page: &Path) -> Self {
        let stem = page.file_stem().map_or_else(|| "report".into(), |stem| stem.to_string_lossy().into_owned());
        let named = |what: &str| page.with_file_name(format!("{stem}-{what}.csv"));
        Self { customers: named("customers"), together: named("together"), next: named("next") }
    }
}

/// Reads, learns, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    let horizon = clv::horizon(arguments.months, arguments.discount)?;
    let beside = Beside::of(&arguments.out);
    let files = [&arguments.out, &beside.customers, &beside.together, &beside.next].map(PathBuf::as_path);
    let drafts = Drafts::begin(&[&arguments.input], &files)?;
    let frame = Frame::read(&arguments.input, common.quiet)?;
    let roles = Roles::find(&frame, &arguments.columns)?;
    let history = orders::history(&frame, &roles, &arguments.columns)?;
    let bar = progress("values", PARTS, common.quiet);
    let study = Study::of(&history, horizon, common);
    step(&bar, "groups");
    let groups = Groups::of(Customers::of_orders(&history), None, common);
    let mut page = Page {
        kind: "What your orders say",
        source: history.source(&frame),
        chapters: vec![value(&study), grouped(&groups, &study)],
        ..Page::default()
    };
    customers(&drafts, &beside.customers, &history, &study, &groups)?;
    page.files.push((file_name(&beside.customers), "a customer: value, activity, group and reason".into()));
    let mut kept = vec![arguments.out.clone(), beside.customers.clone()];
    for (asked, path, row) in [
        (Asked::Together, &beside.together, "an item and another that goes with it, with the counts"),
        (Asked::Again, &beside.next, "an item that a customer is likely to buy next, with the reason"),
    ] {
        step(&bar, if asked == Asked::Together { "bought together" } else { "bought next" });
        let part = listed(&frame, &roles, arguments, asked, common, &drafts, path);
        if part.is_ok() {
            page.files.push((file_name(path), row.into()));
            kept.push(path.clone());
        }
        page.chapters.push(part.unwrap_or_else(|why| missing(asked, &why)));
    }
    if let (Ok(study), Some(next)) = (&study, page.chapters.get_mut(3)) {
        next.figures.insert(0, study.when());
    }
    bar.finish_and_clear();
    page.finding = headline(&study, &groups, &history);
    page.chapters.push(read(&frame, &roles, &history.reading));
    drafts.text(&arguments.out, &page.html())?;
    drafts.publish_only(&kept)?;
    print(&lines(&page, &arguments.out));
    Ok(0)
}

/// What the whole page says.
fn headline(study: &Result<Study, String>, groups: &Result<Groups, String>, history: &History) -> String {
    let customers = many(history.names.len(), "customer");
    let in_groups = groups.as_ref().map(|groups| format!(" and fall into {}", many(groups.count(), "group")));
    if let Ok(study) = study {
        return format!("{customers} {}{}", study.headline(), in_groups.unwrap_or_default());
    }
    let days = many(history.occasions.len(), "purchase day");
    let fall = in_groups.map_or(String::new(), |told| told.replacen(" and", "", 1));
    format!("{customers} with {days}{fall}")
}

fn step(bar: &ProgressBar, next: &'static str) {
    bar.inc(1);
    bar.set_message(next);
}

/// What was found, for the terminal: each chapter's finding, its validation and how it was reckoned.
fn lines(page: &Page, out: &Path) -> Vec<String> {
    let mut lines = vec![format!("{}.", page.finding), format!("  {}.", page.source)];
    for chapter in &page.chapters {
        lines.push(format!("  {}: {}.", chapter.name, chapter.finding));
        let validation = chapter.told.iter().filter(|told| told.starts_with("Validation"));
        lines.extend(validation.chain(&chapter.how).map(|sentence| format!("      {sentence}")));
    }
    lines.push(format!("{} shows it with figures; open it in a browser. Beside it:", out.display()));
    lines.extend(page.files.iter().map(|(name, row)| format!("  {name}: each row is {row}")));
    lines
}

fn value(study: &Result<Study, String>) -> Chapter {
    match study {
        Ok(study) => study.chapter(),
        Err(why) => Chapter {
            name: "Value",
            finding: "The value of customers cannot be told from this table".into(),
            told: vec![sentence(why)],
            ..Chapter::default()
        },
    }
}

fn grouped(groups: &Result<Groups, String>, study: &Result<Study, String>) -> Chapter {
    match groups {
        Ok(groups) => groups.chapter(study.as_ref().ok()),
        Err(why) => Chapter {
            name: "Groups",
            finding: "There are no groups to be told apart in this table".into(),
            told: vec![sentence(why)],
            ..Chapter::default()
        },
    }
}

fn missing(asked: Asked, why: &str) -> Chapter {
    let (name, what) = match asked {
        Asked::Together => ("Bought together", "What is bought together"),
        _ => ("Bought next", "What customers buy next"),
    };
    Chapter {
        name,
        finding: format!("{what} cannot be told from this table"),
        told: vec![sentence(why)],
        ..Chapter::default()
    }
}

/// A reason as a sentence of a page.
fn sentence(why: &str) -> String {
    let mut letters = why.chars();
    letters
        .next()
        .map_or(String::new(), |first| format!("{}{}.", first.to_uppercase(), letters.as_str().trim_end_matches('.')))
}

fn listed(
    frame: &Frame,
    roles: &Roles,
    arguments: &Arguments,
    asked: Asked,
    common: &Common,
    drafts: &Drafts,
    path: &Path,
) -> Result<Chapter, String> {
    let bought = Bought::read(frame, roles.clone(), &arguments.columns, asked, &arguments.without)?;
    let top = if asked == Asked::Together { TOGETHER } else { NEXT };
    let lists = Lists::make(frame, &bought, asked, top, None, common)?;
    let (header, rows) = lists.table(&bought);
    drafts.csv(path, header, rows)?;
    let mut chapter = lists.chapter(&bought);
    chapter.how.extend(bought.reading.sentences().into_iter().skip(1));
    Ok(chapter)
}

/// One row per customer with all that is known.
fn customers(
    drafts: &Drafts,
    path: &Path,
    history: &History,
    study: &Result<Study, String>,
    groups: &Result<Groups, String>,
) -> Result<(), String> {
    let (study, groups) = (study.as_ref().ok(), groups.as_ref().ok());
    let values: HashMap<&str, usize> = study.iter().flat_map(|s| s.customers()).map(|(at, name)| (name, at)).collect();
    let members: HashMap<&str, usize> = groups
        .iter()
        .flat_map(|g| g.customers.names.iter().enumerate())
        .map(|(at, name)| (name.as_str(), at))
        .collect();
    let mut header = vec!["customer_id".to_owned()];
    header.extend(study.iter().flat_map(|study| study.header()));
    if groups.is_some() {
        header.extend(["segment", "segment_name", "segment_reason"].map(String::from));
    }
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let rows = history.names.iter().map(|name| {
        let mut row = vec![name.clone()];
        row.extend(study.iter().filter_map(|study| Some(study.cells(*values.get(name.as_str())?))).flatten());
        row.extend(groups.iter().filter_map(|groups| Some(groups.cells(*members.get(name.as_str())?))).flatten());
        row
    });
    drafts.csv(path, &header, rows)
}

/// The table as it was understood.
fn read(frame: &Frame, roles: &Roles, reading: &Reading) -> Chapter {
    let rows: usize = reading.left_out.iter().filter(|(_, what, _)| *what == "row").map(|(count, _, _)| count).sum();
    let finding = match rows {
        0 => format!("All {} were read", many(reading.rows, "row")),
        1 => format!("One of {} was left out", many(reading.rows, "row")),
        _ => format!("{} of {} were left out", count(rows), many(reading.rows, "row")),
    };
    let taken = roles.taken(frame);
    let example = |column: &str| {
        let at = frame.header.iter().position(|name| column.trim_matches('`') == name);
        let text = at.and_then(|at| frame.columns[at].iter().find(|text| !text.is_empty()));
        text.cloned().unwrap_or_default()
    };
    let columns = taken.iter().map(|(role, column)| vec![(*role).to_owned(), column.replace('`', ""), example(column)]);
    let unused = unused(frame, &taken);
    let mut figures = vec![Figure::table(
        "Which column was taken for what",
        "Guessed from names and values. If one is wrong, name the right one: --customer, --date, --amount, --item, --order.",
        &["meaning", "column", "for example"],
        columns.collect(),
    )];
    if !reading.left_out.is_empty() {
        let left = reading.left_out.iter().map(|(count, what, why)| vec![many(*count, what), why.clone()]);
        figures.push(Figure::table(
            "What was left out, and why",
            "Left out of values and groups; the parts on items leave out returns and rows without an item instead.",
            &["how much", "why"],
            left.collect(),
        ));
    }
    let told = reading.assumed.iter().cloned().chain(unused).collect();
    Chapter { name: "Your table", finding, told, figures, ..Chapter::default() }
}

/// The columns that nothing was made of, in a sentence.
fn unused(frame: &Frame, taken: &[(&'static str, String)]) -> Option<String> {
    let used = |name: &str| taken.iter().any(|(_, column)| column.contains(&format!("`{name}`")));
    let rest: Vec<String> = frame.header.iter().filter(|name| !used(name)).map(|name| format!("`{name}`")).collect();
    let shown = rest.len().min(20);
    let more = if shown < rest.len() { format!(" and {} more", rest.len() - shown) } else { String::new() };
    (!rest.is_empty()).then(|| format!("Not used: {}{more}.", rest[..shown].join(", ")))
}
