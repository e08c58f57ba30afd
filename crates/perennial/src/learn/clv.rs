//! `learn clv`: what each customer is worth in the months to come.
//!
//! The repeat-buying model that explains the whole history best is used; how well it foresees is
//! measured by hiding the last quarter of the time from it. Absent on purpose: contracts, whose end is seen.

mod tell;

use std::path::PathBuf;

use clap::Args;
use perennial_learn::lifetime::{
    Fit, Model, Parameters as _, Purchases, RepeatBuying, bgnbd, fit_best,
    gamma_gamma::{self, GammaGamma, Spend},
    mbgnbd, pareto,
    range::Outlook,
    summary::{Bought, HoldOut, Period, Summary, hold_out, summarise},
    value::{Horizon, WEEKS_PER_MONTH, discounted},
};

use perennial_learn::seed;

use super::dates::date_of;
use super::frame::Frame;
use super::orders::{self, History, Named, Roles};
use super::page::Page;
use super::{Common, Outputs, in_parallel, working};

/// Orders in, values out.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  perennial learn clv --input orders.csv --out values.csv --report values.html\n\n\
The value of a customer is expected orders times expected order value, later months discounted: money not\n\
yet spent, without costs. The report shows how well the same method foretold your last quarter.")]
pub struct Arguments {
    /// Orders: one row per order or line, with customer, date and amount.
    #[arg(long, value_name = "ORDERS.csv")]
    input: PathBuf,
    #[command(flatten)]
    outputs: Outputs,
    /// Months to look ahead.
    #[arg(long, default_value_t = 12, value_name = "NUMBER")]
    months: u32,
    /// What a month of waiting takes off money, as a share.
    #[arg(long, default_value_t = 0.01, value_name = "SHARE")]
    discount: f64,
    #[command(flatten)]
    columns: Named,
}

/// Reads, fits, writes.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    let horizon = horizon(arguments.months, arguments.discount)?;
    let drafts = arguments.outputs.begin(&[&arguments.input])?;
    let frame = Frame::read(&arguments.input, common.quiet)?;
    let roles = Roles::find(&frame, &arguments.columns)?;
    let history = orders::history(&frame, &roles, &arguments.columns)?;
    let bar = working("fitting", common.quiet);
    let study = Study::of(&history, horizon, common).map_err(|why| frame.wrong(&why))?;
    bar.finish_and_clear();
    let header = study.header();
    let header: Vec<&str> = std::iter::once("customer_id").chain(header.iter().map(String::as_str)).collect();
    let rows = study.customers().map(|(at, name)| std::iter::once(name.to_owned()).chain(study.cells(at)));
    drafts.csv(&arguments.outputs.out, &header, rows)?;
    let mut chapter = study.chapter();
    chapter.how.extend(history.reading.sentences());
    let page = Page {
        kind: "What customers are worth",
        finding: chapter.finding.clone(),
        source: history.source(&frame),
        chapters: vec![chapter],
        ..Page::default()
    };
    arguments.outputs.finish(drafts, page, "a customer with the value expected")
}

/// Checks what a caller asked for.
pub(super) fn horizon(months: u32, discount: f64) -> Result<Horizon, String> {
    if !(1..=120).contains(&months) {
        return Err(format!("--months {months} cannot be foretold; give 1 to 120"));
    }
    let horizon = Horizon { periods: months, length: WEEKS_PER_MONTH, discount };
    let share = |horizon: &Horizon| horizon.check().is_ok() && discount < 1.0;
    Some(horizon)
        .filter(share)
        .ok_or_else(|| format!("--discount {discount} is no share; give 0.01 for one per cent a month"))?;
    Ok(horizon)
}

/// What customers spend on a day with purchases.
enum Money {
    /// There are no amounts.
    None,
    /// Customers differ, and the model says how much of it is chance.
    Model(Fit<GammaGamma>),
    /// The amounts do not tell customers apart: everybody spends the mean.
    Mean(f64),
}

/// Customers, the models of them, and what these say.
pub(super) struct Study<'a> {
    history: &'a History,
    summary: Summary,
    fits: Vec<Fit<Model>>,
    /// The chosen model of customers drawn anew, where the likelihood is too flat to state errors.
    redrawn: Vec<Model>,
    money: Money,
    horizon: Horizon,
    rows: Vec<Row>,
    foresight: Result<Foresight, String>,
    /// First day, last day, days with purchases, and money of each customer.
    seen: Vec<(i64, i64, u32, f64)>,
}

/// What is expected of one customer.
pub(super) struct Row {
    alive: f64,
    /// Orders expected, and the range that holds them with 80 %.
    expected: f64,
    range: (u32, u32),
    spend: f64,
    /// Discounted money; not a number without amounts.
    pub(super) value: f64,
    next_days: Option<f64>,
}

/// The model of the first three quarters, what it foretold for the last, and what came.
struct Foresight {
    errors: HoldOut,
    from: i64,
    model: &'static str,
    customers: usize,
    /// Share of customers whose purchases lay in their range.
    held: f64,
    classes: Vec<Class>,
}

/// Customers with equally many repeat purchases so far.
struct Class {
    label: String,
    customers: usize,
    foretold: f64,
    came: f64,
    /// Standard error of the mean that came.
    error: f64,
}

/// Ranges leave out so much at each end.
const OUTSIDE: f64 = 0.1;

impl<'a> Study<'a> {
    /// Fits everything.
    pub(super) fn of(history: &'a History, horizon: Horizon, common: &Common) -> Result<Self, String> {
        let (_, last) = history.span();
        // One day more, so that whoever came on the last day has been seen for some time.
        let period = Period { until: last + 1, follow_until: None, days_per_unit: 7.0 };
        let summary = summarise(&bought(history), period).map_err(|why| why.to_string())?;
        if summary.purchases.iter().all(|c| c.frequency == 0) {
            let left = history.reading.left().join(" ");
            return Err(format!(
                "nobody bought on two different days, so nothing says how often customers come again; give a longer history, or is another column the customer? see --customer. {left}"
            ));
        }
        let fits = fit_best(&summary.purchases).map_err(|why| {
            format!("{why}. A value needs customers who come again: is the right column the customer? see --customer")
        })?;
        let model = fits.first().ok_or("no model fits")?.model;
        let money = Money::of(history, &summary.spend);
        let redrawn =
            if fits[0].covariance.is_none() { redraw(&summary.purchases, &model, common.seed) } else { Vec::new() };
        let rows = in_parallel(summary.purchases.len(), common.threads(), |at| {
            Row::of(&model, &money, summary.purchases[at], summary.spend[at], horizon)
        });
        let mut seen: Vec<(i64, i64, u32, f64)> = Vec::new();
        for days in history.occasions.chunk_by(|a, b| a.customer == b.customer) {
            let (first, last) = (days.first().map_or(0, |o| o.day), days.last().map_or(0, |o| o.day));
            let count = u32::try_from(days.len()).unwrap_or(u32::MAX);
            seen.push((first, last, count, days.iter().map(|o| o.amount).sum()));
        }
        Ok(Self { history, foresight: foresee(history), summary, fits, redrawn, money, horizon, rows, seen })
    }

    fn model(&self) -> &Model {
        &self.fits[0].model
    }

    fn has_money(&self) -> bool {
        !matches!(self.money, Money::None)
    }

    /// What is counted: money, or orders where there are no amounts.
    pub(super) fn worth(&self, row: &Row) -> f64 {
        if self.has_money() { row.value } else { row.expected }
    }

    /// Positions and names of the customers.
    pub(super) fn customers(&self) -> impl Iterator<Item = (usize, &str)> {
        (0..self.rows.len()).map(|at| (at, self.name(at)))
    }

    /// What is expected of the customer at a position.
    pub(super) fn row(&self, at: usize) -> &Row {
        &self.rows[at]
    }

    fn name(&self, at: usize) -> &str {
        &self.history.names[self.number(at)]
    }

    /// The customer's number in the history.
    fn number(&self, at: usize) -> usize {
        usize::try_from(self.summary.customer[at]).unwrap_or(0)
    }

    /// Names of the columns of [`Self::cells`].
    pub(super) fn header(&self) -> Vec<String> {
        let months = self.horizon.periods;
        let named = ["orders", "first_order", "last_order", "p_alive"].map(String::from);
        let expected =
            [String::new(), "_low".into(), "_high".into()].map(|end| format!("expected_orders_{months}m{end}"));
        let value = ["expected_order_value".into(), format!("clv_{months}m"), "days_to_next_order".into()];
        named.into_iter().chain(expected).chain(value).collect()
    }

    /// What is known and expected of one customer, for a table.
    pub(super) fn cells(&self, at: usize) -> Vec<String> {
        let row = &self.rows[at];
        let (first, last, orders, _) = self.seen[self.number(at)];
        let money = |value: f64| if value.is_finite() { format!("{value:.2}") } else { String::new() };
        vec![
            orders.to_string(),
            date_of(first),
            date_of(last),
            format!("{:.4}", row.alive),
            format!("{:.4}", row.expected),
            row.range.0.to_string(),
            row.range.1.to_string(),
            money(row.spend),
            money(row.value),
            row.next_days.map_or(String::new(), |days| format!("{days:.0}")),
        ]
    }
}

impl Money {
    fn of(history: &History, spend: &[Spend]) -> Self {
        if !history.has_amounts {
            return Self::None;
        }
        match gamma_gamma::fit(spend) {
            Ok(fit) if fit.model.population_mean().is_finite() => Self::Model(fit),
            _ => {
                #[expect(clippy::cast_precision_loss, reason = "a count of purchases")]
                let count = history.occasions.len() as f64;
                Self::Mean(history.occasions.iter().map(|o| o.amount).sum::<f64>() / count)
            }
        }
    }

    fn expected(&self, spend: Spend) -> f64 {
        match self {
            Self::None => f64::NAN,
            Self::Model(fit) => fit.model.expected_spend(spend),
            Self::Mean(mean) => *mean,
        }
    }
}

impl Row {
    fn of(model: &Model, money: &Money, customer: Purchases, spend: Spend, horizon: Horizon) -> Self {
        let outlook = outlook(model, customer, weeks(horizon));
        let spend = money.expected(spend);
        Self {
            alive: model.p_alive(customer),
            expected: outlook.expected,
            range: (outlook.quantile(OUTSIDE), outlook.quantile(1.0 - OUTSIDE)),
            spend,
            value: if spend.is_finite() { discounted(model, customer, spend, horizon) } else { f64::NAN },
            next_days: model.next_purchase(customer, 0.5).map(|weeks| weeks * 7.0),
        }
    }
}

fn weeks(horizon: Horizon) -> f64 {
    f64::from(horizon.periods) * horizon.length
}

fn outlook(model: &Model, customer: Purchases, weeks: f64) -> Outlook {
    let prior = match model {
        Model::Bgnbd(m) => m.values(),
        Model::Mbgnbd(m) => m.values(),
        Model::Pareto(m) => m.values(),
    };
    Outlook::of(model, prior[0], customer, weeks)
}

fn bought(history: &History) -> Vec<Bought> {
    history.occasions.iter().map(|o| Bought { customer: o.customer, day: o.day, amount: o.amount }).collect()
}

fn name(model: &Model) -> &'static str {
    match model {
        Model::Bgnbd(_) => "BG/NBD",
        Model::Mbgnbd(_) => "MBG/NBD",
        Model::Pareto(_) => "Pareto/NBD",
    }
}

/// Samples that tell how surely a model is known whose likelihood does not.
const REDRAWN: usize = 24;

/// Fits the same kind of model to customers drawn anew (Efron 1979).
fn redraw(customers: &[Purchases], model: &Model, seed: u64) -> Vec<Model> {
    let mut rng = seed::generator(seed);
    let fit = |sample: &[Purchases]| match model {
        Model::Bgnbd(_) => bgnbd::fit(sample).map(|fit| Model::Bgnbd(fit.model)),
        Model::Mbgnbd(_) => mbgnbd::fit(sample).map(|fit| Model::Mbgnbd(fit.model)),
        Model::Pareto(_) => pareto::fit(sample).map(|fit| Model::Pareto(fit.model)),
    };
    let samples = (0..REDRAWN).map(|_| {
        let sample: Vec<Purchases> =
            (0..customers.len()).map(|_| customers[seed::below(&mut rng, customers.len())]).collect();
        fit(&sample)
    });
    samples.filter_map(Result::ok).collect()
}

/// Hides the last quarter of the time, and compares what a model of the rest foretells with what came.
fn foresee(history: &History) -> Result<Foresight, String> {
    let (first, last) = history.span();
    let until = first + (last - first) * 3 / 4;
    let period = Period { until, follow_until: Some(last), days_per_unit: 7.0 };
    let summary = summarise(&bought(history), period).map_err(|why| why.to_string())?;
    let fits = fit_best(&summary.purchases).map_err(|why| why.to_string())?;
    let model = fits.first().ok_or("no model fits")?.model;
    #[expect(clippy::cast_precision_loss, reason = "days")]
    let weeks = (last - until) as f64 / 7.0;
    let outlooks: Vec<Outlook> = summary.purchases.iter().map(|&c| outlook(&model, c, weeks)).collect();
    let foretold: Vec<f64> = outlooks.iter().map(|o| o.expected).collect();
    let within = |(outlook, &came): (&Outlook, &u32)| {
        (outlook.quantile(OUTSIDE)..=outlook.quantile(1.0 - OUTSIDE)).contains(&came)
    };
    let held = outlooks.iter().zip(&summary.later).filter(|pair| within(*pair)).count();
    let errors = hold_out(&foretold, &summary.later).map_err(|why| why.to_string())?;
    let classes = (0..=7).filter_map(|wanted| Class::of(wanted, &summary, &foretold)).collect();
    let customers = foretold.len();
    #[expect(clippy::cast_precision_loss, reason = "counts of customers")]
    let held = held as f64 / customers.max(1) as f64;
    Ok(Foresight { errors, from: until, model: name(&model), customers, held, classes })
}

impl Class {
    /// Those with `wanted` repeat purchases; seven stands for more, too.
    #[expect(clippy::cast_precision_loss, reason = "counts of customers")]
    fn of(wanted: u32, summary: &Summary, foretold: &[f64]) -> Option<Self> {
        let member = |at: &usize| summary.purchases[*at].frequency.min(7) == wanted;
        let rows: Vec<usize> = (0..foretold.len()).filter(member).collect();
        let n = rows.len() as f64;
        let came = rows.iter().map(|&at| f64::from(summary.later[at])).sum::<f64>() / n;
        let squares = rows.iter().map(|&at| (f64::from(summary.later[at]) - came).powi(2)).sum::<f64>();
        let told = rows.iter().map(|&at| foretold[at]).sum::<f64>() / n;
        let label = if wanted == 7 { "7 or more".into() } else { wanted.to_string() };
        let error = (squares / (n - 1.0).max(1.0) / n).sqrt();
        (!rows.is_empty()).then_some(Self { label, customers: rows.len(), foretold: told, came, error })
    }
}
