//! Instants, spans, currencies, amounts and names: what is read is written so that it is read the same.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use perennial_core::id::{CustomerId, Identifier};
use perennial_core::money::{Currency, apportion};
use perennial_core::time::{DAY_MS, Span, Timestamp, Zone};
use perennial_core::value::Value;
use rust_decimal::Decimal;

fuzz_target!(|text: &str| {
    written_and_read::<Timestamp>(text);
    written_and_read::<Span>(text);
    written_and_read::<Currency>(text);
    written_and_read::<CustomerId>(text);
    if let Ok(name) = text.parse::<Identifier>() {
        assert!(!name.value.is_empty());
    }
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    if let Ok(amount) = first.parse::<Decimal>() {
        amounts(amount, rest.parse().unwrap_or(Currency::USD));
    }
    let numbers: Vec<i64> = text.split([' ', ',']).filter_map(|number| number.parse().ok()).collect();
    shares(&numbers);
    calendar(first, rest);
});

fn written_and_read<T: FromStr + Display + PartialEq + Debug>(text: &str)
where
    T::Err: Debug,
{
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string().parse::<T>().expect("what is written can be read"), read);
    }
}

/// Minor units are within half a unit of the amount, and stay what they are.
fn amounts(amount: Decimal, currency: Currency) {
    if let Some(minor) = currency.minor(amount) {
        let again = currency.major(minor);
        assert_eq!(currency.minor(again), Some(minor));
        assert!((amount - again).abs() * Decimal::from(2) <= currency.major(1), "{amount} is not {again}");
    }
    let value = Value::Number(amount);
    let bytes = postcard::to_stdvec(&value).expect("a number can be written");
    assert_eq!(postcard::from_bytes::<Value>(&bytes).expect("and read"), value);
}

/// Shares of money add up, and none is off by a unit or more.
fn shares(numbers: &[i64]) {
    let Some((&total, weights)) = numbers.split_first() else { return };
    let (total, weights): (i64, Vec<i64>) = (total, weights.iter().map(|w| w.saturating_abs()).collect());
    let shares = apportion(total, &weights);
    assert_eq!(shares.len(), weights.len());
    if weights.is_empty() {
        return;
    }
    assert_eq!(shares.iter().map(|s| i128::from(*s)).sum::<i128>(), i128::from(total));
    let sum: i128 = weights.iter().map(|w| i128::from(*w)).sum();
    for (share, weight) in shares.iter().zip(&weights).filter(|_| sum > 0) {
        let exact = i128::from(total) * i128::from(*weight);
        assert!((i128::from(*share) * sum - exact).abs() < sum, "{share} of {total} for {weight} of {sum}");
    }
}

/// A day has begun before each of its instants, the next one comes after, and what lasts ends no earlier than it would.
fn calendar(first: &str, rest: &str) {
    let Ok(at) = first.parse::<Timestamp>() else { return };
    let (zone, span) = rest.split_once(' ').unwrap_or((rest, "P1D"));
    let zone = Zone::named(zone).unwrap_or_else(|_| Zone::utc());
    let edge = 2 * DAY_MS;
    if at > Timestamp::NEVER.plus_millis(-edge) || at < Timestamp::from_millis(i64::MIN).plus_millis(edge) {
        return;
    }
    assert!(zone.start_of(zone.date(at)) <= at);
    assert!(zone.next_midnight(at) > at);
    if let Ok(span) = span.parse::<Span>() {
        assert!(zone.add(at, span) >= at);
        assert!(zone.end_of_validity(at, span) >= at);
    }
}
