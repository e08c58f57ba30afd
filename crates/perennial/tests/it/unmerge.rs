//! A merge that is taken back: both sides are as if they had never been one (R4, rule 30).

use perennial::wire::Circumstances;
use perennial::wire::segment::{Call, parse};
use perennial::workspace::{Who, Workspace};
use perennial_core::customer::Customer;
use perennial_core::id::Identifier;
use perennial_core::input::{Asked, Command};
use perennial_core::time::Timestamp;
use perennial_store::MemoryDisk;
use serde_json::{Value, json};

const PROGRAM: &str = "
perennial: 1
id: club
name: Club
currency: EUR
time_zone: Europe/Paris
traits: { email: { type: email, identifies: true }, plan: { type: text } }
wallets: { points: { pending: P14D, expires: { after: P12M } } }
earn: [{ id: purchase, on: Order Completed, points: 1 per 1.00 }, { id: vip, on: Order Completed, when: tier == 'gold', multiply: 2 }]
tiers: { by: points.earned, levels: [{ id: base, from: 0 }, { id: gold, from: 500 }] }
rewards: [{ id: mug, name: A mug, points: 100, stock: 5 }]
milestones: [{ id: saver, when: impact.waste_kg >= 10, grant: { badge: saver, points: 50 } }]
features: { orders_30d: { count: Order Completed, within: P30D } }
segments: { busy: orders_30d > 2 }
";

struct Shop {
    disk: MemoryDisk,
    workspace: Workspace,
    now: Timestamp,
    sent: u32,
}

impl Shop {
    fn open() -> Self {
        let disk = MemoryDisk::new();
        let workspace = Workspace::on_disk(&disk).unwrap();
        let mut shop = Self { disk, workspace, now: "2026-01-10T09:00:00Z".parse().unwrap(), sent: 0 };
        shop.publish(PROGRAM);
        let bottle = json!({ "product_id": "bottle", "impact": [["waste_kg", 4000]] });
        let bottle = serde_json::from_value(bottle).unwrap();
        shop.workspace.learn_products(shop.now, "test", vec![bottle]).unwrap();
        shop
    }

    fn publish(&mut self, program: &str) {
        self.workspace.publish(self.now, "test", program).unwrap();
    }

    fn call(&mut self, call: Call, mut body: Value) {
        self.sent += 1;
        body["messageId"] = format!("m{}", self.sent).into();
        let arrivals = parse(call, body.to_string().as_bytes(), &Circumstances::live("shop", self.now)).unwrap();
        self.workspace.take(self.now, arrivals).unwrap();
    }

    fn order(&mut self, who: &str, order: &str, subtotal: u32, bottles: u32) {
        let mut products = vec![json!({ "product_id": "other", "price": subtotal, "quantity": 1 })];
        if bottles > 0 {
            products.push(json!({ "product_id": "bottle", "price": 0, "quantity": bottles }));
        }
        let properties = json!({ "order_id": order, "subtotal": subtotal, "products": products });
        self.call(Call::Track, json!({ "userId": who, "event": "Order Completed", "properties": properties }));
    }

    fn refund(&mut self, who: &str, order: &str, total: u32) {
        let properties = json!({ "order_id": order, "total": total });
        self.call(Call::Track, json!({ "userId": who, "event": "Order Refunded", "properties": properties }));
    }

    fn ask(&mut self, who: &str, key: &str, command: Command) -> Result<(), Box<str>> {
        let asked = Asked::new(self.now, "test", who.parse().unwrap(), Some(key.into()), command);
        self.workspace.ask(self.now, asked).unwrap().outcome.map(drop).map_err(|refusal| refusal.code)
    }

    fn days(&mut self, days: i64) {
        self.now = self.now.plus_millis(days * 86_400_000);
        while self.workspace.advance(self.now).unwrap() {}
    }

    fn customer(&mut self, who: &str) -> Customer {
        self.workspace.customer(self.now, &who.parse::<Identifier>().unwrap()).unwrap().unwrap()
    }

    /// Everything but what the merge itself leaves: numbers of lots and entries, and recorded answers.
    fn told(&mut self, who: &str) -> String {
        let mut customer = self.customer(who);
        customer.parted.clear();
        customer.answers.clear();
        customer.timers.clear();
        (customer.folded, customer.clock) = (0, self.now);
        let dropped = "LotId";
        let wallet = customer.member.as_mut().map(|member| {
            member.wallet.opened = 0;
            std::mem::take(&mut member.wallet.lots)
        });
        let lots: Vec<String> = wallet
            .iter()
            .flatten()
            .map(|l| {
                format!("{:?} {} {} {} {} {:?}", l.order, l.rule, l.earned_at, l.available_at, l.expires_at, l.buckets)
            })
            .collect();
        let mut text = format!("{customer:#?}\n{}", lots.join("\n"));
        // A lot's name is a customer's id and a number.
        while let Some(at) = text.find(dropped) {
            let end = text[at..].find('}').map_or(text.len(), |end| at + end + 1);
            text.replace_range(at..end, "lot");
        }
        text
    }

    fn verify(&mut self) {
        let findings = self.workspace.verify(self.now).unwrap();
        assert_eq!(findings.faults, [""; 0]);
    }

    /// The process ends and another one opens what is on the disk.
    fn reopen(&mut self) {
        self.workspace = Workspace::memory().unwrap(); // Lets the disk go.
        self.workspace = Workspace::on_disk(&self.disk).unwrap();
    }
}

fn enroll() -> Command {
    Command::Enroll { referral_code: None, referred_by: None }
}

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
    let mut once_one = life(|shop, moment| match moment {
        1 => shop.ask("ana", "m", Command::Merge { from: "bo".parse().unwrap() }).unwrap(),
        _ => {
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
        let ledger = shop.workspace.ledger(shop.now, &Who::Id(customer.id), None, 1_000).unwrap().unwrap();
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

#[test]
fn the_timeline_of_each_side_is_its_own() {
    let names = |shop: &mut Shop, who: &str| {
        let id = Who::Named(who.parse().unwrap());
        let entries = shop.workspace.timeline(shop.now, &id, None, 500).unwrap().unwrap();
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
