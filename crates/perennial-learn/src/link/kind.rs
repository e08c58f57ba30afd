//! Column kinds: what a column holds, read from its values alone.
//!
//! Promise: the header is never looked at, so a column called `x7` is treated as well as one
//! called `email`; a few wrong cells do not change the answer.
//! Absent on purpose: semantic roles such as given name or surname. Which name columns stand in
//! for each other is found by their shared vocabulary.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::table::{Column, MISSING};

/// Rows looked at, evenly spread.
const LOOKED_AT: usize = 4000;

/// What the values of a column are, which decides how two of them are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// One or two words of letters: a name, a place, a profession.
    Name,
    /// Several words: an address, a description.
    Text,
    /// A calendar date.
    Date,
    /// A telephone number.
    Phone,
    /// An e-mail address.
    Email,
    /// A short code of an area, letters or digits.
    Postcode,
    /// A number or code that few records share.
    Identifier,
    /// A short number that many records share.
    Number,
    /// One of a few values.
    Category,
}

/// Counts over a sample of values.
#[derive(Debug, Default)]
struct Shape {
    values: f64,
    emails: f64,
    dates: f64,
    digits_only: f64,
    phone_marks: f64,
    mixed: f64,
    words: f64,
    length: f64,
    digits: f64,
    lengths: BTreeMap<usize, f64>,
}

/// The kind of a column; `None` when it says nothing (all missing, or one value throughout).
pub(super) fn recognise(column: &Column) -> Option<Kind> {
    let present = column.codes.iter().filter(|&&code| code != MISSING).count();
    let distinct = column.values.len() - 1;
    if present == 0 || distinct < 2 {
        return None;
    }
    let shape = Shape::of(column, present);
    Some(shape.kind(present, distinct, largest_values_share(column, present)))
}

/// Share of the present rows that hold one of the thirty commonest values.
#[expect(clippy::cast_precision_loss, reason = "row counts fit a double exactly")]
fn largest_values_share(column: &Column, present: usize) -> f64 {
    let mut counts = column.counts();
    counts[0] = 0;
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts.iter().take(30).map(|&count| f64::from(count)).sum::<f64>() / present as f64
}

impl Shape {
    fn of(column: &Column, present: usize) -> Self {
        let mut shape = Self::default();
        let stride = present.div_ceil(LOOKED_AT);
        let codes = column.codes.iter().filter(|&&code| code != MISSING);
        for &code in codes.step_by(stride) {
            shape.see(column.values.get(code));
        }
        shape
    }

    #[expect(clippy::cast_precision_loss, reason = "text lengths are small")]
    fn see(&mut self, value: &str) {
        let digits = value.bytes().filter(u8::is_ascii_digit).count();
        let letters = value.chars().filter(|letter| letter.is_alphabetic()).count();
        self.values += 1.0;
        self.emails += f64::from(u8::from(looks_like_email(value)));
        self.dates += f64::from(u8::from(date_digits(value, true).is_some()));
        let numeric = digits > 0 && letters == 0;
        self.digits_only += f64::from(u8::from(numeric));
        let marked = value.starts_with(['+', '0', '(']) || value.contains([' ', '-', '/']);
        self.phone_marks += f64::from(u8::from(numeric && marked && (7..=15).contains(&digits)));
        self.mixed += f64::from(u8::from(digits > 0 && letters > 0));
        self.words += value.split(' ').count() as f64;
        self.length += value.chars().count() as f64;
        self.digits += digits as f64;
        *self.lengths.entry(value.len()).or_default() += 1.0;
    }

    #[expect(clippy::cast_precision_loss, reason = "row counts fit a double exactly")]
    fn kind(&self, present: usize, distinct: usize, common: f64) -> Kind {
        let share = |count: f64| count / self.values;
        let rare = distinct as f64 / present as f64 > 0.3;
        let even = self.lengths.values().copied().fold(0.0, f64::max) / self.values > 0.75;
        let (words, length) = (share(self.words), share(self.length));
        if share(self.emails) > 0.6 {
            Kind::Email
        } else if share(self.dates) > 0.8 {
            Kind::Date
        } else if share(self.digits_only) > 0.8 {
            match share(self.digits) {
                digits if digits >= 7.0 && share(self.phone_marks) > 0.5 => Kind::Phone,
                digits if digits >= 6.0 && rare => Kind::Identifier,
                _ if distinct <= 30 => Kind::Category,
                digits if even && digits >= 3.5 => Kind::Postcode,
                _ => Kind::Number,
            }
        } else if share(self.mixed) > 0.7 && words < 2.3 && length <= 16.0 {
            if length <= 9.0 || words > 1.5 { Kind::Postcode } else { Kind::Identifier }
        } else if common > 0.95 && (distinct as f64) < 0.2 * present as f64 {
            Kind::Category
        } else if words <= 1.6 && share(self.mixed) < 0.3 {
            Kind::Name
        } else {
            Kind::Text
        }
    }
}

fn looks_like_email(value: &str) -> bool {
    value.split_once('@').is_some_and(|(local, host)| !local.is_empty() && host.contains('.') && !value.contains(' '))
}

/// The eight digits `YYYYMMDD` of a written date, or `None` when it is none.
///
/// Read are year first (`1990-05-01`, `1990/5/1`, `19900501`, a time may follow) and year last
/// (`01.05.1990`), day before month when `day_first`. Months and days out of range stay as they
/// are when they come in the usual two digits and another reading is impossible: a mistyped date
/// is still worth comparing digit by digit.
pub(super) fn date_digits(value: &str, day_first: bool) -> Option<[u8; 8]> {
    let value = value.split(['t', ' ']).next()?;
    let mut groups = [(0u32, 0usize); 3];
    let mut count = 0;
    for group in value.split(['-', '/', '.']) {
        if count == 3 || group.is_empty() || group.len() > 8 || !group.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        groups[count] = (group.parse().ok()?, group.len());
        count += 1;
    }
    let (year, month, day) = match (count, groups) {
        (1, [(all, 8), ..]) => (all / 10_000, all / 100 % 100, all % 100),
        (3, [(year, 4), (month, 1..=2), (day, 1..=2)]) => (year, month, day),
        (3, [(first, 1..=2), (second, 1..=2), (year, 4)]) if day_first => (year, second, first),
        (3, [(first, 1..=2), (second, 1..=2), (year, 4)]) => (year, first, second),
        _ => return None,
    };
    let plausible = (1000..=2200).contains(&year) && month <= 39 && day <= 39;
    plausible.then(|| digits_of(year * 10_000 + month * 100 + day))
}

/// Whether dates written year last put the day first: yes unless some second group exceeds 12
/// more often than some first group does.
pub(super) fn day_first(column: &Column) -> bool {
    let (mut first, mut second) = (0, 0);
    for code in (1u32..).take(column.values.len() - 1) {
        let mut groups = column.values.get(code).split(['-', '/', '.']).map(|group| group.parse::<u32>().unwrap_or(0));
        first += u32::from((13..=31).contains(&groups.next().unwrap_or(0)));
        second += u32::from((13..=31).contains(&groups.next().unwrap_or(0)));
    }
    first >= second
}

fn digits_of(mut number: u32) -> [u8; 8] {
    let mut digits = [b'0'; 8];
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(values: &[&str]) -> Option<Kind> {
        let mut column = Column::default();
        for value in values {
            column.push(value).unwrap();
        }
        recognise(&column)
    }

    fn many(make: impl Fn(u64) -> String) -> Option<Kind> {
        let values: Vec<String> = (0..400u64).map(|i| make(i * 7919 % 100_003)).collect();
        kind_of(&values.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn kinds_are_read_from_the_values() {
        assert_eq!(many(|i| format!("p{i}@mail.example")), Some(Kind::Email));
        assert_eq!(many(|i| format!("19{:02}-{:02}-{:02}", i % 100, i % 12 + 1, i % 28 + 1)), Some(Kind::Date));
        assert_eq!(many(|i| format!("19{:02}{:02}{:02}", i % 100, i % 12 + 1, i % 28 + 1)), Some(Kind::Date));
        assert_eq!(many(|i| format!("+61{}", 400_000_000 + i * 997)), Some(Kind::Phone));
        assert_eq!(many(|i| format!("{}", 4_000_000 + i * 37)), Some(Kind::Identifier));
        assert_eq!(many(|i| format!("{}", 2000 + i % 90)), Some(Kind::Postcode));
        assert_eq!(many(|i| format!("ab{} {}cd", i % 30, i % 10)), Some(Kind::Postcode));
        assert_eq!(many(|i| format!("{}", i % 150)), Some(Kind::Number));
        assert_eq!(many(|i| ["f", "m", "x"][(i % 3) as usize].into()), Some(Kind::Category));
        assert_eq!(
            many(|i| format!(
                "{}{}",
                ["an", "bo", "cel", "dar"][(i % 4) as usize],
                ["a", "ius", "ine"][(i / 4 % 3) as usize].repeat(1 + (i % 9) as usize)
            )),
            Some(Kind::Name)
        );
        assert_eq!(many(|i| format!("{i} long street north")), Some(Kind::Text));
    }

    #[test]
    fn a_column_without_differences_has_no_kind() {
        assert_eq!(kind_of(&["", "", ""]), None);
        assert_eq!(kind_of(&["same", "same"]), None);
        assert_eq!(kind_of(&[]), None);
    }

    #[test]
    fn dates_are_read_in_either_order() {
        assert_eq!(date_digits("1990-05-01", true), Some(*b"19900501"));
        assert_eq!(date_digits("1990-05-01t10:00", true), Some(*b"19900501"));
        assert_eq!(date_digits("1.5.1990", true), Some(*b"19900501"));
        assert_eq!(date_digits("5/1/1990", false), Some(*b"19900501"));
        assert_eq!(date_digits("6988048", true), None);
        assert_eq!(date_digits("a", true), None);
    }
}
