//! A worker in front of a real PostgreSQL, with a planning function that lets everything through.

mod drops;
mod faults;
mod postgres;
mod relay;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState as Code;

use self::postgres::{Postgres, psql};
use super::observe::{Metrics, Silent};
use super::tls::ServerTls;
use super::{Running, Settings, run};
use crate::auth::Access;
use crate::catalog::Snapshot;
use crate::config::{self, Config};
use crate::plan::{self, Planner};
use crate::policy::Policy;
use crate::session::passthrough;
use crate::sql::World;

struct Proxy {
    running: Option<Running>,
    postgres: Postgres,
    port: u16,
}

impl Proxy {
    fn start(general: &str) -> Option<Self> {
        let postgres = Postgres::start()?;
        let port = postgres.port;
        Some(Self::before(postgres, port, general, Arc::new(Silent)))
    }

    /// A proxy that reaches the server by another port.
    fn before(postgres: Postgres, server: u16, general: &str, metrics: Arc<dyn Metrics>) -> Self {
        let config = Arc::new(config(server, general));
        let catalog = Snapshot::new(1, 150_000, "postgres".to_owned(), vec!["public".to_owned()]);
        let policy = Policy::compile(&config, &catalog, 1, "nonce").unwrap();
        let world = World::new(Arc::new(catalog), Arc::new(policy));
        let planner =
            Planner::with_function(world, plan::Settings::default(), Box::new(passthrough::plan)).unwrap();
        let settings = Settings {
            access: ArcSwap::from_pointee(Access::new(&config, [7; 32]).unwrap()),
            planners: vec![Arc::new(planner)],
            targets: vec![super::target(&config.general, &config.databases[0]).unwrap()],
            tls: ServerTls::read(&config.general).unwrap().map(Arc::new),
            metrics,
            config,
        };
        let running = run(Arc::new(settings), vec![Box::new(Silent)]).unwrap();
        let port = running.addresses()[0].port();
        Self { running: Some(running), postgres, port }
    }

    fn url(&self, user: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/db", self.port)
    }

    fn psql(&self, user: &str, sql: &str) -> Result<String, String> {
        psql(&self.url(user), Some("secret"), sql)
    }

    async fn connect(&self, user: &str) -> tokio_postgres::Client {
        connect(self.port, user).await.unwrap()
    }
}

async fn connect(port: u16, user: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let parameters = format!("host=127.0.0.1 port={port} user={user} password=secret dbname=db");
    let (client, connection) = tokio_postgres::connect(&parameters, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop(Duration::ZERO);
        }
    }
}

fn config(server: u16, general: &str) -> Config {
    let verifier = postgres_protocol::password::scram_sha_256(b"secret");
    let size = if general.contains("default_pool_size") { "" } else { "default_pool_size = 4\n" };
    let text = format!(
        "[general]\nlisten = [\"127.0.0.1:0\"]\n{size}{general}\n\
         [[databases]]\nname = \"db\"\nhost = \"127.0.0.1\"\nport = {}\ndbname = \"postgres\"\n\
         user = \"app_backend\"\npassword = \"backend\"\ntls = \"disable\"\nsearch_path = [\"public\"]\n\
         [tenancy]\ncolumn = \"tenant_id\"\n\
         [[users]]\nname = \"one\"\nverifier = \"{verifier}\"\nrole = \"app\"\ntenant = \"1\"\n\
         [[users]]\nname = \"two\"\nverifier = \"{verifier}\"\nrole = \"app\"\ntenant = \"2\"\n\
         [audit]\nsink = \"none\"\n",
        server
    );
    config::parse("test", &text, &config::Environment::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// One server for all of it: starting one costs seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_work_through_the_proxy() {
    let Some(proxy) = Proxy::start("") else { return };
    psql_works(&proxy);
    a_wrong_password_is_refused(&proxy);
    pgbench_works(&proxy);
    prepared_statements_serve_two_tenants(&proxy).await;
    a_refusal_fails_the_transaction(&proxy).await;
    copy_works(&proxy).await;
    a_cancel_reaches_its_statement(&proxy).await;
    settings_follow_the_session(&proxy).await;
}

fn psql_works(proxy: &Proxy) {
    assert_eq!(proxy.psql("one", "select count(*) from t where tenant_id = tenant()").unwrap(), "50");
    assert_eq!(proxy.psql("one", "select 1; select 'é', 2").unwrap(), "1\né|2");
    let error = proxy.psql("one", "refuse this !").unwrap_err();
    assert!(error.contains("pgbulkhead: refused [test]"), "{error}");
    let error = proxy.psql("one", "select * from nowhere").unwrap_err();
    assert!(error.contains("relation \"nowhere\" does not exist"), "{error}");
    assert_eq!(proxy.psql("two", "select min(tenant_id) from t where tenant_id = tenant()").unwrap(), "2");
}

fn a_wrong_password_is_refused(proxy: &Proxy) {
    let known = psql(&proxy.url("one"), Some("wrong"), "select 1").unwrap_err();
    let unknown = psql(&proxy.url("nobody"), Some("wrong"), "select 1").unwrap_err();
    assert_eq!(known.replace("one", "nobody"), unknown);
    assert!(known.contains("password authentication failed"), "{known}");
}

fn pgbench_works(proxy: &Proxy) {
    let script = std::env::temp_dir().join(format!("pgbulkhead-{}.sql", std::process::id()));
    std::fs::write(
        &script,
        "\\set id random(1, 100)\nselect v from t where tenant_id = tenant() and id = :id;\n",
    )
    .unwrap();
    for mode in ["simple", "extended", "prepared"] {
        let port = proxy.port.to_string();
        let output = Command::new("pgbench")
            .args(["-n", "-M", mode, "-c", "8", "-t", "200", "-h", "127.0.0.1", "-p", &port, "-U", "one"])
            .arg("-f")
            .arg(&script)
            .arg("db")
            .env("PGPASSWORD", "secret")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && text.contains("1600/1600"), "{mode}: {text} {errors}");
    }
    std::fs::remove_file(script).unwrap();
}

async fn prepared_statements_serve_two_tenants(proxy: &Proxy) {
    let (one, two) = (proxy.connect("one").await, proxy.connect("two").await);
    let text = "select id, tenant_id from t where tenant_id = tenant() and id < $1 order by id";
    let (a, b) = (one.prepare(text).await.unwrap(), two.prepare(text).await.unwrap());
    assert_eq!(a.params().len(), 1, "the tenant's parameter is hidden");
    for _ in 0..20 {
        let (rows_a, rows_b) = tokio::join!(one.query(&a, &[&50i32]), two.query(&b, &[&50i32]));
        for (rows, tenant) in [(rows_a.unwrap(), 1i32), (rows_b.unwrap(), 2)] {
            assert!(rows.len() > 20 && rows.iter().all(|row| row.get::<_, i32>(1) == tenant));
        }
    }
}

async fn a_refusal_fails_the_transaction(proxy: &Proxy) {
    let mut client = proxy.connect("one").await;
    let transaction = client.transaction().await.unwrap();
    transaction.execute("update t set v = 'changed' where id = 1", &[]).await.unwrap();
    let refused = transaction.simple_query("refuse !").await.unwrap_err();
    assert_eq!(refused.code(), Some(&Code::INSUFFICIENT_PRIVILEGE));
    let after = transaction.simple_query("select 1").await.unwrap_err();
    assert_eq!(after.code(), Some(&Code::IN_FAILED_SQL_TRANSACTION));
    transaction.rollback().await.unwrap();
    let row = client.query_one("select v from t where id = $1", &[&1i32]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "v1");
    let refused = client.query("refuse ! $1", &[&1i32]).await.unwrap_err();
    assert_eq!(refused.code(), Some(&Code::INSUFFICIENT_PRIVILEGE));
    assert_eq!(client.query("select 1", &[]).await.unwrap().len(), 1);
    assert_eq!(client.execute("insert into t values ($1, 1000, 'x')", &[&1i32]).await.unwrap(), 1);
    client.simple_query("insert into t values (1, 1001, 'x')").await.unwrap();
}

async fn copy_works(proxy: &Proxy) {
    use futures_util::{SinkExt, StreamExt};
    let client = proxy.connect("one").await;
    let sink = client.copy_in::<_, bytes::Bytes>("copy t from stdin").await.unwrap();
    let mut sink = Box::pin(sink);
    for id in 2000..2100 {
        sink.send(bytes::Bytes::from(format!("1\t{id}\tcopied\n"))).await.unwrap();
    }
    sink.close().await.unwrap();
    let out = client.copy_out("copy (select id from t where id >= 2000) to stdout").await.unwrap();
    let lines: usize =
        Box::pin(out).map(|chunk| chunk.unwrap().len()).fold(0, |a, b| async move { a + b }).await;
    assert_eq!(lines, 500);
    assert_eq!(proxy.psql("one", "select count(*) from t where id >= 2000").unwrap(), "100");
}

async fn a_cancel_reaches_its_statement(proxy: &Proxy) {
    let client = proxy.connect("one").await;
    let token = client.cancel_token();
    let sleeping = client.query("select pg_sleep(30)", &[]);
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await.unwrap();
    };
    let (slept, ()) = tokio::join!(sleeping, cancel);
    assert_eq!(slept.unwrap_err().code(), Some(&Code::QUERY_CANCELED));
    assert_eq!(client.query("select 1", &[]).await.unwrap().len(), 1);
}

async fn settings_follow_the_session(proxy: &Proxy) {
    let show = |name: &str| {
        psql(
            &format!("{}?application_name={name}", proxy.url("one")),
            Some("secret"),
            "show application_name",
        )
    };
    for name in ["reports", "a-b.c", "batch"] {
        assert_eq!(show(name).unwrap(), name);
    }
    let (one, two) = (proxy.connect("one").await, proxy.connect("two").await);
    one.simple_query("set statement_timeout = '7s'").await.unwrap();
    one.simple_query("begin; set lock_timeout = '3s'").await.unwrap();
    one.simple_query("rollback").await.unwrap();
    for _ in 0..10 {
        let (a, b) = tokio::join!(
            one.query_one(
                "select current_setting('statement_timeout'), current_setting('lock_timeout')",
                &[]
            ),
            two.query_one("select current_setting('statement_timeout'), pg_sleep(0.01)::text", &[]),
        );
        let a = a.unwrap();
        assert_eq!((a.get::<_, &str>(0), a.get::<_, &str>(1)), ("7s", "0"));
        assert_eq!(b.unwrap().get::<_, &str>(0), "0");
    }
}
