//! How fast lifetime models fit, and how well, in CPU seconds of one thread.
//!
//! usage: `cargo run --release -p perennial-learn --example clv_bench -- SUMMARY.csv [CUSTOMERS]`
//! `SUMMARY.csv` has the columns id, frequency, recency, T. `CUSTOMERS` (1,000,000 unless given) are
//! then simulated from the fitted BG/NBD model, once with times in whole days and once exact, so that
//! histories repeat or never do.

mod tables;

use std::error::Error;

use perennial_learn::{
    lifetime::{Purchases, RepeatBuying, bgnbd, bgnbd::Bgnbd, mbgnbd, pareto},
    seed::{generator, uniform},
};

use tables::timed;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: clv_bench SUMMARY.csv [CUSTOMERS]")?;
    let count = args.next().map_or(Ok(1_000_000), |n| n.parse::<usize>())?;
    let customers = read(&path)?;
    let fitted = report("shop", &customers, 21)?;
    for (name, grain) in [("simulated, days", 1.0 / 7.0), ("simulated, exact", 0.0)] {
        report(name, &simulate(fitted, count, grain), 3)?;
    }
    Ok(())
}

fn report(name: &str, customers: &[Purchases], times: u32) -> Result<Bgnbd, Box<dyn Error>> {
    let (bg, seconds) = timed(times, || bgnbd::fit(customers));
    let bg = bg?;
    let line = |model: &str, ll: f64, seconds: f64| {
        println!(
            "{name:18} {:9} customers  {model:10} log-likelihood {ll:16.6}  fit {seconds:.6} CPU s",
            customers.len()
        );
    };
    line("BG/NBD", bg.log_likelihood, seconds);
    let (mbg, seconds) = timed(times, || mbgnbd::fit(customers));
    line("MBG/NBD", mbg?.log_likelihood, seconds);
    let (pareto, seconds) = timed(times.min(5), || pareto::fit(customers));
    line("Pareto/NBD", pareto?.log_likelihood, seconds);
    let (sum, seconds) = timed(1, || customers.iter().map(|&c| bg.model.expected_purchases(c, 52.0)).sum::<f64>());
    println!(
        "{name:18} expected purchases in 52 units: {sum:.1} in all, {:.0} ns a customer",
        seconds * 1e9 / f64::from(u32::try_from(customers.len())?)
    );
    println!("{name:18} BG/NBD {:?}, standard errors {:?}", bg.model, bg.standard_errors());
    Ok(bg.model)
}

fn read(path: &str) -> Result<Vec<Purchases>, Box<dyn Error>> {
    csv::Reader::from_path(path)?
        .records()
        .map(|row| {
            let row = row?;
            Ok(Purchases { frequency: row[1].parse()?, recency: row[2].parse()?, age: row[3].parse()? })
        })
        .collect()
}

/// Customers drawn from a BG/NBD model, observed for 27 to 39 units of time; times are rounded up
/// to multiples of `grain` when that is positive.
fn simulate(model: Bgnbd, count: usize, grain: f64) -> Vec<Purchases> {
    let mut rng = generator(42);
    let mut gamma = move |shape: f64| gamma(shape, &mut || uniform(&mut rng));
    let round = |t: f64| {
        if grain > 0.0 { (t / grain).ceil() * grain } else { t }
    };
    (0..count)
        .map(|_| {
            let rate = gamma(model.r) / model.alpha;
            let (leaves, stays) = (gamma(model.a), gamma(model.b));
            let leave = leaves / (leaves + stays);
            let chance = |gamma: &mut dyn FnMut(f64) -> f64| 1.0 - (-gamma(1.0)).exp();
            let age = round(27.0 + 12.0 * chance(&mut gamma));
            let (mut frequency, mut recency, mut now) = (0, 0.0, 0.0);
            loop {
                now += gamma(1.0) / rate;
                if round(now) > age || !now.is_finite() {
                    break;
                }
                (frequency, recency) = (frequency + 1, round(now));
                if chance(&mut gamma) < leave {
                    break;
                }
            }
            Purchases { frequency, recency, age }
        })
        .collect()
}

/// A gamma variate by Marsaglia & Tsang (2000), with the boost for shapes below 1.
fn gamma(shape: f64, uniform: &mut dyn FnMut() -> f64) -> f64 {
    if shape < 1.0 {
        let boost = uniform().max(1e-300).powf(1.0 / shape);
        return gamma(shape + 1.0, uniform) * boost;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let radius = (-2.0 * uniform().max(1e-300).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * uniform()).cos();
        let v = (1.0 + c * normal).powi(3);
        if v > 0.0 && uniform().max(1e-300).ln() < 0.5 * normal * normal + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}
