//! The tenant's value, which the configuration already speaks of.

pub use crate::config::TenantId;
