//! How well uplift learners rank the customers of an e-mail test, with intervals and CPU seconds.
//!
//! usage: `cargo run --release -p perennial-learn --example uplift_bench -- HILLSTROM.csv[.gz] ARM [SPLIT.csv | SEED]`
//! `ARM` is womens, mens or any. Half of the rows train, half test: those that `SPLIT.csv` (columns
//! row, test: 0 train, 1 test) names, or a random half stratified by treatment and outcome.
//!
//! usage: `... -- made-up ROWS THREADS`: only the automatic choice, on as many drawn customers with ten columns.

mod tables;

use std::{error::Error, fs::File, io::Read};

use perennial_learn::{
    seed::{generator, uniform},
    table::{Column, Table, stratified_folds},
    uplift::{self, LEARNERS, metrics},
};

use tables::timed;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, arm, rest @ ..] = args.as_slice() else {
        return Err("usage: uplift_bench HILLSTROM.csv[.gz] womens|mens|any [SPLIT.csv | SEED]".into());
    };
    if path == "made-up" {
        return speed(arm.parse()?, rest.first().map_or(Ok(2), |threads| threads.parse())?);
    }
    let trial = read(path, arm)?;
    let how = rest.first().map_or("42", String::as_str);
    let test = match how.parse::<u64>() {
        Ok(seed) => halves(&trial, seed),
        Err(_) => split(how, &trial)?,
    };
    let rows = |inside: bool| (0..test.len()).filter(|&i| test[i] == inside).collect::<Vec<_>>();
    let (train, test) = (trial.take(&rows(false))?, trial.take(&rows(true))?);
    println!("{arm}: {} rows train, {} test", train.treated.len(), test.treated.len());
    let outcome: Vec<f64> = train.outcome.iter().map(|&y| f64::from(u8::from(y))).collect();
    let (auto, seconds) = timed(1, || uplift::fit(&train.table, &train.treated, &outcome, 1, 2, &|_| ()));
    let auto = auto?;
    println!("{}", auto.report);
    test.tell("automatic", &auto.effect.uplift(&test.table)?, seconds)?;
    for learner in LEARNERS {
        let (effect, seconds) = timed(1, || uplift::fit_one(learner, &train.table, &train.treated, &outcome, 1));
        test.tell(learner.name(), &effect?.uplift(&test.table)?, seconds)?;
    }
    Ok(())
}

/// Trains on half of drawn customers and tells how long it takes.
fn speed(rows: usize, threads: usize) -> Result<(), Box<dyn Error>> {
    let trial = drawn(rows)?;
    let (train, test): (Vec<usize>, Vec<usize>) = (0..rows).partition(|i| i % 3 > 0);
    let (train, test) = (trial.take(&train)?, trial.take(&test)?);
    let outcome: Vec<f64> = train.outcome.iter().map(|&y| f64::from(u8::from(y))).collect();
    let start = std::time::Instant::now();
    let (told, seconds) = timed(1, || -> Result<_, Box<dyn Error>> {
        let auto = uplift::fit(&train.table, &train.treated, &outcome, 1, threads, &|_| ())?;
        Ok((auto.effect.uplift(&test.table)?, auto.report))
    });
    let (score, report) = told?;
    println!("{report}\n{} rows, {threads} threads: {:.2} s", train.treated.len(), start.elapsed().as_secs_f64());
    test.tell("automatic", &score, seconds)
}

/// An experiment of which some columns drive the outcome and others the effect.
fn drawn(rows: usize) -> Result<Trial, Box<dyn Error>> {
    let mut rng = generator(5);
    let mut draw = || uniform(&mut rng);
    let mut columns = vec![vec![0.0; rows]; 9];
    let colour = |share: f64| match share {
        s if s < 0.25 => "red",
        s if s < 0.5 => "green",
        s if s < 0.75 => "blue",
        _ => "grey",
    };
    let kind: Vec<&str> = (0..rows).map(|_| colour(draw())).collect();
    let (mut treated, mut outcome) = (Vec::new(), Vec::new());
    for row in 0..rows {
        columns.iter_mut().for_each(|column| column[row] = draw());
        let x = |column: usize| columns[column][row];
        let effect = 0.02 + if x(3) > 0.5 && x(4) < 0.5 { 0.06 } else { 0.0 } + 0.05 * (x(5) - 0.5);
        let base = 0.05 + 0.15 * x(0) + 0.2 * x(1) * x(2) + if kind[row] == "red" { 0.1 } else { 0.0 };
        treated.push(draw() < 0.5);
        outcome.push(draw() < base + if treated[row] { effect } else { 0.0 });
    }
    let numbers = columns.into_iter().enumerate().map(|(i, values)| Column::numbers(&format!("x{i}"), values));
    let table = Table::new(numbers.chain([Column::categories("kind", kind)]).collect())?;
    Ok(Trial { table, treated, outcome, origin: (0..rows).collect() })
}

struct Trial {
    table: Table,
    treated: Vec<bool>,
    outcome: Vec<bool>,
    /// Row of the file.
    origin: Vec<usize>,
}

impl Trial {
    fn take(&self, rows: &[usize]) -> Result<Self, Box<dyn Error>> {
        let pick = |flags: &[bool]| rows.iter().map(|&i| flags[i]).collect();
        Ok(Self {
            table: self.table.take(rows)?,
            treated: pick(&self.treated),
            outcome: pick(&self.outcome),
            origin: rows.iter().map(|&i| self.origin[i]).collect(),
        })
    }

    fn tell(&self, name: &str, score: &[f64], seconds: f64) -> Result<(), Box<dyn Error>> {
        let told = metrics::measure(&self.outcome, &self.treated, score, 0.3)?;
        let [qini, _] = metrics::intervals(&self.outcome, &self.treated, score, 200, 0.95, 1)?;
        println!(
            "{name:22} Qini {:.5} ({:.4} to {:.4})  AUUC {:.5}  at 30 % {:.5}  raw {:.6}  {seconds:.2} s CPU",
            told.qini_auc, qini.low, qini.high, told.auuc, told.uplift_at_share_by_group, told.raw_qini
        );
        Ok(())
    }
}

fn halves(trial: &Trial, seed: u64) -> Vec<bool> {
    let class = |i: usize| usize::from(trial.treated[i]) + 2 * usize::from(trial.outcome[i]);
    let class: Vec<usize> = (0..trial.treated.len()).map(class).collect();
    stratified_folds(&class, 2, seed).into_iter().map(|f| f == 1).collect()
}

fn split(path: &str, trial: &Trial) -> Result<Vec<bool>, Box<dyn Error>> {
    let flags: Vec<String> =
        csv::Reader::from_path(path)?.records().map(|r| Ok(r?[1].to_string())).collect::<Result<_, csv::Error>>()?;
    Ok(trial.origin.iter().map(|&i| flags[i] == "1").collect())
}

fn read(path: &str, arm: &str) -> Result<Trial, Box<dyn Error>> {
    let mut text = String::new();
    let file = File::open(path)?;
    if std::path::Path::new(path).extension().is_some_and(|e| e == "gz") {
        flate2::read::GzDecoder::new(file).read_to_string(&mut text)?;
    } else {
        std::io::BufReader::new(file).read_to_string(&mut text)?;
    }
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers()?.iter().map(String::from).collect();
    let place = |name: &str| names.iter().position(|n| n == name).ok_or(format!("no column {name}"));
    let (segment, visit) = (place("segment")?, place("visit")?);
    let mut trial = Trial {
        table: Table::new(vec![Column::numbers("none", vec![0.0])])?,
        treated: vec![],
        outcome: vec![],
        origin: vec![],
    };
    let mut texts: Vec<Vec<String>> = vec![vec![]; names.len()];
    for (row, record) in reader.records().enumerate() {
        let record = record?;
        let wanted = match arm {
            "womens" => &record[segment] != "Mens E-Mail",
            "mens" => &record[segment] != "Womens E-Mail",
            _ => true,
        };
        if wanted {
            trial.treated.push(&record[segment] != "No E-Mail");
            trial.outcome.push(&record[visit] == "1");
            trial.origin.push(row);
            texts.iter_mut().zip(record.iter()).for_each(|(column, text)| column.push(text.into()));
        }
    }
    let kept =
        names.iter().zip(&texts).filter(|(n, _)| !["segment", "visit", "conversion", "spend"].contains(&n.as_str()));
    let column = |(name, texts): (&String, &Vec<String>)| {
        Column::from_text(name, &texts.iter().map(String::as_str).collect::<Vec<_>>())
    };
    trial.table = Table::new(kept.map(column).collect())?;
    Ok(trial)
}
