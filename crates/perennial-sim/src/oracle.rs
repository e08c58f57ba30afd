//! The oracle: balances reckoned a second time, slowly and in the plainest way.
//!
//! Promise: shares no code with the engine's rules. It reads the same acknowledged inputs, knows the
//! programmes of the simulated shops, and keeps people, orders and lots in flat lists that it searches
//! from end to end. Where it and the workspace differ, one of them is wrong.
//! Absent on purpose: everything that those programmes do not have, such as several currencies that earn.

mod commands;
mod earning;
mod figures;
mod orders;
mod payment;
mod points;
mod progress;

use std::collections::BTreeMap;

use perennial_core::customer::Customer;
use perennial_core::event::{Body, Event, Refund};
use perennial_core::id::{Identifier, IdentifierKind, LotId};
use perennial_core::input::Command;
use perennial_core::ledger::Buckets;
use perennial_core::time::Timestamp;

use crate::figures::Ask;
use crate::plan::{Deed, Edition, Mark, Trade, WORD};
pub(crate) use figures::Portrait;
use figures::{Happened, Said};
use perennial_core::value::Value;
use rust_decimal::Decimal;

const NEVER: i64 = Timestamp::NEVER.as_millis();

/// The figures that are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// The tier held.
    pub tier: Box<str>,
    /// Until when, in milliseconds since 1970.
    pub tier_until: i64,
    /// Grams that what was bought and kept does for the world.
    pub impact: i64,
    /// Trees planted for it, in thousandths.
    pub trees: i64,
    /// What counts for tiers, by year.
    pub years: Vec<(i64, Counted)>,
    /// Milestones reached.
    pub marks: Vec<Box<str>>,
}

/// What counts for tiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Points earned.
    pub points: i64,
    /// Cents paid for goods that were kept.
    pub spend: i64,
}

/// Who goes by a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Nobody,
    Visitor,
    Member(Balance),
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
    /// What the workspace calls it, as soon as it is seen there: what is due at one instant comes in this order.
    name: Option<LotId>,
    earned_at: i64,
    available_at: i64,
    expires_at: i64,
    pending: i64,
    available: i64,
    held: i64,
    spent: i64,
    settled: i64,
    expired: i64,
}

impl Lot {
    /// Whether the workspace has it so.
    fn is(&self, theirs: &perennial_core::ledger::Lot) -> bool {
        let Buckets { pending, available, held, spent, settled, expired, .. } = theirs.buckets;
        let times = [theirs.earned_at, theirs.available_at, theirs.expires_at].map(Timestamp::as_millis);
        times == [self.earned_at, self.available_at, self.expires_at]
            && [pending, available, held, spent, settled, expired]
                == [self.pending, self.available, self.held, self.spent, self.settled, self.expired]
    }
}

#[derive(Clone)]
struct Hold {
    name: Box<str>,
    at: i64,
    until: i64,
    lots: Vec<(usize, i64)>,
    open: bool,
}

#[derive(Clone)]
struct Purchase {
    key: Box<str>,
    at: i64,
    reward: Box<str>,
    pieces: i64,
    lots: Vec<(usize, i64)>,
    undone: bool,
}

#[derive(Clone)]
struct Row {
    product: Box<str>,
    /// Of one piece, in cents.
    price: i64,
    /// Bought, in thousandths of a piece.
    bought: i64,
    /// Left of them.
    pieces: i64,
    paid: i64,
    /// Left of it, however paid.
    left: i64,
    /// The part that points paid.
    by_points: i64,
    /// Left of that.
    points_left: i64,
}

impl Row {
    /// Left of what was paid in money.
    fn money(&self) -> i64 {
        self.left - self.points_left
    }

    /// Whether some of it was not given back; what cost nothing is kept by its pieces.
    fn is_kept(&self) -> bool {
        self.pieces > 0 && (self.left > 0 || self.paid == 0)
    }
}

/// A tier held.
#[derive(Clone)]
struct Tier {
    level: &'static str,
    until: i64,
    /// The order that reached it.
    by: Option<Box<str>>,
    /// The year that earned it; none where staff gave it or everybody has it.
    year: Option<i64>,
    by_hand: bool,
    /// The version whose marks it was reached by, by its place.
    edition: usize,
}

/// A milestone reached: as it was then.
#[derive(Clone)]
struct Reached {
    mark: Mark,
    firm_at: i64,
    lot: Option<usize>,
    /// The order that it hangs on.
    by: Option<Box<str>>,
    /// The version that it was reached by, by its place.
    edition: usize,
}

/// A submission that waits for staff, or was decided.
#[derive(Clone)]
struct Activity {
    message: Box<str>,
    deed: Deed,
    address: Box<str>,
    at: i64,
    approved: Option<bool>,
    /// Left the list of those that a review finds.
    forgotten: bool,
}

impl Person {
    /// A review finds the last 512, and open ones longer.
    fn forget_activities(&mut self) {
        while self.activities.iter().filter(|activity| !activity.forgotten).count() > 512 {
            let known = || self.activities.iter().enumerate().filter(|(_, activity)| !activity.forgotten);
            let oldest = known().find(|(_, activity)| activity.approved.is_some()).or_else(|| known().next());
            let Some((at, _)) = oldest else { return };
            self.activities[at].forgotten = true;
        }
    }
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
    /// In a currency that earns nothing.
    foreign: bool,
    earns: bool,
    /// Trees planted for it, in thousandths.
    trees: i64,
    rows: Vec<Row>,
    said: Said,
    /// Rules that may apply, with what they ask of a member: that is as it will be when the order earns.
    may: Vec<(&'static str, Vec<Ask>)>,
    /// Rules that applied when it began to earn.
    under: Vec<&'static str>,
    lot: Option<usize>,
    /// Points that stand, and how many it was granted.
    points: i64,
    granted: i64,
    /// Points that paid for it, since when, and where they came from.
    payment: i64,
    paid_at: Option<i64>,
    paid_from: Vec<Paid>,
    /// What of them has come back.
    paid_back: i64,
    refunds: Vec<Box<str>>,
    cancelled: bool,
}

/// Points of a lot that paid for an order.
#[derive(Clone, Copy)]
struct Paid {
    lot: usize,
    points: i64,
    /// When they were used, or set aside by a hold.
    used: i64,
    held: bool,
}

/// Held points that were used, as many as no order has claimed.
#[derive(Clone, Copy)]
struct Captured {
    lot: usize,
    points: i64,
    at: i64,
    held_at: i64,
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
    /// Held points that were used.
    captured: Vec<Captured>,
    bought: Vec<Purchase>,
    sales: Vec<Sale>,
    /// Rules with a limit that an order was under, and when: a refund gives none of them back.
    used: Vec<(&'static str, i64)>,
    /// The order, which of all that ever waited and since when, and what.
    waiting: Vec<(Box<str>, (usize, i64), Waiting)>,
    /// Who was asked, what and under which key.
    answers: Vec<((usize, String), Command)>,
    tier: Option<Tier>,
    /// What was held before, the last first.
    held_before: Vec<Tier>,
    /// What the shop bears for refunds, and since when.
    borne: Vec<(i64, i64)>,
    /// What counts for tiers, by year.
    years: BTreeMap<i64, Counted>,
    activities: Vec<Activity>,
    marks: Vec<Reached>,
    /// Names that came with people who turned out to be this one.
    came: Vec<Identifier>,
    /// What features hear of besides orders.
    happened: Vec<Happened>,
    /// What was said of them, and when.
    traits: BTreeMap<&'static str, (Value, i64)>,
    /// Segments, and since when they are in them, as far as that is known.
    groups: BTreeMap<Box<str>, Option<i64>>,
    /// Until when that is so if nothing happens.
    judged: i64,
}

/// Everybody, as the acknowledged inputs say.
#[derive(Clone)]
pub(crate) struct Oracle {
    trade: Trade,
    people: Vec<Person>,
    /// Whose a name was at first.
    homes: BTreeMap<Identifier, usize>,
    /// Where a person went who turned out to be another one.
    into: BTreeMap<usize, usize>,
    lots: Vec<Lot>,
    editions: Vec<Edition>,
    /// The numbers that they have in the workspace.
    versions: Vec<u32>,
    taken: BTreeMap<Box<str>, i64>,
    waited: usize,
    /// What it takes to be at the top, as published last.
    threshold: Option<Decimal>,
    /// The last merge, as long as nothing happened that would not have happened without it.
    otherwise: Option<Otherwise>,
}

impl Oracle {
    pub(crate) fn new(trade: Trade) -> Self {
        Self {
            trade,
            people: Vec::new(),
            homes: BTreeMap::new(),
            into: BTreeMap::new(),
            lots: Vec::new(),
            editions: Vec::new(),
            versions: Vec::new(),
            taken: BTreeMap::new(),
            waited: 0,
            threshold: None,
            otherwise: None,
        }
    }

    pub(crate) fn publish(&mut self, edition: &Edition, version: u32) {
        self.editions.push(edition.clone());
        self.versions.push(version);
        self.also(|other| other.publish(edition, version));
    }

    /// The version in force.
    fn edition(&self) -> &Edition {
        self.editions.last().unwrap_or_else(|| unreachable!("a shop opens with a programme"))
    }

    /// How far somebody has come: reminders wake people too, and these books know of none. A version that was taken
    /// up to no effect is nowhere written, and a process that dies forgets that it was.
    pub(crate) fn follow(&mut self, name: &Identifier, held: &Customer) {
        self.also(|other| other.follow(name, held));
        let Some(who) = self.who(name) else { return };
        let (clock, adopted) = (held.clock, held.adopted);
        let followed = self.versions.iter().position(|version| *version >= adopted).map_or(0, |at| at + 1);
        if followed == self.editions.len() && followed > self.people[who].adopted {
            self.wake(who, clock.as_millis()); // A review that waited for levels is due with the version.
        }
        self.people[who].adopted = followed;
        self.turn(who, clock.as_millis());
        self.people[who].clock = self.people[who].clock.max(clock.as_millis());
        self.name_lots(who, held);
        if let Some(Otherwise { sides, all }) = self.otherwise.as_mut().filter(|other| other.sides.contains(&who)) {
            // What had lapsed for the two has lapsed for either, whatever is told late afterwards.
            sides.iter().for_each(|side| all.wake(*side, clock.as_millis()));
        }
    }

    /// Lots that are new get the names that they have in the workspace; which of two that are alike matters to nobody.
    fn name_lots(&mut self, who: usize, held: &Customer) {
        let known = held.member.iter().flat_map(|member| member.wallet.lots.iter());
        let mut named: Vec<LotId> = self.people[who].lots.iter().filter_map(|lot| self.lots[*lot].name).collect();
        for theirs in known {
            let is_it = |lot: &&usize| self.lots[**lot].name.is_none() && self.lots[**lot].is(theirs);
            if !named.contains(&theirs.id)
                && let Some(lot) = self.people[who].lots.iter().find(is_it).copied()
            {
                self.lots[lot].name = Some(theirs.id);
                named.push(theirs.id);
            }
        }
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
        self.hear(who, event);
        match &event.body {
            Body::Ordered(order) => self.ordered(who, order, Said::of(&event.properties.unpack()), at),
            Body::Refunded(refund) => self.refunded(who, refund, at),
            Body::Cancelled { order_id } => self.cancelled(who, order_id, at),
            Body::Track { name } if **name == *"Activity Submitted" => self.submitted(who, event, at),
            Body::Track { name } if **name == *WORD => self.said_word(who, event, at),
            _ => {}
        }
        self.conclude(who);
        self.regroup(who);
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
            let due = self.next_due(who, now.as_millis()).is_some();
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
        let held = person.tier.as_ref().filter(|_| !self.followed(who).levels.is_empty());
        (sum.tier, sum.tier_until) = held.map_or(("".into(), NEVER), |t| (t.level.into(), t.until));
        (sum.impact, sum.trees) = (Self::impact(person), Self::trees(person));
        let counted = person.years.iter().map(|(year, counted)| (*year, *counted));
        sum.years = counted.filter(|(_, counted)| *counted != Counted::default()).collect();
        sum.marks = person.marks.iter().map(|reached| reached.mark.id.into()).collect();
        sum.marks.sort();
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
        self.homes.extend(names.iter().map(|name| (name.clone(), self.people.len())));
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
                let (known, new) = if owner.is_some() { (account, device) } else { (device, account) };
                let home = self.homes[known];
                self.homes.insert(new.clone(), home);
                self.people[a].names = union;
                a
            }
            (None, None) => self.create(union),
        }
    }

    /// Takes the last merge back, where nothing depended on it.
    fn part(&mut self, now: Timestamp) -> Expected {
        let Some(Otherwise { sides, all }) = self.otherwise.take() else { return Expected::Refused("not_merged") };
        let published = self.threshold;
        *self = *all;
        self.threshold = published;
        for side in sides {
            self.wake(side, now.as_millis());
            self.people[side].clock = self.people[side].clock.max(now.as_millis());
            // What each lived through apart was not looked at as it happened.
            self.people[side].groups.values_mut().for_each(|since| *since = None);
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
        person.borne.extend(gone.borne);
        person.holds.extend(gone.holds);
        person.captured.extend(gone.captured);
        person.bought.extend(gone.bought);
        person.sales.extend(gone.sales);
        person.used.extend(gone.used);
        person.waiting.extend(gone.waiting);
        person.answers.extend(gone.answers);
        person.activities.extend(gone.activities);
        person.forget_activities();
        Self::learn_from(person, &gone.traits);
        person.happened.extend(gone.happened);
        person.marks.extend(gone.marks);
        for (year, counted) in gone.years {
            let both = person.years.entry(year).or_default();
            (both.points, both.spend) = (both.points + counted.points, both.spend + counted.spend);
        }
        self.unite_levels(into, gone.tier, gone.held_before);
        self.book_late(into, at);
        for lot in self.earliest(into, i64::MAX, None).into_iter().map(|(lot, _)| lot) {
            self.settle(into, lot);
        }
        if both {
            self.reach_together(into);
        }
        self.conclude(into);
        self.regroup(into);
        let clock = self.people[into].clock;
        self.wake(into, clock);
        into
    }
}
