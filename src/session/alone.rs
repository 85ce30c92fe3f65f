//! The straight way of most queries in simple protocol: one statement whose like was seen before and which changes
//! nothing about its session but the transaction. What [`simple`](super::simple) does for any Query comes to the same
//! for it, and takes three times as long.

use smallvec::SmallVec;

use super::Io;
use super::active::{Active, Flow};
use super::checks;
use super::host::{Host, Seen};
use super::outgoing::{self, Filled};
use super::refusing::aborted;
use super::reply::{Expect, Part, Query, Running};
use super::sequences::asks;
use super::tenancy::unbound;
use crate::plan::Plan;
use crate::policy::Refusal;
use crate::sql::{Action, Lasting, VerifiedSql};
use crate::wire::backend::TransactionStatus;

/// What is sent for a statement, and whether it needs a tenant; none for one that does more.
pub(super) fn plain(plan: &Plan) -> Option<(&VerifiedSql, bool)> {
    let Action::Send { sql, kind, needs_tenant, .. } = &plan.planned.action else { return None };
    let lasts = plan.planned.holds != Lasting::Nothing || plan.planned.load.is_some() || asks(plan);
    (kind.is_of_rows() && !lasts).then(|| (sql, *needs_tenant || sql.uses_tenant()))
}

impl Active {
    /// Sends such a statement, or refuses it.
    pub(super) fn query_alone(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        text: &str,
        seen: &Seen<'_>,
        (sql, needs_tenant): (&VerifiedSql, bool),
    ) -> Result<Flow, Refusal> {
        if self.begun.has_failed() {
            return self.refuse_query(host, io, &aborted(), text, seen.offset);
        }
        let now = host.now_unix();
        if needs_tenant && self.tenancy.next_tenant(now).is_none() {
            return self.refuse_query(host, io, &unbound(), text, seen.offset);
        }
        if let Err(refusal) = checks::literals(&seen.plan, &seen.literals) {
            return self.refuse_query(host, io, &refusal, text, seen.offset);
        }
        if !self.leased(host, io, None)? {
            return Ok(Flow::Lease);
        }
        self.tenancy.tenant(now);
        self.tenancy.ran();
        let mut running = match self.running(host, &seen.plan) {
            Ok(running) => running,
            Err(refusal) => return self.refuse_query(host, io, &refusal, "", 0),
        };
        if self.tenancy.next_tenant(now).is_none() {
            running.tenant = None;
        }
        match self.write_alone(io, sql, running, seen) {
            Ok(()) => Ok(Flow::Done),
            Err(refusal) => {
                host.release_audit();
                self.refuse_query(host, io, &refusal, "", 0)
            }
        }
    }

    fn write_alone(
        &mut self,
        io: &mut Io<'_>,
        sql: &VerifiedSql,
        running: Running,
        seen: &Seen<'_>,
    ) -> Result<(), Refusal> {
        let tenant = running.tenant.as_ref();
        let filled = Filled { sql, tenant, literals: &seen.literals, prepared: None };
        outgoing::query(io.server, std::iter::once(filled))?;
        let parts = SmallVec::from_buf([Part::Sent(running)]);
        self.queue.push_back(Expect::Query(Query { parts, done: 0 }));
        // A transaction that has failed does not come so far as to make a portal.
        match self.status() {
            TransactionStatus::Failed => self.portals.refused_query(),
            _ => self.portals.simple_query(),
        }
        Ok(())
    }
}
