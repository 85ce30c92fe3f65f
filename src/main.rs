//! The `pgbulkhead` program: arguments in, exit code out. Everything else is in the library.
#![deny(missing_docs)]

fn main() -> std::process::ExitCode {
    pgbulkhead::cli::main()
}
