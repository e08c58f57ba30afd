//! Filters: what may be recommended at all, whatever the scores say.
//!
//! A filter is a hard constraint: stock, categories, a band of prices, items that were just seen,
//! and relations of compatibility. Absent on purpose: items of the customer's own history, which
//! the task already decides.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a shop knows of an item.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The item's category.
    pub category: String,
    /// The price, in any one currency.
    pub price: f64,
    /// Whether it can be bought now.
    pub in_stock: bool,
}

/// Which items fit together. An item that fits others is allowed only beside one of these, or beside an item
/// that fits the same: a film beside another case of the same telephone. Two items that clash never meet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Compatibility {
    fits: BTreeMap<String, BTreeSet<String>>,
    clashes: BTreeMap<String, BTreeSet<String>>,
}

impl Compatibility {
    /// Says what an item fits and what it clashes with, in place of what was said before; fitting nothing in
    /// particular, it is allowed beside everything.
    pub fn declare<S: AsRef<str>>(&mut self, item: &str, fits: &[S], clashes: &[S]) {
        for (relations, others) in [(&mut self.fits, fits), (&mut self.clashes, clashes)] {
            if others.is_empty() {
                relations.remove(item);
            } else {
                relations.insert(item.to_owned(), others.iter().map(|other| other.as_ref().to_owned()).collect());
            }
        }
    }

    /// Whether nothing is declared, so that everything is allowed.
    pub fn is_empty(&self) -> bool {
        self.fits.is_empty() && self.clashes.is_empty()
    }

    /// Whether an item may be offered beside a context.
    pub fn allows<S: AsRef<str>>(&self, item: &str, context: &[S]) -> bool {
        let mut others = context.iter().map(AsRef::as_ref);
        let fits = |partners: &BTreeSet<String>| {
            others.clone().any(|other| {
                let same = || self.fits.get(other).is_some_and(|theirs| !theirs.is_disjoint(partners));
                partners.contains(other) || same()
            })
        };
        self.fits.get(item).is_none_or(fits) && !others.any(|other| self.clash(item, other) || self.clash(other, item))
    }

    fn clash(&self, one: &str, other: &str) -> bool {
        self.clashes.get(one).is_some_and(|clashes| clashes.contains(other))
    }
}

/// Conditions that all must hold; the default allows everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    /// Facts by item; a condition on an item without facts does not hold.
    pub facts: BTreeMap<String, Facts>,
    /// Only what is in stock.
    pub in_stock: bool,
    /// Only these categories, unless empty.
    pub categories: BTreeSet<String>,
    /// Only prices from the first to the second, both included.
    pub prices: Option<(f64, f64)>,
    /// Never these items.
    pub except: BTreeSet<String>,
}

impl Filter {
    /// Whether an item may be recommended.
    pub fn allows(&self, item: &str) -> bool {
        let facts = self.facts.get(item);
        let holds = |wanted: bool, condition: &dyn Fn(&Facts) -> bool| !wanted || facts.is_some_and(condition);
        !self.except.contains(item)
            && holds(self.in_stock, &|facts| facts.in_stock)
            && holds(!self.categories.is_empty(), &|facts| self.categories.contains(&facts.category))
            && self.prices.is_none_or(|(from, to)| facts.is_some_and(|facts| (from..=to).contains(&facts.price)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Filter {
        let facts = |category: &str, price, in_stock| Facts { category: category.to_owned(), price, in_stock };
        let items = [
            ("cup", facts("kitchen", 8.0, true)),
            ("pan", facts("kitchen", 40.0, false)),
            ("rug", facts("living", 90.0, true)),
        ];
        Filter { facts: items.map(|(name, facts)| (name.to_owned(), facts)).into(), ..Filter::default() }
    }

    fn allowed(filter: &Filter) -> Vec<&'static str> {
        ["cup", "pan", "rug", "new"].into_iter().filter(|item| filter.allows(item)).collect()
    }

    #[test]
    fn every_condition_must_hold() {
        assert_eq!(allowed(&shop()), ["cup", "pan", "rug", "new"]);
        assert_eq!(allowed(&Filter { in_stock: true, ..shop() }), ["cup", "rug"]);
        assert_eq!(allowed(&Filter { categories: ["kitchen".to_owned()].into(), ..shop() }), ["cup", "pan"]);
        assert_eq!(allowed(&Filter { prices: Some((8.0, 40.0)), in_stock: true, ..shop() }), ["cup"]);
        assert_eq!(allowed(&Filter { except: ["cup".to_owned()].into(), ..shop() }), ["pan", "rug", "new"]);
    }

    #[test]
    fn a_case_is_offered_only_beside_its_telephone_or_what_fits_it_too() {
        let mut relations = Compatibility::default();
        assert!(relations.is_empty() && relations.allows("case", &["lamp"]));
        relations.declare("case", &["phone"], &[]);
        relations.declare("film", &["phone", "tablet"], &[]);
        relations.declare("cable A", &[], &["cable B"]);
        assert!(relations.allows("case", &["lamp", "phone"]) && relations.allows("case", &["film"]));
        assert!(!relations.allows("case", &["lamp"]) && !relations.allows::<&str>("case", &[]));
        assert!(!relations.allows("case", &["tablet"]), "the film fits a tablet, the case does not");
        assert!(!relations.allows("cable B", &["cable A"]) && !relations.allows("cable A", &["cable B"]));
        assert!(relations.allows("cable B", &["phone"]));
        relations.declare::<&str>("case", &[], &[]);
        assert!(relations.allows("case", &["lamp"]), "what is said anew replaces what was said");
    }
}
