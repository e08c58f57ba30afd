//! Perennial, the one program: intake, HTTP, loops, channels, console and commands around the core.

pub mod import;
pub mod scenario;
pub mod wire;
pub mod workspace;
