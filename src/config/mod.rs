//! The configuration: the model of `pgbulkhead.toml`, and (in `read`) how it is read with every error in
//! one pass.

pub mod errors;
pub mod model;
pub mod read;
mod standing;
pub mod tenant;
pub mod verifier;

pub use errors::Errors;
pub use model::Config;
pub use read::{Environment, environment, parse, read};
pub use tenant::TenantId;
pub use verifier::ScramVerifier;
