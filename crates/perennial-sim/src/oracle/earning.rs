//! What an order earns: rates, factors and whole numbers, exact, and rounded down once.

use super::figures::Said;
use super::{Oracle, Row, Sale};
use crate::calendar::{DAY, Zone};
use crate::earning::{Combine, Earn, Gives, When};
use crate::figures::{Ask, PLACES};
use crate::plan::Limit;
use perennial_core::value::Value;

impl Oracle {
    /// Rules that may apply to an order that comes now, with what they ask of a member.
    pub(super) fn may_apply(&self, who: usize, said: &Said, at: i64) -> Vec<(&'static str, Vec<Ask>)> {
        let zone = self.trade.zone();
        let mut rules = Vec::new();
        for rule in &self.edition().earns {
            let is_so = |when: &When| match when {
                When::In(shop) => PLACES.contains(shop) && said.shop == Some(Value::from(*shop)),
                When::On(day) => zone.weekday(at) == *day,
                When::During(from, to) => (*from..=*to).contains(&zone.day(at)),
                When::Over(_) | When::UpTo(_) | When::Who(_) => true,
            };
            if rule.when.iter().all(is_so) {
                let asks = rule.when.iter().filter_map(|when| match when {
                    When::Who(ask) => Some(self.asked_then(who, ask, at)),
                    _ => None,
                });
                rules.push((rule.id, asks.collect()));
            }
        }
        rules
    }

    /// Rules that apply to an order that begins to earn; what they have a limit of is used.
    pub(super) fn apply(&mut self, who: usize, sale: &Sale) -> Vec<&'static str> {
        let now = self.people[who].clock;
        let is_so = |asks: &[Ask]| asks.iter().all(|ask| self.answers(who, ask, now));
        let may = sale.may.iter().filter(|(_, asks)| is_so(asks)).map(|(id, _)| *id);
        let rules = self.editions[sale.edition].earns.iter();
        // Of an order that is claimed something may have come back: the rules are those of what was placed.
        let rows = sale.rows.iter().map(|row| Row {
            pieces: row.bought,
            left: row.paid,
            points_left: row.by_points,
            ..row.clone()
        });
        let placed = Sale { rows: rows.collect(), ..sale.clone() };
        let (zone, used) = (self.trade.zone(), &self.people[who].used);
        let often = |rule: &Earn| {
            let times = used.iter().filter(|(id, _)| *id == rule.id).map(|(_, at)| *at);
            is_over(rule.limit, &times.collect::<Vec<_>>(), sale.at, zone)
        };
        let fits: Vec<&Earn> = rules.filter(|rule| is_worth(rule, &placed) && !often(rule)).collect();
        let mut under: Vec<&Earn> = may.filter_map(|id| fits.iter().find(|rule| rule.id == id).copied()).collect();
        let is_limited = |rule: &Earn| !matches!(rule.limit, Limit::Always);
        if self.worth(&Sale { under: under.iter().map(|rule| rule.id).collect(), ..placed }) == 0 {
            under.retain(|rule| !is_limited(rule)); // What brings nothing uses no limit up.
        }
        let limited = under.iter().filter(|rule| is_limited(rule));
        let now_used: Vec<_> = limited.map(|rule| (rule.id, sale.at)).collect();
        let under = under.iter().map(|rule| rule.id).collect();
        self.people[who].used.extend(now_used);
        under
    }

    /// Points of what is left of a sale.
    pub(super) fn worth(&self, sale: &Sale) -> i64 {
        let edition = &self.editions[sale.edition];
        // What lessens goes on lessening what is left, as of all that was bought.
        let applies = |rule: &&Earn| sale.under.contains(&rule.id) && (rule.lessens() || is_worth(rule, sale));
        let rules: Vec<&Earn> = edition.earns.iter().filter(applies).collect();
        if sale.money() == 0 {
            return 0;
        }
        let factors: Vec<_> = rules.iter().filter_map(|rule| factor(rule)).collect();
        let scale = 100i128.pow(u32::try_from(factors.len()).unwrap_or(0));
        let weighted: i128 = sale
            .rows
            .iter()
            .map(|row| {
                let meant = factors.iter().map(|(hundredths, goods)| {
                    let pieces = if *hundredths < 100 { row.bought } else { row.pieces };
                    if goods.are(&row.product, row.price, pieces) { *hundredths } else { 100 }
                });
                i128::from(row.money()) * together(edition.combine, meant, scale)
            })
            .sum();
        let (mut above, mut below) = (0i128, 1i128);
        for (tenths, cents) in rules.iter().filter_map(|rule| rate(rule)) {
            above = above * cents * 10 + tenths * below;
            below = below * cents * 10;
        }
        let whole: i64 = rules.iter().map(|rule| if let Gives::Whole(points) = rule.gives { points } else { 0 }).sum();
        i64::try_from(weighted * above / (below * scale)).unwrap_or(i64::MAX) + whole
    }
}

impl Sale {
    /// Paid in money for goods, and not given back.
    pub(super) fn money(&self) -> i64 {
        self.rows.iter().map(Row::money).sum()
    }
}

/// Whether a rule is for orders of what is left of this one.
fn is_worth(rule: &Earn, sale: &Sale) -> bool {
    rule.when.iter().all(|when| match when {
        When::Over(least) => sale.money() > least * 100,
        When::UpTo(most) => sale.money() <= most * 100,
        _ => true,
    })
}

/// Whether something that has paid at some times may not pay again at another one.
pub(super) fn is_over(limit: Limit, times: &[i64], at: i64, zone: Zone) -> bool {
    let near = |is_near: &dyn Fn(i64) -> bool| times.iter().filter(|time| is_near(**time)).count();
    let day = |at: i64| (zone.year(at), zone.day(at));
    match limit {
        Limit::Always => false,
        Limit::Ever(most) => near(&|_| true) >= most,
        Limit::InDays(most, days) => {
            // So many days that end with any of them.
            let holds = |last: i64| move |time: i64| last - days * DAY < time && time <= last;
            times.iter().chain([&at]).any(|last| holds(*last)(at) && near(&holds(*last)) >= most)
        }
        Limit::InDay(most) => near(&|time| day(time) == day(at)) >= most,
        Limit::InMonth(most) => near(&|time| zone.month(time) == zone.month(at)) >= most,
        Limit::InYear(most) => near(&|time| zone.year(time) == zone.year(at)) >= most,
    }
}

fn rate(rule: &Earn) -> Option<(i128, i128)> {
    if let Gives::Rate { tenths, cents } = rule.gives { Some((tenths.into(), cents.into())) } else { None }
}

fn factor(rule: &Earn) -> Option<(i128, crate::earning::Goods)> {
    if let Gives::Factor { hundredths, of } = rule.gives { Some((hundredths.into(), of)) } else { None }
}

/// What all factors of a line come to, in parts of `scale`: what they add to it, or their product.
fn together(combine: Combine, factors: impl Iterator<Item = i128>, scale: i128) -> i128 {
    match combine {
        Combine::Add => (100 + factors.map(|hundredths| hundredths - 100).sum::<i128>()).max(0) * scale / 100,
        Combine::Multiply => factors.product(),
    }
}
