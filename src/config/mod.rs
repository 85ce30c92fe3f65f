//! The configuration: the model of `pgbulkhead.toml`, and (in `read`) how it is read with every error in
//! one pass.

pub mod model;

pub use model::Config;
