//! What several verbs need: a configuration, and the world of one of its databases.

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::catalog;
use crate::config::model::Database;
use crate::config::{self, Config};
use crate::policy::Policy;
use crate::sql::World;

use super::failure::Failure;

/// Reads a configuration with the process's environment.
pub(super) fn configuration(path: &Path) -> Result<Config, Failure> {
    Ok(config::read(path, &config::environment())?)
}

/// A runtime for a verb that asks servers and ends.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::system("cannot start"))
}

/// Loads a database's catalog and compiles the policy against it. `epoch` numbers both.
pub(super) async fn world(config: &Config, database: &Database, epoch: u64) -> Result<World, Failure> {
    let snapshot = catalog::load(database, epoch).await?;
    let nonce = uuid::Uuid::now_v7().simple().to_string();
    let policy = Policy::compile(config, &snapshot, epoch, &nonce)
        .map_err(|errors| Failure::Policy { database: database.name.clone(), errors })?;
    Ok(World::new(Arc::new(snapshot), Arc::new(policy)))
}
