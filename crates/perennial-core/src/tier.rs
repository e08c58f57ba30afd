//! Tiers: levels reached by what counts in a local calendar year, kept until the end of the next.
//!
//! Promise: reaching lifts at once, losing waits for the review; spending points never lowers a tier. A level is
//! known by its id: another programme may have it in another place.

use crate::customer::{Customer, Member, TierStatus};
use crate::engine::Book;
use crate::fact::{Fact, TierChange, TierReason};
use crate::id::OrderRef;
use crate::input::TimerKind;
use crate::loyalty;
use crate::orders::OrderRecord;
use crate::program::{Drop, OnRefund, Program, TierBy, Tiers};
use crate::rules::Rules;
use crate::time::Timestamp;

/// Levels that are remembered behind the one that is held.
const BEFORE_MAX: usize = 8;

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

/// Finds the held level in the list of the newest programme that has one. A level that is no more counts as the
/// highest that is not above it; [`adopt`] says so. A review that came while there were no levels is held now, as of
/// its own day.
pub(crate) fn follow(rules: &Rules, customer: &mut Customer) {
    let known = customer.adopted;
    let mut versions = (1..=rules.latest_version()).rev().filter_map(|version| rules.edition(version));
    let Some(tiers) = versions.find_map(|edition| edition.program.tiers.as_ref()) else { return };
    let Some(held) = customer.member.as_mut().and_then(|member| member.tier.as_mut()) else { return };
    let review = Some(held.until);
    held.level = tiers.position(&held.tier).unwrap_or_else(|| level_for(tiers, threshold(rules, known, &held.tier)));
    if rules.latest().is_some_and(|edition| edition.program.tiers.is_some()) {
        customer.wake_instead(review, review, TimerKind::Review);
    }
}

/// From how much a level was held, in the last of the programmes up to a version that has it.
fn threshold(rules: &Rules, known: u32, id: &str) -> i64 {
    let tiers = (1..=known).rev().filter_map(|version| rules.edition(version)?.program.tiers.as_ref());
    let from = tiers.flat_map(|tiers| &tiers.levels).find(|level| *level.id == *id).map(|level| level.from);
    from.unwrap_or(0)
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

/// An order was refunded, in whole or in part: the level that it reached may go, or rest on another order.
pub(crate) fn refunded(book: &mut Book<'_>, order: OrderRef, was_pending: bool, year: i16) {
    let follows = match book.program().tiers.as_ref().map(|tiers| tiers.on_refund) {
        Some(OnRefund::IfReachingOrderPending) => was_pending,
        Some(OnRefund::AtReview) | None => false,
        Some(OnRefund::AtOnce) => true,
    };
    if follows {
        undermined(book, order, year);
    }
    let edition = book.edition();
    let (Some(tiers), Some(member)) = (&edition.program.tiers, &book.customer.member) else { return };
    let Some((held, by)) = member.tier.as_ref().and_then(|held| Some((held, held.reached_by?))) else { return };
    let Some(placed) = book.customer.orders.get(by).map(|record| record.at) else { return };
    let year = edition.program.zone.year(placed);
    if level_for(tiers, counted(member, tiers, year)) >= held.level {
        return rest(book, tiers, order, by, year);
    }
    if !follows || by != order {
        return;
    }
    let left = earned(&edition.program, tiers, member, book.customer.clock);
    let before = befores(held.before.as_deref()).find_map(|status| Some((tiers.position(&status.tier)?, status.until)));
    let (level, until) = before.unwrap_or((0, Timestamp::NEVER)).max((left.level, left.until));
    let until = if level == 0 { Timestamp::NEVER } else { until };
    let rests_on = (level > 0 && level == left.level).then(|| resting_on(book, tiers, left)).flatten();
    change(book, level, until, TierReason::Refunded, rests_on);
}

/// The best that counts still: a level, the local year that reaches it and how long it is good for.
#[derive(Clone, Copy)]
struct Earned {
    level: u8,
    until: Timestamp,
    year: i16,
}

fn earned(program: &Program, tiers: &Tiers, member: &Member, now: Timestamp) -> Earned {
    let years = member.years.keys().map(|&year| {
        let level = level_for(tiers, counted(member, tiers, year));
        Earned { level, until: end_of_next_year(program, year), year }
    });
    let good = years.filter(|earned| earned.level > 0 && earned.until > now);
    let nothing = Earned { level: 0, until: Timestamp::NEVER, year: program.zone.year(now) };
    good.max_by_key(|earned| (earned.level, earned.until)).unwrap_or(nothing)
}

/// Nobody falls back to a level whose order is gone, or no longer enough for it.
fn undermined(book: &mut Book<'_>, order: OrderRef, year: i16) {
    let edition = book.edition();
    let (Some(tiers), Some(member)) = (&edition.program.tiers, &book.customer.member) else { return };
    let Some(held) = &member.tier else { return };
    let gone = book.customer.orders.get(order).is_some_and(|record| !record.stands());
    let earned = level_for(tiers, counted(member, tiers, year));
    let goes = |status: &TierStatus| status.reached_by == Some(order) && (gone || status.level > earned);
    if befores(held.before.as_deref()).any(goes) {
        change(book, held.level, held.until, TierReason::Undermined, Some(order));
    }
}

/// A level that is held still although something of an order came back rests on the one that reaches it now.
fn rest(book: &mut Book<'_>, tiers: &Tiers, refunded: OrderRef, by: OrderRef, year: i16) {
    let placed = |order| book.customer.orders.get(order).map(|record| (record.at, record.order));
    if placed(refunded) > placed(by) {
        return; // What came later did not reach it.
    }
    let Some(held) = book.customer.member.as_ref().and_then(|member| member.tier.as_ref()) else { return };
    let (level, until) = (held.level, held.until);
    let reaching = resting_on(book, tiers, Earned { level, until, year });
    if reaching.is_some() && reaching != Some(by) {
        change(book, level, until, TierReason::Rests, reaching);
    }
}

/// The order by which a year reaches a level: without it and those after it the mark is not met. None where it is
/// met without orders.
fn resting_on(book: &Book<'_>, tiers: &Tiers, earned: Earned) -> Option<OrderRef> {
    let (member, mark) = (book.customer.member.as_ref()?, tiers.levels.get(usize::from(earned.level))?.from);
    let zone = &book.program().zone;
    let counts = |record: &OrderRecord| record.earns && record.stands() && zone.year(record.at) == earned.year;
    let mut orders: Vec<_> = book.customer.orders.iter().filter(|record| counts(record)).collect();
    orders.sort_by_key(|record| (record.at, record.order));
    let mut left = counted(member, tiers, earned.year);
    let reaching = orders.iter().rev().find(|record| {
        left -= match tiers.by {
            TierBy::PointsEarned => loyalty::reckon(book, record).min(record.points),
            TierBy::Spend => loyalty::spend_of(book, record),
        };
        left < mark
    });
    reaching.map(|record| record.order)
}

/// What was held before, the last first.
fn befores(last: Option<&TierStatus>) -> impl Iterator<Item = &TierStatus> {
    std::iter::successors(last, |status| status.before.as_deref())
}

/// What was held before, without what an order reached.
fn without(before: Option<Box<TierStatus>>, order: Option<OrderRef>) -> Option<Box<TierStatus>> {
    let mut status = before?;
    status.before = without(status.before.take(), order);
    if status.reached_by == order { status.before } else { Some(status) }
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
        let before = held.before.and_then(|status| Some((tiers.position(&status.tier)?, status.until)));
        let good = [before.unwrap_or((0, Timestamp::NEVER)), earned_in(this.saturating_sub(1)), earned_in(this)];
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
    let Some(member) = &mut customer.member else { return };
    let old = member.tier.take();
    let old_until = old.as_ref().map(|old| old.until);
    member.tier = Some(changed(old, change));
    customer.wake_instead(old_until, Some(change.until), TimerKind::Review);
}

fn changed(old: Option<TierStatus>, change: &TierChange) -> TierStatus {
    let held = TierStatus {
        tier: change.tier.clone(),
        level: change.level,
        until: change.until,
        reached_by: change.order,
        before: None,
        by_hand: change.reason == TierReason::Set,
    };
    let Some(old) = old else { return held };
    match change.reason {
        TierReason::Reached | TierReason::Kept | TierReason::Set => {
            TierStatus { before: Some(Box::new(shortened(old))), ..held }
        }
        TierReason::Adopted => {
            TierStatus { reached_by: old.reached_by, before: old.before, by_hand: old.by_hand, ..held }
        }
        TierReason::Refunded => {
            let again = befores(old.before.as_deref())
                .find(|status| status.tier == change.tier && status.until == change.until)
                .cloned();
            match again {
                Some(status) => TierStatus { level: change.level, ..status },
                None => TierStatus { before: old.before, ..held },
            }
        }
        TierReason::Undermined => TierStatus { before: without(old.before, change.order), ..old },
        TierReason::Rests => TierStatus { reached_by: change.order, ..old },
        TierReason::Joined | TierReason::Reviewed | TierReason::Merged => TierStatus { before: old.before, ..held },
    }
}

/// Of two who are one: the higher tier and the later validity (rule 14); the other one was held before.
pub(crate) fn better(a: Option<TierStatus>, b: Option<TierStatus>) -> Option<TierStatus> {
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) => (a, b),
        (a, b) => return a.or(b),
    };
    let until = [&a, &b].into_iter().filter(|held| held.level > 0).map(|held| held.until).max();
    let (mut higher, lower) = if (b.level, b.until) > (a.level, a.until) { (b, a) } else { (a, b) };
    higher.until = until.unwrap_or(Timestamp::NEVER);
    if higher.before.as_ref().is_none_or(|before| before.level < lower.level) {
        higher.before = Some(Box::new(TierStatus { before: higher.before, ..lower }));
    }
    Some(shortened(higher))
}

/// Without what was held too long ago.
fn shortened(mut status: TierStatus) -> TierStatus {
    let mut last = &mut status;
    for _ in 1..BEFORE_MAX {
        match last.before {
            Some(ref mut before) => last = before,
            None => break,
        }
    }
    last.before = None;
    status
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
