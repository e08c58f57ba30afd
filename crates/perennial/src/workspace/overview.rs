//! The programme at a glance: sums over all customers.
//!
//! Promise: the writer is held only for what moved since the last time, and never for more than
//! [`NEWS_MAX`] customers. Everybody is read once, from the state's rows and on the caller's thread;
//! from then on only customers that moved are. Every customer counts once.
//! Absent on purpose: rates and trends. They need a control and an interval, and come with the
//! experiments.

use std::collections::{BTreeMap, BTreeSet};

use perennial_core::customer::Customer;
use perennial_core::engine;
use perennial_core::event::Product;
use perennial_core::id::{CustomerId, Identifier, Word};
use perennial_core::ledger::Buckets;
use perennial_core::program::Program;
use perennial_core::rules::Rules;
use perennial_core::time::Timestamp;
use perennial_store::{Failure, State};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Workspace, rows};

/// Customers that the writer looks at itself; with more news everybody is read again.
const NEWS_MAX: usize = 2_000;
/// Customers whose shares are kept (about 400 bytes each); with more, everybody is read each time.
const SHARES_MAX: usize = 100_000;
/// Rows read at once.
const SLICE: usize = 1_000;
/// Example products with each set of labels.
const PRODUCTS_SHOWN: usize = 3;
/// Sets of labels shown.
const LABELS_SHOWN: usize = 4;
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
    /// Milliseconds that summing took; the sums are kept for up to twenty times as long.
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

/// What one customer adds to the sums.
struct Share {
    name: Box<str>,
    orders: i64,
    spend: i64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    segments: Vec<Box<str>>,
    member: Option<MemberShare>,
}

struct MemberShare {
    points: PointSums,
    /// To spend: available less arrears.
    balance: i64,
    level: Option<u8>,
    impact: Vec<(Word, i64)>,
}

/// What is kept from one overview to the next.
#[derive(Default)]
pub struct Shares {
    of: BTreeMap<CustomerId, Share>,
    /// The sums hold up to this entry, under these rules; none before the first sums, and when there
    /// are too many customers to keep.
    known: Option<Known>,
    products: Vec<ProductView>,
}

#[derive(Clone, PartialEq)]
struct Known {
    seq: u64,
    version: u32,
    thresholds: BTreeMap<Box<str>, Option<i64>>,
}

/// What moved since the last overview.
pub struct Survey {
    rules: Rules,
    state: State,
    news: Vec<(CustomerId, Share)>,
    /// Customers that are no more.
    gone: BTreeSet<CustomerId>,
    /// Points of everybody who was erased.
    erased: Buckets,
    /// Everybody must be read.
    afresh: Option<Vec<ProductView>>,
    known: Known,
    now: Timestamp,
}

impl Shares {
    /// The entry up to which the last sums hold.
    pub fn seen(&self) -> Seen {
        Seen(self.known.clone())
    }

    /// Whether the next sums need only what moved.
    pub fn complete(&self) -> bool {
        self.known.is_some()
    }
}

/// How far somebody has seen.
pub struct Seen(Option<Known>);

impl Workspace {
    /// Gathers what moved since the last overview; quick, whatever the number of customers.
    ///
    /// # Errors
    /// The store's failure.
    pub fn survey(&mut self, now: Timestamp, seen: Seen) -> Result<Survey, Failure> {
        self.ready(now)?;
        let rules = self.rules.without_catalog();
        let known = Known {
            seq: self.journal.last_seq(),
            version: rules.latest_version(),
            thresholds: rules.thresholds.clone(),
        };
        let same = seen.0.filter(|s| s.version == known.version && s.thresholds == known.thresholds);
        let moved = same.and_then(|s| self.warm.moved_since(s.seq)).filter(|moved| moved.len() <= NEWS_MAX);
        let afresh = if moved.is_none() { Some(products(self.rules.catalog.iter())) } else { None };
        let ids = moved.unwrap_or_else(|| self.warm.unwritten().map(|c| c.id).take(NEWS_MAX).collect());
        let mut gone: BTreeSet<CustomerId> = self.warm.gone().collect();
        let mut news = Vec::new();
        for id in ids {
            match self.warm.get(id)? {
                Some(customer) => news.push((id, Share::of(&rules, customer.clone(), self.now))),
                None => drop(gone.insert(id)),
            }
        }
        let erased = self.erased.points;
        Ok(Survey { rules, state: self.state.clone(), news, gone, erased, afresh, known, now: self.now })
    }
}

impl Survey {
    /// Sums everybody up, reading them where that is needed: call it off the writer's thread.
    ///
    /// # Errors
    /// The store's failure; nothing is kept then.
    pub fn sum(mut self, shares: &mut Shares) -> Result<OverviewView, Failure> {
        let Some(edition) = self.rules.latest().cloned() else { return Ok(OverviewView::default()) };
        let mut tally = Tally::default();
        if let Some(products) = self.afresh.take() {
            *shares = Shares { products, ..Shares::default() };
            tally = self.read_all(&edition.program, shares)?;
        }
        shares.of.retain(|id, _| !self.gone.contains(id));
        shares.of.extend(std::mem::take(&mut self.news));
        tally.points.add(&PointSums::of(&self.erased, 0));
        shares.of.values().for_each(|share| tally.add(&edition.program, share, self.now));
        let keep = shares.of.len() <= SHARES_MAX;
        shares.known = keep.then(|| self.known.clone());
        Ok(self.view(&edition.program, tally, shares.products.clone()))
    }

    /// Everybody but those in the news. Shares that are too many to keep are summed at once.
    fn read_all(&self, program: &Program, shares: &mut Shares) -> Result<Tally, Failure> {
        let counted: BTreeSet<CustomerId> =
            self.news.iter().map(|(id, _)| *id).chain(self.gone.iter().copied()).collect();
        let mut tally = Tally::default();
        let mut after = None;
        loop {
            let rows = self.state.customers(after, SLICE)?;
            let Some(last) = rows.last() else { return Ok(tally) };
            after = Some(last.id);
            for row in rows.iter().filter(|row| !counted.contains(&row.id)) {
                let share = Share::of(&self.rules, rows::decode(row)?, self.now);
                if shares.of.len() <= SHARES_MAX {
                    shares.of.insert(row.id, share);
                } else {
                    tally.add(program, &share, self.now);
                }
            }
        }
    }

    fn view(&self, program: &Program, tally: Tally, products: Vec<ProductView>) -> OverviewView {
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
            liability: program.points.cost.map(|cost| liability(program, &tally.points, cost)),
            tiers: tiers(program, &tally),
            segments: segments(program, &tally),
            impact: tally.impact.iter().map(|(unit, n)| (unit.to_string(), thousandths(*n))).collect(),
            examples: tally.examples.into_values().map(|(_, example)| example).collect(),
            products,
            as_of: self.now.to_string(),
            seq: self.known.seq,
            took_ms: 0,
        }
    }
}

impl Share {
    fn of(rules: &Rules, mut customer: Customer, now: Timestamp) -> Self {
        engine::settle(rules, &mut customer, now);
        let standing = customer.orders.standing;
        let name = customer.identifiers.iter().map(|(id, _)| id).min().map(Identifier::to_string);
        Self {
            name: name.unwrap_or_else(|| customer.id.to_string()).into(),
            orders: standing.count,
            spend: standing.spend,
            first: standing.first,
            last: standing.last,
            segments: customer.segments.into_iter().map(|inside| inside.segment).collect(),
            member: customer.member.map(|member| MemberShare {
                points: PointSums::of(&member.wallet.totals(), member.wallet.arrears),
                balance: member.wallet.available(),
                level: member.tier.map(|status| status.level),
                impact: member.impact.into_iter().collect(),
            }),
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
    impact: BTreeMap<Word, i64>,
    /// For each reason the customer who spent most, with what they spent.
    examples: BTreeMap<String, (i64, ExampleView)>,
}

impl Tally {
    fn add(&mut self, program: &Program, share: &Share, now: Timestamp) {
        self.customers += 1;
        self.orders += share.orders;
        self.spend += share.spend;
        self.first = self.first.into_iter().chain(share.first).min();
        self.last = self.last.max(share.last);
        for segment in &share.segments {
            *self.segments.entry(segment.clone()).or_default() += 1;
            self.exemplify(format!("segment:{segment}"), share);
        }
        let Some(member) = &share.member else { return };
        self.members += 1;
        self.repeat += u64::from(share.orders >= 2);
        self.active += u64::from(share.last.is_some_and(|at| now.since(at) <= ACTIVE_DAYS * DAY_MS));
        self.points.add(&member.points);
        for (unit, n) in &member.impact {
            *self.impact.entry(unit.clone()).or_default() += n;
        }
        if let Some(held) = member.level {
            *self.levels.entry(held).or_default() += 1;
            let level = program.tiers.as_ref().and_then(|t| t.levels.get(usize::from(held)));
            level.into_iter().for_each(|level| self.exemplify(format!("tier:{}", level.id), share));
        }
    }

    /// Keeps the customer as the example of a reason when they spent more than the one before.
    fn exemplify(&mut self, why: String, share: &Share) {
        if self.examples.get(&why).is_some_and(|(most, _)| *most >= share.spend) {
            return;
        }
        let example = ExampleView {
            customer: share.name.to_string(),
            why: why.clone(),
            orders: share.orders,
            available: share.member.as_ref().map_or(0, |m| m.balance),
        };
        self.examples.insert(why, (share.spend, example));
    }
}

impl PointSums {
    fn of(of: &Buckets, arrears: i64) -> Self {
        Self {
            granted: of.granted,
            pending: of.pending,
            available: of.available,
            held: of.held,
            spent: of.spent,
            settled: of.settled,
            expired: of.expired,
            reversed: of.reversed,
            forfeited: of.forfeited,
            arrears,
        }
    }

    fn add(&mut self, of: &Self) {
        self.granted += of.granted;
        self.pending += of.pending;
        self.available += of.available;
        self.held += of.held;
        self.spent += of.spent;
        self.settled += of.settled;
        self.expired += of.expired;
        self.reversed += of.reversed;
        self.forfeited += of.forfeited;
        self.arrears += of.arrears;
    }
}

fn liability(program: &Program, points: &PointSums, cost: Decimal) -> LiabilityView {
    let points = points.pending + points.available + points.held;
    let exact = cost.checked_mul(Decimal::from(points)).unwrap_or(Decimal::MAX);
    let amount = program.currency.minor(exact).map_or(exact, |minor| program.currency.major(minor));
    LiabilityView { points, cost_per_point: cost.to_string(), amount: amount.to_string() }
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

/// A few products with each set of labels, those with the most labels first.
fn products<'a>(all: impl Iterator<Item = &'a Product>) -> Vec<ProductView> {
    let mut sets: BTreeMap<&[Word], Vec<ProductView>> = BTreeMap::new();
    for product in all {
        let name = ["name", "title"].iter().find_map(|key| product.about.get(key).and_then(|v| v.as_text()));
        let Some(name) = name else { continue };
        if !sets.contains_key(&*product.tags) && sets.len() == LABELS_SHOWN {
            continue;
        }
        let alike = sets.entry(&product.tags).or_default();
        if alike.len() < PRODUCTS_SHOWN && !alike.iter().any(|p| p.name == name) {
            alike.push(ProductView {
                product_id: product.product_id.to_string(),
                name: name.to_owned(),
                tags: product.tags.iter().map(ToString::to_string).collect(),
                impact: product.impact.iter().map(|(unit, n)| (unit.to_string(), thousandths(*n))).collect(),
            });
        }
    }
    let mut sets: Vec<_> = sets.into_values().collect();
    sets.sort_by_key(|alike| std::cmp::Reverse(alike.first().map_or(0, |p| p.tags.len())));
    sets.concat()
}
