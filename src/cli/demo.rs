//! `pgbulkhead demo`: an embedded PostgreSQL with sample data, the proxy in front of it, and a tour.

use std::process::ExitCode;

use crate::demo;

use super::failure::Failure;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End after the tour, do not stay up until Ctrl-C
    #[arg(long)]
    once: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    demo::run(args.once)?;
    Ok(ExitCode::SUCCESS)
}
