//! The configuration: the model of `pgbulkhead.toml`, and (in `read`) how it is read with every error in
//! one pass.

pub mod model;
pub mod tenant;
pub mod verifier;

pub use model::Config;
pub use tenant::TenantId;
pub use verifier::ScramVerifier;
