//! Perennial.

pub mod import;
