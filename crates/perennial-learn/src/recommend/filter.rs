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

/// Which items fit together. An item named in `needs` is allowed only beside one of its partners; two
/// items of one pair in `clashes` never meet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Compatibility {
    needs: BTreeMap<String, BTreeSet<String>>,
    clashes: BTreeSet<(String, String)>,
}

impl Compatibility {
    /// `item` goes with `partner`: a case with its telephone.
    pub fn fits(&mut self, item: &str, partner: &str) {
        self.needs.entry(item.to_owned()).or_default().insert(partner.to_owned());
    }

    /// The two must not be offered together, in either order.
    pub fn clash(&mut self, one: &str, other: &str) {
        self.clashes.insert((one.to_owned(), other.to_owned()));
        self.clashes.insert((other.to_owned(), one.to_owned()));
    }

    /// Whether an item may be offered beside a context.
    pub fn allows<S: AsRef<str>>(&self, item: &str, context: &[S]) -> bool {
        let mut others = context.iter().map(AsRef::as_ref);
        let partnered =
            self.needs.get(item).is_none_or(|partners| others.clone().any(|other| partners.contains(other)));
        partnered && !others.any(|other| self.clashes.contains(&(item.to_owned(), other.to_owned())))
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
    fn a_case_is_offered_only_beside_its_telephone() {
        let mut relations = Compatibility::default();
        relations.fits("case", "phone");
        relations.clash("cable A", "cable B");
        assert!(relations.allows("case", &["phone"]));
        assert!(!relations.allows("case", &["lamp"]));
        assert!(!relations.allows("cable B", &["cable A"]));
        assert!(relations.allows("cable B", &["phone"]));
    }
}
