//! The server's messages on their way to the client. Each one is attributed to the front of the reply queue;
//! one that does not fit there ends the connection: what it means is not known. Rows and copy data are not
//! kept: they pass as they come.

use super::active::{Active, Batch};
use super::copy::Copying;
use super::host::{Account, Host, Verdict};
use super::reply::{Expect, Part, Running, fixed};
use super::statement;
use crate::policy::{Refusal, Rule, SqlState};
use crate::sql::{Action, StatementKind, VerifiedSql};
use crate::wire::backend::{self, ErrorFields, TransactionStatus};
use crate::wire::frame::HEADER;
use crate::wire::{WireError, answer};

/// Why a server connection cannot be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// A message that nothing waits for.
    #[error("the server sent a message of type {0} that nothing waits for")]
    Unexpected(u8),
    /// A malformed message.
    #[error("the server sent a malformed message: {0}")]
    Malformed(#[from] WireError),
    /// A parameter that nobody set.
    #[error("the server changed its parameter \"{0}\"")]
    Parameter(String),
    /// The server ended the connection, with this code and message.
    #[error("{1}")]
    Ended(SqlState, String),
    /// A statement of the proxy's own failed.
    #[error("the session's settings could not be restored")]
    Own,
}

impl Lost {
    /// What the client is told: the server's own code where it has said one.
    pub fn refusal(&self) -> Refusal {
        let state = match self {
            Self::Ended(state, _) => *state,
            _ => SqlState::CONNECTION_FAILURE,
        };
        Refusal::new(state, Rule("server"), self.to_string())
    }
}

/// Framing of the server's stream: what is left of a row that passes, and the start of a message that is kept.
#[derive(Debug, Default)]
pub struct Frames {
    left: usize,
    partial: Vec<u8>,
    pub(super) columns: Option<u16>,
}

impl Frames {
    /// Whether the stream stands between two messages.
    pub fn is_clean(&self) -> bool {
        self.left == 0 && self.partial.is_empty()
    }

    /// Whether a part of a row was passed on.
    pub fn is_within_a_row(&self) -> bool {
        self.left > 0
    }
}

/// What a client sees of a message.
pub(super) enum Seen {
    /// All of it.
    Whole,
    /// Nothing.
    Nothing,
    /// This instead.
    Instead(Vec<u8>),
}

/// The bytes of one read: messages that pass unchanged are copied in runs.
struct Run<'a> {
    bytes: &'a [u8],
    start: usize,
    at: usize,
}

impl Run<'_> {
    fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes.get(self.start..self.at).unwrap_or_default());
        self.start = self.at;
    }

    fn skip(&mut self, length: usize, out: &mut Vec<u8>) {
        self.flush(out);
        self.at = self.at.saturating_add(length);
        self.start = self.at;
    }
}

impl Active {
    /// Passes on what the server sent.
    pub fn relay(&mut self, host: &mut dyn Host, out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Lost> {
        if !self.held.is_empty() {
            out.append(&mut self.held);
        }
        if self.frames.partial.is_empty() {
            let used = self.relay_run(host, out, bytes)?;
            self.frames.partial.extend_from_slice(bytes.get(used..).unwrap_or_default());
            return Ok(());
        }
        let mut kept = std::mem::take(&mut self.frames.partial);
        kept.extend_from_slice(bytes);
        let used = self.relay_run(host, out, &kept)?;
        kept.drain(..used.min(kept.len()));
        if !kept.is_empty() {
            self.frames.partial = kept;
        }
        Ok(())
    }

    fn relay_run(&mut self, host: &mut dyn Host, out: &mut Vec<u8>, bytes: &[u8]) -> Result<usize, Lost> {
        let mut run = Run { bytes, start: 0, at: 0 };
        loop {
            let rest = bytes.get(run.at..).unwrap_or_default();
            if self.frames.left > 0 {
                let passed = self.frames.left.min(rest.len());
                self.frames.left = self.frames.left.saturating_sub(passed);
                run.at = run.at.saturating_add(passed);
                if self.frames.left > 0 {
                    break;
                }
                continue;
            }
            let Some((tag, total)) = header(rest)? else { break };
            let own = tag == b'D' && matches!(self.queue.front(), Some(Expect::Own));
            if matches!(tag, b'D' | b'd') && !own {
                if rest.len() < HEADER.saturating_add(2).min(total) {
                    break;
                }
                self.passes(tag, total, rest)?;
                if total <= rest.len() {
                    run.at = run.at.saturating_add(total);
                } else {
                    self.frames.left = total;
                }
                continue;
            }
            let Some(body) = rest.get(HEADER..total) else { break };
            if tag == b'T'
                && let Some(Expect::Query(query)) = self.queue.front()
                && query.running().is_some()
            {
                self.frames.columns = Some(backend::row_description(body)?);
                run.at = run.at.saturating_add(total);
                continue;
            }
            match self.answer(host, tag, body)? {
                Seen::Whole => run.at = run.at.saturating_add(total),
                Seen::Nothing => run.skip(total, out),
                Seen::Instead(instead) => {
                    run.skip(total, out);
                    out.extend_from_slice(&instead);
                }
            }
            if self.queue.front().is_some_and(Expect::is_the_proxys_turn) {
                self.take_turn(host, &mut run, out);
            }
        }
        run.flush(out);
        Ok(run.at)
    }

    fn take_turn(&mut self, host: &mut dyn Host, run: &mut Run<'_>, out: &mut Vec<u8>) {
        self.say_what_waits(run, out);
        if matches!(self.queue.front(), Some(Expect::Insert(_))) {
            run.flush(out);
            self.end_inserting(host, out);
            self.invite_rows(out);
            self.say_what_waits(run, out);
        }
    }

    /// Answers of the proxy's own whose turn has come.
    fn say_what_waits(&mut self, run: &mut Run<'_>, out: &mut Vec<u8>) {
        loop {
            match self.queue.front_mut() {
                Some(Expect::Say(bytes)) => {
                    run.flush(out);
                    out.extend_from_slice(bytes);
                    self.queue.pop_front();
                }
                Some(Expect::Query(query)) if query.has_to_say() => {
                    run.flush(out);
                    if let Some(change) = query.say_ahead(out) {
                        self.rename(change);
                    }
                }
                _ => return,
            }
        }
    }

    /// Whether a row or copy data may come now.
    fn passes(&self, tag: u8, total: usize, bytes: &[u8]) -> Result<(), Lost> {
        let waited = match self.queue.front() {
            Some(Expect::Execute(_)) => true,
            Some(Expect::Query(query)) => query.running().is_some(),
            _ => false,
        };
        if tag == b'd' {
            return if waited && self.copying == Copying::Out { Ok(()) } else { Err(Lost::Unexpected(tag)) };
        }
        let count = bytes.get(HEADER..HEADER.saturating_add(2)).and_then(|count| count.try_into().ok());
        let count = count.map(u16::from_be_bytes).ok_or(WireError::Short)?;
        // Every value has a length field of four bytes.
        let least = usize::from(count).saturating_mul(4).saturating_add(HEADER).saturating_add(2);
        let matches = self.frames.columns.is_none_or(|columns| columns == count) && total >= least;
        let described =
            self.frames.columns.is_some() || matches!(self.queue.front(), Some(Expect::Execute(_)));
        if waited && matches!(self.copying, Copying::No | Copying::Asked) && matches && described {
            Ok(())
        } else {
            Err(Lost::Unexpected(tag))
        }
    }

    fn answer(&mut self, host: &mut dyn Host, tag: u8, body: &[u8]) -> Result<Seen, Lost> {
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
        let own = matches!(self.queue.front(), Some(Expect::Own));
        Ok(if own { Seen::Nothing } else { Seen::Whole })
    }

    /// Answers of one message each.
    fn described(&mut self, tag: u8, body: &[u8]) -> Result<Seen, Lost> {
        let seen = match (tag, self.queue.front()) {
            (b'T' | b'D', Some(Expect::Own)) => return Ok(Seen::Nothing),
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
        self.copying = Copying::No;
        self.loading = None;
        self.frames.columns = None;
        match self.queue.front_mut() {
            Some(Expect::Own) if tag == b'C' => {
                self.pin_answered(command);
                return Ok(Seen::Nothing);
            }
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
                    self.ran(host, running, command);
                }
                self.await_copy();
            }
            _ => return Err(Lost::Unexpected(tag)),
        }
        Ok(Seen::Whole)
    }

    /// A later statement of a simple query may be a COPY FROM.
    fn await_copy(&mut self) {
        if let Some(Expect::Query(query)) = self.queue.front()
            && query.awaits_copy()
        {
            self.copying = Copying::Asked;
        }
    }

    fn ran(&mut self, host: &mut dyn Host, running: Running, command: &[u8]) {
        let rows = backend::tag_rows(command);
        account(host, &self.who, &running, rows, None);
        if let Some(sequences) = &running.plan.planned.sequences {
            self.drawn.drew(sequences, running.tenant.as_ref(), rows);
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
        let seen = match self.queue.front() {
            Some(Expect::Ready) => Seen::Whole,
            Some(Expect::Query(query)) if query.running().is_none() => Seen::Whole,
            Some(Expect::Own | Expect::OwnReady) if status == TransactionStatus::Idle => Seen::Nothing,
            Some(Expect::AheadReady) if self.ahead_failed => Seen::Whole,
            Some(Expect::AheadReady) => Seen::Nothing,
            _ => return Err(Lost::Unexpected(b'Z')),
        };
        let of_sync = matches!(self.queue.front(), Some(Expect::Ready | Expect::AheadReady));
        self.queue.pop_front();
        self.copying = Copying::No;
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
        Ok(seen)
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

/// Type and whole length of the message at the front; none while its header is incomplete.
fn header(bytes: &[u8]) -> Result<Option<(u8, usize)>, Lost> {
    let Some((&tag, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((length, _)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let announced = u32::from_be_bytes(*length);
    let cap = if matches!(tag, b'D' | b'd') { backend::LONGEST_PASSED } else { backend::LONGEST_KEPT };
    let total = usize::try_from(announced).ok().and_then(|length| length.checked_add(1));
    match total {
        Some(total) if (HEADER..=cap).contains(&total) => Ok(Some((tag, total))),
        _ => Err(WireError::Length { tag, length: announced }.into()),
    }
}
