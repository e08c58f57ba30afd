//! Streaming k-means: centres that follow the customers, row by row or batch by batch
//! (Sculley 2010), with an optional half-life so that old behaviour fades.

use super::kmeans::KMeans;
use super::points::Points;
use crate::input::{BadInput, finite, positive, same_length};
use serde::{Deserialize, Serialize};

/// Centres with the weight of evidence behind each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    model: KMeans,
    weights: Vec<f64>,
    keep: f64,
}

impl Stream {
    /// Starts from a fitted model, whose training sizes count as evidence.
    pub fn from_model(model: KMeans) -> Self {
        let weights = model.sizes.iter().map(|&s| crate::input::real(s)).collect();
        Self { model, weights, keep: 1.0 }
    }

    /// Starts from a first batch.
    ///
    /// # Errors
    /// As [`KMeans::fit`].
    pub fn from_batch(points: &Points, k: usize, seed: u64) -> Result<Self, BadInput> {
        Ok(Self::from_model(KMeans::fit(points, k, seed)?.model))
    }

    /// Lets a row's weight halve after that many further rows of its cluster.
    ///
    /// # Errors
    /// When the number is not positive.
    pub fn with_half_life(mut self, rows: f64) -> Result<Self, BadInput> {
        positive("half_life", rows)?;
        self.keep = 0.5f64.powf(1.0 / rows);
        Ok(self)
    }

    /// Takes one scaled row and answers its cluster.
    ///
    /// # Errors
    /// When the row has the wrong length or a value that is not finite.
    pub fn push(&mut self, row: &[f64]) -> Result<usize, BadInput> {
        same_length("row", row.len(), self.model.dimensions)?;
        finite("row", row)?;
        Ok(self.follow(row))
    }

    fn follow(&mut self, row: &[f64]) -> usize {
        let (c, _) = self.model.assign(row);
        self.weights[c] = self.weights[c].mul_add(self.keep, 1.0);
        self.model.sizes[c] += 1;
        let rate = 1.0 / self.weights[c];
        let d = self.model.dimensions;
        for (centre, v) in self.model.centres[c * d..(c + 1) * d].iter_mut().zip(row) {
            *centre += rate * (v - *centre);
        }
        c
    }

    /// Takes a batch in one step: rows are assigned to the centres as they were before it.
    ///
    /// # Errors
    /// When the number of columns differs.
    pub fn push_batch(&mut self, batch: &Points) -> Result<Vec<usize>, BadInput> {
        let d = self.model.dimensions;
        same_length("batch columns", batch.dimensions(), d)?;
        let labels = self.model.assign_all(batch);
        for (row, &c) in batch.rows().zip(&labels) {
            self.weights[c] = self.weights[c].mul_add(self.keep, 1.0);
            self.model.sizes[c] += 1;
            let rate = 1.0 / self.weights[c];
            for (centre, v) in self.model.centres[c * d..(c + 1) * d].iter_mut().zip(row) {
                *centre += rate * (v - *centre);
            }
        }
        Ok(labels)
    }

    /// The centres as they are now.
    pub fn model(&self) -> &KMeans {
        &self.model
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centres_follow_a_population_that_moves() {
        let first = Points::new(vec![0.0, 0.1, 10.0, 10.1], 1).unwrap();
        let mut stream = Stream::from_batch(&first, 2, 0).unwrap().with_half_life(20.0).unwrap();
        for _ in 0..400 {
            stream.push(&[12.0]).unwrap();
        }
        let mut centres = stream.model().centres.clone();
        centres.sort_by(f64::total_cmp);
        assert!((centres[0] - 0.05).abs() < 1e-9 && (centres[1] - 12.0).abs() < 0.01, "{centres:?}");
        assert!(stream.push(&[f64::NAN]).is_err());
    }

    #[test]
    fn without_fading_a_centre_is_the_mean_of_its_rows() {
        let mut stream = Stream::from_batch(&Points::new(vec![0.0, 2.0], 1).unwrap(), 1, 0).unwrap();
        stream.push_batch(&Points::new(vec![4.0, 6.0], 1).unwrap()).unwrap();
        assert!((stream.model().centres[0] - 3.0).abs() < 1e-12);
    }
}
