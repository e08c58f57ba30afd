//! Answers to cases of lifetime value.

use std::collections::BTreeMap;

use perennial_learn::lifetime::{
    Fit, Model, Purchases, RepeatBuying,
    bgnbd::{self, Bgnbd},
    gamma_gamma::{self, GammaGamma, Spend},
    mbgnbd::{self, Mbgnbd},
    pareto::{self, Pareto},
    summary::{Bought, Period, Summary, hold_out, summarise},
    value::{Horizon, WEEKS_PER_MONTH, discounted},
};
use serde_json::{Map, Value, json};

use super::{Desk, number, numbers, say, text};
use crate::import::plain::Plain;
use crate::learn::dates::days_since_1970;

/// The columns that the cases of one file refer to.
pub(super) struct Columns {
    purchases: Result<Vec<Purchases>, String>,
    spend: Result<Vec<Spend>, String>,
    from_transactions: Result<Summary, String>,
}

/// Answers one case: `kind` is `model.question`.
pub(super) fn answer(desk: &mut Desk, file: &Value, id: &str, kind: &str, input: &Value) -> Result<Value, String> {
    let (model, question) = kind.split_once('.').ok_or("the kind is not model.question")?;
    match question {
        "predict" => return predictions(&parse(model, &input["params"])?, input),
        "expected_purchases_new_customer" => {
            let (model, times) = (parse(model, &input["params"])?, numbers(input, "t")?);
            let bought: Vec<f64> = times.into_iter().map(|t| model.expected_purchases_of_new(t)).collect();
            return Ok(json!({ "expected_purchases": bought }));
        }
        "expected_average_profit" => {
            let model = parse_spend(&input["params"])?;
            let spent: Vec<f64> = spends(input)?.into_iter().map(|s| model.expected_spend(s)).collect();
            return Ok(json!({ "expected_average_profit": spent }));
        }
        "discounted" => return values(input),
        _ => {}
    }
    if desk.columns.is_none() {
        desk.columns = Some(Columns::read(desk, &file["inputs"]));
    }
    let columns = desk.columns.as_ref().ok_or("no columns")?;
    let bought = || columns.from_transactions.as_ref().map_err(String::clone);
    let customers = || {
        if id.contains("_holdout/") {
            return bought().map(|summary| &summary.purchases);
        }
        columns.purchases.as_ref().map_err(String::clone)
    };
    let spend = || columns.spend.as_ref().map_err(String::clone);
    let likelihood = |value: f64| Ok(json!({ "log_likelihood": value }));
    match question {
        "fit" if model == "gamma_gamma" => likelihood(gamma_gamma::fit(spend()?).map_err(say)?.log_likelihood),
        "fit" => likelihood(fit(model, customers()?)?.log_likelihood),
        "loglik_at" if model == "gamma_gamma" => likelihood(parse_spend(&input["params"])?.log_likelihood(spend()?)),
        "loglik_at" => likelihood(parse(model, &input["params"])?.log_likelihood(customers()?)),
        "holdout" => errors(&fit(model, customers()?)?.model, input, bought()?),
        other => Err(format!("no answer for the question `{other}`")),
    }
}

fn fit(model: &str, customers: &[Purchases]) -> Result<Fit<Model>, String> {
    match model {
        "bgnbd" => bgnbd::fit(customers).map(|f| f.map(Model::Bgnbd)),
        "mbgnbd" => mbgnbd::fit(customers).map(|f| f.map(Model::Mbgnbd)),
        _ => pareto::fit(customers).map(|f| f.map(Model::Pareto)),
    }
    .map_err(say)
}

fn parse(model: &str, params: &Value) -> Result<Model, String> {
    let p = |key: &str| number(params, key);
    Ok(match model {
        "bgnbd" => Model::Bgnbd(Bgnbd { r: p("r")?, alpha: p("alpha")?, a: p("a")?, b: p("b")? }),
        "mbgnbd" => Model::Mbgnbd(Mbgnbd { r: p("r")?, alpha: p("alpha")?, a: p("a")?, b: p("b")? }),
        _ => Model::Pareto(Pareto { r: p("r")?, alpha: p("alpha")?, s: p("s")?, beta: p("beta")? }),
    })
}

fn parse_spend(params: &Value) -> Result<GammaGamma, String> {
    Ok(GammaGamma { p: number(params, "p")?, q: number(params, "q")?, v: number(params, "v")? })
}

fn customers(input: &Value) -> Result<Vec<Purchases>, String> {
    let (recency, age, frequency) = (numbers(input, "recency")?, numbers(input, "T")?, counts(input, "frequency")?);
    if recency.len() != age.len() || frequency.len() != age.len() {
        return Err("recency, frequency and T differ in length".into());
    }
    Ok((0..age.len()).map(|i| Purchases { frequency: frequency[i], recency: recency[i], age: age[i] }).collect())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts written as numbers")]
fn counts(value: &Value, key: &str) -> Result<Vec<u32>, String> {
    Ok(numbers(value, key)?.into_iter().map(|x| x as u32).collect())
}

fn spends(input: &Value) -> Result<Vec<Spend>, String> {
    let mean = numbers(input, "monetary_value")?;
    Ok(counts(input, "frequency")?.into_iter().zip(mean).map(|(frequency, mean)| Spend { frequency, mean }).collect())
}

fn predictions(model: &Model, input: &Value) -> Result<Value, String> {
    let customers = customers(input)?;
    let alive: Vec<f64> = customers.iter().map(|&c| model.p_alive(c)).collect();
    let mut expected = Map::new();
    for horizon in numbers(input, "horizons")? {
        let bought: Vec<f64> = customers.iter().map(|&c| model.expected_purchases(c, horizon)).collect();
        expected.insert(format!("{horizon:.0}"), json!(bought));
    }
    Ok(json!({ "p_alive": alive, "expected_purchases": expected }))
}

/// Days in a month as the tool of the reference counts them.
const DAYS_PER_MONTH: f64 = 30.0;

fn values(input: &Value) -> Result<Value, String> {
    let (model, money) = (parse("bgnbd", &input["bgnbd_params"])?, parse_spend(&input["gg_params"])?);
    let periods = u32::try_from(input["months"].as_u64().unwrap_or(12)).map_err(say)?;
    let length = if input["freq"] == "D" { DAYS_PER_MONTH } else { WEEKS_PER_MONTH };
    let horizon = Horizon { periods, length, discount: number(input, "monthly_discount")? };
    let values: Vec<f64> = customers(input)?
        .into_iter()
        .zip(spends(input)?)
        .map(|(c, s)| discounted(&model, c, money.expected_spend(s), horizon))
        .collect();
    Ok(json!({ "clv": values }))
}

fn errors(model: &Model, input: &Value, summary: &Summary) -> Result<Value, String> {
    let horizon = number(input, "horizon")?;
    let predicted: Vec<f64> = summary.purchases.iter().map(|&c| model.expected_purchases(c, horizon)).collect();
    let told = hold_out(&predicted, &summary.later).map_err(say)?;
    Ok(json!({ "mae": told.mae, "rmse": told.rmse, "predicted_total": told.predicted,
               "actual_total": told.actual, "correlation": told.correlation }))
}

impl Columns {
    /// Reads the tables that `inputs` names; one that is missing matters only to the cases that need it.
    fn read(desk: &Desk, inputs: &Value) -> Self {
        let table = |key: &str| text(inputs, key).and_then(|name| desk.table(name));
        Self {
            purchases: table("summary").and_then(|table| purchases(&table)),
            spend: table("money").and_then(|table| spend(&table)),
            from_transactions: table("transactions").and_then(|table| summary(&table, inputs)),
        }
    }
}

fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|e| format!("`{text}`: {e}"))
}

fn real(text: &str) -> Result<f64, String> {
    text.parse().map_err(|e| format!("`{text}`: {e}"))
}

/// The columns of a table by position, when there are enough.
fn wide<const N: usize>(table: &Plain) -> Result<&[Vec<String>], String> {
    let columns = table.columns.as_slice();
    if columns.len() < N { Err("the tables of customers have too few columns".into()) } else { Ok(columns) }
}

fn purchases(table: &Plain) -> Result<Vec<Purchases>, String> {
    let s = wide::<4>(table)?;
    let rows = s[1].iter().zip(&s[2]).zip(&s[3]);
    rows.map(|((frequency, recency), age)| {
        Ok(Purchases { frequency: count(frequency)?, recency: real(recency)?, age: real(age)? })
    })
    .collect()
}

fn spend(table: &Plain) -> Result<Vec<Spend>, String> {
    let m = wide::<5>(table)?;
    m[1].iter()
        .zip(&m[4])
        .map(|(frequency, mean)| Ok(Spend { frequency: count(frequency)?, mean: real(mean)? }))
        .collect()
}

/// Sums single purchases up, in the unit of time that the file names.
fn summary(table: &Plain, inputs: &Value) -> Result<Summary, String> {
    let named = |name: &str, usual: usize| table.header.iter().position(|header| header == name).unwrap_or(usual);
    let b = wide::<3>(table)?;
    let [customer, date, amount] = [named("customer_id", 0), named("date", 1), named("amount", b.len() - 1)];
    let day = |text: &str| days_since_1970(text).ok_or_else(|| format!("`{text}` is not a date"));
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    let mut rows = Vec::new();
    for ((customer, at), amount) in b[customer].iter().zip(&b[date]).zip(&b[amount]) {
        let next = numbers.len() as u64;
        let customer = *numbers.entry(customer).or_insert(next);
        rows.push(Bought { customer, day: day(at)?, amount: real(amount)? });
    }
    let date = |key: &str| day(text(inputs, key)?);
    let days_per_unit = if inputs["freq"] == "D" { 1.0 } else { 7.0 };
    let period = Period { until: date("cal_end")?, follow_until: Some(date("obs_end")?), days_per_unit };
    summarise(&rows, period).map_err(say)
}
