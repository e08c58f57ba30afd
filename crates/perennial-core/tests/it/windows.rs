//! A segment changes by itself at no instant before the one that the customer asks to be woken at.

use std::fmt::Write as _;

use perennial_core::customer::Customer;
use perennial_core::engine;
use perennial_core::event::{Body, Event, Line, Order, Origin, Refund};
use perennial_core::id::{CustomerId, Identifier, Secret};
use perennial_core::input::TimerKind;
use perennial_core::packed::Packed;
use perennial_core::program;
use perennial_core::rules::Rules;
use perennial_core::time::Timestamp;
use perennial_core::value::{Properties, Value};
use proptest::prelude::*;

const PROGRAM: &str = "
perennial: 1
id: club
name: Club
currency: EUR
time_zone: UTC
features:
  scored: { count: Scored, within: P7D }
  score: { sum: event.points, on: Scored, within: P7D }
  best: { max: event.points, on: Scored, within: P7D }
  scored_last: { last: Scored, within: P7D }
  bought: { count: Order Completed, within: P5D }
  spent: { sum: order.eligible, on: Order Completed, within: P5D }
segments:
";

const RULES: [&str; 18] = [
    "scored > 2",
    "scored >= 2",
    "scored < 2",
    "scored <= 2.5",
    "scored == 2",
    "scored != 2",
    "scored >= 1.5 && bought < 3",
    "3 < scored",
    "score > 5",
    "score >= 5",
    "score < 0",
    "score == 3",
    "!(score <= 2) || scored > 4",
    "best >= 5",
    "since(scored_last) >= P3D",
    "scored in [1, 3]",
    "score > scored",
    "spent > 20.00 || bought == 1",
];

fn rules(segments: &[&str], threshold: Option<i64>) -> Rules {
    let mut text = PROGRAM.to_owned();
    for (n, rule) in segments.iter().enumerate() {
        writeln!(text, "  s{n}: \"{rule}\"").unwrap();
    }
    text += "  top: { top: 50%, by: score, ranked: daily }\n";
    let mut rules = Rules::new(Secret([7; 16]));
    rules.publish(program::compile(&text).unwrap(), Timestamp::EPOCH);
    rules.thresholds.insert("top".into(), threshold);
    rules
}

#[derive(Clone, Debug)]
enum Step {
    Score(i64),
    Buy(i64),
    /// The order that was so many before the last one.
    Refund(usize),
    Wait,
}

fn step() -> impl Strategy<Value = (i64, Step)> {
    let step = prop_oneof![
        5 => (-3..8i64).prop_map(Step::Score),
        3 => (0..15i64).prop_map(Step::Buy),
        1 => (0..4usize).prop_map(Step::Refund),
        1 => Just(Step::Wait),
    ];
    (prop_oneof![4 => 0..36i64, 1 => 0..200i64], step)
}

fn event(n: usize, at: Timestamp, body: Body, properties: &Properties) -> Event {
    Event {
        message_id: format!("m{n}").into(),
        source: "shop".into(),
        at,
        original_at: None,
        received_at: at,
        origin: Origin::Live,
        ids: Identifier::user("ana").into_iter().collect(),
        traits: Properties::default(),
        body,
        properties: properties.clone().into(),
        consent: Vec::new(),
        opted_out: false,
        context: Packed::default(),
    }
}

/// What the `n`-th step sends.
fn sent(n: usize, at: Timestamp, step: &Step, orders: &mut Vec<usize>) -> Option<Event> {
    let mut properties = Properties::default();
    let body = match step {
        Step::Score(points) => {
            properties.set("points", Value::from(*points));
            Body::Track { name: "Scored".into() }
        }
        Step::Buy(euros) => {
            orders.push(n);
            let line =
                Line { product_id: "p".into(), price: Some((*euros).into()), quantity: 1.into(), ..Line::default() };
            let (order_id, total) = (format!("o{n}").into(), Some((*euros).into()));
            Body::Ordered(Order { order_id, total, lines: vec![line], ..Order::default() })
        }
        Step::Refund(ago) => {
            let order = orders.iter().rev().nth(*ago)?;
            Body::Refunded(Refund { order_id: format!("o{order}").into(), ..Refund::default() })
        }
        Step::Wait => return None,
    };
    Some(event(n, at, body, &properties))
}

fn segments(customer: &Customer) -> Vec<String> {
    customer.segments.iter().map(|inside| inside.segment.to_string()).collect()
}

/// As the customer is when it is asked at an instant.
fn segments_at(rules: &Rules, customer: &Customer, at: Timestamp) -> Vec<String> {
    let mut later = customer.clone();
    engine::settle(rules, &mut later, at);
    let mut inside = segments(&later);
    inside.sort_unstable();
    inside
}

proptest! {
    #[test]
    fn nothing_changes_before_the_wake_up_that_was_asked_for(
        chosen in prop::sample::subsequence(RULES.to_vec(), 1..5),
        threshold in prop::option::of(1..9_000_000i64),
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let rules = rules(&chosen, threshold);
        let features = rules.latest().unwrap().blank_features();
        let mut customer = Customer::new(CustomerId([1; 16]), features, 1);
        let (mut at, mut orders, mut times) = (Timestamp::from_millis(1_700_000_000_000), Vec::new(), Vec::new());
        for (n, (hours, step)) in steps.iter().enumerate() {
            at = at.plus_millis(hours * 3_600_000);
            while let Some(due) = customer.timers.first().filter(|timer| timer.at <= at).copied() {
                engine::fire(&rules, &mut customer, due, due.at);
            }
            if let Some(event) = sent(n, at, step, &mut orders) {
                engine::apply(&rules, &mut customer, &event);
            }
            times.push(at);
            let asked = customer.timers.first().filter(|timer| timer.kind == TimerKind::Tick).map(|timer| timer.at);
            prop_assert_eq!(asked, customer.tick);
            let now = segments_at(&rules, &customer, customer.clock);
            let days = |days: i64| move |at: &Timestamp| at.plus_millis(days * 86_400_000);
            let turns = [3, 5, 7].into_iter().flat_map(|n| times.iter().map(days(n)));
            let before = turns.filter(|turn| *turn > customer.clock && asked.is_none_or(|asked| *turn < asked));
            for turn in before {
                prop_assert_eq!(&segments_at(&rules, &customer, turn), &now, "at {}, asked for {:?}", turn, asked);
            }
        }
    }
}

#[test]
fn a_wake_up_is_asked_for_when_a_count_or_a_sum_turns_and_not_before() {
    let day = |n: i64| Timestamp::from_millis(1_700_000_000_000 + n * 86_400_000);
    // Days with 1 point, 2, 3 and 4; the window of a week lets go of them from day 7 on.
    for (rule, turns) in [
        ("scored > 2", Some(8)),
        ("scored >= 2", Some(9)),
        ("scored < 2", Some(9)),
        ("scored <= 3.5", Some(7)),
        ("scored == 2", Some(8)),
        ("scored != 4", Some(7)),
        ("scored > 9", None),
        ("scored == 5", None),
        ("score >= 10", Some(7)),
        ("score > 5", Some(9)),
        ("score > 10", None),
        ("score < 4.5", Some(9)),
        ("score == 7", Some(8)),
        ("best >= 9", Some(7)), // Looked at whenever something leaves.
    ] {
        let rules = rules(&[rule], None);
        let mut customer = Customer::new(CustomerId([1; 16]), rules.latest().unwrap().blank_features(), 1);
        for (n, points) in [1, 2, 3, 4].into_iter().enumerate() {
            let event = sent(n, day(points - 1), &Step::Score(points), &mut Vec::new());
            engine::apply(&rules, &mut customer, &event.unwrap());
        }
        assert_eq!(customer.tick, turns.map(day), "{rule}");
    }
}
