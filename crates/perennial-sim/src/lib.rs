//! Perennial: sim.
