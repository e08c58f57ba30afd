//! Methods: one closed list of what can be fitted, with its settings, and what comes out.

use super::{
    Error, Halt,
    als::{Als, Factors},
    buy_again::{Crowd, Personal},
    ease::Ease,
    fading::Fading,
    interactions::{Case, Histories, Interactions, Owner},
    item_item::{ItemItem, Neighbours},
    next_basket::{Baskets, NextBasket},
    popularity::Popularity,
    session::{SessionNeighbours, Sessions},
};
use serde::{Deserialize, Serialize};

/// A method with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settings {
    /// Decayed counts of everybody; `None` counts all time alike.
    Popularity(Option<f32>),
    /// Neighbours counted in the histories of customers.
    Neighbours(Neighbours),
    /// Neighbours counted in baskets or sessions.
    Baskets(Neighbours),
    /// EASE on the histories of customers.
    Ease(Ease),
    /// EASE on baskets or sessions.
    BasketEase(Ease),
    /// Implicit ALS on the histories of customers.
    Als(Als),
    /// The customer's own decayed counts.
    Personal(Fading),
    /// The decayed counts of the nearest customers.
    Crowd {
        /// How purchases fade.
        fading: Fading,
        /// Customers averaged.
        nearest: usize,
    },
    /// Neighbouring sessions.
    Sessions(SessionNeighbours),
    /// The next basket, learnt from earlier ones.
    NextBasket(NextBasket),
}

impl Settings {
    /// The name of the method as the field knows it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Popularity(_) => "popularity",
            Self::Neighbours(_) => "item-kNN of customers",
            Self::Baskets(_) => "item-kNN of baskets",
            Self::Ease(_) => "EASE",
            Self::BasketEase(_) => "EASE of baskets",
            Self::Als(_) => "iALS",
            Self::Personal(_) => "own purchases",
            Self::Crowd { .. } => "similar customers",
            Self::Sessions(_) => "V-SKNN",
            Self::NextBasket(_) => "learnt next basket",
        }
    }

    /// Whether what is fitted holds the histories of customers.
    pub(crate) fn carries_customers(&self) -> bool {
        matches!(self, Self::Crowd { .. } | Self::Sessions(_) | Self::NextBasket(_))
    }

    /// The same method with at most so many weights per item, where it has any.
    pub(crate) fn keeping(self, keep: usize) -> Self {
        match self {
            Self::Ease(how) => Self::Ease(Ease { keep, ..how }),
            Self::BasketEase(how) => Self::BasketEase(Ease { keep, ..how }),
            Self::Neighbours(how) => Self::Neighbours(Neighbours { keep, ..how }),
            Self::Baskets(how) => Self::Baskets(Neighbours { keep, ..how }),
            other => other,
        }
    }

    /// Fits the method.
    pub(crate) fn fit(&self, corpus: &Corpus, threads: usize) -> Result<Method, Error> {
        let (items, halt) = (corpus.items, &corpus.halt);
        let asked = corpus.asked.as_deref();
        halt.check()?;
        Ok(match self {
            Self::Popularity(half_life) => {
                Method::Popularity(Popularity::fit(&corpus.baskets, items, corpus.now, *half_life))
            }
            Self::Neighbours(how) => Method::ItemItem(ItemItem::fit(&corpus.once, items, asked, how, threads)),
            Self::Baskets(how) => Method::ItemItem(ItemItem::fit(&corpus.baskets, items, asked, how, threads)),
            Self::Ease(how) => Method::ItemItem(how.fit(&corpus.once, items, threads, halt)?),
            Self::BasketEase(how) => Method::ItemItem(how.fit(&corpus.baskets, items, threads, halt)?),
            Self::Als(how) => Method::Als(Factors::fit(&corpus.once, items, how, threads, halt)?),
            Self::Personal(fading) => Method::Personal(Personal { fading: *fading }),
            Self::Crowd { fading, nearest } => {
                Method::Crowd(Crowd::fit(&corpus.full, items, corpus.now, *fading, *nearest))
            }
            Self::Sessions(how) => Method::Sessions(Sessions::fit(&corpus.baskets, items, how)),
            Self::NextBasket(how) => Method::NextBasket(Box::new(Baskets::fit(&corpus.full, items, how, threads)?)),
        })
    }
}

/// A fitted method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Decayed counts of everybody.
    Popularity(Popularity),
    /// An item-item matrix.
    ItemItem(ItemItem),
    /// Points of items.
    Als(Factors),
    /// The customer's own decayed counts.
    Personal(Personal),
    /// The decayed counts of the nearest customers.
    Crowd(Crowd),
    /// Neighbouring sessions.
    Sessions(Sessions),
    /// The next basket.
    NextBasket(Box<Baskets>),
}

impl Method {
    /// Writes the scores of all items.
    pub(crate) fn score(&self, case: &Case, scores: &mut [f32]) {
        scores.fill(0.0);
        match self {
            Self::Popularity(method) => method.score(case, scores),
            Self::ItemItem(method) => method.score(case, scores),
            Self::Als(method) => method.score(case, scores),
            Self::Personal(method) => method.score(case, scores),
            Self::Crowd(method) => method.score(case, scores),
            Self::Sessions(method) => method.score(case, scores),
            Self::NextBasket(method) => method.score(case, scores),
        }
    }
}

impl Method {
    /// Whether it can speak for an item that nothing in the history leads to, because customers alike took it.
    pub(crate) fn compares_customers(&self) -> bool {
        matches!(self, Self::Als(_) | Self::Crowd(_) | Self::NextBasket(_))
    }

    /// The item-item weights of the method, where a reason can be read from.
    pub(crate) fn linked(&self) -> Option<&ItemItem> {
        match self {
            Self::ItemItem(linked) => Some(linked),
            Self::NextBasket(method) => Some(method.linked()),
            _ => None,
        }
    }
}

/// The same interactions in the groupings that methods learn from.
pub(crate) struct Corpus {
    pub(crate) items: usize,
    /// Per customer, with repeats.
    pub(crate) full: Histories,
    /// Per customer, each item once.
    pub(crate) once: Histories,
    /// Per basket or session; in sessions an item may repeat.
    pub(crate) baskets: Histories,
    pub(crate) now: f64,
    /// The items whose neighbours will be asked for, where it is known that others will not.
    pub(crate) asked: Option<Vec<bool>>,
    /// Whether to go on learning from them.
    pub(crate) halt: Halt,
}

impl Corpus {
    pub(crate) fn new(data: &Interactions, repeats_in_baskets: bool) -> Self {
        Self {
            items: data.items.len(),
            full: Histories::group(data, Owner::User, false),
            once: Histories::group(data, Owner::User, true),
            baskets: Histories::group(data, Owner::Basket, !repeats_in_baskets),
            now: data.now(),
            asked: None,
            halt: Halt::default(),
        }
    }
}
