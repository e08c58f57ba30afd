//! One binary for all integration tests of the crate. Reference files are checked by the command
//! `perennial learn check`, and by its tests.
mod hostile;
mod intents;
mod link;
mod recommend;
