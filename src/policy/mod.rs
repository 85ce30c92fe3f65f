//! Whose rows a relation holds, what a role may do with it, and how a refusal is said. Pure.

pub mod refusal;
pub mod tenant;

pub use refusal::{Refusal, Rule, SqlState};
pub use tenant::TenantId;
