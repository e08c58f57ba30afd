//! The oracle: balances reckoned a second time, slowly and in the plainest way.
//!
//! Promise: shares no code with the engine's rules. It reads the same acknowledged inputs, knows the
//! one small programme of the simulated shop, and keeps people, orders and lots in flat lists that
//! it searches from end to end. Where it and the workspace differ, one of them is wrong.
//! Absent on purpose: everything that the shop's programme does not have: bonuses, benefits,
//! milestones.

use std::collections::BTreeMap;

use perennial_core::event::{Body, Event, Order, Refund};
use perennial_core::id::{Identifier, IdentifierKind};
use perennial_core::input::{Asked, Command};
use perennial_core::time::Timestamp;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

const DAY: i64 = 86_400_000;
/// Days that points are good for, once available.
pub(crate) const VALID_DAYS: i64 = 60;
/// What the shop sells for points: name, price, pieces, the lowest tier that may have it.
pub(crate) const REWARDS: [(&str, i64, Option<i64>, usize); 3] =
    [("cup", 12, None, 0), ("mug", 40, Some(60), 0), ("lamp", 25, None, 1)];
/// Tiers: name, and the points of a year that reach it.
pub(crate) const TIERS: [(&str, i64); 3] = [("bronze", 0), ("silver", 100), ("gold", 300)];
/// What a piece of a product does for the world, in grams: those of which the catalogue knows.
pub(crate) const IMPACT: [(&str, i64); 3] = [("p1", 250), ("p4", 1_200), ("p12", 35)];
/// Points of an approved activity.
pub(crate) const ACTIVITY_POINTS: i64 = 15;
const NEVER: i64 = Timestamp::NEVER.as_millis();

/// The figures that are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Inside the return window.
    pub pending: i64,
    /// To spend; negative while something is owed.
    pub available: i64,
    /// Set aside.
    pub held: i64,
    /// Paid for rewards.
    pub spent: i64,
    /// Lapsed.
    pub expired: i64,
    /// Owed.
    pub arrears: i64,
    /// The tier held, from 0.
    pub tier: usize,
    /// Until when, in milliseconds since 1970.
    pub tier_until: i64,
    /// Grams that what was bought and kept does for the world.
    pub impact: i64,
}

/// Who goes by a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Nobody,
    Visitor,
    Member(Balance),
}

/// One version of the shop's programme: so many points per so many euros, and the return window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edition {
    pub(crate) at: Timestamp,
    pub(crate) points: i64,
    pub(crate) per: i64,
    pub(crate) pending_days: i64,
}

/// What a command should come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Done,
    Refused(&'static str),
    Again,
    KeyReused,
}

#[derive(Clone, Default)]
struct Lot {
    earned_at: i64,
    available_at: i64,
    expires_at: i64,
    pending: i64,
    available: i64,
    held: i64,
    spent: i64,
    expired: i64,
}

#[derive(Clone)]
struct Hold {
    name: Box<str>,
    until: i64,
    lots: Vec<(usize, i64)>,
    open: bool,
}

#[derive(Clone)]
struct Purchase {
    key: Box<str>,
    reward: Box<str>,
    pieces: i64,
    lots: Vec<(usize, i64)>,
    undone: bool,
}

#[derive(Clone)]
struct Row {
    product: Box<str>,
    pieces: i64,
    paid: i64,
    left: i64,
}

impl Row {
    /// Whether some of it was not given back; what cost nothing is kept by its pieces.
    fn is_kept(&self) -> bool {
        self.pieces > 0 && (self.left > 0 || self.paid == 0)
    }
}

/// A tier held.
#[derive(Clone)]
struct Tier {
    level: usize,
    until: i64,
    /// The order that reached it.
    by: Option<Box<str>>,
    /// What was held before it was reached or given.
    before: Option<Box<Tier>>,
    by_hand: bool,
}

/// A submission that waits for staff, or was decided.
#[derive(Clone)]
struct Activity {
    message: Box<str>,
    at: i64,
    decided: bool,
}

/// What would be, had a merge not happened.
#[derive(Clone)]
struct Otherwise {
    /// Both people, as they would be numbered.
    sides: [usize; 2],
    all: Box<Oracle>,
}

#[derive(Clone)]
struct Sale {
    id: Box<str>,
    at: i64,
    edition: usize,
    earns: bool,
    rows: Vec<Row>,
    lot: Option<usize>,
    points: i64,
    refunds: Vec<Box<str>>,
    cancelled: bool,
}

#[derive(Clone)]
enum Waiting {
    Refund(Refund),
    Cancel,
}

#[derive(Clone, Default)]
struct Person {
    names: Vec<Identifier>,
    /// The latest instant folded.
    clock: i64,
    adopted: usize,
    joined: Option<i64>,
    /// Indexes of this person's lots.
    lots: Vec<usize>,
    arrears: i64,
    holds: Vec<Hold>,
    bought: Vec<Purchase>,
    sales: Vec<Sale>,
    /// The order, which of all that ever waited, and what.
    waiting: Vec<(Box<str>, usize, Waiting)>,
    answers: Vec<(String, Command)>,
    tier: Option<Tier>,
    /// Points that count for tiers, by year.
    years: BTreeMap<i64, i64>,
    activities: Vec<Activity>,
    /// Names that came with people who turned out to be this one.
    came: Vec<Identifier>,
}

/// Everybody, as the acknowledged inputs say.
#[derive(Clone, Default)]
pub(crate) struct Oracle {
    people: Vec<Person>,
    /// Where a person went who turned out to be another one.
    into: BTreeMap<usize, usize>,
    lots: Vec<Lot>,
    editions: Vec<Edition>,
    taken: BTreeMap<Box<str>, i64>,
    waited: usize,
    /// The last merge, as long as nothing happened that would not have happened without it.
    otherwise: Option<Otherwise>,
}

impl Oracle {
    pub(crate) fn publish(&mut self, edition: Edition) {
        self.editions.push(edition);
        self.also(|other| other.publish(edition));
    }

    /// The same without the last merge.
    fn also(&mut self, happens: impl FnOnce(&mut Self)) {
        if let Some(other) = &mut self.otherwise {
            happens(&mut other.all);
        }
    }

    /// Pieces taken of a reward.
    pub(crate) fn taken(&self, reward: &str) -> i64 {
        self.taken.get(reward).copied().unwrap_or(0)
    }

    /// Whether the event is a refund of something that is not on its order.
    pub(crate) fn is_unknown_line(&self, event: &Event) -> bool {
        let Body::Refunded(refund) = &event.body else { return false };
        let Some((who, at)) = self.find_sale(&refund.order_id) else { return false };
        let rows = &self.people[who].sales[at].rows;
        refund.lines.iter().any(|l| rows.iter().all(|r| r.product != l.product_id))
    }

    /// Takes an accepted event in.
    pub(crate) fn event(&mut self, event: &Event) {
        self.also(|other| other.event(event));
        let known = event.order_id().and_then(|id| self.find_sale(id)).map(|(who, _)| who);
        let at = event.at.as_millis();
        let who = match known {
            Some(who) => who,
            None => self.resolve(&event.ids, at),
        };
        self.wake(who, at);
        self.people[who].clock = self.people[who].clock.max(at);
        match &event.body {
            Body::Ordered(order) => self.ordered(who, order, at),
            Body::Refunded(refund) => self.refunded(who, refund, at),
            Body::Cancelled { order_id } => self.cancelled(who, order_id, at),
            Body::Track { name } if **name == *"Activity Submitted" => self.submitted(who, &event.message_id, at),
            _ => {}
        }
        let clock = self.people[who].clock;
        self.wake(who, clock);
        if event.ids.len() > 1 {
            self.otherwise = None; // Who is who may depend on the merge, or be its reason.
        }
    }

    /// A refused event still wakes its customer.
    pub(crate) fn rejected(&mut self, event: &Event) {
        self.also(|other| other.rejected(event));
        if let Some((who, _)) = event.order_id().and_then(|id| self.find_sale(id)) {
            self.wake(who, event.at.as_millis());
        }
    }

    /// Time passes for everybody.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        self.also(|other| other.advance(now));
        for who in 0..self.people.len() {
            let due = self.next_due(who).is_some_and(|(at, _, _)| at <= now.as_millis());
            if due && !self.into.contains_key(&who) {
                self.wake(who, now.as_millis());
            }
        }
    }

    /// Everybody does what is due.
    pub(crate) fn wake_all(&mut self, now: Timestamp) {
        self.also(|other| other.wake_all(now));
        for who in 0..self.people.len() {
            if !self.into.contains_key(&who) {
                self.wake(who, now.as_millis());
            }
        }
    }

    /// What somebody has now, with all that is due.
    pub(crate) fn awake(&mut self, now: Timestamp, name: &Identifier) -> Standing {
        if let Some(who) = self.who(name) {
            self.also(|other| drop(other.awake(now, name)));
            self.wake(who, now.as_millis());
        }
        self.standing(name)
    }

    /// What somebody had when they were last awake.
    pub(crate) fn standing(&self, name: &Identifier) -> Standing {
        let Some(who) = self.who(name) else { return Standing::Nobody };
        let person = &self.people[who];
        if person.joined.is_none() {
            return Standing::Visitor;
        }
        let mut sum = Balance { arrears: person.arrears, ..Balance::default() };
        (sum.tier, sum.tier_until) = person.tier.as_ref().map_or((0, NEVER), |t| (t.level, t.until));
        sum.impact = person.sales.iter().filter(|s| s.earns).map(impact).sum();
        for lot in person.lots.iter().map(|l| &self.lots[*l]) {
            sum.pending += lot.pending;
            sum.available += lot.available;
            sum.held += lot.held;
            sum.spent += lot.spent;
            sum.expired += lot.expired;
        }
        sum.available -= person.arrears;
        Standing::Member(sum)
    }

    fn find_sale(&self, order: &str) -> Option<(usize, usize)> {
        let living = self.people.iter().enumerate().filter(|(i, _)| !self.into.contains_key(i));
        let mut found = living.filter_map(|(i, p)| p.sales.iter().position(|s| *s.id == *order).map(|at| (i, at)));
        found.next()
    }
}

/// Who is who.
impl Oracle {
    pub(crate) fn who(&self, name: &Identifier) -> Option<usize> {
        let living = (0..self.people.len()).filter(|i| !self.into.contains_key(i));
        living.into_iter().find(|i| self.people[*i].names.contains(name))
    }

    fn create(&mut self, names: Vec<Identifier>) -> usize {
        self.people.push(Person { names, adopted: self.editions.len(), ..Person::default() });
        self.people.len() - 1
    }

    /// An account and a device: one person, unless that gives two accounts or six devices to somebody
    /// who has not as many by hand.
    fn resolve(&mut self, ids: &[Identifier], at: i64) -> usize {
        let account = ids.iter().find(|i| i.kind == IdentifierKind::User);
        let device = ids.iter().find(|i| i.kind == IdentifierKind::Anonymous);
        let (Some(account), Some(device)) = (account, device) else {
            return self.who(&ids[0]).unwrap_or_else(|| self.create(vec![ids[0].clone()]));
        };
        let (owner, visitor) = (self.who(account), self.who(device));
        let mut union: Vec<Identifier> = vec![account.clone(), device.clone()];
        for person in [owner, visitor].into_iter().flatten() {
            union.extend(self.people[person].names.iter().cloned());
        }
        union.sort();
        union.dedup();
        let most = |kind: &IdentifierKind, limit: usize| {
            let has = |person: usize| self.people[person].names.iter().filter(|i| i.kind == *kind).count();
            let least = [owner, visitor].into_iter().flatten().map(has).max().unwrap_or(0);
            union.iter().filter(|i| i.kind == *kind).count() <= limit.max(least)
        };
        if !most(&IdentifierKind::User, 1) || !most(&IdentifierKind::Anonymous, 5) {
            return owner.unwrap_or_else(|| self.create(vec![account.clone()]));
        }
        match (owner, visitor) {
            (Some(a), Some(b)) if a != b => self.unite(a, b, at),
            (Some(a), Some(_)) => a,
            (Some(a), None) | (None, Some(a)) => {
                self.people[a].names = union;
                a
            }
            (None, None) => self.create(union),
        }
    }

    /// Takes the last merge back, where nothing depended on it.
    fn part(&mut self, now: Timestamp) -> Expected {
        let Some(Otherwise { sides, all }) = self.otherwise.take() else { return Expected::Refused("not_merged") };
        *self = *all;
        for side in sides {
            self.wake(side, now.as_millis());
            self.people[side].clock = self.people[side].clock.max(now.as_millis());
        }
        Expected::Done
    }

    /// Whether the last merge can be taken back in somebody's name.
    pub(crate) fn may_part(&self, name: &Identifier) -> bool {
        let Some(Otherwise { sides, all }) = &self.otherwise else { return false };
        // Somebody who came in an earlier merge takes that one back.
        all.who(name).is_some_and(|who| sides.contains(&who) && !all.people[who].came.contains(name))
    }

    /// Two people turn out to be one.
    fn unite(&mut self, into: usize, from: usize, at: i64) -> usize {
        self.wake(into, at);
        self.wake(from, at);
        self.otherwise = None;
        self.otherwise = Some(Otherwise { sides: [into, from], all: Box::new(self.clone()) });
        let gone = std::mem::take(&mut self.people[from]);
        self.into.insert(from, into);
        let person = &mut self.people[into];
        let both = person.joined.is_some() && gone.joined.is_some();
        person.clock = person.clock.max(gone.clock).max(at);
        person.came.extend(gone.came);
        person.came.extend(gone.names.iter().cloned());
        person.names.extend(gone.names);
        person.joined = person.joined.into_iter().chain(gone.joined).min();
        person.lots.extend(gone.lots);
        person.arrears += gone.arrears;
        person.holds.extend(gone.holds);
        person.bought.extend(gone.bought);
        person.sales.extend(gone.sales);
        person.waiting.extend(gone.waiting);
        person.answers.extend(gone.answers);
        person.activities.extend(gone.activities);
        gone.years.into_iter().for_each(|(year, points)| *person.years.entry(year).or_default() += points);
        person.tier = match (person.tier.take(), gone.tier) {
            (Some(mine), Some(theirs)) => {
                let later = [&mine, &theirs].into_iter().filter(|t| t.level > 0).map(|t| t.until).max();
                let higher = if (theirs.level, theirs.until) > (mine.level, mine.until) { theirs } else { mine };
                Some(Tier { until: later.unwrap_or(NEVER), ..higher })
            }
            (mine, theirs) => mine.or(theirs),
        };
        if let Some(joined) = self.people[into].joined {
            for sale in 0..self.people[into].sales.len() {
                let late = &mut self.people[into].sales[sale];
                if !late.earns && late.at >= joined && late.rows.iter().any(Row::is_kept) {
                    late.earns = true;
                    self.reward(into, sale);
                }
            }
        }
        if both {
            for year in self.people[into].years.keys().copied().collect::<Vec<_>>() {
                let sales = self.people[into].sales.iter();
                let sales = sales.filter(|s| s.earns && year_of(s.at) == year && s.rows.iter().any(Row::is_kept));
                // Of several at one instant whichever: the engine's order of names is its own.
                let last = sales.max_by_key(|s| s.at).map(|s| s.id.clone());
                self.regrade(into, year, last);
            }
        }
        for lot in self.earliest(into, i64::MAX, None).into_iter().map(|(lot, _)| lot) {
            self.settle(into, lot);
        }
        let clock = self.people[into].clock;
        self.wake(into, clock);
        into
    }
}

/// Orders and what comes back of them.
impl Oracle {
    fn ordered(&mut self, who: usize, order: &Order, at: i64) {
        if self.people[who].sales.iter().any(|s| s.id == order.order_id) {
            return;
        }
        let gross: Vec<i64> = order.lines.iter().map(|l| cents(l.price) * i64::from(l.quantity)).collect();
        let goods = order.subtotal.map_or_else(|| gross.iter().sum(), |s| cents(Some(s)));
        let rows = order.lines.iter().zip(split(goods, &gross)).map(|(l, left)| Row {
            product: l.product_id.clone(),
            pieces: i64::from(l.quantity),
            paid: left,
            left,
        });
        let earns = self.people[who].joined.is_some_and(|joined| at >= joined);
        let sale = Sale {
            id: order.order_id.clone(),
            at,
            edition: self.editions.len() - 1,
            earns,
            rows: rows.collect(),
            lot: None,
            points: 0,
            refunds: Vec::new(),
            cancelled: false,
        };
        self.people[who].sales.push(sale);
        if earns {
            self.reward(who, self.people[who].sales.len() - 1);
        }
        self.unpark(who, &order.order_id, at);
    }

    /// What waited for an order: with its owner first, then elsewhere, as it came.
    fn unpark(&mut self, who: usize, order: &str, at: i64) {
        let mut due: Vec<(usize, Waiting)> = Vec::new();
        for (holder, person) in self.people.iter_mut().enumerate() {
            let (here, rest): (Vec<_>, Vec<_>) =
                std::mem::take(&mut person.waiting).into_iter().partition(|(id, _, _)| **id == *order);
            person.waiting = rest;
            due.extend(here.into_iter().map(|(_, nth, what)| (if holder == who { 0 } else { nth }, what)));
        }
        due.sort_by_key(|(nth, _)| *nth);
        for (_, what) in due {
            match what {
                Waiting::Refund(refund) => self.refunded(who, &refund, at),
                Waiting::Cancel => self.cancelled(who, order, at),
            }
        }
    }

    fn wait(&mut self, who: usize, order: Box<str>, what: Waiting) {
        self.waited += 1;
        self.people[who].waiting.push((order, self.waited, what));
    }

    /// Points of what is left of a sale.
    fn worth(&self, sale: &Sale) -> i64 {
        let edition = self.editions[sale.edition];
        let left: i64 = sale.rows.iter().map(|r| r.left).sum();
        left * edition.points / (edition.per * 100)
    }

    fn reward(&mut self, who: usize, sale: usize) {
        let (points, at) = (self.worth(&self.people[who].sales[sale]), self.people[who].sales[sale].at);
        if points > 0 {
            let pending = self.editions.last().map_or(0, |e| e.pending_days) * DAY;
            let lot = self.grant(who, points, at, at + pending);
            self.people[who].sales[sale].lot = Some(lot);
            self.people[who].sales[sale].points = points;
        }
        let order = self.people[who].sales[sale].id.clone();
        self.qualify(who, at, points, Some(order));
    }

    fn refunded(&mut self, who: usize, refund: &Refund, _at: i64) {
        let Some(at) = self.people[who].sales.iter().position(|s| s.id == refund.order_id) else {
            self.wait(who, refund.order_id.clone(), Waiting::Refund(refund.clone()));
            return;
        };
        let sale = &mut self.people[who].sales[at];
        let strange = refund.lines.iter().any(|l| sale.rows.iter().all(|r| r.product != l.product_id));
        if sale.refunds.contains(&refund.refund_id) || strange {
            return;
        }
        sale.refunds.push(refund.refund_id.clone());
        if !refund.lines.is_empty() {
            by_piece(sale, refund);
        } else if let Some(total) = refund.total {
            by_amount(sale, cents(Some(total)));
        } else {
            whole(sale);
        }
        self.take_points_back(who, at);
    }

    fn cancelled(&mut self, who: usize, order: &str, _at: i64) {
        let Some(at) = self.people[who].sales.iter().position(|s| *s.id == *order) else {
            self.wait(who, order.into(), Waiting::Cancel);
            return;
        };
        if !self.people[who].sales[at].cancelled {
            self.people[who].sales[at].cancelled = true;
            whole(&mut self.people[who].sales[at]);
            self.take_points_back(who, at);
        }
    }

    fn take_points_back(&mut self, who: usize, at: usize) {
        let sale = self.people[who].sales[at].clone();
        let less = sale.points - self.worth(&sale).min(sale.points);
        let was_pending = sale.lot.is_some_and(|lot| self.lots[lot].pending > 0);
        if let Some(lot) = sale.lot.filter(|_| sale.earns && less > 0) {
            self.people[who].sales[at].points -= less;
            *self.people[who].years.entry(year_of(sale.at)).or_default() -= less;
            self.reverse(who, lot, less);
        }
        if sale.earns && was_pending {
            self.lose(who, &sale);
        }
    }

    fn reverse(&mut self, who: usize, lot: usize, less: i64) {
        let mut left = less;
        let found = &mut self.lots[lot];
        for bucket in [&mut found.pending, &mut found.available, &mut found.expired] {
            let here = left.min(*bucket);
            *bucket -= here;
            left -= here;
        }
        for (other, amount) in self.earliest(who, left, Some(lot)) {
            self.lots[other].available -= amount;
            left -= amount;
        }
        self.people[who].arrears += left;
    }
}

fn by_piece(sale: &mut Sale, refund: &Refund) {
    for line in &refund.lines {
        let mut wanted = i64::from(line.quantity);
        for row in sale.rows.iter_mut().filter(|r| r.product == line.product_id) {
            let pieces = wanted.min(row.pieces);
            let money = if pieces == row.pieces { row.left } else { row.left * pieces / row.pieces };
            row.pieces -= pieces;
            row.left -= money;
            wanted -= pieces;
        }
    }
}

fn by_amount(sale: &mut Sale, amount: i64) {
    let left: Vec<i64> = sale.rows.iter().map(|r| r.left).collect();
    let amount = amount.clamp(0, left.iter().sum());
    for (row, money) in sale.rows.iter_mut().zip(split(amount, &left)) {
        if money == row.left {
            row.pieces = 0;
        }
        row.left -= money;
    }
}

fn whole(sale: &mut Sale) {
    for row in &mut sale.rows {
        row.pieces = 0;
        row.left = 0;
    }
}

fn cents(amount: Option<Decimal>) -> i64 {
    amount.and_then(|a| (a * Decimal::ONE_HUNDRED).to_i64()).unwrap_or(0)
}

/// Largest remainder, cent by cent: the next cent goes where most is missing.
fn split(total: i64, weights: &[i64]) -> Vec<i64> {
    let sum: i64 = weights.iter().sum();
    if sum == 0 {
        return weights.iter().enumerate().map(|(i, _)| if i == 0 { total } else { 0 }).collect();
    }
    let mut shares: Vec<i64> = weights.iter().map(|w| total * w / sum).collect();
    let mut rests: Vec<i64> = weights.iter().map(|w| total * w % sum).collect();
    while shares.iter().sum::<i64>() < total {
        let most = rests.iter().copied().max().unwrap_or(0);
        let at = rests.iter().position(|r| *r == most).unwrap_or(0);
        shares[at] += 1;
        rests[at] = -1;
    }
    shares
}

/// Points.
impl Oracle {
    fn grant(&mut self, who: usize, points: i64, earned_at: i64, available_at: i64) -> usize {
        let expires_at = (available_at + VALID_DAYS * DAY).div_euclid(DAY) * DAY + DAY;
        let mut lot = Lot { earned_at, available_at, expires_at, ..Lot::default() };
        if available_at > earned_at {
            lot.pending = points;
        } else {
            lot.available = points;
        }
        self.lots.push(lot);
        let lot = self.lots.len() - 1;
        self.people[who].lots.push(lot);
        self.settle(who, lot);
        lot
    }

    fn settle(&mut self, who: usize, lot: usize) {
        let owed = self.people[who].arrears.min(self.lots[lot].available);
        self.lots[lot].available -= owed;
        self.people[who].arrears -= owed;
    }

    fn lapse(&mut self, lot: usize, at: i64) {
        let lot = &mut self.lots[lot];
        if lot.expires_at <= at {
            lot.expired += lot.available;
            lot.available = 0;
        }
    }

    fn available(&self, who: usize) -> i64 {
        let person = &self.people[who];
        person.lots.iter().map(|l| self.lots[*l].available).sum::<i64>() - person.arrears
    }

    fn earliest(&self, who: usize, asked: i64, except: Option<usize>) -> Vec<(usize, i64)> {
        let lots = self.people[who].lots.iter().copied();
        let mut open: Vec<usize> = lots.filter(|l| Some(*l) != except && self.lots[*l].available > 0).collect();
        open.sort_by_key(|l| (self.lots[*l].expires_at, self.lots[*l].earned_at, *l));
        let mut left = asked;
        let mut taken = Vec::new();
        for lot in open {
            let amount = left.min(self.lots[lot].available);
            if amount > 0 {
                taken.push((lot, amount));
            }
            left -= amount;
        }
        taken
    }

    /// The next thing that time does to somebody: instant, kind (a hold ends, a lot becomes
    /// available, a lot lapses, the tier is reviewed), which.
    fn next_due(&self, who: usize) -> Option<(i64, u8, usize)> {
        let person = &self.people[who];
        let review = person.tier.as_ref().map(|t| (t.until, 5, 0)).filter(|(until, _, _)| *until < NEVER);
        let holds = person.holds.iter().enumerate().filter(|(_, h)| h.open).map(|(i, h)| (h.until, 0, i));
        let lots = || person.lots.iter().map(|l| (*l, &self.lots[*l]));
        let activate = lots().filter(|(_, l)| l.pending > 0).map(|(i, l)| (l.available_at, 1, i));
        let expire = lots().filter(|(_, l)| l.available > 0).map(|(i, l)| (l.expires_at, 2, i));
        holds.chain(activate).chain(expire).chain(review).min()
    }

    fn wake(&mut self, who: usize, until: i64) {
        if self.people[who].adopted < self.editions.len() {
            self.people[who].adopted = self.editions.len();
            let at = self.editions.last().map_or(0, |e| e.at.as_millis());
            self.people[who].clock = self.people[who].clock.max(at);
        }
        while let Some((at, kind, which)) = self.next_due(who).filter(|(at, _, _)| *at <= until) {
            self.people[who].clock = self.people[who].clock.max(at);
            match kind {
                0 => self.end_hold(who, which, 0, at),
                1 => {
                    let lot = &mut self.lots[which];
                    lot.available += std::mem::take(&mut lot.pending);
                    self.settle(who, which);
                }
                2 => self.lapse(which, at),
                _ => self.review(who, at),
            }
        }
    }

    fn end_hold(&mut self, who: usize, hold: usize, captured: i64, at: i64) {
        self.people[who].holds[hold].open = false;
        let mut left = captured;
        for (lot, amount) in self.people[who].holds[hold].lots.clone() {
            let used = left.min(amount);
            left -= used;
            self.lots[lot].held -= amount;
            self.lots[lot].spent += used;
            self.lots[lot].available += amount - used;
            self.settle(who, lot);
            self.lapse(lot, at);
        }
    }
}

/// Commands.
impl Oracle {
    /// What a command should come to; done if it should be.
    pub(crate) fn ask(&mut self, now: Timestamp, asked: &Asked) -> Expected {
        if matches!(asked.command, Command::Unmerge) {
            return self.part(now);
        }
        // What only both together could ask for, or may ask only once, depends on the merge.
        let alike = matches!(asked.command, Command::Adjust { points, .. } if points > 0);
        let fresh = self.who(&asked.customer).is_none_or(|who| self.answered(who, asked).is_none());
        match &self.otherwise {
            Some(other) if !self.touches(asked, other) || (alike && fresh && Self::same_standing(asked, other)) => {
                self.also(|other| {
                    let _ = other.ask(now, asked); // What it answers there nobody is told.
                });
            }
            _ => self.otherwise = None,
        }
        if let Command::Merge { from } = &asked.command {
            return self.merge(now, asked, from);
        }
        let who = match (self.who(&asked.customer), &asked.command) {
            (Some(who), _) => who,
            (None, Command::Enroll { .. }) => self.create(vec![asked.customer.clone()]),
            (None, _) => return Expected::Refused("unknown_customer"),
        };
        self.wake(who, now.as_millis());
        if let Some(earlier) = self.answered(who, asked) {
            return earlier;
        }
        self.remember(who, asked);
        self.people[who].clock = self.people[who].clock.max(now.as_millis());
        let has_joined = matches!(asked.command, Command::Enroll { .. }) && self.people[who].joined.is_some();
        let decided = self.decide(who, now.as_millis(), asked);
        self.wake(who, now.as_millis()); // Points of long ago may lapse at once.
        match decided {
            Ok(()) if has_joined => Expected::Again,
            Ok(()) => Expected::Done,
            Err(code) => Expected::Refused(code),
        }
    }

    /// Whether a command is about the two who were merged.
    fn touches(&self, asked: &Asked, other: &Otherwise) -> bool {
        let about = |name: &Identifier| self.who(name).is_some_and(|who| other.sides.contains(&who));
        about(&asked.customer) || matches!(&asked.command, Command::Merge { .. })
    }

    /// Whether the named side is a member by itself.
    fn same_standing(asked: &Asked, other: &Otherwise) -> bool {
        let alone = other.all.who(&asked.customer);
        alone.is_some_and(|who| other.all.people[who].joined.is_some())
    }

    fn merge(&mut self, now: Timestamp, asked: &Asked, from: &Identifier) -> Expected {
        let (Some(into), Some(other)) = (self.who(&asked.customer), self.who(from)) else {
            return Expected::Refused("unknown_customer");
        };
        if let Some(earlier) = self.answered(into, asked) {
            return earlier;
        }
        if into != other {
            self.unite(into, other, now.as_millis());
            self.remember(into, asked);
            self.also(|without| without.remember(into, asked));
        }
        Expected::Done
    }

    fn answered(&self, who: usize, asked: &Asked) -> Option<Expected> {
        let key = named(asked)?;
        let (_, first) = self.people[who].answers.iter().rev().find(|(k, _)| *k == key)?;
        Some(if *first == asked.command { Expected::Again } else { Expected::KeyReused })
    }

    fn remember(&mut self, who: usize, asked: &Asked) {
        self.people[who].answers.extend(named(asked).map(|key| (key, asked.command.clone())));
    }

    fn decide(&mut self, who: usize, now: i64, asked: &Asked) -> Result<(), &'static str> {
        if matches!(asked.command, Command::Enroll { .. }) {
            if self.people[who].joined.is_none() {
                self.people[who].joined = Some(now);
                self.people[who].tier = Some(Tier { level: 0, until: NEVER, by: None, before: None, by_hand: false });
            }
            return Ok(());
        }
        if self.people[who].joined.is_none() {
            return Err("not_a_member");
        }
        match &asked.command {
            Command::Redeem { reward, quantity } => self.redeem(who, reward, *quantity, asked.key.as_deref()),
            Command::Adjust { points, .. } if *points > 0 => {
                self.grant(who, *points, now, now);
                Ok(())
            }
            Command::Adjust { points: 0, .. } => Err("nothing_to_do"),
            Command::Adjust { points, .. } => {
                for (lot, amount) in self.enough(who, -points)? {
                    self.lots[lot].available -= amount;
                }
                Ok(())
            }
            Command::Hold { points, length, hold } => self.hold(who, *points, now + length.millis, hold),
            Command::Capture { hold, points } => {
                let at = self.open_hold(who, hold)?;
                let held: i64 = self.people[who].holds[at].lots.iter().map(|(_, n)| n).sum();
                let asked = points.unwrap_or(held);
                if asked > held || asked <= 0 {
                    return Err("insufficient_points");
                }
                self.end_hold(who, at, asked, now);
                Ok(())
            }
            Command::Release { hold } => {
                let at = self.open_hold(who, hold)?;
                self.end_hold(who, at, 0, now);
                Ok(())
            }
            Command::Undo { redemption } => self.undo(who, redemption, now),
            Command::SetTier { tier, until } => self.give(who, tier, until.as_millis()),
            Command::Review { activity, approve, .. } => self.judge(who, activity, *approve),
            other => unreachable!("the shop does not ask for {other:?}"),
        }
    }

    fn enough(&self, who: usize, asked: i64) -> Result<Vec<(usize, i64)>, &'static str> {
        if self.available(who) < asked { Err("insufficient_points") } else { Ok(self.earliest(who, asked, None)) }
    }

    fn redeem(&mut self, who: usize, id: &str, quantity: u32, key: Option<&str>) -> Result<(), &'static str> {
        let (_, price, stock, tier) = REWARDS.iter().find(|reward| reward.0 == id).ok_or("unknown_reward")?;
        if self.people[who].tier.as_ref().map_or(0, |t| t.level) < *tier {
            return Err("tier_required");
        }
        let pieces = i64::from(quantity.max(1));
        if stock.is_some_and(|stock| stock - self.taken(id) < pieces) {
            return Err("out_of_stock");
        }
        let lots = self.enough(who, price * pieces)?;
        for (lot, amount) in &lots {
            self.lots[*lot].available -= amount;
            self.lots[*lot].spent += amount;
        }
        if stock.is_some() {
            *self.taken.entry(id.into()).or_default() += pieces;
        }
        let key = key.unwrap_or_default().into();
        self.people[who].bought.push(Purchase { key, reward: id.into(), pieces, lots, undone: false });
        Ok(())
    }

    fn undo(&mut self, who: usize, key: &str, now: i64) -> Result<(), &'static str> {
        let bought = self.people[who].bought.iter_mut().find(|b| *b.key == *key).ok_or("unknown_redemption")?;
        if std::mem::replace(&mut bought.undone, true) {
            return Ok(());
        }
        let bought = bought.clone();
        for (lot, amount) in bought.lots {
            self.lots[lot].spent -= amount;
            self.lots[lot].available += amount;
            self.settle(who, lot);
            self.lapse(lot, now);
        }
        if let Some(taken) = self.taken.get_mut(&bought.reward) {
            *taken -= bought.pieces;
        }
        Ok(())
    }

    fn hold(&mut self, who: usize, points: i64, until: i64, name: &str) -> Result<(), &'static str> {
        if self.people[who].holds.iter().any(|h| *h.name == *name) {
            return Err("hold_exists");
        }
        let lots = self.enough(who, points)?;
        for (lot, amount) in &lots {
            self.lots[*lot].available -= amount;
            self.lots[*lot].held += amount;
        }
        self.people[who].holds.push(Hold { name: name.into(), until, lots, open: true });
        Ok(())
    }

    fn open_hold(&self, who: usize, name: &str) -> Result<usize, &'static str> {
        let holds = &self.people[who].holds;
        holds.iter().position(|h| *h.name == *name && h.open).ok_or("hold_expired")
    }
}

/// Tiers and activities.
impl Oracle {
    /// Points count for the year of their date, and may lift at once.
    fn qualify(&mut self, who: usize, at: i64, points: i64, order: Option<Box<str>>) {
        let year = year_of(at);
        *self.people[who].years.entry(year).or_default() += points;
        self.regrade(who, year, order);
    }

    fn regrade(&mut self, who: usize, year: i64, order: Option<Box<str>>) {
        let person = &mut self.people[who];
        let (reached, until) = (level(person.years[&year]), year_begins(year + 2));
        let Some(held) = person.tier.clone().filter(|_| reached > 0 && until > person.clock) else { return };
        if reached > held.level {
            let before = Some(Box::new(held));
            person.tier = Some(Tier { level: reached, until, by: order, before, by_hand: false });
        } else if reached == held.level && until > held.until {
            person.tier = Some(Tier { until, ..held });
        }
    }

    /// The order that reached the tier came back, in its return window.
    fn lose(&mut self, who: usize, sale: &Sale) {
        let person = &mut self.people[who];
        let year = year_of(sale.at);
        let earned = level(person.years.get(&year).copied().unwrap_or(0));
        let Some(held) = person.tier.clone() else { return };
        if held.by.as_ref() != Some(&sale.id) || earned >= held.level {
            return;
        }
        // Down to the last one below that was not reached by an order of which nothing is left.
        let mut below = held.before;
        while let Some(tier) = &below {
            let gone = |sale: &Sale| Some(&sale.id) == tier.by.as_ref() && !sale.rows.iter().any(Row::is_kept);
            if !person.sales.iter().any(gone) {
                break;
            }
            below = below.and_then(|tier| tier.before);
        }
        person.tier = Some(match below {
            Some(tier) if tier.level >= earned => *tier,
            _ if earned == 0 => Tier { level: 0, until: NEVER, by: None, before: None, by_hand: false },
            _ => Tier { level: earned, until: year_begins(year + 2), by: None, before: None, by_hand: false },
        });
    }

    /// The tier's time is over: one level down, unless the year that ended says better.
    fn review(&mut self, who: usize, due: i64) {
        let person = &mut self.people[who];
        let Some(held) = person.tier.clone() else { return };
        let points = |year: i64| level(person.years.get(&year).copied().unwrap_or(0));
        let (ended, this) = (year_of(due - 1), year_of(due));
        let (level, until) = if held.by_hand {
            let mut best = (0, NEVER);
            let earned = [(points(this - 1), year_begins(this + 1)), (points(this), year_begins(this + 2))];
            for (level, until) in earned.into_iter().chain(held.before.iter().map(|b| (b.level, b.until))) {
                if level > 0 && until > due && (best.0 == 0 || (level, until) > best) {
                    best = (level, until);
                }
            }
            best
        } else {
            (points(ended).max(held.level.saturating_sub(1)), year_begins(ended + 2))
        };
        let until = if level == 0 { NEVER } else { until };
        person.tier = Some(Tier { level, until, by: None, before: held.before, by_hand: false });
    }

    fn give(&mut self, who: usize, tier: &str, until: i64) -> Result<(), &'static str> {
        let level = TIERS.iter().position(|t| t.0 == tier).ok_or("unknown_tier")?;
        let before = self.people[who].tier.clone().map(Box::new);
        self.people[who].tier = Some(Tier { level, until, by: None, before, by_hand: true });
        Ok(())
    }

    fn submitted(&mut self, who: usize, message: &str, at: i64) {
        if self.people[who].joined.is_some_and(|joined| at >= joined) {
            self.people[who].activities.push(Activity { message: message.into(), at, decided: false });
        }
    }

    fn judge(&mut self, who: usize, message: &str, approve: bool) -> Result<(), &'static str> {
        let mut activities = self.people[who].activities.iter_mut();
        let found = activities.find(|a| *a.message == *message).ok_or("unknown_activity")?;
        if std::mem::replace(&mut found.decided, true) {
            return Err("already_reviewed");
        }
        let at = found.at;
        if approve {
            self.grant(who, ACTIVITY_POINTS, at, at);
            self.qualify(who, at, ACTIVITY_POINTS, None);
        }
        Ok(())
    }
}

/// The highest tier that so many points of a year reach.
fn level(points: i64) -> usize {
    TIERS.iter().rposition(|t| t.1 <= points).unwrap_or(0)
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

/// The first millisecond of a year, counted year by year.
fn year_begins(year: i64) -> i64 {
    (1970..year).map(|y| if is_leap(y) { 366 } else { 365 }).sum::<i64>() * DAY
}

fn year_of(at: i64) -> i64 {
    (1970..10_000).find(|year| at < year_begins(year + 1)).unwrap_or(1970)
}

/// What the kept pieces of a sale do for the world.
fn impact(sale: &Sale) -> i64 {
    let kept = sale.rows.iter().filter(|r| r.is_kept());
    kept.map(|r| IMPACT.iter().find(|(name, _)| *name == &*r.product).map_or(0, |(_, each)| each * r.pieces)).sum()
}

/// A key belongs to one sort of command.
fn named(asked: &Asked) -> Option<String> {
    asked.key.as_ref().map(|key| format!("{}:{key}", asked.command.name()))
}
