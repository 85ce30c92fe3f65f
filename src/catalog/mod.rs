//! What the server has: relations, columns, keys, functions, operators, casts and types, frozen at one
//! moment. Pure but for `load`, which reads it with tokio-postgres.

pub mod load;
pub mod objects;
pub mod snapshot;
pub mod tls;

pub use load::{fingerprint, load};
pub use objects::*;
pub use snapshot::Snapshot;
