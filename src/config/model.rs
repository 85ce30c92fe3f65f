//! What `pgbulkhead.toml` can say, after defaults. Plain data: whoever holds a [`Config`] holds one that
//! was read and checked without an error.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Server connections per (database, worker) that may be kept beyond their transactions, for cursors WITH HOLD;
    /// none: half of the pool.
    pub max_held_connections: Option<usize>,
    /// Those of them at most that clients keep beyond a transaction (session advisory locks, LISTEN); three
    /// quarters of the pool where it says nothing.
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
            max_held_connections: None,
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

/// One `[[databases]]`.
#[derive(Debug, Clone)]
pub struct Database {
    /// What clients ask for.
    pub name: String,
    /// Host name or address of the server.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// Database on the server.
    pub dbname: String,
    /// The one backend role.
    pub user: String,
    /// Where its password comes from.
    pub password: Password,
    /// TLS towards the server.
    pub tls: BackendTls,
    /// CA bundle for `verify-ca` and `verify-full`.
    pub tls_ca_file: Option<PathBuf>,
    /// Schemas that unqualified names are looked up in; pinned.
    pub search_path: Vec<String>,
    /// Pool size, where it differs from `default_pool_size`.
    pub pool_size: Option<usize>,
    /// Where it differs from `[general] min_pool_size`.
    pub min_pool_size: Option<usize>,
    /// Where it differs from `[general] reserve_pool_size`.
    pub reserve_pool_size: Option<usize>,
    /// Where it differs from `[general] max_tenant_connections`.
    pub max_tenant_connections: Option<usize>,
    /// The method that the server must ask for.
    pub auth_method: AuthMethod,
    /// Whether SCRAM is bound to the TLS connection.
    pub channel_binding: ChannelBinding,
}

impl Database {
    /// A database of the same name on its server, with the default of everything else and without a password.
    pub fn new(name: &str, host: &str, port: u16, user: &str) -> Self {
        Self {
            name: name.to_owned(),
            host: host.to_owned(),
            port,
            dbname: name.to_owned(),
            user: user.to_owned(),
            password: Password::None,
            tls: BackendTls::Prefer,
            tls_ca_file: None,
            search_path: vec!["public".to_owned()],
            pool_size: None,
            min_pool_size: None,
            reserve_pool_size: None,
            max_tenant_connections: None,
            auth_method: AuthMethod::Trust,
            channel_binding: ChannelBinding::Prefer,
        }
    }
}

/// Where the backend role's password comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// There is none.
    None,
    /// `password` or `password_env`.
    Text(Secret),
    /// `password_file`: read anew for each connection, without the newline at its end.
    File(PathBuf),
    /// `password_command`.
    Command(PasswordCommand),
}

/// `password_command`: a program that prints the password, an IAM token of RDS for example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordCommand {
    /// The program and its arguments. No shell stands between.
    pub words: Vec<String>,
    /// What it printed is not used for longer (`password_lifetime`).
    pub lifetime: Duration,
    /// How long it may run (`password_timeout`).
    pub timeout: Duration,
}

/// A password or key: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `tls` of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendTls {
    /// Never.
    Disable,
    /// If the server has it; no verification.
    Prefer,
    /// Always; no verification.
    Require,
    /// Always; certificate chain verified.
    VerifyCa,
    /// Always; chain and host name verified.
    VerifyFull,
}

/// `auth_method` of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// SCRAM-SHA-256, with channel binding under TLS when offered. The default with a password.
    ScramSha256,
    /// The server must let the role in without asking. The default without a password.
    Trust,
    /// The password in clear, as an IAM token of RDS is sent: with `tls = "verify-full"` only.
    Password,
}

/// `channel_binding` of a database (libpq's).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// SCRAM-SHA-256-PLUS where the server offers it under TLS.
    Prefer,
    /// SCRAM-SHA-256-PLUS or nothing.
    Require,
}

/// `[tenancy]`.
#[derive(Debug, Clone)]
pub struct Tenancy {
    /// The tenant column's name.
    pub column: String,
    /// The barrier against leaking conditions.
    pub barrier: Barrier,
    /// What a row means whose tenant column is null.
    pub nulls: Nulls,
}

/// `barrier`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barrier {
    /// Conditions that may raise or leak wait behind the tenant predicate.
    Auto,
    /// They do not; the planner's statistics are open too.
    Off,
}

/// `nulls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// Nobody's.
    Hidden,
    /// Everybody may read it.
    Shared,
}

/// One `[[tables]]`.
#[derive(Debug, Clone)]
pub struct Table {
    /// `schema.relation`.
    pub name: QualifiedName,
    /// Whose rows it holds.
    pub kind: TableKind,
    /// Restricts what any role may do; none: select, insert, update and delete (shared: select only).
    pub access: Option<Vec<Operation>>,
}

/// `kind` of a table, with what that kind needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableKind {
    /// Has a tenant column.
    Tenant {
        /// Where it differs from `[tenancy] column`.
        column: Option<String>,
        /// Where it differs from `[tenancy] nulls`.
        nulls: Option<Nulls>,
    },
    /// Tenancy comes through a parent.
    Child {
        /// The parents; more than one: of whichever key is set.
        parents: Vec<ParentLink>,
    },
    /// The same for all.
    Shared,
    /// Nobody's.
    Denied,
}

/// How a child finds its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentLink {
    /// The parent relation.
    pub parent: QualifiedName,
    /// Pairs of (child column, parent column).
    pub on: Vec<(String, String)>,
}

/// A name with its schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QualifiedName {
    /// Schema, as stored in the catalog.
    pub schema: String,
    /// Relation, function or sequence, as stored in the catalog.
    pub name: String,
}

impl std::fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// What is done to a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Read.
    Select,
    /// Add rows.
    Insert,
    /// Change rows.
    Update,
    /// Remove rows.
    Delete,
}

/// One `[[functions]]`.
#[derive(Debug, Clone)]
pub struct FunctionRule {
    /// `schema.function`: every overload of it.
    pub name: QualifiedName,
    /// What it may be trusted with.
    pub kind: FunctionKind,
}

/// `kind` of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    /// Its result depends on its arguments alone and it touches nothing else.
    Pure,
}

/// One `[[sequences]]`.
#[derive(Debug, Clone)]
pub struct SequenceRule {
    /// `schema.sequence`.
    pub name: QualifiedName,
    /// Any of `nextval`, `currval`.
    pub access: Vec<SequenceAccess>,
}

/// What may be done with a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceAccess {
    /// `nextval`.
    Nextval,
    /// `currval`.
    Currval,
}

/// One `[[roles]]`. A role that users name and that has no entry may do everything that tenancy allows.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Only select, whatever the rules say.
    pub read_only: bool,
    /// Relations without a rule: allowed as far as tenancy allows (`true`), or denied.
    pub default_allow: bool,
    /// `[[roles.rules]]`.
    pub rules: Vec<RoleRule>,
}

/// One rule of a role.
#[derive(Debug, Clone)]
pub struct RoleRule {
    /// The relation.
    pub table: QualifiedName,
    /// What may be done with it.
    pub allow: Vec<Operation>,
    /// Columns that may not be seen or set.
    pub denied_columns: Vec<String>,
}

/// One `[[users]]`.
#[derive(Debug, Clone)]
pub struct User {
    /// Login name.
    pub name: String,
    /// How the user proves who it is.
    pub auth: UserAuth,
    /// A name in `[[roles]]`, or any other: then without rules.
    pub role: String,
    /// The way to the tenant.
    pub tenant: TenantSource,
}

/// How a user proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserAuth {
    /// `verifier = "SCRAM-SHA-256$…"`.
    Scram(String),
    /// `auth = "tenant_token"`: the password is a tenant token (TLS, or a loopback listener).
    TenantToken,
}

/// Where a user's tenant comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantSource {
    /// `tenant = "1"`.
    Fixed(String),
    /// `tenants = ["1", "2"]`: one of them, chosen at startup with `options=-c pgbulkhead.tenant=…`.
    Choice(Vec<String>),
    /// A tenant token, by SET or as the password. `tenants` then limits which.
    Token {
        /// Tenants that a token may name; empty: any.
        allowed: Vec<String>,
    },
}

/// One `[[token_keys]]`.
#[derive(Debug, Clone)]
pub struct TokenKey {
    /// The header's `kid` that picks this key.
    pub kid: String,
    /// The only algorithm that this key verifies.
    pub algorithm: TokenAlgorithm,
    /// PEM public key (EdDSA, ES256) or raw secret bytes (HS256).
    pub file: PathBuf,
    /// Required `aud`, if any.
    pub audience: Option<String>,
    /// Required `iss`, if any.
    pub issuer: Option<String>,
}

/// `algorithm` of a token key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256.
    Es256,
    /// HMAC-SHA-256.
    Hs256,
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
