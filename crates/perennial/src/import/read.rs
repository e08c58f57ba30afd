//! Reading: CSV, JSON lines and Parquet become rows of texts, gzip or not.
//!
//! Promise: one row in memory at a time, or as much as an open quotation mark has us look at; no row larger than
//! [`ROW_BYTES`]; a damaged row is handed on whole with what is wrong with it, a damaged file ends with an error that
//! names the line.
//! Absent on purpose: types. What a text means is its column's business, so that numbers keep all their digits.

use std::cmp::Ordering;
use std::fs::File as OsFile;
use std::io::{self, BufRead, BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use csv::{ByteRecord, StringRecord};
use flate2::bufread::MultiGzDecoder;
use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

use super::division::Division;
use super::emit::hex;
use super::keys::Keys;
use super::mapping::{Encoding, File, Format};
use super::rejects::{LINE, Layout, theirs};
use super::wide::Wide;

/// The largest row.
pub(super) const ROW_BYTES: u64 = 16 << 20;
/// The largest Parquet file inside gzip: it needs seeking, so it is unpacked in memory.
const PACKED_PARQUET_BYTES: u64 = 1 << 30;
/// Columns a file may have.
pub(super) const MOST_COLUMNS: usize = 2_000;

/// One row: texts in the order of the header.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Line of a text file, row of a Parquet file, from 1.
    pub(super) line: u64,
    /// Of a damaged row, where they seem to be.
    pub(super) fields: StringRecord,
    /// Of a JSON line with very many keys, those that have no column, and what they hold.
    pub(super) rest: String,
    /// What is wrong with the row as a whole.
    pub(super) damage: Option<Damage>,
}

/// A row that cannot be divided into its columns, or not for certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) reason: String,
    /// The row as it stands in the file.
    pub(super) row: String,
}

/// The rows of one file.
pub(super) struct Rows {
    header: Vec<String>,
    source: Kind,
    meter: Arc<Meter>,
    line: u64,
}

enum Kind {
    Csv {
        division: Box<Division>,
        spare: ByteRecord,
        encoding: Encoding,
        /// Where our own columns are, in a reject file.
        layout: Option<Box<Layout>>,
    },
    Lines {
        reader: Box<dyn BufRead>,
        buffer: Vec<u8>,
        keys: Keys,
    },
    Parquet {
        rows: RowIter<'static>,
        total: u64,
        columns: Vec<Column>,
    },
}

/// How the values of a Parquet column become texts.
#[derive(Debug, Clone, Copy, Default)]
struct Column {
    /// Bytes that are no text are a fault where somebody asks for them.
    wanted: bool,
    /// Its times are those of a place that the file does not name.
    local: bool,
    /// Steps in a millisecond, where the file only says by its logical type that whole numbers are times.
    per_millisecond: Option<i64>,
    uuid: bool,
}

impl Column {
    fn of(field: &Type, file: &File) -> Result<Self, String> {
        let ask = Ask::of(file, field.name());
        if let (Ask::Value | Ask::Name, Some(kind)) = (ask, nested(field)) {
            return Err(holds(field.name(), kind));
        }
        let wanted = file.columns.is_empty() || ask != Ask::Nothing;
        let physical = field.is_primitive().then(|| field.get_physical_type());
        if ask == Ask::Name && physical == Some(Physical::BOOLEAN) {
            return Err(names_nothing(field.name(), "true or false"));
        }
        // The twelve-byte time that Hive and Impala wrote is local.
        let column = Self { wanted, local: physical == Some(Physical::INT96), ..Self::default() };
        Ok(match field.get_basic_info().logical_type_ref() {
            Some(LogicalType::Timestamp(time)) => {
                let per_millisecond = match time.unit {
                    TimeUnit::MILLIS => 1,
                    TimeUnit::MICROS => 1_000,
                    TimeUnit::NANOS => 1_000_000,
                };
                Self { local: !time.is_adjusted_to_u_t_c, per_millisecond: Some(per_millisecond), ..column }
            }
            Some(LogicalType::Uuid) => Self { uuid: true, ..column },
            _ => column,
        })
    }
}

/// What the mapping asks of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Nothing,
    Value,
    /// The name of a customer, an order or a product.
    Name,
}

impl Ask {
    pub(super) fn of(file: &File, name: &str) -> Self {
        match file.columns.iter().position(|column| *column.name == *name) {
            Some(column) if file.names.contains(&column) => Self::Name,
            Some(_) => Self::Value,
            None => Self::Nothing,
        }
    }
}

/// Many values in one, if a column holds such.
fn nested(field: &Type) -> Option<&'static str> {
    let about = field.get_basic_info();
    let repeated = about.has_repetition() && about.repetition() == Repetition::REPEATED;
    let list = repeated || matches!(about.converted_type(), ConvertedType::LIST);
    match (field.is_primitive(), list) {
        (_, true) => Some("lists"),
        (false, false) => Some("maps"),
        (true, false) => None,
    }
}

pub(super) fn holds(column: &str, what: &str) -> String {
    format!(
        "column '{column}' holds {what} where one value is needed; write what you need of it into columns of its own"
    )
}

pub(super) fn names_nothing(column: &str, what: &str) -> String {
    format!("column '{column}' holds {what}, which names nobody and nothing; is another column meant?")
}

/// How many bytes of the file have been read.
type Meter = AtomicU64;

impl Rows {
    /// Opens a file. `names` are those that a format without a header begins with; others follow as they are met.
    pub(super) fn open(path: &Path, file: &File, names: &[String]) -> Result<Self, String> {
        let meter = Arc::<Meter>::default();
        match format(path, file.format) {
            Some(Format::Parquet) => Self::parquet(path, file, meter),
            Some(Format::JsonLines) => Ok(Self::lines(text(path, &meter)?, file, names, meter)),
            Some(Format::Csv) => Self::csv(text(path, &meter)?, file, meter),
            None => Err("its name ends in none of .csv .tsv .txt .jsonl .ndjson .parquet; add 'format:'".into()),
        }
    }

    /// Whether its rows are told by the names of their values, and not by the order that these stand in.
    pub(super) fn by_name(&self) -> bool {
        match &self.source {
            Kind::Csv { layout, .. } => layout.as_ref().is_some_and(|layout| layout.by_name()),
            Kind::Lines { .. } => true,
            Kind::Parquet { .. } => false,
        }
    }

    /// Names that the file began with and that no row had, if there was any row.
    pub(super) fn absent(&self) -> Vec<&str> {
        let Kind::Lines { keys, .. } = &self.source else { return Vec::new() };
        keys.absent(&self.header)
    }

    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// Bytes of the file read so far (rows of a Parquet file).
    pub(super) fn position(&self) -> u64 {
        match self.source {
            Kind::Parquet { .. } => self.line,
            _ => self.meter.load(Relaxed),
        }
    }

    /// What [`Self::position`] runs up to.
    pub(super) fn length(&self, path: &Path) -> u64 {
        match self.source {
            Kind::Parquet { total, .. } => total,
            _ => path.metadata().map_or(0, |m| m.len()),
        }
    }

    /// Reads the next row; false at the end.
    pub(super) fn next(&mut self, record: &mut Record) -> Result<bool, String> {
        record.damage = None;
        match &mut self.source {
            Kind::Csv { division, spare, encoding, layout } => {
                let found = division.next(spare).map_err(|e| format!("line {}: {e}", self.line + 1))?;
                let Some(row) = found else { return Ok(false) };
                self.line = row.line;
                record.line = row.line;
                let unreadable = decode(spare, *encoding, record);
                let stray = row.stray.map(|stray| stray.told(&self.header));
                let damage = stray.or(unreadable).or_else(|| widths(record, self.header.len()));
                record.damage = match (damage, layout) {
                    (Some(reason), _) => Some(Damage { reason, row: shown(division.row(), *encoding) }),
                    (None, Some(layout)) => layout.damage(&mut record.fields),
                    (None, None) => None,
                };
                Ok(true)
            }
            Kind::Lines { reader, buffer, keys } => {
                let more = next_line(reader, buffer, &mut self.line)?;
                record.line = self.line;
                if more {
                    let damaged = keys.divide(buffer, &mut self.header, record).err();
                    record.damage = damaged.map(|reason| Damage { reason, row: whole(buffer) });
                }
                Ok(more)
            }
            Kind::Parquet { rows, columns, .. } => {
                self.line += 1;
                record.line = self.line;
                next_parquet(rows, columns, &self.header, record).map_err(|e| format!("row {}: {e}", self.line))
            }
        }
    }

    fn csv(reader: Box<dyn BufRead>, file: &File, meter: Arc<Meter>) -> Result<Self, String> {
        let mut division = Division::new(reader, file.delimiter);
        // Excel reads and writes a line of its own that says what stands between values.
        if division.begins_with(b"sep=")? {
            division.skip_line()?;
        }
        // Our own reject files are plain CSV, whatever the file they came from was.
        let ours = division.begins_with(LINE.as_bytes())?;
        let encoding = if ours { Encoding::Utf8 } else { file.encoding };
        if ours {
            division.divide_by(b',');
        }
        let mut spare = ByteRecord::new();
        let Some(first) = division.next(&mut spare).map_err(|e| format!("line 1: {e}"))? else {
            return Err("is empty; the first row must name the columns".into());
        };
        let mut names = Record::default();
        let _ = decode(&mut spare, encoding, &mut names); // A name that the mapping does not know is told by it.
        let header: Vec<String> = names.fields.iter().map(|name| name.trim().to_owned()).collect();
        let theirs = if ours { theirs(&header).len() } else { header.len() };
        if theirs > MOST_COLUMNS {
            return Err(format!("has {theirs} columns, more than {MOST_COLUMNS}"));
        }
        division.expect(header.len(), ours);
        let layout = ours.then(|| Box::new(Layout::of(&header, file)));
        let source = Kind::Csv { division: Box::new(division), spare, encoding, layout };
        Ok(Self { header, source, meter, line: first.line })
    }

    fn lines(reader: Box<dyn BufRead>, file: &File, names: &[String], meter: Arc<Meter>) -> Self {
        let source = Kind::Lines { reader, buffer: Vec::new(), keys: Keys::of(names, file) };
        Self { header: names.to_vec(), source, meter, line: 0 }
    }

    fn parquet(path: &Path, about: &File, meter: Arc<Meter>) -> Result<Self, String> {
        let packed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
        let file = OsFile::open(path).map_err(|e| e.to_string())?;
        let reader: Box<dyn FileReader> = if packed {
            let mut bytes = Vec::new();
            let unpacked = MultiGzDecoder::new(BufReader::new(file));
            unpacked.take(PACKED_PARQUET_BYTES + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
            if bytes.len() as u64 > PACKED_PARQUET_BYTES {
                return Err("is larger than 1 GiB unpacked; unpack it before the import".into());
            }
            contained(|| Ok(Box::new(SerializedFileReader::new(bytes::Bytes::from(bytes))?)))?
        } else {
            contained(|| Ok(Box::new(SerializedFileReader::new(file)?)))?
        };
        check_packing(reader.metadata())?;
        let told = reader.metadata().file_metadata();
        let total = u64::try_from(told.num_rows()).unwrap_or(0);
        let fields = told.schema().get_fields();
        let header = fields.iter().map(|field| field.name().to_owned()).collect();
        let columns = fields.iter().map(|field| Column::of(field, about)).collect::<Result<_, _>>()?;
        let rows = RowIter::from_file_into(reader);
        Ok(Self { header, source: Kind::Parquet { rows, total, columns }, meter, line: 0 })
    }
}

/// What a file is: what the mapping says, or else what the name ends in. Our own reject files are CSV, whatever the
/// file was that they came from.
fn format(path: &Path, declared: Option<Format>) -> Option<Format> {
    let format = declared.or_else(|| by_ending(path));
    let start = |mut reader: Box<dyn BufRead>| reader.fill_buf().is_ok_and(|start| start.starts_with(LINE.as_bytes()));
    let ours = format != Some(Format::Csv) && text(path, &Arc::default()).is_ok_and(start);
    if ours { Some(Format::Csv) } else { format }
}

/// What a name says of the file.
pub(super) fn by_ending(path: &Path) -> Option<Format> {
    let packed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
    let inner = if packed { path.with_extension("") } else { path.to_owned() };
    match &*inner.extension()?.to_str()?.to_ascii_lowercase() {
        "csv" | "tsv" | "txt" => Some(Format::Csv),
        "jsonl" | "ndjson" => Some(Format::JsonLines),
        "parquet" => Some(Format::Parquet),
        _ => None,
    }
}

/// Told before a row is read: a file that is packed in a way we lack is whole all the same.
fn check_packing(file: &ParquetMetaData) -> Result<(), String> {
    for column in file.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        match column.compression() {
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) | Compression::ZSTD(_) => {}
            other => {
                // Levels are the writer's business.
                let codec = other.to_string().split('(').next().unwrap_or_default().to_owned();
                return Err(format!(
                    "column '{}' is packed with {codec}, which is not built in; \
                     write the file with snappy, gzip, zstd or no compression",
                    column.column_path().string()
                ));
            }
        }
    }
    Ok(())
}

/// The parquet crate is made for files of friends and asserts on others; a panic is an error here.
fn contained<T>(read: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|e| format!("not a Parquet file we can read; is it whole? ({e})")),
        Err(_) => Err("not a Parquet file we can read; is it whole? (it contradicts itself)".into()),
    }
}

/// Opens a text file, unpacked when its first bytes say gzip.
fn text(path: &Path, meter: &Arc<Meter>) -> Result<Box<dyn BufRead>, String> {
    let file = OsFile::open(path).map_err(|e| e.to_string())?;
    let mut plain = BufReader::with_capacity(1 << 16, Metered { inner: file, meter: Arc::clone(meter) });
    let packed = plain.fill_buf().map_err(|e| e.to_string())?.starts_with(b"\x1f\x8b");
    let unpacked: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(plain)) } else { Box::new(plain) };
    let mut reader: Box<dyn BufRead> = Box::new(BufReader::with_capacity(1 << 16, unpacked));
    let start = reader.fill_buf().map_err(|e| e.to_string())?;
    if let Some(unit) = Wide::unit(start) {
        reader.consume(2);
        return Ok(Box::new(BufReader::with_capacity(1 << 16, Wide::new(reader, unit))));
    }
    if start.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    Ok(reader)
}

struct Metered<R> {
    inner: R,
    meter: Arc<Meter>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.meter.fetch_add(n as u64, Relaxed);
        Ok(n)
    }
}

/// The fields of a row as texts, and what is wrong with them.
fn decode(spare: &mut ByteRecord, encoding: Encoding, record: &mut Record) -> Option<String> {
    let bytes = std::mem::take(spare);
    let mut damage = None;
    let texts = match encoding {
        Encoding::Windows1252 => {
            record.fields.clear();
            bytes.iter().for_each(|field| record.fields.push_field(&windows_1252(field)));
            *spare = bytes;
            return None;
        }
        Encoding::Utf8 => StringRecord::from_byte_record(bytes).unwrap_or_else(|e| {
            damage = Some("is not UTF-8; save it as UTF-8, or say 'encoding: windows_1252'".into());
            e.into_byte_record().iter().map(readable).collect()
        }),
    };
    *spare = std::mem::replace(&mut record.fields, texts).into_byte_record();
    damage
}

/// Bytes as somebody may read them who mends a row: what is no UTF-8 is most often Windows-1252. No byte is lost.
fn readable(bytes: &[u8]) -> String {
    bytes.utf8_chunks().flat_map(|chunk| [chunk.valid().to_owned(), windows_1252(chunk.invalid())]).collect()
}

/// Values as a line of CSV.
fn joined(fields: &StringRecord) -> String {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    // Nothing fails that is written into memory.
    let line = writer.write_record(fields).ok().and_then(|()| writer.into_inner().ok()).unwrap_or_default();
    String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned()
}

/// What the bytes 0x80 to 0x9f mean in Windows-1252; five of them mean nothing.
const UPPER: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

fn windows_1252(bytes: &[u8]) -> String {
    let one = |b: &u8| if (0x80..0xa0).contains(b) { UPPER[usize::from(b - 0x80)] } else { char::from(*b) };
    bytes.iter().map(one).collect()
}

fn widths(record: &Record, columns: usize) -> Option<String> {
    let n = record.fields.len();
    let remedy = match n.cmp(&columns) {
        Ordering::Equal => return None,
        Ordering::Greater => "quote values with delimiters",
        Ordering::Less => "is one missing, or a quotation mark open?",
    };
    Some(format!("has {n} values where the first row names {columns} columns; {remedy}"))
}

/// Reads a line that is not empty; false at the end.
fn next_line(reader: &mut dyn BufRead, buffer: &mut Vec<u8>, line: &mut u64) -> Result<bool, String> {
    loop {
        buffer.clear();
        let read =
            reader.take(ROW_BYTES + 1).read_until(b'\n', buffer).map_err(|e| format!("line {}: {e}", *line + 1))?;
        if read == 0 {
            return Ok(false);
        }
        *line += 1;
        if read as u64 > ROW_BYTES {
            return Err(format!("line {line}: is longer than 16 MB"));
        }
        if !buffer.iter().all(u8::is_ascii_whitespace) {
            return Ok(true);
        }
    }
}

/// A row as it stands in a file of that encoding.
fn shown(row: &[u8], encoding: Encoding) -> String {
    match encoding {
        Encoding::Windows1252 => windows_1252(row),
        Encoding::Utf8 => readable(row),
    }
}

/// A line as it stands in the file.
fn whole(line: &[u8]) -> String {
    readable(line).trim_end_matches(['\r', '\n']).to_owned()
}

fn next_parquet(
    rows: &mut RowIter<'static>,
    columns: &[Column],
    header: &[String],
    record: &mut Record,
) -> Result<bool, String> {
    let Some(row) = contained(|| rows.next().transpose())? else { return Ok(false) };
    record.fields.clear();
    let mut bytes_in = None;
    for (i, (_, field)) in row.get_column_iter().enumerate() {
        let Column { wanted, local, per_millisecond, uuid } = columns.get(i).copied().unwrap_or_default();
        match field {
            Field::Null => record.fields.push_field(""),
            Field::Str(text) => record.fields.push_field(text),
            Field::Bytes(bytes) => match <[u8; 16]>::try_from(bytes.data()) {
                Ok(id) if uuid => record.fields.push_field(&hyphenated(id)),
                _ => {
                    // Hive, Impala and older Spark write all texts so, and do not say that they are any.
                    record.fields.push_field(&readable(bytes.data()));
                    if wanted && str::from_utf8(bytes.data()).is_err() {
                        bytes_in = bytes_in.or(header.get(i));
                    }
                }
            },
            Field::TimestampMillis(ms) => record.fields.push_field(&instant(*ms, local)),
            Field::TimestampMicros(us) => record.fields.push_field(&instant(us.div_euclid(1_000), local)),
            Field::Long(steps) if per_millisecond.is_some() => {
                record.fields.push_field(&instant(steps.div_euclid(per_millisecond.unwrap_or(1)), local));
            }
            Field::Date(days) => {
                let midnight = instant(i64::from(*days) * 86_400_000, true);
                record.fields.push_field(midnight.split('T').next().unwrap_or(""));
            }
            Field::Double(n) => record.fields.push_field(&n.to_string()),
            Field::Float(n) => record.fields.push_field(&n.to_string()),
            other => record.fields.push_field(&contained(|| Ok(other.to_string()))?),
        }
    }
    record.damage = bytes_in.map(|name| Damage {
        reason: format!("column '{name}' holds bytes that are no UTF-8 text; write it as text"),
        row: joined(&record.fields),
    });
    Ok(true)
}

/// A UUID as people write it.
fn hyphenated(uuid: [u8; 16]) -> String {
    let text = hex(uuid);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

fn instant(ms: i64, local: bool) -> String {
    let Ok(at) = jiff::Timestamp::from_millisecond(ms) else { return format!("{ms} ms") };
    let text = at.to_string();
    if local { text.trim_end_matches('Z').to_owned() } else { text }
}
