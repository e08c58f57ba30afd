//! Answers to the cases of the reference files, one function per file.
//!
//! Each takes a case's kind and input and gives the object that the case expects; nothing here
//! knows about tests, so a command that checks reference files can call the same functions.

pub(crate) mod experiments;
pub(crate) mod segmentation;
pub(crate) mod sentiment;
pub(crate) mod treeshap;
