//! `pgbulkhead check`: everything that can be known before serving.

use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::auth::TokenVerifier;
use crate::catalog::load::{Severity, check_backend_role};
use crate::config::Config;
use crate::config::model::Barrier;
use crate::policy::Tenancy;
use crate::pool::ConnectError;
use crate::sql::World;
use crate::worker::tls::ServerTls;

use super::failure::{Failure, plural};
use super::world::{Place, barrier_faults, client, configuration, runtime, target, world};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "pgbulkhead.toml")]
    config: PathBuf,
    /// Look at the configuration alone, ask no server
    #[arg(long)]
    offline: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let config = configuration(&args.config)?;
    let mut told = Told::default();
    told.good(&format!("{} is well formed", args.config.display()));
    told.good(&summary(&config));
    if config.tenancy.barrier == Barrier::Off {
        told.bad("barrier = \"off\": conditions can show other tenants' values");
    }
    if let Err(error) = TokenVerifier::new(&config) {
        told.bad(&error.to_string());
    }
    if let Err(fault) = ServerTls::read(&config.general) {
        told.bad(&fault.to_string());
    }
    let targets: Vec<_> = config.databases.iter().map(|database| target(&config, database)).collect();
    for failure in targets.iter().filter_map(|target| target.as_ref().err()) {
        told.bad(&failure.to_string());
    }
    if !args.offline {
        let runtime = runtime()?;
        for (database, target) in config.databases.iter().zip(&targets) {
            if let Ok(target) = target {
                runtime.block_on(look(&Place { config: &config, database, target }, &mut told))?;
            }
        }
    }
    Ok(if told.bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is said, and whether any of it was bad.
#[derive(Default)]
struct Told {
    bad: bool,
}

impl Told {
    fn line(style: Style, word: &str, text: &str) {
        anstream::println!("{style}{word:>4}{style:#}  {text}");
    }

    fn good(&mut self, text: &str) {
        Self::line(AnsiColor::Green.on_default(), "ok", text);
    }

    fn warn(&mut self, text: &str) {
        Self::line(AnsiColor::Yellow.on_default().bold(), "warn", text);
    }

    fn bad(&mut self, text: &str) {
        self.bad = true;
        Self::line(AnsiColor::Red.on_default().bold(), "bad", text);
    }
}

fn summary(config: &Config) -> String {
    let count = |count: usize, word: &str| format!("{count} {}", plural(count, word));
    format!(
        "{}, {}, {}, {}, {}",
        count(config.databases.len(), "database"),
        count(config.users.len(), "user"),
        count(config.roles.len(), "role"),
        count(config.tables.len(), "declared table"),
        count(config.token_keys.len(), "token key"),
    )
}

/// A server that cannot be reached is a warning: the configuration may be checked far from it.
async fn look(place: &Place<'_>, told: &mut Told) -> Result<(), Failure> {
    let Place { config, database, .. } = place;
    let name = &database.name;
    let client = match client(place).await {
        Ok(client) => client,
        Err(failure @ Failure::Server { source: ConnectError::Password(_), .. }) => {
            told.bad(&failure.to_string());
            return Ok(());
        }
        Err(failure @ Failure::Server { .. }) => {
            told.warn(&format!("{name}: not looked at: {failure}"));
            return Ok(());
        }
        Err(failure) => return Err(failure),
    };
    for finding in check_backend_role(&client, &database.search_path, config.general.server_floor).await? {
        let text = format!("{name}: {finding}");
        match finding.severity {
            Severity::Warn => told.warn(&text),
            Severity::Refuse => told.bad(&text),
        }
    }
    let world = world(place, 1).await?;
    told.good(&format!("{name}: {}", relations(&world)));
    let faults = barrier_faults(place, &world).await?;
    match faults.is_empty() {
        true => told.good(&format!("{name}: the server's plans show the barrier")),
        false => faults.iter().for_each(|fault| told.bad(&format!("{name}: {fault}"))),
    }
    let telling = telling_keys(&world);
    if !telling.is_empty() {
        told.warn(&format!(
            "{name}: these unique keys lack the tenant column, so their errors tell that somebody has a value: {}",
            telling.join(", ")
        ));
    }
    Ok(())
}

/// Unique keys of tenant relations without the tenant column. Keys that the server fills by itself are left
/// out: nobody chooses their values.
fn telling_keys(world: &World) -> Vec<String> {
    let mut telling = Vec::new();
    for relation in world.catalog.relations() {
        let Tenancy::Tenant { column, .. } = world.policy.tenancy(relation.oid) else { continue };
        for key in relation.unique_keys.iter().filter(|key| !key.contains(column)) {
            let columns: Vec<_> = key.iter().filter_map(|number| relation.column_numbered(*number)).collect();
            if columns.iter().any(|c| !c.has_default) {
                let names: Vec<_> = columns.iter().map(|c| c.name.as_str()).collect();
                telling.push(format!("{}.{} ({})", relation.schema, relation.name, names.join(", ")));
            }
        }
    }
    telling.sort();
    telling
}

/// How many relations of each tenancy there are.
fn relations(world: &World) -> String {
    let mut counts = [0_usize; 4];
    let known = world.catalog.relations().filter(|relation| world.catalog.in_path(&relation.schema));
    for relation in known.filter(|relation| relation.schema != "pg_catalog") {
        let [tenant, child, shared, denied] = &mut counts;
        let kind = match world.policy.tenancy(relation.oid) {
            Tenancy::Tenant { .. } => tenant,
            Tenancy::Child { .. } => child,
            Tenancy::Shared => shared,
            Tenancy::Denied => denied,
        };
        *kind = kind.saturating_add(1);
    }
    let [tenant, child, shared, denied] = counts;
    let version = world.catalog.server_version_num;
    format!(
        "PostgreSQL {}.{}; in the search path {tenant} tenant, {child} child, {shared} shared and {denied} \
         denied relations",
        version / 10_000,
        version % 10_000,
    )
}
