//! Histogram gradient boosting for calibrated propensities (Friedman 2001; histograms and
//! best-first growth as in Ke et al. 2017).
//!
//! Shallow, shrunk trees. One model per fold is grown in step with the others, each on the rows
//! outside its fold; growth stops when the loss on the rows left out stops falling, and the published
//! ensemble is the mean of the models. So nothing is refitted, every row has an honest score, and
//! averaging steadies the answer. Few-valued columns share one histogram (their joint values), which
//! is exact and saves most of the additions. Absent on purpose: more than one output.

#![allow(clippy::float_cmp, reason = "values that were copied or counted are compared, not computed ones")]

mod lookup;

use std::ops::Range;

use lookup::Lookup;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use crate::{
    input::{self, BadInput, same_length},
    seed::{self, Rng},
    special::{logit, sigmoid, sum_softplus},
    table::{Column, Table, UNKNOWN, Values},
};

/// How the trees grow. The defaults are meant for every data set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Share of each tree's answer that is kept, in (0, 1].
    pub learning_rate: f64,
    /// Most leaves of a tree, at least 2.
    pub leaves: usize,
    /// Share of the rows that a tree sees, in (0, 1].
    pub row_share: f64,
    /// Share of the columns that a tree sees, in (0, 1].
    pub column_share: f64,
    /// Ridge penalty on leaf values, in units of the loss's second derivative.
    pub ridge: f64,
    /// Least rows in a leaf.
    pub least_rows: f64,
    /// Most trees per fold.
    pub most_trees: usize,
    /// Trees without a better loss on the rows left out before growth stops.
    pub patience: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            learning_rate: 0.06,
            leaves: 8,
            row_share: 0.8,
            column_share: 0.6,
            ridge: 5.0,
            least_rows: 20.0,
            most_trees: 600,
            patience: 12,
        }
    }
}

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Logistic loss; targets are 0 and 1, answers are log-odds.
    Logistic,
    /// Half the squared error; answers are in the target's unit.
    Squared,
}

/// How one column becomes at most 64 bins. Bin 0 is for gaps and categories never seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// The column's name.
    pub name: String,
    /// Its bins.
    pub bins: Bins,
}

/// The bins of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bins {
    /// A value falls in bin 1 + (number of cuts at or below it).
    Cuts(Vec<f64>),
    /// A category falls in bin 1 + its position here.
    Names(Vec<String>),
}

/// A branching of a tree, or a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// Rows whose bin of `feature` is in the bit set `left_bins` go to `left`, others to `right`.
    Branch {
        /// Position in [`Ensemble::features`].
        feature: u32,
        /// Bit i stands for bin i.
        left_bins: u64,
        /// Position of the left child in the tree.
        left: u32,
        /// Position of the right child in the tree.
        right: u32,
        /// Training rows that came here, for explanations.
        rows: f64,
    },
    /// What a tree adds to the answer.
    Leaf {
        /// Already shrunk and divided by the number of folds.
        value: f64,
        /// Training rows that came here, for explanations.
        rows: f64,
    },
}

/// One tree; its root is the first node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// Branches and leaves.
    pub nodes: Vec<Node>,
}

/// A published model: the bias plus the sum over all trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ensemble {
    /// The columns it reads.
    pub features: Vec<Feature>,
    /// What was minimised, which says what the answers are.
    pub loss: Loss,
    /// The answer before any tree.
    pub bias: f64,
    /// The trees of all folds.
    pub trees: Vec<Tree>,
}

/// A model and what it says of rows it was not grown on.
#[derive(Debug, Clone, PartialEq)]
pub struct Boosted {
    /// The published model.
    pub ensemble: Ensemble,
    /// For each training row, the answer of the fold that did not see it (log-odds or target unit).
    pub out_of_fold: Vec<f64>,
    /// Trees grown in each fold.
    pub rounds: usize,
    /// Mean loss on the rows left out.
    pub validation_loss: f64,
}

/// Bins a column may have at most: as many as a bit set has bits.
const MOST_BINS: usize = 64;
/// Bins that a joint histogram of few-valued columns may have.
const MOST_JOINT: usize = 64;

/// Grows an ensemble.
///
/// `target` is finite (0 or 1 under [`Loss::Logistic`]); `fold[row]` says which fold leaves the row
/// out; every fold number from 0 up must occur and at least two are needed.
pub fn fit(
    table: &Table,
    target: &[f64],
    loss: Loss,
    fold: &[u8],
    settings: Settings,
    seed: u64,
) -> Result<Boosted, BadInput> {
    check(table, target, loss, fold)?;
    let features: Vec<Feature> = table.columns().iter().map(feature_of).collect();
    let binned = Binned::of(table, &features);
    if binned.width.iter().all(|&w| w < 2) {
        return Err(BadInput::Constant { field: "columns".into() });
    }
    let folds = fold.iter().max().map_or(0, |&f| usize::from(f) + 1);
    let mean = target.iter().sum::<f64>() / float(target.len());
    let bias = if loss == Loss::Logistic { logit(mean) } else { mean };
    let problem = Problem { binned: &binned, target, loss, settings };
    let mut grown: Vec<Growing> =
        (0..folds).map(|f| Growing::new(&problem, bias, fold, f, seed.wrapping_add(f as u64))).collect();
    let (rounds, validation_loss) = grow(&problem, &mut grown);
    Ok(publish(features, loss, bias, grown, rounds, validation_loss, target.len()))
}

/// Adds trees to every fold until the loss on the rows left out stops falling.
fn grow(problem: &Problem, grown: &mut [Growing]) -> (usize, f64) {
    let rows: usize = grown.iter().map(|g| g.held_out.len()).sum();
    let loss = |grown: &[Growing]| grown.iter().map(|g| g.held_out_loss(problem)).sum::<f64>() / float(rows);
    let (mut best, mut best_rounds) = (loss(grown), 0);
    keep(grown);
    for round in 1..=problem.settings.most_trees {
        for one in grown.iter_mut() {
            one.add_tree(problem);
        }
        let now = loss(grown);
        if now < best - 1e-7 * best.abs() {
            (best, best_rounds) = (now, round);
            keep(grown);
        } else if round >= best_rounds + problem.settings.patience {
            break;
        }
    }
    (best_rounds, best)
}

/// Remembers the held-out answers of the best round.
fn keep(grown: &mut [Growing]) {
    for one in grown {
        for (kept, &row) in one.kept.iter_mut().zip(&one.held_out) {
            *kept = one.score[row as usize];
        }
    }
}

fn publish(
    features: Vec<Feature>,
    loss: Loss,
    bias: f64,
    grown: Vec<Growing>,
    rounds: usize,
    validation_loss: f64,
    rows: usize,
) -> Boosted {
    let share = 1.0 / float(grown.len());
    let mut out_of_fold = vec![0.0; rows];
    let mut trees = Vec::with_capacity(rounds * grown.len());
    for one in grown {
        for (&row, &kept) in one.held_out.iter().zip(&one.kept) {
            out_of_fold[row as usize] = kept;
        }
        trees.extend(one.trees.into_iter().take(rounds).map(|mut tree| {
            for node in &mut tree.nodes {
                if let Node::Leaf { value, .. } = node {
                    *value *= share;
                }
            }
            tree
        }));
    }
    Boosted { ensemble: Ensemble { features, loss, bias, trees }, out_of_fold, rounds, validation_loss }
}

fn check(table: &Table, target: &[f64], loss: Loss, fold: &[u8]) -> Result<(), BadInput> {
    same_length("target", target.len(), table.rows())?;
    same_length("fold", fold.len(), table.rows())?;
    input::finite("target", target)?;
    if loss == Loss::Logistic {
        input::all("target", target, "0 or 1", |y| y == 0.0 || y == 1.0)?;
    }
    if target.iter().all(|&y| y == target[0]) {
        return Err(BadInput::OneClass { field: "target".into() });
    }
    let folds = fold.iter().max().map_or(0, |&f| usize::from(f) + 1);
    let missing = (0..folds).find(|&f| !fold.iter().any(|&g| usize::from(g) == f));
    if folds < 2 || missing.is_some() {
        return Err(BadInput::TooFew { field: "fold".into(), found: missing.unwrap_or(folds), needed: folds.max(2) });
    }
    Ok(())
}

/// Bins of a column: quantiles of its distinct numbers, or its most frequent categories.
pub(crate) fn feature_of(column: &Column) -> Feature {
    let bins = match &column.values {
        Values::Numbers(values) => Bins::Cuts(cuts(values)),
        Values::Categories { codes, names } => Bins::Names(frequent(codes, names)),
    };
    Feature { name: column.name.clone(), bins }
}

/// Up to 62 cuts between distinct values, so that bins hold about equally many rows.
fn cuts(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let distinct: Vec<(f64, usize)> = sorted.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect();
    let between = |a: f64, b: f64| a + (b - a) * 0.5;
    let most = MOST_BINS - 2;
    if distinct.len() <= most + 1 {
        return distinct.windows(2).map(|w| upper(between(w[0].0, w[1].0), w[1].0)).collect();
    }
    let mut cuts = Vec::with_capacity(most);
    let (mut seen, mut rest, mut left) = (0.0, float(sorted.len()), float(most + 1));
    for pair in distinct.windows(2) {
        seen += float(pair[0].1);
        if seen >= rest / left && cuts.len() < most {
            cuts.push(upper(between(pair[0].0, pair[1].0), pair[1].0));
            rest -= seen;
            (seen, left) = (0.0, left - 1.0);
        }
    }
    cuts
}

/// A cut that separates: when rounding put it on the lower value, take the upper one.
fn upper(cut: f64, above: f64) -> f64 {
    if cut.is_finite() && cut < above { cut.max(f64::MIN) } else { above }
}

/// The most frequent categories, by count and then by name; the rest counts as unknown.
fn frequent(codes: &[u32], names: &[String]) -> Vec<String> {
    let mut counts = vec![0_usize; names.len()];
    for &code in codes.iter().filter(|&&c| c != UNKNOWN) {
        counts[code as usize] += 1;
    }
    let mut order: Vec<usize> = (0..names.len()).filter(|&i| counts[i] > 0).collect();
    order.sort_by(|&a, &b| counts[b].cmp(&counts[a]).then_with(|| names[a].cmp(&names[b])));
    order.truncate(MOST_BINS - 1);
    order.into_iter().map(|i| names[i].clone()).collect()
}

impl Feature {
    /// The bin of every row of a column; of the other kind, all rows are unknown.
    pub(crate) fn bins_of(&self, column: &Column) -> Vec<u8> {
        match (&self.bins, &column.values) {
            (Bins::Cuts(cuts), Values::Numbers(values)) => values
                .iter()
                .map(|&v| if v.is_nan() { 0 } else { small(1 + cuts.partition_point(|&c| c <= v)) })
                .collect(),
            (Bins::Names(known), Values::Categories { codes, names }) => {
                let bins: Vec<u8> =
                    names.iter().map(|name| known.iter().position(|k| k == name).map_or(0, |i| small(i + 1))).collect();
                codes.iter().map(|&c| if c == UNKNOWN { 0 } else { bins[c as usize] }).collect()
            }
            (_, Values::Numbers(values)) => vec![0; values.len()],
            (_, Values::Categories { codes, .. }) => vec![0; codes.len()],
        }
    }
}

fn small(bin: usize) -> u8 {
    u8::try_from(bin).unwrap_or(u8::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a count of rows")]
fn float(count: usize) -> f64 {
    count as f64
}

/// Few-valued columns that share one histogram: the joint bin is Σ (bin - least) · stride.
struct Joint {
    /// Feature, its least bin, its number of bins, its stride.
    members: Vec<(usize, u8, usize, usize)>,
    /// Where this histogram starts among all.
    offset: usize,
    bins: usize,
}

/// A table as small integers, by column and, for histograms, by row.
struct Binned {
    columns: Vec<Vec<u8>>,
    /// Whether the bins of a column have an order.
    ordered: Vec<bool>,
    /// Distinct bins from the least to the greatest of each column.
    width: Vec<usize>,
    joints: Vec<Joint>,
    /// For each row, its slot in every joint histogram, offsets included.
    slots: Vec<u16>,
    bins: usize,
    rows: usize,
}

impl Binned {
    fn of(table: &Table, features: &[Feature]) -> Self {
        let columns: Vec<Vec<u8>> = features.iter().zip(table.columns()).map(|(f, c)| f.bins_of(c)).collect();
        let ordered = features.iter().map(|f| matches!(f.bins, Bins::Cuts(_))).collect();
        let range: Vec<(u8, usize)> = columns.iter().map(|c| range(c)).collect();
        let joints = join(&range);
        let bins = joints.iter().map(|j| j.bins).sum();
        let rows = table.rows();
        let mut slots = vec![0_u16; rows * joints.len()];
        for (j, joint) in joints.iter().enumerate() {
            let offset = u16::try_from(joint.offset).unwrap_or(u16::MAX);
            slots.iter_mut().skip(j).step_by(joints.len()).for_each(|s| *s = offset);
            for &(feature, least, _, stride) in &joint.members {
                let stride = u16::try_from(stride).unwrap_or(1);
                for (slot, &bin) in slots.iter_mut().skip(j).step_by(joints.len()).zip(&columns[feature]) {
                    *slot += u16::from(bin - least) * stride;
                }
            }
        }
        Self { columns, ordered, width: range.iter().map(|r| r.1).collect(), joints, slots, bins, rows }
    }
}

/// Least bin of a column and the number of bins from there to the greatest.
fn range(column: &[u8]) -> (u8, usize) {
    let (least, most) = column.iter().fold((u8::MAX, 0), |(a, b), &v| (a.min(v), b.max(v)));
    (least, usize::from(most - least) + 1)
}

/// Puts columns together, narrowest first, while their joint bins stay few. Constant ones are left out.
fn join(range: &[(u8, usize)]) -> Vec<Joint> {
    let mut order: Vec<usize> = (0..range.len()).filter(|&f| range[f].1 > 1).collect();
    order.sort_by_key(|&f| range[f].1);
    let mut joints: Vec<Joint> = Vec::new();
    for feature in order {
        let (least, width) = range[feature];
        match joints.last_mut() {
            Some(joint) if joint.bins * width <= MOST_JOINT => {
                joint.members.push((feature, least, width, joint.bins));
                joint.bins *= width;
            }
            _ => joints.push(Joint { members: vec![(feature, least, width, 1)], offset: 0, bins: width }),
        }
    }
    let mut offset = 0;
    for joint in &mut joints {
        joint.offset = offset;
        offset += joint.bins;
    }
    joints
}

/// What all folds share.
struct Problem<'a> {
    binned: &'a Binned,
    target: &'a [f64],
    loss: Loss,
    settings: Settings,
}

/// Sums of first and second derivatives, and rows, of a leaf or bin.
type Sums = [f64; 3];

/// The same of one cell of a histogram, padded so that adding is one vector instruction. Single
/// precision is enough for choosing splits; rows are exact up to 16 million in a cell.
type Cell = [f32; 4];

fn add_cell(a: &mut Cell, b: &Cell) {
    let (x, y) = (*a, *b);
    *a = [x[0] + y[0], x[1] + y[1], x[2] + y[2], x[3] + y[3]];
}

fn widen(cell: &Cell) -> Sums {
    [f64::from(cell[0]), f64::from(cell[1]), f64::from(cell[2])]
}

fn add(a: &mut Sums, b: &Sums) {
    for (x, y) in a.iter_mut().zip(b) {
        *x += y;
    }
}

/// The model of one fold while it grows.
struct Growing {
    train: Vec<u32>,
    held_out: Vec<u32>,
    kept: Vec<f64>,
    /// Current answer for every row.
    score: Vec<f64>,
    /// First and second derivative and 1, for every row.
    slope: Vec<Cell>,
    trees: Vec<Tree>,
    rng: Pcg64Mcg,
}

/// A leaf that may still be split.
struct Open {
    node: usize,
    /// Rows that the tree sees, as a stretch of their list.
    rows: Range<usize>,
    /// Rows that it does not see, likewise.
    others: Range<usize>,
    sums: Sums,
    histogram: Vec<Cell>,
    best: Option<Split>,
}

/// The best way to part the rows of a leaf.
#[derive(Clone, Copy)]
struct Split {
    gain: f64,
    feature: usize,
    left_bins: u64,
    left: Sums,
}

impl Growing {
    fn new(problem: &Problem, bias: f64, fold: &[u8], own: usize, seed: u64) -> Self {
        let rows = u32::try_from(problem.binned.rows).unwrap_or(u32::MAX);
        let (held_out, train): (Vec<u32>, Vec<u32>) = (0..rows).partition(|&r| usize::from(fold[r as usize]) == own);
        let mut rng = seed::generator(seed);
        rng.next_u64();
        Self {
            kept: vec![bias; held_out.len()],
            score: vec![bias; rows as usize],
            slope: vec![[0.0, 0.0, 1.0, 0.0]; rows as usize],
            train,
            held_out,
            trees: Vec::new(),
            rng,
        }
    }

    fn held_out_loss(&self, problem: &Problem) -> f64 {
        let pairs = self.held_out.iter().map(|&row| (problem.target[row as usize], self.score[row as usize]));
        match problem.loss {
            Loss::Logistic => sum_softplus(pairs.map(|(y, score)| if y > 0.5 { -score } else { score })),
            Loss::Squared => pairs.map(|(y, score)| 0.5 * (y - score) * (y - score)).sum(),
        }
    }

    /// Grows one tree on a sample of rows and columns and adds it to every row's answer.
    fn add_tree(&mut self, problem: &Problem) {
        let (mut seen, mut others) = self.draw_rows(problem.settings.row_share);
        others.extend_from_slice(&self.held_out);
        let allowed = self.draw_columns(problem);
        self.derive(problem, &seen);
        let mut tree = Tree { nodes: Vec::with_capacity(2 * problem.settings.leaves) };
        let leaves = self.split_best_first(problem, &allowed, [&mut seen, &mut others], &mut tree);
        for leaf in leaves {
            let value = leaf_value(&leaf.sums, &problem.settings) * problem.settings.learning_rate;
            tree.nodes[leaf.node] = Node::Leaf { value, rows: leaf.sums[2] };
            for &row in seen[leaf.rows].iter().chain(&others[leaf.others]) {
                self.score[row as usize] += value;
            }
        }
        self.trees.push(tree);
    }

    /// Parts the training rows into those the tree sees and those it does not.
    fn draw_rows(&mut self, share: f64) -> (Vec<u32>, Vec<u32>) {
        if share >= 1.0 {
            return (self.train.clone(), Vec::new());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 65536")]
        let limit = (share * 65_536.0) as u64;
        let (mut seen, mut unseen) = (Vec::with_capacity(self.train.len()), Vec::with_capacity(self.train.len() / 2));
        for rows in self.train.chunks(4) {
            // Four draws of 16 bits each.
            let mut bits = self.rng.next_u64();
            for &row in rows {
                if bits & 0xFFFF < limit {
                    seen.push(row);
                } else {
                    unseen.push(row);
                }
                bits >>= 16;
            }
        }
        (seen, unseen)
    }

    fn draw_columns(&mut self, problem: &Problem) -> Vec<bool> {
        let width = &problem.binned.width;
        let mut usable: Vec<usize> = (0..width.len()).filter(|&f| width[f] > 1).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and the columns")]
        let wanted = (float(usable.len()) * problem.settings.column_share).ceil().max(1.0) as usize;
        let mut allowed = vec![false; width.len()];
        for _ in 0..wanted.min(usable.len()) {
            let pick = seed::below(&mut self.rng, usable.len());
            allowed[usable.swap_remove(pick)] = true;
        }
        allowed
    }

    /// Derivatives of the loss at the current answers.
    fn derive(&mut self, problem: &Problem, rows: &[u32]) {
        for &row in rows {
            let row = row as usize;
            let (y, score) = (problem.target[row], self.score[row]);
            let (first, second) = match problem.loss {
                Loss::Logistic => {
                    let p = sigmoid(score);
                    (p - y, (p * (1.0 - p)).max(1e-6))
                }
                Loss::Squared => (score - y, 1.0),
            };
            #[expect(clippy::cast_possible_truncation, reason = "single precision is enough here")]
            let narrow = [first as f32, second as f32];
            self.slope[row][..2].copy_from_slice(&narrow);
        }
    }

    /// Splits the leaf with most to gain until there are enough leaves; answers the leaves.
    fn split_best_first(
        &self,
        problem: &Problem,
        allowed: &[bool],
        [rows, others]: [&mut [u32]; 2],
        tree: &mut Tree,
    ) -> Vec<Open> {
        let mut histogram = vec![[0.0; 4]; problem.binned.bins];
        self.fill(problem, rows, &mut histogram);
        let mut sums = [0.0; 3];
        for &row in rows.iter() {
            add(&mut sums, &widen(&self.slope[row as usize]));
        }
        tree.nodes.push(Node::Leaf { value: 0.0, rows: sums[2] });
        let best = best_split(problem, allowed, &histogram, &sums);
        let root = Open { node: 0, rows: 0..rows.len(), others: 0..others.len(), sums, best, histogram };
        let mut open = vec![root];
        while open.len() < problem.settings.leaves {
            let gain = |o: &Open| o.best.map_or(0.0, |s| s.gain);
            let Some(pick) = (0..open.len())
                .filter(|&i| open[i].best.is_some())
                .max_by(|&a, &b| gain(&open[a]).total_cmp(&gain(&open[b])))
            else {
                break;
            };
            let leaf = open.swap_remove(pick);
            let last = open.len() + 2 >= problem.settings.leaves;
            let children = self.part(problem, leaf, [&mut *rows, &mut *others], tree, last);
            for mut child in children {
                if !last {
                    child.best = best_split(problem, allowed, &child.histogram, &child.sums);
                }
                open.push(child);
            }
        }
        open
    }

    /// Turns a leaf into a branch with two leaves. When no further split will follow, their
    /// histograms are not needed.
    fn part(
        &self,
        problem: &Problem,
        leaf: Open,
        [rows, others]: [&mut [u32]; 2],
        tree: &mut Tree,
        last: bool,
    ) -> [Open; 2] {
        let split = leaf.best.expect("only leaves with a split are parted");
        let column = &problem.binned.columns[split.feature];
        let [left, right] = part_rows(rows, &leaf.rows, column, split.left_bins);
        let [others_left, others_right] = part_rows(others, &leaf.others, column, split.left_bins);
        let [of_left, of_right] = if last {
            [Vec::new(), Vec::new()]
        } else {
            self.histograms(problem, leaf.histogram, &rows[left.clone()], &rows[right.clone()])
        };
        let rest: Sums = std::array::from_fn(|i| leaf.sums[i] - split.left[i]);
        let first = tree.nodes.len();
        tree.nodes.push(Node::Leaf { value: 0.0, rows: split.left[2] });
        tree.nodes.push(Node::Leaf { value: 0.0, rows: rest[2] });
        let position = |node: usize| u32::try_from(node).unwrap_or(0);
        tree.nodes[leaf.node] = Node::Branch {
            feature: position(split.feature),
            left_bins: split.left_bins,
            left: position(first),
            right: position(first + 1),
            rows: leaf.sums[2],
        };
        [
            Open { node: first, rows: left, others: others_left, sums: split.left, histogram: of_left, best: None },
            Open { node: first + 1, rows: right, others: others_right, sums: rest, histogram: of_right, best: None },
        ]
    }

    /// The histograms of both children: the smaller is counted, the other is the difference.
    fn histograms(&self, problem: &Problem, parent: Vec<Cell>, left: &[u32], right: &[u32]) -> [Vec<Cell>; 2] {
        let (mut small, mut large) = (vec![[0.0; 4]; problem.binned.bins], parent);
        let small_left = left.len() <= right.len();
        self.fill(problem, if small_left { left } else { right }, &mut small);
        for (l, s) in large.iter_mut().zip(&small) {
            *l = [l[0] - s[0], l[1] - s[1], l[2] - s[2], 0.0];
        }
        if small_left { [small, large] } else { [large, small] }
    }

    /// Adds rows to all joint histograms.
    fn fill(&self, problem: &Problem, rows: &[u32], histogram: &mut [Cell]) {
        let width = problem.binned.joints.len();
        for &row in rows {
            let slope = &self.slope[row as usize];
            let at = row as usize * width;
            for &slot in &problem.binned.slots[at..at + width] {
                add_cell(&mut histogram[slot as usize], slope);
            }
        }
    }
}

/// Moves the rows of a stretch that go left to its front; answers both parts. Row order is lost.
fn part_rows(rows: &mut [u32], stretch: &Range<usize>, column: &[u8], left_bins: u64) -> [Range<usize>; 2] {
    let own = &mut rows[stretch.clone()];
    let mut middle = 0;
    for i in 0..own.len() {
        let row = own[i];
        own.swap(i, middle);
        let goes_left = left_bins >> (column[row as usize] & 63) & 1;
        middle += usize::from(goes_left == 1);
    }
    let middle = stretch.start + middle;
    [stretch.start..middle, middle..stretch.end]
}

fn leaf_value(sums: &Sums, settings: &Settings) -> f64 {
    -sums[0] / (sums[1] + settings.ridge)
}

/// Twice the loss that a leaf of these rows saves.
fn score(sums: &Sums, ridge: f64) -> f64 {
    sums[0] * sums[0] / (sums[1] + ridge)
}

/// The best split over the allowed columns, if any gains.
fn best_split(problem: &Problem, allowed: &[bool], histogram: &[Cell], total: &Sums) -> Option<Split> {
    let settings = &problem.settings;
    if total[2] < 2.0 * settings.least_rows {
        return None;
    }
    let mut best: Option<Split> = None;
    for joint in &problem.binned.joints {
        let cells = &histogram[joint.offset..joint.offset + joint.bins];
        for &(feature, least, width, stride) in joint.members.iter().filter(|m| allowed[m.0]) {
            let mut bins = [[0.0; 3]; MOST_BINS];
            if stride == 1 && width == joint.bins {
                bins.iter_mut().zip(cells).for_each(|(bin, cell)| *bin = widen(cell));
            } else {
                marginalise(cells, stride, &mut bins[..width]);
            }
            let bins = &bins[..width];
            let found = if problem.binned.ordered[feature] {
                best_cut(bins, least, total, settings)
            } else {
                best_grouping(bins, least, total, settings)
            };
            if let Some((gain, left_bins, left)) = found
                && best.is_none_or(|b| gain > b.gain)
            {
                best = Some(Split { gain, feature, left_bins, left });
            }
        }
    }
    best
}

/// Adds joint cells up to the bins of one member.
fn marginalise(cells: &[Cell], stride: usize, bins: &mut [Sums]) {
    let width = bins.len();
    for (run, same) in cells.chunks(stride).enumerate() {
        let bin = &mut bins[run % width];
        for cell in same {
            add(bin, &widen(cell));
        }
    }
}

/// Gain of a split, or nothing when a side is too small or nothing is gained.
fn gain(left: &Sums, total: &Sums, settings: &Settings) -> Option<f64> {
    let right: Sums = std::array::from_fn(|i| total[i] - left[i]);
    if left[2] < settings.least_rows || right[2] < settings.least_rows {
        return None;
    }
    let gain = score(left, settings.ridge) + score(&right, settings.ridge) - score(total, settings.ridge);
    (gain > 1e-9).then_some(gain)
}

/// Best cut of ordered bins, with gaps (bin 0) on either side.
fn best_cut(bins: &[Sums], least: u8, total: &Sums, settings: &Settings) -> Option<(f64, u64, Sums)> {
    let gaps = if least == 0 { Some(bins[0]) } else { None };
    let mut best: Option<(f64, u64, Sums)> = None;
    for gaps_left in [false, true] {
        if gaps_left && gaps.is_none() {
            break;
        }
        let (mut left, mut set) = if gaps_left { (bins[0], 1) } else { ([0.0; 3], 0) };
        for (i, bin) in bins.iter().enumerate().skip(usize::from(gaps.is_some())) {
            add(&mut left, bin);
            set |= 1_u64 << (usize::from(least) + i);
            if let Some(gain) = gain(&left, total, settings)
                && best.is_none_or(|b| gain > b.0)
            {
                best = Some((gain, set, left));
            }
        }
    }
    best
}

/// Best grouping of categories: in order of their mean slope, one cut is best (Fisher 1958).
fn best_grouping(bins: &[Sums], least: u8, total: &Sums, settings: &Settings) -> Option<(f64, u64, Sums)> {
    let mut order = [0_usize; MOST_BINS];
    let mut used = 0;
    for (i, bin) in bins.iter().enumerate() {
        if bin[2] > 0.5 {
            order[used] = i;
            used += 1;
        }
    }
    let order = &mut order[..used];
    let slope = |i: usize| bins[i][0] / (bins[i][1] + settings.ridge);
    order.sort_by(|&a, &b| slope(a).total_cmp(&slope(b)));
    let (mut left, mut set, mut best) = ([0.0; 3], 0_u64, None::<(f64, u64, Sums)>);
    for &i in order.iter() {
        add(&mut left, &bins[i]);
        set |= 1 << (usize::from(least) + i);
        if let Some(gain) = gain(&left, total, settings)
            && best.is_none_or(|b| gain > b.0)
        {
            best = Some((gain, set, left));
        }
    }
    best
}

impl Tree {
    /// The answer for one row, given the bin of each of its features.
    pub fn answer(&self, bin: impl Fn(usize) -> u8) -> f64 {
        let mut at = 0;
        loop {
            match self.nodes[at] {
                Node::Leaf { value, .. } => return value,
                Node::Branch { feature, left_bins, left, right, .. } => {
                    let goes_left = left_bins >> bin(feature as usize) & 1 == 1;
                    at = if goes_left { left } else { right } as usize;
                }
            }
        }
    }
}

impl Ensemble {
    /// Answers for the rows of a table: log-odds or target units, as [`Self::loss`] says.
    ///
    /// Columns are found by name; unknown categories and gaps go where the trees send gaps.
    pub fn answers(&self, table: &Table) -> Result<Vec<f64>, BadInput> {
        let mut binned = Vec::with_capacity(self.features.len());
        for feature in &self.features {
            let column = table.column(&feature.name);
            match (column, &feature.bins) {
                (Some(c), Bins::Cuts(_)) if matches!(c.values, Values::Numbers(_)) => {
                    binned.push(feature.bins_of(c));
                }
                (Some(c), Bins::Names(_)) if matches!(c.values, Values::Categories { .. }) => {
                    binned.push(feature.bins_of(c));
                }
                (_, bins) => {
                    let expected =
                        if matches!(bins, Bins::Cuts(_)) { "a column of numbers" } else { "a column of categories" };
                    return Err(BadInput::Missing { field: feature.name.clone(), expected });
                }
            }
        }
        let mut answers = vec![0.0; table.rows()];
        for (block, totals) in answers.chunks_mut(lookup::BLOCK).enumerate() {
            let first = block * lookup::BLOCK;
            for tree in &self.trees {
                match Lookup::of(tree).filter(|_| totals.len() >= lookup::WORTH_IT) {
                    Some(lookup) => lookup.add(&binned, first, totals),
                    None => totals.iter_mut().zip(first..).for_each(|(t, row)| *t += tree.answer(|f| binned[f][row])),
                }
            }
            totals.iter_mut().for_each(|t| *t += self.bias);
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::stratified_folds;

    /// y is likely where exactly one of x > 0.5 and colour = red holds; z is noise with gaps.
    fn exclusive_or(rows: usize, seed: u64) -> (Table, Vec<f64>) {
        let mut rng = seed::generator(seed);
        let mut draw = || seed::uniform(&mut rng);
        let (mut x, mut z, mut colour, mut y) = (vec![], vec![], vec![], vec![]);
        for _ in 0..rows {
            let (value, red) = (draw(), draw() < 0.5);
            x.push(value);
            z.push(if draw() < 0.2 { f64::NAN } else { draw() });
            colour.push(if red {
                "red"
            } else if draw() < 0.5 {
                "blue"
            } else {
                "green"
            });
            y.push(f64::from(u8::from(draw() < if (value > 0.5) == red { 0.1 } else { 0.9 })));
        }
        let columns = vec![Column::numbers("x", x), Column::numbers("z", z), Column::categories("colour", colour)];
        (Table::new(columns).unwrap(), y)
    }

    fn folds(y: &[f64]) -> Vec<u8> {
        stratified_folds(&y.iter().map(|&v| usize::from(v > 0.5)).collect::<Vec<_>>(), 4, 9)
    }

    #[test]
    fn an_interaction_is_learnt_and_held_on_new_rows() {
        let (table, y) = exclusive_or(2_000, 1);
        let settings = Settings { column_share: 1.0, ..Settings::default() };
        let boosted = fit(&table, &y, Loss::Logistic, &folds(&y), settings, 3).unwrap();
        let (new, truth) = exclusive_or(500, 2);
        let answers = boosted.ensemble.answers(&new).unwrap();
        let right = answers.iter().zip(&truth).filter(|(a, y)| (**a > 0.0) == (**y > 0.5)).count();
        assert!(right > 430, "{right}");
        assert!(boosted.validation_loss < 0.40, "{}", boosted.validation_loss);
    }

    #[test]
    fn the_same_seed_grows_the_same_trees_and_they_survive_serialisation() {
        let (table, y) = exclusive_or(400, 4);
        let grow = |seed| fit(&table, &y, Loss::Logistic, &folds(&y), Settings::default(), seed).unwrap().ensemble;
        let model = grow(5);
        assert_eq!(model, grow(5));
        assert_ne!(model, grow(6));
        let again: Ensemble = serde_json::from_str(&serde_json::to_string(&model).unwrap()).unwrap();
        // JSON may move a number's last bit.
        let (before, after) = (model.answers(&table).unwrap(), again.answers(&table).unwrap());
        assert!(before.iter().zip(&after).all(|(b, a)| (b - a).abs() < 1e-12));
    }

    #[test]
    fn many_rows_get_the_answers_that_each_gets_alone() {
        let (table, y) = exclusive_or(lookup::BLOCK + 300, 6);
        let settings = Settings { most_trees: 20, ..Settings::default() };
        let model = fit(&table, &y, Loss::Logistic, &folds(&y), settings, 5).unwrap().ensemble;
        let together = model.answers(&table).unwrap();
        for row in (0..table.rows()).step_by(97) {
            assert_eq!(model.answers(&table.take(&[row]).unwrap()).unwrap(), together[row..=row]);
        }
    }

    #[test]
    fn squared_loss_finds_a_step() {
        let x: Vec<f64> = (0..600).map(|i| f64::from(i % 100)).collect();
        let y: Vec<f64> = x.iter().map(|&v| if v < 30.0 { 5.0 } else { -1.0 }).collect();
        let table = Table::new(vec![Column::numbers("x", x)]).unwrap();
        let fold: Vec<u8> = (0..600).map(|i| u8::from(i % 2 == 0)).collect();
        let boosted = fit(&table, &y, Loss::Squared, &fold, Settings::default(), 1).unwrap();
        for (answer, want) in boosted.out_of_fold.iter().zip(&y) {
            assert!((answer - want).abs() < 0.1, "{answer} {want}");
        }
    }

    #[test]
    fn joint_histograms_add_up_to_single_ones() {
        let (table, y) = exclusive_or(300, 8);
        let features: Vec<Feature> = table.columns().iter().map(feature_of).collect();
        let binned = Binned::of(&table, &features);
        assert_eq!(y.len(), binned.rows);
        for joint in &binned.joints {
            for &(feature, least, width, stride) in &joint.members {
                for row in 0..binned.rows {
                    let slots = &binned.slots[row * binned.joints.len()..][..binned.joints.len()];
                    let slot = slots
                        .iter()
                        .find(|&&s| (joint.offset..joint.offset + joint.bins).contains(&(s as usize)))
                        .unwrap();
                    let bin = (*slot as usize - joint.offset) / stride % width;
                    assert_eq!(bin + usize::from(least), usize::from(binned.columns[feature][row]));
                }
            }
        }
    }

    #[test]
    fn targets_and_folds_that_cannot_be_are_refused() {
        let (table, y) = exclusive_or(60, 1);
        let fold = folds(&y);
        let go = |y: &[f64], fold: &[u8]| fit(&table, y, Loss::Logistic, fold, Settings::default(), 1);
        assert!(matches!(go(&[1.0; 60], &fold), Err(BadInput::OneClass { .. })));
        assert!(matches!(go(&y[1..], &fold), Err(BadInput::Length { .. })));
        assert!(matches!(go(&[0.5; 60], &fold), Err(BadInput::OutOfRange { .. })));
        assert!(go(&y, &[0; 60]).is_err());
        let flat = Table::new(vec![Column::numbers("x", vec![1.0; 60])]).unwrap();
        assert!(fit(&flat, &y, Loss::Logistic, &fold, Settings::default(), 1).is_err());
        let model = go(&y, &fold).unwrap().ensemble;
        assert!(matches!(model.answers(&flat), Err(BadInput::Missing { .. })));
    }
}
