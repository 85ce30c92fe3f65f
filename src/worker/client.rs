//! One client's sockets, polled by hand: reads go into a buffer that all sessions share, answers are written at
//! once, and a client owns bytes only for an incomplete message or an unfinished write.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio_rustls::Accept;

use super::handle::Handle;
use super::held::Held;
use super::host::Surroundings;
use super::planning::{Fresh, Planning};
use super::shared::{Database, Stopping, Worker};
use super::unsent::Unsent;
use super::waits::Waiting;
use crate::policy::{Refusal, Rule, SqlState};
use crate::pool::tcp::Tcp;
use crate::pool::{Lease, Stream};
use crate::session::active::Active;
use crate::session::handshake::TlsOffer;
use crate::session::{Io, Session, Terms, Want};

/// A client that waits for something else may send this much ahead.
const MOST_AHEAD: usize = 64 * 1024;
/// What a client may do in one turn: about 1 MiB of an answer.
const MOST_ROUNDS: u32 = 16;
/// A shared buffer that has grown beyond this is not kept.
const KEPT_OUT: usize = 256 * 1024;

/// A client.
pub struct Client {
    pub(super) worker: Rc<Worker>,
    pub(super) id: u64,
    /// By which the loop knows it.
    pub(super) seat: usize,
    pub(super) handle: Rc<Handle>,
    pub(super) session: Session,
    pub(super) database: Option<Rc<Database>>,
    pub(super) socket: Socket,
    pub(super) origin: Origin,
    /// The hash of the certificate that the client was shown.
    pub(super) end_point: Option<Arc<[u8]>>,
    /// TLS began without being asked for.
    pub(super) direct: bool,
    pub(super) unsent: Unsent,
    pub(super) lease: Option<Lease>,
    unsent_to_server: Unsent,
    /// Deadlines on the worker's clock.
    pub(super) login_deadline: Option<u64>,
    pub(super) write_deadline: Option<u64>,
    pub(super) query_deadline: Option<u64>,
    /// There is a `query_timeout`.
    timed: bool,
    pub(super) waiting: Option<Waiting>,
    pub(super) planning: Option<Planning>,
    pub(super) fresh: Vec<Fresh>,
    /// Where the statement that it sent last was found.
    hint: usize,
    /// The process id of its cancel key.
    key: Option<i32>,
    held: Option<Held>,
}

pub(super) enum Socket {
    /// No byte was looked at: TLS may begin at once.
    Fresh(Tcp),
    Open(Stream),
    Accepting(Box<Accept<Tcp>>),
    Gone,
}

/// Where a client comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// Its address.
    pub peer: IpAddr,
    /// What its listener does about TLS.
    pub offer: TlsOffer,
}

/// The client is gone.
pub(super) struct Gone;

impl Client {
    /// A client that has just connected.
    pub fn new(
        worker: Rc<Worker>,
        (id, seat): (u64, usize),
        handle: Rc<Handle>,
        socket: Tcp,
        origin: Origin,
    ) -> Self {
        let socket = match origin.offer {
            TlsOffer::Never => Socket::Open(Stream::Plain(socket)),
            TlsOffer::Allowed | TlsOffer::Required => Socket::Fresh(socket),
        };
        let login_deadline = worker.after(worker.settings.config.general.client_login_timeout);
        worker.wake_at(login_deadline);
        let timed = worker.settings.config.general.query_timeout.is_some();
        Self {
            session: Session::new(Terms { tls: origin.offer, ..worker.terms }),
            worker,
            id,
            seat,
            handle,
            database: None,
            socket,
            origin,
            end_point: None,
            direct: false,
            unsent: Unsent::default(),
            lease: None,
            unsent_to_server: Unsent::default(),
            login_deadline: Some(login_deadline),
            write_deadline: None,
            query_deadline: None,
            timed,
            waiting: None,
            planning: None,
            fresh: Vec::new(),
            hint: 0,
            key: None,
            held: None,
        }
    }

    /// Works as far as it goes.
    pub fn work(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.worker.forget_time();
        for _ in 0..MOST_ROUNDS {
            match self.round(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(Gone) => {
                    self.finish();
                    return Poll::Ready(());
                }
            }
        }
        // Others have their turn in between.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One look at everything; whether another one may find more.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        #[cfg(test)]
        self.worker.settings.metrics.round(self.id);
        let mut moved = false;
        if !self.is_calm() {
            moved = self.look_around(cx)?;
            if matches!(self.session.want(), Want::End) {
                return Ok(moved);
            }
        }
        moved |= self.read_server(cx);
        moved |= self.read_client(cx)?;
        Ok(moved && self.may_go_on())
    }

    /// Whether nothing is to be done but to read: what most rounds find.
    #[inline]
    fn is_calm(&self) -> bool {
        matches!(self.socket, Socket::Open(_))
            && matches!(self.session.want(), Want::Bytes)
            && self.unsent.is_empty()
            && self.unsent_to_server.is_empty()
            && self.login_deadline.is_none()
            && self.write_deadline.is_none()
            && !self.timed
            && self.worker.stopping.get() == Stopping::No
            && !self.handle.review.get()
    }

    /// Everything but reading; whether something was done.
    fn look_around(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        let mut moved = self.write_client(cx)?;
        moved |= self.write_server(cx);
        self.watch_deadlines(cx)?;
        self.watch_stop(cx);
        if self.handle.review.get() {
            self.watch_access(cx);
        }
        match self.session.want() {
            Want::Bytes => {}
            Want::End => return if self.unsent.is_empty() { Err(Gone) } else { Ok(moved) },
            _ => moved |= self.advance(cx)?,
        }
        moved |= self.look_at_first_byte(cx)?;
        Ok(moved)
    }

    /// Whether there may be more to do at once.
    fn may_go_on(&self) -> bool {
        let server = self.lease.as_ref().and_then(Lease::socket);
        let readable = match &self.socket {
            Socket::Open(client) => client.may_be_readable(),
            _ => true,
        };
        readable || server.is_some_and(Stream::may_be_readable) || !self.is_calm()
    }

    /// Lets the session work, and writes what it says.
    pub(super) fn with<R>(
        &mut self,
        cx: &mut Context<'_>,
        work: impl FnOnce(&mut Session, &mut Surroundings<'_>, &mut Io<'_>) -> R,
    ) -> R {
        let worker = self.worker.clone();
        let (to_client, to_server) = &mut *worker.outs.borrow_mut();
        // A session that panicked has left something.
        to_client.clear();
        to_server.clear();
        let (session, mut host) = self.surroundings(&worker);
        let mut io = Io { client: to_client, server: to_server };
        let result = work(session, &mut host, &mut io);
        if !to_server.is_empty()
            && let Some(stream) = self.lease.as_mut().and_then(Lease::stream)
        {
            self.unsent_to_server.put(cx, stream, to_server);
        }
        self.release();
        if !to_client.is_empty()
            && let Socket::Open(stream) = &mut self.socket
        {
            self.unsent.put(cx, stream, to_client);
        }
        if to_client.capacity() > KEPT_OUT || to_server.capacity() > KEPT_OUT {
            (*to_client, *to_server) = (Vec::new(), Vec::new());
        }
        if !self.fresh.is_empty() && *self.session.want() == Want::Bytes {
            self.fresh = Vec::new();
        }
        let running = self.lease.is_some() && self.session.active().is_some_and(|active| active.is_running());
        self.handle.running.set(running);
        result
    }

    /// The session, and what answers it.
    #[inline]
    fn surroundings<'a>(&'a mut self, worker: &'a Worker) -> (&'a mut Session, Surroundings<'a>) {
        let host = Surroundings {
            worker,
            session: self.id,
            seat: self.seat,
            handle: &self.handle,
            database: self.database.as_ref(),
            lease: &mut self.lease,
            fresh: &self.fresh,
            hint: &mut self.hint,
            key: &mut self.key,
            end_point: self.end_point.as_ref(),
            held: &mut self.held,
        };
        (&mut self.session, host)
    }

    /// Gives the server connection back if the session is done with it and no byte to it is unsent.
    fn release(&mut self) {
        if let Some(server) = self.session.take_released() {
            *self.handle.key.borrow_mut() = None;
            self.held = None;
            let lease = self.lease.take();
            match lease {
                Some(lease) if self.unsent_to_server.is_empty() => lease.give_back(server),
                _ => self.unsent_to_server = Unsent::default(),
            }
        }
        // What was to be held was refused before it had a server connection.
        if self.held.is_some() && self.lease.is_none() && *self.session.want() != Want::Lease {
            self.held = None;
        }
    }

    fn write_client(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        let Socket::Open(stream) = &mut self.socket else { return Ok(false) };
        if self.unsent.is_empty() {
            return Ok(false);
        }
        let moved = self.unsent.push(cx, stream).map_err(|_| Gone)?;
        if moved {
            self.write_deadline = None;
        }
        Ok(moved)
    }

    fn write_server(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(stream) = self.lease.as_mut().and_then(Lease::stream) else { return false };
        if self.unsent_to_server.is_empty() {
            return false;
        }
        match self.unsent_to_server.push(cx, stream) {
            Ok(moved) => moved,
            Err(_) => {
                self.lose_server(cx, &lost("the connection to the server was lost"));
                true
            }
        }
    }

    pub(super) fn lose_server(&mut self, cx: &mut Context<'_>, refusal: &Refusal) {
        *self.handle.key.borrow_mut() = None;
        self.unsent_to_server = Unsent::default();
        self.lease = None;
        self.held = None;
        self.with(cx, |session, host, io| session.server_lost(host, io, refusal));
    }

    /// The session's database, known once it has logged in.
    pub(super) fn find_database(&mut self) -> Option<Rc<Database>> {
        if self.database.is_none() {
            let name = &self.session.active()?.who().database;
            self.database = self.worker.database(name).cloned();
        }
        self.database.clone()
    }

    /// The server is read when the client has taken everything that was said before.
    fn read_server(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.unsent.is_empty() {
            return false;
        }
        let Some(stream) = self.lease.as_mut().and_then(Lease::stream) else { return false };
        if !stream.may_be_readable() {
            return false;
        }
        let worker = self.worker.clone();
        let mut scratch = worker.scratch.borrow_mut();
        let polled = stream.poll_read(cx, &mut scratch);
        match polled {
            Poll::Pending => false,
            Poll::Ready(Ok(length @ 1..)) => {
                let bytes = scratch.get(..length).unwrap_or_default();
                let relayed = self.with(cx, |session, host, io| session.server_bytes(host, io, bytes));
                if let Err(lost) = relayed {
                    tracing::warn!(session = self.id, %lost, "a server connection is closed");
                    self.lose_server(cx, &lost.refusal());
                }
                true
            }
            Poll::Ready(_) => {
                self.lose_server(cx, &lost("the server closed the connection"));
                true
            }
        }
    }

    /// The client is read when the server has taken everything that was sent before, and when what it says can
    /// be worked on, or kept.
    fn read_client(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        let room = match self.session.want() {
            Want::Bytes => usize::MAX,
            Want::Plan(_) | Want::Lease | Want::Drain => MOST_AHEAD.saturating_sub(self.session.backlog()),
            Want::Tls | Want::Cancel { .. } | Want::End => 0,
        };
        if room == 0 || !self.unsent_to_server.is_empty() || !self.unsent.is_empty() {
            return Ok(false);
        }
        let Socket::Open(stream) = &mut self.socket else { return Ok(false) };
        if !stream.may_be_readable() {
            return Ok(false);
        }
        let worker = self.worker.clone();
        let mut scratch = worker.scratch.borrow_mut();
        let room = room.min(scratch.len());
        let polled = stream.poll_read(cx, scratch.get_mut(..room).unwrap_or_default());
        match polled {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(length @ 1..)) => {
                if self.database.is_none() {
                    self.find_database();
                }
                let bytes = scratch.get(..length).unwrap_or_default();
                self.with(cx, |session, host, io| session.client_bytes(host, io, bytes));
                Ok(true)
            }
            Poll::Ready(_) => Err(Gone),
        }
    }

    /// The client is gone: a clean server connection goes back, any other is closed, and what runs on it
    /// cancelled.
    fn finish(&mut self) {
        let running = self.session.active().is_some_and(Active::is_running);
        let worker = self.worker.clone();
        let (session, mut host) = self.surroundings(&worker);
        let server = session.client_gone(&mut host);
        *self.handle.key.borrow_mut() = None;
        if let Some(lease) = self.lease.take() {
            match server.filter(|_| self.unsent_to_server.is_empty()) {
                Some(server) => lease.give_back(server),
                None if running => lease.cancel_and_close(),
                None => drop(lease),
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let (Some(waiting), Some(database)) = (self.waiting.take(), &self.database) {
            database.pool.leave(&waiting.place);
        }
        // After a panic there can be some.
        for _ in 0..self.session.active().map_or(0, Active::reserved) {
            self.worker.auditor.borrow_mut().release();
        }
        if let Some(key) = self.key {
            self.worker.registry.forget(key);
        }
    }
}

fn lost(message: &str) -> Refusal {
    Refusal::new(SqlState::CONNECTION_FAILURE, Rule("server"), message)
}
