//! What is due once a day, also when nobody was there at midnight.

use perennial::wire::segment::Call;
use perennial::workspace::{Status, Workspace};
use perennial_core::input::{Entry, Input, Published};
use perennial_core::time::Timestamp;
use serde_json::json;

use crate::stage::{PROGRAM, Shop, enroll};

const RANKED: &str = "\n  top: { top: 20%, by: orders_30d, ranked: daily }";

/// Five members of whom one has ordered most, at 09:00Z, 10:00 in Paris.
fn open() -> Shop {
    let mut shop = Shop::open();
    shop.publish(&PROGRAM.replace("\nsegments: { busy: orders_30d > 2 }", &format!("\nsegments:{RANKED}")));
    for (orders, who) in ["ana", "bo", "cy", "di", "eve"].into_iter().enumerate() {
        shop.ask(who, "e", enroll()).unwrap();
        (0..=orders).for_each(|n| shop.order(who, &format!("{who} {n}"), 10, 0));
    }
    shop
}

fn thresholds(shop: &Shop) -> Vec<(Timestamp, Option<i64>)> {
    let published = |entry: Entry| match entry.input {
        Some(Input::Published(news)) => match news.what {
            Published::Threshold { value, .. } => Some((news.at, value)),
            _ => None,
        },
        _ => None,
    };
    shop.workspace.journal().iter(1).filter_map(|entry| published(entry.unwrap())).collect()
}

fn tick(shop: &mut Shop, at: &str) -> Timestamp {
    shop.now = at.parse().unwrap();
    shop.workspace.pass_midnight(shop.now).unwrap();
    while shop.workspace.is_passing_midnight() {
        shop.workspace.checkpoint().unwrap();
        shop.workspace.pass_midnight(shop.now).unwrap();
        std::thread::yield_now(); // Another thread reads.
    }
    shop.now
}

fn is_top(shop: &mut Shop, who: &str) -> bool {
    shop.customer(who).segments.iter().any(|s| &*s.segment == "top")
}

#[test]
fn segments_are_ranked_at_the_first_look_after_a_local_midnight_and_once() {
    let mut shop = open();
    tick(&mut shop, "2026-01-10T22:59:59Z");
    assert_eq!(thresholds(&shop), []);
    let midnight = tick(&mut shop, "2026-01-10T23:00:00Z"); // In Paris.
    tick(&mut shop, "2026-01-11T12:00:00Z");
    assert_eq!(thresholds(&shop), [(midnight, Some(5_000_000))]);
    assert!(is_top(&mut shop, "eve") && !is_top(&mut shop, "di"));
    shop.verify();
}

#[test]
fn a_midnight_without_a_server_is_made_up_for_at_the_next_start() {
    for saved in [true, false] {
        let mut shop = open();
        if saved {
            shop.workspace.checkpoint().unwrap();
        }
        shop.reopen(); // Still on the same day.
        tick(&mut shop, "2026-01-10T20:00:00Z");
        assert_eq!(thresholds(&shop), []);
        shop.reopen();
        let start = tick(&mut shop, "2026-01-13T15:00:00Z");
        assert_eq!(thresholds(&shop), [(start, Some(5_000_000))], "once, however many midnights were missed");
        assert!(is_top(&mut shop, "eve") && !is_top(&mut shop, "di"));
        shop.verify();
        shop.reopen();
        tick(&mut shop, "2026-01-13T16:00:00Z");
        assert_eq!(thresholds(&shop).len(), 1, "the day is done, also for the next process");
        assert!(is_top(&mut shop, "eve"));
        shop.verify();
    }
}

#[test]
fn a_ranking_by_a_new_feature_counts_those_who_were_not_seen_since_it_is_there() {
    let mut shop = open();
    let ranked = RANKED.replace("by: orders_30d", "by: orders_60d");
    let program = PROGRAM
        .replace(
            "features: { orders_30d: ",
            "features: { orders_60d: { count: Order Completed, within: P60D }, spare: ",
        )
        .replace("\nsegments: { busy: orders_30d > 2 }", &format!("\nsegments:{ranked}"));
    shop.publish(&program);
    tick(&mut shop, "2026-01-10T10:00:00Z");
    let midnight = tick(&mut shop, "2026-01-11T12:00:00Z");
    assert_eq!(thresholds(&shop), [(midnight, Some(5_000_000))]);
    assert!(is_top(&mut shop, "eve") && !is_top(&mut shop, "di"));
    shop.verify();
}

#[test]
fn intake_goes_on_while_a_midnight_is_being_passed_and_a_crash_in_it_loses_none() {
    let mut shop = open();
    tick(&mut shop, "2026-01-10T10:00:00Z");
    shop.workspace.checkpoint().unwrap();
    shop.now = "2026-01-11T00:00:05Z".parse().unwrap();
    shop.workspace.pass_midnight(shop.now).unwrap();
    shop.order("ana", "after midnight", 10, 0);
    assert!(shop.workspace.is_passing_midnight());
    assert_eq!(thresholds(&shop), [], "what came out is published by a later call");
    shop.workspace.checkpoint().unwrap();
    shop.reopen();
    let start = tick(&mut shop, "2026-01-11T00:01:00Z");
    assert_eq!(thresholds(&shop), [(start, Some(5_000_000))]);
    shop.verify();
}

/// The body of a reject as the journal can still be read; its key lies in a file of its own.
fn body_of(workspace: &Workspace, seq: u64) -> Option<String> {
    match workspace.journal().entry(seq).unwrap().unwrap().input? {
        Input::Reject(reject) => Some(reject.body.to_string()),
        other => panic!("not a reject: {other:?}"),
    }
}

#[test]
fn rejects_of_more_than_thirty_days_ago_can_no_longer_be_read_after_a_start() {
    let home = tempfile::tempdir().unwrap();
    let mut shop = Shop::open();
    shop.workspace = Workspace::open(home.path()).unwrap();
    shop.publish(PROGRAM);
    let nameless = |shop: &mut Shop| {
        let receipt = shop.call(Call::Track, json!({ "event": "Bought by Anastasia" }));
        assert!(matches!(receipt.status, Status::Rejected { .. }), "{receipt:?}");
        receipt.seq.unwrap()
    };
    let old = nameless(&mut shop);
    shop.days(20);
    let young = nameless(&mut shop);
    assert!(body_of(&shop.workspace, old).unwrap().contains("Anastasia"));
    shop.workspace = Workspace::memory().unwrap(); // The server ends, and comes back long after.
    shop.workspace = Workspace::open(home.path()).unwrap();
    tick(&mut shop, "2026-02-12T08:00:00Z");
    assert_eq!(body_of(&shop.workspace, old), None);
    assert!(body_of(&shop.workspace, young).unwrap().contains("Anastasia"));
    shop.verify();
}
