//! Programmes: what compiles, and what is said of what does not.

use perennial_core::program;

fn shipped() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../programs");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|p| (p.display().to_string(), std::fs::read_to_string(&p).unwrap())).collect()
}

#[test]
fn shipped_programmes_compile() {
    let files = shipped();
    assert!(!files.is_empty());
    for (file, text) in files {
        if let Err(problems) = program::compile(&text) {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{file}:\n{}", lines.join("\n"));
        }
    }
}
