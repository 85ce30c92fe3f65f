//! From a client's text to SQL that may be sent. Pure: no I/O, no clock, no tokio.
//!
//! `ClientText` → bounds → normalise → parse → bind → decide → rewrite → verify → [`VerifiedSql`]. Each
//! stage is a type that only the stage before it can make.

pub mod bounds;
pub mod catalogs;
pub mod functions;
pub mod lexer;
pub mod lift;
pub mod normalise;
pub mod parse;
pub mod planned;
pub mod resolve;
pub mod template;
pub mod verify;
pub mod walk;
pub mod witness;

use std::sync::Arc;

use crate::catalog::Snapshot;
use crate::policy::{Policy, Refusal, Rule, SqlState};

pub use bounds::{Bounded, Limits};
pub use lift::{TENANT_PARAMETER, template};
pub use normalise::{Literal, LiteralClass, Normalised, Normaliser, Statement, statements};
pub use parse::Tree;
pub use planned::{Action, Decision, Edit, Pin, Planned, StatementKind, TenantCheck, TenantValue, Witnessed};
pub use template::{Piece, Template};
pub use verify::{VerifiedSql, verify};
pub use witness::{Witness, witness};

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
