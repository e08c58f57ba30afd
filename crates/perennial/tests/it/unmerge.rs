//! A merge that is taken back: both sides are as if they had never been one (R4, rule 30).

use perennial::wire::segment::{Call, parse};
use perennial::wire::{Arrival, Circumstances};
use perennial::workspace::{Who, Workspace};
use perennial_core::fact::Fact;
use perennial_core::input::{Command, Entry, Input};
use perennial_core::rules::Rules;
use perennial_core::{engine, program};
use perennial_store::Store;
use serde_json::json;

use crate::stage::{PROGRAM, Shop, enroll};

/// A life of two people and their devices; `one` is what happens between.
fn life(mut between: impl FnMut(&mut Shop, u8)) -> Shop {
    let mut shop = Shop::open();
    for who in ["ana", "bo"] {
        shop.ask(who, "e", enroll()).unwrap();
    }
    shop.order("ana", "A1", 300, 1);
    shop.order("bo", "B1", 200, 2);
    shop.call(Call::Identify, json!({ "userId": "bo", "traits": { "plan": "small" } }));
    shop.days(3);
    between(&mut shop, 1);
    shop.order("ana", "A2", 100, 0);
    shop.order("bo", "B2", 40, 0);
    shop.days(20); // B1 and A1 become available meanwhile.
    shop.call(Call::Page, json!({ "anonymousId": "tablet", "name": "home" }));
    shop.call(
        Call::Identify,
        json!({ "userId": "bo", "anonymousId": "tablet", "traits": { "email": "bo@example.com" } }),
    );
    shop.ask("bo", "mug", Command::Redeem { reward: "mug".into(), quantity: 1 }).unwrap();
    shop.publish(
        &PROGRAM.replace(
            "features: {",
            "features: { biggest: { max: order.eligible, on: Order Completed, within: P365D },",
        ),
    );
    shop.refund("bo", "B1", 60);
    shop.order("ana", "A3", 10, 0);
    shop.days(2);
    between(&mut shop, 2);
    shop.order("bo", "B3", 25, 0);
    shop.refund("ana", "A2", 30);
    shop.days(40);
    shop.order("ana", "A4", 33, 2);
    shop
}

#[test]
fn both_sides_are_as_if_they_had_never_been_one() {
    let mut apart = life(|_, _| {});
    let mut once_one = life(|shop, moment| {
        if moment == 1 {
            shop.ask("ana", "m", Command::Merge { from: "bo".parse().unwrap() }).unwrap();
        } else {
            assert_eq!(shop.customer("ana").id, shop.customer("bo").id);
            shop.verify();
            shop.ask("bo", "u", Command::Unmerge).unwrap();
        }
    });
    for who in ["ana", "bo", "anonymous:tablet", "email:bo@example.com"] {
        assert_eq!(apart.told(who), once_one.told(who), "{who}");
    }
    assert_eq!(apart.workspace.stock("mug"), once_one.workspace.stock("mug"));
    once_one.verify();
}

#[test]
fn an_unmerge_outlives_checkpoints_and_crashes() {
    for moment in 0..3 {
        let mut shop = life(|shop, now| {
            if now == 1 {
                shop.ask("ana", "m", Command::Merge { from: "bo".parse().unwrap() }).unwrap();
                (moment == 0).then(|| shop.workspace.checkpoint().unwrap());
                shop.reopen();
            } else {
                shop.ask("bo", "u", Command::Unmerge).unwrap();
                (moment == 1).then(|| shop.workspace.checkpoint().unwrap());
                shop.reopen();
            }
        });
        (moment == 2).then(|| shop.workspace.checkpoint().unwrap());
        let before = (shop.told("ana"), shop.told("bo"));
        shop.reopen();
        assert_eq!((shop.told("ana"), shop.told("bo")), before, "{moment}");
        shop.verify();
    }
}

#[test]
fn an_old_id_finds_the_survivor_after_a_restart_and_its_own_customer_after_an_unmerge() {
    let mut shop = life(|_, _| {});
    let (ana, bo) = (shop.customer("ana").id, shop.customer("bo").id);
    shop.ask("ana", "m", Command::Merge { from: "bo".parse().unwrap() }).unwrap();
    shop.workspace.checkpoint().unwrap();
    shop.reopen();
    assert_eq!(shop.workspace.customer_by_id(shop.now, bo).unwrap().map(|c| c.id), Some(ana));
    // By the old id of the one to set free.
    shop.ask(&bo.to_string(), "u", Command::Unmerge).unwrap();
    assert_eq!(shop.workspace.customer_by_id(shop.now, bo).unwrap().map(|c| c.id), Some(bo));
    shop.verify();
}

#[test]
fn merges_are_taken_back_one_by_one_in_any_order() {
    let merge = |shop: &mut Shop, into: &str, from: &str| {
        let key = format!("{into}{from}{}", shop.now);
        shop.ask(into, &key, Command::Merge { from: from.parse().unwrap() }).unwrap();
    };
    let mut shop = life(|shop, moment| {
        if moment == 1 {
            shop.order("cy", "C1", 70, 0);
            merge(shop, "bo", "cy"); // Cy is Bo, and Bo is Ana.
            merge(shop, "ana", "bo");
            shop.order("cy", "C2", 7, 0);
        }
    });
    shop.order("di", "D1", 20, 0);
    merge(&mut shop, "ana", "di");
    shop.order("di", "D2", 5, 0);
    // An earlier merge first: Di stays with Ana, Cy goes with Bo.
    shop.ask("bo", "u1", Command::Unmerge).unwrap();
    assert_eq!(shop.customer("ana").id, shop.customer("di").id);
    assert_eq!(shop.customer("bo").id, shop.customer("cy").id);
    assert_ne!(shop.customer("ana").id, shop.customer("bo").id);
    shop.ask("cy", "u2", Command::Unmerge).unwrap();
    shop.ask("di", "u3", Command::Unmerge).unwrap();
    assert_eq!(shop.ask("di", "u4", Command::Unmerge), Err("not_merged".into()));
    // And once more, the other way round.
    merge(&mut shop, "bo", "ana");
    shop.order("ana", "A5", 11, 0);
    shop.ask("ana", "u5", Command::Unmerge).unwrap();
    let orders = |shop: &mut Shop, who: &str| {
        shop.customer(who).orders.iter().map(|o| o.order_id.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(orders(&mut shop, "ana"), "A1 A2 A3 A4 A5");
    assert_eq!(orders(&mut shop, "bo"), "B1 B2 B3");
    assert_eq!((orders(&mut shop, "cy"), orders(&mut shop, "di")), ("C1 C2".into(), "D1 D2".into()));
    shop.verify();
}

#[test]
fn postings_add_up_to_the_balances_of_both_sides() {
    let mut shop = life(|shop, moment| match moment {
        1 => shop.ask("ana", "m", Command::Merge { from: "bo".parse().unwrap() }).unwrap(),
        _ => shop.ask("bo", "u", Command::Unmerge).unwrap(),
    });
    for who in ["ana", "bo"] {
        let customer = shop.customer(who);
        let totals = customer.member.as_ref().unwrap().wallet.totals();
        let (ledger, _) = shop.workspace.ledger(shop.now, &Who::Id(customer.id), None, 1_000).unwrap().unwrap();
        let sum = |account: &str| -> i64 {
            let moved = |e: &perennial::view::LedgerEntry| {
                i64::from(e.to == account) * e.amount - i64::from(e.from == account) * e.amount
            };
            ledger.iter().filter(|e| e.unit == "points").map(moved).sum()
        };
        let booked = ["pending", "available", "spent", "reversed"].map(sum);
        assert_eq!(booked, [totals.pending, totals.available, totals.spent, totals.reversed], "{who}");
        assert_eq!(-sum("arrears"), customer.member.as_ref().unwrap().wallet.arrears, "{who}");
    }
}

/// Two journals written apart, as one: both have the order `A1`, Bo's is the later record.
fn the_same_order_on_both_sides() -> Shop {
    let mut shop = Shop::open();
    for who in ["ana", "bo"] {
        shop.ask(who, "e", enroll()).unwrap();
    }
    shop.order("ana", "A1", 100, 1);
    shop.days(1);
    let (secret, now) = (shop.workspace.rules().secret, shop.now);
    let mut bo = shop.customer("bo");
    let properties =
        json!({ "order_id": "A1", "subtotal": 120, "products": [{ "product_id": "bottle", "price": 120 }] });
    let call = json!({ "userId": "bo", "event": "Order Completed", "messageId": "other", "properties": properties });
    let arrivals = parse(Call::Track, call.to_string().as_bytes(), &Circumstances::live("other", now)).unwrap();
    let [Arrival::Event(event)] = &arrivals[..] else { panic!("an event") };
    let mut rules = Rules::new(secret);
    rules.publish(program::compile(PROGRAM).unwrap(), "2026-01-10T09:00:00Z".parse().unwrap());
    rules.learn_products(&shop.workspace.rules().catalog.iter().cloned().collect::<Vec<_>>());
    let outcome = engine::apply(&rules, &mut bo, event);
    shop.workspace = Workspace::memory().unwrap();
    let mut store = Store::on(&shop.disk).unwrap();
    let seq = store.journal.last_seq() + 1;
    let (customer, input) = (Some(bo.id), Some(Input::Event(event.clone())));
    let entry = Entry { seq, recorded_at: now, customer, root: customer, cause: None, input, outcome };
    store.journal.append(&[entry]).unwrap();
    drop(store);
    shop.reopen();
    shop
}

#[test]
fn an_order_that_both_sides_have_counts_once_in_the_merge_and_for_each_after_it() {
    for (into, from) in [("ana", "bo"), ("bo", "ana")] {
        let mut shop = the_same_order_on_both_sides();
        let apart = (shop.told("ana"), shop.told("bo"));
        shop.ask(into, "m", Command::Merge { from: from.parse().unwrap() }).unwrap();
        let one = shop.customer("ana");
        let member = one.member.as_ref().unwrap();
        let points = member.wallet.totals();
        assert_eq!((points.pending, points.reversed), (100, 120), "the earlier record stays");
        assert_eq!((one.orders.standing.count, one.orders.standing.spend), (1, 10_000));
        assert_eq!(member.years.values().map(|y| y.points).sum::<i64>(), 100);
        assert_eq!(member.impact.get("waste_kg"), Some(&4_000));
        shop.verify();
        shop.ask("bo", "u", Command::Unmerge).unwrap();
        assert_eq!((shop.told("ana"), shop.told("bo")), apart);
        shop.verify();
    }
}

#[test]
fn the_timeline_of_each_side_is_its_own() {
    let names = |shop: &mut Shop, who: &str| {
        let id = Who::Named(who.parse().unwrap());
        let entries = shop.workspace.timeline(shop.now, &id, None, 500).unwrap().unwrap();
        let (mut paged, mut before) = (Vec::new(), None);
        while let Some(page) =
            shop.workspace.timeline(shop.now, &id, before, 3).unwrap().filter(|page| !page.is_empty())
        {
            before = page.last().map(|entry| entry.seq);
            paged.extend(page.into_iter().map(|entry| entry.seq));
        }
        assert_eq!(paged, entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), "the pages are the list");
        let told = entries.iter().rev().filter(|e| e.kind == "event").filter_map(|e| e.message_id.clone());
        told.collect::<Vec<_>>().join(" ")
    };
    let mut apart = life(|_, _| {});
    let mut once_one = life(|shop, moment| match moment {
        1 => shop.ask("ana", "m", Command::Merge { from: "bo".parse().unwrap() }).unwrap(),
        _ => shop.ask("bo", "u", Command::Unmerge).unwrap(),
    });
    for who in ["ana", "bo"] {
        assert_eq!(names(&mut once_one, who), names(&mut apart, who), "{who}");
    }
}

#[test]
fn an_order_that_has_left_the_list_is_refunded_on_its_own_side() {
    let lives = [false, true].map(|merged| {
        let mut shop = life(|shop, moment| match moment {
            1 => {
                (0..150).for_each(|n| shop.order("bo", &format!("early {n}"), 10, 0));
                if merged {
                    shop.ask("ana", "m", Command::Merge { from: "bo".parse().unwrap() }).unwrap();
                }
                (0..150).for_each(|n| shop.order("bo", &format!("late {n}"), 10, 0));
                shop.refund("ana", "early 3", 4);
            }
            _ if merged => shop.ask("bo", "u", Command::Unmerge).unwrap(),
            _ => {}
        });
        shop.refund("ana", "early 4", 4);
        shop.refund("bo", "early 3", 100);
        shop.verify();
        (shop.told("ana"), shop.told("bo"))
    });
    assert_eq!(lives[0], lives[1]);
}

/// Ana, who was merged with Bo, Cy and Di in turn, and all four as they stand after `then`.
fn four(then: impl FnOnce(&mut Shop)) -> Shop {
    let mut shop = life(|shop, moment| {
        if moment == 1 {
            shop.ask("cy", "e", enroll()).unwrap();
            shop.order("cy", "C1", 70, 1);
            merge(shop, "bo", "cy"); // Cy is Bo, and Bo is Ana.
            merge(shop, "ana", "bo");
            shop.order("cy", "C2", 7, 0);
        }
    });
    shop.ask("di", "e", enroll()).unwrap();
    shop.order("di", "D1", 20, 2);
    merge(&mut shop, "ana", "di");
    shop.order("di", "D2", 5, 0);
    shop.order("ana", "A5", 50, 0);
    then(&mut shop);
    shop
}

fn merge(shop: &mut Shop, into: &str, from: &str) {
    let key = format!("{into}{from}{}", shop.now);
    shop.ask(into, &key, Command::Merge { from: from.parse().unwrap() }).unwrap();
}

#[test]
fn whoever_was_set_free_and_erased_takes_nothing_of_the_others_along() {
    let free = |shop: &mut Shop, who: &str| shop.ask(who, &format!("u {who}"), Command::Unmerge).unwrap();
    let erase = |shop: &mut Shop, who: &str| shop.ask(who, &format!("x {who}"), Command::Erase).unwrap();
    // The erased one came last, first and with another one, in the middle; or is the one who stayed.
    for (freed, erased, left) in [
        (&["di"][..], "di", &["ana"][..]),
        (&["bo"], "bo", &["ana"]),
        (&["bo", "cy"], "cy", &["ana", "bo"]),
        (&["bo", "cy"], "bo", &["ana", "cy"]),
        (&["di", "bo"], "ana", &["bo", "di"]),
    ] {
        let mut shop = four(|shop| freed.iter().for_each(|who| free(shop, who)));
        let before: Vec<String> = left.iter().map(|who| shop.told(who)).collect();
        erase(&mut shop, erased);
        let told = |shop: &mut Shop| left.iter().map(|who| shop.told(who)).collect::<Vec<_>>();
        assert!(told(&mut shop) == before, "{erased} erased");
        shop.verify();
        shop.reopen();
        assert!(told(&mut shop) == before, "{erased} erased, after a restart");
        shop.workspace = Workspace::memory().unwrap();
        shop.disk.delete_state();
        shop.reopen();
        assert!(told(&mut shop) == before, "{erased} erased, folded from the journal");
        assert_eq!(shop.ask(erased, "again", Command::Unmerge), Err("erased".into()));
        // The others go on, and part from one another as if the erased one had never been there.
        left.iter().for_each(|who| shop.order(who, &format!("{who} later"), 30, 0));
        shop.days(30);
        shop.verify();
    }
}

#[test]
fn a_merge_is_taken_back_beside_one_who_was_set_free_and_erased() {
    let mut shop = four(|shop| {
        shop.ask("di", "u1", Command::Unmerge).unwrap();
        shop.ask("di", "x", Command::Erase).unwrap();
        shop.ask("bo", "u2", Command::Unmerge).unwrap();
    });
    shop.verify();
    let orders = |shop: &mut Shop, who: &str| {
        shop.customer(who).orders.iter().map(|o| o.order_id.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(orders(&mut shop, "ana"), "A1 A2 A3 A4 A5");
    assert_eq!(orders(&mut shop, "cy"), "B1 C1 C2 B2 B3");
    shop.reopen();
    shop.verify();
}

#[test]
fn an_erased_union_has_nobody_to_set_free() {
    let mut shop = four(|shop| shop.ask("bo", "x", Command::Erase).unwrap());
    for who in ["ana", "bo", "cy", "di"] {
        assert_eq!(shop.ask(who, "u", Command::Unmerge), Err("erased".into()), "{who}");
    }
    shop.verify();
    shop.reopen();
    assert_eq!(shop.ask("cy", "u", Command::Unmerge), Err("erased".into()));
}

/// Draws that two lives of the same seed share.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Something that happens to one of two people, the same for both lives. Everybody sends their own
/// orders and refunds; refunds without a name go to whom they belong.
fn something(shop: &mut Shop, dice: &mut Dice, step: u64) {
    let who = ["ana", "bo"][usize::try_from(dice.roll(2)).unwrap()];
    let order = format!("{who} {}", dice.roll(10));
    let past = shop.now.plus_millis(-i64::try_from(dice.roll(20)).unwrap() * 86_400_000).to_string();
    let (amount, kind) = (dice.roll(150), dice.roll(12));
    let track = |event: &str, properties| json!({ "event": event, "properties": properties });
    let by = |mut call: serde_json::Value| {
        call["userId"] = who.into();
        call
    };
    match kind {
        0..=3 => shop.order(who, &order, u32::try_from(amount).unwrap(), u32::try_from(amount % 4).unwrap()),
        4 => {
            let mut call = by(track("Order Completed", json!({ "order_id": order, "subtotal": amount })));
            call["timestamp"] = past.into();
            drop(shop.call(Call::Track, call));
        }
        5 => shop.refund(who, &order, u32::try_from(amount / 3).unwrap()),
        6 => drop(shop.call(Call::Track, track("Order Refunded", json!({ "order_id": order, "total": amount / 4 })))),
        7 => drop(shop.call(Call::Track, by(track("Order Cancelled", json!({ "order_id": order }))))),
        8 => drop(shop.call(Call::Identify, by(json!({ "traits": { "plan": format!("plan {amount}") } })))),
        9 => {
            let points = i64::try_from(amount + 1).unwrap();
            let adjust = Command::Adjust { points, reason: "sorry".into(), by: "test".into() };
            shop.ask(who, &format!("k{step}"), adjust).unwrap();
        }
        10 if step.is_multiple_of(4) => {
            let rate = format!("points: {} per 1.00", 1 + amount % 3);
            shop.publish(&PROGRAM.replace("points: 1 per 1.00", &rate));
        }
        _ => shop.days(i64::try_from(amount / 12).unwrap()),
    }
}

#[test]
fn an_early_refund_in_the_other_name_follows_its_order() {
    let lives = [false, true].map(|merged| {
        let mut shop = life(|shop, moment| match moment {
            1 => {
                shop.refund("ana", "B9", 40);
                if merged {
                    shop.ask("ana", "m", Command::Merge { from: "bo".parse().unwrap() }).unwrap();
                }
                shop.order("bo", "B9", 100, 0);
                shop.refund("ana", "B10", 30);
            }
            _ if merged => shop.ask("bo", "u", Command::Unmerge).unwrap(),
            _ => {}
        });
        shop.order("bo", "B10", 100, 0);
        shop.verify();
        let left = |order: perennial_core::orders::Listed<'_>| (order.order_id.to_string(), order.left());
        assert!(shop.customer("bo").orders.iter().map(left).eq([
            ("B1".into(), 14_000),
            ("B9".into(), 6_000),
            ("B2".into(), 4_000),
            ("B3".into(), 2_500),
            ("B10".into(), 7_000)
        ]));
        (shop.told("ana"), shop.told("bo"))
    });
    assert_eq!(lives[0], lives[1]);
}

#[test]
fn two_random_lives_are_the_same_with_and_without_a_merge_between() {
    for seed in 60..84 {
        let lives = [false, true].map(|merged| {
            let (mut shop, mut dice) = (Shop::open(), Dice(seed));
            for who in ["ana", "bo"] {
                shop.ask(who, "e", enroll()).unwrap();
            }
            for step in 0..60 {
                if merged && step == 15 {
                    shop.ask("ana", "m", Command::Merge { from: "bo".parse().unwrap() }).unwrap();
                }
                if merged && step == 45 {
                    shop.ask("bo", "u", Command::Unmerge).unwrap();
                }
                something(&mut shop, &mut dice, step);
            }
            shop.verify();
            (shop.told("ana"), shop.told("bo"))
        });
        let [apart, once_one] = &lives;
        for (apart, once_one) in [(&apart.0, &once_one.0), (&apart.1, &once_one.1)] {
            let differ = apart.lines().zip(once_one.lines()).find(|(a, b)| a != b);
            assert!(differ.is_none() && apart.len() == once_one.len(), "seed {seed}: {differ:?}\n{apart}\n{once_one}");
        }
    }
}

#[test]
fn a_lot_never_gets_the_name_of_one_that_was_booked_before() {
    let mut shop = Shop::open();
    shop.ask("ana", "e", enroll()).unwrap();
    shop.order("guest", "G1", 30, 0);
    // The guest is Ana, buys as a member, and turns out to be somebody else.
    shop.ask("guest", "m", Command::Merge { from: "ana".parse().unwrap() }).unwrap();
    shop.order("ana", "A1", 10, 0);
    shop.ask("ana", "u", Command::Unmerge).unwrap();
    shop.ask("guest", "e", enroll()).unwrap();
    shop.order("guest", "G2", 56, 0);
    let entries = shop.workspace.journal().iter(1).map(Result::unwrap);
    let mut lots: Vec<_> = entries
        .flat_map(|entry| entry.outcome)
        .filter_map(|fact| if let Fact::LotOpened(born) = fact { Some(born.lot) } else { None })
        .collect();
    let opened = lots.len();
    lots.sort_unstable();
    lots.dedup();
    assert_eq!((opened, lots.len()), (3, 3)); // G1, which the merge claimed, A1 and G2.
    shop.verify();
}
