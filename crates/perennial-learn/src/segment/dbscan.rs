//! DBSCAN (Ester, Kriegel, Sander & Xu 1996): groups are dense places, the rest is noise.

use super::neighbours::Neighbours;
use super::points::Points;
use crate::input::{BadInput, positive, real};
use serde::{Deserialize, Serialize};

/// Labels by density.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Density {
    /// The cluster of each row, or none for noise.
    pub labels: Vec<Option<usize>>,
    /// Whether each row is a core: it has `min_rows` rows, itself included, within `radius`.
    pub core: Vec<bool>,
    /// The number of clusters.
    pub clusters: usize,
}

/// Finds dense places.
///
/// # Errors
/// When `radius` is not positive or `min_rows` is zero.
pub fn dbscan(points: &Points, radius: f64, min_rows: usize) -> Result<Density, BadInput> {
    positive("radius", radius)?;
    if min_rows == 0 {
        return Err(BadInput::range("min_rows", real(min_rows), "1 or more"));
    }
    let tree = Neighbours::new(points);
    let mut near = Vec::new();
    let core: Vec<bool> = points
        .rows()
        .map(|row| {
            tree.within(row, radius, &mut near);
            near.len() >= min_rows
        })
        .collect();
    let mut labels = vec![None; points.len()];
    let mut clusters = 0;
    for first in 0..points.len() {
        if !core[first] || labels[first].is_some() {
            continue;
        }
        labels[first] = Some(clusters);
        let mut open = vec![first];
        while let Some(i) = open.pop() {
            tree.within(points.row(i), radius, &mut near);
            for &j in near.iter().filter(|&&j| labels[j].is_none()).collect::<Vec<_>>() {
                labels[j] = Some(clusters);
                if core[j] {
                    open.push(j);
                }
            }
        }
        clusters += 1;
    }
    Ok(Density { labels, core, clusters })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_dense_places_and_a_stranger() {
        let points = Points::new(vec![0.0, 0.1, 0.2, 0.3, 5.0, 5.1, 5.2, 9.0], 1).unwrap();
        let found = dbscan(&points, 0.15, 2).unwrap();
        assert_eq!(found.clusters, 2);
        assert_eq!(found.labels[3], Some(0));
        assert_eq!(found.labels[5], Some(1));
        assert_eq!(found.labels[7], None);
        assert!(dbscan(&points, -1.0, 2).is_err());
    }
}
