//! A list that is written in blocks: what stands in a long list and did not change is not written
//! again.
//!
//! Promise: the list's own bytes hold its bounds and its last, incomplete block. Complete blocks are
//! named by [`List::take_changes`] when they are to be written, and given back with [`List::read`].
//! Two lists are equal when they hold equal items, whatever is written of them.

use std::collections::{VecDeque, vec_deque};
use std::ops::Range;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Items of a complete block.
pub const BLOCK: u32 = 16;
/// Numbers of blocks are below this; they begin anew before a list gets there.
pub const NUMBERS: u32 = 1 << 20;

/// Items in the order they came, the oldest of which may leave.
#[derive(Clone, Debug)]
pub struct Blocks<T> {
    /// The first item's number, counted since the list began.
    first: u32,
    /// Items at the front that are still to be filled in.
    absent: u32,
    items: VecDeque<T>,
    /// Complete blocks that changed since they were last taken, sorted.
    touched: Vec<u32>,
    /// Earlier blocks have left since. None for a list that was never taken.
    taken_from: Option<u32>,
}

/// Some items of a list, as they are written apart from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block<T> {
    /// The number of the first one.
    from: u32,
    items: Vec<T>,
}

/// What is to be written of a list, by the numbers of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Blocks that are no more: all of them where another list stood before.
    pub gone: Range<u32>,
    /// Complete blocks that changed.
    pub changed: Vec<u32>,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self { first: 0, absent: 0, items: VecDeque::new(), touched: Vec::new(), taken_from: None }
    }
}

impl<T: PartialEq> PartialEq for Blocks<T> {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items && self.absent == other.absent
    }
}

impl<T: Eq> Eq for Blocks<T> {}

impl<T> Blocks<T> {
    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All items, the oldest first.
    pub fn iter(&self) -> vec_deque::Iter<'_, T> {
        self.items.iter()
    }

    /// All items in two pieces, the older ones first: to look through many quickly.
    pub fn pieces(&self) -> [&[T]; 2] {
        self.items.as_slices().into()
    }

    /// The items from a place on.
    pub fn from(&self, at: usize) -> vec_deque::Iter<'_, T> {
        self.items.range(at.min(self.items.len())..)
    }

    /// The oldest item.
    pub fn front(&self) -> Option<&T> {
        self.items.front()
    }

    /// The newest item.
    pub fn back(&self) -> Option<&T> {
        self.items.back()
    }

    /// How many items at the front are as asked, where all of these stand before the others.
    pub fn partition_point(&self, is_before: impl FnMut(&T) -> bool) -> usize {
        self.items.partition_point(is_before)
    }

    /// An item by its place.
    pub fn get(&self, at: usize) -> Option<&T> {
        self.items.get(at)
    }

    /// An item by its place, to change.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        if at < self.items.len() {
            self.touch(self.block_of(at));
        }
        self.items.get_mut(at)
    }

    /// All items, to be held in another way; what they say must stay the same.
    pub(crate) fn iter_to_hold(&mut self) -> impl DoubleEndedIterator<Item = &mut T> {
        self.items.iter_mut()
    }

    /// Adds an item.
    pub fn push(&mut self, item: T) {
        self.items.push_back(item);
        self.touch(self.block_of(self.items.len() - 1));
    }

    /// Puts an item before the one that has its place; the ones after it take the next places.
    pub fn insert(&mut self, at: usize, item: T) {
        self.items.insert(at, item);
        (self.block_of(at)..self.complete()).for_each(|block| self.touch(block));
    }

    /// Takes an item out; the ones before it take the next places.
    pub fn remove(&mut self, at: usize) -> Option<T> {
        let item = if at == 0 { self.items.pop_front() } else { self.items.remove(at) }?;
        self.first += 1;
        if self.touched.first().is_some_and(|block| *block < self.first / BLOCK) {
            let left = self.touched.partition_point(|block| *block < self.first / BLOCK);
            self.touched.drain(..left);
        }
        if at > 0 {
            (self.block_of(0)..=self.block_of(at - 1)).for_each(|block| self.touch(block));
        }
        Some(item)
    }

    /// Brings the items into another order.
    pub fn rearrange(&mut self, how: impl FnOnce(&mut [T])) {
        how(self.items.make_contiguous());
        self.touch_all();
    }

    fn block(&self, number: u32) -> Block<&T> {
        let start = self.first + self.absent;
        let (from, end) = ((number * BLOCK).max(start), (number + 1) * BLOCK);
        let place = |number: u32| self.items.len().min((number.saturating_sub(start)) as usize);
        Block { from, items: self.items.range(place(from)..place(end)).collect() }
    }

    /// Takes in the last block that is still absent; any other is of the past and left out.
    fn fill(&mut self, block: Block<T>) {
        let numbers = block.from..block.from.saturating_add(u32::try_from(block.items.len()).unwrap_or(u32::MAX));
        if self.absent == 0 || numbers.end != self.first + self.absent {
            return;
        }
        for (_, item) in numbers.zip(block.items).rev().take_while(|(number, _)| *number >= self.first) {
            self.items.push_front(item);
            self.absent -= 1;
        }
    }

    /// The block that follows the complete ones.
    fn complete(&self) -> u32 {
        (self.first + self.absent + u32::try_from(self.items.len()).unwrap_or(u32::MAX)) / BLOCK
    }

    fn block_of(&self, at: usize) -> u32 {
        (self.first + self.absent + u32::try_from(at).unwrap_or(u32::MAX)) / BLOCK
    }

    /// An incomplete block is written with the list.
    fn touch(&mut self, block: u32) {
        if block >= self.complete() {
            return;
        }
        if self.touched.last().is_none_or(|last| *last < block) {
            self.touched.push(block);
        } else if let Err(at) = self.touched.binary_search(&block) {
            self.touched.insert(at, block);
        }
    }

    fn touch_all(&mut self) {
        self.touched = (self.first / BLOCK..self.complete()).collect();
    }
}

/// A list as whoever writes and reads it sees it, whatever its items are.
pub trait List {
    /// What is to be written since this was last asked. Whoever asks writes it, and the list with it.
    fn take_changes(&mut self) -> Changes;

    /// Begins anew as a list that was never taken: for one that takes the place of another, or that
    /// goes to another owner.
    fn renew(&mut self);

    /// Whether all blocks were read.
    fn is_whole(&self) -> bool;

    /// Writes a block behind what is there.
    ///
    /// # Errors
    /// When an item cannot be encoded.
    fn write(&self, number: u32, there: Vec<u8>) -> postcard::Result<Vec<u8>>;

    /// Reads a block, the last one first; one of the past is left out.
    ///
    /// # Errors
    /// When it is damaged.
    fn read(&mut self, block: &[u8]) -> postcard::Result<()>;
}

impl<T: Serialize + DeserializeOwned> List for Blocks<T> {
    fn take_changes(&mut self) -> Changes {
        if self.complete() > NUMBERS / 2 {
            self.first %= BLOCK;
            self.renew();
        }
        let complete = self.first / BLOCK..self.complete();
        let gone = self.taken_from.map_or(0..NUMBERS, |from| from..complete.start);
        self.taken_from = Some(complete.start);
        let mut changed = std::mem::take(&mut self.touched);
        changed.retain(|block| complete.contains(block));
        Changes { gone, changed }
    }

    fn renew(&mut self) {
        self.taken_from = None;
        self.touch_all();
    }

    fn is_whole(&self) -> bool {
        self.absent == 0
    }

    fn write(&self, number: u32, there: Vec<u8>) -> postcard::Result<Vec<u8>> {
        postcard::to_extend(&self.block(number), there)
    }

    fn read(&mut self, block: &[u8]) -> postcard::Result<()> {
        self.fill(postcard::from_bytes(block)?);
        Ok(())
    }
}

impl<T> Extend<T> for Blocks<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push(item));
    }
}

impl<T> IntoIterator for Blocks<T> {
    type Item = T;
    type IntoIter = vec_deque::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Blocks<T> {
    type Item = &'a T;
    type IntoIter = vec_deque::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

/// The number of the first item, and the last block.
#[derive(Serialize, Deserialize)]
struct Tail<T> {
    first: u32,
    last: Block<T>,
}

impl<T: Serialize> Serialize for Blocks<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Tail { first: self.first, last: self.block(self.complete()) }.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Blocks<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tail { first, last: Block { from, items } } = Tail::<T>::deserialize(deserializer)?;
        let fits = items.len() < (BLOCK - from % BLOCK) as usize;
        if from < first || from / BLOCK >= NUMBERS || !fits || (from > first && from % BLOCK > 0) {
            return Err(D::Error::custom("the last block of a list does not follow the others"));
        }
        let (absent, taken_from) = (from - first, Some(first / BLOCK));
        Ok(Self { first, absent, items: items.into(), touched: Vec::new(), taken_from })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(u16),
        Change(usize, u16),
        Insert(usize, u16),
        Remove(usize),
        Turn,
        Replace,
        Write,
        Read,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            20 => any::<u16>().prop_map(Step::Push),
            4 => (0..100usize, any::<u16>()).prop_map(|(at, n)| Step::Change(at, n)),
            2 => (0..100usize, any::<u16>()).prop_map(|(at, n)| Step::Insert(at, n)),
            6 => Just(Step::Remove(0)),
            2 => (0..100usize).prop_map(Step::Remove),
            1 => Just(Step::Turn),
            1 => Just(Step::Replace),
            3 => Just(Step::Write),
            2 => Just(Step::Read),
        ]
    }

    /// What a store holds of a list.
    #[derive(Default)]
    struct Written {
        list: Option<Vec<u8>>,
        blocks: BTreeMap<u32, Vec<u8>>,
    }

    impl Written {
        fn write(&mut self, list: &mut Blocks<u16>) {
            let Changes { gone, changed } = list.take_changes();
            self.blocks.retain(|number, _| !gone.contains(number));
            for number in changed {
                self.blocks.insert(number, list.write(number, Vec::new()).unwrap());
            }
            self.list = Some(postcard::to_stdvec(list).unwrap());
        }

        fn read(&self) -> Option<Blocks<u16>> {
            let mut list: Blocks<u16> = postcard::from_bytes(self.list.as_ref()?).unwrap();
            self.blocks.values().rev().for_each(|block| list.read(block).unwrap());
            assert!(list.is_whole());
            Some(list)
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(steps in proptest::collection::vec(step(), 0..300)) {
            let (mut list, mut plain, mut written) = (Blocks::default(), Vec::new(), Written::default());
            let mut as_written = None;
            for step in steps {
                match step {
                    Step::Push(n) => { list.push(n); plain.push(n); }
                    Step::Change(at, n) => {
                        list.get_mut(at).into_iter().for_each(|item| *item = n);
                        plain.get_mut(at).into_iter().for_each(|item| *item = n);
                    }
                    Step::Insert(at, n) => {
                        list.insert(at.min(plain.len()), n);
                        plain.insert(at.min(plain.len()), n);
                    }
                    Step::Remove(at) => {
                        let gone = (at < plain.len()).then(|| plain.remove(at));
                        prop_assert_eq!(list.remove(at), gone);
                    }
                    Step::Turn => { list.rearrange(<[u16]>::reverse); plain.reverse(); }
                    Step::Replace => { list = plain.iter().rev().copied().fold(Blocks::default(), |mut l, n| { l.push(n); l }); plain.reverse(); }
                    Step::Write => { written.write(&mut list); as_written = Some(plain.clone()); }
                    Step::Read => if let Some(read) = written.read() {
                        plain = as_written.clone().unwrap_or_default();
                        list = read;
                    }
                }
                prop_assert_eq!(list.iter().copied().collect::<Vec<_>>(), plain.clone());
            }
        }
    }

    #[test]
    fn what_did_not_change_is_not_written_again() {
        let mut list: Blocks<u16> = Blocks::default();
        list.extend(0..100);
        assert_eq!(list.take_changes(), Changes { gone: 0..NUMBERS, changed: (0..6).collect() });
        list.push(100);
        assert_eq!(list.take_changes(), Changes { gone: 0..0, changed: vec![] });
        list.get_mut(40);
        (0..20).for_each(|n| assert_eq!(list.remove(0), Some(n)));
        assert_eq!(list.take_changes(), Changes { gone: 0..1, changed: vec![2] });
        list.extend(101..112);
        assert_eq!(list.take_changes(), Changes { gone: 1..1, changed: vec![6] });
        list.renew();
        assert_eq!(list.take_changes(), Changes { gone: 0..NUMBERS, changed: (1..7).collect() });
    }

    #[test]
    fn a_list_whose_end_does_not_fit_is_refused() {
        for wrong in [(0, 3, 1), (5, 4, 1), (0, 0, 16), (0, 16, 16), (0, u32::MAX, 0)] {
            let (first, from, items) = wrong;
            let bytes = postcard::to_stdvec(&(first, from, vec![0_u16; items])).unwrap();
            assert!(postcard::from_bytes::<Blocks<u16>>(&bytes).is_err(), "{wrong:?}");
        }
    }
}
