//! `learn link`: which records are one person.
//!
//! Promise: everything is chosen from the records; how often the answer errs is told as expected from the
//! pairs' own probabilities. Absent on purpose: the truth; a column of labels is never looked at.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use perennial_learn::link::{self, Linkage, Settings, Table};

use super::frame::{self, Frame};
use super::report::{Bar, Figure, Plot, Report};
use super::{Common, finish, working};

/// Records in, persons out.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Records of persons: names, dates of birth, addresses, whatever tells people apart.
    #[arg(long)]
    input: PathBuf,
    /// Record and person, one row per record.
    #[arg(long)]
    out: PathBuf,
    /// The column that names a record; the row's number otherwise.
    #[arg(long)]
    id: Option<String>,
    /// Columns not to look at.
    #[arg(long, value_delimiter = ',')]
    ignore: Vec<String>,
    /// Two records count as one person from this probability on.
    #[arg(long, default_value_t = 0.5)]
    threshold: f64,
    /// A readable page with figures.
    #[arg(long)]
    report: Option<PathBuf>,
}

const IDS: [&str; 7] = ["uniqueid", "recid", "recordid", "id", "rowid", "customerid", "personid"];
/// Columns that hold the answer to the question, not a trait of a person.
const LABELS: [&str; 4] = ["cluster", "clusterid", "truth", "groundtruth"];

/// Reads, links, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    let frame = Frame::read(&arguments.input, common.quiet)?;
    let id = frame.named_or_usual(arguments.id.as_deref(), &IDS)?;
    let mut hidden = frame.all_of(&arguments.ignore)?;
    let label = frame.named_or_usual(None, &LABELS)?;
    hidden.extend(id.into_iter().chain(label));
    let used: Vec<usize> = (0..frame.header.len()).filter(|at| !hidden.contains(at)).collect();
    let told = |why: link::LinkError| frame.wrong(&why.to_string());
    let mut table = Table::new(used.iter().map(|&at| frame.header[at].as_str())).map_err(told)?;
    for row in 0..frame.rows() {
        table.push(used.iter().map(|&at| Some(frame.columns[at][row].as_str()))).map_err(told)?;
    }
    let bar = working("linking", common.quiet);
    let settings = Settings { seed: common.seed, threshold: arguments.threshold };
    let linkage = link::link(&table, &settings).map_err(told)?;
    bar.finish_and_clear();
    let ids = frame.ids(id);
    frame::write(
        &arguments.out,
        &["unique_id", "cluster_id"],
        ids.iter().zip(&linkage.clusters).map(|(id, &cluster)| [id, &ids[cluster as usize]]),
    )?;
    let columns = format!(
        "Compared: {}; record named by {}{}.",
        linkage.model.plan.iter().map(|c| format!("`{}`", c.name)).collect::<Vec<_>>().join(", "),
        id.map_or("its row number".into(), |at| format!("`{}`", frame.header[at])),
        label.map_or(String::new(), |at| format!("; `{}` was not looked at", frame.header[at])),
    );
    let report = tell(&frame, &linkage, &ids, columns, arguments.threshold);
    finish(&report, &arguments.out, arguments.report.as_deref())
}

fn tell(frame: &Frame, linkage: &Linkage, ids: &[String], columns: String, threshold: f64) -> Report {
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    linkage.clusters.iter().for_each(|cluster| *sizes.entry(*cluster).or_default() += 1);
    let largest = sizes.values().copied().max().unwrap_or(1);
    let mut notes = vec![columns, format!("{} pairs were compared.", linkage.compared)];
    if let [rates] = linkage.error_rates(&[threshold]).as_slice() {
        notes.push(format!(
            "Validation: of {} pairs said to be one person, {:.2} % are expected to be strangers; {:.2} % of the true pairs that were compared are expected to be missed.",
            rates.pairs, 100.0 * rates.false_share, 100.0 * rates.missed_share
        ));
    }
    notes.push(format!("The largest person has {largest} records."));
    let figures = vec![persons(&sizes), weights(linkage), doubtful(frame, linkage, ids)];
    Report { finding: format!("{} records are {} persons.", linkage.clusters.len(), sizes.len()), notes, figures }
}

#[expect(clippy::cast_precision_loss, reason = "counts of persons")]
fn persons(sizes: &BTreeMap<u32, usize>) -> Figure {
    let mut by_size: BTreeMap<usize, usize> = BTreeMap::new();
    sizes.values().for_each(|size| *by_size.entry((*size).min(10)).or_default() += 1);
    let label = |size: usize| if size == 10 { "10 or more records".into() } else { format!("{size} records") };
    let alone = by_size.get(&1).copied().unwrap_or(0);
    Figure {
        title: format!("{alone} of {} persons have a single record", sizes.len()),
        note: "Persons by the number of their records.".into(),
        plot: Plot::Bars(
            by_size.iter().map(|(s, n)| Bar { label: label(*s), value: *n as f64, interval: None }).collect(),
        ),
        head: ["records", "persons"].map(String::from).to_vec(),
        rows: by_size.iter().map(|(s, n)| vec![label(*s), n.to_string()]).collect(),
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
        rows: bars.iter().map(|(name, bits)| vec![name.clone(), format!("{bits:.2}")]).collect(),
        plot: Plot::Bars(bars.into_iter().map(|(label, value)| Bar { label, value, interval: None }).collect()),
        head: ["column", "bits"].map(String::from).to_vec(),
    }
}

/// The pairs that a person should look at first.
fn doubtful(frame: &Frame, linkage: &Linkage, ids: &[String]) -> Figure {
    let shown = |row: u32| {
        let texts = frame.columns.iter().map(|column| column[row as usize].as_str());
        texts.filter(|text| !text.is_empty()).take(8).collect::<Vec<_>>().join(", ")
    };
    let rows = linkage.questions(10).into_iter().map(|q| {
        vec![
            ids[q.left as usize].clone(),
            shown(q.left),
            ids[q.right as usize].clone(),
            shown(q.right),
            format!("{:.2}", q.probability),
        ]
    });
    Figure {
        title: "Pairs to look at first".into(),
        note: "Your answers about these would teach most.".into(),
        plot: Plot::None,
        head: ["record", "", "record", "", "probability"].map(String::from).to_vec(),
        rows: rows.collect(),
    }
}
