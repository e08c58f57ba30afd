//! The ledger: points of one member, as lots, moved by postings only.
//!
//! Invariant: for every lot, granted = pending + available + held + spent + settled + expired +
//! reversed + forfeited, none below zero; the balance is the sum of the lots less arrears.
//! Absent on purpose: rules. What to post is decided elsewhere; here it is only done and counted.

use serde::{Deserialize, Serialize};

use crate::blocks::Blocks;
use crate::fact::{Account, LotOpened, Posting, Unit};
use crate::id::{LotId, OrderRef, Word};
use crate::time::Timestamp;

/// Lots that every spending looks through; older ones that are closed are kept aside.
pub const LOTS_MAX: usize = 1_024;
/// Closed lots that are put aside at once.
const PUT_ASIDE_TOGETHER: usize = 16;
/// Closed lots kept aside one by one, for what comes back to them; older ones live on in the totals.
pub const CLOSED_MAX: usize = 16_384;
/// The most points that one order or one adjustment moves, so that no balance leaves what a number holds.
pub const POINTS_MAX: i64 = 1_000_000_000_000;

/// How many refunds are told apart of which the shop bears something.
const BORNE_MAX: usize = 32;

/// Points of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wallet {
    /// Lots in the order of their opening.
    pub lots: Blocks<Lot>,
    /// Lots that left the list: nothing of theirs can be spent, but an undo or a refund may come.
    pub closed: Blocks<Lot>,
    /// What lots outside the list had, by bucket: those that are kept aside, and older ones.
    pub archived: Buckets,
    /// Owed to the house; never negative.
    pub arrears: i64,
    /// Borne by the shop.
    pub waived: i64,
    /// Since when it bears how much of that, the oldest first: points that were used before and come back are taken.
    pub borne: Vec<(Timestamp, i64)>,
    /// The last earning or spending, for expiry by inactivity.
    pub active_at: Timestamp,
}

/// Points earned together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// Its name.
    pub id: LotId,
    /// The order it belongs to.
    pub order: Option<OrderRef>,
    /// When it was earned, on its own date.
    pub earned_at: Timestamp,
    /// When it becomes available.
    pub available_at: Timestamp,
    /// When it lapses; `NEVER` when it does not.
    pub expires_at: Timestamp,
    /// The rule that granted it.
    pub rule: Word,
    /// The programme version of the grant.
    pub version: u32,
    /// Where its points are.
    pub buckets: Buckets,
}

/// Where the points of a lot are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buckets {
    /// All that were ever granted.
    pub granted: i64,
    /// Inside the return window.
    pub pending: i64,
    /// Can be spent.
    pub available: i64,
    /// Set aside.
    pub held: i64,
    /// Paid for rewards and orders.
    pub spent: i64,
    /// Used to fill arrears.
    pub settled: i64,
    /// Lapsed.
    pub expired: i64,
    /// Taken back.
    pub reversed: i64,
    /// Given up at erasure.
    pub forfeited: i64,
}

impl Buckets {
    fn bucket(&mut self, account: Account) -> Option<&mut i64> {
        Some(match account {
            Account::Pending => &mut self.pending,
            Account::Available => &mut self.available,
            Account::Held => &mut self.held,
            Account::Spent => &mut self.spent,
            Account::Arrears => &mut self.settled,
            Account::Expired => &mut self.expired,
            Account::Reversed => &mut self.reversed,
            Account::Forfeited => &mut self.forfeited,
            _ => return None,
        })
    }

    /// Whether every point granted is somewhere, and nowhere twice. A damaged state may hold any number: parts
    /// whose sum is none are more than was granted.
    pub fn balances(&self) -> bool {
        let parts = [
            self.pending,
            self.available,
            self.held,
            self.spent,
            self.settled,
            self.expired,
            self.reversed,
            self.forfeited,
        ];
        let sum = parts.iter().try_fold(0i64, |sum, part| if *part < 0 { None } else { sum.checked_add(*part) });
        sum == Some(self.granted)
    }

    /// Whether nothing of it is open: neither pending nor available nor held.
    pub fn is_closed(&self) -> bool {
        self.pending == 0 && self.available == 0 && self.held == 0
    }

    /// Adds another's points, bucket by bucket. Sums of what was ever granted stay far below the limit that
    /// they stop at ([`POINTS_MAX`]).
    pub fn add(&mut self, other: &Self) {
        self.each(other, i64::saturating_add);
    }

    fn take_off(&mut self, other: &Self) {
        self.each(other, i64::saturating_sub);
    }

    fn each(&mut self, other: &Self, sum: impl Fn(i64, i64) -> i64) {
        self.granted = sum(self.granted, other.granted);
        self.pending = sum(self.pending, other.pending);
        self.available = sum(self.available, other.available);
        self.held = sum(self.held, other.held);
        self.spent = sum(self.spent, other.spent);
        self.settled = sum(self.settled, other.settled);
        self.expired = sum(self.expired, other.expired);
        self.reversed = sum(self.reversed, other.reversed);
        self.forfeited = sum(self.forfeited, other.forfeited);
    }
}

impl Wallet {
    /// A lot by its name.
    pub fn lot(&self, id: LotId) -> Option<&Lot> {
        let listed = self.position(id).and_then(|at| self.lots.get(at));
        listed.or_else(|| self.closed.iter().rev().find(|lot| lot.id == id))
    }

    /// A lot that is to change: one that was kept aside is listed again.
    fn lot_mut(&mut self, id: LotId) -> Option<&mut Lot> {
        if let Some(at) = self.position(id) {
            return self.lots.get_mut(at);
        }
        let at = self.closed.iter().rposition(|lot| lot.id == id)?;
        let lot = self.closed.remove(at)?;
        self.archived.take_off(&lot.buckets);
        self.lots.insert(0, lot);
        self.lots.get_mut(0)
    }

    /// Where a lot is. Lots are numbered in the order of their opening, so that a member who was
    /// never merged has it as far from the last one as the numbers differ.
    fn position(&self, id: LotId) -> Option<usize> {
        let last = self.lots.len().checked_sub(1)?;
        let newer = self.lots.get(last)?.id.number.checked_sub(id.number).and_then(|n| usize::try_from(n).ok());
        let likely = newer.and_then(|n| last.checked_sub(n));
        let there = likely.filter(|at| self.lots.get(*at).is_some_and(|lot| lot.id == id));
        there.or_else(|| self.lots.iter().rposition(|lot| lot.id == id))
    }

    /// All lots together, those outside the list too.
    pub fn totals(&self) -> Buckets {
        let mut sum = self.archived;
        self.lots.iter().for_each(|lot| sum.add(&lot.buckets));
        sum
    }

    /// What can be spent; negative while in arrears.
    pub fn available(&self) -> i64 {
        self.lots.iter().map(|lot| lot.buckets.available).sum::<i64>() - self.arrears
    }

    /// Opens an empty lot; the posting that fills it follows.
    pub fn open(&mut self, born: &LotOpened) {
        if self.lots.len() >= LOTS_MAX && self.lots.len().is_multiple_of(PUT_ASIDE_TOGETHER) {
            self.put_oldest_aside();
        }
        self.lots.push(Lot {
            id: born.lot,
            order: born.order,
            earned_at: born.earned_at,
            available_at: born.available_at,
            expires_at: born.expires_at,
            rule: born.rule.clone(),
            version: born.version,
            buckets: Buckets::default(),
        });
        self.active_at = self.active_at.max(born.earned_at);
    }

    /// The oldest closed lots give their places, several at a time, so that a long list is not looked
    /// through for every new one; with none closed it may grow, for points are never dropped.
    fn put_oldest_aside(&mut self) {
        let surplus = self.lots.len() + PUT_ASIDE_TOGETHER - LOTS_MAX;
        let closed = self.lots.iter().enumerate().filter(|(_, lot)| lot.buckets.is_closed());
        let closed: Vec<usize> = closed.map(|(at, _)| at).take(surplus).collect();
        for (gone, at) in closed.into_iter().enumerate() {
            let Some(lot) = self.lots.remove(at - gone) else { break };
            self.archived.add(&lot.buckets);
            self.closed.push(lot);
        }
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
        while self.closed.len() > CLOSED_MAX {
            self.closed.remove(0);
        }
    }

    /// Moves a lot's instants.
    pub fn date(&mut self, id: LotId, available_at: Timestamp, expires_at: Timestamp) {
        if let Some(lot) = self.lot_mut(id) {
            lot.available_at = available_at;
            lot.expires_at = expires_at;
        }
    }

    /// Carries out a posting of points.
    ///
    /// # Panics
    /// When it would make a bucket negative: a bug, never input.
    pub fn post(&mut self, posting: &Posting, now: Timestamp) {
        assert!(posting.amount > 0 && posting.unit == Unit::Points, "a posting moves points");
        let amount = posting.amount;
        if (posting.from, posting.to) == (Account::Waived, Account::Issued) {
            self.bear(now, amount);
        }
        match posting.from {
            Account::Arrears => self.arrears += amount,
            Account::Waived => self.waived += amount,
            _ => {}
        }
        match posting.to {
            Account::Arrears => self.arrears -= amount,
            Account::Waived => self.waived -= amount,
            _ => {}
        }
        assert!(self.arrears >= 0, "arrears are filled once");
        let Some(lot) = posting.lot.and_then(|id| self.lot_mut(id)) else { return };
        let is_owed_again = (posting.from, posting.to) == (Account::Arrears, Account::Reversed);
        let only_names_the_lot =
            [posting.from, posting.to].contains(&Account::Waived) || posting.from == Account::Arrears && !is_owed_again;
        if only_names_the_lot {
            return; // Whose reversal it completes; the lot itself does not move.
        }
        if posting.from == Account::Issued {
            lot.buckets.granted += amount;
        } else if let Some(bucket) = lot.buckets.bucket(posting.from) {
            *bucket -= amount;
        }
        if let Some(bucket) = lot.buckets.bucket(posting.to) {
            *bucket += amount;
        }
        assert!(lot.buckets.balances(), "lot {} balances after {posting:?}", lot.id);
    }

    fn bear(&mut self, now: Timestamp, points: i64) {
        self.borne.push((now, points));
        self.cap_borne();
    }

    /// The oldest are told apart no more: they count as of the first, for less is taken then.
    fn cap_borne(&mut self) {
        while self.borne.len() > BORNE_MAX {
            let (_, next) = self.borne.remove(1);
            self.borne.iter_mut().take(1).for_each(|(_, oldest)| *oldest += next);
        }
    }

    /// Points came back that were used at an instant: they cover of what was borne since, the oldest first, so that
    /// what was used later can still cover the newer part.
    pub(crate) fn bear_no_longer(&mut self, used: Timestamp, points: i64) {
        let mut left = points;
        for (_, borne) in self.borne.iter_mut().filter(|(since, _)| *since >= used) {
            let ends = left.min(*borne);
            *borne -= ends;
            left -= ends;
        }
        self.borne.retain(|(_, points)| *points > 0);
    }

    /// What the shop has come to bear since points were used: had they been there, it would have been taken from them.
    pub(crate) fn borne_since(&self, used: Timestamp) -> i64 {
        self.borne.iter().filter(|(since, _)| *since >= used).map(|(_, points)| points).sum()
    }

    /// Takes points from available lots, the one that expires first before the older: the lots to
    /// use and how much of each, for up to `asked`.
    pub fn earliest_expiring(&self, asked: i64, except: Option<LotId>) -> Vec<(LotId, i64)> {
        let open = self.lots.iter().filter(|lot| lot.buckets.available > 0 && Some(lot.id) != except);
        take_first_expiring(open.map(|lot| (lot, lot.buckets.available)).collect(), asked)
    }

    /// Points that were good at an instant and whose end has come since, as [`Self::earliest_expiring`]. Not those that
    /// lapsed by inactivity, which have no end of their own.
    pub(crate) fn lapsed_since(&self, at: Timestamp, now: Timestamp, asked: i64) -> Vec<(LotId, i64)> {
        let was_good = |lot: &&Lot| lot.available_at <= at && at < lot.expires_at && lot.expires_at <= now;
        let lapsed = self.lots.iter().filter(was_good).filter(|lot| lot.buckets.expired > 0);
        take_first_expiring(lapsed.map(|lot| (lot, lot.buckets.expired)).collect(), asked)
    }

    /// Takes over the points of another member.
    pub(crate) fn unite(&mut self, other: Self) {
        self.lots.extend(other.lots);
        self.lots.rearrange(|lots| lots.sort_by_key(|lot| (lot.earned_at, lot.id)));
        self.closed.extend(other.closed);
        self.closed.rearrange(|lots| lots.sort_by_key(|lot| (lot.earned_at, lot.id)));
        self.forget_oldest();
        self.archived.add(&other.archived);
        self.arrears += other.arrears;
        self.waived += other.waived;
        self.borne.extend(other.borne);
        self.borne.sort_unstable();
        self.cap_borne();
        self.active_at = self.active_at.max(other.active_at);
    }

    /// What is wrong with this wallet, in words; empty when nothing is.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for lot in self.lots.iter().chain(self.closed.iter()).filter(|lot| !lot.buckets.balances()) {
            faults.push(format!("lot {} does not balance: {:?}", lot.id, lot.buckets));
        }
        if !self.archived.balances() || self.arrears < 0 {
            faults.push(format!("archive or arrears do not balance: {:?}, {}", self.archived, self.arrears));
        }
        faults
    }
}

/// Takes up to `asked` of so much of each lot: from the one that expires first, then the older.
fn take_first_expiring(mut there: Vec<(&Lot, i64)>, asked: i64) -> Vec<(LotId, i64)> {
    there.sort_by_key(|(lot, _)| (lot.expires_at, lot.earned_at, lot.id));
    let mut left = asked;
    let mut taken = Vec::new();
    for (lot, points) in there {
        let amount = points.min(left);
        if amount > 0 {
            taken.push((lot.id, amount));
            left -= amount;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_points_than_a_number_holds_do_not_balance() {
        // Parts that wrap around to what was granted, as only a damaged state has them.
        let damaged = Buckets { granted: 0, available: i64::MAX, spent: i64::MAX, held: 2, ..Buckets::default() };
        assert!(!damaged.balances());
        let wallet = Wallet { archived: damaged, ..Wallet::default() };
        assert_eq!(wallet.faults().len(), 1);
        let mut sum = damaged;
        sum.add(&damaged);
        assert_eq!((sum.available, sum.held), (i64::MAX, 4));
    }

    #[test]
    fn closed_lots_leave_a_long_list_and_take_back_what_comes_back_to_them() {
        let play = |spent: bool| {
            let mut wallet = Wallet::default();
            for number in 1..=1_500 {
                let lot = LotId { owner: crate::id::CustomerId([1; 16]), number };
                let at = Timestamp::EPOCH;
                let (rule, order) = ("rule".into(), None);
                wallet.open(&LotOpened {
                    lot,
                    order,
                    earned_at: at,
                    available_at: at,
                    expires_at: at,
                    rule,
                    version: 1,
                });
                let post = |from, to, cause| Posting { unit: Unit::Points, from, to, amount: 5, lot: Some(lot), cause };
                wallet.post(&post(Account::Issued, Account::Available, crate::fact::Cause::Earn), Timestamp::EPOCH);
                if spent {
                    wallet
                        .post(&post(Account::Available, Account::Spent, crate::fact::Cause::Redeem), Timestamp::EPOCH);
                }
            }
            wallet
        };
        assert_eq!(play(false).lots.len(), 1_500, "points are never dropped");
        let mut wallet = play(true);
        let listed = wallet.lots.len();
        assert!(listed <= LOTS_MAX && listed > LOTS_MAX - 2 * PUT_ASIDE_TOGETHER, "{listed} are listed");
        assert_eq!((wallet.closed.len(), wallet.totals().spent), (1_500 - listed, 7_500));
        let lot = wallet.closed.get(3).unwrap().id;
        let (from, to, cause) = (Account::Spent, Account::Available, crate::fact::Cause::Undo);
        wallet.post(&Posting { unit: Unit::Points, from, to, amount: 2, lot: Some(lot), cause }, Timestamp::EPOCH);
        assert_eq!((wallet.available(), wallet.totals().spent, wallet.lots.len()), (2, 7_498, listed + 1));
        assert_eq!(wallet.earliest_expiring(9, None), [(lot, 2)]);
        assert_eq!(wallet.faults(), Vec::<String>::new());
    }
}
