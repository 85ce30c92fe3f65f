//! What each message of the server means for the session: it is the answer that the front of the reply queue waits for,
//! or it ends the connection.

use super::active::{Active, Batch};
use super::copy::Copying;
use super::host::{Account, Host, Verdict};
use super::relay::{Lost, Seen};
use super::reply::{Expect, Part, Running, fixed};
use super::statement;
use crate::policy::Refusal;
use crate::sql::{Action, StatementKind, VerifiedSql};
use crate::wire::backend::{self, ErrorFields, TransactionStatus};
use crate::wire::{WireError, answer};

impl Active {
    /// What one message means, and what the client sees of it.
    pub(super) fn answer(&mut self, host: &mut dyn Host, tag: u8, body: &[u8]) -> Result<Seen, Lost> {
        match tag {
            b'N' => ErrorFields::read(body).map(|_| Seen::Nothing).map_err(Lost::from),
            b'A' => self.notification(host, body),
            b'S' => self.parameter_status(body),
            b'E' => self.error(host, body),
            b'Z' => self.ready(body),
            b'C' | b'I' | b's' => self.completed(host, tag, body),
            b'G' | b'H' | b'c' => self.copy_answer(tag, body),
            _ => self.described(tag, body),
        }
    }

    /// A notification is told by the client's name of its channel, if the session listens on it for the tenant that it
    /// has now.
    fn notification(&mut self, host: &mut dyn Host, body: &[u8]) -> Result<Seen, Lost> {
        let notification = backend::notification(body)?;
        let tenant = self.tenancy.bound(host.now_unix());
        let own = (self.server.as_ref().and_then(|server| server.pid), self.pid);
        let told = self.channels.told(&notification, tenant, own)?;
        Ok(told.map_or(Seen::Nothing, Seen::Instead))
    }

    fn pin_answered(&mut self, tag: &[u8]) {
        let held = self.pin.is_held();
        self.pin.answered(tag);
        if held && !self.pin.is_held() {
            self.channels.clear();
        }
    }

    fn parameter_status(&mut self, body: &[u8]) -> Result<Seen, Lost> {
        let (name, value) = backend::parameter_status(body)?;
        let allowed = self.server.as_ref().is_some_and(|server| server.may_report(name, value));
        if !allowed {
            return Err(Lost::Parameter(name.to_owned()));
        }
        self.server.iter_mut().for_each(|server| server.reports(name, value));
        let own = matches!(self.queue.front(), Some(Expect::Own));
        Ok(if own { Seen::Nothing } else { Seen::Whole })
    }

    /// Answers of one message each.
    fn described(&mut self, tag: u8, body: &[u8]) -> Result<Seen, Lost> {
        if tag == b'3' && body.is_empty() && self.syncs_are_told() {
            return Ok(Seen::Nothing);
        }
        let seen = match (tag, self.queue.front()) {
            (b'T' | b'D', Some(Expect::Own)) => return Ok(Seen::Nothing),
            (b'1', Some(Expect::Begin(begin))) if body.is_empty() => {
                self.begin_is_prepared(begin);
                return Ok(Seen::Nothing);
            }
            (b'2', Some(Expect::Begin(_))) if body.is_empty() => return Ok(Seen::Nothing),
            (b'2', Some(Expect::Insert(_))) if body.is_empty() => return Ok(Seen::Nothing),
            (b'1', Some(Expect::Parse { client: None, .. } | Expect::Ahead(_)))
            | (b'3', Some(Expect::OwnClose(_))) => Seen::Nothing,
            (b'1', Some(Expect::Parse { by_sql: true, .. })) => Seen::Instead(fixed::PREPARE.to_vec()),
            (b'1', Some(Expect::Parse { .. }))
            | (b'2', Some(Expect::Bind(_)))
            | (b'3', Some(Expect::Close))
            | (b'n', Some(Expect::Row(_))) => Seen::Whole,
            (b'T', Some(Expect::Row(_))) => {
                backend::row_description(body)?;
                Seen::Whole
            }
            (b't', Some(Expect::OwnParameters)) => Seen::Nothing,
            (b't', Some(Expect::Parameters { client, .. })) => {
                let client = usize::from(*client);
                let types = backend::parameter_description(body)?;
                let shown = types.get(..client).ok_or(WireError::Field("parameter count"))?;
                let mut out = Vec::new();
                let shown = shown.iter().map(|oid| u32::from_be_bytes(*oid)).collect();
                answer::parameter_description(&mut out, shown);
                Seen::Instead(out)
            }
            _ => return Err(Lost::Unexpected(tag)),
        };
        let empty = matches!(tag, b'1' | b'2' | b'3' | b'n');
        if empty && !body.is_empty() {
            return Err(WireError::Trailing(body.len()).into());
        }
        if tag == b'2'
            && let Some(server) = &mut self.server
        {
            server.sent.begun = true;
        }
        self.queue.pop_front();
        Ok(seen)
    }

    /// The end of one statement.
    fn completed(&mut self, host: &mut dyn Host, tag: u8, body: &[u8]) -> Result<Seen, Lost> {
        let command = if tag == b'C' { backend::command_tag(body)? } else { b"" };
        if let Some(Expect::Insert(inserting)) = self.queue.front_mut()
            && tag == b'C'
        {
            inserting.row_done();
            return Ok(Seen::Nothing);
        }
        // What these stand before may be a COPY, whose data the client may have sent already.
        if matches!(self.queue.front(), Some(Expect::Own)) && tag == b'C' {
            self.pin_answered(command);
            return Ok(Seen::Nothing);
        }
        if tag == b'C' && self.has_begun(body) {
            return Ok(Seen::Nothing);
        }
        self.loading = None;
        self.frames.columns = None;
        match self.queue.front_mut() {
            Some(Expect::Execute(_)) => {
                if let Some(Expect::Execute(running)) = self.queue.pop_front() {
                    self.ran(host, running, command);
                }
            }
            Some(Expect::Query(query)) if tag == b'C' && query.running().is_some() => {
                let done = query.done;
                query.done = done.saturating_add(1);
                let part = query
                    .parts
                    .get_mut(done)
                    .map(|part| std::mem::replace(part, Part::Said("".as_bytes().into())));
                if let Some(Part::Sent(running)) = part {
                    let ends = running.kind != StatementKind::Savepoint;
                    if ends && matches!(command, b"COMMIT" | b"ROLLBACK") {
                        self.portals.clear();
                    }
                    self.ran(host, running, command);
                }
                // A later statement of it may be a COPY FROM.
                if self.awaits_copy() {
                    self.copying = Copying::Asked;
                }
            }
            _ => return Err(Lost::Unexpected(tag)),
        }
        self.copy_has_ended();
        Ok(Seen::Whole)
    }

    pub(super) fn ran(&mut self, host: &mut dyn Host, running: Running, command: &[u8]) {
        let rows = backend::tag_rows(command);
        account(host, &self.who, &running, rows, None);
        if let Some(sequences) = &running.plan.planned.sequences {
            self.drawn.drew(sequences, running.tenant.as_ref(), rows);
        }
        if running.kind.is_of_rows() {
            return;
        }
        if let Some(sets) = running.sets {
            self.settings.set(sets);
        }
        if running.kind == StatementKind::Listen
            && let (Some(tenant), Some(channel)) =
                (&running.tenant, statement::sql(&running.plan).and_then(VerifiedSql::channel))
            && command == b"LISTEN"
        {
            self.channels.listen(tenant, channel);
        }
        match command {
            b"COMMIT" => {
                if let Some(server) = &mut self.server {
                    self.settings.commit(server);
                }
                self.holds.transaction_ended(true);
            }
            // ROLLBACK TO SAVEPOINT has the same tag.
            b"ROLLBACK" if running.kind != StatementKind::Savepoint => {
                self.settings.rollback();
                self.holds.transaction_ended(false);
            }
            _ => {}
        }
        match &running.plan.planned.action {
            Action::Savepoint { deed, name, .. } => {
                let before = self.settings.savepoint(*deed, name);
                self.holds.savepoint(*deed, before);
            }
            Action::Send { kind: StatementKind::HeldCursor, cursor: Some(name), .. } => {
                self.holds.declare(name, self.settings.savepoints(), running.tenant.as_ref());
            }
            Action::Send { kind: StatementKind::CloseCursor, cursor, .. } => {
                self.holds.close(cursor.as_deref())
            }
            _ => {}
        }
    }

    fn copy_answer(&mut self, tag: u8, body: &[u8]) -> Result<Seen, Lost> {
        let kind = match self.queue.front() {
            Some(Expect::Execute(running)) => Some(running.kind),
            Some(Expect::Query(query)) => query.running().map(|running| running.kind),
            _ => None,
        };
        match (tag, kind) {
            (b'G', Some(StatementKind::CopyIn)) => return self.copy_in(body),
            (b'H', Some(StatementKind::CopyOut)) => {
                backend::copy_response(body)?;
                self.copying = Copying::Out;
            }
            (b'c', Some(StatementKind::CopyOut)) if self.copying == Copying::Out && body.is_empty() => {}
            _ => return Err(Lost::Unexpected(tag)),
        }
        Ok(Seen::Whole)
    }

    /// The server takes data. The client is told the columns that it gives.
    fn copy_in(&mut self, body: &[u8]) -> Result<Seen, Lost> {
        backend::copy_response(body)?;
        // The front is looked at while the load begins, which touches nothing of the queue.
        let front = self.queue.pop_front().ok_or(Lost::Unexpected(b'G'))?;
        let begun = match &front {
            Expect::Execute(running) => self.begin_load(running),
            Expect::Query(query) => {
                query.running().map_or(Err(Lost::Unexpected(b'G')), |r| self.begin_load(r))
            }
            _ => Err(Lost::Unexpected(b'G')),
        };
        self.queue.push_front(front);
        match begun? {
            0 => Ok(Seen::Whole),
            added => {
                let mut out = Vec::new();
                backend::fewer_columns(&mut out, body, added)?;
                Ok(Seen::Instead(out))
            }
        }
    }

    fn ready(&mut self, body: &[u8]) -> Result<Seen, Lost> {
        let status = backend::ready_for_query(body)?;
        if let Some(told) = self.ready_amid(status) {
            return Ok(Seen::Instead(told));
        }
        let seen = match self.queue.front() {
            // The session ends with the error before it.
            Some(_) if self.copying == Copying::Broken => Seen::Nothing,
            Some(Expect::Ready) => Seen::Whole,
            Some(Expect::Query(query)) if query.running().is_none() => Seen::Whole,
            Some(Expect::Own | Expect::OwnReady) if status == TransactionStatus::Idle => Seen::Nothing,
            Some(Expect::AheadReady) if self.ahead_failed => Seen::Whole,
            Some(Expect::AheadReady) => Seen::Nothing,
            _ => return Err(Lost::Unexpected(b'Z')),
        };
        let of_sync = matches!(self.queue.front(), Some(Expect::Ready | Expect::AheadReady));
        let is_own = matches!(self.queue.pop_front(), Some(Expect::Own | Expect::OwnReady));
        let (copying, assumed) = (self.copying, self.status());
        self.is_ready(status, of_sync);
        if is_own {
            self.copying = copying;
            if self.is_beginning() {
                self.assume(assumed);
            }
            self.tried();
        }
        if self.settings.reports.are_told() || seen == Seen::Nothing {
            return Ok(seen);
        }
        let mut out = Vec::new();
        self.settings.reports.tell(&mut out);
        answer::ready_for_query(&mut out, status);
        Ok(Seen::Instead(out))
    }

    /// The server is ready for another query, or for another batch.
    pub(super) fn is_ready(&mut self, status: TransactionStatus, of_sync: bool) {
        self.copy_has_ended();
        let idle = status == TransactionStatus::Idle;
        if let Some(server) = &mut self.server {
            server.status = status;
            server.sent.begun = false;
            if idle {
                let committed = self.settings.idle(server);
                self.holds.transaction_ended(committed);
            }
        }
        if of_sync {
            self.retried = false;
            self.portals.answered(idle);
        }
        if idle && self.queue.is_empty() {
            self.tenancy.end();
            if self.batch == Batch::Closed {
                self.portals.clear();
            }
        }
    }
}

pub(super) fn account(
    host: &mut dyn Host,
    who: &crate::auth::Principal,
    running: &Running,
    rows: u64,
    error: Option<&[u8]>,
) {
    let verdict = Verdict::Ran { plan: &running.plan, rows, error, started: running.started };
    host.account(Account { who, tenant: running.tenant.as_ref(), verdict });
}

/// Accounts for a statement whose guard raised.
pub(super) fn account_raised(
    host: &mut dyn Host,
    who: &crate::auth::Principal,
    running: &Running,
    refusal: &Refusal,
) {
    let verdict = Verdict::Raised { plan: &running.plan, refusal };
    host.account(Account { who, tenant: running.tenant.as_ref(), verdict });
}
