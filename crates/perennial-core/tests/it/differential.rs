//! The predicate tree against the CEL interpreter: the same text, the same customer, the same answer.
//!
//! `since`, `lower` and lengths such as `P90D` are ours; the interpreter gets them as functions and
//! variables. Where a value is missing the interpreter may give up with an error; the tree then
//! still answers, and whenever the interpreter answers too, both agree.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use perennial_core::expr::{Field, Predicate, Scope};
use perennial_core::program::{self, SegmentRule};
use perennial_core::time::Timestamp;
use perennial_core::value::Value;
use proptest::prelude::*;
use rust_decimal::Decimal;

const NOW_MS: i64 = 1_790_000_000_000;
const DAY_MS: i64 = 86_400_000;

/// What is known of a customer; a name that is not there is missing.
#[derive(Clone, Debug, Default)]
struct Known(BTreeMap<&'static str, Value>);

const FEATURES: [&str; 2] = ["first_visit", "visits"];

fn name_of(field: &Field) -> String {
    match field {
        Field::Orders => "orders".into(),
        Field::Spend => "spend".into(),
        Field::LastOrder => "last_order".into(),
        Field::CartValue => "cart.value".into(),
        Field::Tier => "tier".into(),
        Field::Member => "member".into(),
        Field::Feature(i) => FEATURES[usize::from(*i)].into(),
        Field::Trait(name) => format!("customer.{name}"),
        other => panic!("{other:?} is not part of this test"),
    }
}

impl Scope for Known {
    fn field(&self, field: &Field) -> Cow<'_, Value> {
        self.0.get(name_of(field).as_str()).map_or(Cow::Owned(Value::Null), Cow::Borrowed)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOW_MS)
    }
}

fn in_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(b) => cel::Value::Bool(*b),
        Value::Number(n) if n.scale() == 0 => cel::Value::Int(i64::try_from(*n).unwrap()),
        Value::Number(n) => cel::Value::Float(n.to_string().parse().unwrap()),
        Value::Text(text) => (&**text).into(),
        Value::List(items) => items.iter().map(in_cel).collect::<Vec<_>>().into(),
        Value::Map(_) => unreachable!("no maps here"),
    }
}

fn lower(value: cel::Value) -> cel::Value {
    match value {
        cel::Value::String(text) => text.to_lowercase().into(),
        cel::Value::List(items) => items.iter().cloned().map(lower).collect::<Vec<_>>().into(),
        other => other,
    }
}

fn context(known: &Known) -> cel::Context<'static, 'static> {
    let mut context = cel::Context::default();
    let mut maps: BTreeMap<&str, HashMap<&str, cel::Value>> = BTreeMap::from([("customer", HashMap::new())]);
    for (name, value) in &known.0 {
        match name.split_once('.') {
            Some((root, rest)) => {
                maps.entry(root).or_default().insert(rest, in_cel(value));
            }
            None => context.add_variable_from_value(*name, in_cel(value)),
        }
    }
    for (root, map) in maps {
        context.add_variable_from_value(root, map);
    }
    for days in [1, 30, 90] {
        context.add_variable_from_value(format!("P{days}D"), days * DAY_MS);
    }
    context.add_function("since", |at: i64| NOW_MS - at).expect("a new name");
    context.add_function("lower", lower).expect("a new name");
    context
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(Into::into)
}

const ORDERINGS: &[&str] = &["==", "!=", "<", "<=", ">", ">="];
const WORDS: &[&str] = &["", "a", "A", "ab", "Denver", "denver", "élan", "Élan", "🌲", "z"];

fn condition() -> impl Strategy<Value = String> {
    let number =
        one_of(&["orders", "spend", "visits", "cart.value", "customer.age", "size(customer.likes)", "orders * 2 - 3"]);
    let text = one_of(&["customer.city", "lower(customer.city)", "tier"]);
    let instant = one_of(&["last_order", "first_visit"]);
    let word = || prop::sample::select(WORDS).prop_map(|w| format!("'{w}'"));
    let level = one_of(&["'bronze'", "'gold'"]);
    prop_oneof![
        (number, one_of(ORDERINGS), -8i32..40).prop_map(|(n, op, c)| format!("{n} {op} {}", f64::from(c) / 4.0)),
        (one_of(&["orders", "visits"]), one_of(ORDERINGS), -2i64..12).prop_map(|(n, op, c)| format!("{c} {op} {n}")),
        (one_of(&["customer.city"]), one_of(ORDERINGS), word()).prop_map(|(t, op, w)| format!("{t} {op} {w}")),
        (one_of(&["==", "!="]), level).prop_map(|(op, l)| format!("tier {op} {l}")),
        (instant, one_of(ORDERINGS), one_of(&["P1D", "P30D", "P90D"]))
            .prop_map(|(i, op, length)| format!("since({i}) {op} {length}")),
        (text, one_of(&["startsWith", "endsWith", "contains"]), prop::sample::select(&["a", "", "e", "r", "élan"][..]))
            .prop_map(|(t, f, part)| format!("{t}.{f}('{part}')")),
        word().prop_map(|w| format!("{w} in customer.likes")),
        word().prop_map(|w| format!("{} in lower(customer.likes)", w.to_lowercase())),
        Just("tier in ['gold', 'silver']".to_owned()),
        Just("spend in [1, 2.5, 3]".to_owned()),
        one_of(&["member", "customer.vip", "member == true", "customer.vip != false", "true", "false"]),
        one_of(&["has(customer.city)", "has(customer.age)", "has(customer.likes)"]),
        one_of(&["last_order <= first_visit", "orders > visits", "customer.age == orders"]),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    joined(condition(), 24)
}

fn joined(condition: impl Strategy<Value = String> + 'static, size: u32) -> impl Strategy<Value = String> {
    condition.prop_recursive(4, size, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("!({a})")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" && "))),
            prop::collection::vec(inner, 2..4).prop_map(|parts| format!("({})", parts.join(" || "))),
        ]
    })
}

/// Questions about two values, so close that they often contradict each other.
fn narrow() -> impl Strategy<Value = String> {
    prop_oneof![
        (one_of(ORDERINGS), -1i32..9).prop_map(|(op, c)| format!("orders {op} {}", f64::from(c) / 2.0)),
        (one_of(&["==", "!=", "<", ">="]), one_of(&["bronze", "silver", "gold"]))
            .prop_map(|(op, level)| format!("tier {op} '{level}'")),
        one_of(&["tier in ['gold', 'silver']", "orders in [1, 3]", "tier.contains('r')", "tier == null"]),
    ]
}

fn quarters() -> impl Strategy<Value = Value> {
    (-8i64..40).prop_map(|n| Value::Number((Decimal::from(n) / Decimal::from(4)).normalize()))
}

fn amounts() -> impl Strategy<Value = Value> {
    (0i64..40).prop_map(|n| Value::Number((Decimal::from(n) / Decimal::from(4)).normalize()))
}

fn counts() -> impl Strategy<Value = Value> {
    (0i64..12).prop_map(Value::from)
}

fn instants() -> impl Strategy<Value = Value> {
    prop_oneof![0i64..(100 * DAY_MS), prop::sample::select(&[DAY_MS, 30 * DAY_MS, 90 * DAY_MS][..])]
        .prop_map(|ago| Value::from(NOW_MS - ago))
}

fn words() -> impl Strategy<Value = Value> {
    prop::sample::select(WORDS).prop_map(Value::from)
}

fn known() -> impl Strategy<Value = Known> {
    let numbers = (counts(), amounts(), counts(), quarters(), quarters());
    let levels = prop::sample::select(&["bronze", "gold"][..]).prop_map(Value::from);
    let texts = (words(), levels, prop::collection::vec(words(), 0..4).prop_map(Value::List));
    let others = (any::<bool>().prop_map(Value::Bool), any::<bool>().prop_map(Value::Bool), instants(), instants());
    (numbers, texts, others, prop::option::weighted(0.5, 0usize..12)).prop_map(|(n, t, o, missing)| {
        let mut all = vec![
            ("orders", n.0),
            ("spend", n.1),
            ("visits", n.2),
            ("cart.value", n.3),
            ("member", o.0),
            ("tier", t.1),
            ("last_order", o.2),
            ("first_visit", o.3),
            ("customer.age", n.4),
            ("customer.city", t.0),
            ("customer.likes", t.2),
            ("customer.vip", o.1),
        ];
        if let Some(at) = missing {
            all.remove(at);
        }
        Known(all.into_iter().collect())
    })
}

const DECLARED: &str = "
perennial: 1
id: shop
name: Shop
currency: EUR
time_zone: UTC
traits: { age: { type: number }, city: { type: text }, likes: { type: list }, vip: { type: bool } }
tiers: { by: spend, levels: [ { id: bronze, from: 0 }, { id: silver, from: 5 }, { id: gold, from: 9 } ] }
features: { first_visit: { first: page }, visits: { count: page } }
";

/// A programme with one segment.
fn document(text: &str) -> String {
    format!("{DECLARED}segments: {{ s: {} }}\n", serde_json::json!(text))
}

/// What is in force may hold never or always.
fn rule(text: &str) -> SegmentRule {
    let document = document(text);
    let mut program =
        program::compile_published(&document).unwrap_or_else(|problems| panic!("{text}: {}", problems[0]));
    program.segments.remove(0).rule
}

fn ours(text: &str, known: &Known) -> bool {
    match rule(text) {
        SegmentRule::When(predicate) => predicate.holds(known),
        SegmentRule::Top { .. } => unreachable!("the segment is an expression"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_answers_as_the_interpreter_does((text, known) in (expression(), known())) {
        let answer = ours(&text, &known);
        let interpreted = cel::Program::compile(&text).unwrap().execute(&context(&known));
        match interpreted {
            Ok(theirs) => prop_assert_eq!(cel::Value::Bool(answer), theirs, "{}", text),
            Err(error) => prop_assert!(known.0.len() < 12, "{}: the interpreter gave up: {}", text, error),
        }
    }

    #[test]
    fn what_is_said_never_to_hold_never_does((text, known) in (expression(), prop::collection::vec(known(), 20))) {
        if let Err(problems) = program::compile(&document(&text)) {
            let always = problems[0].message.starts_with("this always holds");
            let always_there = ["orders", "spend", "member", "visits"];
            for known in known.iter().filter(|known| always_there.iter().all(|name| known.0.contains_key(name))) {
                prop_assert_eq!(ours(&text, known), always, "{}: {}", text, problems[0]);
            }
        }
    }

    #[test]
    fn a_rule_is_refused_exactly_when_it_never_holds_or_always(text in joined(narrow(), 8)) {
        let SegmentRule::When(rule) = rule(&text) else { unreachable!("the segment is an expression") };
        let tiers = [Value::Null, Value::from("bronze"), Value::from("silver"), Value::from("gold")];
        let everybody = tiers.iter().flat_map(|tier| (0..9).map(move |orders| (tier.clone(), Value::from(orders))));
        let answers: Vec<bool> = everybody
            .map(|(tier, orders)| rule.holds(&Known([("tier", tier), ("orders", orders)].into())))
            .collect();
        let says_nothing = answers.iter().all(|yes| !yes)
            || answers.iter().all(|yes| *yes) && !matches!(rule, Predicate::Compare(..));
        prop_assert_eq!(program::compile(&document(&text)).is_err(), says_nothing, "{}", text);
    }

    #[test]
    fn any_text_compiles_or_is_a_problem(text in "[a-zA-Z0-9_.<>=!&|()' ,\\[\\]+*/%?:{}\"-]{0,60}") {
        let _ = program::compile(&document(&text));
    }
}

#[test]
fn what_is_missing_is_equal_to_nothing_and_never_more_or_less() {
    let nobody = Known::default();
    for (text, expected) in [
        ("customer.age < 5", false),
        ("customer.age >= 5", false),
        ("customer.age == 5", false),
        ("customer.age != 5", true),
        ("customer.age == null", true),
        ("!(customer.age < 5)", true),
        ("'a' in customer.likes", false),
        ("size(customer.likes) == 0", false),
        ("customer.vip", false),
        ("has(customer.city)", false),
        ("since(last_order) >= P90D", false),
        ("orders + 1 > 0", false),
        ("lower(customer.city) == 'a'", false),
    ] {
        assert_eq!(ours(text, &nobody), expected, "{text}");
    }
}

#[test]
fn a_segment_says_when_time_alone_will_change_it() {
    let last_order = NOW_MS - 89 * DAY_MS;
    let known = |now_ms: i64| At { known: Known([("last_order", Value::from(last_order))].into()), now_ms };
    let due = last_order + 90 * DAY_MS;
    for (text, from) in [
        ("since(last_order) >= P90D", 0),
        ("P90D <= since(last_order)", 0),
        ("since(last_order) > P90D", 1),
        ("P90D < since(last_order)", 1),
        ("!(since(last_order) < P90D) || orders > 5", 0),
    ] {
        let SegmentRule::When(predicate) = rule(text) else { unreachable!("the segment is an expression") };
        let (mut now_ms, mut answers) = (NOW_MS, Vec::new());
        while let Some(turn) = predicate.next_change(&known(now_ms)) {
            assert!(turn.as_millis() > now_ms, "{text}: time moves on");
            now_ms = turn.as_millis();
            answers.push((now_ms - due, predicate.holds(&known(now_ms))));
        }
        let lapsed = answers.iter().find(|(_, holds)| *holds).map(|(at, _)| *at);
        assert_eq!(lapsed, Some(from), "{text}: {answers:?}");
    }
}

/// The same customer at another instant.
struct At {
    known: Known,
    now_ms: i64,
}

impl Scope for At {
    fn field(&self, field: &Field) -> Cow<'_, Value> {
        self.known.field(field)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms)
    }
}
