//! What orders earn: the rules that apply, and the exact points of what is left of an order.

use std::sync::Arc;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use crate::engine::Book;
use crate::event::ORDER_COMPLETED;
use crate::id::{OrderRef, Word};
use crate::ledger::POINTS_MAX;
use crate::money::ORDER_MAX;
use crate::orders::OrderRecord;
use crate::program::{Combine, EarnRule, Gives, Limit, Period};
use crate::rules::Edition;
use crate::scope::View;
use crate::time::{Span, Timestamp};
use crate::value::Value;
use crate::{expr::Scope as _, rate};

/// The most that all factors of a line come to: so that all lines of the largest order fit a decimal.
const FACTOR_MAX: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);

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

pub(super) fn negative(span: Span) -> Span {
    Span { months: -span.months, millis: -span.millis }
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
