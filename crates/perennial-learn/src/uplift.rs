//! Uplift: whom a message changes, not who would have bought anyway.
