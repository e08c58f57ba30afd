//! Tables in memory, columns found by name, and sentences about what is wrong with them.
//!
//! Promise: an error names the file, the column and, where it can, the line and the remedy; a name that
//! is not there comes with the nearest that is. Absent on purpose: types; a command says what it needs.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use perennial_learn::table::{Column, Table};

use super::progress;
use crate::import::plain;

/// A table as texts, rectangular, with at least one row.
#[derive(Debug)]
pub(super) struct Frame {
    path: PathBuf,
    pub(super) header: Vec<String>,
    pub(super) columns: Vec<Vec<String>>,
}

/// Texts that stand for nothing.
const GAPS: [&str; 6] = ["na", "n/a", "nan", "null", "none", "\\n"];

impl Frame {
    /// Reads a CSV or Parquet file, gzip or not.
    pub(super) fn read(path: &Path, quiet: bool) -> Result<Self, String> {
        let told = |why: String| format!("{}: {why}", path.display());
        let bar = progress("reading", 0, quiet);
        let table = plain::read(path, &mut |done, all| {
            bar.set_length(all);
            bar.set_position(done);
        });
        bar.finish_and_clear();
        let plain::Plain { header, mut columns } = table.map_err(told)?;
        if columns[0].is_empty() {
            return Err(told("has a header but no rows; give a table with rows".into()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = header.iter().find(|name| !seen.insert(name.to_lowercase())) {
            return Err(told(format!("two columns are called `{twice}`; rename or leave out one of them")));
        }
        for text in columns.iter_mut().flatten() {
            if text.len() <= 4 && GAPS.contains(&text.to_lowercase().as_str()) {
                text.clear();
            }
        }
        Ok(Self { path: path.to_owned(), header, columns })
    }

    pub(super) fn rows(&self) -> usize {
        self.columns[0].len()
    }

    /// The name of the file, for reports.
    pub(super) fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// An error about this file.
    pub(super) fn wrong(&self, why: &str) -> String {
        format!("{}: {why}", self.path.display())
    }

    /// The position of a column that the caller named.
    pub(super) fn column(&self, name: &str) -> Result<usize, String> {
        let same = |header: &String| header.eq_ignore_ascii_case(name);
        if let Some(at) = self.header.iter().position(same) {
            return Ok(at);
        }
        let far = |header: &&String| strsim::damerau_levenshtein(&name.to_lowercase(), &header.to_lowercase());
        let near = self.header.iter().min_by_key(far).filter(|header| far(header) <= name.len().div_ceil(2));
        let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        Err(self.wrong(&format!("there is no column `{name}`{hint} The columns are {}", self.listed())))
    }

    /// The named column, or the first whose plain name is in `usual`, in the order of `usual`.
    pub(super) fn named_or_usual(&self, named: Option<&str>, usual: &[&str]) -> Result<Option<usize>, String> {
        if let Some(name) = named {
            return self.column(name).map(Some);
        }
        let plain: Vec<String> = self.header.iter().map(|name| plain_name(name)).collect();
        Ok(usual.iter().find_map(|usual| plain.iter().position(|name| name == usual)))
    }

    /// The names of all columns.
    pub(super) fn listed(&self) -> String {
        self.header.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    /// The line of the file that a row came from, near enough to look it up.
    pub(super) fn line(row: usize) -> usize {
        row + 2
    }

    /// Positions of the columns named, without the empty name.
    pub(super) fn all_of(&self, names: &[String]) -> Result<Vec<usize>, String> {
        names.iter().map(|name| self.column(name)).collect()
    }

    /// Features for a model: every column but `without`. Columns without any value are left out.
    pub(super) fn features(&self, without: &[usize]) -> Result<Table, String> {
        let used = (0..self.header.len())
            .filter(|at| !without.contains(at))
            .filter(|&at| self.columns[at].iter().any(|text| !text.is_empty()));
        let column = |at: usize| {
            let texts: Vec<&str> = self.columns[at].iter().map(String::as_str).collect();
            Column::from_text(&self.header[at], &texts)
        };
        let columns: Vec<Column> = used.map(column).collect();
        if columns.is_empty() {
            return Err(self.wrong("no column is left to learn from; give a table with features of the customers"));
        }
        Table::new(columns).map_err(|why| self.wrong(&why.to_string()))
    }

    /// Who each row is about: the id column, or the row's number.
    pub(super) fn ids(&self, id: Option<usize>) -> Vec<String> {
        match id {
            Some(at) => self.columns[at].clone(),
            None => (1..=self.rows()).map(|row| row.to_string()).collect(),
        }
    }

    /// A column of yes and no. `yes` names the text that means yes; a usual one is found otherwise.
    pub(super) fn flags(&self, at: usize, yes: Option<&str>) -> Result<(Vec<bool>, String), String> {
        let name = &self.header[at];
        let values: BTreeSet<&str> = self.columns[at].iter().map(String::as_str).collect();
        if let Some(row) = self.columns[at].iter().position(String::is_empty) {
            let line = Self::line(row);
            return Err(self.wrong(&format!("`{name}` is empty in line {line}; fill it in or leave out such rows")));
        }
        if values.len() < 2 {
            let only = values.first().unwrap_or(&"");
            return Err(self.wrong(&format!("`{name}` is `{only}` in every row; give rows of both outcomes")));
        }
        let usual = ["1", "yes", "true", "y", "t", "1.0", "positive", "churned", "converted"];
        let yes = match yes {
            Some(yes) => {
                values.iter().find(|v| v.eq_ignore_ascii_case(yes)).copied().ok_or_else(|| {
                    self.wrong(&format!("`{name}` is never `{yes}`; its values are {}", sample(&values)))
                })?
            }
            None if values.len() == 2 => {
                let found = usual.iter().find_map(|usual| values.iter().find(|v| v.eq_ignore_ascii_case(usual)));
                found.copied().ok_or_else(|| {
                    let why = format!("which value of `{name}` means yes: {}? say so with --positive", sample(&values));
                    self.wrong(&why)
                })?
            }
            None => {
                let why =
                    format!("`{name}` has {} values ({}); name the one that means yes", values.len(), sample(&values));
                return Err(self.wrong(&why));
            }
        };
        Ok((self.columns[at].iter().map(|text| text == yes).collect(), yes.to_owned()))
    }

    /// How many rows equal an earlier one in every column.
    pub(super) fn repeated(&self) -> Vec<bool> {
        let mut seen = HashSet::new();
        (0..self.rows())
            .map(|row| !seen.insert(self.columns.iter().map(|column| column[row].as_str()).collect::<Vec<_>>()))
            .collect()
    }

    /// Leaves only some rows.
    pub(super) fn keep(&mut self, keep: &[bool]) {
        for column in &mut self.columns {
            let mut wanted = keep.iter();
            column.retain(|_| wanted.next().copied().unwrap_or(false));
        }
    }
}

/// A few values, for a sentence.
fn sample(values: &BTreeSet<&str>) -> String {
    let shown: Vec<String> = values.iter().take(6).map(|value| format!("`{value}`")).collect();
    let more = if values.len() > 6 { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// A name without case and punctuation: `Customer ID` and `customer_id` are one.
pub(super) fn plain_name(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Writes a CSV file.
pub(super) fn write<R, F>(path: &Path, header: &[&str], rows: R) -> Result<(), String>
where
    R: IntoIterator<Item = F>,
    F: IntoIterator,
    F::Item: AsRef<[u8]>,
{
    let told = |why: csv::Error| format!("{}: {why}", path.display());
    let file = File::create(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let mut out = csv::Writer::from_writer(BufWriter::new(file));
    out.write_record(header).map_err(told)?;
    for row in rows {
        out.write_record(row).map_err(told)?;
    }
    out.flush().map_err(|why| format!("{}: {why}", path.display()))
}

/// Four digits where they matter, none where they do not.
pub(super) fn short(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 || v == 0.0 => format!("{value:.3}"),
        _ => format!("{value:.5}"),
    }
}
