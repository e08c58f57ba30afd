//! `learn propensity`: how likely something is for each customer, calibrated.
//!
//! Promise: the probabilities and every figure come from models that had not seen the row they speak of.
//! Absent on purpose: more than two outcomes.

use std::path::PathBuf;

use clap::Args;
use perennial_learn::calibrate::reliability;
use perennial_learn::propensity::{self, Trained};

use super::frame::{self, Frame, short};
use super::report::{Figure, Line, Plot, Report};
use super::{Common, finish, working};

/// Features and an outcome in, probabilities out.
#[derive(Args, Debug)]
pub struct Arguments {
    /// One row per customer: features, and what came true.
    #[arg(long)]
    input: PathBuf,
    /// The probabilities, one row per customer.
    #[arg(long)]
    out: PathBuf,
    /// The column of what came true.
    #[arg(long)]
    target: Option<String>,
    /// The value of the target that means yes.
    #[arg(long)]
    positive: Option<String>,
    /// The column that names the customer.
    #[arg(long)]
    id: Option<String>,
    /// Columns not to learn from, such as what is known only afterwards.
    #[arg(long, value_delimiter = ',')]
    ignore: Vec<String>,
    /// A readable page with figures.
    #[arg(long)]
    report: Option<PathBuf>,
}

pub(super) const IDS: [&str; 8] =
    ["customerid", "id", "userid", "memberid", "clientid", "custid", "accountid", "rowid"];
const TARGETS: [&str; 12] = [
    "churn",
    "churned",
    "target",
    "label",
    "converted",
    "conversion",
    "revenue",
    "purchased",
    "bought",
    "outcome",
    "response",
    "y",
];

/// Reads, fits, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    let frame = Frame::read(&arguments.input, common.quiet)?;
    let target = frame.named_or_usual(arguments.target.as_deref(), &TARGETS)?.ok_or_else(|| {
        frame
            .wrong(&format!("which column came true or not? name it with --target; the columns are {}", frame.listed()))
    })?;
    let (label, yes) = frame.flags(target, arguments.positive.as_deref())?;
    let id = frame.named_or_usual(arguments.id.as_deref(), &IDS)?.filter(|at| *at != target);
    let mut without = frame.all_of(&arguments.ignore)?;
    without.extend([target].into_iter().chain(id));
    let table = frame.features(&without)?;
    let bar = working("fitting", common.quiet);
    let trained = propensity::fit(&table, &label, common.seed)
        .map_err(|why| frame.wrong(&why.to_string().replace("`label`", &format!("`{}`", frame.header[target]))))?;
    bar.finish_and_clear();
    let ids = frame.ids(id);
    let rows = ids.iter().zip(&trained.out_of_fold).map(|(id, p)| [id.clone(), format!("{p:.6}")]);
    frame::write(&arguments.out, &["customer_id", "probability"], rows)?;
    let what = format!("`{}` is `{yes}`", frame.header[target]);
    let report = tell(&frame, &trained, &label, &what)?;
    finish(&report, &arguments.out, arguments.report.as_deref())
}

#[expect(clippy::cast_precision_loss, reason = "counts of customers")]
fn tell(frame: &Frame, trained: &Trained, label: &[bool], what: &str) -> Result<Report, String> {
    let auc = trained.report.chosen.auc;
    let ones = label.iter().filter(|y| **y).count() as f64;
    let half = 1.96 * auc_error(auc, ones, label.len() as f64 - ones);
    let mut notes = vec![format!("{}: {} rows; foretold is that {what}.", frame.name(), label.len())];
    notes.extend(trained.report.to_string().lines().map(str::to_owned));
    notes.push(format!(
        "Validation: AUC {auc:.4} ({:.4} to {:.4}) on rows left out (0.5 is chance, 1 is perfect).",
        auc - half,
        (auc + half).min(1.0)
    ));
    notes.push("Each probability comes from a model that had not seen that row.".into());
    let curve = reliability(&trained.out_of_fold, label, 10).map_err(|why| why.to_string())?;
    let worst = curve.iter().map(|bar| (bar.predicted - bar.observed).abs()).fold(0.0, f64::max);
    let lines = vec![
        Line { label: "perfect", reference: true, points: vec![(0.0, 0.0, None), (1.0, 1.0, None)] },
        Line {
            label: "here",
            reference: false,
            points: curve.iter().map(|b| (b.predicted, b.observed, Some((b.low, b.high)))).collect(),
        },
    ];
    let figure = Figure {
        title: format!(
            "What is called likely is: foretold and actual shares differ by {:.0} points at most",
            100.0 * worst
        ),
        note: format!("Ten groups by foretold probability, with 95 % intervals; n = {}.", label.len()),
        plot: Plot::Lines { axes: ["foretold probability", "share that came true"], lines },
        head: ["foretold", "came true", "low", "high", "rows"].map(String::from).to_vec(),
        rows: curve
            .iter()
            .map(|b| vec![short(b.predicted), short(b.observed), short(b.low), short(b.high), b.rows.to_string()])
            .collect(),
    };
    let mut order: Vec<usize> = (0..label.len()).collect();
    order.sort_by(|&a, &b| trained.out_of_fold[b].total_cmp(&trained.out_of_fold[a]));
    let tenth = &order[..label.len().div_ceil(10)];
    let hits = tenth.iter().filter(|&&i| label[i]).count() as f64;
    let lift = hits / tenth.len() as f64 / (ones / label.len() as f64);
    let finding = format!("Among the tenth called likeliest, {what} {lift:.1} times as often as on average.");
    Ok(Report { finding, notes, figures: vec![figure] })
}

/// Standard error of an AUC (Hanley & McNeil 1982).
fn auc_error(auc: f64, ones: f64, zeros: f64) -> f64 {
    let (a, b) = (auc / (2.0 - auc), 2.0 * auc * auc / (1.0 + auc));
    let variance = auc * (1.0 - auc) + (ones - 1.0) * (a - auc * auc) + (zeros - 1.0) * (b - auc * auc);
    (variance / (ones * zeros)).max(0.0).sqrt()
}
