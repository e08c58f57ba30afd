//! One binary for all integration tests of the crate.
mod recommend;
mod link;
mod strings;
