//! What SQL says about prepared statements, in the extended protocol: EXECUTE, PREPARE, DEALLOCATE; and the other
//! statements that the proxy answers itself.

use std::rc::Rc;

use super::Io;
use super::active::{Active, Batch, Flow};
use super::checks;
use super::extended::{Stop, is_taken};
use super::host::Host;
use super::names::{Executed, NameChange, no_statement, wrong_count};
use super::outgoing::{Prepared, RenderedText};
use super::portals::Portal;
use super::preparing::Named;
use super::refusing::aborted;
use super::reply::{Expect, fixed};
use super::statement::{Body, Planned, Statement, sql};
use crate::catalog::Oid;
use crate::policy::{Refusal, Rule, SqlState, TenantId};
use crate::sql::{Action, Discard, Execute, VerifiedSql};
use crate::wire::backend::TransactionStatus;
use crate::wire::frontend::Bind;
use crate::wire::request;

impl Active {
    /// Binds an EXECUTE: its portal is one of the statement that it runs.
    pub(super) fn bind_execute(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        message: &Bind<'_>,
        statement: &Rc<Statement>,
        execute: &Execute,
        tenant: Option<&TenantId>,
    ) -> Result<(), Stop> {
        let Body::Planned(planned) = &statement.body else { return Ok(()) };
        match self.executed(host, execute)? {
            // What the server is not asked is decided here, and has to be certain.
            None if self.awaits_a_sync() => return Err(Stop::Wait(Flow::Drain)),
            None if self.portals.is_taken(message.portal, false) => {
                return Err(is_taken(message.portal).into());
            }
            None => {
                self.bind_here(io, message.portal, statement.clone());
                return Ok(());
            }
            Some(runs) if Self::is_no_run(execute, Some(&runs)).is_some() => {
                return self.bind_no_run(host, io, message, runs, execute);
            }
            Some(_) => {}
        }
        let (runs, of) = self.know_executed(host, io, planned, execute, tenant)?;
        if let Some(planned) = runs.planned() {
            self.may_ask(&planned.plan, tenant, |_| None)?;
        }
        let server_name = self.portals.server_name(message.portal);
        request::bind(io.server, &server_name, b"", message, None)?;
        self.queue.push_back(Expect::Bind(of));
        self.tenancy.ran();
        self.batch = Batch::Open { sent: true };
        let before = self.portals.open(message.portal, runs.statement, Some(server_name));
        self.has_rebound(message.portal, before);
        self.portals.will_execute(message.portal, execute);
        Ok(())
    }

    /// Binds an EXECUTE with a wrong number of values, which fails when it is run, and is described until then: as the
    /// statement that it does not run.
    fn bind_no_run(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        message: &Bind<'_>,
        runs: Rc<Statement>,
        execute: &Execute,
    ) -> Result<(), Stop> {
        let Some((planned, prepared)) = runs.on_server() else { return Ok(()) };
        let prepared = host.renewed(prepared);
        let of_tenant = sql(&planned.plan).is_some_and(VerifiedSql::uses_tenant);
        let count = planned.parameters.saturating_add(u16::from(of_tenant));
        self.wait_for_lease(host, io)?;
        self.prepare(io, &prepared, None)?;
        let server_name = self.portals.server_name(message.portal);
        request::bind_nulls(io.server, &server_name, prepared.name(), count, message)?;
        self.queue.push_back(Expect::Bind(prepared));
        self.tenancy.ran();
        self.batch = Batch::Open { sent: true };
        let before = self.portals.open(message.portal, runs, Some(server_name));
        self.has_rebound(message.portal, before);
        self.portals.will_execute(message.portal, execute);
        Ok(())
    }

    /// The statement that an EXECUTE names now.
    fn executed(&mut self, host: &mut dyn Host, execute: &Execute) -> Result<Option<Rc<Statement>>, Stop> {
        match self.current_statement(host, &execute.name) {
            Ok(statement) => Ok(Some(statement)),
            Err(Stop::Refuse(refusal)) if refusal.state == SqlState::UNDEFINED_STATEMENT => Ok(None),
            Err(stop) => Err(stop),
        }
    }

    /// The server's name of a portal, if there is one, and if it is on the server. PostgreSQL looks for the statement of an
    /// EXECUTE again (`FetchPortalTargetList`).
    pub(super) fn described_portal(&self, name: &str) -> Result<Option<Option<Rc<[u8]>>>, Stop> {
        let Some(portal) = self.portals.find(name) else { return Ok(None) };
        match portal.executes.as_ref().filter(|_| !self.has_failed()) {
            Some((name, _)) if self.is_unsure_of(name) => Err(Stop::Wait(Flow::Drain)),
            Some((name, _)) if !self.statements.contains_key(&**name) => Err(no_statement(name).into()),
            _ => Ok(Some(portal.server_name.clone())),
        }
    }

    /// Whether what the portal of an EXECUTE was bound to is still what its name stands for.
    pub(super) fn may_still_execute(&self, portal: &Portal) -> Result<(), Stop> {
        let Some((name, given)) = portal.executes.as_ref().filter(|_| !self.has_failed()) else {
            return Ok(());
        };
        if self.is_unsure_of(name) {
            return Err(Stop::Wait(Flow::Drain));
        }
        let Some(of) = self.statements.get(&**name) else { return Err(no_statement(name).into()) };
        if let Some(refusal) = wrong_count(name, of, *given) {
            return Err(refusal.into());
        }
        let is_same = of.text == portal.statement.text && of.declared == portal.statement.declared;
        if is_same { Ok(()) } else { Err(is_another(name).into()) }
    }

    /// Sends the Parse of an EXECUTE without a name, and before it that of the statement that it runs.
    fn know_executed(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        planned: &Planned,
        execute: &Execute,
        tenant: Option<&TenantId>,
    ) -> Result<(Executed, Rc<Prepared>), Stop> {
        let literals = planned.literals();
        checks::literals(&planned.plan, &literals)?;
        let statement = self.current_statement(host, &execute.name)?;
        let runs = self.may_execute(host, execute, statement, &literals, tenant)?;
        self.wait_for_lease(host, io)?;
        self.prepare(io, &runs.prepared, None)?;
        let text = RenderedText::execute(runs.sql(execute), &runs.prepared, tenant, &literals);
        let of = Rc::new(Prepared::unnamed(text, &[]));
        self.prepare(io, &of, None)?;
        Ok((runs, of))
    }

    /// What an EXECUTE gives is what the statement that it runs gives; none, where there was no such statement when it was
    /// parsed (`UtilityTupleDescriptor`).
    pub(super) fn describe_execute(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        statement: &Statement,
    ) -> Result<bool, Stop> {
        let Body::Planned(planned) = &statement.body else { return Ok(false) };
        let Some(execute) = planned.execute().filter(|_| statement.executes) else { return Ok(false) };
        if self.has_failed() {
            return Err(aborted().into());
        }
        let Some(runs) = self.executed(host, execute)? else {
            if self.awaits_a_sync() {
                return Err(Stop::Wait(Flow::Drain));
            }
            // PostgreSQL has told the parameters when it looks for it.
            self.say_in_batch(io, fixed::NO_PARAMETERS);
            return Err(no_statement(&execute.name).into());
        };
        if Self::is_no_run(execute, Some(&runs)).is_some() {
            return self.describe_executed(host, io, &runs);
        }
        let tenant = self.tenancy.tenant(host.now_unix()).cloned();
        let (_, of) = self.know_executed(host, io, planned, execute, tenant.as_ref())?;
        request::target(io.server, b'D', b'S', b"")?;
        self.queue.push_back(Expect::Parameters { client: 0, of });
        Ok(true)
    }

    /// Describes the statement of an EXECUTE that cannot run it: PostgreSQL knows that only when it is run. False: it is not
    /// on the server.
    fn describe_executed(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        runs: &Statement,
    ) -> Result<bool, Stop> {
        let Some((_, prepared)) = runs.on_server() else { return Ok(false) };
        let of = host.renewed(prepared);
        self.wait_for_lease(host, io)?;
        self.prepare(io, &of, None)?;
        request::target(io.server, b'D', b'S', of.name())?;
        self.queue.push_back(Expect::Parameters { client: 0, of });
        Ok(true)
    }

    /// PREPARE in SQL: the statement gets its name when the server has taken it.
    fn execute_prepare(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        text: &str,
        name: &str,
        types: &[Oid],
    ) -> Result<(), Stop> {
        let is_taken = self.statements.contains_key(name);
        let statement = self.prepare_statement(host, text, types, name, is_taken)?;
        if let Some((_, prepared)) = statement.on_server() {
            self.wait_for_lease(host, io)?;
            self.will_rename(name);
            if !self.prepare(io, &prepared.clone(), Some(Named { client: name, by_sql: true }))? {
                self.say_in_batch(io, fixed::PREPARE);
            }
        } else {
            self.will_rename(name);
            self.say_in_batch(io, fixed::PREPARE);
        }
        self.name_statement(name, statement);
        Ok(())
    }

    /// SET and RESET of the tenant's token: the server must have answered everything before.
    pub(super) fn execute_here(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        planned: &Planned,
    ) -> Result<(), Stop> {
        if Self::is_inserting(&planned.plan) {
            self.wait_for_lease(host, io)?;
            self.begin_inserting(host, io, &planned.plan, false)?;
            self.tenancy.ran();
            return Ok(());
        }
        match &planned.plan.planned.action {
            Action::Deallocate { name } => {
                let known = |name: &str| self.statements.contains_key(name);
                let answer = self.may_deallocate(name.as_deref(), known)?;
                let forgotten: Vec<Box<str>> = match name {
                    Some(name) => vec![name.as_str().into()],
                    None => self.statements.keys().cloned().collect(),
                };
                forgotten.iter().for_each(|name| self.will_rename(name));
                self.rename(NameChange::Forgotten(name.as_deref().map(Into::into)));
                self.say_in_batch(io, answer);
                return Ok(());
            }
            Action::Discard(discard) => {
                let idle = self.unsure.is_alone(self.status() == TransactionStatus::Idle);
                if *discard == Discard::All && !self.queue.is_empty() {
                    return Err(drained(io));
                }
                let (answer, change) = self.may_discard(*discard, idle)?;
                if change.is_some() {
                    self.give_up(io)?;
                }
                change.into_iter().for_each(|change| self.rename(change));
                if *discard == Discard::All {
                    // It commits, which no portal outlives.
                    self.portals.clear();
                }
                self.say_in_batch(io, answer);
                return Ok(());
            }
            Action::Execute(_) if self.has_failed() => return Err(aborted().into()),
            Action::Execute(execute) => {
                let runs = self.executed(host, execute)?;
                let refusal = Self::is_no_run(execute, runs.as_deref());
                return Err(refusal.unwrap_or_else(|| is_another(&execute.name)).into());
            }
            Action::Prepare { name, types } => {
                return self.execute_prepare(host, io, &planned.statement_text, name, types);
            }
            _ => {}
        }
        if matches!(self.batch, Batch::Open { sent: true }) {
            let message = "the tenant cannot change within a batch that has begun";
            return Err(Refusal::new(SqlState::ACTIVE_TRANSACTION, Rule("tenant"), message)
                .hint("end the batch with Sync first")
                .into());
        }
        if !self.queue.is_empty() {
            return Err(drained(io));
        }
        let in_transaction = self.status() != TransactionStatus::Idle;
        let mut tenancy = self.tenancy.clone();
        let answer = match &planned.plan.planned.action {
            Action::BindTenant { literal, local } => {
                let literals = planned.literals();
                self.bind_tenant(host, &mut tenancy, &literals, *literal, *local, in_transaction)?;
                fixed::SET
            }
            _ => {
                self.unbind_tenant(&mut tenancy, in_transaction)?;
                fixed::RESET
            }
        };
        self.tenancy = tenancy;
        self.say_in_batch(io, answer);
        Ok(())
    }
}

/// The name of an EXECUTE stands for another statement than when its portal was bound: its rows would not be those that the
/// client was told of.
fn is_another(name: &str) -> Refusal {
    let message = format!("prepared statement \"{name}\" is another than when the EXECUTE of it was bound");
    Refusal::new(SqlState::NOT_SUPPORTED, Rule("prepared"), message)
}

/// The server's answers come before: in a batch without its Sync they have to be asked for.
fn drained(io: &mut Io<'_>) -> Stop {
    io.server.extend_from_slice(request::FLUSH);
    Stop::Wait(Flow::Drain)
}
