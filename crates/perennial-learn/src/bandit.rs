//! Bandits: choosing while learning.
//!
//! Without context: [`Arms`] keeps wins and losses, chosen by Thompson sampling (1933), top-two
//! sampling (Russo 2016) or KL-UCB (Garivier & Cappé 2011). With context: [`LinearArms`] keeps a
//! ridge regression per arm, chosen by LinUCB (Li et al. 2010) or linear Thompson sampling (Agrawal
//! & Goyal 2013). For batches both give probabilities with a floor, so that every choice can be
//! judged afterwards ([`crate::off_policy`]).
//!
//! Promise: the same seed and the same rewards give the same choices.
//! Absent on purpose: clocks and delayed rewards; the caller reports a reward when it is known.

use crate::input::{BadInput, Problem, all, finite, positive, real, same_length};
use crate::seed::{Rng, uniform};
use serde::{Deserialize, Serialize};

/// Wins and losses of arms with rewards in [0, 1], with a uniform prior.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arms {
    wins: Vec<f64>,
    losses: Vec<f64>,
    rounds: u64,
    bounds: Vec<Bound>,
}

/// An upper bound and the round until which it need not be computed again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Bound {
    value: f64,
    until: u64,
}

impl Arms {
    /// Starts with `count` arms about which nothing is known.
    ///
    /// # Errors
    /// When there is no arm.
    pub fn new(count: usize) -> Result<Self, BadInput> {
        if count == 0 {
            return Err(BadInput::new("arms", Problem::Empty, "offer at least one arm"));
        }
        let bounds = vec![Bound { value: 1.0, until: 0 }; count];
        Ok(Self { wins: vec![0.0; count], losses: vec![0.0; count], rounds: 0, bounds })
    }

    /// Learns from a reward in [0, 1].
    ///
    /// # Errors
    /// When the arm does not exist or the reward lies outside [0, 1].
    pub fn reward(&mut self, arm: usize, reward: f64) -> Result<(), BadInput> {
        if arm >= self.wins.len() {
            return Err(BadInput::range("arm", real(arm), "below the number of arms"));
        }
        if !(0.0..=1.0).contains(&reward) {
            return Err(BadInput::range("reward", reward, "between 0 and 1"));
        }
        self.wins[arm] += reward;
        self.losses[arm] += 1.0 - reward;
        self.rounds += 1;
        self.bounds[arm].until = 0;
        Ok(())
    }

    /// Rewards seen and their mean, per arm; an arm never tried has the prior's mean of one half.
    pub fn means(&self) -> Vec<(f64, f64)> {
        let of = |(w, l): (&f64, &f64)| (w + l, (w + 1.0) / (w + l + 2.0));
        self.wins.iter().zip(&self.losses).map(of).collect()
    }

    /// Thompson sampling: one draw from each arm's posterior, the best wins.
    pub fn thompson(&self, rng: &mut impl Rng) -> usize {
        best(self.wins.iter().zip(&self.losses).map(|(w, l)| beta(w + 1.0, l + 1.0, rng)))
    }

    /// Top-two Thompson sampling: with probability `1 - leader_share` the best arm that is not the
    /// first draw's winner. Finds the best arm sooner, at the price of more regret.
    ///
    /// # Errors
    /// When `leader_share` lies outside [0, 1].
    pub fn top_two(&self, leader_share: f64, rng: &mut impl Rng) -> Result<usize, BadInput> {
        const TRIES: usize = 40;
        if !(0.0..=1.0).contains(&leader_share) {
            return Err(BadInput::range("leader_share", leader_share, "between 0 and 1"));
        }
        let leader = self.thompson(rng);
        if uniform(rng) < leader_share || self.wins.len() < 2 {
            return Ok(leader);
        }
        Ok((0..TRIES).map(|_| self.thompson(rng)).find(|&a| a != leader).unwrap_or(leader))
    }

    /// KL-UCB: the arm whose mean could still be highest. Bounds are kept until the arm is rewarded
    /// or the number of rounds has grown by a hundredth, which changes them by less than a thousandth.
    pub fn kl_ucb(&mut self) -> usize {
        if let Some(fresh) = (0..self.wins.len()).find(|&a| self.wins[a] + self.losses[a] == 0.0) {
            return fresh;
        }
        for a in 0..self.wins.len() {
            if self.bounds[a].until <= self.rounds {
                let n = self.wins[a] + self.losses[a];
                let budget = crate::input::real64(self.rounds.max(2)).ln() / n;
                let value = kl_upper(self.wins[a] / n, budget);
                self.bounds[a] = Bound { value, until: self.rounds + 1 + self.rounds / 100 };
            }
        }
        best(self.bounds.iter().map(|b| b.value))
    }

    /// For a batch: each arm's probability of being best (by `draws` posterior draws), mixed so that
    /// none falls below `floor`.
    ///
    /// # Errors
    /// When `floor` is negative or exceeds one over the number of arms, or `draws` is zero.
    pub fn probabilities(&self, floor: f64, draws: usize, rng: &mut impl Rng) -> Result<Vec<f64>, BadInput> {
        if draws == 0 {
            return Err(BadInput::range("draws", 0.0, "1 or more"));
        }
        let mut shares = vec![0.0; self.wins.len()];
        for _ in 0..draws {
            shares[self.thompson(rng)] += 1.0 / real(draws);
        }
        with_floor(&shares, floor)
    }
}

/// Mixes probabilities with the uniform choice so that none falls below `floor`.
///
/// # Errors
/// When `floor` is negative or exceeds one over the number of arms, or a share is no probability.
pub fn with_floor(shares: &[f64], floor: f64) -> Result<Vec<f64>, BadInput> {
    all("shares", shares, "a probability", is_probability)?;
    let k = real(shares.len().max(1));
    if !(0.0..=1.0 / k).contains(&floor) {
        return Err(BadInput::range("floor", floor, "between 0 and 1 / number of arms"));
    }
    Ok(shares.iter().map(|p| floor + (1.0 - k * floor) * p).collect())
}

/// Sums of many small shares may end a rounding error above one.
fn is_probability(share: f64) -> bool {
    (0.0..=1.0 + 1e-9).contains(&share)
}

/// Chooses by probabilities; gives the arm and the probability to be logged.
///
/// # Errors
/// When there are no probabilities or they do not add up to one.
pub fn choose(probabilities: &[f64], rng: &mut impl Rng) -> Result<(usize, f64), BadInput> {
    all("probabilities", probabilities, "a probability", is_probability)?;
    let total: f64 = probabilities.iter().sum();
    if (total - 1.0).abs() > 1e-6 {
        return Err(BadInput::range("probabilities", total, "a sum of 1"));
    }
    let mut left = uniform(rng) * total;
    for (arm, &p) in probabilities.iter().enumerate() {
        left -= p;
        if left < 0.0 {
            return Ok((arm, p));
        }
    }
    let last = probabilities.len() - 1;
    Ok((last, probabilities[last]))
}

/// The position of the largest value; the first of equals.
fn best(values: impl Iterator<Item = f64>) -> usize {
    let mut top = (0, f64::NEG_INFINITY);
    for (i, v) in values.enumerate() {
        if v > top.1 {
            top = (i, v);
        }
    }
    top.0
}

/// The largest q with KL(p, q) <= budget, for Bernoulli distributions: Newton's method from above
/// in `s = -ln(1 - q)`, where the divergence is convex and nearly straight.
fn kl_upper(p: f64, budget: f64) -> f64 {
    if p >= 1.0 {
        return 1.0;
    }
    let negative_entropy = if p > 0.0 { p * p.ln() } else { 0.0 } + (1.0 - p) * (1.0 - p).ln();
    let pinsker = p + (0.5 * budget).sqrt();
    let mut s = (budget - negative_entropy) / (1.0 - p);
    if pinsker < 1.0 {
        s = s.min(-(-pinsker).ln_1p());
    }
    for _ in 0..20 {
        let q = -(-s).exp_m1();
        let cross = if p > 0.0 { p * q.ln() } else { 0.0 };
        let step = (negative_entropy - cross + (1.0 - p) * s - budget) * q / (q - p);
        if !step.is_finite() || step.abs() < 1e-10 {
            break;
        }
        s -= step;
    }
    (-(-s).exp_m1()).max(p)
}

/// A standard normal number (polar method of Marsaglia).
fn normal(rng: &mut impl Rng) -> f64 {
    loop {
        let (u, v) = (2.0 * uniform(rng) - 1.0, 2.0 * uniform(rng) - 1.0);
        let s = u * u + v * v;
        if s > 0.0 && s < 1.0 {
            return u * (-2.0 * s.ln() / s).sqrt();
        }
    }
}

/// A Gamma(shape, 1) number for shape >= 1 (Marsaglia & Tsang 2000).
fn gamma(shape: f64, rng: &mut impl Rng) -> f64 {
    let scale = shape - 1.0 / 3.0;
    let spread = 1.0 / (9.0 * scale).sqrt();
    loop {
        let x = normal(rng);
        let cubed = (1.0 + spread * x).powi(3);
        if cubed <= 0.0 {
            continue;
        }
        let u = uniform(rng);
        if u < 1.0 - 0.0331 * x.powi(4) || u.ln() < 0.5 * x * x + scale * (1.0 - cubed + cubed.ln()) {
            return scale * cubed;
        }
    }
}

fn beta(a: f64, b: f64, rng: &mut impl Rng) -> f64 {
    let x = gamma(a, rng);
    x / (x + gamma(b, rng))
}

/// A ridge regression of the reward on the context, per arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearArms {
    width: usize,
    arms: Vec<Regression>,
    exploration: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Regression {
    /// The inverse of (identity + sum of outer products), row-major.
    inverse: Vec<f64>,
    weighted: Vec<f64>,
    coefficients: Vec<f64>,
}

impl Regression {
    fn new(width: usize) -> Self {
        let inverse = (0..width * width).map(|i| if i % (width + 1) == 0 { 1.0 } else { 0.0 }).collect();
        Self { inverse, weighted: vec![0.0; width], coefficients: vec![0.0; width] }
    }

    /// The mean and the standard deviation of the prediction, in units of the noise.
    fn predict(&self, x: &[f64]) -> (f64, f64) {
        let mean = dot(&self.coefficients, x);
        let variance: f64 = self.inverse.chunks_exact(x.len()).zip(x).map(|(row, xi)| xi * dot(row, x)).sum();
        (mean, variance.max(0.0).sqrt())
    }

    /// Sherman and Morrison's update of the inverse.
    fn learn(&mut self, x: &[f64], reward: f64) {
        let w: Vec<f64> = self.inverse.chunks_exact(x.len()).map(|row| dot(row, x)).collect();
        let scale = 1.0 / (1.0 + dot(&w, x));
        for (row, wi) in self.inverse.chunks_exact_mut(x.len()).zip(&w) {
            row.iter_mut().zip(&w).for_each(|(v, wj)| *v -= scale * wi * wj);
        }
        self.weighted.iter_mut().zip(x).for_each(|(b, xi)| *b += reward * xi);
        for (c, row) in self.coefficients.iter_mut().zip(self.inverse.chunks_exact(x.len())) {
            *c = dot(row, &self.weighted);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

impl LinearArms {
    /// How widely to explore unless told otherwise, in standard deviations of the prediction.
    pub const DEFAULT_EXPLORATION: f64 = 0.25;

    /// Starts with `count` arms and contexts of `dimensions` numbers; an intercept is added.
    ///
    /// # Errors
    /// When there is no arm or `exploration` is not positive.
    pub fn new(count: usize, dimensions: usize, exploration: f64) -> Result<Self, BadInput> {
        if count == 0 {
            return Err(BadInput::new("arms", Problem::Empty, "offer at least one arm"));
        }
        positive("exploration", exploration)?;
        let width = dimensions + 1;
        Ok(Self { width, arms: vec![Regression::new(width); count], exploration })
    }

    fn with_intercept(&self, context: &[f64]) -> Result<Vec<f64>, BadInput> {
        same_length("context", context.len(), self.width - 1)?;
        finite("context", context)?;
        let mut x = Vec::with_capacity(self.width);
        x.push(1.0);
        x.extend_from_slice(context);
        Ok(x)
    }

    /// LinUCB: the arm whose reward could still be highest.
    ///
    /// # Errors
    /// When the context has the wrong length or a value that is not finite.
    pub fn lin_ucb(&self, context: &[f64]) -> Result<usize, BadInput> {
        let x = self.with_intercept(context)?;
        Ok(best(self.arms.iter().map(|arm| {
            let (mean, deviation) = arm.predict(&x);
            mean + self.exploration * deviation
        })))
    }

    /// Linear Thompson sampling: one draw of each arm's prediction, the best wins.
    ///
    /// # Errors
    /// As [`LinearArms::lin_ucb`].
    pub fn lin_ts(&self, context: &[f64], rng: &mut impl Rng) -> Result<usize, BadInput> {
        let x = self.with_intercept(context)?;
        Ok(best(self.arms.iter().map(|arm| {
            let (mean, deviation) = arm.predict(&x);
            mean + self.exploration * deviation * normal(rng)
        })))
    }

    /// Each arm's probability of being drawn best by linear Thompson sampling, with a floor.
    ///
    /// # Errors
    /// As [`LinearArms::lin_ucb`] and [`with_floor`].
    pub fn probabilities(
        &self,
        context: &[f64],
        floor: f64,
        draws: usize,
        rng: &mut impl Rng,
    ) -> Result<Vec<f64>, BadInput> {
        let x = self.with_intercept(context)?;
        if draws == 0 {
            return Err(BadInput::range("draws", 0.0, "1 or more"));
        }
        let predictions: Vec<(f64, f64)> = self.arms.iter().map(|arm| arm.predict(&x)).collect();
        let mut shares = vec![0.0; predictions.len()];
        for _ in 0..draws {
            let drawn = best(predictions.iter().map(|(m, d)| m + self.exploration * d * normal(rng)));
            shares[drawn] += 1.0 / real(draws);
        }
        with_floor(&shares, floor)
    }

    /// Learns from a reward.
    ///
    /// # Errors
    /// When the arm does not exist, or the context or reward is not usable.
    pub fn reward(&mut self, context: &[f64], arm: usize, reward: f64) -> Result<(), BadInput> {
        let x = self.with_intercept(context)?;
        finite("reward", &[reward])?;
        let Some(regression) = self.arms.get_mut(arm) else {
            return Err(BadInput::range("arm", real(arm), "below the number of arms"));
        };
        regression.learn(&x, reward);
        Ok(())
    }

    /// What each arm is expected to earn in a context.
    ///
    /// # Errors
    /// As [`LinearArms::lin_ucb`].
    pub fn expected(&self, context: &[f64]) -> Result<Vec<f64>, BadInput> {
        let x = self.with_intercept(context)?;
        Ok(self.arms.iter().map(|arm| arm.predict(&x).0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::generator;

    fn play(mut choose: impl FnMut(&mut Arms, &mut rand_pcg::Pcg64Mcg) -> usize) -> f64 {
        let means = [0.1, 0.3, 0.2];
        let mut rng = generator(1);
        let mut arms = Arms::new(3).unwrap();
        let mut regret = 0.0;
        for _ in 0..4000 {
            let a = choose(&mut arms, &mut rng);
            regret += 0.3 - means[a];
            let reward = if uniform(&mut rng) < means[a] { 1.0 } else { 0.0 };
            arms.reward(a, reward).unwrap();
        }
        regret
    }

    #[test]
    fn every_policy_learns_which_arm_is_best() {
        let by_chance = 4000.0 * 0.1;
        assert!(play(|arms, rng| arms.thompson(rng)) < by_chance / 4.0);
        assert!(play(|arms, rng| arms.top_two(0.8, rng).unwrap()) < by_chance / 2.0);
        assert!(play(|arms, _| arms.kl_ucb()) < by_chance / 3.0);
    }

    #[test]
    fn the_kl_bound_lies_where_the_divergence_is_spent() {
        for (p, budget) in [(0.0f64, 0.3), (0.2, 0.01), (0.7, 2.0), (1.0, 0.1)] {
            let q = kl_upper(p, budget);
            let kl = if p > 0.0 { p * (p / q).ln() } else { 0.0 }
                + if p < 1.0 { (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln() } else { 0.0 };
            assert!(q >= p && (p > 1.0 - 1e-12 || (kl - budget).abs() < 1e-6), "p {p} budget {budget} q {q} kl {kl}");
        }
    }

    #[test]
    fn batches_keep_their_floor_and_log_the_probability() {
        let mut arms = Arms::new(4).unwrap();
        (0..200).for_each(|i| arms.reward(i % 4, f64::from(u8::from(i % 4 == 2))).unwrap());
        let mut rng = generator(2);
        let p = arms.probabilities(0.05, 500, &mut rng).unwrap();
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12 && p.iter().all(|v| *v >= 0.05) && p[2] > 0.8);
        let (arm, logged) = choose(&p, &mut rng).unwrap();
        assert!((logged - p[arm]).abs() < 1e-15);
        assert!(arms.probabilities(0.3, 10, &mut rng).is_err() && arms.reward(9, 1.0).is_err());
    }

    #[test]
    fn context_decides_which_arm_is_right() {
        let mut arms = LinearArms::new(2, 1, LinearArms::DEFAULT_EXPLORATION).unwrap();
        let mut rng = generator(4);
        for i in 0..600 {
            let x = [2.0 * uniform(&mut rng) - 1.0];
            let a = if i % 2 == 0 { arms.lin_ucb(&x).unwrap() } else { arms.lin_ts(&x, &mut rng).unwrap() };
            let worth = if (a == 0) == (x[0] < 0.0) { 0.8 } else { 0.2 };
            arms.reward(&x, a, f64::from(u8::from(uniform(&mut rng) < worth))).unwrap();
        }
        assert_eq!((arms.lin_ucb(&[-0.9]).unwrap(), arms.lin_ucb(&[0.9]).unwrap()), (0, 1));
        assert!(arms.lin_ucb(&[f64::NAN]).is_err());
    }

    #[test]
    fn either_contextual_policy_alone_regrets_far_less_than_chance() {
        let regret = |thompson: bool| {
            let mut arms = LinearArms::new(2, 1, LinearArms::DEFAULT_EXPLORATION).unwrap();
            let mut rng = generator(8);
            let mut regret = 0.0;
            for _ in 0..1_500 {
                let x = [2.0 * uniform(&mut rng) - 1.0];
                let a = if thompson { arms.lin_ts(&x, &mut rng) } else { arms.lin_ucb(&x) }.unwrap();
                let worth = |arm: usize| 0.5 + if arm == 0 { -0.4 } else { 0.4 } * x[0];
                regret += worth(0).max(worth(1)) - worth(a);
                arms.reward(&x, a, f64::from(u8::from(uniform(&mut rng) < worth(a)))).unwrap();
            }
            regret
        };
        // By chance every other decision costs 0.8 |x|, 0.4 on average.
        let by_chance = 1_500.0 * 0.5 * 0.4;
        assert!(regret(true) < by_chance / 4.0, "LinTS {}", regret(true));
        assert!(regret(false) < by_chance / 4.0, "LinUCB {}", regret(false));
    }
}
