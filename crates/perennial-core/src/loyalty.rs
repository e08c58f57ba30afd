//! Loyalty: what events earn, take back or let lapse.
//!
//! Promise: points of an order are computed exactly and rounded down once per order; after a refund
//! an order's points are what it would have earned without the refunded goods, under the rules it
//! was earned by; the difference is taken back.
//! Absent on purpose: floats, clocks, and any other way to move a point than [`Fact::Posted`].

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use crate::customer::{ACTIVITIES_MAX, Activity, Captured, Reached, about};
use crate::engine::Book;
use crate::event::{Body, Event, ORDER_COMPLETED, Order, Refund};
use crate::expr::{Field, Predicate};
use crate::fact::{Account, Booking, Cause, Fact, LotOpened, Posting, Return, Unit};
use crate::id::{CustomerId, LotId, OrderRef, Secret, Word};
use crate::ledger::{Lot, POINTS_MAX};
use crate::money::ORDER_MAX;
use crate::orders::{self, Listed, OrderRecord, REFUNDS_MAX};
use crate::program::{
    Combine, EarnRule, ExpiryFrom, Gives, Join, Limit, Milestone, Period, Pilot, Program, Refunds, Undo,
};
use crate::rules::Edition;
use crate::scope::{View, Without};
use crate::time::{DAY_MS, Span, Timestamp};
use crate::value::Value;
use crate::{expr::Scope as _, rate, tier};

/// The most that all factors of a line come to: so that all lines of the largest order fit a decimal.
const FACTOR_MAX: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);

/// Instants that are looked at to find when a mark was reached; each `since()` of a condition has two.
const TURNS_MAX: usize = 64;

/// Joins whoever the programme lets join by this event.
pub(crate) fn join(book: &mut Book<'_>, event: &Event) {
    if book.customer.member.is_some() {
        return;
    }
    let edition = book.edition();
    let by: Option<&str> = edition.program.join.iter().find_map(|join| match (join, event.name()) {
        (Join::FirstOrder, ORDER_COMPLETED) => Some("first_order"),
        (Join::FirstIdentify, "identify") => Some("first_identify"),
        (Join::Event(name), happened) if **name == *happened => Some(&**name),
        _ => None,
    });
    if let Some(by) = by
        && may_join(book)
    {
        enroll(book, by);
    }
}

/// Whether the pilot lets this customer in.
pub(crate) fn may_join(book: &Book<'_>) -> bool {
    match &book.program().pilot {
        None => true,
        Some(Pilot::Segment(segment)) => book.customer.is_in(segment),
        Some(Pilot::Share { basis_points, salt }) => {
            let digest = book.rules.secret.digest(&[b"pilot", salt.as_bytes(), &book.customer.id.0]);
            let draw = u16::from_le_bytes([digest[0], digest[1]]);
            u32::from(draw) * 10_000 / 65_536 < u32::from(*basis_points)
        }
    }
}

/// Makes the customer a member.
pub(crate) fn enroll(book: &mut Book<'_>, by: &str) {
    book.record(Fact::Enrolled { by: by.into() });
    tier::join(book);
}

/// An order: booked once, then everything that it brings.
///
/// `Order Updated` books an order whose completion has not come (yet), and changes nothing on one
/// that is booked: what comes back is said by `Order Refunded` or `Order Cancelled`.
pub(crate) fn ordered(book: &mut Book<'_>, event: &Event, order: &Order) {
    let name = OrderRef::derive(&book.rules.secret, &order.order_id);
    if book.customer.orders.has(name) {
        let updated = matches!(event.body, Body::OrderUpdated(_));
        book.note(if updated { "update_ignored" } else { "order_known" });
        return;
    }
    let booking = book_order(book, event, order, name);
    let earns = booking.earns;
    book.record(Fact::Booked(Box::new(booking)));
    if earns {
        reward_order(book, name);
    } else if is_of_member(book, event.at) {
        pay_with_points(book, name); // In another currency, too, points that paid are gone.
    }
}

fn book_order(book: &mut Book<'_>, event: &Event, order: &Order, name: OrderRef) -> Booking {
    let edition = book.edition();
    let program = &edition.program;
    let currency = orders::currency(order, program.currency);
    let (eligible, lines) = orders::book_lines(order, currency, |id| book.rules.catalog.get(id));
    let joined = book.customer.member.as_ref().map(|m| m.enrolled_at);
    let ours = program.rate(currency).is_some();
    let earns = ours && joined.is_some_and(|joined| event.at >= joined);
    if joined.is_some() && !ours {
        book.note("currency_mismatch");
    }
    if order.says_no_amount() {
        book.note("no_amount");
    }
    let view = View { event: Some(event), ..View::of(program, book.customer) };
    let recalled = program.recalled.iter().map(|field| view.field(field).into_owned()).collect();
    let mut booking = Booking {
        order: name,
        version: program.version,
        eligible,
        earns,
        lines,
        recalled,
        paid_points: order.paid_with_points.as_ref().map_or(0, |p| p.points.max(0)),
        rules: Arc::default(),
    };
    if earns {
        let at = (event.at, event.received_at);
        let mut record = Box::new(orders::record(&booking, Some(order), at, program.currency));
        let view = View { order: Some(&record), ..view };
        booking.rules = rules_of(book, edition, &view, &record);
        record.rules = booking.rules.clone();
        book.keep_record(record);
    }
    booking
}

/// The earning rules that apply to an order; one that only an update told of is one all the same.
/// Where an order earns nothing by them, those with a limit do not apply: they would use it up for nothing.
pub(crate) fn rules_of(book: &Book<'_>, edition: &Edition, view: &View<'_>, order: &OrderRecord) -> Arc<[Word]> {
    let rules = edition.earning(ORDER_COMPLETED).filter(|rule| {
        rule.when.holds(view)
            && any_line(rule, view, order)
            && within_limit(book, edition, &rule.id, rule.limit, order.at)
    });
    let rules: Vec<&EarnRule> = rules.collect();
    let named = |rules: &[&EarnRule]| rules.iter().map(|rule| rule.id.clone()).collect();
    if rules.iter().all(|rule| rule.limit.is_none()) {
        return named(&rules);
    }
    let all: Arc<[Word]> = named(&rules);
    if reckon_under(book, order, &all) > 0 {
        return all;
    }
    let unlimited: Vec<&EarnRule> = rules.into_iter().filter(|rule| rule.limit.is_none()).collect();
    named(&unlimited)
}

/// The earning rules that apply to an order that begins to earn, of the version it was booked by.
pub(crate) fn claimed_rules(book: &Book<'_>, order: OrderRef) -> Option<Arc<[Word]>> {
    let record = book.customer.orders.get(order)?;
    let edition = book.rules.edition(record.version)?;
    let placed = record.as_placed();
    let record = placed.as_ref().unwrap_or(&record);
    let recalled = Some((&*edition.program.recalled, &*record.recalled));
    let view = View { order: Some(record), recalled, ..View::of(&edition.program, book.customer) };
    Some(rules_of(book, edition, &view, record))
}

/// Whether a rule for some lines finds one on the order.
fn any_line(rule: &EarnRule, view: &View<'_>, order: &OrderRecord) -> bool {
    let Gives::Multiply { lines: Some(lines), .. } = &rule.gives else { return true };
    order.lines.iter().any(|line| lines.holds(&View { line: Some(line), ..*view }))
}

/// Points, impact, benefits, milestones and the tier of an order that earns.
pub(crate) fn reward_order(book: &mut Book<'_>, name: OrderRef) {
    pay_with_points(book, name);
    let Some(record) = book.customer.orders.get(name) else { return };
    let (at, spend) = (record.at, spend_of(book, &record));
    let points = reckon(book, &record);
    let year = book.program().zone.year(at);
    if points > 0 {
        let rule = match &*record.rules {
            [only] => only.clone(),
            several => several.join(", ").into(),
        };
        let available_at = book.program().zone.add(at, book.program().points.pending);
        grant(book, points, Some(name), at, available_at, rule);
    }
    if points > 0 || spend > 0 {
        book.record(Fact::Qualified { year, points, spend });
    }
    credit_impact(book, name);
    judge_benefits(book, name, true);
    loop {
        let level = level_of(book);
        milestones(book, Some(name)); // Those of the level that the last round lifted to, too.
        tier::regrade(book, year, Some(name));
        if level == level_of(book) {
            break;
        }
    }
    book.judged = true;
}

fn level_of(book: &Book<'_>) -> Option<usize> {
    book.customer.member.as_ref()?.tier.as_ref().map(|held| usize::from(held.level))
}

/// What an order's rules recall, with what only a member has as it is now; none when nothing changes.
pub(crate) fn reread(book: &Book<'_>, order: OrderRef) -> Option<Vec<Value>> {
    let record = book.customer.orders.get(order)?;
    let fields = &book.rules.edition(record.version)?.program.recalled;
    let view = View::of(book.program(), book.customer);
    let now = fields
        .iter()
        .zip(&record.recalled)
        .map(|(field, then)| if field.is_of_member() { view.field(field).into_owned() } else { then.clone() });
    let values: Vec<Value> = now.collect();
    (values != record.recalled).then_some(values)
}

/// What is left of an order in minor units of the programme's currency, at the rate it was booked
/// with, rounded down.
pub(crate) fn spend_of(book: &Book<'_>, record: &OrderRecord) -> i64 {
    let left = record.net_left();
    let rate = book.rules.edition(record.version).and_then(|e| e.program.rate(record.currency));
    if rate == Some(Decimal::ONE) {
        return left.min(ORDER_MAX);
    }
    let exact = Decimal::from(left).checked_mul(rate.unwrap_or_default());
    exact.and_then(|n| n.floor().to_i64()).unwrap_or(ORDER_MAX).min(ORDER_MAX)
}

/// Exact points of what is left of an order, under the programme version it was booked by and so
/// with its rates.
pub(crate) fn reckon(book: &Book<'_>, record: &OrderRecord) -> i64 {
    reckon_under(book, record, &record.rules)
}

fn reckon_under(book: &Book<'_>, record: &OrderRecord, rules: &[Word]) -> i64 {
    let Some(edition) = book.rules.edition(record.version) else { return 0 };
    let program = &edition.program;
    let view = View {
        order: Some(record),
        recalled: Some((&program.recalled, &record.recalled)),
        ..View::of(program, book.customer)
    };
    if record.net_left() == 0 {
        return 0;
    }
    let Some(to_ours) = program.rate(record.currency) else { return 0 };
    let is_among = |rule: &&EarnRule| rules.iter().any(|id| Arc::ptr_eq(id, &rule.id) || *id == rule.id);
    let applied = edition.earning(ORDER_COMPLETED).filter(is_among);
    // What lessens goes on lessening what is left: nobody earns by giving something back.
    let matching: Vec<&EarnRule> = applied.filter(|rule| lessens(rule) || rule.when.holds(&view)).collect();
    let weighted = weighted(&matching, program.points.combine, record, &view);
    let weighted = weighted.checked_mul(to_ours).unwrap_or(Decimal::MAX);
    let rates = matching.iter().filter_map(|rule| match rule.gives {
        Gives::Rate { points, per } => Some((points, per)),
        _ => None,
    });
    let exact = rate::points(weighted, program.currency.exponent(), rates);
    let fixed: i64 = matching.iter().map(|rule| if let Gives::Fixed(n) = rule.gives { n } else { 0 }).sum();
    exact.saturating_add(fixed).min(POINTS_MAX)
}

/// What stands of the points that an order was granted: none comes back that a refund has taken.
pub(crate) fn standing_points(book: &Book<'_>, record: &OrderRecord) -> i64 {
    reckon(book, record).min(record.points.saturating_sub(record.taken))
}

fn lessens(rule: &EarnRule) -> bool {
    matches!(rule.gives, Gives::Multiply { factor, .. } if factor < Decimal::ONE)
}

/// Minor units of an order, each line times its factor.
fn weighted(matching: &[&EarnRule], combine: Combine, record: &OrderRecord, view: &View<'_>) -> Decimal {
    let (mut whole, mut broken) = (0i128, Decimal::ZERO);
    // What lessens asks about the order as it was placed, or would cease with a refund.
    let placed = if matching.iter().any(|rule| lessens(rule)) { record.as_placed() } else { None };
    for (n, line) in record.lines.iter().enumerate() {
        let now = View { line: Some(line), ..*view };
        let then = placed.as_ref().map(|placed| View { order: Some(placed), line: placed.lines.get(n), ..*view });
        let factors = matching.iter().filter_map(|rule| match &rule.gives {
            Gives::Multiply { factor, lines } => {
                let asked = then.as_ref().filter(|_| lessens(rule)).unwrap_or(&now);
                lines.as_ref().is_none_or(|lines| lines.holds(asked)).then_some(*factor)
            }
            _ => None,
        });
        let factor = combined(combine, factors);
        match (factor.scale(), i64::try_from(factor.mantissa())) {
            (0, Ok(factor)) => whole += i128::from(line.net_left) * i128::from(factor),
            _ => broken += Decimal::from(line.net_left) * factor,
        }
    }
    if broken.is_zero() { Decimal::from(whole) } else { Decimal::from(whole) + broken }
}

/// A line's factor: 1 plus the bonuses, or the product of the factors (rule 13); never below nothing, and at
/// most [`FACTOR_MAX`].
fn combined(combine: Combine, mut factors: impl Iterator<Item = Decimal>) -> Decimal {
    let Some(first) = factors.next() else { return Decimal::ONE };
    let all = factors.try_fold(first, |so_far, factor| match combine {
        Combine::Add => Some(so_far + factor - Decimal::ONE),
        Combine::Multiply => so_far.checked_mul(factor),
    });
    all.unwrap_or(FACTOR_MAX).clamp(Decimal::ZERO, FACTOR_MAX)
}

/// Opens a lot and fills it: pending until `available_at`, or available at once.
pub(crate) fn grant(
    book: &mut Book<'_>,
    points: i64,
    order: Option<OrderRef>,
    earned_at: Timestamp,
    available_at: Timestamp,
    rule: Word,
) -> Option<LotId> {
    let owner = book.customer.id;
    book.customer.member.as_ref()?;
    let number = book.customer.lots_opened + 1;
    let lot = LotId { owner, number };
    let expires_at = lapse(book, earned_at, available_at);
    let version = book.program().version;
    let cause = if order.is_none() && &*rule == "adjustment" { Cause::Adjust } else { Cause::Earn };
    book.record(Fact::LotOpened(LotOpened { lot, order, earned_at, available_at, expires_at, rule, version }));
    let to = if available_at > earned_at { Account::Pending } else { Account::Available };
    book.post(Account::Issued, to, points, Some(lot), cause);
    if to == Account::Available {
        settle(book, lot);
    }
    Some(lot)
}

/// When a lot lapses.
fn lapse(book: &Book<'_>, earned_at: Timestamp, available_at: Timestamp) -> Timestamp {
    let program = book.program();
    let Some(expires) = program.points.expires.as_ref().filter(|e| e.after_inactivity.is_none()) else {
        return Timestamp::NEVER;
    };
    let from = match expires.from {
        ExpiryFrom::Available => available_at,
        ExpiryFrom::Earned => earned_at,
    };
    let since = book.edition().dated_since.filter(|_| expires.grace_existing);
    let from = since.map_or(from, |since| from.max(since));
    program.zone.end_of_validity(from, expires.after)
}

/// Lots that have no end though the programme has expiry, with the end they get. What is spent of one gets it
/// when it comes back ([`restore`]).
pub(crate) fn lots_without_end(book: &Book<'_>) -> Vec<(LotId, Timestamp, Timestamp)> {
    let open = book.customer.member.iter().flat_map(|m| &m.wallet.lots).filter(|lot| !lot.buckets.is_closed());
    open.filter_map(|lot| end_of_endless(book, lot)).collect()
}

/// What dates a lot that has no end though the programme has expiry.
fn end_of_endless(book: &Book<'_>, lot: &Lot) -> Option<(LotId, Timestamp, Timestamp)> {
    let end = lapse(book, lot.earned_at, lot.available_at);
    (lot.expires_at == Timestamp::NEVER && end < Timestamp::NEVER).then_some((lot.id, lot.available_at, end))
}

/// Newly available points fill arrears first.
pub(crate) fn settle(book: &mut Book<'_>, lot: LotId) {
    let Some(member) = &book.customer.member else { return };
    let available = member.wallet.lot(lot).map_or(0, |l| l.buckets.available);
    let owed = member.wallet.arrears.min(available);
    book.post(Account::Available, Account::Arrears, owed, Some(lot), Cause::Settle);
}

/// Whether the customer was a member at an instant: only then can points have paid.
fn is_of_member(book: &Book<'_>, at: Timestamp) -> bool {
    book.customer.member.as_ref().is_some_and(|member| at >= member.enrolled_at)
}

/// The points part of a payment: points captured of late first, then what was good on the order's day and has lapsed
/// since, then what expires first; the rest is owed.
pub(crate) fn pay_with_points(book: &mut Book<'_>, name: OrderRef) {
    let Some(record) = book.customer.orders.get(name).filter(|r| r.paid_points > 0 && r.paid_at.is_none()) else {
        return;
    };
    let (placed, mut left) = (record.at, record.paid_points);
    let Some(member) = &book.customer.member else { return };
    let mut lots = up_to(member.captured.iter().filter(|captured| captured.may_pay(placed)), left);
    left -= sum(&lots);
    // Of one that came back meanwhile nothing is to be made good again.
    let lapsed = if record.stands() { left } else { 0 };
    let lapsed = member.wallet.lapsed_since(placed, book.customer.clock, lapsed);
    left -= sum(&lapsed);
    let fresh = member.wallet.earliest_expiring(left, None);
    left -= sum(&fresh);
    for (from, taken) in [(Account::Expired, lapsed), (Account::Available, fresh)] {
        for (lot, amount) in taken {
            book.post(from, Account::Spent, amount, Some(lot), Cause::Redeem);
            lots.push((lot, amount));
        }
    }
    book.post(Account::Arrears, Account::Issued, left, None, Cause::Redeem);
    book.record(Fact::Paid { order: name, lots });
    let Some(paid) = book.customer.orders.get(name).filter(|r| r.paid_back > 0).map(Listed::into_owned) else { return };
    // Some of it may have come back before it was paid.
    give_points_back(book, &OrderRecord { paid_back: 0, ..paid.clone() }, &paid);
}

fn sum(lots: &[(LotId, i64)]) -> i64 {
    lots.iter().map(|(_, points)| points).sum()
}

/// A hold was captured. An order that was told while the points were set aside has been paid with others then: what
/// stands of it with these instead.
pub(crate) fn pay_by_hold(book: &mut Book<'_>, held_at: Timestamp) {
    let orders = book.customer.orders.iter().filter(|record| record.paid_at >= Some(held_at));
    for paid in orders.map(Listed::into_owned).collect::<Vec<_>>() {
        let Some(member) = &book.customer.member else { return };
        let (_, stand) = paid.paid_parts();
        let others: i64 = stand.iter().filter(|from| !from.held).map(|from| from.points).sum();
        let captured = member.captured.iter().filter(|c| c.held_at == held_at && c.may_pay(paid.at));
        let lots = up_to(captured, others + paid.left_owing());
        let points = sum(&lots);
        if points == 0 {
            continue;
        }
        let (owed, others) = paid.paid_otherwise(points);
        book.record(Fact::PaidByHold { order: paid.order, held_at, lots });
        forgive(book, owed, paid.paid_at.unwrap_or(held_at)); // First, or what comes back would fill it.
        others.into_iter().for_each(|from| restore(book, from.lot, from.points, from.used));
    }
}

/// Captured points, for up to so many.
fn up_to<'a>(captured: impl Iterator<Item = &'a Captured>, asked: i64) -> Vec<(LotId, i64)> {
    let mut left = asked;
    let lots = captured.map(|captured| {
        let points = captured.points.min(left);
        left -= points;
        (captured.lot, points)
    });
    lots.filter(|(_, points)| *points > 0).collect()
}

/// A refund: what came back, then everything that follows from what is left.
///
/// # Errors
/// The position of a line whose product is not on the order; nothing has happened then.
pub(crate) fn refunded(book: &mut Book<'_>, refund: &Refund, name: OrderRef) -> Result<(), usize> {
    let key = book.rules.secret.digest(&[b"refund", refund.order_id.as_bytes(), refund.refund_id.as_bytes()]);
    let Some(record) = book.customer.orders.get(name) else {
        book.record(Fact::Parked { order: name });
        return Ok(());
    };
    if record.refunds.contains(&key) {
        book.note("refund_known");
        return Ok(());
    }
    if record.refunds.len() >= REFUNDS_MAX {
        book.note("limit_reached");
        return Ok(());
    }
    let back = orders::reckon_refund(&record, refund, key)?;
    if back.clamped {
        book.note("clamped");
    }
    take_back(book, back);
    Ok(())
}

/// A cancellation takes everything back.
pub(crate) fn cancelled(book: &mut Book<'_>, name: OrderRef) {
    let Some(record) = book.customer.orders.get(name) else {
        book.record(Fact::Parked { order: name });
        return;
    };
    if record.cancelled {
        book.note("refund_known");
        return;
    }
    let back = Return { order: name, refund: None, lines: orders::all_back(&record), clamped: false };
    take_back(book, back);
}

fn take_back(book: &mut Book<'_>, back: Return) {
    let name = back.order;
    let Some(before) = book.customer.orders.get(name).map(Listed::into_owned) else { return };
    if back.brings_nothing() {
        book.note("nothing_returned");
        book.record(Fact::Returned(back));
        return;
    }
    let (mut stood, with_the_whole) = standing_milestones(book, name);
    let years = book.customer.member.as_ref().map(|member| member.years.clone()).unwrap_or_default();
    let mut lost = tier::Lost { order: name, years, was_pending: false };
    book.record(Fact::Returned(back));
    let is_gone = !book.customer.orders.get(name).is_some_and(|record| record.stands());
    if before.earns {
        lost.was_pending = before.lot.is_some_and(|lot| is_pending(book, lot));
        take_points_back(book, &before);
    }
    if before.paid_at.is_some()
        && let Some(after) = book.customer.orders.get(name).map(Listed::into_owned)
    {
        give_points_back(book, &before, &after);
    }
    if is_gone {
        stood.extend(with_the_whole);
    }
    // One that does not earn counts as an order all the same.
    settle_progress(book, &stood, &lost);
    // What moves on may count for another year then, and hold up others no longer.
    while reach_again(book, &mut stood, name) {
        settle_progress(book, &stood, &lost);
    }
    if before.earns {
        milestones(book, None);
    }
}

/// What goes with a refund may take more with it: each round takes something, or is the last.
fn settle_progress(book: &mut Book<'_>, stood: &[Reached], lost: &tier::Lost) {
    loop {
        let level = level_of(book);
        let any_missed = miss_milestones(book, stood, Some(lost));
        tier::refunded(book, lost);
        if !any_missed && level == level_of(book) {
            break;
        }
    }
}

/// What goods that came back had earned.
fn take_points_back(book: &mut Book<'_>, before: &OrderRecord) {
    let name = before.order;
    let Some(after) = book.customer.orders.get(name).map(Listed::into_owned) else { return };
    // What stood before is reckoned too: an earlier refund has already taken its share.
    let had = standing_points(book, before);
    let less = had - reckon(book, &after).min(had);
    if let Some(lot) = before.lot.filter(|_| less > 0) {
        book.record(Fact::TakenBack { order: name, points: less });
        let forgiven = before.left_owing() - after.left_owing();
        reverse_before_forgiving(book, lot, less, Cause::Refund, forgiven);
    }
    let spend = spend_of(book, before) - spend_of(book, &after);
    if less > 0 || spend > 0 {
        let year = book.program().zone.year(before.at);
        book.record(Fact::Qualified { year, points: -less, spend: -spend });
    }
    move_impact(book, before, &after);
    judge_benefits(book, name, false);
}

fn is_pending(book: &Book<'_>, lot: LotId) -> bool {
    let lot = book.customer.member.as_ref().and_then(|m| m.wallet.lot(lot));
    lot.is_some_and(|l| l.buckets.pending > 0)
}

/// Points that paid for refunded goods come back in proportion; the last refund brings the rest.
fn give_points_back(book: &mut Book<'_>, before: &OrderRecord, after: &OrderRecord) {
    let Some(paid_at) = before.paid_at else { return };
    let mut left = after.paid_back - before.paid_back;
    let (_, mut back) = before.paid_parts();
    for from in &mut back {
        from.points = from.points.min(left);
        left -= from.points;
    }
    // First, or what comes back would fill it.
    forgive(book, left, paid_at);
    for from in back.into_iter().filter(|from| from.points > 0) {
        restore(book, from.lot, from.points, from.used);
    }
}

/// Cancels what a payment or redemption of an instant left owing. New points fill the oldest debt first: so of what is
/// owed now, later orders have their part; what is missing then was filled since, and comes back as points.
pub(crate) fn forgive(book: &mut Book<'_>, points: i64, used: Timestamp) {
    let Some(member) = book.customer.member.as_ref().filter(|_| points > 0) else { return };
    let later = book.customer.orders.iter().filter(|record| record.paid_at > Some(used));
    let owed_for_later: i64 = later.map(|record| record.left_owing()).sum();
    let owed = (member.wallet.arrears - owed_for_later).clamp(0, points);
    book.post(Account::Issued, Account::Arrears, owed, None, Cause::Undo);
    come_back(book, points - owed, used);
}

/// Points that were used at an instant come back as new ones, where those that they were are no longer kept; but for
/// those that the shop came to bear since.
fn come_back(book: &mut Book<'_>, points: i64, used: Timestamp) {
    let Some(member) = book.customer.member.as_ref().filter(|_| points > 0) else { return };
    let (at, borne) = (book.at, member.wallet.borne_since(used).min(points));
    bear_no_longer(book, borne, None, used);
    if points > borne {
        grant(book, points - borne, None, at, at, "undo".into());
    }
}

/// An order turned out to be another record of one that stays: what it brought is taken back.
pub(crate) fn take_out(book: &mut Book<'_>, record: &OrderRecord) {
    let (mut stood, with_the_whole) = standing_milestones(book, record.order);
    stood.extend(with_the_whole);
    let points = standing_points(book, record);
    if let Some(lot) = record.lot {
        reverse(book, lot, points, Cause::Merge);
    }
    let year = book.program().zone.year(record.at);
    let spend = spend_of(book, record);
    if record.earns && (points > 0 || spend > 0) {
        book.record(Fact::Qualified { year, points: -points, spend: -spend });
    }
    let mut nothing = record.clone();
    let all = Return { order: record.order, refund: None, lines: orders::all_back(record), clamped: false };
    orders::take_back(&mut nothing, &all);
    give_points_back(book, record, &nothing);
    if record.earns {
        move_impact(book, record, &nothing);
        benefits_back(book, record);
        miss_milestones(book, &stood, None);
        milestones(book, None);
    }
}

fn benefits_back(book: &mut Book<'_>, record: &OrderRecord) {
    let Some(edition) = book.rules.edition(record.version) else { return };
    for benefit in edition.program.benefits.iter().filter(|b| record.benefits.contains(&b.id)) {
        for (unit, amount) in &benefit.impact {
            post_impact(book, unit.clone(), -amount, Cause::Merge);
        }
    }
}

/// Of points that come back, those that the shop came to bear for refunds since they were used: they are taken now, for
/// nobody keeps what was earned by goods that were returned.
pub(crate) fn take_borne(book: &mut Book<'_>, lot: LotId, points: i64, used: Timestamp) {
    let Some(member) = &book.customer.member else { return };
    let there = member.wallet.lot(lot).map_or(0, |lot| lot.buckets.available);
    let borne = member.wallet.borne_since(used).min(points).min(there);
    book.post(Account::Available, Account::Reversed, borne, Some(lot), Cause::Settle);
    bear_no_longer(book, borne, Some(lot), used);
}

fn bear_no_longer(book: &mut Book<'_>, points: i64, lot: Option<LotId>, used: Timestamp) {
    if points > 0 {
        book.post(Account::Issued, Account::Waived, points, lot, Cause::Settle);
        book.record(Fact::BorneNoLonger { used, points });
    }
}

/// Points that were spent at an instant come back to their lot; what should have lapsed meanwhile lapses at once, or
/// after the declared grace. Those of a lot that is no longer kept come back as new ones.
pub(crate) fn restore(book: &mut Book<'_>, lot: LotId, points: i64, spent: Timestamp) {
    if book.customer.member.as_ref().is_some_and(|m| m.wallet.lot(lot).is_none()) {
        return come_back(book, points, spent);
    }
    book.post(Account::Spent, Account::Available, points, Some(lot), Cause::Undo);
    take_borne(book, lot, points, spent);
    let undo = book.program().points.undo;
    let kept = |book: &Book<'_>| book.customer.member.as_ref().and_then(|m| m.wallet.lot(lot).cloned());
    if let Some((lot, available_at, expires_at)) = kept(book).and_then(|found| end_of_endless(book, &found)) {
        book.record(Fact::LotDated { lot, available_at, expires_at });
    }
    if let Undo::Grace(grace) = undo
        && let Some(found) = kept(book).filter(|found| has_ended(book, found, book.customer.clock))
    {
        let (available_at, until) = (found.available_at, book.program().zone.end_of_validity(book.at, grace));
        book.record(Fact::LotDated { lot, available_at, expires_at: until });
    }
    settle(book, lot);
    expire_by(book, lot, book.customer.clock); // What is dated before its end may be told after it.
}

/// Takes points of a lot back: pending, available, what had expired, then other lots, then arrears
/// (rule 11). Within the balance, too, nobody is rid of a debt by goods that came back.
pub(crate) fn reverse(book: &mut Book<'_>, lot: LotId, points: i64, cause: Cause) {
    reverse_before_forgiving(book, lot, points, cause, 0);
}

/// The same where so much of a debt is yet to be forgiven.
fn reverse_before_forgiving(book: &mut Book<'_>, lot: LotId, points: i64, cause: Cause, forgiven: i64) {
    let mut left = points;
    for from in [Account::Pending, Account::Available, Account::Expired] {
        let Some(found) = book.customer.member.as_ref().and_then(|m| m.wallet.lot(lot)) else { break };
        let there = match from {
            Account::Pending => found.buckets.pending,
            Account::Available => found.buckets.available,
            _ => found.buckets.expired,
        };
        let amount = there.min(left);
        book.post(from, Account::Reversed, amount, Some(lot), cause);
        left -= amount;
    }
    let Some(member) = &book.customer.member else { return };
    for (other, amount) in member.wallet.earliest_expiring(left, Some(lot)) {
        book.post(Account::Available, Account::Reversed, amount, Some(other), cause);
        left -= amount;
    }
    if book.program().points.refunds == Refunds::AllowNegative {
        return book.post(Account::Arrears, Account::Issued, left, Some(lot), cause);
    }
    // What the points had filled of a debt that there is still is owed again; what was used of them the shop bears.
    let owed_again = left.min(filled_by(book, lot, forgiven));
    book.post(Account::Arrears, Account::Reversed, owed_again, Some(lot), cause);
    book.post(Account::Waived, Account::Issued, left - owed_again, Some(lot), cause);
}

/// What a lot filled of what orders had left owing, as far as they have not come back. `forgiven` is still to be.
fn filled_by(book: &Book<'_>, lot: LotId, forgiven: i64) -> i64 {
    let Some(wallet) = book.customer.member.as_ref().map(|member| &member.wallet) else { return 0 };
    let settled = wallet.lot(lot).map_or(0, |lot| lot.buckets.settled);
    if settled == 0 {
        return 0;
    }
    let left_owing: i64 = book.customer.orders.iter().map(|record| record.left_owing()).sum();
    settled.min(left_owing + forgiven - wallet.arrears).max(0)
}

/// Impact of an order's goods, when it is booked.
fn credit_impact(book: &mut Book<'_>, name: OrderRef) {
    let Some(record) = book.customer.orders.get(name) else { return };
    for (unit, amount) in record.impact_left() {
        post_impact(book, unit, amount, Cause::Earn);
    }
}

fn move_impact(book: &mut Book<'_>, before: &OrderRecord, after: &OrderRecord) {
    let left = after.impact_left();
    for (unit, had) in before.impact_left() {
        let has = left.iter().find(|(u, _)| *u == unit).map_or(0, |(_, n)| *n);
        post_impact(book, unit, has - had, Cause::Refund);
    }
}

/// Moves impact; negative amounts are taken back.
fn post_impact(book: &mut Book<'_>, unit: Word, amount: i64, cause: Cause) {
    if amount == 0 {
        return;
    }
    let (from, to) =
        if amount > 0 { (Account::Issued, Account::Credited) } else { (Account::Credited, Account::Issued) };
    let unit = Unit::Impact(unit);
    book.record(Fact::Posted(Posting { unit, from, to, amount: amount.abs(), lot: None, cause }));
}

/// Grants the benefits of the member's level that this order deserves when it begins to earn, and takes back
/// those that what is left of it no longer does.
fn judge_benefits(book: &mut Book<'_>, name: OrderRef, begins: bool) {
    let Some(record) = book.customer.orders.get(name) else { return };
    let Some(edition) = book.rules.edition(record.version) else { return };
    let program = &edition.program;
    let level = level_of(book);
    for benefit in program.benefits.iter().filter(|b| &*b.on == ORDER_COMPLETED) {
        let Some(record) = book.customer.orders.get(name) else { return };
        let view = View {
            order: Some(&record),
            recalled: Some((&program.recalled, &record.recalled)),
            ..View::of(program, book.customer)
        };
        let deserved = record.stands() && benefit.when.holds(&view);
        let had = record.benefits.contains(&benefit.id);
        let granted = if record.fulfilled.contains(&benefit.id) {
            continue;
        } else if had && !deserved {
            false
        } else if !had && deserved && begins && has_benefit(edition, level, &benefit.id) {
            true
        } else {
            continue;
        };
        book.record(Fact::Benefited { benefit: benefit.id.clone(), order: Some(name), granted });
        let (sign, cause) = if granted { (1, Cause::Earn) } else { (-1, Cause::Refund) };
        for (unit, amount) in &benefit.impact {
            post_impact(book, unit.clone(), sign * amount, cause);
        }
    }
}

/// Whether a level, or one below it, brings a benefit.
pub fn has_benefit(edition: &Edition, level: Option<usize>, benefit: &str) -> bool {
    let (Some(tiers), Some(level)) = (&edition.program.tiers, level) else { return false };
    tiers.levels.iter().take(level + 1).any(|l| l.benefits.iter().any(|b| &**b == benefit))
}

/// The last order of each local year that earns and stands; of one instant, the one that was booked last.
pub(crate) fn last_orders(book: &Book<'_>) -> BTreeMap<i16, (Timestamp, OrderRef)> {
    let zone = &book.program().zone;
    let mut last: BTreeMap<i16, (Timestamp, OrderRef)> = BTreeMap::new();
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

fn place(record: &OrderRecord) -> (Timestamp, OrderRef) {
    (record.at, record.order)
}

/// The last order that may still come back, for what is reached by anything else but hangs on orders.
fn last_open(book: &Book<'_>, milestone: &Milestone) -> Option<(Timestamp, OrderRef)> {
    if !milestone.when.reads(|field| is_sum_of_orders(field) || is_otherwise_moved_by_orders(field)) {
        return None;
    }
    let (zone, pending, now) = (&book.program().zone, book.program().points.pending, book.customer.clock);
    let open = book.customer.orders.iter().filter(|order| order.stands() && zone.add(order.at, pending) > now);
    open.map(|order| place(&order)).max_by_key(|(at, _)| *at)
}

/// The order that reaches a mark when one comes in. One that is told late may do it for another of a later day.
fn reaching(book: &Book<'_>, milestone: &Milestone, order: OrderRef) -> Option<(Timestamp, OrderRef)> {
    let at_hand = (book.customer.orders.get(order)?.at, order);
    completing(book, milestone, at_hand.0, &[], |record| record.at > at_hand.0).or(Some(at_hand))
}

/// Of some standing orders the one by which a mark is met, also by what counts for the year of an instant: of sums the
/// last one without which, and those after it, it is not; of a level the one that this rests on; of what the last order
/// moves, that one. None where it is met without them. What open milestones gave counts for nothing.
fn completing(
    book: &Book<'_>,
    milestone: &Milestone,
    about: Timestamp,
    open: &[Reached],
    is_asked: impl Fn(&OrderRecord) -> bool,
) -> Option<(Timestamp, OrderRef)> {
    let mut asked: Vec<_> = book.customer.orders.iter().filter(|record| record.stands() && is_asked(record)).collect();
    asked.sort_by_key(|record| record.at);
    if milestone.when.reads(is_of_the_last_order) {
        return asked.last().map(|record| place(record));
    }
    let reads_level = milestone.when.reads(|field| *field == Field::Tier);
    let lifting = if reads_level { lifted_by(book, &milestone.when, about, open) } else { Vec::new() };
    let lifting = asked.iter().find(|record| lifting.contains(&record.order)).map(|record| place(record));
    let (mut without, mut is_last) = (Without { points: given_by(book, open), ..Without::default() }, true);
    let of_sums = asked.iter().rev().find(|record| {
        leave_out(book, record, std::mem::take(&mut is_last), open, &mut without);
        !is_met(book, &milestone.when, other_year(book, about), Some(&without))
    });
    lifting.into_iter().chain(of_sums.map(|record| place(record))).max_by_key(|(at, _)| *at)
}

/// The orders that the levels rest on which meet a mark: a later one has only extended what an earlier one reached. None
/// where one of them is held without an order.
fn lifted_by(book: &Book<'_>, when: &Predicate, about: Timestamp, open: &[Reached]) -> Vec<OrderRef> {
    let points = given_by(book, open);
    let levels = tier::held_without(book, &points).into_iter().filter(|(level, _)| {
        let without = Without { points: points.clone(), level: Some(*level), ..Without::default() };
        is_met(book, when, other_year(book, about), Some(&without))
    });
    levels.map(|(_, status)| status.reached_by).collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// Points that milestones gave with an order, each with the local year that they count for. What an order gave that
/// came back since, and that stands all the same, hangs on the last one. But for what is open.
pub(crate) fn given_with(
    book: &Book<'_>,
    order: OrderRef,
    is_last: bool,
    open: &[Reached],
) -> impl Iterator<Item = (i16, i64)> {
    let reached = book.customer.member.iter().flat_map(|member| &member.milestones);
    let came_back = |by| book.customer.orders.get(by).is_some_and(|record| !record.stands());
    let is_with = move |by: OrderRef| by == order || is_last && came_back(by);
    let counts = move |reached: &&Reached| reached.order.is_some_and(is_with) && !open.contains(reached);
    reached.filter(counts).filter_map(|reached| gave(book, reached))
}

/// Points that a milestone gave, and the local year that they count for.
fn gave(book: &Book<'_>, reached: &Reached) -> Option<(i16, i64)> {
    let lot = reached.lot.and_then(|id| book.customer.member.as_ref()?.wallet.lot(id))?;
    Some((book.program().zone.year(lot.earned_at), lot.buckets.granted))
}

/// Points that some milestones gave, by the local year that they count for.
fn given_by(book: &Book<'_>, milestones: &[Reached]) -> BTreeMap<i16, i64> {
    let mut points: BTreeMap<i16, i64> = BTreeMap::new();
    let given = milestones.iter().filter_map(|reached| gave(book, reached));
    given.for_each(|(year, given)| *points.entry(year).or_default() += given);
    points
}

/// Takes what an order brought out of the sums, but for what is open.
fn leave_out(book: &Book<'_>, record: &OrderRecord, is_last: bool, open: &[Reached], without: &mut Without) {
    without.orders += 1;
    if record.counts {
        without.spend = without.spend.saturating_add(record.left());
    }
    given_with(book, record.order, is_last, open)
        .for_each(|(year, points)| *without.points.entry(year).or_default() += points);
    if !record.earns {
        return;
    }
    let year = book.program().zone.year(record.at);
    *without.points.entry(year).or_default() += standing_points(book, record);
    let edition = book.rules.edition(record.version);
    let granted = edition.iter().flat_map(|edition| &edition.program.benefits);
    let granted = granted.filter(|benefit| record.benefits.contains(&benefit.id)).flat_map(|benefit| &benefit.impact);
    for (unit, amount) in record.impact_left().into_iter().chain(granted.map(|(unit, amount)| (unit.clone(), *amount)))
    {
        let sum = without.impact.entry(unit).or_default();
        *sum = sum.saturating_add(amount);
    }
}

/// Milestones that a refund of an order may take back, for they are not firm yet: those that meet their mark, and those
/// that do not but hang on this order, which go only if all of it comes back. What brought those under theirs was no
/// refund in time, or they would be gone.
fn standing_milestones(book: &Book<'_>, order: OrderRef) -> (Vec<Reached>, Vec<Reached>) {
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
fn miss_milestones(book: &mut Book<'_>, stood: &[Reached], lost: Option<&tier::Lost>) -> bool {
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
        let points = given_by(book, &soft);
        let level = lost.and_then(|lost| tier::level_after_refund(book, lost, &points));
        let without = Without { points, level, ..Without::default() };
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

/// Milestones whose marks are met although something of an order came back hang on the order that meets them now, if
/// theirs is gone or was not enough. Only those of the version in force: what another one asked may be computed no more.
/// Whether some of those that stood did; they are among these then as they are now.
fn reach_again(book: &mut Book<'_>, stood: &mut [Reached], order: OrderRef) -> bool {
    let (program, Some(member)) = (book.program(), &book.customer.member) else { return false };
    let is_open = |reached: &&Reached| reached.version == program.version && member.milestones.contains(reached);
    let mut open: Vec<Reached> = stood.iter().filter(is_open).cloned().collect();
    let mut any = false;
    while let Some((at, milestone)) = next_met(book, &open) {
        let hung = open[at].order.and_then(|hung| book.customer.orders.get(hung)).map(Listed::into_owned);
        let by = hung.as_ref().and_then(|hung| completing(book, milestone, hung.at, &open, |_| true));
        let moves = hung.is_some_and(|hung| {
            let needs_a_later = !milestone.when.reads(is_of_the_last_order) && by.is_some_and(|(at, _)| at > hung.at);
            hung.order == order && !hung.stands() || needs_a_later
        });
        let reached = open.remove(at);
        if moves {
            let moved = move_on(book, milestone, reached.clone(), by);
            stood.iter_mut().filter(|stood| **stood == reached).for_each(|stood| stood.clone_from(&moved));
            any = true;
        }
    }
    any
}

/// The first of some milestones that what others of them give does not hold up.
fn next_met<'a>(book: &Book<'a>, open: &[Reached]) -> Option<(usize, &'a Milestone)> {
    let points = given_by(book, open);
    let without = Without { level: tier::level_without(book, &points), points, ..Without::default() };
    open.iter().enumerate().find_map(|(at, reached)| {
        let milestone = book.program().milestones.iter().find(|milestone| milestone.id == reached.milestone)?;
        let placed = reached.order.and_then(|order| book.customer.orders.get(order)).map(|record| record.at);
        let other_year = placed.and_then(|placed| other_year(book, placed));
        is_met(book, &milestone.when, other_year, Some(&without)).then_some((at, milestone))
    })
}

/// Takes a milestone back and reaches it by another order, dated no earlier than it was; how it is held then.
fn move_on(book: &mut Book<'_>, milestone: &Milestone, reached: Reached, by: Option<(Timestamp, OrderRef)>) -> Reached {
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
fn give(book: &mut Book<'_>, milestone: &Milestone, placed: Timestamp, by: Option<(Timestamp, OrderRef)>) {
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

/// What the member's level brings with an event that is no order.
fn benefits_of(book: &mut Book<'_>, event: &Event) {
    let (edition, level) = (book.edition(), level_of(book));
    for benefit in edition.program.benefits.iter().filter(|benefit| *benefit.on == *event.name()) {
        let view = View { event: Some(event), ..View::of(&edition.program, book.customer) };
        if !has_benefit(edition, level, &benefit.id) || !benefit.when.holds(&view) {
            continue;
        }
        book.record(Fact::Benefited { benefit: benefit.id.clone(), order: None, granted: true });
        for (unit, amount) in &benefit.impact {
            post_impact(book, unit.clone(), *amount, Cause::Earn);
        }
    }
}

/// Fixed points for events that are not orders, at once or after a review.
pub(crate) fn activity(book: &mut Book<'_>, event: &Event) {
    let Some(joined) = book.customer.member.as_ref().map(|m| m.enrolled_at) else { return };
    if event.at < joined {
        return;
    }
    benefits_of(book, event);
    let edition = book.edition();
    for rule in edition.earning(event.name()) {
        let view = View { event: Some(event), ..View::of(&edition.program, book.customer) };
        if !rule.when.holds(&view) {
            continue;
        }
        let unique = rule.unique_by.as_ref().map(|term| unique_key(book, &term.value(&view)));
        if rule.review {
            submit(book, event, &rule.id, unique);
        } else if let Gives::Fixed(points) = rule.gives {
            if !within_limit(book, edition, &rule.id, rule.limit, event.at) {
                book.note("limit_reached");
            } else if unique.is_none() || claim(book, event, &rule.id, unique) {
                grant_fixed(book, points, event.at, &rule.id);
            }
        }
    }
}

fn unique_key(book: &Book<'_>, value: &Value) -> [u8; 16] {
    book.rules.secret.digest(&[b"unique", value.normalized().canonical().as_bytes()])
}

/// Grants a fixed number of points at once.
pub(crate) fn grant_fixed(book: &mut Book<'_>, points: i64, at: Timestamp, rule: &Word) {
    grant(book, points, None, at, at, rule.clone());
    let year = book.program().zone.year(at);
    book.record(Fact::Qualified { year, points, spend: 0 });
    tier::regrade(book, year, None);
}

/// What may pay once, and nobody reviews: submitted and approved in one.
fn claim(book: &mut Book<'_>, event: &Event, rule: &str, unique: Option<[u8; 16]>) -> bool {
    let submitted = submit(book, event, rule, unique);
    if submitted {
        let activity = activity_key(&book.rules.secret, &event.message_id);
        book.record(Fact::Reviewed { activity, rule: rule.into(), approved: true });
    }
    submitted
}

/// Whether it was opened: what it is about may pay once.
fn submit(book: &mut Book<'_>, event: &Event, rule: &str, unique: Option<[u8; 16]>) -> bool {
    let Some(member) = &book.customer.member else { return false };
    let taken = |a: &Activity| *a.rule == *rule && a.unique == unique && a.approved != Some(false);
    let paid_for = |unique| member.paid_for.contains(&about(rule, unique));
    if unique.is_some_and(|unique| member.activities.iter().any(taken) || paid_for(unique)) {
        book.note("already_submitted");
        return false;
    }
    if member.activities.iter().filter(|activity| activity.approved.is_none()).count() >= ACTIVITIES_MAX {
        book.note("limit_reached");
        return false;
    }
    let activity = activity_key(&book.rules.secret, &event.message_id);
    book.record(Fact::Submitted { activity, rule: rule.into(), unique });
    true
}

/// The opaque name of a submission.
pub fn activity_key(secret: &Secret, message_id: &str) -> [u8; 16] {
    secret.digest(&[b"activity", message_id.as_bytes()])
}

/// Whether a rule may pay once more at an instant.
pub(crate) fn within_limit(
    book: &Book<'_>,
    edition: &Edition,
    rule: &str,
    limit: Option<Limit>,
    at: Timestamp,
) -> bool {
    let (Some(limit), Some(member)) = (limit, &book.customer.member) else { return true };
    let zone = &edition.program.zone;
    let count = usize::try_from(limit.count).unwrap_or(usize::MAX);
    let paid = || member.paid.iter().filter(|(id, _)| **id == *rule).map(|(_, when)| *when);
    if let Period::Rolling(span) = limit.per {
        // No window that this one is in may hold more, those that end with a later one included.
        let opens = |end: Timestamp| zone.add(end, negative(span));
        let mut ends = paid().filter(|end| *end > at && opens(*end) < at).chain([at]);
        return ends.all(|end| paid().filter(|when| opens(end) < *when && *when <= end).count() < count);
    }
    let same_period = |other: Timestamp| match limit.per {
        Period::Ever | Period::Rolling(_) => true,
        Period::Day => zone.date(other) == zone.date(at),
        Period::Month => {
            (zone.date(other).year(), zone.date(other).month()) == (zone.date(at).year(), zone.date(at).month())
        }
        Period::Year => zone.year(other) == zone.year(at),
    };
    paid().filter(|when| same_period(*when)).count() < count
}

fn negative(span: Span) -> Span {
    Span { months: -span.months, millis: -span.millis }
}

/// A lot's return window ended.
pub(crate) fn activate(book: &mut Book<'_>, lot: LotId) {
    let pending = book.customer.member.as_ref().and_then(|m| m.wallet.lot(lot)).map_or(0, |l| l.buckets.pending);
    book.post(Account::Pending, Account::Available, pending, Some(lot), Cause::Activate);
    settle(book, lot);
    expire(book, lot); // Its validity may have ended while it waited.
}

/// Whether a lot's validity is over, or everything without a date has lapsed by inactivity.
fn has_ended(book: &Book<'_>, lot: &Lot, at: Timestamp) -> bool {
    let active_at = book.customer.member.as_ref().map(|member| member.wallet.active_at);
    let idle = || active_at.and_then(|active_at| idle_until(book.edition(), active_at));
    lot.expires_at <= at || lot.expires_at == Timestamp::NEVER && idle().is_some_and(|due| due <= at)
}

/// A lot's validity ended: what is available of it lapses.
pub(crate) fn expire(book: &mut Book<'_>, lot: LotId) {
    expire_by(book, lot, book.at);
}

fn expire_by(book: &mut Book<'_>, lot: LotId, at: Timestamp) {
    let Some(member) = &book.customer.member else { return };
    let found = member.wallet.lot(lot).filter(|l| has_ended(book, l, at));
    let lapsed = found.map_or(0, |l| l.buckets.available);
    book.post(Account::Available, Account::Expired, lapsed, Some(lot), Cause::Expire);
}

/// What stands for all lots of a customer where they lapse together; lots are numbered from 1.
pub(crate) fn everything(owner: CustomerId) -> LotId {
    LotId { owner, number: 0 }
}

/// When everything lapses of a member who last earned or spent at `active_at`; none without such a
/// rule. A rule that was switched on later counts from then at the earliest.
pub(crate) fn idle_until(edition: &Edition, active_at: Timestamp) -> Option<Timestamp> {
    let expires = edition.program.points.expires.as_ref()?;
    let span = expires.after_inactivity?;
    let since = edition.idle_since.filter(|_| expires.grace_existing).unwrap_or(active_at);
    Some(edition.program.zone.end_of_validity(active_at.max(since), span))
}

/// Nothing was earned or spent for the declared time: everything available lapses.
pub(crate) fn expire_inactive(book: &mut Book<'_>) {
    let Some(member) = &book.customer.member else { return };
    let edition = book.edition();
    if idle_until(edition, member.wallet.active_at).is_none_or(|due| due > book.at) {
        return;
    }
    let open: Vec<(LotId, i64)> = member.wallet.earliest_expiring(i64::MAX, None);
    for (lot, points) in open {
        book.post(Account::Available, Account::Expired, points, Some(lot), Cause::Expire);
    }
}

/// How late a reminder may be; history that is brought in reminds nobody.
const REMIND_LATE_MS: i64 = 7 * DAY_MS;

/// A reminder that a lot will lapse; nothing when there is nothing left to lose, or when it comes
/// more than a week late.
pub(crate) fn remind(book: &mut Book<'_>, lot: LotId, now: Timestamp) {
    let found = book.customer.member.as_ref().and_then(|m| m.wallet.lot(lot));
    if found.is_some_and(|l| l.buckets.available > 0 && l.expires_at > now) {
        queue_reminder(book, lot, now);
    }
}

/// A reminder that everything will lapse by inactivity; nothing when something was earned or spent since.
pub(crate) fn remind_inactive(book: &mut Book<'_>, now: Timestamp) {
    let Some(member) = &book.customer.member else { return };
    let edition = book.edition();
    let due = idle_until(edition, member.wallet.active_at).and_then(|due| remind_at(edition, due));
    if due == Some(book.at) && member.wallet.available() > 0 {
        queue_reminder(book, everything(book.customer.id), now);
    }
}

fn queue_reminder(book: &mut Book<'_>, lot: LotId, now: Timestamp) {
    if now.since(book.at) <= REMIND_LATE_MS {
        book.record(Fact::Queued { template: "points-expiring".into(), about: lot.number.to_string().into() });
    }
}

/// When the reminder of what lapses is due.
pub(crate) fn remind_at(edition: &Edition, expires_at: Timestamp) -> Option<Timestamp> {
    let remind = edition.program.points.expires.as_ref()?.remind?;
    (expires_at < Timestamp::NEVER).then(|| edition.program.zone.add(expires_at, negative(remind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn bonuses_add_or_multiply() {
        let factors = || [d("1.5"), d("2")].into_iter();
        assert_eq!(combined(Combine::Add, factors()), d("2.5"));
        assert_eq!(combined(Combine::Multiply, factors()), d("3"));
        assert_eq!(combined(Combine::Add, [d("0"), d("0.5")].into_iter()), d("0"), "a line takes nothing from others");
    }
}
