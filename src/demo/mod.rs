//! The demo: an embedded PostgreSQL with sample data, and the proxy in front of it.

pub mod embedded;

pub use embedded::{EmbeddedError, EmbeddedPostgres};
