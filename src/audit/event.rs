//! What is written down of one decision. A fixed struct of shared parts: making one allocates nothing for a
//! statement that ran.

use std::sync::Arc;

use crate::auth::Principal;
use crate::plan::Plan;
use crate::policy::{Refusal, Rule, SqlState, TenantId};

use super::redact;

/// One decision.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it was over: microseconds since 1970.
    pub time: u64,
    /// Number of the client's session in this process.
    pub session: u64,
    /// Login name; what a client that is not logged in says it is.
    pub user: Arc<str>,
    /// Role; empty before login.
    pub role: Arc<str>,
    /// Configured database; what a client that is not logged in asked for.
    pub database: Arc<str>,
    /// Tenant of the transaction.
    pub tenant: Option<TenantId>,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of a statement or a login.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// A statement was sent and has ended.
    Ran {
        /// Its plan, which says the rule, the reason and what is touched.
        plan: Arc<Plan>,
        /// Rows of the command tag.
        rows: u64,
        /// SQLSTATE of the server, if it failed there.
        error: Option<[u8; 5]>,
        /// Microseconds from sending it to the end of the answer.
        duration: u64,
    },
    /// A statement was not sent.
    Refused {
        /// SQLSTATE of the answer.
        state: SqlState,
        /// The rule that decided.
        rule: Rule,
        /// What and why.
        reason: Box<str>,
        /// The statement without its literals; empty where there was none.
        statement: Box<str>,
    },
    /// A client has logged in.
    LoggedIn,
    /// A client was turned away.
    LoginRefused {
        /// SQLSTATE of the answer.
        state: SqlState,
        /// Why; more than the client is told.
        reason: Box<str>,
    },
}

impl Event {
    /// An event of a logged-in session.
    pub fn of(who: &Principal, session: u64, tenant: Option<&TenantId>, time: u64, verdict: Verdict) -> Self {
        Self {
            time,
            session,
            user: who.user.clone(),
            role: who.role.clone(),
            database: who.database.clone(),
            tenant: tenant.cloned(),
            verdict,
        }
    }
}

impl Verdict {
    /// A refusal of a statement, whose literals are taken out here.
    pub fn refused(refusal: &Refusal, statement: Option<&str>) -> Self {
        Self::Refused {
            state: refusal.state,
            rule: refusal.rule,
            reason: refusal.message.as_str().into(),
            statement: statement.map(redact).unwrap_or_default().into(),
        }
    }
}
