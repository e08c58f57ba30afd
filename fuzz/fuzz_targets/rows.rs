//! Rows of the state and of the messages seen, as nobody wrote them: using them ends in an answer, or in a
//! failure that names the file.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use perennial_store::fuzzing::{make_rows, use_damaged_rows};
use tempfile::TempDir;

/// The whole files, and where their copies are damaged.
static FOLDERS: LazyLock<(TempDir, TempDir)> = LazyLock::new(|| {
    let folder = || tempfile::tempdir().expect("a folder for the files");
    let folders = (folder(), folder());
    make_rows(folders.0.path()).expect("the files can be made");
    folders
});

fuzz_target!(|data: &[u8]| use_damaged_rows(FOLDERS.0.path(), FOLDERS.1.path(), data));
