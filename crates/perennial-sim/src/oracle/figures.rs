//! Features and segments, reckoned from everything that was ever heard of somebody.

use std::collections::BTreeMap;

use perennial_core::event::{Body, Event};
use perennial_core::time::Timestamp;
use perennial_core::value::{Properties, Value};
use rust_decimal::Decimal;

use super::{Oracle, Person, Row, Sale};
use crate::figures::{Ask, Figure, Heard, Known, Made, Number, Only, Thing};
use crate::plan::Edition;

const HOUR: i64 = 3_600_000;

/// What somebody said with what happened.
#[derive(Clone, Default)]
pub(super) struct Said {
    pub(super) shop: Option<Value>,
    stars: Option<Value>,
}

impl Said {
    pub(super) fn of(properties: &Properties) -> Self {
        Self { shop: properties.get("shop").cloned(), stars: properties.get("stars").cloned() }
    }
}

/// Something that happened and is no order: its instant, what it was and what was said.
#[derive(Clone)]
pub(super) struct Happened {
    pub(super) at: i64,
    pub(super) what: Heard,
    pub(super) said: Said,
}

/// What a feature looks at.
struct Moment<'a> {
    at: i64,
    said: &'a Said,
    /// Cents, where it is an order.
    paid: i64,
    foreign: bool,
}

impl<'a> Moment<'a> {
    fn of(sale: &'a Sale) -> Self {
        Self { at: sale.at, said: &sale.said, paid: sale.rows.iter().map(Row::money).sum(), foreign: sale.foreign }
    }
}

/// What is known of somebody besides balances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Portrait {
    /// Features; nothing for the largest of none.
    pub(crate) figures: BTreeMap<Box<str>, Option<Decimal>>,
    /// Segments, and since when; nothing when these books cannot know when.
    pub(crate) groups: BTreeMap<Box<str>, Option<i64>>,
    /// Whether they are at the top.
    pub(crate) at_the_top: bool,
}

/// What is heard.
impl Oracle {
    /// Events that features hear as they come; orders and returns are heard when they take effect.
    pub(super) fn hear(&mut self, who: usize, event: &Event) {
        // Somebody else may speak of an order: what they say of themselves is nobody's.
        if event.order_id().is_none() || event.ids.iter().min().is_some_and(|id| self.people[who].names.contains(id)) {
            self.learn_of(who, event);
        }
        let what = match &event.body {
            Body::Page { .. } => Heard::Page,
            Body::Track { name } if **name == *"Shop Visited" => Heard::Visit,
            _ => return,
        };
        let said = Said::of(&event.properties.unpack());
        self.people[who].happened.push(Happened { at: event.at.as_millis(), what, said });
    }

    /// What was said last counts; what is of another type counts for nothing.
    fn learn_of(&mut self, who: usize, event: &Event) {
        let at = event.at.as_millis();
        for name in ["city", "age"] {
            let said = match event.traits.get(name) {
                Some(text @ Value::Text(_)) if name == "city" => text.clone(),
                Some(number @ Value::Number(_)) if name == "age" => number.clone(),
                Some(Value::Null) => Value::Null,
                _ => continue,
            };
            let known = self.people[who].traits.entry(name).or_insert((Value::Null, i64::MIN));
            if known.1 <= at {
                *known = (said, at);
            }
        }
    }

    /// Of what was said of two people the later counts.
    pub(super) fn learn_from(person: &mut Person, said: &BTreeMap<&'static str, (Value, i64)>) {
        for (name, (value, at)) in said {
            let known = person.traits.entry(name).or_insert((Value::Null, i64::MIN));
            if known.1 < *at {
                *known = (value.clone(), *at);
            }
        }
    }
}

/// Features.
impl Oracle {
    fn moments(person: &Person, of: Heard) -> Vec<Moment<'_>> {
        if of == Heard::Order {
            let kept = person.sales.iter().filter(|sale| is_kept(sale));
            return kept.map(Moment::of).collect();
        }
        let heard = person.happened.iter().filter(|happened| happened.what == of);
        heard.map(|happened| Moment { at: happened.at, said: &happened.said, paid: 0, foreign: false }).collect()
    }

    fn figure(person: &Person, figure: Figure, now: i64) -> Option<Decimal> {
        let start = figure.within.map_or(i64::MIN, |hours| now - hours * HOUR);
        let mut moments = Self::moments(person, figure.of);
        moments.retain(|moment| moment.at > start && moment.at <= now && is_meant(moment, figure.only));
        moments.retain(|moment| !(moment.foreign && figure.reads_amounts()));
        let count = |n: usize| Some(Decimal::from(n));
        let numbers = |number| moments.iter().filter_map(move |moment| number_of(moment, number));
        let instants = || moments.iter().map(|moment| moment.at);
        match figure.made {
            Made::Count => count(moments.len()),
            Made::First => instants().min().map(Decimal::from),
            Made::Last => instants().max().map(Decimal::from),
            Made::Sum(number) => Some(numbers(number).sum()),
            Made::Max(number) => numbers(number).max(),
            Made::Min(number) => numbers(number).min(),
            Made::Distinct(thing) => {
                let mut different: Vec<&Value> = Vec::new();
                for value in moments.iter().filter_map(|moment| thing_of(moment, thing)) {
                    if !different.contains(&value) {
                        different.push(value);
                    }
                }
                count(different.len())
            }
        }
    }
}

fn is_kept(sale: &Sale) -> bool {
    sale.rows.iter().any(Row::is_kept)
}

fn left(sale: &Sale) -> i64 {
    sale.rows.iter().map(|row| row.left).sum()
}

fn is_meant(moment: &Moment<'_>, only: Option<Only>) -> bool {
    match only {
        None => true,
        Some(Only::Over(amount)) => moment.paid > amount * 100,
        Some(Only::In(shop)) => moment.said.shop == Some(Value::from(shop)),
        Some(Only::Starred(stars)) => number_of(moment, Number::Stars).is_some_and(|given| given >= stars.into()),
        Some(Only::Placed) => moment.said.shop.is_some(),
    }
}

fn number_of(moment: &Moment<'_>, number: Number) -> Option<Decimal> {
    match (number, &moment.said.stars) {
        (Number::Paid, _) => Some(Decimal::new(moment.paid, 2)),
        (Number::Stars, Some(Value::Number(stars))) => Some(*stars),
        (Number::Stars, _) => None,
    }
}

fn thing_of<'a>(moment: &Moment<'a>, thing: Thing) -> Option<&'a Value> {
    match thing {
        Thing::Shop => moment.said.shop.as_ref(),
        Thing::Stars => moment.said.stars.as_ref(),
    }
}

/// Segments.
impl Oracle {
    /// The version that somebody follows.
    pub(super) fn followed(&self, who: usize) -> &Edition {
        &self.editions[self.people[who].adopted.max(1) - 1]
    }

    fn known(&self, who: usize, known: Known, now: i64) -> Option<Decimal> {
        let person = &self.people[who];
        let kept = || person.sales.iter().filter(|sale| is_kept(sale));
        let of_member = |number: Decimal| person.joined.map(|_| number);
        match known {
            Known::Figure(id) => {
                let figure = self.followed(who).figures().into_iter().find(|figure| figure.id == id);
                figure.and_then(|figure| Self::figure(person, figure, now))
            }
            Known::Orders => Some(kept().count().into()),
            Known::Spend => Some(Decimal::new(kept().filter(|sale| !sale.foreign).map(left).sum(), 2)),
            Known::FirstOrder => kept().map(|sale| sale.at).min().map(Decimal::from),
            Known::LastOrder => kept().map(|sale| sale.at).max().map(Decimal::from),
            Known::Available => of_member(self.available(who).into()),
            Known::Earned => {
                let year = self.trade.zone().year(now);
                of_member(person.years.get(&year).map_or(0, |counted| counted.points).into())
            }
            Known::Waste => of_member(Decimal::new(Self::impact(person), 3)),
            Known::Age => match person.traits.get("age") {
                Some((Value::Number(age), _)) => Some(*age),
                _ => None,
            },
        }
    }

    /// A question of an order with the answers that are known as it comes, but for those that only a member has.
    pub(super) fn asked_then(&self, who: usize, ask: &Ask, placed: i64) -> Ask {
        let now = self.people[who].clock;
        let all = |parts: &[Ask]| parts.iter().map(|part| self.asked_then(who, part, placed)).collect();
        match ask {
            Ask::Is(Known::Available | Known::Earned | Known::Waste, ..) | Ask::Level(_) | Ask::Member => ask.clone(),
            Ask::Since(known, beside, hours) => {
                let since = self.known(who, *known, now).map(|at| Decimal::from(placed) - at);
                Ask::Answered(beside.holds(since, (hours * HOUR).into()))
            }
            Ask::Not(inner) => Ask::Not(Box::new(self.asked_then(who, inner, placed))),
            Ask::All(parts) => Ask::All(all(parts)),
            Ask::Any(parts) => Ask::Any(all(parts)),
            _ => Ask::Answered(self.answers(who, ask, now)),
        }
    }

    pub(super) fn answers(&self, who: usize, ask: &Ask, now: i64) -> bool {
        let city = || self.people[who].traits.get("city").map(|(city, _)| city).filter(|city| **city != Value::Null);
        match ask {
            Ask::Is(known, beside, number) => beside.holds(self.known(who, *known, now), (*number).into()),
            Ask::Since(known, beside, hours) => {
                let since = self.known(who, *known, now).map(|at| Decimal::from(now) - at);
                beside.holds(since, (hours * HOUR).into())
            }
            Ask::Level(level) => {
                let held = self.people[who].tier.as_ref().filter(|_| !self.followed(who).levels.is_empty());
                held.is_some_and(|held| held.level == *level)
            }
            Ask::City(name) => city() == Some(&Value::from(*name)),
            Ask::HasCity => city().is_some(),
            Ask::Member => self.people[who].joined.is_some(),
            Ask::Not(inner) => !self.answers(who, inner, now),
            Ask::All(parts) => parts.iter().all(|part| self.answers(who, part, now)),
            Ask::Any(parts) => parts.iter().any(|part| self.answers(who, part, now)),
            Ask::Answered(answer) => *answer,
        }
    }

    /// The segments that somebody is in at an instant if nothing happens until then.
    fn groups_at(&self, who: usize, now: i64) -> Vec<Box<str>> {
        let groups = self.followed(who).groups().into_iter();
        let one = |group: crate::figures::Group| {
            if self.answers(who, &group.who, now) { group.id.into() } else { group.others().into() }
        };
        groups.map(one).collect()
    }

    /// Something may have changed: somebody enters segments and leaves others.
    pub(super) fn regroup(&mut self, who: usize) {
        let now = self.people[who].clock;
        let groups = self.groups_at(who, now);
        let person = &mut self.people[who];
        person.groups.retain(|id, _| groups.contains(id));
        for id in groups {
            person.groups.entry(id).or_insert(Some(now));
        }
        person.judged = now;
    }

    /// Time alone moves somebody into a segment, and out of another one: the next instant until another one.
    pub(super) fn next_turn(&self, who: usize, until: i64) -> Option<i64> {
        let person = &self.people[who];
        let mut instants = self.instants(who);
        instants.retain(|at| *at > person.judged && *at <= until);
        instants.sort_unstable();
        instants.dedup();
        let moves = |at: &i64| self.groups_at(who, *at).iter().any(|id| !person.groups.contains_key(id));
        instants.into_iter().find(moves)
    }

    /// Lets time alone move somebody until an instant.
    pub(super) fn turn(&mut self, who: usize, until: i64) {
        while let Some(at) = self.next_turn(who, until) {
            self.people[who].clock = self.people[who].clock.max(at);
            self.regroup(who);
        }
        self.people[who].judged = self.people[who].judged.max(until);
    }

    /// Every instant at which any answer may become another one.
    fn instants(&self, who: usize) -> Vec<i64> {
        let person = &self.people[who];
        let edition = self.followed(who);
        let happened = person.sales.iter().map(|sale| sale.at).chain(person.happened.iter().map(|h| h.at));
        let mut lengths: Vec<i64> = edition.figures().iter().filter_map(|figure| figure.within).collect();
        edition.groups().iter().for_each(|group| lengths_of(&group.who, &mut lengths));
        lengths.sort_unstable();
        lengths.dedup();
        let mut instants: Vec<i64> = Vec::new();
        for at in happened {
            instants.extend(lengths.iter().flat_map(|hours| [at + hours * HOUR, at + hours * HOUR + 1]));
        }
        let zone = self.trade.zone();
        instants.extend(person.years.keys().map(|year| zone.year_begins(year + 1)));
        instants
    }

    /// What somebody is like at an instant.
    pub(crate) fn portrait(&self, who: usize, now: i64) -> Portrait {
        let person = &self.people[who];
        let figures = self.followed(who).figures().into_iter();
        Portrait {
            figures: figures.map(|figure| (figure.id.into(), Self::figure(person, figure, now))).collect(),
            groups: person.groups.clone(),
            at_the_top: self.is_at_the_top(who, now),
        }
    }

    /// Ranks everybody by what is known of them now; what it takes to be at the top until the next time.
    pub(crate) fn rank(&mut self, now: Timestamp) -> Option<Decimal> {
        let (_, share, by) = self.edition().ranked();
        let figure = self.edition().figures().into_iter().find(|figure| figure.id == by);
        let living = (0..self.people.len()).filter(|who| !self.into.contains_key(who));
        let values = living.filter_map(|who| Self::figure(&self.people[who], figure?, now.as_millis()));
        let mut values: Vec<Decimal> = values.filter(|value| *value > Decimal::ZERO).collect();
        values.sort_unstable();
        values.reverse();
        let among = values.len() * usize::try_from(share).unwrap_or(0);
        let places = among / 100 + usize::from(!among.is_multiple_of(100));
        self.threshold = values.get(places.wrapping_sub(1)).copied();
        self.threshold
    }

    fn is_at_the_top(&self, who: usize, now: i64) -> bool {
        let (_, _, by) = self.followed(who).ranked();
        let figure = self.followed(who).figures().into_iter().find(|figure| figure.id == by);
        let value = figure.and_then(|figure| Self::figure(&self.people[who], figure, now));
        value.zip(self.threshold).is_some_and(|(value, threshold)| value > Decimal::ZERO && value >= threshold)
    }

    /// Since when somebody is in a segment is taken on trust where a merge was taken back.
    pub(crate) fn trust(&mut self, who: usize, group: &str, since: i64) {
        let known = self.people[who].groups.get_mut(group);
        known.into_iter().for_each(|known| *known = known.or(Some(since)));
    }
}

fn lengths_of(ask: &Ask, lengths: &mut Vec<i64>) {
    match ask {
        Ask::Since(_, _, hours) => lengths.push(*hours),
        Ask::Not(inner) => lengths_of(inner, lengths),
        Ask::All(parts) | Ask::Any(parts) => parts.iter().for_each(|part| lengths_of(part, lengths)),
        _ => {}
    }
}
