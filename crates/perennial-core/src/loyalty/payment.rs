//! Points that pay for orders, and how they come back.

use super::lot::{end_of_endless, expire_by, grant, has_ended, settle};
use crate::customer::Captured;
use crate::engine::Book;
use crate::fact::{Account, Cause, Fact};
use crate::id::{LotId, OrderRef};
use crate::orders::{Listed, OrderRecord};
use crate::program::Undo;
use crate::time::Timestamp;

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

pub(super) fn sum(lots: &[(LotId, i64)]) -> i64 {
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

/// Points that paid for refunded goods come back in proportion; the last refund brings the rest.
pub(super) fn give_points_back(book: &mut Book<'_>, before: &OrderRecord, after: &OrderRecord) {
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
