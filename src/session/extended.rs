//! The extended protocol. A client's statement and portal names are its own; the server knows statements by
//! names that all sessions share, prepared on a connection when it first needs one.

use std::rc::Rc;

use smallvec::SmallVec;

use super::Io;
use super::active::{Active, Batch, Flow, Look, Unplanned, kind};
use super::copy::Copying;
use super::host::Host;
use super::outgoing::Prepared;
use super::refusing::aborted;
use super::reply::{Expect, fixed};
use super::statement::{Body, OnServer, Planned, Statement, admit, count_values, per_bind, planned, sql};
use crate::catalog::Oid;
use crate::policy::{Refusal, Rule, SqlState};
use crate::sql::{Action, StatementKind};
use crate::wire::backend::TransactionStatus;
use crate::wire::frontend::{self, Bind, Parse, Target};
use crate::wire::request::{self, TenantParameter};

/// Prepared statements and portals that a session may have by name at once. Drivers keep some hundreds.
const MOST_NAMES: usize = 4096;

/// How a message of a batch ends early.
enum Stop {
    Wait(Flow),
    Refuse(Refusal),
    End(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

impl From<crate::wire::WireError> for Stop {
    fn from(error: crate::wire::WireError) -> Self {
        Self::Refuse(error.into())
    }
}

impl Active {
    /// A message of a batch. A refusal skips the rest of the batch.
    pub(super) fn extended(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        tag: u8,
        body: &[u8],
    ) -> Result<Flow, Refusal> {
        match self.batch {
            Batch::Skipping { .. } => return Ok(Flow::Done),
            // The tenant of SET LOCAL ends with its transaction: whether that is over must be known.
            Batch::Closed if self.tenancy.is_local() && !self.queue.is_empty() => return Ok(Flow::Drain),
            Batch::Closed | Batch::Open { .. } => {}
        }
        let mut text = "";
        let alone = self.batch == Batch::Closed && !self.awaits_answers();
        let from = io.server.len();
        let outcome = match tag {
            b'P' => Parse::read(body).map_err(Stop::from).and_then(|message| {
                text = message.text;
                self.parse(host, io, &message)
            }),
            b'B' => Bind::read(body).map_err(Stop::from).and_then(|message| self.bind(host, io, &message)),
            b'D' => {
                frontend::target(body).map_err(Stop::from).and_then(|target| self.describe(host, io, target))
            }
            b'E' => frontend::execute(body)
                .map_err(Stop::from)
                .and_then(|(portal, limit)| self.execute(host, io, portal, limit)),
            b'C' => frontend::target(body).map_err(Stop::from).and_then(|target| self.close(io, target)),
            _ => Err(Stop::Refuse(crate::wire::WireError::Unexpected(tag).into())),
        };
        match outcome {
            Ok(()) => {
                self.note_sent(io.server, from, alone);
                if self.batch == Batch::Closed {
                    self.batch = Batch::Open { sent: false };
                }
                Ok(Flow::Done)
            }
            Err(Stop::Wait(flow)) => Ok(flow),
            Err(Stop::Refuse(refusal)) => self.refuse_message(host, io, &refusal, text, 0),
            Err(Stop::End(refusal)) => Err(refusal),
        }
    }

    fn parse(&mut self, host: &mut dyn Host, io: &mut Io<'_>, message: &Parse<'_>) -> Result<(), Stop> {
        if !message.name.is_empty() && self.statements.contains_key(message.name) {
            let text = format!("prepared statement \"{}\" already exists", message.name);
            return Err(Refusal::new(SqlState::DUPLICATE_STATEMENT, Rule("statement"), text).into());
        }
        if !message.name.is_empty() && self.statements.len() >= MOST_NAMES {
            return Err(too_many("prepared statements").into());
        }
        let declared: SmallVec<[Oid; 16]> = message.types().collect();
        let statement = match self.shared_statement(host, message.text, &declared) {
            Ok(statement) => statement,
            Err(stop) => {
                if message.name.is_empty() && matches!(stop, Stop::Refuse(_)) {
                    self.unnamed = None;
                }
                return Err(stop);
            }
        };
        if let Some((_, prepared)) = statement.on_server() {
            let prepared = host.renewed(prepared);
            self.wait_for_lease(host, io)?;
            self.prepare(io, &prepared, Some(message.name))?;
        } else {
            self.say_in_batch(io, fixed::PARSE_COMPLETE);
        }
        self.name_statement(message.name, statement);
        Ok(())
    }

    fn name_statement(&mut self, name: &str, statement: Rc<Statement>) {
        if name.is_empty() {
            self.unnamed = Some(statement);
        } else {
            self.statements.insert(name.into(), statement);
        }
    }

    /// The statement of a text, the same for all sessions of a role where it was seen before.
    fn shared_statement(
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
        Ok(Statement { text: text.into(), declared: declared.into(), epoch, body })
    }

    fn wait_for_lease(&mut self, host: &mut dyn Host, io: &mut Io<'_>) -> Result<(), Stop> {
        match self.leased(host, io, None) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Stop::Wait(Flow::Lease)),
            Err(refusal) => Err(Stop::End(refusal)),
        }
    }

    /// Makes a statement known to the leased connection. `client`: the client's name, which waits for
    /// ParseComplete.
    fn prepare(
        &mut self,
        io: &mut Io<'_>,
        prepared: &Rc<Prepared>,
        client: Option<&str>,
    ) -> Result<(), Stop> {
        let Some(server) = &mut self.server else { return Err(no_server()) };
        while let Some(stale) = server.prepared.take_stale() {
            request::target(io.server, b'C', b'S', stale.name())?;
            self.queue.push_back(Expect::OwnClose(stale));
            self.batch = Batch::Open { sent: true };
        }
        if server.prepared.has(prepared) {
            if self.is_unsure(prepared) {
                return Err(Stop::Wait(Flow::Drain));
            }
            if client.is_some() {
                self.say_in_batch(io, fixed::PARSE_COMPLETE);
            }
            return Ok(());
        }
        let named = prepared.id != 0;
        let evicted = named.then(|| server.prepared.insert(prepared.clone())).flatten();
        if let Some(evicted) = evicted {
            request::target(io.server, b'C', b'S', evicted.name())?;
            self.queue.push_back(Expect::OwnClose(evicted));
        }
        prepared.parse(io.server)?;
        self.queue.push_back(Expect::Parse { prepared: prepared.clone(), client: client.map(Into::into) });
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
        found.cloned().ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Refusal::new(SqlState::UNDEFINED_STATEMENT, Rule("statement"), message)
        })
    }

    /// The statement, planned anew if plans of its time must not be used any more.
    fn current_statement(&mut self, host: &mut dyn Host, name: &str) -> Result<Rc<Statement>, Stop> {
        let statement = self.find_statement(name)?;
        if statement.epoch == host.epoch() {
            return Ok(statement);
        }
        let fresh = self.shared_statement(host, &statement.text, &statement.declared)?;
        self.name_statement(name, fresh.clone());
        Ok(fresh)
    }

    fn bind(&mut self, host: &mut dyn Host, io: &mut Io<'_>, message: &Bind<'_>) -> Result<(), Stop> {
        let statement = self.current_statement(host, message.statement)?;
        if self.portals.is_taken(message.portal) {
            let text = format!("cursor \"{}\" already exists", message.portal);
            return Err(Refusal::new(SqlState("42P03"), Rule("portal"), text).into());
        }
        if self.portals.len() >= MOST_NAMES {
            return Err(too_many("portals").into());
        }
        let parameters = statement.parameters();
        count_values(message, parameters)?;
        let Body::Planned(planned) = &statement.body else {
            self.portals.open(message.portal, statement, None);
            self.say_in_batch(io, fixed::BIND_COMPLETE);
            return Ok(());
        };
        let tenant = self.tenancy.tenant(host.now_unix()).cloned();
        let cautious = planned.cautious(host, &statement.declared, message)?;
        let planned = cautious.as_ref().unwrap_or(planned);
        admit(planned, message, tenant.as_ref())?;
        let prepared = match &planned.on_server {
            OnServer::Named(prepared) => host.renewed(prepared),
            OnServer::PerBind => per_bind(planned, &statement.declared, tenant.as_ref()),
            OnServer::Never => {
                self.portals.open(message.portal, statement.clone(), None);
                self.say_in_batch(io, fixed::BIND_COMPLETE);
                return Ok(());
            }
        };
        if let Action::Set { local, .. } = &planned.plan.planned.action {
            self.settings.may_set(*local)?;
        }
        self.wait_for_lease(host, io)?;
        self.prepare(io, &prepared, None)?;
        let server_name = self.portals.server_name(message.portal);
        let value = match (&tenant, sql(&planned.plan)) {
            (Some(tenant), Some(sql)) if sql.uses_tenant() && prepared.id != 0 => {
                Some(TenantParameter { value: tenant.as_str() })
            }
            _ => None,
        };
        request::bind(io.server, &server_name, prepared.name(), message, value)?;
        self.queue.push_back(Expect::Bind(prepared.clone()));
        if kind(&planned.plan.planned.action) != StatementKind::Begin {
            self.tenancy.ran();
        }
        self.batch = Batch::Open { sent: true };
        self.portals.open(message.portal, statement.clone(), Some(server_name));
        Ok(())
    }

    fn describe(&mut self, host: &mut dyn Host, io: &mut Io<'_>, target: Target<'_>) -> Result<(), Stop> {
        match target {
            Target::Statement(name) => {
                let statement = self.current_statement(host, name)?;
                let Some((planned, prepared)) = statement.on_server() else {
                    self.say_in_batch(io, fixed::NO_PARAMETERS);
                    self.say_in_batch(io, fixed::NO_DATA);
                    return Ok(());
                };
                let prepared = &host.renewed(prepared);
                self.wait_for_lease(host, io)?;
                self.prepare(io, prepared, None)?;
                request::target(io.server, b'D', b'S', prepared.name())?;
                let of = prepared.clone();
                self.queue.push_back(Expect::Parameters { client: planned.parameters, of: of.clone() });
                self.queue.push_back(Expect::Row(Some(of)));
                self.batch = Batch::Open { sent: true };
                return Ok(());
            }
            Target::Portal(name) => match self.portals.find(name).map(|portal| portal.server_name.clone()) {
                Some(Some(server_name)) => request::target(io.server, b'D', b'P', &server_name)?,
                Some(None) => {
                    self.say_in_batch(io, fixed::NO_DATA);
                    return Ok(());
                }
                // A cursor that SQL declared is a portal of the server by its own name: drivers describe it. In
                // a transaction every portal of the leased connection is this session's.
                None if !name.is_empty() && self.status() == TransactionStatus::Open => {
                    request::target(io.server, b'D', b'P', name.as_bytes())?;
                }
                None => return Err(no_portal(name).into()),
            },
        }
        self.queue.push_back(Expect::Row(None));
        self.batch = Batch::Open { sent: true };
        Ok(())
    }

    fn execute(&mut self, host: &mut dyn Host, io: &mut Io<'_>, name: &str, limit: i32) -> Result<(), Stop> {
        let portal = self.portals.find(name).cloned().ok_or_else(|| no_portal(name))?;
        let Body::Planned(planned) = &portal.statement.body else {
            self.say_in_batch(io, fixed::EMPTY_QUERY);
            return Ok(());
        };
        let Some(server_name) = &portal.server_name else {
            return self.execute_here(host, io, planned);
        };
        let mut running = self.running(host, &planned.plan)?;
        running.sets = self.sets(&planned.plan, &planned.literals());
        request::execute(io.server, server_name, limit)?;
        match running.kind {
            StatementKind::Begin => {}
            StatementKind::Commit | StatementKind::Rollback => self.tenancy.ending(),
            StatementKind::CopyIn => self.copying = Copying::Asked,
            StatementKind::Savepoint => {
                self.settings.savepoint();
                self.tenancy.ran();
            }
            _ => self.tenancy.ran(),
        }
        self.queue.push_back(Expect::Execute(running));
        self.batch = Batch::Open { sent: true };
        Ok(())
    }

    /// What `DEALLOCATE` answers, where there is such a statement. The names are the session's own; the server
    /// keeps its statements for others.
    pub(super) fn may_deallocate(&self, name: Option<&str>) -> Result<&'static [u8], Refusal> {
        if self.status() == TransactionStatus::Failed {
            return Err(aborted());
        }
        match name {
            None => Ok(fixed::DEALLOCATE_ALL),
            Some(name) if self.statements.contains_key(name) => Ok(fixed::DEALLOCATE),
            Some(name) => {
                let message = format!("prepared statement \"{name}\" does not exist");
                Err(Refusal::new(SqlState::UNDEFINED_STATEMENT, Rule("prepared-statement"), message))
            }
        }
    }

    /// Forgets a statement of the session, or all.
    pub(super) fn deallocate(&mut self, name: Option<&str>) {
        match name {
            Some(name) => {
                self.statements.remove(name);
            }
            None => {
                self.statements.clear();
                self.unnamed = None;
            }
        }
    }

    /// SET and RESET of the tenant's token: the server must have answered everything before.
    fn execute_here(&mut self, host: &mut dyn Host, io: &mut Io<'_>, planned: &Planned) -> Result<(), Stop> {
        if let Action::Deallocate { name } = &planned.plan.planned.action {
            let answer = self.may_deallocate(name.as_deref())?;
            self.deallocate(name.as_deref());
            self.say_in_batch(io, answer);
            return Ok(());
        }
        if matches!(self.batch, Batch::Open { sent: true }) {
            let message = "the tenant cannot change within a batch that has begun";
            return Err(Refusal::new(SqlState::ACTIVE_TRANSACTION, Rule("tenant"), message)
                .hint("end the batch with Sync first")
                .into());
        }
        if !self.queue.is_empty() {
            return Err(Stop::Wait(Flow::Drain));
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

    fn close(&mut self, io: &mut Io<'_>, target: Target<'_>) -> Result<(), Stop> {
        match target {
            Target::Statement("") => self.unnamed = None,
            Target::Statement(name) => {
                self.statements.remove(name);
            }
            Target::Portal(name) => {
                if let Some(server_name) = self.portals.close(name).and_then(|portal| portal.server_name) {
                    request::target(io.server, b'C', b'P', &server_name)?;
                    self.queue.push_back(Expect::Close);
                    self.batch = Batch::Open { sent: true };
                    return Ok(());
                }
            }
        }
        self.say_in_batch(io, fixed::CLOSE_COMPLETE);
        Ok(())
    }
}

fn too_many(what: &str) -> Refusal {
    let message = format!("a session may have {MOST_NAMES} {what} at once");
    Refusal::new(SqlState::TOO_LARGE, Rule("bounds"), message)
}

fn no_portal(name: &str) -> Refusal {
    let message = format!("portal \"{name}\" does not exist");
    Refusal::new(SqlState::UNDEFINED_CURSOR, Rule("portal"), message)
}

fn no_server() -> Stop {
    Stop::End(Refusal::new(SqlState::INTERNAL, Rule("lease"), "no server connection is leased"))
}

/// A position within a statement as one within the text.
fn moved(mut refusal: Refusal, offset: usize) -> Refusal {
    refusal.position = refusal.position.and_then(|position| position.checked_add(offset));
    refusal
}
