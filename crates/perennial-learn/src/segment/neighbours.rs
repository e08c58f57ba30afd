//! A k-d tree over rows: who lies within a radius, and how far is the m-th nearest.

use super::points::{Points, squared_distance};

const LEAF: usize = 16;

/// Rows in tree order; each node splits its rows at the middle of the widest column.
pub(super) struct Neighbours<'a> {
    points: &'a Points,
    order: Vec<usize>,
    nodes: Vec<Node>,
}

struct Node {
    from: usize,
    to: usize,
    split: Option<(usize, f64, usize, usize)>,
}

impl<'a> Neighbours<'a> {
    pub(super) fn new(points: &'a Points) -> Self {
        let mut tree = Self { points, order: (0..points.len()).collect(), nodes: Vec::new() };
        tree.grow(0, points.len());
        tree
    }

    fn grow(&mut self, from: usize, to: usize) -> usize {
        let at = self.nodes.len();
        self.nodes.push(Node { from, to, split: None });
        if to - from > LEAF {
            let column = self.widest(from, to);
            let middle = usize::midpoint(from, to);
            let points = self.points;
            self.order[from..to].select_nth_unstable_by(middle - from, |&a, &b| {
                points.row(a)[column].total_cmp(&points.row(b)[column])
            });
            let cut = points.row(self.order[middle])[column];
            let left = self.grow(from, middle);
            let right = self.grow(middle, to);
            self.nodes[at].split = Some((column, cut, left, right));
        }
        at
    }

    fn widest(&self, from: usize, to: usize) -> usize {
        let width = |j: usize| {
            let values = self.order[from..to].iter().map(|&i| self.points.row(i)[j]);
            let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
            high - low
        };
        (0..self.points.dimensions()).max_by(|&a, &b| width(a).total_cmp(&width(b))).unwrap_or(0)
    }

    /// The rows within `radius` of a row, itself included.
    pub(super) fn within(&self, row: &[f64], radius: f64, found: &mut Vec<usize>) {
        found.clear();
        let mut open = vec![0];
        while let Some(at) = open.pop() {
            let node = &self.nodes[at];
            match node.split {
                None => found.extend(
                    self.order[node.from..node.to]
                        .iter()
                        .filter(|&&i| squared_distance(row, self.points.row(i)).sqrt() <= radius),
                ),
                Some((column, cut, left, right)) => {
                    if row[column] - radius <= cut {
                        open.push(left);
                    }
                    if row[column] + radius >= cut {
                        open.push(right);
                    }
                }
            }
        }
    }

    /// The squared distance to the `m`-th nearest row, itself counted as the first.
    pub(super) fn reach(&self, row: &[f64], m: usize) -> f64 {
        let mut nearest = Vec::with_capacity(m + 1);
        self.descend(0, row, m, &mut nearest);
        nearest.last().copied().unwrap_or(0.0)
    }

    fn descend(&self, at: usize, row: &[f64], m: usize, nearest: &mut Vec<f64>) {
        let node = &self.nodes[at];
        let Some((column, cut, left, right)) = node.split else {
            for &i in &self.order[node.from..node.to] {
                let d = squared_distance(row, self.points.row(i));
                if nearest.len() < m || d < nearest[nearest.len() - 1] {
                    nearest.insert(nearest.partition_point(|v| *v <= d), d);
                    nearest.truncate(m);
                }
            }
            return;
        };
        let gap = row[column] - cut;
        let (near, far) = if gap < 0.0 { (left, right) } else { (right, left) };
        self.descend(near, row, m, nearest);
        if nearest.len() < m || gap * gap <= nearest[nearest.len() - 1] {
            self.descend(far, row, m, nearest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_tree_agrees_with_looking_at_everybody(values in prop::collection::vec(-3.0..3.0f64, 30..200), radius in 0.1..2.0f64) {
            let points = Points::new(values[..values.len() / 2 * 2].to_vec(), 2).unwrap();
            let tree = Neighbours::new(&points);
            let mut found = Vec::new();
            tree.within(points.row(0), radius, &mut found);
            found.sort_unstable();
            let distance = |i: usize| squared_distance(points.row(0), points.row(i));
            let plain: Vec<usize> = (0..points.len()).filter(|&i| distance(i).sqrt() <= radius).collect();
            prop_assert_eq!(found, plain);
            let mut all: Vec<f64> = (0..points.len()).map(distance).collect();
            all.sort_by(f64::total_cmp);
            prop_assert!((tree.reach(points.row(0), 5) - all[4]).abs() < 1e-12);
        }
    }
}
