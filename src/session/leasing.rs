//! The lease of a session: when it takes a server connection, keeps it and gives it back.

use super::Io;
use super::active::{Active, Batch};
use super::copy::Copying;
use super::host::Host;
use super::outgoing::{self, OwnStatement};
use super::pin::Pin;
use super::reply::Expect;
use super::server::Server;
use super::tenancy::Tenancy;
use crate::plan::Plan;
use crate::policy::{Refusal, Rule, SqlState, TenantId};
use crate::sql::Lasting;
use crate::wire::backend::TransactionStatus;

impl Active {
    /// Takes a lease if there is none, for the tenant that `tenancy` says; false: it has to be waited for.
    pub(super) fn leased(
        &mut self,
        host: &mut dyn Host,
        io: &mut Io<'_>,
        tenancy: Option<&Tenancy>,
    ) -> Result<bool, Refusal> {
        if self.server.is_none() {
            let payer = tenancy.unwrap_or(&self.tenancy).payer();
            // One that has just been given back is the worker's to take before there is another.
            let server = if self.released.is_none() { host.lease(payer) } else { None };
            let Some(server) = server else {
                self.payer = payer.cloned();
                return Ok(false);
            };
            self.grant(server, io)?;
        } else if self.settings.are_stale() && self.is_clean() {
            self.set_server(io, false)?;
        }
        Ok(true)
    }

    /// The tenant of the lease that is waited for.
    pub fn payer(&self) -> Option<&TenantId> {
        self.payer.as_ref()
    }

    /// Takes a server connection, makes its settings the session's, and begins the transaction that waits.
    pub fn grant(&mut self, mut server: Box<Server>, io: &mut Io<'_>) -> Result<(), Refusal> {
        // What another session has sent is none of this one's.
        server.sent.clear();
        let discards = self.drawn.lease(&mut server);
        self.server = Some(server);
        self.set_server(io, discards)?;
        self.send_begin(io)
    }

    fn set_server(&mut self, io: &mut Io<'_>, discards: bool) -> Result<(), Refusal> {
        let Some(server) = &mut self.server else { return Ok(()) };
        let others = server.cursors && !self.holds.is_holding();
        server.cursors &= !others;
        if !others && !discards && !self.settings.are_stale() && self.settings.is_as(server) {
            return Ok(());
        }
        if let Some(trial) = &mut self.trial {
            trial.begins(server);
        }
        let replay = self.settings.replay(server);
        if !replay.is_empty() || others || discards {
            let close = others.then_some(OwnStatement::CloseAll);
            let discard = discards.then_some(OwnStatement::DiscardSequences);
            outgoing::own_query(io.server, close.into_iter().chain(discard).chain(replay))?;
            self.queue.push_back(Expect::Own);
        }
        Ok(())
    }

    /// The message that waits for a lease is refused.
    pub fn no_lease(&mut self, refusal: Refusal) {
        self.no_lease = Some(refusal);
    }

    /// The lease ends if nothing at all is outstanding and no transaction is open.
    pub fn settle_lease(&mut self) {
        let kept = self.holds.is_holding() || self.pin.is_held();
        if !self.lease_per_session && self.server.is_some() && !kept && self.is_clean() {
            self.released = self.server.take();
        }
    }

    /// Asks the server whether anything still holds its session, once a statement may have changed that.
    pub fn settle_pin(&mut self, io: &mut Io<'_>) -> Result<(), Refusal> {
        if !self.pin.is_held() || !self.is_clean() {
            return Ok(());
        }
        if self.pin.ask() {
            outgoing::own_query(io.server, std::iter::once(OwnStatement::StillHeld))?;
            self.queue.push_back(Expect::Own);
        }
        Ok(())
    }

    /// DISCARD ALL: gives advisory locks and channels back. What the server then says decides about the lease.
    pub(super) fn give_up(&mut self, io: &mut Io<'_>) -> Result<(), Refusal> {
        if self.pin.is_held() && self.server.is_some() {
            let both = [OwnStatement::UnlockAll, OwnStatement::UnlistenAll];
            outgoing::own_query(io.server, both.into_iter())?;
            self.queue.push_back(Expect::Own);
            self.pin.given();
        }
        Ok(())
    }

    /// A statement is sent that may leave something to the server session: the lease is kept. 53300 where too many
    /// are.
    pub(super) fn hold(&mut self, host: &mut dyn Host, plan: &Plan) -> Result<(), Refusal> {
        match plan.planned.holds {
            Lasting::Nothing => {}
            Lasting::Releases => self.pin.given(),
            Lasting::Takes => {
                self.channels.may_listen()?;
                if !self.lease_per_session && !self.pin.is_held() && !host.hold() {
                    let message = "too many sessions keep a server connection for advisory locks or LISTEN";
                    return Err(Refusal::new(SqlState::TOO_MANY, Rule("pin"), message).hint(
                        "Use pg_advisory_xact_lock, which ends with its transaction, or raise max_pinned.",
                    ));
                }
                self.pin.taken();
            }
        }
        Ok(())
    }

    /// Every Sync answered, status idle, no byte unread, no message half sent, no batch open, no COPY.
    pub(super) fn is_clean(&self) -> bool {
        self.queue.is_empty()
            && self.batch == Batch::Closed
            && self.copying == Copying::No
            && self.frames.is_clean()
            && self.passing.is_none()
            && self.status() == TransactionStatus::Idle
    }

    /// See [`Session::take_released`](super::Session::take_released).
    pub fn take_released(&mut self) -> Option<Box<Server>> {
        self.released.take()
    }

    /// The server connection, if nothing is outstanding on it and nothing of the session is left to it.
    pub fn take_clean_server(&mut self) -> Option<Box<Server>> {
        let kept = self.holds.is_holding() || self.pin.is_held();
        if self.is_clean() && !kept { self.server.take() } else { None }
    }

    /// The server connection is gone.
    pub fn forget_server(&mut self, host: &mut dyn Host) {
        self.server = None;
        self.pin = Pin::default();
        self.abandon(host);
    }
}
