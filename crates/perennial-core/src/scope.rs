//! What an expression sees: the customer, the event, the order and the line at hand.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::customer::{Customer, Year};
use crate::event::Event;
use crate::expr::{self, Field, Op, Scope};
use crate::feature::Seen;
use crate::id::Word;
use crate::orders::{OrderLine, OrderRecord};
use crate::program::{Feature, Program};
use crate::time::{LEAP_DAY, Timestamp, weekday};
use crate::value::Value;

/// What is taken not to be there, of what orders bring.
#[derive(Clone, Debug, Default)]
pub struct Without {
    /// Orders.
    pub orders: i64,
    /// Their goods, in minor units of the programme's currency.
    pub spend: i64,
    /// What counts for tiers, by local year.
    pub years: BTreeMap<i16, Year>,
    /// Thousandths of each unit of impact.
    pub impact: BTreeMap<Word, i64>,
    /// The level that is held instead, by its place.
    pub level: Option<u8>,
}

impl Without {
    /// Leaves something more out.
    pub fn add(&mut self, more: &Self) {
        self.orders += more.orders;
        self.spend = self.spend.saturating_add(more.spend);
        for (year, more) in &more.years {
            let sum = self.years.entry(*year).or_default();
            sum.points = sum.points.saturating_add(more.points);
            sum.spend = sum.spend.saturating_add(more.spend);
        }
        for (unit, more) in &more.impact {
            let sum = self.impact.entry(unit.clone()).or_default();
            *sum = sum.saturating_add(*more);
        }
    }
}

/// A view of one moment.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The programme whose features the customer follows.
    pub program: &'a Program,
    /// The customer.
    pub customer: &'a Customer,
    /// The event at hand.
    pub event: Option<&'a Event>,
    /// The order at hand.
    pub order: Option<&'a OrderRecord>,
    /// The line at hand.
    pub line: Option<&'a OrderLine>,
    /// Fields whose value of then counts, with their values.
    pub recalled: Option<(&'a [Field], &'a [Value])>,
    /// What does not count.
    pub without: Option<&'a Without>,
    /// The instant that lengths of time run to, where that is neither the order's nor the customer's.
    pub as_of: Option<Timestamp>,
    /// The local year whose points count, where that is not the customer's.
    pub of_year: Option<i16>,
}

impl<'a> View<'a> {
    /// The customer as such.
    pub fn of(program: &'a Program, customer: &'a Customer) -> Self {
        Self {
            program,
            customer,
            event: None,
            order: None,
            line: None,
            recalled: None,
            without: None,
            as_of: None,
            of_year: None,
        }
    }

    /// The local year whose points count.
    pub(crate) fn year(&self) -> i16 {
        self.of_year.unwrap_or_else(|| self.program.zone.year(self.customer.clock))
    }

    fn money(&self, minor: i64) -> expr::View<'a> {
        expr::View::Number(self.order.map_or(self.program.currency, |o| o.currency).major(minor))
    }

    /// A property of the event.
    fn of_event(&self, path: &[Box<str>]) -> Option<Value> {
        let (first, deeper) = path.split_first()?;
        deeper.iter().try_fold(self.event?.property(first)?, |value, name| match value {
            Value::Map(mut map) => map.take(name),
            _ => None,
        })
    }

    fn of_order(&self, field: &Field) -> expr::View<'a> {
        let Some(order) = self.order else { return expr::View::Null };
        match field {
            Field::OrderId => expr::View::Text(&order.order_id),
            Field::OrderEligible => self.money(order.net_left()),
            Field::OrderTotal => self.money(order.total),
            Field::OrderCurrency => expr::View::Text(order.currency.code()),
            Field::OrderWeekday => expr::View::Text(weekday(self.program.zone.date(order.at))),
            Field::OrderDay => {
                let date = self.program.zone.date(order.at);
                expr::View::made(format!("{:02}-{:02}", date.month(), date.day()).as_str().into())
            }
            Field::OrderLeapDay => {
                let kept = self.program.leap_day.stands_on(self.program.zone.date(order.at));
                if kept { expr::View::Text(LEAP_DAY) } else { expr::View::Null }
            }
            Field::OrderLines => {
                let standing = order.lines.iter().filter(|l| !l.pieces.is_zero());
                expr::View::Owned(Value::List(standing.map(|l| Value::Text(l.product_id.clone())).collect()))
            }
            _ => expr::View::Null,
        }
    }

    fn of_product(&self, field: &Field) -> expr::View<'a> {
        let Some(line) = self.line else { return expr::View::Null };
        match field {
            Field::ProductId => expr::View::Text(&line.product_id),
            Field::ProductTags => expr::View::Texts(&line.tags),
            Field::ProductPrice => self.money(line.price),
            Field::ProductQuantity => expr::View::Number(line.pieces.into()),
            Field::ProductImpact(unit) => impact(line.impact.iter().find(|(u, _)| **u == **unit).map(|(_, n)| *n)),
            Field::ProductAbout(name) => line.about.get(name).map_or(expr::View::Null, expr::View::made),
            _ => expr::View::Null,
        }
    }

    fn of_customer(&self, field: &Field) -> expr::View<'a> {
        let customer = self.customer;
        let standing = &customer.orders.standing;
        match field {
            Field::Orders => {
                let count = standing.count.saturating_sub(self.without.map_or(0, |less| less.orders));
                expr::View::Number(count.into())
            }
            Field::Spend => {
                let spend = standing.spend.saturating_sub(self.without.map_or(0, |less| less.spend));
                expr::View::Number(self.program.currency.major(spend))
            }
            Field::FirstOrder => standing.first.map_or(expr::View::Null, instant),
            Field::LastOrder => standing.last.map_or(expr::View::Null, instant),
            Field::CartValue => {
                let value = customer.cart.iter().fold(0i64, |sum, l| sum.saturating_add(l.quantity.times(l.price)));
                expr::View::Number(self.program.currency.major(value))
            }
            Field::Feature(_) => match self.computed(field) {
                Some((feature, seen)) => expr::View::made(seen.value(feature, customer.clock)),
                None => expr::View::Null,
            },
            Field::Trait(name) => {
                customer.profile.traits.get(name).map_or(expr::View::Null, |(value, _)| expr::View::of(value))
            }
            Field::Tier => self.tier().map_or(expr::View::Null, expr::View::Text),
            Field::Member => expr::View::Bool(customer.member.is_some()),
            Field::Score(name) => expr::View::made(name.of(customer, self.program.currency)),
            _ => self.of_member(field),
        }
    }

    /// The feature that a field names, and what it remembers.
    #[inline]
    fn computed(&self, field: &Field) -> Option<(&'a Feature, &'a Seen)> {
        let Field::Feature(i) = field else { return None };
        let i = usize::from(*i);
        Some((self.program.features.get(i)?, self.customer.features.get(i)?))
    }

    /// The id of the level held.
    fn tier(&self) -> Option<&'a str> {
        let held = self.customer.member.as_ref()?.tier.as_ref()?.level;
        let level = usize::from(self.without.and_then(|less| less.level).unwrap_or(held));
        Some(&self.program.tiers.as_ref()?.levels.get(level)?.id)
    }

    /// When the points of another year count, if they are not as many.
    fn new_year(&self) -> Option<Timestamp> {
        let (years, year) = (&self.customer.member.as_ref()?.years, self.year());
        let earned = |year: i16| years.get(&year).map_or(0, |counted| counted.points);
        let next = year.saturating_add(1);
        (earned(year) != earned(next)).then(|| self.program.zone.start_of_year(next))
    }

    fn of_member(&self, field: &Field) -> expr::View<'a> {
        let Some(member) = &self.customer.member else { return expr::View::Null };
        match field {
            Field::Impact(unit) => {
                let less = self.without.and_then(|less| less.impact.get(&**unit)).copied().unwrap_or(0);
                impact(Some(member.impact.get(&**unit).copied().unwrap_or(0).saturating_sub(less)))
            }
            Field::PointsAvailable => expr::View::Number(member.wallet.available().into()),
            Field::PointsEarned => {
                let year = self.year();
                let points = member.years.get(&year).map_or(0, |y| y.points);
                let less = self.without.and_then(|less| less.years.get(&year)).map_or(0, |less| less.points);
                expr::View::Number(points.saturating_sub(less).into())
            }
            _ => expr::View::Null,
        }
    }
}

/// Thousandths as a number.
fn impact<'a>(thousandths: Option<i64>) -> expr::View<'a> {
    thousandths.map_or(expr::View::Null, |n| expr::View::Number(Decimal::new(n, 3)))
}

/// An instant as expressions see it.
fn instant<'a>(at: Timestamp) -> expr::View<'a> {
    expr::View::Number(at.as_millis().into())
}

impl Scope for View<'_> {
    fn field(&self, field: &Field) -> Cow<'_, Value> {
        Cow::Owned(self.view(field).into_value())
    }

    /// Texts and tags where they lie, so that asking allocates nothing.
    fn view(&self, field: &Field) -> expr::View<'_> {
        if let Some((fields, values)) = self.recalled
            && let Some(at) = fields.iter().position(|f| f == field)
        {
            return values.get(at).map_or(expr::View::Null, expr::View::of);
        }
        match field {
            Field::Event(path) => self.of_event(path).map_or(expr::View::Null, expr::View::made),
            Field::OrderId
            | Field::OrderEligible
            | Field::OrderTotal
            | Field::OrderCurrency
            | Field::OrderLines
            | Field::OrderWeekday
            | Field::OrderDay
            | Field::OrderLeapDay => self.of_order(field),
            Field::ProductId
            | Field::ProductTags
            | Field::ProductPrice
            | Field::ProductQuantity
            | Field::ProductImpact(_)
            | Field::ProductAbout(_) => self.of_product(field),
            field => self.of_customer(field),
        }
    }

    /// Of an order it is when that was placed, however late it is told, claimed or refunded.
    fn now(&self) -> Timestamp {
        self.as_of.or(self.order.map(|order| order.at)).unwrap_or(self.customer.clock)
    }

    fn moves(&self, field: &Field) -> Option<Timestamp> {
        if *field == Field::PointsEarned {
            return self.new_year();
        }
        let (feature, seen) = self.computed(field)?;
        seen.next_change(feature, self.customer.clock)
    }

    fn turns(&self, field: &Field, op: Op, number: Decimal) -> Option<Timestamp> {
        if *field == Field::PointsEarned {
            return self.new_year();
        }
        let (feature, seen) = self.computed(field)?;
        seen.next_turn(feature, self.customer.clock, op, number)
    }
}
