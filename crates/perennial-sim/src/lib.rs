//! A random shop on a virtual clock, looking for broken laws.
//!
//! Promise: a seed tells the same story on every machine. The real workspace runs on a disk that
//! crashes and fails at every sort of write; after each step the invariants of the ledger hold, and
//! the balances are those of an oracle that reckons them again in the plainest way.
//! Absent on purpose: real time, real files and threads of its own.

mod books;
mod calendar;
mod dice;
mod earning;
mod figures;
mod oracle;
mod plan;
mod portrait;
mod shop;
mod trial;

use std::fmt;

pub use oracle::{Balance, Counted};
use perennial_core::customer::Customer;
use trial::Care;

/// Steps of one shop; a longer run opens another one, so that customers stay of a likely size.
pub const SHOP_STEPS: u64 = 1_000;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Steps taken.
    pub steps: u64,
    /// Shops opened.
    pub shops: u64,
    /// Messages sent, repetitions included.
    pub messages: u64,
    /// Those of them that nobody could read.
    pub unreadable: u64,
    /// Commands asked.
    pub commands: u64,
    /// Times that the process died and came back.
    pub crashes: u64,
    /// Writes that failed.
    pub failed_writes: u64,
    /// Whole verifications.
    pub verifications: u64,
    /// Balances compared with the oracle's.
    pub balances: u64,
    /// Two people that turned out to be one.
    pub merges: u64,
    /// Merges that were taken back.
    pub unmerges: u64,
    /// Checkpoints that were on their way while more happened.
    pub launched: u64,
}

/// A broken law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The seed of the shop.
    pub seed: u64,
    /// The step, from 1.
    pub step: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, step, what } = self;
        write!(f, "step {step}: {what}\nreplay: cargo xtask sim --seed {seed} --steps {step}")
    }
}

impl std::error::Error for Finding {}

/// Runs shops until so many steps are taken.
///
/// # Errors
/// The first broken law, with the seed of its shop and the earliest step at which looking closely
/// finds it.
pub fn run(seed: u64, steps: u64) -> Result<Report, Finding> {
    let mut report = Report::default();
    let mut shop_seed = seed;
    while report.steps < steps {
        let length = SHOP_STEPS.min(steps - report.steps);
        report.shops += 1;
        if let Err(found) = trial::run(shop_seed, length, Care::Usual, &mut report) {
            // Once more, with everything looked at after every step: the first sign is the best one.
            let close = trial::run(shop_seed, found.step, Care::Close, &mut Report::default());
            return Err(close.err().filter(|close| close.step < found.step).unwrap_or(found));
        }
        shop_seed = shop_seed.wrapping_add(1);
    }
    Ok(report)
}

/// Plays one shop's story, looks at everybody and verifies everything after every step.
///
/// # Errors
/// The first broken law.
pub fn look_closely(seed: u64, steps: u64) -> Result<Report, Finding> {
    let mut report = Report::default();
    trial::run(seed, steps, Care::Close, &mut report).map(|()| report)
}

/// Plays one shop's story and prints every step and what it wrote, up to the first broken law or so many steps.
///
/// # Errors
/// The broken law.
pub fn tell(seed: u64, steps: u64) -> Result<Report, Finding> {
    let mut report = Report::default();
    trial::run(seed, steps, Care::Told, &mut report).map(|()| report)
}

/// Plays one shop's story; everybody that it knows in the end, as states to try other things with.
///
/// # Errors
/// The first broken law.
pub fn customers(seed: u64, steps: u64) -> Result<Vec<Customer>, Finding> {
    trial::customers(seed, steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(name: &str, otherwise: u64) -> u64 {
        std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
    }

    /// The budget of the everyday tests, a corner shop and one under `EcoExplorers`, unless `PERENNIAL_SIM_SEED` and
    /// `PERENNIAL_SIM_STEPS` say another one.
    #[test]
    fn no_law_breaks_in_the_everyday_budget() {
        let (seed, steps) = (number("PERENNIAL_SIM_SEED", 18), number("PERENNIAL_SIM_STEPS", 2_000));
        let report = run(seed, steps).unwrap_or_else(|found| panic!("{found}"));
        assert!(report.crashes > 0, "{report:?}");
    }

    #[test]
    fn a_seed_tells_the_same_story_again() {
        assert_eq!(run(77, 700), run(77, 700));
    }
}
