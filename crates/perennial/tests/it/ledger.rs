//! The ledger as it is read page by page, and receipts of what waited.

use perennial::view::LedgerEntry;
use perennial::wire::segment::Call;
use perennial::workspace::Who;
use perennial_core::input::Command;
use serde_json::json;

use crate::stage::{PROGRAM, Shop, enroll};

fn page(shop: &mut Shop, before: Option<u64>, limit: usize) -> (Vec<LedgerEntry>, Option<u64>) {
    let who: Who = "ana".parse().unwrap();
    shop.workspace.ledger(shop.now, &who, before, limit).unwrap().unwrap()
}

/// All pages, one after the other.
fn paged(shop: &mut Shop, limit: usize) -> Vec<LedgerEntry> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let (entries, next) = page(shop, before, limit);
        all.extend(entries);
        match next {
            Some(next) => before = Some(next),
            None => return all,
        }
    }
}

fn browse(shop: &mut Shop, pages: usize) {
    (0..pages).for_each(|_| drop(shop.call(Call::Page, json!({ "userId": "ana", "name": "Home" }))));
}

/// Twenty lots, and a redemption that takes from all of them: an entry with many postings.
fn member_who_spent() -> Shop {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    for n in 0..20 {
        let gift = Command::Adjust { points: 5, reason: "gift".into(), by: "staff".into() };
        shop.ask("ana", &format!("gift {n}"), gift).unwrap();
    }
    shop.ask("ana", "mug", Command::Redeem { reward: "mug".into(), quantity: 1 }).unwrap();
    shop
}

#[test]
fn pages_of_any_length_show_every_posting_once() {
    for saved in [false, true] {
        let mut shop = member_who_spent();
        shop.order("ana", "A", 10, 0);
        if saved {
            shop.workspace.checkpoint().unwrap();
        }
        let all = paged(&mut shop, 500);
        assert_eq!(all.len(), 20 + 21 + 1, "each gift, the mug from all of them and off the shelf, the order");
        for limit in [1, 2, 7, 21, 40] {
            let told = |entries: &[LedgerEntry]| serde_json::to_value(entries).unwrap();
            assert_eq!(told(&paged(&mut shop, limit)), told(&all), "{limit}");
        }
    }
}

#[test]
fn the_ledger_is_there_however_much_else_happened() {
    for saved in [false, true] {
        let mut shop = member_who_spent();
        browse(&mut shop, 1_200);
        if saved {
            shop.workspace.checkpoint().unwrap();
            shop.reopen();
        }
        let (first, _) = page(&mut shop, None, 1);
        assert_eq!(first.len(), 21, "none of an entry is left out");
        let from_gifts = first.iter().filter(|line| line.unit == "points");
        assert!(from_gifts.clone().count() == 20 && from_gifts.clone().all(|line| line.reasons.len() == 2));
        assert_eq!(paged(&mut shop, 3).len(), 41);
    }
}

#[test]
fn a_lot_that_left_the_wallet_still_says_why_it_was_granted() {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    for n in 0..1_100 {
        shop.order("ana", &format!("o{n}"), 10, 0);
        shop.refund("ana", &format!("o{n}"), 10);
    }
    shop.workspace.checkpoint().unwrap();
    let all = paged(&mut shop, 100);
    assert_eq!(all.len(), 2_200);
    assert!(all.iter().all(|line| line.rule.as_deref() == Some("purchase") && line.version.is_some()));
}

#[test]
fn the_receipt_of_a_refund_that_came_before_its_order_says_where_it_took_effect() {
    let refund = |who: Option<&str>| {
        let properties = json!({ "order_id": "A", "refund_id": "R", "total": 3 });
        json!({ "userId": who, "event": "Order Refunded", "properties": properties })
    };
    for who in [None, Some("ana")] {
        let mut shop = Shop::open();
        shop.ask("ana", "e", enroll()).unwrap();
        let sent = shop.call(Call::Track, refund(who));
        let receipt = |shop: &mut Shop| {
            let view = shop.workspace.receipt(None, &sent.message_id).unwrap().unwrap();
            view.facts.iter().map(|fact| fact.kind.clone()).collect::<Vec<_>>()
        };
        assert_eq!(receipt(&mut shop), ["parked"]);
        shop.order("ana", "A", 10, 0);
        browse(&mut shop, 1_200);
        shop.workspace.checkpoint().unwrap();
        let effect = ["returned", "taken_back", "posted", "qualified"];
        assert_eq!(receipt(&mut shop), effect, "{who:?}");
        shop.reopen();
        assert_eq!(receipt(&mut shop), effect, "{who:?}");
        shop.verify();
    }
}

#[test]
fn a_posting_says_by_whom_why_and_by_which_rule() {
    let mut shop = Shop::open();
    let levels = PROGRAM.replace("{ id: base, from: 0 }", "{ id: base, from: 0, benefits: [tree] }");
    shop.publish(&format!(
        "{levels}benefits: {{ tree: {{ on: Order Completed, grant: {{ impact: {{ trees: 1 }} }} }} }}\n"
    ));
    shop.ask("ana", "e", enroll()).unwrap();
    let goodwill = Command::Adjust { points: 150, reason: "parcel came late".into(), by: "dora".into() };
    shop.ask("ana", "late", goodwill).unwrap();
    shop.ask("ana", "mug", Command::Redeem { reward: "mug".into(), quantity: 1 }).unwrap();
    shop.order("ana", "A", 10, 2);
    let mut told = |unit: &str, cause: &str| {
        let all = paged(&mut shop, 500);
        let line = all.into_iter().find(|line| line.unit == unit && line.cause == cause).unwrap();
        (line.rule, line.version, line.reasons.join("; "))
    };
    let (_, _, reasons) = told("points", "adjust");
    assert!(reasons.contains("decided by dora") && reasons.contains("parcel came late"), "{reasons}");
    assert!(told("points", "redeem").2.contains("redeem of 1 of 'mug'"));
    let (rule, version, reasons) = told("impact:trees", "earn");
    assert_eq!((rule.as_deref(), version), (Some("benefit:tree"), Some(2)), "{reasons}");
    let (rule, _, reasons) = told("impact:waste_kg", "earn");
    assert!(rule.is_none() && reasons.contains("impact of the goods"), "{reasons}");
}

#[test]
fn an_alias_of_two_accounts_says_why_nothing_followed() {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    shop.ask("bo", "e", enroll()).unwrap();
    let sent = shop.call(Call::Alias, json!({ "userId": "ana", "previousId": "bo" }));
    let receipt = shop.workspace.receipt(None, &sent.message_id).unwrap();
    assert!(serde_json::to_string(&receipt).unwrap().contains("two_accounts"));
}
