//! A PostgreSQL of the test's own, in a temporary directory.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A running server.
pub struct Postgres {
    directory: PathBuf,
    server: Child,
    pub port: u16,
}

impl Postgres {
    /// None where there is no PostgreSQL 15.
    pub fn start() -> Option<Self> {
        Path::new(BIN).join("initdb").exists().then_some(())?;
        let unique = format!("pgbulkhead-test-{}-{}", std::process::id(), rand::random::<u32>());
        let directory = std::env::temp_dir().join(unique);
        let as_postgres = |program: &str| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
            command.arg(format!("{BIN}/{program}")).current_dir("/tmp").stdout(Stdio::null());
            command.stderr(Stdio::null());
            command
        };
        let data = directory.to_str().unwrap();
        let made = as_postgres("initdb")
            .args(["-D", data, "-U", "admin", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"])
            .status()
            .unwrap();
        assert!(made.success(), "initdb");
        let hba = "host all admin 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(directory.join("pg_hba.conf"), hba).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = as_postgres("postgres")
            .args(["-D", data, "-p", &port.to_string(), "-k", "", "-c", "fsync=off"])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .spawn()
            .unwrap();
        let postgres = Self { directory, server, port };
        for _ in 0..200 {
            if postgres.admin("select 1").is_some() {
                postgres.admin(SETUP).unwrap();
                return Some(postgres);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the server does not come up");
    }

    /// A directory with a certificate for `localhost` and its key, which ends with the server.
    pub fn certificate(&self) -> PathBuf {
        let directory = self.directory.with_extension("tls");
        std::fs::create_dir_all(&directory).unwrap();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-keyout", "key.pem", "-out", "cert.pem", "-days", "30", "-subj", "/CN=localhost"])
            .args([
                "-addext",
                "subjectAltName=DNS:localhost",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ])
            .current_dir(&directory)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        directory
    }

    /// Runs statements as the superuser.
    pub fn admin(&self, sql: &str) -> Option<String> {
        let url = format!("postgres://admin@127.0.0.1:{}/postgres", self.port);
        psql(&url, None, sql).ok()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Immediate shutdown; the data goes away with the directory.
        let _ = Command::new("kill").args(["-QUIT", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
        let _ = std::fs::remove_dir_all(self.directory.with_extension("tls"));
    }
}

/// Runs statements with psql; the error is what it printed.
pub fn psql(url: &str, password: Option<&str>, sql: &str) -> Result<String, String> {
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url]).args(["-c", sql]);
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    let output = command.output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

const SETUP: &str = "create role app_backend login password 'backend'; \
    create table t (tenant_id int, id int primary key, v text); \
    insert into t select 1 + i % 2, i, 'v' || i from generate_series(1, 100) i; \
    grant all on t to app_backend; create schema app; grant all on schema app to app_backend";
