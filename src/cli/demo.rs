//! `pgbulkhead demo`: an embedded PostgreSQL, the proxy in front of it, and a tour.

use std::process::ExitCode;

use super::failure::Failure;
use crate::demo;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End after the tour instead of staying until Ctrl-C
    #[arg(long)]
    once: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    demo::run(args.once)?;
    Ok(ExitCode::SUCCESS)
}
