//! What goes when goods come back: points, impact and benefits, and with them milestones and levels.

use super::benefit::{benefits_back, judge_benefits, move_impact};
use super::earn::{reckon, spend_of, standing_points};
use super::milestone::{milestones, miss_milestones, reach_again, settle_progress, standing_milestones};
use super::payment::give_points_back;
use crate::engine::Book;
use crate::event::Refund;
use crate::fact::{Account, Cause, Fact, Return};
use crate::id::{LotId, OrderRef};
use crate::orders::{self, Listed, OrderRecord, REFUNDS_MAX};
use crate::program::Refunds;
use crate::tier;

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
    while reach_again(book, &mut stood, &lost) {}
    if before.earns {
        milestones(book, None);
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
