//! A worker's thread.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::Settings;
use super::observe::{Auditor, Silent};
use super::orders::Received;
use super::registry::Registry;
use super::shared::{Stopping, Worker};
use super::turns;
use super::woken::Woken;
use crate::pool::Reactor;

/// So that a worker that panics at once does not do so without a pause.
const BEFORE_ANOTHER: Duration = Duration::from_millis(100);

/// What a worker's thread begins with, and begins with again after a panic.
#[derive(Debug)]
pub struct Seed {
    /// Its number.
    pub index: usize,
    /// The settings.
    pub settings: Arc<Settings>,
    /// Cancel keys.
    pub registry: Arc<Registry>,
}

/// Runs a worker until it is told to stop and its sessions have ended. A panic outside of a session ends all
/// sessions of the worker; another takes its place on the same thread.
pub fn work(seed: &Seed, mut auditor: Box<dyn Auditor>, mut received: Received) {
    loop {
        let (runtime, reactor, waker) = match begin(seed.index) {
            Ok(begun) => begun,
            // Out of file descriptors, most likely: they come back as clients go.
            Err(error) => {
                tracing::error!(%error, "a worker cannot start yet");
                std::thread::sleep(BEFORE_ANOTHER);
                continue;
            }
        };
        let woken = Woken::new(waker);
        let worker = Rc::new(Worker::new(seed.index, &seed.settings, &seed.registry, auditor));
        let panicked = {
            let (_runtime, _reactor) = (runtime.enter(), reactor.enter());
            // Sessions give back what they have reserved.
            let turns = AssertUnwindSafe(|| turns::run(&worker, &reactor, &woken, &mut received));
            std::panic::catch_unwind(turns).is_err()
        };
        runtime.shutdown_background();
        if !panicked || worker.stopping.get() != Stopping::No {
            return;
        }
        seed.settings.metrics.worker_died();
        tracing::error!(
            worker = seed.index,
            "a worker panicked: its sessions are lost, another takes its place"
        );
        auditor = worker.auditor.replace(Box::new(Silent));
        std::thread::sleep(BEFORE_ANOTHER);
    }
}

/// What watches the sockets: the runtime those that are being connected and the timers of slow tasks, the reactor all
/// others.
fn begin(index: usize) -> std::io::Result<(Runtime, Rc<Reactor>, mio::Waker)> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).thread_name(format!("slow-{index}")).enable_all().build()?;
    let reactor = Reactor::new()?;
    let waker = reactor.waker()?;
    Ok((runtime, reactor, waker))
}
