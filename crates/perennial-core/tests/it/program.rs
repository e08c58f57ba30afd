//! Programmes: what compiles, and what is said of what does not.

#![allow(clippy::needless_raw_string_hashes)] // `UPDATE_EXPECT=1` writes them

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use perennial_core::program::{self, Program};
use proptest::prelude::*;
use serde_json::{Value, json};

fn shipped(name: &str) -> String {
    let path = format!("{}/../../programs/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

pub(crate) fn all_shipped() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../programs");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".yaml")?.to_owned()))
        .collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), shipped(&name))).collect()
}

fn said(result: Result<Program, Vec<program::Problem>>) -> String {
    match result {
        Ok(_) => "compiles".into(),
        Err(problems) => problems.iter().fold(String::new(), |said, problem| said + &problem.to_string() + "\n"),
    }
}

/// A whole programme with these sections.
pub(crate) fn with(sections: &str) -> String {
    format!("perennial: 1\nid: shop\nname: Shop\ncurrency: EUR\ntime_zone: Europe/Paris\n{sections}")
}

#[allow(clippy::needless_pass_by_value)] // so that cases read as a table
fn check(sections: &str, expected: Expect) {
    expected.assert_eq(&said(program::compile(&with(sections))));
}

/// Problems of one segment's expression, without their place.
#[allow(clippy::needless_pass_by_value)]
fn asks(expression: &str, expected: Expect) {
    const DECLARED: &str = "
traits: { email: { type: email }, age: { type: number }, likes: { type: list }, vip: { type: bool } }
tiers: { by: spend, levels: [ { id: bronze, from: 0 }, { id: gold, from: 100 } ] }
features: { first_visit: { first: page }, visits: { count: page, within: P7D } }
";
    let segments = format!("{DECLARED}segments: {{ s: {} }}\n", json!(expression));
    expected.assert_eq(&said(program::compile(&with(&segments))).replace("line 10: segments.s: ", ""));
}

#[test]
fn shipped_programmes_compile() {
    let files = all_shipped();
    assert!(files.len() >= 6, "only {} files", files.len());
    for (name, text) in files {
        let program = program::compile(&text).unwrap_or_else(|_| panic!("{name}:\n{}", said(program::compile(&text))));
        assert_eq!(&*program.id, name, "a file is called after its programme");
    }
}

#[test]
fn variants_of_ecoexplorers_differ_only_in_what_they_are_about() {
    let mut spend = program::parse_value(&shipped("ecoexplorers")).unwrap();
    program::merge_patch(&mut spend, &json!({ "id": "ecoexplorers-by-spend", "tiers": { "by": "spend" } }));
    let compiled = program::compile_value(spend).unwrap();
    let file = program::compile(&shipped("ecoexplorers-by-spend")).unwrap();
    assert_eq!(compiled.tiers, file.tiers);
    assert_eq!(file.tiers.unwrap().levels[1].from, 50_000, "500 dollars in cents");
    assert_eq!((compiled.earn, compiled.segments), (file.earn, file.segments));

    let mut pilot = program::parse_value(&shipped("ecoexplorers")).unwrap();
    let patch = json!({ "id": "ecoexplorers-pilot", "pilot": { "share": "10%", "salt": "spring" } });
    program::merge_patch(&mut pilot, &patch);
    assert_eq!(pilot, program::parse_value(&shipped("ecoexplorers-pilot")).unwrap());
}

#[test]
fn json_says_the_same_as_yaml() {
    for (name, text) in all_shipped() {
        let json = serde_json::to_string_pretty(&program::parse_value(&text).unwrap()).unwrap();
        let (from_yaml, from_json) = (program::compile(&text).unwrap(), program::compile(&json).unwrap());
        assert_eq!(format!("{from_yaml:?}"), format!("{from_json:?}"), "{name}");
        let tabbed = json.replace("  ", "\t");
        assert_eq!(format!("{:?}", program::compile(&tabbed).unwrap()), format!("{from_yaml:?}"), "{name} with tabs");
    }
}

#[test]
fn ecoexplorers_becomes_what_it_says() {
    let eco = program::compile(&shipped("ecoexplorers")).unwrap();
    expect![[r##"EarnRule { id: "cleanup-drive", on: "Activity Submitted", when: All([Compare(Field(Event(["activity"])), Eq, Const(Text("cleanup_drive"))), In(Const(Text("#ecoexplorers")), Lower(Field(Event(["hashtags"]))))]), gives: Fixed(200), review: true, unique_by: Some(Field(Event(["url"]))), limit: Some(Limit { count: 1, per: Rolling(Span { months: 0, millis: 2592000000 }) }) }"##]].assert_eq(&format!("{:?}", eco.earn[2]));
    assert_eq!(eco.benefits.len(), 1, "promises of the shop are not granted by events");
    assert_eq!(eco.benefits[0].impact, [("trees".into(), 1_000)]);
    assert_eq!(eco.rewards[1].tier, Some(2));
    assert_eq!(eco.recalled, []);
}

#[test]
fn what_rules_read_of_the_customer_is_recalled_with_the_order() {
    let text = with(
        "
tiers: { by: points.earned, levels: [ { id: base, from: 0 }, { id: gold, from: 500 } ] }
earn:
  - { id: purchase, on: Order Completed, points: 1 per 1.00 }
  - { id: gold, on: Order Completed, when: tier == 'gold', multiply: 1.5 }
  - { id: back, on: Order Completed, when: since(last_order) > P90D, multiply: 2, lines: \"product.price > spend\" }
",
    );
    let fields = program::compile(&text).unwrap().recalled;
    expect![[r#"[Spend, LastOrder, Tier]"#]].assert_eq(&format!("{fields:?}"));
}

#[test]
fn scores_are_read_once_their_model_is_asked_for() {
    let scores = "segments: { risk: p_alive < 0.5 && clv_12m > 100, group: cluster == 'regulars' }";
    let models = "models: { value: { train: weekly }, clusters: { train: on_request } }";
    let compiled = program::compile(&with(&format!("{scores}\n{models}"))).unwrap();
    expect![[r#"{Value: Some(Span { months: 0, millis: 604800000 }), Clusters: None}"#]]
        .assert_eq(&format!("{:?}", compiled.models));
    check(
        scores,
        expect![[r#"
            line 6: segments.group: 'cluster' is said by a model: ask for it with models: { clusters: { train: weekly } }
            line 6: segments.risk: 'p_alive' is said by a model: ask for it with models: { value: { train: weekly } }
            line 6: segments.risk: 'clv_12m' is said by a model: ask for it with models: { value: { train: weekly } }
        "#]],
    );
    check(
        "models: { value: { train: hourly }, mood: { train: daily } }\nfeatures: { cluster: { count: Tested } }",
        expect![[r#"
            line 6: models.value.train: unknown rhythm 'hourly': write daily, weekly, monthly or on_request
            line 6: models.mood: unknown key 'mood': known are clusters, recommend and value
            line 7: features.cluster: 'cluster' means something already: choose another name
        "#]],
    );
    check(
        "models: { value: { train: weekly } }\nsegments: { odd: p_alive == 'high' || clv_12m > next_purchase }",
        expect![[r#"
            line 7: segments.odd: a number cannot be compared with a text: numbers have no quotes
            line 7: segments.odd: a number cannot be compared with an instant: ask since(...) >= P90D, or write timestamp('2026-03-01T09:00:00Z')
        "#]],
    );
}

#[test]
fn money_of_other_currencies_is_counted_in_minor_units() {
    let rates = program::compile(&with("rates: { JPY: 0.0062, USD: 0.92, KWD: 3 }")).unwrap().rates;
    expect!["{JPY: 0.6200, KWD: 0.30, USD: 0.92}"].assert_eq(&format!("{rates:?}"));
}

#[test]
fn every_problem_is_reported_at_once_with_its_place_and_a_remedy() {
    let text = "
perennial: 1
id: Corner Coffee
name: 2026
time_zone: Europe/Pariss
tires: {}
referral: {}
earn:
  - id: purchase
    on: Order Completed
    when: order.totl > 5
    points: 1 per 0
  - id: purchase
    on: Order Completed
    multiply: -1
    limitt: 2
rewards:
  - { id: espresso, name: Espresso, points: twelve, tier: gold }
";
    expect![[r#"
        line 2: programme: missing 'currency', for example currency: EUR
        line 3: id: expected an id of lower-case letters, digits, - and _ like coffee or water-bottle, found 'Corner Coffee'
        line 4: name: expected a text, found the number 2026: put it in quotes
        line 5: time_zone: unknown time zone 'Europe/Pariss': write a name like Europe/Paris or America/Denver
        line 6: tires: unknown section 'tires', did you mean 'tiers'?
        line 7: referral: 'referral' is not built yet: remove it
        line 11: earn[0].when: unknown field 'order.totl', did you mean 'order.total'?
        line 12: earn[0].points: '1 per 0': both numbers of a rate are more than 0
        line 13: earn[1].id: the id 'purchase' is used twice: ids are unique
        line 15: earn[1].multiply: -1 is too little: at least 0
        line 16: earn[1].limitt: unknown key 'limitt', did you mean 'limit'?
        line 18: rewards[0].points: expected a whole number, found the text 'twelve'
        line 18: rewards[0].tier: unknown tier 'gold': it is no level of 'tiers'
    "#]].assert_eq(&said(program::compile(text)));
}

#[test]
fn what_is_no_document_is_said_plainly() {
    let says = |text: &str, expected: Expect| expected.assert_eq(&said(program::compile(text)));
    says(
        "",
        expect![[r#"
        line 1: programme: expected a programme, found nothing
    "#]],
    );
    says(
        "- a\n- b",
        expect![[r#"
        line 1: programme: expected a programme, found a list
    "#]],
    );
    says(
        "perennial: 1\nid: [",
        expect![[r#"
        line 2: programme: this is not readable as YAML (unclosed bracket '[' at line 2, column 5): keys stand in columns, and a text with ': ' or '#' in it needs quotes
    "#]],
    );
    says(
        "perennial: 1\nid: a\nid: b",
        expect![[r#"
            line 1: programme: missing 'name', for example name: Corner Coffee
            line 1: programme: missing 'currency', for example currency: EUR
            line 1: programme: missing 'time_zone', for example time_zone: Europe/Paris
            line 3: id: 'id' is written twice: a name stands once
        "#]],
    );
    says(
        "perennial: 1\n---\nid: b",
        expect![[r#"
            line 3: programme: a file holds one document: take out the line '---' between two
        "#]],
    );
    says(
        "perennial: 1\nearn:\n\t- { id: x }",
        expect![[r#"
        line 3: programme: this is not readable as YAML (tabs disallowed within this context (block indentation) at line 3, column 2): indent with spaces, not with tabs
    "#]],
    );
    says(
        "a: &a [*a]",
        expect![[r#"
            line 1: programme: a part cannot contain itself: write it out instead of naming it after '*'
        "#]],
    );
    says(
        &"[".repeat(100_000),
        expect![[r#"
            line 1: programme: this is nested too deeply: close the brackets that are open
        "#]],
    );
    says(
        &" ".repeat(program::SOURCE_MAX + 1),
        expect![[r#"
        programme: the document has 1048577 bytes, 1048576 are allowed
    "#]],
    );
}

#[test]
fn a_name_without_a_value_is_told_and_one_written_twice_hides_nothing() {
    let begun = "perennial: 1\nid: a\nname: A\ncurrency: EUR\ntime_zone: UTC\n";
    let text = format!(
        "{begun}segments:\n  vip:\n  big: ordrs > 5\nearn:\n-\nrewards: [{{ id: a, id: b, name: A, points: }}]\n"
    );
    expect![[r#"
            line 7: segments.vip: 'vip' has no value: write one, or leave the name out
            line 8: segments.big: unknown field 'ordrs', did you mean 'orders'?
            line 10: earn[0]: expected an earning rule with id, on and points or multiply, found nothing
            line 11: rewards[0].points: expected a whole number, found nothing
            line 11: rewards[0].id: 'id' is written twice: a name stands once
        "#]]
    .assert_eq(&said(program::compile(&text)));
}

#[test]
fn a_rule_gives_points_or_multiplies_them() {
    check(
        "earn: [ { id: a, on: Sign Up, points: 1 per 1.00 } ]",
        expect![[r#"
        line 6: earn[0].points: a rate needs money, so only 'on: Order Completed' has one: write a whole number
    "#]],
    );
    check(
        "earn: [ { id: a, on: Order Completed } ]",
        expect![[r#"
        line 6: earn[0]: missing 'points' or 'multiply', for example points: 1 per 1.00
    "#]],
    );
    check(
        "earn: [ { id: a, on: Order Completed, points: 1, multiply: 2 } ]",
        expect![[r#"
        line 6: earn[0]: 'points' and 'multiply' exclude each other: write two rules
    "#]],
    );
    check(
        "earn: [ { id: a, on: Order Completed, multiply: 2, limit: 1 } ]",
        expect![[r#"
            line 6: earn[0].limit: 'limit' belongs to rules with 'points', not with 'multiply'
            line 6: earn[0].multiply: there is nothing to multiply: no rule gives points at a rate like '1 per 1.00', and whole numbers are not multiplied; write 'points: N' here instead
        "#]],
    );
    check(
        "earn: [ { id: a, on: Order Completed, points: 1 per 1.00 USD } ]",
        expect![[r#"
        line 6: earn[0].points: 'USD' is not the programme's currency EUR
    "#]],
    );
    check(
        "earn: [ { id: a, on: Sign Up, points: 2.5 } ]",
        expect![[r#"
        line 6: earn[0].points: expected a whole number or a rate like 1 per 1.00 or 2 per 1.00 EUR, found the number 2.5
    "#]],
    );
    check(
        "bonuses: { combine: multiplied }",
        expect![[r#"
        line 6: bonuses.combine: unknown policy 'multiplied': write add or multiply, did you mean 'multiply'?
    "#]],
    );
}

#[test]
fn a_factor_needs_points_at_a_rate_unless_it_is_in_force_already() {
    let only_whole =
        "earn:\n  - { id: visit, on: Order Completed, points: 5 }\n  - { id: happy, on: Order Completed, multiply: 2 }";
    check(
        only_whole,
        expect![[r#"
        line 8: earn[1].multiply: there is nothing to multiply: no rule gives points at a rate like '1 per 1.00', and whole numbers are not multiplied; write 'points: N' here instead
    "#]],
    );
    assert!(program::compile_published(&with(only_whole)).is_ok());
    let rate = only_whole.replace("points: 5", "points: 5 per 1.00");
    assert!(program::compile(&with(&rate)).is_ok());
    // What is wrong with the rate itself is said alone.
    check(
        &only_whole.replace("points: 5", "points: 5 per 0"),
        expect![[r#"
        line 7: earn[0].points: '5 per 0': both numbers of a rate are more than 0
    "#]],
    );
}

#[test]
fn a_rule_asks_what_its_event_has() {
    check(
        "earn: [ { id: a, on: Sign Up, when: order.total > 5, multiply: 2 } ]",
        expect![[r#"
        line 6: earn[0].when: order.total is only known on order events
        line 6: earn[0].multiply: only orders are multiplied: write 'on: Order Completed'
    "#]],
    );
    check(
        "earn: [ { id: a, on: Order Completed, points: 5, lines: product.price > 1 } ]",
        expect![[r#"
        line 6: earn[0].lines: 'lines' belongs to 'multiply': it says which lines count more
    "#]],
    );
    check(
        "earn: [ { id: a, on: Order Completed, when: product.price > 1, points: 5 } ]",
        expect![[r#"
        line 6: earn[0].when: product.price is only known in 'lines' of an earning rule, for each line
    "#]],
    );
    check(
        "earn: [ { id: a, on: Order Completed, points: 1 per 1.00 }, { id: b, on: Order Completed, multiply: 2, lines: product.categori == 'Fruit' } ]",
        expect![[r#"
        line 6: earn[1].lines: unknown field 'product.categori', did you mean 'product.category'?
    "#]],
    );
}

#[test]
fn a_rule_limits_and_reviews_what_it_counts() {
    check(
        "earn: [ { id: a, on: Sign Up, points: 5, limit: 1 per P1M, review: yes } ]",
        expect![[r#"
        line 6: earn[0].review: unknown review 'yes': write required
        line 6: earn[0].limit: '1 per P1M' follows the calendar: write 'per month' or 'per year', or days as P30D
    "#]],
    );
    check(
        "earn: [ { id: a, on: Sign Up, points: 5, limit: once per day, unique_by: event. } ]",
        expect![[r#"
        line 6: earn[0].unique_by: this is no expression, at its end: compare like order.total > 100.00, join with && and ||, quote texts
        line 6: earn[0].limit: 'once per day' is no limit like 1 per P30D, 2 per month or 1 per day
    "#]],
    );
}

#[test]
fn points_live_by_the_policies_that_exist() {
    check(
        "wallets: { points: { pending: 30 days, cost: 0.01 USD } }",
        expect![[r#"
        line 6: wallets.points.cost: 'USD' is not the programme's currency EUR
        line 6: wallets.points.pending: '30 days' is no duration like P30D
    "#]],
    );
    check(
        "wallets: { points: { expires: {} } }",
        expect![[r#"
        line 6: wallets.points.expires: missing 'after', for example after: P12M
    "#]],
    );
    check(
        "wallets: { points: { expires: { after: P1Y, after_inactivity: P1Y } } }",
        expect![[r#"
        line 6: wallets.points.expires.after_inactivity: points lapse 'after' a time or 'after_inactivity', not both: remove one
    "#]],
    );
    check(
        "wallets: { points: { expires: { after: P0D, from: erned, needs_reminder: true } } }",
        expect![[r#"
        line 6: wallets.points.expires.from: unknown moment 'erned': write available or earned, did you mean 'earned'?
        line 6: wallets.points.expires.needs_reminder: 'needs_reminder' is not built yet: remove it
        line 6: wallets.points.expires.after: 'P0D' is no time at all
    "#]],
    );
    check(
        "wallets: { points: { undo: { restore: grace 30 } } }",
        expect![[r#"
        line 6: wallets.points.undo.restore: '30' is no duration like P30D or P12M
    "#]],
    );
    check(
        "wallets: { points: { refunds: { policy: negative } }, stars: {} }",
        expect![[r#"
        line 6: wallets.points.refunds.policy: unknown policy 'negative': write allow_negative or within_balance
        line 6: wallets.stars: unknown key 'stars': known are points
    "#]],
    );
    check(
        "wallets: { points: { undo: { restore: grace P30D }, expires: { after_inactivity: P12M } } }",
        expect!["compiles"],
    );
}

#[test]
fn levels_rise_from_zero_and_name_what_exists() {
    check(
        "tiers: { by: spend, levels: [] }",
        expect![[r#"
        line 6: tiers.levels: the list is empty: write at least one item
    "#]],
    );
    check(
        "tiers: { by: spend, levels: [ { id: a, from: 5 }, { id: b, from: 5 } ] }",
        expect![[r#"
        line 6: tiers.levels[0].from: the first level starts at 0: everybody who joins has it
        line 6: tiers.levels[1].from: levels rise: this one must start above 'a'
    "#]],
    );
    check(
        "tiers: { by: spend, levels: [ { id: a, from: 0 }, { id: a, from: 0.001 } ] }",
        expect![[r#"
        line 6: tiers.levels[1].id: the id 'a' is used twice: ids are unique
        line 6: tiers.levels[1].from: '0.001' is not an amount of EUR up to 1000000000
    "#]],
    );
    check(
        "tiers: { by: points.earned, levels: [ { id: a, from: 0, benefits: [tea] } ] }",
        expect![[r#"
        line 6: tiers.levels[0].benefits[0]: unknown benefit 'tea': declare it under 'benefits'
    "#]],
    );
    check(
        "tiers: { by: visits, drop: two_levels, levels: [ { id: a } ] }",
        expect![[r#"
        line 6: tiers.by: unknown measure 'visits': write points.earned or spend
        line 6: tiers.drop: unknown policy 'two_levels': write one_level or to_earned
        line 6: tiers.levels[0]: missing 'from'
    "#]],
    );
    check(
        "rewards: [ { id: a, name: A, points: 5, tier: gold }, { id: a, name: B, points: 5, per_member: 0 } ]",
        expect![[r#"
            line 6: rewards[1].per_member: 0 is too little: at least 1
            line 6: rewards[0].tier: unknown tier 'gold': it is no level of 'tiers'
            line 6: rewards[1].id: the id 'a' is used twice: ids are unique
        "#]],
    );
    check(
        "benefits: { tree: { on: Order Completed, grant: { impact: { trees: 0.0005 } } } }
tiers: { by: spend, levels: [ { id: a, from: 0, benefits: [tree] } ] }",
        expect![[r#"
        line 6: benefits.tree.grant.impact.trees: impact is more than 0, with at most 3 decimal places
    "#]],
    );
    check(
        "milestones: [ { id: a, when: orders > 5, grant: {} }, { id: b, when: order.total > 5, grant: { points: 5 } } ]",
        expect![[r#"
            line 6: milestones[0].grant: nothing is granted: name a badge or points
            line 6: milestones[1].when: order.total is only known on order events
        "#]],
    );
}

#[test]
fn features_are_exact_and_made_of_events() {
    check(
        "features: { a: { count: page, within: P1M } }",
        expect![[r#"
        line 6: features.a.within: 'P1M' follows the calendar, and windows are exact: write days, as P30D
    "#]],
    );
    check(
        "features: { a: { count: page, sum: order.total } }",
        expect![[r#"
        line 6: features.a: a feature has exactly one of count, sum, max, min, distinct, first and last
    "#]],
    );
    check(
        "features: { a: { sum: order.total } }",
        expect![[r#"
        line 6: features.a: missing 'on': the event whose values 'sum' takes
    "#]],
    );
    check(
        "features: { a: { sum: order.id, on: Order Completed }, b: { max: spend, on: Order Completed } }",
        expect![[r#"
            line 6: features.a.sum: 'sum' takes a number, and this is a text
            line 6: features.b.max: spend is not known here: a feature is made of the event's own values
        "#]],
    );
    check(
        "features: { orders: { count: page }, two-words: { count: page }, since: { count: page } }",
        expect![[r#"
            line 6: features.orders: 'orders' means something already: choose another name
            line 6: features.since: 'since' means something already: choose another name
            line 6: features.two-words: 'two-words' cannot be the name of a feature: expressions use it, so only letters, digits and _
        "#]],
    );
    check(
        "features: { a: { last: Order Completed, on: page }, b: {} }",
        expect![[r#"
        line 6: features.a.on: 'last' names the event already: remove 'on'
        line 6: features.b: a feature has exactly one of count, sum, max, min, distinct, first and last
    "#]],
    );
    check(
        "segments: { a: { top: 0%, by: tier }, b: { top: 5%, by: spend, ranked: hourly } }",
        expect![[r#"
        line 6: segments.b.ranked: unknown rhythm 'hourly': write daily
        line 6: segments.a.top: '0%' is no share like 5%, more than 0% and at most 100%
        line 6: segments.a.by: customers are ranked by one number, like spend or a feature; this is a text
    "#]],
    );
}

#[test]
fn a_slip_in_an_events_name_is_noticed() {
    check(
        "earn: [ { id: a, on: order completed, points: 5 }, { id: b, on: Workshop Attended, points: 5 } ]",
        expect![[r#"
            line 6: earn[0].on: no event is called 'order completed', did you mean 'Order Completed'?
        "#]],
    );
    check(
        "features: { a: { count: Order Complete }, b: { sum: event.x, on: Product Veiwed } }",
        expect![[r#"
        line 6: features.a.count: no event is called 'Order Complete', did you mean 'Order Completed'?
        line 6: features.b.on: no event is called 'Product Veiwed', did you mean 'Product Viewed'?
    "#]],
    );
}

#[test]
fn who_joins_and_how_they_are_recognised() {
    check(
        "pilot: { share: 10% }",
        expect![[r#"
        line 6: pilot: a share needs a salt, any word, like { share: 10%, salt: spring }
    "#]],
    );
    check(
        "pilot: { share: 10%, salt: a, segment: b }",
        expect![[r#"
        line 6: pilot: a pilot is { share: 10%, salt: spring } or { segment: insiders }
    "#]],
    );
    check(
        "pilot: { segment: insidrs }\nsegments: { insiders: orders > 5 }",
        expect![[r#"
        line 6: pilot.segment: unknown segment 'insidrs', did you mean 'insiders'?
    "#]],
    );
    check(
        "join: first_purchase",
        expect![[r#"
        line 6: join: unknown moment 'first_purchase': write first_order or first_identify
    "#]],
    );
    check("join: { on: [Loyalty Joined, first_order] }", expect!["compiles"]);
    check(
        "traits: { till: { type: text, identifies: true }, e-mail: { type: mail } }",
        expect![[r#"
        line 6: traits.e-mail.type: unknown type 'mail': write text, email, phone, number, bool, date or list, did you mean 'email'?
        line 6: traits.e-mail: 'e-mail' cannot be the name of a trait: expressions use it, so only letters, digits and _
        line 6: traits.till.identifies: say as what it identifies: loyalty, or the other system's name like till_id
    "#]],
    );
    check(
        "traits: { till: { type: text, identifies: till_id }, born: { type: date, identifies: born } }",
        expect![[r#"
            line 6: traits.born.identifies: only texts and numbers are other systems' ids
        "#]],
    );
    check(
        "rates: { EUR: 1, USD: 0, CHF: -1, dollars: 1 }",
        expect![[r#"
        line 6: rates.USD: 0 is too little: more than 0
        line 6: rates.CHF: -1 is too little: more than 0
        line 6: rates.EUR: EUR is the programme's own currency: leave it out
        line 6: rates.dollars: 'dollars' is not a currency code of three letters like EUR
    "#]],
    );
}

#[test]
fn conditions_of_every_type_compile() {
    asks("orders >= 2 && since(last_order) >= P90D", expect![[r#"compiles"#]]);
    asks("since(first_visit) < duration('PT36H') || visits > 3", expect![[r#"compiles"#]]);
    asks("customer.vip && !('tea' in customer.likes) && size(customer.likes) > 1", expect![[r#"compiles"#]]);
    asks("customer.email.endsWith('.fr') && has(customer.age) && member", expect![[r#"compiles"#]]);
    asks("last_order > timestamp('2026-03-01T09:00:00Z') && tier in ['bronze', 'gold']", expect![[r#"compiles"#]]);
    asks("-5 < orders * 2 - 1", expect![[r#"compiles"#]]);
    asks("member == true && customer.age != null", expect![[r#"compiles"#]]);
}

#[test]
fn a_condition_reads_only_names_that_are_there() {
    asks(
        "ordrs > 5",
        expect![[r#"
        unknown field 'ordrs', did you mean 'orders'?
    "#]],
    );
    asks(
        "customer.agee > 5 && customer.size > 3",
        expect![[r#"
        unknown field 'customer.agee', did you mean 'customer.age'?
        unknown field 'customer.size': declare it under 'traits'
    "#]],
    );
    asks(
        "tier == 'silver'",
        expect![[r#"
            unknown tier 'silver': levels are bronze or gold
        "#]],
    );
    asks(
        "tier in [gold]",
        expect![[r#"
        unknown field 'gold': if it is a text, put quotes around it, as 'gold'
    "#]],
    );
    asks(
        "tier == 'glod'",
        expect![[r#"
        unknown tier 'glod', did you mean 'gold'?
    "#]],
    );
    asks(
        "event.x == 1 || order.total > 5 || product.price > 1",
        expect![[r#"
        event.* is not known here: this is asked of the customer, not of an event
        order.total is only known on order events
        product.price is only known in 'lines' of an earning rule, for each line
    "#]],
    );
    asks(
        "customer > 5",
        expect![[r#"
        'customer' needs a name after the dot: customer.email, customer.age, customer.likes or customer.vip
    "#]],
    );
    asks(
        "has(last_order)",
        expect![[r#"
        has() asks for a name with a dot, like has(customer.birthday); built-in names and features are compared instead, like orders > 0
    "#]],
    );
    asks(
        "matches(customer.email, 'x')",
        expect![[r#"
        unknown function 'matches'
    "#]],
    );
}

#[test]
fn an_order_knows_its_day() {
    const EARN: &str = "traits: { birthday: { type: date } }\nearn: [ { id: a, on: Order Completed, points: 1, when: ";
    let asks = |when: &str, expected: Expect| check(&format!("{EARN}{} }} ]", json!(when)), expected);
    asks("order.weekday == 'tuesday'", expect!["compiles"]);
    asks("order.weekday in ['saturday', 'sunday']", expect!["compiles"]);
    asks(
        "order.weekday == 'tuesdy'",
        expect![[r#"
        line 7: earn[0].when: unknown day 'tuesdy', did you mean 'tuesday'?
    "#]],
    );
    asks(
        "order.weekday in ['monday', 'Martes']",
        expect![[r#"
        line 7: earn[0].when: unknown day 'Martes': write monday, tuesday, wednesday, thursday, friday, saturday or sunday
    "#]],
    );
    asks("customer.birthday.endsWith(order.day)", expect!["compiles"]);
    asks(
        "order.weekday == 'Tuesday'",
        expect![[r#"
            line 7: earn[0].when: unknown day 'Tuesday', did you mean 'tuesday'?
        "#]],
    );
    asks(
        "order.at.getDayOfWeek() == 2",
        expect![[r#"
            line 7: earn[0].when: unknown function 'getDayOfWeek': ask order.weekday == 'tuesday', or order.day for the month and day
        "#]],
    );
}

/// What is said of an earning rule with this condition; one that is in force stays so.
fn earns(when: &str, expected: &Expect) {
    let sections = format!("earn: [ {{ id: a, on: Order Completed, points: 1, when: {} }} ]", json!(when));
    expected.assert_eq(&said(program::compile(&with(&sections))).replace("line 6: earn[0].when: ", ""));
    assert_eq!(said(program::compile_published(&with(&sections))), "compiles", "{when}");
}

#[test]
fn a_day_that_never_comes_is_refused() {
    earns(
        "order.day == '14-03'",
        &expect![[r#"
        order.day == '14-03' never holds, for order.day is the month and the day, as '03-14': ask for what it can be
    "#]],
    );
    earns(
        "order.day == '2026-03-14'",
        &expect![[r#"
        order.day == '2026-03-14' never holds, for order.day is the month and the day, as '03-14': ask for what it can be
    "#]],
    );
    earns(
        "order.day.startsWith('2026')",
        &expect![[r#"
        order.day.startsWith('2026') never holds, for order.day is the month and the day, as '03-14': ask for what it can be
    "#]],
    );
    earns("order.day >= '12-24' && order.day <= '12-26'", &expect!["compiles"]);
    earns(
        "order.day >= '12-24' && order.day <= '01-06'",
        &expect![[r#"
        order.day >= '12-24' and order.day <= '01-06' never hold at once: join with || what is enough alone, or mend one of them
    "#]],
    );
    earns(
        "order.weekday == 'tuesday' && order.weekday == 'friday'",
        &expect![[r#"
        order.weekday == 'tuesday' and order.weekday == 'friday' never hold at once: join with || what is enough alone, or mend one of them
    "#]],
    );
    earns(
        "order.weekday == 'tuesday' && (order.weekday == 'friday' || orders < 0)",
        &expect![[r#"
        order.weekday == 'tuesday' and order.weekday == 'friday' never hold at once: join with || what is enough alone, or mend one of them
    "#]],
    );
    earns(
        "order.weekday == 'tuesday' && order.weekday.startsWith('fri')",
        &expect![[r#"
        order.weekday == 'tuesday' and order.weekday.startsWith('fri') never hold at once: join with || what is enough alone, or mend one of them
    "#]],
    );
}

#[test]
fn numbers_and_instants_that_exclude_each_other_are_refused() {
    earns(
        "orders >= 10 && spend > 5 && orders < 5",
        &expect![[r#"
        orders >= 10 and orders < 5 never hold at once: join with || what is enough alone, or mend one of them
    "#]],
    );
    earns(
        "orders > 2 && orders < 3",
        &expect![[r#"
        orders > 2 and orders < 3 never hold at once: join with || what is enough alone, or mend one of them
    "#]],
    );
    earns("order.eligible > 2 && order.eligible < 3", &expect!["compiles"]);
    earns(
        "order.eligible < 0",
        &expect![[r#"
        order.eligible < 0 never holds, for order.eligible is 0 or more: ask for what it can be
    "#]],
    );
    earns(
        "since(last_order) >= P90D && since(last_order) < P30D",
        &expect![[r#"
        since(last_order) >= P90D and since(last_order) < P30D never hold at once: join with || what is enough alone, or mend one of them
    "#]],
    );
    earns(
        "last_order > timestamp('2026-03-01T09:00:00Z') && last_order < timestamp('2026-02-01T09:00:00Z')",
        &expect![[r#"
            last_order > timestamp('2026-03-01T09:00:00Z') and last_order < timestamp('2026-02-01T09:00:00Z') never hold at once: join with || what is enough alone, or mend one of them
        "#]],
    );
}

#[test]
fn words_and_sums_that_exclude_each_other_are_refused() {
    earns(
        "event.kind == 'walk' && !(event.kind in ['walk', 'run'])",
        &expect![[r#"
        event.kind == 'walk' and !(event.kind in ['walk', 'run']) never hold at once: join with || what is enough alone, or mend one of them
    "#]],
    );
    earns(
        "event.kind == 'walk' && event.kind > 5",
        &expect![[r#"
        event.kind == 'walk' and event.kind > 5 never hold at once: join with || what is enough alone, or mend one of them
    "#]],
    );
    earns(
        "size(order.lines) < 1 && size(order.lines) > 2 && has(event.kind)",
        &expect![[r#"
        size(order.lines) < 1 and size(order.lines) > 2 never hold at once: join with || what is enough alone, or mend one of them
    "#]],
    );
    earns(
        "orders * 2 > 10 && orders * 2 < 4",
        &expect![[r#"
        (orders * 2) > 10 and (orders * 2) < 4 never hold at once: join with || what is enough alone, or mend one of them
    "#]],
    );
}

#[test]
fn a_joined_condition_that_always_holds_is_refused() {
    earns(
        "order.weekday != 'saturday' || order.weekday != 'sunday'",
        &expect![[r#"
            this always holds, because order.weekday != 'saturday' or order.weekday != 'sunday' does: join with && what must hold at once, or write "true"
        "#]],
    );
    earns(
        "orders >= 5 || orders < 10",
        &expect![[r#"
            this always holds, because orders >= 5 or orders < 10 does: join with && what must hold at once, or write "true"
        "#]],
    );
    earns("orders >= 0", &expect!["compiles"]);
    check("segments: { everybody: \"true\", nobody: \"false\" }", expect!["compiles"]);
    earns("false", &expect!["compiles"]);
}

#[test]
fn a_reminder_comes_while_the_points_last() {
    let expires = |expires: &str| format!("wallets: {{ points: {{ expires: {expires} }} }}");
    check(
        &expires("{ after: P30D, remind: P60D }"),
        expect![[r#"
        line 6: wallets.points.expires.remind: the reminder would come before the points: remind later, in less time than they are good for
    "#]],
    );
    check(
        &expires("{ after_inactivity: P6M, remind: P1Y }"),
        expect![[r#"
        line 6: wallets.points.expires.remind: the reminder would come before the points: remind later, in less time than they are good for
    "#]],
    );
    check(&expires("{ after: P1Y, remind: P300D }"), expect!["compiles"]);
    check(&expires("{ after: P2M, remind: P60D }"), expect!["compiles"]);
    let long = with(&expires("{ after: P30D, remind: P60D }"));
    assert!(program::compile_published(&long).is_ok());
}

#[test]
fn a_condition_compares_what_can_be_compared() {
    asks(
        "orders > '5'",
        expect![[r#"
        a number cannot be compared with a text: numbers have no quotes
    "#]],
    );
    asks(
        "since(last_order) > 90",
        expect![[r#"
        a length of time cannot be compared with a number: write a length like P90D beside since()
    "#]],
    );
    asks(
        "since(orders) > P90D",
        expect![[r#"
        since() takes an instant like last_order or a feature of first or last, and this is a number
    "#]],
    );
    asks(
        "since(last_order) > P3M",
        expect![[r#"
        'P3M' follows the calendar; here lengths are exact: write days, as P91D
    "#]],
    );
    asks(
        "last_order > P90D",
        expect![[r#"
            an instant cannot be compared with a length of time: ask since(last_order) >= P90D
        "#]],
    );
    asks(
        "orders",
        expect![[r#"
        a number is no condition: compare it with something
    "#]],
    );
    asks(
        "member > true",
        expect![[r#"
        a yes or no has no order: ask == or !=
    "#]],
    );
    asks(
        "(orders > 5) == member",
        expect![[r#"
        a condition cannot be compared: join conditions with && and ||
    "#]],
    );
}

#[test]
fn texts_and_lists_are_asked_in_their_own_way() {
    asks(
        "customer.likes == 'tea'",
        expect![[r#"
        a list cannot be compared with a text: ask "'x' in list" or size(list)
    "#]],
    );
    asks(
        "'tea' in customer.email",
        expect![[r#"
        'in' asks a list, and this is a text
    "#]],
    );
    asks(
        "customer.likes.contains('tea')",
        expect![[r#"
        startsWith, endsWith and contains ask texts, and this is a list: ask "'x' in list"
    "#]],
    );
    asks(
        "lower(customer.email) == 'Ana@example.com'",
        expect![[r#"
        lower() has no capitals, so it is never 'Ana@example.com': write 'ana@example.com'
    "#]],
    );
    asks(
        "'Tea' in lower(customer.likes)",
        expect![[r#"
        lower() has no capitals, so it is never 'Tea': write 'tea'
    "#]],
    );
}

#[test]
fn what_conditions_have_not_is_named_with_what_to_write() {
    asks(
        "orders > 5 ? true : false",
        expect![[r#"
        '? :' is not part of rules: write two rules
    "#]],
    );
    asks(
        "customer.likes.exists(l, l == 'tea')",
        expect![[r#"
        expressions cannot loop (all, exists, map, filter)
    "#]],
    );
    asks(
        "orders / 2 > 5",
        expect![[r#"
        division is not part of rules: multiply the other side
    "#]],
    );
    asks(
        "orders >",
        expect![[r#"
        this is no expression, at its end: compare like order.total > 100.00, join with && and ||, quote texts
    "#]],
    );
    for (wrong, remedy) in [
        ("orders = 5", "near '= 5': write == instead of ="),
        ("orders =< 5", "near '=< 5': write <= instead of =<"),
        ("member and orders > 5", "near 'and orders > 5': write && instead of and"),
        ("member OR orders > 5", "near 'OR orders > 5': write || instead of OR"),
        ("tier == \u{2018}gold\u{2019}", "near '\u{2018}gold\u{2019}': write ' instead of \u{2018}"),
        (
            "android == 5 nor member",
            "near 'nor member': compare like order.total > 100.00, join with && and ||, quote texts",
        ),
    ] {
        let segments = format!("segments: {{ s: {} }}", json!(wrong));
        let expected = format!("line 6: segments.s: this is no expression, {remedy}\n");
        assert_eq!(said(program::compile(&with(&segments))), expected);
    }
    asks(
        "orders => 5",
        expect![[r#"
            this is no expression, near '=> 5': write >= instead of =>
        "#]],
    );
}

/// The YAML examples of the reference, as they are printed.
pub(crate) fn printed_examples() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/programs.md");
    let page = std::fs::read_to_string(path).unwrap();
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()));
    blocks.filter(|block| !block.starts_with("patch:")).collect()
}

/// Examples bring levels of their own, and what other levels brought goes with those.
fn leave_out_unnamed_benefits(document: &mut Value) {
    let levels = document["tiers"]["levels"].as_array().unwrap().clone();
    let is_named =
        |id: &String| levels.iter().any(|level| level["benefits"].as_array().is_some_and(|b| b.contains(&json!(id))));
    document["benefits"].as_object_mut().unwrap().retain(|id, _| is_named(id));
}

#[test]
fn every_example_of_the_reference_compiles() {
    let examples = printed_examples();
    assert!(examples.len() > 15, "only {} examples", examples.len());
    let coffee = &examples[0];
    assert_eq!(said(program::compile(coffee)), "compiles", "the first programme is whole");

    let mut declared = program::parse_value(coffee).unwrap();
    let sections: Vec<Value> = examples.iter().map(|text| program::parse_value(text).unwrap()).collect();
    for section in sections.iter().filter(|section| section.get("pilot").is_none()) {
        program::merge_patch(&mut declared, section);
    }
    for (section, text) in sections.iter().zip(&examples) {
        let mut whole = declared.clone();
        program::merge_patch(&mut whole, section);
        leave_out_unnamed_benefits(&mut whole);
        assert_eq!(said(program::compile_value(whole)), "compiles", "{text}");
    }
}

#[test]
fn the_schema_knows_every_key_of_the_shipped_programmes() {
    let schema = program::schema();
    for (name, text) in all_shipped() {
        let document = program::parse_value(&text).unwrap();
        for section in document.as_object().unwrap().keys() {
            let described = &schema["properties"][section]["description"];
            assert!(described.is_string(), "{name}: '{section}' has no description");
        }
    }
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema["$schema"], json!("https://json-schema.org/draft/2020-12/schema"));
    let undescribed: Vec<&String> = schema["$defs"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, def)| !is_described(def))
        .map(|(name, _)| name)
        .collect();
    assert!(undescribed.is_empty(), "editors show descriptions: {undescribed:?}");
}

fn is_described(definition: &Value) -> bool {
    let properties = definition["properties"].as_object();
    let keys = properties.into_iter().flatten().all(|(_, property)| property["description"].is_string());
    keys && (definition["description"].is_string() || definition["title"].is_string())
}

#[test]
fn a_patch_sets_what_it_names_and_removes_what_is_null() {
    let mut target = json!({ "a": 1, "b": { "c": 2, "d": [1, 2] }, "e": 3 });
    program::merge_patch(&mut target, &json!({ "a": null, "b": { "d": [3], "f": { "g": null } }, "h": 4 }));
    assert_eq!(target, json!({ "b": { "c": 2, "d": [3], "f": {} }, "e": 3, "h": 4 }));
    program::merge_patch(&mut target, &json!([1]));
    assert_eq!(target, json!([1]));
}

/// Every place in a document, as a JSON pointer.
fn places(value: &Value, here: &str, all: &mut Vec<String>) {
    all.push(here.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| places(item, &format!("{here}/{i}"), all));
        }
        Value::Object(map) => map.iter().for_each(|(key, item)| places(item, &format!("{here}/{key}"), all)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_somewhere_compiles_or_is_a_problem(at in any::<prop::sample::Index>(), what in 0usize..16) {
        let oddities = [
            json!(null), json!(true), json!(0), json!(-1), json!(1.5), json!(1e300), json!(u64::MAX), json!(i64::MIN),
            json!(""), json!("x"), json!("P1M"), json!("1 per 0"), json!("\u{0}🌲"), json!([]), json!({}),
            json!([[{ "id": { "a": [] } }]]),
        ];
        let mut document = program::parse_value(&shipped("ecoexplorers")).unwrap();
        let mut all = Vec::new();
        places(&document, "", &mut all);
        let place = at.get(&all);
        *document.pointer_mut(place).unwrap() = oddities[what].clone();
        if let Err(problems) = program::compile_value(document) {
            prop_assert!(!problems.is_empty(), "{}", place);
            for problem in problems {
                let general = problem.path == "programme" && !place.is_empty() && place.matches('/').count() > 1;
                prop_assert!(!general, "{} is reported without its place: {}", place, problem);
            }
        }
    }
}

#[test]
fn the_programme_of_the_predicates_benchmark_compiles() {
    let compiled = program::compile(include_str!("../../examples/predicates.yaml"));
    assert_eq!(compiled.err(), None);
}

/// What is said of each; one that is in force stays so.
#[allow(clippy::needless_pass_by_value)]
fn advises(rows: &[&str], expected: Expect) {
    let mut table = String::new();
    for sections in rows {
        let text = with(sections);
        let told = said(program::compile(&text)).replace("line 6: ", "");
        writeln!(table, "{sections}\n    {}", told.trim_end().replace('\n', "\n    ")).unwrap();
        assert_eq!(said(program::compile_published(&text)), "compiles", "{sections}");
    }
    expected.assert_eq(&table);
}

#[test]
fn a_rule_that_would_not_do_what_it_says_is_refused() {
    advises(
        &[
            "earn: [ { id: o, on: Order Completed, points: 50, review: required } ]",
            "earn: [ { id: o, on: Order Completed, points: 1 per 1.00, unique_by: event.shop } ]",
            "earn: [ { id: o, on: Order Refunded, points: 7 } ]",
            "earn: [ { id: o, on: Order Cancelled, points: 7 } ]",
            "earn: [ { id: o, on: Order Updated, points: 7 } ]",
            "earn: [ { id: o, on: Order Completed, points: 1000000000 per 0.01 } ]",
            "earn: [ { id: o, on: Order Completed, points: 1000000 per 1.00 } ]",
            "earn: [ { id: adjustment, on: Joined, points: 5 } ]",
            "earn: [ { id: o, on: Joined, points: 5, limit: 10001 per year } ]",
            "earn: [ { id: o, on: Joined, points: 5, limit: 10001 } ]",
            "features: { n: { count: Order Refunded } }",
        ],
        expect![[r#"
            earn: [ { id: o, on: Order Completed, points: 50, review: required } ]
                earn[0].review: an order earns at once and is not reviewed: remove 'review', or listen to an event of your own
            earn: [ { id: o, on: Order Completed, points: 1 per 1.00, unique_by: event.shop } ]
                earn[0].unique_by: an order counts once by its own id: remove 'unique_by', or write a 'limit' like 1 per day
            earn: [ { id: o, on: Order Refunded, points: 7 } ]
                earn[0].on: 'Order Refunded' earns nothing: an order earns when it is completed, so write 'on: Order Completed', or an event of your own
            earn: [ { id: o, on: Order Cancelled, points: 7 } ]
                earn[0].on: 'Order Cancelled' earns nothing: an order earns when it is completed, so write 'on: Order Completed', or an event of your own
            earn: [ { id: o, on: Order Updated, points: 7 } ]
                earn[0].on: 'Order Updated' earns nothing: an order earns when it is completed, so write 'on: Order Completed', or an event of your own
            earn: [ { id: o, on: Order Completed, points: 1000000000 per 0.01 } ]
                earn[0].points: '1000000000 per 0.01' is beyond what wallets hold: write 1000000 per 1.00 or less
            earn: [ { id: o, on: Order Completed, points: 1000000 per 1.00 } ]
                compiles
            earn: [ { id: adjustment, on: Joined, points: 5 } ]
                earn[0].id: 'adjustment' is what points of an adjustment are called: choose another id
            earn: [ { id: o, on: Joined, points: 5, limit: 10001 per year } ]
                earn[0].limit: nobody is counted further than 10000: write a smaller limit, or none
            earn: [ { id: o, on: Joined, points: 5, limit: 10001 } ]
                earn[0].limit: nobody is counted further than 10000: write a smaller limit, or none
            features: { n: { count: Order Refunded } }
                compiles
        "#]],
    );
}

#[test]
fn points_wake_before_they_lapse() {
    let points = |points: &str| format!("wallets: {{ points: {{ {points} }} }}");
    let rows = [
        "pending: P60D, expires: { after: P30D, from: earned }",
        "pending: P30D, expires: { after: P30D, from: earned }",
        "pending: P1Y, expires: { after: P11M, from: earned }",
        "pending: P14D, expires: { after: P30D, from: earned }",
        "pending: P60D, expires: { after: P30D }",
    ]
    .map(points);
    advises(
        &rows.each_ref().map(String::as_str),
        expect![[r#"
        wallets: { points: { pending: P60D, expires: { after: P30D, from: earned } } }
            wallets.points.expires.after: points of an order wait P60D and would lapse before they can be spent: write more than that, or count from: available
        wallets: { points: { pending: P30D, expires: { after: P30D, from: earned } } }
            wallets.points.expires.after: points of an order wait P30D and would lapse before they can be spent: write more than that, or count from: available
        wallets: { points: { pending: P1Y, expires: { after: P11M, from: earned } } }
            wallets.points.expires.after: points of an order wait P12M and would lapse before they can be spent: write more than that, or count from: available
        wallets: { points: { pending: P14D, expires: { after: P30D, from: earned } } }
            compiles
        wallets: { points: { pending: P60D, expires: { after: P30D } } }
            compiles
    "#]],
    );
}

#[test]
fn what_nobody_could_ever_profit_from_is_refused() {
    advises(
        &[
            "join: { on: [] }",
            "rewards: [ { id: a, name: A, points: 5, stock: 0 } ]",
            "rewards: [ { id: a, name: A, points: 5, stock: 2, per_member: 3 } ]",
            "tiers: { by: points.earned, levels: [ { id: a, from: 0 }, { id: b, from: 5 } ] }",
            "tiers: { by: points.earned, levels: [ { id: a, from: 0 } ] }",
            "benefits: { tea: Tea for two }",
            "milestones: [ { id: a, when: orders > 5, grant: { badge: x } }, { id: b, when: orders > 9, grant: { badge: x } } ]",
            "rewards: [ { id: a, name: \"a\\0b\", points: 5 } ]",
        ],
        expect![[r#"
            join: { on: [] }
                join.on: no event is named, so nobody joins by one: name some, like [Loyalty Joined], or remove 'join'
            rewards: [ { id: a, name: A, points: 5, stock: 0 } ]
                rewards[0].stock: there is none to buy: write how many there are, or take the reward out
            rewards: [ { id: a, name: A, points: 5, stock: 2, per_member: 3 } ]
                rewards[0].per_member: 3 for one member of a stock of 2: write 2 or less, or leave it out
            tiers: { by: points.earned, levels: [ { id: a, from: 0 }, { id: b, from: 5 } ] }
                tiers.by: no rule and no milestone gives points, so nobody rises: write one, or levels by: spend
            tiers: { by: points.earned, levels: [ { id: a, from: 0 } ] }
                compiles
            benefits: { tea: Tea for two }
                benefits.tea: no level brings 'tea': name it in 'benefits' of one, or take it out
            milestones: [ { id: a, when: orders > 5, grant: { badge: x } }, { id: b, when: orders > 9, grant: { badge: x } } ]
                milestones[1].grant.badge: milestones[0] gives the badge 'x': choose another one
            rewards: [ { id: a, name: "a\0b", points: 5 } ]
                rewards[0].name: a name is one line to read, and '\0' is none of its letters: take it out
        "#]],
    );
    let text = with("").replace("name: Shop", "name: \"a\\0b\"");
    expect![[r#"
        line 3: name: a name is one line to read, and '\0' is none of its letters: take it out
    "#]]
    .assert_eq(&said(program::compile(&text)));
}

#[test]
fn a_pilot_is_open_to_somebody() {
    const LEVELS: &str = "tiers: { by: spend, levels: [ { id: a, from: 0 }, { id: b, from: 5 } ] }\n";
    let pilot = |rule: &str| format!("{LEVELS}segments: {{ s: {} }}\npilot: {{ segment: s }}", json!(rule));
    let rows = [
        "member",
        "points.available > 3",
        "tier == 'b'",
        "orders > 3 && (member || impact.trees > 1)",
        "orders > 3 || member",
        "points.available != 3",
        "!member",
    ];
    let mut table = String::new();
    for rule in rows {
        let text = with(&pilot(rule));
        let told = said(program::compile(&text)).replace("line 8: pilot.segment: ", "");
        writeln!(table, "{rule}\n    {}", told.trim_end()).unwrap();
        assert!(program::compile_published(&text).is_ok());
    }
    expect![[r#"
        member
            only members are ever in 's', and nobody becomes one: choose a segment that asks nothing of membership, level, points or impact
        points.available > 3
            only members are ever in 's', and nobody becomes one: choose a segment that asks nothing of membership, level, points or impact
        tier == 'b'
            only members are ever in 's', and nobody becomes one: choose a segment that asks nothing of membership, level, points or impact
        orders > 3 && (member || impact.trees > 1)
            only members are ever in 's', and nobody becomes one: choose a segment that asks nothing of membership, level, points or impact
        orders > 3 || member
            compiles
        points.available != 3
            compiles
        !member
            compiles
    "#]].assert_eq(&table);
    check(
        "segments: { s: { top: 5%, by: points.earned }, t: { top: 5%, by: spend } }\npilot: { segment: s }",
        expect![[r#"
            line 7: pilot.segment: only members are ever in 's', and nobody becomes one: choose a segment that asks nothing of membership, level, points or impact
        "#]],
    );
}

#[test]
fn a_currency_or_a_date_that_is_none_is_refused() {
    let rule = |when: &str| {
        format!(
            "rates: {{ USD: 0.92 }}\ntraits: {{ birthday: {{ type: date }} }}\nearn: [ {{ id: a, on: Order Completed, points: 1, when: {} }} ]",
            json!(when)
        )
    };
    let mut table = String::new();
    for when in [
        "order.currency == 'USD'",
        "order.currency == 'GBP'",
        "order.currency in ['eur', 'usd']",
        "order.currency != 'usd'",
        "customer.birthday == '1990-03-05'",
        "customer.birthday == '1990-13-45'",
        "customer.birthday == order.day",
        "orders > 5 && !(order.day != customer.birthday)",
        "customer.birthday.startsWith('1990')",
        "customer.birthday < '1990'",
        "orders >= 5 && orders < 3",
        "order.weekday == 'monday' && order.weekday == 'sunday'",
    ] {
        let text = with(&rule(when));
        let told = said(program::compile(&text)).replace("line 8: earn[0].when: ", "");
        writeln!(table, "{when}\n    {}", told.trim_end()).unwrap();
        assert!(program::compile_published(&text).is_ok(), "{when}");
    }
    expect![[r#"
        order.currency == 'USD'
            compiles
        order.currency == 'GBP'
            order.currency == 'GBP' never holds, for order.currency is EUR or USD: ask for what it can be
        order.currency in ['eur', 'usd']
            order.currency in ['eur', 'usd'] never holds, for order.currency is EUR or USD: ask for what it can be
        order.currency != 'usd'
            compiles
        customer.birthday == '1990-03-05'
            compiles
        customer.birthday == '1990-13-45'
            customer.birthday == '1990-13-45' never holds, for customer.birthday is a date, as '1990-03-05': ask for what it can be
        customer.birthday == order.day
            customer.birthday is a whole date, and order.day only its month and day: write customer.birthday.endsWith(order.day)
        orders > 5 && !(order.day != customer.birthday)
            customer.birthday is a whole date, and order.day only its month and day: write customer.birthday.endsWith(order.day)
        customer.birthday.startsWith('1990')
            compiles
        customer.birthday < '1990'
            compiles
        orders >= 5 && orders < 3
            orders >= 5 and orders < 3 never hold at once: join with || what is enough alone, or mend one of them
        order.weekday == 'monday' && order.weekday == 'sunday'
            order.weekday == 'monday' and order.weekday == 'sunday' never hold at once: join with || what is enough alone, or mend one of them
    "#]].assert_eq(&table);
    check(
        "features: { a: { count: Order Completed, when: order.currency == 'GBP' }, b: { count: Order Completed, when: order.currency == 'gbp' } }",
        expect![[r#"
            line 6: features.b.when: order.currency == 'gbp' never holds, for order.currency is three capital letters, as 'EUR': ask for what it can be
        "#]],
    );
}

#[test]
fn a_name_that_is_none_is_told_as_such() {
    check(
        "features: { null: { count: page } }",
        expect![[r#"
            line 6: programme: a name is missing before ':', or is null: write one, in quotes if it is a word of YAML's own
        "#]],
    );
    check(
        "features: { ? : { count: page } }",
        expect![[r#"
            line 6: programme: a name is missing before ':', or is null: write one, in quotes if it is a word of YAML's own
        "#]],
    );
    check(
        "features: { [a]: { count: page } }",
        expect![[r#"
            line 6: programme: the name before ':' is a list or a map: write a text
        "#]],
    );
}

#[test]
fn a_slip_in_writing_a_number_is_told_as_such() {
    check(
        "earn: [ { id: a, on: Visit, points: 1e3 } ]",
        expect![[r#"
        line 6: earn[0].points: expected a whole number or a rate like 1 per 1.00 or 2 per 1.00 EUR: write 1000, in digits alone
    "#]],
    );
    check(
        "earn: [ { id: a, on: Visit, points: 010 } ]",
        expect![[r#"
        line 6: earn[0].points: expected a whole number or a rate like 1 per 1.00 or 2 per 1.00 EUR: write 10, in digits alone
    "#]],
    );
    check(
        "earn: [ { id: p, on: Order Completed, points: 1 per 1,00 } ]",
        expect![[r#"
        line 6: earn[0].00: '00' after a comma begins a new key: write a number with a point, as 1.00
    "#]],
    );
    check(
        "earn:\n  - { id: p, on: Order Completed, points: '1 per 1,00' }",
        expect![[r#"
        line 7: earn[0].points: '1 per 1,00' is no rate like 1 per 1.00: decimal places stand behind a point
    "#]],
    );
    check(
        "earn: [ { id: a, on: Visit, points: 1, limit: 1 per week } ]",
        expect![[r#"
        line 6: earn[0].limit: '1 per week': weeks have no beginning here, write 1 per P7D
    "#]],
    );
    check(
        "earn: [ { id: a, on: Visit, points: 1, limit: 2 per hour } ]",
        expect![[r#"
        line 6: earn[0].limit: '2 per hour': write 2 per PT1H
    "#]],
    );
    check(
        "rewards: [ { id: a, name: A, points: .inf } ]",
        expect![[r#"
            line 6: programme: a number without end is none: write it in digits
        "#]],
    );
    check(
        "segments: { a: { top: 5%, by: orders + spend } }",
        expect![[r#"
            line 6: segments.a.by: customers are ranked by one number, like spend or a feature; this is a calculation: choose one of its numbers
        "#]],
    );
    asks(
        "orders > 99999999999999999999",
        expect![[r#"
            the number 99999999999999999999 is too large: whole numbers have up to 18 digits
        "#]],
    );
    asks(
        "orders > 1,5",
        expect![[r#"
        this is no expression, near ',5': compare like order.total > 100.00, join with && and ||, quote texts
    "#]],
    );
}
