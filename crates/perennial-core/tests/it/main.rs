//! One binary for all integration tests of the crate.

mod differential;
mod pilot;
mod program;
mod refusal;
mod schema;
mod windows;
