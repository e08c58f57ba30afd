//! One business's isolated data. A stand-in in memory until the real one takes this place: it
//! remembers messages, customers, keys and a plain balance, so that the doors can be tried.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use perennial_core::fact::Fact;
use perennial_core::id::{BadId, CustomerId, Identifier, Secret};
use perennial_core::input::{Asked, Command, Reject};
use perennial_core::time::Timestamp;
use perennial_core::value::Properties;

use crate::view::{CustomerView, FactView, LedgerEntry, ReceiptView, TimelineEntry};
use crate::wire::Arrival;

/// What became of one arrival, durable when it is returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The sender's message id; empty when it could not be read.
    pub message_id: Box<str>,
    /// What became of it.
    pub status: Status,
    /// The journal entry, if one was written.
    pub seq: Option<u64>,
    /// The customer, if it concerns one.
    pub customer: Option<CustomerId>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It counts.
    Accepted,
    /// It is known already and changes nothing.
    Duplicate,
    /// It cannot count; the reason is kept.
    Rejected {
        /// A stable code.
        code: Box<str>,
        /// The field at fault.
        field: Box<str>,
        /// What is wrong and what would mend it.
        reason: Box<str>,
    },
    /// The same message id with another body: set aside.
    Quarantined,
}

/// The answer to a command, journalled under its key.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The journal entry.
    pub seq: u64,
    /// Whether this is the first answer again.
    pub replayed: bool,
    /// The key was used before for something else; nothing was done.
    pub key_reused: bool,
    /// What followed, or why not.
    pub outcome: Result<Vec<Fact>, Refusal>,
}

/// The business says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A stable code.
    pub code: Box<str>,
    /// A kind sentence.
    pub message: String,
    /// Figures that help: what was asked, what is there.
    pub details: Properties,
}

/// Disk or provider failed; nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// A customer as a caller names them: by our id or by one of their identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Our id.
    Id(CustomerId),
    /// A name of theirs.
    Named(Identifier),
}

impl FromStr for Who {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        text.parse().map(Self::Id).or_else(|_| text.parse().map(Self::Named))
    }
}

/// An idempotency key with the customer and operation it belongs to.
type KeySlot = (CustomerId, String, Box<str>);

/// One business's data.
#[derive(Default)]
pub struct Workspace {
    seq: u64,
    customers: BTreeMap<CustomerId, CustomerView>,
    names: BTreeMap<Identifier, CustomerId>,
    messages: BTreeMap<(Box<str>, Box<str>), (Arrival, ReceiptView)>,
    answers: BTreeMap<KeySlot, ([u8; 16], Answer)>,
    timelines: BTreeMap<CustomerId, Vec<TimelineEntry>>,
    broken: bool,
}

const SECRET: Secret = Secret([0; 16]);

impl Workspace {
    /// An empty workspace in memory.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Makes every append fail, or work again: for trying what callers do then.
    pub fn break_journal(&mut self, broken: bool) {
        self.broken = broken;
    }

    fn append(&mut self) -> Result<u64, Failure> {
        if self.broken {
            return Err(Failure("the journal does not accept entries".into()));
        }
        self.seq += 1;
        Ok(self.seq)
    }

    /// Takes a batch in; durable when it returns.
    ///
    /// # Errors
    /// When the journal does not accept it; nothing of the batch counts then.
    pub fn take(&mut self, now: Timestamp, batch: Vec<Arrival>) -> Result<Vec<Receipt>, Failure> {
        batch.into_iter().map(|arrival| self.take_one(now, arrival)).collect()
    }

    fn take_one(&mut self, now: Timestamp, arrival: Arrival) -> Result<Receipt, Failure> {
        let (source, message_id) = match &arrival {
            Arrival::Event(event) => (event.source.clone(), event.message_id.clone()),
            Arrival::Reject(reject) => (reject.source.clone(), reject.message_id.clone().unwrap_or_default()),
        };
        let key = (source, message_id.clone());
        if let (Arrival::Event(new), Some((known, view))) = (&arrival, self.messages.get(&key)) {
            let same = matches!(known, Arrival::Event(old) if old.body == new.body && old.properties == new.properties);
            let status = if same { Status::Duplicate } else { Status::Quarantined };
            let customer = view.customer.as_ref().and_then(|c| c.parse().ok());
            return Ok(Receipt { message_id, status, seq: view.seq, customer });
        }
        let seq = self.append()?;
        let (status, customer) = match &arrival {
            Arrival::Event(event) => (Status::Accepted, Some(self.known(now, &event.ids))),
            Arrival::Reject(reject) => (rejected(reject), None),
        };
        let view = receipt_view(&arrival, seq, customer, now);
        if let (Some(id), Some(name)) = (customer, &view.event) {
            self.remember(now, id, seq, "event", name, &[]);
        }
        self.messages.insert(key, (arrival, view));
        Ok(Receipt { message_id, status, seq: Some(seq), customer })
    }

    fn remember(&mut self, now: Timestamp, id: CustomerId, seq: u64, kind: &str, name: &str, facts: &[Fact]) {
        let (at, facts) = (now.to_string(), facts.iter().map(FactView::from).collect());
        let (kind, name) = (kind.into(), name.into());
        let entry = TimelineEntry { seq, at: at.clone(), recorded_at: at, kind, name, message_id: None, facts };
        self.timelines.entry(id).or_default().insert(0, entry);
    }

    fn known(&mut self, now: Timestamp, ids: &[Identifier]) -> CustomerId {
        let found = ids.iter().find_map(|id| self.names.get(id).copied());
        let customer = found.unwrap_or_else(|| CustomerId::derive(&SECRET, &ids[0], 0));
        let view = self.customers.entry(customer).or_default();
        view.id = customer.to_string();
        view.as_of = now.to_string();
        for id in ids {
            if self.names.insert(id.clone(), customer).is_none() {
                view.identifiers.push(id.to_string());
            }
        }
        customer
    }

    /// Answers a command; the answer is durable when it returns.
    ///
    /// # Errors
    /// When the journal does not accept it.
    #[allow(clippy::needless_pass_by_value)] // the real one keeps it
    pub fn ask(&mut self, now: Timestamp, asked: Asked) -> Result<Answer, Failure> {
        let id = match (asked.customer.value.parse(), &asked.command) {
            (Ok(id), _) => id,
            (_, Command::Enroll { .. }) => self.known(now, std::slice::from_ref(&asked.customer)),
            _ => self.names.get(&asked.customer).copied().unwrap_or(CustomerId([0; 16])),
        };
        // Keys are scoped by operation and customer (rule 21).
        let operation = format!("{:?}", std::mem::discriminant(&asked.command));
        let slot = asked.key.clone().map(|key| (id, operation, key));
        if let Some((fingerprint, first)) = slot.as_ref().and_then(|slot| self.answers.get(slot)) {
            let key_reused = *fingerprint != asked.fingerprint;
            return Ok(Answer { replayed: !key_reused, key_reused, ..first.clone() });
        }
        let seq = self.append()?;
        let outcome = self.admit(id, &asked.command);
        if let Ok(facts) = &outcome {
            self.remember(now, id, seq, "command", "command", facts);
        }
        let answer = Answer { seq, replayed: false, key_reused: false, outcome };
        if let Some(slot) = slot {
            self.answers.insert(slot, (asked.fingerprint, answer.clone()));
        }
        Ok(answer)
    }

    fn admit(&mut self, id: CustomerId, command: &Command) -> Result<Vec<Fact>, Refusal> {
        let refuse = |code: &str, message: &str| {
            Err(Refusal { code: code.into(), message: message.into(), details: Properties::default() })
        };
        let Some(view) = self.customers.get_mut(&id) else { return refuse("unknown_customer", "Nobody is known so.") };
        match command {
            Command::Enroll { .. } => {
                view.member = true;
                Ok(vec![Fact::Enrolled { by: "command".into() }])
            }
            _ if !view.member => refuse("not_a_member", "This customer has not joined the programme."),
            Command::Adjust { points, .. } => {
                view.points.available += points;
                Ok(vec![Fact::Noted("adjusted".into())])
            }
            Command::Redeem { .. } => refuse("unknown_reward", "There is no such reward."),
            _ => Ok(Vec::new()),
        }
    }

    /// A customer as of now.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn customer(&mut self, _now: Timestamp, who: &Who) -> Result<Option<CustomerView>, Failure> {
        Ok(self.find(who).and_then(|id| self.customers.get(&id).cloned()))
    }

    fn find(&self, who: &Who) -> Option<CustomerId> {
        match who {
            Who::Id(id) => Some(*id).filter(|id| self.customers.contains_key(id)),
            Who::Named(name) => self.names.get(name).copied(),
        }
    }

    /// What happened to a customer, the latest first, before an entry.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn timeline(
        &mut self,
        _now: Timestamp,
        who: &Who,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Option<Vec<TimelineEntry>>, Failure> {
        let Some(id) = self.find(who) else { return Ok(None) };
        let all = self.timelines.get(&id).map(Vec::as_slice).unwrap_or_default();
        let page = all.iter().filter(|entry| before.is_none_or(|b| entry.seq < b)).take(limit);
        Ok(Some(page.cloned().collect()))
    }

    /// A customer's postings, the latest first, before an entry.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn ledger(
        &mut self,
        _now: Timestamp,
        who: &Who,
        _before: Option<u64>,
        _limit: usize,
    ) -> Result<Option<Vec<LedgerEntry>>, Failure> {
        Ok(self.find(who).map(|_| Vec::new()))
    }

    /// What became of a message; the source tells apart equal ids of several senders.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn receipt(&mut self, source: Option<&str>, message_id: &str) -> Result<Option<ReceiptView>, Failure> {
        let mut found = self
            .messages
            .iter()
            .filter(|((s, id), _)| &**id == message_id && source.is_none_or(|source| source == &**s));
        Ok(found.next().map(|(_, (_, view))| view.clone()))
    }

    /// Fires the timers that are due; how many fired.
    ///
    /// # Errors
    /// When the journal does not accept them.
    pub fn advance(&mut self, _now: Timestamp) -> Result<usize, Failure> {
        if self.broken { Err(Failure("the journal does not accept entries".into())) } else { Ok(0) }
    }

    /// Writes state to the store if that is due.
    ///
    /// # Errors
    /// When the store does not accept it.
    pub fn checkpoint(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

fn rejected(reject: &Reject) -> Status {
    Status::Rejected { code: reject.code.clone(), field: reject.field.clone(), reason: reject.reason.clone() }
}

fn receipt_view(arrival: &Arrival, seq: u64, customer: Option<CustomerId>, now: Timestamp) -> ReceiptView {
    let common = ReceiptView {
        seq: Some(seq),
        customer: customer.map(|c| c.to_string()),
        received_at: now.to_string(),
        ..ReceiptView::default()
    };
    match arrival {
        Arrival::Event(event) => ReceiptView {
            message_id: event.message_id.to_string(),
            source: event.source.to_string(),
            status: "accepted".into(),
            event: Some(event.name().into()),
            at: Some(event.at.to_string()),
            ..common
        },
        Arrival::Reject(reject) => ReceiptView {
            message_id: reject.message_id.as_deref().unwrap_or_default().into(),
            source: reject.source.to_string(),
            status: "rejected".into(),
            code: Some(reject.code.to_string()),
            field: Some(reject.field.to_string()),
            reason: Some(reject.reason.to_string()),
            ..common
        },
    }
}
