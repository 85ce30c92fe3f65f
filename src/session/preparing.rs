//! Statements of the extended protocol: found by their names or texts, planned, and made known to the leased server
//! connection.

use std::rc::Rc;

use super::Io;
use super::active::{Active, Batch, Flow, Look, Unplanned};
use super::extended::Stop;
use super::host::Host;
use super::names::no_statement;
use super::outgoing::Prepared;
use super::reply::Expect;
use super::statement::{Body, Statement, planned};
use crate::catalog::Oid;
use crate::policy::{Refusal, Rule, SqlState};
use crate::sql::Action;

/// The name that a client waits for its statement to have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'n> {
    pub(super) client: &'n str,
    pub(super) by_sql: bool,
}

impl Active {
    pub(super) fn name_statement(&mut self, name: &str, statement: Rc<Statement>) {
        if name.is_empty() {
            self.unnamed = Some(statement);
        } else {
            self.statements.insert(name.into(), statement);
        }
    }

    /// A message is about to change what a name stands for: an error ahead of it, which nobody knows of yet, undoes
    /// that.
    pub(super) fn will_rename(&mut self, name: &str) {
        self.note_renamed();
        if !self.queue.is_empty() {
            let before =
                if name.is_empty() { self.unnamed.clone() } else { self.statements.get(name).cloned() };
            self.queue.push_back(Expect::Renamed(name.into(), before));
        }
    }

    /// A Parse without a name that fails leaves none, where it is not skipped.
    pub(super) fn lose_unnamed(&mut self, name: &str) {
        if name.is_empty() && !self.awaits_a_sync() {
            self.will_rename(name);
            self.unnamed = None;
        }
    }

    /// A name stands for this from now on, or for nothing.
    pub(super) fn stand_for(&mut self, name: &str, statement: Option<Rc<Statement>>) {
        match statement {
            Some(statement) => self.name_statement(name, statement),
            None if name.is_empty() => self.unnamed = None,
            None => {
                self.statements.remove(name);
            }
        }
    }

    /// The statement of a text, the same for all sessions of a role where it was seen before.
    pub(super) fn shared_statement(
        &self,
        host: &mut dyn Host,
        text: &str,
        declared: &[Oid],
    ) -> Result<Rc<Statement>, Stop> {
        if let Some(known) = host.known_statement(&self.who, text, declared) {
            return Ok(known);
        }
        let statement = Rc::new(self.statement(host, text, declared)?);
        if statement.is_shareable() {
            host.keep_statement(&self.who, &statement);
        }
        Ok(statement)
    }

    /// Plans a text of one statement.
    fn statement(&self, host: &mut dyn Host, text: &str, declared: &[Oid]) -> Result<Statement, Stop> {
        let epoch = host.epoch();
        let mut parts = match self.look(host, text, declared) {
            Look::Planned(parts) => parts,
            Look::Refused(refusal, offset) => return Err(Stop::Refuse(moved(refusal, offset))),
            Look::Unplanned => {
                let (text, declared) = (text.to_owned(), declared.to_vec());
                return Err(Stop::Wait(Flow::Plan(Unplanned { text, declared })));
            }
        };
        if parts.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(Refusal::new(SqlState::SYNTAX, Rule("syntax"), message).into());
        }
        let body = match parts.pop() {
            Some(part) if !matches!(part.plan.planned.action, Action::Empty) => {
                Body::Planned(planned(host, part.plan, &part.found.literals, declared)?)
            }
            _ => Body::Empty,
        };
        let execute = match &body {
            Body::Planned(planned) => planned.execute(),
            Body::Empty => None,
        };
        if execute.is_some_and(|execute| self.is_unsure_of(&execute.name)) {
            return Err(Stop::Wait(Flow::Drain));
        }
        let executes = execute.is_some_and(|execute| self.statements.contains_key(execute.name.as_str()));
        Ok(Statement { text: text.into(), declared: declared.into(), epoch, executes, body })
    }

    pub(super) fn wait_for_lease(&mut self, host: &mut dyn Host, io: &mut Io<'_>) -> Result<(), Stop> {
        match self.leased(host, io, None) {
            Ok(true) if self.must_have_begun() => Err(Stop::Wait(Flow::Drain)),
            Ok(true) => Ok(()),
            Ok(false) => Err(Stop::Wait(Flow::Lease)),
            Err(refusal) => Err(Stop::End(refusal)),
        }
    }

    /// Makes a statement known to the leased connection; false: it is. `client`: the client's name, which waits for
    /// ParseComplete.
    pub(super) fn prepare(
        &mut self,
        io: &mut Io<'_>,
        prepared: &Rc<Prepared>,
        client: Option<Named<'_>>,
    ) -> Result<bool, Stop> {
        if self.close_stale(io)? {
            self.batch = Batch::Open { sent: true };
        }
        let by_sql = client.is_some_and(|named| named.by_sql);
        if self.make_known(io, prepared)? {
            let client = client.map(|named| named.client.into());
            self.queue.push_back(Expect::Parse { prepared: prepared.clone(), client, by_sql });
            self.batch = Batch::Open { sent: true };
            return Ok(true);
        }
        if self.is_unsure(prepared) {
            return Err(Stop::Wait(Flow::Drain));
        }
        Ok(false)
    }

    /// Has the server look at a statement that is not going to have a name: its errors come before that of the name.
    pub(super) fn try_parse(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        prepared: &Prepared,
    ) -> Result<(), Stop> {
        if self.awaits_a_sync() {
            return Err(Stop::Wait(Flow::Drain));
        }
        self.wait_for_lease(host, io)?;
        if self.server.as_mut().is_some_and(|server| server.prepared.has(prepared)) {
            return Ok(());
        }
        let trial = Rc::new(Prepared::unnamed(prepared.rendered(), prepared.types()));
        self.make_known(io, &trial)?;
        self.queue.push_back(Expect::Parse { prepared: trial, client: None, by_sql: false });
        self.batch = Batch::Open { sent: true };
        Ok(())
    }

    /// Whether a statement's Parse stands before a Sync and is unanswered: an error before it would have the server
    /// skip it, and not what comes behind that Sync.
    fn is_unsure(&self, prepared: &Prepared) -> bool {
        let is_its =
            |expect: &Expect| matches!(expect, Expect::Parse { prepared: p, .. } if p.id == prepared.id);
        let mut behind = self.queue.iter().skip_while(|expect| !is_its(expect));
        behind.any(|expect| matches!(expect, Expect::Ready))
    }

    fn find_statement(&self, name: &str) -> Result<Rc<Statement>, Refusal> {
        let found = if name.is_empty() { self.unnamed.as_ref() } else { self.statements.get(name) };
        found.cloned().ok_or_else(|| no_statement(name))
    }

    /// The statement, planned anew if plans of its time must not be used any more.
    pub(super) fn current_statement(
        &mut self,
        host: &mut dyn Host,
        name: &str,
    ) -> Result<Rc<Statement>, Stop> {
        if self.is_unsure_of(name) {
            return Err(Stop::Wait(Flow::Drain));
        }
        let statement = self.find_statement(name)?;
        let current = self.renewed(host, statement.clone())?;
        if !Rc::ptr_eq(&statement, &current) {
            self.name_statement(name, current.clone());
        }
        Ok(current)
    }

    /// The same for a statement at hand.
    pub(super) fn renewed(
        &self,
        host: &mut dyn Host,
        statement: Rc<Statement>,
    ) -> Result<Rc<Statement>, Stop> {
        if statement.epoch == host.epoch() {
            return Ok(statement);
        }
        self.shared_statement(host, &statement.text, &statement.declared)
    }
}

/// A position within a statement as one within the text.
fn moved(mut refusal: Refusal, offset: usize) -> Refusal {
    refusal.position = refusal.position.and_then(|position| position.checked_add(offset));
    refusal
}
