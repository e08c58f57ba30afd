//! What happened, and what follows. Pure, synchronous, always answers.
//!
//! Absent on purpose: clocks, randomness, I/O, runtimes, hash-map order, and floats wherever points
//! or money are decided. Time arrives on inputs; ids derive from the customer.

pub mod blocks;
pub mod catalog;
pub mod command;
pub mod customer;
pub mod engine;
pub mod erase;
pub mod event;
pub mod expr;
pub mod fact;
pub mod feature;
pub mod few;
pub mod id;
pub mod identity;
pub mod input;
pub mod ledger;
pub mod loyalty;
pub mod merge;
pub mod money;
mod octets;
pub mod orders;
pub mod packed;
mod profile;
pub mod program;
pub mod quantity;
mod rate;
pub mod rules;
pub mod scope;
pub mod score;
pub mod segment;
pub mod tier;
pub mod time;
pub mod unmerge;
pub mod value;
