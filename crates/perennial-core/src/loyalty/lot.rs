//! Lots of points: granted, settled against what is owed, available after their return window, lapsing.

use super::earn::negative;
use crate::engine::Book;
use crate::fact::{Account, Cause, Fact, LotOpened};
use crate::id::{CustomerId, LotId, OrderRef, Word};
use crate::ledger::Lot;
use crate::program::ExpiryFrom;
use crate::rules::Edition;
use crate::time::{DAY_MS, Timestamp};

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
pub(super) fn end_of_endless(book: &Book<'_>, lot: &Lot) -> Option<(LotId, Timestamp, Timestamp)> {
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

/// A lot's return window ended.
pub(crate) fn activate(book: &mut Book<'_>, lot: LotId) {
    let pending = book.customer.member.as_ref().and_then(|m| m.wallet.lot(lot)).map_or(0, |l| l.buckets.pending);
    book.post(Account::Pending, Account::Available, pending, Some(lot), Cause::Activate);
    settle(book, lot);
    expire(book, lot); // Its validity may have ended while it waited.
}

/// Whether a lot's validity is over, or everything without a date has lapsed by inactivity.
pub(super) fn has_ended(book: &Book<'_>, lot: &Lot, at: Timestamp) -> bool {
    let active_at = book.customer.member.as_ref().map(|member| member.wallet.active_at);
    let idle = || active_at.and_then(|active_at| idle_until(book.edition(), active_at));
    lot.expires_at <= at || lot.expires_at == Timestamp::NEVER && idle().is_some_and(|due| due <= at)
}

/// A lot's validity ended: what is available of it lapses.
pub(crate) fn expire(book: &mut Book<'_>, lot: LotId) {
    expire_by(book, lot, book.at);
}

pub(super) fn expire_by(book: &mut Book<'_>, lot: LotId, at: Timestamp) {
    let Some(member) = &book.customer.member else { return };
    let found = member.wallet.lot(lot).filter(|l| has_ended(book, l, at));
    let lapsed = found.map_or(0, |l| l.buckets.available);
    book.post(Account::Available, Account::Expired, lapsed, Some(lot), Cause::Expire);
}

/// What stands for all lots of a customer where they lapse together, and for none where captured points are owed; lots
/// are numbered from 1.
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
