//! The published schema: what it knows of a programme, held against what the compiler says.

use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use perennial_core::program;
use serde_json::{Value, json};

use crate::program::{all_shipped, printed_examples, with};

static PUBLISHED: LazyLock<(Schemas, SchemaIndex)> = LazyLock::new(|| {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("programme.json", program::schema()).unwrap();
    let index = compiler.compile("programme.json", &mut schemas).unwrap();
    (schemas, index)
});

/// What an editor would mark, if anything.
fn marked(document: &Value) -> Option<String> {
    let (schemas, index) = &*PUBLISHED;
    schemas.validate(document, *index).err().map(|error| format!("{error:#}"))
}

#[test]
fn the_schema_accepts_what_ships_and_what_is_printed() {
    for (name, text) in all_shipped() {
        assert_eq!(marked(&program::parse_value(&text).unwrap()), None, "{name}");
    }
    let whole = program::parse_value(&with("")).unwrap();
    for text in printed_examples() {
        let mut document = whole.clone();
        program::merge_patch(&mut document, &program::parse_value(&text).unwrap());
        assert_eq!(marked(&document), None, "{text}");
    }
}

#[test]
fn the_schema_and_the_check_accept_the_same_spelling() {
    for sections in [
        "earn: [ { id: a, on: Order Completed, points: 1 per 1.00 eur } ]",
        "earn: [ { id: a, on: Order Completed, points: 1  per  1.00 } ]",
        "earn: [ { id: a, on: Order Completed, points: 1e3 per 1.00 } ]",
        "earn: [ { id: a, on: Order Completed, points: 1 per 1e2 } ]",
        "earn: [ { id: a, on: Visit, points: 1, limit: 3 } ]",
        "earn: [ { id: a, on: Visit, points: 1, limit: 2 per PT36H } ]",
        "earn: [ { id: a, on: Visit, points: 1, limit: 1 per P1DT12H } ]",
        "earn: [ { id: a, on: Visit, points: 1, limit: 1  per  month, review: required, unique_by: event.url } ]",
        "wallets: { points: { pending: P0D, cost: 0.01 eur, undo: { restore: grace P1M } } }",
        "wallets: { points: { expires: { after_inactivity: P1Y2M, remind: PT12H } } }",
        "segments: { a: { top: 0.0005%, by: spend }, b: { top: 100 %, by: spend } }",
        "pilot: { share: 0.01%, salt: a }",
        "traits: { a: { type: email, identifies: true }, b: { type: list, identifies: false } }",
        "traits: { a: { type: text, identifies: loyalty }, b: { type: number, identifies: till_id } }",
        "features: { a: { distinct: event.x, on: page, within: PT1H }, b: { last: Visit } }",
        "join: { on: [Loyalty Joined] }",
        "rates: { USD: 0.92, jpy: 0.006 }",
        "tiers: { by: spend, levels: [ { id: a, from: 0 }, { id: b, from: 0.50 } ] }",
    ] {
        let text = with(sections);
        assert_eq!(program::compile(&text).err(), None, "{sections}");
        assert_eq!(marked(&program::parse_value(&text).unwrap()), None, "{sections}");
    }
}

/// Rules on an order with these keys.
fn on_orders(keys: &[&str]) -> Vec<String> {
    keys.iter()
        .map(|keys| format!("earn: [ {{ id: r, on: Order Completed, points: 1 per 1.00 }}, {{ id: a, {keys} }} ]"))
        .collect()
}

fn inside(before: &str, each: &[&str], after: &str) -> Vec<String> {
    each.iter().map(|part| format!("{before}{part}{after}")).collect()
}

/// Earning rules that cannot be.
const RULES: &[&str] = &[
    "on: Order Completed",
    "on: Order Completed, points: 1, multiply: 2",
    "on: Order Completed, points: 1, lines: product.price > 1",
    "on: Order Completed, multiply: 2, limit: 1",
    "on: Order Completed, multiply: 2, unique_by: event.url",
    "on: Order Completed, multiply: 2, review: required",
    "on: Order Completed, multiply: 1001",
    "on: Order Completed, points: 1, review: required",
    "on: Order Completed, points: 1, unique_by: event.shop",
    "on: Order Refunded, points: 1",
    "on: Order Cancelled, points: 1",
    "on: Order Updated, points: 1",
    "on: Visit, points: 1 per 1.00",
    "on: Visit, multiply: 2",
    "on: '  ', points: 2",
    "on: Visit, points: 2, when: ' '",
    "on: Visit, points: 2, limit: null",
];

/// Limits that are none.
const LIMITS: &[&str] =
    &["1 per week", "1 per hour", "1 per P1M", "0 per day", "0", "1 per P", "1 per PT", "1 per P0D", "once"];

/// Lengths of time that are none.
const LENGTHS: &[&str] = &["P", "PT", "P1DT", "30 days", "P1D1W", "p30d"];

/// Rates that are none.
const RATES: &[&str] =
    &["0 per 1.00", "1 per 0", "1 per 0.00 EUR", "1 for 1.00", "1 per 1,00", "-1 per 1.00", "1 per 1.00 EURO"];

/// Ends of points that contradict themselves.
const EXPIRES: &[&str] = &[
    "{}",
    "{ remind: P1D }",
    "{ from: earned }",
    "{ after: P1Y, after_inactivity: P1Y }",
    "{ after: P0D }",
    "{ after: P }",
    "{ after: P1Y, remind: PT0H }",
];

/// Pilots that let nobody in, or everybody.
const PILOTS: &[&str] = &[
    "{}",
    "{ share: 10% }",
    "{ salt: a }",
    "{ share: 0%, salt: a }",
    "{ share: 110%, salt: a }",
    "{ share: 100.5%, salt: a }",
    "{ share: 0.001%, salt: a }",
    "{ share: 10%, salt: a, segment: s }",
];

/// Features that compute nothing, or two things.
const FEATURES: &[&str] = &[
    "a: {}",
    "a: { count: page, sum: event.x, on: page }",
    "a: { count: page, on: page }",
    "a: { sum: event.x }",
    "a: { max: event.x, min: event.x, on: page }",
    "a: { count: page, within: P1M }",
    "a: { count: page, within: P0D }",
    "a-b: { count: page }",
    "1a: { count: page }",
    "a b: { count: page }",
    "orders: { count: page }",
    "p_alive: { count: page }",
];

/// Traits that cannot identify, and names that are none.
const TRAITS: &[&str] = &[
    "a: { type: text, identifies: true }",
    "a: { type: date, identifies: born }",
    "a: { type: email, identifies: mail }",
    "a: { type: text, identifies: email }",
    "a: { type: text, identifies: Till }",
    "a-b: { type: text }",
    "1a: { type: text }",
];

/// Everything else.
const OTHERS: &[&str] = &[
    "milestones: [ { id: a, when: orders > 5, grant: {} } ]",
    "benefits: { a: { on: Order Completed, grant: { impact: {} } } }",
    "benefits: { a: { on: Order Completed, grant: { impact: { trees: 0 } } } }",
    "benefits: { a: { on: Order Completed, grant: { impact: { two-words: 1 } } } }",
    "benefits: { a: \"a\\u0007b\" }",
    "rewards: [ { id: a, name: A, points: 5, stock: 0 } ]",
    "rewards: [ { id: a, name: \"a\\tb\", points: 5 } ]",
    "rewards: [ { id: a, name: '  ', points: 5 } ]",
    "join: { on: [] }",
    "tiers: { by: spend, levels: [ { id: a, from: 0, benefits: [b] } ] }\nbenefits: { b: { on: Order Refunded, grant: { impact: { t: 1 } } } }",
    "segments: { a: { top: 0%, by: spend } }",
    "segments: { a: { top: 101%, by: spend } }",
    "segments: { a: { top: 0.00005%, by: spend } }",
    "rates: { USD: 0 }",
    "rates: { dollars: 1 }",
    "tiers: { by: spend, levels: [ { id: a, from: 5 } ] }",
    "tiers: { by: points.earned, levels: [ { id: a, from: 0 }, { id: b, from: 5.5 } ] }",
    "wallets: { points: { undo: { restore: grace P0D } } }",
    "wallets: { points: { undo: { restore: grace 30 } } }",
    "wallets: { points: { cost: 0.01 } }",
];

/// What a schema can know to be wrong.
fn wrong() -> Vec<String> {
    [
        on_orders(RULES),
        inside("earn: [ { id: a, on: Visit, points: 1, limit: '", LIMITS, "' } ]"),
        inside("wallets: { points: { pending: '", LENGTHS, "' } }"),
        inside("earn: [ { id: a, on: Order Completed, points: '", RATES, "' } ]"),
        inside("wallets: { points: { expires: ", EXPIRES, " } }"),
        inside("segments: { s: orders > 5 }\npilot: ", PILOTS, ""),
        inside("features: { ", FEATURES, " }"),
        inside("traits: { ", TRAITS, " }"),
        OTHERS.iter().map(|other| (*other).into()).collect(),
    ]
    .concat()
}

#[test]
fn what_a_schema_can_know_to_be_wrong_is_refused_by_both() {
    for sections in wrong() {
        let text = with(&sections);
        assert!(program::compile(&text).is_err(), "the check accepts {sections}");
        assert!(marked(&program::parse_value(&text).unwrap()).is_some(), "the schema accepts {sections}");
    }
}

#[test]
fn an_editor_offers_no_null() {
    let text = program::schema().to_string();
    assert!(!text.contains(r#""type":"null""#) && !text.contains(":null"), "null is no value in a programme");
    assert_eq!(program::schema()["$defs"]["EarnRule"]["properties"]["when"]["$ref"], json!("#/$defs/Expression"));
}
