//! A PostgreSQL, the proxy as a process of its own before it, and what the proxy says of itself.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pgbulkhead::auth::verifier;
use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::demo::embedded::{Options, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;

use super::TENANTS;
use super::relay::Relay;

/// Rows of each tenant in `app.rows`.
pub const ROWS: i32 = 300;
/// How long the proxy may take to come back to rest.
const SETTLE: Duration = Duration::from_secs(60);

/// The metric of server connections that nobody has.
const IDLE: &str = "pgbulkhead_server_connections{state=\"idle\"}";

const SCHEMA: &str = "
    create role app_backend login;
    create schema app;
    create table app.rows(tenant_id int not null, id int not null, body text, primary key (tenant_id, id));
    insert into app.rows
    select t, i, format('T%s-%s-', t, i) || repeat('x', 200) from generate_series(1, 3) t, generate_series(1, 300) i;
    create table app.writes(tenant_id int not null, client int not null, body text not null);
    create index on app.writes(tenant_id, client);
    grant usage on schema app to app_backend;
    grant select, insert, update, delete on all tables in schema app to app_backend;
    analyze;";

/// Where the soak takes place.
#[derive(Debug)]
pub struct Stage {
    postgres: EmbeddedPostgres,
    pub relay: Relay,
    proxy: Child,
    /// Where clients connect.
    pub address: SocketAddr,
    metrics: SocketAddr,
}

/// The proxy at rest.
#[derive(Debug)]
pub struct Rest {
    /// Resident bytes.
    pub memory: u64,
    /// Open descriptors, without those of idle server connections: how many there are is chance.
    pub descriptors: usize,
}

impl Stage {
    pub async fn start() -> Self {
        let postgres = EmbeddedPostgres::start(&Options::default()).expect("a PostgreSQL");
        let server = SocketAddr::from(([127, 0, 0, 1], postgres.port()));
        connect(server, EmbeddedPostgres::SUPERUSER, "postgres", "")
            .await
            .expect("the superuser")
            .batch_execute(SCHEMA)
            .await
            .expect("the schema");
        let relay = Relay::start(server).await;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (address, metrics) = (local(free_port().expect("a port")), local(free_port().expect("a port")));
        let directory = postgres.socket_directory();
        let file = directory.join("soak.toml");
        let text =
            configuration(&relay, address, metrics, &directory.join("audit.jsonl").display().to_string());
        std::fs::write(&file, text).expect("the configuration");
        let log = std::fs::File::create(directory.join("soak.log")).expect("the proxy's log");
        let proxy = Command::new(env!("CARGO_BIN_EXE_pgbulkhead"))
            .args(["run", "--config"])
            .arg(&file)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the proxy's log"))
            .stderr(log)
            .spawn()
            .expect("the proxy");
        let stage = Self { postgres, relay, proxy, address, metrics };
        let began = Instant::now();
        while connect(address, "tenant1", "soak", "pencil").await.is_err() {
            assert!(began.elapsed() < SETTLE, "the proxy does not start: {}", stage.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stage
    }

    /// What the proxy has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.postgres.socket_directory().join("soak.log")).unwrap_or_default()
    }

    pub async fn superuser(&self, sql: &str) {
        let server = SocketAddr::from(([127, 0, 0, 1], self.postgres.port()));
        let client = connect(server, EmbeddedPostgres::SUPERUSER, "postgres", "").await;
        client.expect("the superuser").batch_execute(sql).await.expect("the superuser's SQL");
    }

    /// Every row that was written bears its tenant's mark.
    pub async fn assert_rows_are_whole(&self) {
        let server = SocketAddr::from(([127, 0, 0, 1], self.postgres.port()));
        let client =
            connect(server, EmbeddedPostgres::SUPERUSER, "postgres", "").await.expect("the superuser");
        let strange =
            "select count(*) from app.writes where body not like format('T%s-C%s-%%', tenant_id, client)";
        let strange: i64 = client.query_one(strange, &[]).await.expect("a count").get(0);
        assert_eq!(strange, 0, "a row was written for another tenant or by another client");
        let half = "select count(*) from app.writes where body like '%-HALF-%'";
        let half: i64 = client.query_one(half, &[]).await.expect("a count").get(0);
        assert_eq!(half, 0, "a COPY whose client had gone was written");
    }

    /// Waits until nobody is connected, waits or holds a lease.
    pub async fn settled(&self) -> Rest {
        let began = Instant::now();
        let idle = loop {
            let text = self.metrics().await;
            let busy: Vec<_> = text.lines().filter(|line| is_busy(line)).collect();
            if busy.is_empty() && text.contains("pgbulkhead_clients 0") {
                let idle = text.lines().find_map(|line| line.strip_prefix(IDLE));
                break idle.and_then(|count| count.trim().parse::<usize>().ok()).expect("a number");
            }
            assert!(began.elapsed() < SETTLE, "the proxy does not come to rest: {busy:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let of = format!("/proc/{}", self.proxy.id());
        let status = std::fs::read_to_string(format!("{of}/status")).expect("the proxy runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
        Rest {
            memory: kilobytes << 10,
            descriptors: std::fs::read_dir(format!("{of}/fd")).expect("its descriptors").count() - idle,
        }
    }

    async fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.metrics).await.expect("the metrics");
        let request = "GET /metrics HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

/// A metric of what must be nobody's at rest, and is not 0.
fn is_busy(line: &str) -> bool {
    let of = [
        "pgbulkhead_clients ",
        "pgbulkhead_clients_waiting ",
        "pgbulkhead_server_connections{state=\"leased\"} ",
    ];
    of.iter().any(|name| line.strip_prefix(name).is_some_and(|value| value != "0"))
}

fn configuration(relay: &Relay, address: SocketAddr, metrics: SocketAddr, audit: &str) -> String {
    let verifier = verifier::make("pencil");
    let user = |tenant: u32| {
        format!(
            "[[users]]\nname = \"tenant{tenant}\"\nrole = \"app\"\ntenant = \"{tenant}\"\nverifier = \"{verifier}\"\n"
        )
    };
    let users: String = (1..=TENANTS).map(user).collect();
    format!(
        "[general]\nlisten = [\"{address}\"]\nmetrics_listen = \"{metrics}\"\ndefault_pool_size = 16\n\
         [[databases]]\nname = \"soak\"\nhost = \"127.0.0.1\"\nport = {}\ndbname = \"postgres\"\n\
         user = \"app_backend\"\ntls = \"disable\"\nsearch_path = [\"app\"]\n\
         [tenancy]\ncolumn = \"tenant_id\"\n{users}\
         [audit]\nsink = \"file\"\npath = \"{audit}\"\n",
        relay.address.port(),
    )
}

/// Logs in; the connection is driven on a task of its own.
pub async fn connect(
    address: SocketAddr,
    user: &str,
    database: &str,
    password: &str,
) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(address.port()).user(user).dbname(database).password(password);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
