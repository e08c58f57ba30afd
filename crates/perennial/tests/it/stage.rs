//! A shop on a disk in memory and a clock that is moved by hand.

use perennial::wire::Circumstances;
use perennial::wire::segment::{Call, parse};
use perennial::workspace::verify::Findings;
use perennial::workspace::{Answer, Receipt, Workspace};
use perennial_core::customer::{Customer, Timers};
use perennial_core::id::Identifier;
use perennial_core::input::{Asked, Command};
use perennial_core::time::Timestamp;
use perennial_store::{Failure, MemoryDisk, Trouble};
use serde_json::{Value, json};

pub(crate) const PROGRAM: &str = "
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

/// A shop and its clock.
pub(crate) struct Shop {
    pub(crate) disk: MemoryDisk,
    pub(crate) workspace: Workspace,
    pub(crate) now: Timestamp,
    sent: u32,
}

impl Shop {
    pub(crate) fn without_programme() -> Self {
        let disk = MemoryDisk::new();
        let workspace = Workspace::on_disk(&disk).unwrap();
        Self { disk, workspace, now: "2026-01-10T09:00:00Z".parse().unwrap(), sent: 0 }
    }

    pub(crate) fn open() -> Self {
        let mut shop = Self::without_programme();
        shop.publish(PROGRAM);
        let bottle = json!({ "product_id": "bottle", "impact": [["waste_kg", 4000]] });
        let bottle = serde_json::from_value(bottle).unwrap();
        shop.workspace.learn_products(shop.now, "test", vec![bottle]).unwrap();
        shop
    }

    pub(crate) fn publish(&mut self, program: &str) {
        self.workspace.publish(self.now, "test", program).unwrap();
    }

    pub(crate) fn call(&mut self, call: Call, mut body: Value) -> Receipt {
        self.sent += 1;
        body["messageId"] = format!("m{}", self.sent).into();
        let arrivals = parse(call, body.to_string().as_bytes(), &Circumstances::live("shop", self.now)).unwrap();
        self.workspace.take(self.now, arrivals).unwrap().remove(0)
    }

    pub(crate) fn order(&mut self, who: &str, order: &str, subtotal: u32, bottles: u32) {
        let mut products = vec![json!({ "product_id": "other", "price": subtotal, "quantity": 1 })];
        if bottles > 0 {
            products.push(json!({ "product_id": "bottle", "price": 0, "quantity": bottles }));
        }
        let properties = json!({ "order_id": order, "subtotal": subtotal, "products": products });
        self.call(Call::Track, json!({ "userId": who, "event": "Order Completed", "properties": properties }));
    }

    pub(crate) fn refund(&mut self, who: &str, order: &str, total: u32) {
        let properties = json!({ "order_id": order, "total": total });
        self.call(Call::Track, json!({ "userId": who, "event": "Order Refunded", "properties": properties }));
    }

    pub(crate) fn ask(&mut self, who: &str, key: &str, command: Command) -> Result<(), Box<str>> {
        self.answer(who, key, command).outcome.map(drop).map_err(|refusal| refusal.code)
    }

    pub(crate) fn answer(&mut self, who: &str, key: &str, command: Command) -> Answer {
        let asked = Asked::new(self.now, "test", who.parse().unwrap(), Some(key.into()), command);
        self.workspace.ask(self.now, asked).unwrap()
    }

    pub(crate) fn days(&mut self, days: i64) {
        self.now = self.now.plus_millis(days * 86_400_000);
        while self.workspace.advance(self.now).unwrap() {}
    }

    pub(crate) fn customer(&mut self, who: &str) -> Customer {
        self.workspace.customer(self.now, &who.parse::<Identifier>().unwrap()).unwrap().unwrap()
    }

    /// Everything but what the merge itself leaves: numbers of lots and entries, and recorded answers.
    pub(crate) fn told(&mut self, who: &str) -> String {
        let mut customer = self.customer(who);
        customer.parted.clear();
        customer.answers.clear();
        customer.timers = Timers::default();
        (customer.folded, customer.clock) = (0, self.now);
        // A late event changes a segment at the latest instant that was folded: the merge's own, too.
        customer.segments.iter_mut().for_each(|segment| segment.since = self.now);
        let dropped = "LotId";
        customer.lots_opened = 0;
        let wallet = customer.member.as_mut().map(|member| std::mem::take(&mut member.wallet.lots));
        let lots: Vec<String> = wallet
            .iter()
            .flatten()
            .map(|l| {
                format!("{:?} {} {} {} {} {:?}", l.order, l.rule, l.earned_at, l.available_at, l.expires_at, l.buckets)
            })
            .collect();
        let mut text = format!("{customer:#?}\n{}", lots.join("\n"));
        // Refunds that came before their order may follow it in another order.
        while let Some(at) = text.find("refunds: [\n") {
            let end = text[at..].find("\n                ],").map_or(text.len(), |end| at + end);
            let keys = text[at..end].matches("                    [").count();
            text.replace_range(at..end, &format!("{keys} refunds"));
        }
        // A lot's name is a customer's id and a number.
        while let Some(at) = text.find(dropped) {
            let end = text[at..].find('}').map_or(text.len(), |end| at + end + 1);
            text.replace_range(at..end, "lot");
        }
        text
    }

    pub(crate) fn verify(&mut self) {
        let findings = verified(&mut self.workspace, self.now);
        assert_eq!(findings.faults, [""; 0]);
    }

    /// The process ends and another one opens what is on the disk.
    pub(crate) fn reopen(&mut self) {
        self.workspace = Workspace::memory().unwrap(); // Lets the disk go, unless a checkpoint is being written to it.
        let open = || Workspace::on_disk(&self.disk);
        let is_in_use = |opened: &Result<Workspace, Failure>| {
            opened.as_ref().is_err_and(|failure| failure.trouble == Trouble::InUse)
        };
        let mut opened = open();
        for _ in 0..1_000 {
            if !is_in_use(&opened) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
            opened = open();
        }
        self.workspace = opened.unwrap();
    }
}

/// What a verification finds once everybody did what is due.
pub(crate) fn verified(workspace: &mut Workspace, now: Timestamp) -> Findings {
    workspace.catch_up(now).unwrap();
    workspace.verify().unwrap()
}

pub(crate) fn enroll() -> Command {
    Command::Enroll
}
