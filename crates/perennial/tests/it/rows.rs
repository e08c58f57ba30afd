//! Every row of the list of hard cases has a scenario or a test that is named after it; and what rows ask
//! that a story cannot say.
//!
//! A scenario bears the number at the beginning of its file's name, a test in the first words of its
//! documentation: `Ingest 5.`, `Hard case 21, 22.`, `Identity 22: ...`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use perennial_core::input::Command;
use serde_json::json;

use crate::stage::{Shop, enroll};

/// Where a group's scenarios are, how its tests name it, and its rows.
const ROWS: &[(&str, &str, &[&str])] = &[
    ("ecoexplorers", "EcoExplorers", &["e1", "e2", "e3", "e5", "e6", "e8", "e13", "s1", "r2"]),
    (
        "hard-cases",
        "Hard case",
        &[
            "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "21", "22", "23", "24", "25",
            "26", "27", "28", "29", "30", "31", "32", "33", "34", "35", "36", "37", "38", "39", "40", "41", "42", "50",
            "51", "54",
        ],
    ),
    ("ingest", "Ingest", &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"]),
    ("identity", "Identity", &["20", "22", "23", "25"]),
];

#[test]
fn every_row_has_a_scenario_or_a_test_named_after_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tests = sources(&root.join("crates"));
    let mut missing = Vec::new();
    for (folder, group, rows) in ROWS {
        let mut named: BTreeSet<String> =
            files(&root.join("scenarios").join(folder)).iter().filter_map(|file| row_of(file)).collect();
        named.extend(tests.iter().flat_map(|source| rows_named(source, group)));
        missing.extend(rows.iter().filter(|row| !named.contains(**row)).map(|row| format!("{group} {row}")));
    }
    assert!(missing.is_empty(), "neither a scenario nor a test is named after: {}", missing.join("; "));
}

#[test]
fn names_of_scenarios_and_tests_are_read_as_rows() {
    for (file, row) in [("08b-more.yaml", "8"), ("10-shipping.yaml", "10"), ("e13-expiry.yaml", "e13")] {
        assert_eq!(row_of(Path::new(file)).as_deref(), Some(row));
    }
    assert_eq!(row_of(Path::new("merge-settles-arrears.yaml")), None);
    let source =
        "/// Ingest 5, 13: why\n#[test]\nfn a() {}\n/// Ingest 1\nfn no_test() {}\n    /// Hard case 7.\n#[test]\n";
    assert_eq!(rows_named(source, "Ingest"), ["5", "13"]);
    assert_eq!(rows_named(source, "Hard case"), ["7"]);
}

/// The row that a scenario's file is named after: `08b-...` is of row 8, `e13-...` of E13.
fn row_of(file: &Path) -> Option<String> {
    let first = file.file_stem()?.to_str()?.split('-').next()?;
    let letters: String = first.chars().take_while(char::is_ascii_alphabetic).collect();
    let digits: String = first[letters.len()..].chars().take_while(char::is_ascii_digit).collect();
    let number: u32 = digits.parse().ok()?;
    Some(format!("{letters}{number}"))
}

/// The rows of a group that tests of a source are named after.
fn rows_named(source: &str, group: &str) -> Vec<String> {
    let mut rows = Vec::new();
    let mut said = Vec::new();
    for line in source.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            said.extend(words.trim().strip_prefix(group).map(numbers).unwrap_or_default());
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            rows.append(&mut said);
        } else {
            said.clear();
        }
    }
    rows
}

/// ` 5, 13: why` names 5 and 13.
fn numbers(words: &str) -> Vec<String> {
    let list: String = words.chars().take_while(|c| c.is_ascii_digit() || ", ".contains(*c)).collect();
    list.split(',').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect()
}

fn sources(folder: &Path) -> Vec<String> {
    let rust = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "rs");
    files(folder).iter().filter(|file| rust(file)).map(|file| fs::read_to_string(file).unwrap()).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            found.push(path);
        } else if path.file_name().is_none_or(|name| name != "node_modules") {
            found.extend(files(&path));
        }
    }
    found
}

/// Hard case 39.
#[test]
fn a_sale_that_is_uploaded_days_later_keeps_both_times() {
    let mut shop = Shop::open();
    shop.now = "2026-12-29T09:00:00Z".parse().unwrap();
    shop.ask("ana", "e", enroll()).unwrap();
    shop.now = "2027-01-03T09:00:00Z".parse().unwrap();
    let sale = json!({ "userId": "ana", "event": "Order Completed", "timestamp": "2026-12-30T10:00:00Z",
        "properties": { "order_id": "A", "subtotal": 600 } });
    let receipt = shop.call(perennial::wire::segment::Call::Track, sale);
    let told = shop.workspace.receipt(None, &receipt.message_id).unwrap().unwrap();
    assert_eq!((told.at.as_deref(), &*told.received_at), (Some("2026-12-30T10:00:00Z"), "2027-01-03T09:00:00Z"));
    let entry = shop.workspace.timeline(shop.now, &"ana".parse().unwrap(), None, 1).unwrap().unwrap().remove(0);
    assert_eq!((&*entry.at, &*entry.recorded_at), ("2026-12-30T10:00:00Z", "2027-01-03T09:00:00Z"));
    let years = shop.customer("ana").member.unwrap().years;
    assert_eq!((years.get(&2026).unwrap().points, years.len()), (600, 1), "the old tier year");
    shop.verify();
}

/// Identity 22.
#[test]
fn after_a_merge_the_stricter_consent_holds_and_both_receipts_are_kept() {
    let mut shop = Shop::open();
    let consent = |given| Command::Consent { purpose: "marketing".into(), channel: Some("email".into()), given };
    shop.ask("bo", "no", consent(false)).unwrap();
    shop.days(1);
    shop.ask("ana", "yes", consent(true)).unwrap();
    shop.days(1);
    shop.ask("ana", "m", Command::Merge { from: "bo".parse().unwrap() }).unwrap();
    let given = |shop: &mut Shop| shop.customer("bo").profile.consents["marketing/email"].0;
    assert!(!given(&mut shop), "the later yes of one does not outweigh the no of the other");
    for saved in [false, true] {
        let entries = shop.workspace.timeline(shop.now, &"ana".parse().unwrap(), None, 50).unwrap().unwrap();
        let of_consent = |name: &str| name == "consent";
        let kept: Vec<&str> = entries.iter().filter(|entry| of_consent(&entry.name)).map(|entry| &*entry.at).collect();
        assert_eq!(kept, ["2026-01-11T09:00:00Z", "2026-01-10T09:00:00Z"], "both, with their own instants");
        saved.then(|| shop.workspace.checkpoint().unwrap());
        shop.reopen();
    }
    shop.ask("ana", "again", consent(true)).unwrap();
    assert!(given(&mut shop), "who is asked again may say yes again");
    shop.verify();
}
