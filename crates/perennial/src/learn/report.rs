//! Reports: one HTML page with figures of our own, readable without a network.
//!
//! Promise: every figure's title is its finding, and beside it stand the sample, the interval where one is
//! known, and the same data as a table; colour never carries meaning alone. Absent on purpose: scripts.

use std::fmt::Write as _;
use std::path::Path;

use super::frame::short;

/// A page.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What the page says in one sentence.
    pub(super) finding: String,
    /// What was read and chosen, one sentence each.
    pub(super) notes: Vec<String>,
    /// The figures and tables, in order.
    pub(super) figures: Vec<Figure>,
}

/// One figure with its table.
#[derive(Debug)]
pub(super) struct Figure {
    /// The finding.
    pub(super) title: String,
    /// Sample, interval, definition.
    pub(super) note: String,
    /// What is drawn.
    pub(super) plot: Plot,
    /// The names of the table's columns.
    pub(super) head: Vec<String>,
    /// The table.
    pub(super) rows: Vec<Vec<String>>,
}

/// A way to draw.
#[derive(Debug)]
pub(super) enum Plot {
    /// The table alone.
    None,
    /// Horizontal bars, each with an interval where one is known.
    Bars(Vec<Bar>),
    /// Lines over a common axis.
    Lines {
        /// What the axes mean.
        axes: [&'static str; 2],
        /// The lines.
        lines: Vec<Line>,
    },
}

/// One bar.
#[derive(Debug)]
pub(super) struct Bar {
    /// What it stands for.
    pub(super) label: String,
    /// Its length; may be negative.
    pub(super) value: f64,
    /// Its interval.
    pub(super) interval: Option<(f64, f64)>,
}

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    /// What it stands for.
    pub(super) label: &'static str,
    /// Dashed and grey: what to compare with.
    pub(super) reference: bool,
    /// The points with intervals where known.
    pub(super) points: Vec<(f64, f64, Option<(f64, f64)>)>,
}

const STYLE: &str = "\
:root{--paper:#faf6ee;--ink:#1f2421;--green:#2f5d3a;--ochre:#b4711e;--quiet:#6b7069;--rule:#d8d1c2}\
@media(prefers-color-scheme:dark){:root{--paper:#17201a;--ink:#ece7da;--green:#8fc19a;--ochre:#e0a458;--quiet:#a3a99f;--rule:#37433a}}\
body{background:var(--paper);color:var(--ink);font:16px/1.55 Seravek,'Gill Sans Nova',Ubuntu,Calibri,sans-serif;max-width:52rem;margin:3rem auto;padding:0 1.5rem}\
h1,h2{font-family:'Iowan Old Style','Palatino Linotype',Palatino,Georgia,serif;font-weight:500;line-height:1.25;text-wrap:balance}\
h1{font-size:2rem}h2{font-size:1.3rem;margin:0 0 .4rem}section{border-top:1px solid var(--rule);margin-top:2.5rem;padding-top:1.5rem}\
p.note,footer{color:var(--quiet);font-size:.9rem}ul.notes{padding-left:1.1rem}svg{width:100%;height:auto;display:block;margin:.8rem 0}\
svg text{font-family:inherit;font-size:13px;fill:var(--ink)}svg .q{fill:var(--quiet)}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem;width:100%}th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--rule);vertical-align:top}\
th{font-weight:600}td.n{text-align:right}details>summary{cursor:pointer;color:var(--green);min-height:24px}div.wide{overflow-x:auto}";

impl Report {
    /// Writes the page.
    pub(super) fn write(&self, path: &Path) -> Result<(), String> {
        std::fs::write(path, self.html()).map_err(|why| format!("{}: {why}", path.display()))
    }

    fn html(&self) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{0}</title><style>{STYLE}</style></head><body><main><h1>{0}</h1>\n",
            escape(&self.finding)
        );
        page.push_str("<ul class=\"notes\">");
        for note in &self.notes {
            let _ = write!(page, "<li>{}</li>", escape(note));
        }
        page.push_str("</ul>\n");
        self.figures.iter().enumerate().for_each(|(at, figure)| page.push_str(&figure.html(at)));
        page.push_str("</main><footer><p>Made by Perennial; this page needs no network.</p></footer></body></html>\n");
        page
    }
}

impl Figure {
    fn html(&self, at: usize) -> String {
        let title = escape(&self.title);
        let mut out = format!(
            "<section aria-labelledby=\"f{at}\"><h2 id=\"f{at}\">{title}</h2><p class=\"note\">{}</p>\n",
            escape(&self.note)
        );
        match &self.plot {
            Plot::None => out.push_str(&format!("<div class=\"wide\">{}</div>", self.table())),
            Plot::Bars(bars) => out.push_str(&draw_bars(&title, bars)),
            Plot::Lines { axes, lines } => out.push_str(&draw_lines(&title, *axes, lines)),
        }
        if !matches!(self.plot, Plot::None) {
            let _ = write!(
                out,
                "<details><summary>The same as a table</summary><div class=\"wide\">{}</div></details>",
                self.table()
            );
        }
        out.push_str("</section>\n");
        out
    }

    fn table(&self) -> String {
        let mut out = String::from("<table><thead><tr>");
        for name in &self.head {
            let _ = write!(out, "<th scope=\"col\">{}</th>", escape(name));
        }
        out.push_str("</tr></thead><tbody>");
        for row in &self.rows {
            out.push_str("<tr>");
            for text in row {
                let class = if text.parse::<f64>().is_ok() { " class=\"n\"" } else { "" };
                let _ = write!(out, "<td{class}>{}</td>", escape(text));
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table>");
        out
    }
}

const WIDTH: f64 = 720.0;

#[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
fn draw_bars(title: &str, bars: &[Bar]) -> String {
    let (left, right, step) = (230.0, 640.0, 30.0);
    let ends = bars.iter().flat_map(|bar| {
        let (low, high) = bar.interval.unwrap_or((bar.value, bar.value));
        [bar.value, low, high, 0.0]
    });
    let (low, high) = ends.filter(|v| v.is_finite()).fold((0.0_f64, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
    let x = |value: f64| left + (right - left) * (value - low) / (high - low).max(1e-12);
    let height = step * bars.len() as f64 + 10.0;
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">");
    for (at, bar) in bars.iter().enumerate() {
        let y = step * at as f64 + 8.0;
        let (a, b) = (x(bar.value.min(0.0)), x(bar.value.max(0.0)));
        let colour = if bar.value < 0.0 { "--ochre" } else { "--green" };
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 10.0,
            y + 14.0,
            escape(&cut(&bar.label, 34))
        );
        let _ = write!(
            out,
            "<rect x=\"{a:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"18\" style=\"fill:var({colour})\"/>",
            (b - a).max(1.0)
        );
        let mut end = b;
        if let Some((low, high)) = bar.interval {
            let middle = y + 9.0;
            let _ = write!(
                out,
                "<path d=\"M{:.1} {middle:.1}H{:.1}\" style=\"stroke:var(--ink);stroke-width:2\"/>",
                x(low),
                x(high)
            );
            end = end.max(x(high));
        }
        let _ = write!(out, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", end + 8.0, y + 14.0, short(bar.value));
    }
    let _ = write!(out, "<path d=\"M{0:.1} 2V{1:.1}\" style=\"stroke:var(--quiet)\"/></svg>", x(0.0), height - 4.0);
    out
}

fn draw_lines(title: &str, axes: [&str; 2], lines: &[Line]) -> String {
    let (left, right, top, bottom) = (60.0, 600.0, 16.0, 300.0);
    let all = || lines.iter().flat_map(|line| &line.points);
    let span = |values: &mut dyn Iterator<Item = f64>| {
        values.filter(|v| v.is_finite()).fold((0.0_f64, 1e-12_f64), |(l, h), v| (l.min(v), h.max(v)))
    };
    let (x0, x1) = span(&mut all().map(|p| p.0));
    let (y0, y1) = span(&mut all().flat_map(|p| [p.1, p.2.map_or(p.1, |i| i.0), p.2.map_or(p.1, |i| i.1)]));
    let x = |v: f64| left + (right - left) * (v - x0) / (x1 - x0);
    let y = |v: f64| bottom - (bottom - top) * (v - y0) / (y1 - y0);
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} 345\" role=\"img\" aria-label=\"{title}\">");
    let _ = write!(out, "<path d=\"M{left} {top}V{bottom}H{right}\" style=\"fill:none;stroke:var(--quiet)\"/>");
    for part in [0.0, 0.5, 1.0] {
        let (vx, vy) = (x0 + part * (x1 - x0), y0 + part * (y1 - y0));
        let _ = write!(
            out,
            "<text class=\"q\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(vx),
            bottom + 18.0,
            short(vx)
        );
        let _ = write!(
            out,
            "<text class=\"q\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            y(vy) + 4.0,
            short(vy)
        );
    }
    let _ = write!(
        out,
        "<text class=\"q\" x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        bottom + 38.0,
        escape(axes[0])
    );
    let _ = write!(out, "<text class=\"q\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", left + 8.0, top + 4.0, escape(axes[1]));
    for line in lines {
        let path: Vec<String> = line.points.iter().map(|p| format!("{:.1} {:.1}", x(p.0), y(p.1))).collect();
        let stroke = if line.reference { "var(--quiet);stroke-dasharray:5 4" } else { "var(--green);stroke-width:2" };
        let _ = write!(out, "<path d=\"M{}\" style=\"fill:none;stroke:{stroke}\"/>", path.join("L"));
        for p in line.points.iter().filter(|_| line.points.len() <= 40) {
            if let Some((low, high)) = p.2 {
                let _ = write!(
                    out,
                    "<path d=\"M{0:.1} {1:.1}V{2:.1}\" style=\"stroke:var(--ink)\"/>",
                    x(p.0),
                    y(low),
                    y(high)
                );
            }
            if !line.reference {
                let _ = write!(
                    out,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" style=\"fill:var(--green)\"/>",
                    x(p.0),
                    y(p.1)
                );
            }
        }
        if let Some(last) = line.points.last() {
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x(last.0) + 8.0,
                y(last.1) + 4.0,
                escape(line.label)
            );
        }
    }
    out.push_str("</svg>");
    out
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most - 1).chain(['…']).collect() }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_stands_alone_and_shows_its_numbers_twice() {
        let bars = vec![Bar { label: "a < b".into(), value: 0.25, interval: Some((0.2, 0.3)) }];
        let rows = vec![vec!["a < b".into(), "0.25".into()]];
        let figure = Figure {
            title: "A finding".into(),
            note: "n = 4".into(),
            plot: Plot::Bars(bars),
            head: vec!["x".into(), "y".into()],
            rows,
        };
        let page = Report { finding: "All <is> well".into(), notes: vec![], figures: vec![figure] }.html();
        assert!(
            page.contains("All &lt;is&gt; well") && page.contains("<svg") && page.contains("<td class=\"n\">0.25</td>")
        );
        assert!(!page.contains("http") && !page.contains("<script"));
    }
}
