//! A customer: one person as we know them now, as a struct of parts.
//!
//! Everything here is a fold of the journal and may be deleted and made again. Each list is capped.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::blocks::{Blocks, List};
use crate::event::Event;
use crate::fact::{Fact, Redemption};
use crate::feature::Seen;
use crate::few::Few;
use crate::id::{CustomerId, Identifier, LotId, OrderRef, Secret, Word};
use crate::input::{Timer, TimerKind};
use crate::ledger::{Lot, Wallet};
use crate::orders::Orders;
use crate::quantity::Quantity;
use crate::score::Scored;
use crate::time::{DAY_MS, Timestamp};
use crate::value::Value;

/// Traits kept of one customer.
pub const TRAITS_MAX: usize = 500;
/// Lines kept of one cart.
pub const CART_MAX: usize = 200;
/// Redemptions kept with the lots they used; the keys of older ones stay in the journal's index.
pub const REDEMPTIONS_MAX: usize = 512;
/// Recorded answers to idempotency keys; older ones are put away, to be fetched by their key.
pub const ANSWERS_MAX: usize = 256;
/// Holds at the same time.
pub const HOLDS_MAX: usize = 64;
/// Activities kept, and open ones at the same time.
pub const ACTIVITIES_MAX: usize = 512;
/// Approved ones kept beyond them where what they are about pays once.
pub const PAID_FOR_MAX: usize = 8_192;
/// Instants kept of one rule that paid.
pub const PAID_MAX: usize = 512;
/// Numbers of long lists ([`Customer::lists`]); those of the features' windows follow.
const ORDERS: u32 = 0;
/// As above.
const LOTS: u32 = 1;
/// As above.
const CLOSED: u32 = 2;
/// The first of four.
const TIMERS: u32 = 3;
const WINDOWS: u32 = 7;
/// About how many bytes a trait, a name or an answer takes.
const SAID_BYTES: usize = 128;

/// One person as we know them now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// Our name for them.
    pub id: CustomerId,
    /// The root profiles that are now this customer, the own one first.
    pub roots: Vec<CustomerId>,
    /// What they are recognised by, each with the root profile it belongs to.
    pub identifiers: Vec<(Identifier, CustomerId)>,
    /// The last journal entry that is folded in.
    pub folded: u64,
    /// The latest instant that was folded.
    pub clock: Timestamp,
    /// Version of the programme that the parts below follow.
    pub adopted: u32,
    /// What was said of them.
    pub profile: Profile,
    /// What the programme's features remember, by the feature's index.
    pub features: Vec<Seen>,
    /// What lies in the cart.
    pub cart: Vec<CartLine>,
    /// Orders, members' or not.
    pub orders: Orders,
    /// Present once joined.
    pub member: Option<Member>,
    /// Lots ever numbered under this customer's name, the next lot's number less one. It outlives a
    /// membership: that of a merge may be taken back, and its lots' names are not given again.
    pub lots_opened: u32,
    /// Segments they are in.
    pub segments: Vec<InSegment>,
    /// Wake-ups, the next one first.
    pub timers: Timers,
    /// When time alone changes a segment; among the wake-ups until then.
    pub tick: Option<Timestamp>,
    /// Answers given to idempotency keys.
    pub answers: Vec<Recorded>,
    /// Answers that have left the list, until they are put away (rule 21).
    #[serde(skip)]
    pub answers_left: Vec<Recorded>,
    /// Entries of un-merges: what they say replaces a part of the history.
    pub parted: Vec<u64>,
    /// What models said of them: one score of each kind at most.
    pub scores: Vec<Scored>,
}

/// Wake-ups, each once, in a sorted list for each kind that there may be many of and one for the others.
/// Those of one kind come about in the order they are due, a month ahead or a year, so that they are put in
/// at an end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timers {
    /// The next one. At hand, because every event asks whether it is due.
    #[serde(skip)]
    first: Option<Timer>,
    lists: [Blocks<Timer>; 4],
}

/// Wake-ups at the end that are looked at one by one, because most come in among them.
const NEAR: usize = 4;

impl Timers {
    /// The next one.
    pub fn first(&self) -> Option<&Timer> {
        self.first.as_ref()
    }

    fn find_first(&mut self) {
        self.first = self.lists.iter().filter_map(Blocks::front).min().copied();
    }

    /// How many there are.
    fn len(&self) -> usize {
        self.lists.iter().map(Blocks::len).sum()
    }

    /// Those that the other has not.
    pub fn without(&self, other: &Self) -> Vec<Timer> {
        let there = |timer: &Timer| place_of(other.list(timer.kind), timer).is_ok();
        self.lists.iter().flatten().filter(|timer| !there(timer)).copied().collect()
    }

    fn list(&self, kind: TimerKind) -> &Blocks<Timer> {
        &self.lists[list_of(kind)]
    }

    pub(crate) fn has(&self, timer: &Timer) -> bool {
        place_of(&self.lists[list_of(timer.kind)], timer).is_ok()
    }

    /// Puts one in, unless it is there.
    pub(crate) fn put(&mut self, timer: Timer) {
        let list = &mut self.lists[list_of(timer.kind)];
        if list.back().is_none_or(|last| *last < timer) {
            list.push(timer);
        } else if let Err(at) = place_of(list, &timer) {
            list.insert(at, timer);
        }
        self.first = Some(self.first.map_or(timer, |first| first.min(timer)));
    }

    /// Takes out all of a kind and number.
    pub(crate) fn cancel(&mut self, kind: TimerKind, id: u32) {
        let list = &mut self.lists[list_of(kind)];
        while let Some(at) = list.iter().position(|timer| timer.kind == kind && timer.id == id) {
            list.remove(at);
        }
        self.find_first();
    }

    /// Takes one out, if it is there: the next one of its kind as a rule.
    pub(crate) fn take(&mut self, timer: &Timer) {
        let list = &mut self.lists[list_of(timer.kind)];
        let there = if list.front() == Some(timer) { Ok(0) } else { place_of(list, timer) };
        if let Ok(at) = there {
            list.remove(at);
        }
        if self.first.as_ref() == Some(timer) {
            self.find_first();
        }
    }

    /// Takes one out and puts another of its kind in: where it stands, if that is still its place.
    pub(crate) fn replace(&mut self, old: &Timer, new: Timer) {
        let list = &mut self.lists[list_of(old.kind)];
        if list.front() == Some(old) && list.get(1).is_none_or(|second| new < *second) {
            list.get_mut(0).into_iter().for_each(|timer| *timer = new);
            match self.first {
                Some(first) if first != *old => self.first = Some(first.min(new)),
                _ => self.find_first(),
            }
        } else {
            self.take(old);
            self.put(new);
        }
    }

    /// Takes out those that are past, as whatever comes before one that is past must be.
    pub(crate) fn pass(&mut self, is_past: impl Fn(&Timer) -> bool) {
        if !self.first.as_ref().is_some_and(&is_past) {
            return;
        }
        for list in &mut self.lists {
            while list.front().is_some_and(&is_past) {
                list.remove(0);
            }
        }
        self.find_first();
    }

    /// Takes in those of another customer. A tick is a view: refreshing the segments of both sets the
    /// next one.
    pub(crate) fn unite(&mut self, other: Self) {
        let all = other.lists.into_iter().flatten();
        all.filter(|timer| timer.kind != TimerKind::Tick).for_each(|timer| self.put(timer));
    }
}

fn list_of(kind: TimerKind) -> usize {
    match kind {
        TimerKind::Activate => 0,
        TimerKind::Expire => 1,
        TimerKind::Remind => 2,
        TimerKind::HoldLapse | TimerKind::Firm | TimerKind::Review | TimerKind::Tick => 3,
    }
}

/// Where a wake-up is in its list, or belongs.
fn place_of(list: &Blocks<Timer>, timer: &Timer) -> Result<usize, usize> {
    let near = list.iter().rev().take(NEAR).take_while(|known| **known >= *timer).count();
    let at = if near < NEAR { list.len() - near } else { list.partition_point(|known| known < timer) };
    if list.get(at) == Some(timer) { Ok(at) } else { Err(at) }
}

/// Declared traits and consents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Value and instant of each trait.
    pub traits: BTreeMap<Box<str>, (Value, Timestamp)>,
    /// Given or withdrawn, by purpose (and channel as `purpose/channel`).
    pub consents: BTreeMap<Box<str>, (bool, Timestamp)>,
    /// Opted out of sale and sharing.
    pub opted_out: bool,
}

/// One line of the cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartLine {
    /// The product.
    pub product_id: Box<str>,
    /// Price of one piece, in minor units of the programme's currency.
    pub price: i64,
    /// Pieces.
    pub quantity: Quantity,
}

/// Held points that were used, and may be the payment of an order that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// The lot they came from.
    pub lot: LotId,
    /// How many no order has claimed.
    pub points: i64,
    /// When they were captured.
    pub at: Timestamp,
    /// When they were set aside.
    pub held_at: Timestamp,
}

/// How far from an order points are captured that paid for it.
const PAYS_FOR_MS: u64 = 7 * DAY_MS.unsigned_abs();

impl Captured {
    /// Whether an order of that instant may have been paid with them: a week before or after. Later they were used
    /// for something else.
    pub(crate) fn may_pay(&self, order: Timestamp) -> bool {
        self.at.as_millis().abs_diff(order.as_millis()) <= PAYS_FOR_MS
    }
}

/// Membership of the programme.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// When they joined.
    pub enrolled_at: Timestamp,
    /// The entry in which they joined.
    pub enrolled_in: u64,
    /// Points.
    pub wallet: Wallet,
    /// Status, if the programme has tiers.
    pub tier: Option<TierStatus>,
    /// What was held before it, the last first: what there is to fall back to, and what ended, of which New Years may
    /// have left something.
    pub held_before: Vec<TierStatus>,
    /// What counts for tiers, by local year.
    pub years: Few<i16, Year>,
    /// Milestones reached.
    pub milestones: Vec<Reached>,
    /// Impact credited, by unit, in thousandths.
    pub impact: Few<Word, i64>,
    /// Rewards bought.
    pub redemptions: Vec<Bought>,
    /// Redemptions that have left the list, until they are put away (rule 22).
    #[serde(skip)]
    pub redemptions_left: Vec<Bought>,
    /// Pieces of each reward that were bought and not undone, those that have left the list too.
    pub pieces: BTreeMap<Box<str>, u32>,
    /// Points set aside.
    pub holds: Vec<Hold>,
    /// Captured points that no order has claimed yet.
    pub captured: Vec<Captured>,
    /// Activities submitted.
    pub activities: Vec<Activity>,
    /// What approved activities that have left the list were about, where that pays once.
    pub paid_for: Vec<[u8; 16]>,
    /// When rules last paid: rule and instant, so many of each rule.
    pub paid: Vec<(Box<str>, Timestamp)>,
    /// Messages queued: template, what about, when.
    pub queued: VecDeque<(Box<str>, Box<str>, Timestamp)>,
}

impl Member {
    /// A redemption that is in the list.
    pub fn redemption(&self, key: &str) -> Option<&Bought> {
        self.redemptions.iter().find(|bought| *bought.redemption.key == *key)
    }

    /// Keeps a redemption; the oldest leave a list that is too long.
    pub(crate) fn keep_redemption(&mut self, bought: Bought) {
        self.redemptions.push(bought);
        let too_many = self.redemptions.len().saturating_sub(REDEMPTIONS_MAX);
        self.redemptions_left.extend(self.redemptions.drain(..too_many));
    }

    /// Takes a redemption back that had left, as it stood.
    pub fn recall_redemption(&mut self, key: &str) {
        let left = self.redemptions_left.iter().rposition(|bought| *bought.redemption.key == *key);
        if let Some(bought) = left.map(|at| self.redemptions_left.remove(at)) {
            self.keep_redemption(bought);
        }
    }
}

/// What counts for tiers in one local year.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Year {
    /// Qualifying points.
    pub points: i64,
    /// Eligible minor units.
    pub spend: i64,
}

/// A tier held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierStatus {
    /// The level's id.
    pub tier: Box<str>,
    /// Where the level is in the list of the programme that the customer follows.
    pub level: u8,
    /// Until when.
    pub until: Timestamp,
    /// The local year that earned it. Without a meaning where it was given by hand.
    pub year: i16,
    /// The order that reached it.
    pub reached_by: Option<OrderRef>,
    /// Given by hand.
    pub by_hand: bool,
    /// The programme version whose marks it was reached by.
    pub version: u32,
}

/// A milestone reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The milestone.
    pub milestone: Box<str>,
    /// Its badge.
    pub badge: Option<Box<str>>,
    /// Its lot.
    pub lot: Option<LotId>,
    /// The order that reached it, or that it hangs on.
    pub order: Option<OrderRef>,
    /// Until when it can be taken back.
    pub firm_at: Timestamp,
    /// The programme version that it was reached by, and is taken back by.
    pub version: u32,
}

/// A reward bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bought {
    /// What was bought.
    pub redemption: Redemption,
    /// When.
    pub at: Timestamp,
    /// Taken back.
    pub undone: bool,
}

/// Points set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name.
    pub hold: Box<str>,
    /// Since when.
    pub at: Timestamp,
    /// When it lapses.
    pub until: Timestamp,
    /// The lots and how much of each.
    pub lots: Vec<(LotId, i64)>,
    /// Captured, released or lapsed.
    pub ended: bool,
}

/// A submitted activity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Its message id, hashed.
    pub activity: [u8; 16],
    /// The earning rule.
    pub rule: Box<str>,
    /// When it was submitted.
    pub at: Timestamp,
    /// The value of `unique_by`, hashed.
    pub unique: Option<[u8; 16]>,
    /// Approved or declined, once decided.
    pub approved: Option<bool>,
}

impl Activity {
    /// What it is about, if that pays once.
    pub(crate) fn about(&self) -> Option<[u8; 16]> {
        Some(about(&self.rule, self.unique?))
    }
}

/// What pays once under a rule.
pub(crate) fn about(rule: &str, unique: [u8; 16]) -> [u8; 16] {
    Secret([0; 16]).digest(&[rule.as_bytes(), &unique])
}

impl Member {
    /// Adds a submission; the oldest that was decided leaves a list that is too long.
    pub(crate) fn keep_activity(&mut self, activity: Activity) {
        self.activities.push(activity);
        self.cap_activities();
    }

    pub(crate) fn cap_activities(&mut self) {
        while self.activities.len() > ACTIVITIES_MAX {
            let decided = self.activities.iter().position(|activity| activity.approved.is_some());
            let gone = self.activities.remove(decided.unwrap_or(0));
            self.paid_for.extend(gone.about().filter(|_| gone.approved == Some(true)));
        }
        self.paid_for.drain(..self.paid_for.len().saturating_sub(PAID_FOR_MAX));
    }
}

/// Membership of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InSegment {
    /// The segment's id.
    pub segment: Box<str>,
    /// Since when.
    pub since: Timestamp,
}

/// The answer that an idempotency key got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Root profile, operation and key.
    pub key: Box<str>,
    /// Fingerprint of what was asked.
    pub fingerprint: [u8; 16],
    /// The entry that holds the answer.
    pub seq: u64,
    /// When it was asked.
    pub at: Timestamp,
}

impl Customer {
    /// Somebody of whom nothing is known yet.
    pub fn new(id: CustomerId, features: Vec<Seen>, version: u32) -> Self {
        Self {
            id,
            roots: vec![id],
            identifiers: Vec::new(),
            folded: 0,
            clock: Timestamp::EPOCH,
            adopted: version,
            profile: Profile::default(),
            features,
            cart: Vec::new(),
            orders: Orders::default(),
            member: None,
            lots_opened: 0,
            segments: Vec::new(),
            timers: Timers::default(),
            tick: None,
            answers: Vec::new(),
            answers_left: Vec::new(),
            parted: Vec::new(),
            scores: Vec::new(),
        }
    }

    /// An entry is folded in, with these facts.
    pub fn was_folded(&mut self, seq: u64, facts: &[Fact]) {
        self.folded = seq;
        if let Some(member) = &mut self.member
            && facts.iter().any(|fact| matches!(fact, Fact::Enrolled { .. }))
        {
            member.enrolled_in = seq;
        }
    }

    /// Its long lists, each with a number that stays its own as long as the programme does: their complete
    /// blocks are written apart from it.
    pub fn lists(&mut self) -> Vec<(u32, &mut dyn List)> {
        let mut lists: Vec<(u32, &mut dyn List)> = vec![(ORDERS, self.orders.list())];
        if let Some(member) = &mut self.member {
            lists.push((LOTS, &mut member.wallet.lots));
            lists.push((CLOSED, &mut member.wallet.closed));
        }
        let timers = self.timers.lists.iter_mut().map(|list| list as &mut dyn List);
        lists.extend((TIMERS..).zip(timers));
        let windows = (WINDOWS..).zip(&mut self.features);
        lists.extend(windows.filter_map(|(number, seen)| Some((number, seen.list()?))));
        lists
    }

    /// Another programme's windows: one may have another number, or be no more. The list before them is always
    /// there and begins anew with them, so that none of the old ones is left behind the last.
    pub(crate) fn renew_windows(&mut self) {
        let lists = self.lists().into_iter().filter(|(number, _)| *number + 1 >= WINDOWS);
        lists.for_each(|(_, list)| list.renew());
    }

    /// After all lists were read: says whether each is whole.
    pub fn was_read(&mut self) -> bool {
        self.features.iter_mut().for_each(Seen::was_read);
        self.timers.find_first();
        self.orders.were_read();
        self.lists().iter().all(|(_, list)| list.is_whole())
    }

    /// A copy to look at: without single orders and answers, of which there may be hundreds.
    #[must_use]
    pub fn outline(&self) -> Self {
        Self {
            id: self.id,
            roots: self.roots.clone(),
            identifiers: self.identifiers.clone(),
            folded: self.folded,
            clock: self.clock,
            adopted: self.adopted,
            profile: self.profile.clone(),
            features: self.features.clone(),
            cart: self.cart.clone(),
            orders: self.orders.outline(),
            member: self.member.clone(),
            lots_opened: self.lots_opened,
            segments: self.segments.clone(),
            timers: self.timers.clone(),
            tick: self.tick,
            answers: Vec::new(),
            answers_left: Vec::new(),
            parted: self.parted.clone(),
            scores: self.scores.clone(),
        }
    }

    /// The next wake-up.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timers.first().map(|t| t.at)
    }

    /// About how many bytes of memory the customer takes: for whoever holds many.
    pub fn weight(&self) -> usize {
        let lots = self.member.as_ref().map_or(0, |member| member.wallet.lots.len() + member.wallet.closed.len());
        let features: usize = self.features.iter().map(Seen::weight).sum();
        let said = self.identifiers.len() + self.profile.traits.len() + self.cart.len() + self.answers.len();
        size_of::<Self>()
            + features
            + self.orders.weight()
            + lots * size_of::<Lot>()
            + self.timers.len() * size_of::<Timer>()
            + said * SAID_BYTES
    }

    /// Lets go of what has left the lists: somebody else puts it away.
    pub fn forget_left(&mut self) {
        drop(self.orders.take_left());
        self.answers_left.clear();
        self.member.iter_mut().for_each(|member| member.redemptions_left.clear());
    }

    /// The oldest answers leave a list that is too long.
    pub(crate) fn cap_answers(&mut self) {
        let too_many = self.answers.len().saturating_sub(ANSWERS_MAX);
        self.answers_left.extend(self.answers.drain(..too_many));
    }

    /// Whether the customer is in a segment.
    pub fn is_in(&self, segment: &str) -> bool {
        self.segments.iter().any(|s| &*s.segment == segment)
    }

    /// The root profile that the strongest known one of these identifiers belongs to; the own one when
    /// none is known.
    pub fn root_of(&self, ids: &[Identifier]) -> CustomerId {
        if let [only] = *self.roots {
            return only;
        }
        let known = self.identifiers.iter().filter(|(known, _)| ids.contains(known));
        known.min().map_or(self.id, |(_, root)| *root)
    }

    /// Whether an event comes from this customer, by its strongest name: others may speak of an order, on a device
    /// that both have used.
    pub fn is_told_by(&self, event: &Event) -> bool {
        event.ids.iter().min().is_some_and(|teller| self.identifiers.iter().any(|(known, _)| known == teller))
    }

    /// The root profile that a reference names: one of our own ids, or an identifier.
    pub fn root_named(&self, who: &Identifier) -> CustomerId {
        let own = who.as_own_id().filter(|id| self.roots.contains(id));
        own.unwrap_or_else(|| self.root_of(std::slice::from_ref(who)))
    }

    pub(crate) fn wake(&mut self, at: Timestamp, kind: TimerKind, id: u32, owner: CustomerId) {
        if at < Timestamp::NEVER {
            self.timers.put(Timer { at, kind, id, owner });
        }
    }

    /// Wakes the customer at another instant, or not any more, for what is one and the same.
    pub(crate) fn wake_instead(&mut self, old: Option<Timestamp>, new: Option<Timestamp>, kind: TimerKind) {
        let timer = |at| Timer { at, kind, id: 0, owner: self.id };
        match (old.map(timer), new.filter(|at| *at < Timestamp::NEVER).map(timer)) {
            (Some(old), Some(new)) => self.timers.replace(&old, new),
            (Some(old), None) => self.timers.take(&old),
            (None, Some(new)) => self.timers.put(new),
            (None, None) => {}
        }
    }

    /// What is wrong with this customer, in words; empty when nothing is (the invariants of the
    /// ledger that one customer can answer for).
    pub fn faults(&self) -> Vec<String> {
        let Some(member) = &self.member else { return Vec::new() };
        let mut faults = member.wallet.faults();
        let impact = member.impact.iter().filter(|(_, amount)| **amount < 0);
        faults.extend(impact.map(|(unit, amount)| format!("impact {unit} is {amount}")));
        let held = member.holds.iter().filter(|h| !h.ended).flat_map(|h| &h.lots).map(|(_, n)| i128::from(*n));
        let held: i128 = held.sum();
        if held != member.wallet.totals().held.into() {
            faults.push(format!("holds say {held}, lots say {}", member.wallet.totals().held));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn timer() -> impl Strategy<Value = Timer> {
        const KINDS: [TimerKind; 4] = [TimerKind::Activate, TimerKind::Expire, TimerKind::Review, TimerKind::Tick];
        (0..40i64, 0..4usize, 0..3u32).prop_map(|(at, kind, id)| Timer {
            at: Timestamp::from_millis(at),
            kind: KINDS[kind],
            id,
            owner: CustomerId([0; 16]),
        })
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(Timer),
        Take(Timer),
        TakeFirst,
        Replace(Timer, Timer),
        Pass(Timer),
        Cancel(TimerKind, u32),
        Read,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => timer().prop_map(Step::Put),
            2 => timer().prop_map(Step::Take),
            2 => Just(Step::TakeFirst),
            2 => (timer(), timer()).prop_map(|(old, new)| Step::Replace(old, Timer { kind: old.kind, ..new })),
            1 => timer().prop_map(Step::Pass),
            1 => timer().prop_map(|timer| Step::Cancel(timer.kind, timer.id)),
            1 => Just(Step::Read),
        ]
    }

    proptest! {
        #[test]
        fn wake_ups_are_a_sorted_set(steps in prop::collection::vec(step(), 0..120)) {
            let (mut timers, mut model) = (Timers::default(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Put(timer) => {
                        timers.put(timer);
                        model.insert(timer);
                    }
                    Step::Take(timer) => {
                        timers.take(&timer);
                        model.remove(&timer);
                    }
                    Step::TakeFirst => {
                        if let Some(first) = model.pop_first() {
                            timers.take(&first);
                        }
                    }
                    Step::Replace(old, new) => {
                        let old = *model.first().filter(|first| first.kind == new.kind).unwrap_or(&old);
                        timers.replace(&old, new);
                        model.remove(&old);
                        model.insert(new);
                    }
                    Step::Pass(until) => {
                        timers.pass(|timer| *timer <= until);
                        model.retain(|timer| *timer > until);
                    }
                    Step::Cancel(kind, id) => {
                        timers.cancel(kind, id);
                        model.retain(|timer| timer.kind != kind || timer.id != id);
                    }
                    Step::Read => {
                        let all: Vec<Timer> = timers.without(&Timers::default());
                        let again = all.into_iter().fold(Timers::default(), |mut all, timer| {
                            all.put(timer);
                            all
                        });
                        prop_assert_eq!(again, timers.clone());
                    }
                }
                prop_assert_eq!(timers.first(), model.first());
                prop_assert_eq!(timers.len(), model.len());
            }
        }
    }
}
