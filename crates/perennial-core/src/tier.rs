//! Tiers: levels reached by what counts in a local calendar year, kept until the end of the next.
//!
//! Promise: reaching lifts at once, losing waits for the review; spending points never lowers a tier. A level is
//! known by its id: another programme may have it in another place. Lifting and reviewing ask the version in force, and
//! rest while it has no levels; refunds ask the last levels that there were, for they may come again.

use std::collections::BTreeMap;

use crate::customer::{Customer, Member, TierStatus, Year};
use crate::engine::Book;
use crate::fact::{Fact, TierChange, TierReason};
use crate::few::Few;
use crate::id::OrderRef;
use crate::input::TimerKind;
use crate::loyalty;
use crate::orders::OrderRecord;
use crate::program::{Drop, Level, OnRefund, Program, TierBy, Tiers};
use crate::rules::Rules;
use crate::time::Timestamp;

/// Levels that are remembered behind the one that is held.
const BEFORE_MAX: usize = 32;

/// What the member has in a local year of what the tiers count.
pub fn counted(member: &Member, tiers: &Tiers, year: i16) -> i64 {
    count_in(&member.years, tiers.by, year)
}

fn count_in(years: &Few<i16, Year>, by: TierBy, year: i16) -> i64 {
    years.get(&year).map_or(0, |year| count_of(*year, by))
}

fn count_of(year: Year, by: TierBy) -> i64 {
    match by {
        TierBy::PointsEarned => year.points,
        TierBy::Spend => year.spend,
    }
}

/// The highest level whose threshold is met.
fn level_for(tiers: &Tiers, counted: i64) -> u8 {
    let met = tiers.levels.iter().rposition(|level| level.from <= counted);
    u8::try_from(met.unwrap_or(0)).unwrap_or(0)
}

// A later version may ask more. What a member reached by the earlier marks is not taken for that: a level counts as
// reached if its year meets the mark of today, or the mark of when it was reached.

/// The level that so much of a year reaches, by the marks of now or by those that a level was reached by.
fn level_by(book: &Book<'_>, tiers: &Tiers, status: &TierStatus, counted: i64) -> u8 {
    let met = levels_then(book, tiers, status).iter().filter(|level| level.from <= counted);
    met.filter_map(|level| tiers.position(&level.id)).max().unwrap_or(0).max(level_for(tiers, counted))
}

/// Whether so much of its year reaches a level that somebody holds or held.
fn reaches(book: &Book<'_>, tiers: &Tiers, status: &TierStatus, counted: i64) -> bool {
    level_by(book, tiers, status, counted) >= tiers.position(&status.tier).unwrap_or(status.level)
}

/// What a year must come to for a level: the lower mark.
fn mark_by(book: &Book<'_>, tiers: &Tiers, status: &TierStatus, level: u8) -> Option<i64> {
    let now = tiers.levels.get(usize::from(level))?;
    let then = levels_then(book, tiers, status).iter().find(|level| level.id == now.id);
    Some(then.map_or(now.from, |then| then.from.min(now.from)))
}

/// The levels that there were when one was reached; none where something else counted then.
fn levels_then<'a>(book: &Book<'a>, tiers: &Tiers, status: &TierStatus) -> &'a [Level] {
    let then = book.rules.edition(status.version).and_then(|edition| edition.program.tiers.as_ref());
    then.filter(|then| then.by == tiers.by).map_or(&[], |then| &then.levels)
}

/// The last instant of the year after `year`, exclusive.
fn end_of_next_year(program: &Program, year: i16) -> Timestamp {
    program.zone.start_of_year(year.saturating_add(2))
}

/// Finds the held level in the list of the newest programme that has one. A level that is no more counts as the
/// highest that is not above it; [`adopt`] says so. A review that came while there were no levels is held now, as of
/// its own day.
pub(crate) fn follow(rules: &Rules, customer: &mut Customer) {
    let known = customer.adopted;
    let mut versions = (1..=rules.latest_version()).rev().filter_map(|version| rules.edition(version));
    let Some(tiers) = versions.find_map(|edition| edition.program.tiers.as_ref()) else { return };
    let Some(held) = customer.member.as_mut().and_then(|member| member.tier.as_mut()) else { return };
    let review = Some(held.until);
    held.level = tiers.position(&held.tier).unwrap_or_else(|| instead(tiers, rules, known, &held.tier));
    // While there are no levels none is reviewed; whoever follows several versions at once knows nothing of a review.
    let reviews = rules.latest().is_some_and(|edition| edition.program.tiers.is_some());
    customer.wake_instead(review, review.filter(|_| reviews), TimerKind::Review);
}

/// The highest level that is not above one that is no more, by the last of the programmes up to a version that has
/// that one: by its mark, or by its place where levels were reached by something else then.
fn instead(tiers: &Tiers, rules: &Rules, known: u32, id: &str) -> u8 {
    let mut earlier = (1..=known).rev().filter_map(|version| rules.edition(version)?.program.tiers.as_ref());
    let Some((then, place)) = earlier.find_map(|then| Some((then, then.position(id)?))) else { return 0 };
    let highest = u8::try_from(tiers.levels.len().saturating_sub(1)).unwrap_or(u8::MAX);
    let mark = then.levels.get(usize::from(place)).map_or(0, |level| level.from);
    if then.by == tiers.by { level_for(tiers, mark) } else { place.min(highest) }
}

/// After another programme was taken up: who joined before there were tiers gets one, and who holds a level that
/// is no more the one that [`follow`] found.
pub(crate) fn adopt(book: &mut Book<'_>, known: u32) {
    let edition = book.edition();
    let (Some(tiers), Some(member)) = (&edition.program.tiers, &book.customer.member) else { return };
    match &member.tier {
        None => join(book),
        Some(held) if tiers.position(&held.tier).is_none() => {
            let (level, until) = (held.level, held.until);
            let until = if level == 0 { Timestamp::NEVER } else { until };
            change(book, level, until, TierReason::Adopted, None);
        }
        Some(_) => {}
    }
    let held_by_hand = book.customer.member.iter().flat_map(|member| &member.tier).any(|held| held.by_hand);
    let ladder = |program: &Program| {
        let tiers = program.tiers.as_ref()?;
        Some((tiers.by, tiers.levels.iter().map(|level| (level.id.clone(), level.from)).collect::<Vec<_>>()))
    };
    let before = book.rules.edition(known).and_then(|edition| ladder(&edition.program));
    if !held_by_hand && before != ladder(&edition.program) {
        // A lower mark lifts at once: as by the last order of the year, so that it goes again when that comes back.
        let last = loyalty::last_orders(book);
        for year in book.customer.member.iter().flat_map(|member| member.years.keys().copied()).collect::<Vec<_>>() {
            regrade(book, year, last.get(&year).map(|(_, order)| *order));
        }
    }
}

/// The lowest level, on joining.
pub(crate) fn join(book: &mut Book<'_>) {
    if book.program().tiers.is_some() {
        change(book, 0, Timestamp::NEVER, TierReason::Joined, None);
    }
}

/// After something counted in a local year, with an order or without: lifts, or extends what is held. That rests on the
/// order that brings the year to its mark, which one that is told late need not be.
pub(crate) fn regrade(book: &mut Book<'_>, year: i16, order: Option<OrderRef>) {
    let edition = book.edition();
    let (Some(tiers), Some(member)) = (&edition.program.tiers, &book.customer.member) else { return };
    let Some(held) = &member.tier else { return };
    let reached = level_for(tiers, counted(member, tiers, year));
    let until = end_of_next_year(&edition.program, year);
    if reached == 0 || until <= book.customer.clock {
        return;
    }
    let reason = if reached > held.level {
        TierReason::Reached
    } else if reached == held.level && until > held.until {
        TierReason::Kept
    } else if (reached, until) == (held.level, held.until) && is_told_late(book, order, held) {
        let held = held.clone();
        return rest(book, tiers, &held);
    } else {
        return;
    };
    let mark = tiers.levels.get(usize::from(reached)).map_or(0, |level| level.from);
    let completing = if order.is_some() { resting_on(book, tiers, mark, year, None) } else { None };
    change(book, reached, until, reason, completing.or(order));
}

/// Whether an order that was told late was placed before the one that a level rests on.
fn is_told_late(book: &Book<'_>, order: Option<OrderRef>, held: &TierStatus) -> bool {
    let placed = |order: OrderRef| book.customer.orders.get(order).map(|record| record.at);
    // No order is later than the clock: one that is told in time needs no second look-up.
    let at = order.and_then(placed).filter(|at| *at < book.customer.clock);
    at.is_some() && held.reached_by.is_some_and(|by| at < placed(by))
}

/// A refund of an order, and how things stood before it.
pub(crate) struct Lost {
    pub(crate) order: OrderRef,
    /// What counted in each year before the refund.
    pub(crate) years: Few<i16, Year>,
    /// The order's points had not become available.
    pub(crate) was_pending: bool,
}

/// What counts in local years when something came back, and what did before it.
struct Sums {
    by: TierBy,
    now: Few<i16, Year>,
    before: Few<i16, Year>,
    /// Points that are taken to count no more.
    withheld: BTreeMap<i16, Year>,
}

impl Sums {
    fn of(book: &Book<'_>, tiers: &Tiers, lost: &Lost, withheld: &BTreeMap<i16, Year>) -> Option<Self> {
        let now = book.customer.member.as_ref()?.years.clone();
        let withheld = if tiers.by == TierBy::PointsEarned { withheld.clone() } else { BTreeMap::new() };
        Some(Self { by: tiers.by, now, before: lost.years.clone(), withheld })
    }

    fn now(&self, year: i16) -> i64 {
        count_in(&self.now, self.by, year) - self.withheld.get(&year).map_or(0, |less| count_of(*less, self.by))
    }

    fn before(&self, year: i16) -> i64 {
        count_in(&self.before, self.by, year)
    }
}

impl Lost {
    /// Whether the order came later than another one.
    fn is_later(&self, book: &Book<'_>, other: OrderRef) -> bool {
        book.customer.orders.place(self.order) > book.customer.orders.place(other)
    }

    /// Whether the policy lets a refund take the level that is held, which its year reaches no more.
    fn may_take(&self, book: &Book<'_>, tiers: &Tiers, sums: &Sums, held: &TierStatus) -> bool {
        match tiers.on_refund {
            OnRefund::IfReachingOrderPending => self.was_pending && self.has_reached(book, tiers, sums, held),
            OnRefund::AtReview => false,
            OnRefund::AtOnce => {
                held.reached_by == Some(self.order) || reaches(book, tiers, held, sums.before(held.year))
            }
        }
    }

    /// Whether the order reached a level that its year was enough for: as was said then, or, for that may be another
    /// order's or a New Year's, because without it the year was short, as it stood before this refund or as it was
    /// placed: an earlier part of the refund may have been too small to matter.
    fn has_reached(&self, book: &Book<'_>, tiers: &Tiers, sums: &Sums, status: &TierStatus) -> bool {
        let year = status.year;
        if status.reached_by == Some(self.order) {
            return true;
        }
        if status.reached_by.is_some_and(|by| self.is_later(book, by) || is_firm(book, by)) {
            return false; // What came later did not reach it; what is firm goes with no other order.
        }
        // Which order reached it with points that are only taken not to count, nobody can say.
        if sums.withheld.contains_key(&year) || !reaches(book, tiers, status, sums.before(year)) {
            return false;
        }
        let level = tiers.position(&status.tier).unwrap_or(status.level);
        let Some(mark) = mark_by(book, tiers, status, level) else { return false };
        let Some(record) = book.customer.orders.get(self.order) else { return false };
        let came_back = match tiers.by {
            TierBy::PointsEarned => record.points - loyalty::standing_points(book, &record),
            TierBy::Spend => {
                record.as_placed().map_or(0, |placed| loyalty::spend_of(book, &placed))
                    - loyalty::spend_of(book, &record)
            }
        };
        let just_now = sums.before(year) - sums.now(year);
        let reached = |back: i64| resting_on(book, tiers, mark, year, Some((self.order, back))) == Some(self.order);
        reached(just_now) || came_back > just_now && reached(came_back)
    }
}

fn is_firm(book: &Book<'_>, order: OrderRef) -> bool {
    let end = |record: &OrderRecord| book.program().zone.add(record.at, book.program().points.pending);
    book.customer.orders.get(order).is_some_and(|record| end(&record) <= book.customer.clock)
}

/// The level that is held if so much of each local year did not count, none where there are none: years hold up what
/// they reach, also a level that was leapt over. What was set by hand, or is held although its year is short of it and
/// was `before`, needs no year.
pub(crate) fn level_without(book: &Book<'_>, less: &BTreeMap<i16, Year>, before: &Few<i16, Year>) -> Option<u8> {
    let (tiers, member, now) = (book.rules.ladder()?, book.customer.member.as_ref()?, book.customer.clock);
    let held = member.tier.as_ref()?;
    if held.by_hand {
        return Some(held.level);
    }
    let all = |year: i16| counted(member, tiers, year);
    let left = |year: i16| all(year) - less.get(&year).map_or(0, |less| count_of(*less, tiers.by));
    let of_status = |status: &TierStatus| {
        let level = tiers.position(&status.tier).unwrap_or(status.level);
        let short_of = |counted: i64| !reaches(book, tiers, status, counted);
        let was_short = tiers.on_refund == OnRefund::AtReview || short_of(count_in(before, tiers.by, status.year));
        let needs_no_year = status.by_hand || was_short && short_of(all(status.year));
        if needs_no_year { level } else { level.min(level_by(book, tiers, status, left(status.year))) }
    };
    let below = member.held_before.iter().filter(|status| status.until > now);
    let years = member.years.keys().filter(|year| end_of_next_year(book.program(), **year) > now);
    let levels = below.map(of_status).chain(years.map(|year| level_for(tiers, left(*year))));
    Some(levels.fold(of_status(held), u8::max).min(held.level))
}

/// The level that a refund would leave if so many points of each local year did not count; none where the one that is
/// held stays.
pub(crate) fn level_after_refund(book: &Book<'_>, lost: &Lost, withheld: &BTreeMap<i16, Year>) -> Option<u8> {
    let tiers = book.rules.ladder()?;
    let sums = Sums::of(book, tiers, lost, withheld)?;
    let held = book.customer.member.as_ref()?.tier.as_ref().filter(|held| held.level > 0 && !held.by_hand)?;
    let stays = |status: &TierStatus| !is_undermined(book, tiers, lost, &sums, status);
    let is_short = !reaches(book, tiers, held, sums.now(held.year));
    if !is_short || !lost.may_take(book, tiers, &sums, held) {
        return None;
    }
    let before = book.customer.member.iter().flat_map(|member| &member.held_before);
    let undermined: Vec<i16> = before.filter(|status| !stays(status)).map(|status| status.year).collect();
    Some(best_fallback(book, tiers, held, &undermined, &stays, &|year| sums.now(year)).level)
}

/// An order was refunded, in whole or in part: the level that it reached may go, or rest on another order. Also while
/// there are no levels: they may come again.
pub(crate) fn refunded(book: &mut Book<'_>, lost: &Lost) {
    let rules = book.rules;
    let Some(tiers) = rules.ladder() else { return };
    match tiers.on_refund {
        OnRefund::IfReachingOrderPending if !lost.was_pending => return,
        OnRefund::AtReview => return,
        OnRefund::IfReachingOrderPending | OnRefund::AtOnce => {}
    }
    let Some(sums) = Sums::of(book, tiers, lost, &BTreeMap::new()) else { return };
    let undermined = drop_undermined(book, tiers, lost, &sums);
    if tiers.on_refund == OnRefund::IfReachingOrderPending {
        rest_below(book, tiers, lost);
    }
    let Some(member) = &book.customer.member else { return };
    let Some(held) = member.tier.clone().filter(|held| held.level > 0 && !held.by_hand) else { return };
    if reaches(book, tiers, &held, sums.now(held.year)) {
        if held.reached_by == Some(lost.order) {
            rest(book, tiers, &held);
        }
        return;
    }
    // What a review left may rest on what is undermined.
    let rested = !undermined.is_empty() && tiers.on_refund == OnRefund::AtOnce;
    if rested || lost.may_take(book, tiers, &sums, &held) {
        fall(book, tiers, &held, &undermined);
    }
}

/// What is held when a level has gone.
struct Fallback {
    level: u8,
    until: Timestamp,
    /// The year that it was earned in, unless it was held before.
    earned_in: Option<i16>,
}

/// A level goes: what is held is the best of what was held before and what counts still, and no higher.
fn fall(book: &mut Book<'_>, tiers: &Tiers, held: &TierStatus, undermined: &[i16]) {
    let Some(member) = &book.customer.member else { return };
    let Fallback { level, until, earned_in } =
        best_fallback(book, tiers, held, undermined, &|_| true, &|year| counted(member, tiers, year));
    let earned_in = earned_in.filter(|_| level > 0);
    let rests_on = earned_in.and_then(|year| resting_on(book, tiers, mark_by(book, tiers, held, level)?, year, None));
    if (level, until) != (held.level, held.until) {
        change(book, level, until, TierReason::Refunded, rests_on);
    }
}

/// The best of what was held before a level and of what the years still give, and no higher than that. Of years whose
/// level is undermined, also what New Years would have left of less.
fn best_fallback(
    book: &Book<'_>,
    tiers: &Tiers,
    held: &TierStatus,
    undermined: &[i16],
    stays: &impl Fn(&TierStatus) -> bool,
    counts: &impl Fn(i16) -> i64,
) -> Fallback {
    let nothing = Fallback { level: 0, until: Timestamp::NEVER, earned_in: None };
    let (edition, now) = (book.edition(), book.customer.clock);
    let Some(member) = &book.customer.member else { return nothing };
    let (before, by_hand) = best_before(book, tiers, now, stays);
    // What was earned before a level was set by hand gave way to that.
    let years = member.years.keys().copied().filter(|other| !by_hand || *other >= held.year);
    let earned = years.filter_map(|year| {
        let of_held = year == held.year;
        let level = if of_held { level_by(book, tiers, held, counts(year)) } else { level_for(tiers, counts(year)) };
        let until = end_of_next_year(&edition.program, year);
        let is_good = until > now || undermined.contains(&year);
        let (level, until) = if is_good { remains_of(book, level, until, now)? } else { return None };
        Some((level.min(held.level), until, year))
    });
    let earned = earned.filter(|(level, ..)| *level > 0).max();
    // What the same year earned of a level that was set by hand may be from before that.
    let gives_way = |(level, until, year): (u8, Timestamp, i16), before: (u8, Timestamp)| {
        before >= (level, until) || by_hand && before.0 == level && year == held.year
    };
    match (before, earned) {
        (Some(before), earned) if earned.is_none_or(|earned| gives_way(earned, before)) => {
            let level = before.0.min(held.level);
            Fallback { level, until: if level == 0 { Timestamp::NEVER } else { before.1 }, earned_in: None }
        }
        (_, Some((level, until, year))) => Fallback { level, until, earned_in: Some(year) },
        (_, None) => nothing,
    }
}

/// The best that was held before and is good still, or that New Years left of it, back to what was set by hand; and
/// whether something was. Nothing is left of what ended under a level that was set by hand.
fn best_before(
    book: &Book<'_>,
    tiers: &Tiers,
    now: Timestamp,
    stays: &impl Fn(&TierStatus) -> bool,
) -> (Option<(u8, Timestamp)>, bool) {
    let Some(member) = &book.customer.member else { return (None, false) };
    let mut leaves = member.tier.as_ref().is_none_or(|held| !held.by_hand);
    let mut best = None;
    for status in member.held_before.iter().filter(|status| stays(status)) {
        let is_over = status.until <= now;
        leaves &= !(is_over && status.by_hand);
        let level = tiers.position(&status.tier);
        if !is_over {
            best = best.max(level.map(|level| (level, status.until)));
            if status.by_hand {
                return (best, true); // Also where its level is no more.
            }
        } else if leaves {
            best = best.max(level.and_then(|level| remains_of(book, level, status.until, now)));
        }
    }
    (best, false)
}

/// What is left of a level that ended, one less with each year that took one; none when nothing is.
fn remains_of(book: &Book<'_>, mut level: u8, mut until: Timestamp, now: Timestamp) -> Option<(u8, Timestamp)> {
    while until <= now {
        let steps = book.rules.drop_at(until) == Some(Drop::OneLevel);
        level = level.checked_sub(1).filter(|level| steps && *level > 0)?;
        until = end_of_next_year(book.program(), ended_year(until));
    }
    Some((level, until))
}

/// Takes what nobody falls back to any more out of what was held before; the years that it was of.
fn drop_undermined(book: &mut Book<'_>, tiers: &Tiers, lost: &Lost, sums: &Sums) -> Vec<i16> {
    let Some(member) = book.customer.member.as_ref().filter(|member| member.tier.is_some()) else { return Vec::new() };
    let goes = |status: &&TierStatus| is_undermined(book, tiers, lost, sums, status);
    let (mut gone, mut stays): (Vec<_>, Vec<_>) = member.held_before.iter().partition(goes);
    if !gone.is_empty() && tiers.on_refund == OnRefund::AtOnce {
        stays.sort_by_key(|status| status.until);
        gone.extend(what_was_left(book, tiers, &stays));
    }
    let years = gone.iter().map(|status| status.year).collect();
    let gone: Vec<TierStatus> = gone.into_iter().cloned().collect();
    for TierStatus { tier, level, until, reached_by: order, .. } in gone {
        book.record(Fact::Tiered(TierChange { level, tier, until, reason: TierReason::Undermined, order }));
    }
    years
}

/// Of levels in the order of their ends, those that nothing earned and that New Years have left of none of the others:
/// with a level goes what was left of it.
fn what_was_left<'a>(book: &Book<'_>, tiers: &Tiers, by_end: &[&'a TierStatus]) -> Vec<&'a TierStatus> {
    let Some(member) = &book.customer.member else { return Vec::new() };
    let (mut kept, mut gone): (Vec<&TierStatus>, Vec<&TierStatus>) = (Vec::new(), Vec::new());
    for status in by_end {
        let level = tiers.position(&status.tier).unwrap_or(status.level);
        let is_earned =
            status.reached_by.is_some() || reaches(book, tiers, status, counted(member, tiers, status.year));
        let end = status.until.plus_millis(-1);
        let leaves = |other: &&TierStatus| {
            let left = tiers.position(&other.tier).and_then(|place| remains_of(book, place, other.until, end));
            !other.by_hand && left.is_some_and(|(left, _)| left >= level)
        };
        let stays = status.by_hand || is_earned || kept.iter().any(leaves);
        if stays { kept.push(status) } else { gone.push(status) }
    }
    gone
}

/// Nobody falls back to a level whose order is gone, or no longer enough for it; where levels follow refunds at once,
/// to one whose year a refund has taken below the mark.
fn is_undermined(book: &Book<'_>, tiers: &Tiers, lost: &Lost, sums: &Sums, status: &TierStatus) -> bool {
    let is_short = !reaches(book, tiers, status, sums.now(status.year));
    match tiers.on_refund {
        OnRefund::AtReview => false,
        OnRefund::AtOnce => !status.by_hand && is_short && reaches(book, tiers, status, sums.before(status.year)),
        OnRefund::IfReachingOrderPending => {
            lost.was_pending && !status.by_hand && is_short && lost.has_reached(book, tiers, sums, status)
        }
    }
}

/// What was held before rests on the orders that reach it now, as [`rest`].
fn rest_below(book: &mut Book<'_>, tiers: &Tiers, lost: &Lost) {
    let before = book.customer.member.iter().flat_map(|member| &member.held_before);
    let hangs = |status: &&TierStatus| status.reached_by == Some(lost.order);
    let resting = before.filter(hangs).filter_map(|status| {
        let level = tiers.position(&status.tier).unwrap_or(status.level);
        let reaching = resting_on(book, tiers, mark_by(book, tiers, status, level)?, status.year, None)?;
        Some((status.clone(), reaching)).filter(|_| status.reached_by != Some(reaching))
    });
    for (TierStatus { tier, level, until, .. }, reaching) in resting.collect::<Vec<_>>() {
        let order = Some(reaching);
        book.record(Fact::Tiered(TierChange { level, tier, until, reason: TierReason::RestsBelow, order }));
    }
}

/// A level rests on the order that reaches it now: something of another came back, or was told late.
fn rest(book: &mut Book<'_>, tiers: &Tiers, held: &TierStatus) {
    let mark = mark_by(book, tiers, held, held.level);
    let reaching = mark.and_then(|mark| resting_on(book, tiers, mark, held.year, None));
    if reaching.is_some() && reaching != held.reached_by {
        change(book, held.level, held.until, TierReason::Rests, reaching);
    }
}

/// The order by which a year reaches a mark: without it and those after it that is not met. None where it is met
/// without those that are listed. `back` is an order of which so much came back that is counted with it.
fn resting_on(book: &Book<'_>, tiers: &Tiers, mark: i64, year: i16, back: Option<(OrderRef, i64)>) -> Option<OrderRef> {
    let member = book.customer.member.as_ref()?;
    let came_back = |order: OrderRef| back.filter(|(of, _)| *of == order).map(|(_, points)| points);
    let zone = &book.program().zone;
    let is_there = |record: &OrderRecord| record.stands() || came_back(record.order).is_some();
    // One that does not earn, or not yet, may have brought a milestone's points.
    let counts = |record: &OrderRecord| is_there(record) && zone.year(record.at) == year;
    let mut orders: Vec<_> = book.customer.orders.iter().filter(|record| counts(record)).collect();
    orders.sort_by_key(|record| record.at);
    let mut left = counted(member, tiers, year) + back.map_or(0, |(_, points)| points);
    let last = orders.iter().rev().find(|record| record.stands()).map(|record| record.order);
    let mut given = loyalty::given_with_orders(book, &[]);
    given.retain(|given| given.year == year && tiers.by == TierBy::PointsEarned);
    let reaching = orders.iter().rev().find(|record| {
        left -= came_back(record.order).unwrap_or(0);
        left -= match tiers.by {
            _ if !record.earns => 0,
            TierBy::PointsEarned => loyalty::standing_points(book, record),
            TierBy::Spend => loyalty::spend_of(book, record),
        };
        let with_it = given.iter().filter(|given| given.is_with(record.order, last == Some(record.order)));
        left -= with_it.map(|given| given.points).sum::<i64>();
        left < mark
    });
    reaching.map(|record| record.order)
}

/// The held tier's time is over.
pub(crate) fn review(book: &mut Book<'_>, due: Timestamp) {
    let program = book.edition();
    let (Some(tiers), Some(member)) = (&program.program.tiers, &book.customer.member) else { return };
    let Some(held) = member.tier.clone().filter(|t| t.until <= due) else { return };
    let due = held.until; // A review that was put off is held as of its own day.
    let earned = |year: i16| level_for(tiers, counted(member, tiers, year));
    let policy = if held.by_hand {
        // What was earned meanwhile.
        let this = program.program.zone.year(due);
        let good = [this.saturating_sub(1), this].map(|year| (earned(year), end_of_next_year(&program.program, year)));
        good.into_iter().filter(|(_, until)| *until > due).max().unwrap_or((0, Timestamp::NEVER))
    } else {
        let last = ended_year(due);
        let level = match tiers.drop {
            Drop::OneLevel => earned(last).max(held.level.saturating_sub(1)),
            Drop::ToEarned => earned(last),
        };
        (level, end_of_next_year(&program.program, last))
    };
    // What was held before may be good still.
    let (before, _) = best_before(book, tiers, due, &|_| true);
    let (level, until) = before.filter(|before| *before > policy && before.0 > 0).unwrap_or(policy);
    change(book, level, if level == 0 { Timestamp::NEVER } else { until }, TierReason::Reviewed, None);
}

/// Staff gives a tier.
pub(crate) fn set(book: &mut Book<'_>, level: u8, until: Timestamp) {
    change(book, level, until, TierReason::Set, None);
}

fn change(book: &mut Book<'_>, level: u8, until: Timestamp, reason: TierReason, order: Option<OrderRef>) {
    let tier = book.rules.ladder().and_then(|t| t.levels.get(usize::from(level))).map(|l| l.id.clone());
    book.record(Fact::Tiered(TierChange { level, tier: tier.unwrap_or_default(), until, reason, order }));
}

/// Carries a tier change out that a programme version made.
pub(crate) fn evolve(customer: &mut Customer, change: &TierChange, version: u32) {
    let now = customer.clock;
    let Some(member) = &mut customer.member else { return };
    let old = member.tier.take();
    let old_until = old.as_ref().map(|old| old.until);
    let held = changed(old, &mut member.held_before, change, version);
    let until = held.until;
    member.tier = Some(held);
    forget(&mut member.held_before, now);
    customer.wake_instead(old_until, Some(until), TimerKind::Review);
}

/// The local year that earned a level: the one before the last that it is good for.
fn earning_year(until: Timestamp) -> i16 {
    ended_year(until).saturating_sub(1)
}

/// The local year with which a level ends. In whatever zone it was reached, years begin within 15 hours of those of
/// UTC.
fn ended_year(until: Timestamp) -> i16 {
    const HOURS_15: i64 = 15 * 60 * 60 * 1000;
    until.plus_millis(-HOURS_15).utc_year()
}

fn changed(old: Option<TierStatus>, before: &mut Vec<TierStatus>, change: &TierChange, version: u32) -> TierStatus {
    let held = TierStatus {
        tier: change.tier.clone(),
        level: change.level,
        until: change.until,
        year: earning_year(change.until),
        reached_by: change.order,
        by_hand: change.reason == TierReason::Set,
        version,
    };
    let Some(old) = old else { return held };
    match change.reason {
        TierReason::Reached | TierReason::Kept | TierReason::Set => {
            before.insert(0, old);
            held
        }
        TierReason::Adopted => TierStatus { tier: held.tier, level: held.level, until: held.until, ..old },
        TierReason::Refunded | TierReason::Reviewed => {
            let same = |status: &TierStatus| status.tier == change.tier && status.until == change.until;
            let held = match before.iter().position(same) {
                Some(at) => TierStatus { level: change.level, ..before.remove(at) },
                // What is left of a year is held by the marks that the whole was.
                None if change.reason == TierReason::Refunded => TierStatus { version: old.version, ..held },
                None => held,
            };
            if change.reason == TierReason::Reviewed {
                before.insert(0, old); // Something of it may be left in later years, whatever comes back of those.
            }
            held
        }
        TierReason::Undermined => {
            let named = (&change.tier, change.until, change.order);
            before.retain(|status| status.by_hand || (&status.tier, status.until, status.reached_by) != named);
            old
        }
        TierReason::Rests => TierStatus { reached_by: change.order, ..old },
        TierReason::RestsBelow => {
            let named = |status: &&mut TierStatus| (&status.tier, status.until) == (&change.tier, change.until);
            let below = before.iter_mut().filter(named).filter(|status| status.reached_by.is_some());
            below.for_each(|status| status.reached_by = change.order);
            old
        }
        TierReason::Joined | TierReason::Merged => held,
    }
}

/// Of two who are one: the higher tier and the later validity (rule 14); the other one was held before, and what
/// that one had held.
pub(crate) fn unite(member: &mut Member, tier: Option<TierStatus>, before: Vec<TierStatus>, now: Timestamp) {
    let (Some(ours), Some(theirs)) = (&member.tier, &tier) else {
        member.tier = member.tier.take().or(tier);
        return member.held_before.extend(before);
    };
    let until = [ours, theirs].into_iter().filter(|held| held.level > 0).map(|held| held.until).max();
    let theirs_is_higher = (theirs.level, theirs.until) > (ours.level, ours.until);
    let (mut held, mut lower) = (member.tier.take(), tier);
    if theirs_is_higher {
        std::mem::swap(&mut held, &mut lower);
        let ours = std::mem::replace(&mut member.held_before, before);
        member.held_before.extend(lower.into_iter().chain(ours));
    } else {
        member.held_before.extend(lower.into_iter().chain(before));
    }
    member.tier = held.map(|held| TierStatus { until: until.unwrap_or(Timestamp::NEVER), ..held });
    forget(&mut member.held_before, now);
}

/// Nobody comes back to what everybody has, whatever level that is by now. Of what was reached and is over something may
/// be left, unless it ended under a level that was set by hand; what ended first is forgotten first.
fn forget(before: &mut Vec<TierStatus>, now: Timestamp) {
    let mut leaves = true;
    before.retain(|status| {
        leaves &= !status.by_hand || status.until > now;
        if status.until > now { status.until < Timestamp::NEVER || status.by_hand } else { leaves }
    });
    while before.len() > BEFORE_MAX
        && let Some((first, _)) = before.iter().enumerate().min_by_key(|(_, status)| status.until)
    {
        before.remove(first);
    }
}

/// The next level and what is missing to it.
pub fn next(program: &Program, customer: &Customer) -> Option<(Box<str>, i64)> {
    let tiers = program.tiers.as_ref()?;
    let member = customer.member.as_ref()?;
    let level = usize::from(member.tier.as_ref()?.level);
    let next = tiers.levels.get(level + 1)?;
    let year = program.zone.year(customer.clock);
    Some((next.id.clone(), (next.from - counted(member, tiers, year)).max(0)))
}
