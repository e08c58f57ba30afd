//! UTF-16 as UTF-8: what spreadsheets call "Unicode text".
//!
//! Promise: units that make no character become the replacement character, an odd last byte is
//! dropped. Absent on purpose: guessing; only a byte-order mark says that a text is wide.

use std::io::{self, BufRead, Read};

/// Reads a wide text as UTF-8, its byte-order mark left out.
pub(super) struct Wide {
    inner: Box<dyn BufRead>,
    unit: fn([u8; 2]) -> u16,
    /// The first half of a pair, or the first byte of a unit, that waits for the rest.
    high: Option<u16>,
    odd: Option<u8>,
    ready: Vec<u8>,
    given: usize,
}

impl Wide {
    /// Whether a text that begins so is wide; the mark itself is two bytes long.
    pub(super) fn unit(start: &[u8]) -> Option<fn([u8; 2]) -> u16> {
        match start {
            [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
            [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
            _ => None,
        }
    }

    /// Continues after the mark.
    pub(super) fn new(inner: Box<dyn BufRead>, unit: fn([u8; 2]) -> u16) -> Self {
        Self { inner, unit, high: None, odd: None, ready: Vec::new(), given: 0 }
    }

    /// Decodes what is at hand; false at the end.
    fn more(&mut self) -> io::Result<bool> {
        let bytes = self.inner.fill_buf()?;
        let used = bytes.len();
        let odd = self.odd.take();
        let all: Vec<u8> = odd.into_iter().chain(bytes.iter().copied()).collect();
        self.inner.consume(used);
        if used == 0 {
            return Ok(false);
        }
        let pairs = all.chunks_exact(2);
        self.odd = pairs.remainder().first().copied();
        let mut units: Vec<u16> = self.high.take().into_iter().collect();
        units.extend(pairs.map(|pair| (self.unit)([pair[0], pair[1]])));
        if units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
            self.high = units.pop();
        }
        self.ready.clear();
        self.given = 0;
        for character in char::decode_utf16(units) {
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            self.ready.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Ok(true)
    }
}

impl Read for Wide {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.ready.len() {
            if !self.more()? {
                return Ok(0);
            }
        }
        let some = (self.ready.len() - self.given).min(buffer.len());
        buffer[..some].copy_from_slice(&self.ready[self.given..self.given + some]);
        self.given += some;
        Ok(some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_texts_of_both_orders_are_read_however_they_arrive() {
        let text = "date;größe\n2024-01-31;🌿";
        for (order, unit) in [(u16::to_le_bytes as fn(u16) -> [u8; 2], "little"), (u16::to_be_bytes, "big")] {
            let mut bytes: Vec<u8> = order(0xfeff).into();
            bytes.extend(text.encode_utf16().flat_map(order));
            let as_marked = Wide::unit(&bytes).unwrap();
            for step in [1, 2, 3, 64] {
                let body = io::BufReader::with_capacity(step, io::Cursor::new(bytes[2..].to_vec()));
                let mut read = String::new();
                Wide::new(Box::new(body), as_marked).read_to_string(&mut read).unwrap();
                assert_eq!(read, text, "{unit} end first, {step} bytes at a time");
            }
        }
        assert!(Wide::unit(b"date").is_none());
    }
}
