//! `learn propensity`: how likely something is for each customer, calibrated.
//!
//! Promise: the probabilities and every figure come from models that had not seen the row they speak of.
//! Absent on purpose: more than two outcomes.

mod drivers;

use std::path::PathBuf;

use clap::Args;
use perennial_learn::calibrate::reliability;
use perennial_learn::propensity::{self, Trained};

use super::frame::Frame;
use super::page::{Bar, Chapter, Figure, Line, Page, Plot, Point};
use super::words::{figure, many, percent, short};
use super::{Common, Outputs, working};

/// Features and an outcome in, probabilities out.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  perennial learn propensity --input customers.csv --target churn --ignore left_on --out risk.csv --report risk.html\n\n\
Whatever became known only after the outcome gives it away: leave such columns out with --ignore, or the\n\
figures are too good to be true. Each probability comes from a model that had not seen that customer."
)]
pub struct Arguments {
    /// One row per customer: features, and what came true.
    #[arg(long, value_name = "CUSTOMERS.csv")]
    input: PathBuf,
    #[command(flatten)]
    outputs: Outputs,
    /// The column of what came true, such as churn.
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// The value of the target that means yes.
    #[arg(long, value_name = "VALUE")]
    positive: Option<String>,
    /// The column that names the customer.
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// Columns not to learn from, such as what is known only afterwards.
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    ignore: Vec<String>,
}

pub(super) const IDS: &str = "customerid id userid memberid clientid custid accountid rowid kundennummer";
const TARGETS: &str = "churn churned target label converted conversion revenue purchased bought outcome response y";

/// Rows of each outcome that it takes to learn and to validate.
const LEAST: usize = 5;

/// Reads, fits, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    let drafts = arguments.outputs.begin(&[&arguments.input])?;
    let frame = Frame::read(&arguments.input, common.quiet)?;
    let target = frame
        .named_or_usual(arguments.target.as_deref(), TARGETS)?
        .ok_or_else(|| frame.wrong(&format!("which column came true or not? {}", frame.name_it("--target"))))?;
    let (label, yes) = frame.flags(target, arguments.positive.as_deref())?;
    let rarer = label.iter().filter(|y| **y).count().min(label.iter().filter(|y| !**y).count());
    if rarer < LEAST {
        return Err(frame.wrong(&format!(
            "only {} in `{}` have the rarer outcome; give at least {LEAST}",
            many(rarer, "row"),
            frame.header[target]
        )));
    }
    let id = frame.named_or_usual(arguments.id.as_deref(), IDS)?.filter(|at| *at != target);
    let mut without = frame.all_of(&arguments.ignore)?;
    without.extend([target].into_iter().chain(id));
    let (table, assumed) = frame.features(&without)?;
    let bar = working("fitting", common.quiet);
    let trained = propensity::fit(&table, &label, common.seed)
        .map_err(|why| frame.wrong(&why.to_string().replace("`label`", &format!("`{}`", frame.header[target]))))?;
    bar.finish_and_clear();
    let ids = frame.ids(id);
    let rows = ids.iter().zip(&trained.out_of_fold).map(|(id, p)| [id.clone(), format!("{p:.6}")]);
    drafts.csv(&arguments.outputs.out, &["customer_id", "probability"], rows)?;
    let what = format!("`{}` is `{yes}`", frame.header[target]);
    let mut chapter = tell(&trained, &label, &what).map_err(|why| frame.wrong(&why))?;
    let drivers = drivers::figure_of(&trained, &table, &label, &what, common.seed);
    let drivers = drivers.map_err(|why| frame.wrong(&why.to_string()))?;
    drivers.into_iter().for_each(|figure| chapter.figures.insert(1, figure));
    let learnt: Vec<String> = table.columns().iter().map(|column| format!("`{}`", column.name)).collect();
    chapter.how.push(format!("Foretold is that {what}; learnt from {}. What became known only afterwards must not be among these (--ignore).", learnt.join(", ")));
    chapter.how.extend(assumed);
    let page = Page {
        kind: "How likely it is",
        finding: chapter.finding.clone(),
        source: format!("{}: {}", frame.name(), many(label.len(), "row")),
        chapters: vec![chapter],
        ..Page::default()
    };
    arguments.outputs.finish(drafts, page, "a customer with the probability")
}

const WORDS: [(&str, &str); 3] = [
    ("probability", "Calibrated: of a hundred customers with 0.2, about twenty come true."),
    (
        "AUC",
        "The chance that a customer of whom it came true is rated above one of whom it did not: 0.5 is a coin, 1 is perfect.",
    ),
    (
        "left out",
        "The data are cut into parts; each part is foretold by a model of the others, so that no customer is judged by a model that knew the answer.",
    ),
];

#[expect(clippy::cast_precision_loss, reason = "counts of customers")]
fn tell(trained: &Trained, label: &[bool], what: &str) -> Result<Chapter, String> {
    let auc = trained.report.chosen.auc;
    let ones = label.iter().filter(|y| **y).count() as f64;
    let half = 1.96 * auc_error(auc, ones, label.len() as f64 - ones);
    let mut order: Vec<usize> = (0..label.len()).collect();
    order.sort_by(|&a, &b| trained.out_of_fold[b].total_cmp(&trained.out_of_fold[a]));
    let average = ones / label.len() as f64;
    let tenth = &order[..label.len().div_ceil(10)];
    let hits = tenth.iter().filter(|&&i| label[i]).count() as f64 / tenth.len() as f64;
    let finding = if auc - half > 0.5 {
        let times = figure(hits / average);
        format!("Among the tenth called likeliest, {what} for {}, {times} times as often as on average", percent(hits))
    } else {
        format!("These columns do not foretell whether {what}: the ratings are not proved better than chance")
    };
    let told = vec![format!(
        "Validation: AUC {auc:.4} ({:.4} to {:.4}) on rows left out (0.5 is chance, 1 is perfect). On average {what} for {}.",
        auc - half,
        (auc + half).min(1.0),
        percent(average)
    )];
    let figures = vec![tenths(&order, label, what), calibration(trained, label)?];
    let how = trained.report.to_string().lines().map(str::to_owned).collect();
    Ok(Chapter { name: "How likely", finding, told, figures, words: WORDS.to_vec(), how })
}

/// How often it came true in each tenth, the likeliest first.
#[expect(clippy::cast_precision_loss, reason = "counts of customers")]
fn tenths(order: &[usize], label: &[bool], what: &str) -> Figure {
    let count = order.len().min(10);
    let part = |i: usize| &order[i * order.len() / count..(i + 1) * order.len() / count];
    let (mut bars, mut rows) = (Vec::new(), Vec::new());
    for i in 0..count {
        let hits = part(i).iter().filter(|&&row| label[row]).count();
        let share = 100.0 * hits as f64 / part(i).len() as f64;
        let interval = perennial_learn::experiment::wilson(hits as u64, part(i).len() as u64, 0.05).ok();
        let interval = interval.map(|(low, high)| (100.0 * low, 100.0 * high));
        let name = if i == 0 {
            "called likeliest".into()
        } else if i + 1 == count {
            "least likely".into()
        } else {
            format!("{}.", i + 1)
        };
        let (low, high) = interval.unwrap_or((f64::NAN, f64::NAN));
        rows.push(vec![name.clone(), figure(part(i).len() as f64), figure(share), figure(low), figure(high)]);
        bars.push(Bar { label: name, value: share, interval });
    }
    let first = bars.first().map_or(0.0, |bar| bar.value);
    let last = bars.last().map_or(0.0, |bar| bar.value);
    Figure {
        title: format!("From {} % among the likeliest to {} % among the least likely", figure(first), figure(last)),
        note: format!(
            "Per cent of whom {what}, customers sorted into tenths by a probability from a model that had not seen them; with 95 % intervals."
        ),
        sample: many(order.len(), "customer"),
        plot: Plot::Bars(bars),
        unit: " %",
        head: ["tenth", "customers", "per cent", "low", "high"].map(String::from).to_vec(),
        rows,
    }
}

/// Foretold probabilities against what came true.
fn calibration(trained: &Trained, label: &[bool]) -> Result<Figure, String> {
    let curve = reliability(&trained.out_of_fold, label, 10).map_err(|why| why.to_string())?;
    let worst = curve.iter().map(|bar| (bar.predicted - bar.observed).abs()).fold(0.0, f64::max);
    let end = curve.iter().map(|b| b.predicted.max(b.high)).fold(0.0, f64::max);
    let point = |x, y, interval| Point { x, y, interval };
    let lines = vec![
        Line { label: "perfect", reference: true, points: vec![point(0.0, 0.0, None), point(end, end, None)] },
        Line {
            label: "here",
            reference: false,
            points: curve.iter().map(|b| point(b.predicted, b.observed, Some((b.low, b.high)))).collect(),
        },
    ];
    Ok(Figure {
        title: format!(
            "{}: foretold and actual shares differ by {:.0} points at most",
            if worst < 0.05 { "The probabilities can be taken at their word" } else { "The probabilities are rough" },
            100.0 * worst
        ),
        note: "Ten groups by foretold probability: what was foretold along, what came true up, with 95 % intervals. Dashed: perfect.".into(),
        sample: many(label.len(), "customer"),
        plot: Plot::Lines { axes: ["foretold probability", "share that came true"], places: Vec::new(), lines },
        head: ["foretold", "came true", "low", "high", "customers"].map(String::from).to_vec(),
        rows: curve
            .iter()
            .map(|b| vec![short(b.predicted), short(b.observed), short(b.low), short(b.high), b.rows.to_string()])
            .collect(),
        ..Figure::default()
    })
}

/// Standard error of an AUC (Hanley & `McNeil` 1982).
fn auc_error(auc: f64, ones: f64, zeros: f64) -> f64 {
    let (a, b) = (auc / (2.0 - auc), 2.0 * auc * auc / (1.0 + auc));
    let variance = auc * (1.0 - auc) + (ones - 1.0) * (a - auc * auc) + (zeros - 1.0) * (b - auc * auc);
    (variance / (ones * zeros)).max(0.0).sqrt()
}
