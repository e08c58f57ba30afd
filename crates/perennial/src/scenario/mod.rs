//! Scenarios: stories with a simulated clock, the unit tests of a programme.
//!
//! Promise: a run uses the real engine on a store in memory; no real time passes. After the last
//! step the books are checked and the journal is folded again.

mod expect;
mod step;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use perennial_core::event::Product;
use perennial_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use step::Stage;

use crate::wire::catalog::{IMPACT, thousandths};

/// One scenario file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    program: PathBuf,
    #[serde(default)]
    patch: Option<Value>,
    clock: Timestamp,
    #[serde(default)]
    catalog: Option<Catalog>,
    steps: Vec<Value>,
    /// Free words for the reader.
    #[serde(default, rename = "why")]
    _why: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Catalog {
    Path(PathBuf),
    Products(Vec<Listed>),
}

/// A product as a scenario lists it.
#[derive(Deserialize)]
struct Listed {
    product_id: Value,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    impact: std::collections::BTreeMap<String, Value>,
    #[serde(flatten)]
    about: perennial_core::value::Properties,
}

/// What became of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The file.
    pub file: PathBuf,
    /// The scenario's name; the file's when it could not be read.
    pub name: String,
    /// Steps that ran.
    pub steps: usize,
    /// What did not hold.
    pub failures: Vec<Failed>,
    /// Why the file could not be read or run.
    pub error: Option<String>,
}

/// One expectation that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// The step, from 1; 0 for the checks after the last step.
    pub step: usize,
    /// The field.
    pub field: String,
    /// What was expected.
    pub expected: String,
    /// What was there.
    pub found: String,
}

impl Failed {
    fn new(field: impl Into<String>, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self { step: 0, field: field.into(), expected: expected.to_string(), found: found.to_string() }
    }
}

/// Finds scenario files: those named, and all `.yaml` and `.yml` below folders, in order. Programmes
/// may lie among them; they are passed over.
///
/// # Errors
/// When a path is not there.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in paths {
        let below = std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?;
        if below.is_dir() { gather(path, &mut files)? } else { files.push(path.clone()) }
    }
    Ok(files)
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let unreadable = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(unreadable)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            gather(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") && !is_program(&path) {
            files.push(path);
        }
    }
    Ok(())
}

/// Programmes say so at the start of a line. A file that cannot be read is reported when it is run.
fn is_program(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.starts_with("perennial:")))
}

/// Runs files on all cores; verdicts in the order of the files.
pub fn run_all(files: &[PathBuf]) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(vec![None; files.len()]);
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(files.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = run(file);
                    let at = files.iter().position(|f| std::ptr::eq(f, file));
                    let mut slots = verdicts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    at.into_iter().for_each(|at| slots[at] = Some(verdict.clone()));
                }
            });
        }
    });
    verdicts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_iter().flatten().collect()
}

/// Runs one file.
pub fn run(path: &Path) -> Verdict {
    let mut verdict = Verdict {
        file: path.to_owned(),
        name: path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default(),
        steps: 0,
        failures: Vec::new(),
        error: None,
    };
    if let Err(error) = play(path, &mut verdict) {
        verdict.error = Some(error);
    }
    verdict
}

fn play(path: &Path, verdict: &mut Verdict) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    if is_program(path) {
        return Err("this is a programme, not a story: a story has name, program, clock and steps".into());
    }
    // An order named `y` or `no` is a name.
    let options = serde_saphyr::options! { strict_booleans: true };
    let file: File = serde_saphyr::from_str_with_options(&text, options).map_err(|e| e.to_string())?;
    verdict.name.clone_from(&file.name);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut stage = Stage::open(folder, &file.program, file.patch.as_ref(), file.clock)?;
    if let Some(catalog) = file.catalog {
        stage.catalog(products(folder, catalog)?)?;
    }
    for (at, step) in file.steps.iter().enumerate() {
        let failures = stage.play(at + 1, step).map_err(|e| format!("step {}: {e}", at + 1))?;
        verdict.failures.extend(failures.into_iter().map(|f| Failed { step: at + 1, ..f }));
        verdict.steps += 1;
    }
    let faults = stage.close()?;
    verdict.failures.extend(faults.into_iter().map(|f| Failed::new("books", "sound", f)));
    Ok(())
}

fn products(folder: &Path, catalog: Catalog) -> Result<Vec<Product>, String> {
    match catalog {
        Catalog::Products(listed) => listed.into_iter().map(product).collect(),
        Catalog::Path(path) => {
            let path = folder.join(path);
            let mut reader = csv::Reader::from_path(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let rows = reader.deserialize::<std::collections::BTreeMap<String, String>>();
            rows.map(|row| row.map_err(|e| e.to_string()).and_then(|row| from_row(&row))).collect()
        }
    }
}

/// A catalogue row: `product_id`, `tags` separated by spaces, and `impact.<unit>` columns.
fn from_row(row: &std::collections::BTreeMap<String, String>) -> Result<Product, String> {
    let impact = row.iter().filter_map(|(name, value)| {
        let unit = name.strip_prefix("impact.")?;
        (!value.is_empty()).then(|| (unit.to_owned(), Value::String(value.clone())))
    });
    let about =
        row.iter().filter(|(name, _)| !name.starts_with("impact.") && !["product_id", "tags"].contains(&name.as_str()));
    product(Listed {
        product_id: row.get("product_id").cloned().map_or(Value::Null, Value::String),
        tags: row.get("tags").map(|t| t.split_whitespace().map(str::to_owned).collect()).unwrap_or_default(),
        impact: impact.collect(),
        about: perennial_core::value::Properties(about.map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect()),
    })
}

fn product(listed: Listed) -> Result<Product, String> {
    let product_id = match &listed.product_id {
        Value::String(id) if !id.is_empty() => id.as_str().into(),
        Value::Number(id) => id.to_string().into(),
        _ => return Err("catalog: every product needs a product_id".into()),
    };
    let impact = listed.impact.into_iter().map(|(unit, amount)| {
        let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
        let exact: rust_decimal::Decimal = text.parse().map_err(|_| format!("catalog: impact.{unit} is no number"))?;
        let amount = thousandths(exact).ok_or_else(|| format!("catalog: impact.{unit} must be {IMPACT}"))?;
        Ok((unit.into(), amount))
    });
    Ok(Product {
        product_id,
        tags: listed.tags.into_iter().map(Into::into).collect(),
        impact: impact.collect::<Result<_, String>>()?,
        about: listed.about,
    })
}

impl Verdict {
    /// Whether the scenario held.
    pub fn holds(&self) -> bool {
        self.error.is_none() && self.failures.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = &self.error {
            return write!(f, "ERROR {}: {error}", self.file.display());
        }
        if self.failures.is_empty() {
            return write!(f, "ok    {} ({} steps)", self.name, self.steps);
        }
        write!(f, "FAIL  {}", self.name)?;
        for failed in &self.failures {
            let place = if failed.step == 0 { "at the end".into() } else { format!("step {}", failed.step) };
            let file = self.file.display();
            write!(
                f,
                "\n      {file}, {place}: {}: expected {}, found {}",
                failed.field, failed.expected, failed.found
            )?;
        }
        Ok(())
    }
}
