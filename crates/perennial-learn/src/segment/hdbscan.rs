//! HDBSCAN* (Campello, Moulavi & Sander 2013): dense places at every density at once, kept where
//! they last longest ("excess of mass").

use super::neighbours::Neighbours;
use super::points::{Points, squared_distance};
use super::ward::find;
use crate::input::{BadInput, Problem, real};
use serde::{Deserialize, Serialize};

/// Labels with the persistence of each cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// The cluster of each row, or none for noise.
    pub labels: Vec<Option<usize>>,
    /// The stability of each cluster: its excess of mass.
    pub stabilities: Vec<f64>,
}

/// Finds clusters of at least `min_cluster` rows; `min_rows` (itself included) sets how dense a
/// place must be. Quadratic time.
///
/// # Errors
/// When `min_cluster` is below two, `min_rows` is zero, or there are fewer rows than `min_rows`.
pub fn hdbscan(points: &Points, min_cluster: usize, min_rows: usize) -> Result<Hierarchy, BadInput> {
    if min_cluster < 2 || min_rows == 0 {
        return Err(BadInput::range("min_cluster", real(min_cluster), "2 or more, with min_rows at least 1"));
    }
    if points.len() < min_rows.max(2) {
        let problem = Problem::TooFew { found: points.len(), needed: min_rows.max(2) };
        return Err(BadInput::new("points", problem, "give more rows or lower min_rows"));
    }
    let tree = Neighbours::new(points);
    let core: Vec<f64> = points.rows().map(|row| tree.reach(row, min_rows)).collect();
    let linkage = single_linkage(points.len(), spanning_tree(points, &core));
    let condensed = condense(&linkage, points.len(), min_cluster);
    Ok(select(&condensed, points.len()))
}

/// Prim's tree over mutual reachability; edges carry squared lengths.
fn spanning_tree(points: &Points, core: &[f64]) -> Vec<(f64, usize, usize)> {
    let n = points.len();
    let mut reach = vec![(f64::INFINITY, 0usize); n];
    let mut outside: Vec<usize> = (1..n).collect();
    let mut edges = Vec::with_capacity(n - 1);
    let mut current = 0;
    while !outside.is_empty() {
        let row = points.row(current);
        let mut best = (f64::INFINITY, 0);
        for (place, &i) in outside.iter().enumerate() {
            let d = squared_distance(row, points.row(i)).max(core[current]).max(core[i]);
            if d < reach[i].0 {
                reach[i] = (d, current);
            }
            if reach[i].0 < best.0 {
                best = (reach[i].0, place);
            }
        }
        current = outside.swap_remove(best.1);
        edges.push((reach[current].0, reach[current].1, current));
    }
    edges
}

/// One node of the single-linkage tree: two children, the distance, the rows below.
struct Join {
    left: usize,
    right: usize,
    distance: f64,
    size: usize,
}

fn single_linkage(n: usize, mut edges: Vec<(f64, usize, usize)>) -> Vec<Join> {
    edges.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut leader: Vec<usize> = (0..2 * n - 1).collect();
    let mut joins: Vec<Join> = Vec::with_capacity(n - 1);
    for (i, (square, a, b)) in edges.into_iter().enumerate() {
        let (left, right) = (find(&mut leader, a), find(&mut leader, b));
        let size = size_of(&joins, left, n) + size_of(&joins, right, n);
        (leader[left], leader[right]) = (n + i, n + i);
        joins.push(Join { left, right, distance: square.sqrt(), size });
    }
    joins
}

fn size_of(joins: &[Join], node: usize, n: usize) -> usize {
    if node < n { 1 } else { joins[node - n].size }
}

/// A cluster of the condensed tree.
struct Branch {
    parent: Option<usize>,
    born: f64,
    stability: f64,
    /// Rows that fall out of this branch.
    rows: Vec<usize>,
}

/// Walks down from the root; a split counts only when both sides are large enough.
fn condense(joins: &[Join], n: usize, min_cluster: usize) -> Vec<Branch> {
    let mut branches = vec![Branch { parent: None, born: 0.0, stability: 0.0, rows: Vec::new() }];
    let mut open = vec![(2 * n - 2, 0usize)];
    while let Some((node, branch)) = open.pop() {
        let join = &joins[node - n];
        let density = if join.distance > 0.0 { 1.0 / join.distance } else { f64::MAX.sqrt() };
        let sides = [join.left, join.right];
        let large = sides.map(|s| size_of(joins, s, n) >= min_cluster);
        for (side, is_large) in sides.into_iter().zip(large) {
            let size = real(size_of(joins, side, n));
            if large == [true, true] {
                let born = branches[branch].born;
                branches[branch].stability += (density - born) * size;
                branches.push(Branch { parent: Some(branch), born: density, stability: 0.0, rows: Vec::new() });
                open.push((side, branches.len() - 1));
            } else if is_large {
                open.push((side, branch));
            } else {
                let born = branches[branch].born;
                branches[branch].stability += (density - born) * size;
                leaves(joins, side, n, &mut branches[branch].rows);
            }
        }
    }
    branches
}

fn leaves(joins: &[Join], node: usize, n: usize, rows: &mut Vec<usize>) {
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        if node < n {
            rows.push(node);
        } else {
            open.extend([joins[node - n].left, joins[node - n].right]);
        }
    }
}

/// Keeps a branch when it is more stable than its kept descendants together; never the root.
fn select(branches: &[Branch], n: usize) -> Hierarchy {
    let mut best: Vec<f64> = vec![0.0; branches.len()];
    let mut keeps: Vec<bool> = vec![false; branches.len()];
    for b in (1..branches.len()).rev() {
        keeps[b] = branches[b].stability >= best[b];
        best[b] = best[b].max(branches[b].stability);
        if let Some(parent) = branches[b].parent {
            best[parent] += best[b];
        }
    }
    let mut cluster: Vec<Option<usize>> = vec![None; branches.len()];
    let mut stabilities = Vec::new();
    let mut labels = vec![None; n];
    for b in 1..branches.len() {
        cluster[b] = branches[b].parent.and_then(|p| cluster[p]);
        if cluster[b].is_none() && keeps[b] {
            cluster[b] = Some(stabilities.len());
            stabilities.push(branches[b].stability);
        }
        branches[b].rows.iter().for_each(|&i| labels[i] = cluster[b]);
    }
    Hierarchy { labels, stabilities }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{generator, uniform};

    #[test]
    fn groups_of_different_density_are_both_found() {
        let mut rng = generator(4);
        let mut values = Vec::new();
        for i in 0..240 {
            let (centre, width) = if i % 2 == 0 { (0.0, 0.2) } else { (10.0, 2.0) };
            values.extend([centre + width * uniform(&mut rng), centre + width * uniform(&mut rng)]);
        }
        values.extend([5.0, 30.0]);
        let found = hdbscan(&Points::new(values, 2).unwrap(), 15, 5).unwrap();
        assert_eq!(found.stabilities.len(), 2);
        assert_eq!(found.labels[240], None);
        assert_ne!(found.labels[0], found.labels[1]);
        assert!(hdbscan(&Points::new(vec![1.0], 1).unwrap(), 5, 5).is_err());
    }
}
