//! Newcomers: items that came to the catalogue lately and that few have ordered yet, found by what it says of them.
//! What the shop's first catalogue held is not new: nobody knows how long it was there before.
//!
//! Promise: no training is needed, and a list costs the same whether the catalogue is large or small:
//! what is new beside an item is sought once, and again after the catalogue has changed.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use perennial_core::event::Product;
use perennial_core::time::Timestamp;
use perennial_learn::recommend::content::Content;

use serde::{Deserialize, Serialize};

use super::{DAY_MS, goods};

/// An item that was ordered less often than this may be new.
pub(super) const FEW: f32 = 5.0;
/// So long after it came an item is new, in milliseconds: a season.
const NEW_MS: i64 = 90 * DAY_MS;
/// The first catalogue is all that is told within so long, in milliseconds: it comes in pages.
const FIRST_MS: i64 = DAY_MS;
/// New items that are remembered beside an item.
const NEAR: usize = 8;
/// Items whose tags agree less are not alike.
const LIKENESS_MIN: f32 = 0.3;
/// Tags that a reason names.
const TOLD: usize = 2;

/// What the catalogue says, and which items of it are new.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    content: Content,
    arrivals: Arrivals,
    /// The latest instant that a catalogue or a model was published.
    latest: Timestamp,
    /// By the content's number.
    new: Vec<bool>,
    near: Vec<OnceLock<Near>>,
}

/// New items beside an item, by their numbers in the content, with their likeness in `0..=1`.
type Near = Box<[(u32, f32)]>;

/// When items came to the catalogue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Arrivals {
    /// When the shop told its first products.
    first: Option<Timestamp>,
    /// Items that came after the first catalogue and are new still.
    came: BTreeMap<Box<str>, Timestamp>,
}

impl Arrivals {
    /// An item was not known before.
    fn note(&mut self, item: &str, at: Timestamp) {
        if at.since(*self.first.get_or_insert(at)) > FIRST_MS {
            self.came.insert(item.into(), at);
        }
    }

    /// Forgets when items came that will never be new again.
    fn prune(&mut self, now: Timestamp) {
        self.came.retain(|_, at| now.since(*at) <= NEW_MS);
    }

    fn is_recent(&self, item: &str, now: Timestamp) -> bool {
        self.came.get(item).is_some_and(|at| now.since(*at) <= NEW_MS)
    }
}

/// An item that is like another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Alike {
    /// The item.
    pub(super) item: String,
    /// How much, in `0..=1`.
    pub(super) likeness: f32,
    /// Which it is like.
    pub(super) to: String,
    /// In what, in words; nothing where only their prices agree.
    pub(super) shared: Vec<String>,
}

impl Newcomers {
    /// The catalogue said this of a product then; answers whether that is news. [`Newcomers::settle`] ends a
    /// round of news.
    pub(super) fn describe(&mut self, product: &Product, at: Timestamp) -> bool {
        if self.content.find(&product.product_id).is_none() {
            self.arrivals.note(&product.product_id, at);
        }
        self.content.describe(&product.product_id, &goods::tags(product))
    }

    /// When items came.
    pub(super) fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    /// Items came when a checkpoint says they did.
    pub(super) fn take_over(&mut self, arrivals: Arrivals) {
        self.arrivals = arrivals;
    }

    /// Something was published then.
    pub(super) fn pass(&mut self, at: Timestamp) {
        self.latest = self.latest.max(at);
    }

    /// Says anew which items are new: those that came lately, of which few were ordered.
    pub(super) fn settle(&mut self, is_rare: impl Fn(&str) -> bool) {
        self.arrivals.prune(self.latest);
        let all = 0..u32::try_from(self.content.len()).unwrap_or(u32::MAX);
        let names = all.map(|item| self.content.name(item));
        self.new = names.map(|name| self.arrivals.is_recent(name, self.latest) && is_rare(name)).collect();
        self.near.clear();
        self.near.resize_with(self.content.len(), OnceLock::new);
    }

    /// An item was ordered often enough.
    pub(super) fn known_now(&mut self, item: &str) {
        if let Some(new) = self.content.find(item).and_then(|item| self.new.get_mut(item as usize)) {
            *new = false;
        }
    }

    /// New items that are like some of these, the most alike first; none of these.
    pub(super) fn beside(&self, items: &[&str], count: usize, allow: &dyn Fn(&str) -> bool) -> Vec<Alike> {
        let items = self.numbers(items);
        let mut found: Vec<(u32, f32, u32)> = Vec::new();
        for &item in &items {
            let near = self.near[item as usize].get_or_init(|| self.find_near(item));
            found.extend(near.iter().map(|&(other, likeness)| (other, likeness, item)));
        }
        found.retain(|(other, ..)| self.new[*other as usize] && !items.contains(other));
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)).then(a.2.cmp(&b.2)));
        let mut taken: Vec<Alike> = Vec::new();
        for (other, likeness, to) in found {
            let name = self.content.name(other);
            if taken.len() < count && taken.iter().all(|alike| alike.item != name) && allow(name) {
                taken.push(self.alike(other, likeness, to));
            }
        }
        taken
    }

    /// All items, new or not, that are like these.
    pub(super) fn all_beside(&self, items: &[&str], count: usize, allow: &dyn Fn(&str) -> bool) -> Vec<Alike> {
        let items = self.numbers(items);
        let found = self.content.alike(&items, count, &|item| allow(self.content.name(item)));
        let told = found.into_iter().filter_map(|(item, likeness)| {
            let to = self.content.nearest(&items, item)?;
            Some(self.alike(item, likeness, to))
        });
        told.collect()
    }

    /// The number of a described item.
    pub(super) fn find(&self, item: &str) -> Option<u32> {
        self.content.find(item)
    }

    /// How alike two items are described, in `0..=1`.
    pub(super) fn likeness(&self, one: u32, other: u32) -> f32 {
        self.content.likeness(one, other)
    }

    fn numbers(&self, items: &[&str]) -> Vec<u32> {
        let mut numbers: Vec<u32> = items.iter().filter_map(|item| self.content.find(item)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn find_near(&self, item: u32) -> Near {
        let near = self.content.alike(&[item], NEAR, &|other| self.new[other as usize]);
        near.into_iter().filter(|(_, likeness)| *likeness >= LIKENESS_MIN).collect()
    }

    fn alike(&self, item: u32, likeness: f32, to: u32) -> Alike {
        let shared = self.content.shared(to, item).filter_map(goods::told).take(TOLD).map(Into::into).collect();
        Alike { item: self.content.name(item).into(), likeness, to: self.content.name(to).into(), shared }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_an_item_came_is_remembered_as_long_as_it_is_new() {
        let day = |n: i64| Timestamp::from_millis(n * DAY_MS);
        let mut newcomers = Newcomers::default();
        let mut tell = |item: &str, at: Timestamp| {
            let product = serde_json::from_value(serde_json::json!({ "product_id": item })).unwrap();
            newcomers.describe(&product, at);
            newcomers.pass(at);
            newcomers.settle(|_| true);
            newcomers.arrivals().came.keys().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(tell("first", day(1)), [""; 0]);
        assert_eq!(tell("lamp", day(10)), ["lamp"]);
        assert_eq!(tell("vase", day(100)), ["lamp", "vase"]);
        assert_eq!(tell("lamp", day(101)), ["vase"], "told of again, it is not new again");
    }
}
