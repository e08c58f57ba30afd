//! Measures bandits: regret on the problems of `bandit_bench.py`, and choices per CPU second.
//!
//! usage: `bandit_bench ROUNDS SEEDS [CONTEXT.f64]`, where the optional file holds, for each seed and
//! round of problem B, ten context numbers, five reward probabilities and one uniform number, as
//! little-endian doubles (so that both sides play the very same rounds).

#![expect(clippy::cast_precision_loss, reason = "counts of rounds and rows are small")]

use perennial_learn::bandit::{Arms, LinearArms};
use perennial_learn::seed::{generator, uniform};

#[path = "common/mod.rs"]
mod common;
use common::timed;

const MEANS: [f64; 8] = [0.02, 0.025, 0.03, 0.03, 0.035, 0.04, 0.045, 0.05];
const WIDTH: usize = 16;

type Choose = fn(&mut Arms, &mut Generator) -> usize;
type Generator = rand_pcg::Pcg64Mcg;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let rounds: usize = args.get(1).map_or(Ok(20_000), |s| s.parse())?;
    let seeds: u64 = args.get(2).map_or(Ok(10), |s| s.parse())?;
    let policies: [(&str, Choose); 3] = [
        ("Thompson", |arms, rng| arms.thompson(rng)),
        ("top-two, half", |arms, rng| arms.top_two(0.5, rng).expect("a share")),
        ("KL-UCB", |arms, _| arms.kl_ucb()),
    ];
    for (name, choose) in policies {
        let (regret, seconds) =
            timed(&format!("A {name}"), || (0..seeds).map(|s| plain(rounds, s, choose)).sum::<f64>());
        println!(
            "  regret {:.1}, {:.0} rounds per CPU second",
            regret / seeds as f64,
            (rounds as u64 * seeds) as f64 / seconds.max(1e-9)
        );
    }
    let Some(path) = args.get(3) else {
        return Ok(());
    };
    let bytes = std::fs::read(path)?;
    let values: Vec<f64> =
        bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap_or_default())).collect();
    let games: Vec<&[f64]> = values.chunks_exact(10_000 * WIDTH).collect();
    for thompson in [false, true] {
        let name = if thompson { "B linear Thompson" } else { "B LinUCB" };
        let (regret, seconds) =
            timed(name, || games.iter().zip(0..).map(|(g, s)| contextual(g, thompson, s)).sum::<f64>());
        println!(
            "  regret {:.1} over {} games, {:.0} rounds per CPU second",
            regret / games.len() as f64,
            games.len(),
            (games.len() * 10_000) as f64 / seconds.max(1e-9)
        );
    }
    Ok(())
}

fn plain(rounds: usize, seed: u64, choose: Choose) -> f64 {
    let mut rng = generator(seed);
    let mut arms = Arms::new(8).expect("eight arms");
    let mut regret = 0.0;
    for _ in 0..rounds {
        let a = choose(&mut arms, &mut rng);
        regret += MEANS[7] - MEANS[a];
        let reward = if uniform(&mut rng) < MEANS[a] { 1.0 } else { 0.0 };
        arms.reward(a, reward).expect("a reward");
    }
    regret
}

fn contextual(game: &[f64], thompson: bool, seed: u64) -> f64 {
    let mut rng = generator(seed);
    let mut arms = LinearArms::new(5, 10, LinearArms::DEFAULT_EXPLORATION).expect("five arms");
    let mut regret = 0.0;
    for round in game.chunks_exact(WIDTH) {
        let (x, worth, luck) = (&round[..10], &round[10..15], round[15]);
        let a = if thompson { arms.lin_ts(x, &mut rng) } else { arms.lin_ucb(x) }.expect("a context");
        regret += worth.iter().copied().fold(0.0, f64::max) - worth[a];
        arms.reward(x, a, if luck < worth[a] { 1.0 } else { 0.0 }).expect("a reward");
    }
    regret
}
