//! Points for money at rates, exact and rounded down once (rule 13).

use num_bigint::BigInt;
use rust_decimal::Decimal;

/// A rate: so many points for so much money in major units; both positive.
pub(crate) type Rate = (Decimal, Decimal);

/// Points that all rates together give for `money` in minor units of a currency with `exponent` decimal
/// places. Neither is negative. At most `i64::MAX`.
pub(crate) fn points(money: Decimal, exponent: u32, rates: impl Iterator<Item = Rate> + Clone) -> i64 {
    in_registers(money, exponent, rates.clone()).unwrap_or_else(|| at_length(money, exponent, rates))
}

/// With numbers that a processor divides, which suffice nearly always: rates with few common factors and
/// many digits need more.
fn in_registers(money: Decimal, exponent: u32, rates: impl Iterator<Item = Rate>) -> Option<i64> {
    let (mut above, mut below) = (0i128, 1i128);
    for rate in rates {
        let (points, money) = fraction(rate);
        if money == below {
            above = above.checked_add(points)?;
            continue;
        }
        let shared = gcd(money, below);
        above = above.checked_mul(money / shared)?.checked_add(points.checked_mul(below / shared)?)?;
        below = below.checked_mul(money / shared)?;
    }
    let money = money.normalize();
    let above = above.checked_mul(money.mantissa())?;
    let below = below.checked_mul(10i128.checked_pow(money.scale() + exponent)?)?;
    match (i64::try_from(above), i64::try_from(below)) {
        (Ok(above), Ok(below)) => Some(above / below),
        _ => i64::try_from(above / below).ok(),
    }
}

fn at_length(money: Decimal, exponent: u32, rates: impl Iterator<Item = Rate>) -> i64 {
    let (mut above, mut below) = (BigInt::from(0), BigInt::from(1));
    for rate in rates {
        let (points, money) = fraction(rate);
        above = above * money + &below * points;
        below *= money;
    }
    let whole = above * money.mantissa() / (below * BigInt::from(10).pow(money.scale() + exponent));
    i64::try_from(whole).unwrap_or(i64::MAX)
}

/// A rate as a fraction of whole numbers below 10^29 each.
fn fraction((points, money): Rate) -> (i128, i128) {
    let (points, money) = (points.normalize(), money.normalize());
    let scale = points.scale().max(money.scale());
    let whole = |n: Decimal| n.mantissa().saturating_mul(10i128.pow(scale - n.scale()));
    (whole(points), whole(money).max(1))
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(money: &str, exponent: u32, rates: &[(&str, &str)]) -> i64 {
        let d = |text: &str| text.parse::<Decimal>().unwrap();
        let rates: Vec<Rate> = rates.iter().map(|(points, per)| (d(points), d(per))).collect();
        let exact = at_length(d(money), exponent, rates.iter().copied());
        assert_eq!(points(d(money), exponent, rates.iter().copied()), exact);
        exact
    }

    #[test]
    fn points_are_exact_before_they_are_rounded_down() {
        assert_eq!(of("1000", 2, &[("1", "3.00"); 3]), 10, "three thirds are one");
        assert_eq!(of("8332.5", 2, &[("1", "1.00")]), 83);
        assert_eq!(of("10000", 0, &[("1", "100")]), 100);
        assert_eq!(of("100", 2, &[("0.5", "1.00"), ("0.50", "1")]), 1);
        assert_eq!(of("0", 2, &[("1", "1.00")]), 0);
        assert_eq!(of("100", 2, &[]), 0);
    }

    #[test]
    fn rates_that_share_no_factor_stay_exact() {
        let odd = [("1", "1.00"), ("1", "3.00"), ("1", "7.50"), ("1", "11.00")];
        // 160,001 yen at 0.00621371 and times 1.15, in cents.
        assert_eq!(of("114332.97857665", 2, &odd), 1_780);
        let odder =
            ["1.0000001", "3.0000017", "7.0000079", "11.0000003", "13.0000021", "17.0000027"].map(|per| ("1", per));
        assert_eq!(of("100000000000000", 2, &odder), 1_702_845_699_073);
        assert_eq!(of("79228162514264337593543950335", 0, &[("9", "0.000001")]), i64::MAX);
    }
}
