//! The `pgbulkhead` program: arguments in, exit code out. Everything else is in the library.
#![deny(missing_docs)]

/// An idle client takes a third less memory than with the C library's allocator (`benches/README.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    pgbulkhead::cli::main()
}
