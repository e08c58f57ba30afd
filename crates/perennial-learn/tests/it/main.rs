//! One binary for all integration tests of the crate.
mod answers;
mod experiments;
mod lifetime;
mod link;
mod propensity;
mod recommend;
mod reference;
mod reference_file;
mod segmentation;
mod sentiment;
mod strings;
mod treeshap;
mod uplift;
