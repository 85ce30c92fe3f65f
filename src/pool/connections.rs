//! The server connections of a pool: idle ones, and to whom each goes. All of it belongs to one worker's thread.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::cancel::CancelKey;
use super::connect::Target;
use super::lease::Lease;
use super::limits::{Counts, Limits};
use super::queue::{Payer, Queue, Waiter};
use super::stream::Stream;
use crate::policy::TenantId;
use crate::session::reports::Report;
use crate::session::server::Server;
use crate::wire::request;

/// Workers sweep every second.
const MUCH_LONGER_THAN_A_SWEEP: Duration = Duration::from_secs(10);

/// A pool of one database.
#[derive(Debug)]
pub struct Pool {
    pub(super) target: Rc<Target>,
    pub(super) limits: Limits,
    pub(super) state: RefCell<State>,
    /// The limits are so long that the time of the last sweep is close enough.
    coarse: bool,
    /// The time of the last sweep.
    pub(super) swept: Cell<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The one used last is at the end and leased first.
    pub(super) idle: Vec<Connection>,
    pub(super) queue: Queue,
    /// Idle, leased, being checked, and waiting for a cancel to settle.
    pub(super) open: usize,
    pub(super) connecting: usize,
    pub(super) checking: usize,
    /// Leases by whom they are for; kept where tenants have a limit.
    pub(super) held: HashMap<Payer, usize>,
    pub(super) failures: u32,
    pub(super) failed_at: Option<Instant>,
    pub(super) not_before: Option<Instant>,
    /// Somebody looks again when the reserve may be used.
    pub(super) reserve_armed: bool,
    pub(super) parameters: Rc<[Report]>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) server: Option<Box<Server>>,
    pub(super) key: Option<Rc<CancelKey>>,
    pub(super) retires: Instant,
    pub(super) used: Instant,
}

impl Pool {
    /// An empty pool.
    pub fn new(target: Rc<Target>, limits: Limits) -> Rc<Self> {
        let least = limits.check_delay.min(limits.server_lifetime).min(limits.idle_timeout);
        let coarse = least >= MUCH_LONGER_THAN_A_SWEEP;
        Rc::new(Self { target, limits, state: RefCell::default(), coarse, swept: Cell::new(Instant::now()) })
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.target.name
    }

    /// What a server connection of this pool reported first; nothing before there was one.
    pub fn parameters(&self) -> Rc<[Report]> {
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
    pub(super) fn time(&self) -> Instant {
        if self.coarse { self.swept.get() } else { Instant::now() }
    }

    pub(super) fn lease(self: &Rc<Self>, connection: Connection, payer: Payer) -> Lease {
        if self.limits.per_tenant.is_some() {
            let mut state = self.state.borrow_mut();
            let held = state.held.entry(payer.clone()).or_default();
            *held = held.saturating_add(1);
        }
        Lease { pool: self.clone(), payer, connection: Some(connection) }
    }

    /// A lease has ended.
    pub(super) fn returned(&self, payer: &Payer) {
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

    /// A place in the queue. [`Waiter::poll`] says when its turn has come, which may be at once: who waits may have given
    /// a connection back a moment ago. It ends with [`Pool::leave`].
    pub fn wait(self: &Rc<Self>, payer: Payer) -> Rc<Waiter> {
        let waiter = Waiter::new(payer);
        self.state.borrow_mut().queue.push(waiter.clone());
        // One that is being asked whether it still lives is for him, if it does.
        let asked = self.state.borrow().checking > 0;
        if asked {
            self.connect_for_waiting()
        } else {
            self.serve()
        }
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

    pub(super) fn close(self: &Rc<Self>, connection: Connection) {
        connection.stream.part(request::TERMINATE);
        self.closed();
    }

    pub(super) fn closed(self: &Rc<Self>) {
        {
            let mut state = self.state.borrow_mut();
            state.open = state.open.saturating_sub(1);
        }
        self.serve();
    }

    /// Hands a connection to him whose turn it is, or keeps it.
    pub(super) fn put(self: &Rc<Self>, mut connection: Connection) {
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
    pub(super) fn serve(self: &Rc<Self>) {
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
        if self.queue.len() == 0 {
            return None;
        }
        let mut queue = std::mem::take(&mut self.queue);
        let waiter = queue.pop(|payer| self.may(limits, payer));
        self.queue = queue;
        waiter
    }

    /// Whether one more connection is wanted, and may be opened.
    pub(super) fn lacks(&self, limits: &Limits) -> bool {
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
