//! Ward's hierarchy (1963) by nearest-neighbour chains (Murtagh 1983): quadratic time, linear memory.

use super::points::{Points, squared_distance};
use crate::input::{BadInput, real};
use serde::{Deserialize, Serialize};

/// One merge: two clusters become one. Rows are `0..n`; the i-th merge makes cluster `n + i`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Merge {
    /// One part.
    pub a: usize,
    /// The other part.
    pub b: usize,
    /// The square root of twice the growth in inertia, as usually drawn in a dendrogram.
    pub height: f64,
}

/// The whole hierarchy, in order of height.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ward {
    /// The number of rows.
    pub rows: usize,
    /// `rows - 1` merges, the lowest first.
    pub merges: Vec<Merge>,
}

struct Group {
    centre: Vec<f64>,
    size: f64,
}

/// The growth in inertia, doubled, when two groups become one.
fn cost(a: &Group, b: &Group) -> f64 {
    2.0 * a.size * b.size / (a.size + b.size) * squared_distance(&a.centre, &b.centre)
}

/// Builds the hierarchy.
pub fn ward(points: &Points) -> Ward {
    let n = points.len();
    let mut groups: Vec<Group> = points.rows().map(|r| Group { centre: r.to_vec(), size: 1.0 }).collect();
    let mut alive: Vec<usize> = (0..n).collect();
    let mut chain: Vec<usize> = Vec::new();
    let mut raw: Vec<(usize, usize, f64)> = Vec::with_capacity(n.saturating_sub(1));
    while alive.len() > 1 {
        if chain.is_empty() {
            chain.push(alive[0]);
        }
        let tip = chain[chain.len() - 1];
        let before = chain.len().checked_sub(2).map(|i| chain[i]);
        let (next, reach) = nearest(&groups, &alive, tip, before);
        if Some(next) == before {
            chain.truncate(chain.len() - 2);
            raw.push((tip, next, reach.sqrt()));
            absorb(&mut groups, tip, next);
            alive.retain(|&g| g != next);
        } else {
            chain.push(next);
        }
    }
    Ward { rows: n, merges: in_order(n, raw) }
}

/// The nearest other group; the one before in the chain wins ties, so that chains end.
fn nearest(groups: &[Group], alive: &[usize], tip: usize, before: Option<usize>) -> (usize, f64) {
    let mut best = before.map_or((usize::MAX, f64::INFINITY), |b| (b, cost(&groups[tip], &groups[b])));
    for &g in alive.iter().filter(|&&g| g != tip) {
        let c = cost(&groups[tip], &groups[g]);
        if c < best.1 {
            best = (g, c);
        }
    }
    best
}

/// `into` takes the rows of `from`.
fn absorb(groups: &mut [Group], into: usize, from: usize) {
    let (size, other) = (groups[into].size, groups[from].size);
    let theirs = std::mem::take(&mut groups[from].centre);
    for (c, v) in groups[into].centre.iter_mut().zip(theirs) {
        *c = (*c * size + v * other) / (size + other);
    }
    groups[into].size = size + other;
}

/// Sorts merges by height and renames the parts to the clusters they have become.
fn in_order(n: usize, mut raw: Vec<(usize, usize, f64)>) -> Vec<Merge> {
    raw.sort_by(|x, y| x.2.total_cmp(&y.2));
    let mut leader: Vec<usize> = (0..n).collect();
    let mut name: Vec<usize> = (0..n).collect();
    raw.into_iter()
        .enumerate()
        .map(|(i, (x, y, height))| {
            let (rx, ry) = (find(&mut leader, x), find(&mut leader, y));
            let merge = Merge { a: name[rx].min(name[ry]), b: name[rx].max(name[ry]), height };
            leader[ry] = rx;
            name[rx] = n + i;
            merge
        })
        .collect()
}

pub(super) fn find(leader: &mut [usize], mut x: usize) -> usize {
    while leader[x] != x {
        leader[x] = leader[leader[x]];
        x = leader[x];
    }
    x
}

impl Ward {
    /// The labels when the hierarchy is cut into `k` groups, numbered by first appearance.
    ///
    /// # Errors
    /// When `k` is zero or exceeds the rows.
    pub fn cut(&self, k: usize) -> Result<Vec<usize>, BadInput> {
        if k == 0 || k > self.rows {
            return Err(BadInput::range("k", real(k), "between 1 and the number of rows"));
        }
        let mut leader: Vec<usize> = (0..self.rows + self.merges.len()).collect();
        for (i, m) in self.merges[..self.rows - k].iter().enumerate() {
            let made = self.rows + i;
            let (a, b) = (find(&mut leader, m.a), find(&mut leader, m.b));
            (leader[a], leader[b]) = (made, made);
        }
        let mut names = vec![usize::MAX; leader.len()];
        let mut next = 0;
        Ok((0..self.rows)
            .map(|i| {
                let root = find(&mut leader, i);
                if names[root] == usize::MAX {
                    names[root] = next;
                    next += 1;
                }
                names[root]
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_rows_merge_first() {
        let points = Points::new(vec![0.0, 0.1, 5.0, 5.2, 20.0], 1).unwrap();
        let tree = ward(&points);
        assert_eq!(tree.cut(3).unwrap(), [0, 0, 1, 1, 2]);
        assert_eq!((tree.merges[0].a, tree.merges[0].b), (0, 1));
        assert!((tree.merges[0].height - 0.1).abs() < 1e-12);
        assert!(tree.merges.windows(2).all(|w| w[0].height <= w[1].height));
        assert!(tree.cut(0).is_err() && tree.cut(6).is_err());
    }
}
