//! `[[databases]]`: a server, and how the proxy logs in there.

use std::path::PathBuf;
use std::time::Duration;

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
