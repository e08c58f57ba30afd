//! Rejects: rows that did not come in, with line, field and reason, in a file that can be mended
//! and fed again.
//!
//! The file keeps the original columns behind four of its own, which an import ignores. Only the
//! reasons are held in memory; the rows are read a second time when the file is written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use super::cleanse::Bad;
use super::mapping::File;
use super::read::{Record, Rows};

/// The first of our own columns; a CSV file that begins with it is a reject file.
pub(super) const LINE: &str = "reject_line";
const OURS: [&str; 4] = [LINE, "reject_code", "reject_field", "reject_reason"];

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

    /// Writes the reject file by reading the original once more.
    pub(super) fn write(&self, out: impl Write, path: &Path, file: &File, wanted: &[String]) -> Result<(), String> {
        let mut rows = Rows::open(path, file, wanted)?;
        let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(out);
        let kept: Vec<usize> =
            (0..rows.header().len()).filter(|i| !OURS.contains(&rows.header()[*i].as_str())).collect();
        let names: Vec<String> = kept.iter().map(|i| rows.header()[*i].clone()).collect();
        let failed = |e: csv::Error| e.to_string();
        writer.write_record(OURS.iter().copied().chain(names.iter().map(String::as_str))).map_err(failed)?;
        let mut record = Record::default();
        while rows.next(&mut record)? {
            let Some(reject) = self.by_line.get(&record.line) else { continue };
            let line = record.line.to_string();
            let ours = [line.as_str(), &reject.code, &reject.field, &reject.reason];
            let theirs = kept.iter().map(|i| record.fields.get(*i).unwrap_or(""));
            writer.write_record(ours.into_iter().chain(theirs)).map_err(failed)?;
        }
        writer.flush().map_err(|e| e.to_string())
    }
}
