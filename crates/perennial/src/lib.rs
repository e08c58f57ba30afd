//! Perennial, the one program: intake, HTTP, loops, channels, console and commands around the core.

pub mod http;
pub mod logs;
pub mod pump;
pub mod view;
pub mod wire;
pub mod workspace;
