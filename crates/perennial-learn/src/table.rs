//! Columns of customers: numbers with gaps, and categories by name.
//!
//! Promise: a table that was built is rectangular, its names are unique, its codes are valid; so
//! models need not ask again. Absent on purpose: files, and columns of text or dates.

#![allow(clippy::float_cmp, reason = "values that were copied or counted are compared, not computed ones")]

use crate::input::{BadInput, LARGEST, no_measure};

/// The code of a category that is not known.
pub const UNKNOWN: u32 = u32::MAX;

/// The values of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers; NaN is a gap, infinities and what lies beyond [`LARGEST`] are refused.
    Numbers(Vec<f64>),
    /// Categories as positions in `names`; [`UNKNOWN`] is a gap.
    Categories {
        /// One code a row.
        codes: Vec<u32>,
        /// What the codes stand for, each once.
        names: Vec<String>,
    },
}

/// A named column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Unique within a table.
    pub name: String,
    /// One value a row.
    pub values: Values,
}

/// A rectangular table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    columns: Vec<Column>,
    rows: usize,
}

impl Column {
    /// A column of numbers.
    pub fn numbers(name: &str, values: Vec<f64>) -> Self {
        Self { name: name.into(), values: Values::Numbers(values) }
    }

    /// A column of categories; an empty text is a gap. Names are kept in order of first appearance.
    pub fn categories<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut known = std::collections::BTreeMap::new();
        let codes = values
            .into_iter()
            .map(|text| {
                if text.is_empty() {
                    return UNKNOWN;
                }
                *known.entry(text).or_insert_with(|| {
                    names.push(text.into());
                    u32::try_from(names.len() - 1).unwrap_or(UNKNOWN)
                })
            })
            .collect();
        Self { name: name.into(), values: Values::Categories { codes, names } }
    }

    /// Reads texts as numbers when all that are not empty are numbers, as categories otherwise.
    pub fn from_text(name: &str, texts: &[&str]) -> Self {
        let numbers: Option<Vec<f64>> = texts
            .iter()
            .map(|t| match t.trim() {
                "" => Some(f64::NAN),
                text => text.parse::<f64>().ok().filter(|v| v.is_finite()),
            })
            .collect();
        match numbers {
            Some(numbers) => Self::numbers(name, numbers),
            None => Self::categories(name, texts.iter().map(|t| t.trim())),
        }
    }

    fn len(&self) -> usize {
        match &self.values {
            Values::Numbers(values) => values.len(),
            Values::Categories { codes, .. } => codes.len(),
        }
    }
}

impl Table {
    /// Checks and keeps columns.
    pub fn new(columns: Vec<Column>) -> Result<Self, BadInput> {
        let Some(first) = columns.first() else {
            return Err(BadInput::Empty { field: "columns".into() });
        };
        let rows = first.len();
        if rows == 0 {
            return Err(BadInput::Empty { field: first.name.clone() });
        }
        for (i, column) in columns.iter().enumerate() {
            let field = || column.name.clone();
            if columns[..i].iter().any(|c| c.name == column.name) {
                return Err(BadInput::Duplicate { field: field() });
            }
            if column.len() != rows {
                return Err(BadInput::Length { field: field(), found: column.len(), expected: rows });
            }
            match &column.values {
                Values::Numbers(values) => {
                    if let Some(row) = values.iter().position(|v| v.abs() > LARGEST) {
                        return Err(no_measure(&column.name, row, values[row]));
                    }
                }
                Values::Categories { codes, names } => {
                    let valid = |&c: &u32| c == UNKNOWN || (c as usize) < names.len();
                    if let Some(row) = codes.iter().position(|c| !valid(c)) {
                        return Err(BadInput::OutOfRange { field: field(), row, allowed: "the position of a name" });
                    }
                }
            }
        }
        Ok(Self { columns, rows })
    }

    /// Number of rows, at least 1.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns, in the order given.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The table of some rows, in the order of `rows`; rows outside are refused.
    pub fn take(&self, rows: &[usize]) -> Result<Self, BadInput> {
        if let Some(row) = rows.iter().position(|&r| r >= self.rows) {
            return Err(BadInput::OutOfRange { field: "rows".into(), row, allowed: "a row of the table" });
        }
        let take = |column: &Column| {
            let values = match &column.values {
                Values::Numbers(values) => Values::Numbers(rows.iter().map(|&r| values[r]).collect()),
                Values::Categories { codes, names } => {
                    Values::Categories { codes: rows.iter().map(|&r| codes[r]).collect(), names: names.clone() }
                }
            };
            Column { name: column.name.clone(), values }
        };
        Self::new(self.columns.iter().map(take).collect())
    }

    /// The same table with one more column.
    pub fn with(&self, column: Column) -> Result<Self, BadInput> {
        let mut columns = self.columns.clone();
        columns.push(column);
        Self::new(columns)
    }
}

/// Fold numbers `0..folds` for cross-validation, shuffled within each class so that every fold has
/// its share of each.
pub fn stratified_folds(class: &[usize], folds: usize, seed: u64) -> Vec<u8> {
    let mut rng = crate::seed::generator(seed);
    let mut fold = vec![0; class.len()];
    let classes = class.iter().max().map_or(0, |m| m + 1);
    let mut next = 0;
    for wanted in 0..classes {
        let mut rows: Vec<usize> = (0..class.len()).filter(|&r| class[r] == wanted).collect();
        for i in (1..rows.len()).rev() {
            rows.swap(i, crate::seed::below(&mut rng, i + 1));
        }
        for row in rows {
            fold[row] = u8::try_from(next % folds).unwrap_or(0);
            next += 1;
        }
    }
    fold
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_numbers_only_when_all_of_it_is() {
        let column = Column::from_text("tenure", &["1", " ", "3.5"]);
        assert!(matches!(&column.values, Values::Numbers(v) if v[1].is_nan() && v[2] == 3.5));
        let column = Column::from_text("plan", &["1", "two", ""]);
        assert!(matches!(&column.values, Values::Categories { codes, .. } if codes == &[0, 1, UNKNOWN]));
    }

    #[test]
    fn crooked_tables_are_refused() {
        let a = || Column::numbers("a", vec![1.0, 2.0]);
        assert!(matches!(Table::new(vec![a(), a()]), Err(BadInput::Duplicate { .. })));
        assert!(matches!(Table::new(vec![a(), Column::numbers("b", vec![1.0])]), Err(BadInput::Length { .. })));
        assert!(Table::new(vec![]).is_err());
        let table = Table::new(vec![a()]).unwrap();
        assert_eq!(table.take(&[1, 1]).unwrap().rows(), 2);
        assert!(table.take(&[2]).is_err());
    }

    #[test]
    fn folds_share_out_each_class() {
        let class: Vec<usize> = (0..100).map(|i| usize::from(i % 5 == 0)).collect();
        let folds = stratified_folds(&class, 4, 1);
        for f in 0..4 {
            let ones = (0..100).filter(|&i| folds[i] == f && class[i] == 1).count();
            assert_eq!(ones, 5);
        }
    }
}
