//! History: what another system wrote down comes in, each at its own instant, and what it meets in the books.
//!
//! Promise: an order that is booked stays as it is, whoever tells of it again; what changes nothing is
//! named with its reason.

use perennial_core::event::{Body, Event, Refund};
use perennial_core::fact::{Account, Cause, Fact, Unit};
use perennial_core::id::{Identifier, OrderRef};
use perennial_core::input::{Asked, Command, Entry, Input};
use perennial_core::orders::{Listed, OrderRecord};
use perennial_core::time::Timestamp;
use perennial_store::Failure;
use serde::{Deserialize, Serialize};

use super::intake::{Status, fingerprint};
use super::{Workspace, misfit};

/// What became of a batch of history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Folded for the first time.
    pub new: u64,
    /// Known already.
    pub duplicates: u64,
    /// What changed nothing, and why.
    pub refused: Vec<Refused>,
    /// New orders dated before their customer's enrolment: they earn nothing.
    pub before_enrolment: u64,
    /// Points that it brought members.
    pub granted: i64,
    /// Points that were taken back from them; what they owe since is among these.
    pub reversed: i64,
    /// Points that were taken back on paper only: the shop bears them.
    pub waived: i64,
}

/// An input of a batch that changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its place in the batch.
    pub nth: usize,
    /// A stable code.
    pub code: Box<str>,
    /// What is wrong and what would mend it.
    pub reason: Box<str>,
}

impl History {
    fn add_points(&mut self, entry: &Entry) {
        for fact in &entry.outcome {
            let Fact::Posted(posting) = fact else { continue };
            if posting.unit != Unit::Points {
                continue;
            }
            match (posting.from, posting.to) {
                (Account::Issued, Account::Pending | Account::Available) => self.granted += posting.amount,
                (_, Account::Reversed) => self.reversed += posting.amount,
                (Account::Arrears, Account::Issued) if posting.cause != Cause::Redeem => {
                    self.reversed += posting.amount;
                }
                (Account::Waived, Account::Issued) => self.waived += posting.amount,
                (Account::Issued, Account::Waived) => self.waived -= posting.amount,
                _ => {}
            }
        }
    }
}

/// What became of one input.
enum Past {
    New {
        /// Orders that it put before an enrolment.
        before_enrolment: u64,
    },
    Known,
    Refused {
        code: Box<str>,
        reason: Box<str>,
    },
}

impl Past {
    fn refused(code: &str, reason: &str) -> Self {
        Self::Refused { code: code.into(), reason: reason.into() }
    }
}

impl Workspace {
    /// Takes history in: events and commands in the order of time, each at its own instant.
    ///
    /// # Errors
    /// The store's failure; nothing of the batch has happened then.
    pub fn take_history(&mut self, now: Timestamp, inputs: Vec<Input>) -> Result<History, Failure> {
        self.ready(now)?;
        let mut history = History::default();
        for (nth, input) in inputs.into_iter().enumerate() {
            let first = self.next_seq;
            let past = self.take_past(input, now);
            let past = past.and_then(|past| self.add_points(&mut history, first).map(|()| past));
            match past {
                Ok(Past::New { before_enrolment }) => {
                    history.new += 1;
                    history.before_enrolment += before_enrolment;
                }
                Ok(Past::Known) => history.duplicates += 1,
                Ok(Past::Refused { code, reason }) => history.refused.push(Refused { nth, code, reason }),
                Err(failure) => {
                    self.broken = true;
                    return Err(failure);
                }
            }
        }
        self.commit()?;
        Ok(history)
    }

    /// Adds the points that entries moved, from one on. They are at hand, unless a panic had them
    /// written.
    fn add_points(&self, history: &mut History, first: u64) -> Result<(), Failure> {
        let at_hand = &self.batch[self.batch.partition_point(|entry| entry.seq < first)..];
        let written = first..at_hand.first().map_or(self.next_seq, |entry| entry.seq);
        for seq in written {
            self.entry(seq)?.iter().for_each(|entry| history.add_points(entry));
        }
        at_hand.iter().for_each(|entry| history.add_points(entry));
        Ok(())
    }

    fn take_past(&mut self, input: Input, now: Timestamp) -> Result<Past, Failure> {
        match input {
            Input::Event(event) => self.fold_past(event),
            Input::Command(asked) => self.decide_past(*asked, now),
            _ => Err(misfit("take history in", "it is neither an event nor a command")),
        }
    }

    fn decide_past(&mut self, asked: Asked, now: Timestamp) -> Result<Past, Failure> {
        let enrolls = matches!(asked.command, Command::Enroll);
        let answer = self.decide(asked)?;
        if let Err(refusal) = answer.outcome {
            return Ok(Past::refused(&refusal.code, &refusal.message));
        }
        if answer.replayed {
            return Ok(Past::Known);
        }
        let mut before_enrolment = 0;
        if let (true, Some(id)) = (enrolls, answer.customer)
            && let Some(customer) = self.warm.get(id)?
            && let Some(member) = &customer.member
        {
            let of_this_import = customer.orders.iter().filter(|order| order.received_at == now);
            before_enrolment = of_this_import.filter(|order| order.at < member.enrolled_at).count() as u64;
        }
        Ok(Past::New { before_enrolment })
    }

    fn fold_past(&mut self, event: Box<Event>) -> Result<Past, Failure> {
        if let Body::Ordered(order) = &event.body
            && let Some(record) = self.booked(&order.order_id)?
        {
            let other = "this order is booked already, with other goods or another sum, and stays as it is; \
                         refund or adjust what is wrong there, or leave these rows out";
            let same = record.was_booked_as(order);
            return Ok(if same { Past::Known } else { Past::refused("order_known", other) });
        }
        let ordered_at = matches!(event.body, Body::Ordered(_)).then_some(event.at);
        let fingerprint = fingerprint(&self.secret(), &event);
        let receipt = self.fold(event, fingerprint)?;
        Ok(match receipt.status {
            Status::Accepted => {
                let customer = receipt.customer.map_or(Ok(None), |id| self.warm.get(id))?;
                let enrolled_at = customer.and_then(|customer| Some(customer.member.as_ref()?.enrolled_at));
                let early = ordered_at.zip(enrolled_at).is_some_and(|(ordered, enrolled)| ordered < enrolled);
                Past::New { before_enrolment: early.into() }
            }
            Status::Duplicate => Past::Known,
            Status::Rejected { code, reason, .. } => Past::Refused { code, reason },
            Status::Quarantined => {
                Past::refused("conflict", "came in before and said something else, which stays; leave this row out")
            }
        })
    }

    /// All orders of whoever the first of these names names, those that have left the list first; nobody has none.
    ///
    /// # Errors
    /// The store's failure.
    pub fn orders_of(&mut self, names: &[Identifier]) -> Result<Vec<OrderRecord>, Failure> {
        for name in names {
            if let Some(id) = self.owner(name)? {
                let mut orders = self.warm.old_orders(id)?;
                let listed = self.warm.get(id)?.map(|customer| customer.orders.iter().map(Listed::into_owned));
                orders.extend(listed.into_iter().flatten());
                return Ok(orders);
            }
        }
        Ok(Vec::new())
    }

    /// The refund that was folded under a message id.
    ///
    /// # Errors
    /// The store's failure.
    pub fn refund_of(&self, source: &str, message_id: &str) -> Result<Option<Refund>, Failure> {
        let Some(seq) = self.entry_of_message(Some(source), message_id)? else { return Ok(None) };
        match self.entry(seq)?.and_then(|entry| entry.input) {
            Some(Input::Event(event)) if *event.message_id == *message_id => match event.body {
                Body::Refunded(refund) => Ok(Some(refund)),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// The record of an order, whoever it belongs to; none of an erased person's.
    ///
    /// # Errors
    /// The store's failure.
    pub fn booked(&mut self, order_id: &str) -> Result<Option<OrderRecord>, Failure> {
        let order = OrderRef::derive(&self.secret(), order_id);
        match self.warm.order_owner(order)? {
            Some(owner) if self.warm.get(owner)?.is_some() => self.record_of(owner, order),
            _ => Ok(None),
        }
    }
}
