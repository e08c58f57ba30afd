//! Whatever bytes arrive: parsers answer with a value or with a reason, and never panic.
//!
//! The wire's, the importer's and the programme's own parsers are tried in their files; here are
//! the others: scenario files, catalogues, names, instants, keys, and what the journal and the
//! checkpoints decode.

use std::fs;

use axum::http::{HeaderMap, HeaderValue, header};
use perennial::http::keys::tokens;
use perennial::scenario;
use perennial::workspace::Who;
use perennial_core::customer::Customer;
use perennial_core::fact::Outcome;
use perennial_core::id::{CustomerId, Identifier};
use perennial_core::input::Input;
use perennial_core::money::Currency;
use perennial_core::time::{Span, Timestamp};
use proptest::prelude::*;

const SCENARIO: &str = "name: fuzz\nprogram: coffee.yaml\nclock: 2026-01-01T09:00:00Z\ncatalog: goods.csv\nsteps:\n  \
    - enroll: { customer: ana }\n  - track: { userId: ana, event: Order Completed, properties: { order_id: A, subtotal: 10.00 } }\n  \
    - advance: P31D\n  - redeem: { customer: ana, reward: espresso, key: r1 }\n  - expect: { customer: ana, points: { available: 0 } }\n";
const GOODS: &str = "product_id,tags,impact.waste_kg,name\np1,a b,0.25,Tea\np2,,,\"Cup, small\"\n";
const COFFEE: &str = include_str!("../../../../programs/coffee.yaml");

/// Runs a scenario over a catalogue, both as they are given.
fn play(text: &[u8], goods: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("coffee.yaml"), COFFEE).unwrap();
    fs::write(folder.path().join("goods.csv"), goods).unwrap();
    let file = folder.path().join("fuzz.yaml");
    fs::write(&file, text).unwrap();
    let _ = scenario::run(&file).to_string();
}

/// A text with some bytes of it replaced, and its end cut off.
fn damaged(text: &str, hits: &[(prop::sample::Index, u8)], cut: prop::sample::Index) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (at, byte) in hits {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    bytes.truncate(cut.index(2 * text.len()).max(1));
    bytes
}

fn hits() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_scenario_and_no_catalogue_panics(text in hits(), goods in hits(), cut in any::<prop::sample::Index>()) {
        play(&damaged(SCENARIO, &text, cut), &damaged(GOODS, &goods, cut));
    }

    #[test]
    fn names_are_read_as_they_are_written(text in "\\PC{0,60}|(user|email|phone|loyalty|anonymous|crm): ?\\PC{0,30}") {
        let _ = (text.parse::<Who>(), text.parse::<CustomerId>(), text.parse::<Currency>());
        if let Ok(name) = text.parse::<Identifier>() {
            prop_assert!(!name.value.is_empty());
            if let Ok(again) = name.to_string().parse::<Identifier>() {
                prop_assert!(again == name || name.value.contains(':'), "{name:?} is read again as {again:?}");
            }
        }
    }

    #[test]
    fn instants_and_spans_are_read_as_they_are_written(
        text in "\\PC{0,40}|P([0-9]{1,20}[YMWD]){0,4}(T([0-9]{1,20}[HMS]){0,3})?|[-+0-9:TZ.]{1,40}",
        ms in any::<i64>(),
    ) {
        if let Ok(at) = text.parse::<Timestamp>() {
            prop_assert_eq!(at.to_string().parse::<Timestamp>(), Ok(at));
        }
        if let Ok(span) = text.parse::<Span>() {
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
        let at = Timestamp::from_millis(ms);
        prop_assert_eq!(at.to_string().parse::<Timestamp>(), Ok(at));
    }

    #[test]
    fn no_key_header_panics(scheme in "(Basic|Bearer|basic|x)?", rest in prop::collection::vec(any::<u8>(), 0..80)) {
        let value = [scheme.as_bytes(), b" ", &rest].concat();
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value);
        let _ = tokens(&headers);
    }

    #[test]
    fn what_is_stored_is_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = postcard::from_bytes::<Input>(&bytes);
        let _ = postcard::from_bytes::<Outcome>(&bytes);
        let _ = postcard::from_bytes::<Customer>(&bytes);
    }
}
