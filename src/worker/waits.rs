//! What a client waits for besides bytes: the TLS handshake, plans, a lease, and somebody else's cancel.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio_rustls::{TlsAcceptor, TlsStream};

use super::client::{Client, Gone, Socket};
use super::planning;
use super::tls::ALPN;
use crate::catalog::Oid;
use crate::plan::Request;
use crate::policy::{Refusal, Rule, SqlState};
use crate::pool::queue::checkout_timed_out;
use crate::pool::tcp::Tcp;
use crate::pool::{Lease, Stream, Waiter};
use crate::session::Want;
use crate::session::active::Active;
use crate::sql::Bounded;

/// The first byte of TLS: a record that holds a handshake message.
const CLIENT_HELLO: u8 = 0x16;

pub(super) struct Waiting {
    pub(super) place: Rc<Waiter>,
    since: Instant,
    pub(super) deadline: u64,
}

impl Client {
    /// What the session waits for.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        match self.session.want() {
            Want::Bytes | Want::Drain | Want::End => Ok(false),
            Want::Tls => self.accept_tls(cx),
            Want::Plan(_) => Ok(self.plan(cx)),
            Want::Lease => Ok(self.wait_for_lease(cx)),
            Want::Cancel { pid, secret } => {
                let outcome = self.worker.registry.cancel(*pid, secret, self.origin.peer);
                self.worker.settings.metrics.cancel_request(outcome);
                Err(Gone)
            }
        }
    }

    fn accept_tls(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        if !self.unsent.is_empty() {
            return Ok(false);
        }
        if let Socket::Open(_) = self.socket {
            let taken = std::mem::replace(&mut self.socket, Socket::Gone);
            let Socket::Open(Stream::Plain(tcp)) = taken else { return Err(Gone) };
            self.begin_tls(tcp)?;
        }
        self.finish_tls(cx)
    }

    /// A client may begin with TLS at once (`sslnegotiation=direct`, PostgreSQL 17): its first byte tells.
    pub(super) fn look_at_first_byte(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        match &mut self.socket {
            Socket::Accepting(_) if self.direct => return self.finish_tls(cx),
            Socket::Fresh(tcp) => {
                let mut byte = [0; 1];
                match tcp.poll_peek(cx, &mut byte) {
                    Poll::Pending => return Ok(false),
                    Poll::Ready(Ok(1)) => self.direct = byte == [CLIENT_HELLO],
                    Poll::Ready(_) => return Err(Gone),
                }
            }
            _ => return Ok(false),
        }
        let Socket::Fresh(tcp) = std::mem::replace(&mut self.socket, Socket::Gone) else { return Err(Gone) };
        match self.direct {
            true => self.begin_tls(tcp)?,
            false => self.socket = Socket::Open(Stream::Plain(tcp)),
        }
        Ok(true)
    }

    fn begin_tls(&mut self, tcp: Tcp) -> Result<(), Gone> {
        let certified = self.worker.settings.tls.as_ref().ok_or(Gone)?.current();
        self.end_point.clone_from(&certified.end_point);
        self.socket = Socket::Accepting(Box::new(TlsAcceptor::from(certified.config.clone()).accept(tcp)));
        Ok(())
    }

    fn finish_tls(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        let Socket::Accepting(accept) = &mut self.socket else { return Err(Gone) };
        match Pin::new(accept.as_mut()).poll(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(_)) => Err(Gone),
            // Without the name of the protocol it could be anybody's (PostgreSQL refuses it too).
            Poll::Ready(Ok(tls)) if self.direct && tls.get_ref().1.alpn_protocol() != Some(ALPN) => Err(Gone),
            Poll::Ready(Ok(tls)) => {
                self.socket = Socket::Open(Stream::Tls(Box::new(TlsStream::Server(tls))));
                self.with(cx, |session, host, io| session.encrypted(host, io));
                Ok(true)
            }
        }
    }

    fn plan(&mut self, cx: &mut Context<'_>) -> bool {
        if self.planning.is_none() {
            let (requests, declared) = self.requests();
            let Some(database) = self.find_database() else { return false };
            self.planning = Some(planning::start(database.planner.clone(), requests, declared));
        }
        let Some(planning) = &mut self.planning else { return false };
        let Poll::Ready(fresh) = planning.as_mut().poll(cx) else { return false };
        self.planning = None;
        if let (Some(database), Some(active)) = (&self.database, self.session.active()) {
            let mut table = database.table.borrow_mut();
            for planned in &fresh {
                if let Ok(plan) = &planned.outcome {
                    table.insert(&active.who().role, &planned.shape, plan);
                }
            }
        }
        self.fresh.extend(fresh);
        self.with(cx, |session, host, io| session.resume(host, io));
        true
    }

    /// The statements of the text that have to be planned. In a second round for the same message all of them
    /// are asked for: the table may have lost the others meanwhile.
    fn requests(&mut self) -> (Vec<Request>, Vec<Oid>) {
        let mut requests = Vec::new();
        let nothing = (Vec::new(), Vec::new());
        let Some(database) = self.find_database() else { return nothing };
        let (Want::Plan(unplanned), Some(active)) = (self.session.want(), self.session.active()) else {
            return nothing;
        };
        let who = active.who();
        let declared = unplanned.declared.clone();
        let Ok(bounded) = Bounded::new(&unplanned.text, &self.worker.limits) else { return nothing };
        let mut normaliser = self.worker.normaliser.borrow_mut();
        normaliser.declare(&declared);
        let mut from = 0;
        while let Ok(Some(statement)) = normaliser.next_statement(bounded, from) {
            from = statement.next;
            let known = database.table.borrow_mut().find(&who.role, &statement).is_some();
            if !known || !self.fresh.is_empty() {
                requests.push(Request::new(who.user.clone(), who.role.clone(), &statement));
            }
        }
        (requests, declared)
    }

    fn wait_for_lease(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(database) = self.find_database() else { return false };
        let deadline = match &self.waiting {
            Some(waiting) => waiting.deadline,
            None => self.due_in(self.worker.settings.config.general.checkout_timeout),
        };
        let place = match &mut self.waiting {
            Some(waiting) => waiting,
            None => {
                let payer = self.session.active().and_then(Active::payer).cloned();
                self.handle.waiting.set(true);
                self.waiting.insert(Waiting {
                    place: database.pool.wait(payer),
                    since: Instant::now(),
                    deadline,
                })
            }
        };
        let polled = match place.place.poll(cx, &database.pool) {
            Poll::Ready(result) => result,
            Poll::Pending if self.handle.cancelled.take() => {
                let message = "canceling statement due to user request";
                Err(Refusal::new(SqlState::CANCELED, Rule("cancel"), message))
            }
            Poll::Pending if place.deadline <= self.worker.clock() => Err(checkout_timed_out(&database.pool)),
            Poll::Pending => return false,
        };
        self.handle.waiting.set(false);
        self.handle.cancelled.set(false);
        if let Some(waiting) = self.waiting.take() {
            database.pool.leave(&waiting.place);
            self.worker.settings.metrics.lease_waited(waiting.since.elapsed());
        }
        self.leased(cx, polled);
        true
    }

    fn leased(&mut self, cx: &mut Context<'_>, polled: Result<Lease, Refusal>) {
        let taken = polled.map(|mut lease| (lease.take_server(), lease));
        match taken {
            Ok((Some(server), lease)) => {
                *self.handle.key.borrow_mut() = lease.key().cloned();
                lease.belongs_to(self.seat);
                self.lease = Some(lease);
                self.with(cx, |session, host, io| session.lease_granted(host, io, server));
            }
            Ok((None, _)) => {
                let refusal = Refusal::new(SqlState::INTERNAL, Rule("pool"), "a lease without a server");
                self.with(cx, |session, host, io| session.lease_refused(host, io, refusal));
            }
            Err(refusal) => {
                self.with(cx, |session, host, io| session.lease_refused(host, io, refusal));
            }
        }
    }
}
