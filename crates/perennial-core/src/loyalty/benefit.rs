//! Impact of orders, and the benefits of levels.

use super::level_of;
use crate::engine::Book;
use crate::event::{Event, ORDER_COMPLETED};
use crate::fact::{Account, Cause, Fact, Posting, Unit};
use crate::id::{OrderRef, Word};
use crate::orders::OrderRecord;
use crate::rules::Edition;
use crate::scope::View;

pub(super) fn benefits_back(book: &mut Book<'_>, record: &OrderRecord) {
    let Some(edition) = book.rules.edition(record.version) else { return };
    for benefit in edition.program.benefits.iter().filter(|b| record.benefits.contains(&b.id)) {
        for (unit, amount) in &benefit.impact {
            post_impact(book, unit.clone(), -amount, Cause::Merge);
        }
    }
}

/// Impact of an order's goods, when it is booked.
pub(super) fn credit_impact(book: &mut Book<'_>, name: OrderRef) {
    let Some(record) = book.customer.orders.get(name) else { return };
    for (unit, amount) in record.impact_left() {
        post_impact(book, unit, amount, Cause::Earn);
    }
}

pub(super) fn move_impact(book: &mut Book<'_>, before: &OrderRecord, after: &OrderRecord) {
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
pub(super) fn judge_benefits(book: &mut Book<'_>, name: OrderRef, begins: bool) {
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
pub(super) fn has_benefit(edition: &Edition, level: Option<usize>, benefit: &str) -> bool {
    let (Some(tiers), Some(level)) = (&edition.program.tiers, level) else { return false };
    tiers.levels.iter().take(level + 1).any(|l| l.benefits.iter().any(|b| &**b == benefit))
}

/// What the member's level brings with an event that is no order.
pub(super) fn benefits_of(book: &mut Book<'_>, event: &Event) {
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
