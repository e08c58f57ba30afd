//! Fading: what a touch still counts, by the steps and the time that have passed since.

use super::interactions::Case;
use serde::{Deserialize, Serialize};

/// How older touches lose weight: `memory^steps * 0.5^(age / half_life)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fading {
    /// What remains per step back, in `0..=1`; 1 forgets nothing.
    pub memory: f32,
    /// The age at which half remains, in the unit of the data; `None` forgets nothing.
    pub half_life: Option<f32>,
}

impl Default for Fading {
    fn default() -> Self {
        Self { memory: 1.0, half_life: None }
    }
}

impl Fading {
    /// By steps alone.
    pub(crate) fn steps(memory: f32) -> Self {
        Self { memory, half_life: None }
    }

    /// What a touch of the case counts, in `0..=1`.
    #[expect(clippy::cast_precision_loss, reason = "histories are shorter than 2^24 steps")]
    pub(crate) fn factor(&self, case: &Case, place: usize) -> f32 {
        let steps = if self.memory < 1.0 { self.memory.powf(case.back[place] as f32) } else { 1.0 };
        let age = self.half_life.map_or(1.0, |half_life| (-case.age[place] / half_life).exp2());
        steps * age
    }
}
