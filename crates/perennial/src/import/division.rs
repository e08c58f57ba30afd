//! Division: the lines of a CSV file become rows of values, quoted as RFC 4180 has it.
//!
//! Promise: a stray quotation mark costs the row that it stands in and no other. Where a mark runs on into lines that
//! make no row with it, the first line is handed on alone with what is wrong, and reading goes on with the next one.
//! A mark inside a value that does not begin with one is a letter like any other.
//! Absent on purpose: encodings and types. Values are bytes here.

use std::io::{self, BufRead};
use std::ops::Range;

use csv::ByteRecord;

use super::read::{MOST_COLUMNS, ROW_BYTES};

const MARK: u8 = b'"';
/// Rows of fewer columns may well have a text over several lines each of which looks like a row.
const TELLING_COLUMNS: usize = 5;
/// Bytes behind us that are not worth moving the others for.
const KEPT: usize = 1 << 16;

/// A CSV file while it is divided.
pub(super) struct Division {
    reader: Box<dyn BufRead>,
    delimiter: u8,
    /// How many values a row has, once the first row is known.
    columns: Option<usize>,
    /// Whether a row over several lines may be a mistake though it has the right number of values.
    wary: bool,
    /// Whole lines: those handed on, and those that a quotation mark made us look at too early.
    text: Vec<u8>,
    /// The row that was handed on last.
    row: Range<usize>,
    /// Lines up to its end.
    lines: u64,
    divider: Divider,
}

/// A row that was just divided.
pub(super) struct Row {
    /// Its first line, from 1.
    pub(super) line: u64,
    pub(super) stray: Option<Stray>,
}

/// A quotation mark that keeps a row from being divided for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stray {
    /// The value that it stands in, from 0.
    value: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A value goes on where a mark has closed it.
    Behind,
    /// No mark closes the value, up to the end of the file.
    Open,
    /// The lines that the value would run on to make no row with it.
    Apart,
}

impl Stray {
    /// What is wrong with the row, and what would mend it.
    pub(super) fn told(self, header: &[String]) -> String {
        let value = match header.get(self.value) {
            Some(name) => format!("'{name}'"),
            None => format!("value {}", self.value + 1),
        };
        let remedy = "a mark that belongs to a quoted value is written twice (\"\")";
        match self.kind {
            Kind::Behind => format!("has text behind the quotation mark that closes {value}; {remedy}"),
            Kind::Open => format!("opens a quotation mark in {value} that is never closed; close it, or leave it out"),
            Kind::Apart => format!(
                "opens a quotation mark in {value} that this line does not close, and the next lines are no part of it; \
                 close it, or leave it out: {remedy}"
            ),
        }
    }
}

impl Division {
    pub(super) fn new(reader: Box<dyn BufRead>, delimiter: u8) -> Self {
        let divider = Divider::new(delimiter);
        Self { reader, delimiter, columns: None, wary: false, text: Vec::new(), row: 0..0, lines: 0, divider }
    }

    /// Whether what comes next begins so; for the first bytes of a file.
    pub(super) fn begins_with(&mut self, start: &[u8]) -> Result<bool, String> {
        self.reader.fill_buf().map(|bytes| bytes.starts_with(start)).map_err(|e| e.to_string())
    }

    /// Passes a line over.
    pub(super) fn skip_line(&mut self) -> Result<(), String> {
        self.first_line().map(|_| ())
    }

    /// The rest of the file, once its first row has said how many values there are. Rows of our own files, where
    /// whole rows stand in one value, are not doubted.
    pub(super) fn expect(&mut self, columns: usize, ours: bool) {
        self.columns = Some(columns);
        self.wary = !ours && columns >= TELLING_COLUMNS;
    }

    pub(super) fn divide_by(&mut self, delimiter: u8) {
        self.delimiter = delimiter;
        self.divider = Divider::new(delimiter);
    }

    /// The row that was handed on last, as it stands in the file.
    pub(super) fn row(&self) -> &[u8] {
        body(&self.text[self.row.clone()])
    }

    /// Divides the next row; none at the end of the file. Empty lines are no rows.
    pub(super) fn next(&mut self, values: &mut ByteRecord) -> Result<Option<Row>, String> {
        while self.first_line()? {
            let line = self.row();
            if line.is_empty() {
                continue;
            }
            values.clear();
            let at = self.lines;
            if !line.contains(&MARK) {
                line.split(|byte| *byte == self.delimiter).for_each(|value| values.push_field(value));
                return Ok(Some(Row { line: at, stray: None }));
            }
            let stray = self.quoted(values)?;
            if stray.is_some() {
                seemingly(self.row(), self.delimiter, values);
            }
            return Ok(Some(Row { line: at, stray }));
        }
        Ok(None)
    }

    /// Divides a row with quotation marks, of which the first line is there, and takes the further lines that belong
    /// to it.
    fn quoted(&mut self, values: &mut ByteRecord) -> Result<Option<Stray>, String> {
        let Range { start, end: first } = self.row;
        let (mut from, mut to, mut lines) = (start, first, 1);
        self.divider.reset();
        let mut kind = Kind::Behind;
        let mut value = None;
        loop {
            let divided = self.divider.line(&self.text[from..to], values);
            let value = *value.get_or_insert(values.len());
            if divided.is_err() {
                return Ok(Some(Stray { value, kind }));
            }
            if !self.divider.open() {
                break;
            }
            kind = Kind::Apart;
            if values.len() >= self.columns.unwrap_or(MOST_COLUMNS) || (to - start) as u64 > ROW_BYTES {
                return Ok(Some(Stray { value, kind }));
            }
            let Some(end) = self.end_of_line(to)? else { return Ok(Some(Stray { value, kind: Kind::Open })) };
            (from, to, lines) = (to, end, lines + 1);
        }
        if lines > 1 && self.doubtful(start..first, first..to, values.len()) {
            return Ok(Some(Stray { value: value.unwrap_or_default(), kind }));
        }
        self.row = start..to;
        self.lines += lines - 1;
        Ok(None)
    }

    /// Whether a row that is quoted as it should be has taken in rows that it should not: when it has not the right
    /// number of values but a line of it may begin a row; or when all its lines are rows by themselves.
    fn doubtful(&self, first: Range<usize>, rest: Range<usize>, values: usize) -> bool {
        let Some(columns) = self.columns else { return false };
        let mut divider = Divider::new(self.delimiter);
        let mut row = ByteRecord::new();
        let mut lines = Lines(&self.text[rest]);
        if values != columns {
            return lines.any(|line| {
                let sound = divider.alone(line, &mut row);
                sound && if divider.open() { row.len() < columns } else { row.len() == columns }
            });
        }
        seemingly(body(&self.text[first]), self.delimiter, &mut row);
        let first_alone = row.len() == columns;
        let apart = |line| divider.alone(line, &mut row) && !divider.open() && row.len() == columns;
        self.wary && first_alone && lines.all(apart)
    }

    /// Takes the next line as a row; false at the end of the file.
    fn first_line(&mut self) -> Result<bool, String> {
        let mut from = self.row.end;
        if from == self.text.len() || from > KEPT.max(self.text.len() / 2) {
            self.text.drain(..from);
            from = 0;
        }
        self.row = from..from;
        let Some(end) = self.end_of_line(from)? else { return Ok(false) };
        self.row = from..end;
        self.lines += 1;
        Ok(true)
    }

    /// Where the line ends that begins at `from`, which is read if it is not there yet; none at the end of the file.
    fn end_of_line(&mut self, from: usize) -> Result<Option<usize>, String> {
        if from < self.text.len() {
            return Ok(Lines(&self.text[from..]).next().map(|line| from + line.len()));
        }
        let more = self.read_line().map_err(|e| e.to_string())?;
        Ok(more.then_some(self.text.len()))
    }

    /// Reads a line with its end: `\n`, `\r\n`, or `\r` as old Macs write it.
    fn read_line(&mut self) -> io::Result<bool> {
        let from = self.text.len();
        loop {
            let bytes = self.reader.fill_buf()?;
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).map(|at| at + 1);
            let used = end.unwrap_or(bytes.len());
            self.text.extend_from_slice(&bytes[..used]);
            self.reader.consume(used);
            if end.is_some() || used == 0 {
                break;
            }
            if (self.text.len() - from) as u64 > ROW_BYTES {
                return Err(io::Error::other("the line is longer than 16 MB; does the file have lines?"));
            }
        }
        if self.text.len() > from && self.text.ends_with(b"\r") && self.reader.fill_buf()?.first() == Some(&b'\n') {
            self.text.push(b'\n');
            self.reader.consume(1);
        }
        Ok(self.text.len() > from)
    }
}

/// Lines with their ends.
struct Lines<'t>(&'t [u8]);

impl<'t> Iterator for Lines<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        let text = self.0;
        let end = match text.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            Some(at) if text[at..].starts_with(b"\r\n") => at + 2,
            Some(at) => at + 1,
            None => text.len(),
        };
        let (line, rest) = text.split_at(end);
        self.0 = rest;
        (!line.is_empty()).then_some(line)
    }
}

/// A line without its end.
fn body(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Text where none may stand, behind the mark that closes a value.
struct Behind;

/// Divides a row line by line.
struct Divider {
    delimiter: u8,
    stand: Stand,
    value: Vec<u8>,
}

/// Where in a value the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    Start,
    Plain,
    Quoted,
    /// Behind a mark that closes the value, or is the first half of one that belongs to it.
    Closed,
    /// In the blanks behind a closed value.
    Padded,
}

impl Divider {
    fn new(delimiter: u8) -> Self {
        Self { delimiter, stand: Stand::Start, value: Vec::new() }
    }

    fn reset(&mut self) {
        self.stand = Stand::Start;
        self.value.clear();
    }

    /// Whether the value goes on in the next line.
    fn open(&self) -> bool {
        self.stand == Stand::Quoted
    }

    /// Divides a line as if nothing stood before it; whether that goes well.
    fn alone(&mut self, line: &[u8], values: &mut ByteRecord) -> bool {
        values.clear();
        self.reset();
        self.line(line, values).is_ok()
    }

    fn line(&mut self, line: &[u8], values: &mut ByteRecord) -> Result<(), Behind> {
        let inside = body(line);
        for byte in inside {
            self.stand = match (self.stand, *byte) {
                (Stand::Start, MARK) => Stand::Quoted,
                (Stand::Quoted, MARK) => Stand::Closed,
                (Stand::Quoted, other) => self.keep(other, Stand::Quoted),
                (Stand::Closed, MARK) => self.keep(MARK, Stand::Quoted),
                (_, byte) if byte == self.delimiter => {
                    self.end_value(values);
                    Stand::Start
                }
                (Stand::Closed | Stand::Padded, blank @ (b' ' | b'\t')) => self.keep(blank, Stand::Padded),
                (Stand::Closed | Stand::Padded, _) => return Err(Behind),
                (Stand::Start | Stand::Plain, other) => self.keep(other, Stand::Plain),
            };
        }
        if self.open() {
            self.value.extend_from_slice(&line[inside.len()..]);
        } else {
            self.end_value(values);
        }
        Ok(())
    }

    fn keep(&mut self, byte: u8, stand: Stand) -> Stand {
        self.value.push(byte);
        stand
    }

    fn end_value(&mut self, values: &mut ByteRecord) {
        values.push_field(&self.value);
        self.value.clear();
    }
}

/// The values of a row as they seem to be: a mark that opens a value and does not close it belongs to the value.
pub(super) fn seemingly(row: &[u8], delimiter: u8, values: &mut ByteRecord) {
    values.clear();
    let mut rest = Some(row);
    while let Some(text) = rest {
        if let Some((value, behind)) = quoted_value(text, delimiter) {
            values.push_field(&value);
            rest = behind;
            continue;
        }
        let end = text.iter().position(|byte| *byte == delimiter).unwrap_or(text.len());
        values.push_field(&text[..end]);
        rest = text.get(end + 1..);
    }
}

/// The quoted value at the start of a text, and what stands behind its delimiter.
fn quoted_value(text: &[u8], delimiter: u8) -> Option<(Vec<u8>, Option<&[u8]>)> {
    let mut rest = text.strip_prefix(&[MARK])?;
    let mut value = Vec::new();
    loop {
        let mark = rest.iter().position(|byte| *byte == MARK)?;
        value.extend_from_slice(&rest[..mark]);
        rest = &rest[mark + 1..];
        let Some(behind) = rest.strip_prefix(&[MARK]) else { break };
        value.push(MARK);
        rest = behind;
    }
    let blanks = rest.iter().take_while(|byte| **byte != delimiter && matches!(**byte, b' ' | b'\t')).count();
    value.extend_from_slice(&rest[..blanks]);
    match &rest[blanks..] {
        [] => Some((value, None)),
        [first, behind @ ..] if *first == delimiter => Some((value, Some(behind))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rows of a text, with their lines, and those that a stray mark is in as they seem to be.
    fn rows(text: &str, delimiter: u8, columns: usize) -> Vec<(u64, bool, Vec<String>)> {
        let mut division = Division::new(Box::new(io::Cursor::new(text.to_owned())), delimiter);
        division.expect(columns, false);
        let mut values = ByteRecord::new();
        let mut found = Vec::new();
        while let Some(row) = division.next(&mut values).unwrap() {
            let texts = values.iter().map(|value| String::from_utf8(value.to_vec()).unwrap()).collect();
            found.push((row.line, row.stray.is_some(), texts));
        }
        found
    }

    #[test]
    fn a_mark_is_a_letter_or_a_fault_but_never_the_end_of_other_rows() {
        let check = |text: &str, expected: &[(u64, bool, &[&str])]| {
            let found = rows(text, b',', 2);
            let found: Vec<(u64, bool, Vec<&str>)> =
                found.iter().map(|(at, stray, row)| (*at, *stray, row.iter().map(String::as_str).collect())).collect();
            let expected: Vec<_> = expected.iter().map(|(at, stray, row)| (*at, *stray, row.to_vec())).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("15\" a,b\r\n\r\n\"c\"\"\",\"\"\n", &[(1, false, &["15\" a", "b"]), (3, false, &["c\"", ""])]);
        check("\"a\r\nb\",c\rd,e", &[(1, false, &["a\r\nb", "c"]), (3, false, &["d", "e"])]);
        check("\"a\" b,c\nd,e", &[(1, true, &["\"a\" b", "c"]), (2, false, &["d", "e"])]);
        check("a,\"b\nd,\"e\"", &[(1, true, &["a", "\"b"]), (2, false, &["d", "e"])]);
        check("a,\"b\nd,e\n", &[(1, true, &["a", "\"b"]), (2, false, &["d", "e"])]);
        check("a,\"b\nc\",d\n", &[(1, true, &["a", "\"b"]), (2, false, &["c\"", "d"])]);
        check("a,\"b\nc\",d,e\n", &[(1, false, &["a", "b\nc", "d", "e"])]);
    }

    proptest! {
        #[test]
        fn what_was_quoted_as_it_should_be_is_read_as_it_was(
            table in proptest::collection::vec(proptest::collection::vec("[a\",;\t\r\n ]{0,6}", 3), 1..12),
            delimiter in prop_oneof![Just(b','), Just(b';'), Just(b'\t')],
        ) {
            let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
            table.iter().for_each(|row| writer.write_record(row).unwrap());
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let read: Vec<Vec<String>> = rows(&text, delimiter, 3).into_iter().map(|(_, _, row)| row).collect();
            prop_assert_eq!(read, table);
        }

        #[test]
        fn whatever_stands_in_a_file_each_of_its_lines_is_read_once(text in "[a\",\n\r]{0,60}") {
            let mut division = Division::new(Box::new(io::Cursor::new(text.clone())), b',');
            division.expect(5, false);
            let mut values = ByteRecord::new();
            let mut lines = 0;
            while let Some(row) = division.next(&mut values).unwrap() {
                prop_assert!(row.line > lines);
                lines = row.line + Lines(division.row()).count() as u64 - 1;
            }
            prop_assert!(lines <= Lines(text.as_bytes()).count() as u64);
        }
    }
}
