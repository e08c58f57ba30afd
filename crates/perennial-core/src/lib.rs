//! Perennial: core.
