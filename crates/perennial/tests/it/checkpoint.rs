//! Checkpoints that are gathered while the shop goes on.

use perennial::wire::Circumstances;
use perennial::wire::segment::{Call, parse};
use perennial_core::input::{Asked, Command};
use perennial_core::value::Value;
use serde_json::json;

use crate::stage::{PROGRAM, Shop, enroll};

const CUSTOMERS: u32 = 400;

/// What a customer said last, and how much has stood since.
fn plan(shop: &mut Shop, n: u32) -> (Option<Value>, i64) {
    let customer = shop.customer(&format!("u{n}"));
    (customer.profile.traits.get("plan").map(|(value, _)| value.clone()), customer.orders.standing.spend)
}

fn say(shop: &mut Shop, n: u32, word: &str) {
    // A long text, so that a checkpoint takes several steps.
    let plan = format!("{word} {}", "x".repeat(8_000));
    shop.call(Call::Identify, json!({ "userId": format!("u{n}"), "traits": { "plan": plan } }));
}

#[test]
fn customers_that_change_while_a_checkpoint_is_in_the_making_are_in_it_as_they_were() {
    let mut shop = Shop::open();
    for n in 0..CUSTOMERS {
        shop.ask(&format!("u{n}"), "e", enroll()).unwrap();
        say(&mut shop, n, "first");
    }
    let (position, mut steps) = (shop.workspace.last_seq(), 0);
    shop.workspace.checkpoint_if_due(shop.now).unwrap();
    while shop.workspace.makes_checkpoint() {
        for n in (steps * 7..CUSTOMERS).step_by(50) {
            shop.order(&format!("u{n}"), &format!("o{n} {steps}"), 10, 0);
            say(&mut shop, n, "second");
        }
        shop.call(Call::Identify, json!({ "userId": format!("new {steps}"), "traits": { "plan": "late" } }));
        shop.workspace.checkpoint_if_due(shop.now).unwrap();
        steps += 1;
    }
    assert!(steps >= 2, "{steps} steps are too few to show anything");
    let before: Vec<_> = (0..CUSTOMERS).map(|n| plan(&mut shop, n)).collect();
    while shop.workspace.state().position().unwrap() < position {
        std::thread::yield_now(); // Another thread writes.
    }
    shop.reopen(); // A crash: the checkpoint is there, the journal has a tail.
    assert!(shop.workspace.behind() > 0 && shop.workspace.behind() < 500, "{} entries", shop.workspace.behind());
    let after: Vec<_> = (0..CUSTOMERS).map(|n| plan(&mut shop, n)).collect();
    assert_eq!(before, after);
    shop.verify();
}

#[test]
fn what_the_journal_lost_is_in_no_checkpoint() {
    let mut shop = Shop::open();
    (0..CUSTOMERS).for_each(|n| say(&mut shop, n, "first"));
    shop.ask("u3", "m", Command::Merge { from: "u4".parse().unwrap() }).unwrap();
    let before: Vec<_> = (0..CUSTOMERS).map(|n| plan(&mut shop, n)).collect();
    let (position, mut sent) = (shop.workspace.last_seq(), 0);
    shop.workspace.checkpoint_if_due(shop.now).unwrap();
    let part = Asked::new(shop.now, "test", "u4".parse().unwrap(), Some("p".into()), Command::Unmerge);
    shop.workspace.decide_in(shop.now, part).unwrap(); // Decided, but never flushed.
    while shop.workspace.makes_checkpoint() {
        for n in (sent * 7 % 50..CUSTOMERS).step_by(50) {
            let body = json!({ "userId": format!("u{n}"), "messageId": format!("lost {sent} {n}"),
                "traits": { "plan": "lost" } });
            let circumstances = Circumstances::live("shop", shop.now);
            let arrivals = parse(Call::Identify, body.to_string().as_bytes(), &circumstances).unwrap();
            shop.workspace.fold_in(shop.now, arrivals).unwrap(); // Folded, but never flushed.
        }
        shop.workspace.checkpoint_if_due(shop.now).unwrap();
        sent += 1;
    }
    assert!(sent >= 2, "{sent} steps are too few to show anything");
    while shop.workspace.state().position().unwrap() < position {
        std::thread::yield_now(); // Another thread writes.
    }
    shop.reopen();
    let after: Vec<_> = (0..CUSTOMERS).map(|n| plan(&mut shop, n)).collect();
    assert_eq!(before, after);
    shop.verify();
}

/// Draws a number below `limit`, the same ones every time.
fn draw(seed: &mut u64, limit: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % limit
}

#[test]
fn long_histories_are_the_same_after_every_restart() {
    let (mut shop, mut seed) = (Shop::open(), 7);
    let people = ["ana", "bo", "cy"];
    for who in people {
        shop.ask(who, "e", enroll()).unwrap();
    }
    for n in 0..900_u64 {
        let who = people[usize::try_from(draw(&mut seed, 3)).unwrap()];
        match draw(&mut seed, 40) {
            0 => shop.workspace.checkpoint().unwrap(),
            1 => {
                let before = people.map(|who| shop.told(who));
                shop.reopen();
                assert_eq!(people.map(|who| shop.told(who)), before, "step {n}");
            }
            2..6 => shop.refund(who, &format!("o{}", draw(&mut seed, n + 1)), 3),
            6 => shop.days(10),
            7 if n > 300 => drop(shop.ask(who, &format!("m{n}"), Command::Merge { from: people[2].parse().unwrap() })),
            8 => drop(shop.ask(people[2], &format!("p{n}"), Command::Unmerge)),
            9 => drop(shop.ask(who, &format!("r{n}"), Command::Redeem { reward: "mug".into(), quantity: 1 })),
            _ => shop.order(who, &format!("o{n}"), 10, 0),
        }
    }
    shop.verify();
    shop.ask("ana", "gone", Command::Erase).unwrap();
    shop.workspace.checkpoint().unwrap();
    shop.reopen();
    shop.verify();
}

#[test]
fn windows_of_another_programme_take_the_place_of_the_old_ones() {
    const WINDOW: &str = "orders_30d: { count: Order Completed, within: P30D }";
    let variants = [
        WINDOW.to_owned(),
        format!("{WINDOW}, bought: {{ sum: order.eligible, on: Order Completed, within: P90D }}"),
        format!("{WINDOW}, ever: {{ count: Order Completed }}, zero: {{ count: Product Viewed, within: P1D }}"),
        format!("{WINDOW}, again: {{ count: Order Completed, within: P60D }}"),
    ];
    let (mut shop, mut seed) = (Shop::open(), 11);
    shop.ask("ana", "e", enroll()).unwrap();
    for n in 0..400_u64 {
        match draw(&mut seed, 24) {
            0 => {
                let features = &variants[usize::try_from(draw(&mut seed, 4)).unwrap()];
                shop.publish(&PROGRAM.replace(WINDOW, features));
                shop.order("ana", &format!("first {n}"), 10, 0);
                shop.workspace.checkpoint().unwrap();
                let before = shop.told("ana");
                shop.reopen();
                assert_eq!(shop.told("ana"), before, "step {n}");
            }
            1 => shop.days(1),
            2 => shop.refund("ana", &format!("o{}", draw(&mut seed, n + 1)), 10),
            _ => shop.order("ana", &format!("o{n}"), 10, 0),
        }
    }
    shop.verify();
}

#[test]
fn a_programme_without_windows_leaves_none_behind() {
    const WINDOW: &str = "orders_30d: { count: Order Completed, within: P30D }";
    let mut shop = Shop::open();
    let blocks = |shop: &mut Shop| {
        shop.workspace.checkpoint().unwrap();
        shop.workspace.state().customers(None, 10).unwrap().iter().map(|row| row.parts.bodies.len()).sum::<usize>()
    };
    (0..40).for_each(|n| shop.order("ana", &format!("o{n}"), 10, 0)); // No member: orders and the window.
    let before = blocks(&mut shop);
    shop.publish(
        &PROGRAM.replace(WINDOW, "orders_ever: { count: Order Completed }").replace("orders_30d", "orders_ever"),
    );
    shop.call(Call::Identify, json!({ "userId": "ana" }));
    assert_eq!((before, blocks(&mut shop)), (4, 2), "two complete blocks of each");
    shop.reopen();
    shop.verify();
}

#[test]
fn a_visitor_who_turns_out_to_be_a_member_has_all_their_lots_after_a_restart() {
    let mut shop = Shop::open();
    shop.call(Call::Identify, json!({ "userId": "visitor" }));
    shop.ask("ana", "e", enroll()).unwrap();
    (0..40).for_each(|n| shop.order("ana", &format!("o{n}"), 10, 0)); // More lots than one block holds.
    shop.workspace.checkpoint().unwrap();
    shop.ask("visitor", "m", Command::Merge { from: "ana".parse().unwrap() }).unwrap();
    let before = shop.customer("visitor").member;
    assert_eq!(before.as_ref().unwrap().wallet.lots.len(), 40);
    shop.workspace.checkpoint().unwrap();
    shop.reopen();
    assert_eq!(shop.customer("visitor").member, before);
    shop.verify();
}

/// Whether a checkpoint is made so much later. Another thread writes the one before.
fn makes_one_after(shop: &mut Shop, ms: i64) -> bool {
    shop.now = shop.now.plus_millis(ms);
    for _ in 0..20 {
        shop.workspace.checkpoint_if_due(shop.now).unwrap();
        if shop.workspace.behind() == 0 {
            while shop.workspace.makes_checkpoint() {
                shop.workspace.checkpoint_if_due(shop.now).unwrap();
            }
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    false
}

#[test]
fn large_customers_are_written_when_it_is_worth_it_and_an_erasure_waits_for_nothing() {
    let mut shop = Shop::open();
    (0..CUSTOMERS).for_each(|n| say(&mut shop, n, "first"));
    assert!(makes_one_after(&mut shop, 0));
    say(&mut shop, 1, "second");
    assert!(!makes_one_after(&mut shop, 4_000), "one message is not worth megabytes");
    assert!(makes_one_after(&mut shop, 57_000), "but a minute is long enough");
    (0..CUSTOMERS).for_each(|n| say(&mut shop, n, "third"));
    assert!(makes_one_after(&mut shop, 4_000), "the last one was small");
    say(&mut shop, 1, "fourth");
    assert!(!makes_one_after(&mut shop, 4_000));
    shop.ask("u7", "gone", Command::Erase).unwrap();
    assert!(makes_one_after(&mut shop, 1_000));
}
