//! Features and segments of the simulated programmes: as a shopkeeper writes them, and in the plainest terms
//! for the oracle.
//!
//! Promise: another version adds, drops and changes a few of them; no segment asks about what is not there.

use rust_decimal::Decimal;

use crate::dice::Dice;

/// Where people shop and live.
pub(crate) const PLACES: [&str; 4] = ["rome", "oslo", "lima", "Rome"];
/// What may be known about a customer.
pub(crate) const TRAITS: &str = "  city: { type: text }\n  age: { type: number }\n";
const FIGURES_MAX: usize = 7;
const GROUPS_MAX: usize = 5;
const GROUPS: [&str; 8] = ["able", "bold", "calm", "dear", "easy", "fond", "glad", "hale"];

/// What features listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Order,
    Refund,
    Cancellation,
    Page,
    Visit,
}

/// A number that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// Paid for goods.
    Paid,
    Stars,
}

/// Something that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Shop,
    Stars,
}

/// What a feature makes of what it hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Count,
    First,
    Last,
    Sum(Number),
    Max(Number),
    Min(Number),
    Distinct(Thing),
}

/// What of it a feature keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Only {
    /// Orders worth more than so many of the currency.
    Over(i64),
    /// What happened in one shop.
    In(&'static str),
    /// What got so many stars.
    Starred(i64),
    /// What says where it happened.
    Placed,
}

/// A feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) id: &'static str,
    pub(crate) made: Made,
    pub(crate) of: Heard,
    pub(crate) only: Option<Only>,
    /// Of so many hours.
    pub(crate) within: Option<i64>,
}

/// A number that is known of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Figure(&'static str),
    Orders,
    Spend,
    FirstOrder,
    LastOrder,
    Available,
    Earned,
    Waste,
    Age,
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    Less,
    AtMost,
    Equal,
    Differs,
    AtLeast,
    More,
}

/// A question about a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Is(Known, Beside, i64),
    /// Whether so many hours have passed since an instant.
    Since(Known, Beside, i64),
    Level(&'static str),
    City(&'static str),
    HasCity,
    Member,
    Not(Box<Ask>),
    All(Vec<Ask>),
    Any(Vec<Ask>),
    /// What was asked and answered before.
    Answered(bool),
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) id: &'static str,
    pub(crate) who: Ask,
}

/// Every sort of feature; the first one is always there, because it ranks.
const FIGURES: [(&str, Made, Heard); 20] = [
    ("recent", Made::Count, Heard::Order),
    ("spent", Made::Sum(Number::Paid), Heard::Order),
    ("dearest", Made::Max(Number::Paid), Heard::Order),
    ("cheapest", Made::Min(Number::Paid), Heard::Order),
    ("shops", Made::Distinct(Thing::Shop), Heard::Order),
    ("bought_first", Made::First, Heard::Order),
    ("bought_last", Made::Last, Heard::Order),
    ("praise", Made::Sum(Number::Stars), Heard::Order),
    ("visits", Made::Count, Heard::Visit),
    ("stars", Made::Sum(Number::Stars), Heard::Visit),
    ("happiest", Made::Max(Number::Stars), Heard::Visit),
    ("angriest", Made::Min(Number::Stars), Heard::Visit),
    ("moods", Made::Distinct(Thing::Stars), Heard::Visit),
    ("places", Made::Distinct(Thing::Shop), Heard::Visit),
    ("came_first", Made::First, Heard::Visit),
    ("came_last", Made::Last, Heard::Visit),
    ("pages", Made::Count, Heard::Page),
    ("returns", Made::Count, Heard::Refund),
    ("returned_last", Made::Last, Heard::Refund),
    ("called_off", Made::Count, Heard::Cancellation),
];

/// The features of the first version, and its segments.
pub(crate) fn opening(dice: &mut Dice) -> (Vec<Figure>, Vec<Group>) {
    let mut figures = vec![orders_within("recent", 20)];
    let mut groups = vec![Group { id: "busy", who: Ask::Is(Known::Figure("recent"), Beside::More, 2) }];
    for _ in 0..5 {
        vary(&mut figures, &mut groups, &[], dice);
    }
    (figures, groups)
}

/// What `EcoExplorers` has anyway, with the days of its window.
pub(crate) fn of_eco(days: i64) -> (Vec<Figure>, Vec<Group>) {
    let spent = Made::Sum(Number::Paid);
    let spent = Figure { id: "spend_365d", made: spent, of: Heard::Order, only: None, within: Some(365 * 24) };
    let lapsed =
        vec![Ask::Is(Known::Orders, Beside::AtLeast, 2), Ask::Since(Known::LastOrder, Beside::AtLeast, 90 * 24)];
    let groups = vec![
        Group { id: "frequent-buyers", who: Ask::Is(Known::Figure("orders_30d"), Beside::More, 5) },
        Group { id: "lapsed", who: Ask::All(lapsed) },
    ];
    (vec![orders_within("orders_30d", days), spent], groups)
}

fn orders_within(id: &'static str, days: i64) -> Figure {
    Figure { id, made: Made::Count, of: Heard::Order, only: None, within: Some(days * 24) }
}

/// Changes something about features or segments. `levels` are those that there are.
pub(crate) fn vary(figures: &mut Vec<Figure>, groups: &mut Vec<Group>, levels: &[&'static str], dice: &mut Dice) {
    match dice.below(9) {
        0..3 if figures.len() < FIGURES_MAX => figures.extend(new_figure(figures, dice)),
        3 if figures.len() > 1 => drop(figures.remove(1 + at_random(figures.len() - 1, dice))),
        4 => {
            let at = at_random(figures.len(), dice);
            figures[at] = figures[at].limited(dice);
        }
        5 if !groups.is_empty() => drop(groups.remove(at_random(groups.len(), dice))),
        _ => {
            let unused: Vec<_> = GROUPS.into_iter().filter(|id| groups.iter().all(|group| group.id != *id)).collect();
            let id = dice.one_of(&unused).copied().filter(|_| groups.len() < GROUPS_MAX);
            let id = id.or_else(|| dice.one_of(groups).map(|group| group.id)).unwrap_or("able");
            groups.retain(|group| group.id != id);
            groups.push(Group { id, who: question(figures, levels, dice) });
        }
    }
    keep_what_can_be_asked(figures, groups, levels);
}

/// Who asks about what is no more goes with it.
pub(crate) fn keep_what_can_be_asked(figures: &[Figure], groups: &mut Vec<Group>, levels: &[&str]) {
    groups.retain(|group| group.who.can_be_asked(figures, levels));
}

fn new_figure(known: &[Figure], dice: &mut Dice) -> Option<Figure> {
    let unused: Vec<_> = FIGURES.into_iter().filter(|(id, ..)| known.iter().all(|figure| figure.id != *id)).collect();
    let (id, made, of) = *dice.one_of(&unused)?;
    Some(Figure { id, made, of, only: None, within: None }.limited(dice))
}

pub(crate) fn at_random(length: usize, dice: &mut Dice) -> usize {
    usize::try_from(dice.below(i64::try_from(length).unwrap_or(1))).unwrap_or(0)
}

impl Figure {
    /// The same over another time and of other things.
    fn limited(self, dice: &mut Dice) -> Self {
        let within = dice.one_of(&[None, Some(36), Some(7 * 24), Some(20 * 24), Some(30 * 24), Some(365 * 24)]);
        let only = match self.of {
            _ if dice.per_mille(400) => None,
            Heard::Order if self.reads_the_event() => Only::In(PLACES[at_random(PLACES.len(), dice)]).into(),
            Heard::Order if dice.per_mille(500) => Only::Over(dice.between(1, 80)).into(),
            Heard::Order | Heard::Visit => match dice.below(3) {
                0 => Only::In(PLACES[at_random(PLACES.len(), dice)]).into(),
                1 => Only::Starred(dice.between(2, 5)).into(),
                _ => Some(Only::Placed),
            },
            _ => None,
        };
        Self { only, within: within.copied().flatten(), ..self }
    }

    fn reads_the_event(self) -> bool {
        let stars = Number::Stars;
        matches!(self.made, Made::Distinct(_))
            || [Made::Sum(stars), Made::Max(stars), Made::Min(stars)].contains(&self.made)
    }

    /// Whether it reads amounts of an order: then it leaves out what was paid in another currency.
    pub(crate) fn reads_amounts(self) -> bool {
        let paid = Number::Paid;
        matches!(self.only, Some(Only::Over(_)))
            || [Made::Sum(paid), Made::Max(paid), Made::Min(paid)].contains(&self.made)
    }

    /// Whether it is an instant.
    fn is_instant(self) -> bool {
        matches!(self.made, Made::First | Made::Last)
    }

    pub(crate) fn written(self) -> String {
        let on = match self.of {
            Heard::Order => "Order Completed",
            Heard::Refund => "Order Refunded",
            Heard::Cancellation => "Order Cancelled",
            Heard::Page => "page",
            Heard::Visit => "Shop Visited",
        };
        let number = |number| if number == Number::Paid { "order.eligible" } else { "event.stars" };
        let what = match self.made {
            Made::Count => format!("count: {on}"),
            Made::First => format!("first: {on}"),
            Made::Last => format!("last: {on}"),
            Made::Sum(of) => format!("sum: {}, on: {on}", number(of)),
            Made::Max(of) => format!("max: {}, on: {on}", number(of)),
            Made::Min(of) => format!("min: {}, on: {on}", number(of)),
            Made::Distinct(Thing::Shop) => format!("distinct: event.shop, on: {on}"),
            Made::Distinct(Thing::Stars) => format!("distinct: event.stars, on: {on}"),
        };
        let only = self.only.map_or_else(String::new, |only| match only {
            Only::Over(amount) => format!(", when: order.eligible > {amount}.00"),
            Only::In(shop) => format!(", when: event.shop == '{shop}'"),
            Only::Starred(stars) => format!(", when: event.stars >= {stars}"),
            Only::Placed => ", when: has(event.shop)".to_owned(),
        });
        let within = self.within.map_or_else(String::new, |hours| format!(", within: PT{hours}H"));
        format!("  {}: {{ {what}{only}{within} }}\n", self.id)
    }
}

/// A question that may be answered either way.
pub(crate) fn question(figures: &[Figure], levels: &[&'static str], dice: &mut Dice) -> Ask {
    let beside = [Beside::Less, Beside::AtMost, Beside::Equal, Beside::Differs, Beside::AtLeast, Beside::More];
    let beside = dice.one_of(&beside).copied().unwrap_or(Beside::More);
    let figure = figures[at_random(figures.len(), dice)];
    let hours = dice.one_of(&[5, 36, 24 * 7, 24 * 30]).copied().unwrap_or(5);
    match dice.below(12) {
        0..4 if figure.is_instant() => Ask::Since(Known::Figure(figure.id), beside.an_order(), hours),
        0..4 => Ask::Is(Known::Figure(figure.id), beside, likely(figure, dice)),
        4 => Ask::All(vec![
            Ask::Is(Known::Orders, Beside::AtLeast, dice.between(1, 6)),
            Ask::Since(if dice.per_mille(700) { Known::LastOrder } else { Known::FirstOrder }, Beside::AtLeast, hours),
        ]),
        5 if !levels.is_empty() => Ask::Level(levels[at_random(levels.len(), dice)]),
        6 => Ask::Is(Known::Available, beside, dice.between(1, 150)),
        7 => Ask::Is(Known::Earned, beside, dice.between(1, 400)),
        8 => Ask::Any(vec![Ask::Is(Known::Spend, Beside::More, dice.between(20, 900)), Ask::City("rome")]),
        9 => Ask::All(vec![Ask::Member, Ask::HasCity, Ask::Not(Box::new(Ask::City("oslo")))]),
        10 => Ask::Is(Known::Waste, beside.an_order(), dice.between(1, 9)),
        _ => Ask::Is(Known::Age, beside, dice.between(17, 20)),
    }
}

/// A number that a feature may well come to.
fn likely(figure: Figure, dice: &mut Dice) -> i64 {
    match figure.made {
        Made::Sum(Number::Paid) => dice.between(1, 300),
        Made::Max(Number::Paid) | Made::Min(Number::Paid) => dice.between(5, 90),
        Made::Sum(Number::Stars) => dice.between(1, 20),
        _ => dice.between(1, 5),
    }
}

impl Beside {
    /// What is left of it for what is hardly ever the same.
    fn an_order(self) -> Self {
        match self {
            Self::Equal => Self::Less,
            Self::Differs => Self::AtLeast,
            other => other,
        }
    }

    /// What is missing is neither more nor less than anything, and differs from everything.
    pub(crate) fn holds(self, left: Option<Decimal>, right: Decimal) -> bool {
        let Some(left) = left else { return self == Self::Differs };
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Equal => left == right,
            Self::Differs => left != right,
            Self::AtLeast => left >= right,
            Self::More => left > right,
        }
    }

    fn written(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "==",
            Self::Differs => "!=",
            Self::AtLeast => ">=",
            Self::More => ">",
        }
    }
}

impl Known {
    fn written(self) -> &'static str {
        match self {
            Self::Figure(id) => id,
            Self::Orders => "orders",
            Self::Spend => "spend",
            Self::FirstOrder => "first_order",
            Self::LastOrder => "last_order",
            Self::Available => "points.available",
            Self::Earned => "points.earned",
            Self::Waste => "impact.waste_kg",
            Self::Age => "customer.age",
        }
    }
}

impl Ask {
    pub(crate) fn can_be_asked(&self, figures: &[Figure], levels: &[&str]) -> bool {
        match self {
            Self::Is(Known::Figure(id), ..) | Self::Since(Known::Figure(id), ..) => {
                figures.iter().any(|figure| figure.id == *id)
            }
            Self::Level(level) => levels.contains(level),
            Self::Not(inner) => inner.can_be_asked(figures, levels),
            Self::All(parts) | Self::Any(parts) => parts.iter().all(|part| part.can_be_asked(figures, levels)),
            _ => true,
        }
    }

    pub(crate) fn written(&self) -> String {
        let joined = |parts: &[Self], by: &str| {
            let parts: Vec<String> = parts.iter().map(|part| format!("({})", part.written())).collect();
            parts.join(by)
        };
        match self {
            Self::Is(known, beside, number) => format!("{} {} {number}", known.written(), beside.written()),
            Self::Since(known, beside, hours) => format!("since({}) {} PT{hours}H", known.written(), beside.written()),
            Self::Level(level) => format!("tier == '{level}'"),
            Self::City(city) => format!("customer.city == '{city}'"),
            Self::HasCity => "has(customer.city)".to_owned(),
            Self::Member => "member".to_owned(),
            Self::Answered(answer) => answer.to_string(),
            Self::Not(inner) => format!("!({})", inner.written()),
            Self::All(parts) => joined(parts, " && "),
            Self::Any(parts) => joined(parts, " || "),
        }
    }
}

impl Group {
    /// The name of everybody else: who leaves a segment enters that one, and it says when.
    pub(crate) fn others(&self) -> String {
        format!("not-{}", self.id)
    }

    pub(crate) fn written(&self) -> String {
        format!("  {}: \"{}\"\n{}", self.id, self.who.written(), self.others_written())
    }

    pub(crate) fn others_written(&self) -> String {
        format!("  {}: \"!({})\"\n", self.others(), self.who.written())
    }
}
