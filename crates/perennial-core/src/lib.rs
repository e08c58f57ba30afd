//! What happened, and what follows. Pure, synchronous, always answers.
//!
//! Absent on purpose: clocks, randomness, I/O, runtimes, hash-map order, and floats wherever points
//! or money are decided. Time arrives on inputs; ids derive from the customer.

pub mod event;
pub mod expr;
pub mod fact;
pub mod id;
pub mod input;
pub mod money;
pub mod program;
pub mod time;
pub mod value;
