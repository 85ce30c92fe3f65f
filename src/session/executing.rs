//! What SQL says about prepared statements, in the extended protocol: EXECUTE, PREPARE, DEALLOCATE; and the other
//! statements that the proxy answers itself.

use std::rc::Rc;

use super::Io;
use super::active::{Active, Batch, Flow};
use super::checks;
use super::extended::Stop;
use super::host::Host;
use super::names::{Executed, NameChange};
use super::outgoing::{Prepared, RenderedText};
use super::preparing::Named;
use super::reply::{Expect, fixed};
use super::statement::{Body, Planned, Statement};
use crate::catalog::Oid;
use crate::policy::{Refusal, Rule, SqlState, TenantId};
use crate::sql::{Action, Discard, Execute};
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
        planned: &Planned,
        execute: &Execute,
        tenant: Option<&TenantId>,
    ) -> Result<(), Stop> {
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
        Ok(())
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

    /// What an EXECUTE gives is what the statement that it runs gives; none, where there is no such statement
    /// (`UtilityTupleDescriptor`).
    pub(super) fn describe_execute(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        statement: &Statement,
    ) -> Result<bool, Stop> {
        let Body::Planned(planned) = &statement.body else { return Ok(false) };
        let Action::Execute(execute) = &planned.plan.planned.action else { return Ok(false) };
        if !self.statements.contains_key(execute.name.as_str()) {
            return Ok(false);
        }
        let tenant = self.tenancy.tenant(host.now_unix()).cloned();
        let (_, of) = self.know_executed(host, io, planned, execute, tenant.as_ref())?;
        request::target(io.server, b'D', b'S', b"")?;
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

/// The server's answers come before: in a batch without its Sync they have to be asked for.
fn drained(io: &mut Io<'_>) -> Stop {
    io.server.extend_from_slice(request::FLUSH);
    Stop::Wait(Flow::Drain)
}
