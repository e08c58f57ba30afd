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

use crate::id::Word;
use crate::money::{TENS, digits};
use crate::score::ScoreName;
use crate::time::Timestamp;
use crate::value::{Properties, Value};

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
    /// `clv_12m` and other scores: what a model said of the customer.
    Score(ScoreName),
    /// `order.weekday`: `monday` to `sunday`, where the programme is.
    OrderWeekday,
    /// `order.day`: month and day, as `03-14`, where the programme is.
    OrderDay,
    /// `02-29`, on the day that stands for it in a year without one; nothing on any other day.
    OrderLeapDay,
}

impl Field {
    /// Whether only a member has it.
    pub fn is_of_member(&self) -> bool {
        matches!(self, Self::Impact(_) | Self::PointsAvailable | Self::PointsEarned | Self::Tier | Self::Member)
    }

    /// Whether the field says something of the event or the customer, which an order's record does not hold.
    pub fn is_beyond_order(&self) -> bool {
        self.is_of_customer() || matches!(self, Self::Event(_))
    }

    /// Whether the field is an amount of money in an order's currency.
    pub fn is_amount(&self) -> bool {
        matches!(self, Self::OrderEligible | Self::OrderTotal | Self::ProductPrice)
    }

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
                | Self::OrderWeekday
                | Self::OrderDay
                | Self::OrderLeapDay
                | Self::ProductId
                | Self::ProductTags
                | Self::ProductPrice
                | Self::ProductQuantity
                | Self::ProductImpact(_)
                | Self::ProductAbout(_)
        )
    }
}

/// How two values are compared: one bit for each of less, equal and greater that it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Op {
    /// `==`
    Eq = 0b010,
    /// `!=`
    Ne = 0b101,
    /// `<`
    Lt = 0b001,
    /// `<=`
    Le = 0b011,
    /// `>`
    Gt = 0b100,
    /// `>=`
    Ge = 0b110,
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

    /// The field's value without building a [`Value`] for it: what evaluation reads. A scope that
    /// keeps texts and tags in other shapes answers here, so that asking allocates nothing.
    #[inline]
    fn view(&self, field: &Field) -> View<'_> {
        View::from_cow(self.field(field))
    }

    /// The next instant at which the field changes by itself, because something leaves its window.
    fn moves(&self, _field: &Field) -> Option<Timestamp> {
        None
    }

    /// The next instant at which the field may, by itself, compare otherwise with a number.
    fn turns(&self, field: &Field, _op: Op, _number: Decimal) -> Option<Timestamp> {
        self.moves(field)
    }
}

/// A value as evaluation sees it: scalars by value, texts and lists where they lie.
#[derive(Clone, Debug)]
pub enum View<'a> {
    /// Missing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// An exact decimal.
    Number(Decimal),
    /// A text.
    Text(&'a str),
    /// A list of texts.
    Texts(&'a [Word]),
    /// A list.
    List(&'a [Value]),
    /// Named values.
    Map(&'a Properties),
    /// A text, list or map that was made for this question.
    Owned(Value),
}

impl<'a> View<'a> {
    /// A value where it lies.
    #[inline]
    pub fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(yes) => Self::Bool(*yes),
            Value::Number(n) => Self::Number(*n),
            Value::Text(text) => Self::Text(text),
            Value::List(items) => Self::List(items),
            Value::Map(map) => Self::Map(map),
        }
    }

    /// A value where it lies, or as it was made.
    #[inline]
    pub fn from_cow(value: Cow<'a, Value>) -> Self {
        match value {
            Cow::Borrowed(value) => Self::of(value),
            Cow::Owned(value) => Self::made(value),
        }
    }

    /// A value that was made for this question.
    #[inline]
    pub fn made(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(yes) => Self::Bool(yes),
            Value::Number(n) => Self::Number(n),
            value => Self::Owned(value),
        }
    }

    /// The value itself.
    pub fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(yes) => Value::Bool(yes),
            Self::Number(n) => Value::Number(n),
            Self::Text(text) => Value::from(text),
            Self::Texts(texts) => Value::List(texts.iter().map(|text| Value::from(&**text)).collect()),
            Self::List(items) => Value::List(items.to_vec()),
            Self::Map(map) => Value::Map(map.clone()),
            Self::Owned(value) => value,
        }
    }

    /// What was made for this question, seen as what lies elsewhere.
    #[inline]
    fn lying(&self) -> View<'_> {
        match self {
            Self::Null => View::Null,
            Self::Bool(yes) => View::Bool(*yes),
            Self::Number(n) => View::Number(*n),
            Self::Text(text) => View::Text(text),
            Self::Texts(texts) => View::Texts(texts),
            Self::List(items) => View::List(items),
            Self::Map(map) => View::Map(map),
            Self::Owned(value) => View::of(value),
        }
    }

    #[inline]
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Owned(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Numbers, texts and yes-or-no have an order among themselves; nothing else has one.
    #[inline]
    fn compare(&self, other: &View<'_>) -> Option<Ordering> {
        match (self, other) {
            (View::Number(a), View::Number(b)) => Some(compare_numbers(*a, *b)),
            (View::Bool(a), View::Bool(b)) => Some(a.cmp(b)),
            _ => Some(self.text()?.cmp(other.text()?)),
        }
    }

    #[inline]
    fn equals(&self, other: &View<'_>) -> bool {
        match (self, other) {
            (View::Number(a), View::Number(b)) => compare_numbers(*a, *b).is_eq(),
            (View::Text(a), View::Text(b)) => same(a, b),
            (View::Bool(a), View::Bool(b)) => a == b,
            (View::Null, View::Null) => true,
            (View::Null | View::Number(_) | View::Bool(_), _) | (_, View::Null | View::Number(_) | View::Bool(_)) => {
                false
            }
            _ => self.clone().into_value() == other.clone().into_value(),
        }
    }

    /// Milliseconds from this instant to now.
    #[inline]
    fn since(&self, now: Timestamp) -> View<'static> {
        let Self::Number(instant) = self else { return View::Null };
        match whole(*instant) {
            Some(ms) => View::Number(now.as_millis().saturating_sub(ms).into()),
            None => Decimal::from(now.as_millis()).checked_sub(*instant).map_or(View::Null, View::Number),
        }
    }

    fn size(&self) -> View<'static> {
        let length = match self.lying() {
            View::Text(text) => text.chars().count(),
            View::Texts(texts) => texts.len(),
            View::List(items) => items.len(),
            View::Map(map) => map.0.len(),
            _ => return View::Null,
        };
        View::Number(length.into())
    }

    fn lower(&self) -> View<'static> {
        let small = |text: &str| Value::Text(text.to_lowercase().into());
        match self.lying() {
            View::Text(text) => View::Owned(small(text)),
            View::Texts(texts) => View::Owned(Value::List(texts.iter().map(|text| small(text)).collect())),
            View::List(items) => {
                View::Owned(Value::List(items.iter().map(|item| View::of(item).lower().into_value()).collect()))
            }
            View::Number(n) => View::Number(n),
            View::Bool(yes) => View::Bool(yes),
            _ => View::Null,
        }
    }

    #[inline]
    fn contains(&self, needle: &View<'_>) -> bool {
        match (self, needle.text()) {
            (View::List(items), Some(text)) => {
                items.iter().any(|item| matches!(item, Value::Text(own) if same(own, text)))
            }
            (View::Texts(texts), Some(text)) => texts.iter().any(|item| same(item, text)),
            (View::List(items), None) => items.iter().any(|item| View::of(item).equals(needle)),
            (View::Map(map), Some(key)) => map.get(key).is_some(),
            (View::Owned(value), _) => View::of(value).contains(needle),
            _ => false,
        }
    }
}

/// Whether two texts are the same. Names and tags have a word or two, for which comparing bytes by a call
/// takes longer than the comparison.
#[inline]
fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    match a.len() {
        length if length != b.len() => false,
        4..8 => a.first_chunk::<4>() == b.first_chunk() && a.last_chunk::<4>() == b.last_chunk(),
        8..=16 => a.first_chunk::<8>() == b.first_chunk() && a.last_chunk::<8>() == b.last_chunk(),
        _ => a == b,
    }
}

/// A number without decimal places that an `i64` holds.
#[inline]
fn whole(n: Decimal) -> Option<i64> {
    if n.scale() == 0 { digits(n) } else { None }
}

/// Exact; the usual case, as many decimal places on either side, stands where it is asked for.
#[inline]
fn compare_numbers(a: Decimal, b: Decimal) -> Ordering {
    match (digits(a), digits(b)) {
        (Some(m), Some(n)) if a.scale() == b.scale() => m.cmp(&n),
        _ => compare_scaled(a, b),
    }
}

/// Exact, where one side has a few more decimal places or many digits.
#[inline(never)]
fn compare_scaled(a: Decimal, b: Decimal) -> Ordering {
    let (Some(m), Some(n)) = (digits(a), digits(b)) else { return a.cmp(&b) };
    let (here, there) = (a.scale(), b.scale());
    // 63 bits times at most 10^18 fit 128.
    match TENS.get(here.abs_diff(there) as usize) {
        Some(tens) if here < there => (i128::from(m) * i128::from(*tens)).cmp(&n.into()),
        Some(tens) => i128::from(m).cmp(&(i128::from(n) * i128::from(*tens))),
        None => a.cmp(&b),
    }
}

impl Term {
    /// The value in a scope.
    pub fn value<'a>(&'a self, scope: &'a impl Scope) -> Cow<'a, Value> {
        match self {
            Self::Const(value) => Cow::Borrowed(value),
            Self::Field(field) => scope.field(field),
            _ => Cow::Owned(self.view(scope).into_value()),
        }
    }

    /// The value in a scope, where it lies.
    #[inline]
    pub(crate) fn view<'a>(&'a self, scope: &'a impl Scope) -> View<'a> {
        match self {
            Self::Const(value) => View::of(value),
            Self::Field(field) => scope.view(field),
            Self::Since(field) => scope.view(field).since(scope.now()),
            _ => self.computed(scope),
        }
    }

    fn computed(&self, scope: &impl Scope) -> View<'static> {
        match self {
            Self::Size(inner) => inner.view(scope).size(),
            Self::Lower(inner) => inner.view(scope).lower(),
            Self::Arithmetic(left, op, right) => match (left.view(scope), right.view(scope)) {
                (View::Number(a), View::Number(b)) => op.apply(a, b).map_or(View::Null, View::Number),
                _ => View::Null,
            },
            Self::Const(_) | Self::Field(_) | Self::Since(_) => View::Null,
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

    /// Whether a field is read that is one of these.
    pub fn reads(&self, is_one: impl Fn(&Field) -> bool) -> bool {
        let mut found = false;
        self.visit(&mut |term| found |= term.names(&is_one));
        found
    }

    /// Whether this very term is a field that is one of these.
    fn names(&self, is_one: impl Fn(&Field) -> bool) -> bool {
        matches!(self, Self::Field(field) | Self::Since(field) if is_one(field))
    }
}

impl Arithmetic {
    fn apply(self, a: Decimal, b: Decimal) -> Option<Decimal> {
        match self {
            Self::Add => a.checked_add(b),
            Self::Sub => a.checked_sub(b),
            Self::Mul => a.checked_mul(b),
        }
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
        self.between(&View::of(left), &View::of(right))
    }

    /// A time that has passed beside a constant length: whole milliseconds as a rule.
    #[inline]
    fn of_since(self, start: &View<'_>, now: Timestamp, length: &Value) -> bool {
        if let (View::Number(start), Value::Number(length)) = (start, length)
            && let (Some(start), Some(length)) = (whole(*start), whole(*length))
        {
            return self.accepts(now.as_millis().saturating_sub(start).cmp(&length));
        }
        self.between(&start.since(now), &View::of(length))
    }

    /// A field beside a constant, as most questions are.
    #[inline]
    fn of_field(self, left: &View<'_>, right: &Value) -> bool {
        match (left, right) {
            (View::Number(a), Value::Number(b)) => self.accepts(compare_numbers(*a, *b)),
            (View::Text(a), Value::Text(b)) if self == Self::Eq => same(a, b),
            (View::Null, Value::Number(_) | Value::Text(_) | Value::Bool(_)) => self == Self::Ne,
            _ => self.between(left, &View::of(right)),
        }
    }

    #[inline]
    pub(crate) fn accepts(self, order: Ordering) -> bool {
        let bit = match order {
            Ordering::Less => Self::Lt,
            Ordering::Equal => Self::Eq,
            Ordering::Greater => Self::Gt,
        };
        self as u8 & bit as u8 != 0
    }

    #[inline]
    fn between(self, left: &View<'_>, right: &View<'_>) -> bool {
        match self {
            Self::Eq => left.equals(right),
            Self::Ne => !left.equals(right),
            _ => left.compare(right).is_some_and(|order| self.accepts(order)),
        }
    }
}

impl Predicate {
    /// Whether it holds in a scope.
    #[inline]
    pub fn holds(&self, scope: &impl Scope) -> bool {
        match self {
            Self::Compare(Term::Field(field), op, Term::Const(value)) => op.of_field(&scope.view(field), value),
            Self::Const(b) => *b,
            _ => self.composed(scope),
        }
    }

    /// Whatever is neither a field beside a constant nor known beforehand.
    fn composed(&self, scope: &impl Scope) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|p| p.holds(scope)),
            Self::Any(parts) => parts.iter().any(|p| p.holds(scope)),
            Self::Not(inner) => !inner.holds(scope),
            Self::Compare(Term::Since(field), op, Term::Const(length)) => {
                op.of_since(&scope.view(field), scope.now(), length)
            }
            Self::In(Term::Const(needle), Term::Field(list)) => scope.view(list).contains(&View::of(needle)),
            _ => self.seldom(scope),
        }
    }

    /// What is asked seldom enough to stand apart, so that the usual questions need little room.
    #[inline(never)]
    fn seldom(&self, scope: &impl Scope) -> bool {
        match self {
            Self::Compare(left, op, right) => op.between(&left.view(scope), &right.view(scope)),
            Self::In(needle, list) => list.view(scope).contains(&needle.view(scope)),
            Self::Has(field) => !matches!(scope.view(field), View::Null),
            Self::Holds(term) => matches!(term.view(scope), View::Bool(true)),
            Self::StartsWith(text, part) => texts(text, part, scope, |t, p| t.starts_with(p)),
            Self::EndsWith(text, part) => texts(text, part, scope, |t, p| t.ends_with(p)),
            Self::Contains(text, part) => texts(text, part, scope, |t, p| t.contains(p)),
            Self::Const(_) | Self::All(_) | Self::Any(_) | Self::Not(_) => self.holds(scope),
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

    /// Whether a field is read that is one of these.
    pub fn reads(&self, is_one: impl Fn(&Field) -> bool) -> bool {
        let mut found = false;
        self.visit(&mut |term| found |= term.names(&is_one));
        found
    }

    /// Whether [`Self::next_change`] tells of every change that time alone brings: each `since()` is compared
    /// with a constant.
    pub fn is_foretold(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().all(Self::is_foretold),
            Self::Not(inner) => inner.is_foretold(),
            Self::Compare(Term::Since(_), _, Term::Const(Value::Number(_)))
            | Self::Compare(Term::Const(Value::Number(_)), _, Term::Since(_)) => true,
            _ => !self.tells_time(),
        }
    }

    /// Whether there is a `since()` in it.
    pub fn tells_time(&self) -> bool {
        let mut since = false;
        self.visit(&mut |term| since |= matches!(term, Term::Since(_)));
        since
    }

    /// The next instant after now at which the answer may change with nothing but time passing: through a
    /// `since()`, as far as comparisons with constants tell, or because something leaves a window.
    pub fn next_change(&self, scope: &impl Scope) -> Option<Timestamp> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().filter_map(|p| p.next_change(scope)).min(),
            Self::Not(inner) => inner.next_change(scope),
            Self::Compare(Term::Since(field), _, Term::Const(Value::Number(length)))
            | Self::Compare(Term::Const(Value::Number(length)), _, Term::Since(field)) => {
                boundary(scope, field, *length).into_iter().chain(scope.moves(field)).min()
            }
            Self::Compare(Term::Field(field), op, Term::Const(Value::Number(number))) => {
                scope.turns(field, *op, *number)
            }
            _ => {
                let mut next = None;
                self.visit(&mut |term| {
                    if let Term::Field(field) | Term::Since(field) = term {
                        next = next.into_iter().chain(scope.moves(field)).min();
                    }
                });
                next
            }
        }
    }
}

/// Where `since(x)` passes a length `d`: `>= d` turns at `x + d`, `> d` one millisecond later.
fn boundary(scope: &impl Scope, field: &Field, length: Decimal) -> Option<Timestamp> {
    let View::Number(start) = scope.view(field) else { return None };
    let ms = match (whole(start), whole(length)) {
        (Some(start), Some(length)) => start.checked_add(length)?,
        _ => i64::try_from(start.checked_add(length)?.trunc()).ok()?,
    };
    let at = Timestamp::from_millis(ms);
    [at, at.plus_millis(1)].into_iter().find(|turn| *turn > scope.now())
}

fn texts(text: &Term, part: &Term, scope: &impl Scope, test: impl Fn(&str, &str) -> bool) -> bool {
    match (text.view(scope).text(), part.view(scope).text()) {
        (Some(text), Some(part)) => test(text, part),
        _ => false,
    }
}
