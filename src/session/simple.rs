//! The simple protocol: all statements of a Query are decided before one of them is sent.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Io;
use super::active::{Active, Batch, Flow, Look, Unplanned};
use super::copy::Copying;
use super::host::Host;
use super::outgoing::{self, Filled, SettingText};
use super::refusing::aborted;
use super::reply::{self, Expect, Part, Sets, fixed};
use super::tenancy::{Tenancy, unbound};
use super::{checks, host::Literals};
use crate::plan::Plan;
use crate::policy::{Refusal, Rule, SqlState, TenantId};
use crate::sql::{Action, StatementKind, VerifiedSql};
use crate::wire::backend::TransactionStatus;

/// What one statement of a Query comes to.
enum Decided<'a, 't> {
    Send { sql: &'a VerifiedSql, plan: &'a Arc<Plan>, literals: &'a Literals<'t>, tenant: Option<TenantId> },
    Say(Cow<'static, [u8]>),
}

/// The transaction as it will be when a statement's turn comes.
struct Ahead {
    tenancy: Tenancy,
    open: bool,
    alone: bool,
    /// Prepared statements that are to be forgotten; none: all.
    deallocated: Vec<Option<String>>,
}

impl Active {
    /// A Query: look up, decide, lease, send; or refuse it as a whole.
    pub(super) fn query(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        text: &str,
    ) -> Result<Flow, Refusal> {
        match self.batch {
            Batch::Skipping { .. } => return Ok(Flow::Done),
            Batch::Open { .. } => {
                let message = "a simple query within an extended-protocol batch is refused";
                let refusal = Refusal::new(SqlState::PROTOCOL, Rule("protocol"), message)
                    .hint("end the batch with Sync first");
                return self.refuse_query(host, io, &refusal, "", 0);
            }
            Batch::Closed if self.awaits_answers() => return Ok(Flow::Drain),
            Batch::Closed => {}
        }
        let parts = match self.look(host, text, &[]) {
            Look::Planned(parts) => parts,
            Look::Refused(refusal, offset) => return self.refuse_query(host, io, &refusal, text, offset),
            Look::Unplanned => {
                return Ok(Flow::Plan(Unplanned { text: text.to_owned(), declared: Vec::new() }));
            }
        };
        if parts.is_empty() {
            self.say(io, fixed::EMPTY_QUERY);
            return self.sync(io);
        }
        let open = self.status() != TransactionStatus::Idle;
        let mut ahead =
            Ahead { tenancy: self.tenancy.clone(), open, alone: parts.len() == 1, deallocated: Vec::new() };
        let mut decided: SmallVec<[Decided<'_, '_>; 1]> = SmallVec::new();
        for part in &parts {
            match self.decide(host, &mut ahead, &part.plan, &part.found.literals) {
                Ok(verdict) => decided.push(verdict),
                Err(refusal) => return self.refuse_query(host, io, &refusal, text, part.found.offset),
            }
        }
        let sends = decided.iter().any(|verdict| matches!(verdict, Decided::Send { .. }));
        if sends && !self.leased(host, io, Some(&ahead.tenancy))? {
            return Ok(Flow::Lease);
        }
        self.tenancy = ahead.tenancy;
        ahead.deallocated.iter().for_each(|name| self.deallocate(name.as_deref()));
        match self.send_query(host, io, decided) {
            Ok(()) if sends => Ok(Flow::Done),
            Ok(()) => self.sync(io),
            Err(refusal) => self.refuse_query(host, io, &refusal, "", 0),
        }
    }

    fn decide<'a, 't>(
        &self,
        host: &mut dyn Host,
        ahead: &mut Ahead,
        plan: &'a Arc<Plan>,
        literals: &'a Literals<'t>,
    ) -> Result<Decided<'a, 't>, Refusal> {
        let now = host.now_unix();
        match &plan.planned.action {
            Action::Empty if ahead.alone => Ok(Decided::Say(Cow::Borrowed(fixed::EMPTY_QUERY))),
            Action::Empty => Ok(Decided::Say(Cow::Borrowed(b""))),
            Action::Send { sql, kind, needs_tenant } => {
                let tenant = ahead.tenancy.tenant(now).cloned();
                if tenant.is_none() && (*needs_tenant || sql.uses_tenant()) {
                    return Err(unbound());
                }
                if !ahead.alone && matches!(kind, StatementKind::CopyIn | StatementKind::CopyOut) {
                    let message = "COPY together with other statements is not supported";
                    return Err(Refusal::new(SqlState::NOT_SUPPORTED, Rule("form"), message));
                }
                checks::literals(plan, literals)?;
                ahead.passes(*kind);
                Ok(Decided::Send { sql, plan, literals, tenant })
            }
            Action::Set { sql, local, .. } => {
                self.settings.may_set(*local)?;
                checks::literals(plan, literals)?;
                let tenant = ahead.tenancy.tenant(now).cloned();
                ahead.passes(StatementKind::Other);
                Ok(Decided::Send { sql, plan, literals, tenant })
            }
            Action::BindTenant { literal, local } => {
                let in_transaction = ahead.open || (!ahead.alone && !local);
                self.bind_tenant(host, &mut ahead.tenancy, literals, *literal, *local, in_transaction)?;
                Ok(Decided::Say(Cow::Borrowed(fixed::SET)))
            }
            Action::UnbindTenant => {
                self.unbind_tenant(&mut ahead.tenancy, ahead.open || !ahead.alone)?;
                Ok(Decided::Say(Cow::Borrowed(fixed::RESET)))
            }
            Action::Deallocate { name } => {
                let answer = self.may_deallocate(name.as_deref())?;
                ahead.deallocated.push(name.clone());
                Ok(Decided::Say(Cow::Borrowed(answer)))
            }
        }
    }

    /// Verifies a token and binds it.
    pub(super) fn bind_tenant(
        &self,
        host: &mut dyn Host,
        tenancy: &mut Tenancy,
        literals: &Literals<'_>,
        literal: usize,
        local: bool,
        in_transaction: bool,
    ) -> Result<(), Refusal> {
        if self.status() == TransactionStatus::Failed {
            return Err(aborted());
        }
        let token = literals.token(literal).and_then(checks::unquoted).unwrap_or_default();
        let bound = host
            .verify_token(&self.who, &token)
            .map_err(|error| Refusal::new(error.state(), Rule("tenant"), error.to_string()))?;
        if local {
            tenancy.tenant(host.now_unix());
            tenancy.bind_local(bound, in_transaction)
        } else {
            tenancy.bind(bound, in_transaction)
        }
    }

    /// Takes the session's token away.
    pub(super) fn unbind_tenant(&self, tenancy: &mut Tenancy, in_transaction: bool) -> Result<(), Refusal> {
        if self.status() == TransactionStatus::Failed {
            return Err(aborted());
        }
        tenancy.unbind(in_transaction)
    }

    /// Writes the statements that are sent as one Query, and remembers what each result is for.
    fn send_query(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        decided: SmallVec<[Decided<'_, '_>; 1]>,
    ) -> Result<(), Refusal> {
        let mut query = reply::Query::default();
        for verdict in &decided {
            let part = match verdict {
                Decided::Say(bytes) => Ok(Part::Said(bytes.clone())),
                Decided::Send { plan, literals, tenant, .. } => {
                    self.sent_part(host, plan, literals, tenant.clone()).map(Part::Sent)
                }
            };
            match part {
                Ok(part) => query.parts.push(part),
                Err(refusal) => {
                    for part in &query.parts {
                        if matches!(part, Part::Sent(_)) {
                            host.release_audit();
                        }
                    }
                    return Err(refusal);
                }
            }
        }
        let filled = decided.iter().filter_map(|verdict| match verdict {
            Decided::Send { sql, literals, tenant, .. } => {
                Some(Filled { sql, tenant: tenant.as_ref(), literals })
            }
            Decided::Say(_) => None,
        });
        if query.parts.iter().any(|part| matches!(part, Part::Sent(_))) {
            outgoing::query(io.server, filled)?;
            // A replay of settings may stand before it.
            if self.queue.is_empty() {
                query.say_ahead(io.client);
            }
            if query.running().is_some_and(|running| running.kind == StatementKind::CopyIn) {
                self.copying = Copying::Asked;
            }
            self.queue.push_back(Expect::Query(query));
            self.portals.simple_query();
        } else {
            query.say_ahead(io.client);
        }
        Ok(())
    }

    fn sent_part(
        &mut self,
        host: &mut dyn Host,
        plan: &Arc<Plan>,
        literals: &Literals<'_>,
        tenant: Option<TenantId>,
    ) -> Result<reply::Running, Refusal> {
        let mut running = self.running(host, plan)?;
        running.tenant = tenant;
        running.sets = self.sets(plan, literals);
        if running.kind == StatementKind::Savepoint {
            self.settings.savepoint();
        }
        Ok(running)
    }

    /// What a SET leaves behind; the server may report its name from now on.
    pub(super) fn sets(&mut self, plan: &Plan, literals: &Literals<'_>) -> Option<Sets> {
        let Action::Set { sql, name, value, local } = &plan.planned.action else { return None };
        if let Some(server) = &mut self.server {
            server.touch(name);
        }
        let text = value.as_ref().map(|_| SettingText::new(sql, literals));
        (!local).then(|| Sets { name: name.clone(), text })
    }
}

impl Ahead {
    /// A statement of this kind is sent.
    fn passes(&mut self, kind: StatementKind) {
        match kind {
            StatementKind::Begin => self.open = true,
            StatementKind::Commit | StatementKind::Rollback => {
                self.open = false;
                self.tenancy.ending();
            }
            _ => self.tenancy.ran(),
        }
    }
}
