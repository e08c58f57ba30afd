//! Time: instants, durations and the programme's own calendar.
//!
//! Promise: everything here is a function of its arguments and the bundled time-zone data.
//! Absent on purpose: "now". Instants arrive on inputs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instant with millisecond resolution: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The first and last instants that the calendar can name: years 0001 to 9998.
const EARLIEST_MS: i64 = -62_135_596_800_000;
const LATEST_MS: i64 = 253_370_764_799_999;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// Later than any instant that occurs; the end of what never ends.
    pub const NEVER: Self = Self(LATEST_MS);

    /// From milliseconds since the epoch, clamped to the years 0001 to 9998.
    pub const fn from_millis(ms: i64) -> Self {
        if ms < EARLIEST_MS {
            Self(EARLIEST_MS)
        } else if ms > LATEST_MS {
            Self(LATEST_MS)
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This instant moved by a number of milliseconds, clamped to the calendar.
    #[must_use]
    pub const fn plus_millis(self, ms: i64) -> Self {
        Self::from_millis(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here; negative when `earlier` is later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// The year in UTC.
    pub fn utc_year(self) -> i16 {
        Offset::UTC.to_datetime(self.jiff()).year()
    }

    fn jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

/// RFC 3339 in UTC, with as many decimals of the second as it has. Written by hand, because every
/// answer is full of instants, and a general formatter takes ten times as long.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = Offset::UTC.to_datetime(self.jiff());
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |at: usize, digits: usize, mut n: i32| {
            for digit in text[at..at + digits].iter_mut().rev() {
                *digit = b'0' + u8::try_from(n.rem_euclid(10)).unwrap_or(0);
                n /= 10;
            }
        };
        put(0, 4, t.year().into());
        let parts = [t.month(), t.day(), t.hour(), t.minute(), t.second()];
        parts.into_iter().enumerate().for_each(|(i, part)| put(5 + 3 * i, 2, part.into()));
        put(20, 3, t.millisecond().into());
        let mut end = text.len() - 1;
        while text[end - 1] == b'0' && end > 20 {
            end -= 1;
        }
        end -= usize::from(end == 20); // Nothing follows the point.
        text[end] = b'Z';
        f.write_str(std::str::from_utf8(&text[..=end]).unwrap_or_default())
    }
}

/// Accepts RFC 3339 and ISO 8601 with an offset; a time without a zone is read as UTC.
impl FromStr for Timestamp {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        if let Ok(t) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::from_millis(t.as_millisecond()));
        }
        let civil = text.parse::<jiff::civil::DateTime>().map_err(|_| BadTime(text.into()))?;
        let zoned = civil.to_zoned(TimeZone::UTC).map_err(|_| BadTime(text.into()))?;
        Ok(Self::from_millis(zoned.timestamp().as_millisecond()))
    }
}

/// A text that is not an instant or a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTime(pub String);

impl fmt::Display for BadTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not an instant like 2026-03-01T09:00:00Z or a duration like P30D", self.0)
    }
}

impl std::error::Error for BadTime {}

/// Text in human-readable formats, milliseconds in the journal.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { s.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            let text = String::deserialize(d)?;
            text.parse().map_err(de::Error::custom)
        } else {
            i64::deserialize(d).map(Self::from_millis)
        }
    }
}

/// Until when something is given: an instant, or a date, which counts to its last moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until this instant.
    Instant(Timestamp),
    /// Through this day of the programme's calendar.
    Day(Date),
}

impl Until {
    /// The first instant after it.
    pub fn end(self, zone: &Zone) -> Timestamp {
        match self {
            Self::Instant(at) => at,
            Self::Day(date) => date.tomorrow().map_or(Timestamp::NEVER, |next| zone.start_of(next)),
        }
    }
}

/// The length of a date like 2027-06-30.
const DATE_LENGTH: usize = 10;

impl FromStr for Until {
    type Err = BadUntil;

    fn from_str(text: &str) -> Result<Self, BadUntil> {
        let bad = || BadUntil(text.chars().take(60).collect());
        if text.len() == DATE_LENGTH {
            return text.parse().map(Self::Day).map_err(|_| bad());
        }
        text.parse().map(Self::Instant).map_err(|_| bad())
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instant(at) => at.fmt(f),
            Self::Day(date) => date.fmt(f),
        }
    }
}

/// A text that is neither a date nor an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadUntil(pub String);

impl fmt::Display for BadUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.0;
        write!(f, "'{text}' is neither a date like 2027-06-30, the last day, nor an instant like 2027-06-30T22:00:00Z")
    }
}

impl std::error::Error for BadUntil {}

/// Text everywhere: a date and an instant differ in length.
impl Serialize for Until {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

const HOUR_MS: i64 = 3_600_000;
/// Milliseconds in an exact day of 24 hours.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// An ISO 8601 duration: calendar months, then exact milliseconds.
///
/// Weeks, days and hours are exact multiples of 24 hours and of hours (rule 1);
/// only months and years follow the calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Calendar months (a year is twelve).
    pub months: i32,
    /// Exact milliseconds.
    pub millis: i64,
}

impl Span {
    /// An exact number of days of 24 hours.
    pub const fn days(n: i64) -> Self {
        Self { months: 0, millis: n * DAY_MS }
    }

    /// Whether the duration is zero.
    pub const fn is_zero(self) -> bool {
        self.months == 0 && self.millis == 0
    }
}

impl FromStr for Span {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        parse_span(text).ok_or_else(|| BadTime(text.into()))
    }
}

/// Longer than any programme needs; keeps sums of spans far from overflow.
const LONGEST_MONTHS: i64 = 12 * 1_000;

fn parse_span(text: &str) -> Option<Span> {
    let rest = text.strip_prefix('P')?;
    let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
    if (date.is_empty() && time.is_empty()) || (rest.contains('T') && time.is_empty()) {
        return None;
    }
    let mut span = Span::default();
    parts(date, "YMWD", |n, unit| match unit {
        'Y' => add_months(&mut span, n.checked_mul(12)?),
        'M' => add_months(&mut span, n),
        'W' => add_millis(&mut span, n.checked_mul(7 * DAY_MS)?),
        _ => add_millis(&mut span, n.checked_mul(DAY_MS)?),
    })?;
    parts(time, "HMS", |n, unit| match unit {
        'H' => add_millis(&mut span, n.checked_mul(HOUR_MS)?),
        'M' => add_millis(&mut span, n.checked_mul(60_000)?),
        _ => add_millis(&mut span, n.checked_mul(1_000)?),
    })?;
    Some(span)
}

fn add_months(span: &mut Span, n: i64) -> Option<()> {
    let total = i64::from(span.months).checked_add(n).filter(|m| *m <= LONGEST_MONTHS)?;
    span.months = i32::try_from(total).ok()?;
    Some(())
}

fn add_millis(span: &mut Span, n: i64) -> Option<()> {
    span.millis = span.millis.checked_add(n).filter(|ms| *ms <= LONGEST_MONTHS * 31 * DAY_MS)?;
    Some(())
}

/// Calls `each` with every number and its unit, which must come in the order of `units`.
fn parts(text: &str, units: &str, mut each: impl FnMut(i64, char) -> Option<()>) -> Option<()> {
    let mut allowed = units;
    let mut digits = String::new();
    for ch in text.chars() {
        if ch.is_ascii_digit() {
            digits.push(ch);
            continue;
        }
        let at = allowed.find(ch)?;
        allowed = &allowed[at + 1..];
        each(digits.parse().ok()?, ch)?;
        digits.clear();
    }
    digits.is_empty().then_some(())
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P")?;
        if self.months != 0 {
            write!(f, "{}M", self.months)?;
        }
        let (days, rest) = (self.millis / DAY_MS, self.millis % DAY_MS);
        if days != 0 || self.is_zero() {
            write!(f, "{days}D")?;
        }
        if rest == 0 {
            return Ok(());
        }
        f.write_str("T")?;
        for (unit, ms) in [('H', HOUR_MS), ('M', 60_000), ('S', 1_000)] {
            let n = (rest / ms) % if unit == 'H' { 24 } else { 60 };
            if n != 0 {
                write!(f, "{n}{unit}")?;
            }
        }
        Ok(())
    }
}

/// Text in human-readable formats, exact parts in the journal.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { (self.months, self.millis).serialize(s) }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if !d.is_human_readable() {
            return Deserialize::deserialize(d).map(|(months, millis)| Self { months, millis });
        }
        let text = String::deserialize(d)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The years whose first instants a [`Zone`] keeps at hand.
const FIRST_YEAR: i16 = 1970;
const LAST_YEAR: i16 = 2200;

/// The days of a week, as expressions name them.
pub const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Month and day of 29 February.
pub const LEAP_DAY: &str = "02-29";

/// The day that stands for 29 February in a year without one, as programmes name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "a policy")]
pub enum LeapDay {
    /// 28 February.
    #[default]
    Feb28,
    /// 1 March.
    Mar1,
}

impl LeapDay {
    /// Whether a day stands for 29 February.
    pub fn stands_on(self, date: Date) -> bool {
        let day = match self {
            Self::Feb28 => (2, 28),
            Self::Mar1 => (3, 1),
        };
        (date.month(), date.day()) == day && !date.in_leap_year()
    }
}

/// The name of a date's day.
pub fn weekday(date: Date) -> &'static str {
    WEEKDAYS[date.weekday().to_monday_zero_offset().unsigned_abs() as usize % WEEKDAYS.len()]
}

/// A time zone with the calendar questions that programmes ask.
#[derive(Clone, Debug)]
pub struct Zone {
    name: Arc<str>,
    tz: TimeZone,
    offsets: Offsets,
    /// The first instant of each year from [`FIRST_YEAR`] on: tier periods ask at every order.
    year_starts: Arc<[Timestamp]>,
}

/// A zone's offsets from UTC over the years at hand. Where the offset does not change, local time is
/// plain arithmetic; near a change, and outside these years, the zone itself is asked.
#[derive(Clone, Debug)]
struct Offsets {
    /// From when on, and by how much local time is ahead; both in milliseconds, rising.
    ahead: Arc<[(i64, i64)]>,
    /// Until when.
    end: i64,
}

/// Further from UTC than any offset.
const OFFSET_MAX_MS: i64 = 26 * HOUR_MS;
/// How long before a local time no offset may change for it to be plain: nor does one then on the day before.
const STEADY_MS: i64 = DAY_MS + OFFSET_MAX_MS;

impl Offsets {
    fn of(tz: &TimeZone) -> Self {
        let (first, end) = (first_of_year(tz, FIRST_YEAR), first_of_year(tz, LAST_YEAR));
        let ms = |offset: Offset| i64::from(offset.seconds()) * 1_000;
        let changes = tz.following(first.jiff()).map(|c| (c.timestamp().as_millisecond(), ms(c.offset())));
        let known = changes.take_while(|(from, _)| *from < end.as_millis());
        let ahead = std::iter::once((first.as_millis(), ms(tz.to_offset(first.jiff())))).chain(known);
        Self { ahead: ahead.collect(), end: end.as_millis() }
    }

    /// The local time of an instant, in milliseconds as if it were UTC.
    fn local(&self, at: Timestamp) -> Option<i64> {
        let (_, ahead, _) = self.span(at.as_millis())?;
        Some(at.as_millis() + ahead)
    }

    /// The instant of a local time, where no change of offset is so near that there might be two or
    /// none.
    fn instant(&self, local_ms: i64) -> Option<Timestamp> {
        let (from, ahead, until) = self.span(local_ms)?;
        let steady = from + STEADY_MS <= local_ms && local_ms + OFFSET_MAX_MS < until;
        steady.then(|| Timestamp::from_millis(local_ms - ahead))
    }

    /// The offset that holds at an instant, between when and when.
    fn span(&self, ms: i64) -> Option<(i64, i64, i64)> {
        let next = self.ahead.partition_point(|(from, _)| *from <= ms);
        let (from, ahead) = *self.ahead.get(next.checked_sub(1)?)?;
        let until = self.ahead.get(next).map_or(self.end, |(from, _)| *from);
        (ms < until).then_some((from, ahead, until))
    }
}

/// The date of a local time.
fn date_of(local_ms: i64) -> Date {
    Offset::UTC.to_datetime(Timestamp::from_millis(local_ms).jiff()).date()
}

/// A local time moved by months, clamped to the month's end.
fn plus_months(local_ms: i64, months: i32) -> Option<i64> {
    let date = date_of(local_ms);
    let moved = (i32::from(date.year()) * 12 + i32::from(date.month()) - 1).checked_add(months)?;
    let (year, month) = (i16::try_from(moved.div_euclid(12)).ok()?, i8::try_from(moved.rem_euclid(12) + 1).ok()?);
    let first = Date::new(year, month, 1).ok()?;
    let day = Date::new(year, month, date.day().min(first.days_in_month())).ok()?;
    let midnight = Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok()?;
    Some(midnight.as_millisecond() + local_ms.rem_euclid(DAY_MS))
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Zone {
    /// The zone of an IANA name such as `Europe/Paris`.
    ///
    /// # Errors
    /// When the bundled time-zone data has no such name.
    pub fn named(name: &str) -> Result<Self, BadTime> {
        let tz = TimeZone::get(name).map_err(|_| BadTime(name.into()))?;
        Ok(Self::of(name, tz))
    }

    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self::of("UTC", TimeZone::UTC)
    }

    fn of(name: &str, tz: TimeZone) -> Self {
        let mut zone = Self { name: name.into(), offsets: Offsets::of(&tz), tz, year_starts: Arc::default() };
        zone.year_starts = (FIRST_YEAR..=LAST_YEAR).map(|year| zone.start_of(jiff::civil::date(year, 1, 1))).collect();
        zone
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The local date at an instant.
    pub fn date(&self, at: Timestamp) -> Date {
        match self.offsets.local(at) {
            Some(local) => date_of(local),
            None => at.jiff().to_zoned(self.tz.clone()).date(),
        }
    }

    /// The first instant of a local date (which a daylight-saving change may move off midnight).
    pub fn start_of(&self, date: Date) -> Timestamp {
        let midnight = Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).map(jiff::Timestamp::as_millisecond);
        let steady = midnight.ok().and_then(|local| self.offsets.instant(local));
        steady.unwrap_or_else(|| start_of(&self.tz, date))
    }

    /// The local year of an instant.
    pub fn year(&self, at: Timestamp) -> i16 {
        let after = self.year_starts.partition_point(|start| *start <= at);
        if after == 0 || after == self.year_starts.len() {
            return self.date(at).year();
        }
        FIRST_YEAR - 1 + i16::try_from(after).unwrap_or(0)
    }

    /// The first instant of a local year.
    pub fn start_of_year(&self, year: i16) -> Timestamp {
        let index = usize::try_from(i32::from(year) - i32::from(FIRST_YEAR)).ok();
        match index.and_then(|i| self.year_starts.get(i)) {
            Some(start) => *start,
            None => first_of_year(&self.tz, year.clamp(1, 9998)),
        }
    }

    /// The first local midnight after an instant.
    pub fn next_midnight(&self, at: Timestamp) -> Timestamp {
        self.day_after(self.date(at))
    }

    /// An instant moved by a duration: months by the local calendar, clamped to the month's end,
    /// then the exact part.
    pub fn add(&self, at: Timestamp, span: Span) -> Timestamp {
        if span.months == 0 {
            return at.plus_millis(span.millis);
        }
        let steady = self.offsets.local(at).and_then(|local| self.offsets.instant(plus_months(local, span.months)?));
        let moved = steady.unwrap_or_else(|| {
            let moved = at.jiff().to_zoned(self.tz.clone()).checked_add(span.months.months());
            moved.map_or(Timestamp::NEVER, |z| Timestamp::from_millis(z.timestamp().as_millisecond()))
        });
        moved.plus_millis(span.millis)
    }

    /// When something lapses that is good for `span` from `at`: the start of the local day after
    /// the computed date, so that the last day counts whole (rule 1).
    pub fn end_of_validity(&self, at: Timestamp, span: Span) -> Timestamp {
        let calendar = self.offsets.local(at).filter(|_| span.millis == 0);
        let last = calendar.and_then(|local| plus_months(local, span.months));
        let steady = last.and_then(|local| self.offsets.instant(local - local.rem_euclid(DAY_MS) + DAY_MS));
        steady.unwrap_or_else(|| self.day_after(self.date(self.add(at, span))))
    }

    fn day_after(&self, date: Date) -> Timestamp {
        date.tomorrow().map_or(Timestamp::NEVER, |next| self.start_of(next))
    }
}

fn first_of_year(tz: &TimeZone, year: i16) -> Timestamp {
    start_of(tz, jiff::civil::date(year, 1, 1))
}

fn start_of(tz: &TimeZone, date: Date) -> Timestamp {
    date.to_zoned(tz.clone()).map_or(Timestamp::NEVER, |z| Timestamp::from_millis(z.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn instants_are_written_as_jiff_writes_them() {
        let range = LATEST_MS - EARLIEST_MS;
        let spread = (0..20_000).map(|n: i64| EARLIEST_MS + (n * 9_973_331_777).rem_euclid(range));
        let round = [10, 100, 1_000, 60_000, DAY_MS].into_iter().flat_map(|step| (-30..30).map(move |n| n * step));
        for ms in spread.chain(round).chain([EARLIEST_MS, LATEST_MS, 0, -1, 10, 100, 1_000]) {
            let instant = Timestamp::from_millis(ms);
            assert_eq!(instant.to_string(), instant.jiff().to_string());
            assert_eq!(instant.to_string().parse(), Ok(instant));
        }
    }

    #[test]
    fn spans_are_exact_but_for_months_and_years() {
        for (text, months, millis) in [
            ("P30D", 0, 30 * DAY_MS),
            ("P2W", 0, 14 * DAY_MS),
            ("P1Y6M", 18, 0),
            ("P0DT30M", 0, 1_800_000),
            ("PT36H", 0, 36 * HOUR_MS),
            ("P1M10DT2S", 1, 10 * DAY_MS + 2_000),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.months, span.millis), (months, millis), "{text}");
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span, "{text} survives writing");
        }
        for bad in ["", "P", "30D", "PT", "P1H", "P-1D", "P1.5D", "P1D1M", "P99999999999999Y", "P1DT"] {
            assert!(bad.parse::<Span>().is_err(), "{bad} is no duration");
        }
    }

    #[test]
    fn a_month_after_the_31st_of_january_ends_with_february() {
        let paris = Zone::named("Europe/Paris").unwrap();
        let lapse = paris.end_of_validity(at("2027-01-31T10:00:00Z"), "P1M".parse().unwrap());
        assert_eq!(lapse, at("2027-02-28T23:00:00Z"));
    }

    /// What the zone itself answers, asked without the table of offsets.
    fn asked(zone: &Zone, from: Timestamp, span: Span) -> [Timestamp; 2] {
        let moved = from.jiff().to_zoned(zone.tz.clone()).checked_add(span.months.months()).unwrap();
        let next = moved.date().tomorrow().unwrap();
        [Timestamp::from_millis(moved.timestamp().as_millisecond()), start_of(&zone.tz, next)]
    }

    #[test]
    fn plain_arithmetic_agrees_with_the_zone_itself() {
        // With summer time, with a midnight that does not exist, with a skipped day, with none of it.
        for name in ["America/Denver", "America/Sao_Paulo", "Pacific/Apia", "Australia/Lord_Howe", "UTC"] {
            let zone = Zone::named(name).unwrap();
            for step in 0..4_000 {
                let from = at("1970-01-05T00:00:00Z").plus_millis(step * 7 * DAY_MS / 3 * 11 + step * 1_234_567);
                for months in [1, 12, -1] {
                    let span = Span { months, millis: 0 };
                    let [moved, end] = asked(&zone, from, span);
                    assert_eq!(zone.add(from, span), moved, "{name} {from} {months}");
                    assert_eq!(zone.end_of_validity(from, span), end, "{name} {from} {months}");
                    assert_eq!(zone.date(from), from.jiff().to_zoned(zone.tz.clone()).date(), "{name} {from}");
                }
            }
        }
    }

    #[test]
    fn the_year_is_that_of_the_place() {
        let sale = at("2027-01-01T07:30:00Z");
        assert_eq!(Zone::named("America/Los_Angeles").unwrap().year(sale), 2026);
        assert_eq!(Zone::named("Europe/Paris").unwrap().year(sale), 2027);
        assert_eq!(Zone::utc().year(at("1969-12-31T23:59:59Z")), 1969);
        assert_eq!(Zone::utc().year(at("2300-05-01T00:00:00Z")), 2300);
    }

    #[test]
    fn instants_are_read_with_and_without_a_zone() {
        assert_eq!(at("2026-03-01T09:00:00+01:00"), at("2026-03-01T08:00:00Z"));
        assert_eq!(at("2026-03-01T09:00:00"), at("2026-03-01T09:00:00.000Z"));
        assert!("yesterday".parse::<Timestamp>().is_err());
    }
}
