//! What the server has: relations, columns, keys, functions, operators, casts and types, frozen at one
//! moment. Pure but for `load`, which reads it with tokio-postgres.

pub mod snapshot;

pub use snapshot::*;
