//! Scenarios: stories with a simulated clock, the unit tests of a programme.
//!
//! Promise: a run uses the real engine on a store in memory; no real time passes. After the last
//! step the books are checked and the journal is folded again.

mod catalog;
mod expect;
mod form;
mod step;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use perennial_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use step::Stage;

use crate::commands::unread;
use crate::workspace::{Receipt, Status};

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
    catalog: Option<Value>,
    steps: Vec<Value>,
    /// Free words for the reader.
    #[serde(default, rename = "why")]
    _why: Option<String>,
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
    /// What cannot count and was not expected to be rejected; no failure.
    pub notes: Vec<Note>,
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

/// A reject that no step expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The step, from 1.
    pub step: usize,
    /// The reject's code.
    pub code: String,
    /// The field at fault; empty for the whole message.
    pub field: String,
    /// What is wrong and what would mend it.
    pub reason: String,
}

impl Note {
    /// None when the message counts, or counted before.
    fn of(step: usize, receipt: Receipt) -> Option<Self> {
        let (code, field, reason) = match receipt.status {
            Status::Accepted | Status::Duplicate => return None,
            Status::Rejected { code, field, reason } => (code, field, reason),
            Status::Quarantined => {
                let reason = format!("another message has the id '{}'; give each its own", receipt.message_id);
                ("conflict".into(), "messageId".into(), reason.into())
            }
        };
        Some(Self { step, code: code.into(), field: field.into(), reason: reason.into() })
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
        let below = std::fs::metadata(path).map_err(|e| unread(path, &e))?;
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

/// The story of a text. An order named `y` or `no` is a name.
fn read(text: &str) -> Result<File, String> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let said = error.to_string();
        let line = error.location().map_or(0, |at| at.line());
        let plain = |remedy: &str| if line > 0 { format!("line {line}: {remedy}") } else { remedy.into() };
        match said {
            _ if text.trim().is_empty() => "the file is empty: a story has name, program, clock and steps".into(),
            _ if said.contains("from_str_multiple") => plain("a file holds one story: take out the line '---'"),
            _ if said.contains("DuplicateKeyPolicy") => {
                plain("a name is written twice in one map: keep one of the two")
            }
            _ if said.contains("budget breached: Depth") => {
                plain("this is nested too deeply: close the brackets that are open")
            }
            _ if said.contains("budget breached") => {
                "the file is too long: divide its story among several files".into()
            }
            said => said,
        }
    })
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
        notes: Vec::new(),
        error: None,
    };
    if let Err(error) = play(path, &mut verdict) {
        verdict.error = Some(error);
    }
    verdict
}

fn play(path: &Path, verdict: &mut Verdict) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|e| unread(path, &e))?;
    if is_program(path) {
        return Err("this is a programme, not a story: a story has name, program, clock and steps".into());
    }
    let file = read(&text)?;
    verdict.name.clone_from(&file.name);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut stage = Stage::open(folder, &file.program, file.patch.as_ref(), file.clock)?;
    if let Some(catalog) = &file.catalog {
        stage.catalog(catalog::products(folder, catalog)?)?;
    }
    for (at, step) in file.steps.iter().enumerate() {
        let failures = stage.play(at + 1, step).map_err(|e| format!("step {}: {e}", at + 1));
        verdict.notes.append(&mut stage.notes);
        let failures = failures?;
        verdict.failures.extend(failures.into_iter().map(|f| Failed { step: at + 1, ..f }));
        verdict.steps += 1;
    }
    let faults = stage.close()?;
    verdict.failures.extend(faults.into_iter().map(|f| Failed::new("books", "sound", f)));
    Ok(())
}

impl Verdict {
    /// Whether the scenario held.
    pub fn holds(&self) -> bool {
        self.error.is_none() && self.failures.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.error {
            Some(error) => write!(f, "ERROR {file}: {error}")?,
            None if self.failures.is_empty() => write!(f, "ok    {} ({} steps)", self.name, self.steps)?,
            None => write!(f, "FAIL  {}", self.name)?,
        }
        for Failed { step, field, expected, found } in &self.failures {
            let place = if *step == 0 { "at the end".into() } else { format!("step {step}") };
            write!(f, "\n      {file}, {place}: {field}: expected {expected}, found {found}")?;
        }
        for Note { step, code, field, reason } in &self.notes {
            let named = field.is_empty() || reason.starts_with(field);
            let field = if named { String::new() } else { format!("{field}: ") };
            write!(f, "\n      note: {file}, step {step}: rejected: {code} ({field}{reason})")?;
        }
        Ok(())
    }
}
