//! The threads that drive the sessions. Each has, of its own, a loop over its sockets, pools, plan tables and an audit
//! ring: nothing on the way of a statement is shared with another worker.
//!
//! * [`acceptor`]: one thread accepts and hands sockets over; [`orders`]: what a worker is told.
//! * [`thread`]: a worker's thread, which begins again after a panic; [`turns`]: its loop, and [`woken`] what wakes it
//!   beside sockets.
//! * [`shared`]: what the sessions of a worker share; [`handle`]: how it reaches each; [`host`]: how it answers them.
//! * [`client`]: one client's sockets, polled by hand; [`unsent`]: what they have not taken yet; [`waits`]: what else it
//!   waits for, plans by [`planning`]; [`ending`]: what ends it from outside.
//! * [`statements`]: what was prepared before, found by its text; [`interned`]: what it is called on server connections;
//!   [`tokens`]: tenant tokens that were verified.
//! * [`held`]: server connections that clients keep beyond a transaction.
//! * [`tls`]: the certificate that clients are shown; [`registry`]: cancel keys of all workers; [`observe`]: audit and
//!   metrics as a worker sees them.

pub mod acceptor;
pub mod client;
mod ending;
mod handle;
pub mod held;
mod host;
mod interned;
pub mod observe;
pub mod orders;
pub mod planning;
pub mod registry;
mod reported;
mod shared;
mod statements;
pub mod thread;
pub mod tls;
mod tokens;
mod turns;
mod unsent;
mod waits;
mod woken;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::auth::Access;
use crate::catalog::tls::TlsError;
use crate::config::Config;
use crate::config::model::{Database, General};
use crate::plan::Planner;
use crate::pool::{Keepalive, Target};

use observe::{Auditor, Metrics};
use orders::{Order, Orders};
use registry::Registry;
use tls::ServerTls;

/// Everything that workers need. Built once; the planners' worlds may change behind it.
#[derive(Debug)]
pub struct Settings {
    /// The configuration.
    pub config: Arc<Config>,
    /// Who may do what now.
    pub access: ArcSwap<Access>,
    /// One planner for each of the configuration's databases, in their order.
    pub planners: Vec<Arc<Planner>>,
    /// The way to each database's server, in their order.
    pub targets: Vec<Target>,
    /// TLS towards clients; none: `N` to every SSLRequest.
    pub tls: Option<Arc<ServerTls>>,
    /// Counters of the process.
    pub metrics: Arc<dyn Metrics>,
}

/// Why workers cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket or a thread.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system says.
        error: io::Error,
    },
    /// As many planners as databases and as many auditors as workers are needed.
    #[error("{0} are missing")]
    Missing(&'static str),
}

/// Running workers. Dropping it leaves them running.
#[derive(Debug)]
pub struct Running {
    settings: Arc<Settings>,
    addresses: Vec<SocketAddr>,
    orders: Vec<Orders>,
    acceptor: acceptor::Acceptor,
    threads: Vec<JoinHandle<()>>,
}

/// Binds the listeners, starts the workers and the acceptor, and returns. `auditors` has one for each of
/// `config.general.workers`.
pub fn run(settings: Arc<Settings>, auditors: Vec<Box<dyn Auditor>>) -> Result<Running, StartError> {
    let workers = settings.config.general.workers.max(1);
    if settings.planners.len() != settings.config.databases.len() {
        return Err(StartError::Missing("planners"));
    }
    if settings.targets.len() != settings.config.databases.len() {
        return Err(StartError::Missing("targets"));
    }
    if auditors.len() < workers {
        return Err(StartError::Missing("auditors"));
    }
    let general = &settings.config.general;
    let listeners =
        general.listeners().map(|listener| acceptor::bind(&listener)).collect::<Result<Vec<_>, _>>()?;
    let addresses = listeners.iter().filter_map(acceptor::Bound::address).collect();
    let registry = Arc::new(Registry::default());
    let (mut orders, mut threads) = (Vec::new(), Vec::new());
    for (index, auditor) in auditors.into_iter().take(workers).enumerate() {
        let (sender, receiver) = orders::channel();
        let (settings, registry) = (settings.clone(), registry.clone());
        let seed = thread::Seed { index, settings, registry };
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || thread::work(&seed, auditor, receiver))
            .map_err(|error| StartError::Io { what: "worker thread".to_owned(), error })?;
        orders.push(sender);
        threads.push(thread);
    }
    registry.set_workers(orders.clone());
    let most = settings.config.general.max_client_conn;
    let acceptor = acceptor::start(listeners, orders.clone(), most)?;
    Ok(Running { settings, addresses, orders, acceptor, threads })
}

/// The way to a database's server, as `[general]` says it.
pub fn target(general: &General, database: &Database) -> Result<Target, TlsError> {
    let target = Target::new(database, general.server_connect_timeout)?;
    Ok(target.with_keepalive(keepalive(general)))
}

/// For clients and servers alike.
fn keepalive(general: &General) -> Keepalive {
    Keepalive { idle: general.tcp_keepalive, user_timeout: general.tcp_user_timeout }
}

impl Running {
    /// Where clients can connect, in the order of `listen` and `[[listeners]]`.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Clients of all workers.
    pub fn clients(&self) -> usize {
        self.orders.iter().map(Orders::clients).sum()
    }

    /// Who may do what from now on. Sessions that could not be had any more end with 57P01.
    pub fn admit(&self, access: Access) {
        self.settings.access.store(Arc::new(access));
        for orders in &self.orders {
            orders.send(Order::Review);
        }
    }

    /// Who may do what now.
    pub fn access(&self) -> Arc<Access> {
        self.settings.access.load_full()
    }

    /// Ends: no more clients are taken, idle sessions get 57P01 at once, the others when their transaction has
    /// ended, at the latest after `grace`. Returns when all have ended.
    pub fn stop(self, grace: Duration) {
        self.acceptor.stop();
        for orders in &self.orders {
            orders.send(Order::Stop(grace));
        }
        for thread in self.threads {
            // A worker that panicked has no more sessions.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
