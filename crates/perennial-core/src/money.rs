//! Money: integer minor units of a named currency.
//!
//! Decimals become minor units in one place, [`Currency::minor`], which rounds half away from zero.

use std::fmt;
use std::str::FromStr;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The most that one order counts for, in minor units: a million million of those with cents. It keeps
/// sums over all of a customer's orders far from what a number holds.
pub const ORDER_MAX: i64 = 100_000_000_000_000;

/// An ISO 4217 currency code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    letters: [u8; 3],
    /// Decimal places of the minor unit: every amount of every order asks for them.
    exponent: u8,
}

impl Currency {
    /// US dollar.
    pub const USD: Self = Self::of(*b"USD");
    /// No currency (ISO 4217): that of an amount whose code nobody can read.
    pub const NONE: Self = Self::of(*b"XXX");

    /// Decimal places are 0, 2 or 3 (ISO 4217, table A.1).
    const fn of(letters: [u8; 3]) -> Self {
        let exponent = match &letters {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX"
            | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        };
        Self { letters, exponent }
    }

    /// Decimal places of the minor unit.
    pub fn exponent(self) -> u32 {
        self.exponent.into()
    }

    /// A decimal amount in minor units, rounded half away from zero; `None` when it does not fit.
    pub fn minor(self, amount: Decimal) -> Option<i64> {
        let exponent = self.exponent();
        if let Some(places) = exponent.checked_sub(amount.scale()) {
            return digits(amount)?.checked_mul(*TENS.get(places as usize)?);
        }
        let rounded = amount.round_dp_with_strategy(exponent, RoundingStrategy::MidpointAwayFromZero);
        rounded.checked_mul(Decimal::from(10u64.pow(exponent)))?.to_i64()
    }

    /// Minor units as a decimal amount.
    pub fn major(self, minor: i64) -> Decimal {
        Decimal::new(minor, self.exponent())
    }

    /// The three letters.
    pub fn code(&self) -> &str {
        str::from_utf8(&self.letters).unwrap_or("XXX")
    }

    /// Whether a text is this very code.
    pub(crate) fn is(self, code: &str) -> bool {
        code.as_bytes() == self.letters
    }
}

impl FromStr for Currency {
    type Err = BadCurrency;

    fn from_str(text: &str) -> Result<Self, BadCurrency> {
        match text.trim().as_bytes() {
            [a, b, c] if [a, b, c].iter().all(|ch| ch.is_ascii_alphabetic()) => {
                Ok(Self::of([a.to_ascii_uppercase(), b.to_ascii_uppercase(), c.to_ascii_uppercase()]))
            }
            _ => Err(BadCurrency(text.chars().take(20).collect())),
        }
    }
}

/// A text that is not a currency code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCurrency(pub String);

impl fmt::Display for BadCurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not a currency code of three letters like EUR", self.0)
    }
}

impl std::error::Error for BadCurrency {}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The digits of a number without its point, if an `i64` holds them.
#[inline]
pub(crate) fn digits(n: Decimal) -> Option<i64> {
    let parts = n.unpack();
    let digits = u64::from(parts.mid) << 32 | u64::from(parts.lo);
    match (parts.hi, parts.negative) {
        (0, false) => i64::try_from(digits).ok(),
        (0, true) => 0i64.checked_sub_unsigned(digits),
        _ => None,
    }
}

/// Powers of ten up to the largest scale of a decimal that an `i64` holds.
pub(crate) const TENS: [i64; 19] = {
    let mut tens = [1i64; 19];
    let mut i = 1;
    while i < 19 {
        tens[i] = tens[i - 1] * 10;
        i += 1;
    }
    tens
};

/// As [`apportion`], of weights that are the shares themselves as a rule.
pub(crate) fn apportioned(total: i64, weights: Vec<i64>) -> Vec<i64> {
    let sum = weights.iter().try_fold(0i64, |sum, weight| sum.checked_add(*weight));
    if sum == Some(total) && total > 0 { weights } else { apportion(total, &weights) }
}

/// Splits `total` over `weights` in proportion, in whole units that add up to `total`.
///
/// Largest remainder, ties to the earlier share (rule 10). When all weights are zero the first
/// share takes everything; without weights there are no shares.
pub fn apportion(total: i64, weights: &[i64]) -> Vec<i64> {
    let sum: i128 = weights.iter().map(|w| i128::from(*w)).sum();
    if sum <= 0 {
        let mut shares = vec![0; weights.len()];
        if let Some(first) = shares.first_mut() {
            *first = total;
        }
        return shares;
    }
    if sum == i128::from(total) {
        return weights.to_vec();
    }
    let exact = |w: i64| i128::from(total) * i128::from(w);
    let mut shares: Vec<i64> = weights.iter().map(|w| i64::try_from(exact(*w).div_euclid(sum)).unwrap_or(0)).collect();
    let left = total - shares.iter().sum::<i64>();
    if left == 0 {
        return shares;
    }
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(exact(weights[*i]).rem_euclid(sum)), *i));
    for i in order.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        shares[i] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_ties_go_to_the_earlier_line() {
        assert_eq!(apportion(24_930, &[24_000, 3_700]), [21_600, 3_330]);
        assert_eq!(apportion(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(apportion(5, &[0, 0]), [5, 0]);
        assert_eq!(apportion(-5, &[1, 1]).iter().sum::<i64>(), -5);
        assert!(apportion(5, &[]).is_empty());
    }

    #[test]
    fn minor_units_follow_the_currency() {
        let amount: Decimal = "10000".parse().unwrap();
        assert_eq!("JPY".parse::<Currency>().unwrap().minor(amount), Some(10_000));
        assert_eq!("eur".parse::<Currency>().unwrap().minor(amount), Some(1_000_000));
        assert_eq!(Currency::USD.minor("2.345".parse().unwrap()), Some(235));
        assert_eq!(Currency::USD.minor(Decimal::MAX), None);
        assert!("EURO".parse::<Currency>().is_err());
    }

    #[test]
    fn an_amount_is_known_by_its_digits_as_far_as_a_number_holds_them() {
        for (minor, fits) in [
            (i128::from(i64::MAX), true),
            (i128::from(i64::MIN), true),
            (i128::from(i64::MAX) + 1, false),
            (i128::from(i64::MIN) - 1, false),
            (-1, true),
            (0, true),
        ] {
            let amount = Decimal::from_i128_with_scale(minor, 2);
            let expected = i64::try_from(minor).ok().filter(|_| fits);
            assert_eq!((digits(amount), Currency::USD.minor(amount)), (expected, expected));
            assert_eq!("BHD".parse::<Currency>().unwrap().minor(amount), i64::try_from(minor * 10).ok());
        }
    }
}
