//! Purchases folded per second, on one core, under `EcoExplorers`: the engine alone.
//!
//!     cargo run --release -p perennial-core --example bench_fold -- [ROUNDS] [many|one]
//!
//! Two shops. `many`: 2,000 members who buy 50 times each. `one`: a single member who buys twice a
//! day for 50,000 purchases; its first tenth beside its last says whether history slows the fold.
//! Wake-ups that come due are fired on the way, as the workspace does, and counted in the time.
//! Seconds are those this thread had a processor (`/proc/thread-self/schedstat`), because other work
//! may share the machine; wall seconds are printed beside them.

use mimalloc::MiMalloc;
use std::hint::black_box;
use std::time::Instant;

use perennial_core::command::{self, Neighbours};
use perennial_core::customer::Customer;
use perennial_core::engine;
use perennial_core::event::{Body, Event, Line, Order, Origin, Product};
use perennial_core::id::{CustomerId, Identifier, IdentifierKind, Secret};
use perennial_core::input::{Asked, Command};
use perennial_core::packed::Packed;
use perennial_core::program;
use perennial_core::rules::Rules;
use perennial_core::time::Timestamp;
use perennial_core::value::Properties;
use rust_decimal::Decimal;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const PROGRAM: &str = include_str!("../../../programs/ecoexplorers.yaml");
const START_MS: i64 = 1_577_869_200_000; // New Year's Day of 2020.
const HALF_A_DAY_MS: i64 = 43_200_000;
const PRODUCTS: u32 = 500;
const CHUNK: u32 = 1_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    let rules = rules()?;
    let mut many: Vec<Figures> = Vec::new();
    let mut one: Vec<Figures> = Vec::new();
    let only = std::env::args().nth(2);
    let wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
    for _ in 0..rounds.max(1) {
        if wanted("many") {
            many.push(shop(&rules, 2_000, 50));
        }
        if wanted("one") {
            one.push(shop(&rules, 1, 50_000));
        }
    }
    for (name, runs) in [("many", &mut many), ("one", &mut one)].into_iter().filter(|(_, runs)| !runs.is_empty()) {
        let median = |of: fn(&Figures) -> f64| {
            let mut all: Vec<f64> = runs.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        println!(
            "shop={name} events_per_cpu_second={:.0} events_per_second={:.0} last_tenth_to_first={:.3} facts={}",
            median(Figures::per_cpu_second),
            median(|f| f.events / f.wall),
            median(|f| f.first_tenth / f.last_tenth),
            runs.first().map_or(0, |f| f.facts),
        );
    }
    Ok(())
}

/// What one run came to: events, seconds, and seconds of the first and last tenth.
#[derive(Clone, Copy, Default)]
struct Figures {
    events: f64,
    cpu: f64,
    wall: f64,
    first_tenth: f64,
    last_tenth: f64,
    facts: usize,
}

impl Figures {
    fn per_cpu_second(&self) -> f64 {
        self.events / self.cpu
    }
}

/// Folds `each` purchases of `members` members, in chunks that are made outside the measured time.
fn shop(rules: &Rules, members: u32, each: u32) -> Figures {
    let features = || rules.latest().map(|edition| edition.blank_features()).unwrap_or_default();
    let name = |n: u32| CustomerId(rules.secret.digest(&[&n.to_le_bytes()]));
    let mut customers: Vec<Customer> =
        (0..members).map(|n| member(rules, Customer::new(name(n), features(), rules.latest_version()))).collect();
    let total = members * each;
    let mut figures = Figures { events: f64::from(total), ..Figures::default() };
    for from in (0..total).step_by(CHUNK as usize) {
        let purchases: Vec<(usize, Event)> =
            (from..total.min(from + CHUNK)).map(|n| ((n % members) as usize, purchase(n, n / members))).collect();
        let (began, cpu) = (Instant::now(), cpu_seconds());
        for (member, event) in &purchases {
            figures.facts += fold(rules, &mut customers[*member], event);
        }
        let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        figures.wall += wall;
        figures.cpu += cpu;
        if from < total / 10 {
            figures.first_tenth += cpu;
        } else if from >= total - total / 10 {
            figures.last_tenth += cpu;
        }
    }
    black_box(&customers);
    assert!(customers.iter().all(|c| c.faults().is_empty()), "every member's points balance");
    figures
}

/// Lets a customer join.
fn member(rules: &Rules, mut customer: Customer) -> Customer {
    let at = Timestamp::from_millis(START_MS - 1);
    let command = Command::Enroll;
    let customer_name = Identifier { kind: IdentifierKind::User, value: "ana".into() };
    let asked = Asked { at, by: "bench".into(), customer: customer_name, key: None, fingerprint: [0; 16], command };
    let (_, result) = command::admit(rules, &mut customer, &asked, &Neighbours { seq: 1, ..Neighbours::default() });
    assert!(result.is_ok(), "everybody may join");
    customer
}

/// What is due, then the event: how many facts followed.
fn fold(rules: &Rules, customer: &mut Customer, event: &Event) -> usize {
    let mut facts = 0;
    while let Some(timer) = customer.timers.first().filter(|t| t.at <= event.at).copied() {
        facts += black_box(engine::fire(rules, customer, timer, event.at)).len();
    }
    facts += black_box(engine::apply(rules, customer, event)).len();
    drop(customer.orders.take_left()); // A workspace puts them away.
    facts
}

fn rules() -> Result<Rules, Box<dyn std::error::Error>> {
    let program = program::compile(PROGRAM).map_err(|problems| format!("{problems:?}"))?;
    let mut rules = Rules::new(Secret([7; 16]));
    rules.publish(program, Timestamp::from_millis(START_MS));
    let product = |n: u32| Product {
        product_id: format!("gear-{n}").into(),
        tags: if n.is_multiple_of(5) {
            ["featured-eco".into(), "outdoor".into()].into()
        } else {
            ["outdoor".into()].into()
        },
        impact: [("waste_kg".into(), 20 + i64::from(n % 7))].into(),
        about: Properties::default(),
    };
    rules.learn_products(&(0..PRODUCTS).map(product).collect::<Vec<_>>());
    Ok(rules)
}

/// The `n`-th purchase, the member's own `nth`: two lines, one of them featured half of the time.
fn purchase(n: u32, nth: u32) -> Event {
    let at = Timestamp::from_millis(START_MS + i64::from(nth) * HALF_A_DAY_MS + i64::from(n % 977));
    let cents = |n: u32| Decimal::new(i64::from(n), 2);
    let (first, second) = (500 + n % 9_000, 1_000 + n % 4_000);
    let line = |product: u32, price: u32| Line {
        product_id: format!("gear-{}", product % PRODUCTS).into(),
        price: Some(cents(price)),
        quantity: 1.into(),
        ..Line::default()
    };
    let order = Order {
        order_id: format!("order-{n}").into(),
        currency: Some("USD".into()),
        total: Some(cents(first + second)),
        lines: vec![line(n, first), line(n * 5 + n % 2, second)],
        ..Order::default()
    };
    Event {
        message_id: format!("message-{n}").into(),
        source: "shop".into(),
        at,
        original_at: None,
        received_at: at,
        origin: Origin::Live,
        ids: Identifier::user("ana").into_iter().collect(),
        traits: Properties::default(),
        body: Body::Ordered(order),
        properties: Packed::default(),
        consent: Vec::new(),
        opted_out: false,
        context: Packed::default(),
    }
}

/// Seconds that this thread had a processor; nothing where the system does not count them.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}
