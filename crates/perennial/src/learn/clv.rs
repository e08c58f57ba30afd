//! `learn clv`: what each customer is worth in the months to come.
//!
//! The repeat-buying model that explains the whole history best is used; how well it foresees is
//! measured by hiding the last quarter of the time from it. Absent on purpose: contracts, whose end is seen.

use std::path::PathBuf;

use clap::Args;
use perennial_learn::lifetime::{
    Fit, Model, Purchases, RepeatBuying, fit_best,
    gamma_gamma::{self, GammaGamma},
    summary::{Bought, HoldOut, Period, Summary, hold_out, summarise},
    value::{Horizon, WEEKS_PER_MONTH, discounted},
};

use super::frame::{self, Frame, short};
use super::orders::{self, History, Named, date_of};
use super::report::{Bar, Figure, Line, Plot, Report};
use super::{Common, finish, in_parallel, working};

/// Orders in, values out.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Orders: one row per order or line, with customer, date and amount.
    #[arg(long)]
    input: PathBuf,
    /// One row per customer.
    #[arg(long)]
    out: PathBuf,
    /// A readable page with figures.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Months to look ahead.
    #[arg(long, default_value_t = 12)]
    months: u32,
    /// What a month of waiting takes off money, as a share.
    #[arg(long, default_value_t = 0.01)]
    discount: f64,
    #[command(flatten)]
    columns: Named,
}

/// Customers whose values tell the interval of the mean.
const SAMPLE: usize = 2_000;

struct Valued {
    summary: Summary,
    fits: Vec<Fit<Model>>,
    money: Option<Fit<GammaGamma>>,
    horizon: Horizon,
    rows: Vec<Row>,
}

struct Row {
    alive: f64,
    expected: f64,
    spend: f64,
    value: f64,
    next_days: Option<f64>,
}

/// Reads, fits, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    let horizon = Horizon { periods: arguments.months, length: WEEKS_PER_MONTH, discount: arguments.discount };
    horizon.check().map_err(|why| why.to_string())?;
    let mut frame = Frame::read(&arguments.input, common.quiet)?;
    let history = orders::history(&mut frame, &arguments.columns)?;
    let bar = working("fitting", common.quiet);
    let foresight = foresee(&history);
    let valued = value(&history, horizon, common.threads).map_err(|why| frame.wrong(&why))?;
    bar.finish_and_clear();
    write(arguments, &history, &valued)?;
    let report = tell(&frame, &history, &valued, foresight);
    finish(&report, &arguments.out, arguments.report.as_deref())
}

fn bought(history: &History) -> Vec<Bought> {
    history.occasions.iter().map(|o| Bought { customer: o.customer, day: o.day, amount: o.amount }).collect()
}

/// First and last day of all.
fn span(history: &History) -> (i64, i64) {
    let days = || history.occasions.iter().map(|o| o.day);
    (days().min().unwrap_or(0), days().max().unwrap_or(0))
}

/// The model of the first three quarters, what it foretold for the last, and what came.
struct Foresight {
    errors: HoldOut,
    from: i64,
    model: &'static str,
    /// Repeat purchases so far, customers, foretold and actual purchases per customer.
    classes: Vec<(String, usize, f64, f64)>,
}

fn foresee(history: &History) -> Result<Foresight, String> {
    let (first, last) = span(history);
    let until = first + (last - first) * 3 / 4;
    let period = Period { until, follow_until: Some(last), days_per_unit: 7.0 };
    let summary = summarise(&bought(history), period).map_err(|why| why.to_string())?;
    let fits = fit_best(&summary.purchases).map_err(|why| why.to_string())?;
    let best = fits.first().ok_or("no model fits")?;
    #[expect(clippy::cast_precision_loss, reason = "days")]
    let weeks = (last - until) as f64 / 7.0;
    let foretold: Vec<f64> = summary.purchases.iter().map(|&c| best.model.expected_purchases(c, weeks)).collect();
    let errors = hold_out(&foretold, &summary.later).map_err(|why| why.to_string())?;
    let class = |c: &Purchases| c.frequency.min(7);
    let classes = (0..=7).filter_map(|wanted| {
        let rows: Vec<usize> = (0..foretold.len()).filter(|&i| class(&summary.purchases[i]) == wanted).collect();
        #[expect(clippy::cast_precision_loss, reason = "a count of customers")]
        let mean = |value: &dyn Fn(usize) -> f64| rows.iter().map(|&i| value(i)).sum::<f64>() / rows.len() as f64;
        let label = if wanted == 7 { "7+".into() } else { wanted.to_string() };
        (!rows.is_empty()).then(|| (label, rows.len(), mean(&|i| foretold[i]), mean(&|i| f64::from(summary.later[i]))))
    });
    Ok(Foresight { errors, from: until, model: name(&best.model), classes: classes.collect() })
}

fn name(model: &Model) -> &'static str {
    match model {
        Model::Bgnbd(_) => "BG/NBD",
        Model::Mbgnbd(_) => "MBG/NBD",
        Model::Pareto(_) => "Pareto/NBD",
    }
}

fn value(history: &History, horizon: Horizon, threads: usize) -> Result<Valued, String> {
    let (_, last) = span(history);
    // One day more, so that whoever came on the last day has been seen for some time.
    let period = Period { until: last + 1, follow_until: None, days_per_unit: 7.0 };
    let summary = summarise(&bought(history), period).map_err(|why| why.to_string())?;
    let fits = fit_best(&summary.purchases).map_err(|why| {
        format!("{why}. A lifetime needs customers who come again: is `{}` the right customer column?", "--customer")
    })?;
    let best = fits.first().ok_or("no model fits")?.model;
    let money = if history.has_amounts { gamma_gamma::fit(&summary.spend).ok() } else { None };
    let weeks = f64::from(horizon.periods) * horizon.length;
    let rows = in_parallel(summary.purchases.len(), threads, |i| {
        let customer = summary.purchases[i];
        let spend = money.as_ref().map_or(f64::NAN, |m| m.model.expected_spend(summary.spend[i]));
        Row {
            alive: best.p_alive(customer),
            expected: best.expected_purchases(customer, weeks),
            spend,
            value: if money.is_some() { discounted(&best, customer, spend, horizon) } else { f64::NAN },
            next_days: best.next_purchase(customer, 0.5).map(|weeks| weeks * 7.0),
        }
    });
    Ok(Valued { summary, fits, money, horizon, rows })
}

fn write(arguments: &Arguments, history: &History, valued: &Valued) -> Result<(), String> {
    let mut last: Vec<(u32, i64, i64)> = vec![(0, i64::MAX, i64::MIN); history.names.len()];
    for o in &history.occasions {
        if let Some(entry) = usize::try_from(o.customer).ok().and_then(|at| last.get_mut(at)) {
            *entry = (entry.0 + 1, entry.1.min(o.day), entry.2.max(o.day));
        }
    }
    let months = arguments.months;
    let (expected, clv) = (format!("expected_orders_{months}m"), format!("clv_{months}m"));
    let header = [
        "customer_id",
        "orders",
        "first_order",
        "last_order",
        "p_alive",
        &expected,
        "expected_order_value",
        &clv,
        "days_to_next_order",
    ];
    let rows = valued.summary.customer.iter().zip(&valued.rows).map(|(&customer, row)| {
        let at = usize::try_from(customer).unwrap_or(0);
        let (orders, first, until) = last[at];
        [
            history.names[at].clone(),
            orders.to_string(),
            date_of(first),
            date_of(until),
            format!("{:.4}", row.alive),
            format!("{:.4}", row.expected),
            if row.spend.is_finite() { format!("{:.2}", row.spend) } else { String::new() },
            if row.value.is_finite() { format!("{:.2}", row.value) } else { String::new() },
            row.next_days.map_or(String::new(), |days| format!("{days:.0}")),
        ]
    });
    frame::write(&arguments.out, &header, rows)
}

fn tell(frame: &Frame, history: &History, valued: &Valued, foresight: Result<Foresight, String>) -> Report {
    let money = valued.money.is_some();
    let mut values: Vec<f64> = valued.rows.iter().map(|row| if money { row.value } else { row.expected }).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    let total: f64 = values.iter().sum();
    let what = if money { "value" } else { "orders" };
    let months = valued.horizon.periods;
    let tenth = values.len().div_ceil(10);
    let share = 100.0 * values[..tenth].iter().sum::<f64>() / total.max(1e-12);
    let finding = format!(
        "The best tenth of {} customers will bring {share:.0} % of the {what} expected in the next {months} months.",
        values.len()
    );
    let (first, last) = span(history);
    let mut notes = history.notes.clone();
    notes.insert(
        0,
        format!(
            "{}: {} purchase days of {} customers, {} to {}.",
            frame.name(),
            history.occasions.len(),
            history.names.len(),
            date_of(first),
            date_of(last)
        ),
    );
    let others: Vec<String> =
        valued.fits.iter().map(|fit| format!("{} {:.1}", name(&fit.model), fit.log_likelihood)).collect();
    notes.push(format!(
        "Chosen: {} (log-likelihood, higher is better: {}).",
        name(&valued.fits[0].model),
        others.join(", ")
    ));
    if history.has_amounts && !money {
        notes.push("The amounts of repeat orders do not vary enough for a model of spending, so there are expected orders but no value.".into());
    } else if !money {
        notes.push("There is no column of amounts (see --amount), so there are expected orders but no value.".into());
    }
    if let Some(r) = gamma_gamma::correlation(&valued.summary.spend).filter(|r| money && r.abs() > 0.3) {
        notes.push(format!("Frequent customers spend {} per order (correlation {r:.2}); the model takes both as unrelated, so read values of extremes with care.", if r > 0.0 { "more" } else { "less" }));
    }
    notes.push(mean_sentence(valued, money, what, months));
    let mut figures = vec![tenths(&values, total, what, months)];
    match foresight {
        Ok(foresight) => {
            let e = &foresight.errors;
            notes.push(format!(
                "Validation: a {} model of the time until {} foretold {:.0} purchases for the rest; {:.0} came (mean error per customer {:.3}, correlation {:.2}).",
                foresight.model, date_of(foresight.from), e.predicted, e.actual, e.mae, e.correlation
            ));
            figures.push(foresight_figure(&foresight));
        }
        Err(why) => notes.push(format!("Validation was not possible: {why}.")),
    }
    Report { finding, notes, figures }
}

#[expect(clippy::cast_precision_loss, reason = "counts of customers")]
fn mean_sentence(valued: &Valued, money: bool, what: &str, months: u32) -> String {
    let every = valued.rows.len().div_ceil(SAMPLE);
    let picked: Vec<usize> = (0..valued.rows.len()).step_by(every).collect();
    let mean_of = |model: &Model| {
        let one = |&i: &usize| {
            let (customer, row) = (valued.summary.purchases[i], &valued.rows[i]);
            if money {
                discounted(model, customer, row.spend, valued.horizon)
            } else {
                model.expected_purchases(customer, f64::from(valued.horizon.periods) * valued.horizon.length)
            }
        };
        picked.iter().map(one).sum::<f64>() / picked.len() as f64
    };
    let all =
        valued.rows.iter().map(|r| if money { r.value } else { r.expected }).sum::<f64>() / valued.rows.len() as f64;
    let error = standard_error(&valued.fits[0], mean_of);
    match error {
        Some(error) => format!(
            "Mean {what} per customer in {months} months: {} ({} to {}, from the uncertainty of the model's parameters).",
            short(all),
            short(all - 1.96 * error),
            short(all + 1.96 * error)
        ),
        None => format!("Mean {what} per customer in {months} months: {}.", short(all)),
    }
}

/// The standard error of an answer of the chosen model.
fn standard_error(fit: &Fit<Model>, answer: impl Fn(&Model) -> f64) -> Option<f64> {
    match fit.model {
        Model::Bgnbd(m) => refit(fit, m).standard_error_of(|m| answer(&Model::Bgnbd(*m))),
        Model::Mbgnbd(m) => refit(fit, m).standard_error_of(|m| answer(&Model::Mbgnbd(*m))),
        Model::Pareto(m) => refit(fit, m).standard_error_of(|m| answer(&Model::Pareto(*m))),
    }
}

fn refit<M>(fit: &Fit<Model>, model: M) -> Fit<M> {
    fit.clone().map(|_| model)
}

#[expect(clippy::cast_precision_loss, reason = "counts of customers")]
fn tenths(values: &[f64], total: f64, what: &str, months: u32) -> Figure {
    let size = values.len() as f64 / 10.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positions in a list")]
    let part = |i: usize| {
        &values[((i as f64 * size) as usize).min(values.len())..(((i + 1) as f64 * size) as usize).min(values.len())]
    };
    let bars: Vec<Bar> = (0..10.min(values.len()))
        .map(|i| Bar {
            label: format!("tenth {}", i + 1),
            value: 100.0 * part(i).iter().sum::<f64>() / total.max(1e-12),
            interval: None,
        })
        .collect();
    let rows = bars
        .iter()
        .enumerate()
        .map(|(i, bar)| vec![bar.label.clone(), part(i).len().to_string(), short(bar.value)])
        .collect();
    let half = (0..10)
        .scan(0.0, |sum, i| {
            *sum += bars.get(i).map_or(0.0, |b| b.value);
            Some(*sum)
        })
        .position(|sum| sum >= 50.0)
        .map_or(10, |i| i + 1);
    Figure {
        title: format!("{half} in ten customers bring half of the expected {what}"),
        note: format!(
            "Per cent of the {what} expected in the next {months} months, customers sorted by it; n = {}.",
            values.len()
        ),
        plot: Plot::Bars(bars),
        head: ["customers", "n", "per cent"].map(String::from).to_vec(),
        rows,
    }
}

fn foresight_figure(foresight: &Foresight) -> Figure {
    let e = &foresight.errors;
    let off = 100.0 * (e.predicted / e.actual.max(1e-12) - 1.0);
    #[expect(clippy::cast_precision_loss, reason = "eight classes")]
    let points = |pick: &dyn Fn(&(String, usize, f64, f64)) -> f64| {
        foresight.classes.iter().enumerate().map(|(i, c)| (i as f64, pick(c), None)).collect()
    };
    let lines = vec![
        Line { label: "foretold", reference: false, points: points(&|c| c.2) },
        Line { label: "came", reference: true, points: points(&|c| c.3) },
    ];
    let rows = foresight
        .classes
        .iter()
        .map(|(label, n, told, came)| vec![label.clone(), n.to_string(), short(*told), short(*came)])
        .collect();
    Figure {
        title: format!(
            "Hidden purchases were foretold {:.0} per cent too {}",
            off.abs(),
            if off < 0.0 { "low" } else { "high" }
        ),
        note: format!(
            "Purchases per customer after {}, by repeat purchases until then; the model had not seen them.",
            date_of(foresight.from)
        ),
        plot: Plot::Lines {
            axes: ["repeat purchases until then (7 means 7 or more)", "purchases per customer"],
            lines,
        },
        head: ["repeat purchases", "customers", "foretold", "came"].map(String::from).to_vec(),
        rows,
    }
}
