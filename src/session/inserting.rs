//! A COPY FROM STDIN whose rows are inserted by a prepared statement, since their keys have to be proved. To the
//! client it is a COPY like any other: the proxy says CopyInResponse once the statement is prepared, sends Bind and
//! Execute for each row, and says `COPY n` when the last of them is answered. All of it is one implicit transaction of
//! the server, up to the Sync behind CopyDone, or a part of the client's transaction: a row that fails fails all.

use std::rc::Rc;
use std::sync::Arc;

use super::Io;
use super::active::{Active, Batch};
use super::answers::{account, account_raised};
use super::copy::Copying;
use super::extended::Stop;
use super::host::{Host, Literals};
use super::outgoing::{Prepared, RenderedText};
use super::refusing::aborted;
use super::reply::{Expect, Running};
use super::statement::sql;
use crate::plan::Plan;
use crate::policy::{Refusal, Rule, SqlState};
use crate::sql::copy::{Format, Transcoder, row_length};
use crate::wire::answer::{self, Severity};
use crate::wire::request::{self, TenantParameter};

/// Such a COPY.
#[derive(Debug)]
pub struct Inserting {
    pub(super) running: Running,
    prepared: Rc<Prepared>,
    transcoder: Transcoder,
    binary: bool,
    columns: u16,
    /// The client was told to send data.
    begun: bool,
    /// It has sent all.
    ended: bool,
    /// It is to fail; nothing is told here.
    abandoned: Option<Refusal>,
    sent: u64,
    done: u64,
    buffer: Vec<u8>,
}

impl Inserting {
    /// Whether its rows are still to be asked for.
    pub(super) fn is_awaited(&self) -> bool {
        !self.begun
    }

    /// A row is in; whether that was the last one.
    pub(super) fn row_done(&mut self) -> bool {
        self.done = self.done.saturating_add(1);
        self.is_over()
    }

    fn is_over(&self) -> bool {
        self.done == self.sent && (self.ended || self.abandoned.is_some())
    }

    /// CopyInResponse for the client's columns.
    fn copy_in_response(&self, out: &mut Vec<u8>) -> Result<(), crate::wire::WireError> {
        let format = u8::from(self.binary);
        request::frame(out, b'G', |out| {
            out.push(format);
            out.extend_from_slice(&self.columns.to_be_bytes());
            for _ in 0..self.columns {
                out.extend_from_slice(&[0, format]);
            }
        })
    }
}

impl Active {
    /// Whether a plan's rows are inserted.
    pub(super) fn is_inserting(plan: &Plan) -> bool {
        plan.planned.load.as_ref().is_some_and(|load| load.inserts.is_some())
    }

    /// Begins such a COPY on the leased connection. `by_query`: the Sync behind it is the proxy's.
    pub(super) fn begin_inserting(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        plan: &Arc<Plan>,
        by_query: bool,
    ) -> Result<(), Stop> {
        let lost = || Refusal::new(SqlState::INTERNAL, Rule("copy"), "this COPY inserts nothing");
        let (Some(load), Some(sql)) = (plan.planned.load.clone(), sql(plan)) else {
            return Err(lost().into());
        };
        let mut types = load.inserts.clone().unwrap_or_default();
        let columns = u16::try_from(types.len()).map_err(|_| lost())?;
        let number = columns.checked_add(1).ok_or_else(lost)?;
        if sql.uses_tenant() {
            types.push(plan.planned.tenant_type.unwrap_or(0));
        }
        let none = Literals { text: "", ranges: smallvec::SmallVec::new() };
        let prepared = host.intern(RenderedText::extended(sql, number, &none), &types);
        if self.has_failed() {
            return Err(aborted().into());
        }
        self.prepare(io, &prepared, None)?;
        if !self.queue.is_empty() {
            io.server.extend_from_slice(request::FLUSH);
        }
        let running = self.running(host, plan)?;
        let inserting = Inserting {
            binary: load.form.format == Format::Binary,
            transcoder: Transcoder::new(load, running.tenant.as_ref())?,
            running,
            prepared,
            columns,
            begun: false,
            ended: false,
            abandoned: None,
            sent: 0,
            done: 0,
            buffer: Vec::new(),
        };
        self.queue.push_back(Expect::Insert(Box::new(inserting)));
        self.copying = Copying::Asked;
        self.syncs_after_copy = by_query;
        self.batch = Batch::Open { sent: true };
        self.invite_rows(io.client);
        Ok(())
    }

    /// Says CopyInResponse when everything before has been answered.
    pub(super) fn invite_rows(&mut self, out: &mut Vec<u8>) {
        if let Some(Expect::Insert(inserting)) = self.queue.front_mut()
            && !inserting.begun
            && inserting.copy_in_response(out).is_ok()
        {
            inserting.begun = true;
            self.copying = Copying::In;
        }
    }

    /// Whether the COPY under way inserts.
    pub(super) fn inserts(&self) -> bool {
        matches!(self.queue.front(), Some(Expect::Insert(inserting)) if inserting.begun)
    }

    /// CopyData, CopyDone or CopyFail of the client.
    pub(super) fn insert_rows(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        tag: u8,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let Some(Expect::Insert(inserting)) = self.queue.front_mut() else { return Ok(()) };
        let outcome = match tag {
            b'd' => inserting.rows(io, |transcoder, out| transcoder.data(body, out)),
            b'c' => inserting.rows(io, Transcoder::done),
            _ => {
                let reason = crate::wire::frontend::copy_fail(body).unwrap_or("?");
                let message = format!("COPY from stdin failed: {reason}");
                Err(Refusal::new(SqlState::CANCELED, Rule("copy"), message))
            }
        };
        match (outcome, tag) {
            (Ok(()), b'c') => inserting.ended = true,
            (Ok(()), _) => return Ok(()),
            (Err(refusal), _) => {
                let mut error = Vec::new();
                answer::refusal(&mut error, Severity::Error, &refusal, "", 0);
                inserting.abandoned = Some(refusal);
                self.fail_at_server(io, error)?;
            }
        }
        self.copying = Copying::No;
        if std::mem::take(&mut self.syncs_after_copy) {
            self.sync(io)?;
        }
        self.end_inserting(host, io.client);
        Ok(())
    }

    /// Tells the end of such a COPY once its last row is answered.
    pub(super) fn end_inserting(&mut self, host: &mut dyn Host, out: &mut Vec<u8>) {
        if !matches!(self.queue.front(), Some(Expect::Insert(inserting)) if inserting.is_over()) {
            return;
        }
        let Some(Expect::Insert(inserting)) = self.queue.pop_front() else { return };
        match &inserting.abandoned {
            Some(refusal) if refusal.state == SqlState::CANCELED => {
                account(host, &self.who, &inserting.running, 0, Some(b"57014"));
            }
            Some(refusal) => account_raised(host, &self.who, &inserting.running, refusal),
            None => {
                answer::command_complete(out, &format!("COPY {}", inserting.done));
                account(host, &self.who, &inserting.running, inserting.done, None);
            }
        }
    }
}

impl Inserting {
    /// Sends the rows that a step of the transcoder gives; those before a bad one too.
    fn rows(
        &mut self,
        io: &mut Io<'_>,
        step: impl FnOnce(&mut Transcoder, &mut Vec<u8>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = step(&mut self.transcoder, &mut buffer);
        let tenant = self.running.tenant.as_ref().filter(|_| self.uses_tenant());
        let tenant = tenant.map(|tenant| TenantParameter { value: tenant.as_str() });
        let mut rest = buffer.as_slice();
        while let Some((row, after)) = row_length(rest).and_then(|length| rest.split_at_checked(length)) {
            rest = after;
            request::bind_row(io.server, self.prepared.name(), row, self.binary, tenant)?;
            request::execute(io.server, b"", 0)?;
            self.sent = self.sent.saturating_add(1);
        }
        buffer.clear();
        self.buffer = buffer;
        outcome
    }

    fn uses_tenant(&self) -> bool {
        sql(&self.running.plan).is_some_and(crate::sql::VerifiedSql::uses_tenant)
    }
}
