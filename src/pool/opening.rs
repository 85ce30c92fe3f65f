//! Opening server connections: as many as are wanted and allowed, later and later while the server cannot be
//! reached.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::cancel::CancelKey;
use super::connect::{ConnectError, Connected};
use super::connections::{Connection, Pool};

impl Pool {
    /// Opens a first connection ahead of need, so that its parameters are known, and those that are kept open.
    pub fn warm_up(self: &Rc<Self>) {
        self.fill(self.limits.least.max(1));
    }

    pub(super) fn fill(self: &Rc<Self>, least: usize) {
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

    pub(super) fn connect_for_waiting(self: &Rc<Self>) {
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
            let mut connected = pool.target.connect().await;
            if let Ok(new) = &mut connected
                && let Err(error) = new.stream.take_over()
            {
                connected = Err(error.into());
            }
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
                state.parameters = connected.server.pinned.as_slice().into();
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
