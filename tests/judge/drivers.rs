//! Real drivers and clients through the proxy, each doing what applications do with it: parameters, prepared
//! statements, transactions, errors, pipelines, cursors, COPY, cancels, reconnects. What each has exercised stands
//! in the table that is printed.
//!
//! psql and pgbench come with PostgreSQL; the others are installed by `scripts/drivers`, into `target/drivers` or
//! with apt. A driver that is not there is skipped, and says so, unless CI is set.
//! `PGBULKHEAD_JUDGE_CASE=TEXT` runs the drivers whose name has TEXT in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::fixture::{Proxy, Server};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/drivers");
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/drivers");
/// Debian's folder of Java archives.
const JARS: &str = "/usr/share/java";

type Failed = Box<dyn std::error::Error>;
/// Gives what it says of its version and of what it has exercised.
type Driver = fn(&Proxy) -> Result<String, Failed>;

const DRIVERS: &[(&str, Driver)] = &[
    ("psql", psql),
    ("pgbench", pgbench),
    ("tokio-postgres", tokio_postgres),
    ("sqlx", |proxy| installed(proxy, "sqlx/debug/use_sqlx")),
    ("psycopg", |proxy| script(proxy, "python3", "use_psycopg.py", "python/psycopg")),
    ("psycopg2", |proxy| script(proxy, "python3", "use_psycopg2.py", "python/psycopg2")),
    ("asyncpg", |proxy| script(proxy, "python3", "use_asyncpg.py", "python/asyncpg")),
    ("SQLAlchemy", |proxy| script(proxy, "python3", "use_sqlalchemy.py", "python/sqlalchemy")),
    ("Django", |proxy| script(proxy, "python3", "use_django.py", "python/django")),
    ("node-postgres", |proxy| script(proxy, "node", "use_node_postgres.mjs", "node/node_modules/pg")),
    ("postgres.js", |proxy| script(proxy, "node", "use_postgres_js.mjs", "node/node_modules/postgres")),
    ("pgjdbc", |proxy| java(proxy, "Pgjdbc.java", &["postgresql.jar"])),
    ("HikariCP", |proxy| {
        java(proxy, "Hikari.java", &["postgresql.jar", "HikariCP.jar", "slf4j-api.jar", "slf4j-nop.jar"])
    }),
    ("Go", |proxy| installed(proxy, "use_go")),
    ("ruby-pg", |proxy| script(proxy, "ruby", "use_ruby_pg.rb", "/usr/bin/ruby")),
    ("ActiveRecord", |proxy| script(proxy, "ruby", "use_activerecord.rb", "/usr/bin/ruby")),
    ("PHP PDO", |proxy| script(proxy, "php", "use_pdo.php", "/usr/bin/php")),
    ("DBD::Pg", |proxy| script(proxy, "perl", "use_dbd_pg.pl", "/usr/bin/perl")),
];

/// Runs every driver and prints the table; the failures are said together.
pub fn judge(server: &Server) -> Result<(), String> {
    server.create_database("drivers");
    let proxy = Proxy::start(env!("CARGO_BIN_EXE_pgbulkhead"), server, "drivers");
    let wanted = std::env::var("PGBULKHEAD_JUDGE_CASE").unwrap_or_default();
    let mut failures = Vec::new();
    for (name, driver) in DRIVERS.iter().filter(|(name, _)| name.contains(&wanted)) {
        let began = std::time::Instant::now();
        match driver(&proxy) {
            Ok(told) => println!("  {name:15} {:4.1} s  {}", began.elapsed().as_secs_f32(), told.trim()),
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

fn psql(proxy: &Proxy) -> Result<String, Failed> {
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
    let exercised = "queries, \\d, \\dt, a transaction rolled back, \\copy both ways";
    if !own {
        return Err(out.into());
    }
    psql_copy(proxy)?;
    version("psql", exercised)
}

/// `\copy` from files, as people load tables by hand: with and without the tenant, into a child table, and with
/// another tenant's row.
fn psql_copy(proxy: &Proxy) -> Result<(), Failed> {
    let file = proxy.directory.join("rows.csv");
    let load = |target: &str, rows: &str| -> Result<String, Failed> {
        std::fs::write(&file, rows)?;
        let mut psql = command(proxy, "psql");
        psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-At"]);
        psql.args(["-c", &format!("\\copy {target} from '{}' csv header", file.display())]);
        psql.args(["-c", "select count(*) from settings where key like 'psql%'"]);
        psql.args(["-c", "select count(*) from document_pages where page_no = 77"]);
        passes(psql)
    };
    let out = load("settings (key, value)", "key,value\npsql 1,\"a\nb\"\npsql 2,\n")?;
    let also = load("settings", "tenant_id,key,value\n1,psql 3,x\n")?;
    let pages = load("document_pages (document_id, page_no)", "document_id,page_no\n1111001,77\n")?;
    let foreign = load("settings", "tenant_id,key,value\n1,psql 4,x\n2,psql 5,x\n");
    let refused = foreign.err().is_some_and(|error| error.to_string().contains("violates tenant isolation"));
    let loaded = [out.as_str(), also.as_str(), pages.as_str()]
        == ["COPY 2\n2\n0\n", "COPY 1\n3\n0\n", "COPY 1\n3\n1\n"];
    if loaded && refused { Ok(()) } else { Err(format!("{out}{also}{pages}, refused: {refused}").into()) }
}

fn pgbench(proxy: &Proxy) -> Result<String, Failed> {
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
    version(program("pgbench"), "simple, extended and prepared with 16 clients")
}

/// A program's own words about its version, and what was done with it.
fn version(program: impl AsRef<std::ffi::OsStr>, exercised: &str) -> Result<String, Failed> {
    let output = Command::new(program).arg("--version").output()?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(format!("{version}: {exercised}"))
}

/// Debian keeps the tools of a major in a folder of their own.
fn program(name: &str) -> PathBuf {
    let majors = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = majors.map(|m| m.path().join("bin").join(name)).filter(|p| p.exists()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| name.into())
}

fn tokio_postgres(proxy: &Proxy) -> Result<String, Failed> {
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
        if !left.is_empty() {
            return Err("the rollback left rows".into());
        }
        let token = client.cancel_token();
        let slow = "select count(*) from customers a, customers b, customers c, customers d, customers e, \
                    customers f, customers g, customers h";
        let cancel = async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            token.cancel_query(tokio_postgres::NoTls).await
        };
        let (slow, cancelled) = tokio::join!(client.batch_execute(slow), cancel);
        cancelled?;
        let code = slow.err().and_then(|e| e.code().cloned());
        if code != Some(tokio_postgres::error::SqlState::QUERY_CANCELED) {
            return Err(format!("a cancel answers {code:?}").into());
        }
        Ok("tokio-postgres: prepared in binary, pipelined, a transaction with an error, cancel".to_owned())
    })
}

/// Two requests at once: tokio-postgres pipelines them.
async fn futures_of<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    tokio::join!(a, b)
}

/// A Java program in one file, with archives of Debian's.
fn java(proxy: &Proxy, file: &str, jars: &[&str]) -> Result<String, Failed> {
    let paths: Vec<PathBuf> = jars.iter().map(|jar| Path::new(JARS).join(jar)).collect();
    if let Some(missing) = paths.iter().find(|path| !path.exists()) {
        return skip(missing);
    }
    let mut run = command(proxy, "java");
    run.arg("-cp").arg(std::env::join_paths(paths)?).arg(Path::new(HERE).join(file));
    passes(run)
}

/// A program that `scripts/drivers` has built.
fn installed(proxy: &Proxy, file: &str) -> Result<String, Failed> {
    let path = Path::new(INSTALLED).join(file);
    if path.exists() { passes(command(proxy, path)) } else { skip(&path) }
}

/// Runs a driver's script; its driver was installed at `needs`.
fn script(proxy: &Proxy, program: &str, file: &str, needs: &str) -> Result<String, Failed> {
    let needs = Path::new(INSTALLED).join(needs);
    if Command::new(program).arg("--version").output().is_err() {
        return skip(Path::new(program));
    }
    if !needs.exists() {
        return skip(&needs);
    }
    let mut run = command(proxy, program);
    run.arg(Path::new(HERE).join(file));
    run.env("PYTHONPATH", Path::new(INSTALLED).join("python"))
        .env("DRIVER", Path::new(INSTALLED).join("node"));
    passes(run)
}

/// Something is not installed: a failure in CI.
fn skip(missing: &Path) -> Result<String, Failed> {
    let told = format!("{} is missing (scripts/drivers installs it)", missing.display());
    if std::env::var_os("CI").is_some() { Err(told.into()) } else { Ok(format!("skipped: {told}")) }
}
