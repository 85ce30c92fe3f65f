//! Who has a server connection, and who waits for one. All of it belongs to one worker's thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::cancel::CancelKey;
use super::connect::{ConnectError, Target};
use super::stream::Stream;
use crate::policy::{Refusal, Rule, SqlState};
use crate::session::server::Server;
use crate::wire::request;

/// Bounds of a pool.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Server connections at most.
    pub size: usize,
    /// An idle connection is closed after this.
    pub idle_timeout: Duration,
    /// A connection is not used again after this.
    pub server_lifetime: Duration,
}

/// A pool of one database.
#[derive(Debug)]
pub struct Pool {
    target: Rc<Target>,
    limits: Limits,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Connection>,
    waiting: VecDeque<Rc<Waiter>>,
    /// Idle, leased, and waiting for a cancel to settle.
    open: usize,
    connecting: usize,
    failures: u32,
    not_before: Option<Instant>,
    parameters: Vec<(String, String)>,
}

#[derive(Debug)]
struct Connection {
    stream: Stream,
    server: Option<Box<Server>>,
    key: Option<Rc<CancelKey>>,
    opened: Instant,
    used: Instant,
}

/// A place in the queue.
#[derive(Debug, Default)]
pub struct Waiter {
    slot: RefCell<Slot>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Waiting,
    Given(Lease),
    Failed,
    Left,
}

/// A server connection in somebody's hands. Dropped without [`Lease::give_back`], it is closed: what its state
/// is, nobody knows.
#[derive(Debug)]
pub struct Lease {
    pool: Rc<Pool>,
    connection: Option<Connection>,
}

impl Pool {
    /// An empty pool.
    pub fn new(target: Rc<Target>, limits: Limits) -> Rc<Self> {
        Rc::new(Self { target, limits, state: RefCell::default() })
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.target.name
    }

    /// What a server connection of this pool reported first; nothing before there was one.
    pub fn parameters(&self) -> Vec<(String, String)> {
        self.state.borrow().parameters.clone()
    }

    /// Connections that are open, and those of them that are idle, and clients that wait.
    pub fn counts(&self) -> (usize, usize, usize) {
        let state = self.state.borrow();
        (state.open, state.idle.len(), state.waiting.len())
    }

    /// Opens a first connection ahead of need, so that its parameters are known.
    pub fn warm_up(self: &Rc<Self>) {
        if self.state.borrow().open == 0 {
            self.connect_one();
        }
    }

    /// A connection, if one is idle and nobody waits.
    pub fn try_lease(self: &Rc<Self>) -> Option<Lease> {
        loop {
            let mut connection = {
                let mut state = self.state.borrow_mut();
                if !state.waiting.is_empty() {
                    return None;
                }
                state.idle.pop()?
            };
            if connection.stream.is_quiet() && !self.is_old(&connection) {
                return Some(Lease { pool: self.clone(), connection: Some(connection) });
            }
            self.close(connection);
        }
    }

    /// A place in the queue. [`Waiter::poll`] says when its turn has come.
    pub fn wait(self: &Rc<Self>) -> Rc<Waiter> {
        let waiter = Rc::new(Waiter::default());
        self.state.borrow_mut().waiting.push_back(waiter.clone());
        self.connect_for_waiting();
        waiter
    }

    /// Closes connections that were idle for too long or are too old, or of which bytes or an end have come.
    pub fn sweep(self: &Rc<Self>) {
        let now = Instant::now();
        let idle = std::mem::take(&mut self.state.borrow_mut().idle);
        for mut connection in idle {
            let rested = now.saturating_duration_since(connection.used) >= self.limits.idle_timeout;
            if rested || self.is_old(&connection) || !connection.stream.is_quiet() {
                self.close(connection);
            } else {
                self.state.borrow_mut().idle.push(connection);
            }
        }
        self.connect_for_waiting();
    }

    fn is_old(&self, connection: &Connection) -> bool {
        connection.opened.elapsed() >= self.limits.server_lifetime
    }

    fn close(self: &Rc<Self>, connection: Connection) {
        connection.stream.part(request::TERMINATE);
        self.closed();
    }

    fn closed(self: &Rc<Self>) {
        {
            let mut state = self.state.borrow_mut();
            state.open = state.open.saturating_sub(1);
        }
        self.connect_for_waiting();
    }

    /// Hands a connection to the first who waits, or keeps it.
    fn put(self: &Rc<Self>, connection: Connection) {
        if self.is_old(&connection) {
            self.close(connection);
            return;
        }
        let mut lease = Lease { pool: self.clone(), connection: Some(connection) };
        loop {
            let waiter = self.state.borrow_mut().waiting.pop_front();
            let Some(waiter) = waiter else { break };
            match waiter.give(lease) {
                Ok(()) => return,
                Err(back) => lease = back,
            }
        }
        if let Some(connection) = lease.connection.take() {
            self.state.borrow_mut().idle.push(connection);
        }
    }

    fn connect_for_waiting(self: &Rc<Self>) {
        loop {
            {
                let state = self.state.borrow();
                let busy = state.open.saturating_add(state.connecting);
                if state.waiting.len() <= state.connecting || busy >= self.limits.size {
                    return;
                }
            }
            self.connect_one();
        }
    }

    fn connect_one(self: &Rc<Self>) {
        let delay = {
            let mut state = self.state.borrow_mut();
            state.connecting = state.connecting.saturating_add(1);
            state.not_before.map(|at| at.saturating_duration_since(Instant::now()))
        };
        let pool = self.clone();
        let guard = Connecting(self.clone());
        tokio::task::spawn_local(async move {
            if let Some(delay) = delay.filter(|delay| !delay.is_zero()) {
                tokio::time::sleep(delay).await;
            }
            let connected = pool.target.connect().await;
            drop(guard);
            match connected {
                Ok(connected) => pool.opened(connected),
                Err(error) => pool.failed(&error),
            }
        });
    }

    fn opened(self: &Rc<Self>, connected: super::connect::Connected) {
        let now = Instant::now();
        let key =
            connected.key.map(|(pid, secret)| Rc::new(CancelKey::new(self.target.clone(), pid, secret)));
        {
            let mut state = self.state.borrow_mut();
            state.open = state.open.saturating_add(1);
            state.failures = 0;
            state.not_before = None;
            if state.parameters.is_empty() {
                state.parameters.clone_from(&connected.server.pinned);
            }
        }
        self.put(Connection {
            stream: connected.stream,
            server: Some(Box::new(connected.server)),
            key,
            opened: now,
            used: now,
        });
        self.connect_for_waiting();
    }

    /// Waits longer each time, and fails those who wait if there is no connection at all.
    fn failed(self: &Rc<Self>, error: &ConnectError) {
        let waiting = {
            let mut state = self.state.borrow_mut();
            state.failures = state.failures.saturating_add(1);
            let delay = back_off(state.failures);
            state.not_before = Instant::now().checked_add(delay);
            if state.failures.is_power_of_two() {
                tracing::warn!(database = self.name(), failures = state.failures, %error, "cannot connect to the server");
            }
            if state.open == 0 { std::mem::take(&mut state.waiting) } else { VecDeque::new() }
        };
        for waiter in waiting {
            waiter.fail();
        }
        self.connect_for_waiting();
    }
}

/// Counts a connection attempt for as long as it runs, also when its task is dropped.
struct Connecting(Rc<Pool>);

impl Drop for Connecting {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        state.connecting = state.connecting.saturating_sub(1);
    }
}

/// 100 ms, doubled each time up to 12.8 s, and up to half of it more by chance.
fn back_off(failures: u32) -> Duration {
    let steps = failures.saturating_sub(1).min(7);
    let base = 100u64.checked_shl(steps).unwrap_or(12_800);
    Duration::from_millis(base.saturating_add(rand::random_range(0..=base / 2)))
}

impl Waiter {
    /// The lease, or 08006 where no server can be reached.
    pub fn poll(&self, cx: &mut Context<'_>, pool: &Pool) -> Poll<Result<Lease, Refusal>> {
        let slot = std::mem::replace(&mut *self.slot.borrow_mut(), Slot::Left);
        match slot {
            Slot::Given(lease) => Poll::Ready(Ok(lease)),
            Slot::Waiting => {
                *self.slot.borrow_mut() = Slot::Waiting;
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
            Slot::Failed | Slot::Left => {
                let message = format!("no server of database \"{}\" can be reached", pool.name());
                Poll::Ready(Err(Refusal::new(SqlState::CONNECTION_FAILURE, Rule("pool"), message)))
            }
        }
    }

    /// Nobody waits here any more. A lease that has come meanwhile goes on to the next.
    pub fn leave(&self) {
        let slot = std::mem::replace(&mut *self.slot.borrow_mut(), Slot::Left);
        if let Slot::Given(lease) = slot {
            lease.pass_on();
        }
    }

    fn give(&self, lease: Lease) -> Result<(), Lease> {
        let mut slot = self.slot.borrow_mut();
        if !matches!(*slot, Slot::Waiting) {
            return Err(lease);
        }
        *slot = Slot::Given(lease);
        drop(slot);
        self.wake();
        Ok(())
    }

    fn fail(&self) {
        *self.slot.borrow_mut() = Slot::Failed;
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Lease {
    /// The socket.
    pub fn stream(&mut self) -> Option<&mut Stream> {
        self.connection.as_mut().map(|connection| &mut connection.stream)
    }

    /// What is known of the connection; the session holds it meanwhile.
    pub fn take_server(&mut self) -> Option<Box<Server>> {
        self.connection.as_mut().and_then(|connection| connection.server.take())
    }

    /// How to cancel what runs on it.
    pub fn key(&self) -> Option<&Rc<CancelKey>> {
        self.connection.as_ref().and_then(|connection| connection.key.as_ref())
    }

    /// Gives the connection back. The caller says with `server` that nothing is outstanding on it and that no
    /// byte of a message is unwritten. A cancel that is on its way arrives before the connection is used again.
    pub fn give_back(mut self, server: Box<Server>) {
        let Some(mut connection) = self.connection.take() else { return };
        connection.server = Some(server);
        connection.used = Instant::now();
        let pool = self.pool.clone();
        match connection.key.clone().filter(|key| key.is_pending()) {
            None => pool.put(connection),
            Some(key) => {
                let lease = Lease { pool: pool.clone(), connection: Some(connection) };
                tokio::task::spawn_local(async move {
                    key.settled().await;
                    lease.pass_on();
                });
            }
        }
    }

    /// Cancels what runs, and closes the connection once that has ended. A cancel may come before the statement
    /// that it is meant for: it is sent again as long as the server does not say that it is ready.
    pub fn cancel_and_close(mut self) {
        let Some(key) = self.key().cloned() else { return };
        tokio::task::spawn_local(async move {
            let mut patience = FIRST_PATIENCE;
            for _ in 0..MOST_CANCELS {
                key.send();
                key.settled().await;
                let Some(stream) = self.stream() else { return };
                if tokio::time::timeout(patience, has_ended(stream)).await.is_ok() {
                    return;
                }
                patience = patience.saturating_mul(2);
            }
        });
    }

    fn pass_on(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.put(connection);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // No Terminate: a frame may be half written.
            drop(connection);
            self.pool.closed();
        }
    }
}

/// How often a statement of a client that is gone is cancelled, and how long its end is waited for at first.
const MOST_CANCELS: u32 = 8;
const FIRST_PATIENCE: Duration = Duration::from_millis(50);

/// Reads and drops everything up to what looks like a ReadyForQuery, or the end. The connection is closed in any
/// case, so that a row that looks like one does no harm.
async fn has_ended(stream: &mut Stream) {
    use tokio::io::AsyncReadExt;
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes).await {
            Ok(length @ 1..) => {
                let read = bytes.get(..length).unwrap_or_default();
                if matches!(read, [.., b'Z', 0, 0, 0, 5, _]) {
                    return;
                }
            }
            Ok(_) | Err(_) => return,
        }
    }
}

/// 53300 of a statement that waited for too long.
pub fn checkout_timed_out(pool: &Pool) -> Refusal {
    let message = format!("no server connection of pool \"{}\" became free in time", pool.name());
    Refusal::new(SqlState::TOO_MANY, Rule("pool"), message)
}
