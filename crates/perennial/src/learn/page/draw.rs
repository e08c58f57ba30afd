//! Figures of our own as SVG: rows of bars or dots, lines over an axis, columns over time.
//!
//! Promise: text keeps its size whatever the width, because only marks are drawn and words stand around
//! them; scales begin at zero or show where zero is. Absent on purpose: colour as the only sign.

use std::fmt::Write as _;

use super::escape;
use crate::learn::words::figure;

/// A way to draw.
#[derive(Debug, Default)]
pub(crate) enum Plot {
    /// The table alone.
    #[default]
    None,
    /// Lengths from zero, one a row.
    Bars(Vec<Bar>),
    /// Places on a scale with their intervals, one a row.
    Dots(Vec<Bar>),
    /// Several sets of bars side by side, each with its own scale and name.
    Multiples(Vec<(String, Vec<Bar>)>),
    /// Lines over a common axis.
    Lines {
        /// What lies along and what up.
        axes: [&'static str; 2],
        /// What stands at some places along; numbers otherwise.
        places: Vec<(f64, String)>,
        /// The lines.
        lines: Vec<Line>,
    },
    /// Columns over time: what was, then what is expected.
    Columns {
        /// What the height is.
        axis: &'static str,
        /// Filled: label and height.
        past: Vec<(String, f64)>,
        /// Outlined.
        coming: Vec<Bar>,
    },
}

/// One row of a figure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bar {
    /// What it stands for.
    pub(crate) label: String,
    /// Its length or place; may be negative.
    pub(crate) value: f64,
    /// Its interval.
    pub(crate) interval: Option<(f64, f64)>,
}

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    /// What it stands for.
    pub(crate) label: &'static str,
    /// Dashed: what to compare with.
    pub(crate) reference: bool,
    /// The points, from left to right.
    pub(crate) points: Vec<Point>,
}

/// One point of a line, with its interval where one is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) interval: Option<(f64, f64)>,
}

impl Plot {
    /// The drawing; `title` is its name for those who hear it, `unit` follows its numbers.
    pub(super) fn html(&self, title: &str, unit: &str) -> String {
        let unit = &escape(unit);
        match self {
            Self::None => String::new(),
            Self::Bars(bars) => rows(title, "", unit, bars, false),
            Self::Dots(bars) => rows(title, "", unit, bars, true),
            Self::Multiples(sets) => {
                let each = sets.iter().map(|(name, bars)| rows(&escape(name), name, unit, bars, false));
                format!("<div class=\"multiples\">{}</div>", each.collect::<String>())
            }
            Self::Lines { axes, places, lines } => lines_html(title, *axes, places, lines),
            Self::Columns { axis, past, coming } => columns(title, axis, past, coming),
        }
    }
}

/// The smallest and largest of some numbers and zero.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.filter(|v| v.is_finite()).fold((0.0_f64, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
    if high > low { (low, high) } else { (low, low + 1.0) }
}

/// Round numbers that divide a span into a few parts.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 4.0;
    let unit = 10_f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|times| times * unit).find(|step| *step >= rough).unwrap_or(unit);
    let first = (low / step).ceil();
    (0..8).map(|at| (first + f64::from(at)) * step).take_while(|tick| *tick <= high + step * 1e-9).collect()
}

/// Labels longer than this break into lines.
const LONG: usize = 18;

/// A table whose middle column is drawn.
fn rows(title: &str, caption: &str, unit: &str, bars: &[Bar], dots: bool) -> String {
    let ends = bars.iter().flat_map(|bar| bar.interval.map_or([bar.value; 3], |(low, high)| [bar.value, low, high]));
    let (low, high) = span(ends);
    let x = |value: f64| 100.0 * (value.clamp(low, high) - low) / (high - low);
    let long = if bars.iter().any(|bar| bar.label.chars().count() > LONG) { " long" } else { "" };
    let mut out = if caption.is_empty() {
        format!("<table class=\"bars{long}\" aria-label=\"{title}\"><tbody>")
    } else {
        format!("<table class=\"bars{long}\"><caption>{title}</caption><tbody>")
    };
    for bar in bars {
        let _ = write!(out, "<tr><th scope=\"row\">{}</th><td class=\"mark\">", escape(&bar.label));
        out.push_str("<svg aria-hidden=\"true\">");
        if !dots && bar.value != 0.0 {
            let (a, b) = (x(bar.value.min(0.0)), x(bar.value.max(0.0)));
            let class = if bar.value < 0.0 { "below" } else { "bar" };
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{a:.2}%\" y=\"3\" width=\"{:.2}%\" height=\"14\"/>",
                (b - a).max(0.2)
            );
        }
        if low < 0.0 || dots {
            let _ = write!(out, "<line class=\"base\" x1=\"{0:.2}%\" x2=\"{0:.2}%\" y1=\"-10\" y2=\"30\"/>", x(0.0));
        }
        if let Some((from, to)) = bar.interval {
            let _ =
                write!(out, "<line class=\"range\" x1=\"{:.2}%\" x2=\"{:.2}%\" y1=\"10\" y2=\"10\"/>", x(from), x(to));
        }
        if dots {
            let _ = write!(out, "<circle class=\"dot\" cx=\"{:.2}%\" cy=\"10\" r=\"5.5\"/>", x(bar.value));
        }
        let range = bar
            .interval
            .map_or(String::new(), |(from, to)| format!("<small>{} to {}{unit}</small>", figure(from), figure(to)));
        let _ = write!(out, "</svg></td><td class=\"n\">{}{unit}{range}</td></tr>", figure(bar.value));
    }
    out.push_str("</tbody></table>");
    out
}

/// The frame of a drawing: numbers up the left side, words at the right end, places below.
struct Frame {
    y: (f64, f64),
    left: String,
    right: String,
    below: String,
}

impl Frame {
    fn new(y: (f64, f64)) -> Self {
        Self { y, left: String::new(), right: String::new(), below: String::new() }
    }

    /// Height from below, in per cent.
    fn up(&self, value: f64) -> f64 {
        100.0 * (value.clamp(self.y.0, self.y.1) - self.y.0) / (self.y.1 - self.y.0)
    }

    fn html(mut self, title: &str, axes: [&str; 2], marks: &str) -> String {
        let mut grid = String::new();
        for tick in ticks(self.y.0, self.y.1) {
            let up = self.up(tick);
            let _ = write!(self.left, "<span style=\"bottom:{up:.2}%\">{}</span>", figure(tick));
            let class = if tick == 0.0 { "base" } else { "grid" };
            let down = 100.0 - up;
            let _ = write!(grid, "<line class=\"{class}\" x1=\"0\" x2=\"100%\" y1=\"{down:.2}%\" y2=\"{down:.2}%\"/>");
        }
        format!(
            "<p class=\"axis\">{}</p><div class=\"chart\"><div class=\"y\" aria-hidden=\"true\">{}</div><svg role=\"img\" aria-label=\"{title}\">{grid}{marks}</svg><div class=\"ends\" aria-hidden=\"true\">{}</div><div class=\"x\" aria-hidden=\"true\">{}</div></div><p class=\"axis below\">{}</p>",
            escape(axes[1]),
            self.left,
            self.right,
            self.below,
            escape(axes[0])
        )
    }
}

fn lines_html(title: &str, axes: [&str; 2], places: &[(f64, String)], lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let (x0, x1) = span(all().map(|p| p.x));
    let y = span(all().flat_map(|p| p.interval.map_or([p.y; 3], |(low, high)| [p.y, low, high])));
    let mut frame = Frame::new(y);
    let along = |v: f64| 100.0 * (v - x0) / (x1 - x0);
    let down = |frame: &Frame, v: f64| 100.0 - frame.up(v);
    let mut marks = String::new();
    for line in lines {
        let path: Vec<String> =
            line.points.iter().map(|p| format!("{:.2} {:.2}", along(p.x), down(&frame, p.y))).collect();
        let class = if line.reference { "other" } else { "line" };
        let _ = write!(
            marks,
            "<svg viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\" width=\"100%\" height=\"100%\"><path class=\"{class}\" d=\"M{}\"/></svg>",
            path.join("L")
        );
        for p in line.points.iter().filter(|_| line.points.len() <= 40) {
            if let Some((low, high)) = p.interval {
                let _ = write!(
                    marks,
                    "<line class=\"range\" x1=\"{0:.2}%\" x2=\"{0:.2}%\" y1=\"{1:.2}%\" y2=\"{2:.2}%\"/>",
                    along(p.x),
                    down(&frame, low),
                    down(&frame, high)
                );
            }
            if !line.reference {
                let (x, y) = (along(p.x), down(&frame, p.y));
                let _ = write!(marks, "<circle class=\"dot\" cx=\"{x:.2}%\" cy=\"{y:.2}%\" r=\"4.5\"/>");
            }
        }
    }
    frame.right = end_labels(&frame, lines);
    if places.is_empty() {
        for tick in ticks(x0, x1) {
            let _ = write!(frame.below, "<span style=\"left:{:.2}%\">{}</span>", along(tick), figure(tick));
        }
    }
    for (at, label) in places {
        let _ = write!(frame.below, "<span style=\"left:{:.2}%\">{}</span>", along(*at), escape(label));
    }
    frame.html(title, axes, &marks)
}

/// Names at the ends of lines, moved apart where they would touch.
fn end_labels(frame: &Frame, lines: &[Line]) -> String {
    const APART: f64 = 9.0;
    let mut ends: Vec<(f64, &str)> =
        lines.iter().filter_map(|line| Some((frame.up(line.points.last()?.y), line.label))).collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    for at in 1..ends.len() {
        ends[at].0 = ends[at].0.max(ends[at - 1].0 + APART);
    }
    let over = ends.last().map_or(0.0, |last| (last.0 - 100.0).max(0.0));
    let mut shown = String::new();
    for (up, label) in &ends {
        let _ = write!(shown, "<span style=\"bottom:{:.2}%\">{}</span>", up - over, escape(label));
    }
    shown
}

#[expect(clippy::cast_precision_loss, reason = "a few dozen columns")]
fn columns(title: &str, axis: &str, past: &[(String, f64)], coming: &[Bar]) -> String {
    let heights = past
        .iter()
        .map(|p| p.1)
        .chain(coming.iter().flat_map(|bar| [bar.value, bar.interval.map_or(bar.value, |i| i.1)]));
    let mut frame = Frame::new(span(heights));
    let count = (past.len() + coming.len()).max(1);
    let step = 100.0 / count as f64;
    let mut marks = String::new();
    let all = past.iter().map(|(label, v)| (label, *v, None, "past"));
    let all = all.chain(coming.iter().map(|bar| (&bar.label, bar.value, bar.interval, "coming")));
    let every = count.div_ceil(7);
    for (at, (label, value, interval, class)) in all.enumerate() {
        let left = step * at as f64;
        let up = frame.up(value);
        let _ = write!(
            marks,
            "<rect class=\"{class}\" x=\"{:.2}%\" y=\"{:.2}%\" width=\"{:.2}%\" height=\"{up:.2}%\"/>",
            left + 0.12 * step,
            100.0 - up,
            0.76 * step
        );
        let middle = left + 0.5 * step;
        if let Some((low, high)) = interval {
            let _ = write!(
                marks,
                "<line class=\"range\" x1=\"{middle:.2}%\" x2=\"{middle:.2}%\" y1=\"{:.2}%\" y2=\"{:.2}%\"/>",
                100.0 - frame.up(low),
                100.0 - frame.up(high)
            );
        }
        if at % every == 0 {
            let _ = write!(frame.below, "<span style=\"left:{middle:.2}%\">{}</span>", escape(label));
        }
    }
    if let Some(last) = coming.last() {
        let up = frame.up(last.value).max(6.0);
        let _ = write!(frame.right, "<span style=\"bottom:{up:.2}%\">expected</span>");
    }
    frame.html(title, ["", axis], &marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(0.0, 1.0), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(ticks(-30.0, 90.0), [0.0, 50.0]);
        assert_eq!(ticks(0.0, 930.0), [0.0, 250.0, 500.0, 750.0]);
    }

    #[test]
    fn labels_at_line_ends_do_not_touch() {
        let line = |label, y| Line { label, reference: false, points: vec![Point { x: 0.0, y, interval: None }] };
        let html = end_labels(&Frame::new((0.0, 100.0)), &[line("a", 99.0), line("b", 98.0)]);
        assert_eq!(html, "<span style=\"bottom:91.00%\">b</span><span style=\"bottom:100.00%\">a</span>");
    }
}
