//! Logs: one line an occurrence, readable alone, with fields. They never hold personal data; what
//! is logged is named by route, code or opaque id.

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error, as text or as JSON lines. `PERENNIAL_LOG` chooses what, like
/// `info` or `perennial=debug`.
///
/// # Errors
/// When logging was started before.
pub fn init(json: bool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_from_env("PERENNIAL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json { lines.json().flatten_event(true).try_init() } else { lines.try_init() }
}
