//! Points that pay for orders.

use super::{Oracle, Paid, Row, Sale};
use crate::calendar::DAY;

/// How far from an order points were captured that paid for it.
const PAYS_FOR: i64 = 7 * DAY;

impl Oracle {
    /// Takes what paid for an order: points that were captured for it, then what lapsed since it was placed, then what
    /// lapses first; the rest is owed. What it paid for may have come back before.
    pub(super) fn pay(&mut self, who: usize, sale: usize, now: i64) {
        let person = &mut self.people[who];
        if person.sales[sale].payment == 0 || person.sales[sale].paid_at.is_some() {
            return;
        }
        let (placed, mut left, clock) = (person.sales[sale].at, person.sales[sale].payment, person.clock);
        let mut from = Vec::new();
        for captured in &mut person.captured {
            let points = left.min(captured.points);
            if points > 0 && (captured.at - placed).abs() <= PAYS_FOR {
                captured.points -= points;
                left -= points;
                from.push(Paid { lot: captured.lot, points, used: captured.held_at, held: true });
            }
        }
        let stands = self.people[who].sales[sale].rows.iter().any(Row::is_kept);
        for (lot, points) in self.lapsed_since(who, placed, if stands { left } else { 0 }) {
            self.lots[lot].expired -= points;
            self.lots[lot].spent += points;
            left -= points;
            from.push(Paid { lot, points, used: clock, held: false });
        }
        for (lot, points) in self.earliest(who, left, None) {
            self.lots[lot].available -= points;
            self.lots[lot].spent += points;
            left -= points;
            from.push(Paid { lot, points, used: clock, held: false });
        }
        self.people[who].arrears += left;
        self.people[who].sales[sale].paid_from = from;
        self.people[who].sales[sale].paid_at = Some(clock);
        self.pay_back(who, sale, now);
    }

    /// Points come back with what they paid for, in proportion: to the lots that they came from, as they were taken,
    /// and what more there is was owed for it. That is owed no longer before anything comes back.
    pub(super) fn pay_back(&mut self, who: usize, sale: usize, now: i64) {
        let Some(paid_at) = self.people[who].sales[sale].paid_at else { return };
        let mut left = mark_due_back(&mut self.people[who].sales[sale]);
        let was_owed = (left - from_lots(&self.people[who].sales[sale])).max(0);
        self.owe_less(who, was_owed, paid_at, now);
        for nth in 0..self.people[who].sales[sale].paid_from.len() {
            let from = &mut self.people[who].sales[sale].paid_from[nth];
            let back = Paid { points: left.min(from.points), ..*from };
            from.points -= back.points;
            left -= back.points;
            self.restore(who, back);
        }
    }

    /// What was used first is settled first: of what is owed, orders that were paid later have their part. What has been
    /// settled comes back as new points.
    fn owe_less(&mut self, who: usize, was_owed: i64, used: i64, now: i64) {
        let later = self.people[who].sales.iter().filter(|other| other.paid_at > Some(used));
        let owed_for_later: i64 = later.map(owing).sum();
        let owed = (self.people[who].arrears - owed_for_later).clamp(0, was_owed);
        self.people[who].arrears -= owed;
        let fresh = self.less_what_was_borne(who, was_owed - owed, used);
        if fresh > 0 {
            self.grant(who, fresh, now, now);
        }
    }

    fn restore(&mut self, who: usize, back: Paid) {
        let Paid { lot, points, used, .. } = back;
        if points == 0 {
            return; // Nothing comes back to it, and what is there lapses in its own time.
        }
        self.lots[lot].spent -= points;
        self.lots[lot].available += points;
        self.take_borne(who, lot, points, used);
        self.settle(who, lot);
        self.lapse(lot, self.people[who].clock);
    }

    /// Captured points pay for an order that was placed and paid while they were held, instead of others: those that were
    /// owed, then those that were taken last.
    pub(super) fn pay_by_hold(&mut self, who: usize, held_at: i64, now: i64) {
        for sale in 0..self.people[who].sales.len() {
            let paid = self.people[who].sales[sale].clone();
            if paid.paid_at < Some(held_at) {
                continue;
            }
            let (by_holds, others): (Vec<Paid>, Vec<Paid>) = paid.paid_from.iter().partition(|from| from.held);
            let mut left = owing(&paid) + others.iter().map(|from| from.points).sum::<i64>();
            let mut instead = Vec::new();
            for captured in &mut self.people[who].captured {
                let is_meant = captured.held_at == held_at && (captured.at - paid.at).abs() <= PAYS_FOR;
                let points = if is_meant { left.min(captured.points) } else { 0 };
                captured.points -= points;
                left -= points;
                instead.push(Paid { lot: captured.lot, points, used: held_at, held: true });
            }
            let points: i64 = instead.iter().map(|from| from.points).sum();
            let owed = owing(&paid).min(points);
            let (stays, back) = without_the_last(others, points - owed);
            self.people[who].sales[sale].paid_from = by_holds.into_iter().chain(instead).chain(stays).collect();
            if owed > 0 {
                self.owe_less(who, owed, paid.paid_at.unwrap_or(now), now);
            }
            back.into_iter().for_each(|from| self.restore(who, from));
        }
    }
}

/// What stays of points that paid, and what comes back of them: those that were taken last.
fn without_the_last(mut others: Vec<Paid>, points: i64) -> (Vec<Paid>, Vec<Paid>) {
    let (mut left, mut back) = (points, Vec::new());
    for from in others.iter_mut().rev() {
        let points = left.min(from.points);
        from.points -= points;
        left -= points;
        back.push(Paid { points, ..*from });
    }
    (others, back)
}

/// What is still spent of the lots that paid for an order.
fn from_lots(sale: &Sale) -> i64 {
    sale.paid_from.iter().map(|from| from.points).sum()
}

/// Points that were not there, and have not come back.
pub(super) fn owing(sale: &Sale) -> i64 {
    if sale.paid_at.is_some() { sale.payment - sale.paid_back - from_lots(sale) } else { 0 }
}

/// Points of an order's payment that are to come back now; they have, then. All of them with the last goods.
pub(super) fn mark_due_back(sale: &mut Sale) -> i64 {
    let whole: i64 = sale.rows.iter().map(|row| row.by_points).sum();
    let back: i64 = sale.rows.iter().map(|row| row.by_points - row.points_left).sum();
    let in_part = sale.payment * back / whole.max(1);
    let due = if sale.cancelled || !sale.rows.iter().any(Row::is_kept) { sale.payment } else { in_part };
    due - std::mem::replace(&mut sale.paid_back, due)
}
