//! The command line: one file a verb. Results go to standard output, logs and errors to standard error.

mod audit;
mod books;
mod check;
mod demo;
mod explain;
pub mod failure;
mod hash_password;
mod log;
mod reload;
mod run;
pub mod serve;
mod watch;
mod world;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A PostgreSQL wire-protocol proxy that keeps the tenants of one database apart.
#[derive(Debug, Parser)]
#[command(name = "pgbulkhead", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve clients until SIGTERM or SIGINT; SIGHUP reads configuration, catalogs and certificates anew
    Run(run::Args),
    /// Read a configuration, look at its databases, and say everything that is wrong
    Check(check::Args),
    /// Show what would become of a statement, without running it
    Explain(explain::Args),
    /// Make the SCRAM verifier of a password, for a user's `verifier`
    HashPassword(hash_password::Args),
    /// Look at audit logs
    Audit(audit::Args),
    /// Start a PostgreSQL with sample data and the proxy in front of it, and show what it does
    Demo(demo::Args),
}

/// Reads the arguments, runs the verb, and gives the process its exit code: 0, 1 for a failure, 2 for a wrong
/// configuration or command line.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::start();
    let result = match arguments.verb {
        Verb::Run(args) => run::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::HashPassword(args) => hash_password::run(&args),
        Verb::Audit(args) => audit::run(&args),
        Verb::Demo(args) => demo::run(&args),
    };
    result.unwrap_or_else(|failure| failure.report())
}
