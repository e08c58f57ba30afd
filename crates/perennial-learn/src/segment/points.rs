//! Rows of numbers, and how raw columns become comparable.

use crate::input::{BadInput, Problem, finite, real, same_length};
use serde::{Deserialize, Serialize};

/// A table of finite numbers, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    values: Vec<f64>,
    dimensions: usize,
}

impl Points {
    /// Takes a row-major table.
    ///
    /// # Errors
    /// When it is empty, its length is no multiple of `dimensions`, or a value is not finite.
    pub fn new(values: Vec<f64>, dimensions: usize) -> Result<Self, BadInput> {
        if values.is_empty() || dimensions == 0 {
            return Err(BadInput::new("points", Problem::Empty, "give at least one row and one column"));
        }
        let whole = values.len() / dimensions * dimensions;
        same_length("points", values.len(), whole)?;
        finite("points", &values)?;
        Ok(Self { values, dimensions })
    }

    /// Takes columns of equal length.
    ///
    /// # Errors
    /// As [`Points::new`], or when the columns differ in length.
    pub fn from_columns(columns: &[Vec<f64>]) -> Result<Self, BadInput> {
        let rows = columns.first().map_or(0, Vec::len);
        for (j, column) in columns.iter().enumerate() {
            same_length(&format!("columns[{j}]"), column.len(), rows)?;
            finite(&format!("columns[{j}]"), column)?;
        }
        let values = (0..rows).flat_map(|i| columns.iter().map(move |c| c[i])).collect();
        Self::new(values, columns.len())
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.dimensions
    }

    /// Never true; for symmetry with `len`.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The number of columns.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// One row.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.dimensions..(i + 1) * self.dimensions]
    }

    /// All rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> + Clone {
        self.values.chunks_exact(self.dimensions)
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The rows at the given positions.
    #[must_use]
    pub fn pick(&self, positions: &[usize]) -> Self {
        let values = positions.iter().flat_map(|&i| self.row(i).iter().copied()).collect();
        Self { values, dimensions: self.dimensions }
    }

    /// The mean of each column.
    pub fn means(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.dimensions];
        for row in self.rows() {
            sums.iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
        sums.iter().map(|s| s / real(self.len())).collect()
    }

    /// The population variance of each column.
    pub fn variances(&self) -> Vec<f64> {
        let means = self.means();
        let mut sums = vec![0.0; self.dimensions];
        for row in self.rows() {
            for (s, (v, m)) in sums.iter_mut().zip(row.iter().zip(&means)) {
                *s += (v - m) * (v - m);
            }
        }
        sums.iter().map(|s| s / real(self.len())).collect()
    }
}

/// How raw columns become comparable: an optional `ln(1 + max(x, 0))`, then centre and scale by the
/// population standard deviation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// Whether each column is logged first.
    pub logged: Vec<bool>,
    /// What is subtracted.
    pub means: Vec<f64>,
    /// What is divided by.
    pub deviations: Vec<f64>,
}

impl Scaling {
    /// Learns a scaling; `logged` has one entry per column.
    ///
    /// # Errors
    /// When `logged` has the wrong length or a column is constant.
    pub fn learn(raw: &Points, logged: &[bool]) -> Result<Self, BadInput> {
        same_length("logged", logged.len(), raw.dimensions())?;
        let mut scaling =
            Self { logged: logged.to_vec(), means: vec![0.0; logged.len()], deviations: vec![1.0; logged.len()] };
        let moved = scaling.apply(raw)?;
        scaling.means = moved.means();
        scaling.deviations = moved.variances().iter().map(|v| v.sqrt()).collect();
        match scaling.deviations.iter().position(|d| *d < 1e-300) {
            Some(j) => Err(BadInput::new(format!("columns[{j}]"), Problem::Constant, "leave this column out")),
            None => Ok(scaling),
        }
    }

    /// Logs the columns that are skewed to the right and never negative (skewness above one), then
    /// learns the scaling.
    ///
    /// # Errors
    /// When a column is constant.
    pub fn learn_automatically(raw: &Points) -> Result<Self, BadInput> {
        let (means, variances) = (raw.means(), raw.variances());
        let logged: Vec<bool> = (0..raw.dimensions())
            .map(|j| {
                let third: f64 = raw.rows().map(|r| (r[j] - means[j]).powi(3)).sum::<f64>() / real(raw.len());
                raw.rows().all(|r| r[j] >= 0.0) && third > variances[j].powf(1.5)
            })
            .collect();
        Self::learn(raw, &logged)
    }

    /// Scales one row in place.
    pub fn apply_row(&self, row: &mut [f64]) {
        for (j, v) in row.iter_mut().enumerate() {
            if self.logged[j] {
                *v = v.max(0.0).ln_1p();
            }
            *v = (*v - self.means[j]) / self.deviations[j];
        }
    }

    /// Scales a table.
    ///
    /// # Errors
    /// When the number of columns differs.
    pub fn apply(&self, raw: &Points) -> Result<Points, BadInput> {
        same_length("columns", raw.dimensions(), self.means.len())?;
        let mut scaled = raw.clone();
        scaled.values.chunks_exact_mut(raw.dimensions).for_each(|row| self.apply_row(row));
        Ok(scaled)
    }

    /// Turns a scaled row back into the raw unit.
    pub fn undo_row(&self, row: &mut [f64]) {
        for (j, v) in row.iter_mut().enumerate() {
            *v = v.mul_add(self.deviations[j], self.means[j]);
            if self.logged[j] {
                *v = v.exp_m1();
            }
        }
    }
}

/// The squared Euclidean distance.
#[inline]
pub(super) fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_can_be_undone() {
        let raw = Points::new(vec![1.0, 200.0, 5.0, 3.0, 9.0, 70.0], 2).unwrap();
        let scaling = Scaling::learn(&raw, &[false, true]).unwrap();
        let scaled = scaling.apply(&raw).unwrap();
        assert!(scaled.means().iter().all(|m| m.abs() < 1e-12));
        let mut row = scaled.row(1).to_vec();
        scaling.undo_row(&mut row);
        assert!((row[0] - 5.0).abs() < 1e-9 && (row[1] - 3.0).abs() < 1e-9);
    }

    #[test]
    fn bad_tables_name_the_column() {
        let flat = Points::from_columns(&[vec![1.0, 2.0], vec![4.0, 4.0]]).unwrap();
        assert_eq!(Scaling::learn(&flat, &[false, false]).unwrap_err().field(), "columns[1]");
        assert!(Points::from_columns(&[vec![1.0, f64::NAN]]).is_err());
        assert!(Points::new(vec![], 2).is_err());
    }
}
