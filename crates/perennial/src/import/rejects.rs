//! Rejects: rows that did not come in, with line, field and reason, in a file that can be mended
//! and fed again.
//!
//! The file keeps the original columns behind five of its own. A row that could not be divided into its columns
//! stands whole in [`ROW`], and its columns are empty.
//!
//! Promise: the file says nothing that the original did not; a row that is fed again unmended is rejected again, for
//! the same reason. Only the reasons are held in memory; the rows are read a second time when the file is written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use csv::{ByteRecord, StringRecord};

use super::cleanse::Bad;
use super::division::seemingly;
use super::keys::Keys;
use super::mapping::{File, Format};
use super::read::{Damage, Record, Rows, by_ending};
use super::reconcile::RejectedRow;

/// The first of our own columns; a CSV file that begins with it is a reject file.
pub(super) const LINE: &str = "reject_line";
const REASON: &str = "reject_reason";
const ROW: &str = "reject_row";
const OURS: [&str; 5] = [LINE, "reject_code", "reject_field", REASON, ROW];

/// Where a reject file that is fed has its columns.
pub(super) struct Layout {
    /// What stood between values in the original file.
    delimiter: u8,
    /// The keys of the original file, if it held JSON lines.
    keys: Option<(Keys, Vec<String>)>,
    reason: Option<usize>,
    row: Option<usize>,
    theirs: Vec<usize>,
}

impl Layout {
    pub(super) fn of(header: &[String], file: &File) -> Self {
        let place = |ours: &str| header.iter().position(|name| name == ours);
        let original = file.format.or_else(|| by_ending(Path::new(&file.path)));
        let keys = (original == Some(Format::JsonLines)).then(|| (Keys::of(header, file), header.to_vec()));
        Self { delimiter: file.delimiter, keys, reason: place(REASON), row: place(ROW), theirs: theirs(header) }
    }

    /// Whether the original told its rows by the names of their values.
    pub(super) fn by_name(&self) -> bool {
        self.keys.is_some()
    }

    /// What was wrong with a row that nobody has mended since. Its values go where they seemed to be at first.
    pub(super) fn damage(&mut self, fields: &mut StringRecord) -> Option<Damage> {
        let text = |place: Option<usize>| place.and_then(|i| fields.get(i)).unwrap_or("").to_owned();
        let (reason, row) = (text(self.reason), text(self.row));
        if row.is_empty() || self.theirs.iter().any(|i| !text(Some(*i)).trim().is_empty()) {
            return None;
        }
        let columns = fields.len();
        if let Some((keys, header)) = &mut self.keys {
            let mut record = Record::default();
            let _ = keys.divide(row.as_bytes(), header, &mut record); // It is known what is wrong with it.
            *fields = (0..columns).map(|i| record.fields.get(i).unwrap_or("")).collect();
            return Some(Damage { reason, row });
        }
        let mut values = ByteRecord::new();
        seemingly(row.as_bytes(), self.delimiter, &mut values);
        // What a delimiter divides stays a text.
        let values = StringRecord::from_byte_record(values).unwrap_or_default();
        let value = |i: usize| self.theirs.iter().position(|place| *place == i).and_then(|nth| values.get(nth));
        *fields = (0..columns).map(|i| value(i).unwrap_or("")).collect();
        Some(Damage { reason, row })
    }
}

/// The columns of the original file.
pub(super) fn theirs(header: &[String]) -> Vec<usize> {
    (0..header.len()).filter(|i| !OURS.contains(&header[*i].as_str())).collect()
}

/// Why a row was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reject {
    pub(super) code: Cow<'static, str>,
    pub(super) field: Box<str>,
    pub(super) reason: Box<str>,
}

/// The rejects of one file by line.
#[derive(Debug, Default)]
pub(super) struct Rejects {
    /// The columns of the file, as far as they are known.
    pub(super) header: Vec<String>,
    pub(super) by_line: BTreeMap<u64, Reject>,
}

impl Rejects {
    pub(super) fn add(
        &mut self,
        line: u64,
        code: impl Into<Cow<'static, str>>,
        field: &str,
        reason: impl Into<Box<str>>,
    ) {
        let reject = Reject { code: code.into(), field: field.into(), reason: reason.into() };
        self.by_line.entry(line).or_insert(reject);
    }

    /// Several bad fields of one row: the first gives the code, all are named.
    pub(super) fn add_all(&mut self, line: u64, bads: &[Bad]) -> &'static str {
        let field = bads.iter().map(|b| &*b.field).collect::<Vec<_>>().join("; ");
        let reason = bads.iter().map(|b| b.reason.as_str()).collect::<Vec<_>>().join("; ");
        let code = bads.first().map_or("malformed", |b| b.code);
        self.add(line, code, &field, reason);
        code
    }

    /// The first of them, those before others that only wait for another row.
    pub(super) fn first(&self, file: &str, most: usize) -> Vec<RejectedRow> {
        let waits = |reject: &Reject| reject.code.ends_with("_held");
        let (held, causes): (Vec<_>, Vec<_>) = self.by_line.iter().partition(|(_, reject)| waits(reject));
        let row = |(line, reject): (&u64, &Reject)| RejectedRow {
            file: file.to_owned(),
            line: *line,
            code: reject.code.clone().into_owned(),
            field: reject.field.to_string(),
            reason: reject.reason.to_string(),
        };
        causes.into_iter().chain(held).take(most).map(row).collect()
    }

    /// Writes the reject file by reading the original once more.
    pub(super) fn write(&self, out: impl Write, path: &Path, file: &File) -> Result<(), Unwritten> {
        let mut rows = Rows::open(path, file, &self.header).map_err(Unwritten::Source)?;
        let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(out);
        let kept = theirs(rows.header());
        let names: Vec<String> = kept.iter().map(|i| rows.header()[*i].clone()).collect();
        writer.write_record(OURS.iter().copied().chain(names.iter().map(String::as_str)))?;
        let mut record = Record::default();
        while rows.next(&mut record).map_err(Unwritten::Source)? {
            let Some(reject) = self.by_line.get(&record.line) else { continue };
            let line = record.line.to_string();
            let damage = record.damage.as_ref();
            let row = damage.map_or("", |damage| &damage.row);
            let ours = [line.as_str(), &reject.code, &reject.field, &reject.reason, row];
            let value = |i: usize| if damage.is_some() { "" } else { record.fields.get(i).unwrap_or("") };
            writer.write_record(ours.into_iter().chain(kept.iter().map(|i| value(*i))))?;
        }
        Ok(writer.flush().map_err(csv::Error::from)?)
    }
}

/// Why there is no reject file, or only a part of one.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// The original could not be read a second time.
    Source(String),
    /// The reject file itself.
    Target(String),
}

impl From<csv::Error> for Unwritten {
    fn from(e: csv::Error) -> Self {
        Self::Target(e.to_string())
    }
}
