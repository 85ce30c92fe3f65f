//! What is known of a statement once it was planned, and the bounded caches that keep it.
//!
//! A worker asks its own [`PlanTable`] first (no lock, no allocation); what it does not know, it asks the
//! shared [`Planner`], which asks the shared cache and then a planning thread. Both compare the whole shape,
//! the role and the pinned tokens, never a hash alone, and both forget everything when the catalog or the
//! policy changes.

mod cache;
mod planner;
mod queue;
mod request;
mod table;
mod texts;

use std::sync::Arc;

use crate::policy::Refusal;
use crate::sql::Planned;

pub use planner::{Counters, PlanFunction, Planner, Settings};
pub use request::Request;
pub use table::PlanTable;
pub use texts::TextTable;

/// One statement, planned for one role under one catalog and one policy. The same for every tenant and for
/// every set of literals that the plan's pins admit.
#[derive(Debug)]
pub struct Plan {
    /// Unique in the process: names the server-side prepared statement.
    pub id: u64,
    /// The world it was planned against ([`Planner::generation`]).
    pub generation: u64,
    /// What was found out.
    pub planned: Planned,
    /// The plan for values that do not satisfy `planned.bind_checks`.
    pub cautious: Option<Arc<Plan>>,
    /// What it weighs in a cache (an estimate).
    bytes: usize,
}

impl Plan {
    /// A plan of what planning gave.
    pub(crate) fn new(id: u64, generation: u64, mut planned: Planned) -> Self {
        let bytes = size_of::<Self>().saturating_add(planned.bytes());
        let cautious = planned.cautious.take().map(|planned| Arc::new(Self::new(id, generation, *planned)));
        Self { id, generation, planned, cautious, bytes }
    }

    /// Whether a statement of the plan's shape has the tokens that the plan was made for.
    pub(crate) fn admits<'a>(&self, token: impl Fn(usize) -> Option<&'a str>) -> bool {
        self.planned.pins.iter().all(|pin| token(pin.index) == Some(pin.token.as_str()))
    }
}

/// A plan, or why there is none. Refusals are kept too: a client in a loop must not cost a parse each time.
pub type Outcome = Result<Arc<Plan>, Arc<Refusal>>;
