//! The simple protocol: all statements of a Query are decided before one of them is sent.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Io;
use super::active::{Active, Batch, Flow, Look, Unplanned};
use super::alone::plain;
use super::copy::Copying;
use super::extended::Stop;
use super::host::Host;
use super::names::{Executed, NameChange, no_statement};
use super::outgoing::{self, Filled, Prepared};
use super::refusing::aborted;
use super::reply::{self, Expect, Part, fixed};
use super::sequences::{Drawn, asks};
use super::statement::Statement;
use super::tenancy::{Tenancy, unbound};
use super::{checks, host::Literals};
use crate::plan::Plan;
use crate::policy::{Refusal, Rule, SqlState, TenantId};
use crate::sql::{Action, Change, SettingChange, StatementKind, VerifiedSql};
use crate::wire::backend::TransactionStatus;
use crate::wire::frontend;

/// What one statement of a Query comes to.
pub(super) enum Decided<'a, 't> {
    Send { sql: &'a VerifiedSql, plan: &'a Arc<Plan>, literals: &'a Literals<'t>, tenant: Option<TenantId> },
    Execute { sql: &'a VerifiedSql, runs: Executed, literals: &'a Literals<'t>, tenant: Option<TenantId> },
    Say(Cow<'static, [u8]>),
    Name(&'static [u8], NameChange),
}

/// The transaction as it will be when a statement's turn comes.
struct Ahead {
    tenancy: Tenancy,
    open: bool,
    alone: bool,
    /// How the session's prepared statements will have changed.
    names: Vec<NameChange>,
    /// What will have been drawn from sequences.
    drawn: Drawn,
    /// What has to be prepared on the server connection before the query is sent.
    needed: Vec<Rc<Prepared>>,
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
        if std::mem::take(&mut self.ahead_failed) {
            return Ok(Flow::Done);
        }
        self.drop_unnamed();
        let seen = host.seen(&self.who, text);
        // What was seen holds no NUL.
        if seen.is_none()
            && let Err(error) = frontend::without_nul(text)
        {
            return self.refuse_query(host, io, &error.into(), "", 0);
        }
        if let Some((seen, plain)) = seen.as_ref().and_then(|seen| Some((seen, plain(&seen.plan)?))) {
            return self.query_alone(host, io, text, seen, plain);
        }
        let look = match seen {
            Some(seen) => Look::of_seen(text, seen),
            None => self.look_each(host, text, &[]),
        };
        let parts = match look {
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
        if self.is_aborted_for(&parts) {
            return self.refuse_query(host, io, &aborted(), text, 0);
        }
        let open = self.status() != TransactionStatus::Idle;
        if parts.iter().any(|part| asks(&part.plan)) {
            self.drawn.will_ask();
        }
        let mut ahead = Ahead {
            tenancy: self.tenancy.clone(),
            open,
            alone: parts.len() == 1,
            names: Vec::new(),
            drawn: if self.server.is_some() { self.drawn.clone() } else { Drawn::default() },
            needed: Vec::new(),
        };
        let mut decided: SmallVec<[Decided<'_, '_>; 1]> = SmallVec::new();
        for part in &parts {
            match self.decide(host, &mut ahead, &part.plan, &part.found.literals) {
                Ok(verdict) => decided.push(verdict),
                Err(Stop::Wait(flow)) => return Ok(flow),
                Err(Stop::End(refusal)) => return Err(refusal),
                Err(Stop::Refuse(refusal)) => {
                    // DEALLOCATE and the like before it have run: no rollback takes them back.
                    if decided.iter().all(|verdict| matches!(verdict, Decided::Name(..))) {
                        self.send_query(host, io, decided)?;
                    }
                    return self.refuse_query(host, io, &refusal, text, part.found.offset);
                }
            }
        }
        let here = if ahead.needed.is_empty() { self.answered_here(&decided) } else { None };
        let sends = here.is_none() && decided.iter().any(Decided::is_sent);
        if (sends || !ahead.needed.is_empty()) && !self.leased(host, io, Some(&ahead.tenancy))? {
            return Ok(Flow::Lease);
        }
        if self.must_have_begun() {
            return Ok(Flow::Drain);
        }
        if !ahead.needed.is_empty() {
            match self.prepare_ahead(io, &ahead.needed) {
                Ok(true) => {}
                Ok(false) => return Ok(Flow::Drain),
                Err(refusal) => return self.refuse_query(host, io, &refusal, "", 0),
            }
        }
        self.tenancy = ahead.tenancy;
        if let Some(here) = here
            && let Err(refusal) = self.answer_here(host, here, &mut decided)
        {
            return self.refuse_query(host, io, &refusal, "", 0);
        }
        if let [Decided::Send { plan, .. }] = decided.as_slice()
            && Self::is_inserting(plan)
        {
            return self.insert_by_query(host, io, plan);
        }
        match self.send_query(host, io, decided) {
            Ok(()) if sends => Ok(Flow::Done),
            Ok(()) => self.sync(io),
            Err(refusal) => self.refuse_query(host, io, &refusal, "", 0),
        }
    }

    /// A COPY whose rows are inserted.
    fn insert_by_query(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        plan: &Arc<Plan>,
    ) -> Result<Flow, Refusal> {
        self.portals.simple_query();
        match self.begin_inserting(host, io, plan, true) {
            Ok(()) => Ok(Flow::Done),
            Err(Stop::Wait(flow)) => Ok(flow),
            Err(Stop::Refuse(refusal)) => self.refuse_query(host, io, &refusal, "", 0),
            Err(Stop::End(refusal)) => Err(refusal),
        }
    }

    fn decide<'a, 't>(
        &self,
        host: &mut dyn Host,
        ahead: &mut Ahead,
        plan: &'a Arc<Plan>,
        literals: &'a Literals<'t>,
    ) -> Result<Decided<'a, 't>, Stop> {
        let now = host.now_unix();
        match &plan.planned.action {
            Action::Empty if ahead.alone => Ok(Decided::Say(Cow::Borrowed(fixed::EMPTY_QUERY))),
            Action::Empty => Ok(Decided::Say(Cow::Borrowed(b""))),
            Action::Send { sql, kind, needs_tenant, .. } => {
                let tenant = ahead.tenancy.tenant(now).cloned();
                if tenant.is_none() && (*needs_tenant || sql.uses_tenant()) {
                    return Err(unbound().into());
                }
                let alone = *kind == StatementKind::CopyOut || Self::is_inserting(plan);
                if !ahead.alone && alone {
                    let message = "COPY together with other statements is not supported";
                    return Err(Refusal::new(SqlState::NOT_SUPPORTED, Rule("form"), message).into());
                }
                checks::literals(plan, literals)?;
                self.may_use_cursor(host, *kind, tenant.as_ref())?;
                checks::load(plan, tenant.as_ref())?;
                Self::will_show(ahead, plan, tenant.as_ref())?;
                ahead.passes(*kind);
                Ok(Decided::Send { sql, plan, literals, tenant })
            }
            Action::Set { sql, .. } | Action::Savepoint { sql, .. } => {
                checks::literals(plan, literals)?;
                let tenant = ahead.tenancy.tenant(now).cloned();
                ahead.passes(StatementKind::Other);
                Ok(Decided::Send { sql, plan, literals, tenant })
            }
            Action::Discard(discard) => {
                let (answer, change) = self.may_discard(*discard, ahead.alone && !ahead.open)?;
                ahead.drawn.discard();
                Ok(change.map_or(Decided::Say(Cow::Borrowed(answer)), |change| Decided::Name(answer, change)))
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
                let answer =
                    self.may_deallocate(name.as_deref(), |name| self.named(ahead, name).is_some())?;
                let change = NameChange::Forgotten(name.as_deref().map(Into::into));
                ahead.names.push(change.clone());
                Ok(Decided::Name(answer, change))
            }
            Action::Prepare { name, types } => {
                let is_taken = self.named(ahead, name).is_some();
                let statement = self.prepare_statement(host, literals.text, types, name, is_taken)?;
                ahead.needed.extend(statement.on_server().map(|(_, prepared)| prepared.clone()));
                let change = NameChange::Prepared(name.as_str().into(), statement);
                ahead.names.push(change.clone());
                Ok(Decided::Name(fixed::PREPARE, change))
            }
            Action::Execute(execute) => {
                let statement =
                    self.named(ahead, &execute.name).ok_or_else(|| no_statement(&execute.name))?;
                let statement = self.renewed(host, statement)?;
                let tenant = ahead.tenancy.tenant(now).cloned();
                checks::literals(plan, literals)?;
                let runs = self.may_execute(host, execute, statement, literals, tenant.as_ref())?;
                if let Some(planned) = runs.planned() {
                    Self::will_show(ahead, &planned.plan, tenant.as_ref())?;
                }
                ahead.needed.push(runs.prepared.clone());
                ahead.passes(StatementKind::Other);
                Ok(Decided::Execute { sql: runs.sql(execute), runs, literals, tenant })
            }
        }
    }

    /// Whether the last values of sequences that a statement asks for will be the tenant's own when its turn comes.
    fn will_show(ahead: &mut Ahead, plan: &Plan, tenant: Option<&TenantId>) -> Result<(), Refusal> {
        ahead.drawn.passes(tenant);
        let Some(sequences) = &plan.planned.sequences else { return Ok(()) };
        ahead.drawn.may_ask(sequences, tenant, |_| None)?;
        ahead.drawn.drew(sequences, tenant, 0);
        Ok(())
    }

    /// The statement that a name will stand for when its turn comes.
    fn named(&self, ahead: &Ahead, name: &str) -> Option<Rc<Statement>> {
        for change in ahead.names.iter().rev() {
            match change {
                NameChange::Prepared(of, statement) if **of == *name => return Some(statement.clone()),
                NameChange::Forgotten(None) | NameChange::Discarded => return None,
                NameChange::Forgotten(Some(of)) if **of == *name => return None,
                NameChange::Prepared(..) | NameChange::Forgotten(_) | NameChange::SequencesDiscarded => {}
            }
        }
        self.statements.get(name).cloned()
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
        if self.has_failed() {
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
        if self.has_failed() {
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
                Decided::Name(answer, change) => Ok(Part::Named(answer, Box::new(change.clone()))),
                Decided::Execute { runs, tenant, .. } => {
                    self.executed_part(host, runs, tenant.clone()).map(Part::Sent)
                }
                Decided::Send { plan, tenant, .. } => {
                    self.sent_part(host, plan, tenant.clone()).map(Part::Sent)
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
                Some(Filled { sql, tenant: tenant.as_ref(), literals, prepared: None })
            }
            Decided::Execute { sql, runs, literals, tenant } => {
                Some(Filled { sql, tenant: tenant.as_ref(), literals, prepared: Some(&runs.prepared) })
            }
            Decided::Say(_) | Decided::Name(..) => None,
        });
        if query.parts.iter().any(|part| matches!(part, Part::Sent(_))) {
            outgoing::query(io.server, filled)?;
            // A replay of settings may stand before it.
            if self.queue.is_empty() {
                self.say_ahead(&mut query, io.client);
            }
            if query.awaits_copy() {
                self.copying = Copying::Asked;
            }
            let refused = self.status() == TransactionStatus::Failed && !query.ends_what_failed();
            self.queue.push_back(Expect::Query(query));
            match refused {
                true => self.portals.refused_query(),
                false => self.portals.simple_query(),
            }
        } else {
            self.portals.forget_unnamed();
            let is_discarded = |verdict: &Decided| matches!(verdict, Decided::Name(_, NameChange::Discarded));
            if decided.iter().any(is_discarded) {
                self.give_up(io)?;
            }
            let mut said = Vec::new();
            self.say_ahead(&mut query, &mut said);
            self.say(io, said);
        }
        Ok(())
    }

    fn say_ahead(&mut self, query: &mut reply::Query, out: &mut Vec<u8>) {
        while let Some(change) = query.say_ahead(out) {
            self.rename(change);
        }
    }

    fn executed_part(
        &mut self,
        host: &mut dyn Host,
        runs: &Executed,
        tenant: Option<TenantId>,
    ) -> Result<reply::Running, Refusal> {
        let Some(planned) = runs.planned() else { return Err(no_statement("")) };
        let mut running = self.sent_part(host, &planned.plan, tenant)?;
        running.prepared = Some(runs.prepared.clone());
        Ok(running)
    }

    pub(super) fn sent_part(
        &mut self,
        host: &mut dyn Host,
        plan: &Arc<Plan>,
        tenant: Option<TenantId>,
    ) -> Result<reply::Running, Refusal> {
        let mut running = self.running(host, plan)?;
        self.drawn.passes(tenant.as_ref());
        running.tenant = tenant;
        if let (StatementKind::HeldCursor, Some(server)) = (running.kind, &mut self.server) {
            server.cursors = true;
        }
        if let Action::Set { changes, .. } = &plan.planned.action {
            running.sets = Some(self.sets(changes, |_| None)?);
        }
        Ok(running)
    }

    /// What a SET will have changed; the server may report its names from now on.
    pub(super) fn sets<'v>(
        &mut self,
        changes: &[SettingChange],
        parameter: impl Fn(u16) -> Option<Option<&'v str>>,
    ) -> Result<Rc<[Change]>, Refusal> {
        let changes = changes.iter().map(|change| change.with(&parameter));
        let changes = changes.collect::<Result<Rc<[Change]>, Refusal>>()?;
        if let Some(server) = &mut self.server {
            for change in &*changes {
                match &change.name {
                    Some(name) => server.touch(name),
                    None => server.touch_all(),
                }
            }
        }
        Ok(changes)
    }
}

impl Decided<'_, '_> {
    fn is_sent(&self) -> bool {
        matches!(self, Self::Send { .. } | Self::Execute { .. })
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
            StatementKind::Chain => self.tenancy.chain(),
            _ => self.tenancy.ran(),
        }
    }
}
