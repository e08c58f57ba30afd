//! An uplift forest: trees that split where treated and control differ most differently
//! (Rzepakowski & Jaroszewicz 2012, squared Euclidean distance; leaves as in Athey & Imbens 2016,
//! estimated on other rows than those that chose the splits).

use crate::{
    boosting::{Bins, Ensemble, Feature, Loss, Node, Tree, feature_of},
    seed::{self, uniform},
    table::Table,
};

/// Trees of a forest.
const TREES: usize = 60;
/// Deepest level of a branch.
const DEPTH: usize = 5;
/// Bins of a column.
const BINS: usize = 64;

/// Rows and outcomes of control (0) and treated (1).
type Arms = [[f64; 2]; 2];

/// Grows a forest whose answers are differences of mean outcome.
pub(super) fn fit(table: &Table, treated: &[bool], outcome: &[f64], seed: u64) -> Ensemble {
    let features: Vec<Feature> = table.columns().iter().map(feature_of).collect();
    let bins = features.iter().zip(table.columns()).map(|(f, c)| f.bins_of(c)).collect();
    let rows = u32::try_from(treated.len()).unwrap_or(u32::MAX);
    #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
    let least = (treated.len() as f64 / 200.0).max(20.0);
    let forest = Forest { features: &features, bins, treated, outcome, least };
    let mut trees = Vec::with_capacity(TREES);
    for i in 0..TREES {
        let mut rng = seed::generator(seed.wrapping_add(i as u64 * 7_919));
        let mut draw = || uniform(&mut rng);
        draw();
        // A third of the rows chooses the splits, a third fills the leaves.
        let (mut chooses, mut fills) = (Vec::new(), Vec::new());
        for row in 0..rows {
            match draw() * 3.0 {
                d if d < 1.0 => chooses.push(row),
                d if d < 2.0 => fills.push(row),
                _ => {}
            }
        }
        let mut tree = Tree { nodes: Vec::new() };
        let all = forest.count(&fills);
        forest.grow(&mut tree, chooses, fills, effect(&all), DEPTH, &mut draw);
        trees.push(tree);
    }
    for node in trees.iter_mut().flat_map(|t| &mut t.nodes) {
        if let Node::Leaf { value, .. } = node {
            #[expect(clippy::cast_precision_loss, reason = "a count of trees")]
            let count = TREES as f64;
            *value /= count;
        }
    }
    Ensemble { features, loss: Loss::Squared, bias: 0.0, trees }
}

struct Forest<'a> {
    features: &'a [Feature],
    bins: Vec<Vec<u8>>,
    treated: &'a [bool],
    outcome: &'a [f64],
    /// Least rows of either arm in a leaf.
    least: f64,
}

/// Difference of mean outcome; 0 when an arm is empty.
fn effect(arms: &Arms) -> f64 {
    let mean = |arm: [f64; 2]| arm[1] / arm[0];
    if arms[0][0] > 0.0 && arms[1][0] > 0.0 { mean(arms[1]) - mean(arms[0]) } else { 0.0 }
}

fn add(a: &mut Arms, b: &Arms) {
    a.iter_mut().flatten().zip(b.iter().flatten()).for_each(|(x, y)| *x += y);
}

impl Forest<'_> {
    fn count(&self, rows: &[u32]) -> Arms {
        let mut arms = Arms::default();
        for &row in rows {
            let arm = &mut arms[usize::from(self.treated[row as usize])];
            arm[0] += 1.0;
            arm[1] += self.outcome[row as usize];
        }
        arms
    }

    /// Grows a subtree; answers its position. A leaf is drawn towards its parent by `least` rows.
    fn grow(
        &self,
        tree: &mut Tree,
        chooses: Vec<u32>,
        fills: Vec<u32>,
        parent: f64,
        depth: usize,
        draw: &mut impl FnMut() -> f64,
    ) -> u32 {
        let arms = self.count(&fills);
        let smaller = arms[0][0].min(arms[1][0]);
        let value = (effect(&arms) * smaller + parent * self.least) / (smaller + self.least);
        let position = tree.nodes.len();
        #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
        let rows = fills.len() as f64;
        tree.nodes.push(Node::Leaf { value, rows });
        let index = u32::try_from(position).unwrap_or(0);
        let Some((feature, left_bins)) = (depth > 0).then(|| self.best_split(&chooses, draw)).flatten() else {
            return index;
        };
        let goes_left = |row: &u32| left_bins >> self.bins[feature][*row as usize] & 1 == 1;
        let (choose_left, choose_right) = chooses.into_iter().partition(goes_left);
        let (fill_left, fill_right): (Vec<u32>, Vec<u32>) = fills.into_iter().partition(goes_left);
        let left = self.grow(tree, choose_left, fill_left, value, depth - 1, draw);
        let right = self.grow(tree, choose_right, fill_right, value, depth - 1, draw);
        let feature = u32::try_from(feature).unwrap_or(0);
        tree.nodes[position] = Node::Branch { feature, left_bins, left, right, rows };
        index
    }

    /// The split after which effects differ most, over half of the columns.
    fn best_split(&self, rows: &[u32], draw: &mut impl FnMut() -> f64) -> Option<(usize, u64)> {
        let total = self.count(rows);
        let mut best: Option<(f64, usize, u64)> = None;
        for (feature, bins) in self.bins.iter().enumerate() {
            if draw() < 0.5 {
                continue;
            }
            let mut counts = [Arms::default(); BINS];
            for &row in rows {
                let arm = &mut counts[usize::from(bins[row as usize])][usize::from(self.treated[row as usize])];
                arm[0] += 1.0;
                arm[1] += self.outcome[row as usize];
            }
            let mut order: Vec<usize> = (0..BINS).filter(|&b| counts[b] != Arms::default()).collect();
            if matches!(self.features[feature].bins, Bins::Names(_)) {
                let of = |b: usize| effect(&counts[b]);
                order.sort_by(|&a, &b| of(a).total_cmp(&of(b)));
            }
            let (mut left, mut set) = (Arms::default(), 0_u64);
            for bin in order {
                add(&mut left, &counts[bin]);
                set |= 1 << bin;
                if let Some(gain) = self.gain(&left, &total)
                    && best.is_none_or(|b| gain > b.0)
                {
                    best = Some((gain, feature, set));
                }
            }
        }
        best.map(|(_, feature, set)| (feature, set))
    }

    /// Squared difference of the effects of both sides, weighted by how many rows can show it.
    fn gain(&self, left: &Arms, total: &Arms) -> Option<f64> {
        let right: Arms = std::array::from_fn(|a| std::array::from_fn(|i| total[a][i] - left[a][i]));
        let seen = |arms: &Arms| arms[0][0] * arms[1][0] / (arms[0][0] + arms[1][0]);
        if [left, &right].iter().any(|s| s[0][0] < self.least || s[1][0] < self.least) {
            return None;
        }
        let (l, r) = (seen(left), seen(&right));
        let apart = effect(left) - effect(&right);
        Some(l * r / (l + r) * apart * apart)
    }
}
