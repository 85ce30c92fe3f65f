//! The whole proxy in this process, in front of a server of its own: who gets in, what is written down, what is
//! counted, and how it ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use pgbulkhead::auth::verifier;
use pgbulkhead::cli::serve::{self, Proxy};
use pgbulkhead::config::{self, Environment};
use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::demo::embedded::Options;
use tokio_postgres::{Client, NoTls};

const SCHEMA: &str = "
    create role app_backend login;
    create schema app;
    create table app.documents(tenant_id int not null, id int primary key, title text);
    insert into app.documents values (1, 1, 'one'), (1, 2, 'two'), (2, 3, 'three');
    create table app.people(tenant_id int not null, id int primary key);
    insert into app.people values (1, 10), (2, 20);
    create table app.attachments(id int, document_id int references app.documents, person_id int references app.people);
    grant usage on schema app to app_backend;
    grant select, insert, update, delete on all tables in schema app to app_backend;";

struct Stage {
    postgres: EmbeddedPostgres,
    log: PathBuf,
}

impl Stage {
    async fn new() -> Self {
        let postgres = EmbeddedPostgres::start(&Options::default()).expect("a PostgreSQL");
        let log = std::env::temp_dir().join(format!("pgbulkhead-serve-{}.jsonl", postgres.port()));
        let stage = Self { postgres, log };
        stage.as_superuser(SCHEMA).await;
        stage
    }

    async fn as_superuser(&self, sql: &str) {
        let server = SocketAddr::from(([127, 0, 0, 1], self.postgres.port()));
        let client =
            connect(server, EmbeddedPostgres::SUPERUSER, "postgres", "").await.expect("the superuser");
        client.batch_execute(sql).await.expect("the superuser's SQL");
    }

    async fn proxy(&self) -> Proxy {
        let text = format!(
            "[general]\nlisten = [\"127.0.0.1:0\"]\nmetrics_listen = \"127.0.0.1:0\"\n\
             [[databases]]\nname = \"ccm\"\nhost = \"127.0.0.1\"\nport = {}\ndbname = \"postgres\"\n\
             user = \"app_backend\"\ntls = \"disable\"\nsearch_path = [\"app\"]\n\
             [tenancy]\ncolumn = \"tenant_id\"\n\
             [[tables]]\nname = \"app.attachments\"\nkind = \"child\"\n\
             any = [{{ parent = \"app.documents\", on = {{ document_id = \"id\" }} }},\
             {{ parent = \"app.people\", on = {{ person_id = \"id\" }} }}]\n\
             [[users]]\nname = \"acme\"\nrole = \"app\"\ntenant = \"1\"\nverifier = \"{}\"\n\
             [audit]\nsink = \"file\"\npath = \"{}\"\n",
            self.postgres.port(),
            verifier::make("pencil"),
            self.log.display(),
        );
        let config = config::parse("test.toml", &text, &Environment::new()).expect("the configuration");
        // It has runtimes of its own.
        tokio::task::spawn_blocking(|| serve::start(config)).await.unwrap().expect("the proxy")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.log);
    }
}

async fn connect(
    address: SocketAddr,
    user: &str,
    database: &str,
    password: &str,
) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(address.port()).user(user).dbname(database).password(password);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn login(proxy: &Proxy, user: &str, password: &str) -> Result<Client, tokio_postgres::Error> {
    let address = proxy.addresses()[0];
    connect(address, user, "ccm", password).await
}

/// What a client whose login fails is told.
async fn turned_away(proxy: &Proxy, user: &str, password: &str) -> String {
    let error = login(proxy, user, password).await.expect_err("it was let in");
    let told = error.as_db_error().expect("no answer");
    format!("{} {}", told.code().code(), told.message().replace(user, "…"))
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_becomes_a_proxy_that_accounts_for_everything() {
    let stage = Stage::new().await;
    let mut proxy = stage.proxy().await;
    let client = login(&proxy, "acme", "pencil").await.expect("the right password");
    let titles = client.query("select title from documents order by id", &[]).await.unwrap();
    assert_eq!(titles.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["one", "two"]);
    let refused = client.batch_execute("drop table app.documents").await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "42501");
    // The server raises the guard; what is said, written and counted is the refusal that it stands for.
    let moved = client.batch_execute("insert into documents values (2, 4, 'four')").await.unwrap_err();
    assert_eq!(moved.code().unwrap().code(), "42501");
    let wrong = turned_away(&proxy, "acme", "pencils").await;
    assert!(wrong.starts_with("28P01"), "{wrong}");
    assert_eq!(turned_away(&proxy, "nobody", "pencil").await, wrong);

    // A table that came later is there after a reload.
    stage
        .as_superuser(
            "create table app.notes(tenant_id int not null, id int);
             grant select on app.notes to app_backend",
        )
        .await;
    let missing = client.query("select id from notes", &[]).await.unwrap_err();
    assert_eq!(missing.code().unwrap().code(), "42P01");
    let proxy = tokio::task::spawn_blocking(move || {
        proxy.reload();
        proxy
    });
    let proxy = proxy.await.unwrap();
    client.query("select id from notes", &[]).await.expect("the new table");

    let shown = proxy.metrics_address().unwrap();
    let metrics = get(shown, "/metrics");
    for line in [
        "pgbulkhead_clients 1",
        "pgbulkhead_logins_total 1",
        "pgbulkhead_login_failures_total 2",
        "pgbulkhead_statements_total{verdict=\"allowed\"} 2",
        "pgbulkhead_statements_total{verdict=\"refused\"} 3",
        "pgbulkhead_refusals_total{rule=\"tenant-column\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    assert!(get(shown, "/readyz").starts_with("HTTP/1.1 200"));

    drop(client);
    tokio::task::spawn_blocking(move || proxy.stop(Duration::from_secs(5))).await.unwrap().expect("the end");
    let report = pgbulkhead::audit::verify(&stage.log).unwrap();
    assert!(report.is_sound() && report.closed, "{report:?}");
    let log = std::fs::read_to_string(&stage.log).unwrap();
    let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count("\"event\":\"login\",\"verdict\":\"allowed\""), 1);
    assert_eq!(count("\"event\":\"login\",\"verdict\":\"refused\",\"sqlstate\":\"28P01\""), 2);
    assert_eq!(count("\"event\":\"statement\",\"verdict\":\"allowed\""), 2);
    assert_eq!(count("\"event\":\"statement\",\"verdict\":\"refused\""), 3);
    assert_eq!(count("\"rule\":\"tenant-column\""), 1);
    assert_eq!(count("\"relations\":[\"select app.documents\"]"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn value_that_a_bare_condition_cannot_take_waits_behind_the_guard() {
    let stage = Stage::new().await;
    let proxy = stage.proxy().await;
    let client = login(&proxy, "acme", "pencil").await.expect("the right password");
    let found = client.prepare("select id from documents where title like $1 order by id").await.unwrap();
    let long = format!("o{}n%", "%".repeat(2_000));
    for pattern in ["o%", &long, "%n%", &long] {
        let rows = client.query(&found, &[&pattern]).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), [1], "{pattern:.20}");
    }
    // An escape at the end is an error of the tenant's own rows, whichever pattern meets them.
    let error = client.query(&found, &[&"tw\\"]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22025");
    tokio::task::spawn_blocking(move || proxy.stop(Duration::from_secs(1))).await.unwrap().unwrap();
}

/// Of several parents each that is set must be the tenant's, and one must be set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_of_several_parents_belongs_to_the_one_that_is_set() {
    let stage = Stage::new().await;
    let proxy = stage.proxy().await;
    let client = login(&proxy, "acme", "pencil").await.expect("the right password");
    for good in [
        "insert into attachments values (1, 1, null)",
        "insert into attachments (id, person_id) values (2, 10)",
        "insert into attachments (id, document_id, person_id) values (3, 2, 10), (4, null, 10)",
        "insert into attachments (document_id, id) select id, 5 from documents where id = 1",
        "insert into attachments (id, document_id, person_id) select 6, d.id, p.id from documents d, people p where d.id = 2",
        "insert into attachments (id, document_id, person_id) values (7, 1 + 1, 10)",
    ] {
        client.batch_execute(good).await.unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    let insert = "insert into attachments (id, document_id, person_id) values (8, $1, $2)";
    client.execute(insert, &[&Some(1_i32), &None::<i32>]).await.expect("a document of the tenant's");
    client.execute(insert, &[&None::<i32>, &Some(10_i32)]).await.expect("a person of the tenant's");
    for (document, person) in
        [(None, None), (Some(3), None), (None, Some(20)), (Some(1), Some(20)), (Some(3), Some(10))]
    {
        let refused =
            client.execute(insert, &[&document, &person]).await.expect_err("nobody's row is written");
        assert_eq!(refused.code().unwrap().code(), "42501", "{document:?} {person:?}");
    }
    for bad in [
        "insert into attachments values (9, null, null)",
        "insert into attachments (id) values (9)",
        "insert into attachments (id, person_id) values (9, 20)",
        "insert into attachments (id, document_id, person_id) select 9, p.id, null from people p right join documents on false",
    ] {
        let refused = client.batch_execute(bad).await.expect_err(bad);
        assert_eq!(refused.code().unwrap().code(), "42501", "{bad}");
    }
    let rows = client.query("select id from attachments order by id", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), [1, 2, 3, 4, 5, 6, 7, 8, 8]);
    tokio::task::spawn_blocking(move || proxy.stop(Duration::from_secs(1))).await.unwrap().unwrap();
}
