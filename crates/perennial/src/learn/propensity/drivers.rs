//! What an answer rests on: how much each column says, and where it came true least and most often.
//!
//! Absent on purpose: causes. A column may say much because something else stands behind it.

use perennial_learn::experiment::wilson;
use perennial_learn::input::BadInput;
use perennial_learn::propensity::Trained;
use perennial_learn::table::{Column, Table, UNKNOWN, Values};

use super::super::page::{Bar, Figure, Plot};
use super::super::words::{figure, many, percent};

/// Rows by which it is measured at most.
const ROWS: usize = 5_000;
/// Columns shown.
const SHOWN: usize = 12;
/// Rows that a part of a column needs to be named.
const LEAST: usize = 30;

/// A part of the customers: those of one category, or of one third by a number.
struct Part {
    name: String,
    rows: usize,
    hits: usize,
}

impl Part {
    #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
    fn share(&self) -> f64 {
        self.hits as f64 / self.rows.max(1) as f64
    }

    /// The share with its interval, and where.
    fn told(&self) -> String {
        let range = wilson(self.hits as u64, self.rows as u64, 0.05)
            .map_or(String::new(), |(low, high)| format!(" ({} to {})", percent(low), percent(high)));
        format!("{}: {}{range}", self.name, percent(self.share()))
    }
}

/// The columns that say most; none where none says anything.
pub(super) fn figure_of(
    trained: &Trained,
    table: &Table,
    label: &[bool],
    what: &str,
    seed: u64,
) -> Result<Option<Figure>, BadInput> {
    let step = table.rows().div_ceil(ROWS).max(1);
    let some: Vec<usize> = (0..table.rows()).step_by(step).collect();
    let mut found = trained.model.reliance(&table.take(&some)?, seed)?;
    found.retain(|(_, change)| *change >= 0.0005);
    found.truncate(SHOWN);
    let bar = |(name, change): &(String, f64)| Bar { label: name.clone(), value: 100.0 * change, interval: None };
    let bars: Vec<Bar> = found.iter().map(bar).collect();
    let rows = found.iter().map(|(name, change)| {
        let (least, most) = table.column(name).map_or((None, None), |column| ends(column, label));
        let told = |part: Option<Part>| part.map_or(String::new(), |part| part.told());
        vec![name.clone(), figure(100.0 * change), told(least), told(most)]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let Some((first, _)) = found.first() else { return Ok(None) };
    let title = match table.column(first).map(|column| ends(column, label)) {
        Some((Some(least), Some(most))) => format!(
            "`{first}` says most: {what} for {} where it is {}, for {} where it is {}",
            percent(most.share()),
            most.name,
            percent(least.share()),
            least.name
        ),
        _ => format!("`{first}` says most"),
    };
    Ok(Some(Figure {
        title,
        note: "How far a customer's probability moves on average, in points, when the column's values are dealt anew among the customers: how much the answer rests on it. It is no proof of a cause.".into(),
        sample: many(some.len(), "customer"),
        plot: Plot::Bars(bars),
        unit: " points",
        head: ["column", "points", "came true least often", "came true most often"].map(String::from).to_vec(),
        rows,
    }))
}

/// The parts of a column where it came true least and most often.
fn ends(column: &Column, label: &[bool]) -> (Option<Part>, Option<Part>) {
    let mut parts: Vec<Part> = match &column.values {
        Values::Categories { codes, names } => categories(codes, names, label),
        Values::Numbers(values) => thirds(values, label),
    };
    parts.retain(|part| part.rows >= LEAST);
    parts.sort_by(|a, b| a.share().total_cmp(&b.share()));
    if parts.len() < 2 {
        return (None, None);
    }
    let most = parts.pop();
    (parts.into_iter().next(), most)
}

fn categories(codes: &[u32], names: &[String], label: &[bool]) -> Vec<Part> {
    let mut parts: Vec<Part> =
        names.iter().map(|name| Part { name: format!("\"{name}\""), rows: 0, hits: 0 }).collect();
    for (code, hit) in codes.iter().zip(label).filter(|(code, _)| **code != UNKNOWN) {
        let part = &mut parts[*code as usize];
        part.rows += 1;
        part.hits += usize::from(*hit);
    }
    parts
}

/// The lowest, middle and highest third of the rows by a number; fewer where numbers repeat.
fn thirds(values: &[f64], label: &[bool]) -> Vec<Part> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let (Some(&low), Some(&high)) = (sorted.get(sorted.len() / 3), sorted.get(sorted.len() * 2 / 3)) else {
        return Vec::new();
    };
    let part = |name: String, holds: &dyn Fn(f64) -> bool| {
        let within = values.iter().zip(label).filter(|(value, _)| holds(**value));
        let (rows, hits) = within.fold((0, 0), |(rows, hits), (_, hit)| (rows + 1, hits + usize::from(*hit)));
        Part { name, rows, hits }
    };
    vec![
        part(format!("below {}", figure(low)), &|value| value < low),
        part(format!("{} to {}", figure(low), figure(high)), &|value| value >= low && value <= high),
        part(format!("above {}", figure(high)), &|value| value > high),
    ]
}
