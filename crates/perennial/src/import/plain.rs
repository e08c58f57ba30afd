//! Tables that no mapping describes: read whole, as texts, column by column.
//!
//! Promise: the delimiter and the encoding are found by looking; a row that does not fit the header
//! is an error that names its line. Absent on purpose: types, and files larger than memory.

use std::path::Path;

use super::mapping::{Duplicates, Encoding, File};
use super::read::{Record, Rows};

/// A table as texts.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    /// Names of the columns, trimmed.
    pub(crate) header: Vec<String>,
    /// The texts of each column.
    pub(crate) columns: Vec<Vec<String>>,
}

/// Delimiters tried until one finds more than one column.
const DELIMITERS: [u8; 4] = *b",;\t|";

/// Reads a CSV (or with `;`, tab or `|` between values) or Parquet file, gzip or not. `watch` hears
/// how far it has come and of how much.
pub(crate) fn read(path: &Path, watch: &mut dyn FnMut(u64, u64)) -> Result<Plain, String> {
    let open = |delimiter, encoding| Rows::open(path, &file(delimiter, encoding), &[]);
    let mut delimiter = b',';
    for tried in DELIMITERS {
        if open(tried, Encoding::Utf8)?.header().len() > 1 {
            delimiter = tried;
            break;
        }
    }
    let whole = gather(open(delimiter, Encoding::Utf8)?, path, watch);
    match whole {
        Err(why) if why.contains("is not UTF-8") => gather(open(delimiter, Encoding::Windows1252)?, path, watch),
        other => other,
    }
}

fn gather(mut rows: Rows, path: &Path, watch: &mut dyn FnMut(u64, u64)) -> Result<Plain, String> {
    let header = rows.header().to_vec();
    if header.is_empty() {
        return Err("names no columns; the first row must".into());
    }
    let mut columns = vec![Vec::new(); header.len()];
    let mut record = Record::default();
    let length = rows.length(path);
    while rows.next(&mut record)? {
        if let Some(damage) = &record.damage {
            return Err(format!("line {} {damage}", record.line));
        }
        columns.iter_mut().zip(&record.fields).for_each(|(column, text)| column.push(text.trim().to_owned()));
        if record.line % 8_192 == 0 {
            watch(rows.position(), length);
        }
    }
    Ok(Plain { header, columns })
}

fn file(delimiter: u8, encoding: Encoding) -> File {
    File {
        name: "input".into(),
        path: String::new(),
        format: None,
        delimiter,
        encoding,
        duplicates: Duplicates::Keep,
        columns: Vec::new(),
        tells_rows_apart: false,
        skip: Vec::new(),
    }
}
