//! No order, refund or idempotency key is ever forgotten (rules 21 and 22), however many follow it.

use perennial::wire::segment::Call;
use perennial::workspace::{Refusal, Status, Workspace};
use perennial_core::command::names_of;
use perennial_core::customer::{ACTIVITIES_MAX, ANSWERS_MAX, PAID_MAX, REDEMPTIONS_MAX};
use perennial_core::fact::Fact;
use perennial_core::id::Secret;
use perennial_core::input::{Command, Input};
use perennial_core::ledger::LOTS_MAX;
use perennial_core::orders::{ORDERS_MAX, REFUNDS_MAX};
use perennial_store::Store;
use serde_json::json;

use crate::stage::{PROGRAM, Shop, enroll};

fn member_with_many_orders() -> Shop {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    (0..ORDERS_MAX + 20).for_each(|n| shop.order("ana", &format!("order {n}"), 10, 0));
    shop
}

fn granted(shop: &mut Shop, who: &str) -> (i64, i64) {
    let totals = shop.customer(who).member.unwrap().wallet.totals();
    (totals.granted, totals.reversed)
}

#[test]
fn an_old_order_is_fetched_for_its_refund_and_never_booked_again() {
    for saved in [false, true] {
        let mut shop = member_with_many_orders();
        if saved {
            shop.workspace.checkpoint().unwrap();
            shop.reopen();
        }
        let before = granted(&mut shop, "ana").0;
        shop.order("ana", "order 1", 10, 0);
        shop.order("bo", "order 2", 10, 0);
        assert_eq!(granted(&mut shop, "ana"), (before, 0), "neither is booked twice");
        shop.refund("ana", "order 3", 4);
        assert_eq!(granted(&mut shop, "ana"), (before, 4));
        // It leaves the list again, as it stands now.
        (0..ORDERS_MAX + 5).for_each(|n| shop.order("ana", &format!("more {n}"), 1, 0));
        shop.refund("ana", "order 3", 4);
        shop.refund("ana", "order 3", 4);
        assert_eq!(granted(&mut shop, "ana").1, 10, "of ten, no more than ten come back");
        shop.verify();
        shop.workspace.checkpoint().unwrap();
        shop.reopen();
        shop.refund("ana", "order 4", 10);
        assert_eq!(granted(&mut shop, "ana").1, 20);
        shop.verify();
    }
}

#[test]
fn an_old_order_of_one_who_became_another_is_refunded_as_it_stands() {
    for saved in [false, true] {
        let mut shop = member_with_many_orders();
        shop.ask("bo", "e", enroll()).unwrap();
        shop.ask("bo", "m", Command::Merge { from: "ana".parse().unwrap() }).unwrap();
        let mut refund = |points: u32, comes_back: i64| {
            if saved {
                shop.workspace.checkpoint().unwrap();
                shop.reopen();
            }
            let before = granted(&mut shop, "bo").1;
            shop.refund("ana", "order 3", points);
            assert_eq!(granted(&mut shop, "bo").1 - before, comes_back);
            // It leaves the list again, of another customer by now.
            (0..ORDERS_MAX + 5).for_each(|n| shop.order("bo", &format!("after {before}, {n}"), 1, 0));
        };
        refund(4, 4);
        refund(4, 4);
        refund(4, 2);
        shop.verify();
    }
}

#[test]
fn two_who_used_the_same_keys_are_still_told_apart_as_one() {
    let mut shop = shop_with_tokens(&["ana", "bo"]);
    let tokens = |quantity| Command::Redeem { reward: "token".into(), quantity };
    shop.ask("ana", "november", tokens(1)).unwrap();
    shop.ask("bo", "november", tokens(2)).unwrap();
    shop.ask("ana", "m", Command::Merge { from: "bo".parse().unwrap() }).unwrap();
    shop.ask("bo", "november", tokens(2)).unwrap();
    shop.ask("ana", "november", tokens(1)).unwrap();
    assert_eq!(available(&mut shop, "ana"), 10_000 - 3, "either was told the own first answer");
    assert_eq!(shop.ask("bo", "november", tokens(3)), Err("idempotency_key_reused".into()));
    let more = Command::Adjust { points: 10, reason: "more".into(), by: "staff".into() };
    shop.ask("bo", "more", more.clone()).unwrap();
    shop.ask("ana", "more", more).unwrap();
    assert_eq!(available(&mut shop, "ana"), 10_000 - 3 + 10, "a key of theirs together counts once");
    for (key, who, left) in [("1", "bo", 1), ("2", "bo", 1), ("3", "ana", 0), ("4", "ana", 0)] {
        shop.ask(who, key, undo("november")).unwrap();
        assert_eq!(available(&mut shop, "ana"), 10_010 - left, "{who}'s own, and once");
    }
    shop.verify();
}

#[test]
fn of_an_erased_person_no_old_order_is_kept() {
    let mut shop = member_with_many_orders();
    let id = shop.customer("ana").id;
    let archived = |shop: &Shop| shop.workspace.state().search_archive(id, |body| Some(body.len())).unwrap();
    shop.workspace.checkpoint().unwrap();
    assert!(archived(&shop).is_some());
    shop.ask("ana", "x", Command::Erase).unwrap();
    shop.workspace.checkpoint().unwrap();
    assert_eq!(archived(&shop), None);
}

#[test]
fn what_a_member_may_have_so_often_is_counted_however_much_follows() {
    let mut shop = Shop::open();
    let rewards = "[{ id: token, name: A token, points: 1 }, { id: ticket, name: A ticket, points: 1, per_member: 2 }]";
    let once = "{ id: hello, on: Said Hello, points: 5, limit: 1 }, { id: click, on: Clicked, points: 1 }";
    let program = PROGRAM.replace("[{ id: mug, name: A mug, points: 100, stock: 5 }]", rewards);
    shop.publish(&program.replace("earn: [", &format!("earn: [{once}, ")));
    shop.ask("ana", "e", enroll()).unwrap();
    let redeem = |reward: &str| Command::Redeem { reward: reward.into(), quantity: 1 };
    let say = |shop: &mut Shop, event: &str| shop.call(Call::Track, json!({ "userId": "ana", "event": event }));
    say(&mut shop, "Said Hello");
    (0..=PAID_MAX).for_each(|_| drop(say(&mut shop, "Clicked")));
    let before = granted(&mut shop, "ana").0;
    say(&mut shop, "Said Hello");
    assert_eq!(granted(&mut shop, "ana").0, before, "once is once");
    shop.ask("ana", "first", redeem("ticket")).unwrap();
    (0..REDEMPTIONS_MAX - 1).for_each(|n| shop.ask("ana", &format!("r{n}"), redeem("token")).unwrap());
    shop.ask("ana", "more", Command::Adjust { points: 10, reason: "more".into(), by: "staff".into() }).unwrap();
    shop.ask("ana", "r", redeem("token")).unwrap();
    shop.ask("ana", "second", redeem("ticket")).unwrap();
    assert_eq!(shop.ask("ana", "third", redeem("ticket")), Err("limit_reached".into()));
    shop.verify();
}

#[test]
fn points_come_back_to_a_lot_however_many_followed_it() {
    let mut shop = shop_with_tokens(&["ana"]);
    shop.ask("ana", "spent", Command::Redeem { reward: "token".into(), quantity: 5_000 }).unwrap();
    let more = |n: usize| Command::Adjust { points: 1, reason: format!("{n}").into(), by: "staff".into() };
    for n in 0..LOTS_MAX + 40 {
        shop.ask("ana", &format!("more {n}"), more(n)).unwrap();
        shop.ask("ana", &format!("less {n}"), Command::Redeem { reward: "token".into(), quantity: 1 }).unwrap();
    }
    for saved in [false, true] {
        if saved {
            shop.workspace.checkpoint().unwrap();
            shop.reopen();
        }
        let wallet = shop.customer("ana").member.unwrap().wallet;
        assert!(wallet.lots.len() <= LOTS_MAX && wallet.closed.len() > 30, "the first lot is kept aside");
    }
    shop.ask("ana", "u", undo("spent")).unwrap();
    let totals = shop.customer("ana").member.unwrap().wallet.totals();
    assert_eq!((totals.available, totals.spent), (5_000, i64::try_from(LOTS_MAX).unwrap() + 40));
    shop.workspace.checkpoint().unwrap();
    shop.reopen();
    assert_eq!(available(&mut shop, "ana"), 5_000);
    shop.verify();
}

#[test]
fn the_first_and_the_last_order_are_known_however_many_are_taken_back() {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    let instants = |shop: &mut Shop| {
        let standing = shop.customer("ana").orders.standing;
        (standing.first.unwrap(), standing.last.unwrap())
    };
    shop.order("ana", "order 0", 10, 0);
    let (first, _) = instants(&mut shop);
    let mut third = first;
    for n in 1..ORDERS_MAX + 4 {
        shop.now = shop.now.plus_millis(1_000);
        shop.order("ana", &format!("order {n}"), 10, 0);
        if n == 3 {
            third = shop.now;
        }
    }
    (4..ORDERS_MAX + 4).rev().for_each(|n| shop.refund("ana", &format!("order {n}"), 10));
    assert_eq!(instants(&mut shop), (first, third));
    (0..4).for_each(|n| shop.refund("ana", &format!("order {n}"), 10));
    assert_eq!(shop.customer("ana").orders.standing.last, None);
    shop.verify();
}

#[test]
fn what_pays_once_is_known_however_many_submissions_follow() {
    let mut shop = Shop::open();
    let rules = "{ id: post, on: Posted, points: 5, unique_by: event.url }, { id: photo, on: Shown, points: 7, review: required }";
    shop.publish(&PROGRAM.replace("earn: [", &format!("earn: [{rules}, ")));
    shop.ask("ana", "e", enroll()).unwrap();
    let post = |shop: &mut Shop, event: &str, n: usize| {
        shop.call(Call::Track, json!({ "userId": "ana", "event": event, "properties": { "url": n } }));
    };
    post(&mut shop, "Shown", 0);
    (0..ACTIVITIES_MAX + 30).for_each(|n| post(&mut shop, "Posted", n));
    let before = granted(&mut shop, "ana").0;
    shop.workspace.checkpoint().unwrap();
    shop.reopen();
    (0..60).for_each(|n| post(&mut shop, "Posted", n));
    assert_eq!(granted(&mut shop, "ana").0, before, "each address pays once");
    let approve = Command::Review { activity: "m1".into(), approve: true, reason: None };
    shop.ask("ana", "r", approve).unwrap();
    assert_eq!(granted(&mut shop, "ana").0, before + 7, "the one that waits has not been forgotten");
    shop.verify();
}

/// A reward that costs little, and members who can pay for it.
fn shop_with_tokens(members: &[&str]) -> Shop {
    let mut shop = Shop::open();
    let mug = "[{ id: mug, name: A mug, points: 100, stock: 5 }]";
    shop.publish(&PROGRAM.replace(mug, "[{ id: token, name: A token, points: 1, stock: 9000 }]"));
    for member in members {
        shop.ask(member, "e", enroll()).unwrap();
        shop.ask(member, "p", Command::Adjust { points: 5_000, reason: "more".into(), by: "staff".into() }).unwrap();
    }
    shop
}

fn buy_tokens(shop: &mut Shop, who: &str, keys: &str, count: usize) {
    let token = || Command::Redeem { reward: "token".into(), quantity: 1 };
    (0..count).for_each(|n| shop.ask(who, &format!("{keys}{n}"), token()).unwrap());
}

fn available(shop: &mut Shop, who: &str) -> i64 {
    shop.customer(who).member.unwrap().wallet.available()
}

fn undo(redemption: &str) -> Command {
    Command::Undo { redemption: redemption.into() }
}

#[test]
fn a_redemption_is_undone_once_however_many_follow() {
    for saved in [false, true] {
        let mut shop = shop_with_tokens(&["ana"]);
        buy_tokens(&mut shop, "ana", "first ", 3);
        let mut undone = 0;
        for round in 0..2 {
            // It leaves the list, and the second time as one that was undone.
            buy_tokens(&mut shop, "ana", &format!("{round}: "), REDEMPTIONS_MAX + 1);
            if saved {
                shop.workspace.checkpoint().unwrap();
                shop.reopen();
            }
            let before = available(&mut shop, "ana");
            shop.ask("ana", &format!("undo in {round}"), undo("first 1")).unwrap();
            undone += available(&mut shop, "ana") - before;
            assert_eq!(undone, 1);
        }
        assert_eq!(shop.ask("ana", "of nobody", undo("first 9")), Err("unknown_redemption".into()));
        assert_eq!(shop.workspace.stock("token"), Some(9_000 - 3 - 2 * 513 + 1));
        shop.verify();
    }
}

#[test]
fn an_old_redemption_is_its_own_members_when_a_merge_is_taken_back() {
    for undone_before in [false, true] {
        let mut shop = shop_with_tokens(&["ana", "bo"]);
        buy_tokens(&mut shop, "bo", "bo's ", 2);
        shop.ask("ana", "m", Command::Merge { from: "bo".parse().unwrap() }).unwrap();
        buy_tokens(&mut shop, "ana", "ana's ", REDEMPTIONS_MAX + 2);
        if undone_before {
            shop.ask("ana", "u", undo("bo's 1")).unwrap();
        }
        shop.workspace.checkpoint().unwrap();
        shop.ask("bo", "apart", Command::Unmerge).unwrap();
        assert_eq!(shop.ask("ana", "not hers", undo("bo's 0")), Err("unknown_redemption".into()));
        assert_eq!(shop.ask("bo", "not his", undo("ana's 0")), Err("unknown_redemption".into()));
        for (who, what) in [("bo", "bo's 0"), ("bo", "bo's 1"), ("ana", "ana's 0"), ("ana", "ana's 1")] {
            shop.ask(who, what, undo(what)).unwrap();
        }
        assert_eq!((available(&mut shop, "ana"), available(&mut shop, "bo")), (5_000 - 512, 5_000));
        shop.verify();
    }
}

#[test]
fn of_an_erased_person_no_old_redemption_is_kept() {
    let mut shop = shop_with_tokens(&["ana"]);
    buy_tokens(&mut shop, "ana", "t", REDEMPTIONS_MAX + 5);
    shop.workspace.checkpoint().unwrap();
    let mut key = [3; 17];
    let id = shop.customer("ana").id;
    let name = &names_of(&shop.workspace.rules().secret, &[id], "t1")[0];
    key[1..].copy_from_slice(&Secret(id.0).digest(&[name.as_bytes()]));
    assert!(shop.workspace.state().kept(key).unwrap().is_some());
    shop.ask("ana", "x", Command::Erase).unwrap();
    shop.workspace.checkpoint().unwrap();
    assert_eq!(shop.workspace.state().kept(key).unwrap(), None);
    shop.verify();
}

#[test]
fn who_joined_already_is_told_the_first_answer() {
    let mut shop = Shop::open();
    let first = shop.answer("ana", "one", enroll());
    shop.order("ana", "A", 10, 0);
    shop.workspace.checkpoint().unwrap();
    shop.reopen();
    for _ in 0..2 {
        let again = shop.answer("ana", "two", enroll());
        assert!(again.replayed && !first.replayed);
        assert_eq!((again.seq, &again.outcome), (first.seq, &first.outcome));
    }
    shop.verify();
}

#[test]
fn a_benefit_of_an_old_order_can_be_said_to_be_brought() {
    let mut shop = Shop::open();
    let tree = "benefits: { tree: { name: A tree, on: Order Completed, when: order.eligible > 5.00, grant: { impact: { trees: 1 } } } }";
    let levels = PROGRAM.replace("{ id: base, from: 0 }", "{ id: base, from: 0, benefits: [tree] }");
    shop.publish(&format!("{levels}{tree}\n"));
    shop.ask("ana", "e", enroll()).unwrap();
    (0..ORDERS_MAX + 20).for_each(|n| shop.order("ana", &format!("order {n}"), 10, 0));
    let trees = |shop: &mut Shop| shop.customer("ana").member.unwrap().impact.get("trees").copied().unwrap_or(0);
    let all = trees(&mut shop);
    let fulfill = |order: &str| Command::Fulfill { benefit: "tree".into(), order: order.into(), proof: None };
    for again in 0..2 {
        shop.ask("ana", "planted", fulfill("order 3")).unwrap();
        shop.ask("ana", &format!("planted {again}"), fulfill("order 3")).unwrap();
    }
    assert_eq!(shop.ask("bo", "not his", fulfill("order 3")), Err("unknown_customer".into()));
    shop.refund("ana", "order 3", 10);
    assert_eq!(trees(&mut shop), all);
    shop.refund("ana", "order 4", 10);
    assert_eq!(trees(&mut shop), all - 1_000);
    shop.verify();
}

#[test]
fn a_product_that_is_not_on_an_old_order_is_rejected() {
    let mut shop = member_with_many_orders();
    let properties = json!({ "order_id": "order 1", "products": [{ "product_id": "tent" }] });
    let receipt =
        shop.call(Call::Track, json!({ "userId": "ana", "event": "Order Refunded", "properties": properties }));
    assert!(matches!(receipt.status, Status::Rejected { code, .. } if &*code == "unknown_line"));
    shop.verify();
}

#[test]
fn a_refund_key_is_known_however_many_follow_and_an_order_takes_so_many() {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    shop.order("ana", "A", 1_000, 0);
    let mut refund = |id: usize| {
        let properties = json!({ "order_id": "A", "refund_id": format!("R{id}"), "total": 1 });
        shop.call(Call::Track, json!({ "event": "Order Refunded", "properties": properties })).status
    };
    (0..REFUNDS_MAX).for_each(|id| assert_eq!(refund(id), Status::Accepted));
    assert!(matches!(refund(REFUNDS_MAX), Status::Rejected { code, .. } if &*code == "limit_reached"));
    assert_eq!(granted(&mut shop, "ana").1, i64::try_from(REFUNDS_MAX).unwrap());
}

#[test]
fn an_idempotency_key_gives_its_first_answer_however_many_follow() {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    let adjust = |points| Command::Adjust { points, reason: "welcome".into(), by: "test".into() };
    let first = shop.answer("ana", "first", adjust(500));
    (0..ANSWERS_MAX + 10).for_each(|n| shop.ask("ana", &format!("k{n}"), adjust(1)).unwrap());
    for reopened in [false, true] {
        if reopened {
            shop.workspace.checkpoint().unwrap();
            shop.reopen();
        }
        let again = shop.answer("ana", "first", adjust(500));
        assert_eq!((again.seq, again.replayed), (first.seq, true));
        assert!(shop.answer("ana", "first", adjust(501)).key_reused);
    }
    assert_eq!(granted(&mut shop, "ana").0, 500 + i64::try_from(ANSWERS_MAX + 10).unwrap());
    // Also when it was somebody else's once.
    shop.ask("bo", "e", enroll()).unwrap();
    shop.ask("bo", "m", Command::Merge { from: "ana".parse().unwrap() }).unwrap();
    assert!(shop.answer("ana", "first", adjust(500)).replayed);
    shop.verify();
}

#[test]
fn a_refusal_from_before_its_words_were_kept_is_told_by_its_code() {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    let mug = || Command::Redeem { reward: "mug".into(), quantity: 1 };
    let refused = shop.answer("ana", "new", mug());
    let said = refused.outcome.unwrap_err();
    let written = shop.customer("ana");
    shop.workspace = Workspace::memory().unwrap();
    let mut store = Store::on(&shop.disk).unwrap();
    let mut old = store.journal.reader().entry(refused.seq).unwrap().unwrap();
    old.seq += 1;
    old.outcome = vec![Fact::Refused("insufficient_points".into())];
    let Some(Input::Command(asked)) = &mut old.input else { panic!("a command: {old:?}") };
    asked.key = Some("old".into());
    store.journal.append(&[old]).unwrap();
    drop(store);
    shop.reopen();
    assert_eq!(shop.customer("ana").answers.len(), written.answers.len() + 1);
    let again = shop.answer("ana", "new", mug());
    assert_eq!((again.replayed, again.outcome), (true, Err(said)));
    let again = shop.answer("ana", "old", mug());
    let known = Refusal::new("insufficient_points", "the answer already given to this idempotency key");
    assert_eq!((again.replayed, again.outcome), (true, Err(known)));
    shop.verify();
}

#[test]
fn a_command_before_there_is_a_programme_is_no_answer_to_its_key() {
    let mut shop = Shop::without_programme();
    assert_eq!(shop.ask("ana", "e", enroll()), Err("no_programme".into()));
    shop.reopen();
    assert_eq!(shop.ask("ana", "e", enroll()), Err("no_programme".into()));
    shop.publish(PROGRAM);
    assert_eq!(shop.ask("ana", "e", enroll()), Ok(()));
    assert!(shop.customer("ana").member.is_some());
    shop.verify();
}

#[test]
fn nobody_is_merged_before_there_is_a_programme() {
    let mut shop = Shop::without_programme();
    let on_tablet = |who: &str| json!({ "userId": who, "anonymousId": "tablet" });
    shop.call(Call::Identify, json!({ "anonymousId": "tablet" }));
    shop.call(Call::Identify, json!({ "userId": "ana" }));
    shop.call(Call::Identify, json!({ "userId": "bo" }));
    let merge = || Command::Merge { from: "bo".parse().unwrap() };
    assert_eq!(shop.ask("ana", "m", merge()), Err("no_programme".into()));
    shop.call(Call::Identify, on_tablet("ana"));
    shop.workspace.checkpoint().unwrap();
    shop.reopen();
    shop.publish(PROGRAM);
    let id = |shop: &mut Shop, who: &str| shop.customer(who).id;
    assert_ne!(id(&mut shop, "ana"), id(&mut shop, "anonymous:tablet"));
    assert_ne!(id(&mut shop, "ana"), id(&mut shop, "bo"));
    shop.verify();
    shop.call(Call::Identify, on_tablet("ana"));
    assert_eq!(shop.ask("ana", "m", merge()), Ok(()));
    assert_eq!(id(&mut shop, "ana"), id(&mut shop, "anonymous:tablet"));
    assert_eq!(id(&mut shop, "ana"), id(&mut shop, "bo"));
    shop.verify();
}

#[test]
fn what_waits_for_an_order_survives_a_restart_and_its_receipt_says_what_came_of_it() {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    let properties = json!({ "order_id": "A", "refund_id": "R", "total": 30 });
    let receipt = shop.call(Call::Track, json!({ "event": "Order Refunded", "properties": properties }));
    assert_eq!((receipt.status, receipt.customer), (Status::Accepted, None));
    let facts = |shop: &mut Shop| {
        let view = shop.workspace.receipt(None, &receipt.message_id).unwrap().unwrap();
        view.facts.iter().map(|fact| fact.kind.clone()).collect::<Vec<_>>()
    };
    assert_eq!(facts(&mut shop), ["parked"]);
    shop.workspace.checkpoint().unwrap();
    shop.reopen();
    shop.order("ana", "A", 100, 0);
    assert_eq!(granted(&mut shop, "ana"), (100, 30));
    assert_eq!(facts(&mut shop), ["returned", "taken_back", "posted", "qualified"]);
    shop.verify();
    shop.reopen();
    assert_eq!(granted(&mut shop, "ana"), (100, 30));
}

#[test]
fn more_than_a_customer_may_have_waiting_is_not_lost() {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    (0..100).for_each(|n| shop.refund("ana", &format!("order {n}"), 5));
    (0..100).for_each(|n| shop.order("ana", &format!("order {n}"), 10, 0));
    assert_eq!(granted(&mut shop, "ana"), (1_000, 500));
    shop.verify();
}

/// Entries that let in what had waited, and the most of them between two inputs.
fn let_in(shop: &Shop) -> (Vec<u64>, usize) {
    let (mut causes, mut in_a_row, mut most) = (Vec::new(), 0, 0);
    for entry in shop.workspace.journal().iter(1) {
        let entry = entry.unwrap();
        match (&entry.input, entry.cause) {
            (Some(Input::Event(_)), Some(cause)) => {
                causes.push(cause);
                in_a_row += 1;
            }
            _ => in_a_row = 0,
        }
        most = most.max(in_a_row);
    }
    (causes, most)
}

#[test]
fn no_more_wait_for_an_order_than_one_input_may_cause_and_all_of_them_follow_it_in_their_order() {
    const WAITING_MAX: usize = 64;
    // Undisturbed; with a restart while they follow; with a checkpoint, too.
    let lives: [fn(&mut Shop); 3] = [
        |_| (),
        Shop::reopen,
        |shop| {
            shop.workspace.checkpoint().unwrap();
            shop.reopen();
        },
    ];
    for live in lives {
        let mut shop = Shop::open();
        shop.ask("ana", "e", enroll()).unwrap();
        let refund = |shop: &mut Shop, n: usize| {
            let properties = json!({ "order_id": "A", "refund_id": format!("R{n}"), "total": 1 });
            shop.call(Call::Track, json!({ "event": "Order Refunded", "properties": properties }))
        };
        let waiting: Vec<u64> = (0..WAITING_MAX).map(|n| refund(&mut shop, n).seq.unwrap()).collect();
        let Status::Rejected { code, field, reason } = refund(&mut shop, WAITING_MAX).status else { panic!() };
        assert_eq!((&*code, &*field), ("limit_reached", "properties.order_id"));
        assert!(reason.starts_with("64 ") && reason.contains("send the order"), "{reason}");
        shop.order("ana", "A", 400, 0);
        assert_eq!(let_in(&shop), (waiting, WAITING_MAX), "nobody sees the order without them");
        assert_eq!(granted(&mut shop, "ana"), (400, i64::try_from(WAITING_MAX).unwrap()));
        live(&mut shop);
        assert_eq!(refund(&mut shop, WAITING_MAX).status, Status::Accepted, "it may be sent again after the order");
        shop.verify();
        let before = shop.workspace.last_seq();
        shop.reopen();
        shop.days(0);
        assert_eq!(shop.workspace.last_seq(), before, "nothing is owed any more");
        shop.verify();
    }
}

#[test]
fn a_visitors_order_may_still_earn_however_many_follow() {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    shop.order("bo", "before", 70, 0);
    shop.ask("bo", "e", enroll()).unwrap();
    (0..ORDERS_MAX + 20).for_each(|n| shop.order("bo", &format!("order {n}"), 1, 0));
    let before = granted(&mut shop, "bo").0;
    // Bo is Ana, who had joined before that first order.
    shop.ask("bo", "m", Command::Merge { from: "ana".parse().unwrap() }).unwrap();
    assert_eq!(granted(&mut shop, "bo").0, before + 70);
    shop.verify();
}
