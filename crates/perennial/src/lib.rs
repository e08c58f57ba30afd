//! Perennial, the one program: intake, HTTP, loops, channels, console and commands around the core.

mod background;
pub mod commands;
pub mod http;
pub mod import;
pub mod learn;
pub mod models;
pub mod pump;
pub mod scenario;
pub mod view;
pub mod wire;
pub mod workspace;
