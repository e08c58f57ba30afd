//! Segments: named yes-or-no questions about a customer, always current.
//!
//! Invariant: membership depends only on features, traits and now.
//! Absent on purpose: queries. Nothing here scans customers; a window that will move by itself asks
//! for a timer, and the share at the top is judged by a published threshold (rule 4).

use crate::customer::{Customer, InSegment};
use crate::expr::{self, Field, Op, Scope};
use crate::feature::{micro, number};
use crate::input::TimerKind;
use crate::program::{Segment, SegmentRule};
use crate::rules::{Edition, Rules};
use crate::scope::View;
use crate::time::Timestamp;

/// Brings membership up to date with what has just been folded, and asks to be woken when time
/// alone will change it.
pub(crate) fn refresh(rules: &Rules, edition: &Edition, customer: &mut Customer) {
    edition.program.segments.iter().for_each(|segment| judge(rules, edition, customer, segment));
    set_tick(customer, next_change(rules, edition, customer));
}

/// Nobody is in a segment that is no more.
pub(crate) fn forget(rules: &Rules, customer: &mut Customer) {
    let there = |id: &str| rules.latest().is_some_and(|e| e.program.segments.iter().any(|s| *s.id == *id));
    customer.segments.retain(|inside| there(&inside.segment));
}

/// Lets the next wake-up of any kind bring all segments up to date: they are another programme's from now on.
pub(crate) fn expect_change(customer: &mut Customer) {
    set_tick(customer, Some(customer.clock));
}

fn set_tick(customer: &mut Customer, next: Option<Timestamp>) {
    if customer.tick != next {
        customer.wake_instead(customer.tick, next, TimerKind::Tick);
        customer.tick = next;
    }
}

/// The same after a wake-up. One about points leaves most segments as they are until time itself was to
/// change one.
pub(crate) fn refresh_woken(rules: &Rules, edition: &Edition, customer: &mut Customer, kind: TimerKind) {
    let about_points =
        matches!(kind, TimerKind::Activate | TimerKind::Expire | TimerKind::Remind | TimerKind::HoldLapse);
    if !about_points || customer.tick.is_some_and(|at| at <= customer.clock) {
        return refresh(rules, edition, customer);
    }
    let restless = edition.restless.iter().filter_map(|i| edition.program.segments.get(*i));
    restless.for_each(|segment| judge(rules, edition, customer, segment));
    debug_assert!(is_up_to_date(rules, edition, customer), "no wake-up about points changes another segment");
}

fn is_up_to_date(rules: &Rules, edition: &Edition, customer: &Customer) -> bool {
    let mut segments = edition.program.segments.iter();
    segments.all(|segment| holds(rules, edition, customer, segment) == customer.is_in(&segment.id))
}

fn judge(rules: &Rules, edition: &Edition, customer: &mut Customer, segment: &Segment) {
    let inside = holds(rules, edition, customer, segment);
    let at = customer.segments.iter().position(|s| s.segment == segment.id);
    match (inside, at) {
        (true, None) => {
            let since = customer.clock;
            customer.segments.push(InSegment { segment: segment.id.clone(), since });
        }
        (false, Some(at)) => drop(customer.segments.remove(at)),
        _ => {}
    }
}

fn holds(rules: &Rules, edition: &Edition, customer: &Customer, segment: &Segment) -> bool {
    let view = View::of(&edition.program, customer);
    match &segment.rule {
        SegmentRule::When(rule) => rule.holds(&view),
        SegmentRule::Top { by, .. } => {
            let threshold = rules.thresholds.get(&segment.id).copied().flatten();
            threshold.is_some_and(|t| ranked_value(&view, by).is_some_and(|v| v >= t))
        }
    }
}

/// The value a segment ranks by, in millionths; none when there is none above 0.
pub fn ranked_value(view: &View<'_>, by: &Field) -> Option<i64> {
    match view.view(by) {
        expr::View::Number(n) => Some(micro(n)).filter(|v| *v > 0),
        _ => None,
    }
}

fn next_change(rules: &Rules, edition: &Edition, customer: &Customer) -> Option<Timestamp> {
    let view = View::of(&edition.program, customer);
    let turn = |segment: &Segment| match &segment.rule {
        SegmentRule::When(rule) => rule.next_change(&view),
        // Tomorrow's threshold may be a higher one.
        SegmentRule::Top { by, .. } if customer.is_in(&segment.id) => view.moves(by),
        SegmentRule::Top { by, .. } => {
            let threshold = rules.thresholds.get(&segment.id).copied().flatten();
            threshold.and_then(|threshold| view.turns(by, Op::Ge, number(threshold.into())))
        }
    };
    let segments = &edition.program.segments;
    let mut others = segments.iter().enumerate().filter(|(i, _)| !edition.turning.contains(i));
    debug_assert!(others.all(|(_, segment)| turn(segment).is_none()), "time alone changes no other segment");
    let turns = edition.turning.iter().filter_map(|i| turn(segments.get(*i)?));
    let timely = edition.timely.iter().filter_map(|i| edition.program.milestones.get(*i));
    let reached = |id: &str| customer.member.iter().flat_map(|m| &m.milestones).any(|m| *m.milestone == *id);
    let marks = timely.filter(|milestone| customer.member.is_some() && !reached(&milestone.id));
    let turns = turns.chain(marks.filter_map(|milestone| milestone.when.next_change(&view)));
    turns.filter(|at| *at > customer.clock).min()
}

/// The k-th of the values above 0, k = ceil(share x n): who reaches it is at the top (rule 4).
pub fn threshold(mut values: Vec<i64>, share_ppm: u32) -> Option<i64> {
    values.retain(|v| *v > 0);
    values.sort_unstable_by(|a, b| b.cmp(a));
    let n = values.len() as u128;
    let k = (n * u128::from(share_ppm)).div_ceil(1_000_000);
    values.get(usize::try_from(k.checked_sub(1)?).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::threshold;

    #[test]
    fn the_top_share_is_rounded_up_and_ties_are_in() {
        assert_eq!(threshold((1..=100).collect(), 50_000), Some(96));
        assert_eq!(threshold(vec![5, 9, 0, -2], 50_000), Some(9));
        assert_eq!(threshold(vec![0], 50_000), None);
        assert_eq!(threshold(vec![7, 7, 1], 340_000), Some(7));
    }
}
