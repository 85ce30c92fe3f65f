//! The server and the proxies of the procedures, and what must hold after each of them.

use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::messages::query;
use crate::support::fixture::{Proxy, Server};
use crate::support::wire::Connection;

const PROGRAM: &str = env!("CARGO_BIN_EXE_pgbulkhead");
pub const DATABASE: &str = "wire";
/// The secret of the key that signs tenant tokens here.
pub const TOKEN_SECRET: &[u8] = b"a secret of the tests, at least 32 bytes long";
/// A public key of the configuration: RFC 8410's example.
pub const ED_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
    -----END PUBLIC KEY-----\n";

/// One server, and the proxy that most procedures use.
pub struct Stage {
    pub proxy: Proxy,
    pub server: Server,
}

impl Stage {
    pub fn new() -> Self {
        let server = Server::start();
        server.create_database(DATABASE);
        let proxy = start(&server, "wire", |config| config);
        Self { proxy, server }
    }

    /// Another proxy in front of the same database.
    pub fn proxy(&self, name: &str, edit: impl Fn(String) -> String) -> Proxy {
        start(&self.server, name, edit)
    }

    /// A proxy under the corpus configuration as it stands, in front of a database of its own.
    pub fn plain(&self, database: &str) -> Proxy {
        self.server.create_database(database);
        Proxy::start(PROGRAM, &self.server, database)
    }

    /// A proxy with one server connection.
    pub fn narrow(&self, name: &str) -> Proxy {
        self.proxy(name, |config| config.replace("default_pool_size = 4", "default_pool_size = 1"))
    }

    /// A proxy that looks for its server elsewhere.
    pub fn in_front_of(&self, port: u16, name: &str) -> Proxy {
        self.proxy(name, |config| {
            config
                .replace(&format!("port = {}", self.server.port()), &format!("port = {port}"))
                .replace("default_pool_size = 4", "default_pool_size = 1")
        })
    }

    pub fn superuser(&self) -> Connection {
        self.server.superuser(DATABASE)
    }

    /// Whoever reads this table of the schema app waits until it is released.
    pub fn hold(&self, table: &str) -> Held {
        let mut holder = self.superuser();
        holder.run(&format!("begin; lock table app.{table} in access exclusive mode"));
        Held { holder, watcher: RefCell::new(self.superuser()) }
    }
}

/// A table that is locked.
pub struct Held {
    holder: Connection,
    watcher: RefCell<Connection>,
}

impl Held {
    /// Waits until so many statements of the proxy wait for a lock.
    pub fn by(&self, wanted: usize) {
        let count = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
        let mut watcher = self.watcher.borrow_mut();
        for _ in 0..200 {
            if watcher.values(count) == [[wanted.to_string()]] {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{wanted} statements should wait");
    }

    /// They go on.
    pub fn release(mut self) {
        self.holder.run("commit");
    }
}

/// The corpus configuration, and users whose tenant a token names.
fn start(server: &Server, name: &str, edit: impl Fn(String) -> String) -> Proxy {
    Proxy::start_with(PROGRAM, server, DATABASE, name, |config, directory| {
        edit(with_tokens(&config, directory))
    })
}

fn with_tokens(config: &str, directory: &Path) -> String {
    let secret = directory.join("token.key");
    std::fs::write(&secret, TOKEN_SECRET).expect("the token key");
    let public = directory.join("ed.pem");
    std::fs::write(&public, ED_KEY).expect("the public key");
    let verifier = postgres_protocol::password::scram_sha_256(crate::raw::PASSWORD.as_bytes());
    format!(
        "{config}\n[[token_keys]]\nkid = \"wire\"\nalgorithm = \"HS256\"\nfile = {secret:?}\n\
         [[token_keys]]\nkid = \"ed\"\nalgorithm = \"EdDSA\"\nfile = {public:?}\n\
         [[users]]\nname = \"by_token\"\nverifier = \"{verifier}\"\nrole = \"app\"\ntenant_from = \"token\"\ntenants = [\"1\", \"2\"]\n\
         [[users]]\nname = \"token_is_password\"\nauth = \"tenant_token\"\nrole = \"app\"\n"
    )
}

/// The proxy lives, serves others within a second, and gives A its own rows and nothing else.
pub fn probe(proxy: &Proxy) {
    let began = Instant::now();
    let mut client = Connection::of(proxy, "tenant_a");
    let answer = client.ask(&query("select tenant_id, count(*) from documents group by 1"));
    assert_eq!(answer, "T D[1|40] C[SELECT 1] Z[I]");
    assert!(began.elapsed() < Duration::from_secs(10), "served after {:?}", began.elapsed());
    let log = proxy.log();
    assert!(!log.contains("panicked"), "{log}");
}

impl Proxy {
    /// The process id of the proxy itself, which runs below the shell that watches over it.
    pub fn process(&self) -> u32 {
        let shell = self.watch.id();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        let children = children.expect("the shell runs");
        let of_proxy = |id: &&str| {
            let name = std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            name.starts_with("pgbulkhead")
        };
        children.split_whitespace().find(of_proxy).and_then(|id| id.parse().ok()).expect("the proxy runs")
    }

    /// The most memory it has had, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// The audit log so far, once what was queued is written.
    pub fn audit(&self) -> String {
        std::thread::sleep(Duration::from_millis(300));
        std::fs::read_to_string(self.directory.join("audit.jsonl")).unwrap_or_default()
    }
}
