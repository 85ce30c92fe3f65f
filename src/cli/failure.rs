//! Why a verb failed, and what the process says then.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::audit::{SinkError, VerifyError};
use crate::auth::tokens::KeyError;
use crate::catalog::load::LoadError;
use crate::catalog::tls::TlsError;
use crate::config;
use crate::demo::DemoError;
use crate::policy::PolicyError;
use crate::pool::ConnectError;
use crate::worker::StartError;
use crate::worker::tls::TlsFault;

/// A failed verb.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] config::Errors),
    /// The configuration contradicts the catalog.
    #[error("the configuration does not fit database \"{database}\"")]
    Policy {
        /// `[[databases]] name`.
        database: String,
        /// Everything that does not fit.
        errors: Vec<PolicyError>,
    },
    /// The server could not be reached, or it refused the backend role.
    #[error("cannot connect to database \"{database}\" at {place}: {source}")]
    Server {
        /// `[[databases]] name`.
        database: String,
        /// Its host and port.
        place: String,
        /// What is wrong; never a password.
        source: ConnectError,
    },
    /// TLS towards the server cannot be set up.
    #[error("cannot use TLS towards database \"{database}\": {source}")]
    ServerTls {
        /// `[[databases]] name`.
        database: String,
        /// What is wrong with its settings.
        source: TlsError,
    },
    /// The catalog cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The server or the backend role is not one that can be served.
    #[error("database \"{database}\" is not served: {}", findings.join("; "))]
    Backend {
        /// `[[databases]] name`.
        database: String,
        /// What must not be so.
        findings: Vec<String>,
    },
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFault),
    /// A key of tenant tokens cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The audit log cannot be opened.
    #[error(transparent)]
    Audit(#[from] SinkError),
    /// The workers cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Two metrics have one name.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// An audit log cannot be read.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The demo cannot be shown.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// There is no such user in the configuration.
    #[error("no [[users]] \"{0}\" in {file}", file = .1.display())]
    User(String, PathBuf),
    /// There is no such database in the configuration.
    #[error("no [[databases]] \"{0}\" in {file}", file = .1.display())]
    Database(String, PathBuf),
    /// The tenant is not one that the user may speak for.
    #[error("\"{user}\" may not speak for tenant \"{tenant}\"")]
    Tenant {
        /// The user.
        user: String,
        /// What was asked for.
        tenant: String,
    },
    /// Something that was asked for on the command line cannot be.
    #[error("{0}")]
    Usage(&'static str),
    /// The system refuses something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl Failure {
    /// What the system refused while something was tried.
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }

    /// Says it, and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
        match self {
            Self::Config(errors) => {
                anstream::eprintln!("{}", errors.render(true));
                let count = errors.problems().len();
                anstream::eprintln!("\npgbulkhead: {count} {} in the configuration", plural(count, "error"));
                ExitCode::from(2)
            }
            Self::Policy { errors, .. } => {
                for error in errors {
                    anstream::eprintln!("{ERROR}error{ERROR:#}: {error}");
                }
                anstream::eprintln!("pgbulkhead: {self}");
                ExitCode::from(2)
            }
            _ => {
                anstream::eprintln!("pgbulkhead: {self}");
                ExitCode::FAILURE
            }
        }
    }
}

const ERROR: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();

/// A word with its s.
pub(super) fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}
