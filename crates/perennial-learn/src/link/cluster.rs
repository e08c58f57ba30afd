//! Clusters: which records are one person, decided for whole groups at once.
//!
//! Two groups are joined when the evidence between them, averaged per comparison over all cross
//! pairs that can be compared, outweighs the prior; the strongest joint comes first. A single
//! strong pair therefore cannot chain two groups whose other members disagree, and a record with
//! few values is judged by what the group knows together. The rule is the agglomerative form of
//! correlation clustering (Bansal, Blum and Chawla 2004) with mean linkage per comparison.
//! Promise: the result depends on the edges alone, not on their order; what a person said about
//! a pair outweighs any evidence.
//! Absent on purpose: a target number of clusters.

use std::collections::{BTreeMap, BinaryHeap};

use super::compare::{self, ABSENT};
use super::model::{Candidate, Scores, index};
use super::plan::Prepared;

/// Cross pairs compared at most when two groups meet that share no edge.
const CROSS_PAIRS: usize = 16;
/// Log-odds of a person's answer.
const CERTAIN: f32 = 1e4;

/// What people said: rows, lower first, and whether they are one person.
pub(super) type Told = BTreeMap<(u32, u32), bool>;

/// What all groups are judged by.
pub(super) struct Judge<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) scores: &'a Scores,
    pub(super) told: &'a Told,
    /// Groups join while their log-odds exceed this.
    pub(super) threshold: f64,
}

/// A joint that may be made: strongest first, then lowest groups.
#[derive(Debug, Clone, Copy)]
struct Joint {
    strength: f64,
    left: u32,
    right: u32,
    /// Versions of both groups when the strength was reckoned.
    versions: (u32, u32),
}

/// Groups of one connected part of the graph while they are being joined, numbered from 0.
struct Groups<'a> {
    judge: &'a Judge<'a>,
    members: Vec<Vec<u32>>,
    /// Goes up with every change; `GONE` when the group is part of another.
    versions: Vec<u32>,
    /// Other groups with evidence, in order, and where the evidence is kept.
    neighbours: Vec<Vec<(u32, u32)>>,
    /// Summed weight and number of cross pairs per comparison, then what people said.
    evidence: Vec<f32>,
    queue: BinaryHeap<Joint>,
}

/// The version of a group that was taken into another.
const GONE: u32 = u32::MAX;

/// The cluster of each row, named by its lowest row.
pub(super) fn clusters(judge: &Judge, edges: &[Candidate]) -> Vec<u32> {
    let rows = judge.prepared.rows;
    let mut parents: Vec<u32> = (0..index(rows)).collect();
    for edge in edges {
        let (a, b) = (root(&mut parents, edge.left), root(&mut parents, edge.right));
        parents[a.max(b) as usize] = a.min(b);
    }
    let parts = edges.iter().zip(0u32..).map(|(edge, at)| (root(&mut parents, edge.left), at));
    let mut order: Vec<(u32, u32)> = parts.collect();
    order.sort_unstable();
    let mut labels: Vec<u32> = (0..index(rows)).collect();
    for part in order.chunk_by(|a, b| a.0 == b.0) {
        if let [(_, only)] = part {
            let edge = &edges[*only as usize];
            if judge.pair(edge) > judge.threshold {
                labels[edge.right as usize] = edge.left;
            }
        } else {
            let edges: Vec<&Candidate> = part.iter().map(|&(_, at)| &edges[at as usize]).collect();
            Groups::new(judge, &edges).join(&mut labels);
        }
    }
    labels
}

/// The lowest row of a row's tree, halving the path on the way.
fn root(parents: &mut [u32], mut row: u32) -> u32 {
    while parents[row as usize] != row {
        parents[row as usize] = parents[parents[row as usize] as usize];
        row = parents[row as usize];
    }
    row
}

impl Judge<'_> {
    /// Log-odds of a single pair, people's answers included.
    pub(super) fn pair(&self, edge: &Candidate) -> f64 {
        self.scores.log_odds(edge) + f64::from(self.said(edge))
    }

    fn said(&self, edge: &Candidate) -> f32 {
        match self.told.get(&(edge.left, edge.right)) {
            Some(true) => CERTAIN,
            Some(false) => -CERTAIN,
            None => 0.0,
        }
    }

    /// Numbers kept per pair of groups.
    fn width(&self) -> usize {
        2 * self.prepared.fields.len() + 1
    }

    /// Adds one pair of rows, `times` over.
    fn add(&self, evidence: &mut [f32], levels: u64, row: u32, times: f32) {
        let (sums, counts) = evidence.split_at_mut(self.prepared.fields.len());
        for (at, &code) in self.prepared.row(row as usize).iter().enumerate() {
            let level = compare::level_at(levels, at);
            if level != usize::from(ABSENT) {
                #[expect(clippy::cast_possible_truncation, reason = "weights need no more than single precision")]
                let weight = self.scores.weight(self.prepared, at, level, code) as f32;
                sums[at] += weight * times;
                counts[at] += times;
            }
        }
    }

    /// Log-odds that two groups are one person.
    fn strength(&self, evidence: &[f32]) -> f64 {
        let (sums, rest) = evidence.split_at(self.prepared.fields.len());
        let means = sums.iter().zip(rest).filter(|(_, count)| **count > 0.0).map(|(sum, count)| f64::from(sum / count));
        self.scores.prior + means.sum::<f64>() + f64::from(rest[sums.len()])
    }
}

impl<'a> Groups<'a> {
    fn new(judge: &'a Judge<'a>, edges: &[&Candidate]) -> Self {
        let mut rows: Vec<u32> = edges.iter().flat_map(|edge| [edge.left, edge.right]).collect();
        rows.sort_unstable();
        rows.dedup();
        let mut groups = Self {
            judge,
            members: rows.iter().map(|&row| vec![row]).collect(),
            versions: vec![0; rows.len()],
            neighbours: vec![Vec::new(); rows.len()],
            evidence: Vec::with_capacity(edges.len() * judge.width()),
            queue: BinaryHeap::new(),
        };
        let group = |row: u32| index(rows.partition_point(|&other| other < row));
        for edge in edges {
            let place = groups.fresh();
            let evidence = &mut groups.evidence[place as usize..];
            judge.add(evidence, edge.levels, edge.left, 1.0);
            evidence[judge.width() - 1] = judge.said(edge);
            let (left, right) = (group(edge.left), group(edge.right));
            groups.neighbours[left as usize].push((right, place));
            groups.neighbours[right as usize].push((left, place));
            groups.enqueue(left, right, place);
        }
        groups.neighbours.iter_mut().for_each(|list| list.sort_unstable());
        groups
    }

    /// A new place for evidence, all zero.
    fn fresh(&mut self) -> u32 {
        let place = index(self.evidence.len());
        self.evidence.resize(self.evidence.len() + self.judge.width(), 0.0);
        place
    }

    /// Queues a joint if it is worth making.
    fn enqueue(&mut self, a: u32, b: u32, place: u32) {
        let (left, right) = (a.min(b), a.max(b));
        let strength = self.judge.strength(&self.evidence[place as usize..place as usize + self.judge.width()]);
        if strength > self.judge.threshold {
            let versions = (self.versions[left as usize], self.versions[right as usize]);
            self.queue.push(Joint { strength, left, right, versions });
        }
    }

    /// Joins groups, strongest joint first, and writes each row's label.
    fn join(mut self, labels: &mut [u32]) {
        while let Some(joint) = self.queue.pop() {
            if joint.versions == (self.versions[joint.left as usize], self.versions[joint.right as usize]) {
                self.merge(joint.left, joint.right);
            }
        }
        for members in self.members.iter().filter(|members| !members.is_empty()) {
            let label = members.iter().copied().min().unwrap_or(0);
            for &row in members {
                labels[row as usize] = label;
            }
        }
    }

    /// Takes group `right` into group `left`.
    fn merge(&mut self, left: u32, right: u32) {
        let of_left = std::mem::take(&mut self.neighbours[left as usize]);
        let of_right = std::mem::take(&mut self.neighbours[right as usize]);
        let mut joined = Vec::with_capacity(of_left.len() + of_right.len());
        for (other, left_place, right_place) in both_sides(&of_left, &of_right) {
            if other == left || other == right {
                continue;
            }
            let place = match (left_place, right_place) {
                (Some(kept), Some(added)) => self.add_up(kept, added),
                (Some(kept), None) => self.add_across(kept, right, other),
                (None, Some(kept)) => self.add_across(kept, left, other),
                (None, None) => continue,
            };
            joined.push((other, place));
        }
        let moved = std::mem::take(&mut self.members[right as usize]);
        self.members[left as usize].extend(moved);
        self.versions[right as usize] = GONE;
        self.versions[left as usize] += 1;
        for &(other, place) in &joined {
            let list = &mut self.neighbours[other as usize];
            list.retain(|&(group, _)| group != left && group != right);
            let at = list.partition_point(|&(group, _)| group < left);
            list.insert(at, (left, place));
            self.enqueue(left, other, place);
        }
        self.neighbours[left as usize] = joined;
    }

    /// Adds the evidence at one place to that at another.
    fn add_up(&mut self, kept: u32, added: u32) -> u32 {
        for at in 0..self.judge.width() {
            self.evidence[kept as usize + at] += self.evidence[added as usize + at];
        }
        kept
    }

    /// Adds evidence between two groups without an edge; many cross pairs are sampled evenly.
    fn add_across(&mut self, kept: u32, a: u32, b: u32) -> u32 {
        let (left, right) = (&self.members[a as usize], &self.members[b as usize]);
        let all = left.len() * right.len();
        let step = all.div_ceil(CROSS_PAIRS);
        let step = if step > 1 { step | 1 } else { step };
        #[expect(clippy::cast_precision_loss, reason = "group sizes are small")]
        let times = all as f32 / all.div_ceil(step) as f32;
        let evidence = &mut self.evidence[kept as usize..kept as usize + self.judge.width()];
        for at in (0..all).step_by(step) {
            let (row, other) = (left[at % left.len()], right[at / left.len()]);
            let levels = compare::levels(self.judge.prepared, row as usize, other as usize);
            self.judge.add(evidence, levels, row, times);
        }
        kept
    }
}

/// Two sorted lists of neighbours side by side.
fn both_sides(left: &[(u32, u32)], right: &[(u32, u32)]) -> Vec<(u32, Option<u32>, Option<u32>)> {
    let mut all = Vec::with_capacity(left.len() + right.len());
    let (mut l, mut r) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let order = match (l.peek(), r.peek()) {
            (Some(a), Some(b)) => a.0.cmp(&b.0),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return all,
        };
        let from_left = if order.is_le() { l.next() } else { None };
        let from_right = if order.is_ge() { r.next() } else { None };
        let group = from_left.or(from_right).map_or(0, |entry| entry.0);
        all.push((group, from_left.map(|entry| entry.1), from_right.map(|entry| entry.1)));
    }
}

impl Ord for Joint {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.strength.total_cmp(&other.strength).then((other.left, other.right).cmp(&(self.left, self.right)))
    }
}

impl PartialOrd for Joint {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Joint {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Joint {}
