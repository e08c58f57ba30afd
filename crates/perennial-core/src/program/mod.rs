//! Programmes: one business's rules, compiled to types before anything uses them.
//!
//! A [`Source`] is the document as people write it; [`compile()`] turns it into a [`Program`] or into
//! all of its [`Problem`]s at once. Everything below is checked: ids are unique, expressions are
//! typed, rates are positive, levels rise.

mod compile;
mod document;
mod effect;
mod lower;
mod phrase;
mod possible;
mod problem;
mod schema;
mod shape;
pub mod source;
mod written;

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::event::ORDER_COMPLETED;
use crate::expr::{Field, Predicate, Term};
use crate::id::{IdentifierKind, Word};
use crate::money::Currency;
use crate::score::ModelKind;
use crate::time::{LeapDay, Span, Zone};

pub use compile::{compile, compile_published, compile_value};
pub use document::{Content, Entry, Node, SOURCE_MAX, merge_patch, parse_value};
pub(crate) use problem::did_you_mean;
pub use schema::schema;
pub use source::{Combine, Drop, ExpiryFrom, OnRefund, RefundPolicy as Refunds, Source, TierBy, TraitKind};

/// A compiled programme.
#[derive(Clone, Debug)]
pub struct Program {
    /// The programme's id.
    pub id: Box<str>,
    /// Its version in the workspace, from 1; 0 before it is published.
    pub version: u32,
    /// Its name, for people.
    pub name: Box<str>,
    /// The currency that orders earn in.
    pub currency: Currency,
    /// Minor units of the programme's currency for one of another, where orders in that earn too.
    pub rates: BTreeMap<Currency, Decimal>,
    /// The zone of its calendar.
    pub zone: Zone,
    /// Declared traits.
    pub traits: BTreeMap<Box<str>, Trait>,
    /// When a birthday on 29 February is kept in other years.
    pub leap_day: LeapDay,
    /// How a customer joins besides by command.
    pub join: Vec<Join>,
    /// Who may join; everybody when absent.
    pub pilot: Option<Pilot>,
    /// The points wallet.
    pub points: PointsPolicy,
    /// Earning rules, in the order written.
    pub earn: Vec<EarnRule>,
    /// Tiers, if the programme has any.
    pub tiers: Option<Tiers>,
    /// Benefits granted by events.
    pub benefits: Vec<Benefit>,
    /// Rewards.
    pub rewards: Vec<Reward>,
    /// Milestones.
    pub milestones: Vec<Milestone>,
    /// Features; expressions name them by their index.
    pub features: Vec<Feature>,
    /// Segments.
    pub segments: Vec<Segment>,
    /// What is learnt from history: the kinds of models, and how long after a training the next one is
    /// due; none when only asked for.
    pub models: BTreeMap<ModelKind, Option<Span>>,
    /// Customer fields that earning rules and benefits read: recorded with every order, so that a
    /// refund is reckoned with the values of then.
    pub recalled: Vec<Field>,
}

/// A declared trait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trait {
    /// The type that values are checked against.
    pub kind: TraitKind,
    /// Set when the trait's value recognises the customer.
    pub identifies: Option<IdentifierKind>,
}

/// A way to join that is not a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Join {
    /// The first order.
    FirstOrder,
    /// The first identify call.
    FirstIdentify,
    /// An event of this name.
    Event(Box<str>),
}

/// Who may join while the programme is tried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Pilot {
    /// A deterministic share, in hundredths of a per cent, chosen by a salted hash.
    Share {
        /// 0 to 10,000.
        basis_points: u16,
        /// The salt; a wider share with the same salt keeps those already in.
        salt: Box<str>,
    },
    /// The customers in a segment, by its id.
    Segment(Box<str>),
}

/// How points live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointsPolicy {
    /// The return window of orders: so long their points stay pending.
    pub pending: Span,
    /// When lots lapse.
    pub expires: Option<Expiry>,
    /// What a reversal beyond the balance does.
    pub refunds: Refunds,
    /// How bonuses combine.
    pub combine: Combine,
    /// What undoing a redemption restores.
    pub undo: Undo,
    /// What one point is worth, in the programme's currency (major units), for liability.
    pub cost: Option<Decimal>,
}

/// When lots lapse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// How long a lot is good for.
    pub after: Span,
    /// From when that is counted.
    pub from: ExpiryFrom,
    /// How long before a reminder is sent.
    pub remind: Option<Span>,
    /// Instead of `after`: so long after the member's last earning or spending, all lots lapse.
    pub after_inactivity: Option<Span>,
    /// No lot lapses before this long after the expiry was switched on; the first programme version
    /// with an expiry sets the instant.
    pub grace_existing: bool,
}

/// What undoing a redemption restores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    /// Lots with their old dates; what should have lapsed lapses at once.
    OriginalDates,
    /// Lots that should have lapsed are good for this long.
    Grace(Span),
}

/// One earning rule.
#[derive(Clone, Debug, PartialEq)]
pub struct EarnRule {
    /// The rule's id.
    pub id: Word,
    /// The event it listens to.
    pub on: Box<str>,
    /// When it applies.
    pub when: Predicate,
    /// What it gives.
    pub gives: Gives,
    /// Whether a reviewer must approve.
    pub review: bool,
    /// A submission with the same value opens no second activity.
    pub unique_by: Option<Term>,
    /// At most so often.
    pub limit: Option<Limit>,
}

/// What an earning rule gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Gives {
    /// `points: N per M`: points for money, exact.
    Rate {
        /// Points...
        points: Decimal,
        /// ...per this much money, in major units; positive.
        per: Decimal,
    },
    /// `points: N`: a fixed number.
    Fixed(i64),
    /// `multiply: F`, on the lines for which `lines` holds, all lines when absent.
    Multiply {
        /// The factor; at least 0.
        factor: Decimal,
        /// Which lines.
        lines: Option<Predicate>,
    },
}

/// At most `count` times in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How often.
    pub count: u32,
    /// In which period.
    pub per: Period,
}

/// A period of a limit: rolling for exact spans, calendar for names (rule 20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// `per P30D`.
    Rolling(Span),
    /// `per day`.
    Day,
    /// `per month`.
    Month,
    /// `per year`.
    Year,
    /// `per order` or without a period: ever.
    Ever,
}

/// Levels and how they are reached and lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiers {
    /// What counts.
    pub by: TierBy,
    /// Levels, rising; the first from 0.
    pub levels: Vec<Level>,
    /// What a review may take away.
    pub drop: Drop,
    /// What the refund of a reaching order does.
    pub on_refund: OnRefund,
}

/// One level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// The level's id.
    pub id: Box<str>,
    /// From how many points, or minor units when by spend.
    pub from: i64,
    /// What it brings, by benefit id.
    pub benefits: Vec<Box<str>>,
}

impl Tiers {
    /// Where a level is in the list.
    pub fn position(&self, id: &str) -> Option<u8> {
        let at = self.levels.iter().position(|level| *level.id == *id);
        at.and_then(|at| u8::try_from(at).ok())
    }
}

/// Something granted by an event to those whose level has the benefit.
#[derive(Clone, Debug, PartialEq)]
pub struct Benefit {
    /// The benefit's id.
    pub id: Word,
    /// The event it listens to.
    pub on: Box<str>,
    /// When it applies; judged again on what remains of the order.
    pub when: Predicate,
    /// Impact granted, by unit, in thousandths.
    pub impact: Vec<(Word, i64)>,
}

/// What points can buy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reward {
    /// The reward's id.
    pub id: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its price.
    pub points: i64,
    /// Pieces; unlimited when absent.
    pub stock: Option<i64>,
    /// At most so many per member, ever.
    pub per_member: Option<u32>,
    /// The lowest tier that may buy it, as an index of levels.
    pub tier: Option<u8>,
}

/// A mark on the way, with what it gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Milestone {
    /// The milestone's id.
    pub id: Box<str>,
    /// The mark.
    pub when: Predicate,
    /// Points it gives; 0 for none.
    pub points: i64,
    /// The badge it gives.
    pub badge: Option<Box<str>>,
}

/// A value computed from one customer's events.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// The feature's id.
    pub id: Box<str>,
    /// The event it listens to.
    pub on: Box<str>,
    /// Which of them.
    pub when: Predicate,
    /// What is computed.
    pub what: Computed,
    /// Over `(now - within, now]`; over everything when absent. Exact: no months.
    pub within: Option<Span>,
    /// Whether it reads amounts of an order, and not in which currency they are: then it leaves out orders in
    /// another one than the programme's.
    pub in_currency: bool,
    /// Whether it reads something of the event or the customer: what it observed of an order does not follow
    /// from the order's record.
    pub beyond_order: bool,
}

impl Feature {
    /// Whether every order that stands is the next to be the first or the last.
    pub fn is_plain(&self) -> bool {
        &*self.on != ORDER_COMPLETED || self.when == Predicate::Const(true)
    }
}

/// What a feature computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Computed {
    /// How many.
    Count,
    /// The sum of a number.
    Sum(Term),
    /// The largest number.
    Max(Term),
    /// The smallest number.
    Min(Term),
    /// The instant of the first.
    First,
    /// The instant of the last.
    Last,
    /// How many different values.
    Distinct(Term),
}

impl Computed {
    /// The value that is computed from.
    pub fn term(&self) -> Option<&Term> {
        match self {
            Self::Count | Self::First | Self::Last => None,
            Self::Sum(term) | Self::Max(term) | Self::Min(term) | Self::Distinct(term) => Some(term),
        }
    }

    /// Whether a field is read that is one of these.
    pub fn reads(&self, is_one: impl Fn(&Field) -> bool) -> bool {
        self.term().is_some_and(|term| term.reads(is_one))
    }
}

/// A named yes-or-no.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The segment's id.
    pub id: Box<str>,
    /// What puts a customer in.
    pub rule: SegmentRule,
}

/// What puts a customer in a segment.
#[derive(Clone, Debug, PartialEq)]
pub enum SegmentRule {
    /// An expression.
    When(Predicate),
    /// The best share by a field, ranked at each local midnight (rule 4).
    Top {
        /// Share in millionths.
        share_ppm: u32,
        /// By which value.
        by: Field,
    },
}

/// One thing wrong with a programme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as `earn[2].when`.
    pub path: String,
    /// The line in the document, from 1; 0 when it has none.
    pub line: usize,
    /// What is wrong, and what would mend it.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl Program {
    /// What keeps it from being the next version of another one: points, amounts and levels that stand were
    /// counted in that one's terms. `source` is its own document.
    pub fn unlike(&self, earlier: &Self, source: &str) -> Vec<Problem> {
        let document = Node::parse(source, "programme");
        let line = |path: &str| document.as_ref().map_or(0, |document| document.line_of_section(path));
        let problem = |path: &str, message: String| Problem { path: path.into(), line: line(path), message };
        let mut problems = Vec::new();
        if self.id != earlier.id {
            let message = format!("the programme in force is '{}'; a version of it keeps its id", earlier.id);
            problems.push(problem("id", message));
        }
        if self.currency != earlier.currency {
            let message = format!(
                "what customers have spent is counted in {}, and stays so; give other currencies as rates",
                earlier.currency
            );
            problems.push(problem("currency", message));
        }
        problems
    }

    /// Minor units of the programme's currency for one of an order's, exact; none when orders in that
    /// currency do not earn.
    pub fn rate(&self, currency: Currency) -> Option<Decimal> {
        if currency == self.currency { Some(Decimal::ONE) } else { self.rates.get(&currency).copied() }
    }

    /// The reward of an id.
    pub fn reward(&self, id: &str) -> Option<&Reward> {
        self.rewards.iter().find(|r| &*r.id == id)
    }

    /// The index of a level by its id.
    pub fn level(&self, id: &str) -> Option<u8> {
        let at = self.tiers.as_ref()?.levels.iter().position(|l| &*l.id == id)?;
        u8::try_from(at).ok()
    }
}
