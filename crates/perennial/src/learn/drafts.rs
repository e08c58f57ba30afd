//! Files that appear when all is well, and not before.
//!
//! Promise: each file is written beside its place under another name and moved there at the end, so that
//! nobody finds half of one, and what was there before stays until then; a folder that cannot be
//! written is told before the work. Absent on purpose: several folders at one instant.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Files under work. What is not published is removed.
#[derive(Debug)]
pub(super) struct Drafts {
    files: Vec<Draft>,
}

/// What the caller named, where it is to appear, and where it is written meanwhile.
#[derive(Debug)]
struct Draft {
    named: PathBuf,
    place: PathBuf,
    written: PathBuf,
}

impl Drafts {
    /// Begins files that must not be any of `inputs` nor each other.
    pub(super) fn begin(inputs: &[&Path], outputs: &[&Path]) -> Result<Self, String> {
        let real = |path: &Path| fs::canonicalize(path).ok();
        let mut drafts = Self { files: Vec::new() };
        for path in outputs {
            let told = |why: String| format!("{}: {why}", path.display());
            if inputs.iter().any(|input| real(input).is_some_and(|input| real(path) == Some(input))) {
                return Err(told("is the table to read; name another file for the answers".into()));
            }
            // A link keeps standing; what it points to is replaced.
            let place = real(path).unwrap_or_else(|| path.to_path_buf());
            if place.is_dir() {
                return Err(told("is a folder; name a file in it".into()));
            }
            if place.exists() && !place.is_file() {
                return Err(told("is no file that can be replaced; name another".into()));
            }
            let Some(name) = place.file_name() else { return Err(told("names no file".into())) };
            let draft = place.with_file_name(format!(".{}.{}.draft", name.to_string_lossy(), std::process::id()));
            if drafts.files.iter().any(|file| file.written == draft) {
                return Err(told("is named for two different things; name two files".into()));
            }
            File::create(&draft).map_err(|why| told(unwritable(&why)))?;
            drafts.files.push(Draft { named: path.to_path_buf(), place, written: draft });
        }
        Ok(drafts)
    }

    fn draft(&self, path: &Path) -> Result<&Path, String> {
        let found = self.files.iter().find(|file| file.named == path);
        found.map(|file| file.written.as_path()).ok_or_else(|| format!("{}: was not begun", path.display()))
    }

    /// Writes a table.
    pub(super) fn csv<R, F>(&self, path: &Path, header: &[&str], rows: R) -> Result<(), String>
    where
        R: IntoIterator<Item = F>,
        F: IntoIterator,
        F::Item: AsRef<[u8]>,
    {
        let told = |why: csv::Error| format!("{}: {why}", path.display());
        let file = File::create(self.draft(path)?).map_err(|why| told(why.into()))?;
        let mut out = csv::Writer::from_writer(BufWriter::new(file));
        out.write_record(header).map_err(told)?;
        for row in rows {
            out.write_record(row).map_err(told)?;
        }
        out.flush().map_err(|why| told(why.into()))
    }

    /// Writes a text.
    pub(super) fn text(&self, path: &Path, text: &str) -> Result<(), String> {
        let written = File::create(self.draft(path)?).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|why| format!("{}: {}", path.display(), unwritable(&why)))
    }

    /// Moves all files to their places.
    pub(super) fn publish(self) -> Result<(), String> {
        let all: Vec<PathBuf> = self.files.iter().map(|file| file.named.clone()).collect();
        self.publish_only(&all)
    }

    /// Moves some files to their places; the others are not wanted after all.
    pub(super) fn publish_only(mut self, wanted: &[PathBuf]) -> Result<(), String> {
        let (wanted, rest) = std::mem::take(&mut self.files).into_iter().partition(|file| wanted.contains(&file.named));
        self.files = rest;
        let wanted: Vec<Draft> = wanted;
        for Draft { named, place, written } in wanted {
            fs::rename(&written, &place).map_err(|why| format!("{}: {}", named.display(), unwritable(&why)))?;
        }
        Ok(())
    }
}

impl Drop for Drafts {
    fn drop(&mut self) {
        for file in &self.files {
            // Nothing is left to do about a draft that cannot be removed; the error on its way says more.
            let _ = fs::remove_file(&file.written);
        }
    }
}

fn unwritable(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::NotFound => "cannot be written: its folder does not exist; make it first".into(),
        io::ErrorKind::PermissionDenied => "cannot be written here; name a folder of yours".into(),
        _ => format!("cannot be written: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_appear_together_and_leave_nothing_behind() {
        let folder = tempfile::TempDir::new().unwrap();
        let [a, b] = ["a.csv", "b.html"].map(|name| folder.path().join(name));
        let names = || {
            let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        fs::write(&a, "before").unwrap();
        let drafts = Drafts::begin(&[], &[&a, &b]).unwrap();
        drafts.csv(&a, &["x"], [["1"], ["2"]]).unwrap();
        assert_eq!(fs::read_to_string(&a).unwrap(), "before");
        drop(drafts);
        assert_eq!(names(), ["a.csv"]);
        let drafts = Drafts::begin(&[], &[&a, &b]).unwrap();
        drafts.csv(&a, &["x"], [["1"], ["2"]]).unwrap();
        drafts.text(&b, "<p>").unwrap();
        drafts.publish().unwrap();
        assert_eq!(names(), ["a.csv", "b.html"]);
        assert_eq!(fs::read_to_string(&a).unwrap(), "x\n1\n2\n");
    }

    #[test]
    fn places_that_cannot_be_are_refused_before_the_work() {
        let folder = tempfile::TempDir::new().unwrap();
        let table = folder.path().join("t.csv");
        fs::write(&table, "x").unwrap();
        let refused = |outputs: &[&Path], words: &str| {
            let why = Drafts::begin(&[&table], outputs).unwrap_err();
            assert!(why.contains(words), "{why}");
        };
        refused(&[&table], "the table to read");
        refused(&[folder.path()], "is a folder");
        refused(&[&folder.path().join("no/o.csv")], "does not exist");
        let twice = folder.path().join("o");
        refused(&[&twice, &twice], "two different things");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "drafts of refused files are gone");
    }
}
