//! Taking events in: duplicates, identity, the fold, and a receipt for each.

use std::borrow::Cow;
use std::collections::BTreeSet;

use perennial_core::customer::Customer;
use perennial_core::engine;
use perennial_core::event::{Body, Event};
use perennial_core::fact::{Fact, Outcome};
use perennial_core::id::{CustomerId, Identifier, IdentifierKind, OrderRef, Secret};
use perennial_core::input::{Entry, Input, Reject};
use perennial_core::orders::{self, Listed, OrderRecord, REFUNDS_MAX};
use perennial_core::time::Timestamp;
use perennial_core::value::Properties;
use perennial_store::{Failure, Fingerprint, Seen};

use super::Workspace;
use crate::wire::Arrival;

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The sender's name for it; empty when it could not be read.
    pub message_id: Box<str>,
    /// What became of it.
    pub status: Status,
    /// The entry that holds it; for a duplicate the first one.
    pub seq: Option<u64>,
    /// The customer.
    pub customer: Option<CustomerId>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Folded.
    Accepted,
    /// The same message had been folded before.
    Duplicate,
    /// Kept as a reject record.
    Rejected {
        /// A stable code.
        code: Box<str>,
        /// The field at fault.
        field: Box<str>,
        /// What is wrong and what would mend it.
        reason: Box<str>,
    },
    /// Another message had this id: set aside as a reject record.
    Quarantined,
}

/// Entries that one input causes at most (rule 25).
const CAUSED_MAX: usize = 64;
/// Refunds and cancellations that wait for one order at most: they all follow it when it comes.
const WAITING_MAX: usize = CAUSED_MAX;
/// Room that most messages need, so that they are written without moving.
const MESSAGE_BYTES: usize = 512;

/// A message, beside what tells it apart: any thread can find that, so that the one that folds need not.
pub enum Marked {
    /// An event.
    Event(Box<Event>, Fingerprint),
    /// A message that cannot be used.
    Reject(Box<Reject>),
}

impl Marked {
    /// Finds what tells a message apart.
    pub fn new(secret: &Secret, arrival: Arrival) -> Self {
        match arrival {
            Arrival::Event(event) => {
                let fingerprint = fingerprint(secret, &event);
                Self::Event(event, fingerprint)
            }
            Arrival::Reject(reject) => Self::Reject(reject),
        }
    }
}

/// Messages whose repetitions are counted.
const REPEATS_MAX: usize = 65_536;

/// What tells a message apart: its source and id, and what it says. Who gives an order back is not asked: anybody may,
/// and who is not the order's owner is not kept; nor is what they say of themselves where they tell of any order.
pub(super) fn fingerprint(secret: &Secret, event: &Event) -> Fingerprint {
    // Names that traits or an alias add belong to the body; those two are whom it is about.
    let whom = |id: &&Identifier| matches!(id.kind, IdentifierKind::User | IdentifierKind::Anonymous);
    let anybodys = event.may_be_nameless();
    let ids: Vec<&Identifier> = match event.body {
        Body::Alias { .. } => Vec::new(),
        _ => event.ids.iter().filter(whom).filter(|_| !anybodys).collect(),
    };
    let nothing = Properties::default();
    let traits = if event.order_id().is_some() { &nothing } else { &event.traits };
    let said = (ids, &event.body, &event.properties, Some(traits).filter(|_| !anybodys));
    let said = postcard::to_extend(&said, Vec::with_capacity(MESSAGE_BYTES)).unwrap_or_default();
    Fingerprint::of(secret, &event.source, &event.message_id, &said)
}

impl Workspace {
    /// Takes a batch of messages in. All of it is durable on return; one that cannot be folded
    /// becomes a reject record and never harms its neighbours.
    ///
    /// # Errors
    /// The store's failure; nothing of the batch is promised then, and all of it may come again.
    pub fn take(&mut self, now: Timestamp, arrivals: Vec<Arrival>) -> Result<Vec<Receipt>, Failure> {
        let receipts = self.fold_in(now, arrivals)?;
        self.commit()?;
        Ok(receipts)
    }

    /// As [`Workspace::take`], but durable only with the next [`Workspace::flush`].
    ///
    /// # Errors
    /// The store's failure; nothing that was not flushed has happened then.
    pub fn fold_in(&mut self, now: Timestamp, arrivals: Vec<Arrival>) -> Result<Vec<Receipt>, Failure> {
        let secret = self.secret();
        self.fold_marked(now, arrivals.into_iter().map(|arrival| Marked::new(&secret, arrival)).collect())
    }

    /// As [`Workspace::fold_in`], of messages that another thread has marked.
    ///
    /// # Errors
    /// As there.
    pub fn fold_marked(&mut self, now: Timestamp, messages: Vec<Marked>) -> Result<Vec<Receipt>, Failure> {
        self.ready(now)?;
        let receipts = messages.into_iter().map(|message| match message {
            Marked::Event(event, fingerprint) => self.fold(event, fingerprint),
            Marked::Reject(reject) => self.refuse(*reject),
        });
        let receipts: Result<Vec<Receipt>, Failure> = receipts.collect();
        self.broken |= receipts.is_err();
        receipts
    }

    /// The record of an order in its customer's list, or put away.
    pub(super) fn record_of(&mut self, owner: CustomerId, order: OrderRef) -> Result<Option<OrderRecord>, Failure> {
        let listed = self.warm.get(owner)?.and_then(|c| c.orders.get(order)).map(Listed::into_owned);
        if listed.is_some() { Ok(listed) } else { Ok(self.warm.old_order(order)?.map(|packed| packed.open())) }
    }

    /// Keeps a message that cannot be used: beside the receipt of another one that was folded under its
    /// id, or else as the receipt of the id.
    fn refuse(&mut self, reject: Reject) -> Result<Receipt, Failure> {
        match self.folded_under_id_of(&reject)? {
            Some(first) => self.reject_beside(reject, first),
            None => Ok(self.reject(reject)),
        }
    }

    /// The receipt of the id becomes that of the reject.
    pub(super) fn reject(&mut self, reject: Reject) -> Receipt {
        self.keep_reject(reject, None)
    }

    /// The receipt of the id stays that of the message that was folded, or that one would count again
    /// when it is repeated. The causes of such rejects lead from the latest to the first, and to `first`.
    fn reject_beside(&mut self, reject: Reject, first: u64) -> Result<Receipt, Failure> {
        let named = reject.message_id.as_deref().unwrap_or_default();
        let earlier = self.latest_beside(&reject.source, named)?;
        Ok(self.keep_reject(reject, Some(earlier.unwrap_or(first))))
    }

    fn keep_reject(&mut self, reject: Reject, cause: Option<u64>) -> Receipt {
        let Reject { code, field, reason, .. } = reject.clone();
        let message_id = reject.message_id.clone();
        let seq = self.next_seq;
        self.remember_reject(&reject, cause, seq);
        self.push(None, None, Input::Reject(Box::new(reject)), Vec::new());
        if let Some(entry) = self.batch.last_mut() {
            entry.cause = cause;
        }
        let status = Status::Rejected { code, field, reason };
        Receipt { message_id: message_id.unwrap_or_default(), status, seq: Some(seq), customer: None }
    }

    pub(super) fn fold(&mut self, event: Box<Event>, fingerprint: Fingerprint) -> Result<Receipt, Failure> {
        self.let_owed_in()?;
        let mut event = Some(event);
        let folded = self.contain(|workspace| workspace.try_fold(&mut event, fingerprint))?;
        match (folded, event) {
            (None, Some(event)) => Ok(self.set_event_aside(&event)),
            (folded, _) => folded.ok_or_else(|| super::misfit("fold an event", "it was folded and is lost")),
        }
    }

    /// Folds an event, which leaves its place when that is done.
    fn try_fold(&mut self, place: &mut Option<Box<Event>>, fingerprint: Fingerprint) -> Result<Receipt, Failure> {
        let Some(event) = place else { return Err(super::misfit("fold an event", "it is folded already")) };
        let owner = match event.order_id() {
            Some(order) => self.warm.order_owner(OrderRef::derive(&self.secret(), order))?,
            None => None,
        };
        owner.map_or(Ok(()), |owner| self.hand_over(owner, event))?;
        if let Some(reject) = self.without_erased(event)? {
            return self.refuse(reject);
        }
        if let Seen::Perhaps { seq, same_body } = self.duplicates.seen(fingerprint)?
            && let Some(receipt) = self.again(event, seq, same_body)?
        {
            return Ok(receipt);
        }
        if owner.is_none()
            && let Some(reject) = self.one_too_many(event)?
        {
            return Ok(self.reject(reject));
        }
        let mut made = Vec::new();
        let id = match owner {
            Some(id) => {
                self.wake(id, event.at)?;
                id
            }
            None if event.ids.is_empty() => return self.wait(place, fingerprint),
            None => self.resolve(event, &mut made)?,
        };
        if let Some(reject) = self.unfit_refund(id, event)? {
            return Ok(self.reject(reject));
        }
        if owner.is_some() {
            self.recall(id, event, &mut made)?;
        }
        self.follow(id, place, fingerprint, made)
    }

    /// Folds an event into its customer.
    fn follow(
        &mut self,
        id: CustomerId,
        place: &mut Option<Box<Event>>,
        fingerprint: Fingerprint,
        mut made: Vec<Fact>,
    ) -> Result<Receipt, Failure> {
        let gone = |what| super::misfit("fold an event", what);
        let mut customer = self.warm.take(id)?.ok_or_else(|| gone("its customer is not there"))?;
        let event = place.as_ref().ok_or_else(|| gone("it is folded already"))?;
        let facts = self.fold_into(&mut customer, event);
        if made.is_empty() {
            made = facts; // As a rule: nobody new, and nothing to copy.
        } else {
            made.extend(facts);
        }
        #[cfg(test)]
        self.spring(&event.message_id);
        let event = place.take().ok_or_else(|| gone("it is folded already"))?;
        self.count_stock(&made);
        let root = customer.root_of(&event.ids);
        let message_id = event.message_id.clone();
        self.duplicates.remember(fingerprint, self.next_seq);
        self.know_sender(&event.source);
        let waited = self.follow_order(Some(&event), &made, self.next_seq)?;
        customer.was_folded(self.next_seq, &made);
        let seq = self.push(Some(id), Some(root), Input::Event(event), made);
        self.warm.put(customer, true);
        self.count_demand();
        self.owed.extend(waited);
        self.let_owed_in()?;
        self.wake_overdue(id)?;
        Ok(Receipt { message_id, status: Status::Accepted, seq: Some(seq), customer: Some(id) })
    }

    /// What is said of an order is its owner's, whoever says it: staff as a rule.
    fn hand_over(&mut self, owner: CustomerId, event: &mut Event) -> Result<(), Failure> {
        if self.warm.get(owner)?.is_some_and(|owner| !owner.is_told_by(event)) {
            event.forget_sender();
        }
        Ok(())
    }

    /// A refund or cancellation of an order that nobody has yet and for which as many wait as one input may cause.
    fn one_too_many(&self, event: &Event) -> Result<Option<Reject>, Failure> {
        let Some(order) = event.order_id().filter(|_| event.may_be_nameless()) else { return Ok(None) };
        let order = OrderRef::derive(&self.secret(), order);
        let is_full = self.warm.waiting(order)?.len() >= WAITING_MAX;
        Ok(is_full.then(|| {
            let reason = format!(
                "{WAITING_MAX} refunds and cancellations wait for this order already; send the order, then this again"
            );
            reject_of(event, "limit_reached", "properties.order_id", &reason)
        }))
    }

    /// A refund or cancellation of an order that nobody has yet, without a person: it waits under the
    /// order's id, whoever that will belong to.
    fn wait(&mut self, place: &mut Option<Box<Event>>, fingerprint: Fingerprint) -> Result<Receipt, Failure> {
        let Some(event) = place.take() else { return Err(super::misfit("fold an event", "it is folded already")) };
        let message_id = event.message_id.clone();
        let Some(order) = event.order_id().filter(|_| event.may_be_nameless()) else {
            let reason = "no usable userId or anonymousId; send one of them";
            return Ok(self.reject(reject_of(&event, "no_identifier", "userId", reason)));
        };
        let facts = vec![Fact::Parked { order: OrderRef::derive(&self.secret(), order) }];
        self.duplicates.remember(fingerprint, self.next_seq);
        self.know_sender(&event.source);
        self.follow_order(Some(&event), &facts, self.next_seq)?;
        let seq = self.push(None, None, Input::Event(event), facts);
        Ok(Receipt { message_id, status: Status::Accepted, seq: Some(seq), customer: None })
    }

    /// Keeps in mind what waits for its order. An order that has come gives back the entries that
    /// have waited for it. Of an event that nobody can read any more the facts name the order.
    pub(super) fn follow_order(
        &mut self,
        event: Option<&Event>,
        facts: &[Fact],
        seq: u64,
    ) -> Result<Vec<u64>, Failure> {
        let order = match event {
            Some(event) => event.order_id().map(|order| OrderRef::derive(&self.secret(), order)),
            None => facts.iter().find_map(|fact| parked(fact).or_else(|| super::booked(fact))),
        };
        let Some(order) = order else { return Ok(Vec::new()) };
        if facts.iter().any(|fact| parked(fact).is_some()) {
            self.warm.wait(order, seq)?;
        }
        if !facts.iter().filter_map(super::booked).any(|booked| booked == order) {
            return Ok(Vec::new());
        }
        let waited = self.warm.waiting(order)?;
        if !waited.is_empty() {
            self.warm.arrived(order);
        }
        Ok(waited)
    }

    /// Lets in what is owed, first come, as many as one input may cause. What a panic or a crash left over comes
    /// in before the next input, or with the next tick.
    pub(super) fn let_owed_in(&mut self) -> Result<(), Failure> {
        let mut owners = BTreeSet::new();
        for _ in 0..CAUSED_MAX {
            // Looked at anew each time: a panic that is contained makes memory again, and this with it.
            let Some(waiting) = self.owed.front().copied() else { break };
            match self.contain(|workspace| workspace.let_in(waiting)).inspect_err(|_| self.broken = true)? {
                Some(owner) => owners.extend(owner),
                None => {
                    if let Some(Input::Event(event)) = self.entry(waiting)?.and_then(|entry| entry.input) {
                        self.set_event_aside(&event);
                    }
                }
            }
            self.owed.retain(|owed| *owed != waiting);
        }
        owners.into_iter().try_for_each(|owner| self.wake_overdue(owner))
    }

    /// Lets in all that is owed, so many at a time.
    pub(super) fn let_all_in(&mut self) -> Result<(), Failure> {
        while !self.owed.is_empty() {
            self.let_owed_in()?;
            self.commit()?;
        }
        Ok(())
    }

    /// What has waited for an order follows it to its owner, as an entry of its own; whose that is.
    fn let_in(&mut self, waiting: u64) -> Result<Option<CustomerId>, Failure> {
        let Some(Entry { input: Some(Input::Event(mut event)), root, .. }) = self.entry(waiting)? else {
            return Ok(None);
        };
        let Some(order) = event.order_id().map(|order| OrderRef::derive(&self.secret(), order)) else {
            return Ok(None);
        };
        let Some(id) = self.warm.order_owner(order)? else { return Ok(None) };
        self.wake(id, event.at)?; // What the order brought may have become available by then.
        self.hand_over(id, &mut event)?;
        if self.record_of(id, order)?.is_some_and(|record| record.refunds.len() >= REFUNDS_MAX) {
            self.reject(too_many_refunds(&event));
            return Ok(Some(id));
        }
        let mut facts = Vec::new();
        self.recall_order(id, order, &mut facts)?;
        let Some(mut customer) = self.warm.take(id)? else { return Ok(None) };
        facts.extend(self.fold_into(&mut customer, &event));
        #[cfg(test)]
        self.spring(&format!("let in {}", event.message_id));
        // What somebody said is sealed with their own key, also while they are one with somebody else.
        let root = root.filter(|root| customer.roots.contains(root)).unwrap_or(id);
        let seq = self.push(Some(id), Some(root), Input::Event(event), facts);
        customer.folded = seq;
        self.warm.comes_in(waiting, seq);
        if let Some(entry) = self.batch.last_mut() {
            entry.cause = Some(waiting);
        }
        self.warm.put(customer, true);
        Ok(Some(id))
    }

    /// Follows an entry of the journal to what is owed: it let one in, or set one aside.
    pub(super) fn settle_owed(&mut self, entry: &Entry) -> Result<(), Failure> {
        if self.owed.is_empty() {
            return Ok(());
        }
        let done = match &entry.input {
            Some(Input::Event(_)) | None => entry.cause,
            Some(Input::Reject(reject)) if entry.cause.is_none() => self.owed_message(reject)?,
            _ => None,
        };
        self.owed.retain(|owed| Some(*owed) != done);
        Ok(())
    }

    /// The entry among those owed of the message that a reject is about.
    fn owed_message(&self, reject: &Reject) -> Result<Option<u64>, Failure> {
        for waiting in &self.owed {
            if let Some(Input::Event(event)) = self.entry(*waiting)?.and_then(|e| e.input)
                && reject.message_id.as_ref() == Some(&event.message_id)
                && reject.source == event.source
            {
                return Ok(Some(*waiting));
            }
        }
        Ok(None)
    }

    /// What follows from an event, and what the models in force say then.
    fn fold_into(&self, customer: &mut Customer, event: &Event) -> Outcome {
        let ask = |customer: &Customer| self.models.ask(&self.rules, customer, event.at);
        engine::apply_and_score(&self.rules, customer, event, ask)
    }

    /// Fetches the order of an event that has left its customer's list.
    pub(super) fn recall(&mut self, id: CustomerId, event: &Event, made: &mut Vec<Fact>) -> Result<(), Failure> {
        let order = event.order_id().map(|order| OrderRef::derive(&self.secret(), order));
        order.map_or(Ok(()), |order| self.recall_order(id, order, made))
    }

    /// Fetches an order that has left its customer's list.
    pub(super) fn recall_order(
        &mut self,
        id: CustomerId,
        order: OrderRef,
        made: &mut Vec<Fact>,
    ) -> Result<(), Failure> {
        if self.warm.get(id)?.is_none_or(|c| c.orders.has(order)) {
            return Ok(());
        }
        let Some(record) = self.warm.old_order(order)? else { return Ok(()) };
        let Some(mut customer) = self.warm.take(id)? else { return Ok(()) };
        customer.orders.fetched(record);
        customer.orders.recall(order);
        self.warm.put(customer, true);
        self.warm.came_back(order, id);
        made.push(Fact::Recalled { order });
        Ok(())
    }

    /// Fetches a redemption that has left its member's list.
    pub(super) fn recall_redemption(&mut self, id: CustomerId, key: &str, made: &mut Vec<Fact>) -> Result<(), Failure> {
        let Some(mut customer) = self.warm.take(id)? else { return Ok(()) };
        let fetched = self.warm.fetch_redemption(&mut customer, key)?;
        if let (true, Some(member)) = (fetched, &mut customer.member) {
            member.recall_redemption(key);
            made.push(Fact::RedemptionRecalled { key: key.into() });
        }
        self.warm.put(customer, fetched);
        Ok(())
    }

    /// A message id that was seen before: the same message is a duplicate, another one is set aside.
    /// None when the earlier one was rejected: this one may be it, mended.
    fn again(&mut self, event: &Event, seq: u64, same_body: bool) -> Result<Option<Receipt>, Failure> {
        let first = self.entry(seq)?;
        if first.as_ref().is_some_and(|entry| !is_named(entry, &event.source, &event.message_id)) {
            return Ok(None); // The list tells messages apart by half a fingerprint only.
        }
        let message_id = event.message_id.clone();
        let customer = first.as_ref().and_then(|e| e.customer);
        if let Some(Input::Reject(reject)) = first.and_then(|e| e.input) {
            return Ok(self.still_poison(event, seq, *reject));
        }
        if same_body {
            self.count_repeat(seq);
            return Ok(Some(Receipt { message_id, status: Status::Duplicate, seq: Some(seq), customer }));
        }
        let reason = "another message with this id was folded before; give every message an id of its own";
        let receipt = self.reject_beside(reject_of(event, "conflict", "messageId", reason), seq)?;
        Ok(Some(Receipt { message_id, status: Status::Quarantined, ..receipt }))
    }

    fn count_repeat(&mut self, seq: u64) {
        let times = self.repeats.entry(seq).or_default();
        *times = times.saturating_add(1);
        if self.repeats.len() > REPEATS_MAX {
            self.repeats.pop_first();
        }
    }

    pub(super) fn remember_event(&mut self, event: &Event, seq: u64) {
        self.duplicates.remember(fingerprint(&self.secret(), event), seq);
        self.know_sender(&event.source);
    }

    /// A reject that has a cause lies beside the receipt of its id.
    pub(super) fn remember_reject(&mut self, reject: &Reject, cause: Option<u64>, seq: u64) {
        let Some(message_id) = &reject.message_id else { return };
        let name: Cow<'_, str> = cause.map_or(Cow::Borrowed(message_id), |_| beside(message_id).into());
        let fingerprint = Fingerprint::of(&self.secret(), &reject.source, &name, reject.body.as_bytes());
        self.duplicates.remember(fingerprint, seq);
        self.know_sender(&reject.source);
    }

    fn know_sender(&mut self, source: &str) {
        if !self.senders.contains(source) {
            self.senders.insert(source.into());
            self.changed.counters = true;
        }
    }

    /// The entry of a message of a source, or of any when the source is not known.
    pub(super) fn entry_of_message(&self, source: Option<&str>, message_id: &str) -> Result<Option<u64>, Failure> {
        let all = || self.senders.iter().map(|s| &**s).collect();
        for sender in source.map_or_else(all, |source| vec![source]) {
            if let Some(seq) = self.entry_named(sender, message_id)? {
                return Ok(Some(seq));
            }
        }
        Ok(None)
    }

    /// The latest entry that lies beside the receipt of a message.
    pub(super) fn latest_beside(&self, source: &str, message_id: &str) -> Result<Option<u64>, Failure> {
        self.entry_named(source, &beside(message_id))
    }

    fn entry_named(&self, source: &str, name: &str) -> Result<Option<u64>, Failure> {
        match self.duplicates.seen(Fingerprint::of(&self.secret(), source, name, b""))? {
            Seen::Perhaps { seq, .. } => {
                let meant = name.trim_end_matches(BESIDE);
                Ok(self.entry(seq)?.is_none_or(|entry| is_named(&entry, source, meant)).then_some(seq))
            }
            Seen::No => Ok(None),
        }
    }

    /// The entry of the message that was folded under the id of one that cannot be.
    fn folded_under_id_of(&self, reject: &Reject) -> Result<Option<u64>, Failure> {
        let Some(message_id) = &reject.message_id else { return Ok(None) };
        let Some(seq) = self.entry_named(&reject.source, message_id)? else { return Ok(None) };
        let was_folded = matches!(self.entry(seq)?.and_then(|e| e.input), Some(Input::Event(_)));
        Ok(was_folded.then_some(seq))
    }

    /// A refund of a product that is not on its order cannot be folded, nor one too many.
    fn unfit_refund(&mut self, id: CustomerId, event: &Event) -> Result<Option<Reject>, Failure> {
        let Body::Refunded(refund) = &event.body else { return Ok(None) };
        let name = OrderRef::derive(&self.secret(), &refund.order_id);
        let Some(record) = self.record_of(id, name)? else { return Ok(None) };
        if record.refunds.len() >= REFUNDS_MAX {
            return Ok(Some(too_many_refunds(event)));
        }
        Ok(orders::reckon_refund(&record, refund, [0; 16]).err().map(|at| {
            let field = format!("properties.products[{at}].product_id");
            reject_of(event, "unknown_line", &field, "this product is not on the order; name one that is")
        }))
    }
}

/// The name under which the latest reject beside a message's receipt is found: no message id holds a NUL.
fn beside(message_id: &str) -> String {
    format!("{message_id}{BESIDE}")
}

const BESIDE: char = '\0';

/// Whether an entry is of a message of this name, as far as it can be read.
fn is_named(entry: &Entry, source: &str, message_id: &str) -> bool {
    match &entry.input {
        Some(Input::Event(event)) => *event.source == *source && *event.message_id == *message_id,
        Some(Input::Reject(reject)) => *reject.source == *source && reject.message_id.as_deref() == Some(message_id),
        _ => true,
    }
}

/// The order that something waits for.
pub(super) fn parked(fact: &Fact) -> Option<OrderRef> {
    if let Fact::Parked { order } = fact { Some(*order) } else { None }
}

fn too_many_refunds(event: &Event) -> Reject {
    let reason = "an order takes 256 refunds; correct the balance by hand";
    reject_of(event, "limit_reached", "properties.refund_id", reason)
}

pub(super) fn reject_of(event: &Event, code: &str, field: &str, reason: &str) -> Reject {
    let mut body = serde_json::to_string(event).unwrap_or_default();
    let cut = (0..=body.len().min(32_768)).rev().find(|i| body.is_char_boundary(*i)).unwrap_or(0);
    body.truncate(cut);
    Reject {
        message_id: Some(event.message_id.clone()),
        source: event.source.clone(),
        received_at: event.received_at,
        code: code.into(),
        field: field.into(),
        reason: reason.into(),
        body: body.into(),
    }
}

#[cfg(test)]
mod tests {
    use perennial_core::time::Timestamp;

    use super::{Marked, Status};
    use crate::wire::Circumstances;
    use crate::wire::segment::{Call, parse};
    use crate::workspace::Workspace;

    #[test]
    fn two_messages_that_half_a_fingerprint_takes_for_one_both_count() {
        let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let mut workspace = Workspace::memory().unwrap();
        let take = |workspace: &mut Workspace, id: &str, is_like: Option<u64>| {
            let said = format!(r#"{{"userId":"ana","messageId":"{id}","event":"Ping"}}"#);
            let arrival = parse(Call::Track, said.as_bytes(), &Circumstances::live("shop", at)).unwrap().remove(0);
            let marked = Marked::new(&workspace.secret(), arrival);
            if let (Marked::Event(_, fingerprint), Some(seq)) = (&marked, is_like) {
                workspace.duplicates.remember(*fingerprint, seq);
            }
            workspace.fold_marked(at, vec![marked]).unwrap().remove(0)
        };
        let first = take(&mut workspace, "one", None);
        let second = take(&mut workspace, "other", first.seq);
        assert_eq!(second.status, Status::Accepted);
        for (id, seq) in [("one", first.seq), ("other", second.seq)] {
            let again = take(&mut workspace, id, None);
            assert_eq!((again.status, again.seq), (Status::Duplicate, seq));
        }
    }
}
