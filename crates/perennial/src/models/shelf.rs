//! The shelf: recommendations from memory, by whatever thread asks.
//!
//! Promise: an answer needs no journal and no disk. Counts of orders since the training move with
//! every order, so that what is in demand now and what is new are answered between trainings. Where
//! there is no model yet the shelf answers with what is ordered most, and says so.
//! Past visits are read from the journal into memory, and again once somebody in them may be erased.
//! Absent on purpose: customers. The caller hands in the history that an answer is for.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use perennial_core::event::Product;
use perennial_core::time::Timestamp;
use perennial_core::value::Value;
use perennial_learn::recommend::live::{LiveNeighbours, Weighting};
use perennial_learn::recommend::{Choice, Reason, Recommendation, Recommender};
use perennial_store::JournalReader;
use rust_decimal::prelude::ToPrimitive as _;

use super::shop::{self, Known, Shop};
use super::visits::{Plan, Visits};
use super::{Progress, Untrained};

/// Pairs counted between trainings at most; then pairs wait for the next training.
const PAIRS_MAX: usize = 200_000;
/// Lines of one order whose pairs are counted.
const BASKET_MAX: usize = 40;
/// Items counted between trainings at most.
const ITEMS_MAX: usize = 100_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// New items for a customer.
    ForYou,
    /// What customers of an item bought too.
    Similar,
    /// What lies in baskets with items.
    Together,
    /// What a customer buys again.
    Again,
    /// What is in demand.
    Trending,
    /// What fits a running session.
    Session,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::ForYou, Self::Similar, Self::Together, Self::Again, Self::Trending, Self::Session];

    /// The word in addresses.
    pub fn word(self) -> &'static str {
        match self {
            Self::ForYou => "for-you",
            Self::Similar => "similar",
            Self::Together => "together",
            Self::Again => "again",
            Self::Trending => "trending",
            Self::Session => "session",
        }
    }

    /// Whether it is asked for a customer.
    pub fn needs_customer(self) -> bool {
        matches!(self, Self::ForYou | Self::Again)
    }

    /// Whether it is asked beside items.
    pub fn needs_items(self) -> bool {
        matches!(self, Self::Similar | Self::Together | Self::Session)
    }
}

/// Which items may be recommended; each condition only when it is given.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this category.
    pub category: Option<String>,
    /// At this price or more, in major units.
    pub from: Option<f64>,
    /// At this price or less.
    pub to: Option<f64>,
    /// None of these.
    pub except: Vec<String>,
}

/// What somebody bought, oldest first: the ids in one text, because a shelf is asked often and keeps none of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bought {
    ids: String,
    /// Where each id ends, and the days since 1970 of its order.
    lines: Vec<(usize, f64)>,
}

impl Bought {
    /// Adds what was bought next.
    pub fn push(&mut self, item: &str, at: f64) {
        self.ids.push_str(item);
        self.lines.push((self.ids.len(), at));
    }

    /// The items with the days since 1970 of their orders.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        let mut begin = 0;
        self.lines.iter().map(move |&(end, at)| (&self.ids[std::mem::replace(&mut begin, end)..end], at))
    }
}

/// What is asked, and whom for.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The customer's orders.
    pub history: &'a Bought,
    /// Items shown, in the basket, or looked at, oldest first.
    pub items: &'a [String],
    /// How many are wanted.
    pub limit: usize,
}

/// What is known of an item.
#[derive(Clone, Debug, Default, PartialEq)]
struct Good {
    /// What the model calls it, when the model knows it.
    number: Option<u32>,
    /// What the catalogue says of it.
    name: Option<Box<str>>,
    category: Option<Box<str>>,
    price: Option<f64>,
    out_of_stock: bool,
}

/// What is kept in memory to answer from.
#[derive(Debug, Default)]
pub struct Shelf(RwLock<Stock>);

#[derive(Debug, Default)]
struct Stock {
    shop: Option<(u32, Timestamp, Arc<Shop>)>,
    goods: HashMap<Box<str>, Good>,
    live: Live,
    /// Past visits, where the model learnt from any.
    visits: Option<Recommender>,
    /// They are to be read, or read again.
    owes_visits: bool,
    /// How often they were forgotten: what was read before the last time does not count.
    forgotten: u64,
}

/// Visits that are to be read.
#[derive(Clone, Debug)]
pub struct Owed {
    choice: Choice,
    from: u64,
    until: u64,
    forgotten: u64,
}

/// Why an item stands in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The customer bought it before, so many times.
    Bought(usize),
    /// It goes with this item of theirs, or of the basket.
    With(String),
    /// It was looked at in this visit, so many times.
    Viewed(usize),
    /// Visits with this item went on to it.
    After(String),
    /// Customers who shop alike took it.
    Customers,
    /// Many take it.
    Demand,
}

/// An item of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick {
    /// Its id.
    pub item: String,
    /// What the catalogue calls it.
    pub name: Option<Box<str>>,
    /// Comparable within one list only.
    pub score: f32,
    /// Where it comes from.
    pub why: Why,
}

/// Counts of orders since the training.
#[derive(Debug, Default)]
struct Live {
    orders: HashMap<Box<str>, f32>,
    beside: LiveNeighbours,
    pairs: usize,
}

/// An answer, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Version of the model and when it was published; none when there is none yet.
    pub model: Option<(u32, Timestamp)>,
    /// Why this is not what was asked for, when it is not.
    pub instead: Option<String>,
    /// The items, best first.
    pub items: Vec<Pick>,
}

impl Shelf {
    /// A model is in force; what was counted before it counts no more.
    pub fn put(&self, version: u32, at: Timestamp, shop: Arc<Shop>) {
        let mut stock = self.0.write().unwrap_or_else(PoisonError::into_inner);
        stock.goods.values_mut().for_each(|good| good.number = None);
        for (number, item) in shop.names() {
            stock.goods.entry(item.into()).or_default().number = Some(number);
        }
        stock.owes_visits = matches!(shop.visits(), Plan::Learnt { .. });
        if !stock.owes_visits {
            stock.visits = None;
        }
        stock.shop = Some((version, at, shop));
        stock.live = Live::default();
    }

    /// The visits that the model in force learnt from, where they are to be read.
    pub fn owed(&self) -> Option<Owed> {
        let stock = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (_, _, shop) = stock.shop.as_ref().filter(|_| stock.owes_visits)?;
        let Plan::Learnt { choice, from, until } = shop.visits() else { return None };
        Some(Owed { choice: choice.clone(), from: *from, until: *until, forgotten: stock.forgotten })
    }

    /// Reads visits that are owed; what was forgotten meanwhile stays owed.
    ///
    /// # Errors
    /// The store's failure, or [`Untrained::Cancelled`].
    pub fn recall(&self, owed: &Owed, journal: &JournalReader, progress: &Progress) -> Result<(), Untrained> {
        let visits = Visits::between(journal, owed.from, owed.until, progress)?;
        let fitted = if visits.is_empty() { None } else { Some(visits.fit(owed.choice.clone(), progress.halt())?) };
        let mut stock = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if stock.forgotten == owed.forgotten {
            (stock.visits, stock.owes_visits) = (fitted, false);
        }
        Ok(())
    }

    /// Forgets all visits; those of people who are left are owed.
    pub fn forget_visits(&self) {
        let mut stock = self.0.write().unwrap_or_else(PoisonError::into_inner);
        stock.forgotten += 1;
        stock.owes_visits |= stock.visits.take().is_some();
    }

    /// Nothing is known any more: memory is made again.
    pub fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Stock::default();
    }

    /// What the catalogue says of products.
    pub fn learn<'a>(&self, products: impl Iterator<Item = &'a Product>) {
        let mut stock = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for product in products {
            let good = stock.goods.entry(product.product_id.clone()).or_default();
            *good = Good { number: good.number, ..Good::of(product) };
        }
    }

    /// An order was taken.
    pub fn observe<'a>(&self, items: impl Iterator<Item = &'a str>) {
        let mut basket: Vec<&str> = items.filter(|item| !item.is_empty()).collect();
        basket.sort_unstable();
        basket.dedup();
        let mut stock = self.0.write().unwrap_or_else(PoisonError::into_inner);
        stock.live.observe(&basket);
    }

    /// The best items; `note` says where they come from when that is not what was asked for.
    pub fn answer(&self, kind: Kind, question: Question<'_>, wanted: &Wanted) -> Found {
        let stock = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let allow = |item: &str| stock.allows(item, wanted);
        let model = stock.shop.as_ref().map(|(version, at, _)| (*version, *at));
        let (mut list, mut instead) = stock.own(kind, question, &allow);
        if list.is_empty() {
            instead = stock.why_demand(kind).map(Into::into);
            list = stock.demand(question.limit, &|item| allow(item) && !question.items.iter().any(|i| i == item));
        }
        for pick in &mut list {
            pick.name = stock.goods.get(&*pick.item).and_then(|good| good.name.clone());
        }
        Found { model, instead, items: list }
    }

    /// What the catalogue calls an item.
    pub fn name(&self, item: &str) -> Option<Box<str>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).goods.get(item)?.name.clone()
    }
}

impl Stock {
    /// What was asked for itself; and what it is, where that is something else.
    fn own(&self, kind: Kind, question: Question<'_>, allow: &dyn Fn(&str) -> bool) -> (Vec<Pick>, Option<String>) {
        let Some((_, _, shop)) = &self.shop else { return (self.live_beside(kind, question, allow), None) };
        if kind == Kind::Session {
            let list = self.next_in_visit(question, allow);
            if !list.is_empty() {
                return (list, None);
            }
        }
        let number = |item: &str| self.goods.get(item).and_then(|good| good.number);
        let history: Vec<(u32, f64)> =
            question.history.iter().filter_map(|(item, at)| Some((number(item)?, at))).collect();
        let items: Vec<u32> = question.items.iter().filter_map(|item| number(item)).collect();
        let asked = shop::Question { history: &history, items: &items, limit: question.limit };
        let may = |item: u32| allow(shop.name(item));
        let list = match kind {
            Kind::ForYou => picks(shop.for_you(asked, &may), kind),
            Kind::Similar => picks(shop.similar(asked, &may), kind),
            Kind::Together | Kind::Session => picks(shop.together(asked, &may), Kind::Together),
            Kind::Again => picks(shop.again(asked, &may), kind),
            Kind::Trending => self.demand(question.limit, allow),
        };
        let list = if list.is_empty() { self.live_beside(kind, question, allow) } else { list };
        (list, self.no_visits(shop).filter(|_| kind == Kind::Session))
    }

    /// What visits alike went on to.
    fn next_in_visit(&self, question: Question<'_>, allow: &dyn Fn(&str) -> bool) -> Vec<Pick> {
        let Some(visits) = &self.visits else { return Vec::new() };
        if !question.items.iter().any(|item| visits.items.find(item).is_some()) {
            return Vec::new();
        }
        picks(visits.after_among(question.items, question.limit, allow), Kind::Session)
    }

    /// Why visits do not answer for a visit.
    fn no_visits(&self, shop: &Shop) -> Option<String> {
        Some(match shop.visits() {
            Plan::Instead(why) => why.clone(),
            Plan::Learnt { .. } if self.visits.is_none() => {
                "past visits are being read again: what lies in orders with these items".into()
            }
            Plan::Learnt { .. } => "no visit with these items is known: what lies in orders with them".into(),
        })
    }

    /// Why there is nothing but what is in demand.
    fn why_demand(&self, kind: Kind) -> Option<&'static str> {
        match (&self.shop, kind) {
            (None, _) => Some("no model is trained yet: what is ordered most lately"),
            (_, Kind::Again) => Some("nothing to buy again is known: what is in demand"),
            (_, Kind::ForYou) => Some("no order of this customer is known: what is in demand"),
            (_, Kind::Trending) => None,
            _ => Some("these items are not known: what is in demand"),
        }
    }

    /// For items that came after the training: what was ordered with them since.
    fn live_beside(&self, kind: Kind, question: Question<'_>, allow: &dyn Fn(&str) -> bool) -> Vec<Pick> {
        let Some(last) = question.items.last().filter(|_| kind.needs_items()) else { return Vec::new() };
        let near = self.live.beside.neighbours(last, question.limit + question.items.len(), Weighting::Cosine);
        let near = near.into_iter().filter(|(item, _)| allow(item) && !question.items.contains(item));
        let pick = |(item, score)| Pick { item, name: None, score, why: Why::With(last.clone()) };
        near.take(question.limit).map(pick).collect()
    }

    fn demand(&self, limit: usize, allow: &dyn Fn(&str) -> bool) -> Vec<Pick> {
        if let Some((_, _, shop)) = &self.shop {
            let known =
                |item| self.goods.get(item).and_then(|good| good.number).map_or(Known::Name(item), Known::Number);
            let mut fresh: Vec<(Known<'_>, f32)> =
                self.live.orders.iter().map(|(item, orders)| (known(&**item), *orders)).collect();
            fresh.sort_unstable_by_key(|(item, _)| match item {
                Known::Number(number) => (*number, ""),
                Known::Name(name) => (u32::MAX, *name),
            });
            return picks(shop.trending(limit, &fresh, allow), Kind::Trending);
        }
        let mut list: Vec<(&str, f32)> = self.live.orders.iter().map(|(item, n)| (&**item, *n)).collect();
        list.retain(|(item, _)| allow(item));
        list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
        list.truncate(limit);
        list.into_iter().map(|(item, score)| Pick { item: item.into(), name: None, score, why: Why::Demand }).collect()
    }

    fn allows(&self, item: &str, wanted: &Wanted) -> bool {
        let good = self.goods.get(item);
        let category = |c: &String| good.is_some_and(|g| g.category.as_deref() == Some(c));
        let price = |holds: &dyn Fn(f64) -> bool| good.and_then(|g| g.price).is_some_and(holds);
        !wanted.except.iter().any(|other| other == item)
            && good.is_none_or(|g| !g.out_of_stock)
            && wanted.category.as_ref().is_none_or(category)
            && wanted.from.is_none_or(|from| price(&|p| p >= from))
            && wanted.to.is_none_or(|to| price(&|p| p <= to))
    }
}

/// What a model said, in the words of a kind.
fn picks(list: Vec<Recommendation>, kind: Kind) -> Vec<Pick> {
    let why = |reason| match reason {
        Reason::BoughtBefore(times) if kind == Kind::Session => Why::Viewed(times),
        Reason::BoughtBefore(times) => Why::Bought(times),
        Reason::GoesWith(item) if kind == Kind::Session => Why::After(item),
        Reason::GoesWith(item) => Why::With(item),
        Reason::SimilarCustomers => Why::Customers,
        Reason::Popular => Why::Demand,
    };
    let pick =
        |found: Recommendation| Pick { item: found.item, name: None, score: found.score, why: why(found.reason) };
    list.into_iter().map(pick).collect()
}

impl Live {
    fn observe(&mut self, basket: &[&str]) {
        for (place, item) in basket.iter().enumerate() {
            if let Some(count) = self.orders.get_mut(*item) {
                *count += 1.0;
            } else if self.orders.len() < ITEMS_MAX {
                self.orders.insert((*item).into(), 1.0);
            }
            if place < BASKET_MAX && self.pairs < PAIRS_MAX {
                self.beside.observe(&basket[..place], item);
                self.pairs += place;
            }
        }
    }
}

impl Good {
    fn of(product: &Product) -> Self {
        let text = |names: &[&str]| {
            let value = names.iter().find_map(|name| product.about.get(name));
            value.and_then(Value::as_text).map(Into::into)
        };
        let number = |name: &str| match product.about.get(name) {
            Some(Value::Number(n)) => n.to_f64(),
            Some(Value::Text(text)) => text.parse().ok(),
            _ => None,
        };
        let denied = matches!(product.about.get("in_stock"), Some(Value::Bool(false)));
        let said = text(&["availability"]).is_some_and(|a: Box<str>| a.to_lowercase().starts_with("out"));
        Self {
            number: None,
            name: text(&["name", "title"]),
            category: text(&["category"]),
            price: number("price"),
            out_of_stock: denied || said || number("stock").is_some_and(|pieces| pieces <= 0.0),
        }
    }
}
