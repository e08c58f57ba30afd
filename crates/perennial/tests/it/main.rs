//! What the whole program promises, one file per part.

// The macro that rewrites expectations always writes hashes.
#![allow(clippy::needless_raw_string_hashes)]

mod import;
mod scenarios;
mod wire;
