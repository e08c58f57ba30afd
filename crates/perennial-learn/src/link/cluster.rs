//! Clusters: which records are one person, decided for whole groups at once.
//!
//! Two groups are joined when the evidence between them, averaged per comparison over all cross
//! pairs that can be compared, outweighs the prior; the strongest joint comes first. A single
//! strong pair therefore cannot chain two groups whose other members disagree, and a record with
//! few values is judged by what the group knows together. The rule is the agglomerative form of
//! correlation clustering (Bansal, Blum and Chawla 2004) with mean linkage per comparison.
//! Promise: the result depends on the edges alone, not on their order.
//! Absent on purpose: a target number of clusters.

use std::collections::{BTreeMap, BinaryHeap};

use super::MAX_COMPARISONS;
use super::compare::{self, ABSENT};
use super::model::{Candidate, Scores, index};
use super::plan::Prepared;

/// Cross pairs compared at most when two groups meet that share no edge.
const CROSS_PAIRS: usize = 16;

/// Summed weights per comparison over cross pairs of two groups.
#[derive(Debug, Clone, Copy)]
struct Evidence {
    sums: [f32; MAX_COMPARISONS],
    counts: [f32; MAX_COMPARISONS],
}

/// A joint that may be made: strongest first, then lowest rows.
#[derive(Debug, Clone, Copy)]
struct Joint {
    strength: f64,
    left: u32,
    right: u32,
    /// Versions of both groups when the strength was reckoned.
    versions: (u32, u32),
}

/// Groups of one connected part of the graph while they are being joined.
struct Groups<'a> {
    prepared: &'a Prepared,
    scores: &'a Scores,
    members: BTreeMap<u32, Vec<u32>>,
    versions: BTreeMap<u32, u32>,
    evidence: BTreeMap<u32, BTreeMap<u32, Evidence>>,
    queue: BinaryHeap<Joint>,
    threshold: f64,
}

/// The cluster of each row, named by its lowest row. Groups join while their log-odds exceed
/// `threshold`.
pub(super) fn clusters(
    prepared: &Prepared,
    scores: &Scores,
    edges: &[Candidate],
    threshold: f64,
) -> Vec<u32> {
    let mut parents: Vec<u32> = (0..index(prepared.rows)).collect();
    for edge in edges {
        let (a, b) = (
            root(&mut parents, edge.left),
            root(&mut parents, edge.right),
        );
        parents[a.max(b) as usize] = a.min(b);
    }
    let mut order: Vec<(u32, u32)> = edges
        .iter()
        .zip(0u32..)
        .map(|(edge, at)| (root(&mut parents, edge.left), at))
        .collect();
    order.sort_unstable();
    let mut labels: Vec<u32> = (0..index(prepared.rows)).collect();
    for part in order.chunk_by(|a, b| a.0 == b.0) {
        if let [(_, only)] = part {
            let edge = &edges[*only as usize];
            if scores.log_odds(edge) > threshold {
                labels[edge.right as usize] = edge.left;
            }
            continue;
        }
        let edges = part.iter().map(|&(_, at)| &edges[at as usize]);
        Groups::new(prepared, scores, edges, threshold).join(&mut labels);
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

impl Evidence {
    const NONE: Self = Self {
        sums: [0.0; MAX_COMPARISONS],
        counts: [0.0; MAX_COMPARISONS],
    };

    /// Adds one pair of rows, `times` over.
    fn add(&mut self, prepared: &Prepared, scores: &Scores, levels: u64, row: u32, times: f32) {
        for (at, &code) in prepared.row(row as usize).iter().enumerate() {
            let level = compare::level_at(levels, at);
            if level != usize::from(ABSENT) {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "weights need no more than single precision"
                )]
                let weight = scores.weight(prepared, at, level, code) as f32;
                self.sums[at] += weight * times;
                self.counts[at] += times;
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        for at in 0..MAX_COMPARISONS {
            self.sums[at] += other.sums[at];
            self.counts[at] += other.counts[at];
        }
    }

    /// Log-odds that the two groups are one person.
    fn strength(&self, scores: &Scores) -> f64 {
        let means = self
            .sums
            .iter()
            .zip(&self.counts)
            .filter(|(_, count)| **count > 0.0)
            .map(|(sum, count)| f64::from(sum / count));
        scores.prior + means.sum::<f64>()
    }
}

impl<'a> Groups<'a> {
    fn new<'e>(
        prepared: &'a Prepared,
        scores: &'a Scores,
        edges: impl Iterator<Item = &'e Candidate>,
        threshold: f64,
    ) -> Self {
        let mut groups = Self {
            prepared,
            scores,
            members: BTreeMap::new(),
            versions: BTreeMap::new(),
            evidence: BTreeMap::new(),
            queue: BinaryHeap::new(),
            threshold,
        };
        for edge in edges {
            for row in [edge.left, edge.right] {
                groups.members.entry(row).or_insert_with(|| vec![row]);
                groups.versions.insert(row, 0);
            }
            let mut evidence = Evidence::NONE;
            evidence.add(prepared, scores, edge.levels, edge.left, 1.0);
            groups.put(edge.left, edge.right, evidence);
        }
        groups
    }

    /// Keeps the evidence between two groups and queues the joint if it is worth making.
    fn put(&mut self, a: u32, b: u32, evidence: Evidence) {
        let (left, right) = (a.min(b), a.max(b));
        let strength = evidence.strength(self.scores);
        self.evidence
            .entry(left)
            .or_default()
            .insert(right, evidence);
        self.evidence
            .entry(right)
            .or_default()
            .insert(left, evidence);
        if strength > self.threshold {
            self.queue.push(Joint {
                strength,
                left,
                right,
                versions: (self.versions[&left], self.versions[&right]),
            });
        }
    }

    /// Joins groups, strongest joint first, and writes each row's label.
    fn join(mut self, labels: &mut [u32]) {
        while let Some(joint) = self.queue.pop() {
            let now = (
                self.versions.get(&joint.left),
                self.versions.get(&joint.right),
            );
            if now == (Some(&joint.versions.0), Some(&joint.versions.1)) {
                self.merge(joint.left, joint.right);
            }
        }
        for members in self.members.values() {
            let label = members.iter().copied().min().unwrap_or(0);
            members.iter().for_each(|&row| labels[row as usize] = label);
        }
    }

    /// Takes group `right` into group `left`.
    fn merge(&mut self, left: u32, right: u32) {
        let of_left = self.evidence.remove(&left).unwrap_or_default();
        let of_right = self.evidence.remove(&right).unwrap_or_default();
        let mut joined: BTreeMap<u32, Evidence> = BTreeMap::new();
        for (&other, evidence) in of_left.iter().filter(|(other, _)| **other != right) {
            let rest = of_right
                .get(&other)
                .copied()
                .unwrap_or_else(|| self.across(right, other));
            let mut evidence = *evidence;
            evidence.merge(&rest);
            joined.insert(other, evidence);
        }
        for (&other, evidence) in of_right
            .iter()
            .filter(|(other, _)| **other != left && !of_left.contains_key(other))
        {
            let mut evidence = *evidence;
            evidence.merge(&self.across(left, other));
            joined.insert(other, evidence);
        }
        let moved = self.members.remove(&right).unwrap_or_default();
        self.versions.remove(&right);
        self.members.entry(left).or_default().extend(moved);
        *self.versions.entry(left).or_default() += 1;
        for (other, evidence) in joined {
            if let Some(theirs) = self.evidence.get_mut(&other) {
                theirs.remove(&right);
            }
            self.put(left, other, evidence);
        }
    }

    /// Evidence between two groups without an edge; many cross pairs are sampled evenly.
    fn across(&self, a: u32, b: u32) -> Evidence {
        let (left, right) = (&self.members[&a], &self.members[&b]);
        let all = left.len() * right.len();
        let step = all.div_ceil(CROSS_PAIRS);
        let step = if step > 1 { step | 1 } else { step };
        let mut evidence = Evidence::NONE;
        let taken = all.div_ceil(step);
        #[expect(clippy::cast_precision_loss, reason = "group sizes are small")]
        let times = all as f32 / taken as f32;
        for at in (0..all).step_by(step) {
            let (row, other) = (left[at % left.len()], right[at / left.len()]);
            let levels = compare::levels(self.prepared, row as usize, other as usize);
            evidence.add(self.prepared, self.scores, levels, row, times);
        }
        evidence
    }
}

impl Ord for Joint {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.strength
            .total_cmp(&other.strength)
            .then((other.left, other.right).cmp(&(self.left, self.right)))
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
