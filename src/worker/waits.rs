//! What a client waits for besides bytes: the TLS handshake, plans, a lease, and somebody else's cancel.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;
use tokio_rustls::TlsStream;

use super::client::{Client, Gone, Socket, deadline};
use super::planning;
use crate::catalog::Oid;
use crate::plan::Request;
use crate::policy::{Refusal, Rule, SqlState};
use crate::pool::lease::checkout_timed_out;
use crate::pool::{Lease, Stream, Waiter};
use crate::session::Want;
use crate::sql::Bounded;

pub(super) struct Waiting {
    pub(super) place: Rc<Waiter>,
    since: Instant,
    pub(super) deadline: Pin<Box<Sleep>>,
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
                self.worker.registry.cancel((*pid, *secret));
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
            let (Socket::Open(Stream::Plain(tcp)), Some(acceptor)) = (taken, &self.worker.tls) else {
                return Err(Gone);
            };
            self.socket = Socket::Accepting(Box::new(acceptor.accept(tcp)));
        }
        let Socket::Accepting(accept) = &mut self.socket else { return Err(Gone) };
        match Pin::new(accept.as_mut()).poll(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(_)) => Err(Gone),
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
        let place = match &mut self.waiting {
            Some(waiting) => waiting,
            None => {
                let patience = self.worker.settings.config.general.checkout_timeout;
                self.handle.waiting.set(true);
                self.waiting.insert(Waiting {
                    place: database.pool.wait(),
                    since: Instant::now(),
                    deadline: deadline(patience),
                })
            }
        };
        let polled = match place.place.poll(cx, &database.pool) {
            Poll::Ready(result) => result,
            Poll::Pending if self.handle.cancelled.take() => {
                let message = "canceling statement due to user request";
                Err(Refusal::new(SqlState::CANCELED, Rule("cancel"), message))
            }
            Poll::Pending if place.deadline.as_mut().poll(cx).is_ready() => {
                Err(checkout_timed_out(&database.pool))
            }
            Poll::Pending => return false,
        };
        self.handle.waiting.set(false);
        self.handle.cancelled.set(false);
        if let Some(waiting) = self.waiting.take() {
            waiting.place.leave();
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
