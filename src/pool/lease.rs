//! Who has a server connection, and who waits for one. All of it belongs to one worker's thread.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::cancel::CancelKey;
use super::check::is_alive;
use super::connect::{ConnectError, Connected, Target};
use super::queue::{Payer, Queue, Waiter};
use super::stream::Stream;
use crate::policy::{Refusal, Rule, SqlState, TenantId};
use crate::session::server::Server;
use crate::wire::request;

/// Bounds of a pool.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Server connections at most.
    pub size: usize,
    /// Server connections that are kept open, idle or not.
    pub least: usize,
    /// Further connections, once somebody has waited for `reserve_timeout`.
    pub reserve: usize,
    /// How long somebody waits before the reserve serves him.
    pub reserve_timeout: Duration,
    /// Leases of one tenant at once; none: all.
    pub per_tenant: Option<usize>,
    /// Those of them at most that are kept beyond a transaction.
    pub pinned: usize,
    /// An idle connection is closed after this, unless `least` are open.
    pub idle_timeout: Duration,
    /// A connection is not used again after this, or up to a tenth of it earlier, by chance.
    pub server_lifetime: Duration,
    /// A connection that was idle for so long is asked whether it lives before it is leased.
    pub check_delay: Duration,
    /// How long it may take to answer.
    pub check_timeout: Duration,
}

/// Workers sweep every second.
const MUCH_LONGER_THAN_A_SWEEP: Duration = Duration::from_secs(10);

/// A pool of one database.
#[derive(Debug)]
pub struct Pool {
    target: Rc<Target>,
    limits: Limits,
    state: RefCell<State>,
    /// The time of the last sweep.
    swept: Cell<Instant>,
}

#[derive(Debug, Default)]
struct State {
    /// The one used last is at the end and leased first.
    idle: Vec<Connection>,
    queue: Queue,
    /// Idle, leased, being checked, and waiting for a cancel to settle.
    open: usize,
    pinned: usize,
    connecting: usize,
    checking: usize,
    /// Leases by whom they are for; kept where tenants have a limit.
    held: HashMap<Payer, usize>,
    failures: u32,
    failed_at: Option<Instant>,
    not_before: Option<Instant>,
    /// Somebody looks again when the reserve may be used.
    reserve_armed: bool,
    parameters: Vec<(String, String)>,
}

#[derive(Debug)]
struct Connection {
    stream: Stream,
    server: Option<Box<Server>>,
    key: Option<Rc<CancelKey>>,
    retires: Instant,
    used: Instant,
}

/// A server connection in somebody's hands. Dropped without [`Lease::give_back`], it is closed: what its state
/// is, nobody knows.
#[derive(Debug)]
pub struct Lease {
    pool: Rc<Pool>,
    payer: Payer,
    connection: Option<Connection>,
    pinned: bool,
}

/// What a pool holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open connections.
    pub open: usize,
    /// Those of them that are idle.
    pub idle: usize,
    /// Clients that wait.
    pub waiting: usize,
    /// Connections that are being opened.
    pub connecting: usize,
}

impl State {
    /// Whether this payer may have one more.
    fn may(&self, limits: &Limits, payer: &Payer) -> bool {
        self.more(limits, payer) > 0
    }

    fn more(&self, limits: &Limits, payer: &Payer) -> usize {
        match limits.per_tenant.filter(|_| payer.is_some()) {
            None => usize::MAX,
            Some(most) => most.saturating_sub(self.held.get(payer).copied().unwrap_or(0)),
        }
    }

    fn pop_waiter(&mut self, limits: &Limits) -> Option<Rc<Waiter>> {
        let mut queue = std::mem::take(&mut self.queue);
        let waiter = queue.pop(|payer| self.may(limits, payer));
        self.queue = queue;
        waiter
    }

    /// Whether one more connection is wanted, and may be opened.
    fn lacks(&self, limits: &Limits) -> bool {
        let coming = self.connecting.saturating_add(self.checking);
        let busy = self.open.saturating_add(self.connecting);
        // While the server cannot be reached one attempt at a time is enough.
        let held_back = self.failures > 0 && self.connecting > 0;
        if held_back || self.queue.wanted(|payer| self.more(limits, payer)) <= coming {
            return false;
        }
        let waited = self.queue.oldest().is_some_and(|since| since.elapsed() >= limits.reserve_timeout);
        let reserve = if waited { limits.reserve } else { 0 };
        busy < limits.size.saturating_add(reserve)
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(target: Rc<Target>, limits: Limits) -> Rc<Self> {
        Rc::new(Self { target, limits, state: RefCell::default(), swept: Cell::new(Instant::now()) })
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.target.name
    }

    /// What a server connection of this pool reported first; nothing before there was one.
    pub fn parameters(&self) -> Vec<(String, String)> {
        self.state.borrow().parameters.clone()
    }

    /// What it holds now.
    pub fn counts(&self) -> Counts {
        let state = self.state.borrow();
        Counts {
            open: state.open,
            idle: state.idle.len(),
            waiting: state.queue.len(),
            connecting: state.connecting,
        }
    }

    /// Connections that are kept beyond a transaction.
    pub fn pinned(&self) -> usize {
        self.state.borrow().pinned
    }

    /// Opens a first connection ahead of need, so that its parameters are known, and those that are kept open.
    pub fn warm_up(self: &Rc<Self>) {
        self.fill(self.limits.least.max(1));
    }

    fn fill(self: &Rc<Self>, least: usize) {
        loop {
            {
                let state = self.state.borrow();
                let busy = state.open.saturating_add(state.connecting);
                if busy >= least.min(self.limits.size) || state.failures > 0 && state.connecting > 0 {
                    return;
                }
            }
            self.connect_one();
        }
    }

    /// A connection, if one is idle and fit, and nobody waits who could have it.
    pub fn try_lease(self: &Rc<Self>, payer: Option<&TenantId>) -> Option<Lease> {
        let payer = payer.filter(|_| self.limits.per_tenant.is_some()).cloned();
        let now = self.time();
        loop {
            let mut connection = {
                let mut state = self.state.borrow_mut();
                let may = |payer: &Payer| state.may(&self.limits, payer);
                if !may(&payer) || state.queue.len() > 0 && state.queue.any(may) {
                    return None;
                }
                state.idle.pop()?
            };
            if !connection.stream.is_quiet() || now >= connection.retires {
                self.close(connection);
            } else if self.is_doubtful(&connection, now) {
                // The others were idle for longer.
                self.check(connection);
                return None;
            } else {
                return Some(self.lease(connection, payer));
            }
        }
    }

    /// The time, as closely as the limits need it: the clock is not read for each lease where the last sweep's
    /// time does.
    fn time(&self) -> Instant {
        let limits = &self.limits;
        let least = limits.check_delay.min(limits.server_lifetime).min(limits.idle_timeout);
        if least >= MUCH_LONGER_THAN_A_SWEEP { self.swept.get() } else { Instant::now() }
    }

    fn is_doubtful(&self, connection: &Connection, now: Instant) -> bool {
        now.saturating_duration_since(connection.used) >= self.limits.check_delay
    }

    fn lease(self: &Rc<Self>, connection: Connection, payer: Payer) -> Lease {
        if self.limits.per_tenant.is_some() {
            let mut state = self.state.borrow_mut();
            let held = state.held.entry(payer.clone()).or_default();
            *held = held.saturating_add(1);
        }
        Lease { pool: self.clone(), payer, connection: Some(connection), pinned: false }
    }

    /// A lease has ended.
    fn returned(&self, payer: &Payer) {
        if self.limits.per_tenant.is_some() {
            let mut state = self.state.borrow_mut();
            if let Some(held) = state.held.get_mut(payer) {
                *held = held.saturating_sub(1);
                if *held == 0 {
                    state.held.remove(payer);
                }
            }
        }
    }

    /// A place in the queue. [`Waiter::poll`] says when its turn has come; it ends with [`Pool::leave`].
    pub fn wait(self: &Rc<Self>, payer: Payer) -> Rc<Waiter> {
        let waiter = Waiter::new(payer);
        self.state.borrow_mut().queue.push(waiter.clone());
        self.connect_for_waiting();
        waiter
    }

    /// Nobody waits at this place any more. A lease that has come meanwhile goes on to the next.
    pub fn leave(self: &Rc<Self>, waiter: &Rc<Waiter>) {
        self.state.borrow_mut().queue.remove(waiter);
        if let Some(lease) = waiter.leave() {
            lease.pass_on();
        }
    }

    /// Closes connections that were idle for too long or are too old, or of which bytes or an end have come, and
    /// opens those that are to be kept open.
    pub fn sweep(self: &Rc<Self>) {
        let now = Instant::now();
        self.swept.set(now);
        let idle = std::mem::take(&mut self.state.borrow_mut().idle);
        let mut spare = self.state.borrow().open.saturating_sub(self.limits.least);
        for mut connection in idle {
            let rested = now.saturating_duration_since(connection.used) >= self.limits.idle_timeout;
            if rested && spare > 0 || now >= connection.retires || !connection.stream.is_quiet() {
                spare = spare.saturating_sub(1);
                self.close(connection);
            } else {
                self.state.borrow_mut().idle.push(connection);
            }
        }
        self.serve();
        self.fill(self.limits.least);
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
        self.serve();
    }

    /// Asks an idle connection whether it lives; if so it goes to whoever waits. If not, those that were idle for
    /// as long are closed with it.
    fn check(self: &Rc<Self>, mut connection: Connection) {
        let guard = Checking::new(self);
        tokio::task::spawn_local(async move {
            let alive = is_alive(&mut connection.stream, guard.0.limits.check_timeout).await;
            let pool = guard.0.clone();
            drop(guard);
            if alive {
                connection.used = Instant::now();
                pool.put(connection);
                return;
            }
            tracing::warn!(database = pool.name(), "an idle server connection does not answer");
            let now = Instant::now();
            let idle = std::mem::take(&mut pool.state.borrow_mut().idle);
            let (doubtful, fresh) = idle.into_iter().partition(|other| pool.is_doubtful(other, now));
            let dead: Vec<Connection> = doubtful;
            let mut state = pool.state.borrow_mut();
            state.idle = fresh;
            state.open = state.open.saturating_sub(dead.len());
            drop(state);
            pool.closed();
        });
    }

    /// Hands a connection to him whose turn it is, or keeps it.
    fn put(self: &Rc<Self>, mut connection: Connection) {
        if self.time() >= connection.retires {
            self.close(connection);
            return;
        }
        loop {
            let waiter = self.state.borrow_mut().pop_waiter(&self.limits);
            let Some(waiter) = waiter else { break };
            let mut lease = match waiter.give(self.lease(connection, waiter.payer.clone())) {
                Ok(()) => return,
                Err(lease) => lease,
            };
            self.returned(&lease.payer);
            let Some(back) = lease.connection.take() else { return };
            connection = back;
        }
        self.state.borrow_mut().idle.push(connection);
    }

    /// Idle connections to those who may have them now, and new ones to the others.
    fn serve(self: &Rc<Self>) {
        loop {
            let connection = {
                let mut state = self.state.borrow_mut();
                let someone =
                    state.queue.len() > 0 && state.queue.any(|payer| state.may(&self.limits, payer));
                if someone { state.idle.pop() } else { None }
            };
            let Some(mut connection) = connection else { break };
            if self.is_doubtful(&connection, Instant::now()) {
                self.check(connection);
                break;
            }
            if connection.stream.is_quiet() {
                self.put(connection);
            } else {
                connection.stream.part(request::TERMINATE);
                let mut state = self.state.borrow_mut();
                state.open = state.open.saturating_sub(1);
            }
        }
        self.connect_for_waiting();
    }

    fn connect_for_waiting(self: &Rc<Self>) {
        while self.state.borrow().lacks(&self.limits) {
            self.connect_one();
        }
        self.arm_reserve();
    }

    /// Looks again when somebody will have waited for long enough.
    fn arm_reserve(self: &Rc<Self>) {
        let due = {
            let mut state = self.state.borrow_mut();
            let oldest = state.queue.oldest().filter(|_| self.limits.reserve > 0 && !state.reserve_armed);
            let Some(oldest) = oldest else { return };
            let due = self.limits.reserve_timeout.saturating_sub(oldest.elapsed());
            // Those who have waited for long enough are served as far as the reserve goes.
            if due.is_zero() {
                return;
            }
            state.reserve_armed = true;
            due
        };
        let pool = self.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(due).await;
            pool.state.borrow_mut().reserve_armed = false;
            pool.connect_for_waiting();
        });
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
            let began = Instant::now();
            let connected = pool.target.connect().await;
            drop(guard);
            match connected {
                Ok(connected) => pool.opened(connected),
                Err(error) => pool.failed(&error, began),
            }
        });
    }

    fn opened(self: &Rc<Self>, connected: Connected) {
        let now = Instant::now();
        let key =
            connected.key.map(|(pid, secret)| Rc::new(CancelKey::new(self.target.clone(), pid, secret)));
        {
            let mut state = self.state.borrow_mut();
            state.open = state.open.saturating_add(1);
            if state.failures > 0 {
                tracing::info!(database = self.name(), failures = state.failures, "the server is back");
            }
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
            retires: retirement(now, self.limits.server_lifetime),
            used: now,
        });
        self.connect_for_waiting();
    }

    /// Waits longer each time, and fails those who wait if there is no connection at all. Attempts that began
    /// before the last one failed tell nothing new.
    fn failed(self: &Rc<Self>, error: &ConnectError, began: Instant) {
        let waiting = {
            let mut state = self.state.borrow_mut();
            if state.failed_at.is_none_or(|at| began >= at) || state.failures == 0 {
                state.failures = state.failures.saturating_add(1);
                state.failed_at = Some(Instant::now());
                state.not_before = Instant::now().checked_add(back_off(state.failures));
                if state.failures.is_power_of_two() {
                    tracing::warn!(database = self.name(), failures = state.failures, %error, "cannot connect to the server");
                }
            }
            if state.open == 0 { state.queue.take() } else { Vec::new() }
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

/// The same of a check.
struct Checking(Rc<Pool>);

impl Checking {
    fn new(pool: &Rc<Pool>) -> Self {
        let mut state = pool.state.borrow_mut();
        state.checking = state.checking.saturating_add(1);
        drop(state);
        Self(pool.clone())
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        state.checking = state.checking.saturating_sub(1);
    }
}

/// 100 ms, doubled each time up to 12.8 s, and up to half of it more by chance.
fn back_off(failures: u32) -> Duration {
    let steps = failures.saturating_sub(1).min(7);
    let base = 100u64.checked_shl(steps).unwrap_or(12_800);
    Duration::from_millis(base.saturating_add(rand::random_range(0..=base / 2)))
}

/// Not all at once, where all were opened at once.
fn retirement(now: Instant, lifetime: Duration) -> Instant {
    let earlier = lifetime / 10;
    let earlier = earlier.mul_f64(rand::random_range(0.0..=1.0));
    let far = Duration::from_secs(365 * 24 * 3600);
    now.checked_add(lifetime.saturating_sub(earlier)).or_else(|| now.checked_add(far)).unwrap_or(now)
}

impl Lease {
    /// Counts the connection as one that is kept beyond a transaction; false where there are too many of them.
    pub fn pin(&mut self) -> bool {
        let mut state = self.pool.state.borrow_mut();
        if !self.pinned && state.pinned < self.pool.limits.pinned {
            state.pinned = state.pinned.saturating_add(1);
            self.pinned = true;
        }
        self.pinned
    }

    /// It is not kept any longer.
    pub fn unpin(&mut self) {
        if std::mem::take(&mut self.pinned) {
            let mut state = self.pool.state.borrow_mut();
            state.pinned = state.pinned.saturating_sub(1);
        }
    }

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
        self.unpin();
        let Some(mut connection) = self.connection.take() else { return };
        let pool = self.pool.clone();
        pool.returned(&self.payer);
        if server.spent {
            pool.close(connection);
            return;
        }
        connection.server = Some(server);
        connection.used = pool.time();
        match connection.key.clone().filter(|key| key.is_pending() || key.is_lost()) {
            None => pool.put(connection),
            Some(key) => {
                let lease = pool.lease(connection, self.payer.clone());
                tokio::task::spawn_local(async move {
                    key.settled().await;
                    if !key.is_lost() {
                        lease.pass_on();
                    }
                });
            }
        }
    }

    /// Cancels what runs, and closes the connection once that has ended. A cancel may come before the statement
    /// that it is meant for: it is sent again as long as the server does not say that it is ready.
    pub fn cancel_and_close(mut self) {
        let Some(key) = self.key().cloned() else { return };
        tokio::task::spawn_local(async move {
            let cancelling = async {
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
            };
            // A server that does not even take a cancel is not waited for any longer.
            let _ = tokio::time::timeout(LONGEST_CANCEL, cancelling).await;
        });
    }

    fn pass_on(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.returned(&self.payer);
            self.pool.put(connection);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.unpin();
        if let Some(connection) = self.connection.take() {
            // No Terminate: a frame may be half written.
            drop(connection);
            self.pool.returned(&self.payer);
            self.pool.closed();
        }
    }
}

/// How often a statement of a client that is gone is cancelled, and how long its end is waited for at first.
const MOST_CANCELS: u32 = 8;
const FIRST_PATIENCE: Duration = Duration::from_millis(50);
const LONGEST_CANCEL: Duration = Duration::from_secs(15);

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
