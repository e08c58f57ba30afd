//! Experiments: from sufficient statistics to an interval that survives peeking.
