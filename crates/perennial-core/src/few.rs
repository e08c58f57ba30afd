//! A map of few entries, in one piece: what a customer has of each of some years or units.
//!
//! Promise: written as a map is, in the order of its keys.
//! Absent on purpose: speed with many. A key is looked for from the end, where the latest are.

use std::borrow::Borrow;

use serde::{Deserialize, Serialize};

/// Values by key, few of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Few<K, V>(Vec<(K, V)>);

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> Few<K, V> {
    /// The value of a key.
    pub fn get<Q: Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.iter().rev().find(|(known, _)| known.borrow() == key).map(|(_, value)| value)
    }

    /// The value of a key, to change.
    pub fn get_mut<Q: Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.0.iter_mut().rev().find(|(known, _)| known.borrow() == key).map(|(_, value)| value)
    }

    /// The value of a key, to change; a new one where there was none.
    pub fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let at = self.0.partition_point(|(known, _)| *known < key);
        if self.0.get(at).is_none_or(|(known, _)| *known != key) {
            self.0.insert(at, (key, V::default()));
        }
        &mut self.0[at].1
    }

    /// Keys and values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K, V> IntoIterator for Few<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_few_are_what_a_map_of_them_is_and_written_as_it_is() {
        let mut few: Few<Box<str>, i64> = Few::default();
        let mut map: BTreeMap<Box<str>, i64> = BTreeMap::new();
        for (n, key) in (1..).zip(["waste", "trees", "waste", "air", "water", "trees"]) {
            *few.entry(key.into()) += n;
            *map.entry(key.into()).or_default() += n;
        }
        few.get_mut("air").into_iter().for_each(|n| *n = 0);
        map.insert("air".into(), 0);
        assert!(few.iter().eq(map.iter()) && few.keys().eq(map.keys()) && few.values().eq(map.values()));
        assert_eq!((few.get("waste"), few.get("fire"), few.len()), (Some(&4), None, map.len()));
        let written = postcard::to_stdvec(&few).unwrap();
        assert_eq!(written, postcard::to_stdvec(&map).unwrap());
        assert_eq!(postcard::from_bytes::<Few<Box<str>, i64>>(&written).unwrap(), few);
    }
}
