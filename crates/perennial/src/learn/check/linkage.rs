//! Answers to cases of record linkage: the quality on labelled records, untuned.

use std::collections::BTreeMap;
use std::path::Path;

use perennial_learn::link::{self, Linkage, Settings, Table};
use serde_json::{Value, json};

use super::{Desk, say, text};

/// Names of the columns that a linker must not see.
const HIDDEN: [&str; 3] = ["cluster", "unique_id", "rec_id"];

/// Answers one case; a file is linked once however many cases name it.
pub(super) fn answer(desk: &mut Desk, input: &Value) -> Result<Value, String> {
    let name = text(input, "file")?;
    let path = desk.find(name)?;
    if !desk.linked.contains_key(&path) {
        let told = measure(desk, name, &path)?;
        desk.linked.insert(path.clone(), told);
    }
    Ok(desk.linked[&path].clone())
}

fn measure(desk: &Desk, name: &str, path: &Path) -> Result<Value, String> {
    let data = desk.table(name)?;
    let truth = data.header.iter().position(|column| column == "cluster");
    let truth = &data.columns[truth.ok_or_else(|| format!("{} has no column `cluster`", path.display()))?];
    let used: Vec<usize> = (0..data.header.len()).filter(|&at| !HIDDEN.contains(&data.header[at].as_str())).collect();
    let mut table = Table::new(used.iter().map(|&at| data.header[at].as_str())).map_err(say)?;
    for row in 0..truth.len() {
        table.push(used.iter().map(|&at| Some(data.columns[at][row].as_str()))).map_err(say)?;
    }
    let linkage = link::link(&table, &Settings::default()).map_err(say)?;
    Ok(quality(truth, &linkage))
}

#[expect(clippy::cast_precision_loss, reason = "counts of pairs")]
fn quality(truth: &[String], linkage: &Linkage) -> Value {
    let clusters: Vec<String> = linkage.clusters.iter().map(u32::to_string).collect();
    let both: Vec<String> = truth.iter().zip(&clusters).map(|(t, c)| format!("{t}\t{c}")).collect();
    let total = pairs_within(truth);
    let mut said: Vec<(f64, bool)> = linkage
        .pairs
        .iter()
        .map(|pair| (pair.probability, truth[pair.left as usize] == truth[pair.right as usize]))
        .collect();
    said.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut right, mut best) = (0.0, 0.0_f64);
    for (at, (_, hit)) in said.iter().enumerate() {
        right += f64::from(u8::from(*hit));
        best = best.max(2.0 * right / (at as f64 + 1.0 + total));
    }
    let default: Vec<bool> = said.iter().filter(|pair| pair.0 >= 0.5).map(|pair| pair.1).collect();
    let hits = default.iter().filter(|hit| **hit).count() as f64;
    let (shared, found) = (pairs_within(&both), pairs_within(&clusters));
    json!({
        "info_records": truth.len(),
        "info_true_pairs": total,
        "info_best": { "f1": best },
        "info_at_0_5": { "precision": hits / (default.len() as f64).max(1.0), "recall": hits / total, "f1": 2.0 * hits / (default.len() as f64 + total) },
        "info_clusters_0_95": { "pair_p": shared / found.max(1.0), "pair_r": shared / total, "pair_f1": 2.0 * shared / (found + total) },
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of pairs")]
fn pairs_within(labels: &[String]) -> f64 {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    labels.iter().for_each(|label| *sizes.entry(label).or_default() += 1);
    sizes.values().map(|&n| (n * (n - 1) / 2) as f64).sum()
}
