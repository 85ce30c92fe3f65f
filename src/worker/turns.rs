//! A worker's loop: it waits for its sockets, and lets those sessions work to whom something has happened. What is
//! slow and rare (connecting, cancels, checks) runs as tasks beside it, whose sockets and timers a runtime watches.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::LocalSet;

use super::client::{Client, Origin};
use super::handle::Handle;
use super::orders::{Arrival, Order, Received};
use super::shared::{Stopping, Worker};
use super::woken::Woken;
use crate::pool::Reactor;
use crate::pool::tcp::Tcp;

/// The pools are swept so often, microseconds.
const SWEEP: u64 = 1_000_000;
/// The seat of the slow tasks and the orders.
const SLOW: usize = usize::MAX;

/// The sessions of a worker.
struct Seats {
    taken: Vec<Option<Box<Seat>>>,
    free: Vec<usize>,
}

struct Seat {
    client: Client,
    waker: Waker,
    present: Present,
}

/// What the loop goes by.
struct Turns<'a> {
    worker: &'a Rc<Worker>,
    reactor: &'a Reactor,
    woken: &'a Arc<Woken>,
    received: &'a mut Received,
    seats: Seats,
    listening: bool,
    swept: u64,
}

/// Runs until the worker is told to stop and its sessions have ended.
pub(super) fn run(worker: &Rc<Worker>, reactor: &Reactor, woken: &Arc<Woken>, received: &mut Received) {
    let mut slow = pin!(LocalSet::new());
    let _entered = slow.enter();
    for database in &worker.databases {
        database.pool.warm_up();
    }
    let seats = Seats { taken: Vec::new(), free: Vec::new() };
    let mut turns = Turns { worker, reactor, woken, received, seats, listening: true, swept: 0 };
    let slow_waker = woken.waker(SLOW);
    slow_waker.wake_by_ref();
    let (mut ready, mut happened) = (Vec::new(), Vec::new());
    while !turns.are_over() {
        woken.take(&mut ready);
        for seat in ready.drain(..).chain(happened.drain(..)) {
            match seat {
                SLOW => {
                    let mut cx = Context::from_waker(&slow_waker);
                    turns.obey(&mut cx);
                    let _ = slow.as_mut().poll(&mut cx);
                }
                seat => turns.let_work(seat),
            }
        }
        turns.look_at_the_clock();
        turns.wait(&mut happened);
    }
}

impl Turns<'_> {
    fn are_over(&self) -> bool {
        self.worker.stopping.get() != Stopping::No && self.seats.are_empty()
    }

    fn wait(&mut self, happened: &mut Vec<usize>) {
        let patience = match self.woken.falls_asleep() {
            true => self.patience(),
            false => Duration::ZERO,
        };
        if let Err(error) = self.reactor.turn(Some(patience), |owner| happened.push(owner)) {
            tracing::error!(%error, "a worker cannot wait for its sockets");
            std::thread::sleep(Duration::from_millis(100));
        }
        self.woken.awakes();
        self.worker.forget_time();
    }

    /// Until the next sweep, or something is due before.
    fn patience(&self) -> Duration {
        let next = self.swept.saturating_add(SWEEP).min(self.worker.due.get());
        Duration::from_micros(next.saturating_sub(self.worker.clock()))
    }

    fn look_at_the_clock(&mut self) {
        let now = self.worker.clock();
        if now >= self.worker.due.get() {
            self.serve_due(now);
        }
        if now.saturating_sub(self.swept) >= SWEEP {
            self.swept = now;
            self.reactor.sweep();
            self.worker.sweep();
        }
    }

    /// Somebody's deadline has passed, or had been set and is none any more.
    fn serve_due(&mut self, now: u64) {
        self.worker.due.set(u64::MAX);
        if self.worker.stop_by.get().is_some_and(|at| at <= now) {
            self.worker.stop_by.set(None);
            self.worker.stopping.set(Stopping::Now);
            self.worker.wake_all();
        } else if let Some(at) = self.worker.stop_by.get() {
            self.worker.wake_at(at);
        }
        for seat in 0..self.seats.taken.len() {
            let deadline = self.seats.taken.get(seat).and_then(|seat| seat.as_ref()?.client.deadline());
            match deadline {
                Some(at) if at <= now => self.let_work(seat),
                Some(at) => self.worker.wake_at(at),
                None => {}
            }
        }
    }

    /// What the worker was told from outside.
    fn obey(&mut self, cx: &mut Context<'_>) {
        while self.listening {
            match self.received.receiver.poll_recv(cx) {
                Poll::Ready(Some(Order::Client(arrival))) => self.admit(arrival),
                Poll::Ready(Some(Order::Cancel(session))) => self.worker.cancel(session),
                Poll::Ready(Some(Order::Review)) => self.worker.review(),
                Poll::Ready(Some(Order::Stop(grace))) => self.worker.stop(grace),
                Poll::Ready(None) => self.listening = false,
                Poll::Pending => return,
            }
        }
    }

    fn admit(&mut self, arrival: Arrival) {
        let Arrival { socket, peer, offer } = arrival;
        let worker = self.worker;
        let present = Present::new(worker.clone(), self.received.clients.clone());
        worker.settings.metrics.client_connected();
        // A socket that takes no option is about to fail anyway.
        let _ = socket.set_nodelay(true);
        let _ = super::keepalive(&worker.settings.config.general).apply(&socket);
        let tcp = match Tcp::of_thread(socket) {
            Ok(tcp) => tcp,
            Err(error) => {
                tracing::warn!(%error, "a client's socket cannot be watched");
                return;
            }
        };
        let at = self.seats.free.pop().unwrap_or(self.seats.taken.len());
        tcp.belongs_to(Some(at));
        let waker = self.woken.waker(at);
        let handle = Rc::new(Handle::new(waker.clone()));
        worker.sessions.borrow_mut().insert(present.id, handle.clone());
        let client = Client::new(worker.clone(), (present.id, at), handle, tcp, Origin { peer, offer });
        let seat = Some(Box::new(Seat { client, waker, present }));
        match self.seats.taken.get_mut(at) {
            Some(place) => *place = seat,
            None => self.seats.taken.push(seat),
        }
        self.let_work(at);
    }

    /// Lets a session work as far as it goes. A panic ends that session alone: its lease is dropped, and the server
    /// connection closed.
    fn let_work(&mut self, at: usize) {
        let Some(mut seat) = self.seats.taken.get_mut(at).and_then(Option::take) else { return };
        let mut cx = Context::from_waker(&seat.waker);
        let work = AssertUnwindSafe(|| {
            #[cfg(test)]
            if self.worker.settings.metrics.is_dropped(seat.present.id) {
                return Poll::Ready(());
            }
            seat.client.work(&mut cx)
        });
        match std::panic::catch_unwind(work) {
            Ok(Poll::Pending) => {
                if let Some(place) = self.seats.taken.get_mut(at) {
                    *place = Some(seat);
                }
                return;
            }
            Ok(Poll::Ready(())) => {}
            Err(_) => {
                self.worker.settings.metrics.panicked();
                tracing::error!(session = seat.present.id, "a session panicked");
            }
        }
        self.seats.free.push(at);
    }
}

impl Seats {
    fn are_empty(&self) -> bool {
        self.free.len() == self.taken.len()
    }
}

/// Counts a client for as long as it is there, also after a panic.
struct Present {
    clients: Arc<AtomicUsize>,
    worker: Rc<Worker>,
    id: u64,
}

impl Present {
    /// The next session.
    fn new(worker: Rc<Worker>, clients: Arc<AtomicUsize>) -> Self {
        let id = worker.next_session.get();
        worker.next_session.set(id.wrapping_add(1));
        Self { clients, worker, id }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.worker.sessions.borrow_mut().remove(&self.id);
        self.worker.settings.metrics.client_gone();
        self.clients.fetch_sub(1, Relaxed);
    }
}
