//! Dates as people write them: `2024-01-31`, `31.1.2024 14:30`, `1/31/24 2:30 PM`, `31 Jan 2024`,
//! `20240131`, seconds since 1970, the day numbers of a spreadsheet, or a running number.
//!
//! Promise: a whole column is read one way, dates that the calendar does not have are refused, and
//! what had to be assumed is told. Absent on purpose: time zones; a day is the day that is written.

use jiff::civil::Date;

use super::frame::Frame;

/// How a column writes dates.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// Parts between signs; those that begin with four digits begin with the year.
    Parts { day_first: bool },
    /// `31 Jan 2024`, `Jan 31, 2024`, `31-Jan-24`.
    Named,
    /// `20260131`.
    Compact,
    /// Seconds, or parts of one, since 1970: so many make a day.
    Seconds(f64),
    /// Days since the end of 1899, as spreadsheets count.
    Spreadsheet,
    /// Any growing number, one a day.
    Running,
}

/// Day numbers of spreadsheets between 1982 and 2064.
const SPREADSHEET: std::ops::Range<f64> = 30_000.0..60_000.0;
/// The first of 1970 as spreadsheets count.
const SPREADSHEET_1970: f64 = 25_569.0;
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// A column of dates as days since 1970, gaps as NaN, and what had to be assumed to read them.
pub(super) fn column(frame: &Frame, at: usize, day_first: bool) -> Result<(Vec<f64>, Option<String>), String> {
    let column = &frame.columns[at];
    let (form, told) = Form::of(column, day_first);
    let one = |(row, text): (usize, &String)| {
        if text.is_empty() {
            return Ok(f64::NAN);
        }
        form.read(text).ok_or_else(|| {
            let (name, line) = (&frame.header[at], frame.line(row));
            let mut why = format!("`{name}` in line {line} is `{text}`, not a date we can read");
            if let Form::Parts { day_first } = form
                && (Form::Parts { day_first: !day_first }).read(text).is_some()
            {
                why += " as the other rows are read, with the ";
                why += if day_first { "day first" } else { "month first" };
            }
            frame.wrong(&format!("{why}; write dates as 2026-01-31"))
        })
    };
    let days: Vec<f64> = column.iter().enumerate().map(one).collect::<Result<_, _>>()?;
    if !matches!(form, Form::Running)
        && let Some((row, years)) = astray(&days)
    {
        return Err(frame.wrong(&format!(
            "`{}` in line {} is `{}`, {years:.0} years from all other dates; correct or leave out that row",
            frame.header[at],
            frame.line(row),
            column[row]
        )));
    }
    Ok((days, told.map(str::to_owned)))
}

/// Days from the others beyond which a rare date is a slip of the pen, such as 9999-12-31 for "never".
const ASTRAY: f64 = 3_653.0;
/// One date in so many is rare.
const RARE: usize = 1_000;

/// A date far from all others, by its row, and the years between; none where such dates are many.
fn astray(days: &[f64]) -> Option<(usize, f64)> {
    let mut sorted: Vec<f64> = days.iter().copied().filter(|day| day.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let few = n.div_ceil(RARE).min(n.saturating_sub(2) / 2);
    let wide = |gap: f64, rest: f64| gap > ASTRAY && gap > rest;
    let late = (n - few..n).find(|&at| wide(sorted[at] - sorted[at - 1], sorted[at - 1] - sorted[0]));
    let early = (0..few).rev().find(|&at| wide(sorted[at + 1] - sorted[at], sorted[n - 1] - sorted[at + 1]));
    let (day, gap) = late
        .map(|at| (sorted[at], sorted[at] - sorted[at - 1]))
        .or_else(|| early.map(|at| (sorted[at], sorted[at + 1] - sorted[at])))?;
    Some((days.iter().position(|other| other.to_bits() == day.to_bits())?, gap / 365.25))
}

/// Whether the texts of a column are dates, and not mere numbers.
pub(super) fn looks_like_dates(column: &[String]) -> bool {
    let (form, _) = Form::of(column, false);
    let mut some = column.iter().filter(|text| !text.is_empty()).take(50).peekable();
    some.peek().is_some() && some.all(|text| text.parse::<f64>().is_err() && form.read(text).is_some())
}

/// Whole days since 1970-01-01 of a date written as `2026-01-31`.
pub(super) fn days_since_1970(text: &str) -> Option<i64> {
    parts(text, false).map(floor)
}

/// The date of a day since 1970-01-01, as `2026-01-31`.
pub(super) fn date_of(day: i64) -> String {
    let at = jiff::Timestamp::from_second(day.saturating_mul(86_400));
    at.map_or_else(|_| day.to_string(), |at| at.to_string().chars().take(10).collect())
}

/// The whole day.
#[expect(clippy::cast_possible_truncation, reason = "days")]
pub(super) fn floor(day: f64) -> i64 {
    day.floor() as i64
}

impl Form {
    /// What the texts show; `day_first` decides where they leave it open.
    fn of(column: &[String], day_first: bool) -> (Self, Option<&'static str>) {
        let texts = || column.iter().filter(|text| !text.is_empty());
        let Some(first) = texts().next() else { return (Self::Running, None) };
        if let Ok(value) = first.parse::<f64>() {
            return Self::of_numbers(value, first.len(), texts());
        }
        if first.to_lowercase().split(|c: char| !c.is_alphabetic()).any(|word| month(word).is_some()) {
            return (Self::Named, None);
        }
        let mut over = [false; 2];
        let mut points = false;
        for text in texts() {
            let date = text.split([' ', 'T']).next().unwrap_or("");
            let mut numbers = date.split(['/', '.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
            let leads = [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)];
            if leads[0] < 1_000 {
                points |= date.contains('.');
                over[0] |= leads[0] > 12;
                over[1] |= leads[1] > 12;
            } else if over == [false; 2] && !points {
                return (Self::Parts { day_first: true }, None);
            }
        }
        match over {
            [true, _] => (Self::Parts { day_first: true }, Some("Dates are read with the day first.")),
            [_, true] => (Self::Parts { day_first: false }, Some("Dates are read with the month first.")),
            _ if points || day_first => (Self::Parts { day_first: true }, Some("Dates are read with the day first.")),
            _ => (
                Self::Parts { day_first: false },
                Some("Dates are read with the month first; if the day comes first, say --day-first."),
            ),
        }
    }

    fn of_numbers<'a>(
        first: f64,
        length: usize,
        mut texts: impl Iterator<Item = &'a String>,
    ) -> (Self, Option<&'static str>) {
        match first {
            v if (1.9e7..2.2e7).contains(&v) && length == 8 => (Self::Compact, None),
            v if v > 1e14 => (Self::Seconds(86_400e6), Some("Dates are read as microseconds since 1970.")),
            v if v > 1e11 => (Self::Seconds(86_400e3), Some("Dates are read as milliseconds since 1970.")),
            v if v > 1e8 => (Self::Seconds(86_400.0), Some("Dates are read as seconds since 1970.")),
            _ if texts.all(|text| text.parse().is_ok_and(|v| SPREADSHEET.contains(&v))) => {
                (Self::Spreadsheet, Some("Dates are read as the day numbers of a spreadsheet."))
            }
            _ => (Self::Running, Some("Dates are plain numbers, read as days.")),
        }
    }

    /// Days since 1970-01-01 with their fraction.
    fn read(self, text: &str) -> Option<f64> {
        let number = || text.parse::<f64>().ok().filter(|v| v.is_finite());
        match self {
            Self::Parts { day_first } => parts(text, day_first),
            Self::Named => named(text),
            Self::Compact if text.len() == 8 && text.is_ascii() => {
                day(text[..4].parse().ok()?, text[4..6].parse().ok()?, text[6..].parse().ok()?)
            }
            Self::Compact => None,
            Self::Seconds(per_day) => Some(number()? / per_day),
            Self::Spreadsheet => Some(number()? - SPREADSHEET_1970),
            Self::Running => number(),
        }
    }
}

/// Reads `2024-01-31T14:30:00Z`, `31.1.2024 14:30`, `1/31/24`.
fn parts(text: &str, day_first: bool) -> Option<f64> {
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, ""));
    let numbers: Vec<&str> = date.trim_end_matches(['.', ',']).split(['-', '/', '.']).collect();
    let &[first, second, third] = numbers.as_slice() else { return None };
    if first.len() != 4 && !matches!(third.len(), 2 | 4) {
        return None;
    }
    let [x, y, z] = [first.parse().ok()?, second.parse().ok()?, third.parse::<i16>().ok()?];
    let whole = match (first.len() == 4, day_first) {
        (true, _) => day(x, i8::try_from(y).ok()?, i8::try_from(z).ok()?),
        (false, true) => day(year(z, third), i8::try_from(y).ok()?, i8::try_from(x).ok()?),
        (false, false) => day(year(z, third), i8::try_from(x).ok()?, i8::try_from(y).ok()?),
    }?;
    Some(whole + fraction(clock)?)
}

/// Reads `31 Jan 2024`, `January 31, 2024 14:30`, `31-Jan-24`.
fn named(text: &str) -> Option<f64> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split([' ', '-', ',', '.', '/']).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| month(word).is_some())?;
    let numbers: Vec<&str> = words.iter().copied().filter(|w| w.chars().all(|c| c.is_ascii_digit())).take(2).collect();
    let &[a, b] = numbers.as_slice() else { return None };
    let (the_day, the_year) = if a.len() == 4 { (b, a) } else { (a, b) };
    let clock =
        words.iter().position(|word| word.contains(':')).map_or("", |at| &lower[lower.find(words[at]).unwrap_or(0)..]);
    Some(day(year(the_year.parse().ok()?, the_year), month(words[at])?, the_day.parse().ok()?)? + fraction(clock)?)
}

fn month(word: &str) -> Option<i8> {
    let at = MONTHS.iter().position(|month| word.len() >= 3 && word.starts_with(month))?;
    i8::try_from(at + 1).ok()
}

/// Two digits are a year of 1970 to 2069.
fn year(number: i16, text: &str) -> i16 {
    match (text.len(), number) {
        (2, 0..70) => number + 2000,
        (2, _) => number + 1900,
        _ => number,
    }
}

fn day(year: i16, month: i8, day: i8) -> Option<f64> {
    let start = Date::constant(1970, 1, 1);
    let days = Date::new(year, month, day).ok()?.since(start).ok()?.get_days();
    Some(f64::from(days))
}

/// The part of a day that a clock shows: `14:30`, `2:30:05 PM`, with a zone or without.
fn fraction(clock: &str) -> Option<f64> {
    let clock = clock.trim();
    let end = clock.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(clock.len());
    if end == 0 {
        return clock.is_empty().then_some(0.0);
    }
    let mut numbers = clock[..end].split(':').map(|part| part.parse::<f64>().ok());
    let mut hour = numbers.next()??;
    let half = clock[end..].trim_start().to_lowercase();
    if half.starts_with('p') && hour < 12.0 {
        hour += 12.0;
    } else if half.starts_with('a') && hour >= 12.0 {
        hour -= 12.0;
    }
    let (minute, second) = (numbers.next().unwrap_or(Some(0.0))?, numbers.next().unwrap_or(Some(0.0))?);
    Some((hour / 24.0 + minute / 1_440.0 + second / 86_400.0).min(1.0 - 1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Vec<Option<String>> {
        let column: Vec<String> = texts.iter().map(|t| (*t).to_owned()).collect();
        let (form, _) = Form::of(&column, false);
        column.iter().map(|text| form.read(text).map(|d| date_of(floor(d)))).collect()
    }

    #[test]
    fn a_date_far_from_all_others_is_found_and_an_old_customer_is_none() {
        let year = |n: i32| 15_000.0 + 365.25 * f64::from(n);
        let usual: Vec<f64> = (0..40).map(|n| year(0) + f64::from(n)).collect();
        let with = |more: &[f64]| astray(&[&usual[..20], more, &usual[20..]].concat());
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[year(5)]), None);
        assert_eq!(with(&[f64::NAN]), None);
        let (row, years) = with(&[year(100)]).unwrap();
        assert!(row == 20 && (years - 99.9).abs() < 0.1, "{row} {years}");
        assert_eq!(with(&[year(-41)]).map(|found| found.0), Some(20));
        assert_eq!(with(&[year(60), year(60), year(61)]), None, "not rare");
        assert_eq!((astray(&[]), astray(&[1.0, 90_000.0])), (None, None));
    }

    #[test]
    fn dates_are_read_as_people_write_them() {
        let day = |text: &str| Some(text.to_owned());
        assert_eq!(read(&["12/1/2010 8:26", "12/13/2010 9:00 PM"]), [day("2010-12-01"), day("2010-12-13")]);
        assert_eq!(read(&["01.02.2011", "03.02.11 23:59:59"]), [day("2011-02-01"), day("2011-02-03")]);
        assert_eq!(read(&["13-02-2011", "03/02/2011"]), [day("2011-02-13"), day("2011-02-03")]);
        assert_eq!(read(&["2024/02/29", "2024-12-01T08:00:00.123-05:00"]), [day("2024-02-29"), day("2024-12-01")]);
        assert_eq!(read(&["19970131"]), [day("1997-01-31")]);
        assert_eq!(read(&["1326412800"]), [day("2012-01-13")]);
        assert_eq!(read(&["45292", "45293.75"]), [day("2024-01-01"), day("2024-01-02")]);
        assert_eq!(read(&["31-Jan-24", "Feb 1, 2024 10:00"]), [day("2024-01-31"), day("2024-02-01")]);
        assert_eq!(read(&["2026-01-31T23:59:59Z", "soon", "2026-02-30", ""]), [day("2026-01-31"), None, None, None]);
    }

    #[test]
    fn a_clock_is_part_of_a_day() {
        for (clock, hours) in [("", 0.0), ("14:30", 14.5), ("2:30 PM", 14.5), ("12:15 am", 0.25), ("08:00:00Z", 8.0)] {
            let found = fraction(clock).unwrap() * 24.0;
            assert!((found - hours).abs() < 1e-6, "{clock}: {found}");
        }
        assert_eq!(fraction("noon"), None);
    }

    #[test]
    fn dates_tell_themselves_from_numbers() {
        let column = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        assert!(looks_like_dates(&column(&["", "2024-01-31"])) && looks_like_dates(&column(&["3 May 2024"])));
        assert!(!looks_like_dates(&column(&["12.5"])) && !looks_like_dates(&column(&["may be"])));
        assert!(!looks_like_dates(&column(&[""])));
    }
}
