//! From a client's text to SQL that may be sent. Pure: no I/O, no clock, no tokio.
//!
//! `ClientText` → bounds → normalise → parse → bind → decide → rewrite → verify → [`VerifiedSql`]. Each
//! stage is a type that only the stage before it can make.

pub mod alike;
mod arguments;
mod bind;
pub mod bounds;
mod build;
pub mod catalogs;
pub mod channel;
pub mod copy;
mod facts;
pub mod functions;
pub mod leaksafe;
pub mod lexer;
pub mod lift;
pub mod normalise;
pub mod parse;
mod plan;
pub mod planned;
pub mod prepared;
pub mod print;
pub mod proof;
mod refusals;
pub mod resolve;
pub mod rewrite;
mod seen;
pub mod sequences;
mod settings;
pub mod shape;
mod statement;
pub mod template;
pub mod typed;
pub mod verify;
pub mod walk;
pub mod witness;

use std::sync::Arc;

use crate::catalog::Snapshot;
use crate::policy::Policy;

pub use bounds::{Bounded, Limits};
pub use leaksafe::LeakSafe;
pub use lexer::LiteralClass;
pub use lift::template;
pub use normalise::{Normaliser, statements};
pub use parse::Tree;
pub use plan::{KnownOutputs, outputs, plan};
pub use planned::{
    Action, Argument, Decision, Discard, Edit, Execute, Lasting, Planned, SavepointDeed, StatementKind,
    Witnessed,
};
pub use settings::{Change, Given, SettingChange, may_begin_with};
pub use shape::{Literal, Normalised, Pin, Statement};
pub use template::{Piece, TENANT_PARAMETER, Template};
pub use verify::{VerifiedSql, verify};
pub use witness::{Witness, witness};

/// What statements are planned against: one catalog and the policy that was compiled for it.
#[derive(Debug, Clone)]
pub struct World {
    /// The catalog.
    pub catalog: Arc<Snapshot>,
    /// The policy.
    pub policy: Arc<Policy>,
    /// What of the catalog's operators and functions may stand beside the tenant predicate.
    pub leaksafe: Arc<LeakSafe>,
}

impl World {
    /// A catalog and its policy; what is leak-safe is found here.
    pub fn new(catalog: Arc<Snapshot>, policy: Arc<Policy>) -> Self {
        let leaksafe = Arc::new(LeakSafe::load(&catalog));
        Self { catalog, policy, leaksafe }
    }
}
