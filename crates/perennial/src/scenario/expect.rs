//! Expectations: exactly the fields named are compared.

use std::collections::BTreeSet;

use perennial_core::customer::Customer;
use perennial_core::expr::{Field, Scope as _};
use perennial_core::program::Program;
use perennial_core::rules::{Edition, Rules};
use perennial_core::scope::View;
use perennial_core::score::ScoreName;
use perennial_core::tier;
use perennial_core::time::Timestamp;
use perennial_core::value::Value as Known;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::Failed;
use super::form::{self, object, text};
use super::step::Stage;
use crate::import::suggestion;

type Failures = Vec<Failed>;

/// Compares what is named in an `expect` with what is there.
pub(super) fn check(stage: &mut Stage, expected: &Map<String, Value>) -> Result<Failures, String> {
    fits(expected)?;
    let mut failures = Vec::new();
    for (name, same) in [("same_customer", true), ("different_customers", false)] {
        if let Some(refs) = expected.get(name) {
            failures.extend(alike(stage, name, refs, same)?);
        }
    }
    if let Some(stock) = expected.get("stock") {
        each(stock, |reward| pieces(stage, reward), "stock", &mut failures)?;
    }
    let rest: Vec<_> = expected.iter().filter(|(name, _)| !OF_NOBODY.contains(&name.as_str())).collect();
    let Some(who) = text(expected, "customer")? else {
        return if rest.is_empty() { Ok(failures) } else { Err("expect: customer is missing".into()) };
    };
    let who = form::who("customer", &who)?;
    let Some(customer) = stage.customer(&who)? else {
        if expected.get("exists") != Some(&Value::Bool(false)) {
            failures.push(Failed::new("customer", format!("somebody known as '{who}'"), "nobody"));
        }
        return Ok(failures);
    };
    let rules = stage.workspace.rules();
    let Some(edition) = rules.latest() else { return Err("no programme".into()) };
    let person = Person { rules, program: &edition.program, customer: &customer };
    for (field, want) in rest {
        failures.extend(person.compare(field, want)?);
    }
    Ok(failures)
}

/// An expectation that compares nothing would always hold.
fn fits(expected: &Map<String, Value>) -> Result<(), String> {
    let names = || expected.keys().map(String::as_str);
    if let Some(later) = names().find(|name| NOT_BUILT.contains(name)) {
        return Err(format!("expect: '{later}' is not built yet: remove it"));
    }
    if let Some(stray) = names().find(|name| !FIELDS.contains(name)) {
        return Err(format!("expect: unknown field '{stray}'; {}", suggestion(stray, FIELDS.to_vec())));
    }
    if names().all(|name| name == "customer") {
        return Err("expect: compares nothing; name what must be true, such as points, tier or exists".into());
    }
    match expected.get("exists") {
        Some(Value::Bool(false)) if names().any(|name| !["customer", "exists"].contains(&name)) => {
            Err("expect: of somebody who is not there nothing else can be true: 'exists: false' stands alone".into())
        }
        None | Some(Value::Bool(_)) => Ok(()),
        Some(_) => Err("exists: true or false".into()),
    }
}

/// Somebody of whom something is expected.
struct Person<'a> {
    rules: &'a Rules,
    program: &'a Program,
    customer: &'a Customer,
}

impl Person<'_> {
    fn compare(&self, field: &str, want: &Value) -> Result<Failures, String> {
        let Self { program, customer, .. } = *self;
        let mut failures = Vec::new();
        let all = &mut failures;
        match field {
            "exists" => compare("exists", want, &Value::Bool(true), all)?,
            "points" => each(want, |name| points(program, customer, name), "points", all)?,
            "wallets" => {
                for (wallet, want) in named(want, "wallets")? {
                    if wallet != "points" {
                        return Err(format!("wallets: there is no wallet '{wallet}'"));
                    }
                    each(want, |name| points(program, customer, name), "wallets.points", all)?;
                }
            }
            "tier" => compare("tier", want, &self.known(&Field::Tier), all)?,
            "tier_until" => tier_until(program, customer, want, all),
            "next_tier" => each(want, |name| next_tier(program, customer, name), "next_tier", all)?,
            "segments" => segments(program, customer, want, all)?,
            "badges" => badges(customer, want, all)?,
            "impact" => each(want, |unit| self.impact(unit), "impact", all)?,
            "messages" => messages(customer, want, all)?,
            "no_messages" => no_messages(customer, want, all)?,
            "traits" => each(want, |name| self.stated(name), "traits", all)?,
            "features" => each(want, |name| feature(program, customer, name), "features", all)?,
            "consents" => each(want, |name| Ok(consent(customer, name)), "consents", all)?,
            other => return Err(format!("expect: unknown field '{other}'")),
        }
        Ok(failures)
    }

    fn known(&self, field: &Field) -> Value {
        known(self.customer, self.program, field)
    }

    /// A declared trait. A slip in its name would find nothing, as of a trait that nobody stated.
    fn stated(&self, name: &str) -> Result<Value, String> {
        let declared = self.editions().flat_map(|edition| edition.program.traits.keys());
        is_among(name, declared.map(|name| &**name), "traits: no trait is declared as")?;
        Ok(self.known(&Field::Trait(name.into())))
    }

    /// A unit that benefits or products bring.
    fn impact(&self, unit: &str) -> Result<Value, String> {
        let benefits = self.editions().flat_map(|edition| &edition.program.benefits);
        let products = self.rules.catalog.iter().flat_map(|product| &*product.impact);
        let units = benefits.flat_map(|benefit| &benefit.impact).chain(products).map(|(unit, _)| &**unit);
        is_among(unit, units, "impact: no benefit and no product of the catalogue brings")?;
        Ok(self.known(&Field::Impact(unit.into())))
    }

    /// What was declared once may be held still.
    fn editions(&self) -> impl Iterator<Item = &Edition> {
        (1..=self.rules.latest_version()).filter_map(|version| self.rules.edition(version).map(|edition| &**edition))
    }
}

fn is_among<'a>(name: &str, known: impl Iterator<Item = &'a str>, lack: &str) -> Result<(), String> {
    let known: BTreeSet<&str> = known.collect();
    match known.contains(name) {
        true => Ok(()),
        false if known.is_empty() => Err(format!("{lack} '{name}', nor anything else")),
        false => Err(format!("{lack} '{name}'; {}", suggestion(name, known.into_iter().collect()))),
    }
}

fn pieces(stage: &Stage, reward: &str) -> Result<Value, String> {
    let rewards = stage.workspace.rules().latest().map(|edition| &edition.program.rewards);
    is_among(reward, rewards.into_iter().flatten().map(|reward| &*reward.id), "stock: no reward has the id")?;
    Ok(stage.workspace.stock(reward).map_or(Value::Null, Value::from))
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
/// What is no one customer's.
const OF_NOBODY: [&str; 4] = ["same_customer", "different_customers", "stock", "customer"];
/// What a later version will compare.
const NOT_BUILT: [&str; 4] = ["vouchers", "decision", "cases", "challenges"];
/// What `next_tier` may name.
const NEXT: [&str; 2] = ["name", "missing"];
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

/// The fields of a map; one without any would compare nothing.
fn named<'a>(want: &'a Value, path: &str) -> Result<&'a Map<String, Value>, String> {
    let map = object(want).map_err(|e| format!("{path}: {e}"))?;
    if map.is_empty() { Err(format!("{path}: compares nothing; name what is expected")) } else { Ok(map) }
}

/// The names of a list.
fn listed<'a>(want: &'a Value, path: &str) -> Result<Vec<&'a str>, String> {
    let names = want.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
    names.ok_or_else(|| format!("{path}: expected a list of names, as [a, b]"))
}

/// Compares every field of a map.
fn each(
    want: &Value,
    have: impl Fn(&str) -> Result<Value, String>,
    path: &str,
    failures: &mut Failures,
) -> Result<(), String> {
    for (name, want) in named(want, path)? {
        compare(&format!("{path}.{name}"), want, &have(name)?, failures)?;
    }
    Ok(())
}

/// Numbers compare by value; `{about: x, within: y}` compares within a margin.
fn compare(field: &str, want: &Value, have: &Value, failures: &mut Failures) -> Result<(), String> {
    let holds = match want.as_object() {
        Some(margin) => {
            is_about(margin, have).ok_or_else(|| format!("{field}: a map is {{ about: 12.5, within: 0.1 }}"))?
        }
        None => match (decimal(want), decimal(have)) {
            (Some(a), Some(b)) => a == b,
            _ => want == have,
        },
    };
    if !holds {
        failures.push(Failed::new(field, want, have));
    }
    Ok(())
}

/// None when it says something else.
fn is_about(margin: &Map<String, Value>, have: &Value) -> Option<bool> {
    let about = margin.get("about")?.as_f64()?;
    let within = margin.get("within").map_or(Some(0.0), Value::as_f64)?;
    let alone = margin.keys().all(|name| ["about", "within"].contains(&name.as_str()));
    alone.then(|| have.as_f64().is_some_and(|have| (have - about).abs() <= within))
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
    is_among(name, PLACES.into_iter(), "points: unknown field")?;
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
        _ => return Ok(Value::Null),
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

fn next_tier(program: &Program, customer: &Customer, field: &str) -> Result<Value, String> {
    is_among(field, NEXT.into_iter(), "next_tier: unknown field")?;
    let next = tier::next(program, customer);
    Ok(match (next, field) {
        (Some((name, _)), "name") => json!(name),
        (Some((_, missing)), "missing") => {
            let spend = program.tiers.as_ref().is_some_and(|t| t.by == perennial_core::program::TierBy::Spend);
            if spend { plain(&Known::Number(program.currency.major(missing))) } else { json!(missing) }
        }
        _ => Value::Null,
    })
}

fn segments(program: &Program, customer: &Customer, want: &Value, failures: &mut Failures) -> Result<(), String> {
    for (list, names) in named(want, "segments")? {
        let inside = match list.as_str() {
            "in" => true,
            "not_in" => false,
            other => return Err(format!("segments: unknown field '{other}'; it takes in, not_in")),
        };
        let names = listed(names, &format!("segments.{list}"))?;
        if names.is_empty() {
            return Err(format!("segments.{list}: compares nothing; name a segment"));
        }
        for name in names {
            let known = program.segments.iter().map(|segment| &*segment.id);
            is_among(name, known, &format!("segments.{list}: the programme has no segment"))?;
            if customer.is_in(name) != inside {
                failures.push(Failed::new(format!("segments.{list}"), name, if inside { "not in" } else { "in" }));
            }
        }
    }
    Ok(())
}

fn badges(customer: &Customer, want: &Value, failures: &mut Failures) -> Result<(), String> {
    let held = customer.member.iter().flat_map(|m| &m.milestones).filter_map(|m| m.badge.as_deref());
    let mut held: Vec<&str> = held.collect();
    held.sort_unstable();
    held.dedup(); // Two who are one may have had the same.
    let mut wanted = listed(want, "badges")?;
    wanted.sort_unstable();
    if held != wanted {
        failures.push(Failed::new("badges", json!(wanted), json!(held)));
    }
    Ok(())
}

/// An empty list: none at all.
fn messages(customer: &Customer, want: &Value, failures: &mut Failures) -> Result<(), String> {
    let wanted = want.as_array().ok_or("messages: expected a list of maps, as [ { template: welcome } ]")?;
    let mut all = customer.member.iter().flat_map(|member| &member.queued).map(|(template, ..)| &**template);
    if let Some(first) = all.next().filter(|_| wanted.is_empty()) {
        let found: Vec<&str> = std::iter::once(first).chain(all).collect();
        failures.push(Failed::new("messages", "none", found.join(", ")));
    }
    wanted.iter().try_for_each(|want| message(customer, want, failures))
}

fn message(customer: &Customer, want: &Value, failures: &mut Failures) -> Result<(), String> {
    let map = object(want).map_err(|e| format!("messages: {e}"))?;
    match map.keys().map(String::as_str).find(|name| !["template", "count", "at"].contains(name)) {
        Some("channel") => return Err("messages: 'channel' is not built yet: remove it".into()),
        Some(stray) => return Err(format!("messages: unknown field '{stray}'; it takes template, count, at")),
        None => {}
    }
    let template = text(map, "template")?.ok_or("messages: template is missing")?;
    let sent: Vec<Timestamp> = queued(customer, &template).collect();
    let count = map.get("count").map(|count| count.as_u64().ok_or("messages: count is a whole number, 0 or more"));
    let count = count.transpose()?;
    if count.map_or(sent.is_empty(), |n| n != sent.len() as u64) {
        let expected = count.map_or("some".into(), |n| n.to_string());
        failures.push(Failed::new(format!("messages.{template}"), expected, sent.len()));
    }
    if let Some(at) = text(map, "at")? {
        let at: Timestamp = at.parse().map_err(|e| format!("messages.at: {e}"))?;
        if !sent.contains(&at) {
            let found: Vec<String> = sent.iter().map(ToString::to_string).collect();
            let found = if found.is_empty() { "never".into() } else { found.join(", ") };
            failures.push(Failed::new(format!("messages.{template}.at"), at, found));
        }
    }
    Ok(())
}

fn no_messages(customer: &Customer, want: &Value, failures: &mut Failures) -> Result<(), String> {
    let templates = listed(want, "no_messages")?;
    if templates.is_empty() {
        return Err("no_messages: compares nothing; name a template, or expect 'messages: []' for none at all".into());
    }
    for template in templates {
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
    let refs = listed(refs, name)?;
    if refs.len() < 2 {
        return Err(format!("{name}: compares nothing; name two customers or more"));
    }
    let mut ids = Vec::new();
    for who in &refs {
        let who = form::who(name, who)?;
        ids.push(stage.customer(&who)?.map(|c| c.id));
    }
    let distinct: BTreeSet<_> = ids.iter().collect();
    let as_many = if same { 1 } else { ids.len() };
    let holds = distinct.len() == as_many && ids.iter().all(Option::is_some);
    let found: Vec<String> = ids.iter().map(|id| id.map_or("nobody".into(), |id| id.to_string())).collect();
    Ok(if holds { Vec::new() } else { vec![Failed::new(name, refs.join(", "), found.join(", "))] })
}
