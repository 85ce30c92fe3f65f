//! What the sessions of a worker share.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Settings;
use super::handle::Handle;
use super::held::Holding;
use super::interned::Interned;
use super::observe::Auditor;
use super::registry::Registry;
use super::reported::Reported;
use super::statements::StatementTable;
use super::tokens::VerifiedTokens;
use crate::config::model::{self as config, PoolMode};
use crate::plan::{PlanTable, Planner, TextTable};
use crate::pool::{Counts, Limits, Pool, Target};
use crate::session::Terms;
use crate::session::handshake::TlsOffer;
use crate::sql;
use crate::sql::Normaliser;
use crate::wire::frame::FrameLimits;

/// Bytes that are read at once. Each read of a stream that has filled its window costs an acknowledgement: with 16 KiB that
/// was a third of a COPY's CPU. More than 64 KiB gains nothing.
const SCRATCH: usize = 64 * 1024;
/// How long a server connection that was idle may take to show that it lives.
const LONGEST_CHECK: Duration = Duration::from_secs(5);

/// A worker.
pub struct Worker {
    pub(super) index: usize,
    pub(super) settings: Arc<Settings>,
    pub(super) registry: Arc<Registry>,
    pub(super) databases: Vec<Rc<Database>>,
    pub(super) auditor: RefCell<Box<dyn Auditor>>,
    pub(super) normaliser: RefCell<Normaliser>,
    pub(super) tokens: RefCell<VerifiedTokens>,
    pub(super) limits: sql::Limits,
    pub(super) terms: Terms,
    /// The read buffer that all sessions share.
    pub(super) scratch: RefCell<Box<[u8]>>,
    /// What the session that works says to its client and to its server connection.
    pub(super) outs: RefCell<(Vec<u8>, Vec<u8>)>,
    pub(super) stopping: Cell<Stopping>,
    started: Instant,
    /// Microseconds from 1970 to `started`, as the system's clock had it when it was last asked.
    wall: Cell<u64>,
    /// The clock as it was read for the session that is being polled.
    moment: Cell<Option<u64>>,
    /// When the first deadline is, on that clock, if not before.
    pub(super) due: Cell<u64>,
    /// When a stop is no longer gentle.
    pub(super) stop_by: Cell<Option<u64>>,
    pub(super) sessions: RefCell<HashMap<u64, Rc<Handle>>>,
    pub(super) next_session: Cell<u64>,
}

/// A database as one worker sees it.
pub struct Database {
    pub(super) name: Arc<str>,
    pub(super) planner: Arc<Planner>,
    pub(super) table: RefCell<PlanTable>,
    pub(super) texts: RefCell<TextTable>,
    pub(super) pool: Rc<Pool>,
    pub(super) holding: Holding,
    pub(super) interned: RefCell<Interned>,
    pub(super) reported: RefCell<Reported>,
    pub(super) statements: RefCell<StatementTable>,
}

impl Database {
    fn new(
        target: Target,
        planner: Arc<Planner>,
        configured: &config::Database,
        general: &config::General,
    ) -> Self {
        let size = configured.pool_size.unwrap_or(general.default_pool_size).max(1);
        let limits = Limits {
            size,
            least: configured.min_pool_size.unwrap_or(general.min_pool_size).min(size),
            reserve: configured.reserve_pool_size.unwrap_or(general.reserve_pool_size),
            reserve_timeout: general.reserve_timeout,
            per_tenant: configured.max_tenant_connections.or(general.max_tenant_connections),
            idle_timeout: general.idle_timeout,
            server_lifetime: general.server_lifetime,
            check_delay: general.server_check_delay,
            check_timeout: general.server_connect_timeout.min(LONGEST_CHECK),
        };
        let table = PlanTable::new(planner.clone(), general.plan_cache_entries, general.plan_cache_bytes);
        Self {
            name: target.name.clone(),
            planner,
            table: RefCell::new(table),
            texts: RefCell::default(),
            holding: Holding::at_most(general.max_pinned.unwrap_or_else(|| most_pinned(size))),
            pool: Pool::new(Rc::new(target), limits),
            interned: RefCell::default(),
            reported: RefCell::default(),
            statements: RefCell::default(),
        }
    }
}

/// A quarter of a pool, and one connection at least, is left to clients that keep none.
fn most_pinned(size: usize) -> usize {
    size.saturating_sub((size / 4).max(1)).max(1)
}

/// How far a worker is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopping {
    /// It runs.
    No,
    /// Sessions end when their transaction has.
    Gently,
    /// Sessions end.
    Now,
}

impl Worker {
    pub(super) fn new(
        index: usize,
        settings: &Arc<Settings>,
        registry: &Arc<Registry>,
        auditor: Box<dyn Auditor>,
    ) -> Self {
        let general = &settings.config.general;
        let configured = settings.targets.iter().zip(&settings.planners).zip(&settings.config.databases);
        let database = |((target, planner), configured): ((&Target, &Arc<Planner>), &config::Database)| {
            Rc::new(Database::new(target.clone(), planner.clone(), configured, general))
        };
        let databases = configured.map(database).collect();
        let limits = sql::Limits { max_bytes: general.max_statement_bytes, ..sql::Limits::default() };
        let terms = Terms {
            tls: TlsOffer::Never,
            limits: FrameLimits { statement: general.max_statement_bytes, value: general.max_bind_bytes },
            lease_per_session: general.pool_mode == PoolMode::Session,
            application_name: general.track_application_name,
        };
        Self {
            index,
            databases,
            auditor: RefCell::new(auditor),
            normaliser: RefCell::new(Normaliser::new(limits)),
            tokens: RefCell::default(),
            limits,
            terms,
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            outs: RefCell::default(),
            stopping: Cell::new(Stopping::No),
            started: Instant::now(),
            wall: Cell::new(wall_clock()),
            moment: Cell::default(),
            due: Cell::new(u64::MAX),
            stop_by: Cell::default(),
            sessions: RefCell::default(),
            next_session: Cell::new(0),
            registry: registry.clone(),
            settings: settings.clone(),
        }
    }

    /// Once a second.
    pub(super) fn sweep(&self) {
        self.forget_time();
        self.wall.set(wall_clock().saturating_sub(self.clock()));
        for database in &self.databases {
            database.pool.sweep();
        }
        self.count_pools();
    }

    fn count_pools(&self) {
        let held = self.databases.iter().fold(0_usize, |sum, db| sum.saturating_add(db.holding.kept()));
        self.settings.metrics.held(self.index, held);
        let (mut all_idle, mut leased, mut all_waiting) = (0_usize, 0_usize, 0_usize);
        for database in &self.databases {
            let Counts { open, idle, waiting, .. } = database.pool.counts();
            all_idle = all_idle.saturating_add(idle);
            leased = leased.saturating_add(open.saturating_sub(idle));
            all_waiting = all_waiting.saturating_add(waiting);
        }
        self.settings.metrics.pools(self.index, all_idle, leased, all_waiting);
    }

    /// Sessions end when their transaction has, and all of them after this.
    pub(super) fn stop(&self, grace: Duration) {
        self.stopping.set(Stopping::Gently);
        let at = self.after(grace);
        self.stop_by.set(Some(at));
        self.wake_at(at);
        self.wake_all();
    }

    /// Cancels what a session runs.
    pub(super) fn cancel(&self, session: u64) {
        let handle = self.sessions.borrow().get(&session).cloned();
        if let Some(handle) = handle {
            handle.cancel();
        }
    }

    /// Who may do what has changed: every session is looked at.
    pub(super) fn review(&self) {
        for handle in self.sessions.borrow().values() {
            handle.review.set(true);
            handle.wake();
        }
    }

    pub(super) fn wake_all(&self) {
        for handle in self.sessions.borrow().values() {
            handle.wake();
        }
    }

    /// The [`Self::clock`] after so long.
    pub(super) fn after(&self, patience: Duration) -> u64 {
        self.clock().saturating_add(u64::try_from(patience.as_micros()).unwrap_or(u64::MAX))
    }

    /// Somebody's deadline is then: the loop looks at all deadlines when the first one has come.
    pub(super) fn wake_at(&self, at: u64) {
        self.due.set(self.due.get().min(at));
    }

    /// A database by its configured name.
    pub(super) fn database(&self, name: &str) -> Option<&Rc<Database>> {
        self.databases.iter().find(|database| *database.name == *name)
    }

    /// Microseconds since the worker began. The clock is read once for each time a session is polled.
    pub(super) fn clock(&self) -> u64 {
        self.moment.get().unwrap_or_else(|| {
            let passed = self.started.elapsed();
            let seconds = passed.as_secs().saturating_mul(1_000_000);
            let now = seconds.saturating_add(u64::from(passed.subsec_micros()));
            self.moment.set(Some(now));
            now
        })
    }

    /// Another session's turn has come.
    pub(super) fn forget_time(&self) {
        self.moment.set(None);
    }

    /// Microseconds since 1970: the same clock, set by the system's every second.
    pub(super) fn wall(&self) -> u64 {
        self.wall.get().saturating_add(self.clock())
    }
}

/// Microseconds since 1970 by the system's clock.
fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
