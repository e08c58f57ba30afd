//! The catalogue: what is known of products, found by their id at every line of every order.
//!
//! Promise: a question costs one hash and, as a rule, one comparison, however many products there
//! are; walking through them follows the order of their ids.
//! Absent on purpose: removal. A product that is no longer sold is still on old orders.

use std::collections::BTreeMap;

use crate::event::Product;

/// What is known of products.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// In the order of their ids.
    products: Vec<Product>,
    /// Positions of products, from 1, each at the hash of its id or at the next free place after it;
    /// at most half full, a power of two long.
    places: Vec<u32>,
}

impl Catalog {
    /// What is known of a product.
    pub fn get(&self, id: &str) -> Option<&Product> {
        let mut place = self.first_place(id)?;
        loop {
            let product = self.products.get(usize::try_from(self.places[place]).ok()?.checked_sub(1)?)?;
            if *product.product_id == *id {
                return Some(product);
            }
            place = (place + 1) & (self.places.len() - 1);
        }
    }

    /// All products, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Product> {
        self.products.iter()
    }

    /// Adds products; one named again is replaced.
    pub(crate) fn learn(&mut self, news: &[Product]) {
        let place = |products: &[Product], id: &str| products.binary_search_by(|p| (*p.product_id).cmp(id)).ok();
        if news.iter().all(|product| place(&self.products, &product.product_id).is_some()) {
            for product in news {
                if let Some(place) = place(&self.products, &product.product_id) {
                    self.products[place] = product.clone();
                }
            }
            return;
        }
        let known = std::mem::take(&mut self.products).into_iter().chain(news.iter().cloned());
        let all: BTreeMap<Box<str>, Product> = known.map(|p| (p.product_id.clone(), p)).collect();
        self.products = all.into_values().collect();
        self.places = vec![0; (2 * self.products.len()).next_power_of_two()];
        for (position, product) in (1..).zip(&self.products) {
            let Some(mut place) = self.first_place(&product.product_id) else { return };
            while self.places[place] != 0 {
                place = (place + 1) & (self.places.len() - 1);
            }
            self.places[place] = position;
        }
    }

    /// Where to look first; none while nothing is known.
    fn first_place(&self, id: &str) -> Option<usize> {
        let last = self.places.len().checked_sub(1)?;
        // FNV-1a: the shop's own ids, so nobody chooses them to collide.
        let hash = id.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Some(usize::try_from(hash).unwrap_or_default() & last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_found_replaced_and_walked_in_order() {
        let product = |n: u32| Product { product_id: format!("p-{n:04}").into(), ..Product::default() };
        let mut catalog = Catalog::default();
        assert_eq!(catalog.get("p-0000"), None);
        catalog.learn(&(0..1_000).rev().map(product).collect::<Vec<_>>());
        let eco = Product { tags: ["eco".into()].into(), ..product(7) };
        catalog.learn(&[product(7), eco.clone(), product(1_000)]);
        assert_eq!(catalog.get("p-0007"), Some(&eco));
        catalog.learn(&[product(7)]);
        assert_eq!(catalog.get("p-0007"), Some(&product(7)), "replaced where it stands");
        assert!(
            (0..=1_000)
                .all(|n| catalog.get(&format!("p-{n:04}")).is_some_and(|p| p.product_id == product(n).product_id))
        );
        assert_eq!(catalog.get("p-1001"), None);
        assert_eq!(catalog.get(""), None);
        assert!(catalog.iter().map(|p| p.product_id.clone()).eq((0..=1_000).map(|n| product(n).product_id)));
    }
}
