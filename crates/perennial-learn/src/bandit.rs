//! Bandits: choosing while learning.
