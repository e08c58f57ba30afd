//! Erasing a person: books closed, keys destroyed, and nothing that comes later revives them.
//!
//! Promise: the erasure is in the journal before a key is destroyed, and recovery finishes what a
//! crash interrupts (rule 29). The index keeps keyed hashes of the names, which now lead to nobody:
//! that is how a name is known to be erased. Points stay in the workspace's sums.
//! Absent on purpose: what others hold of the person (backups are erased at their restore).

use perennial_core::erase;
use perennial_core::event::Event;
use perennial_core::fact::Fact;
use perennial_core::id::{CustomerId, Identifier, IdentifierKind, OrderRef};
use perennial_core::input::{Asked, Command, Input, Reject};
use perennial_core::ledger::Buckets;
use perennial_core::time::Timestamp;
use perennial_core::value::Value;
use perennial_store::Failure;
use serde::{Deserialize, Serialize};

use super::{Answer, Refusal, Workspace, untold};

/// What the books keep of everybody who was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Erased {
    people: u64,
    /// Root profiles that they were.
    roots: u64,
    pub(super) points: Buckets,
}

impl Workspace {
    /// Erases the customer of a command.
    pub(super) fn erase(&mut self, id: CustomerId, asked: Asked) -> Result<Answer, Failure> {
        self.wake(id, asked.at)?;
        let Some(mut customer) = self.warm.take(id)? else { return Ok(erased_already()) };
        let facts = erase::erase(&self.rules, &mut customer, asked.at);
        self.warm.put(customer, true);
        let seq = self.push(Some(id), Some(id), Input::Command(Box::new(asked)), facts.clone());
        self.commit()?;
        if let Err(failure) = self.bury(id, &facts, seq) {
            self.broken = true; // Recovery meets the entry again and finishes.
            return Err(failure);
        }
        Ok(self.answer(seq, id, Ok(facts)))
    }

    /// Carries out an erasure that is in the journal: keys are destroyed, the customer leaves memory
    /// and, with the next checkpoint, the state; points go into the workspace's sums. Who was one with them for a
    /// while has what came under their name; of that nobody knows more from now on than a refold would.
    pub(super) fn bury(&mut self, id: CustomerId, facts: &[Fact], seq: u64) -> Result<(), Failure> {
        let roots = facts.iter().find_map(|f| if let Fact::Erased { roots } = f { Some(roots) } else { None });
        let Some(roots) = roots else { return Ok(()) };
        let history = self.own_history(roots, u64::MAX, None)?;
        self.warm.clear_shelf(roots, &history);
        self.warm.stop_waiting(&history)?;
        let keepers = if self.apart { Vec::new() } else { self.keepers_of(id, roots, seq)? };
        for root in roots {
            self.keys.destroy(*root)?;
        }
        self.models.forget_visits();
        self.erased.roots += roots.len() as u64;
        if let Some(customer) = self.warm.get(id)? {
            self.erased.people += 1;
            self.erased.points.add(&erase::remains(customer));
            self.changed.counters = true;
        }
        self.warm.bury(id)?;
        keepers.into_iter().try_for_each(|keeper| self.make_anew(keeper, seq))
    }

    /// Erases again whoever the folder lists as erased and the journal does not know as that: a restore that was cut
    /// off, or an erasure while a backup was made.
    ///
    /// # Errors
    /// The store's failure.
    pub fn erase_listed(&mut self, now: Timestamp) -> Result<(), Failure> {
        let listed = self.keys.erasures()?;
        if listed.len() as u64 == self.erased.roots {
            return Ok(());
        }
        for root in listed {
            let id = self.warm.survivor(root)?;
            if self.warm.get(id)?.is_none_or(|customer| !customer.roots.contains(&root)) {
                continue;
            }
            self.ask(now, Asked::new(now, "restore", Identifier::of(id), None, Command::Erase))?;
        }
        Ok(())
    }

    /// Takes the names of erased persons off an event; a reject when it is about one of them: it
    /// says their order, their account, or nobody else.
    pub(super) fn without_erased(&mut self, event: &mut Event) -> Result<Option<Reject>, Failure> {
        if self.erased.people == 0 {
            return Ok(None);
        }
        if let Some(order) = event.order_id().map(|order| OrderRef::derive(&self.secret(), order))
            && let Some(owner) = self.warm.order_owner(order)?
            && self.warm.get(owner)?.is_none()
        {
            let reason = "this order was of somebody who was erased; nothing more is kept of it";
            return Ok(Some(reject_of_erased(event, "properties.order_id", reason)));
        }
        let alias = self.name_fully(event)?;
        let mut erased = Vec::new();
        for name in &event.ids {
            if self.is_erased(name)? {
                erased.push(name.clone());
            }
        }
        let account = erased.iter().any(|name| name.kind == IdentifierKind::User);
        // An alias says nothing else.
        let is_alias = alias.map_or(Ok(false), |name| self.is_erased(&name))?;
        if account || is_alias || (!erased.is_empty() && erased.len() == event.ids.len()) {
            let reason = "this person was erased; their events are not kept, stop sending them";
            let field = if is_alias && !account { "previousId" } else { "userId" };
            return Ok(Some(reject_of_erased(event, field, reason)));
        }
        event.ids.retain(|name| !erased.contains(name));
        let names = |name: &Identifier, text: &str| Identifier::new(name.kind.clone(), text).as_ref() == Some(name);
        let says = |value: &Value| value.as_text().is_some_and(|text| erased.iter().any(|name| names(name, text)));
        event.traits.0.retain(|(_, value)| !says(value));
        Ok(None)
    }

    /// Whether a name was an erased person's: it is in the index, and leads to nobody.
    pub(super) fn is_erased(&mut self, name: &Identifier) -> Result<bool, Failure> {
        let hash = name.hashed(&self.secret());
        match self.warm.lookup(hash)? {
            Some(id) => Ok(self.warm.get(id)?.is_none()),
            None => Ok(false),
        }
    }
}

/// Keeps nothing of what it said.
fn reject_of_erased(event: &Event, field: &str, reason: &str) -> Reject {
    Reject {
        message_id: Some(event.message_id.clone()),
        source: event.source.clone(),
        received_at: event.received_at,
        code: "erased".into(),
        field: field.into(),
        reason: reason.into(),
        body: "".into(),
    }
}

pub(super) fn erased_already() -> Answer {
    untold(Refusal::new("erased", "this person was erased; nothing is kept of them"))
}
