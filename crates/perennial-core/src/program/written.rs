//! Written: questions as a programme writes them, for what is said of them.

use rust_decimal::Decimal;

use super::lower::{self, Names};
use crate::expr::{Arithmetic, Field, Op, Predicate, Term};
use crate::time::{Span, Timestamp};
use crate::value::Value;

impl Names {
    /// One question; conditions of several are written by their parts.
    pub(super) fn written(&self, question: &Predicate) -> String {
        match question {
            Predicate::Has(field) => format!("has({})", self.field(field)),
            Predicate::Holds(term) => self.term(term),
            Predicate::Compare(a, op, b) => format!("{} {} {}", self.beside(a, b), sign(*op), self.beside(b, a)),
            Predicate::In(a, b) => format!("{} in {}", self.term(a), self.term(b)),
            Predicate::StartsWith(a, b) => format!("{}.startsWith({})", self.term(a), self.term(b)),
            Predicate::EndsWith(a, b) => format!("{}.endsWith({})", self.term(a), self.term(b)),
            Predicate::Contains(a, b) => format!("{}.contains({})", self.term(a), self.term(b)),
            Predicate::Const(yes) => yes.to_string(),
            Predicate::All(_) | Predicate::Any(_) | Predicate::Not(_) => "this".into(),
        }
    }

    /// A value.
    pub(super) fn term(&self, term: &Term) -> String {
        match term {
            Term::Const(value) => constant(value),
            Term::Field(field) => self.field(field),
            Term::Since(field) => format!("since({})", self.field(field)),
            Term::Size(inner) => format!("size({})", self.term(inner)),
            Term::Lower(inner) => format!("lower({})", self.term(inner)),
            Term::Arithmetic(a, op, b) => {
                let sign = match op {
                    Arithmetic::Add => '+',
                    Arithmetic::Sub => '-',
                    Arithmetic::Mul => '*',
                };
                format!("({} {sign} {})", self.term(a), self.term(b))
            }
        }
    }

    /// A value beside another one: a number means a length or an instant beside one.
    fn beside(&self, term: &Term, other: &Term) -> String {
        let ms = |n: &Decimal| i64::try_from(*n).unwrap_or_default();
        match (term, other) {
            (Term::Const(Value::Number(n)), Term::Since(_)) => Span { months: 0, millis: ms(n) }.to_string(),
            (Term::Const(Value::Number(n)), Term::Field(field)) if self.is_instant(field) => {
                format!("timestamp('{}')", Timestamp::from_millis(ms(n)))
            }
            _ => self.term(term),
        }
    }

    fn field(&self, field: &Field) -> String {
        match field {
            Field::Event(path) => format!("event.{}", path.join(".")),
            Field::ProductImpact(unit) => format!("product.impact.{unit}"),
            Field::ProductAbout(name) => format!("product.{name}"),
            Field::Trait(name) => format!("customer.{name}"),
            Field::Feature(at) => self.features.get(usize::from(*at)).map_or_else(String::new, |f| f.0.to_string()),
            Field::Impact(unit) => format!("impact.{unit}"),
            Field::Score(score) => score.word().into(),
            built_in => lower::name_of(built_in).into(),
        }
    }
}

fn sign(op: Op) -> &'static str {
    match op {
        Op::Eq => "==",
        Op::Ne => "!=",
        Op::Lt => "<",
        Op::Le => "<=",
        Op::Gt => ">",
        Op::Ge => ">=",
    }
}

fn constant(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(n) => n.normalize().to_string(),
        Value::Text(text) => format!("'{text}'"),
        Value::List(items) => format!("[{}]", items.iter().map(constant).collect::<Vec<_>>().join(", ")),
        Value::Map(_) => "{}".into(),
    }
}
