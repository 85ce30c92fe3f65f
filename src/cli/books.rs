//! What workers account for, put into the audit log and the metrics.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::audit::{self, Event, Ring, Verdict};
use crate::auth::{AuthError, Principal};
use crate::metrics;
use crate::policy::Refusal;
use crate::session::host::{self, Account};
use crate::sql::Witnessed;
use crate::worker::observe::{self, Auditor};
use crate::worker::registry::Cancelled;

/// Rules of statements whose rewritten text did not pass.
const ALARMS: [&str; 2] = ["verify", "witness"];

/// Sessions are numbered by each worker; its number stands above theirs (and JSON's numbers stay exact).
const WORKER_SHIFT: u32 = 40;

/// Keeps one worker's books.
#[derive(Debug)]
pub(super) struct Books {
    ring: Ring,
    worker: u64,
    metrics: Arc<metrics::Metrics>,
    quarantine: Option<Arc<Quarantine>>,
}

impl Books {
    pub(super) fn new(
        ring: Ring,
        worker: u64,
        metrics: Arc<metrics::Metrics>,
        quarantine: Option<Arc<Quarantine>>,
    ) -> Self {
        Self { ring, worker: worker << WORKER_SHIFT, metrics, quarantine }
    }

    fn event(&self, session: u64, account: &Account<'_>, now: u64, verdict: Verdict) -> Event {
        Event::of(account.who, self.worker | session, account.tenant, now, verdict)
    }
}

/// Microseconds since 1970.
fn now() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Auditor for Books {
    fn reserve(&mut self) -> bool {
        self.ring.reserve()
    }

    fn release(&mut self) {
        self.ring.release();
    }

    fn settle(&mut self, session: u64, account: &Account<'_>, now: u64, duration_us: u64) {
        let host::Verdict::Ran { plan, rows, error, .. } = &account.verdict else {
            return self.ring.release();
        };
        if plan.planned.decision.witnessed == Witnessed::CannotRead {
            self.metrics.witness_unread.inc();
        }
        let error = error.and_then(|code| code.try_into().ok());
        let verdict = Verdict::Ran { plan: (*plan).clone(), rows: *rows, error, duration: duration_us };
        let event = self.event(session, account, now, verdict);
        self.ring.settle(event);
    }

    fn raised(&mut self, session: u64, account: &Account<'_>) {
        let host::Verdict::Raised { plan, refusal } = &account.verdict else {
            return self.ring.release();
        };
        let statement = audit::statement(plan);
        let event = self.event(session, account, now(), Verdict::refused(refusal, Some(&statement)));
        self.ring.settle(event);
    }

    fn refused(&mut self, session: u64, account: &Account<'_>) {
        let host::Verdict::Refused { refusal, text } = &account.verdict else { return };
        if ALARMS.contains(&refusal.rule.0) {
            self.metrics.verify_failures.inc();
        }
        if let Some(quarantine) = &self.quarantine {
            quarantine.keep(refusal);
        }
        let event = self.event(session, account, now(), Verdict::refused(refusal, *text));
        // Without room the refusal stands all the same; that there was none is counted.
        let _ = self.ring.push(event);
    }

    fn logged_in(&mut self, session: u64, who: &Principal) -> bool {
        let event = Event::of(who, self.worker | session, None, now(), Verdict::LoggedIn);
        let written = self.ring.push(event).is_ok();
        if written {
            self.metrics.logins.inc();
        }
        written
    }

    fn login_refused(&mut self, session: u64, user: &str, database: &str, error: AuthError) {
        self.metrics.login_failures.inc();
        let event = Event {
            time: now(),
            session: self.worker | session,
            user: user.into(),
            role: "".into(),
            database: database.into(),
            tenant: None,
            verdict: Verdict::LoginRefused { state: error.state(), reason: error.to_string().into() },
        };
        // Without room the client is turned away all the same.
        let _ = self.ring.push(event);
    }
}

/// The file of statements whose rewritten text did not pass verification: one line of JSON each.
#[derive(Debug)]
pub(super) struct Quarantine(Mutex<File>);

impl Quarantine {
    /// Opens the file to append to.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self(Mutex::new(file)))
    }

    fn keep(&self, refusal: &Refusal) {
        let Some(texts) = &refusal.quarantined else { return };
        let line = serde_json::json!({
            "rule": refusal.rule.0,
            "reason": texts.reason,
            "original": texts.original,
            "rewritten": texts.rewritten,
        });
        if let Err(error) = writeln!(self.0.lock(), "{line}") {
            tracing::error!(%error, "the quarantine file cannot be written");
        }
    }
}

/// The metrics as workers count them.
#[derive(Debug)]
pub(super) struct Counting {
    metrics: Arc<metrics::Metrics>,
    /// Idle and leased connections and waiting clients of each worker.
    pools: Mutex<Vec<[usize; 3]>>,
    /// Connections of each worker that are kept for cursors.
    held: Mutex<Vec<usize>>,
}

impl Counting {
    pub(super) fn new(metrics: Arc<metrics::Metrics>, workers: usize) -> Self {
        Self { metrics, pools: Mutex::new(vec![[0; 3]; workers]), held: Mutex::new(vec![0; workers]) }
    }
}

impl observe::Metrics for Counting {
    fn client_connected(&self) {
        self.metrics.clients.inc();
    }

    fn client_gone(&self) {
        self.metrics.clients.dec();
    }

    fn statement(&self, duration_us: u64, failed: bool) {
        self.metrics.ran(failed, Duration::from_micros(duration_us));
    }

    fn refused(&self, rule: &'static str) {
        self.metrics.refused(crate::policy::Rule(rule));
    }

    fn pools(&self, worker: usize, idle: usize, leased: usize, waiting: usize) {
        let mut pools = self.pools.lock();
        if let Some(own) = pools.get_mut(worker) {
            *own = [idle, leased, waiting];
        }
        let gauges =
            [&self.metrics.servers_idle, &self.metrics.servers_leased, &self.metrics.clients_waiting];
        for (place, gauge) in gauges.into_iter().enumerate() {
            let sum =
                pools.iter().filter_map(|own| own.get(place)).fold(0, |sum: usize, n| sum.saturating_add(*n));
            gauge.set(i64::try_from(sum).unwrap_or(i64::MAX));
        }
    }

    fn held(&self, worker: usize, held: usize) {
        let mut all = self.held.lock();
        if let Some(own) = all.get_mut(worker) {
            *own = held;
        }
        let sum = all.iter().fold(0, |sum: usize, n| sum.saturating_add(*n));
        self.metrics.servers_held.set(i64::try_from(sum).unwrap_or(i64::MAX));
    }

    fn lease_waited(&self, waited: Duration) {
        self.metrics.lease_wait.observe(waited.as_secs_f64());
    }

    fn worker_died(&self) {
        self.metrics.worker_deaths.inc();
    }

    fn cancel_request(&self, outcome: Cancelled) {
        self.metrics.cancel_requests.with_label_values(&[outcome.as_str()]).inc();
    }

    fn panicked(&self) {
        self.metrics.panics.inc();
    }
}
