//! A real Prometheus scrapes the proxy and is asked what it has seen; promtool reads the metrics as they are served.
//!
//! `scripts/drivers` fetches both into `target/drivers/prometheus`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pgbulkhead::demo::embedded::free_port;

use crate::support::fixture::{Proxy, Server};
use crate::support::wire::Connection;

const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/drivers/prometheus/usr/bin");
const PATIENCE: Duration = Duration::from_secs(60);

/// What Prometheus is asked, and what it must answer after two statements that ran and one that was refused.
const QUESTIONS: &[(&str, &str)] = &[
    ("up", "1"),
    ("pgbulkhead_clients", "1"),
    ("pgbulkhead_statements_total{verdict=\"allowed\"}", "2"),
    ("sum(pgbulkhead_refusals_total)", "1"),
    ("pgbulkhead_statement_duration_seconds_count", "2"),
    ("histogram_quantile(1, pgbulkhead_statement_duration_seconds_bucket) > bool 0", "1"),
    ("count(pgbulkhead_build_info)", "1"),
];

pub fn judge(server: &Server) -> Result<(), String> {
    let (prometheus, promtool) = (program("prometheus"), program("promtool"));
    let (Some(prometheus), Some(promtool)) = (prometheus, promtool) else {
        let told = format!("{INSTALLED} is missing (scripts/drivers fetches it)");
        println!("prometheus: {told}");
        return if std::env::var_os("CI").is_some() { Err(told) } else { Ok(()) };
    };
    server.create_database("prometheus");
    let proxy = Proxy::start(env!("CARGO_BIN_EXE_pgbulkhead"), server, "prometheus");
    let address = metrics_address(&proxy);
    // Only what follows the look whether the proxy is ready counts.
    let mut client = Connection::open(&proxy.login("tenant_a")).map_err(|error| error.to_string())?;
    client.run("select count(*) from documents");
    client.run("select count(*) from tags");
    let refused = client.simple("drop table documents").map_err(|error| error.to_string())?;
    assert!(refused.error().is_some(), "the statement was not refused");

    lint(&promtool, &get(&address, "/metrics"))?;
    let scraper = Scraper::start(&prometheus, &proxy.directory, &address);
    for (question, expected) in QUESTIONS {
        scraper.must_say(question, expected)?;
    }
    println!("prometheus: scraped, {} questions answered, promtool finds no fault", QUESTIONS.len());
    Ok(())
}

/// The program by this name, fetched or the machine's own.
fn program(name: &str) -> Option<PathBuf> {
    let fetched = Path::new(INSTALLED).join(name);
    let path = if fetched.exists() { fetched } else { PathBuf::from(name) };
    Command::new(&path).arg("--version").output().is_ok().then_some(path)
}

fn metrics_address(proxy: &Proxy) -> String {
    let config = std::fs::read_to_string(proxy.directory.join("pgbulkhead.toml")).expect("the config");
    let line = config.lines().find(|line| line.starts_with("metrics_listen")).expect("metrics_listen");
    line.split('"').nth(1).expect("an address").to_owned()
}

/// What promtool says against the names, types and help texts of the metrics.
fn lint(promtool: &Path, answer: &str) -> Result<(), String> {
    let (_, metrics) = answer.split_once("\r\n\r\n").expect("an answer");
    let mut run = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    run.stdin.take().expect("its input").write_all(metrics.as_bytes()).expect("promtool reads");
    let output = run.wait_with_output().expect("promtool ends");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() && told.is_empty() { Ok(()) } else { Err(format!("promtool: {told}")) }
}

/// A Prometheus that scrapes one proxy.
struct Scraper {
    child: Child,
    address: String,
    log: PathBuf,
}

impl Scraper {
    fn start(prometheus: &Path, directory: &Path, target: &str) -> Self {
        let config = directory.join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\n\
             scrape_configs: [{{ job_name: pgbulkhead, static_configs: [{{ targets: [\"{target}\"] }}] }}]\n"
        );
        std::fs::write(&config, text).expect("a configuration");
        let address = format!("127.0.0.1:{}", free_port().expect("a free port"));
        let log = directory.join("prometheus.log");
        let child = Command::new(prometheus)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("Prometheus");
        Self { child, address, log }
    }

    /// Asks until the answer comes: a scrape has to happen first.
    fn must_say(&self, question: &str, expected: &str) -> Result<(), String> {
        let encoded: String = question.bytes().map(|byte| format!("%{byte:02x}")).collect();
        // A vector of one sample: its time, and its value as a text.
        let wanted = format!(",\"{expected}\"]}}]}}}}");
        let began = Instant::now();
        loop {
            let answer = get(&self.address, &format!("/api/v1/query?query={encoded}"));
            if answer.contains(&wanted) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                return Err(format!("{question} is not {expected}: {answer}\n{log}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole answer; empty where nobody answers yet.
fn get(address: &str, path: &str) -> String {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: x\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    ask().unwrap_or_default()
}
