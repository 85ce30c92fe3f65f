//! A server with a million documents, the world that statements are planned against, and the shapes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use pgbulkhead::catalog::load::load;
use pgbulkhead::config::{Environment, parse};
use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::demo::embedded::Options;
use pgbulkhead::policy::{Policy, TenantId};
use pgbulkhead::sql::{Action, Limits, World, plan, statements};

const SCHEMA: &str = include_str!("schema.sql");
const INDEXES: &str = include_str!("indexes.sql");
const POLICIES: &str = include_str!("policies.sql");
const CONFIGURATION: &str = include_str!("pgbulkhead.toml");

/// Parallel plans come and go with the least difference of cost; what is compared here is the indexes. Scans
/// of whole tables are made dear instead, as they are where not all of them lies in memory.
const SESSION: &str = "set search_path = app, ext; set max_parallel_workers_per_gather = 0; set jit = off;
    set app.tenant = '1'; set statement_timeout = '60s'";

/// A statement to compare.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    pub name: String,
    /// As a client sends it.
    pub sql: String,
    /// As it would be written by hand; `:tenant` is the tenant's value.
    pub hand: String,
    /// Types of the client's parameters.
    #[serde(default)]
    pub types: Vec<String>,
    /// Their values.
    #[serde(default)]
    pub values: Vec<String>,
    /// The first major that has it.
    pub min: Option<u32>,
    /// Why the trees may differ though no index is lost.
    pub differs: Option<String>,
}

/// How a statement reaches the server's planner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With its values in the text.
    Simple,
    /// Prepared, planned with the values known.
    Custom,
    /// Prepared, planned once for all values.
    Generic,
}

/// The three ways to have a shape's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Rewritten,
    Hand,
    RowSecurity,
}

pub struct Fixture {
    pub world: World,
    pub major: u32,
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
    // Last: it stops when the connection is gone.
    _postgres: Option<EmbeddedPostgres>,
}

/// The shapes of the file that this server has.
pub fn shapes(major: u32) -> Vec<Shape> {
    #[derive(serde::Deserialize)]
    struct File {
        shape: Vec<Shape>,
    }
    let file: File = toml::from_str(include_str!("shapes.toml")).expect("shapes.toml is well formed");
    file.shape.into_iter().filter(|s| s.min.is_none_or(|min| min <= major)).collect()
}

impl Fixture {
    /// Starts the server, fills it and builds its indexes, two at a time. `PGBULKHEAD_PLANS_PORT` names a server
    /// that is filled already.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let filled = std::env::var("PGBULKHEAD_PLANS_PORT").ok().and_then(|p| p.parse().ok());
        let (postgres, port) = match filled {
            Some(port) => (None, port),
            None => {
                let postgres = Self::server();
                let port = postgres.port();
                runtime.block_on(fill(port));
                (Some(postgres), port)
            }
        };
        let (client, world) = runtime.block_on(async {
            let client = connect(port).await;
            run(&client, SESSION).await;
            (client, world(port).await)
        });
        let major = world.catalog.server_version_num / 10_000;
        Self { world, major, runtime, client, _postgres: postgres }
    }

    fn server() -> EmbeddedPostgres {
        let options = Options {
            password: None,
            settings: [
                ("shared_buffers", "768MB"),
                ("maintenance_work_mem", "256MB"),
                ("max_wal_size", "8GB"),
                ("work_mem", "32MB"),
                ("autovacuum", "off"),
                ("random_page_cost", "1.1"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            binaries: std::env::var_os("PGBULKHEAD_TEST_PGBIN").map(PathBuf::from),
        };
        EmbeddedPostgres::start(&options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs statements; the values of the first column, or what the server says.
    pub fn query(&self, sql: &str) -> Result<Vec<String>, String> {
        let messages = self.runtime.block_on(self.client.simple_query(sql));
        let messages = messages.map_err(|e| {
            e.as_db_error().map_or(e.to_string(), |e| format!("{} {}: {sql}", e.code().code(), e.message()))
        })?;
        let row = |m: tokio_postgres::SimpleQueryMessage| match m {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }

    /// What the server is sent for a shape: statements that make it ready, and the one that runs it.
    pub fn statement(&self, shape: &Shape, side: Side, mode: Mode) -> Result<(String, String), String> {
        let role = if side == Side::RowSecurity { "set role app_rls" } else { "reset role" };
        let cache = match mode {
            Mode::Simple => "auto",
            Mode::Custom => "force_custom_plan",
            Mode::Generic => "force_generic_plan",
        };
        let prelude = format!("deallocate all; {role}; set plan_cache_mode = {cache}");
        let tenant = shape.types.len() + 1;
        let text = match (side, mode) {
            (Side::Rewritten, _) => self.rewritten(shape, mode)?,
            (Side::Hand, Mode::Simple) => shape.hand.replace(":tenant", "1"),
            (Side::Hand, _) => shape.hand.replace(":tenant", &format!("${tenant}")),
            (Side::RowSecurity, _) => shape.sql.clone(),
        };
        if mode == Mode::Simple {
            return Ok((prelude, text));
        }
        let mut types = shape.types.clone();
        let mut values: Vec<String> =
            shape.values.iter().map(|v| format!("'{}'", v.replace('\'', "''"))).collect();
        if side != Side::RowSecurity {
            types.push("int4".into());
            values.push("'1'".into());
        }
        Ok((
            format!("{prelude}; prepare p({}) as {text}", types.join(", ")),
            format!("execute p({})", values.join(", ")),
        ))
    }

    /// What the proxy sends.
    fn rewritten(&self, shape: &Shape, mode: Mode) -> Result<String, String> {
        let mut found = statements(&shape.sql, &Limits::default()).map_err(|r| r.to_string())?;
        let mut statement = found.pop().ok_or("no statement")?;
        let oid = |name: &String| match name.strip_suffix("[]") {
            _ if name == "unknown" => Some(0),
            Some(element) => self.world.catalog.find_type(None, element).map(|t| t.array),
            None => self.world.catalog.find_type(None, name).map(|t| t.oid),
        };
        statement.parameter_types =
            shape.types.iter().map(oid).collect::<Option<_>>().ok_or("an unknown type")?;
        let planned = plan(&self.world, "app", &statement).map_err(|r| r.to_string())?;
        let Action::Send { sql, .. } = &planned.action else { return Err("nothing is sent".into()) };
        let mut text = Vec::new();
        let literal = |index| statement.token(index).unwrap_or_default().as_bytes();
        match mode {
            Mode::Simple => sql.render_simple(&mut text, TenantId::new("1").as_ref(), literal),
            _ => sql.render_extended(&mut text, planned.parameters.saturating_add(1), literal),
        }
        String::from_utf8(text).map_err(|e| e.to_string())
    }
}

async fn fill(port: u16) {
    let client = connect(port).await;
    run(&client, SCHEMA).await;
    let indexes: Mutex<Vec<&str>> =
        Mutex::new(INDEXES.lines().filter(|l| !l.starts_with("--")).rev().collect());
    let build = async |client: tokio_postgres::Client| {
        run(&client, "set search_path = app, ext").await;
        while let Some(index) = { indexes.lock().expect("no panic").pop() } {
            run(&client, index).await;
        }
    };
    let (one, two) = (connect(port).await, connect(port).await);
    futures_util::future::join(build(one), build(two)).await;
    run(&client, POLICIES).await;
    // Below 15 a view reads as its owner, whom no policy binds.
    let invoker = "do $$ begin if current_setting('server_version_num')::int >= 150000 then
        alter view app.open_documents set (security_invoker = true); end if; end $$";
    run(&client, invoker).await;
    run(&client, "vacuum analyze").await;
}

async fn connect(port: u16) -> tokio_postgres::Client {
    let login = format!("host=127.0.0.1 port={port} user={} dbname=postgres", EmbeddedPostgres::SUPERUSER);
    let (client, connection) =
        tokio_postgres::connect(&login, tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

async fn run(client: &tokio_postgres::Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{e:?}: {sql:.200}"));
}

async fn world(port: u16) -> World {
    let verifier = postgres_protocol::password::scram_sha_256(b"for the tests only");
    let text = CONFIGURATION.replace("PORT", &port.to_string()).replace("VERIFIER", &verifier);
    let config =
        parse("pgbulkhead.toml", &text, &Environment::default()).expect("the configuration is well formed");
    let client = connect(port).await;
    let catalog = load(&client, &config.databases[0].search_path, 1).await.expect("the catalog loads");
    let policy = Policy::compile(&config, &catalog, 1, "n0nce").expect("the policy compiles");
    World::new(Arc::new(catalog), Arc::new(policy))
}
