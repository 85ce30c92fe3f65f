//! Who has to be looked at because something else than a socket has happened: a plan has come, a lease is given, a
//! cancel is asked for. It may happen on any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Wake, Waker};

use parking_lot::Mutex;

/// The seats that were woken.
#[derive(Debug)]
pub(super) struct Woken {
    seats: Mutex<Vec<usize>>,
    /// The worker waits, or is about to.
    asleep: AtomicBool,
    waker: mio::Waker,
}

/// Wakes one seat.
#[derive(Debug)]
struct OfSeat {
    woken: Arc<Woken>,
    seat: usize,
}

impl Woken {
    pub(super) fn new(waker: mio::Waker) -> Arc<Self> {
        Arc::new(Self { seats: Mutex::default(), asleep: AtomicBool::new(false), waker })
    }

    /// What wakes a seat.
    pub(super) fn waker(self: &Arc<Self>, seat: usize) -> Waker {
        Arc::new(OfSeat { woken: self.clone(), seat }).into()
    }

    /// Gives those that were woken since the last time.
    pub(super) fn take(&self, into: &mut Vec<usize>) {
        std::mem::swap(&mut *self.seats.lock(), into);
    }

    /// The worker is about to wait: false if it must not, since somebody was woken.
    pub(super) fn falls_asleep(&self) -> bool {
        self.asleep.store(true, SeqCst);
        self.seats.lock().is_empty()
    }

    /// The worker does not wait any more.
    pub(super) fn awakes(&self) {
        self.asleep.store(false, SeqCst);
    }

    fn wake(&self, seat: usize) {
        self.seats.lock().push(seat);
        if self.asleep.swap(false, SeqCst)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a worker cannot be woken");
        }
    }
}

impl Wake for OfSeat {
    fn wake(self: Arc<Self>) {
        self.woken.wake(self.seat);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.wake(self.seat);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pool::Reactor;

    #[test]
    fn seat_that_is_woken_by_another_thread_ends_the_wait() {
        let reactor = Reactor::new().unwrap();
        let woken = Woken::new(reactor.waker().unwrap());
        let waker = woken.waker(7);
        assert!(woken.falls_asleep());
        let other = std::thread::spawn(move || waker.wake());
        reactor.turn(Some(Duration::from_secs(60)), |_| ()).unwrap();
        woken.awakes();
        other.join().unwrap();
        let mut seats = Vec::new();
        woken.take(&mut seats);
        assert_eq!(seats, [7]);
        woken.waker(8).wake_by_ref();
        assert!(!woken.falls_asleep());
    }
}
