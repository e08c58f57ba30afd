//! What the whole program promises, one file per part.

// The macro that rewrites expectations always writes hashes.
#![allow(clippy::needless_raw_string_hashes)]

mod checkpoint;
mod crash;
mod erase;
mod expiry;
mod facts;
mod fuzz;
mod hostile;
mod http;
mod import;
mod ingest;
mod learn;
mod ledger;
mod midnight;
mod models;
mod natural_keys;
mod openapi;
mod overview;
mod pump;
mod restart;
mod rows;
mod scenarios;
mod sdk;
mod shop;
mod stage;
mod unmerge;
mod wire;
