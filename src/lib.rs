//! PgBulkhead: a PostgreSQL wire-protocol proxy that keeps the tenants of one database apart.
//!
//! The way of a statement, which is also the order of the rooms from the bottom up:
//!
//! * [`config`] reads `pgbulkhead.toml`: every error in one pass, with its line.
//! * [`catalog`] is a snapshot of the server's relations, functions, operators and types; only
//!   `catalog::load` talks to the server.
//! * [`policy`] knows whose rows a relation holds and what a role may do with it, and how a refusal
//!   is said ([`policy::Refusal`]).
//! * [`wire`] cuts bytes into checked protocol messages and encodes answers.
//! * [`sql`] takes a client's text to a [`sql::VerifiedSql`]: bounds, normalise, parse, bind, decide,
//!   rewrite, verify, witness. It does no I/O.
//! * [`plan`] keeps what [`sql`] found out, in bounded caches.
//! * [`auth`] says who a client is: SCRAM verifiers, tenant tokens.
//! * [`session`] is one client as a state machine: bytes in, bytes out. It does no I/O.
//! * [`pool`] holds server connections and leases them.
//! * [`audit`] and [`metrics`] account for every decision.
//! * [`worker`] drives all of it: a thread each, sockets, leases, timers.
//! * [`cli`] is one file a verb; [`demo`] starts an embedded PostgreSQL with sample data.
//!
//! [`vital`] keeps the threads alive that nothing goes on without.
//!
//! Imports run downwards only: `cli → worker → pool, audit, metrics → session → plan, auth → sql,
//! wire → policy → catalog, config`.
#![deny(missing_docs)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::todo,
    clippy::unimplemented,
    clippy::dbg_macro
)]

pub mod audit;
pub mod auth;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod demo;
pub mod metrics;
pub mod plan;
pub mod policy;
pub mod pool;
pub mod session;
pub mod sql;
pub mod vital;
pub mod wire;
pub mod worker;

/// Planning makes and drops many small nodes: an eighth less time than with the C library's allocator
/// (`benches/README.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
