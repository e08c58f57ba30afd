//! Does the segmentation speak for small groups too?
//!
//! A row is covered when it lies no further from its centre than most rows do (the 95th percentile
//! of all). A group whose members are covered less often than the rest is one that the segments
//! were not made for, and the analyst should know.

use super::kmeans::KMeans;
use super::points::Points;
use crate::input::{BadInput, real, same_length};
use serde::{Deserialize, Serialize};

/// One group of customers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GroupCoverage {
    /// The group's number.
    pub group: usize,
    /// Its rows.
    pub rows: usize,
    /// The share of its rows that are covered.
    pub covered: f64,
    /// Standard errors by which the share falls below (negative) or above everybody's.
    pub z: f64,
    /// Of the segment that holds most of the group: the share of the group in it.
    pub concentration: f64,
}

const COVERED: f64 = 0.95;

/// Measures how well each group is covered; `groups` numbers each row's group. The worst first.
///
/// # Errors
/// When lengths differ.
pub fn coverage(model: &KMeans, points: &Points, groups: &[usize]) -> Result<Vec<GroupCoverage>, BadInput> {
    same_length("groups", groups.len(), points.len())?;
    same_length("columns", points.dimensions(), model.dimensions)?;
    let placed: Vec<(usize, f64)> = points.rows().map(|r| model.assign(r)).collect();
    let mut distances: Vec<f64> = placed.iter().map(|p| p.1).collect();
    distances.sort_by(f64::total_cmp);
    let limit = distances[(distances.len() * 19 / 20).min(distances.len() - 1)];
    let count = groups.iter().max().map_or(0, |g| g + 1);
    let mut out: Vec<GroupCoverage> = (0..count).filter_map(|g| one(g, groups, &placed, limit, model.k())).collect();
    out.sort_by(|a, b| a.z.total_cmp(&b.z).then(a.group.cmp(&b.group)));
    Ok(out)
}

fn one(group: usize, groups: &[usize], placed: &[(usize, f64)], limit: f64, k: usize) -> Option<GroupCoverage> {
    let mut per_segment = vec![0usize; k];
    let (mut rows, mut inside) = (0usize, 0usize);
    for (_, &(segment, distance)) in groups.iter().zip(placed).filter(|(g, _)| **g == group) {
        rows += 1;
        inside += usize::from(distance <= limit);
        per_segment[segment] += 1;
    }
    if rows == 0 {
        return None;
    }
    let covered = real(inside) / real(rows);
    let z = (covered - COVERED) / (COVERED * (1.0 - COVERED) / real(rows)).sqrt();
    let concentration = real(per_segment.into_iter().max().unwrap_or(0)) / real(rows);
    Some(GroupCoverage { group, rows, covered, z, concentration })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_far_from_every_centre_comes_first() {
        let mut values: Vec<f64> = (0..200).map(|i| f64::from(i % 2) * 10.0 + f64::from(i) * 0.001).collect();
        values.extend([5.0; 5]);
        let groups: Vec<usize> = (0..205).map(|i| usize::from(i >= 200)).collect();
        let points = Points::new(values, 1).unwrap();
        let model = KMeans { dimensions: 1, centres: vec![0.1, 10.1], sizes: vec![100; 2] };
        let found = coverage(&model, &points, &groups).unwrap();
        assert_eq!(found[0].group, 1);
        assert!(found[0].covered < 0.5 && found[1].covered > 0.9);
    }
}
