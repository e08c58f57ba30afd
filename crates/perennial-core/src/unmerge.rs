//! Un-merging: two customers that had become one are two again (rule 30).
//!
//! Each side is decided again from its own inputs since the merge. What came out is written down as
//! steps, and from then on a side's history *is* what was before the merge and these steps:
//! [`own_history`]. Whoever folds that history has the customer, as if there had been no merge.
//! Absent on purpose: the journal. Fetching entries, and running the two sides, is the workspace's.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Body, Event, Product};
use crate::fact::{Account, Cause, Fact, Happened, LotOpened, Outcome, Parted, Posting, Unit};
use crate::id::{CustomerId, LotId};
use crate::input::{Asked, Command, Entry, Input};

/// The history of customers as their own: entries that an un-merge has replaced give way to its
/// steps. Takes entries in journal order and gives them in order; `entry` fetches one by its number.
///
/// # Errors
/// Those of `entry`.
pub fn own_history<E>(
    entries: Vec<Entry>,
    mut entry: impl FnMut(u64) -> Result<Option<Entry>, E>,
) -> Result<Vec<Entry>, E> {
    let mut own: Vec<Entry> = Vec::with_capacity(entries.len());
    for mut told in entries {
        let parted = told.outcome.iter().find_map(|f| if let Fact::Parted(parted) = f { Some(parted) } else { None });
        if let Some(parted) = parted {
            own.retain(|e| e.customer != told.customer || e.seq < parted.since);
            own.extend(steps(&told, parted, &mut entry)?);
            // Told: nothing is left to be replaced.
            let rest = Parted { since: u64::MAX, steps: Vec::new(), ..parted.clone() };
            told.outcome = vec![Fact::Parted(rest)];
        }
        own.push(told);
    }
    own.sort_by_key(|e| e.seq);
    Ok(own)
}

/// The steps as entries. A wake-up has no entry of its own number: it keeps its place in the order.
fn steps<E>(
    told: &Entry,
    parted: &Parted,
    entry: &mut impl FnMut(u64) -> Result<Option<Entry>, E>,
) -> Result<Vec<Entry>, E> {
    let mut seq = parted.since;
    let mut all = Vec::with_capacity(parted.steps.len());
    for step in &parted.steps {
        let (at, input) = match step.of {
            Happened::Entry(number) => {
                seq = number;
                let found = entry(number)?.unwrap_or_else(|| Entry { seq, input: None, ..told.clone() });
                all.push(Entry { outcome: step.facts.clone(), customer: told.customer, ..found });
                continue;
            }
            Happened::Woken(timer) => (timer.at, Input::Timer(timer)),
            Happened::Adopted { at, version } => (at, Input::Adopted { at, version }),
        };
        let (root, cause, customer) = (told.root, None, told.customer);
        let outcome = step.facts.clone();
        all.push(Entry { seq, recorded_at: at, customer, root, cause, input: Some(input), outcome });
    }
    Ok(all)
}

/// What a step of a side goes back to.
pub fn happened(entry: &Entry) -> Happened {
    match entry.input {
        Some(Input::Timer(timer)) => Happened::Woken(timer),
        Some(Input::Adopted { at, version }) => Happened::Adopted { at, version },
        _ => Happened::Entry(entry.seq),
    }
}

/// Numbers of lots under one customer's name: those that both sides used stay theirs.
pub struct LotNumbers {
    owner: CustomerId,
    /// The highest number used.
    pub last: u32,
}

impl LotNumbers {
    /// Goes on where the entries have stopped.
    pub fn after(entries: &[Entry], owner: CustomerId) -> Self {
        let used = entries.iter().flat_map(|e| &e.outcome).filter_map(|fact| match fact {
            Fact::LotOpened(born) if born.lot.owner == owner => Some(born.lot.number),
            Fact::Parted(parted) if parted.roots.first() == Some(&owner) => Some(parted.lots),
            _ => None,
        });
        Self { owner, last: used.max().unwrap_or(0) }
    }

    /// Gives the lots of what was decided again the names that the same lots were booked under, so
    /// that a lot returns to the side that earned it; a lot that was never booked gets a new one.
    pub fn keep(&mut self, decided: &mut [Fact], booked: &[Fact]) {
        let mut known: Vec<&LotOpened> = booked.iter().filter_map(opened).collect();
        let mut names: BTreeMap<LotId, LotId> = BTreeMap::new();
        for born in decided.iter().filter_map(opened) {
            let same = |k: &&LotOpened| (k.order, &k.rule, k.earned_at) == (born.order, &born.rule, born.earned_at);
            let name = if let Some(at) = known.iter().position(same) {
                known.remove(at).lot
            } else {
                self.last += 1;
                LotId { owner: self.owner, number: self.last }
            };
            names.insert(born.lot, name);
        }
        decided.iter_mut().flat_map(lots_of).for_each(|lot| *lot = names.get(lot).copied().unwrap_or(*lot));
    }
}

fn opened(fact: &Fact) -> Option<&LotOpened> {
    if let Fact::LotOpened(born) = fact { Some(born) } else { None }
}

/// The places where a fact names a lot.
fn lots_of(fact: &mut Fact) -> Vec<&mut LotId> {
    match fact {
        Fact::LotOpened(born) => vec![&mut born.lot],
        Fact::Posted(posting) => posting.lot.as_mut().into_iter().collect(),
        Fact::LotDated { lot, .. } => vec![lot],
        Fact::Reached { lot, .. } => lot.as_mut().into_iter().collect(),
        Fact::Paid { lots, .. } | Fact::PaidByHold { lots, .. } | Fact::Held { lots, .. } => {
            lots.iter_mut().map(|(lot, _)| lot).collect()
        }
        Fact::Redeemed(redemption) => redemption.lots.iter_mut().map(|(lot, _)| lot).collect(),
        _ => Vec::new(),
    }
}

/// The postings that books lack which hold `booked` and should hold `decided`.
pub fn lacking<'a, 'b>(
    booked: impl Iterator<Item = &'a Fact>,
    decided: impl Iterator<Item = &'b Fact>,
) -> Vec<Posting> {
    let mut sums: BTreeMap<(Unit, Option<LotId>), BTreeMap<Account, i64>> = BTreeMap::new();
    let mut count = |fact: &Fact, sign: i64| {
        if let Fact::Posted(p) = fact {
            let accounts = sums.entry((p.unit.clone(), p.lot)).or_default();
            *accounts.entry(p.to).or_default() += sign * p.amount;
            *accounts.entry(p.from).or_default() -= sign * p.amount;
        }
    };
    booked.for_each(|fact| count(fact, -1));
    decided.for_each(|fact| count(fact, 1));
    sums.into_iter().flat_map(|((unit, lot), sums)| settle(&unit, lot, sums)).collect()
}

/// Moves what is too much on some accounts to those that have too little.
fn settle(unit: &Unit, lot: Option<LotId>, mut sums: BTreeMap<Account, i64>) -> Vec<Posting> {
    let mut postings = Vec::new();
    while let Some((&from, &over)) = sums.iter().find(|(_, n)| **n < 0)
        && let Some((&to, &short)) = sums.iter().find(|(_, n)| **n > 0)
    {
        let amount = short.min(-over);
        sums.insert(from, over + amount);
        sums.insert(to, short - amount);
        postings.push(Posting { unit: unit.clone(), from, to, amount, lot, cause: Cause::Merge });
    }
    postings
}

/// What was known of an order's products when it was booked: its lines carry tags and impact.
pub fn catalog_of(event: &Event, booked: &[Fact]) -> Vec<Product> {
    let (Body::Ordered(order) | Body::OrderUpdated(order)) = &event.body else { return Vec::new() };
    let lines = booked.iter().find_map(|f| if let Fact::Booked(booking) = f { Some(&booking.lines) } else { None });
    let known = order.lines.iter().zip(lines.into_iter().flatten()).map(|(said, line)| Product {
        product_id: said.product_id.clone(),
        tags: line.tags.clone(),
        impact: line.impact.clone(),
        ..Product::default()
    });
    known.collect()
}

/// What is asked for again: a capture asks for as much as it got.
pub fn as_granted(asked: &Asked, booked: &[Fact]) -> Asked {
    let mut asked = asked.clone();
    if let Command::Capture { points, .. } = &mut asked.command {
        let got =
            booked.iter().find_map(|f| if let Fact::HoldEnded { captured, .. } = f { Some(*captured) } else { None });
        *points = got.or(*points);
    }
    asked
}

/// Whether a fact was there before its input was decided: who somebody is, and what was fetched.
pub fn is_given(fact: &Fact) -> bool {
    matches!(fact, Fact::Created | Fact::Linked(_) | Fact::Unlinked(_)) || is_fetched(fact)
}

/// Whether a fact says that something was fetched that had left the customer's lists.
pub fn is_fetched(fact: &Fact) -> bool {
    matches!(fact, Fact::Recalled { .. } | Fact::RedemptionRecalled { .. })
}

/// The facts about identity that an outcome begins with.
pub fn identity_of(outcome: &[Fact]) -> Outcome {
    let given = outcome.iter().take_while(|fact| is_given(fact));
    given.filter(|fact| !is_fetched(fact)).cloned().collect()
}

/// The root profiles that the customer `from` brought into another one, and the place of that merge
/// in a history: the merge that made `root` part of `into`, or the last one when `root` is not
/// somebody who came.
pub fn merge_of(history: &[Entry], into: CustomerId, root: CustomerId) -> Option<(usize, CustomerId)> {
    let mut roots: BTreeMap<CustomerId, BTreeSet<CustomerId>> = BTreeMap::new();
    let mut last = None;
    for (at, entry) in history.iter().enumerate() {
        let Some(customer) = entry.customer else { continue };
        for fact in &entry.outcome {
            let Fact::Merged { from } = fact else { continue };
            let mut came = roots.remove(from).unwrap_or_default();
            came.insert(*from);
            if customer == into {
                last = Some((at, *from));
                if came.contains(&root) {
                    return last;
                }
            }
            roots.entry(customer).or_default().extend(came);
        }
    }
    last
}
