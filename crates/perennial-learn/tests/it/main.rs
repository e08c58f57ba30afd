//! One binary for all integration tests of the crate.
mod recommend;
mod link;
mod strings;
mod answers;
mod experiments;
mod reference_file;
mod segmentation;
mod sentiment;
mod treeshap;
mod lifetime;
mod propensity;
mod reference;
mod uplift;
