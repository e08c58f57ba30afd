//! TreeSHAP: exact contributions of each feature to a tree ensemble's answer.
//!
//! Path-dependent Shapley values (Lundberg, Erion & Lee 2018). With `z` the share of training weight
//! that passes a feature's questions on the way to a leaf and `o` 1 where the row passes them too,
//! feature i of a leaf adds `v (o_i - z_i) ∫ Π_{j≠i} (t o_j + (1 - t) z_j) dt` over t in (0, 1): the
//! Shapley weights are that integral's coefficients, and Gauss and Legendre's rule is exact for it.
//! Rows matter only through the side of each cut on which they lie, so neighbouring leaves are
//! bundled: one table holds their summed contributions for every combination of sides (in the
//! spirit of Fast TreeSHAP v2, Yang 2021), and a row looks up one entry a bundle. Leaves with long
//! paths, and batches too small to repay tables, are integrated row by row.
//!
//! Promise: contributions and bias add up to the ensemble's answer. Absent on purpose: training.

use crate::input::{BadInput, Problem, finite, positive, real, same_length};
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

/// Entries of a bundle's table at most; a batch with fewer rows gets smaller ones.
const TABLE_ENTRIES: usize = 256;
/// Leaves of a bundle at most: a bit each.
const BUNDLE_LEAVES: usize = 64;
/// Paths with more distinct features than this are refused.
const MOST_FEATURES: usize = 64;
/// Distinct features on the path of a leaf with a table at most.
const TABLE_FEATURES: usize = 8;

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
                positive(&format!("{}.cover", field()), node.cover())?;
                if let &Node::Leaf { value, .. } = node {
                    finite(&format!("{}.value", field()), &[value])?;
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
    /// Contributions are in the unit of the leaves. Memory beside the answer: one tree's tables.
    ///
    /// # Errors
    /// When the ensemble is not sound (see [`Ensemble::check`]), the rows have the wrong length, or
    /// a path asks for more than 64 distinct features.
    pub fn explain(&self, rows: &[f64]) -> Result<Contributions, BadInput> {
        self.check()?;
        let width = self.features.max(1);
        same_length("rows", rows.len(), rows.len() / width * width)?;
        let missing: Vec<bool> = (0..width).map(|f| rows.iter().skip(f).step_by(width).any(|x| x.is_nan())).collect();
        let mut out = vec![0.0; rows.len()];
        let mut bias = self.base;
        for (t, tree) in self.trees.iter().enumerate() {
            let prepared = Prepared::new(tree, t)?;
            bias += prepared.bias;
            Bundles::new(&prepared, &missing, rows.len() / width).add(rows, width, &mut out);
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

/// A leaf with what the training rows say about its path.
struct Path {
    value: f64,
    /// Distinct features in the order in which the path first asks for them.
    features: Vec<usize>,
    /// For each: the share of training weight that passes all its questions on the path.
    shares: Vec<f64>,
}

/// Leaves from left to right: the first and the one after the last.
type Span = (usize, usize);

/// All that a tree asks of one feature: the sides of its cuts on which a value can lie, and which
/// leaves' paths let each side pass. Side 0 is a missing value, side 1 + n lies above n cuts.
struct Asked {
    feature: usize,
    /// Ascending and distinct.
    cuts: Vec<f64>,
    /// For each side one bit per leaf.
    passes: Vec<u64>,
    /// Words of 64 leaves per side.
    words: usize,
}

/// A tree prepared for explaining.
struct Prepared<'a> {
    tree: &'a Tree,
    paths: Vec<Path>,
    /// The leaves under each node.
    spans: Vec<Span>,
    asked: Vec<Asked>,
    /// Points and weights on (0, 1) that integrate the longest path's polynomial exactly.
    points: Vec<(f64, f64)>,
    bias: f64,
}

/// Neighbouring leaves and, per feature asked for, the patterns of leaves that its sides let pass.
#[derive(Clone, Default)]
struct States {
    leaves: Span,
    patterns: Vec<u64>,
    /// Where each feature's patterns end.
    ends: Vec<usize>,
}

/// The summed contributions of neighbouring leaves.
struct Bundle {
    /// The features on some of the leaves' paths.
    features: Vec<usize>,
    /// One number per feature for every combination of patterns, the first feature's fastest.
    table: Vec<f64>,
}

/// How a tree's leaves are bundled for a batch.
struct Bundles<'a> {
    prepared: &'a Prepared<'a>,
    tables: Vec<Bundle>,
    /// For each feature asked for and each of its sides: what it adds to each bundle's entry number.
    steps: Vec<Vec<u16>>,
    /// Leaves without a table.
    alone: Vec<usize>,
}

impl<'a> Prepared<'a> {
    fn new(tree: &'a Tree, number: usize) -> Result<Self, BadInput> {
        let spans = vec![(0, 0); tree.nodes.len()];
        let mut prepared = Self { tree, paths: Vec::new(), spans, asked: Vec::new(), points: Vec::new(), bias: 0.0 };
        prepared.walk(0, &mut Vec::new(), &mut Vec::new(), 1.0);
        let longest = prepared.paths.iter().map(|p| p.features.len()).max().unwrap_or(0);
        if longest > MOST_FEATURES {
            return Err(BadInput::range(
                format!("trees[{number}] path"),
                real(longest),
                "at most 64 distinct features",
            ));
        }
        prepared.points = gauss_legendre(longest.div_ceil(2).max(1));
        prepared.ask();
        Ok(prepared)
    }

    /// Visits the leaves from left to right.
    fn walk(&mut self, at: usize, features: &mut Vec<usize>, shares: &mut Vec<f64>, reach: f64) {
        let first = self.paths.len();
        match self.tree.nodes[at] {
            Node::Leaf { value, .. } => {
                self.bias += value * reach;
                self.paths.push(Path { value, features: features.clone(), shares: shares.clone() });
            }
            Node::Split { feature, left, right, cover, .. } => {
                let known = features.iter().position(|f| *f == feature);
                let slot = known.unwrap_or(features.len());
                if known.is_none() {
                    features.push(feature);
                    shares.push(1.0);
                }
                let before = shares[slot];
                for child in [left, right] {
                    let share = self.tree.nodes[child].cover() / cover;
                    shares[slot] = before * share;
                    self.walk(child, features, shares, reach * share);
                }
                shares[slot] = before;
                if known.is_none() {
                    features.pop();
                    shares.pop();
                }
            }
        }
        self.spans[at] = (first, self.paths.len());
    }

    /// Gathers the questions by feature and marks which leaves each side rules out.
    fn ask(&mut self) {
        let mut questions = Vec::new();
        for node in &self.tree.nodes {
            if let &Node::Split { feature, threshold, left, right, missing_left, .. } = node {
                questions.push((feature, threshold, missing_left, self.spans[left], self.spans[right]));
            }
        }
        questions.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for same in questions.chunk_by(|a, b| a.0 == b.0) {
            let mut cuts: Vec<f64> = same.iter().map(|question| question.1).collect();
            cuts.dedup();
            let mut asked = Asked::new(same[0].0, cuts, self.paths.len());
            for &(_, threshold, missing_left, left, right) in same {
                let turn = asked.side(threshold);
                for side in 0..asked.sides() {
                    let goes_left = if side == 0 { missing_left } else { side < turn };
                    asked.rule_out(side, if goes_left { right } else { left });
                }
            }
            self.asked.push(asked);
        }
    }

    /// Which features of a leaf's path are passed by a row that lies on these sides.
    fn passed(&self, leaf: usize, sides: &[usize]) -> u64 {
        let path = &self.paths[leaf];
        let mut passed = 0;
        for (asked, &side) in self.asked.iter().zip(sides) {
            if let Some(slot) = path.features.iter().position(|f| *f == asked.feature) {
                passed |= asked.pattern(side, (leaf, leaf + 1)) << slot;
            }
        }
        passed
    }

    /// Finds the states of a span, unless their combinations are too many for a table.
    fn states(&self, leaves: Span, missing: &[bool], most: usize, states: &mut States) -> bool {
        states.leaves = leaves;
        states.patterns.clear();
        states.ends.clear();
        let short = |path: &Path| path.features.len() <= TABLE_FEATURES;
        if leaves.1 - leaves.0 > BUNDLE_LEAVES || !self.paths[leaves.0..leaves.1].iter().all(short) {
            return false;
        }
        let mut combinations = 1;
        for asked in &self.asked {
            let first = states.patterns.len();
            for side in usize::from(!missing[asked.feature])..asked.sides() {
                let pattern = asked.pattern(side, leaves);
                if !states.patterns[first..].contains(&pattern) {
                    states.patterns.push(pattern);
                }
            }
            states.ends.push(states.patterns.len());
            combinations *= states.patterns.len() - first;
            if combinations > most {
                return false;
            }
        }
        combinations <= most
    }
}

impl Asked {
    fn new(feature: usize, cuts: Vec<f64>, leaves: usize) -> Self {
        let words = leaves.div_ceil(64);
        Self { feature, passes: vec![u64::MAX; (cuts.len() + 2) * words], cuts, words }
    }

    fn sides(&self) -> usize {
        self.cuts.len() + 2
    }

    fn side(&self, x: f64) -> usize {
        if x.is_nan() { 0 } else { 1 + self.cuts.partition_point(|cut| *cut <= x) }
    }

    fn rule_out(&mut self, side: usize, (first, end): Span) {
        for leaf in first..end {
            self.passes[side * self.words + leaf / 64] &= !(1 << (leaf % 64));
        }
    }

    /// Which of at most 64 leaves let a side pass, the first in the lowest bit.
    fn pattern(&self, side: usize, (first, end): Span) -> u64 {
        let line = &self.passes[side * self.words..(side + 1) * self.words];
        let (word, shift) = (first / 64, first % 64);
        let above = if shift == 0 { 0 } else { line.get(word + 1).map_or(0, |next| next << (64 - shift)) };
        (line[word] >> shift | above) & u64::MAX >> (64 - (end - first))
    }
}

impl States {
    fn of(&self, asked: usize) -> &[u64] {
        let start = if asked == 0 { 0 } else { self.ends[asked - 1] };
        &self.patterns[start..self.ends[asked]]
    }
}

impl<'a> Bundles<'a> {
    fn new(prepared: &'a Prepared, missing: &[bool], rows: usize) -> Self {
        let mut bundles = Self { prepared, tables: Vec::new(), steps: Vec::new(), alone: Vec::new() };
        let mut chosen = Vec::new();
        bundles.choose(0, missing, rows.min(TABLE_ENTRIES), &mut States::default(), &mut chosen);
        for (q, asked) in prepared.asked.iter().enumerate() {
            let mut steps = Vec::with_capacity(asked.sides() * chosen.len());
            for side in 0..asked.sides() {
                steps.extend(chosen.iter().map(|states| states.step(q, asked, side)));
            }
            bundles.steps.push(steps);
        }
        bundles.tables = chosen.iter().map(|states| Bundle::new(prepared, states)).collect();
        bundles
    }

    /// Bundles the leaves under a node, or those under its children where one table would not do.
    fn choose(&mut self, at: usize, missing: &[bool], most: usize, states: &mut States, chosen: &mut Vec<States>) {
        let leaves = self.prepared.spans[at];
        if self.prepared.states(leaves, missing, most, states) {
            chosen.push(states.clone());
        } else if let Node::Split { left, right, .. } = self.prepared.tree.nodes[at] {
            self.choose(left, missing, most, states, chosen);
            self.choose(right, missing, most, states, chosen);
        } else {
            self.alone.push(leaves.0);
        }
    }

    /// Adds this tree's contributions for every row.
    fn add(&self, rows: &[f64], width: usize, out: &mut [f64]) {
        let many = self.tables.len();
        let mut entry = vec![0u16; many];
        let mut sides = vec![0; self.prepared.asked.len()];
        let mut single = [0.0; MOST_FEATURES];
        for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            entry.fill(0);
            for ((asked, steps), side) in self.prepared.asked.iter().zip(&self.steps).zip(&mut sides) {
                *side = asked.side(row[asked.feature]);
                entry.iter_mut().zip(&steps[*side * many..]).for_each(|(entry, step)| *entry += step);
            }
            for (bundle, &entry) in self.tables.iter().zip(&entry) {
                let d = bundle.features.len();
                let parts = &bundle.table[usize::from(entry) * d..(usize::from(entry) + 1) * d];
                bundle.features.iter().zip(parts).for_each(|(&f, p)| out[f] += p);
            }
            for &leaf in &self.alone {
                let path = &self.prepared.paths[leaf];
                path.one(self.prepared.passed(leaf, &sides), &self.prepared.points, &mut single);
                path.features.iter().zip(&single).for_each(|(&f, p)| out[f] += p);
            }
        }
    }
}

impl States {
    /// What lying on a side adds to the number of the bundle's entry.
    fn step(&self, q: usize, asked: &Asked, side: usize) -> u16 {
        let stride: usize = (0..q).map(|before| self.of(before).len()).product();
        // A side that no row takes has no pattern here.
        let state = self.of(q).iter().position(|p| *p == asked.pattern(side, self.leaves)).unwrap_or(0);
        u16::try_from(stride * state).unwrap_or(0)
    }
}

impl Bundle {
    fn new(prepared: &Prepared, states: &States) -> Self {
        let paths = &prepared.paths[states.leaves.0..states.leaves.1];
        let on_path = |asked: &&Asked| paths.iter().any(|path| path.features.contains(&asked.feature));
        let features: Vec<usize> = prepared.asked.iter().filter(on_path).map(|asked| asked.feature).collect();
        let d = features.len();
        let mut table = Vec::new();
        let (mut leaf, mut passed, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (at, path) in paths.iter().enumerate() {
            path.all(&prepared.points, &mut leaf);
            entries(prepared, states, at, path, &mut passed);
            places.clear();
            places.extend(path.features.iter().map(|f| features.iter().position(|g| g == f).unwrap_or(0)));
            table.resize(passed.len() * d, 0.0);
            for (line, &passed) in table.chunks_exact_mut(d.max(1)).zip(&passed) {
                let parts = &leaf[passed * places.len()..(passed + 1) * places.len()];
                places.iter().zip(parts).for_each(|(&place, part)| line[place] += part);
            }
        }
        Self { features, table }
    }
}

/// For every entry of a bundle's table: which features of a leaf's path are passed.
fn entries(prepared: &Prepared, states: &States, leaf: usize, path: &Path, passed: &mut Vec<usize>) {
    passed.clear();
    passed.push(0);
    for (q, asked) in prepared.asked.iter().enumerate() {
        let slot = path.features.iter().position(|f| *f == asked.feature);
        let bit = |pattern: &u64| slot.map_or(0, |slot| ((pattern >> leaf & 1) as usize) << slot);
        let own = states.of(q);
        let before = passed.len();
        for pattern in &own[1..] {
            passed.extend_from_within(..before);
            let fresh = passed.len() - before;
            passed[fresh..].iter_mut().for_each(|p| *p |= bit(pattern));
        }
        passed[..before].iter_mut().for_each(|p| *p |= bit(&own[0]));
    }
}

impl Path {
    /// Contributions for every set of passed features: `2^d * d` numbers, set by set.
    fn all(&self, points: &[(f64, f64)], table: &mut Vec<f64>) {
        let d = self.features.len();
        table.clear();
        table.resize(d << d, 0.0);
        let mut product = [0.0; 1 << TABLE_FEATURES];
        for &(t, weight) in points {
            let term = |i: usize, passed: bool| (1.0 - t) * self.shares[i] + if passed { t } else { 0.0 };
            product[0] = (0..d).map(|i| term(i, false)).product::<f64>() * weight;
            let mut without = [[0.0; TABLE_FEATURES]; 2];
            for i in 0..d {
                without[0][i] = 1.0 / term(i, false);
                without[1][i] = 1.0 / term(i, true);
                let rise = term(i, true) * without[0][i];
                for set in 0..1 << i {
                    product[set | 1 << i] = product[set] * rise;
                }
            }
            for (set, line) in table.chunks_exact_mut(d.max(1)).enumerate() {
                for (i, part) in line.iter_mut().enumerate() {
                    *part += product[set] * without[set >> i & 1][i];
                }
            }
        }
        for (set, line) in table.chunks_exact_mut(d.max(1)).enumerate() {
            for ((i, part), share) in line.iter_mut().enumerate().zip(&self.shares) {
                *part *= self.value * (if set >> i & 1 == 1 { 1.0 } else { 0.0 } - share);
            }
        }
    }

    /// Contributions for one set of passed features, without a table.
    fn one(&self, passed: u64, points: &[(f64, f64)], out: &mut [f64; MOST_FEATURES]) {
        let d = self.features.len();
        out[..d].fill(0.0);
        let one = |i: usize| if passed >> i & 1 == 1 { 1.0 } else { 0.0 };
        for &(t, weight) in points {
            let mut terms = [1.0; MOST_FEATURES];
            let mut product = weight;
            for (i, share) in self.shares.iter().enumerate() {
                terms[i] = t * one(i) + (1.0 - t) * share;
                product *= terms[i];
            }
            out[..d].iter_mut().zip(&terms).for_each(|(part, term)| *part += product / term);
        }
        for (i, share) in self.shares.iter().enumerate() {
            out[i] *= self.value * (one(i) - share);
        }
    }
}

/// Gauss and Legendre's points and weights on (0, 1): exact for polynomials of degree `2 n - 1`.
fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let point = |i: usize| {
        let mut x = (std::f64::consts::PI * (real(i) + 0.75) / (real(n) + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..8 {
            let (mut before, mut value) = (1.0, x);
            for k in 2..=n {
                (before, value) = (value, (real(2 * k - 1) * x * value - real(k - 1) * before) / real(k));
            }
            slope = real(n) * (x * value - before) / (x * x - 1.0);
            x -= value / slope;
        }
        (0.5 * (1.0 + x), 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..n).map(point).collect()
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

    /// `s! (d - 1 - s)! / d!` for each `s` below `d`: the Shapley weight of a coalition of size `s`.
    fn shapley_weights(d: usize) -> Vec<f64> {
        let mut weights = vec![1.0 / real(d); d];
        for s in 1..d {
            weights[s] = weights[s - 1] * real(s) / real(d - s);
        }
        weights
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
            for (j, want) in want.iter().enumerate() {
                assert!((many.rows[i][j] - want).abs() < 1e-12);
                assert!(i >= 8 || (few.rows[i][j] - want).abs() < 1e-12);
            }
            let sum = many.bias + many.rows[i].iter().sum::<f64>();
            assert!((sum - model.predict(row)).abs() < 1e-12);
        }
    }

    #[test]
    fn missing_values_may_turn_either_way_within_one_bundle() {
        let split = |feature, threshold, left, right, missing_left, cover| Node::Split {
            feature,
            threshold,
            left,
            right,
            missing_left,
            cover,
        };
        let leaf = |value, cover| Node::Leaf { value, cover };
        let nodes = vec![
            split(1, 0.5, 1, 2, false, 10.0),
            split(0, 0.3, 3, 4, true, 4.0),
            split(0, 0.3, 5, 6, false, 6.0),
            leaf(1.0, 1.0),
            leaf(2.0, 3.0),
            leaf(4.0, 4.0),
            leaf(8.0, 2.0),
        ];
        let model = Ensemble { features: 2, base: 0.0, trees: vec![Tree { nodes }] };
        let row = [f64::NAN, 0.2];
        let want = by_definition(&model, &row);
        for copies in [1, 40] {
            let found = model.explain(&row.repeat(copies)).unwrap();
            assert!(found.rows[0].iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }

    #[test]
    fn a_batch_says_what_its_rows_say_alone() {
        // More than 64 leaves, paths of more than eight features, and every size of table.
        let model = ensemble(3, 9, 12);
        let mut rng = generator(4);
        let rows: Vec<f64> = (0..300 * 12).map(|_| uniform(&mut rng)).collect();
        let batch = model.explain(&rows).unwrap();
        for (row, parts) in rows.chunks_exact(12).zip(&batch.rows).step_by(23) {
            let alone = model.explain(row).unwrap();
            assert!(alone.rows[0].iter().zip(parts).all(|(a, b)| (a - b).abs() < 1e-11));
        }
    }

    #[test]
    fn the_rule_integrates_polynomials_exactly() {
        for n in [1, 2, 3, 8, 32] {
            for degree in 0..2 * n {
                let sum: f64 = gauss_legendre(n).iter().map(|(t, w)| w * t.powi(i32::try_from(degree).unwrap())).sum();
                assert!((sum - 1.0 / real(degree + 1)).abs() < 1e-13, "{n} points, degree {degree}");
            }
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
