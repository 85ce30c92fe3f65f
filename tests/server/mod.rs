//! A server of one's own, its catalog, and a source of random cases. `PGBULKHEAD_TEST_PGBIN` names other binaries.

use std::sync::OnceLock;

use pgbulkhead::catalog::{Snapshot, load};
use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::demo::embedded::Options;

/// A connection, and the catalog behind it.
pub struct Server {
    pub runtime: tokio::runtime::Runtime,
    pub client: tokio_postgres::Client,
    pub catalog: Snapshot,
}

/// A small generator of its own, so that a seed gives the same cases everywhere.
pub struct Random(u64);

/// A number from the environment.
pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

impl Random {
    /// By `PGBULKHEAD_TEST_SEED`.
    pub fn seeded() -> Self {
        Self(number("PGBULKHEAD_TEST_SEED", 0x5eed) | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    pub fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Stops with this process.
pub static POSTGRES: OnceLock<EmbeddedPostgres> = OnceLock::new();

impl Server {
    /// Connects, runs `setup` and then reads the catalog.
    pub fn connect(setup: &str, search_path: &[&str]) -> Self {
        Self::in_database("postgres", setup, search_path)
    }

    /// The same in another database, which is made.
    pub fn in_database(database: &str, setup: &str, search_path: &[&str]) -> Self {
        let postgres = POSTGRES.get_or_init(|| {
            let binaries = std::env::var_os("PGBULKHEAD_TEST_PGBIN").map(std::path::PathBuf::from);
            EmbeddedPostgres::start(&Options { binaries, ..Options::default() })
                .unwrap_or_else(|error| panic!("{error}"))
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (client, catalog) = runtime.block_on(async {
            if database != "postgres" {
                let client = log_in(postgres, "postgres").await;
                client.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
            }
            let client = log_in(postgres, database).await;
            client.batch_execute("SET client_min_messages = warning").await.unwrap();
            client.batch_execute(setup).await.unwrap();
            client.batch_execute(&format!("SET search_path = {}", search_path.join(", "))).await.unwrap();
            let search_path: Vec<_> = search_path.iter().map(|s| (*s).to_owned()).collect();
            let reader = log_in(postgres, database).await;
            (client, load::load(&reader, &search_path, 1).await.unwrap())
        });
        Self { runtime, client, catalog }
    }

    /// Runs a statement; what the server says when it refuses.
    pub fn run(&self, sql: &str) -> Result<(), String> {
        let outcome = self.runtime.block_on(self.client.batch_execute(sql));
        outcome.map_err(|e| {
            e.as_db_error().map_or(e.to_string(), |e| format!("{} {}", e.code().code(), e.message()))
        })
    }

    /// The first column of a query's rows, as text.
    pub fn query(&self, sql: &str) -> Vec<String> {
        let messages = self.runtime.block_on(self.client.simple_query(sql)).unwrap();
        let row = |m: tokio_postgres::SimpleQueryMessage| match m {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        messages.into_iter().filter_map(row).collect()
    }
}

/// A connection to a database of the server.
pub async fn log_in(postgres: &EmbeddedPostgres, database: &str) -> tokio_postgres::Client {
    let login = format!(
        "host=127.0.0.1 port={} user={} dbname={database}",
        postgres.port(),
        EmbeddedPostgres::SUPERUSER
    );
    let (client, connection) = tokio_postgres::connect(&login, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
