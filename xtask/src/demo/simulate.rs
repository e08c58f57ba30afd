//! A made-up shop for when no history can be had: customers of different habits, a year of orders.
//!
//! Promise: the same seed gives the same file, everywhere.
//! Absent on purpose: realism. It shows how things work and says nothing about any shop.

use std::fmt::Write as _;

const CUSTOMERS: u64 = 240;
const DAY_S: u64 = 86_400;

/// Sku, name, price in cents, tags that the mapping knows by the name.
const GOODS: [(&str, &str, u64); 12] = [
    ("TENT-2", "Tent for two, recycled", 18_900),
    ("PACK-40", "Backpack 40 l, recycled", 9_900),
    ("BOTTLE", "Steel bottle, recycled", 2_400),
    ("SHELL", "Rain shell, recycled", 14_900),
    ("BOOT", "Hiking boots", 12_900),
    ("SOCK", "Merino socks", 1_900),
    ("STOVE", "Camping stove", 6_900),
    ("LAMP", "Head torch", 3_900),
    ("MUG", "Enamel mug", 1_200),
    ("MAP", "Trail map", 990),
    ("BAG", "Sleeping bag", 15_900),
    ("ROPE", "Rope, 20 m", 4_900),
];

/// The orders of a year that ends at `end_s`, as CSV.
pub(super) fn orders(seed: u64, end_s: u64) -> String {
    let mut dice = Dice(seed);
    let mut csv = String::from("order_id,ordered_at,customer_id,sku,product_name,quantity,unit_price\n");
    let mut order = 0;
    for customer in 1..=CUSTOMERS {
        // From one order a quarter to one a week; a quarter of the customers stay away after a while.
        let pause = [7, 14, 21, 30, 45, 90][dice.below(6)];
        let last = if dice.below(4) == 0 { 30 + dice.small(200) } else { 364 };
        let mut day = dice.small(pause);
        while day < last {
            order += 1;
            order_lines(&mut csv, &mut dice, order, customer, end_s - (365 - day) * DAY_S);
            day += 1 + dice.small(2 * pause);
        }
    }
    csv
}

fn order_lines(csv: &mut String, dice: &mut Dice, order: u64, customer: u64, day_s: u64) {
    let at = day_s + 8 * 3_600 + dice.small(12 * 3_600);
    for _ in 0..=dice.below(3) {
        let (sku, name, cents) = GOODS[dice.below(GOODS.len())];
        let pieces = 1 + dice.below(2);
        // Writing to a String cannot fail.
        let _ = writeln!(
            csv,
            "S{order:05},{},shopper-{customer:03},{sku},\"{name}\",{pieces},{}.{:02}",
            civil(at),
            cents / 100,
            cents % 100
        );
    }
}

/// Seconds since 1970 as `2017-03-05T09:30:00Z` (days to civil date, proleptic Gregorian).
fn civil(s: u64) -> String {
    let (mut days, second) = (s / DAY_S, s % DAY_S);
    let mut year = 1970;
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let day = days + 1;
    format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

/// `SplitMix64`: small, even, the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn small(&mut self, sides: u64) -> u64 {
        self.roll() % sides
    }

    fn below(&mut self, sides: usize) -> usize {
        usize::try_from(self.small(sides as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_shop() {
        assert_eq!(orders(7, 1_514_851_200), orders(7, 1_514_851_200));
        assert_ne!(orders(7, 1_514_851_200), orders(8, 1_514_851_200));
        assert!(orders(7, 1_514_851_200).lines().count() > 1_000);
    }

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), "1970-01-01T00:00:00Z");
        assert_eq!(civil(1_514_851_200), "2018-01-02T00:00:00Z");
        assert_eq!(civil(1_456_747_200), "2016-02-29T12:00:00Z");
    }
}
