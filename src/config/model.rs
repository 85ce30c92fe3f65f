//! What `pgbulkhead.toml` can say, after defaults. Plain data: whoever holds a [`Config`] holds one that
//! was read and checked without an error.

mod database;
mod rules;
mod users;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use database::{AuthMethod, BackendTls, ChannelBinding, Database, Password, PasswordCommand, Secret};
pub use rules::{
    Barrier, FunctionKind, FunctionRule, Nulls, Operation, ParentLink, QualifiedName, Role, RoleRule,
    SequenceAccess, SequenceRule, Table, TableKind, Tenancy,
};
pub use users::{TenantSource, TokenAlgorithm, TokenKey, User, UserAuth};

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[general]`.
    pub general: General,
    /// `[[databases]]`, at least one, names unique.
    pub databases: Vec<Database>,
    /// `[tenancy]`.
    pub tenancy: Tenancy,
    /// `[[tables]]`: relations that need more than the tenant column to be understood.
    pub tables: Vec<Table>,
    /// `[[functions]]` outside `pg_catalog` that may be called.
    pub functions: Vec<FunctionRule>,
    /// `[[sequences]]` that are not owned by a column and may be used.
    pub sequences: Vec<SequenceRule>,
    /// `[[roles]]`: what a role may do, table by table.
    pub roles: Vec<Role>,
    /// `[[users]]`: who may log in.
    pub users: Vec<User>,
    /// `[[token_keys]]`: keys that sign tenant tokens.
    pub token_keys: Vec<TokenKey>,
    /// `[audit]`.
    pub audit: Audit,
}

/// `[general]`.
#[derive(Debug, Clone)]
pub struct General {
    /// Addresses that clients connect to.
    pub listen: Vec<SocketAddr>,
    /// Address of `/metrics`, `/healthz` and `/readyz`; none: no HTTP endpoint.
    pub metrics_listen: Option<SocketAddr>,
    /// When a server connection goes back to the pool.
    pub pool_mode: PoolMode,
    /// Server connections per (database, worker).
    pub default_pool_size: usize,
    /// Server connections per (database, worker) that are kept open, idle or not.
    pub min_pool_size: usize,
    /// Further server connections per (database, worker) for clients that have waited for `reserve_timeout`.
    pub reserve_pool_size: usize,
    /// How long a client waits before the reserve serves it.
    pub reserve_timeout: Duration,
    /// Server connections per (database, worker) that the clients of one tenant may hold at once; none: all.
    pub max_tenant_connections: Option<usize>,
    /// Server connections per (database, worker) that clients may keep beyond a transaction (cursors WITH HOLD, session
    /// advisory locks, LISTEN); none: three quarters of the pool.
    pub max_pinned: Option<usize>,
    /// Worker threads; PERF: one up to four cores.
    pub workers: usize,
    /// Clients at once, over all workers.
    pub max_client_conn: usize,
    /// How long a client may take to log in.
    pub client_login_timeout: Duration,
    /// How long a client may refuse to read its answer.
    pub client_write_timeout: Duration,
    /// How long a statement waits for a server connection.
    pub checkout_timeout: Duration,
    /// How long opening a server connection may take.
    pub server_connect_timeout: Duration,
    /// An idle server connection is closed after this.
    pub idle_timeout: Duration,
    /// A server connection is not used again after this.
    pub server_lifetime: Duration,
    /// A server connection that was idle for so long is asked whether it lives before it is used again.
    pub server_check_delay: Duration,
    /// After how long without a byte a server connection is probed, and how often after that.
    pub tcp_keepalive: Duration,
    /// How long what was sent to a server may stay unacknowledged.
    pub tcp_user_timeout: Duration,
    /// Whether the server is told the clients' `application_name`, where it differs from the last one's.
    pub track_application_name: bool,
    /// How long a statement may run before it is cancelled and its client let go; none: for ever.
    pub query_timeout: Option<Duration>,
    /// Plans kept in the shared cache.
    pub plan_cache_entries: usize,
    /// Bytes of plans kept in the shared cache.
    pub plan_cache_bytes: usize,
    /// Longest statement that is planned, in bytes.
    pub max_statement_bytes: usize,
    /// Longest Bind, in bytes. A long one passes to the server as it comes.
    pub max_bind_bytes: usize,
    /// Where statements go whose rewritten text failed verification.
    pub quarantine_file: Option<PathBuf>,
    /// What the witness's silence means.
    pub witness: Witness,
    /// What a server below the floor of its major means.
    pub server_floor: ServerFloor,
    /// TLS towards clients of the addresses in `listen`.
    pub tls: ClientTls,
    /// `[[listeners]]`: further addresses.
    pub listeners: Vec<Listener>,
    /// Certificate chain, PEM.
    pub tls_cert_file: Option<PathBuf>,
    /// Private key, PEM.
    pub tls_key_file: Option<PathBuf>,
}

impl Default for General {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 6432))],
            metrics_listen: None,
            pool_mode: PoolMode::Transaction,
            default_pool_size: 16,
            min_pool_size: 0,
            reserve_pool_size: 0,
            reserve_timeout: Duration::from_secs(5),
            max_tenant_connections: None,
            max_pinned: None,
            // One up to four processors, then one for each four.
            workers: std::thread::available_parallelism().map_or(1, |all| all.get().div_ceil(4)),
            max_client_conn: 5000,
            client_login_timeout: Duration::from_secs(60),
            client_write_timeout: Duration::from_secs(60),
            checkout_timeout: Duration::from_secs(30),
            server_connect_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(600),
            server_lifetime: Duration::from_secs(3600),
            server_check_delay: Duration::from_secs(30),
            tcp_keepalive: Duration::from_secs(60),
            tcp_user_timeout: Duration::from_secs(60),
            track_application_name: true,
            query_timeout: None,
            plan_cache_entries: 10_000,
            plan_cache_bytes: 64 << 20,
            max_statement_bytes: 1 << 20,
            max_bind_bytes: 256 << 20,
            quarantine_file: None,
            witness: Witness::WhenPossible,
            server_floor: ServerFloor::Warn,
            tls: ClientTls::Disable,
            listeners: Vec::new(),
            tls_cert_file: None,
            tls_key_file: None,
        }
    }
}

impl General {
    /// Every address that clients connect to: those of `listen`, then `[[listeners]]`.
    pub fn listeners(&self) -> impl Iterator<Item = Listener> {
        let listed = self.listen.iter().map(|address| Listener { address: *address, tls: self.tls });
        listed.chain(self.listeners.iter().copied())
    }
}

/// An address that clients connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// The address.
    pub address: SocketAddr,
    /// TLS there.
    pub tls: ClientTls,
}

impl Listener {
    /// Whether a client can have TLS there.
    pub fn has_tls(&self) -> bool {
        self.tls != ClientTls::Disable
    }
}

/// `pool_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// A lease lasts one transaction.
    Transaction,
    /// A lease lasts as long as the client.
    Session,
}

/// `witness`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// A statement that the second parser cannot read passes on the verifier's word alone.
    WhenPossible,
    /// A statement that the second parser cannot read is refused.
    Required,
}

/// `server_floor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFloor {
    /// Say it in the log.
    Warn,
    /// Do not start.
    Refuse,
}

/// `tls` of the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientTls {
    /// `N` to every SSLRequest.
    Disable,
    /// With and without.
    Allow,
    /// 08004 without.
    Require,
}

/// `[audit]`.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Where lines go.
    pub sink: AuditSink,
    /// How often the writer wakes.
    pub flush_interval: Duration,
    /// Events that a worker may have unwritten before it refuses statements.
    pub queue: usize,
}

/// `sink` of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSink {
    /// `sink = "file"`, `path = "…"`.
    File(PathBuf),
    /// `sink = "stdout"`.
    Stdout,
    /// `sink = "none"`: decisions are counted, not written.
    None,
}
