//! Nanoseconds per evaluation: our predicate tree and the CEL interpreter, side by side.
//!
//!     cargo run --release -p perennial-core --example predicate_bench
//!
//! Both answer the same questions about the same customer; each question is compiled once, and the
//! interpreter's context is built once. Every figure is the median of 301 short runs, short enough that
//! other work on the machine spoils only some of them.

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Instant;

use perennial_core::expr::{Field, Predicate, Scope, View};
use perennial_core::program::{self, Gives, SegmentRule};
use perennial_core::time::Timestamp;
use perennial_core::value::Value;

const PROGRAM: &str = include_str!("predicates.yaml");

/// The same customer for both sides.
struct Someone {
    orders: Value,
    last_order: Value,
    tier: Value,
    features: [Value; 2],
    city: Value,
    likes: Value,
    tags: Value,
}

const NOW_MS: i64 = 1_790_000_000_000;
const LAST_MS: i64 = NOW_MS - 100 * 86_400_000;

impl Scope for Someone {
    fn field(&self, field: &Field) -> Cow<'_, Value> {
        Cow::Owned(self.view(field).into_value())
    }

    #[inline]
    fn view(&self, field: &Field) -> View<'_> {
        View::of(match field {
            Field::Orders => &self.orders,
            Field::LastOrder => &self.last_order,
            Field::Tier => &self.tier,
            Field::Feature(i) => &self.features[usize::from(*i)],
            Field::Trait(name) if &**name == "city" => &self.city,
            Field::Trait(_) => &self.likes,
            Field::ProductTags => &self.tags,
            _ => &Value::Null,
        })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOW_MS)
    }
}

fn someone() -> Someone {
    let list = |items: &[&str]| Value::List(items.iter().map(|i| Value::from(*i)).collect());
    Someone {
        orders: 7.into(),
        last_order: LAST_MS.into(),
        tier: "gold".into(),
        features: [6.into(), Value::Number("612.40".parse().expect("a decimal"))],
        city: "Denver".into(),
        likes: list(&["hiking", "climbing", "camping"]),
        tags: list(&["outdoor", "featured-eco"]),
    }
}

/// The questions in the interpreter's words: names flat, lengths in milliseconds.
const IN_CEL: [&str; 6] = [
    "orders_30d > 5",
    "orders >= 2 && now - last_order >= 7776000000",
    "tier == 'gold' && spend_365d > 500.00",
    "customer.city == 'Denver' && 'climbing' in customer.likes",
    "(orders > 3 || spend_365d >= 250.00) && tier == 'gold' && !(customer.city == 'Boulder') && orders_30d < 20",
    "'featured-eco' in product.tags",
];

fn context() -> cel::Context<'static, 'static> {
    use std::collections::HashMap;
    let mut context = cel::Context::default();
    context.add_variable_from_value("orders", 7i64);
    context.add_variable_from_value("orders_30d", 6i64);
    context.add_variable_from_value("spend_365d", 612.40f64);
    context.add_variable_from_value("now", NOW_MS);
    context.add_variable_from_value("last_order", LAST_MS);
    context.add_variable_from_value("tier", "gold");
    let likes: cel::Value = vec!["hiking", "climbing", "camping"].into();
    let customer: HashMap<&str, cel::Value> = HashMap::from([("city", "Denver".into()), ("likes", likes)]);
    context.add_variable_from_value("customer", customer);
    let tags: cel::Value = vec!["outdoor", "featured-eco"].into();
    context.add_variable_from_value("product", HashMap::from([("tags", tags)]));
    context
}

fn median_ns(rounds: u32, mut ask: impl FnMut()) -> f64 {
    let mut runs: Vec<f64> = (0..301)
        .map(|_| {
            let start = Instant::now();
            (0..rounds).for_each(|_| ask());
            start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[150]
}

fn questions() -> Vec<(String, Predicate)> {
    let program = program::compile(PROGRAM).expect("the programme above compiles");
    let segments = program.segments.into_iter().filter_map(|segment| match segment.rule {
        SegmentRule::When(predicate) => Some((segment.id.to_string(), predicate)),
        SegmentRule::Top { .. } => None,
    });
    let lines = program.earn.into_iter().filter_map(|rule| match rule.gives {
        Gives::Multiply { lines: Some(lines), .. } => Some((format!("f-{}", rule.id), lines)),
        _ => None,
    });
    segments.chain(lines).collect()
}

fn main() {
    let (someone, context) = (someone(), context());
    println!("{:<10} {:>10} {:>10} {:>8}", "question", "tree ns", "cel ns", "ratio");
    let mut sums = (0.0, 0.0);
    for ((name, predicate), text) in questions().iter().zip(IN_CEL) {
        let interpreted = cel::Program::compile(text).expect("the question parses");
        let answer = interpreted.execute(&context).expect("the question is answered");
        assert_eq!(answer, cel::Value::Bool(predicate.holds(&someone)), "both sides agree on {name}");
        let tree = median_ns(10_000, || {
            black_box(black_box(predicate).holds(black_box(&someone)));
        });
        let cel = median_ns(500, || {
            black_box(interpreted.execute(black_box(&context)).is_ok());
        });
        println!("{name:<10} {tree:>10.1} {cel:>10.1} {:>7.1}x", cel / tree);
        sums = (sums.0 + tree, sums.1 + cel);
    }
    println!("{:<10} {:>10.1} {:>10.1} {:>7.1}x", "all six", sums.0, sums.1, sums.1 / sums.0);
}
