//! One binary for all integration tests of the crate.

mod answers;
mod experiments;
mod reference_file;
mod segmentation;
mod sentiment;
mod treeshap;
