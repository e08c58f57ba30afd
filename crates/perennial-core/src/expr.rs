//! Expressions: CEL, lowered to a small tree over typed fields.
//!
//! Promise: evaluation always answers, never allocates for scalars and never loops. What is missing
//! is `Null`: it equals only itself, and every ordering with it is false.
//! Absent on purpose: parsing. `program::compile` lowers and type-checks; the CEL interpreter is
//! the oracle of a differential test.

use std::borrow::Cow;
use std::cmp::Ordering;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::value::Value;

/// A name that an expression may read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Field {
    /// `event.name` and deeper: a property of the event at hand.
    Event(Vec<Box<str>>),
    /// `order.id`.
    OrderId,
    /// `order.eligible`: what was paid for goods, in major units.
    OrderEligible,
    /// `order.total`.
    OrderTotal,
    /// `order.currency`.
    OrderCurrency,
    /// `order.lines`: the lines, for `size()`.
    OrderLines,
    /// `product.id` of the line at hand.
    ProductId,
    /// `product.tags`.
    ProductTags,
    /// `product.price`.
    ProductPrice,
    /// `product.quantity`.
    ProductQuantity,
    /// `product.impact.<unit>` of one piece.
    ProductImpact(Box<str>),
    /// `product.category`, `product.brand` and other things said of the product.
    ProductAbout(Box<str>),
    /// `customer.<trait>`.
    Trait(Box<str>),
    /// A declared feature, by its index in the programme.
    Feature(u16),
    /// `orders`: orders that stand.
    Orders,
    /// `spend`: what stands of them, in major units of the programme's currency.
    Spend,
    /// `first_order`: the instant of the first order that stands.
    FirstOrder,
    /// `last_order`.
    LastOrder,
    /// `cart.value`.
    CartValue,
    /// `impact.<unit>`.
    Impact(Box<str>),
    /// `points.available`.
    PointsAvailable,
    /// `points.earned`: qualifying points of the current local year.
    PointsEarned,
    /// `tier`: the level's id.
    Tier,
    /// `member`: whether the customer joined.
    Member,
}

impl Field {
    /// Whether the field belongs to the customer rather than to the event, order or line at hand.
    pub fn is_of_customer(&self) -> bool {
        !matches!(
            self,
            Self::Event(_)
                | Self::OrderId
                | Self::OrderEligible
                | Self::OrderTotal
                | Self::OrderCurrency
                | Self::OrderLines
                | Self::ProductId
                | Self::ProductTags
                | Self::ProductPrice
                | Self::ProductQuantity
                | Self::ProductImpact(_)
                | Self::ProductAbout(_)
        )
    }
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// An expression that gives a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Term {
    /// A constant. Durations are milliseconds, instants milliseconds since the epoch.
    Const(Value),
    /// A field.
    Field(Field),
    /// `since(instant)`: milliseconds from it to now; absent stays absent.
    Since(Field),
    /// `size(list or text)`.
    Size(Box<Term>),
    /// `lower(text or list of texts)`: small letters only, to compare without regard to case.
    Lower(Box<Term>),
    /// `a + b`, `a - b`, `a * b` on numbers; absent when a side is, or on overflow.
    Arithmetic(Box<Term>, Arithmetic, Box<Term>),
}

/// Exact decimal arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
}

/// An expression that gives yes or no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Predicate {
    /// A constant.
    Const(bool),
    /// All hold; the first that does not ends the question.
    All(Vec<Predicate>),
    /// One holds.
    Any(Vec<Predicate>),
    /// The opposite.
    Not(Box<Predicate>),
    /// Two values compared.
    Compare(Term, Op, Term),
    /// `needle in list`.
    In(Term, Term),
    /// `has(field)`.
    Has(Field),
    /// A field that is yes or no; absent is no.
    Holds(Term),
    /// `text.startsWith(part)`.
    StartsWith(Term, Term),
    /// `text.endsWith(part)`.
    EndsWith(Term, Term),
    /// `text.contains(part)`.
    Contains(Term, Term),
}

/// Where an expression's fields come from.
pub trait Scope {
    /// The field's value now; `Null` when it is missing.
    fn field(&self, field: &Field) -> Cow<'_, Value>;
    /// The instant at which the question is asked.
    fn now(&self) -> Timestamp;
}

impl Term {
    /// The value in a scope.
    pub fn value<'a>(&'a self, scope: &'a impl Scope) -> Cow<'a, Value> {
        match self {
            Self::Const(value) => Cow::Borrowed(value),
            Self::Field(field) => scope.field(field),
            Self::Since(field) => Cow::Owned(match scope.field(field).as_ref() {
                Value::Number(ms) => Value::Number(Decimal::from(scope.now().as_millis()) - ms),
                _ => Value::Null,
            }),
            Self::Size(inner) => Cow::Owned(match inner.value(scope).as_ref() {
                Value::List(items) => Value::Number(items.len().into()),
                Value::Text(text) => Value::Number(text.chars().count().into()),
                Value::Map(map) => Value::Number(map.0.len().into()),
                _ => Value::Null,
            }),
            Self::Lower(inner) => Cow::Owned(lower(inner.value(scope).as_ref())),
            Self::Arithmetic(left, op, right) => {
                let (left, right) = (left.value(scope), right.value(scope));
                Cow::Owned(match (left.as_ref(), right.as_ref()) {
                    (Value::Number(a), Value::Number(b)) => op.apply(*a, *b),
                    _ => Value::Null,
                })
            }
        }
    }
}

impl Term {
    /// Calls `see` with this term and the parts of it.
    pub fn visit(&self, see: &mut impl FnMut(&Self)) {
        see(self);
        match self {
            Self::Const(_) | Self::Field(_) | Self::Since(_) => {}
            Self::Size(inner) | Self::Lower(inner) => inner.visit(see),
            Self::Arithmetic(left, _, right) => {
                left.visit(see);
                right.visit(see);
            }
        }
    }
}

impl Arithmetic {
    fn apply(self, a: Decimal, b: Decimal) -> Value {
        let result = match self {
            Self::Add => a.checked_add(b),
            Self::Sub => a.checked_sub(b),
            Self::Mul => a.checked_mul(b),
        };
        result.map_or(Value::Null, Value::Number)
    }
}

impl Op {
    /// The comparison that holds with its sides exchanged.
    #[must_use]
    pub fn flipped(self) -> Self {
        match self {
            Self::Eq => Self::Eq,
            Self::Ne => Self::Ne,
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
        }
    }

    /// Whether the comparison holds between two values.
    pub fn holds(self, left: &Value, right: &Value) -> bool {
        match self {
            Self::Eq => left == right,
            Self::Ne => left != right,
            Self::Lt => left.compare(right) == Some(Ordering::Less),
            Self::Le => matches!(left.compare(right), Some(Ordering::Less | Ordering::Equal)),
            Self::Gt => left.compare(right) == Some(Ordering::Greater),
            Self::Ge => matches!(left.compare(right), Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

impl Predicate {
    /// Whether it holds in a scope.
    pub fn holds(&self, scope: &impl Scope) -> bool {
        match self {
            Self::Const(b) => *b,
            Self::All(parts) => parts.iter().all(|p| p.holds(scope)),
            Self::Any(parts) => parts.iter().any(|p| p.holds(scope)),
            Self::Not(inner) => !inner.holds(scope),
            Self::Compare(left, op, right) => op.holds(&left.value(scope), &right.value(scope)),
            Self::In(needle, list) => is_in(&needle.value(scope), &list.value(scope)),
            Self::Has(field) => *scope.field(field) != Value::Null,
            Self::Holds(term) => *term.value(scope) == Value::Bool(true),
            Self::StartsWith(text, part) => texts(text, part, scope, |t, p| t.starts_with(p)),
            Self::EndsWith(text, part) => texts(text, part, scope, |t, p| t.ends_with(p)),
            Self::Contains(text, part) => texts(text, part, scope, |t, p| t.contains(p)),
        }
    }

    /// Calls `see` with every term, the parts of terms included.
    pub fn visit(&self, see: &mut impl FnMut(&Term)) {
        match self {
            Self::Const(_) => {}
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|p| p.visit(see)),
            Self::Not(inner) => inner.visit(see),
            Self::Has(field) => see(&Term::Field(field.clone())),
            Self::Holds(term) => term.visit(see),
            Self::Compare(a, _, b)
            | Self::In(a, b)
            | Self::StartsWith(a, b)
            | Self::EndsWith(a, b)
            | Self::Contains(a, b) => {
                a.visit(see);
                b.visit(see);
            }
        }
    }

    /// The next instant after now at which the answer may change with nothing but time passing
    /// through a `since()`, as far as comparisons with constants tell.
    pub fn next_change(&self, scope: &impl Scope) -> Option<Timestamp> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().filter_map(|p| p.next_change(scope)).min(),
            Self::Not(inner) => inner.next_change(scope),
            Self::Compare(Term::Since(field), _, Term::Const(Value::Number(length)))
            | Self::Compare(Term::Const(Value::Number(length)), _, Term::Since(field)) => {
                boundary(scope, field, *length)
            }
            _ => None,
        }
    }
}

/// Where `since(x)` passes a length `d`: `>= d` turns at `x + d`, `> d` one millisecond later.
fn boundary(scope: &impl Scope, field: &Field, length: Decimal) -> Option<Timestamp> {
    let Value::Number(start) = *scope.field(field) else { return None };
    let at = Timestamp::from_millis(i64::try_from(start.checked_add(length)?.trunc()).ok()?);
    [at, at.plus_millis(1)].into_iter().find(|turn| *turn > scope.now())
}

fn lower(value: &Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(text.to_lowercase().into()),
        Value::List(items) => Value::List(items.iter().map(lower).collect()),
        other => other.clone(),
    }
}

fn is_in(needle: &Value, list: &Value) -> bool {
    match list {
        Value::List(items) => items.contains(needle),
        Value::Map(map) => needle.as_text().is_some_and(|key| map.get(key).is_some()),
        _ => false,
    }
}

fn texts(text: &Term, part: &Term, scope: &impl Scope, test: impl Fn(&str, &str) -> bool) -> bool {
    match (text.value(scope).as_ref(), part.value(scope).as_ref()) {
        (Value::Text(text), Value::Text(part)) => test(text, part),
        _ => false,
    }
}
