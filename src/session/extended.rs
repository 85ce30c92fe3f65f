//! The extended protocol. A client's statement and portal names are its own; the server knows statements by
//! names that all sessions share, prepared on a connection when it first needs one.

use std::rc::Rc;

use smallvec::SmallVec;

use super::Io;
use super::active::{Active, Batch, Flow, kind};
use super::copy::Copying;
use super::host::Host;
use super::outgoing::Prepared;
use super::passing::may_pass;
use super::preparing::Named;
use super::refusing::aborted;
use super::reply::{Expect, fixed};
use super::statement::{Body, OnServer, Planned, Statement, admit, count_values, per_bind, sql};
use crate::catalog::Oid;
use crate::policy::{Refusal, Rule, SqlState};
use crate::sql::{Action, Discard, StatementKind};
use crate::wire::WireError;
use crate::wire::backend::TransactionStatus;
use crate::wire::frontend::{self, Bind, Format, Parse, Target};
use crate::wire::request::{self, TenantParameter};

/// Prepared statements and portals that a session may have by name at once. Drivers keep some hundreds.
pub(super) const MOST_NAMES: usize = 4096;

/// How a message of a batch ends early.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something has to happen first.
    Wait(Flow),
    /// It is refused.
    Refuse(Refusal),
    /// The session ends.
    End(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
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
            Batch::Closed if self.tenancy.is_local() && self.awaits_answers() => return Ok(Flow::Drain),
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
            _ => Err(Stop::Refuse(WireError::Unexpected(tag).into())),
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
            // What it is refused for may be undone, or the transaction may have failed.
            Err(Stop::Refuse(_)) if self.awaits_a_sync() => Ok(Flow::Drain),
            Err(Stop::Refuse(refusal)) => self.refuse_message(host, io, &refusal, text, 0),
            Err(Stop::End(refusal)) => Err(refusal),
        }
    }

    fn parse(&mut self, host: &mut dyn Host, io: &mut Io<'_>, message: &Parse<'_>) -> Result<(), Stop> {
        if !message.name.is_empty() && self.is_unsure_of(message.name) {
            return Err(Stop::Wait(Flow::Drain));
        }
        if !message.name.is_empty() && self.statements.len() >= MOST_NAMES {
            return Err(too_many("prepared statements").into());
        }
        let declared: SmallVec<[Oid; 16]> = message.types().collect();
        let statement = match self.shared_statement(host, message.text, &declared) {
            Ok(statement) => statement,
            Err(stop) => {
                if matches!(stop, Stop::Refuse(_)) {
                    self.lose_unnamed(message.name);
                }
                return Err(stop);
            }
        };
        if self.has_failed() && !statement.ends_transaction() {
            self.lose_unnamed(message.name);
            return Err(aborted().into());
        }
        // PostgreSQL comes to the name when all else is done (`StorePreparedStatement`).
        if !message.name.is_empty() && self.statements.contains_key(message.name) {
            if let Some((_, prepared)) = statement.on_server() {
                self.try_parse(host, io, prepared)?;
            }
            let text = format!("prepared statement \"{}\" already exists", message.name);
            return Err(Refusal::new(SqlState::DUPLICATE_STATEMENT, Rule("statement"), text).into());
        }
        if let Some((_, prepared)) = statement.on_server() {
            let prepared = host.renewed(prepared);
            self.wait_for_lease(host, io)?;
            self.will_rename(message.name);
            let named = Named { client: message.name, by_sql: false };
            if !self.prepare(io, &prepared, Some(named))? {
                self.say_parsed(io, message.name, &statement)?;
            }
        } else {
            self.will_rename(message.name);
            self.say_parsed(io, message.name, &statement)?;
        }
        self.name_statement(message.name, statement);
        Ok(())
    }

    /// A Bind. One of which only the beginning is here is begun at the server, where its plan lets it pass as it comes.
    pub(super) fn bind(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        message: &Bind<'_>,
    ) -> Result<(), Stop> {
        let statement = self.current_statement(host, message.statement)?;
        let parameters = statement.parameters();
        count_values(message, parameters)?;
        if self.has_failed() && !statement.may_be_bound_to_end() {
            return Err(aborted().into());
        }
        let on_server = statement.is_sent();
        // What the server is not asked is decided here, and has to be certain.
        if !on_server && self.awaits_a_sync() {
            return Err(Stop::Wait(Flow::Drain));
        }
        if self.portals.is_taken(message.portal, on_server) {
            return Err(is_taken(message.portal).into());
        }
        if self.portals.len() >= MOST_NAMES {
            return Err(too_many("portals").into());
        }
        if message.is_begun() {
            may_pass(&statement, message)?;
        }
        let Body::Planned(planned) = &statement.body else {
            self.bind_here(io, message.portal, statement);
            return Ok(());
        };
        let tenant = self.tenancy.tenant(host.now_unix()).cloned();
        if let Action::Execute(execute) = &planned.plan.planned.action {
            return self.bind_execute(host, io, message, &statement, execute, tenant.as_ref());
        }
        let cautious = planned.cautious(host, &statement.declared, message)?;
        let planned = cautious.as_ref().unwrap_or(planned);
        admit(planned, message, tenant.as_ref())?;
        self.holds.may_run(kind(&planned.plan.planned.action), tenant.as_ref())?;
        self.may_ask(&planned.plan, tenant.as_ref(), |number| text_format_value(message, number))?;
        let prepared = match &planned.on_server {
            OnServer::Named(prepared) => host.renewed(prepared),
            OnServer::PerBind if Self::is_inserting(&planned.plan) => {
                let before = self.portals.open(message.portal, statement.clone(), None);
                self.say(io, fixed::BIND_COMPLETE);
                self.has_rebound(message.portal, before);
                return Ok(());
            }
            OnServer::PerBind => per_bind(planned, &statement.declared, tenant.as_ref()),
            OnServer::Never => {
                self.bind_here(io, message.portal, statement.clone());
                return Ok(());
            }
        };
        self.wait_for_lease(host, io)?;
        let sets = match &planned.plan.planned.action {
            Action::Set { changes, .. } => {
                Some(self.sets(changes, |number| text_value(message, &statement.declared, number))?)
            }
            _ => None,
        };
        self.prepare(io, &prepared, None)?;
        let server_name = self.portals.server_name(message.portal);
        let value = match (&tenant, sql(&planned.plan)) {
            (Some(tenant), Some(sql)) if sql.uses_tenant() && prepared.id != 0 => {
                Some(TenantParameter { value: tenant.as_str() })
            }
            _ => None,
        };
        match message.is_begun() {
            false => request::bind(io.server, &server_name, prepared.name(), message, value)?,
            true => self.begin_bind(io, &server_name, prepared.name(), message, value)?,
        }
        self.queue.push_back(Expect::Bind(prepared.clone()));
        if kind(&planned.plan.planned.action) != StatementKind::Begin {
            self.tenancy.ran();
        }
        self.batch = Batch::Open { sent: true };
        let before = self.portals.open(message.portal, statement.clone(), Some(server_name));
        self.has_rebound(message.portal, before);
        self.portals.will_set(message.portal, sets);
        Ok(())
    }

    /// A Bind of what the server does not get.
    pub(super) fn bind_here(&mut self, io: &mut Io<'_>, portal: &str, statement: Rc<Statement>) {
        let before = self.portals.open(portal, statement, None);
        self.say_in_batch(io, fixed::BIND_COMPLETE);
        self.has_rebound(portal, before);
    }

    fn describe(&mut self, host: &mut dyn Host, io: &mut Io<'_>, target: Target<'_>) -> Result<(), Stop> {
        match target {
            Target::Statement(name) => {
                let statement = self.current_statement(host, name)?;
                if let Some((planned, prepared)) = statement.on_server() {
                    let mut of = host.renewed(prepared);
                    self.wait_for_lease(host, io)?;
                    // The columns of a FETCH are those of the cursor that there was when it was prepared. It is prepared
                    // again where that does not fail.
                    if kind(&planned.plan.planned.action) == StatementKind::Fetch {
                        if self.awaits_a_sync() {
                            return Err(Stop::Wait(Flow::Drain));
                        }
                        if !self.has_failed() {
                            of = Rc::new(Prepared::unnamed(of.rendered(), of.types()));
                        }
                    }
                    self.prepare(io, &of, None)?;
                    request::target(io.server, b'D', b'S', of.name())?;
                    self.queue.push_back(Expect::Parameters { client: planned.parameters, of: of.clone() });
                    self.queue.push_back(Expect::Row(Some(of)));
                    self.batch = Batch::Open { sent: true };
                    return Ok(());
                }
                if !self.describe_execute(host, io, &statement)? {
                    self.say_in_batch(io, fixed::NO_PARAMETERS);
                    self.say_in_batch(io, fixed::NO_DATA);
                    return Ok(());
                }
            }
            Target::Portal(name) => match self.described_portal(name)? {
                Some(Some(server_name)) => request::target(io.server, b'D', b'P', &server_name)?,
                Some(None) if self.awaits_a_sync() => return Err(Stop::Wait(Flow::Drain)),
                Some(None) => {
                    self.say_in_batch(io, fixed::NO_DATA);
                    return Ok(());
                }
                None if self.awaits_a_sync() => return Err(Stop::Wait(Flow::Drain)),
                // A cursor that SQL declared is a portal of the server by its own name: drivers describe it. In
                // a transaction every portal of the leased connection is this session's; so is one that is held.
                None if !name.is_empty()
                    && self.server.is_some()
                    && (self.status() == TransactionStatus::Open || self.holds.is_holding()) =>
                {
                    request::target(io.server, b'D', b'P', name.as_bytes())?;
                }
                None if self.may_be_left(name)? => {
                    request::target(io.server, b'D', b'P', &self.portals.server_name(name))?;
                }
                None => return Err(no_portal(name).into()),
            },
        }
        self.queue.push_back(Expect::Row(None));
        self.batch = Batch::Open { sent: true };
        Ok(())
    }

    fn execute(&mut self, host: &mut dyn Host, io: &mut Io<'_>, name: &str, limit: i32) -> Result<(), Stop> {
        let Some(portal) = self.portals.find(name).cloned() else {
            // The server is not asked: it would look at the statement of a Query that has failed, which is gone from its
            // memory (`exec_simple_query` defines its portal by a list that the error frees), and may crash.
            let left = self.may_be_left(name)?;
            return Err(if left { aborted() } else { no_portal(name) }.into());
        };
        // Another portal by this name may have come back.
        if self.portals.is_unsure(name) || portal.server_name.is_none() && self.awaits_a_sync() {
            return Err(Stop::Wait(Flow::Drain));
        }
        if portal.is_empty && !self.has_failed() {
            return Err(no_portal(name).into());
        }
        let Body::Planned(planned) = &portal.statement.body else {
            self.say_in_batch(io, fixed::EMPTY_QUERY);
            return Ok(());
        };
        if portal.is_empty {
            self.say_in_batch(io, fixed::EMPTY_QUERY);
            return Ok(());
        }
        let Some(server_name) = &portal.server_name else {
            if portal.is_done {
                return Err(runs_once(name).into());
            }
            self.execute_here(host, io, planned)?;
            self.portals.ran(name);
            self.note_executed(StatementKind::Other, discards_all(planned));
            return Ok(());
        };
        self.may_still_execute(&portal)?;
        self.may_keep_cursor(host, kind(&planned.plan.planned.action))?;
        let mut running = self.running(host, &planned.plan)?;
        if let (StatementKind::HeldCursor, Some(server)) = (running.kind, &mut self.server) {
            server.cursors = true;
        }
        running.sets = portal.sets.clone();
        running.prepared = portal.statement.on_server().map(|(_, prepared)| prepared.clone());
        request::execute(io.server, server_name, limit)?;
        match running.kind {
            StatementKind::Begin => {}
            StatementKind::Commit | StatementKind::Rollback => self.tenancy.ending(),
            StatementKind::CopyIn => self.copying = Copying::Asked,
            StatementKind::Chain => self.tenancy.chain(),
            _ => self.tenancy.ran(),
        }
        self.note_executed(running.kind, false);
        let ends = matches!(running.kind, StatementKind::Commit | StatementKind::Rollback);
        self.queue.push_back(Expect::Execute(running));
        self.batch = Batch::Open { sent: true };
        if ends {
            // The server's own it drops itself.
            for name in self.portals.here() {
                let before = self.portals.close(&name);
                self.has_rebound(&name, before);
            }
        }
        Ok(())
    }

    fn close(&mut self, io: &mut Io<'_>, target: Target<'_>) -> Result<(), Stop> {
        match target {
            Target::Statement(name) => {
                self.will_rename(name);
                self.stand_for(name, None);
            }
            Target::Portal(name) => {
                let before = self.portals.close(name);
                let is_here = before.as_ref().is_some_and(|portal| portal.server_name.is_none());
                let on_server = !is_here && (before.is_some() || self.may_be_left(name)?);
                if on_server {
                    request::target(io.server, b'C', b'P', &self.portals.server_name(name))?;
                    self.queue.push_back(Expect::Close);
                    self.batch = Batch::Open { sent: true };
                } else {
                    self.say_in_batch(io, fixed::CLOSE_COMPLETE);
                }
                self.has_rebound(name, before);
                return Ok(());
            }
        }
        self.say_in_batch(io, fixed::CLOSE_COMPLETE);
        Ok(())
    }
}

/// Whether it is DISCARD ALL, which commits what it does.
fn discards_all(planned: &Planned) -> bool {
    matches!(planned.plan.planned.action, Action::Discard(Discard::All))
}

/// The text of a parameter, nothing within for NULL; none where the server could read it as another.
fn text_value<'m>(message: &Bind<'m>, declared: &[Oid], number: u16) -> Option<Option<&'m str>> {
    let index = usize::from(number).checked_sub(1)?;
    let Some(value) = message.values.get(index)? else { return Some(None) };
    let is_text = matches!(declared.get(index).copied().unwrap_or(0), 0 | 16 | 19 | 25 | 705 | 1043);
    (is_text || message.formats.of(index) == Format::Text)
        .then(|| std::str::from_utf8(value).ok().map(Some))?
}

/// The text of a parameter that comes in the text format, nothing within for NULL.
fn text_format_value<'m>(message: &Bind<'m>, number: u16) -> Option<Option<&'m str>> {
    let index = usize::from(number).checked_sub(1)?;
    let Some(value) = message.values.get(index)? else { return Some(None) };
    (message.formats.of(index) == Format::Text).then(|| std::str::from_utf8(value).ok().map(Some))?
}

pub(super) fn too_many(what: &str) -> Refusal {
    let message = format!("a session may have {MOST_NAMES} {what} at once");
    Refusal::new(SqlState::TOO_LARGE, Rule("bounds"), message)
}

/// 42P03 in PostgreSQL's words.
pub(super) fn is_taken(portal: &str) -> Refusal {
    let message = format!("cursor \"{portal}\" already exists");
    Refusal::new(SqlState::DUPLICATE_CURSOR, Rule("portal"), message)
}

/// What is no query of rows runs once (`PortalRun`, tcop/pquery.c).
fn runs_once(name: &str) -> Refusal {
    let message = format!("portal \"{name}\" cannot be run");
    Refusal::new(SqlState("55000"), Rule("portal"), message)
}

fn no_portal(name: &str) -> Refusal {
    let message = format!("portal \"{name}\" does not exist");
    Refusal::new(SqlState::UNDEFINED_CURSOR, Rule("portal"), message)
}
