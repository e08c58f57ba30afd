//! Histogram gradient boosting for calibrated propensities.
