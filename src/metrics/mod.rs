//! Counters and histograms in the Prometheus format, and the small HTTP server that shows them.
//!
//! Handles are resolved when [`Metrics`] is made: counting a statement looks nothing up and takes no lock. A
//! label's values are ours (verdicts, rules, states); nothing that a client sends becomes one.

pub mod http;
mod process;

use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::policy::Rule;

/// Seconds: from a hit on a warm cache to a report that nobody should wait for.
const STATEMENT_SECONDS: [f64; 14] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
/// Seconds: a free connection is leased at once.
const LEASE_SECONDS: [f64; 10] = [0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Brings metrics up to date whose numbers are kept elsewhere.
type Sampler = Box<dyn Fn(&Metrics) + Send>;

/// What became of another configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// It is in force.
    Taken,
    /// It is not, or only who was removed is.
    Refused,
}

/// Every metric of the process.
pub struct Metrics {
    registry: Registry,
    samplers: Mutex<Vec<Sampler>>,
    /// `pgbulkhead_statements_total{verdict="allowed"}`: sent, and ended well.
    pub statements_allowed: IntCounter,
    /// `…{verdict="failed"}`: sent, and the server answered with an error.
    pub statements_failed: IntCounter,
    /// `…{verdict="refused"}`: not sent.
    pub statements_refused: IntCounter,
    /// `pgbulkhead_statement_duration_seconds`: from sending to the end of the answer.
    pub statement_duration: Histogram,
    refusals: IntCounterVec,
    /// `pgbulkhead_verify_failures_total`: rewritten text that did not verify. Each one is an alarm.
    pub verify_failures: IntCounter,
    /// `pgbulkhead_witness_unread_total`: statements that ran although the second parser could not read them.
    pub witness_unread: IntCounter,
    /// `pgbulkhead_plan_cache_hits_total`: of the shared cache, which is asked when a worker's own table does
    /// not know a statement.
    pub plan_hits: IntCounter,
    /// `pgbulkhead_plan_cache_misses_total`: statements that were planned.
    pub plan_misses: IntCounter,
    /// `pgbulkhead_plan_cache_evictions_total`.
    pub plan_evictions: IntCounter,
    /// `pgbulkhead_plan_cache_entries`.
    pub plan_entries: IntGauge,
    /// `pgbulkhead_plan_cache_bytes`.
    pub plan_bytes: IntGauge,
    /// `pgbulkhead_clients`: connected now.
    pub clients: IntGauge,
    /// `pgbulkhead_server_connections{state="idle"}`.
    pub servers_idle: IntGauge,
    /// `…{state="leased"}`.
    pub servers_leased: IntGauge,
    /// `pgbulkhead_server_connections_held`: kept beyond their transactions.
    pub servers_held: IntGauge,
    /// `pgbulkhead_clients_waiting`: for a server connection.
    pub clients_waiting: IntGauge,
    /// `pgbulkhead_lease_wait_seconds`: of transactions that had to wait.
    pub lease_wait: Histogram,
    /// `pgbulkhead_logins_total`.
    pub logins: IntCounter,
    /// `pgbulkhead_login_failures_total`.
    pub login_failures: IntCounter,
    /// `pgbulkhead_panics_total`: each one is a bug.
    pub panics: IntCounter,
    /// `pgbulkhead_worker_deaths_total`: workers that panicked and were replaced. Each one is a bug.
    pub worker_deaths: IntCounter,
    /// `pgbulkhead_thread_deaths_total`: other threads (acceptor, audit, planners, lookout) that panicked and began again.
    pub thread_deaths: IntCounter,
    /// `pgbulkhead_cancel_requests_total{outcome="passed|unknown|ignored"}`.
    pub cancel_requests: IntCounterVec,
    reloads: IntCounterVec,
    /// `pgbulkhead_audit_queue_depth`.
    pub audit_queue_depth: IntGauge,
    /// `pgbulkhead_audit_lines_total`.
    pub audit_lines: IntCounter,
    /// `pgbulkhead_audit_refused_total`: how often there was no room for an event.
    pub audit_refused: IntCounter,
    /// `pgbulkhead_audit_write_failures_total`.
    pub audit_write_failures: IntCounter,
    process: process::Process,
}

impl Metrics {
    /// Makes and registers every metric. Fails only if two had one name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let r = &Registry::new();
        let statements = counters(r, "statements_total", "Statements by what became of them", "verdict")?;
        let servers = gauges(r, "server_connections", "Connections to servers by state", "state")?;
        gauges(r, "build_info", "The program's version", "version")?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        Ok(Self {
            statements_allowed: statements.with_label_values(&["allowed"]),
            statements_failed: statements.with_label_values(&["failed"]),
            statements_refused: statements.with_label_values(&["refused"]),
            statement_duration: histogram(
                r,
                "statement_duration_seconds",
                "Time from sending a statement to the end of its answer",
                &STATEMENT_SECONDS,
            )?,
            refusals: counters(r, "refusals_total", "Refused statements by the rule that decided", "rule")?,
            verify_failures: counter(r, "verify_failures_total", "Rewritten texts that did not verify")?,
            witness_unread: counter(
                r,
                "witness_unread_total",
                "Statements that ran although the witness could not read them",
            )?,
            plan_hits: counter(
                r,
                "plan_cache_hits_total",
                "Plans that one worker asked for and another had made",
            )?,
            plan_misses: counter(r, "plan_cache_misses_total", "Statements that were planned")?,
            plan_evictions: counter(r, "plan_cache_evictions_total", "Plans that made room for others")?,
            plan_entries: gauge(r, "plan_cache_entries", "Plans that are kept")?,
            plan_bytes: gauge(r, "plan_cache_bytes", "Bytes of the plans that are kept")?,
            clients: gauge(r, "clients", "Clients that are connected")?,
            servers_idle: servers.with_label_values(&["idle"]),
            servers_leased: servers.with_label_values(&["leased"]),
            servers_held: gauge(
                r,
                "server_connections_held",
                "Connections that are kept beyond their transactions",
            )?,
            clients_waiting: gauge(r, "clients_waiting", "Clients that wait for a server connection")?,
            lease_wait: histogram(
                r,
                "lease_wait_seconds",
                "Time that transactions waited for a server connection, where none was free",
                &LEASE_SECONDS,
            )?,
            logins: counter(r, "logins_total", "Clients that have logged in")?,
            login_failures: counter(r, "login_failures_total", "Clients that were turned away")?,
            panics: counter(r, "panics_total", "Sessions that panicked and ended")?,
            worker_deaths: counter(r, "worker_deaths_total", "Workers that panicked and were replaced")?,
            thread_deaths: counter(r, "thread_deaths_total", "Other threads that panicked and began again")?,
            cancel_requests: counters(
                r,
                "cancel_requests_total",
                "Cancel requests by what became of them",
                "outcome",
            )?,
            reloads: counters(r, "config_reloads_total", "SIGHUPs by what became of them", "outcome")?,
            audit_queue_depth: gauge(r, "audit_queue_depth", "Events that wait to be written")?,
            audit_lines: counter(r, "audit_lines_total", "Lines of the audit log")?,
            audit_refused: counter(r, "audit_refused_total", "Times the audit log had no room")?,
            audit_write_failures: counter(r, "audit_write_failures_total", "Writes that failed")?,
            process: process::Process::new(r)?,
            samplers: Mutex::default(),
            registry: r.clone(),
        })
    }

    /// Counts a statement that was sent.
    pub fn ran(&self, failed: bool, duration: Duration) {
        if failed {
            self.statements_failed.inc()
        } else {
            self.statements_allowed.inc()
        }
        self.statement_duration.observe(duration.as_secs_f64());
    }

    /// Counts a statement that was not sent. Looks the rule up: refusals are rare.
    pub fn refused(&self, rule: Rule) {
        self.statements_refused.inc();
        self.refusals.with_label_values(&[rule.0]).inc();
    }

    /// Counts another configuration: `pgbulkhead_config_reloads_total{outcome="taken|refused"}`.
    pub fn reloaded(&self, outcome: Reload) {
        let outcome = match outcome {
            Reload::Taken => "taken",
            Reload::Refused => "refused",
        };
        self.reloads.with_label_values(&[outcome]).inc();
    }

    /// Before each scrape, `sample` brings metrics up to date whose numbers are kept elsewhere.
    pub fn sample_with(&self, sample: impl Fn(&Self) + Send + 'static) {
        self.samplers.lock().push(Box::new(sample));
    }

    /// Everything in the text format.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        for sample in self.samplers.lock().iter() {
            sample(self);
        }
        self.process.sample();
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Brings a counter up to a total that is kept elsewhere.
pub fn raise_to(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn named(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("pgbulkhead")
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let metric = IntCounter::with_opts(named(name, help))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let metric = IntGauge::with_opts(named(name, help))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<IntCounterVec, prometheus::Error> {
    let metric = IntCounterVec::new(named(name, help), &[label])?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<IntGaugeVec, prometheus::Error> {
    let metric = IntGaugeVec::new(named(name, help), &[label])?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
) -> Result<Histogram, prometheus::Error> {
    let opts = HistogramOpts { common_opts: named(name, help), buckets: buckets.to_vec() };
    let metric = Histogram::with_opts(opts)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_explained() {
        let metrics = Metrics::new().unwrap();
        metrics.refused(Rule("access"));
        metrics.reloaded(Reload::Taken);
        metrics.cancel_requests.with_label_values(&["passed"]).inc();
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        let explained = include_str!("../../OPERATING.md");
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let missing: Vec<_> = names
            .filter(|name| {
                !explained.contains(&format!("`{name}`")) && !explained.contains(&format!("`{name}{{"))
            })
            .collect();
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn what_was_counted_is_shown() {
        let metrics = Metrics::new().unwrap();
        metrics.ran(false, Duration::from_millis(3));
        metrics.ran(true, Duration::from_millis(3));
        metrics.refused(Rule("access"));
        metrics.sample_with(|metrics| raise_to(&metrics.audit_lines, 7));
        metrics.render().unwrap();
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        for line in [
            "pgbulkhead_statements_total{verdict=\"allowed\"} 1",
            "pgbulkhead_statements_total{verdict=\"failed\"} 1",
            "pgbulkhead_statements_total{verdict=\"refused\"} 1",
            "pgbulkhead_refusals_total{rule=\"access\"} 1",
            "pgbulkhead_statement_duration_seconds_count 2",
            "pgbulkhead_statement_duration_seconds_bucket{le=\"0.005\"} 2",
            "pgbulkhead_audit_lines_total 7",
            "# TYPE pgbulkhead_server_connections gauge",
            "process_resident_memory_bytes",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
