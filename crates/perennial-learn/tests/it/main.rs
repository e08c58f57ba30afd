//! One binary for all integration tests of the crate.

mod lifetime;
mod reference;
mod uplift;
