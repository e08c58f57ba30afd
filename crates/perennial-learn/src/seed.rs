//! Seeds: every random choice of this crate comes from one named generator.
//!
//! The same seed gives the same numbers on every machine, so a published model can be made again.

pub use rand_core::Rng;
use rand_pcg::{Pcg64Mcg, rand_core::SeedableRng};

/// The generator of the crate: PCG 64 MCG (O'Neill 2014), started from a 64-bit seed.
pub fn generator(seed: u64) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(seed)
}

/// A uniform number in `[0, 1)` with 53 bits.
#[expect(clippy::cast_precision_loss, reason = "the 53 highest bits fit a double exactly")]
pub fn uniform(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// A uniform whole number in `0..bound`; `bound` must be positive.
#[expect(clippy::cast_possible_truncation, reason = "the product's high half is below bound")]
pub fn below(rng: &mut impl Rng, bound: usize) -> usize {
    ((u128::from(rng.next_u64()) * bound as u128) >> 64) as usize
}
