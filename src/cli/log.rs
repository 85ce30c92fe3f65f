//! The log, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The variable that says what is logged: `info` (the default), `debug`, `pgbulkhead::pool=trace`, …
const VARIABLE: &str = "PGBULKHEAD_LOG";

/// Starts logging. A directive that cannot be read is said and left out.
pub(super) fn start() {
    let filter = EnvFilter::builder()
        .with_env_var(VARIABLE)
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .from_env_lossy();
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    if let Err(error) = started {
        anstream::eprintln!("pgbulkhead: no log: {error}");
    }
}
