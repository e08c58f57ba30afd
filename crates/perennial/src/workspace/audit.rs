//! Verifying's own eyes: every entry is decided again on the customer as it was.
//!
//! Promise: the refold itself is the one of a recovery; whatever is decided again is decided on a copy.
//! A copy of somebody with tens of thousands of lots is not made for each entry: it goes on beside the customer, as
//! deciding leaves it, and is held against the customer whenever that costs no more than the entries since.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use perennial_core::command::{self, Neighbours};
use perennial_core::customer::Customer;
use perennial_core::engine;
use perennial_core::fact::{Fact, Outcome};
use perennial_core::id::{CustomerId, Secret};
use perennial_core::input::{Command, Entry, Input};
use perennial_core::rules::Rules;
use perennial_core::unmerge;
use perennial_store::{Failure, JournalReader, State};

use super::{Workspace, tail, unmerge as side};

/// Bytes of a customer from which a copy goes on beside it; smaller ones are copied for each entry.
const LARGE: usize = 4 << 10;
/// Bytes of copies at the same time; whoever else is large is copied for each entry.
const COPIES_BYTES: usize = 512 << 20;
/// A copy goes on for as many entries as the customer has this many bytes.
const BYTES_AN_ENTRY: usize = 1 << 10;

/// What is found while a journal is verified.
#[derive(Default)]
pub(super) struct Audit {
    /// Entries that, decided again, come to something else.
    pub(super) differences: Vec<String>,
    /// Root profiles whose keys are destroyed.
    pub(super) unreadable: BTreeSet<CustomerId>,
    copies: BTreeMap<CustomerId, Beside>,
    /// Bytes of them, about.
    weight: usize,
    /// Bytes of all copies that were made.
    #[cfg(test)]
    copied: usize,
}

/// A copy of a large customer that goes on as deciding leaves it.
struct Beside {
    copy: Customer,
    weight: usize,
    /// Entries until it is held against the customer, and made anew.
    left: usize,
}

impl Audit {
    fn put(&mut self, beside: Beside) {
        self.weight += beside.weight;
        self.copies.insert(beside.copy.id, beside);
    }

    /// The copy of a customer, if it is still one: what else happened to them was not decided beside.
    fn take(&mut self, customer: &Customer) -> Option<Beside> {
        let beside = self.copies.remove(&customer.id)?;
        self.weight -= beside.weight;
        let is_one = beside.copy.folded == customer.folded && beside.copy.adopted == customer.adopted;
        is_one.then_some(beside)
    }

    /// Holds a copy against its customer.
    fn compare(&mut self, beside: &Beside, customer: &Customer) {
        if beside.copy != *customer {
            let Customer { id, folded, .. } = customer;
            self.differences.push(format!("{id}: up to entry {folded}, deciding again leaves another customer"));
        }
    }
}

/// What a model said is taken from the journal; a refusal may be worded otherwise by now.
fn is_compared(fact: &Fact) -> bool {
    !matches!(fact, Fact::Scored(_) | Fact::Explained { .. })
}

/// The facts of an entry that deciding it again must come to: who it is was decided before the customer's own.
fn written(entry: &Entry) -> impl Iterator<Item = &Fact> {
    entry.outcome.iter().skip_while(|fact| unmerge::is_given(fact)).filter(|fact| is_compared(fact))
}

/// Whether an entry was decided on its customer alone.
fn is_decided(entry: &Entry) -> bool {
    match &entry.input {
        Some(Input::Event(_) | Input::Timer(_)) => true,
        Some(Input::Command(asked)) => !matches!(asked.command, Command::Merge { .. } | Command::Erase),
        _ => false,
    }
}

impl Workspace {
    /// Decides an entry again on the customer as it was, whose names are known already, and notes what comes out
    /// differently.
    pub(super) fn decide_again(&mut self, entry: &Entry, customer: &Customer) {
        let Some(audit) = &mut self.audit else { return };
        let beside = audit.take(customer);
        // What it was decided on can no longer be read; or deciding it panicked, and a mended program comes to
        // something else.
        let is_set_aside = matches!(written(entry).next(), Some(Fact::SetAside { .. }));
        if !is_decided(entry) || is_set_aside || self.includes_unreadable(customer) {
            return;
        }
        let again = beside.and_then(|beside| self.decided_beside(entry, customer, beside));
        let again = again.or_else(|| self.decided_on_copy(entry, customer));
        let Some(audit) = &mut self.audit else { return };
        match again {
            Some(beside) if beside.weight >= LARGE && audit.weight + beside.weight <= COPIES_BYTES => audit.put(beside),
            Some(_) => {}
            None => audit.differences.push(format!("entry {}: deciding again gives other facts", entry.seq)),
        }
    }

    /// Decides on the copy that goes on beside the customer; none when it is time for another.
    fn decided_beside(&mut self, entry: &Entry, customer: &Customer, mut beside: Beside) -> Option<Beside> {
        beside.copy.identifiers.clone_from(&customer.identifiers);
        beside.left -= 1;
        if entry.outcome.iter().any(unmerge::is_fetched) {
            beside.copy.orders.clone_from(&customer.orders);
            if let (Some(copy), Some(member)) = (&mut beside.copy.member, &customer.member) {
                copy.redemptions_left.clone_from(&member.redemptions_left);
            }
        }
        if beside.left == 0 {
            self.audit.iter_mut().for_each(|audit| audit.compare(&beside, customer));
            return None;
        }
        self.comes_to_the_same(entry, &mut beside.copy).then_some(beside)
    }

    fn decided_on_copy(&mut self, entry: &Entry, customer: &Customer) -> Option<Beside> {
        let weight = customer.weight();
        #[cfg(test)]
        self.audit.iter_mut().for_each(|audit| audit.copied += weight);
        let mut beside = Beside { copy: customer.clone(), weight, left: weight.div_ceil(BYTES_AN_ENTRY) };
        self.comes_to_the_same(entry, &mut beside.copy).then_some(beside)
    }

    /// Whether deciding an entry again comes to the facts that are written. The customer is then as after it.
    fn comes_to_the_same(&self, entry: &Entry, customer: &mut Customer) -> bool {
        // What was fetched for it.
        for fact in &entry.outcome {
            match (fact, &mut customer.member) {
                (Fact::Recalled { order }, _) => customer.orders.recall(*order),
                (Fact::RedemptionRecalled { key }, Some(member)) => member.recall_redemption(key),
                _ => {}
            }
        }
        engine::come_to(customer, tail::instant(entry), entry.input.as_ref());
        let decided = catch_unwind(AssertUnwindSafe(|| self.facts_again(entry, customer)));
        let is_same = decided.is_ok_and(|facts| facts.iter().filter(|fact| is_compared(fact)).eq(written(entry)));
        customer.was_folded(entry.seq, &entry.outcome);
        customer.forget_left();
        is_same
    }

    /// What follows from an entry's input now.
    fn facts_again(&self, entry: &Entry, customer: &mut Customer) -> Outcome {
        let said = |fact: &Fact| if let Fact::Scored(scored) = fact { Some((**scored).clone()) } else { None };
        match &entry.input {
            Some(Input::Event(event)) => engine::apply_and_score(&self.rules, customer, event, |_| {
                entry.outcome.iter().filter_map(said).collect()
            }),
            Some(Input::Timer(timer)) => engine::fire(&self.rules, customer, *timer, entry.recorded_at),
            Some(Input::Command(asked)) => {
                let near = Neighbours { stock: self.stock_for(&asked.command), seq: entry.seq, granted: false };
                command::admit(&self.rules, customer, asked, &near).0
            }
            _ => Outcome::new(),
        }
    }

    /// Holds the copies that are left against their customers.
    pub(super) fn compare_copies(&mut self) -> Result<(), Failure> {
        let ids: Vec<CustomerId> = self.audit.iter().flat_map(|audit| audit.copies.keys().copied()).collect();
        for id in ids {
            let Some(customer) = self.warm.get(id)? else { continue };
            if let Some(audit) = &mut self.audit
                && let Some(beside) = audit.take(customer)
            {
                audit.compare(&beside, customer);
            }
        }
        Ok(())
    }

    /// Whether somebody who was erased, perhaps after they were set free, is part of a customer.
    fn includes_unreadable(&self, customer: &Customer) -> bool {
        self.audit.iter().any(|audit| customer.roots.iter().any(|root| audit.unreadable.contains(root)))
    }

    /// Decides an un-merge again, at the first of its two entries, and notes a difference.
    pub(super) fn part_again(&mut self, entry: &Entry, id: CustomerId) -> Result<(), Failure> {
        let Some(Input::Command(asked)) = entry.input.as_ref().filter(|_| entry.cause.is_none()) else { return Ok(()) };
        let Some(union) = self.warm.get(id)?.cloned() else { return Ok(()) };
        if self.own_history(&union.roots, entry.seq, None)?.iter().any(|told| told.input.is_none()) {
            return Ok(()); // Somebody was set free and erased: what they did can no longer be read.
        }
        let parting = self.parting(&union, asked, entry.seq)?;
        let same = side::same(parting, entry, self.entry(entry.seq + 1)?.as_ref());
        self.audit.iter_mut().filter(|_| !same).for_each(|audit| {
            audit.differences.push(format!("entry {}: parting the sides again gives other facts", entry.seq));
        });
        Ok(())
    }

    /// A workspace in memory, folded from another one's journal from its first entry on.
    /// Each is looked at before.
    pub(super) fn from_journal(
        journal: &JournalReader,
        state: State,
        secret: Secret,
        mut look: impl FnMut(&Entry) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let mut fresh = Self::memory()?;
        fresh.rules = Rules::new(secret);
        fresh.audit = Some(Audit::default());
        let entries = journal.ahead(1)?;
        fresh.origin = Some((journal.clone(), state));
        for entry in entries {
            let entry = entry?;
            look(&entry)?;
            fresh.refold_contained(&entry)?;
        }
        fresh.compare_copies()?;
        Ok(fresh)
    }
}

#[cfg(test)]
mod tests {
    use perennial_core::time::Timestamp;

    use super::Audit;
    use crate::wire::Circumstances;
    use crate::wire::segment::{Call, parse};
    use crate::workspace::Workspace;

    const COFFEE: &str = include_str!("../../../../programs/coffee.yaml");

    /// A member with as many orders, some of which come back long after they have left the list.
    fn regular(orders: u32) -> Workspace {
        let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let mut workspace = Workspace::memory().unwrap();
        workspace.publish(at, "test", COFFEE).unwrap();
        let messages = (0..orders).map(|n| {
            let at = at.plus_millis(i64::from(n) * 600_000);
            let (event, order) = if n % 50 == 49 { ("Order Refunded", n / 2) } else { ("Order Completed", n) };
            let body = serde_json::json!({ "userId": "ana", "event": event, "messageId": format!("m{n}"),
                "timestamp": at.to_string(), "properties": { "order_id": format!("o{order}"), "currency": "EUR",
                "subtotal": 10, "total": 10, "products": [{ "product_id": "cup", "price": 10, "quantity": 1 }] } });
            (at, body.to_string())
        });
        for (at, body) in messages {
            let said = parse(Call::Track, body.as_bytes(), &Circumstances::live("shop", at)).unwrap();
            workspace.take(at, said).unwrap();
        }
        workspace
    }

    fn audited(workspace: &Workspace) -> Audit {
        let (journal, state) = (workspace.journal.reader(), workspace.state.clone());
        Workspace::from_journal(&journal, state, workspace.secret(), |_| Ok(())).unwrap().audit.unwrap()
    }

    #[test]
    fn a_long_history_is_not_copied_for_each_entry() {
        let copied = [1_500, 3_000, 6_000].map(|orders| {
            let audit = audited(&regular(orders));
            assert_eq!(audit.differences, [""; 0]);
            audit.copied
        });
        let [first, second] = [copied[1] - copied[0], copied[2] - copied[1]];
        assert!(second < first * 3, "twice the history, about twice the copies: {copied:?}");
    }
}
