//! Pairs that a person should decide, and what was decided.
//!
//! Promise: the file of questions, filled in, is a file of answers; nobody copies anything. A line without an
//! answer is passed over.

use std::collections::HashMap;
use std::path::Path;

use perennial_learn::link::{Answer, Explanation, Linkage};

use super::super::drafts::Drafts;
use super::super::frame::Frame;

/// Pairs asked about at most in one file.
const QUESTIONS: usize = 100;
/// What is asked of each pair; the last column is for the answer.
const HEADER: [&str; 7] = ["record", "other_record", "probability", "says", "other_says", "because", "same"];
const YES: [&str; 5] = ["yes", "y", "1", "true", "same"];
const NO: [&str; 5] = ["no", "n", "0", "false", "different"];

/// What a record says in the columns that are compared.
pub(super) fn shown(frame: &Frame, linkage: &Linkage, row: u32) -> String {
    let compared = |name: &String| linkage.model.plan.iter().any(|column| column.name == *name);
    let columns = frame.header.iter().zip(&frame.columns).filter(|(name, _)| compared(name));
    let texts = columns.map(|(_, column)| column[row as usize].as_str());
    texts.filter(|text| !text.is_empty()).take(8).collect::<Vec<_>>().join(", ")
}

/// Writes the pairs whose answers would teach most, the most telling first.
pub(super) fn write(
    drafts: &Drafts,
    path: &Path,
    frame: &Frame,
    linkage: &Linkage,
    ids: &[String],
) -> Result<(), String> {
    let mut rows = Vec::new();
    for question in linkage.questions(QUESTIONS) {
        let (left, right) = (question.left as usize, question.right as usize);
        let why = linkage.explain(left, right).map_err(|why| frame.wrong(&why.to_string()))?;
        rows.push([
            ids[left].clone(),
            ids[right].clone(),
            format!("{:.4}", question.probability),
            shown(frame, linkage, question.left),
            shown(frame, linkage, question.right),
            because(&why),
            String::new(),
        ]);
    }
    drafts.csv(path, &HEADER, rows)
}

/// What speaks for one person and what against it, in bits, the weightiest first.
pub(super) fn because(why: &Explanation) -> String {
    let mut parts: Vec<_> = why.parts.iter().filter(|part| part.weight_bits.abs() >= 0.05).collect();
    parts.sort_by(|a, b| b.weight_bits.abs().total_cmp(&a.weight_bits.abs()));
    let told = parts.iter().map(|part| format!("{} {} {:+.1}", part.column, part.found, part.weight_bits));
    let rarity = format!("before looking {:+.1}", why.prior_bits);
    told.chain(std::iter::once(rarity)).collect::<Vec<_>>().join(", ")
}

/// Reads what people decided about records by their ids.
pub(super) fn read(path: &Path, ids: &[String], quiet: bool) -> Result<Vec<Answer>, String> {
    let table = Frame::read(path, quiet)?;
    let [left, right, same] = [HEADER[0], HEADER[1], HEADER[6]].map(|name| table.column(name));
    let (left, right, same) = (left?, right?, same?);
    let mut rows: HashMap<&str, Option<u32>> = HashMap::new();
    for (row, id) in (0u32..).zip(ids) {
        rows.entry(id).and_modify(|twice| *twice = None).or_insert(Some(row));
    }
    let mut answers = Vec::new();
    for at in 0..table.rows() {
        let wrong = |why: String| table.wrong(&format!("{why} in line {}", table.line(at)));
        let Some(same) = decided(&table.columns[same][at]).map_err(wrong)? else { continue };
        let find = |column: usize| {
            let id = table.columns[column][at].as_str();
            match rows.get(id) {
                Some(Some(row)) => Ok(*row),
                Some(None) => Err(wrong(format!("`{id}` names several records; give an id of its own to each (--id)"))),
                None => Err(wrong(format!("there is no record `{id}` (`{}`)", table.header[column]))),
            }
        };
        answers.push(Answer { left: find(left)?, right: find(right)?, same });
    }
    Ok(answers)
}

/// A yes, a no, or nothing yet.
fn decided(text: &str) -> Result<Option<bool>, String> {
    let word = text.trim().to_lowercase();
    match word.as_str() {
        "" => Ok(None),
        word if YES.contains(&word) => Ok(Some(true)),
        word if NO.contains(&word) => Ok(Some(false)),
        _ => Err(format!("`{text}` is neither yes nor no")),
    }
}
