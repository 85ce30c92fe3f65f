//! What several verbs need: a configuration, and the world of one of its databases.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use tokio::runtime::Runtime;
use tokio_postgres::Client;

use crate::catalog::{self, load::explain};
use crate::config::model::{Barrier, Database};
use crate::config::{self, Config};
use crate::policy::Policy;
use crate::pool::{Target, driver};
use crate::sql::{self, World};
use crate::worker;

use super::failure::Failure;

/// A planning stack.
const STACK_BYTES: usize = 64 << 20;

/// Reads a configuration with the process's environment.
pub(super) fn configuration(path: &Path) -> Result<Config, Failure> {
    Ok(config::read(path, &config::environment())?)
}

/// A runtime for a verb that asks servers and ends.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::system("cannot start"))
}

/// A database of the configuration and the way to its server.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) config: &'a Config,
    pub(super) database: &'a Database,
    pub(super) target: &'a Target,
}

/// The way to a database's server; a clone of it shares the password.
pub(super) fn target(config: &Config, database: &Database) -> Result<Target, Failure> {
    worker::target(&config.general, database)
        .map_err(|source| Failure::ServerTls { database: database.name.clone(), source })
}

/// Opens a connection to a database's server, as the backend role.
pub(super) async fn client(place: &Place<'_>) -> Result<Client, Failure> {
    let Place { database, target, .. } = place;
    driver::client(target).await.map_err(|source| Failure::Server {
        database: database.name.clone(),
        place: format!("{}:{} as {}", database.host, database.port, database.user),
        source,
    })
}

/// Loads a database's catalog and compiles the policy against it. `epoch` numbers both.
pub(super) async fn world(place: &Place<'_>, epoch: u64) -> Result<World, Failure> {
    let Place { config, database, .. } = place;
    let client = client(place).await?;
    let snapshot = catalog::load(&client, &database.search_path, epoch).await?;
    // The process's own: what was planned with an older catalog may still raise.
    static NONCE: LazyLock<String> = LazyLock::new(|| uuid::Uuid::now_v7().simple().to_string());
    let policy = Policy::compile(config, &snapshot, epoch, &NONCE)
        .map_err(|errors| Failure::Policy { database: database.name.clone(), errors })?;
    Ok(World::new(Arc::new(snapshot), Arc::new(policy)))
}

/// Runs what plans statements on a stack that is deep enough, as in the running proxy: parsers recurse.
pub(super) fn deep<T: Send>(what: impl FnOnce() -> T + Send) -> Result<T, Failure> {
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, what)?;
        thread.join().map_err(|_| io::Error::other("planning has panicked"))
    });
    done.map_err(Failure::system("cannot plan"))
}

/// Shows on the server itself that the barrier holds: what is wrong with its plans of guarded statements, in
/// sentences. Nothing where the barrier is off or no relation needs it.
pub(super) async fn barrier_faults(place: &Place<'_>, world: &World) -> Result<Vec<String>, Failure> {
    let config = place.config;
    if config.tenancy.barrier == Barrier::Off {
        return Ok(Vec::new());
    }
    let roles: BTreeSet<&str> = config.users.iter().map(|user| user.role.as_str()).collect();
    let probes = deep(|| sql::proof::probes(world, &roles))?;
    let statements: Vec<&str> = probes.iter().map(|probe| probe.sql.as_str()).collect();
    let client = client(place).await?;
    let plans = explain(&client, &statements).await?;
    Ok(probes.iter().zip(&plans).filter_map(|(probe, plan)| probe.fault(plan)).collect())
}
