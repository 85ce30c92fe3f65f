//! Real drivers and clients through the proxy, each doing what applications do with it: parameters, prepared
//! statements, transactions, errors, pipelines, COPY.
//!
//! psql and pgbench come with PostgreSQL; psycopg, node-postgres and pgjdbc are installed by `scripts/drivers`
//! into `target/drivers`. A driver that is not there is skipped, and says so, unless CI is set.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::fixture::{Proxy, Server};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/drivers");
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/drivers");

type Failed = Box<dyn std::error::Error>;
type Driver = fn(&Proxy) -> Result<(), Failed>;

/// Runs every driver; the failures are said together.
pub fn judge(server: &Server) -> Result<(), String> {
    server.create_database("drivers");
    let proxy = Proxy::start(env!("CARGO_BIN_EXE_pgbulkhead"), server, "drivers");
    let drivers: [(&str, Driver); 6] = [
        ("psql", psql),
        ("pgbench", pgbench),
        ("tokio-postgres", tokio_postgres),
        ("psycopg", |proxy| script(proxy, "python3", &[], "use_psycopg.py", "python/psycopg")),
        ("node-postgres", |proxy| {
            script(proxy, "node", &[], "use_node_postgres.mjs", "node/node_modules/pg")
        }),
        ("pgjdbc", pgjdbc),
    ];
    let mut failures = Vec::new();
    for (name, driver) in drivers {
        match driver(&proxy) {
            Ok(()) => println!("  {name} passes"),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// A command that finds the proxy by libpq's variables.
fn command(proxy: &Proxy, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let login = proxy.login("tenant_a");
    let mut command = Command::new(program);
    command
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", login.port.to_string())
        .env("PGDATABASE", &login.database)
        .env("PGUSER", &login.user)
        .env("PGPASSWORD", login.password.unwrap_or_default())
        .env("PGAPPNAME", "drivers");
    command
}

fn passes(mut command: Command) -> Result<String, Failed> {
    let output = command.output()?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(out);
    }
    Err(format!("{:?}\n{out}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

fn psql(proxy: &Proxy) -> Result<(), Failed> {
    let mut psql = command(proxy, "psql");
    psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-At"]);
    psql.args(["-c", "select tenant_id, count(*) from documents group by 1"]);
    psql.args([
        "-c",
        "\\d documents",
        "-c",
        "\\dt",
        "-c",
        "begin",
        "-c",
        "delete from deliveries where id = 1111001",
    ]);
    psql.args(["-c", "rollback", "-c", "\\copy (select id, title from documents order by id) to stdout csv"]);
    let out = passes(psql)?;
    let own = out.starts_with("1|40\n") && out.contains("customer_id|bigint") && !out.contains("CANARY_B");
    if own { Ok(()) } else { Err(out.into()) }
}

fn pgbench(proxy: &Proxy) -> Result<(), Failed> {
    for mode in ["simple", "extended", "prepared"] {
        let mut pgbench = command(proxy, program("pgbench"));
        pgbench
            .args(["-n", "-c", "16", "-t", "50", "-M", mode, "-f"])
            .arg(Path::new(HERE).join("select.sql"));
        let out = passes(pgbench)?;
        if !out.contains("number of transactions actually processed: 800/800") {
            return Err(out.into());
        }
    }
    Ok(())
}

/// Debian keeps the tools of a major in a folder of their own.
fn program(name: &str) -> PathBuf {
    let majors = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = majors.map(|m| m.path().join("bin").join(name)).filter(|p| p.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| name.into())
}

fn tokio_postgres(proxy: &Proxy) -> Result<(), Failed> {
    let login = proxy.login("tenant_a");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let text = format!(
            "host=127.0.0.1 port={} user={} dbname={} password='{}'",
            login.port,
            login.user,
            login.database,
            login.password.unwrap_or_default()
        );
        let (mut client, connection) = tokio_postgres::connect(&text, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        let by_id = client.prepare("select title from documents where id = $1").await?;
        let (own, other) =
            futures_of(client.query(&by_id, &[&1_111_001_i64]), client.query(&by_id, &[&2_222_001_i64]))
                .await;
        let (own, other) = (own?, other?);
        let title: &str = own.first().ok_or("the tenant's own row is there")?.get(0);
        if title != "CANARY_A title 1" || !other.is_empty() {
            return Err(format!("{title}, and {} rows of another tenant", other.len()).into());
        }
        let transaction = client.transaction().await?;
        let insert = "insert into tags (tenant_id, id, label) values ($1, $2, $3)";
        transaction.execute(insert, &[&1_i32, &777_i32, &"CANARY_A label"]).await?;
        let refused = transaction.execute(insert, &[&2_i32, &778_i32, &"x"]).await;
        let code = refused.err().and_then(|e| e.code().cloned());
        if code != Some(tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE) {
            return Err(format!("a row for another tenant answers {code:?}").into());
        }
        transaction.rollback().await?;
        let left = client.query("select 1 from tags where id in (777, 778)", &[]).await?;
        if left.is_empty() { Ok(()) } else { Err("the rollback left rows".into()) }
    })
}

/// Two requests at once: tokio-postgres pipelines them.
async fn futures_of<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    tokio::join!(a, b)
}

fn pgjdbc(proxy: &Proxy) -> Result<(), Failed> {
    let jar = "/usr/share/java/postgresql.jar";
    let path = format!("{jar}:{HERE}");
    script(proxy, "java", &["-cp", &path], "Pgjdbc.java", jar)
}

/// Runs a driver's script; its driver was installed at `needs`.
fn script(proxy: &Proxy, program: &str, arguments: &[&str], file: &str, needs: &str) -> Result<(), Failed> {
    let installed = Path::new(INSTALLED).join(needs);
    let there = Command::new(program).arg("--version").output().is_ok() && installed.exists();
    if !there {
        if std::env::var_os("CI").is_some() {
            return Err(
                format!("{program} or {} is missing: run scripts/drivers", installed.display()).into()
            );
        }
        println!("skipped: {program} or {} is missing (scripts/drivers installs it)", installed.display());
        return Ok(());
    }
    let mut run = command(proxy, program);
    run.args(arguments).arg(Path::new(HERE).join(file));
    run.env("PYTHONPATH", Path::new(INSTALLED).join("python"))
        .env("DRIVER", Path::new(INSTALLED).join("node"));
    passes(run).map(|_| ())
}
