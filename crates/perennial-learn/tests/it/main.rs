//! One binary for all integration tests of the crate.

mod lifetime;
mod propensity;
mod reference;
mod uplift;
