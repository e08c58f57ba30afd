//! Points: lots, what is owed, and what time does to them.

use perennial_core::id::CustomerId;

use super::{Captured, Lot, NEVER, Oracle};

/// Of the lots that are due at one instant the one with the lesser number, and then owner; new ones come last.
type Turn = (bool, Option<(u32, CustomerId)>);
const NONE: Turn = (false, None);

fn turn<T>(name: Option<T>) -> (bool, Option<T>) {
    (name.is_none(), name)
}

impl Oracle {
    pub(super) fn grant(&mut self, who: usize, points: i64, earned_at: i64, available_at: i64) -> usize {
        let expires_at = self.trade.zone().lapse(available_at, self.trade.validity());
        let mut lot = Lot { earned_at, available_at, expires_at, ..Lot::default() };
        if available_at > earned_at {
            lot.pending = points;
        } else {
            lot.available = points;
        }
        self.lots.push(lot);
        let lot = self.lots.len() - 1;
        self.people[who].lots.push(lot);
        self.settle(who, lot);
        lot
    }

    /// What the shop came to bear since points were used is taken from them when they come back.
    pub(super) fn take_borne(&mut self, who: usize, lot: usize, back: i64, used: i64) {
        self.lots[lot].available -= back - self.less_what_was_borne(who, back, used);
    }

    /// How many of points that come back are left when what the shop came to bear since is taken.
    /// What was borne first ends first.
    pub(super) fn less_what_was_borne(&mut self, who: usize, back: i64, used: i64) -> i64 {
        let mut left = back;
        self.people[who].borne.sort_unstable();
        for (_, borne) in self.people[who].borne.iter_mut().filter(|(since, _)| *since >= used) {
            let taken = left.min(*borne);
            (left, *borne) = (left - taken, *borne - taken);
        }
        left
    }

    pub(super) fn settle(&mut self, who: usize, lot: usize) {
        let owed = self.people[who].arrears.min(self.lots[lot].available);
        self.lots[lot].available -= owed;
        self.lots[lot].settled += owed;
        self.people[who].arrears -= owed;
    }

    pub(super) fn lapse(&mut self, lot: usize, at: i64) {
        let lot = &mut self.lots[lot];
        if lot.expires_at <= at {
            lot.expired += lot.available;
            lot.available = 0;
        }
    }

    pub(super) fn available(&self, who: usize) -> i64 {
        let person = &self.people[who];
        person.lots.iter().map(|l| self.lots[*l].available).sum::<i64>() - person.arrears
    }

    /// Available points, those that lapse first before the older.
    pub(super) fn earliest(&self, who: usize, asked: i64, except: Option<usize>) -> Vec<(usize, i64)> {
        let lots = self.people[who].lots.iter().copied().filter(|l| Some(*l) != except);
        self.first_of(lots.map(|l| (l, self.lots[l].available)).collect(), asked)
    }

    /// The same of those that were good at an instant and have lapsed since.
    pub(super) fn lapsed_since(&self, who: usize, at: i64, asked: i64) -> Vec<(usize, i64)> {
        let clock = self.people[who].clock;
        let was_good = |lot: &Lot| lot.available_at <= at && at < lot.expires_at && lot.expires_at <= clock;
        let lots = self.people[who].lots.iter().copied().filter(|l| was_good(&self.lots[*l]));
        self.first_of(lots.map(|l| (l, self.lots[l].expired)).collect(), asked)
    }

    fn first_of(&self, mut there: Vec<(usize, i64)>, asked: i64) -> Vec<(usize, i64)> {
        there.sort_by_key(|(l, _)| {
            (
                self.lots[*l].expires_at,
                self.lots[*l].earned_at,
                turn(self.lots[*l].name.map(|name| (name.owner, name.number))),
                *l,
            )
        });
        let mut left = asked;
        let mut taken = Vec::new();
        for (lot, points) in there {
            let amount = left.min(points);
            if amount > 0 {
                taken.push((lot, amount));
            }
            left -= amount;
        }
        taken
    }

    /// The next thing that time does to somebody: instant, kind (a hold ends, a lot becomes
    /// available, a lot lapses, the tier is reviewed, a segment is entered), the lot's turn, which; none after
    /// `until`.
    pub(super) fn next_due(&self, who: usize, until: i64) -> Option<(i64, u8, Turn, usize)> {
        let person = &self.people[who];
        let has_levels = !self.followed(who).levels.is_empty(); // Without them none is reviewed, until there are some.
        let review = person.tier.as_ref().map(|t| t.until).filter(|at| *at < NEVER && has_levels);
        let review = review.map(|at| (at, 5, NONE, 0));
        let holds = person.holds.iter().enumerate().filter(|(_, h)| h.open).map(|(i, h)| (h.until, 0, NONE, i));
        let lots = || person.lots.iter().map(|l| (*l, &self.lots[*l]));
        let due = |lot: &Lot| turn(lot.name.map(|name| (name.number, name.owner)));
        let activate = lots().filter(|(_, l)| l.pending > 0).map(|(i, l)| (l.available_at, 1, due(l), i));
        let expire = lots().filter(|(_, l)| l.available > 0).map(|(i, l)| (l.expires_at, 2, due(l), i));
        let due = holds.chain(activate).chain(expire).chain(review).min().filter(|(at, ..)| *at <= until);
        let turn = self.next_turn(who, due.map_or(until, |(at, ..)| at)).map(|at| (at, 6, NONE, 0));
        due.into_iter().chain(turn).min()
    }

    pub(super) fn wake(&mut self, who: usize, until: i64) {
        self.adopt(who);
        while let Some((at, kind, _, which)) = self.next_due(who, until) {
            self.people[who].clock = self.people[who].clock.max(at);
            match kind {
                0 => self.end_hold(who, which, 0, at),
                1 => {
                    let lot = &mut self.lots[which];
                    lot.available += std::mem::take(&mut lot.pending);
                    self.settle(who, which);
                }
                2 => self.lapse(which, at),
                5 => self.review(who, at),
                _ => {}
            }
            self.regroup(who);
        }
        self.people[who].judged = self.people[who].judged.max(until);
    }

    pub(super) fn end_hold(&mut self, who: usize, hold: usize, captured: i64, at: i64) {
        self.people[who].holds[hold].open = false;
        let mut left = captured;
        for (lot, amount) in self.people[who].holds[hold].lots.clone() {
            let used = left.min(amount);
            left -= used;
            if used > 0 {
                let held_at = self.people[who].holds[hold].at;
                self.people[who].captured.push(Captured { lot, points: used, at, held_at });
            }
            self.lots[lot].held -= amount;
            self.lots[lot].spent += used;
            self.lots[lot].available += amount - used;
            self.take_borne(who, lot, amount - used, self.people[who].holds[hold].at);
            self.settle(who, lot);
            self.lapse(lot, at);
        }
    }
}
