//! What an expression sees: the customer, the event, the order and the line at hand.

use std::borrow::Cow;

use rust_decimal::Decimal;

use crate::customer::Customer;
use crate::event::Event;
use crate::expr::{self, Field, Scope};
use crate::feature::instant_value;
use crate::orders::{OrderLine, OrderRecord};
use crate::program::Program;
use crate::time::Timestamp;
use crate::value::Value;

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
}

impl<'a> View<'a> {
    /// The customer as such.
    pub fn of(program: &'a Program, customer: &'a Customer) -> Self {
        Self { program, customer, event: None, order: None, line: None, recalled: None }
    }

    fn money(&self, minor: i64) -> Value {
        Value::Number(self.order.map_or(self.program.currency, |o| o.currency).major(minor))
    }

    fn of_order(&self, field: &Field) -> Value {
        let Some(order) = self.order else { return Value::Null };
        match field {
            Field::OrderId => Value::Text(order.order_id.clone()),
            Field::OrderEligible => self.money(order.net_left()),
            Field::OrderTotal => self.money(order.total),
            Field::OrderCurrency => Value::from(order.currency.code()),
            Field::OrderLines => {
                let standing = order.lines.iter().filter(|l| l.pieces > 0);
                Value::List(standing.map(|l| Value::Text(l.product_id.clone())).collect())
            }
            _ => Value::Null,
        }
    }

    fn of_product(&self, field: &Field) -> Value {
        let Some(line) = self.line else { return Value::Null };
        match field {
            Field::ProductId => Value::Text(line.product_id.clone()),
            Field::ProductTags => Value::List(line.tags.iter().map(|t| Value::Text(t.clone())).collect()),
            Field::ProductPrice => self.money(line.price),
            Field::ProductQuantity => Value::Number(line.pieces.into()),
            Field::ProductImpact(unit) => impact(line.impact.iter().find(|(u, _)| u == unit).map(|(_, n)| *n)),
            Field::ProductAbout(name) => line.about.get(name).cloned().unwrap_or(Value::Null),
            _ => Value::Null,
        }
    }

    fn of_customer(&self, field: &Field) -> Value {
        let customer = self.customer;
        let standing = &customer.orders.standing;
        match field {
            Field::Orders => Value::Number(standing.count.into()),
            Field::Spend => Value::Number(self.program.currency.major(standing.spend)),
            Field::FirstOrder => standing.first.map_or(Value::Null, instant_value),
            Field::LastOrder => standing.last.map_or(Value::Null, instant_value),
            Field::CartValue => {
                let value = customer.cart.iter().map(|l| l.price.saturating_mul(i64::from(l.quantity))).sum();
                Value::Number(self.program.currency.major(value))
            }
            Field::Feature(i) => {
                let i = usize::from(*i);
                match (self.program.features.get(i), customer.features.get(i)) {
                    (Some(feature), Some(seen)) => seen.value(feature, customer.clock),
                    _ => Value::Null,
                }
            }
            Field::Trait(name) => customer.profile.traits.get(name).map_or(Value::Null, |(value, _)| value.clone()),
            Field::Member => Value::Bool(customer.member.is_some()),
            Field::Score(name) => name.of(customer, self.program.currency),
            _ => self.of_member(field),
        }
    }

    /// The id of the level held.
    fn tier(&self) -> Option<&'a str> {
        let level = usize::from(self.customer.member.as_ref()?.tier.as_ref()?.level);
        Some(&self.program.tiers.as_ref()?.levels.get(level)?.id)
    }

    fn of_member(&self, field: &Field) -> Value {
        let Some(member) = &self.customer.member else { return Value::Null };
        match field {
            Field::Impact(unit) => impact(Some(member.impact.get(unit).copied().unwrap_or(0))),
            Field::PointsAvailable => Value::Number(member.wallet.available().into()),
            Field::PointsEarned => {
                let year = self.program.zone.year(self.now());
                Value::Number(member.years.get(&year).map_or(0, |y| y.points).into())
            }
            Field::Tier => self.tier().map_or(Value::Null, Value::from),
            _ => Value::Null,
        }
    }
}

/// Thousandths as a number.
fn impact(thousandths: Option<i64>) -> Value {
    thousandths.map_or(Value::Null, |n| Value::Number(Decimal::new(n, 3)))
}

impl Scope for View<'_> {
    fn field(&self, field: &Field) -> Cow<'_, Value> {
        if let Some((fields, values)) = self.recalled
            && let Some(at) = fields.iter().position(|f| f == field)
        {
            return values.get(at).map_or(Cow::Owned(Value::Null), Cow::Borrowed);
        }
        match field {
            Field::Event(path) => {
                let first = path.first().and_then(|name| self.event?.property(name));
                let deeper = path.iter().skip(1).try_fold(first, |value, name| match value {
                    Some(Value::Map(map)) => Some(map.get(name)),
                    _ => None,
                });
                deeper.flatten().map_or(Cow::Owned(Value::Null), Cow::Borrowed)
            }
            Field::OrderId | Field::OrderEligible | Field::OrderTotal | Field::OrderCurrency | Field::OrderLines => {
                Cow::Owned(self.of_order(field))
            }
            field if field.is_of_customer() => Cow::Owned(self.of_customer(field)),
            field => Cow::Owned(self.of_product(field)),
        }
    }

    /// Texts and tags where they lie, so that asking allocates nothing.
    fn view(&self, field: &Field) -> expr::View<'_> {
        let recalls = |(fields, _): (&[Field], _)| fields.contains(field);
        let lying = match field {
            _ if self.recalled.is_some_and(recalls) => None,
            Field::ProductTags => self.line.map(|line| expr::View::Texts(&line.tags)),
            Field::ProductId => self.line.map(|line| expr::View::Text(&line.product_id)),
            Field::OrderId => self.order.map(|order| expr::View::Text(&order.order_id)),
            Field::Trait(name) => self.customer.profile.traits.get(name).map(|(value, _)| expr::View::of(value)),
            Field::Tier => self.tier().map(expr::View::Text),
            _ => None,
        };
        lying.unwrap_or_else(|| expr::View::from_cow(self.field(field)))
    }

    fn now(&self) -> Timestamp {
        self.customer.clock
    }
}
