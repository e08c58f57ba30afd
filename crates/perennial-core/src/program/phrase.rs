//! Phrases: the short texts of a programme, such as `1 per 1.00` or `2 per month`.
//!
//! Promise: a phrase is read whole or refused with an example of a right one.

use std::str::FromStr;

use rust_decimal::Decimal;

use super::{Limit, Period, Undo};
use crate::money::Currency;
use crate::time::{DAY_MS, Span};

/// `1 per 1.00` or `1 per 1.00 EUR`.
pub(super) fn rate(text: &str, currency: Currency) -> Result<(Decimal, Decimal), String> {
    let hint = if text.contains(',') { ": decimal places stand behind a point" } else { "" };
    let wrong = || format!("'{text}' is no rate like 1 per 1.00{hint}");
    let (_, money) = text.split_once(" per ").ok_or_else(wrong)?;
    in_currency(money.trim().split_once(' ').map_or("", |(_, unit)| unit), currency)?;
    let (points, amount) = numbers_of_rate(text).ok_or_else(wrong)?;
    if points <= Decimal::ZERO || amount <= Decimal::ZERO {
        return Err(format!("'{text}': both numbers of a rate are more than 0"));
    }
    if points > Decimal::from(MOST) || amount > Decimal::from(MOST) || points.scale() > 6 || amount.scale() > 6 {
        return Err(format!("'{text}': a rate is made of numbers up to {MOST} with at most 6 decimal places"));
    }
    Ok((points, amount))
}

/// The points and the money of a rate.
pub(super) fn numbers_of_rate(text: &str) -> Option<(Decimal, Decimal)> {
    let (points, money) = text.split_once(" per ")?;
    let amount = money.trim().split(' ').next()?;
    Some((points.trim().parse().ok()?, amount.parse().ok()?))
}

/// More than any price, threshold or rate; far from where sums overflow.
pub(super) const MOST: i64 = 1_000_000_000;

fn in_currency(unit: &str, currency: Currency) -> Result<(), String> {
    if unit.is_empty() || unit.parse() == Ok(currency) {
        return Ok(());
    }
    Err(format!("'{unit}' is not the programme's currency {currency}"))
}

/// `0.01 USD`.
pub(super) fn money(text: &str, currency: Currency) -> Result<Decimal, String> {
    let wrong = || format!("'{text}' is no amount like 0.01 {currency}");
    let (amount, unit) = text.trim().split_once(' ').ok_or_else(wrong)?;
    in_currency(unit.trim(), currency)?;
    let amount: Decimal = amount.parse().map_err(|_| wrong())?;
    if amount.is_sign_negative() { Err(wrong()) } else { Ok(amount) }
}

/// `5%`, in parts of `whole`: 5 % of 10,000 is 500.
pub(super) fn share(text: &str, whole: u32) -> Result<u32, String> {
    let wrong = || format!("'{text}' is no share like 5%, more than 0% and at most 100%");
    let in_percent = || match text.trim().parse::<Decimal>() {
        Ok(number) if number >= Decimal::ONE && number <= Decimal::ONE_HUNDRED => {
            format!("{}: write {number}%", wrong())
        }
        _ => wrong(),
    };
    let number = text.trim().strip_suffix('%').ok_or_else(in_percent)?.trim();
    let percent: Decimal = number.parse().map_err(|_| wrong())?;
    if percent <= Decimal::ZERO || percent > Decimal::ONE_HUNDRED {
        return Err(wrong());
    }
    let parts = (percent * Decimal::from(whole) / Decimal::ONE_HUNDRED).normalize();
    if parts.scale() > 0 {
        return Err(format!("'{text}' is finer than 1/{whole}"));
    }
    u32::try_from(parts.mantissa()).map_err(|_| wrong())
}

/// `1 per P30D`, `2 per month`, `1 per order`.
pub(super) fn limit(text: &str) -> Result<Limit, String> {
    let wrong = || format!("'{text}' is no limit like 1 per P30D, 2 per month or 1 per day");
    let (count, period) = text.split_once(" per ").ok_or_else(wrong)?;
    let count: u32 = count.trim().parse().map_err(|_| wrong())?;
    if count == 0 {
        return Err(format!("'{text}' allows none; a limit is at least 1"));
    }
    let per = match period.trim() {
        "day" => Period::Day,
        "month" => Period::Month,
        "year" => Period::Year,
        "order" => Period::Ever,
        "week" => return Err(format!("'{text}': weeks have no beginning here, write {count} per P7D")),
        "hour" => return Err(format!("'{text}': write {count} per PT1H")),
        other => match positive(other).map_err(|_| wrong())? {
            span if span.months == 0 => Period::Rolling(span),
            _ => {
                return Err(format!("'{text}' follows the calendar: write 'per month' or 'per year', or days as P30D"));
            }
        },
    };
    Ok(Limit { count, per })
}

/// A duration that is more than nothing.
pub(super) fn positive(text: &str) -> Result<Span, String> {
    let span = Span::from_str(text).map_err(|_| format!("'{text}' is no duration like P30D or P12M"))?;
    if span.is_zero() { Err(format!("'{text}' is no time at all")) } else { Ok(span) }
}

/// Whether a duration is longer than another one, whichever months they fall in.
pub(super) fn is_longer(span: Span, other: Span) -> bool {
    let months = i64::from(span.months) - i64::from(other.months);
    let days_of_month = if months < 0 { 31 } else { 28 };
    months * days_of_month * DAY_MS > other.millis.saturating_sub(span.millis)
}

/// A duration without months and years: windows are exact (rule 1).
pub(super) fn exact(text: &str) -> Result<Span, String> {
    let span = positive(text)?;
    if span.months == 0 {
        return Ok(span);
    }
    let days = i64::from(span.months) * 365 / 12;
    Err(format!("'{text}' follows the calendar, and windows are exact: write days, as P{days}D"))
}

/// `original_dates` or `grace P30D`.
pub(super) fn restore(text: &str) -> Result<Undo, String> {
    match text.split_once(' ') {
        None if text == "original_dates" => Ok(Undo::OriginalDates),
        Some(("grace", length)) => positive(length.trim()).map(Undo::Grace),
        _ => Err(format!("'{text}' is neither original_dates nor a grace like grace P30D")),
    }
}
