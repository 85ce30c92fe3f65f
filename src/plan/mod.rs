//! What is known of a statement once it was planned, and the bounded caches that keep it.

use std::sync::Arc;

use crate::policy::Refusal;
use crate::sql::Planned;

/// One statement, planned for one role under one catalog and one policy. The same for every tenant and for
/// every set of literals that the plan's pins admit.
#[derive(Debug)]
pub struct Plan {
    /// Unique in the process: names the server-side prepared statement.
    pub id: u64,
    /// What was found out.
    pub planned: Planned,
}

/// A plan, or why there is none. Refusals are kept too: a client in a loop must not cost a parse each time.
pub type Outcome = Result<Arc<Plan>, Arc<Refusal>>;
