//! Possible: whether a condition can hold at all, and whether it can fail to.
//!
//! Promise: what is said never to hold never does. Every value that a condition asks about is tried at the
//! constants it is compared with and between them, for nothing else can tell its values apart.
//! Absent on purpose: what two values have to do with each other. Each is taken to be free, so some
//! contradictions stay unseen; none is seen that is not there.

use std::borrow::Cow;

use rust_decimal::Decimal;

use super::lower::Names;
use super::problem::{joined, one_of};
use crate::expr::{Field, Op, Predicate, Scope, Term};
use crate::score::ScoreName;
use crate::time::{Timestamp, WEEKDAYS};
use crate::value::Value;

/// What is wrong with a condition that never holds, or that always does though it asks several things;
/// a single question that always holds is a way to say everybody.
pub(super) fn slip(condition: &Predicate, names: &Names) -> Option<String> {
    if let Some(date) = date_beside_day(condition, names) {
        return Some(format!(
            "{date} is a whole date, and order.day only its month and day: write {date}.endsWith(order.day)"
        ));
    }
    if let Some(clash) = clash(condition, true, names) {
        return Some(match clash.as_slice() {
            [one] => format!("{} never holds{}: ask for what it can be", one.written(names), nature(&one.of, names)),
            several => {
                let questions: Vec<String> = several.iter().map(|asked| asked.written(names)).collect();
                let questions = joined(questions.iter().map(String::as_str), "and");
                format!("{questions} never hold at once: join with || what is enough alone, or mend one of them")
            }
        });
    }
    if matches!(condition, Predicate::Compare(..) | Predicate::Const(_)) {
        return None;
    }
    let clash = clash(condition, false, names)?;
    let questions = clash.into_iter().map(|asked| Asked { yes: !asked.yes, ..asked }.written(names));
    let questions = one_of(questions.collect::<Vec<_>>().iter().map(String::as_str));
    Some(format!("this always holds, because {questions} does: join with && what must hold at once, or write \"true\""))
}

/// Whether a condition may hold for somebody who is no member: who has no points, level or impact.
pub(super) fn holds_for_strangers(condition: &Predicate, names: &Names) -> bool {
    let mut all = vec![condition.clone(), Predicate::Not(Box::new(Predicate::Holds(Term::Field(Field::Member))))];
    condition.visit(&mut |term| {
        if let Term::Field(field) = term
            && is_of_members(field)
        {
            all.push(Predicate::Not(Box::new(Predicate::Has(field.clone()))));
        }
    });
    clash(&Predicate::All(all), true, names).is_none()
}

/// What only members have.
pub(super) fn is_of_members(field: &Field) -> bool {
    matches!(field, Field::PointsAvailable | Field::PointsEarned | Field::Tier | Field::Impact(_))
}

/// A date that is compared with a day of the year.
fn date_beside_day(condition: &Predicate, names: &Names) -> Option<String> {
    match condition {
        Predicate::All(parts) | Predicate::Any(parts) => parts.iter().find_map(|part| date_beside_day(part, names)),
        Predicate::Not(inner) => date_beside_day(inner, names),
        Predicate::Compare(Term::Field(Field::OrderDay), _, date @ Term::Field(field))
        | Predicate::Compare(date @ Term::Field(field), _, Term::Field(Field::OrderDay))
            if names.is_date(field) =>
        {
            Some(names.term(date))
        }
        _ => None,
    }
}

/// Questions that cannot be answered so at once, as few as it takes; none when a condition may well be
/// answered so.
fn clash<'a>(condition: &'a Predicate, yes: bool, names: &'a Names) -> Option<Vec<Asked<'a>>> {
    let mut search = Search { names, ways: WAYS_MAX, clash: None };
    if search.may(vec![(condition, yes)], Vec::new()) { None } else { search.clash }
}

/// Longer conditions are taken to be possible: nobody writes them by hand.
const WAYS_MAX: usize = 100;
const CONSTANTS_MAX: usize = 200;

struct Search<'a> {
    names: &'a Names,
    /// Alternatives that may still be tried.
    ways: usize,
    /// Why the first of them is none.
    clash: Option<Vec<Asked<'a>>>,
}

/// A question about one value, and the answer it is to have.
#[derive(Clone)]
struct Asked<'a> {
    of: Cow<'a, Term>,
    question: &'a Predicate,
    yes: bool,
}

impl<'a> Search<'a> {
    /// Whether all that is open may be answered as wanted, beside what was asked already.
    fn may(&mut self, mut open: Vec<(&'a Predicate, bool)>, mut asked: Vec<Asked<'a>>) -> bool {
        self.ways = self.ways.saturating_sub(1);
        if self.ways == 0 {
            return true;
        }
        while let Some((question, yes)) = open.pop() {
            match (question, yes) {
                (Predicate::Not(inner), _) => open.push((inner, !yes)),
                (Predicate::All(parts), true) | (Predicate::Any(parts), false) => {
                    open.extend(parts.iter().rev().map(|part| (part, yes)));
                }
                (Predicate::All(parts), false) | (Predicate::Any(parts), true) => {
                    return parts.iter().any(|part| {
                        let open = open.iter().copied().chain([(part, yes)]);
                        self.may(open.collect(), asked.clone())
                    });
                }
                _ => asked.extend(subject(question).map(|of| Asked { of, question, yes })),
            }
        }
        self.is_free(asked)
    }

    /// Whether every value can have the answers that are asked of it.
    fn is_free(&mut self, mut asked: Vec<Asked<'a>>) -> bool {
        while let Some(of) = asked.first().map(|one| one.of.clone()) {
            let about: Vec<Asked<'a>> = asked.extract_if(.., |one| one.of == of).collect();
            if !self.has_value(&about) {
                if self.clash.is_none() {
                    self.clash = Some(self.fewest(about));
                }
                return false;
            }
        }
        true
    }

    /// Whether one value answers all these questions about it.
    fn has_value(&self, about: &[Asked<'a>]) -> bool {
        let Some(first) = about.first() else { return true };
        let constants: Vec<Value> = about.iter().flat_map(|asked| constants(asked.question)).cloned().collect();
        if constants.len() > CONSTANTS_MAX {
            return true;
        }
        let plain: Vec<Predicate> = about.iter().map(Asked::plain).collect();
        let answers = |value: &Value| plain.iter().zip(about).all(|(q, asked)| q.holds(&Only(value)) == asked.yes);
        let (values, others) = candidates(&first.of, constants, self.names);
        let other = || about.iter().all(|asked| asked.otherwise().is_none_or(|answer| answer == asked.yes));
        values.iter().any(answers) || others && other()
    }

    fn fewest(&self, mut about: Vec<Asked<'a>>) -> Vec<Asked<'a>> {
        for at in (0..about.len()).rev() {
            let one = about.remove(at);
            if self.has_value(&about) {
                about.insert(at, one);
            }
        }
        about
    }
}

/// The value that a question is about, when it is about one and constants.
fn subject(question: &Predicate) -> Option<Cow<'_, Term>> {
    match question {
        Predicate::Has(field) => Some(Cow::Owned(Term::Field(field.clone()))),
        Predicate::Holds(term) => Some(Cow::Borrowed(term)),
        Predicate::Compare(a, _, b)
        | Predicate::In(a, b)
        | Predicate::StartsWith(a, b)
        | Predicate::EndsWith(a, b)
        | Predicate::Contains(a, b) => match (a, b) {
            (Term::Const(_), Term::Const(_)) => None,
            (term, Term::Const(_)) | (Term::Const(_), term) => Some(Cow::Borrowed(term)),
            _ => None,
        },
        _ => None,
    }
}

/// What a question compares with.
fn constants(question: &Predicate) -> &[Value] {
    match question {
        Predicate::In(_, Term::Const(Value::List(items))) => items,
        Predicate::Compare(_, _, Term::Const(constant)) => std::slice::from_ref(constant),
        _ => &[],
    }
}

impl Asked<'_> {
    /// The question about any field.
    fn plain(&self) -> Predicate {
        let put = |term: &Term| if *term == *self.of { Term::Field(Field::OrderId) } else { term.clone() };
        match self.question {
            Predicate::Holds(term) => Predicate::Holds(put(term)),
            Predicate::Compare(a, op, b) => Predicate::Compare(put(a), *op, put(b)),
            Predicate::In(a, b) => Predicate::In(put(a), put(b)),
            Predicate::StartsWith(a, b) => Predicate::StartsWith(put(a), put(b)),
            Predicate::EndsWith(a, b) => Predicate::EndsWith(put(a), put(b)),
            Predicate::Contains(a, b) => Predicate::Contains(put(a), put(b)),
            other => other.clone(),
        }
    }

    /// The answer for a text, list or map that is none of the constants, if they all have the same.
    fn otherwise(&self) -> Option<bool> {
        match self.question {
            Predicate::Has(_) | Predicate::Compare(_, Op::Ne, _) => Some(true),
            Predicate::Holds(_) | Predicate::Compare(_, Op::Eq, _) | Predicate::In(_, Term::Const(_)) => Some(false),
            Predicate::Compare(_, _, Term::Const(Value::Text(_))) => None,
            Predicate::Compare(..) => Some(false),
            _ => None,
        }
    }

    fn written(&self, names: &Names) -> String {
        let question = names.written(self.question);
        if self.yes { question } else { format!("!({question})") }
    }
}

/// A scope in which every field has this value.
struct Only<'a>(&'a Value);

impl Scope for Only<'_> {
    fn field(&self, _: &Field) -> Cow<'_, Value> {
        Cow::Borrowed(self.0)
    }

    fn now(&self) -> Timestamp {
        Timestamp::EPOCH
    }
}

/// What a value can be.
enum Nature {
    OneOf(Vec<Value>),
    /// From 0.
    Number {
        to: Decimal,
        whole: bool,
    },
    /// A text of its own kind.
    Text(fn(&str) -> bool),
    Anything,
}

impl Nature {
    fn of(term: &Term, names: &Names) -> Self {
        const COUNT: Nature = Nature::Number { to: Decimal::MAX, whole: true };
        let field = match term {
            Term::Field(field) => field,
            Term::Size(_) => return COUNT,
            _ => return Self::Anything,
        };
        match field {
            Field::Orders | Field::ProductQuantity => COUNT,
            Field::Feature(_) if names.is_count(field) => COUNT,
            Field::Spend | Field::OrderEligible | Field::OrderTotal => Self::Number { to: Decimal::MAX, whole: false },
            Field::Score(ScoreName::PAlive | ScoreName::ChurnRisk) => Self::Number { to: Decimal::ONE, whole: false },
            Field::OrderWeekday => Self::OneOf(WEEKDAYS.map(Value::from).into()),
            Field::OrderDay => Self::OneOf(days()),
            Field::OrderCurrency if names.currencies.is_empty() => Self::Text(is_currency),
            Field::OrderCurrency => Self::OneOf(names.currencies.iter().map(|code| Value::from(&**code)).collect()),
            Field::Trait(_) if names.is_date(field) => Self::Text(is_date),
            Field::Tier => Self::OneOf(names.levels.iter().map(|level| Value::from(&**level)).collect()),
            Field::Member => Self::OneOf(vec![Value::Bool(true), Value::Bool(false)]),
            _ => Self::Anything,
        }
    }

    fn admits(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Anything, _) => true,
            (Self::Number { to, whole }, Value::Number(n)) => {
                *n >= Decimal::ZERO && n <= to && (!whole || n.is_integer())
            }
            (Self::Text(is_one), Value::Text(text)) => is_one(text),
            _ => false,
        }
    }
}

fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase())
}

/// Of a trait the day is kept, also where a time was sent with it.
fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// The days of a leap year, as `order.day` says them.
fn days() -> Vec<Value> {
    let months = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().zip(1..);
    let days = months.flat_map(|(last, month)| (1..=last).map(move |day| format!("{month:02}-{day:02}")));
    days.map(|day| Value::from(day.as_str())).collect()
}

/// What a value is, where a question about it alone is never answered so.
fn nature(term: &Term, names: &Names) -> String {
    let can_be = match (Nature::of(term, names), term) {
        (Nature::OneOf(_), Term::Field(Field::OrderDay)) => "the month and the day, as '03-14'".into(),
        (Nature::OneOf(values), _) if !values.is_empty() => {
            one_of(values.iter().map(|value| value.as_text().unwrap_or("true or false")).take(20))
        }
        (Nature::Text(_), Term::Field(Field::OrderCurrency)) => "three capital letters, as 'EUR'".into(),
        (Nature::Text(_), _) => "a date, as '1990-03-05'".into(),
        (Nature::Number { whole: true, .. }, _) => "a whole number, 0 or more".into(),
        (Nature::Number { to, .. }, _) if to == Decimal::ONE => "between 0 and 1".into(),
        (Nature::Number { .. }, _) => "0 or more".into(),
        _ => return String::new(),
    };
    format!(", for {} is {can_be}", names.term(term))
}

/// Values that stand for all that a value can be, since each is answered like one of them, and whether
/// it can also be a text, list or map that is none of the constants.
fn candidates(of: &Term, constants: Vec<Value>, names: &Names) -> (Vec<Value>, bool) {
    let nature = Nature::of(of, names);
    let others = matches!(nature, Nature::Anything | Nature::Text(_));
    let mut values = match nature {
        Nature::OneOf(values) => values,
        nature => {
            let mut values = between(&constants);
            values.extend(constants.into_iter().chain([Value::Bool(true), Value::Bool(false)]));
            values.retain(|value| nature.admits(value));
            values
        }
    };
    if !is_always_there(of, names) {
        values.push(Value::Null);
    }
    (values, others)
}

fn is_always_there(term: &Term, names: &Names) -> bool {
    let Term::Field(field) = term else { return false };
    matches!(field, Field::Orders | Field::Spend | Field::Member) || names.is_count(field)
}

/// Numbers beside and between those that are named, whole ones among them, and 0 and 1.
fn between(constants: &[Value]) -> Vec<Value> {
    let named = constants.iter().filter_map(|value| if let Value::Number(n) = value { Some(*n) } else { None });
    let mut marks: Vec<Decimal> = named.chain([Decimal::ZERO, Decimal::ONE]).collect();
    marks.sort_unstable();
    let half = Decimal::new(5, 1);
    let middles = marks.windows(2).filter_map(|pair| (pair[0] * half).checked_add(pair[1] * half));
    let beside = marks
        .iter()
        .flat_map(|mark| [Some(*mark), mark.floor().checked_add(Decimal::ONE), mark.ceil().checked_sub(Decimal::ONE)]);
    beside.flatten().chain(middles).map(Value::Number).collect()
}
