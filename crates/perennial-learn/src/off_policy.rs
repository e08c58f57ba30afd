//! Off-policy evaluation: what another policy would have earned on logged choices.
//!
//! Papers: Horvitz & Thompson 1952 (IPS); Swaminathan & Joachims 2015 (SNIPS); Dudík, Langford & Li
//! 2011 (doubly robust). Standard errors treat rounds as independent.
//! Absent on purpose: repairing logs without probabilities; they cannot be evaluated honestly.

use crate::input::{BadInput, LARGEST, Problem, finite, real};
use serde::{Deserialize, Serialize};

/// One logged round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The probability with which the logging policy chose its action, in (0, 1].
    pub logged_probability: f64,
    /// The probability with which the new policy would choose the same action, in [0, 1].
    pub target_probability: f64,
    /// What was earned.
    pub reward: f64,
}

/// A value with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// The mean reward per round under the new policy.
    pub estimate: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Rounds that the weights are worth: `(sum w)^2 / sum w^2`. Distrust values far below the log's length.
    pub effective_sample_size: f64,
    /// The largest weight.
    pub largest_weight: f64,
}

fn weights(rounds: &[Round], cap: f64) -> Result<Vec<f64>, BadInput> {
    if rounds.len() < 2 {
        let problem = Problem::TooFew { found: rounds.len(), needed: 2 };
        return Err(BadInput::new("rounds", problem, "log more choices"));
    }
    if cap.is_nan() || cap <= 0.0 {
        return Err(BadInput::range("cap", cap, "positive; infinity for no cap"));
    }
    for r in rounds {
        if !(1.0 / LARGEST..=1.0).contains(&r.logged_probability) {
            return Err(BadInput::range(
                "logged_probability",
                r.logged_probability,
                "above 0 (from 1e-100), at most 1",
            ));
        }
        if !(0.0..=1.0).contains(&r.target_probability) {
            return Err(BadInput::range("target_probability", r.target_probability, "between 0 and 1"));
        }
        finite("reward", &[r.reward])?;
    }
    Ok(rounds.iter().map(|r| (r.target_probability / r.logged_probability).min(cap)).collect())
}

fn effective(weights: &[f64]) -> f64 {
    let (sum, squares) = weights.iter().fold((0.0, 0.0), |(s, q), w| (s + w, q + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

fn mean_with_error(parts: &[f64], weights: &[f64]) -> Value {
    let n = real(parts.len());
    let mean = parts.iter().sum::<f64>() / n;
    let variance = parts.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Value {
        estimate: mean,
        standard_error: (variance / n).sqrt(),
        effective_sample_size: effective(weights),
        largest_weight: weights.iter().copied().fold(0.0, f64::max),
    }
}

/// Inverse propensity scoring: unbiased when `cap` is infinite; a cap trades bias for variance.
///
/// # Errors
/// When there are fewer than two rounds or a number lies outside its range.
pub fn inverse_propensity(rounds: &[Round], cap: f64) -> Result<Value, BadInput> {
    let w = weights(rounds, cap)?;
    let parts: Vec<f64> = rounds.iter().zip(&w).map(|(r, w)| w * r.reward).collect();
    Ok(mean_with_error(&parts, &w))
}

/// Self-normalised inverse propensity scoring: divides by the weights' sum; never leaves the range of rewards.
///
/// # Errors
/// As [`inverse_propensity`], or when the new policy never chooses a logged action.
pub fn self_normalised(rounds: &[Round], cap: f64) -> Result<Value, BadInput> {
    let w = weights(rounds, cap)?;
    let sum: f64 = w.iter().sum();
    if sum <= 0.0 {
        return Err(BadInput::new(
            "target_probability",
            Problem::Constant,
            "the new policy shares no action with the log",
        ));
    }
    let n = real(w.len());
    let estimate = rounds.iter().zip(&w).map(|(r, w)| w * r.reward).sum::<f64>() / sum;
    let spread: f64 = rounds.iter().zip(&w).map(|(r, w)| (w * (r.reward - estimate)).powi(2)).sum();
    let value = mean_with_error(&w, &w);
    Ok(Value { estimate, standard_error: (spread / n * n / (n - 1.0)).sqrt() / (sum / n) / n.sqrt(), ..value })
}

/// What a reward model says about one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// The reward expected of the logged action.
    pub logged_action: f64,
    /// The reward expected under the new policy, averaged over its actions.
    pub target_policy: f64,
}

/// Doubly robust: right when either the probabilities or the reward model are.
///
/// # Errors
/// As [`inverse_propensity`], or when there is not one prediction per round.
pub fn doubly_robust(rounds: &[Round], predicted: &[Predicted], cap: f64) -> Result<Value, BadInput> {
    let w = weights(rounds, cap)?;
    crate::input::same_length("predicted", predicted.len(), rounds.len())?;
    let mut parts = Vec::with_capacity(w.len());
    for ((r, p), w) in rounds.iter().zip(predicted).zip(&w) {
        finite("predicted", &[p.logged_action, p.target_policy])?;
        parts.push(p.target_policy + w * (r.reward - p.logged_action));
    }
    Ok(mean_with_error(&parts, &w))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{generator, uniform};

    /// Two actions worth 0.2 and 0.6; the log prefers the first, the new policy the second.
    fn log(n: usize, seed: u64) -> (Vec<Round>, Vec<Predicted>) {
        let mut rng = generator(seed);
        (0..n)
            .map(|_| {
                let second = uniform(&mut rng) < 0.2;
                let worth = if second { 0.6 } else { 0.2 };
                let reward = if uniform(&mut rng) < worth { 1.0 } else { 0.0 };
                let (logged_probability, target_probability) = if second { (0.2, 0.9) } else { (0.8, 0.1) };
                (
                    Round { logged_probability, target_probability, reward },
                    Predicted { logged_action: worth, target_policy: 0.56 },
                )
            })
            .unzip()
    }

    #[test]
    fn every_estimator_finds_the_new_policys_worth() {
        let (rounds, predicted) = log(20_000, 1);
        let ips = inverse_propensity(&rounds, f64::INFINITY).unwrap();
        let snips = self_normalised(&rounds, f64::INFINITY).unwrap();
        let dr = doubly_robust(&rounds, &predicted, f64::INFINITY).unwrap();
        for v in [ips, snips, dr] {
            assert!((v.estimate - 0.56).abs() < 4.0 * v.standard_error, "{v:?}");
        }
        assert!(dr.standard_error < ips.standard_error && snips.standard_error < ips.standard_error);
        assert!(ips.effective_sample_size < 6_000.0 && (ips.largest_weight - 4.5).abs() < 1e-12);
    }

    #[test]
    fn intervals_cover_as_often_as_they_say() {
        let misses = (0..300).filter(|&s| {
            let v = self_normalised(&log(400, s).0, f64::INFINITY).unwrap();
            (v.estimate - 0.56).abs() > 1.96 * v.standard_error
        });
        let misses = misses.count();
        assert!((3..=35).contains(&misses), "{misses} of 300");
    }

    #[test]
    fn impossible_probabilities_are_refused() {
        let bad = Round { logged_probability: 0.0, target_probability: 0.5, reward: 1.0 };
        assert_eq!(inverse_propensity(&[bad, bad], 10.0).unwrap_err().field(), "logged_probability");
    }
}
