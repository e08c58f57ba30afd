//! Loyalty: what events earn, take back or let lapse.
//!
//! Promise: points of an order are computed exactly and rounded down once per order; after a refund
//! an order's points are what it would have earned without the refunded goods, under the rules it
//! was earned by; the difference is taken back.
//! Absent on purpose: floats, clocks, and any other way to move a point than [`Fact::Posted`].

mod activity;
mod benefit;
mod earn;
mod lot;
mod milestone;
mod payment;
mod refund;

use std::sync::Arc;

use crate::engine::Book;
use crate::event::{Body, Event, ORDER_COMPLETED, Order};
use crate::fact::{Booking, Fact};
use crate::id::OrderRef;
use crate::orders;
use crate::program::{Join, Pilot};
use crate::scope::View;
use crate::time::Timestamp;
use crate::{expr::Scope as _, tier};

pub use activity::activity_key;
pub(crate) use activity::{activity, grant_fixed};
use benefit::{credit_impact, judge_benefits};
pub(crate) use earn::{claimed_rules, reread, spend_of, standing_points, within_limit};
use earn::{reckon, rules_of};
pub(crate) use lot::{
    activate, everything, expire, expire_inactive, grant, idle_until, lots_without_end, remind, remind_at,
    remind_inactive, settle,
};
pub(crate) use milestone::{given_with_orders, last_orders, milestones};
pub(crate) use payment::{forgive, pay_by_hold, pay_with_points, restore, take_borne};
pub(crate) use refund::{cancelled, refunded, take_out};

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
    match joined {
        None => book.note("not_a_member"),
        Some(joined) if event.at < joined => book.note("before_joining"),
        Some(_) if !ours => book.note("currency_mismatch"),
        Some(_) => {}
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

pub(super) fn level_of(book: &Book<'_>) -> Option<usize> {
    book.customer.member.as_ref()?.tier.as_ref().map(|held| usize::from(held.level))
}

/// Whether the customer was a member at an instant: only then can points have paid.
pub(super) fn is_of_member(book: &Book<'_>, at: Timestamp) -> bool {
    book.customer.member.as_ref().is_some_and(|member| at >= member.enrolled_at)
}
