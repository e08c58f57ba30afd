//! Drift: has the population moved since the model was trained?
