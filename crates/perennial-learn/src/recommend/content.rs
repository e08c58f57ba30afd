//! Content: items alike by what is said of them, for items and customers that nobody knows yet.
//!
//! Tags (category, brand, words of the title) are weighted by rarity and compared by cosine
//! (Salton and Buckley 1988). Absent on purpose: the splitting of text into tags.

use super::{interactions::Names, top};
use serde::{Deserialize, Serialize};

/// Items with their weighted tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// The items.
    pub items: Names,
    /// Tags of each item with weights, of length 1.
    tags: Vec<Vec<(u32, f32)>>,
    /// Items of each tag with weights.
    items_of: Vec<Vec<(u32, f32)>>,
}

impl Content {
    /// Weighs the tags of items; an item named twice keeps its first tags, a repeated tag counts once.
    #[expect(clippy::cast_precision_loss, reason = "counts as weights")]
    pub fn fit(described: &[(String, Vec<String>)]) -> Self {
        let (items, rows) = Names::read(&described.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
        let flat: Vec<String> = described.iter().flat_map(|(_, tags)| tags.iter().cloned()).collect();
        let (known, codes) = Names::read(&flat);
        let mut tags: Vec<Vec<(u32, f32)>> = vec![Vec::new(); items.len()];
        let mut from = 0;
        for ((_, own), &item) in described.iter().zip(&rows) {
            let mut own: Vec<u32> = codes[from..from + own.len()].to_vec();
            from += own.len();
            own.sort_unstable();
            own.dedup();
            if tags[item as usize].is_empty() {
                tags[item as usize] = own.into_iter().map(|tag| (tag, 1.0)).collect();
            }
        }
        let mut counts = vec![0.0f32; known.len()];
        tags.iter().flatten().for_each(|&(tag, _)| counts[tag as usize] += 1.0);
        let all = items.len() as f32;
        let mut items_of = vec![Vec::new(); known.len()];
        for (item, tags) in tags.iter_mut().enumerate() {
            for (tag, weight) in tags.iter_mut() {
                *weight = (1.0 + all / counts[*tag as usize]).ln();
            }
            let length = tags.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            for (tag, weight) in tags.iter_mut() {
                *weight /= length;
                items_of[*tag as usize].push((top::index(item), *weight));
            }
        }
        Self { items, tags, items_of }
    }

    /// Cosine of two items' tags, in `0..=1`; 0 when one is not known.
    pub fn likeness(&self, one: &str, other: &str) -> f32 {
        let (Some(one), Some(other)) = (self.items.find(one), self.items.find(other)) else {
            return 0.0;
        };
        let other = &self.tags[other as usize];
        let shared = self.tags[one as usize].iter().filter_map(|&(tag, weight)| {
            let at = other.binary_search_by_key(&tag, |&(tag, _)| tag).ok()?;
            Some(weight * other[at].1)
        });
        shared.sum()
    }

    /// The `count` items most alike to a history, its own items left out, with their scores and the
    /// item of the history each is most alike to.
    pub fn alike<S: AsRef<str>>(&self, history: &[S], count: usize) -> Vec<(String, f32, String)> {
        let known: Vec<u32> = history.iter().filter_map(|name| self.items.find(name.as_ref())).collect();
        let mut scores = vec![0.0; self.items.len()];
        for &item in &known {
            for &(tag, weight) in &self.tags[item as usize] {
                for &(other, its) in &self.items_of[tag as usize] {
                    scores[other as usize] += weight * its;
                }
            }
        }
        scores.iter_mut().filter(|score| **score == 0.0).for_each(|score| *score = f32::NEG_INFINITY);
        super::validate::ban(&mut scores, &known);
        let mut list = Vec::new();
        top::best(&scores, count, &mut list);
        let because = |item: &str| {
            let likeness = |&other: &u32| self.likeness(item, self.items.name(other));
            known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)).then(b.cmp(a)))
        };
        let named = list.into_iter().filter_map(|(item, score)| {
            let name = self.items.name(item);
            Some((name.to_owned(), score, self.items.name(because(name)?).to_owned()))
        });
        named.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Content;

    fn shop() -> Content {
        let described =
            [("cup", "kitchen red"), ("pan", "kitchen steel"), ("rug", "living red wool"), ("sofa", "living wool")];
        let split = |tags: &str| tags.split(' ').map(str::to_owned).collect();
        Content::fit(&described.map(|(name, tags)| (name.to_owned(), split(tags))))
    }

    #[test]
    fn a_new_item_is_found_through_what_is_said_of_it() {
        let found = shop().alike(&["sofa"], 5);
        assert_eq!(
            found.iter().map(|(name, _, because)| (name.as_str(), because.as_str())).collect::<Vec<_>>(),
            [("rug", "sofa")]
        );
    }

    #[test]
    fn likeness_is_a_cosine() {
        let shop = shop();
        assert!((shop.likeness("cup", "cup") - 1.0).abs() < 1e-6);
        assert!((shop.likeness("cup", "rug") - shop.likeness("rug", "cup")).abs() < 1e-6);
        assert!(shop.likeness("cup", "sofa").abs() < 1e-6);
        assert!(shop.likeness("cup", "nothing").abs() < 1e-6);
    }
}
