//! `learn check`: answers every case of a reference file and compares.
//!
//! Promise: the rule of comparison is that of the reference files (a number passes within the
//! case's own tolerance, names that start with `info_` are not compared), except where the file
//! says that a case is a bar: there a better figure passes too. A case that cannot be computed here
//! is told as skipped, never as met. Absent on purpose: any figure taken from the file's answers.

mod experiments;
mod lifetime;
mod linkage;
mod phones;
mod propensity;
mod segmentation;
mod strings;
mod treeshap;
mod uplift;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use perennial_learn::sentiment::Lexicon;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::drafts::Drafts;
use super::words::many;
use super::{Common, print, progress};

/// The cases and where their data is.
#[derive(Args, Debug)]
pub struct Arguments {
    /// A reference file: cases with inputs, expected answers and tolerances.
    reference: PathBuf,
    /// Writes all answers here, as JSON.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The folder of the data files that cases name; searched one level deep. `../data` beside the
    /// file, then the working folder, unless told otherwise.
    #[arg(long)]
    data: Option<PathBuf>,
}

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// As expected, or better where a bar is to be reached.
    Met,
    /// Something differs; each sentence names one value.
    Missed {
        /// What differs.
        differences: Vec<String>,
    },
    /// Not computed, and why.
    Skipped {
        /// The reason.
        reason: String,
    },
}

/// The verdicts of a whole file, in its order, and the answers.
#[derive(Debug, Default)]
pub struct Checked {
    /// Case, kind, verdict.
    pub cases: Vec<(String, String, Verdict)>,
    /// The answers by case.
    pub results: Map<String, Value>,
}

impl Checked {
    /// How many cases are met, missed and skipped.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |wanted: fn(&Verdict) -> bool| self.cases.iter().filter(|case| wanted(&case.2)).count();
        (
            count(|v| *v == Verdict::Met),
            count(|v| matches!(v, Verdict::Missed { .. })),
            count(|v| matches!(v, Verdict::Skipped { .. })),
        )
    }
}

/// What keeps a case from its answer.
#[derive(Debug)]
enum Trouble {
    /// Nothing here answers such cases.
    NotBuilt(String),
    /// The case or its data cannot be used.
    Broken(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Broken(why)
    }
}

/// What cases share: data files read once, and answers that later cases refer to.
#[derive(Default)]
struct Desk {
    folders: Vec<PathBuf>,
    columns: Option<lifetime::Columns>,
    segmentation: segmentation::Memory,
    linked: BTreeMap<PathBuf, Value>,
    lexicon: Option<Lexicon>,
}

/// Checks a file and prints; 0 when all that was computed is met, 1 when something is not.
pub(super) fn run(arguments: &Arguments, common: &Common) -> Result<u8, String> {
    let begin = |out: &PathBuf| Drafts::begin(&[&arguments.reference], &[out]);
    let drafts = arguments.out.as_ref().map(begin).transpose()?;
    let checked = check(&arguments.reference, arguments.data.as_deref(), common.quiet)?;
    if let (Some(out), Some(drafts)) = (&arguments.out, drafts) {
        let text = serde_json::to_string_pretty(&json!({ "results": checked.results })).map_err(|e| e.to_string())?;
        drafts.text(out, &text)?;
        drafts.publish()?;
    }
    let mut lines = Vec::new();
    for (id, kind, verdict) in &checked.cases {
        match verdict {
            Verdict::Met => {}
            Verdict::Missed { differences } => {
                lines.push(format!("MISSED {id} ({kind}): {}", many(differences.len(), "difference")));
                lines.extend(differences.iter().take(5).map(|difference| format!("    {difference}")));
            }
            Verdict::Skipped { reason } => lines.push(format!("skipped {id} ({kind}): {reason}")),
        }
    }
    let (met, missed, skipped) = checked.counts();
    lines.push(format!("{}: {met} met, {missed} missed, {skipped} skipped", arguments.reference.display()));
    print(&lines);
    Ok(u8::from(missed + skipped > 0))
}

/// Answers and compares every case of a file.
///
/// # Errors
/// When the file cannot be read or is not in the form of a reference file.
pub fn check(reference: &Path, data: Option<&Path>, quiet: bool) -> Result<Checked, String> {
    let told = |why: String| format!("{}: {why}", reference.display());
    let text = fs::read_to_string(reference).map_err(|e| told(e.to_string()))?;
    let file: Value = serde_json::from_str(&text).map_err(|e| told(format!("is not JSON: {e}")))?;
    let cases = file["cases"].as_array().ok_or_else(|| told("has no list `cases`; is it a reference file?".into()))?;
    let mut desk = Desk { folders: folders(reference, data)?, ..Desk::default() };
    let mut checked = Checked::default();
    let bar = progress("cases", cases.len() as u64, quiet);
    for (at, case) in cases.iter().enumerate() {
        bar.inc(1);
        let id = case["id"].as_str().ok_or_else(|| told(format!("case {at} has no `id`")))?;
        let kind = case["kind"].as_str().ok_or_else(|| told(format!("case {id} has no `kind`")))?;
        let input = case["input"].as_object().ok_or_else(|| told(format!("case {id} has no object `input`")))?;
        let verdict = match answer(&mut desk, &file, id, kind, input) {
            Ok(got) => {
                let verdict = compare(kind, case, &got);
                checked.results.insert(id.into(), got);
                verdict
            }
            Err(Trouble::NotBuilt(reason)) => Verdict::Skipped { reason },
            Err(Trouble::Broken(why)) => Verdict::Missed { differences: vec![why] },
        };
        checked.cases.push((id.into(), kind.into(), verdict));
    }
    bar.finish_and_clear();
    Ok(checked)
}

fn folders(reference: &Path, data: Option<&Path>) -> Result<Vec<PathBuf>, String> {
    if let Some(folder) = data {
        if !folder.is_dir() {
            return Err(format!("{} is not a folder; --data names the folder of data files", folder.display()));
        }
        return Ok(vec![folder.to_owned()]);
    }
    let beside = reference.parent().unwrap_or(Path::new("")).join("../data");
    Ok(vec![beside, PathBuf::from(".")])
}

fn answer(desk: &mut Desk, file: &Value, id: &str, kind: &str, input: &Map<String, Value>) -> Result<Value, Trouble> {
    let whole = Value::Object(input.clone());
    let family = kind.split('.').next().unwrap_or(kind);
    Ok(match family {
        "bgnbd" | "mbgnbd" | "pareto" | "gamma_gamma" | "clv" => lifetime::answer(desk, file, id, kind, &whole)?,
        "rfm" | "kmeans" | "gmm" | "labels" | "dbscan" | "agglomerative" | "hdbscan" => {
            segmentation::answer(desk, id, kind, &whole)?
        }
        "ab"
        | "srm"
        | "multiple"
        | "power"
        | "proportion"
        | "beta_binomial"
        | "confidence_sequence"
        | "msprt"
        | "psi" => experiments::answer(kind, input)?,
        "strings" | "string" => strings::answer(&whole)?,
        "uplift" => uplift::answer(&whole)?,
        "treeshap" => treeshap::answer(kind, &whole)?,
        "vader" => sentiment(desk, input)?,
        "propensity" => propensity::answer(desk, &whole)?,
        "linkage" => linkage::answer(desk, &whole)?,
        "phone" => phones::answer(&whole)?,
        "handlebars" => return Err(Trouble::NotBuilt("templates are not part of this command".into())),
        _ => return Err(Trouble::NotBuilt(format!("this program knows no cases of kind `{kind}`"))),
    })
}

fn sentiment(desk: &mut Desk, input: &Map<String, Value>) -> Result<Value, String> {
    let text = input.get("text").and_then(Value::as_str).ok_or("the text is missing")?;
    let s = desk.lexicon.get_or_insert_with(Lexicon::new).score(text);
    Ok(json!({ "neg": s.negative, "neu": s.neutral, "pos": s.positive, "compound": s.compound }))
}

impl Desk {
    /// The path of a data file that a case names: as it stands in a data folder, or one level deeper.
    fn find(&self, name: &str) -> Result<PathBuf, String> {
        for folder in &self.folders {
            let direct = folder.join(name);
            if direct.is_file() {
                return Ok(direct);
            }
            let mut inner: Vec<PathBuf> =
                fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
            inner.sort();
            if let Some(found) = inner.iter().map(|path| path.join(name)).find(|path| path.is_file()) {
                return Ok(found);
            }
        }
        Err(format!("the data file {name} is in no data folder; name one with --data"))
    }

    /// Reads a data file that a case names.
    fn table(&self, name: &str) -> Result<crate::import::plain::Plain, String> {
        let path = self.find(name)?;
        crate::import::plain::read(&path, &mut |_, _| {}).map_err(|why| format!("{}: {why}", path.display()))
    }
}

/// How far an answer may be from what is expected.
#[derive(Clone, Copy)]
struct Tolerance {
    abs: f64,
    rel: f64,
    /// A larger number is better, so it passes.
    more_is_better: bool,
}

fn compare(kind: &str, case: &Value, got: &Value) -> Verdict {
    if kind.ends_with(".quality") {
        let differences = bars(&case["expected"], got);
        return if differences.is_empty() { Verdict::Met } else { Verdict::Missed { differences } };
    }
    let read = |key: &str, usual| case["tol"][key].as_f64().unwrap_or(usual);
    let tolerance = Tolerance {
        abs: read("abs", 1e-9),
        rel: read("rel", 1e-6),
        more_is_better: kind.rsplit('.').next() == Some("fit"),
    };
    let mut differences = Vec::new();
    differ("", &case["expected"], got, tolerance, &mut differences);
    if differences.is_empty() { Verdict::Met } else { Verdict::Missed { differences } }
}

/// Bars to reach: quality of the best public tool on the same file, less what is noise there.
const BARS: [(&str, &str, f64); 4] = [
    ("/info_at_0_5/f1", "pair F1 at the default threshold", 0.001),
    ("/info_best/f1", "pair F1 at the best threshold in hindsight", 0.001),
    ("/info_clusters_0_95/pair_f1", "pair F1 of the clusters", 0.001),
    ("/info_best_auc", "AUC over the folds", 0.002),
];

fn bars(want: &Value, got: &Value) -> Vec<String> {
    let short = |&(place, name, noise): &(&str, &str, f64)| {
        let (want, got) = (want.pointer(place)?.as_f64()?, got.pointer(place).and_then(Value::as_f64));
        let reached = got.is_some_and(|got| got >= want - noise);
        (!reached).then(|| {
            format!(
                "{name}: the best tool reaches {want:.4}, here {}",
                got.map_or("nothing".into(), |g| format!("{g:.4}"))
            )
        })
    };
    BARS.iter().filter_map(short).collect()
}

fn differ(path: &str, want: &Value, got: &Value, tolerance: Tolerance, out: &mut Vec<String>) {
    match (want, got) {
        (Value::Object(want), _) => {
            for (key, value) in want.iter().filter(|(key, _)| !key.starts_with("info_")) {
                let inner = &got[key];
                // "max_allowed_..." is a bar: any smaller number passes.
                let below = inner.as_f64().zip(value.as_f64()).is_some_and(|(got, want)| got <= want);
                if !(key.starts_with("max_allowed_") && below) {
                    differ(&format!("{path}.{key}"), value, inner, tolerance, out);
                }
            }
        }
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => {
            for (i, (a, b)) in want.iter().zip(got).enumerate() {
                differ(&format!("{path}[{i}]"), a, b, tolerance, out);
            }
        }
        (Value::Number(want), Value::Number(got)) => {
            let (want, got) = (want.as_f64().unwrap_or(f64::NAN), got.as_f64().unwrap_or(f64::NAN));
            let near = (got - want).abs() <= tolerance.abs + tolerance.rel * want.abs();
            if !(near || tolerance.more_is_better && got > want) {
                out.push(format!("{path}: want {want} got {got}"));
            }
        }
        _ if want == got => {}
        _ => out.push(format!("{path}: want {want} got {got}")),
    }
}

/// A list of numbers under a key.
fn numbers(value: &Value, key: &str) -> Result<Vec<f64>, String> {
    value[key]
        .as_array()
        .and_then(|list| list.iter().map(Value::as_f64).collect())
        .ok_or_else(|| format!("`{key}` is not a list of numbers"))
}

/// A text under a key.
fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value[key].as_str().ok_or_else(|| format!("`{key}` is not a text"))
}

/// A number under a key.
fn number(value: &Value, key: &str) -> Result<f64, String> {
    value[key].as_f64().ok_or_else(|| format!("`{key}` is not a number"))
}

/// What a method says, as a sentence.
fn say(why: impl std::fmt::Display) -> String {
    why.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named_and_a_better_fit_passes() {
        let case = json!({ "expected": { "a": [1.0, 2.0], "info_b": 3 }, "tol": { "abs": 0.1 } });
        assert_eq!(compare("x", &case, &json!({ "a": [1.05, 2.0] })), Verdict::Met);
        let missed = compare("x", &case, &json!({ "a": [1.0, 2.5] }));
        assert_eq!(missed, Verdict::Missed { differences: vec![".a[1]: want 2 got 2.5".into()] });
        let fit = json!({ "expected": { "log_likelihood": -10.0 } });
        assert_eq!(compare("bgnbd.fit", &fit, &json!({ "log_likelihood": -9.0 })), Verdict::Met);
        assert_ne!(compare("bgnbd.fit", &fit, &json!({ "log_likelihood": -11.0 })), Verdict::Met);
        assert_ne!(compare("x", &fit, &json!({})), Verdict::Met);
    }
}
