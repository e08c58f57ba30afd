//! The programme at a glance: sums over all customers.
//!
//! Promise: the writer is held only for what changed since the last checkpoint, and never for more
//! than [`NEWS_MAX`] customers; everybody else is summed from the state's rows on the caller's
//! thread. Every customer counts once.
//! Absent on purpose: rates and trends. They need a control and an interval, and come with the
//! experiments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use perennial_core::customer::Customer;
use perennial_core::id::{CustomerId, Identifier};
use perennial_core::ledger::Buckets;
use perennial_core::program::Program;
use perennial_core::rules::Edition;
use perennial_core::time::Timestamp;
use perennial_store::{Failure, State};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Workspace, warm};

/// Customers that the writer sums itself; with more news, the sums are those of the last checkpoint.
const NEWS_MAX: usize = 5_000;
/// Rows read at once.
const SLICE: usize = 1_000;
/// Products looked at for examples.
const PRODUCTS_SEEN: usize = 5_000;
/// Example products of each sort.
const PRODUCTS_SHOWN: usize = 4;
/// A member who ordered within so many days is active.
const ACTIVE_DAYS: i64 = 90;
const DAY_MS: i64 = 86_400_000;

/// The programme in sums.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct OverviewView {
    /// The programme in force.
    pub programme: ProgrammeView,
    /// Everybody known, members or not.
    pub customers: u64,
    /// Those who joined.
    pub members: u64,
    /// Members with an order in the last 90 days.
    pub members_active: u64,
    /// Members with two orders or more that stand.
    pub members_repeat: u64,
    /// Orders of everybody that stand.
    pub orders: i64,
    /// What is left of them after refunds, in the programme's currency.
    pub spend: String,
    /// The first of these orders.
    pub first_order_at: Option<String>,
    /// The last of these orders.
    pub last_order_at: Option<String>,
    /// Points of all members by where they are now.
    pub points: PointSums,
    /// What outstanding points would cost; absent when the programme does not say what one costs.
    pub liability: Option<LiabilityView>,
    /// Members of each tier, the lowest first.
    pub tiers: Vec<TierCount>,
    /// Customers in each segment.
    pub segments: Vec<SegmentCount>,
    /// Impact of all members by unit, in decimals.
    pub impact: BTreeMap<String, String>,
    /// A few customers worth a look.
    pub examples: Vec<ExampleView>,
    /// A few products of the catalogue.
    pub products: Vec<ProductView>,
    /// The instant these sums hold for.
    pub as_of: String,
    /// The last journal entry they know for certain.
    pub seq: u64,
    /// Milliseconds that summing took; the sums are kept for twenty times as long.
    pub took_ms: u64,
}

/// The programme in force.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ProgrammeView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version in this workspace.
    pub version: u32,
    /// Its currency.
    pub currency: String,
    /// Its time zone.
    pub time_zone: String,
}

/// Points by where they are: granted is the sum of all the others but arrears.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct PointSums {
    /// All that were ever granted.
    pub granted: i64,
    /// Inside the return window.
    pub pending: i64,
    /// Can be spent.
    pub available: i64,
    /// Set aside.
    pub held: i64,
    /// Paid for rewards.
    pub spent: i64,
    /// Used to fill arrears.
    pub settled: i64,
    /// Lapsed.
    pub expired: i64,
    /// Taken back after refunds.
    pub reversed: i64,
    /// Given up at erasure.
    pub forfeited: i64,
    /// Owed by members after refunds of points already spent.
    pub arrears: i64,
}

/// What outstanding points would cost.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct LiabilityView {
    /// Pending, available and held.
    pub points: i64,
    /// What the programme says one costs.
    pub cost_per_point: String,
    /// Points times cost.
    pub amount: String,
}

/// Members of a tier.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct TierCount {
    /// The level's id.
    pub id: String,
    /// Members who hold it.
    pub members: u64,
}

/// Customers in a segment.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct SegmentCount {
    /// The segment's id.
    pub id: String,
    /// Customers in it.
    pub customers: u64,
}

/// A customer worth a look.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ExampleView {
    /// A name of theirs, as the API takes it.
    pub customer: String,
    /// Why they are shown: `tier:gold`, `segment:lapsed`.
    pub why: String,
    /// Orders that stand.
    pub orders: i64,
    /// Points to spend.
    pub available: i64,
}

/// A product of the catalogue.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ProductView {
    /// The shop's product id.
    pub product_id: String,
    /// What it is called.
    pub name: String,
    /// Labels that rules ask for.
    pub tags: Vec<String>,
    /// Impact of one piece by unit, in decimals.
    pub impact: BTreeMap<String, String>,
}

/// What is needed to sum everybody up: the news, already summed, and the rows of the rest.
pub struct Survey {
    edition: Option<Arc<Edition>>,
    state: State,
    /// Customers who are in `news`, or are no more.
    counted: BTreeSet<CustomerId>,
    news: Tally,
    products: Vec<ProductView>,
    now: Timestamp,
    seq: u64,
}

impl Workspace {
    /// Gathers what an overview needs; quick, whatever the number of customers.
    ///
    /// # Errors
    /// The store's failure.
    pub fn survey(&mut self, now: Timestamp) -> Result<Survey, Failure> {
        self.ready(now)?;
        let edition = self.rules.latest().cloned();
        let mut survey = Survey {
            products: products(self.rules.catalog.values()),
            edition,
            state: self.state.clone(),
            counted: self.warm.gone().collect(),
            news: Tally::default(),
            now: self.now,
            seq: self.state.position()?,
        };
        let Some(edition) = survey.edition.clone() else { return Ok(survey) };
        let news: Vec<&Customer> = self.warm.unwritten().take(NEWS_MAX + 1).collect();
        if news.len() <= NEWS_MAX {
            survey.seq = self.journal.last_seq();
            for customer in news {
                survey.counted.insert(customer.id);
                survey.news.add(&edition.program, customer, self.now);
            }
        }
        Ok(survey)
    }
}

impl Survey {
    /// Sums everybody up. Takes a few microseconds a customer: call it off the writer's thread.
    ///
    /// # Errors
    /// The store's failure.
    pub fn sum(mut self) -> Result<OverviewView, Failure> {
        let Some(edition) = self.edition.take() else { return Ok(OverviewView::default()) };
        let program = &edition.program;
        let mut tally = std::mem::take(&mut self.news);
        let mut after = None;
        loop {
            let rows = self.state.customers(after, SLICE)?;
            let Some(last) = rows.last() else { break };
            after = Some(last.id);
            for row in rows.iter().filter(|row| !self.counted.contains(&row.id)) {
                tally.add(program, &warm::decode(row)?, self.now);
            }
        }
        Ok(self.view(program, tally))
    }

    fn view(self, program: &Program, tally: Tally) -> OverviewView {
        OverviewView {
            programme: ProgrammeView {
                id: program.id.to_string(),
                name: program.name.to_string(),
                version: program.version,
                currency: program.currency.code().to_owned(),
                time_zone: program.zone.name().to_owned(),
            },
            customers: tally.customers,
            members: tally.members,
            members_active: tally.active,
            members_repeat: tally.repeat,
            orders: tally.orders,
            spend: program.currency.major(tally.spend).to_string(),
            first_order_at: tally.first.map(|at| at.to_string()),
            last_order_at: tally.last.map(|at| at.to_string()),
            points: tally.points,
            liability: program.points.cost.map(|cost| liability(&tally.points, cost)),
            tiers: tiers(program, &tally),
            segments: segments(program, &tally),
            impact: tally.impact.iter().map(|(unit, n)| (unit.to_string(), thousandths(*n))).collect(),
            examples: tally.examples.into_values().map(|(_, example)| example).collect(),
            products: self.products,
            as_of: self.now.to_string(),
            seq: self.seq,
            took_ms: 0,
        }
    }
}

/// Sums while they grow.
#[derive(Default)]
struct Tally {
    customers: u64,
    members: u64,
    active: u64,
    repeat: u64,
    orders: i64,
    spend: i64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    points: PointSums,
    levels: BTreeMap<u8, u64>,
    segments: BTreeMap<Box<str>, u64>,
    impact: BTreeMap<Box<str>, i64>,
    /// For each reason the customer who spent most, with what they spent.
    examples: BTreeMap<String, (i64, ExampleView)>,
}

impl Tally {
    fn add(&mut self, program: &Program, customer: &Customer, now: Timestamp) {
        let standing = &customer.orders.standing;
        self.customers += 1;
        self.orders += standing.count;
        self.spend += standing.spend;
        self.first = self.first.into_iter().chain(standing.first).min();
        self.last = self.last.max(standing.last);
        for inside in &customer.segments {
            *self.segments.entry(inside.segment.clone()).or_default() += 1;
            self.exemplify(format!("segment:{}", inside.segment), customer);
        }
        let Some(member) = &customer.member else { return };
        self.members += 1;
        self.repeat += u64::from(standing.count >= 2);
        self.active += u64::from(standing.last.is_some_and(|at| now.since(at) <= ACTIVE_DAYS * DAY_MS));
        self.points.add(&member.wallet.totals(), member.wallet.arrears);
        for (unit, n) in &member.impact {
            *self.impact.entry(unit.clone()).or_default() += n;
        }
        if let Some(status) = &member.tier {
            *self.levels.entry(status.level).or_default() += 1;
            let level = program.tiers.as_ref().and_then(|t| t.levels.get(usize::from(status.level)));
            level.into_iter().for_each(|level| self.exemplify(format!("tier:{}", level.id), customer));
        }
    }

    /// Keeps the customer as the example of a reason when they spent more than the one before.
    fn exemplify(&mut self, why: String, customer: &Customer) {
        let spend = customer.orders.standing.spend;
        if self.examples.get(&why).is_some_and(|(most, _)| *most >= spend) {
            return;
        }
        let name = customer.identifiers.iter().map(|(id, _)| id).min().map(Identifier::to_string);
        let example = ExampleView {
            customer: name.unwrap_or_else(|| customer.id.to_string()),
            why: why.clone(),
            orders: customer.orders.standing.count,
            available: customer.member.as_ref().map_or(0, |m| m.wallet.available()),
        };
        self.examples.insert(why, (spend, example));
    }
}

impl PointSums {
    fn add(&mut self, of: &Buckets, arrears: i64) {
        self.granted += of.granted;
        self.pending += of.pending;
        self.available += of.available;
        self.held += of.held;
        self.spent += of.spent;
        self.settled += of.settled;
        self.expired += of.expired;
        self.reversed += of.reversed;
        self.forfeited += of.forfeited;
        self.arrears += arrears;
    }
}

fn liability(points: &PointSums, cost: Decimal) -> LiabilityView {
    let points = points.pending + points.available + points.held;
    let amount = cost.checked_mul(Decimal::from(points)).unwrap_or_default();
    LiabilityView { points, cost_per_point: cost.to_string(), amount: amount.round_dp(2).to_string() }
}

fn tiers(program: &Program, tally: &Tally) -> Vec<TierCount> {
    let levels = program.tiers.iter().flat_map(|tiers| &tiers.levels);
    let counts = (0u8..)
        .zip(levels)
        .map(|(n, level)| TierCount { id: level.id.to_string(), members: tally.levels.get(&n).copied().unwrap_or(0) });
    counts.collect()
}

fn segments(program: &Program, tally: &Tally) -> Vec<SegmentCount> {
    let counts = program.segments.iter().map(|segment| SegmentCount {
        id: segment.id.to_string(),
        customers: tally.segments.get(&segment.id).copied().unwrap_or(0),
    });
    counts.collect()
}

/// Thousandths as a decimal: grams as kilograms.
fn thousandths(n: i64) -> String {
    Decimal::new(n, 3).normalize().to_string()
}

/// A few products with labels and a few without, among the first of the catalogue.
fn products<'a>(all: impl Iterator<Item = &'a perennial_core::event::Product>) -> Vec<ProductView> {
    let (mut tagged, mut plain) = (Vec::new(), Vec::new());
    for product in all.take(PRODUCTS_SEEN) {
        let name = ["name", "title"].iter().find_map(|key| product.about.get(*key).and_then(|v| v.as_text()));
        let Some(name) = name else { continue };
        let kind = if product.tags.is_empty() { &mut plain } else { &mut tagged };
        if kind.len() < PRODUCTS_SHOWN && !kind.iter().any(|p: &ProductView| p.name == name) {
            kind.push(ProductView {
                product_id: product.product_id.to_string(),
                name: name.to_owned(),
                tags: product.tags.iter().map(ToString::to_string).collect(),
                impact: product.impact.iter().map(|(unit, n)| (unit.to_string(), thousandths(*n))).collect(),
            });
        }
        if tagged.len() + plain.len() == 2 * PRODUCTS_SHOWN {
            break;
        }
    }
    tagged.append(&mut plain);
    tagged
}
