//! Why there is no demo.

use std::io;
use std::path::{Path, PathBuf};

use super::embedded::EmbeddedError;

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// PostgreSQL cannot be started.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// A connection failed where it should not.
    #[error("{}", .0.as_db_error().map_or_else(|| .0.to_string(), ToString::to_string))]
    Postgres(#[from] tokio_postgres::Error),
    /// The proxy does not start.
    #[error("the proxy does not become ready: {reason}\n{log}")]
    Proxy {
        /// What a login says.
        reason: String,
        /// What the proxy has logged.
        log: String,
    },
    /// The audit log cannot be read.
    #[error(transparent)]
    Audit(#[from] crate::audit::VerifyError),
    /// The system refuses a file.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Tokens need the time.
    #[error("the clock stands before 1970")]
    Clock,
}

impl DemoError {
    /// A file that the system refuses.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
