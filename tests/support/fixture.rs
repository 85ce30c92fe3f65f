//! A PostgreSQL with the corpus schema, and for each lane of parallel cases a database and a proxy.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pgbulkhead::demo::EmbeddedPostgres;
use pgbulkhead::demo::embedded::{Options, free_port};

use super::wire::{Answer, Connection, Login};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
const PASSWORD: &str = "for the tests only";
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const TEMPLATE: &str = "ccm_template";

/// Runs the proxy, and stops it when this process is gone in whatever way (the pipe closes then).
const WATCH: &str = r#"
"$@" </dev/null &
proxy=$!
trap '' INT TERM HUP
cat >/dev/null
kill -TERM "$proxy" 2>/dev/null
sleep 0.2
kill -KILL "$proxy" 2>/dev/null
wait "$proxy" 2>/dev/null
"#;

/// A file of the corpus.
pub fn corpus(name: &str) -> String {
    let path = Path::new(CORPUS).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The server. `PGBULKHEAD_TEST_PGBIN` names other binaries, `PGBULKHEAD_TEST_PGSET` holds settings as
/// `name=value`, separated by blanks.
#[derive(Debug)]
pub struct Server {
    postgres: EmbeddedPostgres,
    directory: PathBuf,
}

impl Server {
    /// Starts it and loads the schema into a template database.
    pub fn start() -> Self {
        let settings = std::env::var("PGBULKHEAD_TEST_PGSET").unwrap_or_default();
        let settings = settings.split_whitespace().filter_map(|s| s.split_once('='));
        let options = Options {
            password: None,
            settings: settings.map(|(name, value)| (name.into(), value.into())).collect(),
            binaries: std::env::var_os("PGBULKHEAD_TEST_PGBIN").map(PathBuf::from),
        };
        let postgres = EmbeddedPostgres::start(&options).unwrap_or_else(|error| panic!("{error}"));
        println!("PostgreSQL {}", postgres.version());
        // Removed with the server, however this process ends.
        let directory = postgres.socket_directory().join("proxies");
        std::fs::create_dir_all(&directory).expect("a temporary directory");
        let server = Self { postgres, directory };
        server.superuser("postgres").run(&format!("create database {TEMPLATE}"));
        let mut client = server.superuser(TEMPLATE);
        client.run(&plain_sql(&corpus("schema.sql"), TEMPLATE));
        if server.major() >= 18 {
            client.run(&plain_sql(&corpus("schema_pg18.sql"), TEMPLATE));
        }
        client.run("analyze");
        server
    }

    pub fn major(&self) -> u32 {
        let version = self.postgres.version();
        version.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).expect("a version")
    }

    pub fn port(&self) -> u16 {
        self.postgres.port()
    }

    /// Copies the template to a new database.
    pub fn create_database(&self, name: &str) {
        self.superuser("postgres").run(&format!("create database {name} template {TEMPLATE}"));
    }

    /// Logs in past the proxy.
    pub fn direct(&self, user: &str, database: &str) -> Login {
        Login { port: self.port(), database: database.into(), user: user.into(), password: None }
    }

    pub fn superuser(&self, database: &str) -> Connection {
        let login = self.direct(EmbeddedPostgres::SUPERUSER, database);
        Connection::open(&login).unwrap_or_else(|error| panic!("superuser: {error}"))
    }
}

/// A proxy in front of one database.
#[derive(Debug)]
pub struct Proxy {
    pub(crate) watch: Child,
    pub(crate) port: u16,
    pub directory: PathBuf,
}

impl Proxy {
    /// Starts `program run` under the corpus configuration and waits until tenant_a can log in.
    pub fn start(program: &str, server: &Server, database: &str) -> Self {
        Self::start_with(program, server, database, database, |config, _| config)
    }

    /// The same under a configuration that `edit` has changed; it is told the proxy's directory, which gets
    /// this name.
    pub fn start_with(
        program: &str,
        server: &Server,
        database: &str,
        name: &str,
        edit: impl Fn(String, &Path) -> String,
    ) -> Self {
        let directory = server.directory.join(name);
        std::fs::create_dir_all(&directory).expect("a temporary directory");
        let port = free_port().expect("a free port");
        let config = directory.join("pgbulkhead.toml");
        let text = edit(configuration(server, database, port, &directory), &directory);
        std::fs::write(&config, text).expect("the config");
        let log = std::fs::File::create(directory.join("proxy.log")).expect("the proxy's log");
        let watch = Command::new("sh")
            .args(["-c", WATCH, "pgbulkhead-watch", program, "run", "--config"])
            .arg(&config)
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("the proxy's log"))
            .stderr(log)
            .spawn()
            .expect("a shell");
        let proxy = Self { watch, port, directory };
        proxy.wait_until_ready();
        proxy
    }

    pub fn login(&self, user: &str) -> Login {
        let password = Some(PASSWORD.into());
        Login { port: self.port, database: "ccm".into(), user: user.into(), password }
    }

    /// What the proxy has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("proxy.log")).unwrap_or_default()
    }

    fn wait_until_ready(&self) {
        let began = Instant::now();
        loop {
            match Connection::open(&self.login("tenant_a")) {
                Ok(_) => return,
                Err(error) if began.elapsed() > READY_TIMEOUT => {
                    panic!("the proxy does not become ready: {error}\n{}", self.log())
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        // The shell is gone then, and the proxy with it.
        let _ = self.watch.wait();
    }
}

/// The corpus configuration with ports, paths and verifiers filled in.
fn configuration(server: &Server, database: &str, port: u16, directory: &Path) -> String {
    let metrics = free_port().expect("a free port");
    let verifier = postgres_protocol::password::scram_sha_256(PASSWORD.as_bytes());
    let replaced = corpus("pgbulkhead.toml")
        .replace("127.0.0.1:6432", &format!("127.0.0.1:{port}"))
        .replace("127.0.0.1:9930", &format!("127.0.0.1:{metrics}"))
        .replace("port = 5432", &format!("port = {}", server.port()))
        .replace("dbname = \"ccm\"", &format!("dbname = \"{database}\""))
        .replace("SCRAM-SHA-256$…", &verifier)
        .replace("\"audit.jsonl\"", &format!("{:?}", directory.join("audit.jsonl")));
    assert!(!replaced.contains('…'), "the corpus configuration has changed its form");
    replaced
}

/// A script for psql without what only psql knows.
fn plain_sql(script: &str, database: &str) -> String {
    let lines = script.lines().filter(|line| !line.starts_with("\\set"));
    lines.collect::<Vec<_>>().join("\n").replace(":DBNAME", database)
}

impl Connection {
    /// Runs what must work.
    pub fn run(&mut self, sql: &str) -> Answer {
        let answer = self.simple(sql).unwrap_or_else(|error| panic!("{sql:.200}: {error}"));
        if let Some(error) = answer.error() {
            panic!("{sql:.200}: {error:?}");
        }
        answer
    }

    /// The text values of the only result.
    pub fn values(&mut self, sql: &str) -> Vec<Vec<String>> {
        let outcomes = self.run(sql).outcomes();
        let rows = outcomes.into_iter().flat_map(|o| o.rows);
        let text = |value: Option<Vec<u8>>| {
            value.map_or_else(String::new, |v| String::from_utf8_lossy(&v).into_owned())
        };
        rows.map(|row| row.into_iter().map(text).collect()).collect()
    }
}
