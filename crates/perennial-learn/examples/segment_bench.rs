//! Measures clustering in CPU seconds.
//!
//! usage: `segment_bench ROWS.f64 COLUMNS K [SEEDS]`, where the file holds little-endian doubles row by row
//! (in Python: `numpy.ascontiguousarray(X).tofile("ROWS.f64")`).

#![expect(clippy::cast_precision_loss, reason = "counts of rounds and rows are small")]

use perennial_learn::segment::{KMeans, Points, Stream, hdbscan};

#[path = "common/mod.rs"]
mod common;
use common::timed;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, path, columns, k, rest @ ..] = args.as_slice() else {
        return Err("usage: segment_bench ROWS.f64 COLUMNS K [SEEDS]".into());
    };
    let (columns, k): (usize, usize) = (columns.parse()?, k.parse()?);
    let seeds: u64 = rest.first().map_or(Ok(3), |s| s.parse())?.max(1);
    let bytes = std::fs::read(path)?;
    let values = bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap_or_default())).collect();
    let points = Points::new(values, columns)?;
    println!("{} rows, {columns} columns, k {k}", points.len());
    let (mut spent, mut inertias) = (Vec::new(), Vec::new());
    for seed in 0..seeds {
        let (fit, seconds) = timed("k-means", || KMeans::fit(&points, k, seed));
        let fit = fit?;
        println!("  inertia {:.3} after {} passes", fit.inertia, fit.iterations);
        spent.push(seconds);
        inertias.push(fit.inertia);
    }
    spent.sort_by(f64::total_cmp);
    let worst = inertias.iter().copied().fold(0.0, f64::max);
    println!("all runs: median {:.3} CPU s, inertia at worst {worst:.3}", spent[spent.len() / 2]);
    let model = KMeans::fit(&points, k, 0)?.model;
    let (sum, seconds) = timed("assign one by one", || points.rows().map(|row| model.assign(row).0).sum::<usize>());
    println!("  {:.1} ns a profile (checksum {sum})", seconds / points.len() as f64 * 1e9);
    let first = points.pick(&(0..points.len().min(10_000)).collect::<Vec<_>>());
    let mut stream = Stream::from_batch(&first, k, 0)?;
    timed("stream, batches of 10,000", || {
        for from in (0..points.len()).step_by(10_000) {
            let batch = points.pick(&(from..(from + 10_000).min(points.len())).collect::<Vec<_>>());
            stream.push_batch(&batch).expect("same columns");
        }
    });
    let inertia: f64 = points.rows().map(|row| stream.model().assign(row).1).sum();
    println!("  inertia of the streamed centres {inertia:.3}");
    let some = points.pick(&(0..points.len().min(20_000)).collect::<Vec<_>>());
    let (found, _) = timed("HDBSCAN of 20,000", || hdbscan(&some, 100, 100));
    println!("  {} clusters", found?.stabilities.len());
    Ok(())
}
