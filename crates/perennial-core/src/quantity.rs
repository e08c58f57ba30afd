//! How much of a product: pieces, or what a scale or a rule said.
//!
//! Promise: exact to a millionth, and whole pieces are written as they always were.

use std::fmt;

use rust_decimal::prelude::ToPrimitive as _;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Decimal places of the parts of a piece.
const PLACES: u32 = 6;
/// Parts of a piece.
const PARTS: u64 = 10u64.pow(PLACES);
/// What is no whole number of pieces is written in parts, above all numbers of pieces.
const IN_PARTS: u64 = 1 << 62;

/// Pieces, or a measure like 0.85 of what the price is for (kilograms, metres); in millionths, from 0 to
/// `u32::MAX` pieces.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(u64);

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One piece.
    pub const ONE: Self = Self(PARTS);
    const MAX: Self = Self(u32::MAX as u64 * PARTS);

    /// A decimal number of pieces, rounded half away from zero; none when it is negative or too large.
    pub fn of(pieces: Decimal) -> Option<Self> {
        let parts = pieces.checked_mul(PARTS.into())?.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero);
        parts.to_u64().map(Self).filter(|quantity| *quantity <= Self::MAX)
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The number of pieces, if it is whole.
    pub fn whole(self) -> Option<u32> {
        u32::try_from(self.0 / PARTS).ok().filter(|_| self.0.is_multiple_of(PARTS))
    }

    /// Both together, at most `u32::MAX` pieces.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0 + other.0).min(Self::MAX)
    }

    /// What the other leaves of it, at least nothing.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// What as much comes to at `each` a piece, rounded toward zero.
    pub fn times(self, each: i64) -> i64 {
        if let Some(pieces) = self.whole() {
            return each.saturating_mul(pieces.into());
        }
        let all = i128::from(each) * i128::from(self.0) / i128::from(PARTS);
        i64::try_from(all).unwrap_or(if each < 0 { i64::MIN } else { i64::MAX })
    }

    /// The part of `amount` that it is of `whole`, rounded toward zero; all of it, if it is the whole.
    pub fn share(self, whole: Self, amount: i64) -> i64 {
        if self == whole {
            return amount;
        }
        i64::try_from(i128::from(amount) * i128::from(self.0) / i128::from(whole.0.max(1))).unwrap_or(0)
    }
}

impl From<u32> for Quantity {
    fn from(pieces: u32) -> Self {
        Self(u64::from(pieces) * PARTS)
    }
}

impl From<Quantity> for Decimal {
    fn from(quantity: Quantity) -> Self {
        quantity.whole().map_or_else(|| Self::from_i128_with_scale(quantity.0.into(), PLACES).normalize(), Self::from)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Decimal::from(*self).fmt(f)
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(self.whole().map_or(IN_PARTS | self.0, u64::from))
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let written = u64::deserialize(d)?;
        match (u32::try_from(written), written & !IN_PARTS) {
            (Ok(pieces), _) => Ok(pieces.into()),
            (_, parts) if written >= IN_PARTS && parts <= Self::MAX.0 => Ok(Self(parts)),
            _ => Err(serde::de::Error::custom("no quantity")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Option<Quantity> {
        Quantity::of(text.parse().unwrap())
    }

    #[test]
    fn a_quantity_is_exact_to_a_millionth_and_survives_being_written() {
        for (said, kept) in [("2", "2"), ("0.850", "0.85"), ("1.0000005", "1.000001"), ("0.0000004", "0"), ("0", "0")] {
            let read = quantity(said).unwrap();
            assert_eq!(read.to_string(), kept);
            let written = postcard::to_stdvec(&read).unwrap();
            assert_eq!(postcard::from_bytes::<Quantity>(&written), Ok(read), "{said}");
        }
        assert_eq!(
            (quantity("-1"), quantity("4294967296"), quantity("79228162514264337593543950335")),
            (None, None, None)
        );
    }

    #[test]
    fn whole_pieces_are_written_as_numbers_and_damage_is_told() {
        for pieces in [0, 1, 300, u32::MAX] {
            assert_eq!(postcard::to_stdvec(&Quantity::from(pieces)), postcard::to_stdvec(&pieces));
        }
        for damaged in [1 << 40, u64::MAX] {
            assert!(postcard::from_bytes::<Quantity>(&postcard::to_stdvec(&damaged).unwrap()).is_err());
        }
    }

    #[test]
    fn parts_take_their_share_rounded_down_and_the_last_the_rest() {
        let (part, whole) = (quantity("0.5").unwrap(), quantity("1.2").unwrap());
        assert_eq!((part.share(whole, 1_000), whole.share(whole, 1_000)), (416, 1_000));
        assert_eq!((whole.times(2_501), whole.times(-2_501)), (3_001, -3_001));
        assert_eq!(Quantity::from(u32::MAX).times(i64::MAX), i64::MAX);
    }
}
