//! The model of value: will a customer come again, how often, and for how much?
//!
//! MBG/NBD reads days with an order, Gamma-Gamma what they were worth (Batislam, Denizel & Filiztekin
//! 2007; Fader & Hardie 2013). Chosen over BG/NBD because it lets a customer who ordered once be gone.
//! How good it is is measured by hiding the last quarter of the time from it.

use perennial_core::score::{Basis, Model, ModelKind, Score};
use perennial_learn::lifetime::gamma_gamma::{self, GammaGamma, Spend};
use perennial_learn::lifetime::mbgnbd::{self, Mbgnbd};
use perennial_learn::lifetime::range::Outlook;
use perennial_learn::lifetime::summary::{HoldOut, hold_out};
use perennial_learn::lifetime::{Purchases, RepeatBuying as _};
use serde::{Deserialize, Serialize};

use super::history::{Days, History, day_of};
use super::{DAY_MS, Progress, Untrained, encode, millionths, parts_per_million};

/// Customers with an order that the model needs.
pub const CUSTOMERS_MIN: usize = 200;
/// Customers who came again that it needs.
pub const AGAIN_MIN: usize = 50;
/// Days of history that it needs.
pub const DAYS_MIN: i32 = 56;
/// Days that `clv_12m` looks ahead.
const YEAR: f64 = 365.0;
/// Days that `churn_risk` looks ahead.
const CHURN: f64 = 90.0;
/// Days that `next_purchase` looks ahead at most.
const FAR: i64 = 730;
const WEEK: f64 = 7.0;

/// The published model; times are weeks, money is minor units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    buying: Mbgnbd,
    money: GammaGamma,
}

/// Trains on a history.
///
/// # Errors
/// [`Untrained`], with the reason in words.
pub fn train(history: &History, version: u32, progress: &Progress) -> Result<Model, Untrained> {
    thick_enough(history)?;
    progress.begin(3);
    let foresight = foresee(history);
    progress.step(1)?;
    let bases = history.bases();
    let failed = |why: perennial_learn::input::BadInput| Untrained::Failed(why.to_string());
    let buying = mbgnbd::fit(&bases.iter().map(purchases).collect::<Vec<_>>()).map_err(failed)?.model;
    progress.step(1)?;
    let spends: Vec<Spend> = bases.iter().map(spend).filter(|s| s.mean > 0.0).collect();
    let money = gamma_gamma::fit(&spends).map_err(failed)?.model;
    progress.step(1)?;
    let model = Value { buying, money };
    if bases.iter().any(|basis| model.score(basis).is_none()) {
        return Err(Untrained::Failed("these orders are worth no finite number to it".into()));
    }
    let mut figures = Vec::new();
    if let Some(told) = foresight {
        figures.push(("orders_foretold".into(), millionths(told.predicted)));
        figures.push(("orders_that_came".into(), millionths(told.actual)));
        figures.push(("error_per_customer".into(), millionths(told.mae)));
        figures.push(("correlation".into(), millionths(told.correlation)));
    }
    Ok(Model {
        kind: ModelKind::Value,
        version,
        method: "MBG/NBD and Gamma-Gamma".into(),
        from: history.earliest,
        until: history.latest,
        position: history.position,
        customers: history.customers() as u64,
        orders: history.orders,
        seed: 0,
        figures,
        body: encode(&model)?,
    })
}

fn thick_enough(history: &History) -> Result<(), Untrained> {
    let (customers, again) = (history.customers(), history.iter().filter(Days::came_again).count());
    let (first, last) = if customers > 0 { history.span() } else { (0, 0) };
    let thin = |sentence: String| Err(Untrained::Thin(sentence));
    if customers < CUSTOMERS_MIN {
        return thin(format!("{customers} customers have ordered, {CUSTOMERS_MIN} are needed"));
    }
    if again < AGAIN_MIN {
        return thin(format!("{again} customers came again, {AGAIN_MIN} are needed"));
    }
    if last - first < DAYS_MIN {
        return thin(format!("orders span {} days, {DAYS_MIN} are needed", last - first));
    }
    Ok(())
}

impl Days<'_> {
    fn came_again(&self) -> bool {
        self.days.len() > 1 || self.older > 0
    }

    /// The history up to a day, and the days with an order after it; nothing of who came later.
    fn cut(&self, until: i32) -> Option<(Purchases, u32)> {
        let known = self.days.partition_point(|(day, _)| *day <= until);
        if self.first >= until || (known == 0 && self.older == 0) {
            return None;
        }
        let last = known.checked_sub(1).map_or(self.first, |at| self.days[at].0);
        let seen = u32::try_from(known).unwrap_or(u32::MAX).saturating_add(self.older);
        let later = u32::try_from(self.days.len() - known).unwrap_or(u32::MAX);
        Some((bought(seen, self.first, last, until), later))
    }
}

/// What a model of the first three quarters foretold for the last one, and what came.
fn foresee(history: &History) -> Option<HoldOut> {
    let (first, last) = history.span();
    let until = first + (last - first) / 4 * 3;
    let (known, later): (Vec<Purchases>, Vec<u32>) = history.iter().filter_map(|own| own.cut(until)).unzip();
    let model = mbgnbd::fit(&known).ok()?.model;
    let weeks = f64::from(last - until) / WEEK;
    let foretold: Vec<f64> = known.iter().map(|c| model.expected_purchases(*c, weeks)).collect();
    hold_out(&foretold, &later).ok()
}

/// Days with an order as repeat buying reads them. Somebody is observed from the day after the first.
fn bought(orders: u32, first: i32, last: i32, at: i32) -> Purchases {
    let weeks = |days: i32| f64::from(days) / WEEK;
    let frequency = if last > first { orders.saturating_sub(1) } else { 0 };
    let recency = if frequency > 0 { weeks(last - first) } else { 0.0 };
    Purchases { frequency, recency, age: weeks((at - first).max(last - first).max(1)) }
}

fn purchases(basis: &Basis) -> Purchases {
    bought(basis.orders, day_of(basis.first), day_of(basis.last), day_of(basis.at) + 1)
}

#[expect(clippy::cast_precision_loss, reason = "money below 2^53 minor units")]
fn spend(basis: &Basis) -> Spend {
    Spend { frequency: basis.orders, mean: basis.spend.max(0) as f64 / f64::from(basis.orders.max(1)) }
}

impl Value {
    /// What is to be expected of a customer; nothing when that is no number.
    pub fn score(&self, basis: &Basis) -> Option<Score> {
        let customer = purchases(basis);
        let worth = self.buying.expected_purchases(customer, YEAR / WEEK) * self.worth(basis);
        if !worth.is_finite() {
            return None;
        }
        let again = |days: f64| self.buying.p_purchase_within(customer, days / WEEK);
        Some(Score::Value {
            clv_12m: whole(worth),
            p_alive: parts_per_million(self.buying.p_alive(customer)),
            churn_risk: parts_per_million(1.0 - again(CHURN)),
            next_purchase: next(again).map(|days| basis.at.plus_millis(days * DAY_MS)),
        })
    }

    /// What an order of the customer is worth.
    fn worth(&self, basis: &Basis) -> f64 {
        self.money.expected_spend(spend(basis))
    }

    /// Between which values the next twelve months will lie in four of five cases, in minor units.
    pub fn range(&self, basis: &Basis) -> (i64, i64) {
        if basis.orders == 0 {
            return (0, 0);
        }
        let outlook = Outlook::of(&self.buying, self.buying.r, purchases(basis), YEAR / WEEK);
        let worth = |chance| whole(f64::from(outlook.quantile(chance)) * self.worth(basis));
        (worth(0.1), worth(0.9))
    }
}

/// Why, in a sentence.
pub fn reason(basis: &Basis) -> String {
    if basis.orders == 0 {
        return "no order stands".into();
    }
    let (first, last, at) = (day_of(basis.first), day_of(basis.last), day_of(basis.at));
    let times = if basis.orders == 1 { "one day".into() } else { format!("{} days", basis.orders) };
    let rhythm = match i64::from(basis.orders) {
        0 | 1 => String::new(),
        orders => format!(", every {} days on average", (i64::from(last - first) + (orders - 1) / 2) / (orders - 1)),
    };
    let silent = match at - last {
        0 => "the last time that very day".into(),
        1 => "the last time a day before".into(),
        days => format!("the last time {days} days before"),
    };
    format!("ordered on {times}{rhythm}; {silent}")
}

/// The first day by which the next order has come with a chance of one half.
#[expect(clippy::cast_precision_loss, reason = "days")]
fn next(again: impl Fn(f64) -> f64) -> Option<i64> {
    let (mut low, mut high) = (0, FAR);
    if again(high as f64) < 0.5 {
        return None;
    }
    while high - low > 1 {
        let middle = i64::midpoint(low, high);
        if again(middle as f64) < 0.5 { low = middle } else { high = middle }
    }
    Some(high)
}

#[expect(clippy::cast_possible_truncation, reason = "rounded and clamped")]
fn whole(money: f64) -> i64 {
    money.round().clamp(0.0, 9e15) as i64
}
