//! The messages of COPY. They mean something between the server's CopyInResponse and the end of the COPY, and
//! are dropped everywhere else, as PostgreSQL does (`PostgresMain`: «probably got here because of error»).
//!
//! ```text
//! No ──COPY FROM sent──▶ Asked ──G──▶ In ──c, f, or E──▶ No
//! No ──H──▶ Out ──C, E──▶ No
//! ```

use super::Io;
use super::active::{Active, Flow};
use super::host::Host;
use super::relay::Lost;
use super::reply::{Expect, Running};
use crate::policy::{Refusal, Rule, SqlState};
use crate::sql::StatementKind;
use crate::sql::copy::Transcoder;
use crate::wire::frame::{self, HEADER};
use crate::wire::request;

/// Where a COPY stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Copying {
    /// There is none.
    #[default]
    No,
    /// COPY FROM STDIN was sent: the server's answer comes first.
    Asked,
    /// The server takes data.
    In,
    /// The server sends data.
    Out,
}

/// What the server is told when a COPY fails on the policy's behalf: its error says so, and the client is told the
/// refusal instead.
const REFUSED: &str = "pgbulkhead refused the data";

/// A COPY FROM STDIN under way.
#[derive(Debug)]
pub(super) struct Loading {
    transcoder: Transcoder,
    /// The policy has ended it.
    refusal: Option<Refusal>,
}

impl Loading {
    /// What the client is told instead of the server's error: the refusal, where the server fails because of it. An
    /// error that the rows before it have raised comes first.
    pub(super) fn instead_of(self, message: &str) -> Option<Refusal> {
        self.refusal.filter(|_| message.contains(REFUSED))
    }
}

impl Active {
    /// The server takes data: from now on the rows are changed on their way. Gives how many columns of its answer
    /// the client does not know of.
    pub(super) fn begin_load(&mut self, running: &Running) -> Result<u16, Lost> {
        let load = running.plan.planned.load.clone().ok_or(Lost::Unexpected(b'G'))?;
        let transcoder =
            Transcoder::new(load, running.tenant.as_ref()).map_err(|_| Lost::Unexpected(b'G'))?;
        let added = transcoder.added_columns();
        self.loading = Some(Box::new(Loading { transcoder, refusal: None }));
        self.copying = Copying::In;
        Ok(added)
    }

    /// A COPY FROM of a batch, or of a Query, is still to be answered.
    pub(super) fn awaits_copy(&self) -> bool {
        self.queue.iter().any(|expect| match expect {
            Expect::Execute(running) => running.kind == StatementKind::CopyIn,
            Expect::Query(query) => query.awaits_copy(),
            Expect::Insert(inserting) => inserting.is_awaited(),
            _ => false,
        })
    }

    /// What stood before the queue has had its answer, and with it the COPY that it was. A COPY behind it may have been
    /// asked for, and its data may have come already.
    pub(super) fn copy_has_ended(&mut self) {
        if self.copying != Copying::No {
            self.copying = if self.awaits_copy() { Copying::Asked } else { Copying::No };
        }
    }

    /// Takes CopyData as it comes, whatever its length: none of it is kept for the rest of its message. Gives the
    /// bytes it took; none where they are no CopyData of a COPY FROM under way. A Bind whose beginning was sent
    /// passes here, too.
    pub(super) fn copy_piece(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        bytes: &[u8],
    ) -> Result<Option<usize>, Refusal> {
        if self.message_left > 0 {
            if self.passing.is_some() {
                return self.pass(io, bytes).map(Some);
            }
            let piece = bytes.get(..self.message_left).unwrap_or(bytes);
            self.message_left = self.message_left.saturating_sub(piece.len());
            if self.copying == Copying::In {
                self.load_or_insert(host, io, b'd', piece)?;
            }
            return Ok(Some(piece.len()).filter(|taken| *taken > 0));
        }
        let (Copying::In, Some([b'd', length @ ..])) = (self.copying, bytes.first_chunk::<HEADER>()) else {
            return Ok(None);
        };
        match frame::copy_data(*length)? {
            0 => {}
            length => self.message_left = length,
        }
        Ok(Some(HEADER))
    }

    fn load_or_insert(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        tag: u8,
        body: &[u8],
    ) -> Result<(), Refusal> {
        if self.inserts() { self.insert_rows(host, io, tag, body) } else { self.load(io, tag, body) }
    }

    /// CopyData, CopyDone or CopyFail of the client. A row that is refused fails the COPY at the server with
    /// CopyFail, behind the rows before it, so that their own errors come first; what the client still sends is
    /// dropped, as PostgreSQL does after an error.
    fn load(&mut self, io: &mut Io<'_>, tag: u8, body: &[u8]) -> Result<(), Refusal> {
        if tag != b'd' {
            // In the extended protocol the server answers at the Sync that follows. Of a simple query a later
            // statement may ask for data, which may come early.
            self.copying = match self.queue.front() {
                Some(Expect::Query(query)) if query.awaits_another_copy() => Copying::Asked,
                _ => Copying::No,
            };
        }
        let Some(loading) = self.loading.as_deref_mut() else {
            let message = "COPY data for no COPY";
            return Err(Refusal::new(SqlState::INTERNAL, Rule("copy"), message));
        };
        let mut outcome = Ok(());
        if tag != b'f' {
            let start = io.server.len();
            request::frame(io.server, b'd', |out| {
                outcome = match tag {
                    b'd' => loading.transcoder.data(body, out),
                    _ => loading.transcoder.done(out),
                };
            })?;
            if io.server.len() == start.saturating_add(HEADER) {
                io.server.truncate(start);
            }
        }
        match (outcome, tag) {
            (Err(refusal), _) => {
                loading.refusal = Some(refusal);
                self.copying = Copying::No;
                request::frame(io.server, b'f', |out| request::c_str(out, REFUSED.as_bytes()))?;
            }
            (Ok(()), b'c') => io.server.extend_from_slice(request::COPY_DONE),
            (Ok(()), b'f') => request::frame(io.server, tag, |out| out.extend_from_slice(body))?,
            (Ok(()), _) => {}
        }
        Ok(())
    }

    /// Handles a message as COPY sees it; none: COPY has nothing to say about it.
    pub(super) fn copy_message(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        tag: u8,
        body: &[u8],
    ) -> Result<Option<Flow>, Refusal> {
        match (self.copying, tag) {
            (Copying::In, b'd' | b'c' | b'f') => {
                self.load_or_insert(host, io, tag, body)?;
                Ok(Some(Flow::Done))
            }
            // PostgreSQL ignores both while it reads COPY data (copyfromparse.c, CopyGetData).
            (Copying::In, b'S' | b'H') => Ok(Some(Flow::Done)),
            (Copying::In | Copying::Asked, b'X') => Ok(Some(Flow::End)),
            (Copying::In, _) => {
                let message = "unexpected message during COPY from stdin";
                Err(Refusal::new(SqlState::PROTOCOL, Rule("protocol"), message))
            }
            (Copying::Asked, _) => Ok(Some(Flow::Drain)),
            (Copying::No | Copying::Out, b'd' | b'c' | b'f') => Ok(Some(Flow::Done)),
            (Copying::No | Copying::Out, _) => Ok(None),
        }
    }
}
