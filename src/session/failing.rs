//! Errors of the server: what they end, what they leave undone, and what a client sees of them.

use super::active::{Active, Batch};
use super::again::is_stale;
use super::answers::{account, account_raised};
use super::copy::Copying;
use super::host::Host;
use super::portals::in_clients_names;
use super::relay::{Lost, Seen};
use super::reply::{Expect, Part, Running};
use crate::policy::{Refusal, SqlState};
use crate::sql::StatementKind;
use crate::wire::backend::ErrorFields;
use crate::wire::{WireError, answer};

/// `read_only_sql_transaction`.
const READ_ONLY: &[u8] = b"25006";
/// What Bind fails with before there is a portal (`exec_bind_message`, tcop/postgres.c).
const BEFORE_PORTAL: [&[u8]; 4] = [b"08P01", b"25P02", b"26000", b"42P03"];
/// `connection_failure`: the code of statements whose end nobody has heard.
const UNKNOWN: &[u8] = b"08006";
/// What a server says when it ends a connection (PostgreSQL's errcodes.txt): shutdown, crash of another backend,
/// starting up, database dropped, and the time limits of idle sessions and transactions.
const ENDS: [SqlState; 8] = [
    SqlState::SHUTDOWN,
    SqlState("57P02"),
    SqlState("57P03"),
    SqlState("57P04"),
    SqlState("57P05"),
    SqlState("25P03"),
    SqlState("25P04"),
    SqlState::TOO_MANY,
];

/// The end of the connection, if the error is one that ends it.
fn ended(fields: &ErrorFields<'_>) -> Option<Lost> {
    let severity = fields.field(b'V').or_else(|| fields.field(b'S'));
    if !matches!(severity, Some(b"FATAL" | b"PANIC")) {
        return None;
    }
    let code = fields.field(b'C').unwrap_or_default();
    let known = ENDS.into_iter().find(|state| state.0.as_bytes() == code);
    let message = String::from_utf8_lossy(fields.field(b'M').unwrap_or_default()).into_owned();
    Some(Lost::Ended(known.unwrap_or(SqlState::CONNECTION_FAILURE), message))
}

/// Why a statement failed.
#[derive(Debug, Clone, Copy)]
enum Failure<'f> {
    /// The server's error code.
    Server(&'f [u8]),
    /// A guard of the rewritten statement raised.
    Raised(&'f Refusal),
}

impl Active {
    /// An error ends what is at the front, and in the extended protocol everything up to the next Sync.
    pub(super) fn error(&mut self, host: &mut dyn Host, body: &[u8]) -> Result<Seen, Lost> {
        let fields = ErrorFields::read(body)?;
        let code = fields.field(b'C').ok_or(WireError::Field("error"))?;
        if fields.field(b'M').is_none() || fields.field(b'S').is_none() {
            return Err(WireError::Field("error").into());
        }
        if let Some(lost) = ended(&fields) {
            return Err(lost);
        }
        // The server has become a standby: another connection may reach the one that writes.
        if let Some(server) = self.server.as_mut().filter(|_| code == READ_ONLY) {
            server.spent = true;
        }
        if self.send_again(&fields) {
            return Ok(Seen::Nothing);
        }
        self.frames.columns = None;
        self.settings.failed();
        let mut out = Vec::new();
        let message = fields.field(b'M').and_then(|m| std::str::from_utf8(m).ok()).unwrap_or_default();
        let loading = self.loading.take();
        let amid = loading.as_deref().is_some_and(|loading| loading.syncs);
        let ends = loading.as_deref().is_some_and(|loading| loading.is_end(message));
        let raised = match code {
            // The text of a guard, or a name that is gone.
            b"22P02" | b"42P01" | b"42703" | b"42883" | b"42704" | b"3F000" => host.raised(code, message),
            b"57014" => loading.and_then(|loading| loading.instead_of(message)),
            _ => None,
        };
        let failure = match &raised {
            Some(refusal) => {
                answer::refusal(&mut out, answer::Severity::Error, refusal, "", 0);
                Failure::Raised(refusal)
            }
            None => {
                answer::server_error(&mut out, &fields, in_clients_names(message).as_deref());
                Failure::Server(code)
            }
        };
        // The table has changed since the statement was prepared (plancache.c).
        let stale = is_stale(&fields);
        let leaves_portal = !BEFORE_PORTAL.contains(&code);
        let begin = self.take_failed_begin()?;
        match self.queue.front_mut() {
            Some(Expect::Own) if self.pin.ask_again() => return Ok(Seen::Nothing),
            Some(Expect::Own) if self.trial.is_some() => {
                self.not_taken(message);
                return Ok(Seen::Nothing);
            }
            Some(Expect::Own | Expect::Amid(_)) => return Err(Lost::Own),
            Some(Expect::Query(query)) => {
                let running: Vec<Running> = query
                    .parts
                    .drain(..)
                    .skip(query.done)
                    .filter_map(|part| match part {
                        Part::Sent(running) => Some(running),
                        Part::Said(_) | Part::Named(..) => None,
                    })
                    .collect();
                query.done = 0;
                self.portals.query_failed();
                if running.iter().any(|running| running.kind == StatementKind::Chain) {
                    self.tenancy.not_chained();
                }
                let prepared = running.first().and_then(|running| running.prepared.clone());
                if let (true, Some(server), Some(prepared)) = (stale, &mut self.server, prepared) {
                    server.prepared.spoil(prepared);
                }
                self.failed(host, &running, failure);
            }
            // The Sync itself failed (a deferred constraint): ReadyForQuery follows all the same.
            Some(Expect::Ready | Expect::AheadReady) => {}
            Some(Expect::Refusal(_)) => {
                if let Some(Expect::Refusal(refusal)) = self.queue.pop_front() {
                    out = refusal.into_vec();
                }
                self.skip_to_sync(host);
            }
            Some(_) => {
                if let Some(expect) = self.queue.pop_front() {
                    if matches!(expect, Expect::Bind(_)) && leaves_portal {
                        self.leave_portal();
                    }
                    self.undo(host, expect, Some(failure), stale);
                }
                self.skip_to_sync(host);
            }
            None => {}
        }
        self.copy_has_ended();
        if ends {
            self.copying = Copying::Broken;
        } else if amid {
            self.await_syncs()?;
        }
        if let Some(begin) = begin {
            self.begin_and_fail(begin)?;
        }
        Ok(Seen::Instead(out))
    }

    /// Nothing more will be heard of what was sent: what became of it is not known, and that is written down.
    pub(super) fn abandon(&mut self, host: &mut dyn Host) {
        self.take_apart();
        while let Some(expect) = self.queue.pop_front() {
            match expect {
                Expect::Execute(running) => self.account_failure(host, &running, Failure::Server(UNKNOWN)),
                Expect::Query(query) => {
                    for part in query.parts.into_iter().skip(query.done) {
                        if let Part::Sent(running) = part {
                            self.account_failure(host, &running, Failure::Server(UNKNOWN));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn failed(&self, host: &mut dyn Host, running: &[Running], failure: Failure<'_>) {
        for (index, running) in running.iter().enumerate() {
            if index == 0 {
                self.account_failure(host, running, failure);
            } else {
                host.release_audit();
            }
        }
    }

    fn account_failure(&self, host: &mut dyn Host, running: &Running, failure: Failure<'_>) {
        match failure {
            Failure::Server(code) => account(host, &self.who, running, 0, Some(code)),
            Failure::Raised(refusal) => account_raised(host, &self.who, running, refusal),
        }
    }

    /// A Bind has failed behind the point where the server makes its portal.
    fn leave_portal(&mut self) {
        match self.queue.pop_front() {
            Some(Expect::Rebound(name, _)) => self.is_left_empty(&name),
            Some(expect) => {
                self.queue.push_front(expect);
                self.is_left_empty("");
            }
            None => self.is_left_empty(""),
        }
    }

    /// The server ignores what stands before the next Sync.
    fn skip_to_sync(&mut self, host: &mut dyn Host) {
        let mut undone = Vec::new();
        while !matches!(self.queue.front(), Some(Expect::Ready | Expect::AheadReady)) {
            match self.queue.pop_front() {
                Some(expect @ (Expect::Renamed(..) | Expect::Rebound(..))) => undone.push(expect),
                Some(expect) => self.undo(host, expect, None, false),
                None => {
                    self.batch = Batch::Skipping { sent: true };
                    break;
                }
            }
        }
        for expect in undone.into_iter().rev() {
            match expect {
                Expect::Renamed(name, before) => self.name_comes_back(&name, before),
                Expect::Rebound(name, before) => self.portal_comes_back(&name, before),
                _ => {}
            }
        }
    }

    /// What was sent has failed, or was not even looked at.
    fn undo(&mut self, host: &mut dyn Host, expect: Expect, failure: Option<Failure<'_>>, stale: bool) {
        match expect {
            Expect::Ahead(prepared) => {
                self.ahead_failed = true;
                if let Some(server) = &mut self.server {
                    server.prepared.remove(&prepared);
                }
            }
            Expect::Parse { prepared, client, .. } => {
                if let Some(server) = &mut self.server {
                    server.prepared.remove(&prepared);
                }
                // The names of those that were skipped come back by themselves.
                if let (Some(_), Some(name)) = (&failure, client) {
                    self.name_comes_back(&name, None);
                }
            }
            // The table has changed since the statement was prepared (plancache.c).
            Expect::Bind(prepared)
            | Expect::Parameters { of: prepared, .. }
            | Expect::Row(Some(prepared))
                if stale =>
            {
                if let Some(server) = &mut self.server {
                    server.prepared.spoil(prepared);
                }
            }
            Expect::OwnClose(prepared) => {
                if let Some(server) = &mut self.server {
                    server.prepared.put_back(prepared);
                }
            }
            Expect::Execute(running) => {
                match failure {
                    Some(failure) => self.account_failure(host, &running, failure),
                    None => host.release_audit(),
                }
                if running.kind == StatementKind::Chain {
                    self.tenancy.not_chained();
                }
                if let (true, Some(server), Some(prepared)) = (stale, &mut self.server, running.prepared) {
                    server.prepared.spoil(prepared);
                }
            }
            Expect::Insert(inserting) => match failure {
                Some(failure) => self.account_failure(host, &inserting.running, failure),
                None => host.release_audit(),
            },
            _ => {}
        }
    }
}
