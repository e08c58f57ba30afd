//! The input of record linkage: columns of optional texts, each distinct value kept once.
//!
//! Promise: a value is normalised when it comes in (case, accents, blanks, placeholders), and its
//! code depends only on the order of rows. Ten million cells with few distinct values take four
//! bytes each.
//! Absent on purpose: files. A caller reads rows from wherever they are.

use std::sync::Arc;

use super::LinkError;

/// The code of a missing value.
pub(super) const MISSING: u32 = 0;

/// What people type where there is nothing to say.
const PLACEHOLDERS: [&str; 9] = ["n/a", "nan", "null", "none", "nil", "-", "--", "?", "#n/a"];

/// Rows of optional texts under named columns.
#[derive(Debug, Clone)]
pub struct Table {
    names: Vec<String>,
    columns: Vec<Column>,
    rows: usize,
    /// The row that is coming in.
    cells: Vec<Cell>,
}

/// A value on its way in.
#[derive(Debug, Clone, Default)]
struct Cell {
    text: String,
    hash: u32,
    near: u64,
}

/// One column: a code per row into a dictionary of distinct values.
#[derive(Debug, Clone, Default)]
pub(super) struct Column {
    pub(super) codes: Vec<u32>,
    pub(super) values: Arc<Dictionary>,
}

/// Distinct texts with dense codes; code 0 is the missing value.
#[derive(Debug, Clone)]
pub(super) struct Dictionary {
    text: String,
    ends: Vec<u32>,
    hashes: Vec<u32>,
    /// Hash in the high half, code in the low half; 0 is free.
    slots: Vec<u64>,
}

impl Table {
    /// An empty table with these columns.
    ///
    /// # Errors
    /// No columns, or two columns of one name.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Result<Self, LinkError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        if names.is_empty() {
            return Err(LinkError::NoColumns);
        }
        if let Some(at) = (1..names.len()).find(|&i| names[..i].contains(&names[i])) {
            return Err(LinkError::RepeatedColumn { column: names[at].clone() });
        }
        let columns = names.iter().map(|_| Column::default()).collect();
        let cells = vec![Cell::default(); names.len()];
        Ok(Self { names, columns, rows: 0, cells })
    }

    /// Adds one row, one value per column; blank texts and placeholders count as missing.
    ///
    /// # Errors
    /// As many values as columns are needed, and a column holds at most 4 GB of distinct text.
    pub fn push<'a>(&mut self, values: impl IntoIterator<Item = Option<&'a str>>) -> Result<(), LinkError> {
        let mut given = 0;
        for value in values {
            if let Some(cell) = self.cells.get_mut(given) {
                normalise(value.unwrap_or(""), &mut cell.text);
                cell.hash = hash32(&cell.text);
            }
            given += 1;
        }
        if given != self.names.len() {
            return Err(LinkError::WrongWidth { row: self.rows, given, expected: self.names.len() });
        }
        self.fetch();
        for (at, (column, cell)) in self.columns.iter_mut().zip(&self.cells).enumerate() {
            if column.push_hashed(&cell.text, cell.hash).is_none() {
                self.columns.iter_mut().for_each(|column| column.codes.truncate(self.rows));
                return Err(LinkError::TooMuchText { column: self.names[at].clone() });
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Touches what the cells of a row will need, so that waits for memory overlap.
    fn fetch(&mut self) {
        let cells = self.columns.iter().zip(&mut self.cells);
        cells.for_each(|(column, cell)| cell.near = column.values.first_slot(cell.hash));
        let pairs = self.columns.iter().zip(&self.cells);
        std::hint::black_box(pairs.fold(0, |near, (column, cell)| near ^ column.values.touch(cell.near)));
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Names of the columns, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The normalised value of a cell; `None` where it is missing or outside the table.
    pub fn value(&self, row: usize, column: usize) -> Option<&str> {
        let column = self.columns.get(column)?;
        let code = *column.codes.get(row)?;
        (code != MISSING).then(|| column.values.get(code))
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }
}

impl Column {
    /// Appends a normalised value; `None` when the dictionary is full.
    #[cfg(test)]
    pub(super) fn push(&mut self, text: &str) -> Option<()> {
        self.push_hashed(text, hash32(text))
    }

    /// Appends a normalised value whose hash is known.
    fn push_hashed(&mut self, text: &str, hash: u32) -> Option<()> {
        let code = if text.is_empty() { MISSING } else { Arc::make_mut(&mut self.values).intern_hashed(text, hash)? };
        self.codes.push(code);
        Some(())
    }

    /// How often each code occurs; index 0 counts the missing.
    pub(super) fn counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.values.len()];
        for &code in &self.codes {
            counts[code as usize] += 1;
        }
        counts
    }
}

impl Default for Dictionary {
    fn default() -> Self {
        Self { text: String::new(), ends: vec![0], hashes: vec![0], slots: vec![0; 16] }
    }
}

impl Dictionary {
    /// Number of codes, the missing value included.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The text of a code; empty for the missing value.
    pub(super) fn get(&self, code: u32) -> &str {
        let code = code as usize;
        let start = if code == 0 { 0 } else { self.ends[code - 1] as usize };
        &self.text[start..self.ends[code] as usize]
    }

    /// The hash of a code's text, equal to [`hash32`] of it.
    pub(super) fn hash(&self, code: u32) -> u32 {
        self.hashes[code as usize]
    }

    /// The code of a text, new or known; `None` when 4 GB of text are reached.
    pub(super) fn intern(&mut self, text: &str) -> Option<u32> {
        self.intern_hashed(text, hash32(text))
    }

    /// [`Self::intern`] of a text whose hash is known.
    fn intern_hashed(&mut self, text: &str, hash: u32) -> Option<u32> {
        let slot = self.slot(text, hash);
        if self.slots[slot] != 0 {
            return Some(low_half(self.slots[slot]));
        }
        let end = u32::try_from(self.text.len() + text.len()).ok()?;
        let code = u32::try_from(self.ends.len()).ok()?;
        self.text.push_str(text);
        self.ends.push(end);
        self.hashes.push(hash);
        self.slots[slot] = u64::from(hash) << 32 | u64::from(code);
        if self.ends.len() * 2 > self.slots.len() {
            self.grow();
        }
        Some(code)
    }

    /// The code of a known text.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        let entry = self.slots[self.slot(text, hash32(text))];
        (entry != 0).then_some(low_half(entry))
    }

    /// Where a code's text starts and ends among the bytes.
    pub(super) fn span(&self, code: u32) -> (u32, u32) {
        let code = code as usize;
        (self.ends[code.max(1) - 1], self.ends[code])
    }

    /// The text of a span, and its first byte for bringing it close before it is needed.
    pub(super) fn text(&self, (start, end): (u32, u32)) -> &str {
        &self.text[start as usize..end as usize]
    }

    /// The first byte of a span.
    pub(super) fn first_byte(&self, (start, _): (u32, u32)) -> u8 {
        self.text.as_bytes()[start as usize]
    }

    /// The entry where the search for a hash starts.
    fn first_slot(&self, hash: u32) -> u64 {
        self.slots[hash as usize & (self.slots.len() - 1)]
    }

    /// Brings an entry's text close: the first byte of it.
    fn touch(&self, entry: u64) -> u8 {
        let (start, _) = self.span(low_half(entry));
        self.text.as_bytes().get(start as usize).copied().unwrap_or(0)
    }

    /// The slot that holds the text, or the free one where it belongs.
    fn slot(&self, text: &str, hash: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let entry = self.slots[slot];
            if entry == 0 || (entry >> 32 == u64::from(hash) && self.get(low_half(entry)) == text) {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        let mut slots = vec![0; mask + 1];
        for (code, &hash) in (0u64..).zip(&self.hashes).skip(1) {
            let mut slot = hash as usize & mask;
            while slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = u64::from(hash) << 32 | code;
        }
        self.slots = slots;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn low_half(entry: u64) -> u32 {
    entry as u32
}

/// Lower case, common Latin accents taken off, single blanks, placeholders empty.
pub(super) fn normalise(raw: &str, out: &mut String) {
    out.clear();
    for letter in raw.chars() {
        if letter.is_ascii() {
            push_plain(letter, out);
        } else {
            letter.to_lowercase().for_each(|lower| fold(lower, out));
        }
    }
    if out.ends_with(' ') {
        out.pop();
    }
    if PLACEHOLDERS.contains(&out.as_str()) {
        out.clear();
    }
}

fn push_plain(letter: char, out: &mut String) {
    if letter.is_ascii_whitespace() {
        if !out.is_empty() && !out.ends_with(' ') {
            out.push(' ');
        }
    } else {
        out.push(letter.to_ascii_lowercase());
    }
}

/// The plain form of a lower-case Latin letter with an accent; other letters stay.
fn fold(letter: char, out: &mut String) {
    let plain = match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è'..='ë' | 'ē' | 'ę' | 'ě' => "e",
        'ğ' => "g",
        'ì'..='ï' | 'ī' | 'ı' => "i",
        'ł' => "l",
        'ñ' | 'ń' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => "o",
        'œ' => "oe",
        'ř' => "r",
        'ś' | 'š' | 'ş' | 'ș' => "s",
        'ß' => "ss",
        'ť' | 'ț' | 'ţ' => "t",
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ž' | 'ż' => "z",
        '\u{2019}' | '\u{2018}' => "'",
        '\u{300}'..='\u{36f}' => "",
        blank if blank.is_whitespace() => return push_plain(' ', out),
        other => return out.push(other),
    };
    out.push_str(plain);
}

/// A well mixed hash of a text that is the same on every machine; never 0.
pub(super) fn hash32(text: &str) -> u32 {
    let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ text.len() as u64;
    let mut chunks = text.as_bytes().chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3], chunk[4], chunk[5], chunk[6], chunk[7]]);
        state = mix(state ^ word);
    }
    let rest = chunks.remainder().iter().fold(0u64, |word, &byte| word << 8 | u64::from(byte));
    top_bits(mix(state ^ rest))
}

/// Joins two hashes, order mattering; never 0.
pub(super) fn join32(left: u32, right: u32) -> u32 {
    top_bits(mix(u64::from(left) << 32 | u64::from(right)))
}

/// Folds the 128-bit product with an odd constant.
fn mix(word: u64) -> u64 {
    let product = u128::from(word ^ 0xa076_1d64_78bd_642f) * 0xe703_7ed1_a0b4_28db;
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are wanted")]
    let folded = (product as u64) ^ ((product >> 64) as u64);
    folded
}

#[expect(clippy::cast_possible_truncation, reason = "the high half fits")]
fn top_bits(word: u64) -> u32 {
    ((word >> 32) as u32 ^ word as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(raw: &str) -> String {
        let mut out = String::new();
        normalise(raw, &mut out);
        out
    }

    #[test]
    fn case_accents_blanks_and_placeholders_do_not_tell_values_apart() {
        assert_eq!(normal("  José   GARCÍA "), "jose garcia");
        assert_eq!(normal("Straße"), "strasse");
        assert_eq!(normal("O\u{2019}Neil"), "o'neil");
        assert_eq!(normal(" N/A "), "");
        assert_eq!(normal("Иван"), "иван");
    }

    #[test]
    fn equal_values_share_a_code_and_missing_is_zero() {
        let mut table = Table::new(["name"]).unwrap();
        for value in [Some("Ana"), None, Some(" ana"), Some("Bo")] {
            table.push([value]).unwrap();
        }
        assert_eq!(table.columns()[0].codes, [1, 0, 1, 2]);
        assert_eq!(table.value(2, 0), Some("ana"));
        assert_eq!(table.value(1, 0), None);
        assert_eq!(table.value(9, 0), None);
    }

    #[test]
    fn a_row_of_wrong_width_is_refused_whole() {
        let mut table = Table::new(["a", "b"]).unwrap();
        assert!(matches!(table.push([Some("x")]), Err(LinkError::WrongWidth { given: 1, expected: 2, .. })));
        assert!(table.push([Some("x"), None, None]).is_err());
        table.push([Some("x"), Some("y")]).unwrap();
        assert_eq!((table.rows(), table.value(0, 1)), (1, Some("y")));
        assert!(Table::new(["a", "a"]).is_err());
    }

    #[test]
    fn a_thousand_values_are_found_again() {
        let mut dictionary = Dictionary::default();
        let codes: Vec<u32> = (0..1000).map(|i| dictionary.intern(&format!("value {i}")).unwrap()).collect();
        assert!((0..1000).all(|i| dictionary.find(&format!("value {i}")) == Some(codes[i])));
        assert_eq!(dictionary.find("absent"), None);
        assert_eq!(dictionary.get(codes[7]), "value 7");
    }
}
