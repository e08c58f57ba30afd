//! Milestones: reached by the order that meets their mark, firm when that one is, taken back with it (rule 9).

use std::collections::BTreeMap;

use super::earn::{spend_of, standing_points};
use super::level_of;
use super::lot::grant;
use super::refund::reverse;
use crate::customer::{Reached, Year};
use crate::engine::Book;
use crate::expr::{Field, Predicate};
use crate::fact::{Cause, Fact};
use crate::few::Few;
use crate::id::OrderRef;
use crate::orders::OrderRecord;
use crate::program::{Milestone, Program};
use crate::scope::{View, Without};
use crate::tier;
use crate::time::Timestamp;

/// Instants that are looked at to find when a mark was reached; each `since()` of a condition has two.
const TURNS_MAX: usize = 64;

/// When an order was placed, and which.
type Place = (Timestamp, OrderRef);

/// The last order of each local year that earns and stands; of one instant, the one that was booked last.
pub(crate) fn last_orders(book: &Book<'_>) -> BTreeMap<i16, Place> {
    let zone = &book.program().zone;
    let mut last: BTreeMap<i16, Place> = BTreeMap::new();
    for order in book.customer.orders.iter().filter(|order| order.earns && order.stands()) {
        let placed = place(&order);
        let latest = last.entry(zone.year(order.at)).or_insert(placed);
        if placed.0 >= latest.0 {
            *latest = placed;
        }
    }
    last
}

/// Gives what milestones promise when their mark is reached (rule 9). What one gives may reach another.
pub(crate) fn milestones(book: &mut Book<'_>, order: Option<OrderRef>) {
    let edition = book.edition();
    if edition.program.milestones.is_empty() {
        return;
    }
    let at = order.and_then(|order| book.customer.orders.get(order)).map_or(book.customer.clock, |record| record.at);
    let other_year = other_year(book, at);
    let mut reached_one = true;
    while std::mem::take(&mut reached_one) {
        for milestone in &edition.program.milestones {
            let Some(member) = &book.customer.member else { return };
            let known = member.milestones.iter().any(|m| m.milestone == milestone.id);
            if !known && is_met(book, &milestone.when, other_year, None) {
                reach(book, milestone, order);
                reached_one = true;
            }
        }
    }
}

/// Whether a mark is met by what counts for this year, or for another one that it is about: what a December's orders
/// bring is known in January.
fn is_met(book: &Book<'_>, when: &Predicate, other_year: Option<i16>, without: Option<&Without>) -> bool {
    let view = View { without, ..View::of(book.program(), book.customer) };
    when.holds(&view) || other_year.is_some() && when.holds(&View { of_year: other_year, ..view })
}

/// The local year of an instant, if it is not this one.
fn other_year(book: &Book<'_>, at: Timestamp) -> Option<i16> {
    let (zone, now) = (&book.program().zone, book.customer.clock);
    if at == now { None } else { Some(zone.year(at)).filter(|year| *year != zone.year(now)) }
}

/// What orders move of what a mark reads, as far as an order's part can be taken out of it.
fn is_sum_of_orders(field: &Field) -> bool {
    matches!(field, Field::Orders | Field::Spend | Field::Impact(_) | Field::PointsEarned)
}

/// The rest that orders move.
fn is_otherwise_moved_by_orders(field: &Field) -> bool {
    matches!(field, Field::FirstOrder | Field::LastOrder | Field::Feature(_) | Field::Tier)
}

/// What the last order moves, and no other can be taken out of.
fn is_of_the_last_order(field: &Field) -> bool {
    matches!(field, Field::LastOrder | Field::Feature(_))
}

fn place(record: &OrderRecord) -> Place {
    (record.at, record.order)
}

/// The last order that may still come back, for what is reached by anything else but hangs on orders.
fn last_open(book: &Book<'_>, milestone: &Milestone) -> Option<Place> {
    if !milestone.when.reads(|field| is_sum_of_orders(field) || is_otherwise_moved_by_orders(field)) {
        return None;
    }
    let (zone, pending, now) = (&book.program().zone, book.program().points.pending, book.customer.clock);
    let open = book.customer.orders.iter().filter(|order| order.stands() && zone.add(order.at, pending) > now);
    open.map(|order| place(&order)).max_by_key(|(at, _)| *at)
}

/// The order that reaches a mark when one comes in. One that is told late may do it for another of a later day.
fn reaching(book: &Book<'_>, milestone: &Milestone, order: OrderRef) -> Option<Place> {
    let at_hand = (book.customer.orders.get(order)?.at, order);
    let orders = &standing(book, |record| record.at > at_hand.0);
    let years = &book.customer.member.as_ref()?.years;
    completing(book, milestone, at_hand.0, Among { orders, open: &[], years }).or(Some(at_hand))
}

/// A standing order, and what it brought by itself.
struct Standing {
    place: Place,
    brought: Without,
}

/// Where the order is looked for by which a mark is met.
#[derive(Clone, Copy)]
struct Among<'a> {
    orders: &'a [Standing],
    /// Milestones that are still to be placed: what they gave counts for nothing.
    open: &'a [Reached],
    /// What counted before anything came back.
    years: &'a Few<i16, Year>,
}

/// Standing orders, by the instant that they were placed.
fn standing(book: &Book<'_>, is_asked: impl Fn(&OrderRecord) -> bool) -> Vec<Standing> {
    let asked = book.customer.orders.iter().filter(|record| record.stands() && is_asked(record));
    let standing = asked.map(|record| Standing { place: place(&record), brought: brought(book, &record) });
    let mut standing: Vec<Standing> = standing.collect();
    standing.sort_by_key(|standing| standing.place.0);
    standing
}

/// Of standing orders the one by which a mark is met, also by what counts for the year of an instant: the last one
/// without which, and those after it, it is not; of what the last order moves, that one. None where it is met without
/// them.
fn completing(book: &Book<'_>, milestone: &Milestone, about: Timestamp, among: Among<'_>) -> Option<Place> {
    let Among { orders, open, years } = among;
    if milestone.when.reads(is_of_the_last_order) {
        return orders.last().map(|last| last.place);
    }
    let reads_level = milestone.when.reads(|field| *field == Field::Tier);
    let other_year = other_year(book, about);
    let (last, given) = (orders.last().map(|last| last.place), given_with_orders(book, open));
    let mut without = Without { years: given_by(book, open), ..Without::default() };
    let completing = orders.iter().rev().find(|standing| {
        without.add(&standing.brought);
        let with_it = given.iter().filter(|given| given.is_with(standing.place.1, last == Some(standing.place)));
        with_it.for_each(|given| without.years.entry(given.year).or_default().points += given.points);
        without.level = if reads_level { tier::level_without(book, &without.years, years) } else { None };
        !is_met(book, &milestone.when, other_year, Some(&without))
    });
    completing.map(|standing| standing.place)
}

/// Points that a milestone gave with an order, and the local year that they count for.
pub(crate) struct Given {
    order: OrderRef,
    came_back: bool,
    pub(crate) year: i16,
    pub(crate) points: i64,
}

impl Given {
    /// Whether it counts with an order. What an order gave that came back since, and that stands all the same, hangs on
    /// the last one.
    pub(crate) fn is_with(&self, order: OrderRef, is_last: bool) -> bool {
        self.order == order || is_last && self.came_back
    }
}

/// What milestones gave with orders, but for those that are open.
pub(crate) fn given_with_orders(book: &Book<'_>, open: &[Reached]) -> Vec<Given> {
    let reached = book.customer.member.iter().flat_map(|member| &member.milestones);
    let given = reached.filter(|reached| !open.contains(reached)).filter_map(|reached| {
        let (order, (year, points)) = (reached.order?, gave(book, reached)?);
        let came_back = book.customer.orders.get(order).is_some_and(|record| !record.stands());
        Some(Given { order, came_back, year, points })
    });
    given.collect()
}

/// Points that a milestone gave, and the local year that they count for.
fn gave(book: &Book<'_>, reached: &Reached) -> Option<(i16, i64)> {
    let lot = reached.lot.and_then(|id| book.customer.member.as_ref()?.wallet.lot(id))?;
    Some((book.program().zone.year(lot.earned_at), lot.buckets.granted))
}

/// What some milestones gave, by the local year that it counts for.
fn given_by(book: &Book<'_>, milestones: &[Reached]) -> BTreeMap<i16, Year> {
    let mut years: BTreeMap<i16, Year> = BTreeMap::new();
    let given = milestones.iter().filter_map(|reached| gave(book, reached));
    given.for_each(|(year, points)| years.entry(year).or_default().points += points);
    years
}

/// What an order brought of the sums, without what milestones gave with it.
fn brought(book: &Book<'_>, record: &OrderRecord) -> Without {
    let mut brought = Without { orders: 1, ..Without::default() };
    if record.counts {
        brought.spend = record.left();
    }
    if !record.earns {
        return brought;
    }
    let counts = Year { points: standing_points(book, record), spend: spend_of(book, record) };
    brought.years.insert(book.program().zone.year(record.at), counts);
    let edition = book.rules.edition(record.version);
    let granted = edition.iter().flat_map(|edition| &edition.program.benefits);
    let granted = granted.filter(|benefit| record.benefits.contains(&benefit.id)).flat_map(|benefit| &benefit.impact);
    for (unit, amount) in record.impact_left().into_iter().chain(granted.map(|(unit, amount)| (unit.clone(), *amount)))
    {
        let sum = brought.impact.entry(unit).or_default();
        *sum = sum.saturating_add(amount);
    }
    brought
}

/// Milestones that a refund of an order may take back, for they are not firm yet: those that meet their mark, and those
/// that do not but hang on this order, which go only if all of it comes back. What brought those under theirs was no
/// refund in time, or they would be gone.
pub(super) fn standing_milestones(book: &Book<'_>, order: OrderRef) -> (Vec<Reached>, Vec<Reached>) {
    let milestones = book.customer.member.iter().flat_map(|member| &member.milestones);
    let soft: Vec<Reached> = milestones.filter(|reached| book.at < reached.firm_at).cloned().collect();
    if soft.is_empty() {
        return (soft, Vec::new());
    }
    let under = missed(book, soft.clone(), None);
    let (under, standing): (Vec<_>, Vec<_>) = soft.into_iter().partition(|reached| under.contains(reached));
    (standing, under.into_iter().filter(|reached| reached.order == Some(order)).collect())
}

/// After a refund: takes back what milestones gave whose value is under the mark again before the return window
/// of the reaching order ends, as much as they gave and by the mark of then (rule 9). What the level loses by it is told
/// by `lost`. Whether any was missed.
pub(super) fn miss_milestones(book: &mut Book<'_>, stood: &[Reached], lost: Option<&tier::Lost>) -> bool {
    let Some(member) = &book.customer.member else { return false };
    let standing = stood.iter().filter(|reached| member.milestones.contains(reached)).cloned().collect();
    let missed = missed(book, standing, lost);
    let any_missed = !missed.is_empty();
    missed.into_iter().for_each(|reached| miss(book, reached));
    any_missed
}

fn miss(book: &mut Book<'_>, reached: Reached) {
    let Reached { milestone, version, order, .. } = reached;
    book.record(Fact::Missed { milestone, version, order });
    let lot = reached.lot.and_then(|id| book.customer.member.as_ref()?.wallet.lot(id).cloned());
    if let Some(lot) = lot {
        let points = lot.buckets.granted;
        reverse(book, lot.id, points, Cause::Revoke);
        let year = book.program().zone.year(lot.earned_at);
        book.record(Fact::Qualified { year, points: -points, spend: 0 });
    }
}

/// Those that nothing but each other holds up: what they gave counts for none of them, nor for the level that some ask
/// for, until it stands by itself.
fn missed(book: &Book<'_>, mut soft: Vec<Reached>, lost: Option<&tier::Lost>) -> Vec<Reached> {
    loop {
        let years = given_by(book, &soft);
        let level = lost.and_then(|lost| tier::level_after_refund(book, lost, &years));
        let without = Without { years, level, ..Without::default() };
        let Some(at) = soft.iter().position(|reached| holds_still(book, reached, &without)) else { return soft };
        soft.remove(at);
    }
}

/// Whether a milestone would be reached by the programme that it was reached by, with its order's year or with this
/// one. What that programme computed is no more where another is followed: then the one in force says it, if it has
/// the milestone.
fn holds_still(book: &Book<'_>, reached: &Reached, without: &Without) -> bool {
    let mark = |program: &Program| {
        let milestone = program.milestones.iter().find(|milestone| milestone.id == reached.milestone);
        milestone.map(|milestone| milestone.when.clone())
    };
    let then = book.rules.edition(reached.version).and_then(|edition| mark(&edition.program));
    let is_computed = |when: &Predicate| when.reads(|field| matches!(field, Field::Feature(_)));
    let is_foreign = reached.version != book.program().version && then.as_ref().is_some_and(is_computed);
    let when = if is_foreign { mark(book.program()) } else { then };
    let placed = reached.order.and_then(|order| book.customer.orders.get(order)).map(|record| record.at);
    let other_year = placed.and_then(|placed| other_year(book, placed));
    when.is_none_or(|when| is_met(book, &when, other_year, Some(without)))
}

/// What goes with a refund may take more with it: each round takes something, or is the last.
pub(super) fn settle_progress(book: &mut Book<'_>, stood: &[Reached], lost: &tier::Lost) {
    loop {
        let level = level_of(book);
        let any_missed = miss_milestones(book, stood, Some(lost));
        tier::refunded(book, lost);
        if !any_missed && level == level_of(book) {
            break;
        }
    }
}

/// Milestones whose marks are met although something of an order came back hang on the order that meets them now, if
/// theirs is gone or was not enough. Only those of the version in force: what another one asked may be computed no more.
/// What moves on may count for another year then, and hold up others no longer. Whether some of those that stood moved;
/// they are among these then as they are now.
pub(super) fn reach_again(book: &mut Book<'_>, stood: &mut [Reached], lost: &tier::Lost) -> bool {
    let program = book.program();
    let is_held = |book: &Book<'_>, reached: &Reached| {
        book.customer.member.as_ref().is_some_and(|member| member.milestones.contains(reached))
    };
    let is_open = |reached: &&Reached| reached.version == program.version && is_held(book, reached);
    let mut open: Vec<Reached> = stood.iter().filter(is_open).cloned().collect();
    if open.is_empty() {
        return false;
    }
    let (orders, mut any) = (standing(book, |_| true), false);
    while let Some((at, milestone, by)) = next_met(book, Among { orders: &orders, open: &open, years: &lost.years }) {
        let reached = open.remove(at);
        let moves = reached.order.and_then(|hung| book.customer.orders.get(hung)).is_some_and(|hung| {
            let needs_a_later = !milestone.when.reads(is_of_the_last_order) && by.is_some_and(|(at, _)| at > hung.at);
            hung.order == lost.order && !hung.stands() || needs_a_later
        });
        if moves {
            let moved = move_on(book, milestone, reached.clone(), by);
            stood.iter_mut().filter(|stood| **stood == reached).for_each(|stood| stood.clone_from(&moved));
            settle_progress(book, stood, lost);
            open.retain(|reached| is_held(book, reached));
            any = true;
        }
    }
    any
}

/// Of some milestones that what the others of them give does not hold up, the one that is met first, and the order by
/// which it is.
fn next_met<'a>(book: &Book<'a>, among: Among<'_>) -> Option<(usize, &'a Milestone, Option<Place>)> {
    let years = given_by(book, among.open);
    let without = Without { level: tier::level_without(book, &years, among.years), years, ..Without::default() };
    let met = among.open.iter().enumerate().filter_map(|(at, reached)| {
        let milestone = book.program().milestones.iter().find(|milestone| milestone.id == reached.milestone)?;
        let placed = reached.order.and_then(|order| book.customer.orders.get(order)).map(|record| record.at);
        let other_year = placed.and_then(|placed| other_year(book, placed));
        if !is_met(book, &milestone.when, other_year, Some(&without)) {
            return None;
        }
        Some((at, milestone, completing(book, milestone, placed.unwrap_or(book.customer.clock), among)))
    });
    met.min_by_key(|(_, _, by)| by.map(|(at, _)| at))
}

/// Takes a milestone back and reaches it by another order, dated no earlier than it was; how it is held then.
fn move_on(book: &mut Book<'_>, milestone: &Milestone, reached: Reached, by: Option<Place>) -> Reached {
    let met = by.map(|(bought, _)| first_met(book, milestone, bought));
    let by = by.or_else(|| last_open(book, milestone));
    let lot = reached.lot.and_then(|id| book.customer.member.as_ref()?.wallet.lot(id));
    let dated = lot.map(|lot| lot.earned_at).max(met).unwrap_or(book.customer.clock);
    miss(book, reached.clone());
    give(book, milestone, dated, by);
    tier::regrade(book, book.program().zone.year(dated), by.map(|(_, order)| order));
    let held = book.customer.member.as_ref();
    let given = held.and_then(|member| member.milestones.iter().find(|given| given.milestone == milestone.id));
    given.cloned().unwrap_or(reached)
}

fn reach(book: &mut Book<'_>, milestone: &Milestone, order: Option<OrderRef>) {
    let reaching = order.and_then(|order| reaching(book, milestone, order));
    let by = reaching.or_else(|| last_open(book, milestone));
    // What something of long ago reaches is given now: it would have lapsed before it was there.
    let placed = reaching.map_or(book.customer.clock, |(bought, _)| first_met(book, milestone, bought));
    let year = book.program().zone.year(placed);
    give(book, milestone, placed, by);
    let at_hand = order.and_then(|order| book.customer.orders.get(order)).map(|record| record.at);
    // The year of the order at hand is graded by itself, after all that it brings.
    if milestone.points > 0 && at_hand.is_none_or(|at| book.program().zone.year(at) != year) {
        tier::regrade(book, year, by.map(|(_, order)| order));
    }
}

/// Gives what a milestone promises, dated at an instant; it is firm when the order that it hangs on is.
fn give(book: &mut Book<'_>, milestone: &Milestone, placed: Timestamp, by: Option<Place>) {
    let zone = &book.program().zone;
    let firm_at = by.map_or(placed, |(bought, _)| zone.add(bought, book.program().points.pending).max(placed));
    let year = zone.year(placed);
    let mut lot = None;
    if milestone.points > 0 {
        lot = grant(book, milestone.points, None, placed, firm_at, format!("milestone:{}", milestone.id).into());
        book.record(Fact::Qualified { year, points: milestone.points, spend: 0 });
    }
    let (milestone, badge, by) = (milestone.id.clone(), milestone.badge.clone(), by.map(|(_, order)| order));
    book.record(Fact::Reached { milestone, order: by, firm_at, lot, badge });
}

/// The first instant, from an order's on, at which time alone lets a mark hold, all else being as it is now; now, where
/// there are too many to look at.
fn first_met(book: &Book<'_>, milestone: &Milestone, bought: Timestamp) -> Timestamp {
    let clock = book.customer.clock;
    let mut at = bought;
    for _ in 0..TURNS_MAX {
        let of_year = Some(book.program().zone.year(at));
        let view = View { as_of: Some(at), of_year, ..View::of(book.program(), book.customer) };
        if milestone.when.holds(&view) {
            return at;
        }
        at = milestone.when.next_change(&view).map_or(clock, |next| next.min(clock));
    }
    clock
}
