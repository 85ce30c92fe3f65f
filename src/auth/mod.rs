//! Who a client is, and which tenant it may speak for: SCRAM verifiers and tenant tokens.
//!
//! Pure but for the randomness of a nonce: a [`Principal`] is made by [`scram::Exchange::finish`] or by
//! [`Principals::authenticate_token`], and by nothing else.

pub mod access;
pub mod end_point;
pub mod principal;
pub mod principals;
pub mod scram;
pub mod tokens;
pub mod verifier;

pub use access::Access;
pub use principal::{Principal, TenantBinding};
pub use principals::Principals;
pub use tokens::{BoundToken, TokenVerifier};

use crate::policy::SqlState;

/// Why somebody is not who they say, or may not be whom they ask to be. The texts are fixed: neither a
/// password nor a token nor a claim of one is ever part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The one answer to every failed login: unknown user, unknown database, wrong password, a message
    /// that is no SCRAM.
    #[error("login failed")]
    Login,
    /// A tenant token is refused.
    #[error("tenant token refused: {0}")]
    Token(#[from] TokenFault),
    /// The tenant asked for at startup is not one of the user's.
    #[error("the user may not speak for this tenant")]
    Tenant,
}

impl AuthError {
    /// SQLSTATE of the answer: 28P01 for a login, 28000 for a token or a tenant.
    pub fn state(self) -> SqlState {
        match self {
            Self::Login => SqlState::BAD_PASSWORD,
            Self::Token(_) | Self::Tenant => SqlState::NO_AUTHORIZATION,
        }
    }
}

/// What is wrong with a tenant token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Longer than [`tokens::MAX_TOKEN_BYTES`].
    #[error("it is too long")]
    TooLong,
    /// Not three base64url parts with a JSON header.
    #[error("it is not a signed JWT")]
    Malformed,
    /// The header names no key, or one that is not configured.
    #[error("its key is not known")]
    UnknownKey,
    /// The header has an extension that must be understood, or one that a signed token cannot have.
    #[error("its header asks for what is not supported")]
    Header,
    /// The algorithm is not the key's, or the signature is not by the key.
    #[error("its signature does not hold")]
    Signature,
    /// A claim is missing, twice there, or of the wrong type.
    #[error("a claim is missing, repeated or of the wrong type")]
    Claims,
    /// `exp` has come.
    #[error("it has expired")]
    Expired,
    /// `nbf` has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// `aud` is not the configured one.
    #[error("it is for another audience")]
    Audience,
    /// `iss` is not the configured one.
    #[error("it is from another issuer")]
    Issuer,
    /// `sub` is not the user.
    #[error("it is another user's")]
    Subject,
    /// The user takes no tokens, or not for this tenant.
    #[error("the user may not speak for its tenant")]
    Tenant,
}

/// A fresh secret for [`Principals::new`]: one a process.
pub fn process_secret() -> [u8; 32] {
    let mut secret = [0; 32];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut secret);
    secret
}
