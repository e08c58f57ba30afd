//! The engine: what happened to one customer, and what follows.
//!
//! [`apply`], [`fire`] and [`crate::command::admit`] decide and evolve, fact by fact; [`replay`]
//! only evolves. Both walk the same line, so a refold gives the same customer bit for bit.
//!
//! Invariant: after every call each lot balances and the clock never runs backwards.

use crate::customer::{
    ACTIVITIES_MAX, Activity, Bought, Captured, Customer, HOLDS_MAX, Hold, Member, PAID_MAX, Reached,
};
use crate::event::{Body, Event, ORDER_CANCELLED, ORDER_COMPLETED, ORDER_REFUNDED};
use crate::expr::{self, Field, Term};
use crate::fact::{Account, Booking, Cause, Fact, Outcome, Posting, Redemption, Return, Unit};
use crate::feature::{Seen, micro};
use crate::few::Few;
use crate::id::{CustomerId, LotId, OrderRef, Word};
use crate::input::{Input, Timer, TimerKind};
use crate::orders::{self, Listed, OrderRecord, PaidFrom};
use crate::program::{Computed, Feature, Program};
use crate::rules::{Edition, Rules};
use crate::scope::View;
use crate::score::Scored;
use crate::time::Timestamp;
use crate::value::Value;
use crate::{loyalty, profile, segment, tier};

/// Facts that an order has as a rule: booked, a lot and its points, qualified, its impact, and a benefit's.
const ORDER_FACTS: usize = 7;

/// One input being folded: records facts, and carries each out as it is recorded.
pub struct Book<'a> {
    /// What is in force.
    pub rules: &'a Rules,
    /// The customer.
    pub customer: &'a mut Customer,
    /// The instant of the input.
    pub at: Timestamp,
    edition: &'a Edition,
    /// The record of the order at hand, made when it was judged.
    record: Option<Box<OrderRecord>>,
    event: Option<&'a Event>,
    facts: Outcome,
    /// Milestones were looked at last of all.
    pub(crate) judged: bool,
}

impl<'a> Book<'a> {
    /// Opens the book for one input; none while no programme is published.
    pub(crate) fn open(rules: &'a Rules, customer: &'a mut Customer, at: Timestamp) -> Option<Self> {
        let edition = rules.latest()?;
        customer.clock = customer.clock.max(at);
        Some(Self { rules, customer, at, edition, record: None, event: None, facts: Vec::new(), judged: false })
    }

    /// The programme in force.
    pub(crate) fn program(&self) -> &'a Program {
        &self.edition.program
    }

    /// The edition in force, to hold while the customer changes.
    pub(crate) fn edition(&self) -> &'a Edition {
        self.edition
    }

    /// Keeps the record that an order was judged by, so that booking need not make it again.
    pub(crate) fn keep_record(&mut self, record: Box<OrderRecord>) {
        self.record = Some(record);
    }

    /// Writes a fact down and carries it out.
    pub(crate) fn record(&mut self, fact: Fact) {
        match (&fact, self.record.take()) {
            (Fact::Booked(booking), Some(record)) => {
                booked(self.edition, self.customer, self.event, booking, record);
            }
            _ => evolve(self.rules, self.edition, self.customer, self.event, self.at, &fact),
        }
        self.facts.push(fact);
    }

    /// Moves points; nothing for an amount that is not positive.
    pub(crate) fn post(&mut self, from: Account, to: Account, amount: i64, lot: Option<LotId>, cause: Cause) {
        if amount > 0 {
            self.record(Fact::Posted(Posting { unit: Unit::Points, from, to, amount, lot, cause }));
        }
    }

    /// A note for the receipt: why something did not follow.
    pub(crate) fn note(&mut self, code: &str) {
        self.record(Fact::Noted(code.into()));
    }

    /// Gives what is reached by now, brings segments up to date and closes the book.
    pub(crate) fn close(mut self) -> Outcome {
        self.judge();
        segment::refresh(self.rules, self.edition, self.customer);
        self.facts
    }

    /// Whatever an input changed may reach a milestone; an order that earns has seen to it.
    fn judge(&mut self) {
        if !self.judged {
            loyalty::milestones(self, None);
        }
    }

    /// The same at the end of a wake-up.
    fn close_woken(mut self, kind: TimerKind) -> Outcome {
        self.judge();
        segment::refresh_woken(self.rules, self.edition, self.customer, kind);
        self.facts
    }
}

/// Folds an event and says what followed. Always answers.
pub fn apply(rules: &Rules, customer: &mut Customer, event: &Event) -> Outcome {
    apply_and_score(rules, customer, event, |_| Vec::new())
}

/// As [`apply`]; when the customer's orders changed, `ask` says what the models in force make of the
/// customer now, and that is recorded before segments are judged.
pub fn apply_and_score(
    rules: &Rules,
    customer: &mut Customer,
    event: &Event,
    ask: impl FnOnce(&Customer) -> Vec<Scored>,
) -> Outcome {
    let standing = customer.orders.standing;
    let Some(mut book) = Book::open(rules, customer, event.at) else { return Vec::new() };
    book.event = Some(event);
    if matches!(event.body, Body::Ordered(_) | Body::OrderUpdated(_)) {
        book.facts.reserve_exact(ORDER_FACTS);
    }
    observe(book.edition, book.customer, event);
    let edition = book.edition;
    let misfits = profile::misfits(&edition.program, book.customer, event);
    misfits.for_each(|name| book.note(&format!("wrong_type: {name}")));
    loyalty::join(&mut book, event);
    match &event.body {
        Body::Ordered(order) | Body::OrderUpdated(order) => {
            loyalty::ordered(&mut book, event, order);
        }
        Body::Refunded(refund) => {
            let name = OrderRef::derive(&rules.secret, &refund.order_id);
            if loyalty::refunded(&mut book, refund, name).is_err() {
                book.note("unknown_line");
            }
        }
        Body::Cancelled { order_id } => {
            let name = OrderRef::derive(&rules.secret, order_id);
            loyalty::cancelled(&mut book, name);
        }
        _ => {
            // The earlier name would be among the names, but that two accounts stay two.
            if matches!(&event.body, Body::Alias { previous } if event.ids.iter().all(|id| id.value != previous.value))
            {
                book.note("two_accounts");
            }
            loyalty::activity(&mut book, event);
        }
    }
    if book.customer.orders.standing != standing {
        ask(book.customer).into_iter().for_each(|scored| book.record(Fact::Scored(Box::new(scored))));
    }
    book.close()
}

/// Takes over what a published block of scores says of the customer. Decides nothing, so a refold
/// does the same; what was due until `at` must have fired.
pub fn take_score(rules: &Rules, customer: &mut Customer, at: Timestamp, scored: &Scored) {
    let Some(edition) = rules.latest().cloned() else { return };
    customer.clock = customer.clock.max(at);
    customer.timers.pass(|timer| *timer <= Timer::last_at(at));
    customer.keep_score(scored);
    segment::refresh(rules, &edition, customer);
}

/// Fires a wake-up that is due, at its own instant; `now` is when that comes to be done, which
/// decides only whether a reminder still makes sense.
pub fn fire(rules: &Rules, customer: &mut Customer, timer: Timer, now: Timestamp) -> Outcome {
    customer.timers.take(&timer);
    let Some(mut book) = Book::open(rules, customer, timer.at) else { return Vec::new() };
    let lot = LotId { owner: timer.owner, number: timer.id };
    let all = lot.number == loyalty::everything(timer.owner).number;
    match timer.kind {
        TimerKind::Activate => loyalty::activate(&mut book, lot),
        TimerKind::Expire if all => loyalty::expire_inactive(&mut book),
        TimerKind::Expire => loyalty::expire(&mut book, lot),
        TimerKind::Remind if all => loyalty::remind_inactive(&mut book, now),
        TimerKind::Remind => loyalty::remind(&mut book, lot, now),
        TimerKind::HoldLapse => crate::command::lapse_holds(&mut book),
        TimerKind::Review => tier::review(&mut book, timer.at),
        TimerKind::Firm | TimerKind::Tick => {}
    }
    book.close_woken(timer.kind)
}

/// Follows the newest programme version; `features` is what its features remember. Lots without an
/// end get one when the version brings expiry, counted from its publication at the earliest.
pub fn adopt(rules: &Rules, customer: &mut Customer, features: Vec<Seen>) -> Outcome {
    let known = customer.adopted;
    take_up(rules, customer, features);
    let Some(edition) = rules.latest().cloned() else { return Vec::new() };
    let since = edition.published_at;
    let Some(mut book) = Book::open(rules, customer, since) else { return Vec::new() };
    for (lot, available_at, expires_at) in loyalty::lots_without_end(&book) {
        book.record(Fact::LotDated { lot, available_at, expires_at });
    }
    tier::adopt(&mut book, known);
    book.close()
}

/// Follows the newest programme version without deciding anything. It is later than its publication
/// then, whether or not an entry says so.
pub fn take_up(rules: &Rules, customer: &mut Customer, features: Vec<Seen>) {
    customer.features = features;
    customer.renew_windows();
    segment::forget(rules, customer);
    tier::follow(rules, customer);
    customer.adopted = rules.latest_version();
    let Some(edition) = rules.latest() else { return };
    customer.clock = customer.clock.max(edition.published_at);
    let seen = Some(customer.clock);
    watch_inactivity_again(edition, customer, seen); // The version may let nothing lapse so any more.
    segment::expect_change(customer);
}

/// Brings what only time changes to one instant, so that two folds of the same journal can be
/// compared: wake-ups that had nothing to do are not in the journal.
pub fn settle(rules: &Rules, customer: &mut Customer, now: Timestamp) {
    let Some(edition) = rules.latest() else { return };
    customer.clock = customer.clock.max(now);
    let clock = customer.clock;
    customer.timers.pass(|timer| timer.at <= clock);
    for (seen, feature) in customer.features.iter_mut().zip(&edition.program.features) {
        seen.prune(feature, clock);
    }
    segment::refresh(rules, edition, customer);
}

/// Folds an input with the facts that are known to have followed: decides nothing. `gone` gives up
/// the customer that a merge made part of this one.
pub fn replay(
    rules: &Rules,
    customer: &mut Customer,
    at: Timestamp,
    input: Option<&Input>,
    facts: &[Fact],
    mut gone: impl FnMut(CustomerId) -> Option<Customer>,
) {
    let Some(edition) = rules.latest().cloned() else { return };
    come_to(customer, at, input);
    let event = match input {
        Some(Input::Event(event)) => Some(&**event),
        _ => None,
    };
    if let Some(Input::Command(asked)) = input {
        crate::command::observe(customer, asked);
    }
    if let Some(event) = event {
        observe(&edition, customer, event);
    }
    for fact in facts {
        if let Fact::Merged { from } = fact
            && let Some(from) = gone(*from)
        {
            crate::merge::unite(&edition, customer, from);
        }
        evolve(rules, &edition, customer, event, at, fact);
    }
    customer.orders.trim();
    if facts.iter().any(|f| matches!(f, Fact::SetAside { .. })) {
        return;
    }
    match input {
        Some(Input::Timer(timer)) => segment::refresh_woken(rules, &edition, customer, timer.kind),
        _ => segment::refresh(rules, &edition, customer),
    }
}

/// Brings a customer to the instant of an input: what was due earlier has fired, with an entry of its own or to no
/// effect.
pub fn come_to(customer: &mut Customer, at: Timestamp, input: Option<&Input>) {
    customer.clock = customer.clock.max(at);
    let until = if let Some(Input::Timer(timer)) = input { *timer } else { Timer::last_at(at) };
    customer.timers.pass(|timer| *timer <= until);
}

/// Views that follow from the event alone.
fn observe(edition: &Edition, customer: &mut Customer, event: &Event) {
    profile::absorb(&edition.program, customer, event);
    profile::follow_cart(&edition.program, &mut customer.cart, event);
    if event.order_id().is_some() && !matches!(event.body, Body::OrderUpdated(_)) {
        return; // Orders are observed when they are booked, and what comes back of them when it does, once.
    }
    for (i, feature) in edition.features(event.name()) {
        let view = View { event: Some(event), ..View::of(&edition.program, customer) };
        if let Some(amount) = amount(feature, &view) {
            let now = customer.clock;
            customer.features[i].observe(feature, event.at, 0, amount, now);
        }
    }
}

/// What a feature counts of the moment at hand; none when it does not count it.
fn amount(feature: &Feature, view: &View<'_>) -> Option<i64> {
    let elsewhere = feature.in_currency && view.order.is_some_and(|order| !order.counts);
    if elsewhere || !feature.when.holds(view) {
        return None;
    }
    match &feature.what {
        Computed::Count | Computed::First | Computed::Last => Some(1),
        Computed::Sum(term) | Computed::Max(term) | Computed::Min(term) => number(term, view),
        Computed::Distinct(term) => match term.value(view).as_ref() {
            Value::Null => None,
            value => Some(fingerprint(value)),
        },
    }
}

/// The number that a term gives, in millionths.
fn number(term: &Term, view: &View<'_>) -> Option<i64> {
    if let expr::View::Number(n) = term.view(view) { Some(micro(n)) } else { None }
}

/// A stable number for a value, to tell different ones apart: 4 and 4.0 are the same.
fn fingerprint(value: &Value) -> i64 {
    let shown = value.normalized().canonical();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64; // FNV-1a, 64 bits.
    for byte in shown.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    i64::from_le_bytes(hash.to_le_bytes())
}

/// Carries a fact out: the only place where facts change a customer.
fn evolve(
    rules: &Rules,
    edition: &Edition,
    customer: &mut Customer,
    event: Option<&Event>,
    at: Timestamp,
    fact: &Fact,
) {
    match fact {
        Fact::Booked(booking) => {
            let record = record_of(edition, customer, event, booking);
            booked(edition, customer, event, booking, record);
        }
        Fact::Returned(back) => returned(edition, customer, event, at, back),
        Fact::Tiered(change) => tier::evolve(customer, change, edition.program.version),
        Fact::Enrolled { .. } => {
            customer.member = Some(Member { enrolled_at: at, ..Member::default() });
        }
        Fact::Claimed { order, rules: claimed } => {
            let (mut placed, mut version) = (at, 0);
            customer.orders.amend(*order, |record| {
                record.earns = true;
                record.rules.clone_from(claimed);
                (placed, version) = (record.at, record.version);
            });
            if let Some(then) = rules.edition(version) {
                pay_limited(then, customer, claimed, placed);
            }
        }
        Fact::Reread { order, values } => {
            customer.orders.amend(*order, |record| record.recalled.clone_from(values));
        }
        Fact::Merged { .. }
        | Fact::Unmerged { .. }
        | Fact::Created
        | Fact::Linked(_)
        | Fact::Unlinked(_)
        | Fact::Noted(_)
        | Fact::Refused(_)
        | Fact::Explained { .. }
        | Fact::Parked { .. }
        | Fact::Erased { .. } => {}
        Fact::Recalled { order } => customer.orders.recall(*order),
        Fact::Parted(parted) => customer.lots_opened = customer.lots_opened.max(parted.lots),
        Fact::SetAside { again } => again.iter().for_each(|timer| customer.timers.put(*timer)),
        Fact::Scored(scored) => customer.keep_score(scored),
        fact => of_member(edition, customer, at, fact),
    }
}

fn record_of(edition: &Edition, customer: &Customer, event: Option<&Event>, booking: &Booking) -> Box<OrderRecord> {
    let order = event.and_then(|e| match &e.body {
        Body::Ordered(order) | Body::OrderUpdated(order) => Some(order),
        _ => None,
    });
    let at = event.map_or((customer.clock, customer.clock), |e| (e.at, e.received_at));
    Box::new(orders::record(booking, order, at, edition.program.currency))
}

fn booked(
    edition: &Edition,
    customer: &mut Customer,
    event: Option<&Event>,
    booking: &Booking,
    record: Box<OrderRecord>,
) {
    let at = record.at;
    if record.stands() {
        for (i, feature) in edition.features(ORDER_COMPLETED) {
            let view = View { event, order: Some(&record), ..View::of(&edition.program, customer) };
            if let Some(amount) = amount(feature, &view) {
                let now = customer.clock;
                customer.features[i].observe(feature, at, record.order.half(), amount, now);
            }
        }
    }
    pay_limited(edition, customer, &booking.rules, at);
    customer.orders.push(record);
}

/// Notes of an order's rules that they paid, where the version of its day limits them.
fn pay_limited(edition: &Edition, customer: &mut Customer, rules: &[Word], at: Timestamp) {
    let Some(member) = &mut customer.member else { return };
    let limited = edition.earning(ORDER_COMPLETED).filter(|rule| rule.limit.is_some() && rules.contains(&rule.id));
    limited.for_each(|rule| pay(edition, member, &rule.id, at));
}

fn returned(edition: &Edition, customer: &mut Customer, event: Option<&Event>, at: Timestamp, back: &Return) {
    let Some(before) = customer.orders.get(back.order).map(Listed::into_owned) else { return };
    customer.orders.amend(back.order, |record| orders::take_back(record, back));
    let Some(after) = customer.orders.get(back.order).map(Listed::into_owned) else { return };
    if before.counts {
        customer.orders.standing.spend -= before.left() - after.left();
    }
    let left = before.stands() && !after.stands();
    if left {
        customer.orders.leave(before.at);
    }
    // An order of which nothing is left has left already.
    for (i, feature) in edition.features(ORDER_COMPLETED).filter(|_| before.stands()) {
        if let Some(then) = counted(edition, customer, i, &before) {
            let now = if feature.beyond_order {
                again(edition, customer, feature, &after).or(Some(then))
            } else {
                contribution(edition, customer, feature, &after)
            };
            customer.features[i].amend(before.order.half(), then, now.filter(|_| after.stands()));
        }
        if left && feature.is_plain() {
            let standing = customer.orders.standing;
            let instant = if matches!(feature.what, Computed::First) { standing.first } else { standing.last };
            customer.features[i].reset_instant(instant);
        }
    }
    if back.brings_nothing() {
        return;
    }
    let name = if back.refund.is_some() { ORDER_REFUNDED } else { ORDER_CANCELLED };
    for (i, feature) in edition.features(name) {
        let view = View { event, order: Some(&after), ..View::of(&edition.program, customer) };
        if let Some(amount) = amount(feature, &view) {
            let now = customer.clock;
            customer.features[i].observe(feature, at, 0, amount, now);
        }
    }
}

/// Takes an order out of what features count.
pub(crate) fn uncount(edition: &Edition, customer: &mut Customer, record: &OrderRecord) {
    for (i, _) in edition.features(ORDER_COMPLETED).filter(|_| record.stands()) {
        if let Some(counted) = counted(edition, customer, i, record) {
            customer.features[i].amend(record.order.half(), counted, None);
        }
    }
}

/// What a feature counts of an order so far. What it read of the event or the customer then is remembered with
/// the order's name.
fn counted(edition: &Edition, customer: &Customer, i: usize, order: &OrderRecord) -> Option<i64> {
    let feature = &edition.program.features[i];
    if feature.beyond_order {
        customer.features[i].observed(order.order.half())
    } else {
        contribution(edition, customer, feature, order)
    }
}

fn contribution(edition: &Edition, customer: &Customer, feature: &Feature, order: &OrderRecord) -> Option<i64> {
    amount(feature, &View { order: Some(order), ..View::of(&edition.program, customer) })
}

/// The number of an order that a feature counts, when the order alone says it.
fn again(edition: &Edition, customer: &Customer, feature: &Feature, order: &OrderRecord) -> Option<i64> {
    let (Computed::Sum(term) | Computed::Max(term) | Computed::Min(term)) = &feature.what else { return None };
    if term.reads(Field::is_beyond_order) {
        return None;
    }
    number(term, &View { order: Some(order), ..View::of(&edition.program, customer) })
}

fn of_member(edition: &Edition, customer: &mut Customer, at: Timestamp, fact: &Fact) {
    let owner = customer.id;
    match fact {
        Fact::Posted(posting) => posted(edition, customer, posting),
        Fact::LotOpened(born) => {
            if let Some(member) = &mut customer.member {
                member.wallet.open(born);
                if born.lot.owner == owner {
                    customer.lots_opened = customer.lots_opened.max(born.lot.number);
                }
                if born.order.is_none() {
                    pay(edition, member, &born.rule, born.earned_at);
                }
            }
            if let Some(order) = born.order {
                customer.orders.amend(order, |record| record.lot = Some(born.lot));
            }
            customer.wake(born.available_at, TimerKind::Activate, born.lot.number, born.lot.owner);
            watch_inactivity(edition, customer);
        }
        Fact::LotDated { lot, available_at, expires_at } => {
            if let Some(member) = &mut customer.member {
                member.wallet.date(*lot, *available_at, *expires_at);
            }
            let seen = Some(customer.clock);
            watch_lot(edition, customer, *lot, seen);
        }
        Fact::TakenBack { order, points } => customer.orders.amend(*order, |record| record.taken += points),
        Fact::Fulfilled { benefit, order } => {
            customer.orders.amend(*order, |record| record.fulfilled.push(benefit.clone()));
        }
        Fact::Benefited { benefit, order, granted } => {
            let note = |record: &mut OrderRecord| {
                record.benefits.retain(|b| b != benefit);
                if *granted {
                    record.benefits.push(benefit.clone());
                }
            };
            order.iter().for_each(|order| customer.orders.amend(*order, note));
        }
        Fact::Paid { order, lots } => {
            paid(customer, *order, lots, at);
            watch_inactivity(edition, customer);
        }
        Fact::PaidByHold { order, held_at, lots } => {
            let held = captured_for(customer, *order, lots, |captured| captured.held_at == *held_at);
            customer.orders.amend(*order, |record| record.pay_by_hold(held));
        }
        Fact::Held { until, hold, lots } => {
            if let Some(member) = &mut customer.member {
                let (hold, lots, at) = (hold.clone(), lots.clone(), customer.clock);
                let fresh = Hold { hold, at, until: *until, lots, ended: false };
                member.holds.push(fresh);
                if member.holds.len() > 4 * HOLDS_MAX {
                    let ended = member.holds.iter().position(|h| h.ended);
                    ended.into_iter().for_each(|i| drop(member.holds.remove(i)));
                }
            }
            customer.wake(*until, TimerKind::HoldLapse, 0, owner);
        }
        fact => {
            if let Some(member) = &mut customer.member {
                of_progress(edition, customer.id, member, at, fact);
            }
            if matches!(fact, Fact::Redeemed(_) | Fact::HoldEnded { .. }) {
                watch_inactivity(edition, customer);
            }
        }
    }
}

fn of_progress(edition: &Edition, owner: CustomerId, member: &mut Member, at: Timestamp, fact: &Fact) {
    match fact {
        Fact::Qualified { year, points, spend } => {
            let counted = member.years.entry(*year);
            counted.points += points;
            counted.spend += spend;
        }
        Fact::Reached { milestone, firm_at, lot, badge, order } => member.milestones.push(Reached {
            order: *order,
            milestone: milestone.clone(),
            badge: badge.clone(),
            lot: *lot,
            firm_at: *firm_at,
            version: edition.program.version,
        }),
        Fact::MissedAll { milestone } => {
            member.milestones.retain(|m| m.milestone != *milestone || m.firm_at <= at);
        }
        Fact::Missed { milestone, version, order } => {
            let is_it = |m: &Reached| (&m.milestone, m.version, m.order) == (milestone, *version, *order);
            member.milestones.iter().position(is_it).into_iter().for_each(|i| drop(member.milestones.remove(i)));
        }
        Fact::Redeemed(redemption) => redeemed(member, redemption, at),
        Fact::RedemptionRecalled { key } => member.recall_redemption(key),
        Fact::Undone { key } => undone(member, key),
        Fact::HoldEnded { hold, captured } => end_hold(member, owner, hold, *captured, at),
        Fact::Submitted { activity, rule, unique } => {
            let (activity, rule, unique) = (*activity, rule.clone(), *unique);
            member.keep_activity(Activity { activity, rule, at, unique, approved: None });
        }
        Fact::Reviewed { activity, rule, approved } => {
            let open = |a: &&mut Activity| a.activity == *activity && a.rule == *rule && a.approved.is_none();
            member.activities.iter_mut().find(open).into_iter().for_each(|a| a.approved = Some(*approved));
        }
        Fact::BorneNoLonger { used, points } => member.wallet.bear_no_longer(*used, *points),
        Fact::Queued { template, about } => queued(member, (template.clone(), about.clone(), at)),
        // Carried out above, or nothing to carry out: named, so that a new fact must say where it belongs.
        Fact::Booked(_)
        | Fact::Returned(_)
        | Fact::Tiered(_)
        | Fact::Enrolled { .. }
        | Fact::Claimed { .. }
        | Fact::Reread { .. }
        | Fact::Merged { .. }
        | Fact::Unmerged { .. }
        | Fact::Created
        | Fact::Linked(_)
        | Fact::Unlinked(_)
        | Fact::Noted(_)
        | Fact::Refused(_)
        | Fact::Explained { .. }
        | Fact::Parked { .. }
        | Fact::Erased { .. }
        | Fact::Recalled { .. }
        | Fact::Parted(_)
        | Fact::SetAside { .. }
        | Fact::Scored(_)
        | Fact::Posted(_)
        | Fact::LotOpened(_)
        | Fact::LotDated { .. }
        | Fact::Fulfilled { .. }
        | Fact::TakenBack { .. }
        | Fact::Benefited { .. }
        | Fact::Paid { .. }
        | Fact::PaidByHold { .. }
        | Fact::Held { .. } => {}
    }
}

fn redeemed(member: &mut Member, redemption: &Redemption, at: Timestamp) {
    member.keep_redemption(Bought { redemption: redemption.clone(), at, undone: false });
    member.wallet.active_at = member.wallet.active_at.max(at);
    let pieces = member.pieces.entry(redemption.reward.clone()).or_default();
    *pieces = pieces.saturating_add(redemption.quantity);
}

fn undone(member: &mut Member, key: &str) {
    let bought = member.redemptions.iter_mut().find(|b| *b.redemption.key == *key && !b.undone);
    if let Some(bought) = bought {
        bought.undone = true;
        let Redemption { reward, quantity, .. } = &bought.redemption;
        let pieces = member.pieces.entry(reward.clone()).or_default();
        *pieces = pieces.saturating_sub(*quantity);
    }
}

fn queued(member: &mut Member, message: (Box<str>, Box<str>, Timestamp)) {
    member.queued.push_back(message);
    if member.queued.len() > ACTIVITIES_MAX {
        member.queued.pop_front();
    }
}

/// The oldest leave a list that is too long.
fn cap<T>(list: &mut Vec<T>, max: usize) {
    list.drain(..list.len().saturating_sub(max));
}

/// Notes that a rule paid, for its limit: other rules that pay often do not drive it out.
fn pay(edition: &Edition, member: &mut Member, rule: &str, at: Timestamp) {
    let of_rule = |(id, _): &(Box<str>, Timestamp)| **id == *rule;
    let limit = edition.program.earn.iter().find(|known| *known.id == *rule).and_then(|known| known.limit);
    let max = limit.map_or(0, |limit| usize::try_from(limit.count).unwrap_or(0)).max(PAID_MAX);
    if member.paid.iter().filter(|paid| of_rule(paid)).count() >= max
        && let Some(oldest) = member.paid.iter().position(of_rule)
    {
        member.paid.remove(oldest);
    }
    member.paid.push((rule.into(), at));
}

fn end_hold(member: &mut Member, owner: CustomerId, hold: &str, captured: i64, at: Timestamp) {
    if captured > 0 {
        member.wallet.active_at = member.wallet.active_at.max(at);
    }
    let Some(open) = member.holds.iter_mut().find(|h| *h.hold == *hold && !h.ended) else { return };
    open.ended = true;
    let mut left = captured;
    for (lot, amount) in &open.lots {
        let used = left.min(*amount);
        if used > 0 {
            member.captured.push(Captured { lot: *lot, points: used, at, held_at: open.at });
        }
        left -= used;
    }
    if left > 0 {
        // A merge that was taken back left fewer points than were captured: the rest is owed, once for hold and order.
        member.captured.push(Captured { lot: loyalty::everything(owner), points: left, at, held_at: open.at });
    }
    cap(&mut member.captured, ACTIVITIES_MAX);
}

fn paid(customer: &mut Customer, order: OrderRef, lots: &[(LotId, i64)], at: Timestamp) {
    let now = customer.clock;
    // The fact does not tell captured points from others: captured ones are used first, as when it was decided.
    let mut from = captured_for(customer, order, lots, |_| true);
    let mut captured: Few<LotId, i64> = Few::default();
    from.iter().for_each(|paid| *captured.entry(paid.lot) += paid.points);
    for (lot, points) in lots {
        let before = captured.entry(*lot);
        let held = (*before).min(*points);
        *before -= held;
        if *points > held {
            from.push(PaidFrom { lot: *lot, points: points - held, used: now, held: false });
        }
    }
    from.retain(PaidFrom::is_of_a_lot);
    customer.orders.amend(order, |record| (record.paid_at, record.paid_lots) = (Some(now), from));
    customer.member.iter_mut().for_each(|member| member.wallet.active_at = member.wallet.active_at.max(at));
}

/// Of points that paid for an order, those that holds had set aside; no other order is paid with them.
fn captured_for(
    customer: &mut Customer,
    order: OrderRef,
    lots: &[(LotId, i64)],
    is_meant: impl Fn(&Captured) -> bool,
) -> Vec<PaidFrom> {
    let placed = customer.orders.get(order).map(|record| record.at);
    let (Some(placed), Some(member)) = (placed, &mut customer.member) else { return Vec::new() };
    let mut from = Vec::new();
    for (lot, points) in lots {
        let mut left = *points;
        let of_lot = |c: &&mut Captured| c.lot == *lot && c.may_pay(placed) && is_meant(c);
        for captured in member.captured.iter_mut().filter(of_lot) {
            let points = left.min(captured.points);
            captured.points -= points;
            left -= points;
            if points > 0 {
                from.push(PaidFrom { lot: *lot, points, used: captured.held_at, held: true });
            }
        }
    }
    member.captured.retain(|c| c.points > 0);
    from
}

fn posted(edition: &Edition, customer: &mut Customer, posting: &Posting) {
    let Some(member) = &mut customer.member else { return };
    match &posting.unit {
        Unit::Points => member.wallet.post(posting, customer.clock),
        Unit::Impact(unit) => {
            let credited = if posting.to == Account::Credited { posting.amount } else { -posting.amount };
            match member.impact.get_mut(&**unit) {
                Some(sum) => *sum = sum.saturating_add(credited),
                None => *member.impact.entry(unit.clone()) = credited,
            }
            return;
        }
        Unit::Stock(_) => return,
    }
    let Some(lot) = posting.lot else { return };
    if posting.cause == Cause::Earn
        && posting.from == Account::Issued
        && let Some(order) = member.wallet.lot(lot).and_then(|l| l.order)
    {
        customer.orders.amend(order, |record| record.points += posting.amount);
    }
    if posting.to == Account::Available {
        // Also what comes back: the lot's end may have come by already while there was nothing in it. What is new may
        // be told after it was due to be reminded of.
        let is_new = matches!(posting.from, Account::Pending | Account::Issued);
        let seen = Some(customer.clock).filter(|_| !is_new);
        watch_lot(edition, customer, lot, seen);
    }
}

/// Wakes the customer when a lot lapses, by its own end or by inactivity, and before. A reminder that was due by
/// `seen` has had its time; without it the lot is new, and a late reminder is given.
fn watch_lot(edition: &Edition, customer: &mut Customer, lot: LotId, seen: Option<Timestamp>) {
    let found = customer.member.as_ref().and_then(|m| m.wallet.lot(lot));
    match found.map(|l| (l.available_at, l.expires_at)) {
        Some((_, Timestamp::NEVER)) => watch_inactivity(edition, customer),
        Some((from, expires_at)) => watch(edition, customer, (from, expires_at), lot, seen),
        None => {}
    }
}

/// After something was earned or spent: wakes the customer when inactivity would let everything lapse, and before,
/// instead of when that was due until now.
fn watch_inactivity(edition: &Edition, customer: &mut Customer) {
    let Some((_, due)) = idle_span(edition, customer) else { return };
    let everything = loyalty::everything(customer.id);
    let waits = Timer { at: due, kind: TimerKind::Expire, id: everything.number, owner: everything.owner };
    if !customer.timers.has(&waits) {
        watch_inactivity_again(edition, customer, None);
    }
}

/// The same where nothing was earned or spent, and reminders that were due by `seen` have had their time.
pub(crate) fn watch_inactivity_again(edition: &Edition, customer: &mut Customer, seen: Option<Timestamp>) {
    let everything = loyalty::everything(customer.id);
    customer.timers.cancel(TimerKind::Expire, everything.number);
    customer.timers.cancel(TimerKind::Remind, everything.number);
    if let Some(span) = idle_span(edition, customer) {
        watch(edition, customer, span, everything, seen);
    }
}

/// Since when a member is idle, and when everything lapses for it.
fn idle_span(edition: &Edition, customer: &Customer) -> Option<(Timestamp, Timestamp)> {
    let since = customer.member.as_ref()?.wallet.active_at;
    Some((since, loyalty::idle_until(edition, since)?))
}

/// Wakes the customer at the end of a validity, and for a reminder before, once there is something to remind of.
fn watch(
    edition: &Edition,
    customer: &mut Customer,
    (from, until): (Timestamp, Timestamp),
    lot: LotId,
    seen: Option<Timestamp>,
) {
    customer.wake(until, TimerKind::Expire, lot.number, lot.owner);
    let remind_at = loyalty::remind_at(edition, until).map(|at| at.max(from));
    if let Some(at) = remind_at.filter(|at| seen.is_none_or(|seen| *at > seen)) {
        customer.wake(at, TimerKind::Remind, lot.number, lot.owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        let of = |text: &str| fingerprint(&Value::Number(text.parse().unwrap()));
        assert_eq!(of("4"), of("4.0"));
        assert_ne!(of("4"), of("4.5"));
        assert_ne!(of("4"), fingerprint(&Value::from("4")));
    }
}
