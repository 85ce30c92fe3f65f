//! What the tour walks through: the server with the sample data, and the proxy in front of it.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::distr::Alphanumeric;
use tokio_postgres::{Client, NoTls};

use super::embedded::{EmbeddedPostgres, Options, free_port};
use super::failure::DemoError;
use crate::auth::verifier;

const DATABASE: &str = "ccm";
const READY_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A server, a proxy, and how to reach both. Dropping it stops them and removes their files.
#[derive(Debug)]
pub(super) struct Stage {
    // Fields are dropped in order: the proxy before the server that it uses.
    proxy: Proxy,
    directory: Directory,
    server: EmbeddedPostgres,
    proxy_port: u16,
    metrics_port: u16,
    password: String,
    backend_password: String,
    key: Vec<u8>,
}

impl Stage {
    /// Starts everything; the proxy is this very program.
    pub(super) async fn build() -> Result<Self, DemoError> {
        let superuser_password = random_password();
        let backend_password = random_password();
        let options = Options { password: Some(superuser_password.clone()), ..Options::default() };
        let server = EmbeddedPostgres::start(&options)?;
        load_sample(&server, &superuser_password, &backend_password).await?;

        let directory = Directory::create(&server)?;
        let (proxy_port, metrics_port) = (free_port()?, free_port()?);
        let password = random_password();
        let key: Vec<u8> = rand::rng().random_iter().take(32).collect();
        let config = include_str!("config.toml")
            .replace("$PROXY_PORT$", &proxy_port.to_string())
            .replace("$METRICS_PORT$", &metrics_port.to_string())
            .replace("$SERVER_PORT$", &server.port().to_string())
            .replace("$BACKEND_PASSWORD$", &backend_password)
            .replace("$VERIFIER$", &verifier::make(&password))
            .replace("$KEY_FILE$", &directory.path("token.key").to_string_lossy())
            .replace("$AUDIT_FILE$", &directory.path("audit.jsonl").to_string_lossy());
        directory.write("token.key", &key)?;
        directory.write("pgbulkhead.toml", config.as_bytes())?;
        let proxy = Proxy::start(&directory)?;
        let mut stage =
            Self { proxy, directory, server, proxy_port, metrics_port, password, backend_password, key };
        stage.wait_until_ready().await?;
        Ok(stage)
    }

    /// The server's version.
    pub(super) fn server_version(&self) -> &str {
        self.server.version()
    }

    /// The audit log.
    pub(super) fn audit_log(&self) -> PathBuf {
        self.directory.path("audit.jsonl")
    }

    /// A file beside it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.path(name)
    }

    /// The secret that signs tenant tokens.
    pub(super) fn token_key(&self) -> &[u8] {
        &self.key
    }

    /// Where the metrics are.
    pub(super) fn metrics_port(&self) -> u16 {
        self.metrics_port
    }

    /// How a user reaches the proxy.
    pub(super) fn url(&self, user: &str) -> String {
        format!("postgresql://{user}:{}@127.0.0.1:{}/{DATABASE}", self.password, self.proxy_port)
    }

    /// How the backend role reaches the server, past the proxy.
    pub(super) fn server_url(&self) -> String {
        let (password, port) = (&self.backend_password, self.server.port());
        format!("postgresql://app_backend:{password}@127.0.0.1:{port}/{DATABASE}")
    }

    /// Logs in at the proxy.
    pub(super) async fn connect(&self, user: &str) -> Result<Client, DemoError> {
        connect(&self.url(user)).await
    }

    async fn wait_until_ready(&mut self) -> Result<(), DemoError> {
        let began = Instant::now();
        loop {
            let ended = self.proxy.0.try_wait().is_ok_and(|status| status.is_some());
            match self.connect("acme").await {
                Ok(_) => return Ok(()),
                Err(_) if !ended && began.elapsed() < READY_TIMEOUT => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => {
                    let log = std::fs::read_to_string(self.directory.path("proxy.log"));
                    return Err(DemoError::Proxy { reason: error.to_string(), log: log.unwrap_or_default() });
                }
            }
        }
    }
}

/// Opens a connection that lives as long as its client.
pub(super) async fn connect(url: &str) -> Result<Client, DemoError> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection of the tour ended");
        }
    });
    Ok(client)
}

async fn load_sample(server: &EmbeddedPostgres, password: &str, backend: &str) -> Result<(), DemoError> {
    let user = EmbeddedPostgres::SUPERUSER;
    let url = |database| format!("postgresql://{user}:{password}@127.0.0.1:{}/{database}", server.port());
    connect(&url("postgres")).await?.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await?;
    let sample = include_str!("sample.sql").replace("$BACKEND_PASSWORD$", backend);
    connect(&url(DATABASE)).await?.batch_execute(&sample).await?;
    Ok(())
}

fn random_password() -> String {
    rand::rng().sample_iter(Alphanumeric).take(20).map(char::from).collect()
}

/// The proxy's own files: its configuration with passwords, the audit log.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    /// It lies in the server's own, so that it goes with it, also when this process is killed.
    fn create(server: &EmbeddedPostgres) -> Result<Self, DemoError> {
        let path = server.socket_directory().join("proxy");
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(DemoError::file(&path))?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), DemoError> {
        let path = self.path(name);
        std::fs::write(&path, content).map_err(DemoError::file(&path))
    }
}

/// This program with the verb `run`.
#[derive(Debug)]
struct Proxy(Child);

impl Proxy {
    fn start(directory: &Directory) -> Result<Self, DemoError> {
        let log = directory.path("proxy.log");
        let output = std::fs::File::create(&log).map_err(DemoError::file(&log))?;
        let errors = output.try_clone().map_err(DemoError::file(&log))?;
        let program = std::env::current_exe().map_err(DemoError::file(Path::new("this program")))?;
        // It ends with this process (this is the main thread, to which the kernel ties the signal), and
        // Ctrl-C in the terminal must not reach it before the demo itself.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(&program)
            .arg("run")
            .arg("--config")
            .arg(directory.path("pgbulkhead.toml"))
            .current_dir(&directory.0)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(DemoError::file(&program))?;
        Ok(Self(child))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let began = Instant::now();
        while began.elapsed() < STOP_TIMEOUT {
            match self.0.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(20)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _: io::Result<()> = self.0.kill();
        let _ = self.0.wait();
    }
}
