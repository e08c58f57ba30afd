//! A second set of books: postings alone, added up in double entry.
//!
//! Promise: shares nothing with the engine but the shape of a posting. It reads the journal entry by
//! entry; what lots and arrears come to here is what wallets must say (invariants 1 to 5 and 7).
//! Absent on purpose: why anything was posted.

use std::collections::{BTreeMap, BTreeSet};

use perennial_core::customer::Customer;
use perennial_core::fact::{Account, Fact, Posting, Unit};
use perennial_core::id::{CustomerId, LotId};
use perennial_core::input::Entry;
use perennial_core::ledger::Lot;

/// The accounts of a lot, in the order of [`Books::of`].
const OF_A_LOT: [Account; 8] = [
    Account::Pending,
    Account::Available,
    Account::Held,
    Account::Spent,
    Account::Arrears,
    Account::Expired,
    Account::Reversed,
    Account::Forfeited,
];

/// What a lot settled, in [`OF_A_LOT`].
const SETTLED: usize = 4;

/// Accounts that may be negative, for units come from them.
const HOUSE: [Account; 3] = [Account::Issued, Account::Waived, Account::Shelf];

/// All accounts that postings moved units between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    /// The last entry read.
    pub(crate) read: u64,
    /// Points by lot and account; what a lot settled is under `Arrears`.
    lots: BTreeMap<(LotId, Account), i64>,
    /// What members owe.
    arrears: BTreeMap<CustomerId, i64>,
    /// Impact and stock by owner, unit and account.
    others: BTreeMap<(CustomerId, Unit, Account), i64>,
    /// What somebody had who became part of another customer: it leaves with them.
    brought: BTreeMap<CustomerId, Brought>,
    /// Lots of a merge that was taken back. Its postings are sums: what such a lot settled and what was
    /// owed for it stand in one of them.
    summed: BTreeSet<LotId>,
}

/// What somebody owed, and their impact and stock.
type Brought = (i64, Vec<(Unit, Account, i64)>);

impl Books {
    /// Reads an entry; what is wrong with it, in words.
    pub(crate) fn read(&mut self, entry: &Entry) -> Result<(), String> {
        let seq = entry.seq;
        if seq != self.read + 1 {
            return Err(format!("entry {seq} follows entry {}", self.read));
        }
        self.read = seq;
        // The two entries that take a merge back carry sums, in no order of their own.
        let strict = !entry.outcome.iter().any(|f| matches!(f, Fact::Parted(_)));
        let refused = entry.outcome.iter().any(|f| matches!(f, Fact::Refused(_)));
        for fact in &entry.outcome {
            let owner = || entry.customer.ok_or_else(|| format!("entry {seq} moves something of nobody"));
            match fact {
                Fact::Posted(_) if refused => return Err(format!("entry {seq} is refused and posts")),
                Fact::Posted(posting) => {
                    self.post(owner()?, posting, strict).map_err(|e| format!("entry {seq}: {e}"))?;
                }
                Fact::Merged { from } => self.unite(owner()?, *from),
                Fact::Unmerged { out } => self.part(owner()?, *out),
                _ => {}
            }
        }
        Ok(())
    }

    fn unite(&mut self, into: CustomerId, from: CustomerId) {
        let owed = self.arrears.remove(&from).unwrap_or(0);
        *self.arrears.entry(into).or_default() += owed;
        let mut brought: Brought = (owed, Vec::new());
        let theirs: Vec<_> = self.others.keys().filter(|(owner, _, _)| *owner == from).cloned().collect();
        for key in theirs {
            let amount = self.others.remove(&key).unwrap_or(0);
            brought.1.push((key.1.clone(), key.2, amount));
            *self.others.entry((into, key.1, key.2)).or_default() += amount;
        }
        self.brought.insert(from, brought);
    }

    /// What somebody brought leaves with them; what has happened to it since is posted beside it.
    fn part(&mut self, from: CustomerId, out: CustomerId) {
        let Some((owed, others)) = self.brought.remove(&out) else { return };
        *self.arrears.entry(from).or_default() -= owed;
        *self.arrears.entry(out).or_default() += owed;
        for (unit, account, amount) in others {
            *self.others.entry((from, unit.clone(), account)).or_default() -= amount;
            *self.others.entry((out, unit, account)).or_default() += amount;
        }
    }

    fn post(&mut self, owner: CustomerId, posting: &Posting, strict: bool) -> Result<(), String> {
        if posting.amount <= 0 || posting.from == posting.to {
            return Err(format!("a posting moves something from one account to another: {posting:?}"));
        }
        self.summed.extend(posting.lot.filter(|_| !strict));
        let sides = [(posting.from, -posting.amount), (posting.to, posting.amount)];
        for (account, amount) in sides {
            if HOUSE.contains(&account) {
                continue;
            }
            let (left, change) = if posting.unit != Unit::Points {
                (self.others.entry((owner, posting.unit.clone(), account)).or_default(), amount)
            } else if account == Account::Arrears {
                // Grows by postings from it: what is owed was taken without being there.
                (self.arrears.entry(owner).or_default(), -amount)
            } else {
                let lot = posting.lot.ok_or_else(|| format!("it names no lot: {posting:?}"))?;
                (self.lots.entry((lot, account)).or_default(), amount)
            };
            *left += change;
            if *left < 0 && strict {
                return Err(format!("an account falls below zero: {posting:?}"));
            }
        }
        let settled = match (posting.from, posting.to) {
            (Account::Available, Account::Arrears) => posting.amount,
            (Account::Arrears, Account::Reversed) => -posting.amount,
            _ => 0,
        };
        if let Some(lot) = posting.lot.filter(|_| settled != 0) {
            *self.lots.entry((lot, Account::Arrears)).or_default() += settled;
        }
        Ok(())
    }

    /// What is wrong with a customer's wallet, compared with these books.
    pub(crate) fn compare(&self, customer: &Customer) -> Result<(), String> {
        let Some(member) = &customer.member else { return Ok(()) };
        let owed = self.arrears.get(&customer.id).copied().unwrap_or(0);
        if owed != member.wallet.arrears {
            return Err(format!("{} owes {}, postings say {owed}", customer.id, member.wallet.arrears));
        }
        for lot in &member.wallet.lots {
            let (found, mut posted) = (buckets(lot), self.of(lot.id));
            if self.summed.contains(&lot.id) {
                posted[SETTLED] = found[SETTLED];
            }
            if found != posted || posted.iter().sum::<i64>() != lot.buckets.granted {
                return Err(format!("lot {} has {:?}, postings say {posted:?}", lot.id, lot.buckets));
            }
        }
        Ok(())
    }

    fn of(&self, lot: LotId) -> [i64; 8] {
        OF_A_LOT.map(|account| self.lots.get(&(lot, account)).copied().unwrap_or(0))
    }
}

fn buckets(lot: &Lot) -> [i64; 8] {
    let b = &lot.buckets;
    [b.pending, b.available, b.held, b.spent, b.settled, b.expired, b.reversed, b.forfeited]
}
