//! Tables that no mapping describes: read whole, as texts, column by column.
//!
//! Promise: the delimiter and the encoding are found by looking; a row that does not fit the header
//! is an error that names its line; rows without any value are passed over. Absent on purpose: types,
//! and files larger than memory.

use std::fs::File as OsFile;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use super::mapping::{Duplicates, Encoding, File, Format};
use super::read::{Record, Rows, by_ending};
use super::wide::Wide;

/// A table as texts.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    /// Names of the columns, trimmed.
    pub(crate) header: Vec<String>,
    /// The texts of each column, trimmed.
    pub(crate) columns: Vec<Vec<String>>,
    /// The line of the file that each row came from.
    pub(crate) lines: Vec<u64>,
    /// Whether semicolons stand between values, as where the comma is the decimal sign.
    pub(crate) semicolons: bool,
}

/// Delimiters tried; the one that finds most columns wins.
const DELIMITERS: [u8; 4] = *b",;\t|";

/// Reads a CSV (or with `;`, tab or `|` between values) or Parquet file, gzip or not. `watch` hears
/// how far it has come and of how much.
pub(crate) fn read(path: &Path, watch: &mut dyn FnMut(u64, u64)) -> Result<Plain, String> {
    refuse_workbooks(path)?;
    let open = |delimiter, encoding| Rows::open(path, &file(path, delimiter, encoding), &[]);
    let mut best = (b',', 0);
    for delimiter in DELIMITERS {
        let found = open(delimiter, Encoding::Utf8)?.header().len();
        if found > best.1 {
            best = (delimiter, found);
        }
    }
    let whole = gather(open(best.0, Encoding::Utf8)?, path, watch);
    let table = match whole {
        Err(why) if why.contains("is not UTF-8") => gather(open(best.0, Encoding::Windows1252)?, path, watch),
        other => other,
    }?;
    Ok(Plain { semicolons: best.0 == b';', ..table })
}

/// Spreadsheets and lists of objects have no header row to read; say how to get one.
fn refuse_workbooks(path: &Path) -> Result<(), String> {
    let mut start = [0; 4];
    let read = OsFile::open(path).and_then(|mut file| file.read(&mut start)).map_err(|e| match e.kind() {
        ErrorKind::NotFound => "there is no such file; is the path right?".into(),
        ErrorKind::IsADirectory => "is a folder; name a file in it".into(),
        _ => e.to_string(),
    })?;
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"\xd0\xcf\x11\xe0") {
        return Err("is a workbook or an archive, not a table of text; save the sheet as CSV".into());
    }
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if ["json", "jsonl", "ndjson"].iter().any(|json| ending.eq_ignore_ascii_case(json)) {
        return Err("holds JSON; write it as CSV with the names of the columns in the first row".into());
    }
    let marked = start.starts_with(b"\x1f\x8b") || start.starts_with(b"PAR1") || Wide::unit(&start).is_some();
    if !marked && start[..read].contains(&0) {
        return Err("is no text that we can read; save it as CSV in UTF-8".into());
    }
    if read == 0 {
        return Err("is empty; the first row must name the columns".into());
    }
    Ok(())
}

fn gather(mut rows: Rows, path: &Path, watch: &mut dyn FnMut(u64, u64)) -> Result<Plain, String> {
    let header = rows.header().to_vec();
    if header.is_empty() {
        return Err("names no columns; the first row must".into());
    }
    let mut table = Plain { columns: vec![Vec::new(); header.len()], header, ..Plain::default() };
    let mut record = Record::default();
    let length = rows.length(path);
    while rows.next(&mut record)? {
        if record.fields.iter().all(|text| text.trim().is_empty()) {
            continue;
        }
        if let Some(damage) = &record.damage {
            return Err(format!("line {} {}", record.line, damage.reason));
        }
        table.columns.iter_mut().zip(&record.fields).for_each(|(column, text)| column.push(text.trim().to_owned()));
        table.lines.push(record.line);
        if record.line % 8_192 == 0 {
            watch(rows.position(), length);
        }
    }
    Ok(table)
}

fn file(path: &Path, delimiter: u8, encoding: Encoding) -> File {
    File {
        name: "input".into(),
        path: String::new(),
        // A name with another ending holds text until it proves otherwise.
        format: by_ending(path).or(Some(Format::Csv)),
        delimiter,
        encoding,
        duplicates: Duplicates::Keep,
        columns: Vec::new(),
        names: Vec::new(),
        tells_rows_apart: false,
        skip: Vec::new(),
    }
}
