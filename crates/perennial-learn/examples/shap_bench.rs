//! Measures TreeSHAP in CPU seconds per 1,000 rows.
//!
//! usage: `shap_bench [ROWS | SURROGATE.json]`
//!
//! With a number: made-up surrogates, six classes of 100 trees of depth six over eight features. With a
//! file: `classes` (ensembles as this crate writes them), `rows`, and the `contributions` that another
//! tool found (per row and class, the bias last); the largest difference from them is printed.

use perennial_learn::seed::{Rng, below, generator, uniform};
use perennial_learn::shap::{Ensemble, Node, Tree};

#[path = "common/mod.rs"]
mod common;
use common::timed;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(serde::Deserialize)]
struct Surrogate {
    classes: Vec<Ensemble>,
    rows: Vec<Vec<f64>>,
    contributions: Vec<Vec<Vec<f64>>>,
}

fn main() -> Outcome<()> {
    match std::env::args().nth(1) {
        Some(file) if file.parse::<usize>().is_err() => compare(&file),
        rows => {
            made_up(rows.map_or(Ok(1000), |rows| rows.parse())?);
            Ok(())
        }
    }
}

/// Explains another tool's trees and says how far its contributions are from ours.
fn compare(file: &str) -> Outcome<()> {
    let given: Surrogate = serde_json::from_reader(std::io::BufReader::new(std::fs::File::open(file)?))?;
    let table = given.rows.concat();
    let what = format!("contributions, {} rows, {} classes", given.rows.len(), given.classes.len());
    let (found, _) =
        timed(&what, || given.classes.iter().map(|model| model.explain(&table)).collect::<Result<Vec<_>, _>>());
    let found = found?;
    let mut worst: f64 = 0.0;
    for (row, theirs) in given.contributions.iter().enumerate() {
        for (ours, theirs) in found.iter().zip(theirs) {
            let ours = ours.rows[row].iter().chain([&ours.bias]);
            worst = ours.zip(theirs).fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
        }
    }
    println!("  largest difference {:.6} millionths", worst * 1e6);
    Ok(())
}

fn grow(rng: &mut impl Rng, nodes: &mut Vec<Node>, depth: usize, cover: f64) -> usize {
    let at = nodes.len();
    nodes.push(Node::Leaf { value: uniform(rng) - 0.5, cover });
    if depth > 0 {
        let share = 0.2 + 0.6 * uniform(rng);
        let (feature, threshold) = (below(rng, 8), uniform(rng));
        let left = grow(rng, nodes, depth - 1, cover * share);
        let right = grow(rng, nodes, depth - 1, cover * (1.0 - share));
        nodes[at] = Node::Split { feature, threshold, left, right, missing_left: true, cover };
    }
    at
}

fn made_up(rows: usize) {
    let mut rng = generator(1);
    let classes: Vec<Ensemble> = (0..6)
        .map(|_| {
            let trees = (0..100)
                .map(|_| {
                    let mut nodes = Vec::new();
                    grow(&mut rng, &mut nodes, 6, 50_000.0);
                    Tree { nodes }
                })
                .collect();
            Ensemble { features: 8, base: 0.0, trees }
        })
        .collect();
    let table: Vec<f64> = (0..rows * 8).map(|_| uniform(&mut rng)).collect();
    let (worst, _) = timed(&format!("{rows} rows, 6 classes of 100 trees of depth 6"), || {
        let mut worst: f64 = 0.0;
        for model in &classes {
            let found = model.explain(&table).expect("sound trees");
            for (row, parts) in table.chunks_exact(8).zip(&found.rows) {
                worst = worst.max((found.bias + parts.iter().sum::<f64>() - model.predict(row)).abs());
            }
        }
        worst
    });
    println!("  largest gap between contributions and answer {worst:.1e}");
    let ((), one) = timed("one row at a time, 20 rows", || {
        table
            .chunks_exact(8)
            .take(20)
            .for_each(|row| classes.iter().for_each(|m| drop(m.explain(row).expect("sound trees"))));
    });
    println!("  {:.2} ms a row", one / 20.0 * 1e3);
}
