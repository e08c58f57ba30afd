//! Merging: two customers turn out to be one person.
//!
//! Promise: lots keep their dates, the sum of points stays, the higher tier and the later validity
//! stay, the stricter consent wins, an order that both have counts once, and what a visitor bought after the member had joined is booked
//! now, with the order's date, at the tier held now (rules 6 and 14).

use crate::blocks::List as _;
use crate::customer::{CART_MAX, Customer, Member};
use crate::engine::Book;
use crate::fact::{Fact, Outcome};
use crate::id::OrderRef;
use crate::orders::{Listed, OrderRecord, Orders};
use crate::rules::{Edition, Rules};
use crate::time::Timestamp;
use crate::{engine, loyalty, tier};

/// Makes `from` part of `into`, and says what followed.
pub fn merge(rules: &Rules, into: &mut Customer, from: Customer, at: Timestamp) -> Outcome {
    let Some(edition) = rules.latest().cloned() else { return Vec::new() };
    let other = from.id;
    let twice = twice(&into.orders, &from.orders);
    let are_members = into.member.is_some() && from.member.is_some();
    into.clock = into.clock.max(at); // What is over by now is over for both, as it will be when this is read again.
    unite(&edition, into, from);
    let Some(mut book) = Book::open(rules, into, at) else { return Vec::new() };
    book.record(Fact::Merged { from: other });
    twice.iter().for_each(|record| loyalty::take_out(&mut book, record));
    book_late_orders(&mut book);
    settle_arrears(&mut book);
    if are_members {
        reward_union(&mut book);
    }
    book.customer.orders.trim(); // Only now: what came late may be among the oldest.
    book.close()
}

/// Orders that both sides have: of each the record that was made later, which gives way.
fn twice(ours: &Orders, theirs: &Orders) -> Vec<OrderRecord> {
    let both = theirs.iter().filter_map(|their| Some((ours.get(their.order)?, their)));
    both.map(|(our, their)| if their.is_earlier(&our) { our } else { their }).map(Listed::into_owned).collect()
}

/// Carries out a merge that is known to have happened, without its facts.
pub(crate) fn unite(edition: &Edition, into: &mut Customer, mut from: Customer) {
    into.clock = into.clock.max(from.clock);
    for record in twice(&into.orders, &from.orders) {
        let ours = into.orders.get(record.order).as_deref() == Some(&record);
        engine::uncount(edition, if ours { into } else { &mut from }, &record);
    }
    into.roots.extend(from.roots);
    into.identifiers.extend(from.identifiers);
    for (name, (value, at)) in from.profile.traits {
        let known = into.profile.traits.entry(name).or_insert_with(|| (value.clone(), at));
        if known.1 < at {
            *known = (value, at);
        }
    }
    for (purpose, (given, at)) in from.profile.consents {
        let known = into.profile.consents.entry(purpose).or_insert((given, at));
        *known = (known.0 && given, known.1.max(at));
    }
    into.profile.opted_out |= from.profile.opted_out;
    for ((seen, other), feature) in into.features.iter_mut().zip(&from.features).zip(&edition.program.features) {
        seen.merge(feature, other);
    }
    into.cart.extend(from.cart);
    into.cart.truncate(CART_MAX);
    into.orders.unite(from.orders);
    into.timers.unite(from.timers);
    into.answers.extend(from.answers);
    into.cap_answers();
    into.parted.extend(from.parted);
    // The survivor's scores stay until its orders change or the next training.
    for scored in from.scores.iter().filter(|s| into.score(s.kind()).is_none()).cloned().collect::<Vec<_>>() {
        into.scores.push(scored);
    }
    match (&mut into.member, from.member) {
        (Some(member), Some(other)) => unite_members(member, other, into.clock),
        (mine @ None, Some(mut theirs)) => {
            theirs.wallet.lots.renew(); // Written so far under the other's id.
            theirs.wallet.closed.renew();
            *mine = Some(theirs);
        }
        _ => {}
    }
    engine::watch_inactivity_again(edition, into, Some(into.clock)); // Each side waited for its own.
}

fn unite_members(member: &mut Member, other: Member, now: Timestamp) {
    if other.enrolled_at < member.enrolled_at {
        (member.enrolled_at, member.enrolled_in) = (other.enrolled_at, other.enrolled_in);
    }
    member.wallet.unite(other.wallet);
    for (year, counted) in other.years {
        let mine = member.years.entry(year);
        mine.points += counted.points;
        mine.spend += counted.spend;
    }
    tier::unite(member, other.tier, other.held_before, now);
    member.milestones.extend(other.milestones); // One that both have is two: each may go with its own order.
    for (unit, amount) in other.impact {
        let mine = member.impact.entry(unit);
        *mine = mine.saturating_add(amount);
    }
    other.redemptions.into_iter().for_each(|bought| member.keep_redemption(bought));
    for (reward, pieces) in other.pieces {
        let mine = member.pieces.entry(reward).or_default();
        *mine = mine.saturating_add(pieces);
    }
    member.holds.extend(other.holds);
    member.captured.extend(other.captured);
    member.activities.extend(other.activities);
    member.paid_for.extend(other.paid_for);
    member.cap_activities();
    member.paid.extend(other.paid);
    member.queued.extend(other.queued);
}

/// Orders that a visitor placed after the member had joined. One that came back before is paid for all the same: points
/// that were captured for it come back.
fn book_late_orders(book: &mut Book<'_>) {
    let Some(joined) = book.customer.member.as_ref().map(|m| m.enrolled_at) else { return };
    let rated = |o: &OrderRecord| book.rules.edition(o.version).is_some_and(|e| e.program.rate(o.currency).is_some());
    let late: Vec<(OrderRef, bool)> = book
        .customer
        .orders
        .iter()
        .filter(|o| !o.earns && o.at >= joined)
        .map(|o| (o.order, rated(&o) && o.stands()))
        .collect();
    for (order, may_earn) in late {
        if !may_earn {
            loyalty::pay_with_points(book, order);
            continue;
        }
        if let Some(values) = loyalty::reread(book, order) {
            book.record(Fact::Reread { order, values });
        }
        let Some(rules) = loyalty::claimed_rules(book, order) else { continue };
        book.record(Fact::Claimed { order, rules });
        loyalty::reward_order(book, order);
    }
}

/// What both have earned together may reach a level or a milestone that neither had: as by the last order of the
/// year, so that it goes again when that one comes back.
fn reward_union(book: &mut Book<'_>) {
    let last = loyalty::last_orders(book);
    let Some(member) = &book.customer.member else { return };
    let years: Vec<i16> = member.years.keys().copied().collect();
    loyalty::milestones(book, last.values().max().map(|(_, order)| *order));
    for year in years {
        tier::regrade(book, year, last.get(&year).map(|(_, order)| *order));
    }
}

fn settle_arrears(book: &mut Book<'_>) {
    let open = book.customer.member.as_ref().map(|m| m.wallet.earliest_expiring(m.wallet.arrears, None));
    for (lot, _) in open.unwrap_or_default() {
        loyalty::settle(book, lot);
    }
}
