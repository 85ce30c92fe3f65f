//! Prepared statements by SQL: PREPARE, EXECUTE and DEALLOCATE work on the session's own names, which the protocol's
//! Parse, Bind and Describe work on too. What a name stands for is prepared on a server connection under a name
//! that all sessions share, before the statement that runs it is sent.

use std::rc::Rc;

use super::Io;
use super::active::Active;
use super::checks;
use super::extended::{MOST_NAMES, Stop, too_many};
use super::host::{Host, Literals};
use super::outgoing::Prepared;
use super::refusing::aborted;
use super::reply::{Expect, fixed};
use super::statement::{Planned, Statement};
use super::tenancy::unbound;
use crate::catalog::Oid;
use crate::policy::{Refusal, SqlState, TenantId};
use crate::sql::prepared::{RULE, body};
use crate::sql::{Action, Discard, Execute, VerifiedSql};
use crate::wire::request;

/// Different statements that one simple query may run by EXECUTE: all of them are kept prepared at once.
const MOST_EXECUTED: usize = 128;

/// A change of the session's names, made when its statement's turn comes.
#[derive(Debug, Clone)]
pub enum NameChange {
    /// PREPARE.
    Prepared(Box<str>, Rc<Statement>),
    /// DEALLOCATE; none: of all.
    Forgotten(Option<Box<str>>),
    /// DISCARD SEQUENCES.
    SequencesDiscarded,
    /// DISCARD ALL.
    Discarded,
}

/// An EXECUTE with the statement that it runs.
#[derive(Debug, Clone)]
pub struct Executed {
    /// The statement behind the name.
    pub statement: Rc<Statement>,
    /// How the server knows it.
    pub prepared: Rc<Prepared>,
}

impl Executed {
    /// Its plan and all that was found out.
    pub(super) fn planned(&self) -> Option<&Planned> {
        self.statement.on_server().map(|(planned, _)| planned)
    }

    /// What is sent for an EXECUTE of it.
    pub(super) fn sql<'a>(&self, execute: &'a Execute) -> &'a VerifiedSql {
        if self.uses_tenant() { &execute.tenanted } else { &execute.plain }
    }

    fn uses_tenant(&self) -> bool {
        match self.planned().map(|planned| &planned.plan.planned.action) {
            Some(Action::Send { sql, .. }) => sql.uses_tenant(),
            _ => false,
        }
    }
}

impl Active {
    /// Plans the statement of a PREPARE. 42P05 where `is_taken` says that the name is.
    pub(super) fn prepare_statement(
        &self,
        host: &mut dyn Host,
        text: &str,
        types: &[Oid],
        name: &str,
        is_taken: bool,
    ) -> Result<Rc<Statement>, Stop> {
        if self.has_failed() {
            return Err(aborted().into());
        }
        let Some((offset, inner)) = body(text) else {
            return Err(Refusal::new(SqlState::SYNTAX, RULE, "PREPARE without a statement").into());
        };
        let statement = self.shared_statement(host, inner, types).map_err(|stop| match stop {
            Stop::Refuse(mut refusal) => {
                refusal.position = refusal.position.and_then(|at| at.checked_add(offset));
                Stop::Refuse(refusal)
            }
            stop => stop,
        })?;
        if is_taken {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Refusal::new(SqlState::DUPLICATE_STATEMENT, RULE, message).into());
        }
        if self.statements.len() >= MOST_NAMES {
            return Err(too_many("prepared statements").into());
        }
        Ok(statement)
    }

    /// Checks an EXECUTE of `statement` with these values, and gives what it runs.
    pub(super) fn may_execute(
        &self,
        host: &mut dyn Host,
        execute: &Execute,
        statement: Rc<Statement>,
        literals: &Literals<'_>,
        tenant: Option<&TenantId>,
    ) -> Result<Executed, Refusal> {
        if self.has_failed() {
            return Err(aborted());
        }
        let runs = statement.on_server().filter(|(planned, _)| is_query(&planned.plan.planned.action));
        let Some((planned, prepared)) = runs else {
            let message = format!("EXECUTE of \"{}\" is not supported: it is no query of rows", execute.name);
            return Err(Refusal::new(SqlState::NOT_SUPPORTED, RULE, message)
                .hint("run it by the protocol that prepared it, or on its own"));
        };
        if let Some(refusal) = wrong_count(&execute.name, &statement, execute.arguments.len()) {
            return Err(refusal);
        }
        if needs_tenant(&planned.plan.planned.action) && tenant.is_none() {
            return Err(unbound());
        }
        checks::literals(&planned.plan, &planned.literals())?;
        if let Err(refusal) = checks::arguments(&planned.plan, &execute.arguments, literals) {
            let cautious = statement.without_bare_conditions(host)?.ok_or(refusal)?;
            return self.may_execute(host, execute, Rc::new(cautious), literals, tenant);
        }
        let prepared = host.renewed(prepared);
        Ok(Executed { statement, prepared })
    }

    /// Why PostgreSQL does not execute `statement`, or none, in this way. It finds that when the portal is run
    /// (`ExecuteQuery`, commands/prepare.c), not when it is bound.
    pub(super) fn is_no_run(execute: &Execute, statement: Option<&Statement>) -> Option<Refusal> {
        let Some(statement) = statement else { return Some(no_statement(&execute.name)) };
        wrong_count(&execute.name, statement, execute.arguments.len())
    }

    /// Makes statements known to the leased connection before a simple query runs them; false: the answers have
    /// to be waited for.
    pub(super) fn prepare_ahead(
        &mut self,
        io: &mut Io<'_>,
        needed: &[Rc<Prepared>],
    ) -> Result<bool, Refusal> {
        if needed.len() > MOST_EXECUTED {
            return Err(too_many("statements run by EXECUTE in one query"));
        }
        self.close_stale(io)?;
        let mut sent = false;
        for prepared in needed {
            if self.make_known(io, prepared)? {
                self.queue.push_back(Expect::Ahead(prepared.clone()));
                sent = true;
            }
        }
        if sent {
            io.server.extend_from_slice(request::SYNC);
            self.queue.push_back(Expect::AheadReady);
            self.portals.synced();
        }
        Ok(!sent)
    }

    /// Closes statements of the leased connection whose cached plans cannot be used any more; whether there were
    /// any.
    pub(super) fn close_stale(&mut self, io: &mut Io<'_>) -> Result<bool, Refusal> {
        let mut closed = false;
        while let Some(stale) = self.server.as_mut().and_then(|server| server.prepared.take_stale()) {
            request::target(io.server, b'C', b'S', stale.name())?;
            self.queue.push_back(Expect::OwnClose(stale));
            closed = true;
        }
        Ok(closed)
    }

    /// Writes the Parse of a statement that the leased connection does not know; false: it does.
    pub(super) fn make_known(&mut self, io: &mut Io<'_>, prepared: &Rc<Prepared>) -> Result<bool, Refusal> {
        let Some(server) = &mut self.server else {
            let message = "no server connection is leased";
            return Err(Refusal::new(SqlState::INTERNAL, RULE, message));
        };
        if server.prepared.has(prepared) {
            return Ok(false);
        }
        let named = prepared.id != 0;
        let evicted = named.then(|| server.prepared.insert(prepared.clone())).flatten();
        if let Some(evicted) = evicted {
            request::target(io.server, b'C', b'S', evicted.name())?;
            self.queue.push_back(Expect::OwnClose(evicted));
        }
        prepared.parse(io.server)?;
        Ok(true)
    }

    /// Makes a change of the session's names.
    pub(super) fn rename(&mut self, change: NameChange) {
        match change {
            NameChange::Prepared(name, statement) => {
                self.statements.insert(name, statement);
            }
            NameChange::Forgotten(Some(name)) => {
                self.statements.remove(&name);
            }
            NameChange::Forgotten(None) => self.statements.clear(),
            NameChange::SequencesDiscarded => self.drawn.discard(),
            NameChange::Discarded => {
                self.drawn.discard();
                self.statements.clear();
                self.holds.close(None);
                self.settings.discard();
            }
        }
    }

    /// What DISCARD answers, and what it changes; `outside`: it stands outside of a transaction, alone.
    pub(super) fn may_discard(
        &self,
        discard: Discard,
        outside: bool,
    ) -> Result<(&'static [u8], Option<NameChange>), Refusal> {
        if self.has_failed() {
            return Err(aborted());
        }
        match discard {
            Discard::All if !outside => {
                let message = "DISCARD ALL cannot run inside a transaction block";
                Err(Refusal::new(SqlState::ACTIVE_TRANSACTION, RULE, message))
            }
            Discard::All => Ok((fixed::DISCARD_ALL, Some(NameChange::Discarded))),
            Discard::Plans => Ok((fixed::DISCARD_PLANS, None)),
            Discard::Sequences => Ok((fixed::DISCARD_SEQUENCES, Some(NameChange::SequencesDiscarded))),
            Discard::Temp => Ok((fixed::DISCARD_TEMP, None)),
        }
    }

    /// What `DEALLOCATE` answers, where there is such a statement.
    pub(super) fn may_deallocate(
        &self,
        name: Option<&str>,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<&'static [u8], Refusal> {
        if self.has_failed() {
            return Err(aborted());
        }
        match name {
            None => Ok(fixed::DEALLOCATE_ALL),
            Some(name) if is_known(name) => Ok(fixed::DEALLOCATE),
            Some(name) => Err(no_statement(name)),
        }
    }
}

/// 26000 in PostgreSQL's words.
pub(super) fn no_statement(name: &str) -> Refusal {
    let message = match name {
        "" => "unnamed prepared statement does not exist".to_owned(),
        name => format!("prepared statement \"{name}\" does not exist"),
    };
    Refusal::new(SqlState::UNDEFINED_STATEMENT, RULE, message)
}

/// 42601 in PostgreSQL's words, where a statement takes another number of values.
pub(super) fn wrong_count(name: &str, statement: &Statement, given: usize) -> Option<Refusal> {
    let wanted = usize::from(statement.parameters());
    let message = || format!("wrong number of parameters for prepared statement \"{name}\"");
    let detail = || format!("Expected {wanted} parameters but got {given}.");
    (given != wanted).then(|| Refusal::new(SqlState::SYNTAX, RULE, message()).detail(detail()))
}

/// Statements that EXECUTE runs: those that PREPARE takes. What else the protocol can prepare changes what the
/// session has to know of (transactions, settings, COPY).
fn is_query(action: &Action) -> bool {
    matches!(action, Action::Send { kind, .. } if kind.is_of_rows())
}

fn needs_tenant(action: &Action) -> bool {
    matches!(action, Action::Send { sql, needs_tenant, .. } if *needs_tenant || sql.uses_tenant())
}
