//! Regularised logistic regression.
