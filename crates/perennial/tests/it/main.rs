//! What the whole program promises, one file per part.

// The macro that rewrites expectations always writes hashes.
#![allow(clippy::needless_raw_string_hashes)]

mod crash;
mod fuzz;
mod hostile;
mod http;
mod import;
mod learn;
mod overview;
mod pump;
mod scenarios;
mod sdk;
mod shop;
mod unmerge;
mod wire;
