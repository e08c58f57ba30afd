//! The shelf: recommendations from memory, by whatever thread asks.
//!
//! Promise: an answer needs no journal and no disk. Counts of orders since the training move with
//! every order, so that what is in demand now and what is new are answered between trainings. Where
//! there is no model yet the shelf answers with what is ordered most, and says so.
//! Past visits are read from the journal into memory, and again once somebody in them may be erased.
//! Absent on purpose: customers. The caller hands in the history that an answer is for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use perennial_core::event::Product;
use perennial_core::time::Timestamp;
use perennial_learn::recommend::diversity;
use perennial_learn::recommend::filter::Compatibility;
use perennial_learn::recommend::live::{LiveNeighbours, Weighting};
use perennial_learn::recommend::{Choice, Reason, Recommendation, Recommender};
use perennial_store::JournalReader;

use super::goods::{self, Good};
use super::newcomers::{Alike, Arrivals, FEW, Newcomers};
use super::shop::{self, Known, Shop};
use super::visits::{Plan, Visits};
use super::{Progress, Untrained};

/// Pairs counted between trainings at most; then pairs wait for the next training.
const PAIRS_MAX: usize = 200_000;
/// Lines of one order whose pairs are counted.
const BASKET_MAX: usize = 40;
/// Items counted between trainings at most.
const ITEMS_MAX: usize = 100_000;
/// One in so many places of a list is for an item that few have ordered yet.
const NEWCOMERS_EVERY: usize = 5;
/// A various list is chosen from so many times its length.
const POOL: usize = 5;
const POOL_MAX: usize = 200;
/// Items of a history by which newcomers are sought, the latest.
const SOURCES_MAX: usize = 20;

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
    /// Of this category, or one below it.
    pub category: Option<String>,
    /// At this price or more, in major units.
    pub from: Option<f64>,
    /// At this price or less.
    pub to: Option<f64>,
    /// None of these.
    pub except: HashSet<String>,
    /// In stock as far as is known, unless told: `true` for what is known to be, `false` for whatever is there.
    pub in_stock: Option<bool>,
    /// No items that few have ordered yet, in the places that are kept for them.
    pub proven: bool,
    /// How much items of a list shall differ: from 0, the best first, to 1, as unlike one another as can be.
    pub diversity: f32,
}

/// What somebody bought, oldest first: the ids in one text, because a shelf is asked often and keeps none of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bought {
    ids: String,
    /// Where each id ends, and the days since 1970 of its order.
    lines: Vec<(usize, f64)>,
    /// Lines that are left out at the beginning.
    older: usize,
}

impl Bought {
    /// Adds what was bought next.
    pub fn push(&mut self, item: &str, at: f64) {
        self.ids.push_str(item);
        self.lines.push((self.ids.len(), at));
    }

    /// Leaves out all but so many, the latest.
    pub fn keep_latest(&mut self, lines: usize) {
        self.older = self.older.max(self.lines.len().saturating_sub(lines));
    }

    /// The items with the days since 1970 of their orders.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        let mut begin = self.older.checked_sub(1).map_or(0, |last| self.lines[last].0);
        self.lines[self.older..].iter().map(move |&(end, at)| (&self.ids[std::mem::replace(&mut begin, end)..end], at))
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

impl Wanted {
    /// How many candidates a list of so many items is chosen from.
    fn depth(&self, limit: usize) -> usize {
        if self.diversity > 0.0 { (limit * POOL).min(POOL_MAX).max(limit) } else { limit }
    }
}

impl<'a> Question<'a> {
    /// The items by whose description others are sought, the latest of a customer first; none where likeness is
    /// no answer.
    fn sources(&self, kind: Kind) -> Vec<&'a str> {
        match kind {
            Kind::ForYou => {
                let mut latest: Vec<&str> = self.history.iter().map(|(item, _)| item).collect();
                latest.reverse();
                latest
            }
            Kind::Similar | Kind::Together | Kind::Session => self.items.iter().map(String::as_str).collect(),
            Kind::Again | Kind::Trending => Vec::new(),
        }
    }
}

impl Pick {
    fn alike(alike: Alike, scale: f32) -> Self {
        let Alike { item, likeness, to, shared } = alike;
        Self { item, name: None, score: scale * likeness, why: Why::Like(to, shared) }
    }
}

/// What is kept in memory to answer from.
#[derive(Debug, Default)]
pub struct Shelf(RwLock<Stock>);

#[derive(Debug, Default)]
struct Stock {
    shop: Option<(u32, Timestamp, Arc<Shop>)>,
    goods: HashMap<Box<str>, Good>,
    newcomers: Newcomers,
    relations: Compatibility,
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
    /// It is like this item of theirs, or of the question, in these words; few have ordered it yet, or
    /// orders say nothing.
    Like(String, Vec<String>),
    /// Customers who shop alike took it: those of this item, where there is one that they share.
    Customers(Option<String>),
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
        stock.forgotten += 1; // What is being read for the model before is not of this one.
        stock.owes_visits = matches!(shop.visits(), Plan::Learnt { .. });
        if !stock.owes_visits {
            stock.visits = None;
        }
        stock.shop = Some((version, at, shop));
        stock.live = Live::default();
        stock.newcomers.pass(at);
        stock.settle();
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
            stock.owes_visits = false;
            let before = std::mem::replace(&mut stock.visits, fitted);
            drop((stock, before)); // Nobody waits for what is let go.
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
        let mut stock = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *stock = Stock { forgotten: stock.forgotten + 1, ..Stock::default() };
    }

    /// When items came to the catalogue, for a checkpoint.
    pub fn arrivals(&self) -> Arrivals {
        self.0.read().unwrap_or_else(PoisonError::into_inner).newcomers.arrivals().clone()
    }

    /// What a checkpoint kept of the catalogue, and when items came to it.
    pub fn take_over<'a>(&self, products: impl Iterator<Item = &'a Product>, arrivals: Option<Arrivals>) {
        self.learn(products, Timestamp::EPOCH);
        let mut stock = self.0.write().unwrap_or_else(PoisonError::into_inner);
        arrivals.into_iter().for_each(|arrivals| stock.newcomers.take_over(arrivals));
        stock.settle();
    }

    /// What the catalogue says of products since an instant.
    pub fn learn<'a>(&self, products: impl Iterator<Item = &'a Product>, at: Timestamp) {
        let mut stock = self.0.write().unwrap_or_else(PoisonError::into_inner);
        stock.newcomers.pass(at);
        let mut news = false;
        for product in products {
            let good = stock.goods.entry(product.product_id.clone()).or_default();
            *good = Good { number: good.number, ..Good::of(product) };
            news |= stock.newcomers.describe(product, at);
            let [fits, clashes] = ["fits", "not_with"].map(|relation| goods::related(product, relation));
            stock.relations.declare(&product.product_id, &fits, &clashes);
        }
        if news {
            stock.settle();
        }
    }

    /// An order was taken.
    pub fn observe<'a>(&self, items: impl Iterator<Item = &'a str>) {
        let mut basket: Vec<&str> = items.filter(|item| !item.is_empty()).collect();
        basket.sort_unstable();
        basket.dedup();
        let mut stock = self.0.write().unwrap_or_else(PoisonError::into_inner);
        stock.live.observe(&basket);
        let known = |item: &&&str| stock.orders(item) >= FEW;
        let often: Vec<&str> = basket.iter().filter(known).copied().collect();
        often.into_iter().for_each(|item| stock.newcomers.known_now(item));
    }

    /// The best items; [`Found::instead`] says what they are when that is not what was asked for.
    pub fn answer(&self, kind: Kind, question: Question<'_>, wanted: &Wanted) -> Found {
        let stock = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let context = stock.context(kind, question);
        let allow = |item: &str| {
            stock.allows(item, wanted) && context.as_ref().is_none_or(|others| stock.relations.allows(item, others))
        };
        let model = stock.shop.as_ref().map(|(version, at, _)| (*version, *at));
        let deep = Question { limit: wanted.depth(question.limit), ..question };
        let (mut list, mut instead) = stock.own(kind, deep, &allow);
        let known = !list.is_empty();
        if !known {
            instead = stock.why_demand(kind).map(Into::into);
            list = stock.demand(deep.limit, &|item| allow(item) && !question.items.iter().any(|i| i == item));
        }
        if wanted.diversity > 0.0 {
            list = stock.spread(list, question.limit, wanted.diversity);
        }
        if known && !wanted.proven && matches!(kind, Kind::ForYou | Kind::Similar) {
            stock.let_in(&mut list, kind, question, &allow);
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
    /// How often an item was ordered, as far as the model and the counts since know.
    fn orders(&self, item: &str) -> f32 {
        let number = self.goods.get(item).and_then(|good| good.number);
        let before = self.shop.as_ref().zip(number).map_or(0.0, |((_, _, shop), number)| shop.orders(number));
        before + self.live.orders.get(item).copied().unwrap_or(0.0)
    }

    /// Says anew which items are new.
    fn settle(&mut self) {
        let mut newcomers = std::mem::take(&mut self.newcomers);
        newcomers.settle(|item| self.orders(item) < FEW);
        self.newcomers = newcomers;
    }

    /// What was asked for itself; and what it is, where that is something else.
    fn own(&self, kind: Kind, question: Question<'_>, allow: &dyn Fn(&str) -> bool) -> (Vec<Pick>, Option<String>) {
        let (mut list, mut instead) = self.learnt(kind, question, allow);
        if list.is_empty() {
            list = self.live_beside(kind, question, allow);
        }
        if list.is_empty() {
            list = self.alike(kind, question, allow);
            instead = self.why_alike(kind).filter(|_| !list.is_empty()).map(Into::into);
        }
        (list, instead)
    }

    /// The best of a list that say different things (maximal marginal relevance): items are alike by their
    /// customers or by their description, whichever is more.
    fn spread(&self, list: Vec<Pick>, limit: usize, diversity: f32) -> Vec<Pick> {
        let number = |item: &str| self.goods.get(item).and_then(|good| good.number);
        let items: Vec<_> = list.iter().map(|p| (number(&p.item), self.newcomers.find(&p.item))).collect();
        let customers = |one, other| self.shop.as_ref().map_or(0.0, |(_, _, shop)| shop.likeness(one, other));
        let likeness = |one: usize, other: usize| {
            let bought = items[one].0.zip(items[other].0).map_or(0.0, |(one, other)| customers(one, other));
            let told = items[one].1.zip(items[other].1);
            told.map_or(0.0, |(one, other)| self.newcomers.likeness(one, other)).max(bought)
        };
        let scores: Vec<f32> = list.iter().map(|pick| pick.score).collect();
        let chosen = diversity::spread(&scores, limit, 1.0 - diversity, likeness);
        let mut list: Vec<Option<Pick>> = list.into_iter().map(Some).collect();
        chosen.into_iter().filter_map(|place| list[place].take()).collect()
    }

    /// What the model says; and what it is, where that is not quite what was asked for.
    fn learnt(&self, kind: Kind, question: Question<'_>, allow: &dyn Fn(&str) -> bool) -> (Vec<Pick>, Option<String>) {
        let Some((_, _, shop)) = &self.shop else { return (Vec::new(), None) };
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
        let mut list = match kind {
            Kind::ForYou => picks(shop.for_you(asked, &may), kind),
            Kind::Similar => picks(shop.similar(asked, &may), kind),
            Kind::Together | Kind::Session => picks(shop.together(asked, &may), Kind::Together),
            Kind::Again => picks(shop.again(asked, &may), kind),
            Kind::Trending => self.demand(question.limit, allow),
        };
        self.trace(&mut list, &history, &items);
        (list, (kind == Kind::Session).then(|| self.no_visits(shop)))
    }

    /// Where only customers alike speak for an item, the item of the question is named that most of them share.
    fn trace(&self, list: &mut [Pick], history: &[(u32, f64)], items: &[u32]) {
        let Some((_, _, shop)) = &self.shop else { return };
        for pick in list.iter_mut().filter(|pick| pick.why == Why::Customers(None)) {
            let Some(number) = self.goods.get(&*pick.item).and_then(|good| good.number) else { continue };
            let sources = history.iter().map(|(item, _)| *item).chain(items.iter().copied());
            let likeness = sources.map(|source| (source, shop.likeness(source, number)));
            let best = likeness.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
            if let Some((source, _)) = best.filter(|(source, likeness)| *likeness > 0.0 && *source != number) {
                pick.why = Why::Customers(Some(shop.name(source).into()));
            }
        }
    }

    /// Items that the catalogue describes as it describes others.
    fn alike(&self, kind: Kind, question: Question<'_>, allow: &dyn Fn(&str) -> bool) -> Vec<Pick> {
        let sources = question.sources(kind);
        let latest = &sources[..sources.len().min(SOURCES_MAX)];
        let unbought = |item: &str| allow(item) && !sources.contains(&item);
        let found = self.newcomers.all_beside(latest, question.limit, &unbought);
        found.into_iter().map(|alike| Pick::alike(alike, 1.0)).collect()
    }

    /// Gives every fifth place of a list to an item that few have ordered yet, where one is like the sources.
    fn let_in(&self, list: &mut Vec<Pick>, kind: Kind, question: Question<'_>, allow: &dyn Fn(&str) -> bool) {
        let sources = question.sources(kind);
        let latest = &sources[..sources.len().min(SOURCES_MAX)];
        let fresh = |item: &str| allow(item) && !sources.contains(&item) && list.iter().all(|pick| pick.item != item);
        let found = self.newcomers.beside(latest, question.limit / NEWCOMERS_EVERY, &fresh);
        let best = list.first().map_or(1.0, |pick| pick.score);
        for (nth, alike) in (1..).zip(found) {
            list.insert((nth * NEWCOMERS_EVERY - 1).min(list.len()), Pick::alike(alike, best));
        }
        list.truncate(question.limit);
    }

    /// What likeness answers for, where orders say nothing; it is what was asked for when it is asked for.
    fn why_alike(&self, kind: Kind) -> Option<&'static str> {
        match (&self.shop, kind) {
            (_, Kind::Similar) => None,
            (None, _) => Some("no model is trained yet: what is described alike"),
            (_, Kind::ForYou) => None,
            _ => Some("no order with these items is known: what is described alike"),
        }
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
    fn no_visits(&self, shop: &Shop) -> String {
        match shop.visits() {
            Plan::Instead(why) => why.clone(),
            Plan::Learnt { .. } if self.visits.is_none() => {
                "past visits are being read again: what lies in orders with these items".into()
            }
            Plan::Learnt { .. } => "no visit with these items is known: what lies in orders with them".into(),
        }
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

    /// What an item must fit: the items of the question, or what the customer has; none where it need not fit
    /// anything, because they had it before or nobody is asked about.
    fn context<'a>(&self, kind: Kind, question: Question<'a>) -> Option<Vec<&'a str>> {
        let items = question.items.iter().map(String::as_str);
        let fits = match kind {
            Kind::ForYou => true,
            Kind::Again => false,
            Kind::Similar | Kind::Together | Kind::Session | Kind::Trending => !question.items.is_empty(),
        };
        let bought = question.history.iter().map(|(item, _)| item).filter(|_| kind == Kind::ForYou);
        (fits && !self.relations.is_empty()).then(|| items.chain(bought).collect())
    }

    fn allows(&self, item: &str, wanted: &Wanted) -> bool {
        let good = self.goods.get(item);
        let price = |holds: &dyn Fn(f64) -> bool| good.and_then(|g| g.price).is_some_and(holds);
        let stock = good.and_then(|good| good.in_stock);
        !wanted.except.contains(item)
            && wanted.in_stock.map_or(stock != Some(false), |wanted| !wanted || stock == Some(true))
            && wanted.category.as_ref().is_none_or(|category| good.is_some_and(|good| good.is_of(category)))
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
        Reason::SimilarCustomers => Why::Customers(None),
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
