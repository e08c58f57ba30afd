//! Points that pay for orders.

use super::{Oracle, Sale};
use crate::calendar::DAY;

/// How far from an order points were captured that paid for it.
const PAYS_FOR: i64 = 7 * DAY;

impl Oracle {
    /// Takes what paid for an order: points that were captured for it, then what lapses first; the rest is owed.
    /// What it paid for may have come back before.
    pub(super) fn pay(&mut self, who: usize, sale: usize, now: i64) {
        let person = &mut self.people[who];
        let (placed, mut left) = (person.sales[sale].at, person.sales[sale].payment);
        let mut from = Vec::new();
        for (lot, at, points) in &mut person.captured {
            let used = left.min(*points);
            if used > 0 && (*at - placed).abs() <= PAYS_FOR {
                *points -= used;
                left -= used;
                from.push((*lot, used));
            }
        }
        for (lot, points) in self.earliest(who, left, None) {
            self.lots[lot].available -= points;
            self.lots[lot].spent += points;
            left -= points;
            from.push((lot, points));
        }
        self.people[who].arrears += left;
        self.people[who].sales[sale].paid_from = from;
        self.pay_back(who, sale, now);
    }

    /// Points come back with what they paid for, in proportion: to the lots that they came from, as they were taken,
    /// and what more there is was owed for it. That is owed no longer before anything comes back.
    pub(super) fn pay_back(&mut self, who: usize, sale: usize, now: i64) {
        let (mut left, clock) = (due_now(&mut self.people[who].sales[sale]), self.people[who].clock);
        let sales = &self.people[who].sales;
        let used = sales[sale].at;
        let was_owed = (left - from_lots(&sales[sale])).max(0);
        // What was used first is settled first.
        let later = sales.iter().filter(|other| other.at > used && other.earns);
        let owed_for_later: i64 = later.map(|other| other.payment - other.paid_back - from_lots(other)).sum();
        let owed = (self.people[who].arrears - owed_for_later).clamp(0, was_owed);
        self.people[who].arrears -= owed;
        let settled = self.bear(who, was_owed - owed, used);
        if settled > 0 {
            self.grant(who, settled, now, now);
        }
        for nth in 0..self.people[who].sales[sale].paid_from.len() {
            let (lot, there) = &mut self.people[who].sales[sale].paid_from[nth];
            let (lot, points) = (*lot, left.min(*there));
            if points == 0 {
                continue; // Nothing comes back to it, and what is there lapses in its own time.
            }
            self.people[who].sales[sale].paid_from[nth].1 -= points;
            self.lots[lot].spent -= points;
            self.lots[lot].available += points;
            left -= points;
            let used = self.people[who].sales[sale].at;
            self.take_borne(who, lot, points, used);
            self.settle(who, lot);
            self.lapse(lot, clock);
        }
    }
}

/// What is still spent of the lots that paid for an order.
fn from_lots(sale: &Sale) -> i64 {
    sale.paid_from.iter().map(|(_, there)| there).sum()
}

/// Points of an order's payment that are to come back now; they have, then.
pub(super) fn due_now(sale: &mut Sale) -> i64 {
    let whole: i64 = sale.rows.iter().map(|row| row.by_points).sum();
    let back: i64 = sale.rows.iter().map(|row| row.by_points - row.points_left).sum();
    let due = sale.payment * back / whole.max(1);
    due - std::mem::replace(&mut sale.paid_back, due)
}
