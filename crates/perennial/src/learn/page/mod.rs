//! Pages: what a command found, as one HTML file that opens without a network.
//!
//! Promise: every title is its finding, and beside each figure stand its sample, its period, its source
//! and the same data as a table; what is uncertain shows its interval; colour never carries meaning
//! alone. Absent on purpose: scripts, and anything loaded from elsewhere.

mod draw;

use std::fmt::Write as _;

pub(super) use draw::{Bar, Line, Plot, Point};

/// A page: chapters under one finding.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// What kind of page this is, in a few words.
    pub(super) kind: &'static str,
    /// What the page says in one sentence.
    pub(super) finding: String,
    /// The file, how much was in it, and its period.
    pub(super) source: String,
    /// In the order of reading.
    pub(super) chapters: Vec<Chapter>,
    /// Files written with the page, and what each row of them is.
    pub(super) files: Vec<(String, String)>,
}

/// One question and what was found.
#[derive(Debug, Default)]
pub(super) struct Chapter {
    /// A word or two for the table of contents.
    pub(super) name: &'static str,
    /// The answer in one sentence.
    pub(super) finding: String,
    /// What else is to be known, one sentence each.
    pub(super) told: Vec<String>,
    /// The figures and tables, in order.
    pub(super) figures: Vec<Figure>,
    /// Words that the chapter uses, and what they mean.
    pub(super) words: Vec<(&'static str, &'static str)>,
    /// How it was reckoned: what was read, chosen and validated, one sentence each.
    pub(super) how: Vec<String>,
}

/// One figure with its table.
#[derive(Debug, Default)]
pub(super) struct Figure {
    /// The finding.
    pub(super) title: String,
    /// What is drawn, and what an interval or a dashed line means.
    pub(super) note: String,
    /// How many of what are behind it.
    pub(super) sample: String,
    /// What is drawn.
    pub(super) plot: Plot,
    /// What stands after its numbers, such as " %".
    pub(super) unit: &'static str,
    /// The names of the table's columns.
    pub(super) head: Vec<String>,
    /// The table.
    pub(super) rows: Vec<Vec<String>>,
}

impl Figure {
    /// A table that is shown as it is.
    pub(super) fn table(
        title: impl Into<String>,
        note: impl Into<String>,
        head: &[&str],
        rows: Vec<Vec<String>>,
    ) -> Self {
        let sample = format!("{} shown", super::many(rows.len(), "row"));
        let head = head.iter().map(|name| (*name).to_owned()).collect();
        Self { title: title.into(), note: note.into(), sample, head, rows, ..Self::default() }
    }
}

/// Columns that name things: digits there are no amounts.
const NAMES: [&str; 4] = ["item", "goes with", "other record", "customer"];

/// Tables longer than this scroll within themselves.
const TALL: usize = 32;

impl Page {
    /// The page as one file.
    pub(super) fn html(&self) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{} - Perennial</title><style>\n{}</style></head>\n<body><a class=\"skip\" href=\"#main\">To the findings</a>\
             <div class=\"masthead\" role=\"banner\"><b>Perennial</b><p class=\"kind\">{}</p></div>\n<main id=\"main\"><header class=\"lead\"><h1>{}</h1><p class=\"lede\">{}</p>",
            escape(&self.finding),
            include_str!("page.css"),
            escape(self.kind),
            escape(&self.finding),
            escape(&self.source)
        );
        if self.chapters.len() > 1 {
            page.push_str("<nav aria-label=\"On this page\"><ol>");
            for (at, chapter) in self.chapters.iter().enumerate() {
                let (name, finding) = (escape(chapter.name), escape(&chapter.finding));
                let _ = write!(page, "<li><a href=\"#c{at}\">{name}</a><span>{finding}</span></li>");
            }
            page.push_str("</ol></nav>");
        }
        page.push_str("</header>\n");
        let alone = self.chapters.len() == 1;
        self.chapters.iter().enumerate().for_each(|(at, chapter)| page.push_str(&self.chapter(at, chapter, alone)));
        page.push_str(&self.beside());
        page.push_str("</main>\n<footer><p>Made by Perennial on this machine. The page is complete in itself: it opens offline, loads nothing and sends nothing.</p></footer></body></html>\n");
        page
    }

    fn chapter(&self, at: usize, chapter: &Chapter, alone: bool) -> String {
        let mut out = format!("<section aria-labelledby=\"c{at}\">");
        if alone {
            let _ = write!(out, "<h2 id=\"c{at}\">{}</h2>", escape(chapter.name));
        } else {
            let (name, finding) = (escape(chapter.name), escape(&chapter.finding));
            let _ = write!(out, "<p class=\"kind\">{name}</p><h2 id=\"c{at}\">{finding}</h2>");
        }
        for sentence in &chapter.told {
            let _ = write!(out, "<p>{}</p>", escape(sentence));
        }
        for (number, figure) in chapter.figures.iter().enumerate() {
            out.push_str(&self.figure(&format!("f{at}-{number}"), figure));
        }
        if !chapter.words.is_empty() {
            out.push_str("<details><summary>What the words mean</summary><dl class=\"words\">");
            for (word, meaning) in &chapter.words {
                let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(word), escape(meaning));
            }
            out.push_str("</dl></details>");
        }
        if !chapter.how.is_empty() {
            out.push_str("<details><summary>How this was reckoned</summary><ul class=\"told\">");
            for sentence in &chapter.how {
                let _ = write!(out, "<li>{}</li>", escape(sentence));
            }
            out.push_str("</ul></details>");
        }
        out.push_str("</section>\n");
        out
    }

    fn figure(&self, id: &str, figure: &Figure) -> String {
        let title = escape(&figure.title);
        let plain = matches!(figure.plot, Plot::None);
        let whole = if plain { " class=\"whole\"" } else { "" };
        let mut out = format!("<figure{whole} aria-labelledby=\"{id}\"><h3 id=\"{id}\">{title}</h3>");
        if plain {
            out.push_str(&figure.rows_html(&title));
        } else {
            let _ = write!(out, "<div class=\"drawn\">{}</div>", figure.plot.html(&title, figure.unit));
        }
        let _ = write!(
            out,
            "<figcaption><p>{}</p><p>{}. Source: {}</p></figcaption>",
            escape(&figure.note),
            escape(&figure.sample),
            escape(&self.source)
        );
        if !plain {
            let _ = write!(
                out,
                "<details><summary>The same as a table</summary>{}</details>",
                figure.rows_html(&format!("{title}, as a table"))
            );
        }
        out.push_str("</figure>\n");
        out
    }

    /// The files that came with the page.
    fn beside(&self) -> String {
        if self.files.is_empty() {
            return String::new();
        }
        let mut out = String::from(
            "<section aria-labelledby=\"files\"><p class=\"kind\">Files</p><h2 id=\"files\">Everything in full stands beside this page</h2><div class=\"scroll\"><table><thead><tr><th scope=\"col\">file</th><th scope=\"col\">each row is</th></tr></thead><tbody>",
        );
        for (name, what) in &self.files {
            let (name, what) = (escape(name), escape(what));
            let _ = write!(out, "<tr><th scope=\"row\"><a href=\"{name}\">{name}</a></th><td>{what}</td></tr>");
        }
        out.push_str("</tbody></table></div></section>\n");
        out
    }
}

impl Figure {
    /// The table; `label` names the region that a long one scrolls in.
    fn rows_html(&self, label: &str) -> String {
        let numeric: Vec<bool> = (0..self.head.len())
            .map(|at| {
                at > 0
                    && !NAMES.contains(&self.head[at].as_str())
                    && self.rows.iter().all(|row| row.get(at).is_some_and(|text| is_number(text)))
            })
            .collect();
        let brief: Vec<bool> =
            (0..self.head.len()).map(|at| self.rows.iter().all(|row| is_brief(row.get(at)))).collect();
        let class = |at: usize| match (numeric.get(at), brief.get(at)) {
            (Some(true), _) => " class=\"n\"",
            (_, Some(true)) => " class=\"s\"",
            _ => "",
        };
        let tall = if self.rows.len() > TALL { " tall" } else { "" };
        let mut out = format!(
            "<div class=\"scroll{tall}\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\"><table><thead><tr>"
        );
        for (at, name) in self.head.iter().enumerate() {
            let _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(at), escape(name));
        }
        out.push_str("</tr></thead><tbody>");
        for row in &self.rows {
            out.push_str("<tr>");
            for (at, text) in row.iter().enumerate() {
                let cell = if at == 0 { "th scope=\"row\"" } else { "td" };
                let end = if at == 0 { "th" } else { "td" };
                let _ = write!(out, "<{cell}{}>{}</{end}>", class(at), escape(text));
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table></div>");
        out
    }
}

/// Whether a cell is too short to break into lines, as a date is.
fn is_brief(text: Option<&String>) -> bool {
    text.is_none_or(|text| text.chars().count() <= 12)
}

/// Whether a cell is set flush right: a number, perhaps with signs around it, a range of numbers, or
/// nothing; no date.
fn is_number(text: &str) -> bool {
    if let Some((low, high)) = text.split_once(" to ") {
        return is_number(low) && is_number(high);
    }
    text.chars().all(|c| c.is_ascii_digit() || "\u{a0} .,-+%".contains(c)) && text.matches('-').count() < 2
}

/// Text that may stand anywhere in a page: names of columns in quotes, per cent beside their number.
fn escape(text: &str) -> String {
    let safe = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    safe.replace('`', "'").replace(" %", "\u{a0}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_stand_flush_right_and_dates_do_not() {
        assert!(["1,204", "-3.5", "43\u{a0}%", "28 to 49", ""].into_iter().all(is_number));
        assert!(["2011-12-09", "to 49 days", "Alan to 7", "28 to"].into_iter().all(|text| !is_number(text)));
    }

    #[test]
    fn a_page_stands_alone_and_shows_its_numbers_twice() {
        let bars = vec![Bar { label: "a < b".into(), value: 0.25, interval: Some((0.2, 0.3)) }];
        let figure = Figure {
            title: "A finding".into(),
            note: "Shares.".into(),
            sample: "4 customers".into(),
            plot: Plot::Bars(bars),
            unit: " %",
            head: vec!["x".into(), "y".into()],
            rows: vec![vec!["a < b".into(), "0.25".into()]],
        };
        let chapter = Chapter { name: "Value", finding: "One".into(), figures: vec![figure], ..Chapter::default() };
        let page = Page {
            finding: "All <is> well".into(),
            source: "t.csv".into(),
            chapters: vec![chapter],
            ..Page::default()
        };
        let page = page.html();
        for part in [
            "All &lt;is&gt; well",
            "<svg",
            "0.25\u{a0}%<small>0.2 to 0.3\u{a0}%</small>",
            "<td class=\"n\">0.25</td>",
            "4 customers. Source: t.csv",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        for part in ["http", "<script", "url(", "@import", " src="] {
            assert!(!page.contains(part), "{part}");
        }
    }
}
