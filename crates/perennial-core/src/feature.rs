//! Features: values computed from one customer's events, always current.
//!
//! A feature observes, retracts, answers, and says when its answer will change by itself.
//! Invariant: the value depends only on what was observed and on now. Windows are `(now - w, now]`.
//! Absent on purpose: scans. A window keeps up to 4,096 exact entries, then whole hours that leave
//! late, and says that it is approximate.

use std::cmp::Ordering::{Equal, Less};
use std::collections::VecDeque;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};

use crate::blocks::{Blocks, List};
use crate::expr::Op;
use crate::money::{TENS, digits};
use crate::program::{Computed, Feature};
use crate::time::Timestamp;
use crate::value::Value;

/// Exact entries that one window keeps.
pub const EXACT_MAX: usize = 4_096;
const HOUR_MS: i64 = 3_600_000;
/// Numbers inside features are millionths, so that sums are exact integers.
const SCALE: u32 = 6;

/// A number as millionths, clamped to what fits.
pub fn micro(n: Decimal) -> i64 {
    // Nearly every number has as few places, and needs no rounding.
    let places = SCALE.checked_sub(n.scale()).and_then(|places| TENS.get(places as usize));
    if let Some(micro) = places.and_then(|tens| digits(n)?.checked_mul(*tens)) {
        return micro;
    }
    let scaled = n.checked_mul(Decimal::from(1_000_000)).map(|d| d.round());
    scaled.and_then(|d| d.to_i64()).unwrap_or(if n.is_sign_negative() { i64::MIN / 4 } else { i64::MAX / 4 })
}

/// Millionths as a number.
pub fn number(micro: i128) -> Decimal {
    Decimal::try_from_i128_with_scale(micro, SCALE).unwrap_or(Decimal::MAX)
}

/// What a feature remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// A count or sum over everything, in ones or millionths.
    Total(i128),
    /// The instant of the first or last.
    Instant(Option<Timestamp>),
    /// Entries, one by one.
    Recent(Recent),
}

/// Entries of a window, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Recent {
    entries: Blocks<Sighting>,
    /// Sum of the entries' amounts: exact, so that what leaves leaves nothing behind.
    sum: i128,
    /// Entries that had to be gathered by hour.
    hours: VecDeque<Hour>,
    /// When the first entry was; never without one. At hand, because every event asks whether it is to leave.
    #[serde(skip)]
    oldest: Timestamp,
}

/// The same as it is written.
#[derive(Default, Deserialize)]
struct Written {
    entries: Blocks<Sighting>,
    sum: i128,
    hours: VecDeque<Hour>,
}

impl From<Written> for Recent {
    fn from(Written { entries, sum, hours }: Written) -> Self {
        let oldest = entries.front().map_or(Timestamp::NEVER, |first| first.at);
        Self { entries, sum, hours, oldest }
    }
}

impl Default for Recent {
    fn default() -> Self {
        Written::default().into()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sighting {
    at: Timestamp,
    key: u64,
    amount: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hour {
    ends: Timestamp,
    count: i64,
    /// The sum of the amounts, or the largest or smallest of them where that is asked for.
    sum: i128,
}

impl Recent {
    fn push(&mut self, sighting: Sighting, feature: &Feature) {
        let is_distinct = matches!(feature.what, Computed::Distinct(_));
        if is_distinct && self.entries.len() >= EXACT_MAX && self.has_newer_than(&sighting) {
            return;
        }
        let newest = self.entries.back().is_none_or(|last| last.at <= sighting.at);
        if newest {
            self.entries.push(sighting);
        } else {
            self.entries.insert(self.entries.partition_point(|s| s.at <= sighting.at), sighting);
        }
        self.oldest = self.oldest.min(sighting.at);
        self.sum += i128::from(sighting.amount);
        if self.entries.len() > EXACT_MAX
            && let Some(oldest) = self.shift()
        {
            let is_seen = is_distinct && self.entries.iter().any(|s| s.amount == oldest.amount);
            if !is_seen {
                self.gather(oldest, feature);
            }
        }
    }

    /// Whether a full list has the same value of a later time; an earlier one gives way.
    fn has_newer_than(&mut self, sighting: &Sighting) -> bool {
        let Some(at) = self.entries.iter().position(|s| s.amount == sighting.amount) else { return false };
        if self.entries.get(at).is_some_and(|same| same.at >= sighting.at) {
            return true;
        }
        if let Some(gone) = self.entries.remove(at) {
            self.sum -= i128::from(gone.amount);
            self.find_oldest();
        }
        false
    }

    /// Takes the oldest entry out.
    fn shift(&mut self) -> Option<Sighting> {
        let gone = self.entries.remove(0)?;
        self.sum -= i128::from(gone.amount);
        self.find_oldest();
        Some(gone)
    }

    fn find_oldest(&mut self) {
        self.oldest = self.entries.front().map_or(Timestamp::NEVER, |first| first.at);
    }

    fn gather(&mut self, oldest: Sighting, feature: &Feature) {
        let ends = Timestamp::from_millis((oldest.at.as_millis().div_euclid(HOUR_MS) + 1) * HOUR_MS);
        match self.hours.back_mut() {
            // Without a window none ever leaves.
            Some(hour) if hour.ends >= ends || feature.within.is_none() => {
                hour.count += 1;
                hour.sum = match feature.what {
                    Computed::Max(_) => hour.sum.max(oldest.amount.into()),
                    Computed::Min(_) => hour.sum.min(oldest.amount.into()),
                    _ => hour.sum + i128::from(oldest.amount),
                };
            }
            _ => self.hours.push_back(Hour { ends, count: 1, sum: oldest.amount.into() }),
        }
    }

    /// Lets go of what has left the window.
    fn prune(&mut self, start: Timestamp) {
        while self.hours.front().is_some_and(|h| h.ends <= start) {
            self.hours.pop_front();
        }
        while self.oldest <= start && self.shift().is_some() {}
    }

    /// Moves an entry's amount; an amount of `None` removes the entry.
    fn amend(&mut self, key: u64, amount: Option<i64>) {
        let Some(at) = self.entries.iter().rposition(|s| s.key == key) else { return };
        let Some(entry) = self.entries.get_mut(at) else { return };
        self.sum += i128::from(amount.unwrap_or(0)) - i128::from(entry.amount);
        if let Some(amount) = amount {
            entry.amount = amount;
        } else {
            self.entries.remove(at);
            self.find_oldest();
        }
    }

    /// How many of the entries have left the window; none as a rule, because what leaves is let go of.
    fn gone(&self, start: Timestamp) -> usize {
        if self.oldest > start { 0 } else { self.entries.partition_point(|s| s.at <= start) }
    }

    fn inside(&self, start: Timestamp) -> impl DoubleEndedIterator<Item = &Sighting> + Clone {
        self.entries.from(self.gone(start))
    }

    fn gathered(&self, start: Timestamp) -> impl Iterator<Item = &Hour> {
        self.hours.iter().filter(move |h| h.ends > start)
    }

    fn count(&self, start: Timestamp) -> i64 {
        let hours: i64 = self.gathered(start).map(|h| h.count).sum();
        hours + i64::try_from(self.entries.len() - self.gone(start)).unwrap_or(0)
    }

    fn total(&self, start: Timestamp) -> i128 {
        let hours: i128 = self.gathered(start).map(|h| h.sum).sum();
        let gone: i128 = self.entries.iter().take_while(|s| s.at <= start).map(|s| i128::from(s.amount)).sum();
        hours + self.sum - gone
    }

    fn next_change(&self, window_ms: i64, now: Timestamp) -> Option<Timestamp> {
        let start = now.plus_millis(-window_ms);
        let hour = self.hours.iter().map(|h| h.ends).find(|ends| *ends > start);
        let entry = if self.oldest > start { Some(self.oldest) } else { self.inside(start).next().map(|s| s.at) };
        let entry = entry.filter(|at| *at < Timestamp::NEVER);
        hour.into_iter().chain(entry).min().map(|at| at.plus_millis(window_ms))
    }
}

/// Entries whose leaving is looked at ahead.
const AHEAD_MAX: usize = 64;

impl Recent {
    /// When so many have left the window that their count compares otherwise.
    fn count_turns(&self, window_ms: i64, now: Timestamp, op: Op, number: Decimal) -> Option<Timestamp> {
        let gone = self.gone(now.plus_millis(-window_ms));
        let count = i64::try_from(self.entries.len() - gone).ok()?;
        let whole = number.floor().to_i64()?;
        let turned = match op {
            Op::Eq | Op::Ne if !number.is_integer() => return None,
            Op::Eq | Op::Ne if count == whole => count - 1,
            Op::Ge | Op::Lt if number.is_integer() => whole - 1,
            _ => whole,
        };
        let leaving = usize::try_from(count - turned).ok().filter(|n| *n > 0 && turned >= 0)?;
        Some(self.entries.get(gone + leaving - 1)?.at.plus_millis(window_ms))
    }

    /// When so much has left the window that the sum compares otherwise, or is to be looked at again.
    fn sum_turns(&self, window_ms: i64, now: Timestamp, op: Op, number: Decimal) -> Option<Timestamp> {
        let start = now.plus_millis(-window_ms);
        let number = number.checked_mul(Decimal::from(1_000_000))?;
        let (whole, is_whole) = (number.floor().to_i128()?, number.is_integer());
        let holds = |sum: i128| op.accepts(sum.cmp(&whole).then(if is_whole { Equal } else { Less }));
        let mut sum = self.total(start);
        let as_now = holds(sum);
        let mut ahead = self.inside(start).enumerate().skip_while(|(i, entry)| {
            sum -= i128::from(entry.amount);
            *i < AHEAD_MAX && holds(sum) == as_now
        });
        ahead.next().map(|(_, entry)| entry.at.plus_millis(window_ms))
    }
}

impl Seen {
    /// The entries of a window, to be written and read.
    pub(crate) fn list(&mut self) -> Option<&mut dyn List> {
        match self {
            Self::Recent(recent) => Some(&mut recent.entries),
            _ => None,
        }
    }

    /// After the entries were read.
    pub(crate) fn was_read(&mut self) {
        if let Self::Recent(recent) = self {
            recent.find_oldest();
        }
    }

    /// About how many bytes it takes beyond its own.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Recent(recent) => {
                recent.entries.len() * size_of::<Sighting>() + recent.hours.len() * size_of::<Hour>()
            }
            _ => 0,
        }
    }

    /// What a feature remembers before it saw anything.
    pub fn nothing(feature: &Feature) -> Self {
        match (feature.within, &feature.what) {
            (None, Computed::Count | Computed::Sum(_)) if !feature.beyond_order => Self::Total(0),
            (None, Computed::First | Computed::Last) if feature.is_plain() => Self::Instant(None),
            _ => Self::Recent(Recent::default()),
        }
    }

    /// Something happened: `amount` is 1 for counts, else the number in millionths or, for distinct
    /// values, a hash. `key` names it, so that it can be amended later.
    pub(crate) fn observe(&mut self, feature: &Feature, at: Timestamp, key: u64, amount: i64, now: Timestamp) {
        match self {
            Self::Total(total) => *total += i128::from(amount),
            Self::Instant(instant) => {
                *instant = Some(match (&feature.what, *instant) {
                    (Computed::First, Some(seen)) => seen.min(at),
                    (_, Some(seen)) => seen.max(at),
                    (_, None) => at,
                });
            }
            Self::Recent(recent) => {
                if let Some(window) = feature.within {
                    recent.prune(now.plus_millis(-window.millis));
                }
                recent.push(Sighting { at, key, amount }, feature);
            }
        }
    }

    /// What was observed under `key`, as far as it is remembered.
    pub(crate) fn observed(&self, key: u64) -> Option<i64> {
        let Self::Recent(recent) = self else { return None };
        recent.entries.iter().rev().find(|s| s.key == key).map(|s| s.amount)
    }

    /// What was observed under `key` counts less, or not at all.
    pub(crate) fn amend(&mut self, key: u64, before: i64, after: Option<i64>) {
        match self {
            Self::Total(total) => *total += i128::from(after.unwrap_or(0)) - i128::from(before),
            Self::Instant(_) => {}
            Self::Recent(recent) => recent.amend(key, after),
        }
    }

    /// Replaces the first or last instant after something was taken back.
    pub(crate) fn reset_instant(&mut self, to: Option<Timestamp>) {
        if let Self::Instant(instant) = self {
            *instant = to;
        }
    }

    /// Lets go of what has left the window.
    pub(crate) fn prune(&mut self, feature: &Feature, now: Timestamp) {
        if let (Self::Recent(recent), Some(window)) = (self, feature.within) {
            recent.prune(now.plus_millis(-window.millis));
        }
    }

    /// The feature's value now.
    pub fn value(&self, feature: &Feature, now: Timestamp) -> Value {
        let start = feature.within.map_or(Timestamp::from_millis(i64::MIN), |w| now.plus_millis(-w.millis));
        match self {
            Self::Total(total) => match feature.what {
                Computed::Count => Value::Number(i64::try_from(*total).unwrap_or(i64::MAX).into()),
                _ => Value::Number(number(*total)),
            },
            Self::Instant(instant) => instant.map_or(Value::Null, instant_value),
            Self::Recent(recent) => recent_value(recent, &feature.what, start),
        }
    }

    /// The instant at which the value changes if nothing happens.
    pub fn next_change(&self, feature: &Feature, now: Timestamp) -> Option<Timestamp> {
        match (self, feature.within) {
            (Self::Recent(recent), Some(window)) => recent.next_change(window.millis, now),
            _ => None,
        }
    }

    /// The next instant at which the value may compare otherwise with a number if nothing happens. Counts and
    /// sums look ahead; the others change whenever something leaves the window.
    pub fn next_turn(&self, feature: &Feature, now: Timestamp, op: Op, number: Decimal) -> Option<Timestamp> {
        let (Self::Recent(recent), Some(window)) = (self, feature.within) else { return None };
        match feature.what {
            _ if !recent.hours.is_empty() => recent.next_change(window.millis, now),
            Computed::Count => recent.count_turns(window.millis, now, op, number),
            Computed::Sum(_) => recent.sum_turns(window.millis, now, op, number),
            _ => recent.next_change(window.millis, now),
        }
    }

    /// Whether entries were gathered by hour, so that they leave the window late.
    pub fn is_approximate(&self) -> bool {
        matches!(self, Self::Recent(recent) if !recent.hours.is_empty())
    }

    /// Takes over what the same feature of another profile remembers.
    pub(crate) fn merge(&mut self, feature: &Feature, other: &Self) {
        match (self, other) {
            (Self::Total(a), Self::Total(b)) => *a += b,
            (Self::Instant(a), Self::Instant(b)) => {
                *a = match (&feature.what, *a, *b) {
                    (Computed::First, Some(x), Some(y)) => Some(x.min(y)),
                    (_, Some(x), Some(y)) => Some(x.max(y)),
                    (_, x, y) => x.or(y),
                };
            }
            (Self::Recent(a), Self::Recent(b)) => {
                let mut hours: Vec<Hour> = a.hours.drain(..).chain(b.hours.iter().copied()).collect();
                hours.sort_by_key(|h| h.ends);
                a.hours = hours.into();
                b.entries.iter().for_each(|s| a.push(*s, feature));
            }
            _ => {}
        }
    }
}

fn recent_value(recent: &Recent, what: &Computed, start: Timestamp) -> Value {
    let extreme = |amount: Option<i128>| amount.map_or(Value::Null, |a| Value::Number(number(a)));
    let amounts = || recent.inside(start).map(|s| i128::from(s.amount)).chain(recent.gathered(start).map(|h| h.sum));
    match what {
        Computed::Count => Value::Number(recent.count(start).into()),
        Computed::Sum(_) => Value::Number(number(recent.total(start))),
        Computed::Max(_) => extreme(amounts().max()),
        Computed::Min(_) => extreme(amounts().min()),
        Computed::First => {
            let gathered = recent.hours.iter().map(|h| h.ends).find(|ends| *ends > start);
            gathered.or_else(|| recent.inside(start).next().map(|s| s.at)).map_or(Value::Null, instant_value)
        }
        Computed::Last => recent.inside(start).next_back().map_or(Value::Null, |s| instant_value(s.at)),
        Computed::Distinct(_) => {
            let different: std::collections::BTreeSet<i64> = recent.inside(start).map(|s| s.amount).collect();
            let gathered: i64 = recent.gathered(start).map(|h| h.count).sum();
            Value::Number(Decimal::from(different.len()) + Decimal::from(gathered))
        }
    }
}

/// An instant as expressions see it: milliseconds since the epoch.
pub fn instant_value(at: Timestamp) -> Value {
    Value::Number(at.as_millis().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::expr::{Predicate, Term};
    use crate::program::Computed;
    use crate::time::Span;

    const WINDOW_MS: i64 = 50;

    #[derive(Clone, Debug)]
    enum Step {
        Observe { ago: i64, key: u64, amount: i64 },
        Amend { key: u64, after: Option<i64> },
        Wait(i64),
        Prune,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..20i64, 0..30u64, 1..9i64).prop_map(|(ago, key, amount)| Step::Observe { ago, key, amount }),
            2 => (0..30u64, prop::option::of(1..9i64)).prop_map(|(key, after)| Step::Amend { key, after }),
            3 => (0..40i64).prop_map(Step::Wait),
            1 => Just(Step::Prune),
        ]
    }

    fn feature(what: Computed, within: Option<Span>) -> Feature {
        let (id, on, when) = ("f".into(), "e".into(), Predicate::Const(true));
        Feature { id, on, when, what, within, in_currency: false, beyond_order: true }
    }

    /// What a feature says at the end of amounts that were observed a millisecond after each other.
    fn played(feature: &Feature, amounts: impl Iterator<Item = i64>) -> Value {
        let (mut seen, mut now) = (Seen::nothing(feature), Timestamp::EPOCH);
        for (key, amount) in (0..).zip(amounts) {
            now = now.plus_millis(1);
            seen.observe(feature, now, key, amount, now);
        }
        seen.value(feature, now)
    }

    #[test]
    fn what_stands_for_ever_forgets_neither_extremes_nor_values() {
        let any = || Term::Const(Value::Null);
        let one_then_many = || [7_000_000].into_iter().chain((0..5_000).map(|n| 8_000_000 + n % 3));
        let of = |what| played(&feature(what, None), one_then_many());
        assert_eq!(of(Computed::Distinct(any())), Value::from(4));
        assert_eq!(of(Computed::Min(any())), Value::Number(number(7_000_000)));
        let many = played(&feature(Computed::Distinct(any()), None), 0..5_000);
        assert_eq!(many, Value::from(5_000));
        let largest_first = [9_000_000].into_iter().chain(0..5_000);
        let largest = played(&feature(Computed::Max(any()), None), largest_first);
        assert_eq!(largest, Value::Number(number(9_000_000)));
    }

    #[test]
    fn amounts_that_no_window_holds_leave_nothing_behind() {
        let within = Some(Span { months: 0, millis: WINDOW_MS });
        let sum = feature(Computed::Sum(Term::Const(Value::Null)), within);
        let many = usize::try_from(WINDOW_MS).unwrap();
        let amounts = [i64::MAX / 2; 9].into_iter().chain(std::iter::repeat_n(5_000_000, many));
        assert_eq!(played(&sum, amounts), Value::Number(number(5_000_000 * i128::from(WINDOW_MS))));
    }

    /// What was observed, looked through in full.
    fn inside(all: &[Sighting], now: i64) -> impl Iterator<Item = &Sighting> {
        all.iter().filter(move |s| s.at.as_millis() > now - WINDOW_MS)
    }

    proptest! {
        #[test]
        fn a_window_holds_what_a_look_at_everything_finds(steps in prop::collection::vec(step(), 0..80)) {
            let within = Some(Span { months: 0, millis: WINDOW_MS });
            let feature = feature(Computed::Sum(Term::Const(Value::Null)), within);
            let (mut seen, mut all, mut now) = (Seen::nothing(&feature), Vec::<Sighting>::new(), 1_000);
            for step in steps {
                match step {
                    Step::Observe { ago, key, amount } if all.iter().all(|s| s.key != key) => {
                        let at = Timestamp::from_millis(now - ago);
                        seen.observe(&feature, at, key, amount, Timestamp::from_millis(now));
                        all.push(Sighting { at, key, amount });
                    }
                    Step::Observe { .. } => {}
                    Step::Amend { key, after } => {
                        let before = all.iter().find(|s| s.key == key).map_or(0, |s| s.amount);
                        seen.amend(key, before, after);
                        all.iter_mut().filter(|s| s.key == key).for_each(|s| s.amount = after.unwrap_or(0));
                        all.retain(|s| s.key != key || after.is_some());
                    }
                    Step::Wait(ms) => now += ms,
                    Step::Prune => seen.prune(&feature, Timestamp::from_millis(now)),
                }
                let total: i128 = inside(&all, now).map(|s| i128::from(s.amount)).sum();
                let leaves = inside(&all, now).map(|s| s.at.plus_millis(WINDOW_MS)).min();
                let at = Timestamp::from_millis(now);
                prop_assert_eq!(seen.value(&feature, at), Value::Number(number(total)));
                prop_assert_eq!(seen.next_change(&feature, at), leaves);
            }
        }
    }
}
