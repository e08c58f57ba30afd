//! Comparison levels: how far two values of one kind agree.
//!
//! Promise: levels are ordered from exact agreement to difference, the answer does not depend on
//! which record comes first, and level 0 always means "one side is missing: no evidence".
//! Absent on purpose: weights. What a level is worth is learnt from the data.

use super::kind::Kind;
use super::plan::{self, Field, Prepared};
use super::table::{MISSING, hash32};
use crate::text;

/// One side is missing.
pub(super) const ABSENT: u8 = 0;
/// Both sides are equal.
pub(super) const EXACT: u8 = 1;
/// Longest value, in bytes, that is compared letter by letter.
const LONGEST: usize = 200;

impl Kind {
    /// What each level says, from level 1 (exact) to the last (different).
    pub fn levels(self) -> &'static [&'static str] {
        match self {
            Self::Name => {
                &["same", "one letter off", "spelt alike", "short form", "swapped", "sounds alike", "different"]
            }
            Self::Text => &[
                "same",
                "a letter or two off",
                "spelt alike",
                "half of the words shared",
                "a word shared",
                "different",
            ],
            Self::Date => &[
                "same",
                "one digit off or swapped",
                "one part differs",
                "two digits off",
                "within 13 months",
                "within ten years",
                "only the year known, one digit off",
                "only the year known, another year",
                "different",
            ],
            Self::Phone => &["same", "same last eight digits", "one digit off", "two digits off", "different"],
            Self::Email => &[
                "same",
                "one letter off",
                "same before the @",
                "two or three letters off",
                "spelt alike before the @",
                "same provider",
                "different",
                "same apart from the shared name",
                "alike apart from the shared name",
                "different apart from the shared name",
            ],
            Self::Postcode => {
                &["same", "one character off", "same district", "two characters off", "same area", "different"]
            }
            Self::Identifier => &["same", "one character off", "two characters off", "different"],
            Self::Number | Self::Category => &["same", "one character off", "different"],
        }
    }

    /// How many levels compare whole values; the others compare what is left without a part that
    /// agrees elsewhere, and their chances add up by themselves.
    pub(super) fn whole_levels(self) -> usize {
        if self == Self::Email { 7 } else { self.levels().len() }
    }

    fn differs(self) -> u8 {
        u8::try_from(self.whole_levels()).unwrap_or(u8::MAX)
    }
}

/// Level of a name comparison: found in the partner's place.
const SWAPPED: u8 = 5;

/// The level of one comparison between two rows' codes, without looking for swaps.
fn level(field: &Field, a: u32, b: u32) -> u8 {
    if a == MISSING || b == MISSING {
        ABSENT
    } else if a == b {
        EXACT
    } else {
        value_level(field.kind, field.values.get(a), field.values.get(b))
    }
}

/// Levels of two comparisons whose values may have been swapped, when that is the better reading.
///
/// Both values crosswise equal: the first comparison says "swapped" and the second nothing, since
/// one exchange is one piece of evidence. One value crosswise equal: the second says so. The
/// hashes are those of first and second value of either record, 0 where one is missing.
fn swapped(left: [u32; 2], right: [u32; 2]) -> Option<(u8, u8)> {
    let same = |a: u32, b: u32| a != 0 && a == b;
    match (same(left[0], right[1]), same(right[0], left[1])) {
        (true, true) => Some((SWAPPED, ABSENT)),
        (false, false) => None,
        _ => Some((ABSENT, SWAPPED)),
    }
}

/// The level of two different values of a kind, in canonical form.
pub(super) fn value_level(kind: Kind, a: &str, b: &str) -> u8 {
    let (a, b) = if a <= b { (a, b) } else { (b, a) };
    if a == b {
        return EXACT;
    }
    if a.len() > LONGEST || b.len() > LONGEST {
        return kind.differs();
    }
    match kind {
        Kind::Name => name_level(a, b),
        Kind::Text => text_level(a, b),
        Kind::Date => date_level(a, b),
        Kind::Phone => phone_level(a, b),
        Kind::Email => email_level(a, b),
        Kind::Postcode => postcode_level(a, b),
        Kind::Identifier => by_edits(a, b, &[2, 3], 4),
        Kind::Number | Kind::Category => {
            if a.len().min(b.len()) >= 2 {
                by_edits(a, b, &[2], 3)
            } else {
                3
            }
        }
    }
}

/// The level given for one edit, two edits, ...; `differs` beyond.
fn by_edits(a: &str, b: &str, levels: &[u8], differs: u8) -> u8 {
    match edits_up_to(a, b, levels.len()) {
        Some(edits) => levels[edits.max(1) - 1],
        None => differs,
    }
}

/// Edits (with swaps of neighbours) between two texts when they are at most `most`.
fn edits_up_to(a: &str, b: &str, most: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > 4 * most || letters_apart(a, b) > most {
        return None;
    }
    let edits = text::osa(a, b);
    (edits <= most).then_some(edits)
}

/// A lower bound of the edit distance: letters that only one side has.
fn letters_apart(a: &str, b: &str) -> usize {
    let (a, b) = (letter_set(a), letter_set(b));
    (a & !b).count_ones().max((b & !a).count_ones()) as usize
}

/// Which bytes occur, modulo 64.
fn letter_set(text: &str) -> u64 {
    text.bytes().fold(0, |set, byte| set | 1 << (byte & 63))
}

fn name_level(a: &str, b: &str) -> u8 {
    let longer = a.len().max(b.len());
    if longer >= 3 && edits_up_to(a, b, 1).is_some() {
        return 2;
    }
    let alike = text::jaro_winkler(a, b);
    if alike >= 0.9 {
        return 3;
    }
    if short_form(a, b) {
        return 4;
    }
    if alike >= 0.8 || same_sound(a, b) { 6 } else { 7 }
}

/// One is the start of the other (an initial, "rob" for "robert") or its words are among the other's.
fn short_form(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    long.starts_with(short)
        || (long.contains(' ') && short.split(' ').all(|word| long.split(' ').any(|other| other == word)))
}

/// Equal Soundex codes, without making them unless the first letters agree.
fn same_sound(a: &str, b: &str) -> bool {
    a.as_bytes().first() == b.as_bytes().first() && text::soundex(a) == text::soundex(b)
}

fn text_level(a: &str, b: &str) -> u8 {
    if a.len().min(b.len()) >= 5 && edits_up_to(a, b, 2).is_some() {
        return 2;
    }
    if text::jaro_winkler(a, b) >= 0.92 {
        return 3;
    }
    let (mut shared, mut shorter) = (0, 0);
    let (left, right) = (a.split(' ').count(), b.split(' ').count());
    let (few, many) = if left <= right { (a, b) } else { (b, a) };
    for word in few.split(' ') {
        shorter += 1;
        shared += usize::from(many.split(' ').any(|other| other == word));
    }
    if shared * 2 >= shorter + usize::from(left.max(right) > 2 * shorter) {
        4
    } else if shared > 0 {
        5
    } else {
        6
    }
}

/// The day number since 0000-03-01 of eight digits; months and days out of range just roll over.
fn day_number(digits: &str) -> i64 {
    let number: i64 = digits.parse().unwrap_or(0);
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    year * 365 + year / 4 + (month - 1) * 30 + (month - 1) / 2 + day
}

fn date_level(a: &str, b: &str) -> u8 {
    if a.len() != 8 || b.len() != 8 {
        return if edits_up_to(a, b, 1).is_some() { 2 } else { 9 };
    }
    let edits = text::osa(a, b);
    if a.ends_with("0101") || b.ends_with("0101") {
        return year_only_level(a, b, edits);
    }
    let part = |from: usize, to: usize| a.as_bytes().get(from..to) == b.as_bytes().get(from..to);
    let (year, month, day) = (part(0, 4), part(4, 6), a.as_bytes().get(6..) == b.as_bytes().get(6..));
    let turned = year && a.as_bytes()[4..6] == b.as_bytes()[6..] && a.as_bytes()[6..] == b.as_bytes()[4..6];
    let days = (day_number(a) - day_number(b)).abs();
    if edits <= 1 || turned {
        2
    } else if u8::from(year) + u8::from(month) + u8::from(day) >= 2 || days <= 31 {
        3
    } else if edits == 2 {
        4
    } else if days <= 400 {
        5
    } else if days <= 3660 {
        6
    } else {
        9
    }
}

/// Dates of which one is a first of January, which often stands for "day unknown".
fn year_only_level(a: &str, b: &str, edits: usize) -> u8 {
    let both = a.ends_with("0101") && b.ends_with("0101");
    let years = (day_number(a) - day_number(b)).abs() / 365;
    if both {
        if edits <= 1 { 7 } else { 8 }
    } else if a.as_bytes().get(..4) == b.as_bytes().get(..4) {
        3
    } else if years <= 10 {
        8
    } else {
        9
    }
}

fn phone_level(a: &str, b: &str) -> u8 {
    let tail = |digits: &str| digits.len().checked_sub(8).and_then(|start| digits.get(start..)).map(str::to_owned);
    if a.len() != b.len() && tail(a).is_some() && tail(a) == tail(b) {
        return 2;
    }
    by_edits(a, b, &[3, 4], 5)
}

fn email_level(a: &str, b: &str) -> u8 {
    let edits = edits_up_to(a, b, 3);
    if edits == Some(1) {
        return 2;
    }
    let (local_a, host_a) = a.split_once('@').unwrap_or((a, ""));
    let (local_b, host_b) = b.split_once('@').unwrap_or((b, ""));
    if local_a == local_b && local_a.len() >= 3 {
        3
    } else if edits.is_some() {
        4
    } else if text::jaro_winkler(local_a, local_b) >= 0.88 {
        5
    } else if host_a == host_b && !host_a.is_empty() {
        6
    } else {
        7
    }
}

/// The part of a postcode that names the district: all but the last three characters of a long
/// code, all but the last two of a short one.
pub(super) fn district(code: &str) -> &str {
    let drop = if code.len() >= 5 { 3 } else { 2 };
    code.len().checked_sub(drop).and_then(|end| code.get(..end)).unwrap_or("")
}

fn postcode_level(a: &str, b: &str) -> u8 {
    let edits = edits_up_to(a, b, 2);
    if edits == Some(1) {
        2
    } else if !district(a).is_empty() && district(a) == district(b) {
        3
    } else if edits.is_some() {
        4
    } else if a.get(..2).is_some() && a.get(..2) == b.get(..2) {
        5
    } else {
        6
    }
}

/// The levels of all comparisons between two rows, four bits each.
pub(super) fn levels(prepared: &Prepared, a: usize, b: usize) -> u64 {
    let (left, right) = (prepared.row(a), prepared.row(b));
    let mut packed = 0;
    for (at, field) in prepared.fields.iter().enumerate() {
        packed |= u64::from(level(field, left[at], right[at])) << (4 * at);
    }
    with_rests(prepared, a, b, with_swaps(prepared, left, right, packed))
}

/// [`levels`] of many pairs: one comparison after the other, each first fetching all the texts it
/// needs, so that waits for memory overlap.
pub(super) fn levels_of_many(prepared: &Prepared, pairs: &[(u32, u32)], out: &mut Vec<u64>) {
    out.clear();
    out.resize(pairs.len(), 0);
    let mut unequal = Vec::with_capacity(pairs.len());
    for (at, field) in prepared.fields.iter().enumerate() {
        unequal.clear();
        for (place, &(left, right)) in pairs.iter().enumerate() {
            let (a, b) = (prepared.row(left as usize)[at], prepared.row(right as usize)[at]);
            if a != MISSING && a == b {
                out[place] |= u64::from(EXACT) << (4 * at);
            } else if a != MISSING && b != MISSING {
                unequal.push((place, field.values.span(a), field.values.span(b)));
            }
        }
        let near =
            unequal.iter().fold(0, |near, &(_, a, b)| near ^ field.values.first_byte(a) ^ field.values.first_byte(b));
        std::hint::black_box(near);
        for &(place, a, b) in &unequal {
            out[place] |= u64::from(value_level(field.kind, field.values.text(a), field.values.text(b))) << (4 * at);
        }
    }
    for (&(left, right), packed) in pairs.iter().zip(out) {
        let (left, right) = (left as usize, right as usize);
        *packed = with_swaps(prepared, prepared.row(left), prepared.row(right), *packed);
        *packed = with_rests(prepared, left, right, *packed);
    }
}

/// The levels between a record that is not in the table, given as canonical texts and the codes
/// they have there, and a row.
pub(super) fn levels_of_new(prepared: &Prepared, texts: &[String], codes: &[u32], row: usize) -> u64 {
    let right = prepared.row(row);
    let mut packed = 0;
    for (at, field) in prepared.fields.iter().enumerate() {
        let level = if codes[at] == MISSING || right[at] == MISSING {
            ABSENT
        } else if codes[at] == right[at] {
            EXACT
        } else {
            value_level(field.kind, &texts[at], field.values.get(right[at]))
        };
        packed |= u64::from(level) << (4 * at);
    }
    let hash = |at: usize| {
        if texts[at].is_empty() { 0 } else { hash32(&texts[at]) }
    };
    packed = partners(prepared).fold(packed, |packed, (first, second)| {
        with_swap((first, second), packed, || ([hash(first), hash(second)], hashes(prepared, (first, second), right)))
    });
    for at in prepared.built() {
        let field = &prepared.fields[at];
        let own = || plan::rest(&texts[at], field.built_from.iter().map(|&part| texts[part].as_str()));
        packed = with_rest(field, at, packed, || (own(), prepared.rest(at, row)));
    }
    packed
}

/// Level of an address whose rest is the same.
const REST: u8 = 8;

/// The level of what is left of two addresses.
pub(super) fn rest_level(a: &str, b: &str) -> u8 {
    if a == b {
        REST
    } else if edits_up_to(a, b, 2).is_some() {
        REST + 1
    } else {
        REST + 2
    }
}

/// Where a part of a value agrees elsewhere, compares only the rest: it was evidence already.
/// `rests` gives the rests on both sides.
fn with_rest(field: &Field, at: usize, packed: u64, rests: impl FnOnce() -> (String, String)) -> u64 {
    let whole = level_at(packed, at);
    let agrees = |&part: &usize| level_at(packed, part) == usize::from(EXACT);
    if whole == usize::from(ABSENT) || !field.built_from.iter().any(agrees) {
        return packed;
    }
    let level = if whole == usize::from(EXACT) {
        REST
    } else {
        let (a, b) = rests();
        let worst = if whole == 2 { REST + 1 } else { REST + 2 };
        rest_level(&a, &b).min(worst)
    };
    packed & !(15 << (4 * at)) | u64::from(level) << (4 * at)
}

/// Compares rests where comparisons are built from others that agree.
fn with_rests(prepared: &Prepared, left: usize, right: usize, packed: u64) -> u64 {
    prepared.built().fold(packed, |packed, at| {
        with_rest(&prepared.fields[at], at, packed, || (prepared.rest(at, left), prepared.rest(at, right)))
    })
}

/// Looks for swapped values in every pair of partner comparisons.
fn with_swaps(prepared: &Prepared, left: &[u32], right: &[u32], packed: u64) -> u64 {
    partners(prepared).fold(packed, |packed, pair| {
        with_swap(pair, packed, || (hashes(prepared, pair, left), hashes(prepared, pair, right)))
    })
}

/// Pairs of comparisons whose values may stand in each other's place.
fn partners(prepared: &Prepared) -> impl Iterator<Item = (usize, usize)> + '_ {
    let fields = prepared.fields.iter().enumerate();
    fields.filter_map(|(at, field)| Some((field.partner.filter(|&other| other < at)?, at)))
}

fn hashes(prepared: &Prepared, (first, second): (usize, usize), row: &[u32]) -> [u32; 2] {
    [prepared.fields[first].values.hash(row[first]), prepared.fields[second].values.hash(row[second])]
}

/// Replaces two comparisons' levels where neither agrees well in place but a swap does.
fn with_swap(pair: (usize, usize), packed: u64, hashes: impl FnOnce() -> ([u32; 2], [u32; 2])) -> u64 {
    let in_place = |at: usize| (1..=2).contains(&level_at(packed, at));
    if in_place(pair.0) || in_place(pair.1) {
        return packed;
    }
    let (left, right) = hashes();
    let Some((first, second)) = swapped(left, right) else {
        return packed;
    };
    let cleared = packed & !(15 << (4 * pair.0)) & !(15 << (4 * pair.1));
    cleared | u64::from(first) << (4 * pair.0) | u64::from(second) << (4 * pair.1)
}

/// The level of one comparison in a packed set.
pub(super) fn level_at(packed: u64, at: usize) -> usize {
    (packed >> (4 * at) & 15) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(kind: Kind, a: &str, b: &str) -> &'static str {
        kind.levels()[usize::from(value_level(kind, a, b)) - 1]
    }

    #[test]
    fn levels_say_what_differs() {
        assert_eq!(said(Kind::Name, "allen", "alen"), "one letter off");
        assert_eq!(said(Kind::Name, "robert", "rob"), "short form");
        assert_eq!(said(Kind::Name, "meyer", "maier"), "sounds alike");
        assert_eq!(said(Kind::Name, "ana", "zoe"), "different");
        assert_eq!(said(Kind::Date, "19900501", "19900105"), "one digit off or swapped");
        assert_eq!(said(Kind::Date, "19900512", "19900527"), "one part differs");
        assert_eq!(said(Kind::Date, "18620101", "18610101"), "only the year known, one digit off");
        assert_eq!(said(Kind::Date, "19900512", "19620927"), "different");
        assert_eq!(said(Kind::Phone, "61412345678", "412345678"), "same last eight digits");
        assert_eq!(said(Kind::Email, "ana.b@mail.example", "ana.b@post.example"), "same before the @");
        assert_eq!(said(Kind::Postcode, "tq138df", "tq138hu"), "same district");
        assert_eq!(said(Kind::Identifier, "6988048", "6988084"), "one character off");
        assert_eq!(said(Kind::Text, "12 long street", "street of the north 12"), "half of the words shared");
        assert_eq!(said(Kind::Text, "12 long street", "12 lnog street"), "a letter or two off");
        assert_eq!(said(Kind::Text, "12 long street flat 3", "77 elm avenue flat 9"), "a word shared");
        assert_eq!(said(Kind::Text, "12 long street", "7 elm avenue"), "different");
    }

    proptest! {
        #[test]
        fn a_level_exists_and_does_not_depend_on_the_order(a in "\\PC{1,12}", b in "\\PC{1,12}", c in "[0-9]{8}", d in "[0-9]{8}") {
            for kind in [Kind::Name, Kind::Text, Kind::Date, Kind::Phone, Kind::Email, Kind::Postcode, Kind::Identifier, Kind::Number, Kind::Category] {
                for (x, y) in [(&a, &b), (&c, &d)] {
                    let level = value_level(kind, x, y);
                    prop_assert!((1..=kind.differs()).contains(&level));
                    prop_assert_eq!(level, value_level(kind, y, x));
                    prop_assert_eq!(value_level(kind, x, x), EXACT);
                }
            }
        }
    }
}
