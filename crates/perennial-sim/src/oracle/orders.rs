//! Orders: what is bought, and what comes back of it.

use std::collections::BTreeMap;

use perennial_core::event::{Order, Refund};
use perennial_core::quantity::Quantity;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use super::figures::{Happened, Said};
use super::payment::owing;
use super::{Counted, Oracle, Person, Row, Sale, Waiting};
use crate::calendar::DAY;
use crate::figures::Heard;
use crate::plan::IMPACT;

/// A tree, in thousandths.
const TREE: i64 = 1_000;

impl Oracle {
    pub(super) fn ordered(&mut self, who: usize, order: &Order, said: Said, at: i64) {
        if self.people[who].sales.iter().any(|s| s.id == order.order_id) {
            return;
        }
        let gross: Vec<i64> = order.lines.iter().map(|l| cents(l.price) * grams(l.quantity)).collect();
        let foreign = !self.trade.takes(order.currency.as_deref());
        let goods = order.subtotal.unwrap_or_else(|| Decimal::new(gross.iter().sum(), 5));
        // The other currency has no cents.
        let goods = if foreign { rounded(goods) } else { cents(Some(goods)) };
        let by_points = order.paid_with_points.as_ref().map_or(Decimal::ZERO, |paid| paid.amount);
        let by_points = if foreign { rounded(by_points) } else { cents(Some(by_points)) };
        let whole = split(goods, &gross);
        let by_points = split(by_points.clamp(0, goods), &whole);
        let rows = order.lines.iter().zip(whole).zip(by_points).map(|((l, left), by_points)| Row {
            product: l.product_id.clone(),
            price: cents(l.price),
            bought: grams(l.quantity),
            pieces: grams(l.quantity),
            paid: left,
            left,
            by_points,
            points_left: by_points,
        });
        let earns = !foreign && self.people[who].joined.is_some_and(|joined| at >= joined);
        let mut sale = Sale {
            id: order.order_id.clone(),
            at,
            edition: self.editions.len() - 1,
            foreign,
            earns,
            trees: 0,
            rows: rows.collect(),
            may: self.may_apply(who, &said, at),
            under: Vec::new(),
            said,
            lot: None,
            points: 0,
            granted: 0,
            payment: order.paid_with_points.as_ref().map_or(0, |paid| paid.points.max(0)),
            paid_at: None,
            paid_from: Vec::new(),
            paid_back: 0,
            refunds: Vec::new(),
            cancelled: false,
        };
        if earns {
            sale.under = self.apply(who, &sale);
        }
        self.people[who].sales.push(sale);
        if earns {
            self.reward(who, self.people[who].sales.len() - 1, at);
        } else if self.people[who].joined.is_some_and(|joined| at >= joined) {
            self.pay(who, self.people[who].sales.len() - 1, at);
        }
        self.unpark(who, &order.order_id);
    }

    /// What waited for an order comes in by itself, first come.
    fn unpark(&mut self, who: usize, order: &str) {
        let mut due: Vec<((usize, i64), Waiting)> = Vec::new();
        for person in &mut self.people {
            let (here, rest): (Vec<_>, Vec<_>) =
                std::mem::take(&mut person.waiting).into_iter().partition(|(id, _, _)| **id == *order);
            person.waiting = rest;
            due.extend(here.into_iter().map(|(_, came, what)| (came, what)));
        }
        due.sort_by_key(|((nth, _), _)| *nth);
        for ((_, at), what) in due {
            self.conclude(who);
            self.regroup(who);
            self.wake(who, at);
            self.people[who].clock = self.people[who].clock.max(at);
            match what {
                Waiting::Refund(refund) => self.refunded(who, &refund, at),
                Waiting::Cancel => self.cancelled(who, order, at),
            }
        }
    }

    fn wait(&mut self, who: usize, order: Box<str>, at: i64, what: Waiting) {
        self.waited += 1;
        self.people[who].waiting.push((order, (self.waited, at), what));
    }

    /// What an order brings: points, a tree perhaps, milestones, and then a level.
    pub(super) fn reward(&mut self, who: usize, sale: usize, now: i64) {
        self.pay(who, sale, now);
        let (points, at) = (self.worth(&self.people[who].sales[sale]), self.people[who].sales[sale].at);
        if points > 0 {
            let lot = self.grant(who, points, at, at + self.edition().pending_days * DAY);
            self.people[who].sales[sale].lot = Some(lot);
            (self.people[who].sales[sale].points, self.people[who].sales[sale].granted) = (points, points);
        }
        self.qualify(who, at, points, self.people[who].sales[sale].money());
        let order = self.people[who].sales[sale].id.clone();
        self.plant(who, sale);
        self.reach_by_orders(who, (at, &order));
        self.regrade(who, self.trade.zone().year(at), Some(order));
    }

    /// A tree for an order that is worth it, if the member's level has that.
    fn plant(&mut self, who: usize, sale: usize) {
        let Some((worth, level)) = self.trade.tree() else { return };
        let held = self.people[who].tier.as_ref().and_then(|tier| self.edition().position(tier.level));
        let has = held.is_some_and(|held| Some(held) >= self.edition().position(level));
        let sale = &mut self.people[who].sales[sale];
        if has && sale.money() > worth {
            sale.trees = TREE;
        }
    }

    /// What a visitor bought after the member had joined.
    pub(super) fn book_late(&mut self, who: usize, now: i64) {
        let Some(joined) = self.people[who].joined else { return };
        for sale in 0..self.people[who].sales.len() {
            let late = &self.people[who].sales[sale];
            if late.earns || late.at < joined {
                continue;
            }
            if late.foreign || !late.rows.iter().any(Row::is_kept) {
                self.pay(who, sale, now);
            } else {
                let late = late.clone();
                let under = self.apply(who, &late);
                let late = &mut self.people[who].sales[sale];
                (late.earns, late.under) = (true, under);
                self.reward(who, sale, now);
            }
        }
    }

    pub(super) fn refunded(&mut self, who: usize, refund: &Refund, now: i64) {
        let Some(at) = self.people[who].sales.iter().position(|s| s.id == refund.order_id) else {
            self.wait(who, refund.order_id.clone(), now, Waiting::Refund(refund.clone()));
            return;
        };
        let sale = &mut self.people[who].sales[at];
        let strange = refund.lines.iter().any(|l| sale.rows.iter().all(|r| r.product != l.product_id));
        if sale.refunds.contains(&refund.refund_id) || strange {
            return;
        }
        sale.refunds.push(refund.refund_id.clone());
        let before = sale.clone();
        let stood = self.standing_marks(who, &refund.order_id, now);
        let sale = &mut self.people[who].sales[at];
        if !refund.lines.is_empty() {
            by_piece(sale, refund);
        } else if let Some(total) = refund.total {
            by_amount(sale, if sale.foreign { rounded(total) } else { cents(Some(total)) });
        } else {
            whole(sale);
        }
        if self.give_back(who, &before, Heard::Refund, now) {
            self.take_back(who, at, &before, stood, now);
        }
    }

    /// A return is heard of when something comes back; whether it does.
    fn give_back(&mut self, who: usize, before: &Sale, what: Heard, at: i64) -> bool {
        let person = &mut self.people[who];
        let after = person.sales.iter().find(|sale| sale.id == before.id);
        let same = |(then, now): (&Row, &Row)| (then.pieces, then.left) == (now.pieces, now.left);
        let nothing = after.is_some_and(|after| before.rows.iter().zip(&after.rows).all(same));
        if !nothing {
            person.happened.push(Happened { at, what, said: Said::default() });
        }
        !nothing
    }

    pub(super) fn cancelled(&mut self, who: usize, order: &str, now: i64) {
        let Some(at) = self.people[who].sales.iter().position(|s| *s.id == *order) else {
            self.wait(who, order.into(), now, Waiting::Cancel);
            return;
        };
        if !self.people[who].sales[at].cancelled {
            let before = self.people[who].sales[at].clone();
            let stood = self.standing_marks(who, order, now);
            self.people[who].sales[at].cancelled = true;
            whole(&mut self.people[who].sales[at]);
            if self.give_back(who, &before, Heard::Cancellation, now) {
                self.take_back(who, at, &before, stood, now);
            }
        }
    }

    fn take_back(&mut self, who: usize, at: usize, before: &Sale, soft: (Vec<usize>, Vec<usize>), now: i64) {
        let sale = self.people[who].sales[at].clone();
        let (mut stood, hanging) = soft;
        if !sale.rows.iter().any(Row::is_kept) {
            stood.extend(hanging);
        }
        let years = self.people[who].years.clone();
        if !sale.earns {
            self.pay_back(who, at, now);
            return self.settle_progress(who, &sale, &stood, false, &years);
        }
        let less = sale.points - self.worth(&sale).min(sale.points);
        let was_pending = sale.lot.is_some_and(|lot| self.lots[lot].pending > 0);
        if let Some(lot) = sale.lot.filter(|_| less > 0) {
            self.people[who].sales[at].points -= less;
            self.reverse(who, lot, less);
        }
        self.qualify(who, sale.at, -less, sale.money() - before.money());
        self.pay_back(who, at, now);
        if self.trade.tree().is_some_and(|(worth, _)| sale.money() <= worth) {
            self.people[who].sales[at].trees = 0;
        }
        self.settle_progress(who, &sale, &stood, was_pending, &years);
        self.conclude(who);
    }

    /// Marks and the level that go with what came back; marks that are met all the same hang on another order.
    fn settle_progress(
        &mut self,
        who: usize,
        sale: &Sale,
        stood: &[usize],
        was_pending: bool,
        years: &BTreeMap<i64, Counted>,
    ) {
        let hanging = self.hanging(who, stood);
        self.miss(who, stood);
        self.lose(who, sale, was_pending, years);
        if self.reach_again(who, sale, &hanging) {
            self.lose(who, sale, was_pending, years);
        }
    }

    pub(super) fn reverse(&mut self, who: usize, lot: usize, less: i64) {
        let mut left = less;
        let found = &mut self.lots[lot];
        for bucket in [&mut found.pending, &mut found.available, &mut found.expired] {
            let here = left.min(*bucket);
            *bucket -= here;
            left -= here;
        }
        for (other, amount) in self.earliest(who, left, Some(lot)) {
            self.lots[other].available -= amount;
            left -= amount;
        }
        if !self.edition().within_balance {
            self.people[who].arrears += left;
            return;
        }
        // As far as there is such a debt still. What comes back of an order's payment is not forgiven yet.
        let owing: i64 = self.people[who].sales.iter().map(owing).sum();
        let filled = (owing - self.people[who].arrears).min(self.lots[lot].settled).max(0);
        let owed_again = left.min(filled);
        self.lots[lot].settled -= owed_again;
        self.people[who].arrears += owed_again;
        let since = self.people[who].clock;
        self.people[who].borne.push((since, left - owed_again));
    }
}

fn by_piece(sale: &mut Sale, refund: &Refund) {
    for line in &refund.lines {
        let mut wanted = grams(line.quantity);
        for row in sale.rows.iter_mut().filter(|r| r.product == line.product_id) {
            let pieces = wanted.min(row.pieces);
            let money = if pieces == row.pieces { row.left } else { row.left * pieces / row.pieces };
            give(row, money);
            row.pieces -= pieces;
            wanted -= pieces;
        }
    }
}

fn by_amount(sale: &mut Sale, amount: i64) {
    let left: Vec<i64> = sale.rows.iter().map(|r| r.left).collect();
    let amount = amount.clamp(0, left.iter().sum());
    for (row, money) in sale.rows.iter_mut().zip(split(amount, &left)) {
        if money == row.left {
            row.pieces = 0;
        }
        give(row, money);
    }
}

/// Money and points come back as they paid for what is left.
fn give(row: &mut Row, money: i64) {
    let parts = split(money, &[row.money(), row.points_left]);
    row.left -= money;
    row.points_left -= parts[1];
}

fn whole(sale: &mut Sale) {
    for row in &mut sale.rows {
        (row.pieces, row.left, row.points_left) = (0, 0, 0);
    }
}

fn cents(amount: Option<Decimal>) -> i64 {
    amount.map_or(0, |amount| rounded(amount * Decimal::ONE_HUNDRED))
}

fn rounded(amount: Decimal) -> i64 {
    (amount + Decimal::new(5, 1)).floor().to_i64().unwrap_or(0)
}

/// A thousand of a piece.
fn grams(quantity: Quantity) -> i64 {
    (Decimal::from(quantity) * Decimal::ONE_THOUSAND).to_i64().unwrap_or(0)
}

/// Largest remainder, cent by cent: the next cent goes where most is missing.
fn split(total: i64, weights: &[i64]) -> Vec<i64> {
    let sum: i64 = weights.iter().sum();
    if sum == 0 {
        return weights.iter().enumerate().map(|(i, _)| if i == 0 { total } else { 0 }).collect();
    }
    let mut shares: Vec<i64> = weights.iter().map(|w| total * w / sum).collect();
    let mut rests: Vec<i64> = weights.iter().map(|w| total * w % sum).collect();
    while shares.iter().sum::<i64>() < total {
        let most = rests.iter().copied().max().unwrap_or(0);
        let at = rests.iter().position(|r| *r == most).unwrap_or(0);
        shares[at] += 1;
        rests[at] = -1;
    }
    shares
}

/// What kept goods do for the world.
impl Oracle {
    pub(super) fn impact(person: &Person) -> i64 {
        let each = |product: &str| IMPACT.iter().find(|(name, _)| *name == product).map_or(0, |(_, each)| *each);
        let kept = person.sales.iter().filter(|s| s.earns).flat_map(|s| &s.rows).filter(|r| r.is_kept());
        kept.map(|row| each(&row.product) * row.pieces / 1_000).sum()
    }

    pub(super) fn trees(person: &Person) -> i64 {
        person.sales.iter().map(|sale| sale.trees).sum()
    }
}
