//! Minimisers shared by the models: Nelder-Mead, L-BFGS, Newton in a few dimensions.
