//! `perennial-sim --seed N --steps M`: a random shop, looking for broken laws. `--tell` prints each
//! step of the one shop with this seed, and what it wrote; `--close` looks at everybody, and verifies
//! everything, after each step.

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (seed, steps) = match (number(&arguments, "--seed", 7), number(&arguments, "--steps", 10_000)) {
        (Ok(seed), Ok(steps)) => (seed, steps),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("{error}; usage: perennial-sim [--seed N] [--steps M] [--tell | --close]");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let asked = |flag: &str| arguments.iter().any(|a| a == flag);
    let ran = match (asked("--tell"), asked("--close")) {
        (true, _) => perennial_sim::tell(seed, steps),
        (_, true) => perennial_sim::look_closely(seed, steps),
        _ => perennial_sim::run(seed, steps),
    };
    match ran {
        Ok(report) => {
            let seconds = start.elapsed().as_secs_f64();
            println!("seed {seed}: no law broken in {seconds:.1} s\n{report:#?}");
            ExitCode::SUCCESS
        }
        Err(found) => {
            eprintln!("{found}");
            ExitCode::FAILURE
        }
    }
}

fn number(arguments: &[String], name: &str, default: u64) -> Result<u64, String> {
    let Some(at) = arguments.iter().position(|a| a == name) else { return Ok(default) };
    let value = arguments.get(at + 1).ok_or_else(|| format!("{name} needs a number"))?;
    value.replace('_', "").parse().map_err(|_| format!("{name}: '{value}' is not a whole number"))
}
