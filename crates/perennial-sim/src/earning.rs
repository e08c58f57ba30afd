//! What orders earn in the simulated programmes: rates, factors and whole numbers, as a shopkeeper writes them, and
//! in the plainest terms for the oracle.
//!
//! Promise: one rate is always there and asks nothing; no rule asks about what is not there.

use crate::dice::Dice;
use crate::figures::{self, Ask, Figure, PLACES};
use crate::plan::{FEATURED, Limit};

const EARNS_MAX: usize = 6;
const BESIDE: [&str; 8] = ["second", "third", "happy", "dear", "spring", "less", "gift", "often"];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// A rule about orders.
#[derive(Clone, Debug)]
pub(crate) struct Earn {
    pub(crate) id: &'static str,
    pub(crate) gives: Gives,
    /// All of it must be so.
    pub(crate) when: Vec<When>,
    /// How often for one member; a factor has no limit.
    pub(crate) limit: Limit,
}

/// What a rule gives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gives {
    /// So many tenths of a point for so many cents.
    Rate { tenths: i64, cents: i64 },
    /// So many hundredths of what rates give, for some goods.
    Factor { hundredths: i64, of: Goods },
    /// Points with each order.
    Whole(i64),
}

/// Which lines of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goods {
    All,
    Featured,
    /// Pieces that cost more than so many of the currency.
    Dearer(i64),
    /// At least so many pieces of it.
    Many(i64),
    One(&'static str),
}

/// When a rule applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// To orders worth more than so many of the currency.
    Over(i64),
    /// To those that are worth no more.
    UpTo(i64),
    In(&'static str),
    /// Days of the week, from Monday.
    On(usize),
    /// From a day to another one, months and days; each year again.
    During((i64, i64), (i64, i64)),
    /// What the customer is like as the order comes.
    Who(Ask),
}

/// How several factors of one line work together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Combine {
    Add,
    Multiply,
}

/// The rules of a first version.
pub(crate) fn opening(is_eco: bool) -> Vec<Earn> {
    let gives = Gives::Rate { tenths: 10, cents: 100 };
    let purchase = Earn { id: "purchase", gives, when: Vec::new(), limit: Limit::Always };
    let gives = Gives::Factor { hundredths: 200, of: Goods::Featured };
    let featured = Earn { id: "featured", gives, when: Vec::new(), limit: Limit::Always };
    [purchase].into_iter().chain(Some(featured).filter(|_| is_eco)).collect()
}

/// Changes one of the rules after the first `fixed`, adds one or drops one.
pub(crate) fn vary(earns: &mut Vec<Earn>, fixed: usize, figures: &[Figure], levels: &[&'static str], dice: &mut Dice) {
    let unused: Vec<_> = BESIDE.into_iter().filter(|id| earns.iter().all(|earn| earn.id != *id)).collect();
    match dice.below(5) {
        0 if earns.len() > fixed => drop(earns.remove(fixed + figures::at_random(earns.len() - fixed, dice))),
        1 if earns.len() > fixed => {
            let at = fixed + figures::at_random(earns.len() - fixed, dice);
            earns[at] = rule(earns[at].id, figures, levels, dice);
        }
        _ if earns.len() < EARNS_MAX => {
            earns.extend(dice.one_of(&unused).copied().map(|id| rule(id, figures, levels, dice)));
        }
        _ => {}
    }
}

/// Rules that ask about what is no more go with it.
pub(crate) fn keep_what_can_be_asked(earns: &mut Vec<Earn>, figures: &[Figure], levels: &[&str]) {
    let can_be = |when: &When| match when {
        When::Who(ask) => ask.can_be_asked(figures, levels),
        _ => true,
    };
    earns.retain(|earn| earn.when.iter().all(can_be));
}

fn rule(id: &'static str, figures: &[Figure], levels: &[&'static str], dice: &mut Dice) -> Earn {
    let gives = match dice.below(5) {
        0 | 1 => Gives::rate(dice),
        2 | 3 => {
            let hundredths = [200, 150, 125, 300, 50, 0, 110];
            Gives::Factor { hundredths: one(&hundredths, dice), of: goods(dice) }
        }
        _ => Gives::Whole(dice.between(1, 12)),
    };
    let mut when = Vec::new();
    if dice.per_mille(700) {
        when.push(condition(figures, levels, dice));
    }
    if dice.per_mille(300) {
        let other = condition(figures, levels, dice);
        when.extend(Some(other).filter(|other| when.iter().all(|known| known.kind() != other.kind())));
    }
    let is_factor = matches!(gives, Gives::Factor { .. });
    let limit = if !is_factor && dice.per_mille(500) { limit(dice) } else { Limit::Always };
    Earn { id, gives, when, limit }
}

fn goods(dice: &mut Dice) -> Goods {
    match dice.below(6) {
        0 | 1 => Goods::All,
        2 => Goods::Featured,
        3 => Goods::Dearer(dice.between(1, 35)),
        4 => Goods::Many(dice.between(2, 4)),
        _ => Goods::One(one(&["p0", "p3", "p11", "p5"], dice)),
    }
}

fn condition(figures: &[Figure], levels: &[&'static str], dice: &mut Dice) -> When {
    match dice.below(10) {
        0 | 1 => When::Over(dice.between(5, 120)),
        2 => When::UpTo(dice.between(5, 120)),
        3 => When::In(one(&PLACES, dice)),
        4 => When::On(figures::at_random(WEEKDAYS.len(), dice)),
        // Campaigns of winter and spring, for that is when shops play.
        5 => {
            let from = dice.between(1, 6);
            When::During((from, dice.between(1, 28)), (dice.between(from + 1, from + 2), dice.between(1, 28)))
        }
        6 | 7 if !levels.is_empty() => When::Who(Ask::Level(one(levels, dice))),
        _ => When::Who(figures::question(figures, levels, dice)),
    }
}

fn limit(dice: &mut Dice) -> Limit {
    let most = figures::at_random(3, dice) + 1;
    match dice.below(6) {
        0 => Limit::Ever(most),
        1 => Limit::InDay(1),
        2 => Limit::InMonth(most),
        3 => Limit::InYear(most),
        _ => Limit::InDays(most, one(&[7, 30, 45], dice)),
    }
}

fn one<T: Copy>(list: &[T], dice: &mut Dice) -> T {
    list[figures::at_random(list.len(), dice)]
}

impl Gives {
    /// A rate, with or without a common measure with others.
    pub(crate) fn rate(dice: &mut Dice) -> Self {
        Self::Rate { tenths: one(&[10, 20, 30, 5, 7], dice), cents: one(&[100, 200, 300, 750, 1_100], dice) }
    }
}

impl Goods {
    fn written(self) -> Option<String> {
        match self {
            Self::All => None,
            Self::Featured => Some("'featured-eco' in product.tags".to_owned()),
            Self::Dearer(price) => Some(format!("product.price > {price}.00")),
            Self::Many(pieces) => Some(format!("product.quantity >= {pieces}")),
            Self::One(id) => Some(format!("product.id == '{id}'")),
        }
    }

    /// Whether a line is meant: what it is, what a piece costs in cents and thousandths of pieces.
    pub(crate) fn are(self, product: &str, price: i64, thousandths: i64) -> bool {
        match self {
            Self::All => true,
            Self::Featured => FEATURED.contains(&product),
            Self::Dearer(least) => price > least * 100,
            Self::Many(pieces) => thousandths >= pieces * 1_000,
            Self::One(id) => product == id,
        }
    }
}

impl When {
    fn kind(&self) -> u8 {
        match self {
            Self::Over(_) | Self::UpTo(_) => 0,
            Self::In(_) => 1,
            Self::On(_) => 2,
            Self::During(..) => 3,
            Self::Who(_) => 4,
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Over(amount) => format!("order.eligible > {amount}.00"),
            Self::UpTo(amount) => format!("order.eligible <= {amount}.00"),
            Self::In(shop) => format!("event.shop == '{shop}'"),
            Self::On(day) => format!("order.weekday == '{}'", WEEKDAYS[*day]),
            Self::During((month, day), (to_month, to_day)) => {
                format!("order.day >= '{month:02}-{day:02}' && order.day <= '{to_month:02}-{to_day:02}'")
            }
            Self::Who(ask) => format!("({})", ask.written()),
        }
    }
}

impl Earn {
    pub(crate) fn lessens(&self) -> bool {
        matches!(self.gives, Gives::Factor { hundredths, .. } if hundredths < 100)
    }

    pub(crate) fn written(&self) -> String {
        let gives = match self.gives {
            Gives::Rate { tenths, cents } => {
                format!("points: {}.{} per {}.{:02}", tenths / 10, tenths % 10, cents / 100, cents % 100)
            }
            Gives::Factor { hundredths, of } => {
                let lines = of.written().map_or_else(String::new, |lines| format!(", lines: \"{lines}\""));
                format!("multiply: {}.{:02}{lines}", hundredths / 100, hundredths % 100)
            }
            Gives::Whole(points) => format!("points: {points}"),
        };
        let when: Vec<String> = self.when.iter().map(When::written).collect();
        let when = if when.is_empty() { String::new() } else { format!(", when: \"{}\"", when.join(" && ")) };
        let limit = match self.limit {
            Limit::Always => String::new(),
            Limit::Ever(most) => format!(", limit: {most}"),
            Limit::InDays(most, days) => format!(", limit: {most} per P{days}D"),
            Limit::InDay(most) => format!(", limit: {most} per day"),
            Limit::InMonth(most) => format!(", limit: {most} per month"),
            Limit::InYear(most) => format!(", limit: {most} per year"),
        };
        format!("  - {{ id: {}, on: Order Completed, {gives}{when}{limit} }}\n", self.id)
    }
}
