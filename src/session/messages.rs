//! The way of a client's message to its handler, and those messages that say nothing but that: Sync and Flush.

use super::Io;
use super::active::{Active, Batch, Flow};
use super::copy::Copying;
use super::host::Host;
use super::reply::Expect;
use crate::policy::{Refusal, Rule, SqlState};
use crate::wire::answer;
use crate::wire::backend::TransactionStatus;
use crate::wire::{frontend, request};

/// Answers that may be outstanding. PostgreSQL holds back at most 8 KiB of answers, about 1 600 of the shortest, so
/// that a batch without Sync does not wait here for ever.
const MOST_OUTSTANDING: usize = 10_000;

impl Active {
    /// Handles one whole message.
    pub fn message(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        tag: u8,
        body: &[u8],
    ) -> Result<Flow, Refusal> {
        if let Some(flow) = self.before_message(host, io, tag, body)? {
            return Ok(flow);
        }
        match tag {
            b'S' => self.sync(io),
            b'H' => self.flush(io),
            b'Q' => match frontend::text_of_query(body) {
                Ok(text) => self.query(host, io, text),
                Err(error) => self.refuse_query(host, io, &error.into(), "", 0),
            },
            b'F' => {
                let message = "function calls by the fast path are refused";
                let refusal = Refusal::new(SqlState::NOT_SUPPORTED, Rule("fast-path"), message);
                self.refuse_query(host, io, &refusal, "", 0)
            }
            tag => self.extended(host, io, tag, body),
        }
    }

    /// What becomes of a message before its kind is looked at; none: that decides.
    #[inline]
    pub(super) fn before_message(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        tag: u8,
        body: &[u8],
    ) -> Result<Option<Flow>, Refusal> {
        self.take_apart();
        if let Some(flow) = self.copy_message(host, io, tag, body)? {
            return Ok(Some(flow));
        }
        if tag == b'X' {
            return Ok(Some(Flow::End));
        }
        if matches!(self.queue.back(), Some(Expect::Query(_) | Expect::Amid(_)))
            || self.queue.len() >= MOST_OUTSTANDING
            || self.must_have_begun()
        {
            return Ok(Some(Flow::Drain));
        }
        self.check_expiry(host)?;
        if self.no_lease.is_some()
            && let Some(refusal) = self.no_lease.take()
        {
            return match tag {
                b'Q' => self.refuse_query(host, io, &refusal, "", 0).map(Some),
                b'S' | b'H' => Ok(None),
                _ => self.refuse_message(host, io, &refusal, "", 0).map(Some),
            };
        }
        Ok(None)
    }

    /// 57P01 between two transactions of a session whose token has expired.
    fn check_expiry(&self, host: &dyn Host) -> Result<(), Refusal> {
        let expired = self.expires.is_some_and(|expires| expires <= host.now_unix());
        if expired && self.is_clean() {
            let message = "the tenant token of this session has expired";
            return Err(Refusal::new(SqlState::SHUTDOWN, Rule("tenant"), message));
        }
        Ok(())
    }

    /// A message over the cap of its type, which is skipped.
    pub fn oversize(&mut self, host: &mut dyn Host, io: &mut Io<'_>, tag: u8) -> Result<Flow, Refusal> {
        self.take_apart();
        let refusal = Refusal::new(SqlState::TOO_LARGE, Rule("bounds"), "the message is too long");
        match tag {
            b'd' if self.copying == Copying::No => Ok(Flow::Done),
            b'd' => Err(refusal),
            _ if self.must_have_begun() => Ok(Flow::Drain),
            b'Q' | b'F' if self.must_drain() => Ok(Flow::Drain),
            b'Q' | b'F' => self.refuse_query(host, io, &refusal, "", 0),
            _ => self.refuse_message(host, io, &refusal, "", 0),
        }
    }

    fn must_drain(&self) -> bool {
        self.batch == Batch::Closed && self.awaits_answers()
    }

    /// Sync: forwarded if the server has seen anything that it has to answer, else answered here.
    pub(super) fn sync(&mut self, io: &mut Io<'_>) -> Result<Flow, Refusal> {
        let sent = match self.batch {
            Batch::Closed => false,
            Batch::Open { sent } | Batch::Skipping { sent } => sent,
        };
        self.batch = Batch::Closed;
        self.unsure.synced();
        if sent || !self.queue.is_empty() {
            let from = io.server.len();
            io.server.extend_from_slice(request::SYNC);
            self.note_sent(io.server, from, false);
            self.queue.push_back(Expect::Ready);
            self.portals.synced();
        } else {
            let status = self.status();
            io.client.append(&mut self.held);
            self.settings.reports.tell(io.client);
            answer::ready_for_query(io.client, status);
            if status == TransactionStatus::Idle {
                self.tenancy.end();
                self.portals.clear();
                self.settle_lease();
            }
        }
        Ok(Flow::Done)
    }

    /// A COPY of a simple query has failed at the server, which waits for a Sync.
    pub(super) fn sync_failed_copy(&mut self, io: &mut Io<'_>) -> Result<(), Refusal> {
        if self.syncs_after_copy && matches!(self.batch, Batch::Skipping { .. }) {
            self.syncs_after_copy = false;
            self.sync(io)?;
        }
        Ok(())
    }

    fn flush(&mut self, io: &mut Io<'_>) -> Result<Flow, Refusal> {
        io.client.append(&mut self.held);
        let sent = matches!(self.batch, Batch::Open { sent: true } | Batch::Skipping { sent: true });
        if sent || self.is_beginning() {
            io.server.extend_from_slice(request::FLUSH);
        }
        Ok(Flow::Done)
    }
}
