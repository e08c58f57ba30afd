//! Numbers: trains models, scores customers, reads out experiments.
//!
//! Pure and deterministic for a given seed; floating point lives here and nowhere else.
//! Absent on purpose: files and clocks. A caller hands in columns and gets back a published
//! model: plain data that can be kept, versioned and compared.

pub mod recommend;

pub mod boosting;
pub mod calibrate;
pub mod lifetime;
pub mod logistic;
pub mod propensity;
pub mod table;
pub mod uplift;

pub mod link;
pub mod phone;
pub mod text;

pub mod bandit;
pub mod causal;
pub mod experiment;
pub mod off_policy;

pub mod drift;
pub mod segment;
pub mod sentiment;
pub mod shap;

pub mod input;
pub mod optimise;
mod parallel;
pub mod seed;
pub mod special;
