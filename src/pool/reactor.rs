//! Which sockets of a thread may be read or written: an edge-triggered epoll of the thread's own. A worker has one; its
//! sockets wake no task, they name the session that owns them.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::time::Duration;

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use parking_lot::Mutex;

use super::flow::PATIENCE;
use super::pulse::Pulse;

/// What is told of at once.
const EVENTS: usize = 1024;
/// The token of what other threads wake the thread with.
const WAKE: Token = Token(usize::MAX);
/// The token of the pulse.
const PULSE: Token = Token(usize::MAX - 1);
const NOBODY: usize = usize::MAX;

const READABLE: u8 = 1;
const ENDED: u8 = 2;
const WRITABLE: u8 = 4;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
}

/// A thread's epoll and the sockets that it watches.
#[derive(Debug)]
pub struct Reactor {
    poll: RefCell<Poll>,
    events: RefCell<Events>,
    registry: Registry,
    sources: RefCell<Sources>,
    pulse: Option<Pulse>,
    /// What is looked at with the next beat of the pulse.
    later: RefCell<Vec<Arc<Source>>>,
}

/// By token. A place whose socket is gone is found by [`Reactor::sweep`] and given to another.
#[derive(Debug, Default)]
struct Sources {
    watched: Vec<Arc<Source>>,
    free: Vec<usize>,
}

/// What is known of one socket. Only its own thread looks at it; the atomics let it be moved there.
#[derive(Debug)]
pub struct Source {
    ready: AtomicU8,
    owner: AtomicUsize,
    waker: Mutex<Option<Waker>>,
    token: Token,
}

/// While it lives its thread has a reactor.
#[derive(Debug)]
pub struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| *current = None);
    }
}

impl Reactor {
    /// A reactor that watches nothing.
    pub fn new() -> io::Result<Rc<Self>> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let events = RefCell::new(Events::with_capacity(EVENTS));
        let (sources, later) = Default::default();
        let pulse = Pulse::new(&registry, PULSE).ok();
        Ok(Rc::new(Self { poll: RefCell::new(poll), events, registry, sources, pulse, later }))
    }

    /// Makes it the thread's, so that sockets can be [taken over](super::tcp::Tcp::take_over).
    pub fn enter(self: &Rc<Self>) -> Entered {
        CURRENT.with_borrow_mut(|current| *current = Some(self.clone()));
        Entered(())
    }

    /// The thread's.
    pub(super) fn current() -> Option<Rc<Self>> {
        CURRENT.with_borrow(Option::clone)
    }

    /// What ends a [`Self::turn`] that waits, from any thread.
    pub fn waker(&self) -> io::Result<mio::Waker> {
        mio::Waker::new(&self.registry, WAKE)
    }

    /// Waits until something has happened, for so long at most (none: for ever), and names the owners of the sockets
    /// that it has happened to. A socket without an owner wakes the task that waits for it.
    pub fn turn(&self, timeout: Option<Duration>, mut happened: impl FnMut(usize)) -> io::Result<()> {
        let mut events = self.events.borrow_mut();
        match self.poll.borrow_mut().poll(&mut events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let sources = self.sources.borrow();
        for event in events.iter() {
            if event.token() == PULSE {
                self.look(&mut happened);
            }
            let Some(source) = sources.watched.get(event.token().0) else { continue };
            let readable = if event.is_readable() { READABLE } else { 0 };
            let ended = if event.is_read_closed() || event.is_error() { ENDED } else { 0 };
            let writable = if event.is_writable() || event.is_error() { WRITABLE } else { 0 };
            source.has(readable | ended | writable, &mut happened);
        }
        Ok(())
    }

    /// What waited for the pulse may be readable.
    fn look(&self, mut happened: impl FnMut(usize)) {
        for source in self.later.borrow_mut().drain(..) {
            source.has(READABLE, &mut happened);
        }
    }

    /// Finds the places of sockets that are gone.
    pub fn sweep(&self) {
        let Sources { watched, free } = &mut *self.sources.borrow_mut();
        free.clear();
        let gone = watched.iter().enumerate().filter(|(_, source)| Arc::strong_count(source) == 1);
        free.extend(gone.map(|(at, _)| at));
    }

    /// Watches a connected socket from now on.
    pub(super) fn watch(&self, socket: &mut TcpStream) -> io::Result<Arc<Source>> {
        let ready = AtomicU8::new(WRITABLE);
        let mut sources = self.sources.borrow_mut();
        let at = sources.free.pop().unwrap_or(sources.watched.len());
        let token = Token(at);
        let source =
            Arc::new(Source { ready, owner: AtomicUsize::new(NOBODY), waker: Mutex::new(None), token });
        self.registry.register(socket, token, Interest::READABLE | Interest::WRITABLE)?;
        match sources.watched.get_mut(at) {
            Some(place) => *place = source.clone(),
            None => sources.watched.push(source.clone()),
        }
        Ok(source)
    }

    /// Tells no more of bytes that come from the socket.
    pub(super) fn ignore(&self, socket: &TcpStream, source: &Source) -> io::Result<()> {
        self.registry.reregister(&mut SourceFd(&socket.as_raw_fd()), source.token, Interest::WRITABLE)
    }

    /// Tells of them again, and of what came meanwhile.
    pub(super) fn heed(&self, socket: &TcpStream, source: &Source) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.registry.reregister(&mut SourceFd(&socket.as_raw_fd()), source.token, both)
    }

    /// Says after [`PATIENCE`] that the socket may be readable.
    pub(super) fn look_later(&self, source: &Arc<Source>) -> io::Result<()> {
        let mut later = self.later.borrow_mut();
        if later.is_empty() {
            self.pulse.as_ref().ok_or(io::ErrorKind::Unsupported)?.beat_after(PATIENCE)?;
        }
        later.push(source.clone());
        Ok(())
    }
}

impl Source {
    /// Whom [`Reactor::turn`] names when something has happened to the socket.
    pub(super) fn belongs_to(&self, owner: Option<usize>) {
        self.owner.store(owner.unwrap_or(NOBODY), Relaxed);
    }

    #[inline]
    pub(super) fn is_readable(&self) -> bool {
        self.ready.load(Relaxed) & (READABLE | ENDED) != 0
    }

    /// Whether the other side is known to have ended.
    #[cfg(test)]
    pub(super) fn has_ended(&self) -> bool {
        self.ready.load(Relaxed) & ENDED != 0
    }

    #[inline]
    pub(super) fn is_writable(&self) -> bool {
        self.ready.load(Relaxed) & WRITABLE != 0
    }

    /// A read gave less than it could have taken: what comes from now on is told. That the other side has ended is not
    /// told again.
    #[inline]
    pub(super) fn was_emptied(&self) {
        self.set(self.ready.load(Relaxed) & !READABLE);
    }

    /// A read would have had to wait.
    pub(super) fn is_empty(&self) {
        self.set(self.ready.load(Relaxed) & !(READABLE | ENDED));
    }

    /// A write would have had to wait, or took less than it was given.
    pub(super) fn is_full(&self) {
        self.set(self.ready.load(Relaxed) & !WRITABLE);
    }

    /// The task is woken when something happens. An owner is named in any case.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        if self.owner.load(Relaxed) == NOBODY {
            *self.waker.lock() = Some(cx.waker().clone());
        }
    }

    /// This was heard of the socket.
    fn has(&self, ready: u8, happened: impl FnOnce(usize)) {
        self.set(self.ready.load(Relaxed) | ready);
        match self.owner.load(Relaxed) {
            NOBODY => self.wake(),
            owner => happened(owner),
        }
    }

    fn set(&self, ready: u8) {
        self.ready.store(ready, Relaxed);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }
}
