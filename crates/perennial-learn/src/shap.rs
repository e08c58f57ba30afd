//! TreeSHAP: exact contributions of each feature to a tree ensemble's answer.
//!
//! Path-dependent Shapley values (Lundberg, Erion & Lee 2018). A leaf's contributions depend on a
//! row only through which of the path's features it satisfies, so for each leaf all those patterns
//! are computed once per batch (in the spirit of Fast TreeSHAP v2, Yang 2021) and a row only looks
//! its pattern up. Leaves with long paths, and batches too small to repay tables, are computed
//! pattern by pattern.
//!
//! Promise: contributions and bias add up to the ensemble's answer. Absent on purpose: training.

use crate::input::{BadInput, Problem, real, same_length};
use serde::{Deserialize, Serialize};

/// A node of a tree: a question or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Node {
    /// Goes left when the feature's value lies below the threshold.
    Split {
        /// The feature's position in a row.
        feature: usize,
        /// Values below it go left.
        threshold: f64,
        /// The node for values below the threshold.
        left: usize,
        /// The node for the others.
        right: usize,
        /// Where a missing value (NaN) goes.
        missing_left: bool,
        /// The training weight that reached this node.
        cover: f64,
    },
    /// Adds its value to the answer.
    Leaf {
        /// The value.
        value: f64,
        /// The training weight that reached this leaf.
        cover: f64,
    },
}

impl Node {
    fn cover(&self) -> f64 {
        match self {
            Self::Split { cover, .. } | Self::Leaf { cover, .. } => *cover,
        }
    }
}

/// One tree; node 0 is the root and children come after their parents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// Trees whose leaf values add up, in one output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ensemble {
    /// The number of features of a row.
    pub features: usize,
    /// What is added to the sum of the leaves.
    pub base: f64,
    /// The trees.
    pub trees: Vec<Tree>,
}

/// Contributions of all features to the answers for some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contributions {
    /// The mean answer under the training weights, the same for every row.
    pub bias: f64,
    /// One list per row, one number per feature.
    pub rows: Vec<Vec<f64>>,
}

/// Paths with more distinct features than this are computed without tables.
const TABLE_FEATURES: usize = 8;
/// A tree's tables are worth their making from this many rows on.
const TABLE_ROWS: usize = 24;
/// Paths with more distinct features than this are refused.
const MOST_FEATURES: usize = 30;

/// A leaf with what the training rows say about its path.
struct Path {
    value: f64,
    /// Distinct features in the order in which the path first asks for them.
    features: Vec<usize>,
    /// For each: the share of training weight that passes all its questions on the path.
    shares: Vec<f64>,
}

/// A tree prepared for explaining: its questions with the bit that each failure sets.
struct Prepared<'a> {
    tree: &'a Tree,
    /// For each node, the leaf's number or the bit of the node's feature on its path.
    role: Vec<u32>,
    paths: Vec<Path>,
    bias: f64,
}

impl Ensemble {
    /// Checks that children follow parents, features exist and covers are positive.
    ///
    /// # Errors
    /// Naming the tree and what is wrong with it.
    pub fn check(&self) -> Result<(), BadInput> {
        for (t, tree) in self.trees.iter().enumerate() {
            let field = || format!("trees[{t}]");
            if tree.nodes.is_empty() {
                return Err(BadInput::new(field(), Problem::Empty, "give at least a leaf"));
            }
            for (at, node) in tree.nodes.iter().enumerate() {
                if node.cover() <= 0.0 || !node.cover().is_finite() {
                    return Err(BadInput::range(format!("{}.cover", field()), node.cover(), "positive and finite"));
                }
                let &Node::Split { feature, left, right, .. } = node else {
                    continue;
                };
                if feature >= self.features {
                    return Err(BadInput::range(
                        format!("{}.feature", field()),
                        real(feature),
                        "below the number of features",
                    ));
                }
                if left.min(right) <= at || left.max(right) >= tree.nodes.len() {
                    return Err(BadInput::range(
                        format!("{}.child", field()),
                        real(left.max(right)),
                        "a later node of the tree",
                    ));
                }
            }
        }
        Ok(())
    }

    /// The answer for one row.
    pub fn predict(&self, row: &[f64]) -> f64 {
        self.base + self.trees.iter().map(|t| t.predict(row)).sum::<f64>()
    }

    /// Explains rows, row-major with `features` values each; NaN is a missing value.
    ///
    /// # Errors
    /// When the ensemble is not sound (see [`Ensemble::check`]), the rows have the wrong length, or
    /// a path asks for more than 30 distinct features.
    pub fn explain(&self, rows: &[f64]) -> Result<Contributions, BadInput> {
        self.check()?;
        let width = self.features.max(1);
        same_length("rows", rows.len(), rows.len() / width * width)?;
        let mut out = vec![0.0; rows.len()];
        let mut bias = self.base;
        for (t, tree) in self.trees.iter().enumerate() {
            let prepared = Prepared::new(tree, t)?;
            bias += prepared.bias;
            prepared.add(rows, width, &mut out);
        }
        Ok(Contributions { bias, rows: out.chunks_exact(width).map(<[f64]>::to_vec).collect() })
    }
}

fn goes_left(x: f64, threshold: f64, missing_left: bool) -> bool {
    if x.is_nan() { missing_left } else { x < threshold }
}

impl Tree {
    fn predict(&self, row: &[f64]) -> f64 {
        let mut at = 0;
        loop {
            match self.nodes[at] {
                Node::Leaf { value, .. } => return value,
                Node::Split { feature, threshold, left, right, missing_left, .. } => {
                    at = if goes_left(row[feature], threshold, missing_left) { left } else { right };
                }
            }
        }
    }
}

impl<'a> Prepared<'a> {
    fn new(tree: &'a Tree, number: usize) -> Result<Self, BadInput> {
        let mut prepared = Self { tree, role: vec![0; tree.nodes.len()], paths: Vec::new(), bias: 0.0 };
        prepared.walk(0, &mut Vec::new(), &mut Vec::new(), 1.0);
        let longest = prepared.paths.iter().map(|p| p.features.len()).max().unwrap_or(0);
        if longest > MOST_FEATURES {
            return Err(BadInput::range(
                format!("trees[{number}] path"),
                real(longest),
                "at most 30 distinct features",
            ));
        }
        Ok(prepared)
    }

    fn walk(&mut self, at: usize, features: &mut Vec<usize>, shares: &mut Vec<f64>, reach: f64) {
        match self.tree.nodes[at] {
            Node::Leaf { value, .. } => {
                self.role[at] = u32::try_from(self.paths.len()).unwrap_or(u32::MAX);
                self.bias += value * reach;
                self.paths.push(Path { value, features: features.clone(), shares: shares.clone() });
            }
            Node::Split { feature, left, right, cover, .. } => {
                let known = features.iter().position(|f| *f == feature);
                let bit = known.unwrap_or(features.len());
                self.role[at] = u32::try_from(bit).unwrap_or(u32::MAX);
                if known.is_none() {
                    features.push(feature);
                    shares.push(1.0);
                }
                let before = shares[bit];
                for child in [left, right] {
                    let share = self.tree.nodes[child].cover() / cover;
                    shares[bit] = before * share;
                    self.walk(child, features, shares, reach * share);
                }
                shares[bit] = before;
                if known.is_none() {
                    features.pop();
                    shares.pop();
                }
            }
        }
    }

    /// Adds this tree's contributions for every row.
    fn add(&self, rows: &[f64], width: usize, out: &mut [f64]) {
        let many = rows.len() / width >= TABLE_ROWS;
        let tables: Vec<Option<Vec<f64>>> =
            self.paths.iter().map(|p| (many && p.features.len() <= TABLE_FEATURES).then(|| p.table())).collect();
        let mut open = Vec::new();
        let mut single = [0.0; MOST_FEATURES];
        for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            open.push((0usize, 0u32));
            while let Some((at, failed)) = open.pop() {
                match self.tree.nodes[at] {
                    Node::Leaf { .. } => {
                        let leaf = self.role[at] as usize;
                        let path = &self.paths[leaf];
                        let d = path.features.len();
                        let parts = if let Some(table) = &tables[leaf] {
                            &table[failed as usize * d..(failed as usize + 1) * d]
                        } else {
                            path.one(failed, &mut single);
                            &single[..d]
                        };
                        path.features.iter().zip(parts).for_each(|(&f, p)| out[f] += p);
                    }
                    Node::Split { feature, threshold, left, right, missing_left, .. } => {
                        let bit = 1 << self.role[at];
                        let (to, other) = if goes_left(row[feature], threshold, missing_left) {
                            (left, right)
                        } else {
                            (right, left)
                        };
                        open.push((other, failed | bit));
                        open.push((to, failed));
                    }
                }
            }
        }
    }
}

/// `s! (d - 1 - s)! / d!` for each `s` below `d`: the Shapley weight of a coalition of size `s`.
fn shapley_weights(d: usize) -> Vec<f64> {
    let mut weights = vec![1.0 / real(d.max(1)); d.max(1)];
    for s in 1..d {
        weights[s] = weights[s - 1] * real(s) / real(d - s);
    }
    weights
}

impl Path {
    /// Contributions for every pattern of failed features: `2^d * d` numbers, pattern by pattern.
    ///
    /// With `z` the shares and A the satisfied features, feature i adds
    /// `v (o_i - z_i) * prod(z over the failed, without i) * G(A without i)`, where
    /// `G(B) = sum over S in B of w(|S|) prod(z over B without S)` and `o_i` is 1 for i in A.
    fn table(&self) -> Vec<f64> {
        let d = self.features.len();
        let full = (1usize << d) - 1;
        let weights = shapley_weights(d);
        let mut product = vec![1.0; full + 1];
        let mut gain = vec![weights[0]; full + 1];
        // Coefficients of the polynomial prod(1 + z t) of each subset, by removing its lowest member.
        let stride = d + 1;
        let mut polynomial = vec![0.0; (full + 1) * stride];
        polynomial[0] = 1.0;
        for set in 1..=full {
            let lowest = set.trailing_zeros() as usize;
            let (rest, z, size) = (set & (set - 1), self.shares[lowest], set.count_ones() as usize);
            product[set] = product[rest] * z;
            let mut sum = 0.0;
            for m in 0..=size {
                let below = if m > 0 { polynomial[rest * stride + m - 1] * z } else { 0.0 };
                let coefficient = polynomial[rest * stride + m] + below;
                polynomial[set * stride + m] = coefficient;
                // A coalition of size |B| - m leaves m members outside; size d is never asked for.
                sum += weights.get(size - m).copied().unwrap_or(0.0) * coefficient;
            }
            gain[set] = sum;
        }
        let mut table = Vec::with_capacity((full + 1) * d);
        for failed in 0..=full {
            let satisfied = full & !failed;
            for i in 0..d {
                let bit = 1 << i;
                let one = if satisfied & bit == 0 { 0.0 } else { 1.0 };
                table.push(self.value * (one - self.shares[i]) * product[failed & !bit] * gain[satisfied & !bit]);
            }
        }
        table
    }

    /// Contributions for one pattern, without tables.
    fn one(&self, failed: u32, out: &mut [f64; MOST_FEATURES]) {
        let d = self.features.len();
        let weights = shapley_weights(d);
        let cold = |j: usize| failed >> j & 1 == 1;
        for i in 0..d {
            let mut polynomial = [0.0; MOST_FEATURES + 1];
            polynomial[0] = 1.0;
            let (mut size, mut product) = (0, 1.0);
            for j in (0..d).filter(|&j| j != i) {
                if cold(j) {
                    product *= self.shares[j];
                    continue;
                }
                size += 1;
                for m in (1..=size).rev() {
                    polynomial[m] += polynomial[m - 1] * self.shares[j];
                }
            }
            let gain: f64 = (0..=size).map(|m| weights[size - m] * polynomial[m]).sum();
            let one = if cold(i) { 0.0 } else { 1.0 };
            out[i] = self.value * (one - self.shares[i]) * product * gain;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Rng, below, generator, uniform};

    fn grow(rng: &mut impl Rng, nodes: &mut Vec<Node>, depth: usize, features: usize, cover: f64) -> usize {
        let at = nodes.len();
        nodes.push(Node::Leaf { value: uniform(rng) - 0.5, cover });
        if depth > 0 {
            let share = 0.1 + 0.8 * uniform(rng);
            let (feature, threshold) = (below(rng, features), uniform(rng));
            let left = grow(rng, nodes, depth - 1, features, cover * share);
            let right = grow(rng, nodes, depth - 1, features, cover * (1.0 - share));
            nodes[at] = Node::Split { feature, threshold, left, right, missing_left: true, cover };
        }
        at
    }

    fn ensemble(seed: u64, depth: usize, features: usize) -> Ensemble {
        let mut rng = generator(seed);
        let trees = (0..3)
            .map(|_| {
                let mut nodes = Vec::new();
                grow(&mut rng, &mut nodes, depth, features, 100.0);
                Tree { nodes }
            })
            .collect();
        Ensemble { features, base: 0.25, trees }
    }

    /// The value of a coalition: known features decide, the others are averaged by cover.
    fn coalition(tree: &Tree, at: usize, row: &[f64], known: usize) -> f64 {
        match tree.nodes[at] {
            Node::Leaf { value, .. } => value,
            Node::Split { feature, threshold, left, right, missing_left, cover } => {
                if known >> feature & 1 == 1 {
                    return coalition(
                        tree,
                        if goes_left(row[feature], threshold, missing_left) { left } else { right },
                        row,
                        known,
                    );
                }
                let part = |child: usize| tree.nodes[child].cover() / cover * coalition(tree, child, row, known);
                part(left) + part(right)
            }
        }
    }

    fn by_definition(model: &Ensemble, row: &[f64]) -> Vec<f64> {
        let d = model.features;
        let weights = shapley_weights(d);
        (0..d)
            .map(|i| {
                (0..1usize << d)
                    .filter(|s| s >> i & 1 == 0)
                    .map(|s| {
                        let value = |set| model.trees.iter().map(|t| coalition(t, 0, row, set)).sum::<f64>();
                        weights[s.count_ones() as usize] * (value(s | 1 << i) - value(s))
                    })
                    .sum()
            })
            .collect()
    }

    #[test]
    fn contributions_equal_the_definition_with_and_without_tables() {
        let model = ensemble(1, 4, 4);
        let mut rng = generator(2);
        let rows: Vec<f64> = (0..40 * 4).map(|i| if i == 5 { f64::NAN } else { uniform(&mut rng) }).collect();
        let many = model.explain(&rows).unwrap();
        let few = model.explain(&rows[..8 * 4]).unwrap();
        for (i, row) in rows.chunks_exact(4).enumerate() {
            let want = by_definition(&model, row);
            for j in 0..4 {
                assert!((many.rows[i][j] - want[j]).abs() < 1e-12);
                assert!(i >= 8 || (few.rows[i][j] - want[j]).abs() < 1e-12);
            }
            let sum = many.bias + many.rows[i].iter().sum::<f64>();
            assert!((sum - model.predict(row)).abs() < 1e-12);
        }
    }

    #[test]
    fn long_paths_still_add_up() {
        let model = ensemble(3, 10, 14);
        let mut rng = generator(4);
        let rows: Vec<f64> = (0..30 * 14).map(|_| uniform(&mut rng)).collect();
        let out = model.explain(&rows).unwrap();
        for (row, parts) in rows.chunks_exact(14).zip(&out.rows) {
            assert!((out.bias + parts.iter().sum::<f64>() - model.predict(row)).abs() < 1e-10);
        }
    }

    #[test]
    fn unsound_trees_are_refused() {
        let mut model = ensemble(1, 2, 3);
        model.features = 0;
        assert!(model.explain(&[]).is_err());
        model = Ensemble { features: 1, base: 0.0, trees: vec![Tree { nodes: vec![] }] };
        assert_eq!(model.explain(&[1.0]).unwrap_err().field(), "trees[0]");
    }
}
