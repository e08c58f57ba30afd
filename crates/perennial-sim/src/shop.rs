//! The shop: what its customers, tills, sellers and operators do next.
//!
//! Promise: every choice comes from the dice, so a seed tells the same story again.
//! Absent on purpose: judgement. Whether the workspace answers rightly is asked elsewhere.

use perennial::wire::Arrival;
use perennial_core::event::{Body, CartChange, Event, Line, Order, Origin, PaidWithPoints, Refund};
use perennial_core::id::{Identifier, IdentifierKind};
use perennial_core::input::{Asked, Command, Reject};
use perennial_core::packed::Packed;
use perennial_core::quantity::Quantity;
use perennial_core::time::{Span, Timestamp, Until};
use perennial_core::value::{Properties, Value};
use rust_decimal::Decimal;

use crate::dice::Dice;
use crate::figures::PLACES;
use crate::plan::{LEVELS, WORD};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const ACCOUNTS: i64 = 8;
const DEVICES: i64 = 12;
/// Times that word is spread, and addresses that it is spread at.
const WORDS: i64 = 900;

/// What happens next.
#[derive(Debug)]
pub(crate) enum Act {
    Messages(Vec<Message>),
    Ask(Asked),
    Publish,
    Advance,
    Rank,
    Checkpoint,
    /// A checkpoint that takes its time.
    Launch,
    /// The process dies and comes back, perhaps without its state, perhaps to a clock set back.
    Crash {
        delete_state: bool,
        back_ms: i64,
    },
    Verify,
}

/// What a sender sends.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Event(Box<Event>),
    /// Something that nobody can read but for its id.
    Unreadable(Box<Reject>),
}

impl Message {
    fn event(&self) -> Option<&Event> {
        if let Self::Event(event) = self { Some(event) } else { None }
    }
}

/// The shop's own memory: what it may refer to again.
pub(crate) struct Shop {
    pub(crate) clock: Timestamp,
    count: i64,
    orders: Vec<(Order, Vec<Identifier>)>,
    refunds: Vec<Refund>,
    pub(crate) sent: Vec<Event>,
    /// What could not be read the first time, and comes again as it was meant.
    owed: Vec<Event>,
    asked: Vec<Asked>,
    holds: Vec<(Identifier, Box<str>)>,
    redemptions: Vec<(Identifier, Box<str>)>,
    submissions: Vec<(Identifier, Box<str>)>,
    /// Names of two people who turned out to be one.
    merged: Vec<(Identifier, Identifier)>,
    /// How often word is still spread: more often than a member's list of what they did holds.
    words: i64,
    rewards: Vec<&'static str>,
    /// Whether it sends everything the engine knows, or only what the oracle reckons.
    everything: bool,
}

impl Shop {
    pub(crate) fn new(clock: Timestamp, everything: bool, is_talked_of: bool) -> Self {
        let rewards = if everything {
            vec!["water-bottle", "summit-jacket", "no-such-thing"]
        } else {
            vec!["cup", "mug", "lamp", "no-such-thing"]
        };
        Self {
            clock,
            count: 0,
            orders: Vec::new(),
            refunds: Vec::new(),
            sent: Vec::new(),
            owed: Vec::new(),
            asked: Vec::new(),
            holds: Vec::new(),
            redemptions: Vec::new(),
            submissions: Vec::new(),
            merged: Vec::new(),
            words: if is_talked_of { WORDS } else { 0 },
            rewards,
            everything,
        }
    }

    /// The next thing to happen; the clock moves first, mostly a little, sometimes by weeks.
    pub(crate) fn next(&mut self, dice: &mut Dice) -> Act {
        let leap = match dice.below(1_000) {
            0..700 => dice.between(1, HOUR),
            700..960 => dice.between(1, DAY),
            960..995 => dice.between(DAY, 12 * DAY),
            _ => dice.between(20 * DAY, 90 * DAY),
        };
        self.clock = self.clock.plus_millis(leap);
        match dice.below(1_000) {
            0..40 if self.words > 0 => Act::Messages(self.talk(dice)),
            0..560 => Act::Messages(self.messages(dice)),
            560..880 => Act::Ask(self.ask(dice)),
            880..900 => Act::Publish,
            900..917 => Act::Advance,
            917..925 => Act::Rank,
            925..945 => Act::Checkpoint,
            945..970 => Act::Launch,
            970..995 => Act::Crash {
                delete_state: dice.per_mille(200),
                back_ms: if dice.per_mille(150) { dice.between(MINUTE, 10 * DAY) } else { 0 },
            },
            _ => Act::Verify,
        }
    }

    fn messages(&mut self, dice: &mut Dice) -> Vec<Message> {
        let how_many = if dice.per_mille(250) { dice.between(2, 6) } else { 1 };
        let mut batch: Vec<Message> = Vec::new();
        for _ in 0..how_many {
            let event = match dice.below(100) {
                0..8 if !self.sent.is_empty() => self.repeated(dice),
                8..10 if !batch.is_empty() => {
                    batch.push(batch[0].clone());
                    continue;
                }
                10..14 => {
                    let garbled = self.unreadable(dice, &batch);
                    batch.push(Message::Unreadable(Box::new(garbled)));
                    continue;
                }
                14..18 if !self.owed.is_empty() => self.mended(),
                _ => self.event(dice),
            };
            batch.push(Message::Event(Box::new(event)));
        }
        self.sent.extend(batch.iter().filter_map(Message::event).cloned());
        let surplus = self.sent.len().saturating_sub(400);
        self.sent.drain(..surplus);
        batch
    }

    /// One customer spreads word, of the same in long and in short intervals.
    fn talk(&mut self, dice: &mut Dice) -> Vec<Message> {
        let who = name(IdentifierKind::User, "account-0".to_owned());
        let mut batch = Vec::new();
        for _ in 0..30 {
            self.words -= 1;
            let mut properties = Properties::default();
            properties.set("url", Value::from(format!("w{}", dice.below(WORDS)).as_str()));
            let body = Body::Track { name: WORD.into() };
            let event = self.told_late(0, dice, vec![who.clone()], body, properties);
            batch.push(Message::Event(Box::new(event)));
        }
        batch
    }

    /// Something that cannot be read: under the id of a message that was sent, of one beside it, of one that is
    /// still to come, or of none.
    fn unreadable(&mut self, dice: &mut Dice, batch: &[Message]) -> Reject {
        let message_id = match dice.below(4) {
            0 => {
                let meant = self.event(dice);
                self.owed.push(meant);
                self.owed.last().map(|event| event.message_id.clone())
            }
            1 => batch.iter().rev().find_map(Message::event).map(|event| event.message_id.clone()),
            2 => dice.one_of(&self.owed).map(|event| event.message_id.clone()),
            _ => dice.one_of(&self.sent).map(|event| event.message_id.clone()),
        };
        Reject {
            message_id: message_id.or_else(|| Some(format!("m{}", self.number()).into())),
            source: "shop".into(),
            received_at: self.clock,
            code: "malformed".into(),
            field: "".into(),
            reason: "the body is not JSON".into(),
            body: format!("{{ {}", dice.below(3)).into(),
        }
    }

    /// The oldest message that could not be read, mended.
    fn mended(&mut self) -> Event {
        let meant = self.owed.remove(0);
        Event { received_at: self.clock, at: meant.at.min(self.clock), ..meant }
    }

    /// A message again, now and then with another body under its old name.
    fn repeated(&mut self, dice: &mut Dice) -> Event {
        let mut event = dice.one_of(&self.sent).cloned().unwrap_or_else(|| unreachable!("something was sent"));
        event.received_at = self.clock;
        if dice.per_mille(250) {
            let mut properties = event.properties.unpack();
            properties.set("again", Value::from(self.count));
            event.properties = properties.into();
        }
        event
    }

    fn number(&mut self) -> i64 {
        self.count += 1;
        self.count
    }

    fn account(dice: &mut Dice) -> Identifier {
        name(IdentifierKind::User, format!("account-{}", dice.below(ACCOUNTS)))
    }

    /// An account, a device, or both: the moment at which a visitor logs in.
    fn ids(dice: &mut Dice) -> Vec<Identifier> {
        let device = Self::device(dice);
        match dice.below(10) {
            0..6 => vec![Self::account(dice)],
            6..9 => vec![device],
            _ => Self::log_in(dice),
        }
    }

    fn log_in(dice: &mut Dice) -> Vec<Identifier> {
        vec![Self::account(dice), Self::device(dice)]
    }

    fn device(dice: &mut Dice) -> Identifier {
        name(IdentifierKind::Anonymous, format!("device-{}", dice.below(DEVICES)))
    }

    fn event(&mut self, dice: &mut Dice) -> Event {
        let late = match dice.below(10) {
            0..7 => 0,
            7 => dice.between(1, HOUR),
            8 => dice.between(1, 3 * DAY),
            _ => dice.between(1, 25 * DAY),
        };
        let (ids, body, properties) = self.body(dice);
        self.told_late(late, dice, ids, body, properties)
    }

    fn told_late(
        &mut self,
        late: i64,
        dice: &mut Dice,
        ids: Vec<Identifier>,
        body: Body,
        properties: Properties,
    ) -> Event {
        let traits = if Self::may_introduce(&body) { Self::introduction(dice) } else { Properties::default() };
        // No two at the very same instant: which of their lots is taken first only names decide, and the
        // oracle knows none.
        let at = self.clock.plus_millis(-late - self.count % 1_000);
        Event {
            message_id: format!("m{}", self.number()).into(),
            source: "shop".into(),
            at,
            original_at: None,
            received_at: self.clock,
            origin: Origin::Live,
            ids,
            traits,
            body,
            properties: properties.into(),
            consent: Vec::new(),
            opted_out: false,
            context: Packed::default(),
        }
    }

    fn body(&mut self, dice: &mut Dice) -> (Vec<Identifier>, Body, Properties) {
        let ids = Self::ids(dice);
        let plain = Properties::default;
        match dice.below(100) {
            0..50 => {
                let order = self.order(dice);
                self.orders.push((order.clone(), ids.clone()));
                (ids, Body::Ordered(order), Self::said(dice))
            }
            50..54 => match dice.one_of(&self.orders).cloned() {
                // The same order from another till, perhaps under another name.
                Some((order, owner)) => (if dice.per_mille(300) { ids } else { owner }, Body::Ordered(order), plain()),
                None => (ids, Body::Identify, plain()),
            },
            54..80 => self.refund(dice, ids),
            80..84 => match dice.one_of(&self.orders).cloned() {
                Some((order, owner)) => (owner, Body::Cancelled { order_id: order.order_id }, plain()),
                None => (ids, Body::Identify, plain()),
            },
            84..88 => (Self::log_in(dice), Body::Identify, plain()),
            88..90 => self.activity(dice, ids),
            90..95 => (ids, Body::Track { name: "Shop Visited".into() }, Self::said(dice)),
            _ if self.everything => self.other(dice, ids),
            _ => (ids, Body::Page { name: "home".into() }, plain()),
        }
    }

    /// Where it was, and how many stars it got: in several ways to write a number, or as a text, which is none.
    fn said(dice: &mut Dice) -> Properties {
        let mut said = Properties::default();
        if let Some(shop) = dice.one_of(&PLACES).filter(|_| dice.per_mille(800)) {
            said.set("shop", Value::from(*shop));
        }
        let stars = match dice.below(20) {
            0..3 => return said,
            3 => Value::from("5"),
            4..7 => Value::Number(Decimal::new(dice.between(1, 5) * 10, 1)),
            7..9 => Value::Number(Decimal::new(dice.between(1, 5) * 10 + 5, 1)),
            _ => Value::from(dice.between(1, 5)),
        };
        said.set("stars", stars);
        said
    }

    /// What waits for its order comes in twice, so it says nothing of the person.
    fn may_introduce(body: &Body) -> bool {
        !matches!(body, Body::Refunded(_) | Body::Cancelled { .. })
    }

    /// What people say of themselves now and then, take back, or say so that it is not understood.
    fn introduction(dice: &mut Dice) -> Properties {
        let mut traits = Properties::default();
        if dice.per_mille(150) {
            let city = dice.one_of(&PLACES).filter(|_| dice.per_mille(850)).map(|city| Value::from(*city));
            traits.set("city", city.unwrap_or_default());
        }
        if dice.per_mille(150) {
            let age = Value::from(dice.between(16, 21));
            traits.set("age", if dice.per_mille(100) { Value::from("eighteen") } else { age });
        }
        traits
    }

    fn order(&mut self, dice: &mut Dice) -> Order {
        let lines: Vec<Line> = (0..dice.between(1, 3)).map(|i| line(dice, i)).collect();
        let goods: Decimal = lines.iter().filter_map(|l| Some(l.price? * Decimal::from(l.quantity))).sum();
        let off = Decimal::new(dice.between(0, 500), 2).min(goods);
        Order {
            order_id: format!("order-{}", self.number()).into(),
            currency: (self.everything && dice.per_mille(50)).then(|| "JPY".into()),
            subtotal: dice.per_mille(400).then(|| goods - off),
            paid_with_points: Self::payment(dice),
            lines,
            ..Order::default()
        }
    }

    /// Points that paid for a part of an order, or for more than it cost.
    fn payment(dice: &mut Dice) -> Option<PaidWithPoints> {
        let amount = if dice.per_mille(150) { dice.between(0, 90) * 100 } else { dice.between(0, 3_000) };
        let paid = PaidWithPoints { points: dice.between(0, 60), amount: Decimal::new(amount, 2) };
        dice.per_mille(150).then_some(paid)
    }

    /// A refund: by pieces, by amount, of everything, before its order, twice, too much, or of what
    /// nobody bought.
    fn refund(&mut self, dice: &mut Dice, ids: Vec<Identifier>) -> (Vec<Identifier>, Body, Properties) {
        let known = dice.one_of(&self.orders).cloned();
        let Some((order, owner)) = known else { return (ids, Body::Identify, Properties::default()) };
        let mut refund = Refund {
            refund_id: format!("refund-{}", self.number()).into(),
            order_id: order.order_id.clone(),
            ..Refund::default()
        };
        let (order, owner) = if dice.per_mille(120) {
            // Its order comes later.
            let order = self.order(dice);
            refund.order_id = order.order_id.clone();
            self.orders.push((order.clone(), ids.clone()));
            (order, ids)
        } else {
            (order, owner)
        };
        match dice.below(10) {
            0..4 => {
                refund.lines = dice.one_of(&order.lines).cloned().into_iter().collect();
                refund.lines.iter_mut().for_each(|l| l.quantity = quantity(dice, 5));
                if dice.per_mille(60) {
                    refund.lines.push(Line {
                        product_id: "never-sold".into(),
                        quantity: Quantity::ONE,
                        ..Line::default()
                    });
                }
            }
            4..8 => refund.total = Some(Decimal::new(dice.between(1, 6_000), 2)),
            _ => {}
        }
        if dice.per_mille(100) {
            refund = dice.one_of(&self.refunds).cloned().unwrap_or(refund);
        }
        self.refunds.push(refund.clone());
        (owner, Body::Refunded(refund), Properties::default())
    }

    fn other(&mut self, dice: &mut Dice, ids: Vec<Identifier>) -> (Vec<Identifier>, Body, Properties) {
        match dice.below(3) {
            0 => {
                let body = Body::Cart { change: CartChange::Added, lines: vec![line(dice, 0)] };
                (ids, body, Properties::default())
            }
            1 => (ids, Body::ProductViewed(line(dice, 0)), Properties::default()),
            _ => self.activity(dice, ids),
        }
    }

    fn activity(&mut self, dice: &mut Dice, ids: Vec<Identifier>) -> (Vec<Identifier>, Body, Properties) {
        let mut properties = Properties::default();
        let activity = dice.one_of(&["cleanup_drive", "trail_repair", "gear_swap"]).copied().unwrap_or("");
        properties.set("activity", Value::from(activity));
        if dice.per_mille(900) {
            properties.set("hashtags", Value::List(vec![Value::from("#EcoExplorers")]));
        }
        if dice.per_mille(900) {
            properties.set("photo", Value::from("p"));
        }
        properties.set("url", Value::from(format!("u{}", dice.below(200)).as_str()));
        // The message that comes next gets this number.
        self.submissions.push((ids[0].clone(), format!("m{}", self.count + 1).into()));
        (ids, Body::Track { name: "Activity Submitted".into() }, properties)
    }

    fn ask(&mut self, dice: &mut Dice) -> Asked {
        if dice.per_mille(60)
            && let Some(mut again) = dice.one_of(&self.asked).cloned()
        {
            if dice.per_mille(300) {
                // The key again, for something else.
                let command = Command::Adjust { points: dice.between(1, 9), reason: "goodwill".into(), by: "".into() };
                again = Asked::new(self.clock, "sim", again.customer, again.key, command);
            }
            return again;
        }
        let mut who = Self::account(dice);
        let last = self.merged.last().filter(|_| dice.per_mille(150)).cloned();
        let command = match last {
            // Soon after it, mostly: a wrong merge is noticed.
            Some((name, from)) => {
                who = if dice.per_mille(500) { name } else { from };
                Command::Unmerge
            }
            None => self.command(dice, &mut who),
        };
        // Every key is given: after a crash the client asks again, and must not be served twice.
        let key = format!("key-{}", self.number());
        if matches!(command, Command::Redeem { .. }) {
            self.redemptions.push((who.clone(), key.as_str().into()));
        }
        let asked = Asked::new(self.clock, "sim", who, Some(key.into()), command);
        if asked.command != Command::Unmerge {
            self.asked.push(asked.clone());
        }
        asked
    }

    fn command(&mut self, dice: &mut Dice, who: &mut Identifier) -> Command {
        match dice.below(100) {
            0..20 => Command::Enroll,
            20..45 => Command::Redeem {
                reward: dice.one_of(&self.rewards).copied().unwrap_or_default().into(),
                quantity: u32::try_from(dice.between(1, 3)).unwrap_or(1),
            },
            45..58 => {
                let points = dice.between(-40, 120);
                Command::Adjust { points, reason: "goodwill".into(), by: "sim".into() }
            }
            58..70 => {
                let hold: Box<str> = format!("hold-{}", self.number()).into();
                self.holds.push((who.clone(), hold.clone()));
                let length = Span { months: 0, millis: dice.between(MINUTE, 12 * DAY) };
                Command::Hold { points: dice.between(1, 60), length, hold }
            }
            70..78 => {
                let hold = self.known(dice, who, |shop| &shop.holds);
                let points = dice.per_mille(500).then(|| dice.between(1, 60));
                Command::Capture { hold, points }
            }
            78..83 => Command::Release { hold: self.known(dice, who, |shop| &shop.holds) },
            83..91 => Command::Undo { redemption: self.known(dice, who, |shop| &shop.redemptions) },
            91..93 => {
                let from = Self::account(dice);
                self.merged.push((who.clone(), from.clone()));
                Command::Merge { from }
            }
            93..96 => Command::Review {
                activity: self.known(dice, who, |shop| &shop.submissions),
                approve: dice.per_mille(800),
                reason: None,
            },
            96..98 if self.everything => {
                Command::Consent { purpose: "marketing".into(), channel: None, given: dice.per_mille(500) }
            }
            _ => {
                let tier = dice.one_of(&LEVELS).copied().unwrap_or_default();
                let tier = if dice.per_mille(500) { "gold" } else { tier };
                Command::SetTier { tier: tier.into(), until: Until::Instant(self.clock.plus_millis(30 * DAY)) }
            }
        }
    }

    /// Something of an earlier act, and its customer.
    fn known(
        &self,
        dice: &mut Dice,
        who: &mut Identifier,
        list: impl Fn(&Self) -> &Vec<(Identifier, Box<str>)>,
    ) -> Box<str> {
        // Of late, mostly: the old ones are over.
        let all = list(self);
        let recent = &all[all.len().saturating_sub(12)..];
        let Some((owner, thing)) = dice.one_of(recent).cloned() else { return "nothing".into() };
        *who = owner;
        thing
    }
}

fn line(dice: &mut Dice, nth: i64) -> Line {
    Line {
        product_id: format!("p{}", nth * 10 + dice.below(10)).into(),
        price: Some(Decimal::new(dice.between(1, 4_000), 2)),
        quantity: quantity(dice, 4),
        ..Line::default()
    }
}

/// Pieces, or what a scale says.
fn quantity(dice: &mut Dice, most: i64) -> Quantity {
    let pieces = dice.between(1, most);
    let weighed = if dice.per_mille(150) { dice.between(0, 999) } else { 0 };
    Quantity::of(Decimal::new(pieces * 1_000 - weighed, 3)).unwrap_or(Quantity::ONE)
}

fn name(kind: IdentifierKind, value: String) -> Identifier {
    Identifier { kind, value: value.into() }
}

/// Messages as they reach the workspace.
pub(crate) fn arrivals(messages: &[Message]) -> Vec<Arrival> {
    let arrived = messages.iter().cloned().map(|message| match message {
        Message::Event(event) => Arrival::Event(event),
        Message::Unreadable(reject) => Arrival::Reject(reject),
    });
    arrived.collect()
}
