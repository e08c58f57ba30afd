//! Content: items alike by what is said of them, for items and customers that nobody knows yet.
//!
//! Tags (category, brand, words of the title) are weighted by rarity and compared by cosine
//! (Salton and Buckley 1988). Items are described one at a time, so a catalogue may change between
//! trainings; rarity follows at once. A search looks at [`LOOKED_AT`] items of a tag list at most, those
//! of the rarest tags first and of one tag the latest, so that a category of a million items costs no more
//! than a small one. Absent on purpose: the splitting of text into tags.

use super::top::index;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Tags of one item at most; further ones say nothing.
const TAGS_MAX: usize = 32;
/// Items that a search passes, and those of them that it compares.
const LOOKED_AT: usize = 20_000;
const COMPARED: usize = 2_000;

/// Items with their tags.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Content {
    numbers: BTreeMap<Box<str>, u32>,
    names: Vec<Box<str>>,
    tag_numbers: BTreeMap<Box<str>, u32>,
    tag_names: Vec<Box<str>>,
    /// Tags of each item, ascending.
    tags: Vec<Vec<u32>>,
    /// Items of each tag, ascending.
    items_of: Vec<Vec<u32>>,
}

/// What is looked for: tags ascending, with what each counts.
type Profile = Vec<(u32, f32)>;

impl Content {
    /// Describes many items.
    pub fn fit(described: &[(String, Vec<String>)]) -> Self {
        let mut content = Self::default();
        described.iter().for_each(|(item, tags)| _ = content.describe(item, tags));
        content
    }

    /// Says what an item is, in place of what was said before; a repeated tag counts once. Answers whether
    /// that is news.
    pub fn describe<S: AsRef<str>>(&mut self, item: &str, tags: &[S]) -> bool {
        let number = number(&mut self.numbers, &mut self.names, item);
        let unheard_of = number as usize == self.tags.len();
        if unheard_of {
            self.tags.push(Vec::new());
        }
        let mut news: Vec<u32> = tags.iter().take(TAGS_MAX).map(|tag| self.tag(tag.as_ref())).collect();
        news.sort_unstable();
        news.dedup();
        if news == self.tags[number as usize] {
            return unheard_of;
        }
        for old in std::mem::replace(&mut self.tags[number as usize], news.clone()) {
            let items = &mut self.items_of[old as usize];
            items.binary_search(&number).ok().map(|place| items.remove(place));
        }
        for tag in news {
            let items = &mut self.items_of[tag as usize];
            items.insert(items.partition_point(|other| *other < number), number);
        }
        true
    }

    fn tag(&mut self, name: &str) -> u32 {
        let tag = number(&mut self.tag_numbers, &mut self.tag_names, name);
        if tag as usize == self.items_of.len() {
            self.items_of.push(Vec::new());
        }
        tag
    }

    /// The number of an item.
    pub fn find(&self, item: &str) -> Option<u32> {
        self.numbers.get(item).copied()
    }

    /// The item of a number.
    pub fn name(&self, item: u32) -> &str {
        &self.names[item as usize]
    }

    /// How many items are described.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// What a tag counts; nothing where no second item has it, since nothing can agree with it.
    #[expect(clippy::cast_precision_loss, reason = "counts as weights")]
    fn rarity(&self, tag: u32) -> f32 {
        match self.items_of[tag as usize].len() {
            0 | 1 => 0.0,
            items => (1.0 + self.len() as f32 / items as f32).ln(),
        }
    }

    fn length(&self, item: u32) -> f32 {
        let squares = self.tags[item as usize].iter().map(|&tag| self.rarity(tag).powi(2));
        squares.sum::<f32>().sqrt().max(f32::MIN_POSITIVE)
    }

    /// Tags that both items have, those that say most first.
    fn common(&self, one: u32, other: u32) -> Profile {
        let theirs = &self.tags[other as usize];
        let both = self.tags[one as usize].iter().filter(|tag| theirs.binary_search(tag).is_ok());
        let mut common: Profile = both.map(|&tag| (tag, self.rarity(tag))).collect();
        common.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        common
    }

    /// Cosine of two items' tags, in `0..=1`.
    pub fn likeness(&self, one: u32, other: u32) -> f32 {
        let both: f32 = self.common(one, other).iter().map(|(_, rarity)| rarity * rarity).sum();
        both / (self.length(one) * self.length(other))
    }

    /// The tags that two items share, those that say most first.
    pub fn shared(&self, one: u32, other: u32) -> impl Iterator<Item = &str> {
        self.common(one, other).into_iter().map(|(tag, _)| &*self.tag_names[tag as usize])
    }

    /// The `count` allowed items most alike to some others, on average over these, best first and ties by
    /// number; the others are left out.
    pub fn alike(&self, history: &[u32], count: usize, allow: &dyn Fn(u32) -> bool) -> Vec<(u32, f32)> {
        let profile = self.profile(history);
        let mut found = self.candidates(&profile, &|item| !history.contains(&item) && allow(item));
        for (item, score) in &mut found {
            let said = self.tags[*item as usize].iter().filter_map(|tag| {
                let at = profile.binary_search_by_key(tag, |(tag, _)| *tag).ok()?;
                Some(profile[at].1 * self.rarity(*tag))
            });
            *score = said.sum::<f32>() / self.length(*item);
        }
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(count);
        found
    }

    /// Which of some items is most alike to another.
    pub fn nearest(&self, history: &[u32], item: u32) -> Option<u32> {
        let likeness = |&other: &u32| self.likeness(item, other);
        history.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)).then(b.cmp(a)))
    }

    /// The mean of the items' tags, each item of length 1.
    #[expect(clippy::cast_precision_loss, reason = "a count as a weight")]
    fn profile(&self, history: &[u32]) -> Profile {
        let mut sums: BTreeMap<u32, f32> = BTreeMap::new();
        for &item in history {
            let length = self.length(item) * history.len() as f32;
            for &tag in &self.tags[item as usize] {
                *sums.entry(tag).or_default() += self.rarity(tag) / length;
            }
        }
        sums.into_iter().collect()
    }

    fn candidates(&self, profile: &[(u32, f32)], allow: &dyn Fn(u32) -> bool) -> Vec<(u32, f32)> {
        let mut telling: Vec<(u32, f32)> = profile.iter().map(|&(tag, said)| (tag, said * self.rarity(tag))).collect();
        telling.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let passed = telling.iter().flat_map(|(tag, _)| self.items_of[*tag as usize].iter().rev().copied());
        let allowed = passed.take(LOOKED_AT).filter(|item| allow(*item)).take(COMPARED);
        let mut found: Vec<(u32, f32)> = allowed.map(|item| (item, 0.0)).collect();
        found.sort_unstable_by_key(|(item, _)| *item);
        found.dedup_by_key(|(item, _)| *item);
        found
    }
}

/// The number of a name, which is given one when it has none.
fn number(numbers: &mut BTreeMap<Box<str>, u32>, names: &mut Vec<Box<str>>, name: &str) -> u32 {
    if let Some(number) = numbers.get(name) {
        return *number;
    }
    let number = index(names.len());
    numbers.insert(name.into(), number);
    names.push(name.into());
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Content {
        let described =
            [("cup", "kitchen red"), ("pan", "kitchen steel"), ("rug", "living red wool"), ("sofa", "living wool")];
        let split = |tags: &str| tags.split(' ').map(str::to_owned).collect();
        Content::fit(&described.map(|(name, tags)| (name.to_owned(), split(tags))))
    }

    fn alike(shop: &Content, history: &[&str]) -> Vec<String> {
        let history: Vec<u32> = history.iter().map(|name| shop.find(name).unwrap()).collect();
        shop.alike(&history, 5, &|_| true).iter().map(|(item, _)| shop.name(*item).to_owned()).collect()
    }

    fn likeness(shop: &Content, one: &str, other: &str) -> f32 {
        shop.likeness(shop.find(one).unwrap(), shop.find(other).unwrap())
    }

    #[test]
    fn a_new_item_is_found_through_what_is_said_of_it() {
        let shop = shop();
        assert_eq!(alike(&shop, &["sofa"]), ["rug"]);
        assert_eq!(alike(&shop, &["cup", "sofa"]), ["rug", "pan"]);
        let (cup, sofa, rug) = (shop.find("cup").unwrap(), shop.find("sofa").unwrap(), shop.find("rug").unwrap());
        assert_eq!(shop.nearest(&[cup, sofa], rug), Some(sofa));
        assert_eq!(shop.shared(sofa, rug).collect::<Vec<_>>(), ["living", "wool"]);
        assert_eq!(shop.alike(&[sofa], 5, &|item| item != rug), []);
    }

    #[test]
    fn likeness_is_a_cosine() {
        let shop = shop();
        assert!((likeness(&shop, "cup", "cup") - 1.0).abs() < 1e-6);
        assert!((likeness(&shop, "cup", "rug") - likeness(&shop, "rug", "cup")).abs() < 1e-6);
        assert!(likeness(&shop, "cup", "sofa").abs() < 1e-6);
        let [cup, rug] = ["cup", "rug"].map(|name| shop.find(name).unwrap());
        let mean = shop.alike(&[cup], 5, &|item| item == rug)[0].1;
        assert!((mean - likeness(&shop, "cup", "rug")).abs() < 1e-6, "one item's mean is its likeness");
    }

    #[test]
    fn what_is_said_anew_replaces_what_was_said() {
        let mut shop = shop();
        assert!(shop.describe("pan", &["living", "wool"]) && !shop.describe("pan", &["wool", "living", "wool"]));
        assert_eq!(alike(&shop, &["sofa"]), ["pan", "rug"]);
        assert_eq!(alike(&shop, &["cup"]), ["rug"], "no other thing is for the kitchen now");
        let fresh: Vec<(String, Vec<String>)> = ["cup", "pan", "rug", "sofa"]
            .map(|name| {
                let own = shop.tags[shop.find(name).unwrap() as usize].iter();
                (name.to_owned(), own.map(|tag| shop.tag_names[*tag as usize].to_string()).collect())
            })
            .to_vec();
        let fresh = Content::fit(&fresh);
        assert!((likeness(&shop, "pan", "rug") - likeness(&fresh, "pan", "rug")).abs() < 1e-6);
    }

    #[test]
    fn of_a_huge_category_the_latest_items_are_looked_at() {
        let mut shop = Content::default();
        (0..50_000).for_each(|n| _ = shop.describe(&format!("{n}"), &["all"]));
        let found = shop.alike(&[0], 50_000, &|_| true);
        assert_eq!(found.len(), COMPARED);
        assert_eq!(shop.name(found[COMPARED - 1].0), "49999");
    }
}
