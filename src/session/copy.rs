//! The messages of COPY. They mean something between the server's CopyInResponse and the end of the COPY, and
//! are dropped everywhere else, as PostgreSQL does (`PostgresMain`: «probably got here because of error»).
//!
//! ```text
//! No ──COPY FROM sent──▶ Asked ──G──▶ In ──c, f, or E──▶ No
//! No ──H──▶ Out ──C, E──▶ No
//! ```
//!
//! What is no data amid the data is in [`amid`](super::amid).

use super::Io;
use super::active::{Active, Flow};
use super::amid::out_of_step;
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
    /// There was something else amid the data: the session ends.
    Broken,
}

/// What the server is told when a COPY fails on the policy's behalf: its error says so, and the client is told the
/// refusal instead.
const REFUSED: &str = "pgbulkhead refused the data";

/// A COPY FROM STDIN under way.
#[derive(Debug)]
pub(super) struct Loading {
    transcoder: Transcoder,
    /// The policy has ended it, or a message amid the data.
    refusal: Option<Refusal>,
    /// That message ends the session.
    ends: bool,
    /// There were Syncs amid the data.
    pub(super) syncs: bool,
}

impl Loading {
    /// What the client is told instead of the server's error: the refusal, where the server fails because of it. An
    /// error that the rows before it have raised comes first.
    pub(super) fn instead_of(self, message: &str) -> Option<Refusal> {
        self.refusal.filter(|_| message.contains(REFUSED))
    }

    /// Whether the session ends with this error of the server.
    pub(super) fn is_end(&self, message: &str) -> bool {
        self.ends && message.contains(REFUSED)
    }

    /// A message ends it, and the session.
    pub(super) fn ends_with(&mut self, refusal: Refusal) {
        self.refusal = Some(refusal);
        self.ends = true;
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
        self.loading = Some(Box::new(Loading { transcoder, refusal: None, ends: false, syncs: false }));
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
        if !matches!(self.copying, Copying::No | Copying::Broken) {
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
                return self.refuse_load(io);
            }
            (Ok(()), b'c') => io.server.extend_from_slice(request::COPY_DONE),
            (Ok(()), b'f') => request::frame(io.server, tag, |out| out.extend_from_slice(body))?,
            (Ok(()), _) => return Ok(()),
        }
        self.await_end(io);
        Ok(())
    }

    /// Has the server fail the COPY, behind what it has got of the data.
    pub(super) fn refuse_load(&mut self, io: &mut Io<'_>) -> Result<(), Refusal> {
        self.copying = Copying::No;
        request::frame(io.server, b'f', |out| request::c_str(out, REFUSED.as_bytes()))?;
        self.await_end(io);
        Ok(())
    }

    /// The client's next message waits for the end of this COPY, if it is not known what becomes of others.
    fn await_end(&mut self, io: &mut Io<'_>) {
        if self.loading.as_deref().is_some_and(|loading| loading.syncs || loading.ends) {
            io.server.extend_from_slice(request::FLUSH);
            self.copying = Copying::Asked;
        }
    }

    /// Handles a message as COPY sees it; none: COPY has nothing to say about it.
    pub(super) fn copy_message(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        tag: u8,
        body: &[u8],
    ) -> Result<Option<Flow>, Refusal> {
        let inserts = self.inserts();
        match (self.copying, tag) {
            (Copying::In, b'd' | b'c' | b'f') => {
                self.load_or_insert(host, io, tag, body)?;
                Ok(Some(Flow::Done))
            }
            (Copying::In, b'H') => Ok(Some(Flow::Done)),
            (Copying::In, b'S') => {
                // Where rows are inserted it would end the transaction.
                if let Some(loading) = self.loading.as_deref_mut().filter(|_| !inserts) {
                    loading.syncs = true;
                    io.server.extend_from_slice(request::SYNC);
                }
                Ok(Some(Flow::Done))
            }
            (Copying::In | Copying::Asked, b'X') => Ok(Some(Flow::End)),
            (Copying::In, _) => self.end_amid(io, tag).map(|()| Some(Flow::Drain)),
            (Copying::Broken, _) => Err(out_of_step()),
            (Copying::Asked, _) => Ok(Some(Flow::Drain)),
            (Copying::No | Copying::Out, b'd' | b'c' | b'f') => Ok(Some(Flow::Done)),
            (Copying::No | Copying::Out, _) => Ok(None),
        }
    }
}
