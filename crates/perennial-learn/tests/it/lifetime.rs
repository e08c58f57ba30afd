//! Lifetime value against independently computed values (CDNOW).

use std::path::Path;

use perennial_learn::lifetime::{
    Fit, Model, Purchases, RepeatBuying,
    bgnbd::{self, Bgnbd},
    gamma_gamma::{self, GammaGamma, Spend},
    mbgnbd::{self, Mbgnbd},
    pareto::{self, Pareto},
    summary::{Bought, Period, Summary, hold_out, summarise},
    value::{Horizon, WEEKS_PER_MONTH, discounted},
};
use serde_json::{Value, json};

use crate::reference::{hold, load, numbers, shared};

/// The columns that the cases of one file refer to.
struct Columns {
    purchases: Vec<Purchases>,
    spend: Vec<Spend>,
    from_transactions: Summary,
}

#[test]
fn every_lifetime_case_is_met() {
    let Some(shared) = shared() else { return };
    let file = load(&shared.join("reference/clv.json"));
    let columns = read(&shared.join("data/cdnow_summary"), &file["inputs"]);
    let met = hold(&file, |_, case| {
        let id = case["id"].as_str().unwrap_or_default();
        evaluate(id, case["kind"].as_str().unwrap_or_default(), &case["input"], &columns)
    });
    println!("{met} lifetime cases met");
}

/// One case: `kind` is `model.question`.
fn evaluate(id: &str, kind: &str, input: &Value, columns: &Columns) -> Value {
    let (model, question) = kind.split_once('.').expect("model.question");
    let customers = if id.contains("_holdout/") { &columns.from_transactions.purchases } else { &columns.purchases };
    match question {
        "fit" if model == "gamma_gamma" => {
            json!({ "log_likelihood": gamma_gamma::fit(&columns.spend).expect("a fit").log_likelihood })
        }
        "fit" => json!({ "log_likelihood": fit(model, customers).log_likelihood }),
        "loglik_at" => {
            json!({ "log_likelihood": parse(model, &input["params"]).log_likelihood(customers) })
        }
        "predict" => predictions(&parse(model, &input["params"]), input),
        "expected_purchases_new_customer" => {
            let model = parse(model, &input["params"]);
            let bought: Vec<f64> =
                numbers(&input["t"]).into_iter().map(|t| model.expected_purchases_of_new(t)).collect();
            json!({ "expected_purchases": bought })
        }
        "expected_average_profit" => {
            let model = parse_spend(&input["params"]);
            let spent: Vec<f64> = spends(input).into_iter().map(|s| model.expected_spend(s)).collect();
            json!({ "expected_average_profit": spent })
        }
        "discounted" => values(input),
        "holdout" => errors(&fit(model, customers).model, input, &columns.from_transactions),
        _ => json!(null),
    }
}

fn fit(model: &str, customers: &[Purchases]) -> Fit<Model> {
    match model {
        "bgnbd" => bgnbd::fit(customers).map(|f| f.map(Model::Bgnbd)),
        "mbgnbd" => mbgnbd::fit(customers).map(|f| f.map(Model::Mbgnbd)),
        _ => pareto::fit(customers).map(|f| f.map(Model::Pareto)),
    }
    .expect("a fit")
}

fn parse(model: &str, params: &Value) -> Model {
    let p = |key: &str| params[key].as_f64().expect("a parameter");
    match model {
        "bgnbd" => Model::Bgnbd(Bgnbd { r: p("r"), alpha: p("alpha"), a: p("a"), b: p("b") }),
        "mbgnbd" => Model::Mbgnbd(Mbgnbd { r: p("r"), alpha: p("alpha"), a: p("a"), b: p("b") }),
        _ => Model::Pareto(Pareto { r: p("r"), alpha: p("alpha"), s: p("s"), beta: p("beta") }),
    }
}

fn parse_spend(params: &Value) -> GammaGamma {
    let p = |key: &str| params[key].as_f64().expect("a parameter");
    GammaGamma { p: p("p"), q: p("q"), v: p("v") }
}

fn customers(input: &Value) -> Vec<Purchases> {
    let (recency, age) = (numbers(&input["recency"]), numbers(&input["T"]));
    let frequency = counts(&input["frequency"]);
    (0..age.len()).map(|i| Purchases { frequency: frequency[i], recency: recency[i], age: age[i] }).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts written as numbers")]
fn counts(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|x| x as u32).collect()
}

fn spends(input: &Value) -> Vec<Spend> {
    let mean = numbers(&input["monetary_value"]);
    counts(&input["frequency"]).into_iter().zip(mean).map(|(frequency, mean)| Spend { frequency, mean }).collect()
}

fn predictions(model: &Model, input: &Value) -> Value {
    let customers = customers(input);
    let alive: Vec<f64> = customers.iter().map(|&c| model.p_alive(c)).collect();
    let mut expected = serde_json::Map::new();
    for horizon in numbers(&input["horizons"]) {
        let bought: Vec<f64> = customers.iter().map(|&c| model.expected_purchases(c, horizon)).collect();
        expected.insert(format!("{horizon:.0}"), json!(bought));
    }
    json!({ "p_alive": alive, "expected_purchases": expected })
}

fn values(input: &Value) -> Value {
    let (model, money) = (parse("bgnbd", &input["bgnbd_params"]), parse_spend(&input["gg_params"]));
    let months = u32::try_from(input["months"].as_u64().unwrap_or(12)).unwrap_or(12);
    let discount = input["monthly_discount"].as_f64().unwrap_or(0.0);
    let horizon = Horizon { periods: months, length: WEEKS_PER_MONTH, discount };
    let values: Vec<f64> = customers(input)
        .into_iter()
        .zip(spends(input))
        .map(|(c, s)| discounted(&model, c, money.expected_spend(s), horizon))
        .collect();
    json!({ "clv": values })
}

fn errors(model: &Model, input: &Value, summary: &Summary) -> Value {
    let horizon = input["horizon"].as_f64().expect("a horizon");
    let predicted: Vec<f64> = summary.purchases.iter().map(|&c| model.expected_purchases(c, horizon)).collect();
    let told = hold_out(&predicted, &summary.later).expect("as many customers as predictions");
    json!({ "mae": told.mae, "rmse": told.rmse, "predicted_total": told.predicted,
            "actual_total": told.actual, "correlation": told.correlation })
}

/// Reads the summary table and the single purchases that `inputs` names.
fn read(folder: &Path, inputs: &Value) -> Columns {
    let named = |key: &str| folder.join(inputs[key].as_str().expect("a file name"));
    let rows = |path| csv::Reader::from_path(path).expect("a table").into_records().map(|r| r.expect("a row"));
    let number = |text: &str| text.parse::<f64>().expect("a number");
    let purchases = rows(named("summary"))
        .map(|r| Purchases { frequency: r[1].parse().expect("a count"), recency: number(&r[2]), age: number(&r[3]) })
        .collect();
    let spend = rows(named("money"))
        .map(|r| Spend { frequency: r[1].parse().expect("a count"), mean: number(&r[4]) })
        .collect();
    let bought: Vec<_> = rows(named("transactions"))
        .map(|r| Bought { customer: r[0].parse().expect("a key"), day: day(&r[1]), amount: number(&r[3]) })
        .collect();
    let date = |key: &str| day(inputs[key].as_str().expect("a date"));
    let period = Period { until: date("cal_end"), follow_until: Some(date("obs_end")), days_per_unit: 7.0 };
    Columns { purchases, spend, from_transactions: summarise(&bought, period).expect("a summary") }
}

/// Days since 1970-01-01 of a date written YYYY-MM-DD (proleptic Gregorian).
fn day(date: &str) -> i64 {
    let part = |range: std::ops::Range<usize>| date[range].parse::<i64>().expect("a date");
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    // Years that start in March put the leap day last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469
}
