//! Cleansing: a raw text becomes a value of its column's type, or the reason why it cannot.
//!
//! Promise: nothing is guessed. A text that fits no declared form is reported with what would mend
//! it; numbers are exact decimals of at most nine digits before and six after the point, so that
//! sums over any file stay exact.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Zoned;
use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use perennial_core::id::{Identifier, IdentifierKind};
use perennial_core::time::Timestamp;
use regex::Regex;
use rust_decimal::{Decimal, RoundingStrategy};
use schemars::JsonSchema;
use serde::Deserialize;

use super::mapping::{ColumnSource, Test, When};

/// Letter case of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Case {
    /// As it is.
    #[default]
    Keep,
    /// Capitals.
    Upper,
    /// Small letters.
    Lower,
}

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number { whole: bool },
    Instant,
    Date,
    Bool,
    Email,
    Phone,
}

/// One column: how it is read.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: Box<str>,
    pub(super) kind: Kind,
    pub(super) may_be_missing: bool,
    pub(super) pattern: Option<Regex>,
    pub(super) min: Option<Decimal>,
    pub(super) max: Option<Decimal>,
    trim: bool,
    case: Case,
    empty: Vec<String>,
    replace: BTreeMap<String, String>,
    formats: Vec<String>,
    zone: TimeZone,
    decimal: char,
    thousands: Option<char>,
    decimals: Option<u32>,
    required: bool,
    one_of: Vec<String>,
    max_length: usize,
}

/// A cleansed value: the text and what it means.
#[derive(Debug, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) value: Meaning,
    /// The last raw text that was read as an instant, and the instant: neighbours are often equal.
    recent: Option<(String, Timestamp)>,
}

/// What a text means.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Meaning {
    #[default]
    Nothing,
    Text,
    Number(Decimal),
    At(Timestamp),
    Bool(bool),
}

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) code: &'static str,
    pub(super) field: Box<str>,
    pub(super) reason: String,
}

impl Cell {
    pub(super) fn number(&self) -> Option<Decimal> {
        if let Meaning::Number(n) = self.value { Some(n) } else { None }
    }

    pub(super) fn at(&self) -> Option<Timestamp> {
        if let Meaning::At(at) = self.value { Some(at) } else { None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.value == Meaning::Nothing
    }

    /// The text, if there is one.
    pub(super) fn text(&self) -> Option<&str> {
        (!self.is_empty()).then_some(self.text.as_str())
    }

    fn clear(&mut self) {
        self.text.clear();
        self.value = Meaning::Nothing;
    }
}

impl Column {
    pub(super) fn new(name: &str, kind: Kind, zone: TimeZone, c: &ColumnSource) -> Self {
        Self {
            name: name.into(),
            kind,
            may_be_missing: c.may_be_missing,
            pattern: None,
            min: None,
            max: None,
            trim: c.trim,
            case: c.case,
            empty: c.empty.clone(),
            replace: c.replace.clone(),
            formats: c.formats.clone(),
            zone,
            decimal: c.decimal,
            thousands: c.thousands,
            decimals: c.decimals,
            required: c.required,
            one_of: c.one_of.clone(),
            max_length: c.max_length.min(LONGEST),
        }
    }

    /// Reads a raw text into the cell. On an error the cell holds nothing.
    pub(super) fn read(&self, raw: &str, cell: &mut Cell) -> Result<(), Bad> {
        cell.clear();
        self.tidy(raw, &mut cell.text);
        if cell.text.is_empty() || self.empty.contains(&cell.text) {
            cell.text.clear();
            return Ok(());
        }
        cell.value = match self.meaning(cell) {
            Ok(value) => value,
            Err(bad) => {
                cell.clear();
                return Err(bad);
            }
        };
        Ok(())
    }

    /// Ranges, patterns and obligations; separate from [`Self::read`] because a row that is left
    /// out need not be valid.
    pub(super) fn check(&self, cell: &Cell) -> Result<(), Bad> {
        match cell.value {
            Meaning::Nothing if self.required => Err(self.bad("missing", "a value is required".into())),
            Meaning::Nothing | Meaning::Bool(_) | Meaning::At(_) => Ok(()),
            Meaning::Number(n) => self.check_range(n),
            Meaning::Text => self.check_text(&cell.text),
        }
    }

    fn tidy(&self, raw: &str, out: &mut String) {
        let plain = raw.bytes().all(|b| b > b' ' && b.is_ascii());
        if self.trim && !plain {
            for word in raw.split_whitespace() {
                if !out.is_empty() {
                    out.push(' ');
                }
                out.push_str(word);
            }
        } else {
            out.push_str(raw);
        }
        match self.case {
            Case::Keep => {}
            Case::Upper => *out = out.to_uppercase(),
            Case::Lower => *out = out.to_lowercase(),
        }
        if let Some(other) = self.replace.get(out.as_str()) {
            out.clone_from(other);
        }
    }

    fn meaning(&self, cell: &mut Cell) -> Result<Meaning, Bad> {
        match self.kind {
            Kind::Text if cell.text.contains('\0') => Err(self.bad("nul", "contains a NUL character".into())),
            Kind::Text => Ok(Meaning::Text),
            Kind::Number { whole } => self.number(&cell.text, whole).map(Meaning::Number),
            Kind::Instant => self.instant(cell).map(Meaning::At),
            Kind::Date => self.date(cell),
            Kind::Bool => match cell.text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "y" | "1" | "t" => Ok(Meaning::Bool(true)),
                "false" | "no" | "n" | "0" | "f" => Ok(Meaning::Bool(false)),
                _ => Err(self
                    .bad("not_bool", format!("{} is not yes or no; use replace for other words", shown(&cell.text)))),
            },
            Kind::Email => self.identifier(cell, IdentifierKind::Email, "an e-mail address like ana@example.com"),
            Kind::Phone => self.identifier(cell, IdentifierKind::Phone, "a phone number like +33 6 12 34 56 78"),
        }
    }

    fn identifier(&self, cell: &mut Cell, kind: IdentifierKind, wanted: &str) -> Result<Meaning, Bad> {
        let code = if kind == IdentifierKind::Email { "not_email" } else { "not_phone" };
        match Identifier::new(kind, &cell.text) {
            Some(id) => {
                cell.text = id.value.into();
                Ok(Meaning::Text)
            }
            None => Err(self.bad(code, format!("{} is not {wanted}", shown(&cell.text)))),
        }
    }

    fn number(&self, text: &str, whole: bool) -> Result<Decimal, Bad> {
        let not = || {
            let between = self.thousands.map(|sign| format!(" and '{sign}' between thousands")).unwrap_or_default();
            let form = format!("a number with '{}' before decimals{between}", self.decimal);
            self.bad("not_a_number", format!("{} is not {form}", shown(text)))
        };
        let plain = self.plain(text).ok_or_else(not)?;
        let mut n: Decimal = match plain.contains(['e', 'E']) {
            true => Decimal::from_scientific(&plain).map_err(|_| not())?,
            false if plain.contains('_') => return Err(not()),
            false => plain.parse().map_err(|_| not())?,
        };
        if let Some(places) = self.decimals {
            n = n.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero);
        }
        if n.abs() >= Decimal::from(TOO_LARGE) {
            return Err(self.bad("out_of_range", format!("{} has more than nine digits before the point", shown(text))));
        }
        n = if n.scale() > 0 { n.normalize() } else { n };
        if whole && n.scale() > 0 {
            return Err(self.bad("not_whole", format!("{} is not a whole number", shown(text))));
        }
        if n.scale() > 6 {
            let reason = format!("{} has more than six decimals; round it with 'decimals: 2'", shown(text));
            return Err(self.bad("too_precise", reason));
        }
        Ok(n)
    }

    /// The number with a point before decimals and nothing between thousands; none when a sign stands where it
    /// divides none.
    fn plain<'t>(&self, text: &'t str) -> Option<Cow<'t, str>> {
        if self.decimal == '.' && self.thousands.is_none() {
            return Some(Cow::Borrowed(text));
        }
        if self.decimal == ',' && text.contains('.') && self.thousands != Some('.') {
            return None;
        }
        let (whole, decimals) = text.split_once(self.decimal).map_or((text, None), |(w, d)| (w, Some(d)));
        let between = |c: char| self.thousands.is_some_and(|sign| same_sign(sign, c));
        if decimals.is_some_and(|decimals| decimals.contains(|c: char| between(c) || c == self.decimal)) {
            return None;
        }
        let groups: Vec<&str> = whole.trim_start_matches(['-', '+']).split(between).collect();
        if groups.len() > 1 && !are_thousands(&groups) {
            return None;
        }
        let whole: String = whole.chars().filter(|c| !between(*c)).collect();
        Some(decimals.map_or(whole.clone(), |decimals| format!("{whole}.{decimals}")).into())
    }

    fn instant(&self, cell: &mut Cell) -> Result<Timestamp, Bad> {
        if let Some((text, at)) = &cell.recent
            && *text == cell.text
        {
            return Ok(*at);
        }
        let at = self.parse_instant(&cell.text).ok_or_else(|| {
            let forms = if self.formats.is_empty() { "ISO 8601".to_owned() } else { self.formats.join(" or ") };
            self.bad("bad_date", format!("{} is not a date of the form {forms}", shown(&cell.text)))
        })?;
        self.check_year(&cell.text, at)?;
        cell.recent = Some((cell.text.clone(), at));
        Ok(at)
    }

    /// A year that nobody means: two digits taken for four, or a form that fits by accident.
    fn check_year(&self, text: &str, at: Timestamp) -> Result<(), Bad> {
        let earliest = if self.kind == Kind::Date { YEAR_1000 } else { Timestamp::EPOCH };
        if at >= earliest {
            return Ok(());
        }
        let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
        let year = at.to_zoned(self.zone.clone()).year();
        let remedy = if (0..100).contains(&year) { "for two digits write %y" } else { "is its format right?" };
        Err(self.bad("bad_date", format!("{} would be in the year {year}; {remedy}", shown(text))))
    }

    /// A calendar day, as `1992-02-29`: no zone moves it.
    fn date(&self, cell: &mut Cell) -> Result<Meaning, Bad> {
        let at = self.instant(cell)?;
        let local = jiff::Timestamp::from_millisecond(at.as_millis()).map(|at| at.to_zoned(self.zone.clone()).date());
        cell.text = local.map(|date| date.to_string()).unwrap_or_default();
        Ok(Meaning::Text)
    }

    fn parse_instant(&self, text: &str) -> Option<Timestamp> {
        let millis = |at: jiff::Timestamp| Some(Timestamp::from_millis(at.as_millisecond()));
        let names_zone = text.contains('[');
        if let (false, Ok(at)) = (names_zone, text.parse::<jiff::Timestamp>()) {
            return millis(at);
        }
        for format in &self.formats {
            let Ok(parsed) = strtime::parse(format, text) else { continue };
            if let Ok(at) = parsed.to_timestamp() {
                return millis(at);
            }
            match (parsed.to_datetime(), parsed.to_date()) {
                (Ok(local), _) => return self.local(local),
                (_, Ok(date)) => return self.local(date.to_datetime(jiff::civil::Time::midnight())),
                _ => {}
            }
        }
        if names_zone {
            return millis(text.parse::<Zoned>().ok()?.timestamp());
        }
        if !is_civil(text) {
            return None;
        }
        match text.parse::<DateTime>() {
            Ok(local) => self.local(local),
            Err(_) => self.local(text.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight())),
        }
    }

    /// A time that daylight saving skips moves forward; of a doubled one the first is meant.
    fn local(&self, local: DateTime) -> Option<Timestamp> {
        let zoned = self.zone.to_ambiguous_zoned(local).compatible().ok()?;
        Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
    }

    fn check_range(&self, n: Decimal) -> Result<(), Bad> {
        if let Some(min) = self.min.filter(|min| n < *min) {
            return Err(self.bad("too_small", format!("{n} is below {min}")));
        }
        if let Some(max) = self.max.filter(|max| n > *max) {
            return Err(self.bad("too_large", format!("{n} is above {max}")));
        }
        Ok(())
    }

    fn check_text(&self, text: &str) -> Result<(), Bad> {
        if text.len() > self.max_length && text.chars().count() > self.max_length {
            return Err(self.bad("too_long", format!("is longer than {} characters", self.max_length)));
        }
        if !self.one_of.is_empty() && !self.one_of.iter().any(|t| t == text) {
            return Err(self.bad("not_listed", format!("{} is none of {}", shown(text), self.one_of.join(", "))));
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|p| !p.is_match(text)) {
            return Err(self.bad("bad_form", format!("{} does not match {pattern}", shown(text))));
        }
        Ok(())
    }

    fn bad(&self, code: &'static str, reason: String) -> Bad {
        Bad { code, field: self.name.clone(), reason }
    }
}

/// Days before this are no days of anybody's life.
const YEAR_1000: Timestamp = Timestamp::from_millis(-30_610_224_000_000);
/// Numbers stay below: sums over a hundred million rows of products of two such stay exact.
const TOO_LARGE: i64 = 1_000_000_000;
/// The longest text, in characters.
const LONGEST: usize = 32_768;

/// Whether a text has the form `2024-05-01` or `20240501`, with or without a time behind it. In eight digits no day
/// can be mistaken: with the year at their end, 20 or 19 would be the month.
fn is_civil(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b"-:.,Tt ".contains(&b));
    let Some((_, rest)) = text.split_at_checked(4).filter(|(year, _)| plain && digits(year)) else { return false };
    match rest.split_at_checked(4) {
        Some((day, time)) if digits(day) => time.is_empty() || time.starts_with(['T', 't', ' ']),
        _ => rest.starts_with('-'),
    }
}

/// Whether a whole day can be read by a format.
pub(super) fn check_format(format: &str) -> Result<(), String> {
    let late = jiff::civil::date(2001, 12, 31).at(23, 59, 58, 0).to_zoned(TimeZone::UTC).map_err(|e| e.to_string())?;
    let unknown = |e| format!("'{format}' is no format of times ({e}); write one like %d.%m.%Y %H:%M");
    let text = strtime::format(format, &late).map_err(unknown)?;
    let parsed = strtime::parse(format, &text).map_err(unknown)?;
    let day = parsed.to_timestamp().map(|at| at.to_zoned(TimeZone::UTC).date()).or_else(|_| parsed.to_date());
    if day.is_ok_and(|day| day == late.date()) {
        return Ok(());
    }
    Err(format!("'{format}' tells no whole day; it takes year, month and day, as %d.%m.%Y"))
}

/// Whether a sign between thousands stands for another: blanks of all widths are one, and so are apostrophes.
fn same_sign(sign: char, other: char) -> bool {
    let apostrophe = |c| matches!(c, '\'' | '’');
    sign == other || (sign.is_whitespace() && other.is_whitespace()) || (apostrophe(sign) && apostrophe(other))
}

/// Groups of three digits, as in 1,234,567, or of two before the last three, as in India: 12,34,567.
fn are_thousands(groups: &[&str]) -> bool {
    let [first, middle @ .., last] = groups else { return false };
    let digits = |group: &&str| group.bytes().all(|b| b.is_ascii_digit());
    let wide = |n: usize| (1..=n).contains(&first.len()) && middle.iter().all(|group| group.len() == n);
    last.len() == 3 && groups.iter().all(digits) && (wide(3) || wide(2))
}

pub(super) fn shown(text: &str) -> String {
    format!("'{}'", text.chars().take(60).collect::<String>())
}

/// Whether all tests hold for a row.
pub(super) fn holds(when: &When, cells: &[Cell]) -> bool {
    when.iter().all(|(column, test)| {
        let cell = &cells[*column];
        match test {
            Test::OneOf(texts) => texts.iter().any(|t| **t == *cell.text),
            Test::StartsWith(text) => cell.text.starts_with(&**text),
            Test::Contains(text) => cell.text.to_lowercase().contains(text),
            Test::Matches(regex) => regex.is_match(&cell.text),
            Test::Empty(empty) => cell.is_empty() == *empty,
            Test::Below(n) => cell.number().is_some_and(|v| v < *n),
            Test::Above(n) => cell.number().is_some_and(|v| v > *n),
            Test::Equals(n) => cell.number().is_some_and(|v| v == *n),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: Kind, source: &ColumnSource) -> Column {
        Column::new("x", kind, TimeZone::get("Europe/London").unwrap(), source)
    }

    fn read(column: &Column, raw: &str) -> Result<Meaning, &'static str> {
        let mut cell = Cell::default();
        column.read(raw, &mut cell).map_err(|bad| bad.code)?;
        Ok(cell.value)
    }

    #[test]
    fn a_decimal_comma_is_read_and_a_stray_point_is_not() {
        let german = column(
            Kind::Number { whole: false },
            &ColumnSource { decimal: ',', thousands: Some('.'), ..ColumnSource::default() },
        );
        assert_eq!(read(&german, " 1.234,50 "), Ok(Meaning::Number("1234.5".parse().unwrap())));
        let french = column(Kind::Number { whole: false }, &ColumnSource { decimal: ',', ..ColumnSource::default() });
        assert_eq!(read(&french, "1.234"), Err("not_a_number"));
        let exact = column(Kind::Number { whole: false }, &ColumnSource::default());
        assert_eq!(read(&exact, "3.5900000000000003"), Err("too_precise"));
        let rounded = ColumnSource { decimals: Some(2), ..ColumnSource::default() };
        let rounded = column(Kind::Number { whole: false }, &rounded);
        assert_eq!(read(&rounded, "3.5900000000000003"), Ok(Meaning::Number("3.59".parse().unwrap())));
        assert_eq!(read(&rounded, "1e40"), Err("not_a_number"));
        assert_eq!(read(&rounded, "12345678901"), Err("out_of_range"));
        assert_eq!(read(&exact, "999999999.999999"), Ok(Meaning::Number("999999999.999999".parse().unwrap())));
        for above in ["1000000000", "-1000000000", "999999999.999"] {
            assert_eq!(read(&rounded, above), Err("out_of_range"), "{above}, which becomes 1000000000.00");
        }
    }

    #[test]
    fn signs_between_thousands_stand_where_they_divide_thousands() {
        let number = |decimal, sign| {
            let source = ColumnSource { decimal, thousands: Some(sign), ..ColumnSource::default() };
            column(Kind::Number { whole: false }, &source)
        };
        let (point, comma, blank, apostrophe) =
            (number(',', '.'), number('.', ','), number(',', ' '), number('.', '\''));
        for (column, raw, meant) in [
            (&point, "1.234.567,50", "1234567.50"),
            (&point, "-12.345", "-12345"),
            (&point, "350", "350"),
            (&comma, "1,234.50", "1234.50"),
            (&comma, "+123,456", "123456"),
            (&comma, "1,00,000", "100000"),
            (&comma, "12,34,567.5", "1234567.5"),
            (&comma, "1e3", "1000"),
            (&blank, "1 234,5", "1234.5"),
            (&blank, "1\u{202f}234\u{a0}567", "1234567"),
            (&number(',', '\u{202f}'), "1\u{202f}234", "1234"),
            (&apostrophe, "1'234.5", "1234.5"),
            (&apostrophe, "1’234.5", "1234.5"),
        ] {
            let meant: Decimal = meant.parse().unwrap();
            assert_eq!(read(column, raw), Ok(Meaning::Number(meant.normalize())), "{raw}");
        }
        let wrong = ["3.50", "1.2345", "1234.567", ".123", "1.", "1..234", "1.23.4", "1,234.567", "1.234,5,6"];
        wrong.iter().for_each(|raw| assert_eq!(read(&point, raw), Err("not_a_number"), "{raw}"));
        for raw in ["3,50", "1,2,3", "1,23,45", "123,45,678", "1,234,56", "7,", ",500", "1.234,5", "1,234e3", "-,123"] {
            assert_eq!(read(&comma, raw), Err("not_a_number"), "{raw}");
        }
        assert_eq!(read(&blank, "3 50"), Err("not_a_number"));
        assert_eq!(read(&apostrophe, "3'50"), Err("not_a_number"));
        let told = comma.read("3,50", &mut Cell::default()).unwrap_err().reason;
        assert_eq!(told, "'3,50' is not a number with '.' before decimals and ',' between thousands");
    }

    #[test]
    fn a_local_time_is_read_in_its_zone_on_both_sides_of_the_clock_change() {
        let c =
            column(Kind::Instant, &ColumnSource { formats: vec!["%d/%m/%Y %H:%M".into()], ..ColumnSource::default() });
        let at = |text: &str| Ok(Meaning::At(text.parse().unwrap()));
        assert_eq!(read(&c, "26/03/2011 12:00"), at("2011-03-26T12:00:00Z"));
        assert_eq!(read(&c, "27/03/2011 12:00"), at("2011-03-27T11:00:00Z"));
        assert_eq!(read(&c, "2011-07-01 09:30:00"), at("2011-07-01T08:30:00Z"));
        assert_eq!(read(&c, "2011-07-01"), at("2011-06-30T23:00:00Z"));
        assert_eq!(read(&c, "2011-07-01T09:30:00+02:00"), at("2011-07-01T07:30:00Z"));
        assert_eq!(read(&c, "31/02/2011 12:00"), Err("bad_date"));
    }

    #[test]
    fn the_forms_of_iso_8601_that_the_reference_names_are_read_and_no_other() {
        let c = column(Kind::Instant, &ColumnSource::default());
        for (text, meant) in [
            ("2024-05-01", "2024-04-30T23:00:00Z"),
            ("20240501", "2024-04-30T23:00:00Z"),
            ("2024-05-01T10:00", "2024-05-01T09:00:00Z"),
            ("2024-05-01 10:00:30.5", "2024-05-01T09:00:30.500Z"),
            ("20240501T1000", "2024-05-01T09:00:00Z"),
            ("20240501T100030Z", "2024-05-01T10:00:30Z"),
            ("2024-05-01T10:00Z", "2024-05-01T10:00:00Z"),
            ("2024-05-01T10:00+0200", "2024-05-01T08:00:00Z"),
            ("2024-05-01T10:00[Asia/Tokyo]", "2024-05-01T01:00:00Z"),
            ("2024-05-01T10:00+09:00[Asia/Tokyo]", "2024-05-01T01:00:00Z"),
        ] {
            assert_eq!(read(&c, text), Ok(Meaning::At(meant.parse().unwrap())), "{text}");
        }
        let others = ["2024-W18-3", "2024-122", "2024-05", "202405", "01052024", "05012024", "1714557600", "20240532"];
        let zones = ["2024-05-01T10:00+02:00[Asia/Tokyo]", "2024-05-01T10:00[Mars/Olympus]", "2024-05-01T10:00[]"];
        for text in others.iter().chain(&zones) {
            assert_eq!(read(&c, text), Err("bad_date"), "{text}");
        }
        let day = column(Kind::Date, &ColumnSource::default());
        let mut cell = Cell::default();
        day.read("19920229", &mut cell).unwrap();
        assert_eq!(cell.text(), Some("1992-02-29"));
    }

    #[test]
    fn a_year_that_nobody_means_is_told() {
        let why = |kind, format: &str, raw: &str| {
            let c = column(kind, &ColumnSource { formats: vec![format.into()], ..ColumnSource::default() });
            c.read(raw, &mut Cell::default()).err().map(|bad| (bad.code, bad.reason))
        };
        let told = |text: &str| Some(("bad_date", text.to_owned()));
        let two = "'1.3.24 10:00' would be in the year 24; for two digits write %y";
        assert_eq!(why(Kind::Instant, "%d.%m.%Y %H:%M", "1.3.24 10:00"), told(two));
        assert_eq!(why(Kind::Instant, "%d.%m.%y %H:%M", "1.3.24 10:00"), None);
        let old = "'1899-12-30' would be in the year 1899; is its format right?";
        assert_eq!(why(Kind::Instant, "%Y", "1899-12-30"), told(old));
        assert_eq!(why(Kind::Date, "%d.%m.%Y", "30.12.1899"), None, "somebody's birthday");
        let two = "'30.12.99' would be in the year 99; for two digits write %y";
        assert_eq!(why(Kind::Date, "%d.%m.%Y", "30.12.99"), told(two));
    }

    #[test]
    fn white_space_case_and_words_for_nothing_are_cleansed() {
        let source = ColumnSource { case: Case::Upper, empty: vec!["N/A".into()], ..ColumnSource::default() };
        let c = column(Kind::Text, &source);
        let mut cell = Cell::default();
        c.read("  white\t hanging  heart ", &mut cell).unwrap();
        assert_eq!(cell.text(), Some("WHITE HANGING HEART"));
        c.read("n/a", &mut cell).unwrap();
        assert_eq!(cell.text(), None);
        let phone = column(Kind::Phone, &ColumnSource::default());
        phone.read("+44 (0)20 7946-0000", &mut cell).unwrap();
        assert_eq!(cell.text(), Some("+4402079460000"));
        assert_eq!(read(&phone, "none"), Err("not_phone"));
    }
}
