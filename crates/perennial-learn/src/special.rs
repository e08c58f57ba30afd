//! Special functions that the models share and statrs lacks.
