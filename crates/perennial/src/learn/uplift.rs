//! `learn uplift`: whom a message changes, from an experiment that drew lots.
//!
//! Two thirds of the rows teach, one third measures; everybody is scored by the model so taught.
//! Absent on purpose: treatments that somebody chose; their effects cannot be read off like this.

use std::path::PathBuf;

use clap::Args;
use perennial_learn::input::BadInput;
use perennial_learn::table::{Table, stratified_folds};
use perennial_learn::uplift::{self, Trained, metrics};

use super::frame::Frame;
use super::page::{Bar, Chapter, Figure, Line, Page, Plot, Point};
use super::propensity::IDS;
use super::words::{figure, many, short};
use super::{Common, Outputs, amounts, shares};

/// An experiment in, effects out.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  perennial learn uplift --input mailing.csv --treatment group --control none --outcome bought --ignore spend --out uplift.csv\n\n\
The treatment must have been drawn by lot: where somebody chose whom to reach, the difference shows the\n\
choice and not the message. Leave out with --ignore what became known only after the treatment."
)]
pub struct Arguments {
    /// One row per customer: features known before, the treatment drawn by lot, the outcome.
    #[arg(long, value_name = "EXPERIMENT.csv")]
    input: PathBuf,
    #[command(flatten)]
    outputs: Outputs,
    /// The column of the treatment.
    #[arg(long, value_name = "COLUMN")]
    treatment: Option<String>,
    /// The value of the treatment that means none; every other value is treated.
    #[arg(long, value_name = "VALUE")]
    control: Option<String>,
    /// The column of the outcome, yes or no.
    #[arg(long, value_name = "COLUMN")]
    outcome: Option<String>,
    /// The column that names the customer.
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// Columns not to learn from: everything that was known only after the treatment.
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    ignore: Vec<String>,
}

const TREATMENTS: &str = "treatment treated treatmentgroup arm variant exposure group segment";
const OUTCOMES: &str = "outcome conversion converted visit response purchased bought label y";
/// Samples drawn anew for the interval of the Qini.
const REDRAWN: usize = 200;

struct Trial {
    table: Table,
    treated: Vec<bool>,
    outcome: Vec<bool>,
}

/// Reads, fits, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    let drafts = arguments.outputs.begin(&[&arguments.input])?;
    let frame = Frame::read(&arguments.input, common.quiet)?;
    let ask = |what: &str, option: &str| frame.wrong(&format!("which column is the {what}? {}", frame.name_it(option)));
    let treatment = frame
        .named_or_usual(arguments.treatment.as_deref(), TREATMENTS)?
        .ok_or_else(|| ask("treatment", "--treatment"))?;
    let outcome =
        frame.named_or_usual(arguments.outcome.as_deref(), OUTCOMES)?.ok_or_else(|| ask("outcome", "--outcome"))?;
    if treatment == outcome {
        return Err(frame.wrong("treatment and outcome are the same column; name one with --treatment or --outcome"));
    }
    let id = frame.named_or_usual(arguments.id.as_deref(), IDS)?.filter(|at| ![treatment, outcome].contains(at));
    let mut without = frame.all_of(&arguments.ignore)?;
    without.extend([treatment, outcome].into_iter().chain(id));
    let (table, assumed) = frame.features(&without)?;
    let trial = Trial { table, treated: treated(&frame, treatment, arguments)?, outcome: yes(&frame, outcome)? };
    let told = |why: BadInput| {
        match why {
        BadInput::Constant { .. } => {
            frame.wrong("no feature differs within the treated and within the untreated; give features that do")
        }
        BadInput::TooFew { found, needed, .. } => frame.wrong(&format!(
            "after a third was kept to measure, {} treated or untreated that the others can be compared with; {needed} are needed",
            if found == 1 { "only one customer is".to_owned() } else { format!("only {found} customers are") }
        )),
        BadInput::OneClass { .. } => frame.wrong(&format!(
            "`{}` hardly varies among the treated or among the untreated; give more rows of both outcomes",
            frame.header[outcome]
        )),
        why => frame.wrong(&why.to_string()),
    }
    };
    let measured = trial.measure(common).map_err(told)?;
    let ids = frame.ids(id);
    let rows = (0..ids.len()).map(|i| {
        let held = if measured.held[i] { "yes" } else { "no" };
        [ids[i].clone(), format!("{:.6}", measured.effects[i]), held.into()]
    });
    drafts.csv(&arguments.outputs.out, &["customer_id", "uplift", "held_out"], rows)?;
    let mut chapter = tell(&trial, &measured, &frame.header[outcome], common.seed).map_err(told)?;
    let used: Vec<String> = trial.table.columns().iter().map(|c| format!("`{}`", c.name)).collect();
    let names = [treatment, outcome].map(|at| &frame.header[at]);
    chapter.how.push(format!("Columns: treatment `{}`, outcome `{}`; learnt from {}. Whatever was known only after the treatment must not be among these (--ignore).", names[0], names[1], used.join(", ")));
    chapter.how.extend(assumed);
    let page = Page {
        kind: "Whom a message changes",
        finding: chapter.finding.clone(),
        source: format!("{}: {}", frame.name(), many(ids.len(), "row")),
        chapters: vec![chapter],
        ..Page::default()
    };
    arguments.outputs.finish(drafts, page, "a customer with the change in the outcome that the treatment makes")
}

/// A model of two thirds, and the effects it foretells for all.
struct Measured {
    taught: Trained,
    effects: Vec<f64>,
    /// Rows that did not teach.
    held: Vec<bool>,
}

impl Trial {
    fn measure(&self, common: &Common) -> Result<Measured, BadInput> {
        let class: Vec<usize> =
            (0..self.treated.len()).map(|i| usize::from(self.treated[i]) + 2 * usize::from(self.outcome[i])).collect();
        let held: Vec<bool> = stratified_folds(&class, 3, common.seed).into_iter().map(|fold| fold == 0).collect();
        let train: Vec<usize> = (0..held.len()).filter(|&i| !held[i]).collect();
        let treated: Vec<bool> = train.iter().map(|&i| self.treated[i]).collect();
        let answer: Vec<f64> = train.iter().map(|&i| f64::from(u8::from(self.outcome[i]))).collect();
        let bar = shares("fitting", common.quiet);
        let watch = |share| bar.reach(share);
        let taught = uplift::fit(&self.table.take(&train)?, &treated, &answer, common.seed, common.threads(), &watch)?;
        drop(bar);
        let effects = taught.effect.uplift(&self.table)?;
        Ok(Measured { taught, effects, held })
    }
}

fn treated(frame: &Frame, at: usize, arguments: &Arguments) -> Result<Vec<bool>, String> {
    let name = &frame.header[at];
    if let Some(row) = frame.columns[at].iter().position(String::is_empty) {
        let line = frame.line(row);
        return Err(frame.wrong(&format!("`{name}` is empty in line {line}; fill it in or leave out such rows")));
    }
    let mut values: Vec<&String> = frame.columns[at].iter().collect();
    values.sort();
    values.dedup();
    let usual = |v: &&&String| {
        let v = v.to_lowercase();
        ["0", "false", "control", "none", "no"].contains(&v.as_str()) || v.starts_with("no ") || v.contains("control")
    };
    let control = match &arguments.control {
        Some(name) => values.iter().find(|v| v.eq_ignore_ascii_case(name)),
        None => values.iter().find(usual),
    };
    let listed = values.iter().take(6).map(|v| format!("`{v}`")).collect::<Vec<_>>().join(", ");
    let control = control.ok_or_else(|| {
        frame.wrong(&format!(
            "which value of `{name}` means no treatment? name it with --control; the values are {listed}"
        ))
    })?;
    if values.len() < 2 {
        return Err(frame.wrong(&format!(
            "`{name}` is {listed} in every row; an experiment needs treated and untreated customers"
        )));
    }
    Ok(frame.columns[at].iter().map(|text| text != *control).collect())
}

/// An outcome of yes and no; a number counts as yes when it is above zero.
fn yes(frame: &Frame, at: usize) -> Result<Vec<bool>, String> {
    let why = match frame.flags(at, None) {
        Ok((flags, _)) => return Ok(flags),
        Err(why) => why,
    };
    let Ok((numbers, _)) = amounts::column(frame, at) else { return Err(why) };
    let flags: Vec<bool> = numbers.iter().map(|v| *v > 0.0).collect();
    if numbers.iter().any(|v| v.is_nan()) || flags.iter().all(|y| *y == flags[0]) {
        return Err(why);
    }
    Ok(flags)
}

const WORDS: [(&str, &str); 2] = [
    (
        "effect",
        "How much the treatment changes the chance of the outcome, in points: 2 points is two more of a hundred.",
    ),
    (
        "Qini",
        "How much better the scores order customers than chance does, on customers who did not teach: 0 is a random order, 1 a perfect one.",
    ),
];

fn tell(trial: &Trial, measured: &Measured, what: &str, seed: u64) -> Result<Chapter, BadInput> {
    let rows: Vec<usize> = (0..measured.held.len()).filter(|&i| measured.held[i]).collect();
    let outcome: Vec<bool> = rows.iter().map(|&i| trial.outcome[i]).collect();
    let treated: Vec<bool> = rows.iter().map(|&i| trial.treated[i]).collect();
    let score: Vec<f64> = rows.iter().map(|&i| measured.effects[i]).collect();
    let told = metrics::measure(&outcome, &treated, &score, 1.0 / 3.0)?;
    let [qini, _] = metrics::intervals(&outcome, &treated, &score, REDRAWN, 0.95, seed)?;
    let report = &measured.taught.report;
    let finding = on_average(what, 100.0 * report.mean_effect, 196.0 * report.mean_effect_error);
    let validation = format!(
        "Validation: normalised Qini {:.4} (95 % interval {:.4} to {:.4}) on {} left out.",
        told.qini_auc,
        qini.low,
        qini.high,
        many(score.len(), "customer"),
    );
    let sure = qini.low > 0.0;
    let gained = gained(&metrics::qini_curve(&outcome, &treated, &score)?, sure, score.len(), (qini.low, qini.high));
    let how = report.to_string().lines().map(str::to_owned).collect();
    let figures = vec![gained, thirds(what, &outcome, &treated, &score)];
    Ok(Chapter { name: "Whom it changes", finding, told: vec![validation], figures, words: WORDS.to_vec(), how })
}

/// The mean effect, and whether it is one at all; in points, with half the width of its interval.
fn on_average(what: &str, effect: f64, half: f64) -> String {
    let range = format!("{:.2} to {:.2}", effect - half, effect + half);
    match effect {
        up if up > half => format!("The treatment raises `{what}` by {up:.2} points on average ({range})"),
        down if down < -half => format!("The treatment lowers `{what}` by {:.2} points on average ({range})", -down),
        none => format!("The treatment is not proved to change `{what}`: {none:.2} points on average ({range})"),
    }
}

/// Extra outcomes as more customers are reached, against a random order.
fn gained(curve: &[metrics::Point], sure: bool, count: usize, (low, high): (f64, f64)) -> Figure {
    let step = curve.len().div_ceil(60).max(1);
    let point = |p: &metrics::Point| Point { x: p.customers, y: p.gained, interval: None };
    let end = curve.last().map_or(Point { x: 0.0, y: 0.0, interval: None }, point);
    let mut points: Vec<Point> = curve.iter().step_by(step).map(point).collect();
    points.push(end);
    let rows = points.iter().map(|p| vec![figure(p.x.round()), short(p.y)]).collect();
    let random = vec![Point { x: 0.0, y: 0.0, interval: None }, end];
    Figure {
        title: if sure {
            "Reaching the highest scores first gains more than a random order".into()
        } else {
            "The scores are not proved to beat a random order".to_owned()
        },
        note: format!(
            "Extra outcomes among the treated as more customers are reached, those with the highest scores first. Dashed: in a random order. The Qini's 95 % interval is {low:.3} to {high:.3}; above 0 the scores help."
        ),
        sample: format!("{} left out", many(count, "customer")),
        plot: Plot::Lines {
            axes: ["customers reached", "extra outcomes"],
            places: Vec::new(),
            lines: vec![
                Line { label: "at random", reference: true, points: random },
                Line { label: "by score", reference: false, points },
            ],
        },
        head: ["customers reached", "extra outcomes"].map(String::from).to_vec(),
        rows,
        ..Figure::default()
    }
}

/// What the highest scores gain against the lowest, and whether that may be chance.
fn between(what: &str, best: &Bar, last: &Bar) -> String {
    let half = |bar: &Bar| bar.interval.map_or(0.0, |(low, high)| 0.5 * (high - low));
    let apart = (best.value - last.value).abs() > half(best).hypot(half(last));
    let chance = if apart { "" } else { "; the difference may be chance" };
    let (best, last) = (figure(best.value), figure(last.value));
    format!("Where scores are highest, `{what}` changes by {best} points, where lowest by {last}{chance}")
}

/// The effect measured in the best, middle and last third by score.
#[expect(clippy::cast_precision_loss, reason = "counts of customers")]
fn thirds(what: &str, outcome: &[bool], treated: &[bool], score: &[f64]) -> Figure {
    let mut order: Vec<usize> = (0..score.len()).collect();
    order.sort_by(|&a, &b| score[b].total_cmp(&score[a]));
    let part = |i: usize| &order[i * order.len() / 3..(i + 1) * order.len() / 3];
    let rate = |rows: &[usize], arm: bool| {
        let rows: Vec<usize> = rows.iter().copied().filter(|&i| treated[i] == arm).collect();
        let n = (rows.len() as f64).max(1.0);
        let p = rows.iter().filter(|&&i| outcome[i]).count() as f64 / n;
        (p, p * (1.0 - p) / n)
    };
    let bars: Vec<Bar> = ["highest scores", "middle third", "lowest scores"]
        .into_iter()
        .enumerate()
        .map(|(i, name)| {
            let ((a, va), (b, vb)) = (rate(part(i), true), rate(part(i), false));
            let (effect, half) = (100.0 * (a - b), 196.0 * (va + vb).sqrt());
            Bar { label: name.into(), value: effect, interval: Some((effect - half, effect + half)) }
        })
        .collect();
    let rows = bars.iter().enumerate().map(|(i, bar)| {
        let (low, high) = bar.interval.unwrap_or_default();
        vec![bar.label.clone(), many(part(i).len(), "customer"), figure(bar.value), figure(low), figure(high)]
    });
    Figure {
        title: between(what, &bars[0], &bars[2]),
        note: "The difference between treated and untreated in each third of customers by score, in points, with 95 % intervals; zero is no effect.".into(),
        sample: format!("{} left out", many(score.len(), "customer")),
        rows: rows.collect(),
        plot: Plot::Dots(bars),
        unit: " points",
        head: ["third", "customers", "points", "low", "high"].map(String::from).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_has_a_direction_and_may_be_none() {
        assert_eq!(
            on_average("visit", 6.1, 0.6),
            "The treatment raises `visit` by 6.10 points on average (5.50 to 6.70)"
        );
        assert!(on_average("churn", -2.0, 0.5).starts_with("The treatment lowers `churn` by 2.00 points"));
        assert!(on_average("visit", 0.3, 0.5).contains("not proved to change"));
    }

    #[test]
    fn two_thirds_whose_intervals_leave_room_for_chance_say_so() {
        let third = |value, half| Bar { label: String::new(), value, interval: Some((value - half, value + half)) };
        assert!(between("visit", &third(6.8, 1.8), &third(4.9, 1.4)).ends_with("may be chance"));
        assert!(between("visit", &third(9.0, 1.8), &third(4.9, 1.4)).ends_with("by 4.9"));
    }
}
