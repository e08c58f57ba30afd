//! Perennial.
