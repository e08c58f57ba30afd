//! Years, months and days of the zones that the shops are in, counted one by one.
//!
//! Promise: shares nothing with the engine, and knows no table of zones: only the two rules it needs.

pub(crate) const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;

/// Where a shop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    Utc,
    /// Seven hours behind, six in summer: from the second Sunday of March to the first of November, at two.
    Denver,
}

/// How long points are good for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Validity {
    Days(i64),
    Months(i64),
}

/// A day as people write it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Date {
    year: i64,
    month: i64,
    day: i64,
}

impl Zone {
    /// The local year of an instant.
    pub(crate) fn year(self, at: i64) -> i64 {
        self.date(at).year
    }

    /// The local month of an instant, with its year.
    pub(crate) fn month(self, at: i64) -> (i64, i64) {
        let date = self.date(at);
        (date.year, date.month)
    }

    /// The local month and day of an instant.
    pub(crate) fn day(self, at: i64) -> (i64, i64) {
        let date = self.date(at);
        (date.month, date.day)
    }

    /// The local day of the week, from Monday; 1 January 1970 was a Thursday.
    pub(crate) fn weekday(self, at: i64) -> usize {
        usize::try_from((begins(self.date(at)) / DAY + 3).rem_euclid(7)).unwrap_or(0)
    }

    /// The first instant of a local year.
    pub(crate) fn year_begins(self, year: i64) -> i64 {
        self.midnight(Date { year, month: 1, day: 1 })
    }

    /// The start of the local day after the last one on which points are good.
    pub(crate) fn lapse(self, from: i64, validity: Validity) -> i64 {
        let last = match validity {
            Validity::Days(days) => self.date(from + days * DAY),
            Validity::Months(months) => later(self.date(from), months),
        };
        let next = Date { day: last.day + 1, ..last };
        self.midnight(if next.day > days_of(next.year, next.month) { later(Date { day: 1, ..last }, 1) } else { next })
    }

    fn date(self, at: i64) -> Date {
        let mut day = (at + self.ahead(at)).div_euclid(DAY) + 1;
        let (mut year, mut month) = (1970, 1);
        while day > days_of(year, month) {
            day -= days_of(year, month);
            month += 1;
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        Date { year, month, day }
    }

    /// No night is changed at midnight.
    fn midnight(self, date: Date) -> i64 {
        let utc = begins(date);
        utc - self.ahead(utc + 7 * HOUR)
    }

    /// How far the clocks are ahead of UTC.
    fn ahead(self, at: i64) -> i64 {
        if self == Self::Utc {
            return 0;
        }
        let year = Self::Utc.date(at).year; // Both changes are far from New Year.
        let summer = sunday(year, 3, 2) + 9 * HOUR..sunday(year, 11, 1) + 8 * HOUR;
        if summer.contains(&at) { -6 * HOUR } else { -7 * HOUR }
    }
}

/// Some months later, or the month's last day.
fn later(date: Date, months: i64) -> Date {
    let count = date.year * 12 + date.month - 1 + months;
    let (year, month) = (count.div_euclid(12), count.rem_euclid(12) + 1);
    Date { year, month, day: date.day.min(days_of(year, month)) }
}

/// Midnight of a month's first, second or later Sunday, as in UTC; 1 January 1970 was a Thursday.
fn sunday(year: i64, month: i64, nth: i64) -> i64 {
    let first = begins(Date { year, month, day: 1 });
    let weekday = (first / DAY + 4).rem_euclid(7);
    first + ((7 - weekday) % 7 + 7 * (nth - 1)) * DAY
}

fn begins(date: Date) -> i64 {
    let years: i64 = (1970..date.year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months: i64 = (1..date.month).map(|month| days_of(date.year, month)).sum();
    (years + months + date.day - 1) * DAY
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::time::Timestamp;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millis()
    }

    #[test]
    fn denver_changes_its_clocks_and_begins_its_years_late() {
        assert_eq!(Zone::Denver.year(at("2027-01-01T06:59:59Z")), 2026);
        assert_eq!(Zone::Denver.year_begins(2027), at("2027-01-01T07:00:00Z"));
        assert_eq!(Zone::Denver.month(at("2026-07-01T05:59:59Z")), (2026, 6));
        let lapse = |from, validity| Zone::Denver.lapse(at(from), validity);
        assert_eq!(lapse("2025-03-07T20:00:00Z", Validity::Months(12)), at("2026-03-08T07:00:00Z"));
        assert_eq!(lapse("2025-03-08T20:00:00Z", Validity::Months(12)), at("2026-03-09T06:00:00Z"));
        assert_eq!(lapse("2028-02-29T20:00:00Z", Validity::Months(12)), at("2029-03-01T07:00:00Z"));
    }

    #[test]
    fn sixty_days_end_with_their_day() {
        assert_eq!(Zone::Utc.lapse(at("2026-01-05T08:00:00Z"), Validity::Days(60)), at("2026-03-07T00:00:00Z"));
    }
}
