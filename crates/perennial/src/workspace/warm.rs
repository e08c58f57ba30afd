//! Warm customers and indexes: what changed since the last checkpoint, over what it holds.
//!
//! Invariant: a customer that changed is never dropped before it is written.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use perennial_core::command;
use perennial_core::customer::{Bought, Customer, Recorded};
use perennial_core::fact::Fact;
use perennial_core::id::{CustomerId, Identifier, IdentifierHash, OrderRef, Secret};
use perennial_core::input::{Entry, Input};
use perennial_core::orders::{OrderRecord, PackedRecord};
use perennial_core::time::Timestamp;
use perennial_store::{Archived, Checkpoint, CustomerRow, DigestMap, Failure, KeptKey, PostingRow, ROWS_MAX, State};
use serde::de::DeserializeOwned;

use super::intake::parked;
use super::{archive, rows};

mod compare;

/// Bytes of customers kept in memory before clean ones are dropped, about.
const WARM_BYTES: usize = 2 << 30;
/// Names whose customers are remembered, though the state knows them too.
const KNOWN_MAX: usize = 400_000;
/// Stands in the index for whoever an order will belong to that something waits for.
const NOBODY_YET: CustomerId = CustomerId([0; 16]);
/// Entries whose customers are remembered for those who ask what moved.
const MOVED_MAX: usize = 10_000;

pub(super) struct Warm {
    state: State,
    /// The state holds nothing yet, so that it need not be asked.
    blank: bool,
    customers: DigestMap<CustomerId, Slot>,
    /// About how many bytes they take.
    weight: usize,
    /// As many may be kept.
    bound: usize,
    /// Beyond so many, clean ones leave.
    too_heavy: usize,
    /// Warm customers by their next wake-up.
    alarms: BTreeSet<(Timestamp, CustomerId)>,
    identifiers: DigestMap<IdentifierHash, Option<CustomerId>>,
    /// What the state answered, or holds by now.
    known: DigestMap<IdentifierHash, Option<CustomerId>>,
    orders: DigestMap<OrderRef, CustomerId>,
    /// Orders that have left their customers' lists.
    archive: DigestMap<CustomerId, Archived>,
    /// What is fetched by its key: old answers, and what waits for an order.
    shelf: DigestMap<KeptKey, Option<Vec<u8>>>,
    /// Customers that became part of another one or were erased, of which the state may still hold a row.
    gone: BTreeSet<CustomerId>,
    news: Checkpoint,
    entries: u64,
    /// Who the last durable entries were about.
    moved: VecDeque<(u64, CustomerId)>,
    /// Entries up to this one are no longer in `moved`.
    moved_after: u64,
    /// What a checkpoint on its way holds, until it has landed.
    older: Older,
    /// A checkpoint of which some customers are still to be written out.
    outgoing: Option<Outgoing>,
    /// Bytes of customers in the last checkpoint.
    gathered: u64,
    /// Somebody was erased whom the state still holds.
    urgent: bool,
}

/// A checkpoint in the making. Its customers are written out a few at a time, and before they change,
/// so that nobody waits for all of them.
struct Outgoing {
    news: Checkpoint,
    left: Vec<CustomerId>,
    /// Room to write a customer into, used again and again.
    scratch: Vec<u8>,
}

/// Index rows of a checkpoint on its way.
#[derive(Default)]
struct Older {
    identifiers: DigestMap<IdentifierHash, Option<CustomerId>>,
    orders: DigestMap<OrderRef, CustomerId>,
    archive: DigestMap<CustomerId, Archived>,
    shelf: DigestMap<KeptKey, Option<Vec<u8>>>,
    timeline: Vec<(CustomerId, u64)>,
    gone: Vec<CustomerId>,
}

#[derive(Default)]
struct Slot {
    /// None while the customer is taken out to be changed.
    customer: Option<Box<Customer>>,
    weight: usize,
    /// Bytes of the body that was last read or written: texts, and all that has no list of its own.
    body: usize,
    alarm: Option<Timestamp>,
    dirty: bool,
    /// Part of the checkpoint on its way.
    leaving: bool,
    /// Not written out for it yet.
    unwritten: bool,
}

impl Slot {
    /// The weight, now that the customer's body is known.
    fn reweigh(&mut self, row: &CustomerRow) -> usize {
        self.weight = self.weight - self.body + row.body.len();
        self.body = row.body.len();
        self.weight
    }
}

impl Warm {
    pub(super) fn new(state: State) -> Self {
        // Without a position nobody can be told what moved, and everybody is read again.
        let moved_after = state.position().unwrap_or(u64::MAX);
        Self {
            state,
            blank: moved_after == 0,
            customers: DigestMap::default(),
            weight: 0,
            bound: WARM_BYTES,
            too_heavy: 0,
            alarms: BTreeSet::new(),
            identifiers: DigestMap::default(),
            known: DigestMap::default(),
            orders: DigestMap::default(),
            archive: DigestMap::default(),
            shelf: DigestMap::default(),
            gone: BTreeSet::new(),
            news: Checkpoint::default(),
            entries: 0,
            moved: VecDeque::new(),
            moved_after,
            older: Older::default(),
            outgoing: None,
            gathered: 0,
            urgent: false,
        }
    }

    /// A customer to look at.
    pub(super) fn get(&mut self, id: CustomerId) -> Result<Option<&Customer>, Failure> {
        self.fetch(id)?;
        Ok(self.customers.get(&id).and_then(|slot| slot.customer.as_deref()))
    }

    /// A customer to change in place; its alarm is set when it is put back.
    pub(super) fn get_mut(&mut self, id: CustomerId) -> Result<Option<&mut Customer>, Failure> {
        self.fetch(id)?;
        self.write_out(id)?;
        Ok(self.customers.get_mut(&id).and_then(|slot| {
            slot.dirty = true;
            slot.customer.as_deref_mut()
        }))
    }

    /// A customer to change; put it back.
    pub(super) fn take(&mut self, id: CustomerId) -> Result<Option<Box<Customer>>, Failure> {
        self.fetch(id)?;
        self.write_out(id)?;
        Ok(self.customers.get_mut(&id).and_then(|slot| slot.customer.take()))
    }

    /// Puts a customer back, or a new one in.
    pub(super) fn put(&mut self, customer: impl Into<Box<Customer>>, dirty: bool) {
        let mut customer = customer.into();
        self.put_away(&mut customer);
        let id = customer.id;
        let (next, counted) = (customer.next_due(), customer.weight());
        let slot = self.customers.entry(id).or_default();
        let weight = counted + slot.body;
        self.weight = self.weight - slot.weight + weight;
        slot.weight = weight;
        if slot.alarm != next {
            slot.alarm.iter().for_each(|at| {
                self.alarms.remove(&(*at, id));
            });
            next.iter().for_each(|at| {
                self.alarms.insert((*at, id));
            });
            slot.alarm = next;
        }
        slot.customer = Some(customer);
        slot.dirty |= dirty;
    }

    /// What has left the customer's lists goes to where it is found.
    fn put_away(&mut self, customer: &mut Customer) {
        let mut left = customer.orders.take_left().peekable();
        if left.peek().is_some() {
            let archived = self.archive.entry(customer.id).or_default();
            left.for_each(|record| archive::add(&mut archived.body, &record));
        }
        for answer in customer.answers_left.drain(..) {
            let key = answer_key(customer.id, &answer.key);
            self.shelf.insert(key, Some(postcard::to_stdvec(&answer).unwrap_or_default()));
        }
        for bought in customer.member.iter_mut().flat_map(|member| member.redemptions_left.drain(..)) {
            let key = redemption_key(customer.id, &bought.redemption.key);
            self.shelf.insert(key, Some(postcard::to_stdvec(&bought).unwrap_or_default()));
        }
    }

    /// Takes away what was put away of customers whose history this is.
    pub(super) fn clear_shelf(&mut self, roots: &[CustomerId], history: &[Entry]) {
        let nothing = Archived { anew: true, body: Vec::new() };
        self.archive.extend(roots.iter().map(|root| (*root, nothing.clone())));
        for entry in history {
            if let Some(Input::Command(asked)) = &entry.input {
                for scoped in roots.iter().filter_map(|root| command::scoped_key(*root, asked)) {
                    self.shelf.extend(roots.iter().map(|root| (answer_key(*root, &scoped), None)));
                }
            }
            for key in entry.outcome.iter().filter_map(bought) {
                self.shelf.extend(roots.iter().map(|root| (redemption_key(*root, key), None)));
            }
        }
    }

    fn kept<T: DeserializeOwned>(&self, key: KeptKey) -> Result<Option<T>, Failure> {
        let body = self.kept_bytes(key)?;
        let read = |body: Vec<u8>| postcard::from_bytes(&body);
        body.map(read).transpose().map_err(|e| rows::unreadable("read an old answer from state.db", &e))
    }

    fn kept_bytes(&self, key: KeptKey) -> Result<Option<Vec<u8>>, Failure> {
        match self.shelf.get(&key).or_else(|| self.older.shelf.get(&key)) {
            Some(known) => Ok(known.clone()),
            None => self.recall(|state| state.kept(key)),
        }
    }

    /// An order that has left its customer's list, as it stood. It lies with the customer that the index names.
    pub(super) fn old_order(&self, order: OrderRef) -> Result<Option<PackedRecord>, Failure> {
        self.archived(order)?.as_deref().map(unpack).transpose()
    }

    /// All orders that have left a customer's list, as they stood, the oldest first.
    pub(super) fn old_orders(&mut self, id: CustomerId) -> Result<Vec<OrderRecord>, Failure> {
        let Some(customer) = self.get(id)? else { return Ok(Vec::new()) };
        let mut old = BTreeMap::new();
        let (roots, listed) = (customer.roots.clone(), customer.orders.names());
        for root in roots {
            old.extend(self.old_orders_of(root)?);
        }
        let left = old.iter().filter(|(order, _)| !listed.contains(order));
        let mut left: Vec<OrderRecord> =
            left.map(|(_, record)| Ok(unpack(record)?.open())).collect::<Result<_, _>>()?;
        left.sort_by_key(|record| record.at);
        Ok(left)
    }

    fn archived(&self, order: OrderRef) -> Result<Option<Vec<u8>>, Failure> {
        let Some(owner) = self.indexed(order)?.filter(|id| *id != NOBODY_YET) else { return Ok(None) };
        let find = |archive: &[u8]| archive::find(archive, order).map(<[u8]>::to_vec);
        for Archived { anew, body } in [&self.archive, &self.older.archive].into_iter().filter_map(|a| a.get(&owner)) {
            let found = find(body);
            if found.is_some() || *anew {
                return Ok(found);
            }
        }
        self.recall(|state| state.search_archive(owner, find))
    }

    /// The orders that lie in a customer's archive and are that customer's, as they left last.
    fn old_orders_of(&self, owner: CustomerId) -> Result<BTreeMap<OrderRef, Vec<u8>>, Failure> {
        let mut bodies = Vec::new();
        let mut is_anew = false;
        for archived in [&self.archive, &self.older.archive].into_iter().filter_map(|archive| archive.get(&owner)) {
            if !is_anew {
                bodies.push(archived.body.clone());
            }
            is_anew |= archived.anew;
        }
        if !is_anew {
            self.recall(|state| {
                state.search_archive(owner, |body| {
                    bodies.push(body.to_vec());
                    None::<()>
                })
            })?;
        }
        let mut orders = BTreeMap::new();
        for body in bodies.iter().rev() {
            for (order, record) in archive::named(body) {
                if self.indexed(order)? == Some(owner) {
                    orders.insert(order, record.to_vec());
                }
            }
        }
        Ok(orders)
    }

    /// An old order is in a customer's list again, and will be in that one's archive when it leaves.
    pub(super) fn came_back(&mut self, order: OrderRef, into: CustomerId) {
        self.orders.insert(order, into);
    }

    /// The answer that a key got from one of these root profiles, when it has left the list.
    pub(super) fn old_answer(&self, roots: &[CustomerId], key: &str) -> Result<Option<Recorded>, Failure> {
        for root in roots {
            if let Some(answer) = self.kept(answer_key(*root, key))? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Whether a member has a redemption, in the list or not.
    pub(super) fn has_redemption(&mut self, id: CustomerId, key: &str) -> Result<bool, Failure> {
        let Some(customer) = self.get(id)? else { return Ok(false) };
        let in_list = customer.member.as_ref().is_some_and(|member| member.redemption(key).is_some());
        let roots = customer.roots.clone();
        Ok(in_list || self.old_redemption(&roots, key)?.is_some())
    }

    /// A redemption that has left its member's list, and where it was put.
    fn old_redemption(&self, roots: &[CustomerId], key: &str) -> Result<Option<(KeptKey, Bought)>, Failure> {
        for root in roots {
            let place = redemption_key(*root, key);
            if let Some(bought) = self.kept(place)? {
                return Ok(Some((place, bought)));
            }
        }
        Ok(None)
    }

    /// Fetches a redemption that has left a member's list, for the member to take back; whether there was one.
    pub(super) fn fetch_redemption(&mut self, customer: &mut Customer, key: &str) -> Result<bool, Failure> {
        let Customer { roots, member: Some(member), .. } = customer else { return Ok(false) };
        if member.redemption(key).is_some() {
            return Ok(false);
        }
        let Some((place, bought)) = self.old_redemption(roots, key)? else { return Ok(false) };
        self.shelf.insert(place, None);
        member.redemptions_left.push(bought);
        Ok(true)
    }

    /// Entries that wait for an order. The index says at once that nothing waits for a new one.
    pub(super) fn waiting(&self, order: OrderRef) -> Result<Vec<u64>, Failure> {
        match self.indexed(order)? {
            Some(_) => Ok(self.kept(waiting_key(order))?.unwrap_or_default()),
            None => Ok(Vec::new()),
        }
    }

    /// An entry waits for an order.
    pub(super) fn wait(&mut self, order: OrderRef, seq: u64) -> Result<(), Failure> {
        let mut waiting = self.waiting(order)?;
        waiting.push(seq);
        if self.indexed(order)?.is_none() {
            self.orders.insert(order, NOBODY_YET);
        }
        self.shelf.insert(waiting_key(order), Some(postcard::to_stdvec(&waiting).unwrap_or_default()));
        Ok(())
    }

    /// Entries of an erased customer wait no longer: nobody can read any more what they said.
    pub(super) fn stop_waiting(&mut self, history: &[Entry]) -> Result<(), Failure> {
        for (entry, order) in history.iter().flat_map(|e| e.outcome.iter().filter_map(parked).map(move |o| (e, o))) {
            let mut waiting = self.waiting(order)?;
            waiting.retain(|seq| *seq != entry.seq);
            let left = if waiting.is_empty() { None } else { Some(postcard::to_stdvec(&waiting).unwrap_or_default()) };
            self.shelf.insert(waiting_key(order), left);
        }
        Ok(())
    }

    /// Nothing waits for an order any longer.
    pub(super) fn arrived(&mut self, order: OrderRef) {
        self.shelf.insert(waiting_key(order), None);
    }

    /// An entry that has waited for its order takes effect in another one.
    pub(super) fn comes_in(&mut self, waited: u64, seq: u64) {
        self.shelf.insert(came_key(waited), Some(postcard::to_stdvec(&seq).unwrap_or_default()));
    }

    /// The entry in which one that has waited took effect.
    pub(super) fn came_in(&self, waited: u64) -> Result<Option<u64>, Failure> {
        self.kept(came_key(waited))
    }

    /// Takes over what another memory has put away, and what it has of old orders as the archive of a
    /// customer, in the place of whatever is there.
    pub(super) fn take_over(&mut self, other: &Self, id: CustomerId) {
        let mut body = Vec::new();
        for (owner, archived) in &other.archive {
            let theirs = |order| other.orders.get(&order) == Some(owner);
            body.extend(archive::some_of(&archived.body, theirs));
        }
        self.archive.insert(id, Archived { anew: true, body });
        self.shelf.extend(other.shelf.iter().map(|(key, body)| (*key, body.clone())));
    }

    /// What the state says.
    fn recall<T>(&self, question: impl FnOnce(&State) -> Result<Option<T>, Failure>) -> Result<Option<T>, Failure> {
        if self.blank { Ok(None) } else { question(&self.state) }
    }

    fn fetch(&mut self, id: CustomerId) -> Result<(), Failure> {
        if self.customers.contains_key(&id) || self.gone.contains(&id) {
            return Ok(());
        }
        if let Some(row) = self.recall(|state| state.load(id))? {
            let customer = rows::decode(&row)?;
            self.evict();
            self.customers.entry(id).or_default().body = row.body.len();
            self.put(customer, false);
        }
        Ok(())
    }

    /// Clean customers leave when memory is full; which ones does not matter for any result.
    fn evict(&mut self) {
        if self.weight <= self.bound.max(self.too_heavy) {
            return;
        }
        let mut left = self.weight;
        let clean = self.customers.iter().filter(|(_, slot)| !slot.dirty && !slot.leaving && slot.customer.is_some());
        let clean = clean.take_while(|(_, slot)| {
            let full = left > self.bound / 10 * 9;
            left = left.saturating_sub(slot.weight);
            full
        });
        let clean: Vec<CustomerId> = clean.map(|(id, _)| *id).collect();
        clean.into_iter().for_each(|id| self.forget(id));
        // When all have changed, they are not looked through again for each one that comes.
        self.too_heavy = self.weight + self.bound / 20;
    }

    fn forget(&mut self, id: CustomerId) {
        if let Some(slot) = self.customers.remove(&id) {
            self.weight -= slot.weight;
            slot.alarm.iter().for_each(|at| {
                self.alarms.remove(&(*at, id));
            });
        }
    }

    pub(super) fn lookup(&mut self, hash: IdentifierHash) -> Result<Option<CustomerId>, Failure> {
        let recent = self.identifiers.get(&hash).or_else(|| self.older.identifiers.get(&hash));
        if let Some(known) = recent.or_else(|| self.known.get(&hash)) {
            return Ok(*known);
        }
        let found = self.recall(|state| state.lookup(hash))?;
        if self.known.len() >= KNOWN_MAX {
            self.known.clear(); // The state tells again.
        }
        self.known.insert(hash, found);
        Ok(found)
    }

    /// A customer by a name, if memory knows both.
    pub(super) fn recognise(&self, hash: IdentifierHash) -> Option<&Customer> {
        let recent = self.identifiers.get(&hash).or_else(|| self.older.identifiers.get(&hash));
        let id = *recent.or_else(|| self.known.get(&hash))?;
        self.peek(id?)
    }

    /// A customer, if memory has them.
    pub(super) fn peek(&self, id: CustomerId) -> Option<&Customer> {
        self.customers.get(&id)?.customer.as_deref()
    }

    pub(super) fn link(&mut self, hash: IdentifierHash, id: CustomerId) {
        self.identifiers.insert(hash, Some(id));
    }

    pub(super) fn order_owner(&mut self, order: OrderRef) -> Result<Option<CustomerId>, Failure> {
        let owner = self.indexed(order)?.filter(|id| *id != NOBODY_YET);
        owner.map(|id| self.survivor(id)).transpose()
    }

    /// What the index says of an order.
    fn indexed(&self, order: OrderRef) -> Result<Option<CustomerId>, Failure> {
        match self.orders.get(&order).or_else(|| self.older.orders.get(&order)) {
            Some(owner) => Ok(Some(*owner)),
            None => self.recall(|state| state.order_owner(order)),
        }
    }

    /// The customer that one became part of, through any number of merges.
    pub(super) fn survivor(&mut self, id: CustomerId) -> Result<CustomerId, Failure> {
        let mut id = id;
        while let Some(into) = self.lookup(old_name(id))? {
            id = into;
        }
        Ok(id)
    }

    /// Everything that named `gone` names `into` now.
    pub(super) fn redirect(&mut self, gone: &Customer, into: CustomerId, secret: Secret) {
        for (name, _) in &gone.identifiers {
            self.identifiers.insert(name.hashed(&secret), Some(into));
        }
        for order in gone.orders.iter() {
            self.orders.insert(order.order, into);
        }
        self.identifiers.insert(old_name(gone.id), Some(into));
        self.forget(gone.id);
        self.gone.insert(gone.id);
        self.news.gone.push(gone.id);
    }

    /// Takes a customer out for good: erased. The index goes on naming them, so that their names are
    /// known to lead to nobody.
    pub(super) fn bury(&mut self, id: CustomerId) -> Result<(), Failure> {
        self.write_out(id)?;
        self.forget(id);
        self.gone.insert(id);
        self.news.gone.push(id);
        self.urgent = true;
        Ok(())
    }

    /// A customer who stands alone again, with the names and orders that are theirs, in the place of
    /// whoever has the id.
    pub(super) fn restore(
        &mut self,
        mut customer: Box<Customer>,
        orders: &[OrderRef],
        secret: Secret,
    ) -> Result<(), Failure> {
        let id = customer.id;
        self.write_out(id)?;
        rows::renew(&mut customer);
        self.identifiers.insert(old_name(id), None);
        self.gone.remove(&id);
        self.news.gone.retain(|gone| *gone != id);
        for (name, _) in &customer.identifiers {
            self.identifiers.insert(name.hashed(&secret), Some(id));
        }
        self.orders.extend(orders.iter().map(|order| (*order, id)));
        self.put(customer, true);
        Ok(())
    }

    /// Follows what an entry says about orders.
    pub(super) fn index(&mut self, entry: &Entry) {
        let Some(id) = entry.customer else { return };
        for order in entry.outcome.iter().filter_map(super::booked) {
            let owner = self.orders.entry(order).or_insert(id);
            if *owner == NOBODY_YET {
                *owner = id;
            }
        }
    }

    /// Entries became durable: their timeline and postings go into the next checkpoint.
    pub(super) fn settled(&mut self, batch: &[Entry]) {
        self.entries += batch.len() as u64;
        for entry in batch {
            let Some(customer) = entry.customer else { continue };
            self.news.timeline.push((customer, entry.seq));
            self.moved.push_back((entry.seq, customer));
            for (nth, fact) in (0u32..).zip(&entry.outcome) {
                match fact {
                    Fact::Posted(posting) => {
                        self.news.postings.push(PostingRow { seq: entry.seq, nth, customer, posting: posting.clone() });
                    }
                    Fact::Merged { from } => self.moved.push_back((entry.seq, *from)),
                    _ => {}
                }
            }
        }
        while self.moved.len() > MOVED_MAX {
            self.moved_after = self.moved.pop_front().map_or(self.moved_after, |(seq, _)| seq);
        }
    }

    /// Customers of the entries after `seq`, those that became part of another one included; none when those are too many to remember.
    pub(super) fn moved_since(&self, seq: u64) -> Option<BTreeSet<CustomerId>> {
        let news = self.moved.iter().rev().take_while(|(at, _)| *at > seq).map(|(_, id)| *id);
        (self.moved_after <= seq).then(|| news.collect())
    }

    /// Entries of these customers that no checkpoint holds yet.
    pub(super) fn recent(&self, customers: &[CustomerId]) -> Vec<u64> {
        self.older
            .timeline
            .iter()
            .chain(&self.news.timeline)
            .filter(|(id, _)| customers.contains(id))
            .map(|(_, seq)| *seq)
            .collect()
    }

    pub(super) fn behind(&self) -> u64 {
        self.entries
    }

    /// Who wakes until `before`, the earliest first.
    pub(super) fn due(&mut self, before: Timestamp, limit: usize) -> Result<Vec<(Timestamp, CustomerId)>, Failure> {
        let mut due: Vec<_> = self.alarms.iter().take_while(|(at, _)| *at <= before).take(limit).copied().collect();
        let cold = self.state.due(before, limit.min(ROWS_MAX))?;
        due.extend(cold.into_iter().filter(|(_, id)| !self.customers.contains_key(id) && !self.gone.contains(id)));
        due.sort_unstable();
        due.truncate(limit);
        Ok(due)
    }

    /// All customers, in the order of their ids.
    pub(super) fn everybody(&mut self) -> Result<Vec<CustomerId>, Failure> {
        let mut ids: BTreeSet<CustomerId> = self.customers.keys().copied().collect();
        let mut after = None;
        loop {
            let more = self.state.ids(after, ROWS_MAX)?;
            let Some(last) = more.last() else { break };
            after = Some(*last);
            ids.extend(more.iter().filter(|id| !self.gone.contains(id)));
        }
        Ok(ids.into_iter().collect())
    }

    /// Customers whose last change no checkpoint holds yet.
    pub(super) fn unwritten(&self) -> impl Iterator<Item = &Customer> {
        self.customers.values().filter(|slot| slot.dirty || slot.leaving).filter_map(|slot| slot.customer.as_deref())
    }

    /// Customers that are no more, of which the state may still hold a row.
    pub(super) fn gone(&self) -> impl Iterator<Item = CustomerId> {
        self.gone.iter().copied()
    }

    /// The first identifier of a warm customer that answers a question.
    pub(super) fn find(&self, asked: impl Fn(&Customer) -> bool) -> Option<Identifier> {
        let found = self.customers.values().filter_map(|slot| slot.customer.as_deref()).find(|c| asked(c))?;
        found.identifiers.first().map(|(id, _)| id.clone())
    }

    /// Begins a checkpoint of everything that is news. It stays here too until the checkpoint has
    /// landed.
    pub(super) fn gather(&mut self, position: u64, published: Option<Vec<u8>>, counters: Option<Vec<u8>>) {
        let mut news = std::mem::take(&mut self.news);
        (news.position, news.workspace, news.counters) = (position, published, counters);
        let dirty = self.customers.iter_mut().filter(|(_, slot)| slot.dirty && slot.customer.is_some());
        let left = dirty.map(|(id, slot)| {
            (slot.dirty, slot.leaving, slot.unwritten) = (false, true, true);
            *id
        });
        let left = left.collect();
        news.identifiers = self.identifiers.iter().map(|(hash, id)| (*hash, *id)).collect();
        news.orders = self.orders.iter().map(|(order, id)| (*order, *id)).collect();
        news.archive = self.archive.iter().map(|(id, archived)| (*id, archived.clone())).collect();
        news.kept = self.shelf.iter().map(|(key, body)| (*key, body.clone())).collect();
        self.older = Older {
            identifiers: std::mem::take(&mut self.identifiers),
            orders: std::mem::take(&mut self.orders),
            archive: std::mem::take(&mut self.archive),
            shelf: std::mem::take(&mut self.shelf),
            timeline: news.timeline.clone(),
            gone: news.gone.clone(),
        };
        (self.entries, self.urgent) = (0, false);
        self.outgoing = Some(Outgoing { news, left, scratch: Vec::new() });
    }

    /// Bytes of customers in the last checkpoint, the one in the making left out.
    pub(super) fn bytes_gathered(&self) -> u64 {
        self.gathered
    }

    /// Whether the next checkpoint should not wait until it is worth it.
    pub(super) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Whether a checkpoint is in the making.
    pub(super) fn is_gathering(&self) -> bool {
        self.outgoing.is_some()
    }

    /// Writes out all customers that are left, on as many threads as there are processors; the
    /// checkpoint, if one is in the making. For whoever waits for it anyway.
    pub(super) fn gather_rest(&mut self) -> Result<Option<Checkpoint>, Failure> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut unwritten: Vec<&mut Slot> = self.customers.values_mut().filter(|slot| slot.unwritten).collect();
        let share = unwritten.len().div_ceil(threads).max(1);
        let rows: Vec<Vec<CustomerRow>> = std::thread::scope(|scope| {
            let shares = unwritten.chunks_mut(share).map(|slots| scope.spawn(|| write_out_all(slots)));
            let shares: Vec<_> = shares.collect();
            let died = || Err(super::misfit("write customers out", "the thread died"));
            shares.into_iter().map(|share| share.join().unwrap_or_else(|_| died())).collect::<Result<_, _>>()
        })?;
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.news.customers.extend(rows.into_iter().flatten());
        }
        self.weight = self.customers.values().map(|slot| slot.weight).sum();
        self.gather_on(usize::MAX)
    }

    /// Writes customers out for about so many bytes; the checkpoint, once it is whole.
    pub(super) fn gather_on(&mut self, bytes: usize) -> Result<Option<Checkpoint>, Failure> {
        let mut written = 0;
        while written < bytes {
            match self.outgoing.as_mut().map(|outgoing| outgoing.left.pop()) {
                Some(Some(id)) => written += self.write_out(id)?,
                Some(None) => {
                    let news = self.outgoing.take().map(|outgoing| outgoing.news);
                    self.gathered = news.iter().flat_map(|n| &n.customers).map(|row| row.bytes() as u64).sum();
                    return Ok(news);
                }
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Writes a customer out as they are, if that is still to be done for the checkpoint in the making;
    /// how many bytes that took.
    fn write_out(&mut self, id: CustomerId) -> Result<usize, Failure> {
        let Some(outgoing) = &mut self.outgoing else { return Ok(0) };
        let Some(slot) = self.customers.get_mut(&id).filter(|slot| slot.unwritten) else { return Ok(0) };
        let Some(customer) = &mut slot.customer else { return Ok(0) };
        let row = rows::encode(customer, slot.alarm, &mut outgoing.scratch)?;
        let bytes = row.bytes();
        self.weight = self.weight - slot.weight + slot.reweigh(&row);
        outgoing.news.customers.push(row);
        slot.unwritten = false;
        Ok(bytes)
    }

    /// The checkpoint that was on its way is on disk.
    pub(super) fn landed(&mut self) {
        self.blank = false;
        let older = std::mem::take(&mut self.older);
        self.known.extend(older.identifiers);
        let again: BTreeSet<CustomerId> = self.news.gone.iter().copied().collect();
        older.gone.iter().filter(|id| !again.contains(id)).for_each(|id| {
            self.gone.remove(id);
        });
        self.customers.values_mut().for_each(|slot| slot.leaving = false);
        self.evict();
    }
}

fn write_out_all(slots: &mut [&mut Slot]) -> Result<Vec<CustomerRow>, Failure> {
    let mut scratch = Vec::new();
    let mut rows = Vec::with_capacity(slots.len());
    for slot in slots {
        if let Some(customer) = &mut slot.customer {
            let row = rows::encode(customer, slot.alarm, &mut scratch)?;
            slot.reweigh(&row);
            rows.push(row);
            slot.unwritten = false;
        }
    }
    Ok(rows)
}

/// The name under which the identifier index knows a customer that became part of another one.
fn old_name(id: CustomerId) -> IdentifierHash {
    IdentifierHash(id.0)
}

fn unpack(record: &[u8]) -> Result<PackedRecord, Failure> {
    PackedRecord::read(record).map_err(|e| rows::unreadable("read an old order from state.db", &e))
}

fn waiting_key(order: OrderRef) -> KeptKey {
    key(1, order.0)
}

/// Idempotency keys are scoped by the root profile that they were used for.
fn answer_key(root: CustomerId, scoped: &str) -> KeptKey {
    key(2, Secret(root.0).digest(&[scoped.as_bytes()]))
}

/// Redemptions lie with the customer whose list they left.
fn redemption_key(owner: CustomerId, key: &str) -> KeptKey {
    self::key(3, Secret(owner.0).digest(&[key.as_bytes()]))
}

fn came_key(waited: u64) -> KeptKey {
    // Hashed, with a key that is no secret, because the map takes keys for their own hash: numbers would all collide.
    key(4, Secret([0; 16]).digest(&[&waited.to_le_bytes()]))
}

/// The key of a redemption that a fact tells of.
fn bought(fact: &Fact) -> Option<&str> {
    if let Fact::Redeemed(redemption) = fact { Some(&redemption.key) } else { None }
}

fn key(kind: u8, name: [u8; 16]) -> KeptKey {
    let mut key = [kind; 17];
    key[1..].copy_from_slice(&name);
    key
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use perennial_core::customer::Customer;
    use perennial_core::input::{Asked, Command};
    use perennial_core::time::Timestamp;

    use super::{WARM_BYTES, came_key};
    use crate::wire::Circumstances;
    use crate::wire::segment::{Call, parse};
    use crate::workspace::Workspace;

    /// Otherwise every order that comes in would look through all entries that had waited.
    #[test]
    fn entries_that_came_in_lie_apart_in_their_map() {
        let bytes: BTreeSet<[u8; 8]> = (1..=1_000).filter_map(|seq| came_key(seq).last_chunk().copied()).collect();
        let low: BTreeSet<u8> = bytes.iter().map(|last| last[0]).collect();
        let high: BTreeSet<u8> = bytes.iter().map(|last| last[7]).collect();
        assert_eq!(bytes.len(), 1_000);
        assert!(low.len() > 200 && high.len() > 200, "{} and {} of 256", low.len(), high.len());
    }

    /// Sixty shoppers who come again and again, with so much memory; how many of them are in it then,
    /// and what each looks like.
    fn shoppers(bound: usize) -> (usize, Vec<Customer>) {
        let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let mut workspace = Workspace::memory().unwrap();
        workspace.publish(at, "test", include_str!("../../../../programs/ecoexplorers.yaml")).unwrap();
        workspace.warm.bound = bound;
        for n in 0..600 {
            let (order, who) = (format!("o{n}"), n * 7 % 60);
            let said = format!(
                r#"{{"messageId":"m{n}","userId":"u{who}","event":"Order Completed","properties":{{"order_id":"{order}","total":20}}}}"#
            );
            let said = parse(Call::Track, said.as_bytes(), &Circumstances::live("shop", at)).unwrap();
            workspace.take(at.plus_millis(n), said).unwrap();
            if n % 20 == 0 {
                workspace.checkpoint().unwrap();
            }
        }
        let held = workspace.warm.customers.len();
        let customer = |who| workspace.customer(at, &format!("u{who}").parse().unwrap()).unwrap().unwrap();
        (held, (0..60).map(customer).collect())
    }

    #[test]
    fn who_leaves_a_full_memory_comes_back_as_they_were() {
        let ((all, free), (few, tight)) = (shoppers(WARM_BYTES), shoppers(100_000));
        assert_eq!((all, free), (60, tight));
        assert!((1..40).contains(&few), "{few} of 60 are held");
    }

    fn said(workspace: &mut Workspace, at: Timestamp, call: Call, said: &str) {
        let said = parse(call, said.as_bytes(), &Circumstances::live("shop", at)).unwrap();
        workspace.take(at, said).unwrap();
    }

    #[test]
    fn long_texts_weigh_what_they_are() {
        let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let mut workspace = Workspace::memory().unwrap();
        let program =
            "{ perennial: 1, id: c, name: C, currency: EUR, time_zone: UTC, traits: { city: { type: text } } }";
        workspace.publish(at, "test", program).unwrap();
        workspace.warm.bound = 3_000_000;
        for n in 0..300 {
            let visitor =
                format!(r#"{{"anonymousId":"v{n}","messageId":"m{n}","traits":{{"city":"{}"}}}}"#, "x".repeat(30_000));
            said(&mut workspace, at, Call::Identify, &visitor);
            if n % 20 == 0 {
                workspace.checkpoint().unwrap();
            }
        }
        let held = workspace.warm.customers.len();
        assert!((50..130).contains(&held), "{held} of 30 KB are held in 3 MB");
        let weight: usize = workspace.warm.customers.values().map(|slot| slot.weight).sum();
        assert_eq!(workspace.warm.weight, weight);
    }

    #[test]
    fn who_is_gone_is_not_kept_in_mind_for_ever() {
        let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let mut workspace = Workspace::memory().unwrap();
        workspace.publish(at, "test", include_str!("../../../../programs/ecoexplorers.yaml")).unwrap();
        for who in ["ana", "bo", "cy"] {
            let seen = format!(r#"{{"userId":"{who}","messageId":"{who}","event":"Seen"}}"#);
            said(&mut workspace, at, Call::Track, &seen);
        }
        let ask = |workspace: &mut Workspace, command| {
            workspace.ask(at, Asked::new(at, "test", "ana".parse().unwrap(), None, command)).unwrap().outcome.unwrap();
        };
        for who in ["bo", "cy"] {
            ask(&mut workspace, Command::Merge { from: who.parse().unwrap() });
        }
        assert_eq!((workspace.warm.gone().count(), workspace.everybody().unwrap().len()), (2, 1));
        workspace.checkpoint().unwrap();
        assert_eq!((workspace.warm.gone().count(), workspace.everybody().unwrap().len()), (0, 1));
        ask(&mut workspace, Command::Erase);
        assert_eq!((workspace.warm.gone().count(), workspace.everybody().unwrap().len()), (1, 0));
        workspace.checkpoint().unwrap();
        assert_eq!((workspace.warm.gone().count(), workspace.everybody().unwrap().len()), (0, 0));
    }
}
