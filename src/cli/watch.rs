//! Looks whether the servers' catalogs are still those that statements are planned with, on a connection to each
//! database of its own.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio_postgres::Client;

use crate::catalog;
use crate::plan::Planner;
use crate::pool::{Target, driver};
use crate::vital;

use super::failure::Failure;
use super::serve::Proxy;
use super::world::runtime;

/// How often a catalog is looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often it is asked whether a server's error made somebody doubt.
const TICK: Duration = Duration::from_secs(1);
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a change that could not be taken is not told of again.
const PAUSE: Duration = Duration::from_secs(60);

/// The thread that watches. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    _end: mpsc::Sender<()>,
    _thread: JoinHandle<()>,
}

impl Watch {
    /// Watches the databases of a proxy. `changed` is called when one's catalog is another one than the proxy has.
    pub fn start(proxy: &Proxy, changed: impl Fn() + Send + 'static) -> Result<Self, Failure> {
        let places: Vec<(Target, Arc<Planner>)> =
            proxy.targets.iter().cloned().zip(proxy.planners.iter().cloned()).collect();
        let (end, ended) = mpsc::channel::<()>();
        let watch = move || {
            let Ok(runtime) = runtime() else { return };
            let mut sights: Vec<Sight> =
                places.iter().map(|(target, planner)| Sight::new(target.clone(), planner.clone())).collect();
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let differs: Vec<bool> = sights.iter_mut().map(|sight| sight.differs(&runtime)).collect();
                if differs.contains(&true) {
                    changed();
                }
            }
        };
        let watch = move || vital::keep("watch", &watch);
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(watch);
        Ok(Self { _end: end, _thread: thread.map_err(Failure::system("cannot start"))? })
    }
}

/// One database.
struct Sight {
    target: Target,
    planner: Arc<Planner>,
    client: Option<Client>,
    looked: Instant,
    /// What was told last, and when.
    told: Option<(String, Instant)>,
}

impl Sight {
    fn new(target: Target, planner: Arc<Planner>) -> Self {
        Self { target, planner, client: None, looked: Instant::now(), told: None }
    }

    /// Whether the catalog is another one than statements are planned with. A change is told once.
    fn differs(&mut self, runtime: &Runtime) -> bool {
        let doubted = self.planner.take_doubt();
        if !doubted && self.looked.elapsed() < INTERVAL {
            return false;
        }
        self.looked = Instant::now();
        let looked = runtime.block_on(async { tokio::time::timeout(PATIENCE, self.look()).await });
        let Ok(Some(found)) = looked else {
            self.client = None;
            return false;
        };
        let told = self.told.as_ref().is_some_and(|(told, at)| *told == found && at.elapsed() < PAUSE);
        if told || found == self.planner.world().catalog.fingerprint {
            return false;
        }
        self.told = Some((found, Instant::now()));
        true
    }

    async fn look(&mut self) -> Option<String> {
        let client = match self.client.take() {
            Some(client) if !client.is_closed() => client,
            _ => {
                let client = driver::client(&self.target).await.ok()?;
                client.batch_execute("SET search_path = pg_catalog, pg_temp").await.ok()?;
                client
            }
        };
        let found = catalog::fingerprint(&client).await;
        let found = found.inspect_err(|error| tracing::warn!(%error, "the catalog cannot be watched")).ok();
        self.client = found.is_some().then_some(client);
        found
    }
}
