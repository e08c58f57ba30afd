//! Numbers as people write them: `12.5`, `1,234.50`, `1.234,50 EUR`, `(12.50)`, `3 000-`.
//!
//! Promise: a whole column is read one way, so that `1,234` never means two things in one table; where
//! its texts leave that open, the file's delimiter decides and the caller is told. Absent on purpose:
//! currencies; a sign is passed over, never converted.

use super::frame::Frame;

/// Which sign comes before the fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Point,
    Comma,
}

/// Signs and names of currencies that may stand beside a number, and other marks that mean nothing.
const BESIDE: [&str; 17] =
    ["eur", "usd", "gbp", "chf", "sek", "nok", "dkk", "pln", "czk", "kr.", "kr", "zł", "€", "$", "£", "¥", "%"];

/// How a column writes its numbers, and a sentence when that had to be assumed.
pub(super) fn mark(texts: &[String], semicolons: bool) -> (Mark, Option<String>) {
    let (mut commas, mut points, mut doubtful) = (0_usize, 0_usize, None);
    for text in texts {
        match evidence(text) {
            Some(Ok(Mark::Comma)) => commas += 1,
            Some(Ok(Mark::Point)) => points += 1,
            Some(Err(())) => doubtful = doubtful.or(Some(text)),
            None => {}
        }
    }
    if commas != points {
        let mark = if commas > points { Mark::Comma } else { Mark::Point };
        let told = (mark == Mark::Comma).then(|| "is read with a decimal comma".to_owned());
        return (mark, told);
    }
    let mark = if semicolons { Mark::Comma } else { Mark::Point };
    let told = doubtful.and_then(|text| read(text, mark).map(|value| format!("writes `{text}`, read as {value}")));
    (mark, told)
}

/// What one text says about the sign: nothing, one of both, or either.
fn evidence(text: &str) -> Option<Result<Mark, ()>> {
    let last = text.rfind([',', '.'])?;
    let sign = if text[last..].starts_with(',') { Mark::Comma } else { Mark::Point };
    let other = if sign == Mark::Comma { Mark::Point } else { Mark::Comma };
    let same = text.matches(&text[last..=last]).count();
    let digits = text[last + 1..].chars().take_while(char::is_ascii_digit).count();
    let before = text[..last].chars().filter(char::is_ascii_digit).count();
    Some(match () {
        () if same > 1 => Ok(other),
        () if text[..last].contains([',', '.']) => Ok(sign),
        // Thousands are groups of three behind one to three digits that do not begin with a nought.
        () if digits == 3 && (1..=3).contains(&before) && !text.trim_start_matches('-').starts_with('0') => Err(()),
        () => Ok(sign),
    })
}

/// Reads one text; nothing when it is no finite number.
pub(super) fn read(text: &str, mark: Mark) -> Option<f64> {
    if mark == Mark::Point
        && let Ok(value) = text.parse::<f64>()
    {
        return value.is_finite().then_some(value);
    }
    let text = text.to_lowercase();
    let bare = bare(&text);
    let (bare, negative) = match bare.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => (inner, true),
        None => match bare.strip_prefix(['-', '−']).or_else(|| bare.strip_suffix(['-', '−'])) {
            Some(rest) => (rest, true),
            None => (bare.strip_prefix('+').unwrap_or(bare), false),
        },
    };
    let (point, thousands) = if mark == Mark::Point { ('.', ',') } else { (',', '.') };
    let bare = self::bare(bare);
    let (whole, fraction) = bare.split_once(point).unwrap_or((bare, ""));
    let spaces = [' ', '\u{a0}', '\u{202f}', '\'', '’', thousands];
    let mut groups = whole.split(spaces);
    let first = groups.next().unwrap_or("");
    let in_threes = groups.clone().all(|group| group.len() == 3);
    if !in_threes || (first.is_empty() && (fraction.is_empty() || groups.next().is_some())) {
        return None;
    }
    let plain = format!("{}.{fraction}", whole.replace(spaces, ""));
    if !plain.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let value: f64 = plain.parse().ok()?;
    Some(if negative { -value } else { value })
}

/// Without currencies and spaces at both ends.
fn bare(text: &str) -> &str {
    let mut text = text.trim();
    while let Some(rest) = BESIDE.iter().find_map(|beside| {
        text.strip_prefix(beside).or_else(|| text.strip_suffix(beside)).filter(|rest| !rest.trim().is_empty())
    }) {
        text = rest.trim();
    }
    text
}

/// Numbers beyond this are slips: no sum of them, nor of their products, would mean anything.
const LARGEST: f64 = 1e40;

/// A column of numbers where empty texts are gaps (NaN); anything else that is no number is an error
/// that names its line.
pub(super) fn column(frame: &Frame, at: usize) -> Result<(Vec<f64>, Option<String>), String> {
    let texts = &frame.columns[at];
    let (mark, told) = mark(texts, frame.semicolons);
    let one = |(row, text): (usize, &String)| {
        if text.is_empty() {
            return Ok(f64::NAN);
        }
        let value = read(text, mark).ok_or_else(|| wrong(frame, at, row, "not a number"))?;
        if value.abs() <= LARGEST { Ok(value) } else { Err(beyond(frame, at, row)) }
    };
    let values = texts.iter().enumerate().map(one).collect::<Result<_, _>>()?;
    Ok((values, told.map(|told| format!("`{}` {told}.", frame.header[at]))))
}

/// An error about a value that measures nothing, for all its digits.
pub(super) fn beyond(frame: &Frame, at: usize, row: usize) -> String {
    wrong(frame, at, row, "too large to be an amount or a measurement")
}

fn wrong(frame: &Frame, at: usize, row: usize, what: &str) -> String {
    let (name, line, text) = (&frame.header[at], frame.line(row), &frame.columns[at][row]);
    frame.wrong(&format!("`{name}` in line {line} is `{text}`, {what}; correct or leave out that row"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, value) in [
            ("12.5", 12.5),
            ("1,234.50", 1234.5),
            ("$3", 3.0),
            ("-4", -4.0),
            ("(12.50)", -12.5),
            ("7.25-", -7.25),
            ("$ -1,000", -1000.0),
            ("1e3", 1000.0),
            (".5", 0.5),
        ] {
            assert_eq!(read(text, Mark::Point), Some(value), "{text}");
        }
        for (text, value) in
            [("12,50", 12.5), ("1.234,5 EUR", 1234.5), ("€ 1.234", 1234.0), ("1 234,00", 1234.0), ("-0,5", -0.5)]
        {
            assert_eq!(read(text, Mark::Comma), Some(value), "{text}");
        }
        for text in ["twelve", "NaN", "inf", "1,23", "A1", "", "-", "1.2.3", "12 monkeys", "€"] {
            assert_eq!(read(text, Mark::Point), None, "{text}");
        }
    }

    #[test]
    fn a_column_is_read_one_way() {
        let of =
            |texts: &[&str], semicolons| mark(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>(), semicolons);
        assert_eq!(of(&["1.5", "1,234"], false), (Mark::Point, None));
        assert_eq!(of(&["1.234,5", "1,234"], false).0, Mark::Comma);
        assert_eq!(of(&["1,234"], false), (Mark::Point, Some("writes `1,234`, read as 1234".into())));
        assert_eq!(of(&["1,234"], true), (Mark::Comma, Some("writes `1,234`, read as 1.234".into())));
        assert_eq!(of(&["12", "7"], true), (Mark::Comma, None));
        assert_eq!(of(&["1.234.567"], false).0, Mark::Comma);
    }
}
