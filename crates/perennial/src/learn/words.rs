//! Numbers and lists as a reader meets them in a sentence, a page or a table.

/// A count with its word: "1 row", "1,204 rows".
pub(super) fn many(count: usize, word: &str) -> String {
    let plural = match word {
        _ if word.ends_with("day") => format!("{word}s"),
        _ if word.ends_with('y') => format!("{}ies", &word[..word.len() - 1]),
        _ => format!("{word}s"),
    };
    format!("{} {}", self::count(count), if count == 1 { word } else { &plural })
}

/// A count: "1,204".
pub(super) fn count(count: usize) -> String {
    grouped(&count.to_string())
}

/// Digits with a comma between thousands.
fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with as many digits as a reader can use: "12,345", "123", "12.3", "0.46".
pub(super) fn figure(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    let decimals = match value.abs() {
        v if v >= 99.95 || v.fract() == 0.0 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.0995 => 2,
        _ => 3,
    };
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if value < 0.0 && (whole != "0" || !fraction.is_empty()) { "-" } else { "" };
    format!("{sign}{}{point}{fraction}", grouped(whole))
}

/// A number for a headline: "8.34 million", "12,345".
pub(super) fn headline(value: f64) -> String {
    if value.abs() < 1e6 { figure(value) } else { format!("{:.2} million", value / 1e6) }
}

/// A share of one as per cent: "43 %", "0.42 %", "under 0.1 %"; the spaces do not break.
pub(super) fn percent(share: f64) -> String {
    let text = match share {
        s if s > 0.0095 || s == 0.0 => format!("{:.0}", 100.0 * s),
        s if s > 0.0 && s < 0.001 => "under\u{a0}0.1".to_owned(),
        s => figure(100.0 * s),
    };
    format!("{text}\u{a0}%")
}

/// Four digits where they matter, none where they do not; for tables that programs read.
pub(super) fn short(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 || v == 0.0 => format!("{value:.3}"),
        _ => format!("{value:.5}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let cases = [
            (12345.6, "12,346"),
            (123.4, "123"),
            (12.34, "12.3"),
            (0.456, "0.46"),
            (0.0123, "0.012"),
            (-1234.0, "-1,234"),
            (2.0, "2"),
            (0.0, "0"),
            (-0.0001, "0"),
        ];
        cases.into_iter().for_each(|(value, text)| assert_eq!(figure(value), text));
        assert_eq!(
            (many(1, "row"), many(1204, "purchase day"), many(2, "query")),
            ("1 row".into(), "1,204 purchase days".into(), "2 queries".into())
        );
        assert_eq!((headline(8_337_003.0), headline(999.0)), ("8.34 million".into(), "999".into()));
        assert_eq!(
            (percent(0.4321), percent(0.0042), percent(0.00003), percent(0.0)),
            ("43\u{a0}%".into(), "0.42\u{a0}%".into(), "under\u{a0}0.1\u{a0}%".into(), "0\u{a0}%".into())
        );
    }
}
