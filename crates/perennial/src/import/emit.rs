//! Emission: what was gathered becomes inputs, in the order of time over all customers.
//!
//! Promise: the same files and mapping give the same inputs in the same order with the same message
//! ids, whenever and wherever they are read; so an import can be repeated or taken up again. What an
//! earlier run took back for a return keeps its place among the steps and makes no input.
//! Ids come from natural keys: `<import>:order:<order id>`.

use std::collections::HashMap;

use perennial_core::event::{Body, Event, Line, Order, Origin, Refund};
use perennial_core::id::Identifier;
use perennial_core::input::{Asked, Command, Input};
use perennial_core::packed::Packed;
use perennial_core::time::Timestamp;
use perennial_core::value::Properties;
use rust_decimal::Decimal;

use super::group::{Draft, Gathered};
use super::mapping::Enroll;
use super::returns::{self, Matched, Portion, unit_price};
use super::{Refused, Sink, SinkError};

/// Why a programme leaves somebody out on purpose.
pub(super) const NOT_IN_PILOT: &str = "not_in_pilot";

/// One input to come. At one instant people come first, then orders, then what refers to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    at: Timestamp,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Identify(u32),
    Enroll(u32),
    Order(u32),
    Event(u32),
    Refund(u32),
}

/// All inputs to come, in order.
pub(super) struct Script<'p> {
    gathered: Gathered<'p>,
    matched: Vec<Matched>,
    traits: Vec<Properties>,
    steps: Vec<Step>,
    received_at: Timestamp,
}

impl<'p> Script<'p> {
    /// # Errors
    /// When the sink cannot be asked for the orders that returns are of.
    pub(super) fn new(mut gathered: Gathered<'p>, sink: &mut dyn Sink, now: Timestamp) -> Result<Self, SinkError> {
        let matched = returns::match_all(&mut gathered, sink)?;
        let traits = (0..gathered.people.len()).map(|n| gathered.traits(n)).collect();
        let mut script = Self { gathered, matched, traits, steps: Vec::new(), received_at: now };
        script.plan_orders();
        script.plan_people();
        for (n, event) in (0u32..).zip(&script.gathered.events) {
            script.steps.push(Step { at: event.at, what: What::Event(n) });
        }
        script.steps.sort_unstable();
        Ok(script)
    }

    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// The inputs of some steps, in order, and the steps that they are of: what an earlier run took back
    /// needs none.
    pub(super) fn inputs(&self, from: usize, to: usize) -> (Vec<usize>, Vec<Input>) {
        let steps = self.steps.get(from..to.min(self.steps.len())).unwrap_or_default();
        (from..).zip(steps).filter_map(|(n, step)| Some((n, self.input(*step)?))).unzip()
    }

    /// Rejects what the sink refused, and counts the rest.
    pub(super) fn close(mut self, refused: &[Refused]) -> Gathered<'p> {
        let mut refunds = HashMap::new();
        let (mut people, mut events) = (0, 0);
        for refused in refused {
            match self.steps.get(refused.nth).map(|step| step.what) {
                Some(What::Order(n)) => self.gathered.refuse_order(n, refused),
                Some(What::Refund(n)) => _ = refunds.insert(n as usize, refused),
                Some(What::Event(n)) => {
                    self.gathered.refuse_event(n, refused);
                    events += 1;
                }
                Some(What::Identify(n)) => {
                    self.gathered.refuse_person(n, refused);
                    self.traits[n as usize] = Properties::default();
                }
                Some(What::Enroll(n)) => {
                    people += 1;
                    *self.gathered.totals.not_enrolled.entry(refused.code.to_string()).or_default() += 1;
                    // Whom a programme leaves out on purpose is no fault of the row.
                    if *refused.code != *NOT_IN_PILOT {
                        self.gathered.refuse_person(n, refused);
                    }
                }
                None => {}
            }
        }
        returns::settle(&mut self.gathered, &self.matched, &refunds);
        self.matched = std::mem::take(&mut self.matched)
            .into_iter()
            .enumerate()
            .filter(|(n, _)| !refunds.contains_key(n))
            .map(|(_, matched)| matched)
            .collect();
        self.tally();
        self.gathered.totals.enrolled -= people;
        self.gathered.totals.events -= events;
        self.gathered
    }

    fn plan_orders(&mut self) {
        for (n, draft) in (0u32..).zip(&self.gathered.orders) {
            if !draft.is_return && !draft.lines.is_empty() {
                self.steps.push(Step { at: draft.at, what: What::Order(n) });
            }
        }
        for (n, matched) in (0u32..).zip(&self.matched) {
            let at = self.gathered.orders[matched.back as usize].at;
            self.steps.push(Step { at, what: What::Refund(n) });
        }
    }

    /// Who is identified and enrolled, and when: just before what they first do.
    fn plan_people(&mut self) {
        let people = self.gathered.people.len();
        let (mut first_order, mut first_deed) = (vec![None; people], vec![None; people]);
        let sooner = |seen: &mut Option<Timestamp>, at| *seen = Some(seen.map_or(at, |known: Timestamp| known.min(at)));
        for draft in self.gathered.orders.iter().filter(|d| !d.lines.is_empty()) {
            sooner(&mut first_deed[draft.person as usize], draft.at);
            if !draft.is_return {
                sooner(&mut first_order[draft.person as usize], draft.at);
            }
        }
        for event in &self.gathered.events {
            sooner(&mut first_deed[event.person as usize], event.at);
        }
        let start = first_deed.iter().flatten().min().copied().unwrap_or(self.received_at);
        for n in 0..people {
            let person = &self.gathered.people[n];
            let number = u32::try_from(n).unwrap_or(u32::MAX);
            let enrolled_at = match self.gathered.plan.enroll {
                Enroll::Never => None,
                Enroll::FirstOrder => first_order[n],
                Enroll::Column => person.enrolled_at,
            };
            if !self.traits[n].is_empty() {
                let at = [person.stated_at, first_deed[n], enrolled_at].into_iter().flatten().min().unwrap_or(start);
                self.steps.push(Step { at: at.min(self.received_at), what: What::Identify(number) });
            }
            if let Some(at) = enrolled_at.filter(|_| !person.anonymous) {
                self.steps.push(Step { at, what: What::Enroll(number) });
            }
        }
    }

    fn tally(&mut self) {
        let Self { gathered, matched, steps, traits, .. } = self;
        gathered.name_currencies();
        let mut totals = std::mem::take(&mut gathered.totals);
        let mut present = vec![false; gathered.people.len()];
        for draft in gathered.orders.iter().filter(|d| !d.is_return && !d.lines.is_empty()) {
            present[draft.person as usize] = true;
            totals.orders += 1;
            draft.lines.iter().for_each(|line| totals.sold.add(1, line.quantity, line.amount));
            let exact = draft.lines.iter().map(|line| line.amount).sum();
            let currency = gathered.currency_of(draft);
            totals.by_currency.entry(currency).or_default().book(currency, exact);
        }
        for m in matched.iter() {
            present[gathered.orders[m.back as usize].person as usize] = true;
            let money = totals.by_currency.entry(m.currency).or_default();
            let worth = |(_, pieces, price): &Portion| *price * Decimal::from(*pieces);
            money.refunded_at_sale_price += m.pieces.iter().map(worth).sum::<Decimal>();
        }
        gathered.events.iter().for_each(|event| present[event.person as usize] = true);
        traits.iter().zip(&mut present).for_each(|(traits, present)| *present |= !traits.is_empty());
        for (person, _) in gathered.people.iter().zip(&present).filter(|(_, present)| **present) {
            if person.anonymous {
                totals.anonymous += 1;
            } else {
                totals.customers += 1;
            }
        }
        totals.refunds = matched.len() as u64;
        totals.events = gathered.events.len() as u64;
        totals.enrolled = steps.iter().filter(|s| matches!(s.what, What::Enroll(_))).count() as u64;
        gathered.totals = totals;
    }

    fn input(&self, step: Step) -> Option<Input> {
        Some(match step.what {
            What::Identify(n) => self.identify(n as usize, step.at),
            What::Enroll(n) => self.enroll(n as usize, step.at),
            What::Order(n) => self.order(&self.gathered.orders[n as usize]),
            What::Event(n) => self.track(n as usize),
            What::Refund(n) => {
                let matched = &self.matched[n as usize];
                return matched.origin.fresh.then(|| self.refund(matched));
            }
        })
    }

    fn event(&self, id: &str, at: Timestamp, ids: Vec<Identifier>, body: Body) -> Event {
        let name = &self.gathered.plan.name;
        Event {
            message_id: format!("{name}:{id}").into(),
            source: name.clone(),
            at,
            original_at: None,
            received_at: self.received_at,
            origin: Origin::Import,
            ids,
            traits: Properties::default(),
            body,
            properties: Packed::default(),
            consent: Vec::new(),
            opted_out: false,
            context: Packed::default(),
        }
    }

    fn identify(&self, n: usize, at: Timestamp) -> Input {
        let (person, traits) = (&self.gathered.people[n], &self.traits[n]);
        // A later file with other traits is another statement, so what is said is part of the id.
        let mut parts = vec![at.to_string(), person.ids[0].to_string()];
        for (name, value) in traits.iter() {
            parts.push(name.to_owned());
            parts.push(value.canonical());
        }
        let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
        let id = format!("identify:{}", hex(super::digest(&parts)));
        let mut event = self.event(&id, at, person.ids.clone(), Body::Identify);
        event.traits.clone_from(traits);
        Input::Event(Box::new(event))
    }

    fn enroll(&self, n: usize, at: Timestamp) -> Input {
        let customer = self.gathered.people[n].ids[0].clone();
        let fingerprint = super::digest(&[b"enroll", customer.to_string().as_bytes()]);
        // Names the person: of two who were merged since, each asks for an answer of their own.
        let key = format!("{}:enroll:{}", self.gathered.plan.name, hex(fingerprint));
        Input::Command(Box::new(Asked {
            at,
            by: format!("import:{}", self.gathered.plan.name).into(),
            customer,
            key: Some(key.into()),
            fingerprint,
            command: Command::Enroll,
        }))
    }

    fn order(&self, draft: &Draft) -> Input {
        let subtotal: Decimal = draft.lines.iter().map(|line| line.amount).sum();
        let charges = draft.shipping.unwrap_or_default() + draft.tax.unwrap_or_default();
        let line = |line: &super::group::DraftLine| Line {
            product_id: self.gathered.names.text(line.product).into(),
            price: Some(unit_price(line)),
            quantity: line.pieces,
            about: self.gathered.said.get(&line.product).cloned().unwrap_or_default(),
            ..Line::default()
        };
        let order = Order {
            order_id: draft.id.clone(),
            currency: Some(self.gathered.currency_of(draft).code().into()),
            subtotal: Some(subtotal.normalize()),
            revenue: None,
            total: Some((subtotal + charges).normalize()),
            tax: draft.tax,
            shipping: draft.shipping,
            discount: Some(draft.discount.normalize()).filter(|d| !d.is_zero()),
            paid_with_points: None,
            lines: draft.lines.iter().map(line).collect(),
        };
        let ids = self.gathered.people[draft.person as usize].ids.clone();
        let mut event = self.event(&format!("order:{}", draft.id), draft.at, ids, Body::Ordered(order));
        event.properties = Packed::from(&draft.properties);
        Input::Event(Box::new(event))
    }

    fn refund(&self, matched: &Matched) -> Input {
        let back = &self.gathered.orders[matched.back as usize];
        let refund_id = matched.origin.refund_id(back);
        let line = |(product, pieces, price): &Portion| Line {
            product_id: self.gathered.names.text(*product).into(),
            price: Some(*price),
            quantity: *pieces,
            ..Line::default()
        };
        let lines = matched.pieces.iter().map(line).collect();
        let order_id = matched.origin.order.clone();
        let body = Body::Refunded(Refund { refund_id: refund_id.as_str().into(), order_id, total: None, lines });
        let ids = self.gathered.people[back.person as usize].ids.clone();
        Input::Event(Box::new(self.event(&format!("refund:{refund_id}"), back.at, ids, body)))
    }

    fn track(&self, n: usize) -> Input {
        let draft = &self.gathered.events[n];
        let name = self.gathered.plan.events[draft.kind].name.clone();
        let ids = self.gathered.people[draft.person as usize].ids.clone();
        let mut event = self.event(&format!("event:{}", hex(draft.key)), draft.at, ids, Body::Track { name });
        event.properties = Packed::from(&draft.properties);
        Input::Event(Box::new(event))
    }
}

pub(super) fn hex(bytes: [u8; 16]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(32);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}
