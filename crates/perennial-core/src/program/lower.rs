//! Expressions: CEL text, parsed by the crate, typed and lowered to [`crate::expr`].
//!
//! Promise: what comes out names only fields that can be read where the expression stands, and
//! compares only what can be compared; so it always answers.
//! Absent on purpose: loops, `? :`, maps and everything else of CEL that a rule does not need.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};
use cel::parser::Parser;
use rust_decimal::Decimal;

use super::TraitKind;
use super::problem::{did_you_mean, one_of};
use crate::event::{ORDER_CANCELLED, ORDER_COMPLETED, ORDER_REFUNDED, ORDER_UPDATED};
use crate::expr::{Arithmetic, Field, Op, Predicate, Term};
use crate::score::{ModelKind, ScoreName};
use crate::time::{Span, Timestamp, WEEKDAYS};
use crate::value::Value;

/// The type of a term, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// A property of an event: anything.
    Any,
    Number,
    Text,
    Bool,
    List,
    Instant,
    Duration,
}

/// What a programme declares that expressions may name.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) traits: Vec<(Box<str>, Type)>,
    /// Traits that are calendar dates.
    pub(super) dates: Vec<Box<str>>,
    /// In the order of the programme's features.
    pub(super) features: Vec<(Box<str>, Type)>,
    /// Features that count: whole numbers from 0.
    pub(super) counts: Vec<Box<str>>,
    pub(super) levels: Vec<Box<str>>,
    /// What an order's currency can be; empty where it can be any.
    pub(super) currencies: Vec<Box<str>>,
    /// Kinds of models that are trained: their scores can be read.
    pub(super) models: Vec<ModelKind>,
}

impl Names {
    fn feature(&self, field: &Field) -> Option<&(Box<str>, Type)> {
        if let Field::Feature(at) = field { self.features.get(usize::from(*at)) } else { None }
    }

    /// Whether it is a feature that counts.
    pub(super) fn is_count(&self, field: &Field) -> bool {
        self.feature(field).is_some_and(|(name, _)| self.counts.contains(name))
    }

    /// Whether it is a trait that is a calendar date.
    pub(super) fn is_date(&self, field: &Field) -> bool {
        matches!(field, Field::Trait(name) if self.dates.contains(name))
    }

    /// Whether it is an instant.
    pub(super) fn is_instant(&self, field: &Field) -> bool {
        let kind = match field {
            Field::FirstOrder | Field::LastOrder => Some(Type::Instant),
            Field::Score(score) => Some(type_of(*score)),
            field => self.feature(field).map(|(_, kind)| *kind),
        };
        kind == Some(Type::Instant)
    }
}

/// What can be read where an expression stands.
#[allow(clippy::struct_excessive_bools)] // four independent doors, not a state
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reach {
    pub(super) event: bool,
    pub(super) order: bool,
    pub(super) product: bool,
    pub(super) customer: bool,
}

impl Reach {
    /// Conditions on the customer alone.
    pub(super) const CUSTOMER: Self = Self { event: false, order: false, product: false, customer: true };

    /// Conditions on an event of this name, which carries an order if it is about one.
    pub(super) fn event(name: &str) -> Self {
        Self { event: true, order: is_about_an_order(name), product: false, customer: true }
    }

    /// The same for features, which are made of events alone.
    pub(super) fn feature(name: &str) -> Self {
        Self { customer: false, ..Self::event(name) }
    }

    /// The lines of an order.
    pub(super) fn lines(name: &str) -> Self {
        Self { product: true, ..Self::event(name) }
    }
}

/// Whether events of a name carry an order.
pub(super) fn is_about_an_order(event: &str) -> bool {
    matches!(event, ORDER_COMPLETED | ORDER_UPDATED | ORDER_REFUNDED | ORDER_CANCELLED)
}

/// An expression that gives yes or no, or everything that is wrong with it.
pub(super) fn predicate(text: &str, names: &Names, reach: Reach) -> Result<Predicate, Vec<String>> {
    let tree = parse(text)?;
    let mut lowering = Lowering { names, reach, wrong: Vec::new() };
    let lowered = lowering.predicate(&tree);
    lowering.finish(lowered)
}

/// An expression that gives a value, with its type, or everything that is wrong with it.
pub(super) fn term(text: &str, names: &Names, reach: Reach) -> Result<(Term, Type), Vec<String>> {
    let tree = parse(text)?;
    let mut lowering = Lowering { names, reach, wrong: Vec::new() };
    let lowered = lowering.term(&tree);
    lowering.finish(lowered)
}

/// Deeper than anybody writes, shallow enough for any stack.
const DEPTH_MAX: u16 = 40;

fn parse(text: &str) -> Result<IdedExpr, Vec<String>> {
    Parser::default().max_recursion_depth(DEPTH_MAX).parse(text).map_err(|errors| {
        let first = errors.errors.first();
        vec![first.map_or_else(|| "this is no expression".into(), |e| syntax(text, e))]
    })
}

fn syntax(text: &str, error: &cel::ParseError) -> String {
    if error.msg.contains("has() macro") {
        return "has() asks for a name with a dot, like has(customer.birthday); built-in names and features are \
                compared instead, like orders > 0"
            .into();
    }
    let column = usize::try_from(error.pos.1).unwrap_or(0);
    let rest: String = text.chars().skip(column.saturating_sub(1)).take(20).collect();
    let near = if rest.trim().is_empty() { "at its end".to_owned() } else { format!("near '{}'", rest.trim()) };
    let digits: String = text.chars().skip(column.saturating_sub(1)).take_while(char::is_ascii_digit).collect();
    if !digits.is_empty() && digits.parse::<i64>().is_err() {
        return format!("the number {digits} is too large: whole numbers have up to 18 digits");
    }
    let remedy = SLIPS.iter().find(|(wrong, _)| rest.starts_with(wrong)).map_or_else(
        || "compare like order.total > 100.00, join with && and ||, quote texts".into(),
        |(wrong, right)| format!("write {right} instead of {}", wrong.trim()),
    );
    format!("this is no expression, {near}: {remedy}")
}

/// What is written elsewhere, and what is written here.
const SLIPS: [(&str, &str); 12] = [
    ("=>", ">="),
    ("=<", "<="),
    ("=", "=="),
    ("and ", "&&"),
    ("AND ", "&&"),
    ("& ", "&&"),
    ("or ", "||"),
    ("OR ", "||"),
    ("| ", "||"),
    ("‘", "'"),
    ("’", "'"),
    ("“", "'"),
];

struct Lowering<'a> {
    names: &'a Names,
    reach: Reach,
    wrong: Vec<String>,
}

impl Lowering<'_> {
    fn finish<T>(self, lowered: Option<T>) -> Result<T, Vec<String>> {
        match lowered {
            Some(done) if self.wrong.is_empty() => Ok(done),
            _ if self.wrong.is_empty() => Err(vec!["this is no expression".into()]),
            _ => Err(self.wrong),
        }
    }

    fn wrong<T>(&mut self, message: impl Into<String>) -> Option<T> {
        self.wrong.push(message.into());
        None
    }

    fn predicate(&mut self, tree: &IdedExpr) -> Option<Predicate> {
        match &tree.expr {
            Expr::Literal(LiteralValue::Boolean(yes)) => Some(Predicate::Const(*yes.inner())),
            Expr::Select(select) if select.test => self.has(select),
            Expr::Comprehension(_) => self.wrong("expressions cannot loop (all, exists, map, filter)"),
            Expr::Call(call) => match self.condition(call) {
                Some(lowered) => lowered,
                None => self.holds(tree),
            },
            _ => self.holds(tree),
        }
    }

    /// Operators and functions that give yes or no; `None` for the others.
    #[allow(clippy::option_option)]
    fn condition(&mut self, call: &CallExpr) -> Option<Option<Predicate>> {
        let args = &call.args;
        Some(match (call.func_name.as_str(), args.as_slice(), &call.target) {
            (operators::LOGICAL_AND, [_, _], _) => self.joined(call).map(Predicate::All),
            (operators::LOGICAL_OR, [_, _], _) => self.joined(call).map(Predicate::Any),
            (operators::LOGICAL_NOT, [inner], _) => self.predicate(inner).map(|p| Predicate::Not(Box::new(p))),
            (operators::EQUALS, [a, b], _) => self.compare(a, Op::Eq, b),
            (operators::NOT_EQUALS, [a, b], _) => self.compare(a, Op::Ne, b),
            (operators::LESS, [a, b], _) => self.compare(a, Op::Lt, b),
            (operators::LESS_EQUALS, [a, b], _) => self.compare(a, Op::Le, b),
            (operators::GREATER, [a, b], _) => self.compare(a, Op::Gt, b),
            (operators::GREATER_EQUALS, [a, b], _) => self.compare(a, Op::Ge, b),
            (operators::IN, [needle, list], _) => self.is_in(needle, list),
            ("startsWith", [part], Some(text)) => self.text(text, part, Predicate::StartsWith),
            ("endsWith", [part], Some(text)) => self.text(text, part, |t, p| ends_with(self.names, t, p)),
            ("contains", [part], Some(text)) => self.text(text, part, Predicate::Contains),
            _ => return None,
        })
    }

    /// The parts of a chain of the same operator, flat.
    fn joined(&mut self, call: &CallExpr) -> Option<Vec<Predicate>> {
        let mut parts = Vec::new();
        let mut complete = true;
        for arg in &call.args {
            match &arg.expr {
                Expr::Call(inner) if inner.func_name == call.func_name => match self.joined(inner) {
                    Some(more) => parts.extend(more),
                    None => complete = false,
                },
                _ => match self.predicate(arg) {
                    Some(part) => parts.push(part),
                    None => complete = false,
                },
            }
        }
        complete.then_some(parts)
    }

    fn holds(&mut self, tree: &IdedExpr) -> Option<Predicate> {
        match self.term(tree)? {
            (term, Type::Bool | Type::Any) => Some(Predicate::Holds(term)),
            (_, kind) => self.wrong(format!("{} is no condition: compare it with something", kind.noun())),
        }
    }

    fn has(&mut self, select: &SelectExpr) -> Option<Predicate> {
        let Some(mut path) = segments(&select.operand.expr) else {
            return self.wrong("has() asks for a name, like has(customer.birthday)");
        };
        path.push(&select.field);
        let (field, _) = self.field(&path)?;
        Some(Predicate::Has(field))
    }

    fn compare(&mut self, left: &IdedExpr, op: Op, right: &IdedExpr) -> Option<Predicate> {
        let (left, right) = (self.term(left), self.term(right));
        let ((left, a), (right, b)) = (left?, right?);
        if !a.compares_with(b) {
            return self.wrong(format!("{} cannot be compared with {}{}", a.noun(), b.noun(), hint(a, b)));
        }
        if !matches!(op, Op::Eq | Op::Ne) && (a.is_unordered() || b.is_unordered()) {
            let which = if a.is_unordered() { a } else { b };
            return self.wrong(format!("{} has no order: ask == or !=", which.noun()));
        }
        for (one, other) in [(&left, &right), (&right, &left)] {
            self.check_level(one, other)?;
            self.check_weekday(one, other)?;
            self.check_case(one, other)?;
        }
        // Constants stand on the right, where `next_change` and readers expect them.
        Some(match left {
            Term::Const(_) => Predicate::Compare(right, op.flipped(), left),
            _ => Predicate::Compare(left, op, right),
        })
    }

    /// A tier that is compared with something that is no level is a slip of the pen.
    fn check_level(&mut self, term: &Term, other: &Term) -> Option<()> {
        let (Term::Field(Field::Tier), Term::Const(constant)) = (term, other) else { return Some(()) };
        let written = texts(constant);
        let levels = || self.names.levels.iter().map(|level| &**level);
        let Some(level) = written.into_iter().find(|w| !levels().any(|level| level == *w)) else { return Some(()) };
        let hint = did_you_mean(level, levels());
        let known =
            if hint.is_empty() && levels().count() > 0 { format!(": levels are {}", one_of(levels())) } else { hint };
        self.wrong(format!("unknown tier '{level}'{known}"))
    }

    /// A day that is none, or one with a capital, would never come.
    fn check_weekday(&mut self, term: &Term, other: &Term) -> Option<()> {
        let (Term::Field(Field::OrderWeekday), Term::Const(constant)) = (term, other) else { return Some(()) };
        let Some(day) = texts(constant).into_iter().find(|day| !WEEKDAYS.contains(day)) else { return Some(()) };
        let hint = did_you_mean(day, WEEKDAYS);
        let hint = if hint.is_empty() { format!(": write {}", one_of(WEEKDAYS)) } else { hint };
        self.wrong(format!("unknown day '{day}'{hint}"))
    }

    /// A text with capitals is never in small letters.
    fn check_case(&mut self, term: &Term, other: &Term) -> Option<()> {
        let Term::Const(constant) = other else { return Some(()) };
        if let (Term::Lower(_), Value::Text(text)) = (term, constant)
            && text.to_lowercase() != **text
        {
            return self
                .wrong(format!("lower() has no capitals, so it is never '{text}': write '{}'", text.to_lowercase()));
        }
        Some(())
    }

    fn is_in(&mut self, needle: &IdedExpr, list: &IdedExpr) -> Option<Predicate> {
        let (needle, list) = (self.term(needle), self.term(list));
        let ((needle, kind), (list, holder)) = (needle?, list?);
        if !matches!(holder, Type::List | Type::Any) {
            return self.wrong(format!("'in' asks a list, and this is {}", holder.noun()));
        }
        if matches!(kind, Type::List | Type::Instant | Type::Duration) {
            return self.wrong(format!("{} is never in a list", kind.noun()));
        }
        self.check_level(&needle, &list)?;
        self.check_weekday(&needle, &list)?;
        self.check_case(&list, &needle)?;
        Some(Predicate::In(needle, list))
    }

    fn text(&mut self, text: &IdedExpr, part: &IdedExpr, make: impl Fn(Term, Term) -> Predicate) -> Option<Predicate> {
        let (text, part) = (self.term(text), self.term(part));
        let ((text, a), (part, b)) = (text?, part?);
        for kind in [a, b] {
            if !matches!(kind, Type::Text | Type::Any) {
                let hint = if kind == Type::List { ": ask \"'x' in list\"" } else { "" };
                return self
                    .wrong(format!("startsWith, endsWith and contains ask texts, and this is {}{hint}", kind.noun()));
            }
        }
        self.check_case(&text, &part)?;
        Some(make(text, part))
    }

    fn term(&mut self, tree: &IdedExpr) -> Option<(Term, Type)> {
        match &tree.expr {
            Expr::Literal(literal) => self.literal(literal),
            Expr::Ident(_) | Expr::Select(_) => {
                let Some(path) = segments(&tree.expr) else {
                    return self.wrong("a condition cannot be compared: join conditions with && and ||");
                };
                self.named(&path)
            }
            Expr::List(list) => self.list(&list.elements),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(_) => self.wrong("expressions cannot loop (all, exists, map, filter)"),
            _ => self.wrong("maps and structures are not part of rules"),
        }
    }

    fn literal(&mut self, literal: &LiteralValue) -> Option<(Term, Type)> {
        let (value, kind) = match literal {
            LiteralValue::Boolean(b) => (Value::Bool(*b.inner()), Type::Bool),
            LiteralValue::Int(n) => (Value::Number((*n.inner()).into()), Type::Number),
            LiteralValue::UInt(n) => (Value::Number((*n.inner()).into()), Type::Number),
            LiteralValue::Double(n) => match n.inner().to_string().parse::<Decimal>() {
                Ok(exact) => (Value::Number(exact.normalize()), Type::Number),
                Err(_) => return self.wrong(format!("the number {} is out of range", n.inner())),
            },
            LiteralValue::String(text) => (Value::from(text.inner()), Type::Text),
            LiteralValue::Null => (Value::Null, Type::Any),
            LiteralValue::Bytes(_) => return self.wrong("bytes are not part of rules: write a text in quotes"),
        };
        Some((Term::Const(value), kind))
    }

    fn list(&mut self, elements: &[IdedExpr]) -> Option<(Term, Type)> {
        let items: Vec<Option<(Term, Type)>> = elements.iter().map(|e| self.term(e)).collect();
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            match item? {
                (Term::Const(value), Type::Number | Type::Text | Type::Bool) => values.push(value),
                _ => return self.wrong("a list in an expression holds texts and numbers only"),
            }
        }
        Some((Term::Const(Value::List(values)), Type::List))
    }

    fn call(&mut self, call: &CallExpr) -> Option<(Term, Type)> {
        match (call.func_name.as_str(), call.args.as_slice(), call.target.as_deref()) {
            ("since", [instant], None) => self.since(instant),
            ("size", [inner], None) | ("size", [], Some(inner)) => match self.term(inner)? {
                (term, Type::List | Type::Text | Type::Any) => Some((Term::Size(Box::new(term)), Type::Number)),
                (_, kind) => self.wrong(format!("size() counts lists and texts, and this is {}", kind.noun())),
            },
            ("lower", [inner], None) => match self.term(inner)? {
                (term, kind @ (Type::List | Type::Text | Type::Any)) => Some((Term::Lower(Box::new(term)), kind)),
                (_, kind) => self.wrong(format!("lower() is for texts, and this is {}", kind.noun())),
            },
            ("duration", [length], None) => self.duration(length),
            ("timestamp", [instant], None) => self.timestamp(instant),
            (operators::ADD, [a, b], _) => self.arithmetic(a, Arithmetic::Add, b),
            (operators::SUBSTRACT, [a, b], _) => self.arithmetic(a, Arithmetic::Sub, b),
            (operators::MULTIPLY, [a, b], _) => self.arithmetic(a, Arithmetic::Mul, b),
            (operators::NEGATE, [inner], _) => self.negated(inner),
            (operators::CONDITIONAL, ..) => self.wrong("'? :' is not part of rules: write two rules"),
            (operators::DIVIDE | operators::MODULO, ..) => {
                self.wrong("division is not part of rules: multiply the other side")
            }
            (operators::INDEX | operators::OPT_INDEX, ..) => {
                self.wrong("[ ] is not part of rules: ask \"'x' in list\"")
            }
            (name, ..) if is_condition(name) => {
                self.wrong("a condition cannot be compared: join conditions with && and ||")
            }
            (name, ..) => {
                let known =
                    ["since", "has", "size", "lower", "duration", "timestamp", "startsWith", "endsWith", "contains"];
                let hint = if name.starts_with("get") {
                    ": ask order.weekday == 'tuesday', or order.day for the month and day".into()
                } else {
                    did_you_mean(name, known)
                };
                self.wrong(format!("unknown function '{name}'{hint}"))
            }
        }
    }

    fn since(&mut self, instant: &IdedExpr) -> Option<(Term, Type)> {
        match self.term(instant)? {
            (Term::Field(field), Type::Instant) => Some((Term::Since(field), Type::Duration)),
            (_, kind) => self.wrong(format!(
                "since() takes an instant like last_order or a feature of first or last, and this is {}",
                kind.noun()
            )),
        }
    }

    fn duration(&mut self, length: &IdedExpr) -> Option<(Term, Type)> {
        match self.term(length)? {
            (Term::Const(Value::Text(text)), _) => match text.parse::<Span>() {
                Ok(span) => self.exact(&text, span),
                Err(e) => self.wrong(e.to_string()),
            },
            _ => self.wrong("duration() takes a text like 'P90D'"),
        }
    }

    fn timestamp(&mut self, instant: &IdedExpr) -> Option<(Term, Type)> {
        match self.term(instant)? {
            (Term::Const(Value::Text(text)), _) => match text.parse::<Timestamp>() {
                Ok(at) => Some((Term::Const(at.as_millis().into()), Type::Instant)),
                Err(e) => self.wrong(e.to_string()),
            },
            _ => self.wrong("timestamp() takes a text like '2026-03-01T09:00:00Z'"),
        }
    }

    fn exact(&mut self, written: &str, span: Span) -> Option<(Term, Type)> {
        if span.months != 0 {
            let days = i64::from(span.months) * 30 + i64::from(span.months) / 2;
            return self
                .wrong(format!("'{written}' follows the calendar; here lengths are exact: write days, as P{days}D"));
        }
        Some((Term::Const(span.millis.into()), Type::Duration))
    }

    fn arithmetic(&mut self, a: &IdedExpr, op: Arithmetic, b: &IdedExpr) -> Option<(Term, Type)> {
        let (a, b) = (self.term(a), self.term(b));
        let ((a, left), (b, right)) = (a?, b?);
        for kind in [left, right] {
            if !matches!(kind, Type::Number | Type::Any) {
                return self.wrong(format!("+, - and * are for numbers, and this is {}", kind.noun()));
            }
        }
        Some((Term::Arithmetic(Box::new(a), op, Box::new(b)), Type::Number))
    }

    fn negated(&mut self, inner: &IdedExpr) -> Option<(Term, Type)> {
        match self.term(inner)? {
            (Term::Const(Value::Number(n)), Type::Number) => Some((Term::Const(Value::Number(-n)), Type::Number)),
            (term, Type::Number | Type::Any) => {
                let zero = Box::new(Term::Const(0.into()));
                Some((Term::Arithmetic(zero, Arithmetic::Sub, Box::new(term)), Type::Number))
            }
            (_, kind) => self.wrong(format!("- is for numbers, and this is {}", kind.noun())),
        }
    }

    /// A field, or a duration written bare: `P90D`.
    fn named(&mut self, path: &[&str]) -> Option<(Term, Type)> {
        if let [word] = path
            && let Ok(span) = word.parse::<Span>()
        {
            return self.exact(word, span);
        }
        let (field, kind) = self.field(path)?;
        Some((Term::Field(field), kind))
    }

    fn field(&mut self, path: &[&str]) -> Option<(Field, Type)> {
        let Some((field, kind)) = self.known(path) else {
            return self.unknown(path);
        };
        let r = self.reach;
        match (&field, path[0]) {
            (_, "event") if !r.event => {
                self.wrong("event.* is not known here: this is asked of the customer, not of an event")
            }
            (_, "order") if !r.order => self.wrong(format!("{} is only known on order events", path.join("."))),
            (_, "product") if !r.product => {
                self.wrong(format!("{} is only known in 'lines' of an earning rule, for each line", path.join(".")))
            }
            (field, name) if field.is_of_customer() && !r.customer => {
                self.wrong(format!("{name} is not known here: a feature is made of the event's own values"))
            }
            _ => Some((field, kind)),
        }
    }

    fn known(&self, path: &[&str]) -> Option<(Field, Type)> {
        Some(match path {
            ["event", rest @ ..] if !rest.is_empty() => {
                (Field::Event(rest.iter().map(|part| (*part).into()).collect()), Type::Any)
            }
            ["customer", name] => {
                let kind = self.names.traits.iter().find(|(known, _)| &**known == *name)?.1;
                (Field::Trait((*name).into()), kind)
            }
            ["impact", unit] => (Field::Impact((*unit).into()), Type::Number),
            ["product", "impact", unit] => (Field::ProductImpact((*unit).into()), Type::Number),
            [name] if self.feature(name).is_some() => self.feature(name)?,
            [name] if score(name).is_some_and(|score| self.names.models.contains(&score.kind())) => {
                let score = score(name)?;
                (Field::Score(score), type_of(score))
            }
            _ => built_in(&path.join("."))?,
        })
    }

    fn feature(&self, name: &str) -> Option<(Field, Type)> {
        let at = self.names.features.iter().position(|(known, _)| &**known == name)?;
        Some((Field::Feature(u16::try_from(at).ok()?), self.names.features[at].1))
    }

    fn unknown<T>(&mut self, path: &[&str]) -> Option<T> {
        let written = path.join(".");
        let known: Vec<String> = self.readable();
        let message = match path {
            ["customer", name] if self.names.traits.is_empty() => {
                format!("unknown trait '{name}': declare it under 'traits'")
            }
            [name] if score(name).is_some() => {
                let kind = score(name)?.kind().word();
                format!("'{name}' is said by a model: ask for it with models: {{ {kind}: {{ train: weekly }} }}")
            }
            ["event"] => "event.* needs a property's name, like event.activity".into(),
            ["customer" | "order" | "product" | "cart" | "points" | "impact"] => {
                let starting = known.iter().filter(|name| name.starts_with(&format!("{written}.")));
                format!("'{written}' needs a name after the dot: {}", one_of(starting.map(String::as_str)))
            }
            _ => {
                let hint = did_you_mean(&written, known.iter().map(String::as_str));
                let remedy = match path {
                    _ if !hint.is_empty() => hint,
                    ["customer", ..] => ": declare it under 'traits'".into(),
                    [word] => format!(": if it is a text, put quotes around it, as '{word}'"),
                    _ => hint,
                };
                format!("unknown field '{written}'{remedy}")
            }
        };
        self.wrong(message)
    }

    /// Every name that can be read here, for suggestions.
    fn readable(&self) -> Vec<String> {
        let r = self.reach;
        let mut names: Vec<String> = Vec::new();
        let visible = |name: &&str| match name.split('.').next() {
            Some("order") => r.order,
            Some("product") => r.product,
            _ => r.customer,
        };
        names.extend(BUILT_IN.iter().map(|(name, _, _)| *name).filter(visible).map(Into::into));
        if r.product {
            names.extend(PRODUCT_ABOUT.iter().chain(&["product.impact.<unit>"]).map(|name| (*name).to_owned()));
        }
        if r.customer {
            names.extend(self.names.traits.iter().map(|(name, _)| format!("customer.{name}")));
            names.extend(self.names.features.iter().map(|(name, _)| name.to_string()));
            names.push("impact.<unit>".into());
            let scores = ScoreName::ALL.into_iter().filter(|score| self.names.models.contains(&score.kind()));
            names.extend(scores.map(|score| score.word().into()));
        }
        names
    }
}

/// A date that ends with the order's day is the same day of another year; 29 February is kept on another
/// day where the year has none.
fn ends_with(names: &Names, text: Term, part: Term) -> Predicate {
    let is_yearly = match (&text, &part) {
        (Term::Field(Field::Trait(name)), Term::Field(Field::OrderDay)) => names.dates.contains(name),
        _ => false,
    };
    if !is_yearly {
        return Predicate::EndsWith(text, part);
    }
    let leap_day = Predicate::EndsWith(text.clone(), Term::Field(Field::OrderLeapDay));
    Predicate::Any(vec![Predicate::EndsWith(text, part), leap_day])
}

/// The texts of a constant, or of its items.
fn texts(constant: &Value) -> Vec<&str> {
    match constant {
        Value::List(items) => items.iter().filter_map(Value::as_text).collect(),
        value => value.as_text().into_iter().collect(),
    }
}

/// Names that every programme has.
const BUILT_IN: &[(&str, Field, Type)] = &[
    ("order.id", Field::OrderId, Type::Text),
    ("order.eligible", Field::OrderEligible, Type::Number),
    ("order.total", Field::OrderTotal, Type::Number),
    ("order.currency", Field::OrderCurrency, Type::Text),
    ("order.lines", Field::OrderLines, Type::List),
    ("order.weekday", Field::OrderWeekday, Type::Text),
    ("order.day", Field::OrderDay, Type::Text),
    ("product.id", Field::ProductId, Type::Text),
    ("product.tags", Field::ProductTags, Type::List),
    ("product.price", Field::ProductPrice, Type::Number),
    ("product.quantity", Field::ProductQuantity, Type::Number),
    ("orders", Field::Orders, Type::Number),
    ("spend", Field::Spend, Type::Number),
    ("first_order", Field::FirstOrder, Type::Instant),
    ("last_order", Field::LastOrder, Type::Instant),
    ("cart.value", Field::CartValue, Type::Number),
    ("points.available", Field::PointsAvailable, Type::Number),
    ("points.earned", Field::PointsEarned, Type::Number),
    ("tier", Field::Tier, Type::Text),
    ("member", Field::Member, Type::Bool),
];

fn score(name: &str) -> Option<ScoreName> {
    ScoreName::ALL.into_iter().find(|score| score.word() == name)
}

fn type_of(score: ScoreName) -> Type {
    match score {
        ScoreName::Clv12m | ScoreName::PAlive | ScoreName::ChurnRisk => Type::Number,
        ScoreName::NextPurchase => Type::Instant,
        ScoreName::Cluster => Type::Text,
    }
}

/// What an order's line says of its product.
const PRODUCT_ABOUT: [&str; 3] = ["product.category", "product.brand", "product.name"];

fn built_in(name: &str) -> Option<(Field, Type)> {
    if PRODUCT_ABOUT.contains(&name) {
        return Some((Field::ProductAbout(name["product.".len()..].into()), Type::Text));
    }
    BUILT_IN.iter().find(|(known, _, _)| *known == name).map(|(_, field, kind)| (field.clone(), *kind))
}

/// The name of a field that every programme has.
pub(super) fn name_of(field: &Field) -> &'static str {
    BUILT_IN.iter().find(|(_, known, _)| known == field).map_or("", |(name, _, _)| name)
}

/// Words that a feature cannot be called, because they mean something already.
pub(super) fn is_taken(name: &str) -> bool {
    taken().any(|taken| taken == name)
}

/// All of these words.
pub(super) fn taken() -> impl Iterator<Item = &'static str> {
    const ROOTS: &[&str] = &["event", "order", "product", "customer", "cart", "points", "impact"];
    const WORDS: &[&str] = &["in", "true", "false", "null", "since", "has", "size", "lower", "duration", "timestamp"];
    let built_in = BUILT_IN.iter().map(|(name, _, _)| *name).filter(|name| !name.contains('.'));
    let scores = ScoreName::ALL.into_iter().map(ScoreName::word);
    ROOTS.iter().chain(WORDS).copied().chain(built_in).chain(scores)
}

fn segments(expr: &Expr) -> Option<Vec<&str>> {
    match expr {
        Expr::Ident(name) => Some(vec![name]),
        Expr::Select(select) if !select.test => {
            let mut path = segments(&select.operand.expr)?;
            path.push(&select.field);
            Some(path)
        }
        _ => None,
    }
}

fn is_condition(operator: &str) -> bool {
    use operators::{
        EQUALS, GREATER, GREATER_EQUALS, IN, LESS, LESS_EQUALS, LOGICAL_AND, LOGICAL_NOT, LOGICAL_OR, NOT_EQUALS,
    };
    [
        EQUALS,
        NOT_EQUALS,
        GREATER,
        GREATER_EQUALS,
        LESS,
        LESS_EQUALS,
        LOGICAL_AND,
        LOGICAL_OR,
        LOGICAL_NOT,
        IN,
        "startsWith",
        "endsWith",
        "contains",
    ]
    .contains(&operator)
}

/// What would make two types comparable.
fn hint(a: Type, b: Type) -> &'static str {
    match (a, b) {
        (Type::Instant, Type::Duration) | (Type::Duration, Type::Instant) => ": ask since(last_order) >= P90D",
        (Type::Duration, _) | (_, Type::Duration) => ": write a length like P90D beside since()",
        (Type::Instant, _) | (_, Type::Instant) => {
            ": ask since(...) >= P90D, or write timestamp('2026-03-01T09:00:00Z')"
        }
        (Type::List, _) | (_, Type::List) => ": ask \"'x' in list\" or size(list)",
        (Type::Text, Type::Number) | (Type::Number, Type::Text) => ": numbers have no quotes",
        _ => "",
    }
}

impl Type {
    /// The type of a trait's values.
    pub(super) fn of_trait(kind: TraitKind) -> Self {
        match kind {
            TraitKind::Text | TraitKind::Email | TraitKind::Phone | TraitKind::Date => Self::Text,
            TraitKind::Number => Self::Number,
            TraitKind::Bool => Self::Bool,
            TraitKind::List => Self::List,
        }
    }

    fn compares_with(self, other: Self) -> bool {
        // An event's property is plain JSON: never an instant or a duration.
        let plain = |t| !matches!(t, Self::Instant | Self::Duration);
        self == other || (self == Self::Any && plain(other)) || (other == Self::Any && plain(self))
    }

    fn is_unordered(self) -> bool {
        matches!(self, Self::Bool | Self::List)
    }

    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Any => "a property",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Bool => "a yes or no",
            Self::List => "a list",
            Self::Instant => "an instant",
            Self::Duration => "a length of time",
        }
    }
}
