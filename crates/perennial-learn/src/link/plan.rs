//! The plan of comparisons: which columns are compared, as what, and which repeat others.
//!
//! A column made of others (a full name beside given name and surname) would count the same
//! agreement twice, which the independence of Fellegi and Sunter forbids. Such a column is
//! compared only by the words that the others lack, or left out when nothing is left.
//! Absent on purpose: weights. A plan says what to look at, never how much it counts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::block::Cuts;
use super::kind::{self, Kind};
use super::model::index;
use super::table::{Column, Dictionary, MISSING, Table};
use super::{LinkError, MAX_COMPARISONS};
use crate::phone;

/// Rows looked at to find columns that repeat others.
const LOOKED_AT: usize = 3000;
/// A column repeats another when it holds all its words in this share of rows.
const REPEATS: f64 = 0.8;
/// A remainder that is present in fewer rows than this is dropped.
const WORTH_KEEPING: f64 = 0.02;
/// Names are part of an address column when this share of addresses holds them.
const PART: f64 = 0.3;
/// Shorter names are too easily part of anything.
const SHORTEST_PART: usize = 3;
/// Two name columns stand in for each other when this share of one's cells occurs in the other.
const SHARED_VOCABULARY: f64 = 0.05;

/// One comparison: a column, or what is left of it, and how its values are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Name of the column.
    pub name: String,
    /// Position of the column in the table.
    pub column: usize,
    /// What its values are.
    pub kind: Kind,
    /// Columns whose words are taken out before comparing.
    pub without: Vec<usize>,
    /// The comparison whose value may have been swapped with this one's.
    pub partner: Option<usize>,
    /// Dates written year last put the day first.
    pub day_first: bool,
    /// The country of telephone numbers that name none, two letters; none where the column does not say.
    pub home: Option<String>,
    /// Comparisons whose values are often part of this one's, as names are of e-mail addresses:
    /// where one of them agrees, only the rest is compared.
    pub built_from: Vec<usize>,
}

/// The cells of a plan's comparisons in canonical form.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) fields: Vec<Field>,
    /// Codes, one row after another.
    codes: Vec<u32>,
    pub(super) rows: usize,
}

/// The distinct canonical values of one comparison.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) kind: Kind,
    pub(super) partner: Option<usize>,
    pub(super) built_from: Vec<usize>,
    pub(super) values: Arc<Dictionary>,
    /// Natural logarithm of each code's share of the present cells.
    pub(super) log_share: Vec<f32>,
    /// Chance that two present cells of different rows are equal.
    pub(super) collision: f64,
    /// Where blocking cuts the sorted values.
    pub(super) cuts: Arc<Cuts>,
}

/// Chooses the comparisons of a table.
///
/// # Errors
/// Fewer than two rows, or no column that tells records apart.
pub(super) fn plan(table: &Table) -> Result<Vec<Comparison>, LinkError> {
    if table.rows() < 2 {
        return Err(LinkError::TooFewRows { rows: table.rows() });
    }
    let kinds: Vec<Option<Kind>> = table.columns().iter().map(kind::recognise).collect();
    let mut comparisons = Vec::new();
    for (column, kind) in kinds.iter().enumerate() {
        let Some(kind) = *kind else { continue };
        let without = if wordy(kind) { repeated(table, &kinds, column) } else { Vec::new() };
        let day_first = kind != Kind::Date || kind::day_first(&table.columns()[column]);
        let name = table.names()[column].clone();
        let home = (kind == Kind::Phone).then(|| home(&table.columns()[column])).flatten();
        let (partner, built_from) = (None, Vec::new());
        comparisons.push(Comparison { name, column, kind, without, partner, day_first, home, built_from });
    }
    comparisons.retain(|comparison| comparison.without.is_empty() || left_over(table, comparison) > WORTH_KEEPING);
    keep_most_telling(table, &mut comparisons);
    if comparisons.is_empty() {
        return Err(LinkError::NothingToCompare);
    }
    let partners: Vec<Option<usize>> = (0..comparisons.len()).map(|at| partner(table, &comparisons, at)).collect();
    for (at, comparison) in comparisons.iter_mut().enumerate() {
        comparison.partner = partners[at].filter(|&other| partners[other] == Some(at));
    }
    let parts: Vec<Vec<usize>> = (0..comparisons.len()).map(|at| built_from(table, &comparisons, at)).collect();
    comparisons.iter_mut().zip(parts).for_each(|(comparison, parts)| comparison.built_from = parts);
    Ok(comparisons)
}

/// The country of most telephone numbers of a column.
fn home(column: &Column) -> Option<String> {
    let count = index(column.values.len());
    let step = column.values.len().div_ceil(LOOKED_AT).max(1);
    phone::home((1..count).step_by(step).map(|code| column.values.get(code)))
}

fn wordy(kind: Kind) -> bool {
    matches!(kind, Kind::Name | Kind::Text)
}

/// Columns with fewer words whose every word stands in this column, in most rows.
fn repeated(table: &Table, kinds: &[Option<Kind>], column: usize) -> Vec<usize> {
    let own = words_per_row(&table.columns()[column]);
    let smaller = |&other: &usize| {
        other != column
            && kinds[other].is_some_and(wordy)
            && (words_per_row(&table.columns()[other]), other) < (own, column)
            && contained_share(table, other, column) >= REPEATS
    };
    (0..kinds.len()).filter(smaller).collect()
}

/// Mean number of words of the present cells, in hundredths.
fn words_per_row(column: &Column) -> usize {
    let stride = column.codes.len().div_ceil(LOOKED_AT).max(1);
    let codes = column.codes.iter().step_by(stride).filter(|&&code| code != MISSING);
    let (words, cells) =
        codes.fold((0, 0), |(words, cells), &code| (words + column.values.get(code).split(' ').count(), cells + 1));
    words * 100 / cells.max(1)
}

/// In which share of rows with both cells every word of `inner` stands in `outer`.
#[expect(clippy::cast_precision_loss, reason = "row counts fit a double exactly")]
fn contained_share(table: &Table, inner: usize, outer: usize) -> f64 {
    let (mut both, mut held) = (0usize, 0usize);
    for row in (0..table.rows()).step_by(table.rows().div_ceil(LOOKED_AT)) {
        if let (Some(inner), Some(outer)) = (table.value(row, inner), table.value(row, outer)) {
            both += 1;
            held += usize::from(inner.split(' ').all(|word| outer.split(' ').any(|other| other == word)));
        }
    }
    if both < 20 { 0.0 } else { held as f64 / both as f64 }
}

/// In which share of rows something is left of a column that repeats others.
#[expect(clippy::cast_precision_loss, reason = "row counts fit a double exactly")]
fn left_over(table: &Table, comparison: &Comparison) -> f64 {
    let (mut text, mut left, mut seen) = (String::new(), 0usize, 0usize);
    for row in (0..table.rows()).step_by(table.rows().div_ceil(LOOKED_AT)) {
        comparison.read(|column| table.value(row, column), &mut text);
        seen += 1;
        left += usize::from(!text.is_empty());
    }
    left as f64 / seen as f64
}

/// Drops the least telling comparisons beyond the limit: those that agree most often by chance.
fn keep_most_telling(table: &Table, comparisons: &mut Vec<Comparison>) {
    if comparisons.len() <= MAX_COMPARISONS {
        return;
    }
    let mut order: Vec<(f64, usize)> =
        comparisons.iter().map(|c| collision(&table.columns()[c.column].counts())).zip(0..).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let kept: Vec<usize> = order.into_iter().take(MAX_COMPARISONS).map(|(_, at)| at).collect();
    let mut at = 0..;
    comparisons.retain(|_| at.next().is_some_and(|at| kept.contains(&at)));
}

/// The other name column that shares most vocabulary with this one.
#[expect(clippy::cast_precision_loss, reason = "row counts fit a double exactly")]
fn partner(table: &Table, comparisons: &[Comparison], at: usize) -> Option<usize> {
    let own = &comparisons[at];
    if own.kind != Kind::Name || !own.without.is_empty() {
        return None;
    }
    let column = &table.columns()[own.column];
    let mut best = None;
    for (index, other) in comparisons.iter().enumerate() {
        if index == at || other.kind != Kind::Name || !other.without.is_empty() {
            continue;
        }
        let vocabulary = &table.columns()[other.column].values;
        let stride = column.codes.len().div_ceil(LOOKED_AT).max(1);
        let present = column.codes.iter().step_by(stride).filter(|&&code| code != MISSING);
        let (shared, cells) = present.fold((0usize, 0usize), |(shared, cells), &code| {
            (shared + usize::from(vocabulary.find(column.values.get(code)).is_some()), cells + 1)
        });
        let share = shared as f64 / cells.max(1) as f64;
        if share > SHARED_VOCABULARY && best.is_none_or(|(most, _)| share > most) {
            best = Some((share, index));
        }
    }
    best.map(|(_, index)| index)
}

/// Names that are part of an address in a good share of rows.
#[expect(clippy::cast_precision_loss, reason = "row counts fit a double exactly")]
fn built_from(table: &Table, comparisons: &[Comparison], at: usize) -> Vec<usize> {
    if comparisons[at].kind != Kind::Email {
        return Vec::new();
    }
    let part = |other: &usize| {
        let (mut both, mut held) = (0usize, 0usize);
        for row in (0..table.rows()).step_by(table.rows().div_ceil(LOOKED_AT)) {
            let cells = (table.value(row, comparisons[*other].column), table.value(row, comparisons[at].column));
            if let (Some(name), Some(address)) = cells {
                both += 1;
                held += usize::from(name.len() >= SHORTEST_PART && address.contains(name));
            }
        }
        comparisons[*other].kind == Kind::Name && held as f64 > PART * both as f64
    };
    (0..comparisons.len()).filter(part).collect()
}

/// An address without the names it is built from; `name` gives the names.
pub(super) fn rest<'a>(address: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut rest = address.to_owned();
    for name in names.filter(|name| name.len() >= SHORTEST_PART) {
        if let Some(start) = rest.find(name) {
            rest.replace_range(start..start + name.len(), "");
        }
    }
    rest
}

impl Comparison {
    /// Writes the canonical form of a row's value; empty when it is missing.
    pub(super) fn read<'a>(&self, cell: impl Fn(usize) -> Option<&'a str>, out: &mut String) {
        out.clear();
        let Some(value) = cell(self.column) else {
            return;
        };
        if self.without.is_empty() {
            return self.canonical(value, out);
        }
        let said = |word: &str| {
            self.without.iter().filter_map(|&other| cell(other)).any(|text| text.split(' ').any(|other| other == word))
        };
        for word in value.split(' ').filter(|word| !said(word)) {
            if !out.is_empty() {
                out.push(' ');
            }
            out.extend(word.chars().filter(|letter| letter.is_alphanumeric()));
        }
        if out.ends_with(' ') {
            out.pop();
        }
    }

    /// Writes the form in which values of the kind are compared.
    fn canonical(&self, value: &str, out: &mut String) {
        match self.kind {
            Kind::Date => match kind::date_digits(value, self.day_first) {
                Some(digits) => out.extend(digits.map(char::from)),
                None => out.extend(value.chars().filter(char::is_ascii_digit)),
            },
            Kind::Phone => phone_digits(value, self.home.as_deref(), out),
            Kind::Postcode | Kind::Identifier | Kind::Number => {
                out.extend(value.chars().filter(|letter| letter.is_alphanumeric()));
            }
            Kind::Email | Kind::Category => out.push_str(value),
            Kind::Name | Kind::Text => words_only(value, out),
        }
    }
}

/// Country and number in digits where a country's plan has such a number; else the digits without leading
/// zeros, so that a mistyped number is still compared digit by digit.
fn phone_digits(value: &str, home: Option<&str>, out: &mut String) {
    let plain = value.strip_prefix('+').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let asked = !plain && (home.is_some() || value.starts_with('+'));
    match asked.then(|| phone::e164(value, home)).flatten() {
        Some(number) => out.push_str(&number[1..]),
        None => out.extend(value.chars().filter(char::is_ascii_digit).skip_while(|&digit| digit == '0')),
    }
}

/// Letters and digits, one blank between words, apostrophes gone.
fn words_only(value: &str, out: &mut String) {
    for letter in value.chars() {
        if letter.is_alphanumeric() {
            out.push(letter);
        } else if letter != '\'' && !out.is_empty() && !out.ends_with(' ') {
            out.push(' ');
        }
    }
    if out.ends_with(' ') {
        out.pop();
    }
}

impl Prepared {
    /// Reads a table by a plan.
    pub(super) fn new(table: &Table, plan: &[Comparison]) -> Result<Self, LinkError> {
        let mut codes = vec![MISSING; table.rows() * plan.len()];
        let mut fields = Vec::with_capacity(plan.len());
        for (at, comparison) in plan.iter().enumerate() {
            let too_much = || LinkError::TooMuchText { column: comparison.name.clone() };
            let column = prepare(table, comparison).ok_or_else(too_much)?;
            codes.iter_mut().skip(at).step_by(plan.len()).zip(&column.codes).for_each(|(cell, &code)| *cell = code);
            fields.push(Field::new(comparison, column));
        }
        Ok(Self { fields, codes, rows: table.rows() })
    }

    /// The comparisons that are built from others.
    pub(super) fn built(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.fields.len()).filter(|&at| !self.fields[at].built_from.is_empty())
    }

    /// What is left of a row's value without the values it is built from.
    pub(super) fn rest(&self, at: usize, row: usize) -> String {
        let text = |at: usize| self.fields[at].values.get(self.row(row)[at]);
        rest(text(at), self.fields[at].built_from.iter().map(|&part| text(part)))
    }

    /// The codes of a row, one per comparison.
    pub(super) fn row(&self, row: usize) -> &[u32] {
        let width = self.fields.len();
        &self.codes[row * width..(row + 1) * width]
    }

    /// The same fields with a choice of rows; shares stay those of the whole.
    pub(super) fn choice(&self, rows: &[u32]) -> Self {
        let codes = rows.iter().flat_map(|&row| self.row(row as usize).iter().copied()).collect();
        Self { fields: self.fields.clone(), codes, rows: rows.len() }
    }
}

/// A comparison's column in canonical form; shares the table's dictionary where all its values
/// are canonical already.
fn prepare(table: &Table, comparison: &Comparison) -> Option<Column> {
    let source = &table.columns()[comparison.column];
    if comparison.without.is_empty() && all_canonical(comparison, &source.values) {
        return Some(source.clone());
    }
    let mut codes = Vec::with_capacity(source.codes.len());
    let mut values = Dictionary::default();
    let mut text = String::new();
    if !comparison.without.is_empty() {
        for row in 0..table.rows() {
            comparison.read(|at| table.value(row, at), &mut text);
            codes.push(if text.is_empty() { MISSING } else { values.intern(&text)? });
        }
        return Some(Column { codes, values: Arc::new(values) });
    }
    let mut known = Vec::with_capacity(source.values.len());
    for code in 0..index(source.values.len()) {
        text.clear();
        comparison.canonical(source.values.get(code), &mut text);
        known.push(if text.is_empty() { MISSING } else { values.intern(&text)? });
    }
    codes.extend(source.codes.iter().map(|&code| known[code as usize]));
    Some(Column { codes, values: Arc::new(values) })
}

fn all_canonical(comparison: &Comparison, values: &Dictionary) -> bool {
    let mut text = String::new();
    (1..index(values.len())).all(|code| {
        text.clear();
        comparison.canonical(values.get(code), &mut text);
        text == values.get(code)
    })
}

impl Field {
    fn new(comparison: &Comparison, column: Column) -> Self {
        let mut counts = column.counts();
        counts[0] = 0;
        let present: f64 = counts.iter().map(|&count| f64::from(count)).sum();
        #[expect(clippy::cast_possible_truncation, reason = "a logarithm needs no more than single precision")]
        let log_share = counts.iter().map(|&count| (f64::from(count.max(1)) / present.max(1.0)).ln() as f32).collect();
        let collision = collision(&counts);
        Self {
            cuts: Arc::new(Cuts::new(comparison.kind, &column.values)),
            kind: comparison.kind,
            partner: comparison.partner,
            built_from: comparison.built_from.clone(),
            values: column.values,
            log_share,
            collision,
        }
    }
}

/// Chance that two different rows with a present cell are equal; index 0 counts the missing.
fn collision(counts: &[u32]) -> f64 {
    let present: f64 = counts.iter().skip(1).map(|&count| f64::from(count)).sum();
    let equal: f64 = counts.iter().skip(1).map(|&count| f64::from(count) * (f64::from(count) - 1.0)).sum();
    equal / (present * (present - 1.0)).max(1.0)
}
