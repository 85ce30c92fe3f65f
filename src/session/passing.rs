//! A long Bind, whose values pass to the server as they come: no part of them is kept. Nothing of it is sent before its
//! beginning has shown that it may be: which statement it binds, how many values it gives in which formats, and
//! those values that came with it. From then on the server connection takes nothing but the rest of it; a client that
//! ends before, or whose lengths lie, costs that connection.
//!
//! ```text
//! incomplete ──64 KiB of it, and all before its values──▶ looked at ──▶ begun at the server ──▶ passing ──▶ whole
//!                                                            │ a value that the policy looks at is missing
//!                                                            ▼
//!                                                kept until it is whole, or refused
//! ```

use super::Io;
use super::active::{Active, Batch, Flow};
use super::extended::Stop;
use super::host::Host;
use super::statement::Statement;
use crate::policy::{Refusal, Rule, SqlState};
use crate::wire::frame::{self, HEADER, LongBind};
use crate::wire::frontend::Bind;
use crate::wire::passing::Passing;
use crate::wire::request::{self, TenantParameter};

/// What may come before the values: two names, and 65 535 format codes.
const LONGEST_HEAD: usize = 256 * 1024;
/// A Bind is kept until it is whole, where a value has to be looked at, if no more than this is missing.
const MOST_KEPT: usize = 1024 * 1024;

impl Active {
    /// Takes the beginning of a long Bind that is not whole yet. Gives what becomes of it, and how many of its bytes are
    /// taken (they may not all be here); none: more of it is needed.
    pub(super) fn long_bind(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        bytes: &[u8],
    ) -> Result<Option<(Flow, usize)>, Refusal> {
        let Some(long) = frame::long_bind(bytes) else { return Ok(None) };
        let whole = long.length.saturating_add(HEADER);
        if let Some(flow) = self.before_message(host, io, b'B', long.beginning)? {
            return Ok(Some((flow, whole)));
        }
        match self.batch {
            Batch::Skipping { .. } => return Ok(Some((Flow::Done, whole))),
            Batch::Closed if self.tenancy.is_local() && self.awaits_answers() => {
                return Ok(Some((Flow::Drain, whole)));
            }
            Batch::Closed | Batch::Open { .. } => {}
        }
        let alone = self.batch == Batch::Closed && !self.awaits_answers();
        let from = io.server.len();
        match self.begin(host, io, long) {
            Ok(taken) => {
                self.note_sent(io.server, from, alone);
                if let Some(server) = &mut self.server {
                    server.sent.cut();
                }
                Ok(Some((Flow::Done, taken.saturating_add(HEADER))))
            }
            Err(Stop::Wait(flow)) => Ok(Some((flow, whole))),
            Err(Stop::Refuse(_)) if self.awaits_a_sync() => Ok(Some((Flow::Drain, whole))),
            Err(Stop::Refuse(refusal)) => {
                self.refuse_message(host, io, &refusal, "", 0).map(|flow| Some((flow, whole)))
            }
            Err(Stop::End(refusal)) => Err(refusal),
        }
    }

    /// Begins it at the server; gives how many bytes of its body that took.
    fn begin(&mut self, host: &mut dyn Host, io: &mut Io<'_>, long: LongBind<'_>) -> Result<usize, Stop> {
        let Some(message) = Bind::begin(long.beginning, long.length)? else {
            return Err(if long.beginning.len() < LONGEST_HEAD {
                Stop::Wait(Flow::Rest)
            } else {
                too_long().into()
            });
        };
        self.bind(host, io, &message)?;
        Ok(long.length.saturating_sub(message.missing.bytes))
    }

    /// Sends the beginning of a Bind: its rest passes as it comes.
    pub(super) fn begin_bind(
        &mut self,
        io: &mut Io<'_>,
        portal: &[u8],
        statement: &[u8],
        message: &Bind<'_>,
        tenant: Option<TenantParameter<'_>>,
    ) -> Result<(), Refusal> {
        let passing = Passing::new(message, tenant)?;
        request::begin_bind(io.server, portal, statement, message, tenant).map_err(|_| too_long())?;
        self.message_left = passing.left();
        self.passing = Some(Box::new(passing));
        Ok(())
    }

    /// Passes on what comes next of a Bind; gives the bytes it took. Lengths that lie end the session, and with it the
    /// server connection, which has got a part of a message.
    pub(super) fn pass(&mut self, io: &mut Io<'_>, bytes: &[u8]) -> Result<usize, Refusal> {
        let Some(passing) = &mut self.passing else { return Ok(0) };
        let taken = passing.pass(bytes, io.server)?;
        self.message_left = passing.left();
        if self.message_left == 0 {
            self.passing = None;
        }
        Ok(taken)
    }
}

/// Whether a Bind of which only the beginning is here may be begun at the server. Otherwise it is kept until it is whole,
/// or refused.
pub(super) fn may_pass(statement: &Statement, message: &Bind<'_>) -> Result<(), Stop> {
    let long = message.missing.bytes > MOST_KEPT;
    match statement.passes(message, long) {
        true => Ok(()),
        false if long => Err(too_long().into()),
        false => Err(Stop::Wait(Flow::Rest)),
    }
}

fn too_long() -> Refusal {
    let message = "the message is too long for a statement whose values are looked at before it is sent";
    Refusal::new(SqlState::TOO_LARGE, Rule("bounds"), message)
        .hint("Give short values the lower parameter numbers: they are looked at as they come.")
}
