//! Tables in memory, columns found by name, and sentences about what is wrong with them.
//!
//! Promise: an error names the file, the column and, where it can, the line and the remedy; a name that
//! is not there comes with the nearest that is. Absent on purpose: types; a command says what it needs.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use perennial_learn::input::LARGEST;
use perennial_learn::table::{Column, Table};

use super::{amounts, progress};
use crate::import::plain;

/// A table as texts, rectangular, with at least one row.
#[derive(Debug)]
pub(super) struct Frame {
    path: PathBuf,
    pub(super) header: Vec<String>,
    pub(super) columns: Vec<Vec<String>>,
    /// The line of the file that each row came from.
    lines: Vec<u64>,
    /// Whether semicolons stand between values, as where the comma is the decimal sign.
    pub(super) semicolons: bool,
}

/// Texts that stand for nothing.
const GAPS: [&str; 7] = ["na", "n/a", "#n/a", "nan", "null", "\\n", "-"];
/// A column with more different values than this answers no question of yes or no.
const MANY: usize = 20;
/// A column counts as numbers from this share of readable texts on; the others are gaps.
const MOSTLY: f64 = 0.95;

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
        let plain::Plain { mut header, mut columns, lines, semicolons } = table.map_err(told)?;
        if lines.is_empty() {
            return Err(told("has a header but no rows; give a table with rows".into()));
        }
        header
            .iter_mut()
            .zip(1..)
            .filter(|(name, _)| name.is_empty())
            .for_each(|(name, at)| *name = format!("column {at}"));
        let mut seen = BTreeSet::new();
        if let Some(twice) = header.iter().find(|name| !seen.insert(name.to_lowercase())) {
            return Err(told(format!("two columns are called `{twice}` in line 1; rename or leave out one of them")));
        }
        for text in columns.iter_mut().flatten() {
            if text.len() <= 4 && GAPS.contains(&text.to_lowercase().as_str()) {
                text.clear();
            }
        }
        Ok(Self { path: path.to_owned(), header, columns, lines, semicolons })
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
        Err(self.wrong(&format!("there is no column `{name}`{hint} (the columns are {})", self.listed())))
    }

    /// The named column, or the first whose plain name is a word of `usual`, in the order of `usual`.
    pub(super) fn named_or_usual(&self, named: Option<&str>, usual: &str) -> Result<Option<usize>, String> {
        if let Some(name) = named {
            return self.column(name).map(Some);
        }
        let plain: Vec<String> = self.header.iter().map(|name| plain_name(name)).collect();
        Ok(usual.split(' ').find_map(|usual| plain.iter().position(|name| name == usual)))
    }

    /// What to do about a column that was not found.
    pub(super) fn name_it(&self, option: &str) -> String {
        format!("name it with {option}; the columns are {}", self.listed())
    }

    /// The names of all columns.
    pub(super) fn listed(&self) -> String {
        self.header.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    /// The line of the file that a row came from.
    pub(super) fn line(&self, row: usize) -> u64 {
        self.lines[row]
    }

    /// Positions of the columns named, without the empty name.
    pub(super) fn all_of(&self, names: &[String]) -> Result<Vec<usize>, String> {
        names.iter().map(|name| self.column(name)).collect()
    }

    /// Features for a model: every column but `without`, and what had to be assumed to read them.
    /// Columns without any value, or with the same one in every row, are left out.
    pub(super) fn features(&self, without: &[usize]) -> Result<(Table, Vec<String>), String> {
        let (mut columns, mut notes, mut flat) = (Vec::new(), Vec::new(), Vec::new());
        for at in (0..self.header.len()).filter(|at| !without.contains(at)) {
            let texts = &self.columns[at];
            if texts.iter().all(|text| *text == texts[0]) {
                flat.push(format!("`{}`", self.header[at]));
                continue;
            }
            let (column, told) = self.feature(at)?;
            columns.push(column);
            notes.extend(told);
        }
        if !flat.is_empty() {
            notes.push(format!("Left out, the same in every row: {}.", flat.join(", ")));
        }
        if columns.is_empty() {
            return Err(self.wrong("no column is left to learn from; give a table with features that differ"));
        }
        Ok((Table::new(columns).map_err(|why| self.wrong(&why.to_string()))?, notes))
    }

    /// A column of numbers when nearly all of it is numbers, of categories otherwise.
    fn feature(&self, at: usize) -> Result<(Column, Vec<String>), String> {
        let (name, texts) = (&self.header[at], &self.columns[at]);
        let (mark, assumed) = amounts::mark(texts, self.semicolons);
        let values: Vec<Option<f64>> = texts.iter().map(|text| amounts::read(text, mark)).collect();
        let given = texts.iter().filter(|text| !text.is_empty()).count();
        let read = values.iter().flatten().count();
        #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
        let mostly = read as f64 >= MOSTLY * given as f64;
        if !mostly {
            return Ok((Column::categories(name, texts.iter().map(String::as_str)), Vec::new()));
        }
        if let Some(row) = (0..texts.len()).find(|&row| values[row].is_some_and(|value| value.abs() > LARGEST)) {
            return Err(amounts::beyond(self, at, row));
        }
        let mut notes: Vec<String> = assumed.map(|told| format!("`{name}` {told}.")).into_iter().collect();
        if let Some(row) = (0..texts.len()).find(|&row| values[row].is_none() && !texts[row].is_empty()) {
            notes.push(format!(
                "`{name}` has {} values that are no numbers, the first, `{}`, in line {}; they count as not known.",
                given - read,
                texts[row],
                self.line(row)
            ));
        }
        Ok((Column::numbers(name, values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect()), notes))
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
            let line = self.line(row);
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
                let (count, some) = (values.len(), sample(&values));
                let remedy = if count > MANY { "give a column of yes and no" } else { "name the one that means yes" };
                return Err(self.wrong(&format!("`{name}` has {count} values ({some}); {remedy}")));
            }
        };
        Ok((self.columns[at].iter().map(|text| text == yes).collect(), yes.to_owned()))
    }

    /// Which rows equal an earlier one in every column.
    pub(super) fn repeated(&self) -> Vec<bool> {
        let mut seen: HashMap<u64, usize> = HashMap::new();
        let same = |a: usize, b: usize| self.columns.iter().all(|column| column[a] == column[b]);
        let each = (0..self.rows()).map(|row| {
            let mut hasher = DefaultHasher::new();
            self.columns.iter().for_each(|column| column[row].hash(&mut hasher));
            match seen.entry(hasher.finish()) {
                Entry::Occupied(earlier) => same(*earlier.get(), row),
                Entry::Vacant(place) => {
                    place.insert(row);
                    false
                }
            }
        });
        each.collect()
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
