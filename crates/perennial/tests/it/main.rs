//! One binary for all integration tests of the crate.

mod import;
mod scenarios;
mod segment;
