//! `pgbulkhead audit verify FILE`: checks a log offline.

use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::AnsiColor;

use crate::audit::{self, Report};

use super::failure::{Failure, plural};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Find changed, dropped, moved, repeated and cut-off lines (exit code 1 if there are any)
    Verify {
        /// The log
        file: PathBuf,
        /// The hash that the last line must have: one that was noted before
        #[arg(long, value_name = "HASH")]
        last: Option<String>,
    },
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Verb::Verify { file, last } = &args.verb;
    let report = audit::verify(file)?;
    for fault in &report.faults {
        anstream::println!("{BAD}{fault}{BAD:#}");
    }
    let ends_as_seen = last.as_ref().is_none_or(|seen| ends_with(&report, seen));
    if !ends_as_seen {
        anstream::println!("{BAD}the last line is another one than the one that was seen{BAD:#}");
    }
    tell(&report);
    let sound = report.is_sound() && ends_as_seen;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(report: &Report) {
    let count = usize::try_from(report.fault_count).unwrap_or(usize::MAX);
    let lines = usize::try_from(report.lines).unwrap_or(usize::MAX);
    match count {
        0 => anstream::println!("{GOOD}sound{GOOD:#}: {lines} {}", plural(lines, "line")),
        _ => anstream::println!(
            "{BAD}{count} {}{BAD:#} in {lines} {}",
            plural(count, "fault"),
            plural(lines, "line")
        ),
    }
    if let Some((seq, hash)) = &report.last {
        anstream::println!("last: number {seq}, hash {hash}");
    }
    if !report.closed {
        anstream::println!(
            "open: it is still being written, its writer was killed, or its end was taken off"
        );
    }
}

fn ends_with(report: &Report, seen: &str) -> bool {
    report.last.as_ref().is_some_and(|(_, hash)| hash.eq_ignore_ascii_case(seen))
}

const GOOD: anstyle::Style = AnsiColor::Green.on_default().bold();
const BAD: anstyle::Style = AnsiColor::Red.on_default().bold();
