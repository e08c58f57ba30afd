//! Perennial: store.
