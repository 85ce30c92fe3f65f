//! One client as a state machine: bytes in, bytes out, and what it [wants](Want). It does no I/O, has no
//! clock and knows no runtime: a worker drives it with sockets, a test with byte strings.
//!
//! ```text
//!            ┌────────────┐ login  ┌──────────┐ settings planned and tried ┌────────┐
//! accept ──▶ │ Handshake  │ ─────▶ │ Settling │ ─────────────────────────▶ │ Active │ ──▶ Over
//!            └────────────┘        └──────────┘                            └────────┘
//! ```
//!
//! * [`handshake`]: from the first byte to a principal; [`startup`]: what a StartupMessage may say; [`login`]: from
//!   there to ReadyForQuery.
//! * [`active`]: the session proper; [`messages`]: the way of a message to its handler; [`leasing`]: when it has a server
//!   connection; [`begun`]: a transaction without one. A statement's way is in [`simple`], [`alone`], [`straight`] and
//!   [`extended`] ([`preparing`], [`executing`], [`statement`], [`portals`]), a long Bind's in [`passing`], COPY's messages in
//!   [`copy`], [`amid`] and [`inserting`], the server's answers in [`relay`], [`whole`], [`answers`] and [`failing`], refusals
//!   in [`refusing`], a batch that is sent twice in [`again`].
//! * [`names`]: PREPARE, EXECUTE and DEALLOCATE in SQL. [`holds`]: cursors WITH HOLD.
//! * [`reply`]: which answer is whose. [`tenancy`]: which tenant a transaction has. [`checks`]: values that
//!   must be the tenant's. [`settings`]: what the session has SET; [`trial`]: whether the server takes what it begins with;
//!   [`reports`]: what the client is told of them.
//! * [`outgoing`]: the only writer of SQL. [`server`]: what is known of a server connection.
//! * [`sequences`]: whose last values a server connection shows.
//! * [`unsure`]: what is not known while answers are outstanding.
//! * [`pin`]: what holds a server connection beyond its transaction. [`channels`]: what a session listens on.
//! * [`host`]: what a session asks of its surroundings.

pub mod active;
pub mod again;
pub mod alone;
pub mod amid;
pub mod answers;
pub mod begun;
pub mod channels;
pub mod checks;
pub mod copy;
pub mod executing;
pub mod extended;
pub mod failing;
pub mod handshake;
pub mod holds;
pub mod host;
pub mod inserting;
pub mod leasing;
pub mod login;
pub mod messages;
pub mod names;
pub mod outgoing;
pub mod passing;
#[cfg(test)]
pub mod passthrough;
pub mod pin;
pub mod portals;
pub mod preparing;
pub mod refusing;
pub mod relay;
pub mod reply;
pub mod reports;
pub mod sequences;
pub mod server;
pub mod setting_texts;
pub mod settings;
pub mod simple;
pub mod startup;
pub mod statement;
pub mod straight;
pub mod tenancy;
pub mod trial;
pub mod unsure;
pub mod whole;

use crate::policy::Refusal;
use crate::wire::answer::{self, Severity};
use crate::wire::frame::{self, Frame, FrameLimits, FramePhase};
use crate::wire::{WireError, startup as packets};

use active::{Active, Flow};
use handshake::{Handshake, TlsOffer};
use host::Host;
use login::Greeting;
use server::Server;

pub use active::Unplanned;
pub use relay::Lost;

/// What the configuration says about every session.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// TLS towards clients.
    pub tls: TlsOffer,
    /// Caps of messages.
    pub limits: FrameLimits,
    /// A lease lasts as long as the session.
    pub lease_per_session: bool,
    /// The server is told the client's `application_name`.
    pub application_name: bool,
}

/// What has to happen before a session goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// Bytes from the client, or from the server.
    Bytes,
    /// The TLS handshake; then [`Session::encrypted`].
    Tls,
    /// The statements of this text planned; then [`Session::resume`].
    Plan(Unplanned),
    /// A server connection; then [`Session::lease_granted`] or [`Session::lease_refused`].
    Lease,
    /// Answers of the server: the client's next message waits for them.
    Drain,
    /// This key's session cancelled, and the connection closed.
    Cancel {
        /// Process id.
        pid: i32,
        /// Secret.
        secret: Box<[u8]>,
    },
    /// What is to be said said, and the connection closed.
    End,
}

/// Where a session writes.
#[derive(Debug)]
pub struct Io<'a> {
    /// To the client.
    pub client: &'a mut Vec<u8>,
    /// To the leased server connection.
    pub server: &'a mut Vec<u8>,
}

/// One client.
#[derive(Debug)]
pub struct Session {
    terms: Terms,
    phase: Phase,
    inbox: Vec<u8>,
    skip: usize,
    want: Want,
}

#[derive(Debug)]
enum Phase {
    Handshake(Box<Handshake>),
    Settling(Box<Active>, Vec<String>, Box<Greeting>),
    Active(Box<Active>),
    Over,
}

impl Session {
    /// A connection of which no byte was read.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            phase: Phase::Handshake(Box::new(Handshake::new(terms.tls))),
            inbox: Vec::new(),
            skip: 0,
            want: Want::Bytes,
        }
    }

    /// What has to happen next.
    pub fn want(&self) -> &Want {
        &self.want
    }

    /// Whether the client has logged in.
    pub fn is_logged_in(&self) -> bool {
        !matches!(self.phase, Phase::Handshake(_))
    }

    /// Bytes of the client that wait for something else than bytes.
    pub fn backlog(&self) -> usize {
        self.inbox.len()
    }

    /// The session proper.
    pub fn active(&self) -> Option<&Active> {
        match &self.phase {
            Phase::Active(active) | Phase::Settling(active, ..) => Some(active),
            Phase::Handshake(_) | Phase::Over => None,
        }
    }

    fn active_mut(&mut self) -> Option<&mut Active> {
        match &mut self.phase {
            Phase::Active(active) | Phase::Settling(active, ..) => Some(active),
            Phase::Handshake(_) | Phase::Over => None,
        }
    }

    /// Bytes from the client.
    pub fn client_bytes(&mut self, host: &mut dyn Host, io: &mut Io<'_>, bytes: &[u8]) {
        match self.want {
            Want::Bytes if self.inbox.is_empty() => {
                let used = self.pump(host, io, bytes);
                self.inbox.extend_from_slice(bytes.get(used..).unwrap_or_default());
            }
            Want::Bytes => {
                self.inbox.extend_from_slice(bytes);
                self.resume(host, io);
            }
            Want::Tls => self.refuse_stuffing(io),
            _ => self.inbox.extend_from_slice(bytes),
        }
        self.shrink();
    }

    /// What was wanted has happened: goes on with the bytes at hand.
    pub fn resume(&mut self, host: &mut dyn Host, io: &mut Io<'_>) {
        if matches!(self.want, Want::End | Want::Cancel { .. }) {
            return;
        }
        self.want = Want::Bytes;
        let mut inbox = std::mem::take(&mut self.inbox);
        let used = self.pump(host, io, &inbox);
        inbox.drain(..used.min(inbox.len()));
        self.inbox = inbox;
        self.shrink();
    }

    /// The TLS handshake has ended well.
    pub fn encrypted(&mut self, host: &mut dyn Host, io: &mut Io<'_>) {
        if let Phase::Handshake(handshake) = &mut self.phase {
            handshake.encrypted();
            self.resume(host, io);
        }
    }

    /// A server connection is leased.
    pub fn lease_granted(&mut self, host: &mut dyn Host, io: &mut Io<'_>, server: Box<Server>) {
        if let Some(active) = self.active_mut() {
            match active.grant(server, io) {
                Ok(()) => self.resume(host, io),
                Err(refusal) => self.fatal(io, &refusal),
            }
        }
    }

    /// There is no server connection: the message that waits for it is refused.
    pub fn lease_refused(&mut self, host: &mut dyn Host, io: &mut Io<'_>, refusal: Refusal) {
        if let Some(active) = self.active_mut() {
            active.no_lease(refusal);
            self.resume(host, io);
        }
    }

    /// Bytes from the leased server connection.
    pub fn server_bytes(&mut self, host: &mut dyn Host, io: &mut Io<'_>, bytes: &[u8]) -> Result<(), Lost> {
        let Some(active) = self.active_mut() else { return Err(Lost::Unexpected(0)) };
        active.relay(host, io.client, bytes)?;
        if !active.resend.is_empty() {
            io.server.append(&mut active.resend);
        }
        if active.sync_failed_copy(io).is_err() {
            return Err(Lost::Own);
        }
        if self.want == Want::Drain {
            self.resume(host, io);
        }
        if let Some(active) = self.active_mut() {
            active.settle_pin(io).map_err(|_| Lost::Own)?;
            active.settle_lease();
        }
        Ok(())
    }

    /// The server connection is gone, or not to be trusted: ends the session, since what its transaction did
    /// is not known.
    pub fn server_lost(&mut self, host: &mut dyn Host, io: &mut Io<'_>, refusal: &Refusal) {
        let whole = self.is_between_messages();
        if let Some(active) = self.active_mut() {
            active.forget_server(host);
        }
        if whole {
            self.fatal(io, refusal);
        } else {
            self.end();
        }
    }

    /// The server connection that the session no longer needs, with nothing outstanding on it.
    pub fn take_released(&mut self) -> Option<Box<Server>> {
        self.active_mut()?.take_released()
    }

    /// Whether the client has got whole messages only.
    fn is_between_messages(&self) -> bool {
        self.active().is_none_or(|active| !active.is_within_a_row())
    }

    /// Ends the session with a FATAL error, in silence where the client has got a part of a row.
    pub fn fatal(&mut self, io: &mut Io<'_>, refusal: &Refusal) {
        if self.want != Want::End && self.is_between_messages() {
            if let Phase::Active(active) = &mut self.phase {
                io.client.append(&mut active.held);
            }
            answer::refusal(io.client, Severity::Fatal, refusal, "", 0);
        }
        self.end();
    }

    /// The client is gone. Gives the server connection if nothing at all is outstanding on it.
    pub fn client_gone(&mut self, host: &mut dyn Host) -> Option<Box<Server>> {
        let server = self.active_mut().and_then(|active| {
            let server = active.take_clean_server();
            active.abandon(host);
            server
        });
        self.end();
        server
    }

    fn end(&mut self) {
        self.want = Want::End;
    }

    /// Bytes came in clear between SSLRequest and the handshake (CVE-2021-23214): nothing of them is read.
    fn refuse_stuffing(&mut self, io: &mut Io<'_>) {
        io.client.clear();
        self.inbox = Vec::new();
        self.phase = Phase::Over;
        self.end();
    }

    fn shrink(&mut self) {
        if self.inbox.is_empty() && self.inbox.capacity() > 0 {
            self.inbox = Vec::new();
        }
    }

    /// Takes messages off `bytes` until one has to wait; gives how many bytes are used.
    fn pump(&mut self, host: &mut dyn Host, io: &mut Io<'_>, bytes: &[u8]) -> usize {
        let mut used = 0usize;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            if self.skip > 0 {
                let skipped = self.skip.min(rest.len());
                self.skip = self.skip.saturating_sub(skipped);
                used = used.saturating_add(skipped);
                if skipped == 0 {
                    return used;
                }
                continue;
            }
            match self.step(host, io, rest) {
                Ok(0) => return used,
                Ok(taken) => used = used.saturating_add(taken),
                Err(refusal) => {
                    self.fatal(io, &refusal);
                    return bytes.len();
                }
            }
            if self.want != Want::Bytes {
                if self.want == Want::Tls && used < bytes.len() {
                    self.refuse_stuffing(io);
                }
                return used;
            }
        }
    }

    /// Takes one message; gives the bytes it took, 0 if it is incomplete or has to wait.
    fn step(&mut self, host: &mut dyn Host, io: &mut Io<'_>, bytes: &[u8]) -> Result<usize, Refusal> {
        if matches!(self.phase, Phase::Settling(..)) {
            self.settle(host, io)?;
            if self.want != Want::Bytes {
                return Ok(0);
            }
        }
        match &mut self.phase {
            Phase::Handshake(handshake) if handshake.opening() => {
                let Some((packet, taken)) = packets::split(bytes)? else { return Ok(0) };
                let step = handshake.packet(host, packet, io.client)?;
                self.login_step(host, io, step, taken)
            }
            Phase::Handshake(handshake) => match frame::split(bytes, FramePhase::Login, self.terms.limits)? {
                Frame::Whole { body, .. } => {
                    let taken = body.len().saturating_add(frame::HEADER);
                    let step = handshake.response(host, body, io.client)?;
                    self.login_step(host, io, step, taken)
                }
                Frame::Incomplete => Ok(0),
                Frame::Oversize { tag, .. } => Err(WireError::Unexpected(tag).into()),
            },
            Phase::Active(active) => {
                if let Some(taken) = active.straight(host, io, bytes, self.terms.limits) {
                    return Ok(taken);
                }
                if let Some(taken) = active.copy_piece(host, io, bytes)? {
                    return Ok(taken);
                }
                let (flow, taken) = match frame::split(bytes, FramePhase::Session, self.terms.limits)? {
                    Frame::Incomplete => match active.long_bind(host, io, bytes)? {
                        Some(begun) => begun,
                        None => return Ok(0),
                    },
                    Frame::Whole { tag, body } => {
                        (active.message(host, io, tag, body)?, body.len().saturating_add(frame::HEADER))
                    }
                    Frame::Oversize { tag, length } => (active.oversize(host, io, tag)?, length),
                };
                self.want = match flow {
                    Flow::Done => {
                        self.skip = taken.saturating_sub(bytes.len());
                        return Ok(taken.min(bytes.len()));
                    }
                    Flow::Plan(unplanned) => Want::Plan(unplanned),
                    Flow::Lease => Want::Lease,
                    Flow::Drain => Want::Drain,
                    Flow::Rest => Want::Bytes,
                    Flow::End => Want::End,
                };
                Ok(0)
            }
            Phase::Settling(..) | Phase::Over => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests;
