//! From a configuration to a running proxy: catalogs, policies, planners, audit log, metrics, workers.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::audit;
use crate::auth::{Access, process_secret};
use crate::catalog::load::{Severity, check_backend_role};
use crate::config::Config;
use crate::config::model::{Barrier, Database};
use crate::metrics::{Metrics, http, raise_to};
use crate::plan::{self, Planner};
use crate::pool::Target;
use crate::sql::World;
use crate::vital;
use crate::worker::tls::ServerTls;
use crate::worker::{self, Running};

use super::books::{Books, Counting, Quarantine};
use super::failure::Failure;
use super::world::{Place, barrier_faults, client, runtime, target, world};

/// How often the servers are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long one may take to be found.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// A running proxy. It ends with [`Proxy::stop`].
#[derive(Debug)]
pub struct Proxy {
    pub(super) config: Arc<Config>,
    pub(super) planners: Vec<Arc<Planner>>,
    pub(super) targets: Vec<Target>,
    pub(super) running: Running,
    pub(super) metrics: Arc<Metrics>,
    endpoint: Option<http::Endpoint>,
    audit: audit::Writer,
    lookout: Lookout,
    pub(super) tls: Option<Arc<ServerTls>>,
    pub(super) epoch: u64,
}

/// Starts everything that a configuration asks for, and returns when clients can connect.
pub fn start(config: Config) -> Result<Proxy, Failure> {
    let config = Arc::new(config);
    if config.tenancy.barrier == Barrier::Off {
        tracing::warn!(
            "barrier = \"off\": conditions and the planner's statistics can show other tenants' values"
        );
    }
    let tls = ServerTls::read(&config.general)?.map(Arc::new);
    let access = Access::new(&config, process_secret())?;
    let targets = config.databases.iter().map(|database| target(&config, database));
    let targets = targets.collect::<Result<Vec<_>, _>>()?;
    let planners = planners(&config, &targets)?;
    let metrics = Arc::new(Metrics::new()?);
    let (rings, writer) = audit::start(&config.audit, config.general.workers)?;
    let settings = worker::Settings {
        config: config.clone(),
        access: ArcSwap::from_pointee(access),
        planners: planners.clone(),
        targets: targets.clone(),
        tls: tls.clone(),
        metrics: Arc::new(Counting::new(metrics.clone(), config.general.workers)),
    };
    sample(&metrics, &planners, writer.status().clone());
    let running = worker::run(Arc::new(settings), auditors(&config, rings, &metrics)?)?;
    let lookout = Lookout::start(&config.databases, tls.clone())?;
    let endpoint = endpoint(&config, &metrics, &lookout, writer.status().clone())?;
    Ok(Proxy { config, planners, targets, running, metrics, endpoint, audit: writer, lookout, tls, epoch: 1 })
}

impl Proxy {
    /// Where clients can connect, in the order of `listen`.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.running.addresses()
    }

    /// Where the metrics are shown.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref().map(|endpoint| endpoint.address)
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Ends: sessions get `grace` for their transactions, then the audit log is closed.
    pub fn stop(self, grace: Duration) -> Result<(), Failure> {
        self.lookout.closing.store(true, Ordering::Relaxed);
        self.running.stop(grace);
        drop(self.endpoint);
        self.audit.stop().map_err(Failure::system("the audit log was not closed"))
    }
}

/// A planner for each database, once its server and role were found fit.
fn planners(config: &Config, targets: &[Target]) -> Result<Vec<Arc<Planner>>, Failure> {
    let runtime = runtime()?;
    let settings = plan::Settings {
        entries: config.general.plan_cache_entries,
        bytes: config.general.plan_cache_bytes,
        ..plan::Settings::default()
    };
    let planner = |(database, target)| {
        let place = Place { config, database, target };
        runtime.block_on(fit(&place))?;
        let world = runtime.block_on(proven_world(&place, 1))?;
        Planner::new(world, settings).map(Arc::new).map_err(Failure::system("cannot start planning"))
    };
    config.databases.iter().zip(targets).map(planner).collect()
}

/// The world of a database whose server shows that the barrier holds.
pub(super) async fn proven_world(place: &Place<'_>, epoch: u64) -> Result<World, Failure> {
    let world = world(place, epoch).await?;
    let findings = barrier_faults(place, &world).await?;
    match findings.is_empty() {
        true => Ok(world),
        false => Err(Failure::Backend { database: place.database.name.clone(), findings }),
    }
}

/// Refuses a server or a backend role through which a hole would be worth too much.
async fn fit(place: &Place<'_>) -> Result<(), Failure> {
    let Place { config, database, .. } = place;
    let client = client(place).await?;
    let findings = check_backend_role(&client, &database.search_path, config.general.server_floor).await?;
    let mut refused = Vec::new();
    for finding in findings {
        match finding.severity {
            Severity::Warn => tracing::warn!(database = database.name, "{finding}"),
            Severity::Refuse => refused.push(finding.to_string()),
        }
    }
    match refused.is_empty() {
        true => Ok(()),
        false => Err(Failure::Backend { database: database.name.clone(), findings: refused }),
    }
}

fn auditors(
    config: &Config,
    rings: Vec<audit::Ring>,
    metrics: &Arc<Metrics>,
) -> Result<Vec<Box<dyn worker::observe::Auditor>>, Failure> {
    let quarantine = config.general.quarantine_file.as_deref().map(Quarantine::open).transpose();
    let quarantine = quarantine.map_err(Failure::system("the quarantine file"))?.map(Arc::new);
    let books = (0..).zip(rings).map(|(worker, ring)| {
        Box::new(Books::new(ring, worker, metrics.clone(), quarantine.clone())) as Box<_>
    });
    Ok(books.collect())
}

/// Numbers that are kept elsewhere, shown when they are asked for.
fn sample(metrics: &Metrics, planners: &[Arc<Planner>], audit: Arc<audit::Status>) {
    let planners = planners.to_vec();
    metrics.sample_with(move |metrics| {
        let counters: Vec<_> = planners.iter().map(|planner| planner.counters()).collect();
        let sum = |of: fn(&plan::Counters) -> u64| counters.iter().map(of).fold(0, u64::saturating_add);
        let gauge = |of| i64::try_from(sum(of)).unwrap_or(i64::MAX);
        raise_to(&metrics.plan_hits, sum(|c| c.hits.saturating_add(c.refusal_hits)));
        raise_to(&metrics.plan_misses, sum(|c| c.planned));
        raise_to(&metrics.plan_evictions, sum(|c| c.evictions));
        raise_to(&metrics.thread_deaths, vital::deaths());
        metrics.plan_entries.set(gauge(|c| c.entries));
        metrics.plan_bytes.set(gauge(|c| c.bytes));
        metrics.audit_queue_depth.set(i64::try_from(audit.queued()).unwrap_or(i64::MAX));
        raise_to(&metrics.audit_lines, audit.written());
        raise_to(&metrics.audit_refused, audit.refused().saturating_add(audit.lost()));
        raise_to(&metrics.audit_write_failures, audit.failures());
    });
}

fn endpoint(
    config: &Config,
    metrics: &Arc<Metrics>,
    lookout: &Lookout,
    audit: Arc<audit::Status>,
) -> Result<Option<http::Endpoint>, Failure> {
    let (reachable, closing) = (lookout.reachable.clone(), lookout.closing.clone());
    let ready =
        move || reachable.load(Ordering::Relaxed) && !closing.load(Ordering::Relaxed) && !audit.is_broken();
    let start = |address| http::start(address, metrics.clone(), Arc::new(ready));
    config.general.metrics_listen.map(start).transpose().map_err(Failure::system("the metrics endpoint"))
}

/// Takes a new certificate, and says what came of it.
pub(super) fn renew(tls: &ServerTls) {
    match tls.reload() {
        Ok(true) => tracing::info!("new connections are shown the new certificate"),
        Ok(false) => {}
        Err(fault) => tracing::error!(%fault, "the old certificate stays"),
    }
}

/// Looks whether every server can be reached, for `/readyz`, and whether there is a new certificate.
#[derive(Debug)]
struct Lookout {
    reachable: Arc<AtomicBool>,
    closing: Arc<AtomicBool>,
    /// Dropped, it ends the thread.
    _end: mpsc::Sender<()>,
    _thread: JoinHandle<()>,
}

impl Lookout {
    fn start(databases: &[Database], tls: Option<Arc<ServerTls>>) -> Result<Self, Failure> {
        let places: Vec<_> =
            databases.iter().map(|database| (database.host.clone(), database.port)).collect();
        // The catalogs were just read.
        let reachable = Arc::new(AtomicBool::new(true));
        let seen = reachable.clone();
        let (end, ended) = mpsc::channel::<()>();
        let look = move || {
            while ended.recv_timeout(LOOK_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                if let Some(tls) = &tls {
                    renew(tls);
                }
                seen.store(places.iter().all(is_reachable), Ordering::Relaxed);
            }
        };
        let look = move || vital::keep("lookout", &look);
        let thread = std::thread::Builder::new().name("lookout".to_owned()).spawn(look);
        let thread = thread.map_err(Failure::system("cannot start"))?;
        Ok(Self { reachable, closing: Arc::default(), _end: end, _thread: thread })
    }
}

fn is_reachable(place: &(String, u16)) -> bool {
    let addresses = (place.0.as_str(), place.1).to_socket_addrs();
    addresses.is_ok_and(|mut addresses| {
        addresses.any(|address| TcpStream::connect_timeout(&address, LOOK_TIMEOUT).is_ok())
    })
}
