//! Expectations: exactly the fields named are compared.

use perennial_core::customer::Customer;
use perennial_core::expr::{Field, Scope as _};
use perennial_core::id::Identifier;
use perennial_core::program::Program;
use perennial_core::scope::View;
use perennial_core::score::ScoreName;
use perennial_core::tier;
use perennial_core::time::Timestamp;
use perennial_core::value::Value as Known;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::Failed;
use super::step::{Stage, object, text};
use crate::import::suggestion;

type Failures = Vec<Failed>;

/// Compares what is named in an `expect` with what is there.
pub(super) fn check(stage: &mut Stage, expected: &Map<String, Value>) -> Result<Failures, String> {
    let mut failures = Vec::new();
    for (name, same) in [("same_customer", true), ("different_customers", false)] {
        if let Some(refs) = expected.get(name) {
            failures.extend(alike(stage, name, refs, same)?);
        }
    }
    if let Some(stock) = expected.get("stock") {
        for (reward, want) in object(stock)? {
            let have = stage.workspace.stock(reward).map_or(Value::Null, Value::from);
            compare(&format!("stock.{reward}"), want, &have, &mut failures);
        }
    }
    let rest: Vec<_> = expected
        .iter()
        .filter(|(k, _)| !["same_customer", "different_customers", "stock", "customer"].contains(&k.as_str()))
        .collect();
    if rest.is_empty() {
        return Ok(failures);
    }
    let who = text(expected, "customer")?.ok_or("expect: customer is missing")?;
    let who: Identifier = who.parse().map_err(|e| format!("customer: {e}"))?;
    let customer = stage.customer(&who)?;
    let Some(edition) = stage.workspace.rules().latest().cloned() else { return Err("no programme".into()) };
    let Some(customer) = customer else {
        if expected.get("exists") != Some(&Value::Bool(false)) {
            failures.push(Failed::new("customer", &who, "nobody"));
        }
        return Ok(failures);
    };
    for (field, want) in rest {
        failures.extend(one(&edition.program, &customer, field, want)?);
    }
    Ok(failures)
}

fn one(program: &Program, customer: &Customer, field: &str, want: &Value) -> Result<Failures, String> {
    let mut failures = Vec::new();
    match field {
        "exists" => compare("exists", want, &Value::Bool(true), &mut failures),
        "points" => each(want, |name| points(program, customer, name), "points", &mut failures)?,
        "wallets" => {
            for (wallet, want) in object(want)? {
                if wallet != "points" {
                    return Err(format!("wallets: there is no wallet '{wallet}'"));
                }
                each(want, |name| points(program, customer, name), "wallets.points", &mut failures)?;
            }
        }
        "tier" => compare("tier", want, &known(customer, program, &Field::Tier), &mut failures),
        "tier_until" => tier_until(program, customer, want, &mut failures),
        "next_tier" => each(want, |name| Ok(next_tier(program, customer, name)), "next_tier", &mut failures)?,
        "segments" => segments(program, customer, want, &mut failures)?,
        "badges" => badges(customer, want, &mut failures),
        "impact" => {
            each(want, |unit| Ok(known(customer, program, &Field::Impact(unit.into()))), "impact", &mut failures)?;
        }
        "messages" => messages(customer, want, &mut failures)?,
        "no_messages" => no_messages(customer, want, &mut failures)?,
        "traits" => {
            each(want, |name| Ok(known(customer, program, &Field::Trait(name.into()))), "traits", &mut failures)?;
        }
        "features" => each(want, |name| feature(program, customer, name), "features", &mut failures)?,
        "consents" => each(want, |name| Ok(consent(customer, name)), "consents", &mut failures)?,
        other => return Err(format!("expect: unknown field '{other}'; {}", suggestion(other, FIELDS.to_vec()))),
    }
    Ok(failures)
}

/// What an expectation may name.
const FIELDS: [&str; 18] = [
    "customer",
    "exists",
    "points",
    "wallets",
    "tier",
    "tier_until",
    "next_tier",
    "segments",
    "badges",
    "impact",
    "traits",
    "features",
    "consents",
    "messages",
    "no_messages",
    "stock",
    "same_customer",
    "different_customers",
];
/// What `points` may name.
const PLACES: [&str; 12] = [
    "pending",
    "available",
    "held",
    "spent",
    "expired",
    "reversed",
    "forfeited",
    "settled",
    "granted",
    "waived",
    "arrears",
    "earned_this_year",
];

/// Compares every field of a map.
fn each(
    want: &Value,
    have: impl Fn(&str) -> Result<Value, String>,
    path: &str,
    failures: &mut Failures,
) -> Result<(), String> {
    for (name, want) in object(want).map_err(|e| format!("{path}: {e}"))? {
        compare(&format!("{path}.{name}"), want, &have(name)?, failures);
    }
    Ok(())
}

fn compare(field: &str, want: &Value, have: &Value, failures: &mut Failures) {
    if !equal(want, have) {
        failures.push(Failed::new(field, want, have));
    }
}

/// Numbers compare by value; `{about: x, within: y}` compares within a margin.
fn equal(want: &Value, have: &Value) -> bool {
    if let Some(map) = want.as_object().filter(|m| m.contains_key("about")) {
        let number = |v: Option<&Value>| v.and_then(Value::as_f64);
        return match (number(map.get("about")), number(map.get("within")), have.as_f64()) {
            (Some(about), within, Some(have)) => (have - about).abs() <= within.unwrap_or(0.0),
            _ => false,
        };
    }
    match (decimal(want), decimal(have)) {
        (Some(a), Some(b)) => a == b,
        _ => want == have,
    }
}

fn decimal(value: &Value) -> Option<Decimal> {
    if value.is_number() { value.to_string().parse().ok() } else { None }
}

fn known(customer: &Customer, program: &Program, field: &Field) -> Value {
    plain(&View::of(program, customer).field(field))
}

fn plain(value: &Known) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn points(program: &Program, customer: &Customer, name: &str) -> Result<Value, String> {
    let Some(member) = &customer.member else { return Ok(Value::Null) };
    let totals = member.wallet.totals();
    Ok(Value::from(match name {
        "pending" => totals.pending,
        "available" => member.wallet.available(),
        "held" => totals.held,
        "spent" => totals.spent,
        "expired" => totals.expired,
        "reversed" => totals.reversed,
        "forfeited" => totals.forfeited,
        "settled" => totals.settled,
        "granted" => totals.granted,
        "waived" => member.wallet.waived,
        "arrears" => member.wallet.arrears,
        "earned_this_year" => member.years.get(&program.zone.year(customer.clock)).map_or(0, |y| y.points),
        other => return Err(format!("points: unknown field '{other}'; {}", suggestion(other, PLACES.to_vec()))),
    }))
}

/// A date is the last day; an instant is the first moment after, or the last second before it.
fn tier_until(program: &Program, customer: &Customer, want: &Value, failures: &mut Failures) {
    let until = customer.member.as_ref().and_then(|m| m.tier.as_ref()).map(|t| t.until);
    let last_day = until.map(|u| program.zone.date(u.plus_millis(-1)).to_string());
    let wanted = want.as_str().unwrap_or_default();
    let instant: Option<Timestamp> = wanted.parse().ok();
    let open = until == Some(Timestamp::NEVER);
    let holds = match (until, instant) {
        _ if want.is_null() => open || until.is_none(),
        (Some(_), _) if wanted.len() == 10 => last_day.as_deref() == Some(wanted),
        (Some(until), Some(instant)) => until == instant || (0..=1_000).contains(&until.since(instant)),
        _ => false,
    };
    if !holds {
        failures.push(Failed::new("tier_until", want, last_day.unwrap_or_else(|| "no tier".into())));
    }
}

fn next_tier(program: &Program, customer: &Customer, field: &str) -> Value {
    let next = tier::next(program, customer);
    match (next, field) {
        (Some((name, _)), "name") => json!(name),
        (Some((_, missing)), "missing") => {
            let spend = program.tiers.as_ref().is_some_and(|t| t.by == perennial_core::program::TierBy::Spend);
            if spend { plain(&Known::Number(program.currency.major(missing))) } else { json!(missing) }
        }
        _ => Value::Null,
    }
}

fn segments(program: &Program, customer: &Customer, want: &Value, failures: &mut Failures) -> Result<(), String> {
    for (list, names) in object(want)? {
        let inside = match list.as_str() {
            "in" => true,
            "not_in" => false,
            other => return Err(format!("segments: unknown field '{other}'; it takes in, not_in")),
        };
        for segment in names.as_array().ok_or_else(|| format!("segments.{list}: expected a list of names"))? {
            let name = segment.as_str().unwrap_or_default();
            if program.segments.iter().all(|s| &*s.id != name) {
                return Err(format!("segments.{list}: the programme has no segment '{name}'"));
            }
            if customer.is_in(name) != inside {
                failures.push(Failed::new(format!("segments.{list}"), name, if inside { "not in" } else { "in" }));
            }
        }
    }
    Ok(())
}

fn badges(customer: &Customer, want: &Value, failures: &mut Failures) {
    let held = customer.member.iter().flat_map(|m| &m.milestones).filter_map(|m| m.badge.as_deref());
    let mut held: Vec<&str> = held.collect();
    held.sort_unstable();
    let mut wanted: Vec<&str> = want.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    wanted.sort_unstable();
    if held != wanted {
        failures.push(Failed::new("badges", json!(wanted), json!(held)));
    }
}

fn messages(customer: &Customer, want: &Value, failures: &mut Failures) -> Result<(), String> {
    for want in want.as_array().ok_or("messages: expected a list")? {
        let map = object(want)?;
        if let Some(stray) = map.keys().find(|k| !["template", "count", "at"].contains(&k.as_str())) {
            return Err(format!("messages: '{stray}' is no field of this version; it takes template, count, at"));
        }
        let template = text(map, "template")?.ok_or("messages: template is missing")?;
        let sent: Vec<Timestamp> = queued(customer, &template).collect();
        let count = map.get("count").and_then(Value::as_u64);
        if sent.is_empty() || count.is_some_and(|n| n != sent.len() as u64) {
            failures.push(Failed::new(
                format!("messages.{template}"),
                count.map_or("some".into(), |n| n.to_string()),
                sent.len(),
            ));
        }
        if let Some(at) = text(map, "at")? {
            let at: Timestamp = at.parse().map_err(|e| format!("messages.at: {e}"))?;
            if !sent.contains(&at) {
                let found: Vec<String> = sent.iter().map(ToString::to_string).collect();
                failures.push(Failed::new(format!("messages.{template}.at"), at, found.join(", ")));
            }
        }
    }
    Ok(())
}

fn no_messages(customer: &Customer, want: &Value, failures: &mut Failures) -> Result<(), String> {
    for template in want.as_array().ok_or("no_messages: expected a list")? {
        let template = template.as_str().unwrap_or_default();
        let sent = queued(customer, template).count();
        if sent > 0 {
            failures.push(Failed::new(format!("no_messages.{template}"), 0, sent));
        }
    }
    Ok(())
}

fn queued<'a>(customer: &'a Customer, template: &'a str) -> impl Iterator<Item = Timestamp> + 'a {
    let all = customer.member.iter().flat_map(|m| &m.queued);
    all.filter(move |(t, _, _)| **t == *template).map(|(_, _, at)| *at)
}

fn consent(customer: &Customer, purpose: &str) -> Value {
    customer.profile.consents.get(purpose).map_or(Value::Null, |(given, _)| Value::Bool(*given))
}

/// A declared feature or a built-in one; instants are written as texts.
fn feature(program: &Program, customer: &Customer, name: &str) -> Result<Value, String> {
    let declared = program.features.iter().position(|f| *f.id == *name);
    let field = match (declared, name) {
        (Some(at), _) => Field::Feature(u16::try_from(at).unwrap_or(u16::MAX)),
        (None, "orders") => Field::Orders,
        (None, "spend") => Field::Spend,
        (None, "first_order") => Field::FirstOrder,
        (None, "last_order") => Field::LastOrder,
        (None, "cart.value") => Field::CartValue,
        (None, other) => match ScoreName::ALL.into_iter().find(|score| score.word() == other) {
            Some(score) => Field::Score(score),
            None => return Err(format!("features: there is no '{other}'")),
        },
    };
    let instant = matches!(field, Field::FirstOrder | Field::LastOrder | Field::Score(ScoreName::NextPurchase))
        || declared.is_some_and(|at| {
            use perennial_core::program::Computed;
            matches!(program.features[at].what, Computed::First | Computed::Last)
        });
    let value = known(customer, program, &field);
    let written = value.as_i64().filter(|_| instant).map(|ms| Timestamp::from_millis(ms).to_string());
    Ok(written.map_or(value, Value::from))
}

fn alike(stage: &mut Stage, name: &str, refs: &Value, same: bool) -> Result<Failures, String> {
    let mut ids = Vec::new();
    for who in refs.as_array().ok_or("expected a list of customers")? {
        let who: Identifier = who.as_str().unwrap_or_default().parse().map_err(|e| format!("{name}: {e}"))?;
        ids.push(stage.customer(&who)?.map(|c| c.id));
    }
    let mut distinct = ids.clone();
    distinct.sort();
    distinct.dedup();
    let holds = if same { distinct.len() == 1 && distinct[0].is_some() } else { distinct.len() == ids.len() };
    let found: Vec<String> = ids.iter().map(|id| id.map_or("nobody".into(), |id| id.to_string())).collect();
    Ok(if holds { Vec::new() } else { vec![Failed::new(name, refs, found.join(", "))] })
}
