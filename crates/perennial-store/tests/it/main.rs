//! One binary for all integration tests of the crate.

mod crash;
mod faults;
mod files;
mod suite;
