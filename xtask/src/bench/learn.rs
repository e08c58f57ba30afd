//! The goals of `perennial-learn`: our program and the public tools on the same files, in one run.
//!
//! A duel is two chains of commands and the figures to read from what they print. Adding a row is
//! adding an entry to [`DUELS`]. The data and the peers' scripts lie outside the repository (see
//! [`shared`]); without them a duel is left out, and without the peer's Python packages its side
//! stays empty, both with a line that says so.

use super::{Plan, Scratch, Table};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Figures of one job, from us and from a peer.
struct Duel {
    /// What `--only=` calls it.
    part: &'static str,
    /// Commands, one after the other; words are parted by blanks. Known in braces: `{perennial}`
    /// (the program), `{examples}` (our examples' folder), `{python}`, `{bench}`, `{data}` and
    /// `{reference}` (shared folders), `{out}` (a scratch folder of this duel).
    ours: &'static [&'static str],
    /// The peer's commands; none where the bar is a figure of its own.
    peer: &'static [&'static str],
    figures: &'static [Figure],
}

/// One row of the table.
struct Figure {
    what: &'static str,
    bar: &'static str,
    unit: &'static str,
    /// Words that stand in the output one after the other; the number after the last is read.
    ours: &'static [&'static str],
    /// The same for the peer's output.
    peer: &'static [&'static str],
}

/// Every duel, in the order of the table.
const DUELS: &[&[Duel]] = &[RECOMMEND];

const RECOMMEND: &[Duel] = &[Duel {
    part: "recommend",
    ours: &[
        "{python} {bench}/recsys_eval.py split --set movielens_1m --data {data} --out {out}",
        "{perennial} learn recommend --task for-you --train {out}/train.csv --out {out}/lists.csv",
        "{python} {bench}/recsys_eval.py score --test {out}/test.csv --recs {out}/lists.csv",
    ],
    peer: &[
        "{python} {bench}/recsys_baselines.py --set movielens_1m --data {data} --out {out} --algos ease --threads 1",
    ],
    figures: &[
        Figure {
            what: "movielens_1m for-you: NDCG@10, EASE",
            bar: ">= .335",
            unit: "",
            ours: &["ndcg@10"],
            peer: &["score", "ndcg@10"],
        },
        Figure {
            what: "  recall@20",
            bar: ">= .296",
            unit: "",
            ours: &["\"recall@20"],
            peer: &["score", "\"recall@20"],
        },
    ],
}];

/// Runs the duels whose part is wanted.
pub(super) fn run(plan: &Plan, table: &mut Table, wanted: &dyn Fn(&str) -> bool) -> Result<(), String> {
    let duels: Vec<&Duel> = DUELS.iter().copied().flatten().filter(|duel| wanted(duel.part)).collect();
    let Some(shared) = shared(plan) else {
        if !duels.is_empty() {
            println!("perennial-learn: left out; set PERENNIAL_SHARED to the folder that holds data and peers");
        }
        return Ok(());
    };
    for duel in duels {
        fight(plan, table, &shared, duel)?;
    }
    Ok(())
}

/// The folder with `data`, `bench` and `reference`: `PERENNIAL_SHARED`, or `shared` beside the repository.
fn shared(plan: &Plan) -> Option<PathBuf> {
    let named = std::env::var_os("PERENNIAL_SHARED").map(PathBuf::from);
    let beside = || plan.root.parent().map(|parent| parent.join("shared"));
    named.or_else(beside).filter(|folder| folder.join("bench").is_dir() && folder.join("data").is_dir())
}

fn fight(plan: &Plan, table: &mut Table, shared: &Path, duel: &Duel) -> Result<(), String> {
    let scratch = Scratch::new(duel.part)?;
    let chain = |commands: &[&str]| -> Result<String, String> {
        let mut said = String::new();
        for command in commands {
            said = step(&words(plan, shared, &scratch, command))?;
        }
        Ok(said)
    };
    eprintln!("{}", duel.figures.first().map_or(duel.part, |figure| figure.what));
    let ours = match chain(duel.ours) {
        Ok(said) => said,
        Err(why) => {
            println!("{}: left out: {why}", duel.part);
            return Ok(());
        }
    };
    let theirs = if duel.peer.is_empty() { None } else { Some(chain(duel.peer)) };
    if let Some(Err(why)) = &theirs {
        println!("{}: the peer was not run: {why}", duel.part);
    }
    let theirs = theirs.and_then(Result::ok);
    for row in duel.figures {
        let ours = number_after(&ours, row.ours).ok_or_else(|| format!("{}: no figure of ours", row.what))?;
        let theirs = theirs.as_deref().and_then(|said| number_after(said, row.peer));
        table.put(row.what, row.bar, row.unit, ours, theirs);
    }
    Ok(())
}

fn words(plan: &Plan, shared: &Path, scratch: &Scratch, command: &str) -> Vec<String> {
    let python = std::env::var("PERENNIAL_PYTHON").unwrap_or_else(|_| "python3".into());
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let known = [
        ("{perennial}", path(plan.programs.join("perennial"))),
        ("{examples}", path(plan.programs.join("examples"))),
        ("{python}", python),
        ("{bench}", path(shared.join("bench"))),
        ("{data}", path(shared.join("data"))),
        ("{reference}", path(shared.join("reference"))),
        ("{out}", scratch.text()),
    ];
    let fill = |word: &str| known.iter().fold(word.to_owned(), |word, (name, value)| word.replace(name, value));
    command.split_whitespace().map(fill).collect()
}

/// Runs one command; numerical libraries get one thread, as ours do, and choose their own kernels.
fn step(words: &[String]) -> Result<String, String> {
    let (program, arguments) = words.split_first().ok_or("an empty command")?;
    let mut command = Command::new(program);
    command.args(arguments).env_remove("OPENBLAS_CORETYPE").env_remove("OPENBLAS_L2_SIZE");
    for threads in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NTHREADS"] {
        command.env(threads, "1");
    }
    command.env("BENCH_CLOCK", "cpu");
    let ran = command.output().map_err(|e| format!("{program}: {e}"))?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    if ran.status.success() {
        return Ok(said);
    }
    let wrong = String::from_utf8_lossy(&ran.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), wrong.lines().last().unwrap_or("failed")))
}

/// The number after some words that follow each other in a text.
fn number_after(text: &str, words: &[&str]) -> Option<f64> {
    let mut rest = text;
    for word in words {
        rest = &rest[rest.find(word)? + word.len()..];
    }
    let rest = rest.trim_start_matches(|c: char| !c.is_ascii_digit() && c != '-' && c != '.');
    let end = rest.find(|c: char| !c.is_ascii_digit() && !"-+.e".contains(c)).unwrap_or(rest.len());
    rest[..end].trim_end_matches('.').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::number_after;

    #[test]
    fn a_figure_is_read_after_its_words() {
        let said = r#"ease {"params": {"reg": 300}, "score": {"users": 9, "ndcg@10": 0.3314, "recall@20": 2.5e-1}}"#;
        assert_eq!(number_after(said, &["score", "ndcg@10"]), Some(0.3314));
        assert_eq!(number_after(said, &["\"recall@20"]), Some(0.25));
        assert_eq!(number_after("fit=0.45 s; 12,000", &["fit"]), Some(0.45));
        assert_eq!(number_after(said, &["als"]), None);
    }
}
