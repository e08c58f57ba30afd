//! `learn link`: which records are one person.
//!
//! Promise: everything is chosen from the records; how often the answer errs is told as expected from the
//! pairs' own probabilities. Absent on purpose: the truth; a column of labels is never looked at.

mod ask;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use perennial_learn::link::{self, Linkage, Settings, Table};

use super::frame::Frame;
use super::page::{Bar, Chapter, Figure, Page, Plot};
use super::words::{count, figure, many, percent};
use super::{Common, Outputs, file_name, print, working};

/// Records in, persons out.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  perennial learn link --input persons.csv --id customer_no --out persons-linked.csv --report persons.html\n  \
perennial learn link --input persons.csv --id customer_no --out persons-linked.csv --questions doubtful.csv\n  \
perennial learn link --input persons.csv --id customer_no --out persons-linked.csv --answers doubtful.csv\n\n\
Records that get the same cluster_id are held to be one person. Every column but the id is compared; leave\n\
out with --ignore what does not tell people apart, such as the date of the export. Write yes or no into the\n\
column `same` of the doubtful pairs and hand the file back with --answers: your word decides these pairs and\n\
teaches the others."
)]
pub struct Arguments {
    /// Records of persons: names, dates of birth, addresses, whatever tells people apart.
    #[arg(long, value_name = "PERSONS.csv")]
    input: PathBuf,
    #[command(flatten)]
    outputs: Outputs,
    /// The column that names a record; the row's number otherwise.
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// Columns not to look at.
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    ignore: Vec<String>,
    /// Two records count as one person from this probability on.
    #[arg(long, default_value_t = 0.5, value_name = "PROBABILITY")]
    threshold: f64,
    /// Where doubtful pairs are asked about, the most telling first.
    #[arg(long, value_name = "FILE.csv")]
    questions: Option<PathBuf>,
    /// Such a file with yes or no in its column `same`.
    #[arg(long, value_name = "FILE.csv")]
    answers: Option<PathBuf>,
}

/// What a row of the file of questions is.
const ASKED: &str = "a doubtful pair; write yes or no into `same` and hand it back with --answers";
const IDS: &str = "uniqueid recid recordid id rowid customerid personid";
/// Columns that hold the answer to the question, not a trait of a person.
const LABELS: &str = "cluster clusterid truth groundtruth";

/// Reads, links, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    if !(arguments.threshold > 0.0 && arguments.threshold < 1.0) {
        return Err(format!("--threshold {} is no probability; give a number between 0 and 1", arguments.threshold));
    }
    let inputs: Vec<&Path> =
        std::iter::once(&arguments.input).chain(&arguments.answers).map(PathBuf::as_path).collect();
    let drafts = arguments.outputs.begin_with(&inputs, arguments.questions.as_deref())?;
    let frame = Frame::read(&arguments.input, common.quiet)?;
    let id = frame.named_or_usual(arguments.id.as_deref(), IDS)?;
    let mut hidden = frame.all_of(&arguments.ignore)?;
    let label = frame.named_or_usual(None, LABELS)?;
    hidden.extend(id.into_iter().chain(label));
    let used: Vec<usize> = (0..frame.header.len()).filter(|at| !hidden.contains(at)).collect();
    let told = |why: link::LinkError| frame.wrong(&why.to_string());
    let mut table = Table::new(used.iter().map(|&at| frame.header[at].as_str())).map_err(told)?;
    for row in 0..frame.rows() {
        table.push(used.iter().map(|&at| Some(frame.columns[at][row].as_str()))).map_err(told)?;
    }
    let bar = working("linking", common.quiet);
    let settings = Settings { seed: common.seed, threshold: arguments.threshold };
    let ids = frame.ids(id);
    let answers = arguments.answers.as_deref().map(|path| ask::read(path, &ids, common.quiet)).transpose()?;
    let answers = answers.unwrap_or_default();
    let linkage = link::link_with(&table, &settings, &answers).map_err(told)?;
    bar.finish_and_clear();
    let rows = ids.iter().zip(&linkage.clusters).map(|(id, &cluster)| [id, &ids[cluster as usize]]);
    drafts.csv(&arguments.outputs.out, &["unique_id", "cluster_id"], rows)?;
    if let Some(path) = &arguments.questions {
        ask::write(&drafts, path, &frame, &linkage, &ids)?;
    }
    let columns = format!(
        "Compared: {}; record named by {}{}.",
        linkage.model.plan.iter().map(|c| format!("`{}`", c.name)).collect::<Vec<_>>().join(", "),
        id.map_or("its row number".into(), |at| format!("`{}`", frame.header[at])),
        label.map_or(String::new(), |at| format!("; `{}` was not looked at", frame.header[at])),
    );
    let mut chapter = tell(&frame, &linkage, &ids, arguments.threshold);
    chapter.how.insert(0, columns);
    if arguments.answers.is_some() {
        chapter.how.push(format!("{} were decided by people.", many(answers.len(), "pair")));
    }
    let asked = arguments.questions.as_deref();
    let page = Page {
        kind: "One person in many records",
        finding: chapter.finding.clone(),
        source: format!("{}: {}", frame.name(), many(ids.len(), "record")),
        chapters: vec![chapter],
        files: asked.map(|path| (file_name(path), ASKED.to_owned())).into_iter().collect(),
    };
    arguments.outputs.finish(drafts, page, "a record with the person it belongs to")?;
    if let Some(path) = asked {
        print(&[format!("{} asks: each row is {ASKED}", path.display())]);
    }
    Ok(0)
}

const WORDS: [(&str, &str); 2] = [
    (
        "probability",
        "How likely two records are one person, from how often their agreements and differences occur by chance (Fellegi and Sunter 1969).",
    ),
    ("bits", "What an agreement says: each bit doubles the odds that two records are one person."),
];

fn tell(frame: &Frame, linkage: &Linkage, ids: &[String], threshold: f64) -> Chapter {
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    linkage.clusters.iter().for_each(|cluster| *sizes.entry(*cluster).or_default() += 1);
    let largest = sizes.values().copied().max().unwrap_or(1);
    let mut told = Vec::new();
    if let [rates] = linkage.error_rates(&[threshold]).as_slice() {
        told.push(format!(
            "Validation: of {} pairs said to be one person, {} are expected to be strangers; {} of the true pairs that were compared are expected to be missed.",
            count(rates.pairs), percent(rates.false_share), percent(rates.missed_share)
        ));
    }
    told.push(format!("The person with most has {}.", many(largest, "record")));
    Chapter {
        name: "Persons",
        finding: format!("{} are {}", many(linkage.clusters.len(), "record"), many(sizes.len(), "person")),
        told,
        figures: vec![persons(&sizes), weights(linkage), doubtful(frame, linkage, ids)],
        words: WORDS.to_vec(),
        how: vec![format!("{} were compared.", compared(linkage))],
    }
}

fn compared(linkage: &Linkage) -> String {
    many(usize::try_from(linkage.compared).unwrap_or(usize::MAX), "pair")
}

#[expect(clippy::cast_precision_loss, reason = "counts of persons")]
fn persons(sizes: &BTreeMap<u32, usize>) -> Figure {
    let mut by_size: BTreeMap<usize, usize> = BTreeMap::new();
    sizes.values().for_each(|size| *by_size.entry((*size).min(10)).or_default() += 1);
    let label = |size: usize| if size == 10 { "10 or more records".into() } else { many(size, "record") };
    let alone = by_size.get(&1).copied().unwrap_or(0);
    Figure {
        title: format!("{} of {} have a single record", count(alone), many(sizes.len(), "person")),
        note: "Persons by the number of their records.".into(),
        sample: many(sizes.values().sum(), "record"),
        plot: Plot::Bars(
            by_size.iter().map(|(s, n)| Bar { label: label(*s), value: *n as f64, interval: None }).collect(),
        ),
        head: ["records", "persons"].map(String::from).to_vec(),
        rows: by_size.iter().map(|(s, n)| vec![label(*s), n.to_string()]).collect(),
        ..Figure::default()
    }
}

/// What full agreement in each column says.
fn weights(linkage: &Linkage) -> Figure {
    let model = &linkage.model;
    let best = |at: usize| {
        let field = &model.weights.fields[at];
        field.m.iter().zip(&field.u).map(|(m, u)| (m / u.max(1e-12)).max(1e-12).log2()).fold(f64::MIN, f64::max)
    };
    let mut bars: Vec<(String, f64)> = model
        .plan
        .iter()
        .enumerate()
        .take(model.weights.fields.len())
        .map(|(at, c)| (c.name.clone(), best(at)))
        .collect();
    bars.sort_by(|a, b| b.1.total_cmp(&a.1));
    let strongest = bars.first().map_or("nothing", |b| &b.0).to_owned();
    Figure {
        title: format!("Agreement in {strongest} says most"),
        note: "Weight of the best agreement in bits: each bit doubles the odds that two records are one person.".into(),
        sample: compared(linkage),
        rows: bars.iter().map(|(name, bits)| vec![name.clone(), figure(*bits)]).collect(),
        plot: Plot::Bars(bars.into_iter().map(|(label, value)| Bar { label, value, interval: None }).collect()),
        unit: " bits",
        head: ["column", "bits"].map(String::from).to_vec(),
    }
}

/// The pairs that a person should look at first.
fn doubtful(frame: &Frame, linkage: &Linkage, ids: &[String]) -> Figure {
    let rows = linkage.questions(10).into_iter().map(|q| {
        let why = linkage.explain(q.left as usize, q.right as usize);
        vec![
            ids[q.left as usize].clone(),
            ask::shown(frame, linkage, q.left),
            ids[q.right as usize].clone(),
            ask::shown(frame, linkage, q.right),
            percent(q.probability),
            why.map_or(String::new(), |why| ask::because(&why)),
        ]
    });
    Figure::table(
        "The program is least sure about these pairs: look at them first",
        "What the compared columns say, how likely the two are one person, and why, in bits: above 0 speaks for one person, below for two. Your answers would teach most here: --questions writes such pairs to a file, --answers takes it back filled in.",
        &["record", "says", "other record", "says", "one person", "because"],
        rows.collect(),
    )
}
