//! Who plans what no cache knows: threads with large stacks, one flight per shape, one world at a time.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, oneshot};

use super::cache::SharedCache;
use super::queue::{Bounds, Queue};
use super::{Outcome, Plan, Request};
use crate::policy::{Refusal, Rule, SqlState};
use crate::sql::{Planned, Statement, World};
use crate::vital;

/// What a planner may use.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Shapes in the shared cache.
    pub entries: usize,
    /// Bytes of the shared cache.
    pub bytes: usize,
    /// Planning threads, at least one.
    pub threads: usize,
    /// Stack of a planning thread, in bytes. PostgreSQL's parser and this crate's walks recurse.
    pub stack_bytes: usize,
    /// How long a statement waits for its plan. Beyond: 54001.
    pub patience: Duration,
}

impl Default for Settings {
    /// 10 000 shapes, 64 MiB, two threads of 64 MiB stack, 10 s.
    fn default() -> Self {
        Self {
            entries: 10_000,
            bytes: 64 << 20,
            threads: 2,
            stack_bytes: 64 << 20,
            patience: Duration::from_secs(10),
        }
    }
}

/// Statements of one lane, and of all, that wait for a planning thread.
const LANE_WAITING: usize = 256;
const ALL_WAITING: usize = 4_096;

/// Plans one statement.
pub type PlanFunction = dyn Fn(&World, &str, &Statement<'_>) -> Result<Planned, Refusal> + Send + Sync;

/// Plans statements for the workers and keeps what it found out. One per database.
pub struct Planner {
    shared: Arc<Shared>,
    patience: Duration,
    /// Worlds are taken one after the other.
    worlds: Mutex<()>,
}

/// What the planner counted since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Requests that the shared cache answered with a plan.
    pub hits: u64,
    /// Requests that it answered with a refusal.
    pub refusal_hits: u64,
    /// Statements that a planning thread planned.
    pub planned: u64,
    /// Statements whose planning panicked.
    pub panics: u64,
    /// Requests that found the queue full or were not answered in time.
    pub overloaded: u64,
    /// Entries that were pushed out of the shared cache.
    pub evictions: u64,
    /// Entries of the shared cache.
    pub entries: u64,
    /// Bytes of the shared cache (an estimate).
    pub bytes: u64,
    /// Statements that wait for a planning thread.
    pub waiting: u64,
}

struct Shared {
    current: ArcSwap<Current>,
    generation: AtomicU64,
    /// A server's error made somebody doubt that the world is still the server's.
    doubted: AtomicBool,
    cache: SharedCache,
    queue: Queue<Job>,
    flights: Mutex<HashMap<FlightKey, Arc<Notify>>>,
    plan: Box<PlanFunction>,
    next_id: AtomicU64,
    hits: AtomicU64,
    refusal_hits: AtomicU64,
    planned: AtomicU64,
    panics: AtomicU64,
    overloaded: AtomicU64,
}

/// A world and its number.
struct Current {
    world: World,
    generation: u64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct FlightKey {
    generation: u64,
    role: Arc<str>,
    shape: String,
}

struct Job {
    request: Request,
    current: Arc<Current>,
    reply: oneshot::Sender<Outcome>,
    /// Wakes those who wait for the same shape when it is dropped.
    flight: Option<Flight>,
}

struct Flight {
    shared: Arc<Shared>,
    key: FlightKey,
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(notify) = self.shared.flights.lock().remove(&self.key) {
            notify.notify_waiters();
        }
    }
}

/// Gives a lane back, also where its work panics.
struct Done<'a>(&'a Shared, Arc<str>);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.queue.done(&self.1);
    }
}

/// Whether somebody else plans the same shape already.
enum Boarding {
    First(Flight),
    Wait(OwnedNotified),
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

impl Drop for Planner {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl Planner {
    /// A planner with its threads. Fails where a thread cannot be started.
    pub fn new(world: World, settings: Settings) -> std::io::Result<Self> {
        Self::with_function(world, settings, Box::new(crate::sql::plan))
    }

    /// The same with another function in the place of [`crate::sql::plan`], to see what the planner does around
    /// it.
    pub fn with_function(world: World, settings: Settings, plan: Box<PlanFunction>) -> std::io::Result<Self> {
        let threads = settings.threads.max(1);
        let bounds =
            Bounds { lane: LANE_WAITING, total: ALL_WAITING, running: threads.saturating_sub(1).max(1) };
        let shared = Arc::new(Shared {
            current: ArcSwap::from_pointee(Current { world, generation: 1 }),
            generation: AtomicU64::new(1),
            doubted: AtomicBool::new(false),
            cache: SharedCache::new(settings.entries, settings.bytes),
            queue: Queue::new(bounds),
            flights: Mutex::new(HashMap::new()),
            plan,
            next_id: AtomicU64::new(1),
            hits: AtomicU64::new(0),
            refusal_hits: AtomicU64::new(0),
            planned: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            overloaded: AtomicU64::new(0),
        });
        let planner = Self { shared: shared.clone(), patience: settings.patience, worlds: Mutex::new(()) };
        for number in 0..threads {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name(format!("planner-{number}"))
                .stack_size(settings.stack_bytes)
                .spawn(move || vital::keep("planner", || shared.work()))?;
        }
        Ok(planner)
    }

    /// The world that statements are planned against now.
    pub fn world(&self) -> World {
        self.shared.current.load().world.clone()
    }

    /// Numbers the worlds of this planner: plans of another generation are not used.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Tells that a server has not what a statement was planned with.
    pub fn doubt(&self) {
        self.shared.doubted.store(true, Ordering::Relaxed);
    }

    /// Whether that was told since the last time.
    pub fn take_doubt(&self) -> bool {
        self.shared.doubted.swap(false, Ordering::Relaxed)
    }

    /// Takes another catalog or policy. Everything that was planned is forgotten, unless both are the same as
    /// before by their epochs.
    pub fn set_world(&self, world: World) {
        let _turn = self.worlds.lock();
        let before = self.shared.current.load();
        if before.world.catalog.epoch == world.catalog.epoch
            && before.world.policy.epoch == world.policy.epoch
        {
            return;
        }
        let generation = before.generation.saturating_add(1);
        self.shared.current.store(Arc::new(Current { world, generation }));
        self.shared.generation.store(generation, Ordering::Release);
        self.shared.cache.clear();
    }

    /// The plan of a statement, from the shared cache or from a planning thread. Clients that ask for the same
    /// shape at the same time wait for one planning.
    ///
    /// Beside the statement's own refusals: 53400 where too many statements wait, 54001 where planning takes
    /// too long, XX000 where it panicked. Needs a tokio runtime with a timer.
    pub async fn plan(&self, request: Request) -> Outcome {
        let current = self.shared.current.load_full();
        if let Some(known) = self.shared.known(current.generation, &request) {
            return known;
        }
        let (reply, answer) = oneshot::channel();
        let waiting = async {
            let flight = match self.shared.board(current.generation, &request) {
                Boarding::First(flight) => Some(flight),
                Boarding::Wait(landed) => {
                    landed.await;
                    if let Some(known) = self.shared.known(current.generation, &request) {
                        return Some(known);
                    }
                    None
                }
            };
            let lane = request.lane.clone();
            let job = Job { request, current, reply, flight };
            if self.shared.queue.push(&lane, job).is_err() {
                return None;
            }
            answer.await.ok()
        };
        match tokio::time::timeout(self.patience, waiting).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => {
                self.shared.overloaded.fetch_add(1, Ordering::Relaxed);
                Err(Arc::new(
                    Refusal::new(
                        SqlState("53400"),
                        Rule("planner"),
                        "too many statements wait to be planned",
                    )
                    .hint("Try again."),
                ))
            }
            Err(_) => {
                self.shared.overloaded.fetch_add(1, Ordering::Relaxed);
                let message = format!("planning took longer than {:?}", self.patience);
                Err(Arc::new(Refusal::new(SqlState::TOO_COMPLEX, Rule("planner"), message)))
            }
        }
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let shared = &self.shared;
        Counters {
            hits: count(&shared.hits),
            refusal_hits: count(&shared.refusal_hits),
            planned: count(&shared.planned),
            panics: count(&shared.panics),
            overloaded: count(&shared.overloaded),
            evictions: shared.cache.evictions(),
            entries: number(shared.cache.entries()),
            bytes: shared.cache.bytes(),
            waiting: number(shared.queue.waiting()),
        }
    }
}

impl Shared {
    fn known(&self, generation: u64, request: &Request) -> Option<Outcome> {
        if let Some(plan) = self.cache.plan(generation, request) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Some(Ok(plan));
        }
        let refusal = self.cache.refusal(generation, request)?;
        self.refusal_hits.fetch_add(1, Ordering::Relaxed);
        Some(Err(refusal))
    }

    fn board(self: &Arc<Self>, generation: u64, request: &Request) -> Boarding {
        let key = FlightKey { generation, role: request.role.clone(), shape: request.shape.clone() };
        let mut flights = self.flights.lock();
        if let Some(notify) = flights.get(&key) {
            return Boarding::Wait(notify.clone().notified_owned());
        }
        flights.insert(key.clone(), Arc::new(Notify::new()));
        Boarding::First(Flight { shared: self.clone(), key })
    }

    /// A planning thread's life.
    fn work(&self) {
        while let Some((lane, job)) = self.queue.pop() {
            let done = Done(self, lane);
            if !job.reply.is_closed() || job.flight.is_some() {
                let outcome =
                    self.known(job.current.generation, &job.request).unwrap_or_else(|| self.fly(&job));
                // The client may have gone meanwhile; what was found out is kept all the same.
                let _ = job.reply.send(outcome);
            }
            drop(job.flight);
            drop(done);
        }
    }

    fn fly(&self, job: &Job) -> Outcome {
        self.planned.fetch_add(1, Ordering::Relaxed);
        let Current { world, generation } = &*job.current;
        let planning = || (self.plan)(world, &job.request.role, &job.request.statement());
        match catch_unwind(AssertUnwindSafe(planning)) {
            Ok(result) => {
                let id = || self.next_id.fetch_add(1, Ordering::Relaxed);
                let outcome =
                    result.map(|planned| Arc::new(Plan::new(id(), *generation, planned))).map_err(Arc::new);
                self.cache.keep(*generation, &job.request, &outcome);
                outcome
            }
            Err(_) => {
                self.panics.fetch_add(1, Ordering::Relaxed);
                Err(Arc::new(Refusal::new(SqlState::INTERNAL, Rule("planner"), "planning failed")))
            }
        }
    }
}
