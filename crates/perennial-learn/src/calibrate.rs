//! Calibration: a score of 0.3 should come true three times in ten.
