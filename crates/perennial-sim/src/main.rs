//! `perennial-sim --seed N --steps M`: a random shop, looking for broken laws. `--tell` prints each
//! step of the one shop with this seed, and what it wrote; `--close` looks at everybody, and verifies
//! everything, after each step; `--customers FOLDER` writes everybody that the one shop knows in the end,
//! one file each, as the state store keeps them.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

const FLAGS: [&str; 5] = ["--seed", "--steps", "--tell", "--close", "--customers"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let known = |flag: &&String| !flag.starts_with("--") || FLAGS.contains(&flag.as_str());
    let unknown = arguments.iter().find(|flag| !known(flag));
    let numbers = (number(&arguments, "--seed", 7), number(&arguments, "--steps", 10_000));
    let (seed, steps) = match (unknown, numbers) {
        (None, (Ok(seed), Ok(steps))) => (seed, steps),
        (Some(flag), _) => return misused(&format!("{flag} is not known")),
        (None, (Err(error), _) | (_, Err(error))) => return misused(&error),
    };
    if let Some(at) = arguments.iter().position(|a| a == "--customers") {
        let folder = arguments.get(at + 1).map_or(".", String::as_str);
        return told(write_customers(seed, steps, Path::new(folder)));
    }
    let start = Instant::now();
    let asked = |flag: &str| arguments.iter().any(|a| a == flag);
    let ran = match (asked("--tell"), asked("--close")) {
        (true, _) => perennial_sim::tell(seed, steps),
        (_, true) => perennial_sim::look_closely(seed, steps),
        _ => perennial_sim::run(seed, steps),
    };
    told(ran.map_err(|found| found.to_string()).map(|report| {
        let seconds = start.elapsed().as_secs_f64();
        format!("seed {seed}: no law broken in {seconds:.1} s\n{report:#?}")
    }))
}

fn misused(why: &str) -> ExitCode {
    eprintln!("{why}; usage: perennial-sim [--seed N] [--steps M] [--tell | --close | --customers FOLDER]");
    ExitCode::from(2)
}

fn told(outcome: Result<String, String>) -> ExitCode {
    match outcome {
        Ok(done) => {
            println!("{done}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn write_customers(seed: u64, steps: u64, folder: &Path) -> Result<String, String> {
    let customers = perennial_sim::customers(seed, steps).map_err(|found| found.to_string())?;
    for (at, customer) in customers.iter().enumerate() {
        let body = postcard::to_stdvec(customer).map_err(|error| error.to_string())?;
        let file = folder.join(format!("customer-{seed}-{at:03}"));
        std::fs::write(&file, body).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(format!("{} customers in {}", customers.len(), folder.display()))
}

fn number(arguments: &[String], name: &str, default: u64) -> Result<u64, String> {
    let Some(at) = arguments.iter().position(|a| a == name) else { return Ok(default) };
    let value = arguments.get(at + 1).ok_or_else(|| format!("{name} needs a number"))?;
    value.replace('_', "").parse().map_err(|_| format!("{name}: '{value}' is not a whole number"))
}
