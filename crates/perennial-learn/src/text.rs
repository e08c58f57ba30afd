//! Text similarity and phonetic codes for matching names.
//!
//! Promise: every measure works on Unicode scalar values, never panics, and equals the published
//! definition named beside it; ASCII words of up to 64 letters take a fast path without allocation.
//! Absent on purpose: normalisation. Case, accents and blanks are the caller's affair.

use std::collections::BTreeSet;

/// Below this Jaro similarity Winkler's prefix boost is not given (Winkler 1990).
const WINKLER_FLOOR: f64 = 0.7;
/// Similarity gained per shared leading letter.
const WINKLER_WEIGHT: f64 = 0.1;
/// Leading letters that count at most.
const WINKLER_PREFIX: usize = 4;
/// Longest word of the fast paths: one bit per letter.
const WORD_BITS: usize = 64;

/// Jaro similarity in `[0, 1]` (Jaro 1989); two empty texts are equal (1).
pub fn jaro(a: &str, b: &str) -> f64 {
    if short_ascii(a) && short_ascii(b) { jaro_words(a.as_bytes(), b.as_bytes()) } else { strsim::jaro(a, b) }
}

/// Jaro-Winkler similarity in `[0, 1]`: Jaro plus 0.1 per shared leading letter (at most four),
/// given only where Jaro is above 0.7 (Winkler 1990).
pub fn jaro_winkler(a: &str, b: &str) -> f64 {
    let base = jaro(a, b);
    if base <= WINKLER_FLOOR {
        return base;
    }
    let prefix = a.chars().zip(b.chars()).take(WINKLER_PREFIX).take_while(|(x, y)| x == y).count();
    base + small(prefix) * WINKLER_WEIGHT * (1.0 - base)
}

/// Levenshtein distance: fewest insertions, deletions and substitutions (Levenshtein 1966).
pub fn levenshtein(a: &str, b: &str) -> usize {
    strsim::levenshtein(a, b)
}

/// Optimal string alignment: Levenshtein plus swaps of neighbours, no part edited twice.
pub fn osa(a: &str, b: &str) -> usize {
    if short_ascii(a) && short_ascii(b) { osa_words(a.as_bytes(), b.as_bytes()) } else { strsim::osa_distance(a, b) }
}

/// Unrestricted Damerau-Levenshtein distance (Damerau 1964; Lowrance and Wagner 1975).
pub fn damerau_levenshtein(a: &str, b: &str) -> usize {
    strsim::damerau_levenshtein(a, b)
}

/// Share of letters kept when only insertions and deletions are allowed: `2 LCS / (|a| + |b|)`.
pub fn indel_ratio(a: &str, b: &str) -> f64 {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let total = a.len() + b.len();
    ratio(total - 2 * common_subsequence(&a, &b), total)
}

/// [`indel_ratio`] of the words of both texts in alphabetical order.
pub fn token_sort_ratio(a: &str, b: &str) -> f64 {
    indel_ratio(&sorted_words(a), &sorted_words(b))
}

/// Best [`indel_ratio`] among: the shared words against either side, and both sides with the
/// shared words first. One side's words within the other's give 1; a side without words gives 0.
pub fn token_set_ratio(a: &str, b: &str) -> f64 {
    let left: BTreeSet<&str> = a.split_whitespace().collect();
    let right: BTreeSet<&str> = b.split_whitespace().collect();
    if left.is_empty() || right.is_empty() {
        return 0.0;
    }
    let shared = joined(left.intersection(&right));
    let only_left = joined(left.difference(&right));
    let only_right = joined(right.difference(&left));
    if !shared.is_empty() && (only_left.is_empty() || only_right.is_empty()) {
        return 1.0;
    }
    set_ratio(&shared, &only_left, &only_right)
}

/// American Soundex: the first letter and three digits; empty for text without a letter in front.
///
/// Letters of one sound that stand together, or apart by `h` or `w` only, count once.
pub fn soundex(word: &str) -> String {
    let mut letters = word.chars().flat_map(char::to_uppercase);
    let Some(first) = letters.next() else {
        return String::new();
    };
    let mut code = String::from(first);
    let mut last = sound(first);
    for letter in letters {
        let digit = sound(letter);
        if let Some(digit) = digit.filter(|_| digit != last) {
            code.push(digit);
        }
        if code.chars().count() == 4 {
            return code;
        }
        if digit.is_some() || !matches!(letter, 'H' | 'W') {
            last = digit;
        }
    }
    while code.chars().count() < 4 {
        code.push('0');
    }
    code
}

/// Soundex digit of a capital letter; vowels, `h`, `w`, `y` and others have none.
fn sound(letter: char) -> Option<char> {
    match letter {
        'B' | 'F' | 'P' | 'V' => Some('1'),
        'C' | 'G' | 'J' | 'K' | 'Q' | 'S' | 'X' | 'Z' => Some('2'),
        'D' | 'T' => Some('3'),
        'L' => Some('4'),
        'M' | 'N' => Some('5'),
        'R' => Some('6'),
        _ => None,
    }
}

fn set_ratio(shared: &str, only_left: &str, only_right: &str) -> f64 {
    let count = |text: &str| text.chars().count();
    let (common, left, right) = (count(shared), count(only_left), count(only_right));
    let gap = usize::from(common > 0);
    let (with_left, with_right) = (common + gap + left, common + gap + right);
    let l: Vec<char> = only_left.chars().collect();
    let r: Vec<char> = only_right.chars().collect();
    let apart = left + right - 2 * common_subsequence(&l, &r);
    let best = ratio(apart, with_left + with_right);
    if common == 0 {
        return best;
    }
    best.max(ratio(gap + left, common + with_left)).max(ratio(gap + right, common + with_right))
}

fn sorted_words(text: &str) -> String {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    words.sort_unstable();
    words.join(" ")
}

fn joined<'a>(words: impl Iterator<Item = &'a &'a str>) -> String {
    words.copied().collect::<Vec<_>>().join(" ")
}

/// `1 - distance / total`; nothing against nothing is equal.
fn ratio(distance: usize, total: usize) -> f64 {
    if total == 0 { 1.0 } else { 1.0 - small(distance) / small(total) }
}

/// Length of the longest common subsequence.
fn common_subsequence(a: &[char], b: &[char]) -> usize {
    let mut row = vec![0usize; b.len() + 1];
    for x in a {
        let mut corner = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { corner + 1 } else { above.max(row[j]) };
            corner = above;
        }
    }
    row[b.len()]
}

fn short_ascii(text: &str) -> bool {
    text.len() <= WORD_BITS && text.is_ascii()
}

/// Jaro on ASCII words of at most 64 letters; matched letters are bits of two words.
fn jaro_words(a: &[u8], b: &[u8]) -> f64 {
    if a.is_empty() && b.is_empty() {
        return 1.0;
    }
    let reach = (a.len().max(b.len()) / 2).saturating_sub(1);
    let (mut in_a, mut in_b) = (0u64, 0u64);
    for (i, x) in a.iter().enumerate() {
        let end = (i + reach + 1).min(b.len());
        for (j, y) in b.iter().enumerate().take(end).skip(i.saturating_sub(reach)) {
            if x == y && in_b >> j & 1 == 0 {
                in_a |= 1 << i;
                in_b |= 1 << j;
                break;
            }
        }
    }
    let matched = in_a.count_ones();
    if matched == 0 {
        return 0.0;
    }
    let matches = f64::from(matched);
    let halves = f64::from(out_of_order(a, b, in_a, in_b) / 2);
    (matches / small(a.len()) + matches / small(b.len()) + (matches - halves) / matches) / 3.0
}

/// How many of the matched letters, read in order on both sides, differ.
fn out_of_order(a: &[u8], b: &[u8], mut in_a: u64, mut in_b: u64) -> u32 {
    let mut differ = 0;
    while in_a != 0 && in_b != 0 {
        differ += u32::from(a[in_a.trailing_zeros() as usize] != b[in_b.trailing_zeros() as usize]);
        in_a &= in_a - 1;
        in_b &= in_b - 1;
    }
    differ
}

/// Optimal string alignment on ASCII words of at most 64 letters: one column of the table of
/// distances is kept as differences in the bits of two words (Myers 1999; with swaps of
/// neighbours, Hyyrö 2003).
fn osa_words(a: &[u8], b: &[u8]) -> usize {
    let Some(last) = a.len().checked_sub(1) else {
        return b.len();
    };
    let mut places = [0u64; 128];
    for (i, letter) in a.iter().enumerate() {
        places[usize::from(letter & 127)] |= 1 << i;
    }
    let (mut rises, mut falls, mut diagonal, mut before) = (u64::MAX, 0u64, 0u64, 0u64);
    let mut distance = a.len();
    for letter in b {
        let here = places[usize::from(letter & 127)];
        let turned = ((!diagonal & here) << 1) & before;
        diagonal = ((here & rises).wrapping_add(rises) ^ rises) | here | falls | turned;
        let (up, down) = (falls | !(diagonal | rises), diagonal & rises);
        distance += usize::from(up >> last & 1 == 1);
        distance -= usize::from(down >> last & 1 == 1);
        let up = up << 1 | 1;
        rises = down << 1 | !(diagonal | up);
        falls = up & diagonal;
        before = here;
    }
    distance
}

#[expect(clippy::cast_precision_loss, reason = "lengths of texts fit a double exactly")]
fn small(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_pairs_have_their_published_values() {
        assert!((jaro("martha", "marhta") - 0.944_444_444).abs() < 1e-8);
        assert!((jaro_winkler("martha", "marhta") - 0.961_111_111).abs() < 1e-8);
        assert!((jaro_winkler("dwayne", "duane") - 0.84).abs() < 1e-8);
        assert_eq!(osa("ca", "abc"), 3);
        assert_eq!(damerau_levenshtein("ca", "abc"), 2);
        assert_eq!(levenshtein("kitten", "sitting"), 3);
        assert_eq!(soundex("Robert"), "R163");
        assert_eq!(soundex("Ashcraft"), "A261");
        assert_eq!(soundex("Tymczak"), "T522");
        assert_eq!(soundex("Pfister"), "P236");
    }

    #[test]
    fn a_text_inside_another_is_a_full_set_match() {
        assert!((token_set_ratio("anna maria", "maria") - 1.0).abs() < 1e-12);
        assert!(token_set_ratio("", "maria").abs() < 1e-12);
        assert!((token_sort_ratio("maria anna", "anna maria") - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_low_jaro_gets_no_prefix_boost() {
        let (a, b) = ("abcxyzqw", "abmnopkl");
        assert!(jaro(a, b) <= 0.7);
        assert!((jaro_winkler(a, b) - jaro(a, b)).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn fast_paths_equal_the_general_ones(a in "[a-d]{0,12}|[ab]{50,64}", b in "[a-d]{0,12}|[ab]{50,64}") {
            prop_assert!((jaro(&a, &b) - strsim::jaro(&a, &b)).abs() < 1e-12);
            prop_assert_eq!(osa(&a, &b), strsim::osa_distance(&a, &b));
        }

        #[test]
        fn measures_are_symmetric_and_bounded(a in "\\PC{0,9}", b in "\\PC{0,9}") {
            for measure in [jaro, jaro_winkler, indel_ratio, token_sort_ratio, token_set_ratio] {
                let there = measure(&a, &b);
                prop_assert!((0.0..=1.0 + 1e-12).contains(&there));
                prop_assert!((there - measure(&b, &a)).abs() < 1e-9);
            }
            for distance in [levenshtein, osa, damerau_levenshtein] {
                prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            }
            prop_assert!(damerau_levenshtein(&a, &b) <= osa(&a, &b));
            prop_assert!(osa(&a, &b) <= levenshtein(&a, &b));
        }
    }
}
