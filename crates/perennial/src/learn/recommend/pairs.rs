//! In how many baskets items are, and pairs of items, beside what chance would bring.
//!
//! Absent on purpose: baskets of hundreds of lines, which say much about the shop and little about pairs.

use std::collections::HashMap;

use perennial_learn::experiment::wilson;
use perennial_learn::recommend::Recommendation;

use super::Bought;

/// Baskets larger than this say little about what goes together, and much about time.
const LARGE_BASKET: usize = 200;

/// Counts for every entry of lists for items.
#[derive(Debug)]
pub(super) struct Pairs {
    baskets: usize,
    /// Baskets that hold the item of each list.
    single: Vec<usize>,
    /// For each list, its entries: baskets that hold the entry's item, and both.
    entries: Vec<Vec<(usize, usize)>>,
}

/// One pair: an item and another that goes with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) baskets: usize,
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) both: usize,
}

impl Pairs {
    /// Counts for lists of items, `names` naming whose they are.
    pub(super) fn count(bought: &Bought, names: &[String], lists: &[Vec<Recommendation>]) -> Self {
        let number: HashMap<&str, usize> = names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let listed: Vec<Vec<usize>> = lists
            .iter()
            .map(|list| list.iter().filter_map(|found| number.get(found.item.as_str()).copied()).collect())
            .collect();
        let owners = if bought.baskets.is_empty() { &bought.users } else { &bought.baskets };
        let mut baskets: HashMap<&str, Vec<usize>> = HashMap::new();
        for (owner, item) in owners.iter().zip(&bought.items) {
            baskets.entry(owner).or_default().extend(number.get(item.as_str()));
        }
        let mut single = vec![0; names.len()];
        let mut both: Vec<Vec<usize>> = listed.iter().map(|list| vec![0; list.len()]).collect();
        let mut counted = 0;
        let mut held = vec![false; names.len()];
        for items in baskets.values_mut() {
            items.sort_unstable();
            items.dedup();
            if items.len() > LARGE_BASKET {
                continue;
            }
            counted += 1;
            items.iter().for_each(|&item| held[item] = true);
            for &item in items.iter() {
                single[item] += 1;
                let counts = both[item].iter_mut().zip(&listed[item]);
                counts.filter(|(_, other)| held[**other]).for_each(|(count, _)| *count += 1);
            }
            items.iter().for_each(|&item| held[item] = false);
        }
        let entries =
            listed.iter().zip(both).map(|(list, both)| list.iter().map(|&item| single[item]).zip(both).collect());
        let entries = entries.collect();
        Self { baskets: counted, single, entries }
    }

    /// The counts of one entry of the list with number `owner`.
    pub(super) fn of(&self, owner: usize, at: usize) -> Pair {
        let (second, both) = self.entries[owner].get(at).copied().unwrap_or_default();
        Pair { baskets: self.baskets, first: self.single[owner], second, both }
    }

    /// Baskets with the item of a list.
    pub(super) fn single(&self, owner: usize) -> usize {
        self.single[owner]
    }

    /// Baskets counted.
    pub(super) fn baskets(&self) -> usize {
        self.baskets
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of baskets")]
impl Pair {
    /// Of the baskets with the first, the share that also holds the second.
    pub(super) fn share(self) -> f64 {
        self.both as f64 / (self.first as f64).max(1.0)
    }

    /// How many times as often as in all baskets.
    pub(super) fn lift(self) -> f64 {
        let usual = self.second as f64 / (self.baskets as f64).max(1.0);
        if usual > 0.0 { self.share() / usual } else { 0.0 }
    }

    /// The 95 % interval of the share (Wilson 1927).
    pub(super) fn interval(self) -> Option<(f64, f64)> {
        wilson(self.both as u64, self.first as u64, 0.05).ok()
    }
}
