//! One tree asked about many rows at once: the leaves that are still possible as bits of a number.
//!
//! Each branch leaves some leaves possible, depending on one bin; the row's leaf is the one that all
//! branches leave (Lucchese et al. 2015, "`QuickScorer`"). So a row costs a few look-ups and no jump that
//! the processor could guess wrongly. Promise: the same answers as walking the tree.

use super::{Node, Tree};

/// Rows that are asked about together, so that their bins stay near the processor.
pub(super) const BLOCK: usize = 8_192;
/// Rows from which making the look-ups pays.
pub(super) const WORTH_IT: usize = 256;
/// Leaves a tree may have: as many as there are bits.
const MOST_LEAVES: usize = 64;

/// A tree as look-ups.
pub(super) struct Lookup {
    /// For each feature that the tree reads, the leaves left possible by each of its bins.
    possible: Vec<(usize, [u64; 64])>,
    /// The leaves' values, from left to right.
    values: Vec<f64>,
}

impl Lookup {
    /// Of a tree; nothing when it has more leaves than bits.
    pub(super) fn of(tree: &Tree) -> Option<Self> {
        let leaves = tree.nodes.iter().filter(|n| matches!(n, Node::Leaf { .. })).count();
        if leaves > MOST_LEAVES {
            return None;
        }
        let mut lookup = Self { possible: Vec::new(), values: Vec::with_capacity(leaves) };
        lookup.visit(tree, 0);
        Some(lookup)
    }

    /// Takes in a subtree.
    fn visit(&mut self, tree: &Tree, node: usize) {
        match tree.nodes[node] {
            Node::Leaf { value, .. } => self.values.push(value),
            Node::Branch { feature, left_bins, left, right, .. } => {
                let before = self.values.len();
                self.visit(tree, left as usize);
                let middle = self.values.len();
                self.visit(tree, right as usize);
                let (of_left, of_right) = (bits(before, middle), bits(middle, self.values.len()));
                let possible = self.of_feature(feature as usize);
                for (bin, set) in possible.iter_mut().enumerate() {
                    *set &= if left_bins >> bin & 1 == 1 { !of_right } else { !of_left };
                }
            }
        }
    }

    fn of_feature(&mut self, feature: usize) -> &mut [u64; 64] {
        let at = self.possible.iter().position(|p| p.0 == feature).unwrap_or_else(|| {
            self.possible.push((feature, [u64::MAX; 64]));
            self.possible.len() - 1
        });
        &mut self.possible[at].1
    }

    /// Adds the tree's answers for the rows from `first` on to `totals`.
    #[expect(clippy::large_stack_arrays, reason = "64 kilobytes, and no allocation for each tree")]
    pub(super) fn add(&self, binned: &[Vec<u8>], first: usize, totals: &mut [f64]) {
        let mut left = [u64::MAX; BLOCK];
        let left = &mut left[..totals.len()];
        for (feature, possible) in &self.possible {
            let bins = &binned[*feature][first..first + totals.len()];
            left.iter_mut().zip(bins).for_each(|(set, &bin)| *set &= possible[usize::from(bin & 63)]);
        }
        for (total, set) in totals.iter_mut().zip(left) {
            *total += self.values[set.trailing_zeros() as usize];
        }
    }
}

/// Bits from `from` up to, not with, `to`.
fn bits(from: usize, to: usize) -> u64 {
    let below = |n: usize| if n >= 64 { u64::MAX } else { (1 << n) - 1 };
    below(to) & !below(from)
}
