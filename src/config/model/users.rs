//! `[[users]]` and `[[token_keys]]`: who logs in, and whose tenant.

use std::path::PathBuf;

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
