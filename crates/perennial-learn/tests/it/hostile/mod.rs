//! Hostile tables: whatever a column holds, a method answers in finite numbers or refuses in words.
//!
//! One law for all families: no panic, nothing that is not a number, and the same answer to the same
//! question. Columns come in the flavours that break numerical code: one value over and over, far too
//! large, far too small, next to nothing in number, gaps and infinities.

mod experiment;
mod lifetime;
mod propensity;
mod recommend;
mod segment;
mod words;

use proptest::prelude::*;
use std::fmt::{Debug, Display};

/// How many tables each law meets; `PROPTEST_CASES` asks for more.
fn cases(count: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(count), failure_persistence: None, ..ProptestConfig::default() }
}

/// A number as tables hold it when nobody has looked at them.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -1e3..1e3f64,
        4 => (-5..6i32).prop_map(f64::from),
        1 => Just(-0.0),
        1 => prop::sample::select(vec![1e308, -1e308, f64::MAX, f64::MIN, 1e160, 3e99, -1e20]),
        1 => prop::sample::select(vec![f64::MIN_POSITIVE, 5e-324, -1e-300, 1e-17]),
    ]
}

/// A column of so many numbers, of one flavour.
fn column(rows: usize) -> impl Strategy<Value = Vec<f64>> {
    let dirty = prop_oneof![20 => number(), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)];
    prop_oneof![
        4 => prop::collection::vec(-1e3..1e3f64, rows),
        2 => prop::collection::vec((-2..3i32).prop_map(f64::from), rows),
        2 => number().prop_map(move |value| vec![value; rows]),
        3 => prop::collection::vec(number(), rows),
        1 => prop::collection::vec(prop_oneof![Just(0.0), Just(5e-324), Just(1e-300)], rows),
        1 => prop::collection::vec(dirty, rows),
    ]
}

/// As [`column`], from nothing to a few rows.
fn any_column(most: usize) -> impl Strategy<Value = Vec<f64>> {
    (0..=most).prop_flat_map(column)
}

/// An answer must be made of finite numbers, a refusal of words; either comes again.
fn sound<T: Debug, E: Debug + Display>(what: &str, ask: impl Fn() -> Result<T, E>) -> Option<T> {
    let (found, again) = (ask(), ask());
    assert_eq!(format!("{found:?}"), format!("{again:?}"), "{what}: the same question, another answer");
    match found {
        Ok(found) => {
            finite(what, &found);
            Some(found)
        }
        Err(why) => {
            assert!(why.to_string().len() > 20, "{what}: {why}");
            None
        }
    }
}

/// Nothing in it is infinite or no number.
fn finite(what: &str, found: &impl Debug) {
    let text = format!("{found:?}");
    let bad = text.split(|c: char| !c.is_ascii_alphanumeric()).find(|word| ["NaN", "inf"].contains(word));
    assert_eq!(bad, None, "{what}: {text:.2000}");
}
