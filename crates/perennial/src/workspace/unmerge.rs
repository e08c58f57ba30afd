//! Taking a merge back: both sides are decided again, apart, from their own inputs (rule 30).
//!
//! A workspace in memory is folded up to the merge; then what happened since is given to the side
//! whose name it came under, and each side decides for itself. What comes out is two entries, one a
//! side. Both the writer and a refold make the customers from those entries alone, by folding each
//! side's own history ([`perennial_core::unmerge::own_history`]).

use std::collections::{BTreeMap, BTreeSet};

use perennial_core::command::{self, Neighbours};
use perennial_core::customer::Customer;
use perennial_core::event::Event;
use perennial_core::fact::{Fact, Outcome, Parted, Step};
use perennial_core::id::{CustomerId, OrderRef};
use perennial_core::input::{Asked, Command, Entry, Input};
use perennial_core::rules::Rules;
use perennial_core::time::Timestamp;
use perennial_core::unmerge::{self, LotNumbers};
use perennial_core::{engine, loyalty, merge};
use perennial_store::Failure;

use super::tail::{instant, instant_of};
use super::warm::Warm;
use super::{Answer, Workspace};

/// What follows from an un-merge, for either side.
pub(super) struct Parting {
    stay: (CustomerId, Outcome),
    out: (CustomerId, Outcome),
    /// The side that was named.
    named: CustomerId,
}

/// Whether an entry makes its customer from a side of a merge.
pub(super) fn parts(entry: &Entry) -> bool {
    parted(entry).is_some_and(|parted| parted.since < u64::MAX)
}

fn parted(entry: &Entry) -> Option<&Parted> {
    entry.outcome.iter().find_map(|fact| if let Fact::Parted(parted) = fact { Some(parted) } else { None })
}

fn merged(entry: &Entry) -> Option<CustomerId> {
    entry.outcome.iter().find_map(|fact| if let Fact::Merged { from } = fact { Some(*from) } else { None })
}

impl Workspace {
    /// Decides an un-merge of a customer as it was before an entry; none when there is no merge to
    /// take back.
    pub(super) fn parting(&self, union: &Customer, asked: &Asked, before: u64) -> Result<Option<Parting>, Failure> {
        let history = self.own_history(&union.roots, before, None)?;
        let root = union.root_named(&asked.customer);
        let Some((at, out)) = unmerge::merge_of(&history, union.id, root) else { return Ok(None) };
        let mut sides = Sides::at_merge(self, union.id, out, &history, at)?;
        for (n, entry) in history.iter().enumerate().skip(at) {
            sides.follow(entry, &history[n + 1..])?;
        }
        sides.catch_up(asked.at, before)?;
        let booked = history.iter().skip(at).filter(|e| e.customer == Some(union.id)).flat_map(|e| &e.outcome);
        let mut stay = vec![Fact::Unmerged { out }];
        stay.extend(sides.outcome(union.id, history[at].seq, booked)?);
        let gone = sides.outcome(out, history[at].seq, [].iter())?;
        let named = if sides.holds(out, root)? { out } else { union.id };
        Ok(Some(Parting { stay: (union.id, stay), out: (out, gone), named }))
    }

    /// Writes an un-merge down, an entry a side, and carries it out.
    pub(super) fn part(&mut self, parting: Parting, asked: &Asked) -> Result<Answer, Failure> {
        let Parting { stay, out, named } = parting;
        let mut cause = None;
        let mut answer = None;
        let sides = vec![stay.0, out.0];
        for (id, outcome) in [stay, out] {
            self.count_stock(&outcome);
            let seq = self.push(Some(id), Some(id), Input::Command(Box::new(asked.clone())), outcome.clone());
            let Some(entry) = self.batch.last_mut() else { continue };
            entry.cause = cause.replace(seq);
            let entry = entry.clone();
            self.refold_side(&entry, id)?;
            if id == named {
                answer = Some(self.answer(seq, id, Ok(outcome)));
            }
        }
        self.ask_again(sides)?;
        answer.ok_or_else(|| super::misfit("take a merge back", "neither side was named"))
    }

    /// Makes the customer of an entry that parts a side from its own history.
    pub(super) fn refold_side(&mut self, entry: &Entry, id: CustomerId) -> Result<(), Failure> {
        let Some(parted) = parted(entry) else { return Ok(()) };
        if let Some(union) = self.warm.get(id)?.map(|union| union.roots.clone()) {
            let history = self.own_history(&union, entry.seq, None)?;
            self.warm.clear_shelf(&union, &history);
        }
        let own = self.own_history(&parted.roots, entry.seq, Some(entry))?;
        self.make_of(&own, id, entry.seq)
    }

    /// Makes a customer of a history that is their own.
    fn make_of(&mut self, own: &[Entry], id: CustomerId, folded: u64) -> Result<(), Failure> {
        let mut scratch = Self::apart(self.rules.as_of(0))?;
        for told in own {
            scratch.fold_again(self, told)?;
        }
        self.warm.take_over(&scratch.warm, id);
        let Some(mut customer) = scratch.warm.take(id)? else {
            return Err(super::misfit("take a merge back", "a side has no history"));
        };
        customer.folded = folded;
        let orders: Vec<OrderRef> = own.iter().flat_map(|e| &e.outcome).filter_map(super::booked).collect();
        // Of whoever was erased since, the facts alone say which names lead to nobody.
        for fact in own.iter().filter(|told| told.input.is_none()).flat_map(|told| &told.outcome) {
            if let Fact::Linked(name) = fact {
                self.warm.link(*name, id);
            }
        }
        self.warm.restore(customer, &orders, self.secret())
    }

    /// Those who were one with a customer and are not any more, as far as something stays with them that came under
    /// a name of these root profiles before an entry.
    pub(super) fn keepers_of(
        &mut self,
        id: CustomerId,
        roots: &[CustomerId],
        before: u64,
    ) -> Result<Vec<CustomerId>, Failure> {
        let mut partings = self.warm.get(id)?.map(|customer| customer.parted.clone()).unwrap_or_default();
        let (mut seen, mut others) = (BTreeSet::new(), BTreeSet::new());
        while let Some(seq) = partings.pop() {
            let Some(entry) = self.entry(seq)?.filter(|_| seen.insert(seq)) else { continue };
            partings.push(entry.cause.unwrap_or(seq + 1)); // Either side has an entry; the second names the first.
            let Some(side) = entry.customer else { continue };
            let side = self.warm.survivor(side)?;
            if side != id
                && others.insert(side)
                && let Some(other) = self.warm.get(side)?
            {
                partings.extend(&other.parted);
            }
        }
        let mut keepers = Vec::new();
        for other in others {
            let Some(own) = self.warm.get(other)?.map(|other| other.roots.clone()) else { continue };
            let history = self.own_history(&own, before, None)?;
            if history.iter().any(|entry| entry.root.is_some_and(|root| roots.contains(&root))) {
                self.warm.clear_shelf(&own, &history); // While it can be read.
                keepers.push(other);
            }
        }
        Ok(keepers)
    }

    /// Makes a customer anew of what can still be read of their history before an entry.
    pub(super) fn make_anew(&mut self, id: CustomerId, before: u64) -> Result<(), Failure> {
        let Some((roots, folded)) = self.warm.get(id)?.map(|c| (c.roots.clone(), c.folded)) else { return Ok(()) };
        let own = self.own_history(&roots, before, None)?;
        self.make_of(&own, id, folded)
    }

    /// A workspace in memory for deciding or folding a side.
    fn apart(rules: Rules) -> Result<Self, Failure> {
        let mut scratch = Self::memory()?;
        scratch.rules = rules;
        scratch.apart = true;
        Ok(scratch)
    }

    /// Folds an entry whose facts are known, under the rules of then. A step of a side that has no number of its own
    /// has that of the step before, and may have come under a later version.
    fn fold_again(&mut self, whole: &Self, entry: &Entry) -> Result<(), Failure> {
        let followed = entry.customer.map(|id| self.warm.get(id)).transpose()?.flatten().map_or(0, |c| c.adopted);
        let named = match &entry.input {
            Some(Input::Adopted { version, .. }) => *version,
            Some(Input::Timer(timer)) => whole.rules.version_before(timer.at),
            _ => 0,
        };
        self.rules = whole.rules.as_of(whole.rules_at(entry.seq).latest_version().max(named).max(followed));
        self.now = self.now.max(entry.recorded_at);
        self.warm.index(entry);
        if let Some(id) = entry.customer {
            self.refold_customer(entry, id)?;
        }
        self.batch.push(entry.clone());
        Ok(())
    }

    /// The rules that were in force when an entry was written.
    fn rules_at(&self, seq: u64) -> Rules {
        let known = self.sources.iter().take_while(|source| source.seq < seq).count();
        self.rules.as_of(u32::try_from(known).unwrap_or(u32::MAX))
    }
}

/// The two sides of a merge, each deciding for itself.
struct Sides<'a> {
    whole: &'a Workspace,
    /// Where both live apart; its batch holds what was folded.
    scratch: Workspace,
    stay: CustomerId,
    out: CustomerId,
    lots: BTreeMap<CustomerId, LotNumbers>,
    /// The root profiles that had an order first.
    owners: BTreeMap<OrderRef, CustomerId>,
    /// Entries of the batch that are older than the merge.
    before: usize,
}

impl<'a> Sides<'a> {
    fn at_merge(
        whole: &'a Workspace,
        stay: CustomerId,
        out: CustomerId,
        history: &[Entry],
        at: usize,
    ) -> Result<Self, Failure> {
        let mut scratch = Workspace::apart(whole.rules.as_of(0))?;
        for entry in &history[..at] {
            scratch.fold_again(whole, entry)?;
        }
        let lots = [stay, out].map(|id| (id, LotNumbers::after(history, id))).into();
        let mut owners = BTreeMap::new();
        for entry in history {
            let root = if entry.customer == Some(stay) { entry.root } else { entry.customer };
            for order in entry.outcome.iter().filter_map(super::booked) {
                owners.entry(order).or_insert(root.unwrap_or(stay));
            }
        }
        let before = scratch.batch.len();
        Ok(Self { whole, scratch, stay, out, lots, owners, before })
    }

    /// Gives an entry since the merge to the side it belongs to. `later` are the entries after it.
    fn follow(&mut self, entry: &Entry, later: &[Entry]) -> Result<(), Failure> {
        if entry.customer != Some(self.stay) {
            return self.scratch.fold_again(self.whole, entry);
        }
        // Each side comes as far as the two had come together: what is told later is late for either.
        if let Some(input) = &entry.input {
            self.catch_up(instant_of(input), entry.seq)?;
        }
        let from = merged(entry);
        let undone = from == Some(self.out);
        if let Some(from) = from.filter(|_| !undone) {
            return self.join(entry, from, later);
        }
        match &entry.input {
            Some(Input::Timer(_) | Input::Adopted { .. }) => Ok(()),
            Some(Input::Joined { .. }) if undone => Ok(()),
            Some(Input::Command(_)) if undone => self.fold(self.stay, entry, Vec::new()),
            Some(Input::Event(event)) => {
                let order = event.order_id().map(|id| OrderRef::derive(&self.scratch.secret(), id));
                let side = self.side_of(entry, order)?;
                side.map_or(Ok(()), |side| self.happen(side, entry, event))
            }
            Some(Input::Command(asked)) => {
                let (named, side) = (self.side_of(entry, None)?, self.asking_side(entry, asked)?);
                side.map_or(Ok(()), |side| self.ask(side, entry, asked))?;
                let asker = named.filter(|named| side.is_some_and(|side| side != *named));
                asker.map_or(Ok(()), |asker| self.answer_too(asker, entry, asked))
            }
            _ => {
                let side = self.side_of(entry, None)?;
                side.map_or(Ok(()), |side| self.fold(side, entry, entry.outcome.clone()))
            }
        }
    }

    fn holds(&mut self, side: CustomerId, root: CustomerId) -> Result<bool, Failure> {
        Ok(self.scratch.warm.get(side)?.is_some_and(|c| c.roots.contains(&root)))
    }

    /// Whose an entry is: an order belongs to the side that has it first, also when its refund came
    /// before it, all else to the side whose name was used; none when that is somebody who is no part of either any more.
    fn side_of(&mut self, entry: &Entry, order: Option<OrderRef>) -> Result<Option<CustomerId>, Failure> {
        let owner = order.and_then(|order| self.owners.get(&order).copied());
        let root = owner.or(entry.root).unwrap_or(self.stay);
        for side in [self.out, self.stay] {
            if side == root || self.holds(side, root)? {
                return Ok(Some(side));
            }
        }
        Ok(None)
    }

    /// Whose a command is: the side that has what it is about, and never one that could not have
    /// asked for what was granted.
    fn asking_side(&mut self, entry: &Entry, asked: &Asked) -> Result<Option<CustomerId>, Failure> {
        let secret = self.whole.rules.secret;
        let has = |warm: &mut Warm, side: CustomerId| {
            let roots = warm.get(side)?.map(|customer| customer.roots.clone()).unwrap_or_default();
            let named = |said: &str| command::names_of(&secret, &roots, said);
            if let Command::Undo { redemption } = &asked.command {
                for name in named(redemption) {
                    if warm.has_redemption(side, &name)? {
                        return Ok(true);
                    }
                }
                return Ok(false);
            }
            let Some(member) = warm.get(side)?.and_then(|c| c.member.as_ref()) else { return Ok(false) };
            Ok(match &asked.command {
                Command::Capture { hold, .. } | Command::Release { hold } => {
                    member.holds.iter().any(|h| !h.ended && named(hold).contains(&h.hold))
                }
                Command::Review { activity, .. } => {
                    let name = loyalty::activity_key(&secret, activity);
                    member.activities.iter().any(|a| a.activity == name)
                }
                _ => false,
            })
        };
        for side in [self.out, self.stay] {
            if has(&mut self.scratch.warm, side)? {
                return Ok(Some(side));
            }
        }
        let order = match &asked.command {
            Command::Fulfill { order, .. } => Some(OrderRef::derive(&self.whole.secret(), order)),
            _ => None,
        };
        let side = self.side_of(entry, order)?;
        let needs_wallet = !matches!(asked.command, Command::Enroll | Command::Consent { .. });
        let other = if side == Some(self.out) { self.stay } else { self.out };
        let is_member = |c: Option<&Customer>| c.is_some_and(|c| c.member.is_some());
        let moves = match side {
            Some(side) if needs_wallet => {
                !is_member(self.scratch.warm.get(side)?) && is_member(self.scratch.warm.get(other)?)
            }
            _ => false,
        };
        Ok(if moves { Some(other) } else { side })
    }

    fn happen(&mut self, side: CustomerId, entry: &Entry, event: &Event) -> Result<(), Failure> {
        self.wake(side, event.at, entry.seq)?;
        let mut facts = Vec::new();
        self.scratch.recall(side, event, &mut facts)?;
        let Some(mut trial) = self.trial(side, entry)? else { return Ok(()) };
        let mut rules = self.whole.rules_at(entry.seq);
        rules.learn_products(&unmerge::catalog_of(event, &entry.outcome));
        facts.extend(engine::apply(&rules, &mut trial, event));
        self.fold(side, entry, facts)?;
        let clock = self.scratch.warm.get(side)?.map_or(event.at, |c| c.clock);
        self.wake(side, clock, entry.seq)
    }

    fn ask(&mut self, side: CustomerId, entry: &Entry, asked: &Asked) -> Result<(), Failure> {
        let refused = entry.outcome.iter().any(|fact| matches!(fact, Fact::Refused(_)));
        let of_one = !matches!(asked.command, Command::Merge { .. } | Command::Unmerge | Command::Erase);
        self.wake(side, asked.at, entry.seq)?;
        let mut facts = Vec::new();
        if !refused {
            self.scratch.recall_asked(side, asked, &mut facts)?;
        }
        let Some(mut trial) = self.trial(side, entry)? else { return Ok(()) };
        if refused || !of_one {
            facts.extend(entry.outcome.iter().skip_while(|fact| unmerge::is_given(fact)).cloned());
        } else {
            let near = Neighbours { stock: None, seq: entry.seq, granted: true };
            let again = unmerge::as_granted(asked, &entry.outcome);
            facts.extend(command::admit(&self.whole.rules_at(entry.seq), &mut trial, &again, &near).0);
        }
        self.fold(side, entry, facts)
    }

    /// Whoever asked for what the other side has gone on with is told the same when they ask again (rule 21).
    fn answer_too(&mut self, asker: CustomerId, entry: &Entry, asked: &Asked) -> Result<(), Failure> {
        if asked.key.is_none() {
            return Ok(());
        }
        self.wake(asker, asked.at, entry.seq)?;
        let own = Entry { customer: Some(asker), outcome: Vec::new(), ..entry.clone() };
        self.scratch.fold_again(self.whole, &own)
    }

    /// Somebody else turned out to be one of the two since: whose name came with it says which.
    fn join(&mut self, entry: &Entry, from: CustomerId, later: &[Entry]) -> Result<(), Failure> {
        let by = later.iter().find(|e| e.customer == entry.customer && matches!(e.input, Some(Input::Event(_))));
        let by = if matches!(entry.input, Some(Input::Joined { .. })) { by.unwrap_or(entry) } else { entry };
        let Some(side) = self.side_of(by, None)? else { return Ok(()) };
        self.wake(side, instant(entry), entry.seq)?;
        let Some(mut trial) = self.trial(side, entry)? else { return Ok(()) };
        let Some(gone) = self.scratch.warm.get(from)?.cloned() else { return Ok(()) };
        let facts = merge::merge(&self.whole.rules_at(entry.seq), &mut trial, gone, instant(entry));
        self.fold(side, entry, facts)
    }

    /// A side as it is, with the names that an entry gave it, to try a decision on.
    fn trial(&mut self, side: CustomerId, entry: &Entry) -> Result<Option<Customer>, Failure> {
        let Some(mut trial) = self.scratch.warm.get(side)?.cloned() else { return Ok(None) };
        self.scratch.name(&mut trial, entry);
        Ok(Some(trial))
    }

    /// Folds an entry into its side with what was decided for it.
    fn fold(&mut self, side: CustomerId, entry: &Entry, mut facts: Outcome) -> Result<(), Failure> {
        if let Some(lots) = self.lots.get_mut(&side) {
            lots.keep(&mut facts, &entry.outcome);
        }
        let mut outcome = unmerge::identity_of(&entry.outcome);
        outcome.extend(facts);
        let own = Entry { customer: Some(side), outcome, ..entry.clone() };
        self.scratch.fold_again(self.whole, &own)
    }

    /// Fires what is due for a side, under the programme that was in force at its instant; then the
    /// side follows the programme in force at an entry.
    fn wake(&mut self, side: CustomerId, until: Timestamp, seq: u64) -> Result<(), Failure> {
        let in_force = self.whole.rules_at(seq);
        loop {
            let due = self.scratch.warm.get(side)?.and_then(|c| c.timers.first().copied()).filter(|t| t.at <= until);
            let version = due.map_or(u32::MAX, |timer| in_force.version_before(timer.at));
            let adopted = self.scratch.warm.get(side)?.map_or(0, |c| c.adopted);
            self.scratch.rules = in_force.as_of(version.max(adopted));
            self.scratch.next_seq = seq;
            self.number_lots(side)?;
            self.scratch.adopt(side)?;
            self.number_lots(side)?;
            let Some(timer) = due else {
                // The version itself may have brought what is due already.
                let next = self.scratch.warm.get(side)?.and_then(|c| c.timers.first().copied());
                if next.is_some_and(|timer| timer.at <= until) {
                    continue;
                }
                return Ok(());
            };
            self.scratch.now = self.scratch.now.max(timer.at); // What an entry brought late is late.
            self.scratch.next_seq = seq;
            self.scratch.fire(side, timer)?;
        }
    }

    /// A version or time itself may reach a milestone, which opens a lot: under a number that no lot has had.
    fn number_lots(&mut self, side: CustomerId) -> Result<(), Failure> {
        if let (Some(lots), Some(customer)) = (self.lots.get_mut(&side), self.scratch.warm.get_mut(side)?) {
            lots.last = lots.last.max(customer.lots_opened);
            customer.lots_opened = lots.last;
        }
        Ok(())
    }

    /// Both sides come to an instant, and to the programme in force at an entry.
    fn catch_up(&mut self, at: Timestamp, seq: u64) -> Result<(), Failure> {
        self.wake(self.stay, at, seq)?;
        self.wake(self.out, at, seq)
    }

    /// What a side has come to: its steps, and the postings that its books lack.
    fn outcome<'b>(
        &mut self,
        side: CustomerId,
        since: u64,
        booked: impl Iterator<Item = &'b Fact>,
    ) -> Result<Outcome, Failure> {
        let Some(customer) = self.scratch.warm.get(side)?.cloned() else {
            return Err(super::misfit("take a merge back", "a side is not there"));
        };
        let own = self.scratch.batch.iter().skip(self.before).filter(|e| e.customer == Some(side));
        let steps: Vec<Step> = own.map(|e| Step { of: unmerge::happened(e), facts: e.outcome.clone() }).collect();
        let lacking = unmerge::lacking(booked, steps.iter().flat_map(|s| &s.facts));
        let owes = customer.member.as_ref().is_some_and(|m| m.wallet.arrears > 0);
        let note = owes.then(|| Fact::Noted("shortfall".into()));
        let lots = self.lots.get(&side).map_or(0, |lots| lots.last);
        let parted = Fact::Parted(Parted { since, roots: customer.roots, lots, steps });
        Ok([parted].into_iter().chain(note).chain(lacking.into_iter().map(Fact::Posted)).collect())
    }
}

/// Whether deciding an un-merge again gives what was written for either side.
pub(super) fn same(parting: Option<Parting>, stay: &Entry, out: Option<&Entry>) -> bool {
    parting.is_some_and(|p| p.stay.1 == stay.outcome && out.is_some_and(|out| p.out.1 == out.outcome))
}
