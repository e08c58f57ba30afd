//! Links the records of a CSV file and, where a truth column is named, scores the answer.
//!
//! ```text
//! link_bench RECORDS.csv[.gz] [--id unique_id] [--truth cluster] [--pairs P.csv] [--clusters C.csv]
//!            [--lookup] [--verbose]
//! ```
//!
//! The id and truth columns are never given to the linker. `P.csv` has `unique_id_l,unique_id_r,score`
//! and `C.csv` `unique_id,cluster_id`, as the scoring script of the reference tools wants them.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read};
use std::time::Instant;

use perennial_learn::link::{self, Index, Linkage, Settings, Table};

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Records {
    table: Table,
    ids: Vec<String>,
    truth: Vec<String>,
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned();
    let path =
        args.first().ok_or("usage: link_bench RECORDS.csv [--id ..] [--truth ..] [--pairs ..] [--clusters ..]")?;
    let start = Instant::now();
    let id = option("--id").unwrap_or_else(|| "unique_id".into());
    let truth = option("--truth").unwrap_or_else(|| "cluster".into());
    let records = read(path, &id, &truth)?;
    let read_s = start.elapsed().as_secs_f64();
    let linkage = link::link(&records.table, &Settings::default())?;
    let total_s = start.elapsed().as_secs_f64();
    println!(
        "rows {}  read {read_s:.2} s  link {:.2} s  compared {}  kept {}  cpu {:.2} s  peak {} MB",
        records.table.rows(),
        total_s - read_s,
        linkage.compared,
        linkage.pairs.len(),
        cpu_seconds(),
        peak_mb()
    );
    describe(&linkage, args.iter().any(|arg| arg == "--verbose"));
    if !records.truth.is_empty() {
        score(&records, &linkage);
    }
    if args.iter().any(|arg| arg == "--lookup") {
        look_up(&records, &linkage)?;
    }
    write(&records, &linkage, option("--pairs"), option("--clusters"))
}

fn read(path: &str, id: &str, truth: &str) -> Outcome<Records> {
    let file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let source: Box<dyn Read> = if std::path::Path::new(path).extension().is_some_and(|end| end == "gz") {
        Box::new(flate2::read::MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut reader = csv::ReaderBuilder::new().buffer_capacity(1 << 20).from_reader(source);
    let header = reader.headers()?.clone();
    let place = |name: &str| header.iter().position(|column| column == name);
    let (id_at, truth_at) =
        (place(id).ok_or_else(|| format!("no column `{id}`: name the id column with --id"))?, place(truth));
    let used: Vec<usize> = (0..header.len()).filter(|at| *at != id_at && Some(*at) != truth_at).collect();
    let mut table = Table::new(used.iter().map(|&at| &header[at]))?;
    let (mut ids, mut labels) = (Vec::new(), Vec::new());
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        ids.push(record[id_at].trim().to_owned());
        labels.extend(truth_at.map(|at| record[at].to_owned()));
        table.push(used.iter().map(|&at| record.get(at)))?;
    }
    Ok(Records { table, ids, truth: labels })
}

fn describe(linkage: &Linkage, verbose: bool) {
    for comparison in &linkage.model.plan {
        println!(
            "  {:18} {:?} without {:?} partner {:?}",
            comparison.name, comparison.kind, comparison.without, comparison.partner
        );
    }
    println!("  rules {}  prior {:.3e}", linkage.model.rules.len(), linkage.model.weights.prior);
    if !verbose {
        return;
    }
    for rule in &linkage.model.rules {
        println!("  {rule:?}");
    }
    for (comparison, field) in linkage.model.plan.iter().zip(&linkage.model.weights.fields) {
        for ((name, m), u) in comparison.kind.levels().iter().zip(&field.m).zip(&field.u) {
            println!("    {:18} {name:45} m {m:.4} u {u:.6} weight {:+.2}", comparison.name, (m / u).log2());
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts fit a double exactly")]
fn score(records: &Records, linkage: &Linkage) {
    let pairs_of = |sizes: &BTreeMap<String, u64>| sizes.values().map(|n| n * (n - 1) / 2).sum::<u64>() as f64;
    let mut truth: BTreeMap<String, u64> = BTreeMap::new();
    let (mut found, mut both) = (BTreeMap::new(), BTreeMap::new());
    for (label, cluster) in records.truth.iter().zip(&linkage.clusters) {
        *truth.entry(label.clone()).or_default() += 1;
        *found.entry(cluster.to_string()).or_default() += 1;
        *both.entry(format!("{label}\t{cluster}")).or_default() += 1;
    }
    let total = pairs_of(&truth);
    let is_true = |left: u32, right: u32| records.truth[left as usize] == records.truth[right as usize];
    let reach = linkage.pairs.iter().filter(|pair| is_true(pair.left, pair.right)).count() as f64;
    let said: Vec<bool> = linkage
        .pairs
        .iter()
        .filter(|pair| pair.probability >= 0.5)
        .map(|pair| is_true(pair.left, pair.right))
        .collect();
    let right = said.iter().filter(|&&right| right).count() as f64;
    println!("blocking recall (kept) {:.4}", reach / total);
    report("pairs at 0.5", right, said.len() as f64, total);
    println!("best pair F1 in hindsight {:.4}", best_f1(linkage, &is_true, total));
    report("own clusters", pairs_of(&both), pairs_of(&found), total);
}

#[expect(clippy::cast_precision_loss, reason = "counts fit a double exactly")]
fn best_f1(linkage: &Linkage, is_true: &impl Fn(u32, u32) -> bool, total: f64) -> f64 {
    let mut order: Vec<(f64, bool)> =
        linkage.pairs.iter().map(|pair| (pair.probability, is_true(pair.left, pair.right))).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut right = 0.0;
    let f1 = order.iter().enumerate().map(|(at, (_, hit))| {
        right += f64::from(u8::from(*hit));
        2.0 * right / (at as f64 + 1.0 + total)
    });
    f1.fold(0.0, f64::max)
}

fn report(what: &str, right: f64, said: f64, total: f64) {
    let (precision, recall) = (right / said.max(1.0), right / total);
    println!("{what}: precision {precision:.4} recall {recall:.4} F1 {:.4}", 2.0 * right / (said + total));
}

/// Looks 2,000 rows up as if they were new and prints the time of one look-up.
fn look_up(records: &Records, linkage: &Linkage) -> Outcome<()> {
    let start = Instant::now();
    let index = Index::new(linkage);
    let built_s = start.elapsed().as_secs_f64();
    let rows = (0..records.table.rows()).step_by(records.table.rows().div_ceil(2000));
    let (mut times, mut found) = (Vec::new(), 0usize);
    for row in rows {
        let columns = 0..records.table.names().len();
        let values: Vec<Option<&str>> = columns.map(|column| records.table.value(row, column)).collect();
        let start = Instant::now();
        let answer = index.find(&values, 5)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        found += usize::from(answer.iter().any(|found| found.row as usize == row));
    }
    times.sort_by(f64::total_cmp);
    let (median, late, count) = (times[times.len() / 2], times[times.len() * 99 / 100], times.len());
    println!(
        "index built in {built_s:.2} s; a look-up takes {median:.3} ms (median), {late:.3} ms (99th of 100); {found} of {count} found"
    );
    Ok(())
}

fn write(records: &Records, linkage: &Linkage, pairs: Option<String>, clusters: Option<String>) -> Outcome<()> {
    if let Some(path) = pairs {
        let mut out = csv::Writer::from_writer(BufWriter::new(File::create(path)?));
        out.write_record(["unique_id_l", "unique_id_r", "score"])?;
        for pair in &linkage.pairs {
            out.write_record([
                &records.ids[pair.left as usize],
                &records.ids[pair.right as usize],
                &pair.probability.to_string(),
            ])?;
        }
        out.flush()?;
    }
    if let Some(path) = clusters {
        let mut out = csv::Writer::from_writer(BufWriter::new(File::create(path)?));
        out.write_record(["unique_id", "cluster_id"])?;
        for (id, &cluster) in records.ids.iter().zip(&linkage.clusters) {
            out.write_record([id, &records.ids[cluster as usize]])?;
        }
        out.flush()?;
    }
    Ok(())
}

/// Seconds of processor time of this process, from the kernel's clock ticks; 0 where unknown.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: Vec<f64> =
        stat.rsplit(')').next().unwrap_or("").split(' ').filter_map(|part| part.parse().ok()).collect();
    ticks.get(10).zip(ticks.get(11)).map_or(0.0, |(user, system)| (user + system) / 100.0)
}

/// Largest resident memory in MB; 0 where unknown.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}
