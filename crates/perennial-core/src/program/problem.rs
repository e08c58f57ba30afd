//! Problems: what is wrong with a programme, where, and what would mend it.
//!
//! Promise: they are collected, never thrown, so that one compile shows all of them.

use std::fmt;

use super::Problem;

/// Where something stands in a document, as `earn[2].when`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

/// One step down a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a map.
    Key(Box<str>),
    /// Into a list.
    At(usize),
}

impl Path {
    /// The path of a part.
    pub(super) fn key(&self, name: &str) -> Self {
        self.then(Step::Key(name.into()))
    }

    /// The path of an item.
    pub(super) fn at(&self, index: usize) -> Self {
        self.then(Step::At(index))
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// From the outside in.
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("programme");
        }
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(name) if i == 0 => f.write_str(name)?,
                Step::Key(name) => write!(f, ".{name}")?,
                Step::At(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// What has been found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    kept: Vec<(Path, String)>,
    /// How many there are.
    count: usize,
}

/// More than anybody reads at once; the rest is counted.
const SHOWN: usize = 100;
/// So many are kept, to show the first of the document among them.
const KEPT: usize = 1_000;

impl Problems {
    /// Adds one.
    pub(super) fn add(&mut self, path: &Path, message: impl Into<String>) {
        self.count += 1;
        if self.kept.len() < KEPT {
            self.kept.push((path.clone(), message.into()));
        }
    }

    /// Passes a value on, or adds why there is none.
    pub(super) fn check<T, E: fmt::Display>(&mut self, path: &Path, result: Result<T, E>) -> Option<T> {
        result.map_err(|e| self.add(path, e.to_string())).ok()
    }

    /// Whether something is wrong at a path.
    pub(super) fn names(&self, path: &Path) -> bool {
        self.kept.iter().any(|(at, _)| at == path)
    }

    /// Whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// All of them in the order of the document, with their lines.
    pub(super) fn finish(self, line_of: impl Fn(&Path) -> usize) -> Vec<Problem> {
        let located = self.kept.into_iter();
        let located = located.map(|(path, message)| Problem { line: line_of(&path), path: path.to_string(), message });
        let mut found: Vec<Problem> = located.collect();
        found.sort_by_key(|problem| problem.line);
        found.truncate(SHOWN);
        let more = self.count - found.len();
        if more > 0 {
            found.push(Problem { path: "programme".into(), line: 0, message: format!("and {more} more problems") });
        }
        found
    }
}

/// `, did you mean 'order.total'?` when a known name is close, else nothing.
pub(crate) fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(written, known).map_or_else(String::new, |name| format!(", did you mean '{name}'?"))
}

fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    let candidates = known.into_iter().filter_map(|name| Some((slips(&written, &name.to_lowercase())?, name)));
    candidates.min_by_key(|(slips, name)| (*slips, name.len())).map(|(_, name)| name)
}

/// The most slips of the pen that one name may be from another.
const SLIPS_MAX: usize = 3;
/// Bytes of the longest character.
const CHARACTER: usize = 4;

/// How many slips of the pen lead from one name to the other, if that is few for their length.
/// After a common `order.`, only the rest counts.
fn slips(written: &str, name: &str) -> Option<usize> {
    let (a, b) = match (written.split_once('.'), name.split_once('.')) {
        (Some((root, a)), Some((same, b))) if root == same => (a, b),
        _ => (written, name),
    };
    if a.len().abs_diff(b.len()) > SLIPS_MAX * CHARACTER {
        return None; // Without looking at it: whoever asks may have written anything.
    }
    let slips = strsim::osa_distance(a, b);
    (slips <= (a.chars().count().max(3) / 3).min(SLIPS_MAX)).then_some(slips)
}

/// `a, b or c`.
pub(super) fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    joined(names, "or")
}

/// `a, b` and, before the last, the word that joins them.
pub(super) fn joined<'a>(names: impl IntoIterator<Item = &'a str>, word: &str) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.split_last() {
        None => String::new(),
        Some((only, [])) => (*only).to_string(),
        Some((last, first)) => format!("{} {word} {last}", first.join(", ")),
    }
}
