//! Tiers: levels reached by what counts in a local calendar year, kept until the end of the next.
//!
//! Promise: reaching lifts at once, losing waits for the review; spending points never lowers a tier.

use crate::customer::{Customer, Member, TierStatus};
use crate::engine::Book;
use crate::fact::{Fact, TierChange, TierReason};
use crate::id::OrderRef;
use crate::input::TimerKind;
use crate::program::{Drop, OnRefund, Program, TierBy, Tiers};
use crate::time::Timestamp;

/// What the member has in a local year of what the tiers count.
pub fn counted(member: &Member, tiers: &Tiers, year: i16) -> i64 {
    let year = member.years.get(&year).copied().unwrap_or_default();
    match tiers.by {
        TierBy::PointsEarned => year.points,
        TierBy::Spend => year.spend,
    }
}

/// The highest level whose threshold is met.
fn level_for(tiers: &Tiers, counted: i64) -> u8 {
    let met = tiers.levels.iter().rposition(|level| level.from <= counted);
    u8::try_from(met.unwrap_or(0)).unwrap_or(0)
}

/// The last instant of the year after `year`, exclusive.
fn end_of_next_year(program: &Program, year: i16) -> Timestamp {
    program.zone.start_of_year(year.saturating_add(2))
}

/// The lowest level, on joining.
pub(crate) fn join(book: &mut Book<'_>) {
    if book.program().tiers.is_some() {
        change(book, 0, Timestamp::NEVER, TierReason::Joined, None);
    }
}

/// After something counted in a local year: lifts, or extends what is held.
pub(crate) fn regrade(book: &mut Book<'_>, year: i16, order: Option<OrderRef>) {
    let program = book.edition();
    let (Some(tiers), Some(member)) = (&program.program.tiers, &book.customer.member) else { return };
    let Some(held) = &member.tier else { return };
    let reached = level_for(tiers, counted(member, tiers, year));
    let until = end_of_next_year(&program.program, year);
    if reached == 0 || reached < held.level || until <= book.customer.clock {
        return;
    }
    let (level, held_until) = (held.level, held.until);
    if reached > level {
        change(book, reached, until, TierReason::Reached, order);
    } else if until > held_until {
        change(book, reached, until, TierReason::Kept, order);
    }
}

/// The order that reached the tier was refunded.
pub(crate) fn refunded(book: &mut Book<'_>, order: OrderRef, was_pending: bool, year: i16) {
    let program = book.edition();
    let (Some(tiers), Some(member)) = (&program.program.tiers, &book.customer.member) else { return };
    let Some(held) = member.tier.clone().filter(|t| t.reached_by == Some(order)) else { return };
    let follows = match tiers.on_refund {
        OnRefund::IfReachingOrderPending => was_pending,
        OnRefund::AtReview => false,
        OnRefund::AtOnce => true,
    };
    let earned = level_for(tiers, counted(member, tiers, year));
    if !follows || earned >= held.level {
        return;
    }
    let (before, before_until) = held.before;
    let level = earned.max(before);
    let until = match level {
        0 => Timestamp::NEVER,
        _ if level == before => before_until,
        _ => end_of_next_year(&program.program, year),
    };
    change(book, level, until, TierReason::Refunded, None);
}

/// The held tier's time is over.
pub(crate) fn review(book: &mut Book<'_>, due: Timestamp) {
    let program = book.edition();
    let (Some(tiers), Some(member)) = (&program.program.tiers, &book.customer.member) else { return };
    let Some(held) = member.tier.clone().filter(|t| t.until <= due) else { return };
    let due = held.until; // A review that was put off is held as of its own day.
    let last = program.program.zone.year(due.plus_millis(-1));
    let earned = level_for(tiers, counted(member, tiers, last));
    let this = program.program.zone.year(due);
    let (level, until) = if held.by_hand {
        // What was earned meanwhile, or held before: the best of it that is still good.
        let earned_in =
            |year: i16| (level_for(tiers, counted(member, tiers, year)), end_of_next_year(&program.program, year));
        let good = [held.before, earned_in(this.saturating_sub(1)), earned_in(this)];
        good.into_iter().filter(|(_, until)| *until > due).max().unwrap_or((0, Timestamp::NEVER))
    } else {
        let level = match tiers.drop {
            Drop::OneLevel => earned.max(held.level.saturating_sub(1)),
            Drop::ToEarned => earned,
        };
        (level, end_of_next_year(&program.program, last))
    };
    change(book, level, if level == 0 { Timestamp::NEVER } else { until }, TierReason::Reviewed, None);
}

/// Staff gives a tier.
pub(crate) fn set(book: &mut Book<'_>, level: u8, until: Timestamp) {
    change(book, level, until, TierReason::Set, None);
}

fn change(book: &mut Book<'_>, level: u8, until: Timestamp, reason: TierReason, order: Option<OrderRef>) {
    let tier = book.program().tiers.as_ref().and_then(|t| t.levels.get(usize::from(level))).map(|l| l.id.clone());
    book.record(Fact::Tiered(TierChange { level, tier: tier.unwrap_or_default(), until, reason, order }));
}

/// Carries a tier change out.
pub(crate) fn evolve(customer: &mut Customer, change: &TierChange) {
    let id = customer.id;
    let Some(member) = &mut customer.member else { return };
    let old = member.tier.take();
    let before = match (&old, change.reason) {
        (Some(old), TierReason::Reached | TierReason::Set) => (old.level, old.until),
        (Some(old), _) => old.before,
        (None, _) => (0, Timestamp::NEVER),
    };
    let reached_by = match change.reason {
        TierReason::Kept => old.as_ref().and_then(|t| t.reached_by),
        _ => change.order,
    };
    let by_hand = change.reason == TierReason::Set
        || (change.reason == TierReason::Kept && old.as_ref().is_some_and(|t| t.by_hand));
    member.tier = Some(TierStatus { level: change.level, until: change.until, reached_by, before, by_hand });
    if let Some(old) = old {
        customer.sleep(old.until, TimerKind::Review, 0, id);
    }
    customer.wake(change.until, TimerKind::Review, 0, id);
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
