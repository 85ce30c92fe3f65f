//! From a client's text to SQL that may be sent. Pure: no I/O, no clock, no tokio.
//!
//! `ClientText` → bounds → normalise → parse → bind → decide → rewrite → verify → [`VerifiedSql`]. Each
//! stage is a type that only the stage before it can make.

pub mod catalogs;
pub mod functions;
pub mod normalise;
pub mod planned;
pub mod template;

use std::sync::Arc;

use crate::catalog::Snapshot;
use crate::policy::{Policy, Refusal, Rule, SqlState};

pub use normalise::{Literal, LiteralClass, Statement};
pub use planned::{Action, Decision, Edit, Pin, Planned, StatementKind, TenantCheck, TenantValue, Witnessed};
pub use template::{Piece, Template, VerifiedSql};

/// What statements are planned against: one catalog and the policy that was compiled for it.
#[derive(Debug, Clone)]
pub struct World {
    /// The catalog.
    pub catalog: Arc<Snapshot>,
    /// The policy.
    pub policy: Arc<Policy>,
}

/// Plans one statement for one role. Runs on a planning thread: parsers recurse.
pub fn plan(world: &World, role: &str, statement: &Statement<'_>) -> Result<Planned, Refusal> {
    let _ = (world, role, statement);
    Err(Refusal::new(SqlState::NOT_SUPPORTED, Rule("engine"), "no statement is supported yet"))
}
