//! `learn uplift`: whom a message changes, from an experiment that drew lots.
//!
//! Two thirds of the rows teach, one third measures; everybody is scored by the model so taught.
//! Absent on purpose: treatments that somebody chose; their effects cannot be read off like this.

use std::path::PathBuf;

use clap::Args;
use perennial_learn::input::BadInput;
use perennial_learn::table::{Table, stratified_folds};
use perennial_learn::uplift::{self, Trained, metrics};

use super::frame::{self, Frame, short};
use super::orders;
use super::propensity::IDS;
use super::report::{Figure, Line, Plot, Report};
use super::{Common, finish, working};

/// An experiment in, effects out.
#[derive(Args, Debug)]
pub struct Arguments {
    /// One row per customer: features known before, the treatment drawn by lot, the outcome.
    #[arg(long)]
    input: PathBuf,
    /// The effect foretold for each customer.
    #[arg(long)]
    out: PathBuf,
    /// The column of the treatment.
    #[arg(long)]
    treatment: Option<String>,
    /// The value of the treatment that means none; every other value is treated.
    #[arg(long)]
    control: Option<String>,
    /// The column of the outcome, yes or no.
    #[arg(long)]
    outcome: Option<String>,
    /// The column that names the customer.
    #[arg(long)]
    id: Option<String>,
    /// Columns not to learn from: everything that was known only after the treatment.
    #[arg(long, value_delimiter = ',')]
    ignore: Vec<String>,
    /// A readable page with figures.
    #[arg(long)]
    report: Option<PathBuf>,
}

const TREATMENTS: [&str; 8] =
    ["treatment", "treated", "treatmentgroup", "arm", "variant", "exposure", "group", "segment"];
const OUTCOMES: [&str; 9] =
    ["outcome", "conversion", "converted", "visit", "response", "purchased", "bought", "label", "y"];

struct Trial {
    table: Table,
    treated: Vec<bool>,
    outcome: Vec<bool>,
}

/// Reads, fits, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    let frame = Frame::read(&arguments.input, common.quiet)?;
    let ask = |what: &str, option: &str| {
        frame.wrong(&format!("which column is the {what}? name it with {option}; the columns are {}", frame.listed()))
    };
    let treatment = frame
        .named_or_usual(arguments.treatment.as_deref(), &TREATMENTS)?
        .ok_or_else(|| ask("treatment", "--treatment"))?;
    let outcome =
        frame.named_or_usual(arguments.outcome.as_deref(), &OUTCOMES)?.ok_or_else(|| ask("outcome", "--outcome"))?;
    let id = frame.named_or_usual(arguments.id.as_deref(), &IDS)?.filter(|at| ![treatment, outcome].contains(at));
    let mut without = frame.all_of(&arguments.ignore)?;
    without.extend([treatment, outcome].into_iter().chain(id));
    let trial = Trial {
        table: frame.features(&without)?,
        treated: treated(&frame, treatment, arguments)?,
        outcome: yes(&frame, outcome)?,
    };
    let bar = working("fitting", common.quiet);
    let told = |why: BadInput| frame.wrong(&why.to_string());
    let class: Vec<usize> =
        (0..trial.treated.len()).map(|i| usize::from(trial.treated[i]) + 2 * usize::from(trial.outcome[i])).collect();
    let fold = stratified_folds(&class, 3, common.seed);
    let (test, train): (Vec<usize>, Vec<usize>) = (0..fold.len()).partition(|&i| fold[i] == 0);
    let of = |flags: &[bool], rows: &[usize]| rows.iter().map(|&i| flags[i]).collect::<Vec<bool>>();
    let answer: Vec<f64> = train.iter().map(|&i| f64::from(u8::from(trial.outcome[i]))).collect();
    let taught =
        uplift::fit(&trial.table.take(&train).map_err(told)?, &of(&trial.treated, &train), &answer, common.seed)
            .map_err(told)?;
    let effects = taught.effect.uplift(&trial.table).map_err(told)?;
    bar.finish_and_clear();
    let ids = frame.ids(id);
    let rows = (0..ids.len())
        .map(|i| [ids[i].clone(), format!("{:.6}", effects[i]), if fold[i] == 0 { "yes".into() } else { "no".into() }]);
    frame::write(&arguments.out, &["customer_id", "uplift", "held_out"], rows)?;
    let score: Vec<f64> = test.iter().map(|&i| effects[i]).collect();
    let names = [treatment, outcome].map(|at| frame.header[at].clone());
    let used: Vec<String> = trial.table.columns().iter().map(|c| format!("`{}`", c.name)).collect();
    let mut report =
        tell(&taught, &of(&trial.outcome, &test), &of(&trial.treated, &test), &score, common.seed).map_err(told)?;
    report.notes.insert(0, format!("{}: {} rows; treatment `{}`, outcome `{}`; learnt from {}. Whatever was known only after the treatment must not be among these (--ignore).", frame.name(), fold.len(), names[0], names[1], used.join(", ")));
    finish(&report, &arguments.out, arguments.report.as_deref())
}

fn treated(frame: &Frame, at: usize, arguments: &Arguments) -> Result<Vec<bool>, String> {
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
    let name = &frame.header[at];
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
    match frame.flags(at, None) {
        Ok((flags, _)) => Ok(flags),
        Err(why) => {
            let numbers = orders::numbers(frame, at).map_err(|_| why)?;
            let flags: Vec<bool> = numbers.iter().map(|v| *v > 0.0).collect();
            if flags.iter().all(|y| *y == flags[0]) {
                return Err(frame.wrong(&format!("`{}` has only one outcome; give rows of both", frame.header[at])));
            }
            Ok(flags)
        }
    }
}

fn tell(taught: &Trained, outcome: &[bool], treated: &[bool], score: &[f64], seed: u64) -> Result<Report, BadInput> {
    let told = metrics::measure(outcome, treated, score, 0.3)?;
    let [qini, _] = metrics::intervals(outcome, treated, score, 200, 0.95, seed)?;
    let mut notes: Vec<String> = taught.report.to_string().lines().map(str::to_owned).collect();
    notes.push(format!("Validation: normalised Qini {:.4} ({:.4} to {:.4}) on {} customers left out (0 is a random order, 1 a perfect one).", told.qini_auc, qini.low, qini.high, score.len()));
    notes.push(format!(
        "Among the best 30 % of them the treatment changes the outcome by {:.2} points.",
        100.0 * told.uplift_at_share_by_group
    ));
    let curve = metrics::qini_curve(outcome, treated, score)?;
    let step = curve.len().div_ceil(60).max(1);
    let mut points: Vec<(f64, f64, Option<(f64, f64)>)> =
        curve.iter().step_by(step).map(|p| (p.customers, p.gained, None)).collect();
    let end = curve.last().map_or((0.0, 0.0, None), |p| (p.customers, p.gained, None));
    points.push(end);
    let rows = points.iter().map(|p| vec![format!("{:.0}", p.0), short(p.1)]).collect();
    let lines = vec![
        Line { label: "random", reference: true, points: vec![(0.0, 0.0, None), end] },
        Line { label: "by uplift", reference: false, points },
    ];
    let sure = qini.low > 0.0;
    let figure = Figure {
        title: if sure {
            "Reaching the highest scores first gains more than a random order".into()
        } else {
            "The scores are not proved to beat a random order".to_owned()
        },
        note: format!(
            "Extra outcomes among the treated as more customers are reached; {} customers left out; Qini {:.3} ({:.3} to {:.3}).",
            score.len(),
            told.qini_auc,
            qini.low,
            qini.high
        ),
        plot: Plot::Lines { axes: ["customers reached", "extra outcomes"], lines },
        head: ["customers reached", "extra outcomes"].map(String::from).to_vec(),
        rows,
    };
    let effect = 100.0 * taught.report.mean_effect;
    let half = 196.0 * taught.report.mean_effect_error;
    let finding = format!(
        "The treatment changes the outcome by {effect:.2} points on average ({:.2} to {:.2}).",
        effect - half,
        effect + half
    );
    Ok(Report { finding, notes, figures: vec![figure] })
}
