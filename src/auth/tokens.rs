//! Tenant tokens: signed JWTs that name the tenant of a transaction.
//!
//! The algorithm belongs to the key, and the key is picked by the header's `kid` among the configured ones:
//! a token says nothing about how it is checked (RFC 8725, sections 3.1 and 3.2). jsonwebtoken checks the
//! signature; the claims are read here, because every claim that is known must be there once and of its
//! type, and because the clock is an argument (the library would ask the system's).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use crate::config::TenantId;
use crate::config::model::{Config, TokenAlgorithm, TokenKey};

use super::{AuthError, Principal, TenantBinding, TokenFault};

/// Longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// HS256 secrets shorter than the hash can be guessed (RFC 7518, section 3.2).
const LEAST_SECRET_BYTES: usize = 32;

/// Ed25519's SubjectPublicKeyInfo up to the key (RFC 8410, section 4).
const ED25519_SPKI: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The SubjectPublicKeyInfo of a point on P-256 up to the point (RFC 5480, section 2).
const P256_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A tenant that a token vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundToken {
    /// The tenant.
    pub tenant: TenantId,
    /// `exp`: seconds since 1970 at which it ends.
    pub expires: u64,
    /// `kid` of the key that signed it.
    pub kid: Arc<str>,
}

/// The keys that sign tenant tokens.
#[derive(Debug, Default)]
pub struct TokenVerifier {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    kid: Arc<str>,
    decoding: DecodingKey,
    validation: Validation,
    audience: Option<String>,
    issuer: Option<String>,
}

/// Why a configured key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// The key's file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file has no public key of the algorithm.
    #[error("{path} holds no PEM public key for {algorithm}", path = path.display())]
    NotAKey {
        /// The key's file.
        path: PathBuf,
        /// The configured algorithm.
        algorithm: &'static str,
    },
    /// The shared secret is shorter than the hash.
    #[error("{path} holds fewer than {LEAST_SECRET_BYTES} bytes", path = path.display())]
    ShortSecret {
        /// The key's file.
        path: PathBuf,
    },
}

impl TokenVerifier {
    /// Reads every `[[token_keys]]` file.
    pub fn new(config: &Config) -> Result<Self, KeyError> {
        let keys = config.token_keys.iter().map(Key::read).collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// Whether there is a key of this `kid`.
    pub fn knows(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| *key.kid == *kid)
    }

    /// Checks a token for a principal at a time. The principal must take its tenant from tokens.
    pub fn verify(&self, principal: &Principal, token: &str, now_unix: u64) -> Result<BoundToken, AuthError> {
        let TenantBinding::Token { allowed } = &principal.tenant else {
            return Err(TokenFault::Tenant.into());
        };
        let (key, claims) = self.open(token)?;
        let expires = claims.check(key, &principal.user, now_unix)?;
        let tenant = claims.text("tenant")?.ok_or(TokenFault::Claims)?;
        let tenant = TenantId::new(tenant).ok_or(TokenFault::Tenant)?;
        if !allowed.is_empty() && !allowed.contains(&tenant) {
            return Err(TokenFault::Tenant.into());
        }
        Ok(BoundToken { tenant, expires, kid: key.kid.clone() })
    }

    /// The key that the header names, and the claims that it signed.
    fn open(&self, token: &str) -> Result<(&Key, Claims), TokenFault> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenFault::TooLong);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenFault::Malformed)?;
        if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
            return Err(TokenFault::Header);
        }
        let kid = header.kid.ok_or(TokenFault::UnknownKey)?;
        let key = self.keys.iter().find(|key| *key.kid == *kid).ok_or(TokenFault::UnknownKey)?;
        match jsonwebtoken::decode::<Claims>(token, &key.decoding, &key.validation) {
            Ok(data) => Ok((key, data.claims)),
            Err(error) => Err(fault(&error)),
        }
    }
}

/// The library's error as one of ours; its own text quotes claims.
fn fault(error: &jsonwebtoken::errors::Error) -> TokenFault {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => TokenFault::Malformed,
        ErrorKind::InvalidAudience => TokenFault::Audience,
        ErrorKind::InvalidIssuer => TokenFault::Issuer,
        ErrorKind::Json(_) => TokenFault::Claims,
        _ => TokenFault::Signature,
    }
}

impl Key {
    fn read(key: &TokenKey) -> Result<Self, KeyError> {
        let path = key.file.clone();
        let bytes =
            std::fs::read(&path).map_err(|source| KeyError::Unreadable { path: path.clone(), source })?;
        let (algorithm, decoding) = match key.algorithm {
            TokenAlgorithm::Hs256 if bytes.len() < LEAST_SECRET_BYTES => {
                return Err(KeyError::ShortSecret { path });
            }
            TokenAlgorithm::Hs256 => (Algorithm::HS256, DecodingKey::from_secret(&bytes)),
            TokenAlgorithm::EdDsa => {
                let raw = public_key(&bytes, ED25519_SPKI, 32);
                let raw = raw.ok_or(KeyError::NotAKey { path, algorithm: "EdDSA (Ed25519)" })?;
                (Algorithm::EdDSA, DecodingKey::from_ed_der(&raw))
            }
            TokenAlgorithm::Es256 => {
                let raw = public_key(&bytes, P256_SPKI, 65);
                let raw = raw.ok_or(KeyError::NotAKey { path, algorithm: "ES256 (P-256)" })?;
                (Algorithm::ES256, DecodingKey::from_ec_der(&raw))
            }
        };
        Ok(Self {
            kid: key.kid.as_str().into(),
            decoding,
            validation: signature_only(algorithm),
            audience: key.audience.clone(),
            issuer: key.issuer.clone(),
        })
    }
}

/// The library checks the signature under one algorithm; [`Claims::check`] checks everything else.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

/// The key's bytes in a PEM `PUBLIC KEY`, if it is one of the wanted kind.
fn public_key(pem: &[u8], head: &[u8], length: usize) -> Option<Vec<u8>> {
    let spki = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?;
    let key = spki.as_ref().strip_prefix(head)?;
    (key.len() == length).then(|| key.to_vec())
}

/// The payload's members, each once.
struct Claims(BTreeMap<String, Value>);

impl Claims {
    /// Everything but the tenant; gives `exp`.
    fn check(&self, key: &Key, user: &str, now: u64) -> Result<u64, TokenFault> {
        let expires = self.number("exp")?.ok_or(TokenFault::Claims)?;
        self.number("iat")?;
        self.text("jti")?;
        if expires <= now {
            return Err(TokenFault::Expired);
        }
        if self.number("nbf")?.is_some_and(|from| from > now) {
            return Err(TokenFault::NotYet);
        }
        if self.text("sub")?.is_some_and(|subject| subject != user) {
            return Err(TokenFault::Subject);
        }
        let issuer = self.text("iss")?;
        if key.issuer.is_some() && issuer != key.issuer.as_deref() {
            return Err(TokenFault::Issuer);
        }
        self.check_audience(key.audience.as_deref())?;
        Ok(expires)
    }

    /// A token for somebody is for nobody else: one with `aud` is refused where none is configured
    /// (RFC 7519, section 4.1.3).
    fn check_audience(&self, wanted: Option<&str>) -> Result<(), TokenFault> {
        let given = match self.0.get("aud") {
            None => return wanted.map_or(Ok(()), |_| Err(TokenFault::Audience)),
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(many)) => {
                let texts = many.iter().map(Value::as_str).collect::<Option<Vec<_>>>();
                texts.ok_or(TokenFault::Claims)?
            }
            Some(_) => return Err(TokenFault::Claims),
        };
        match wanted {
            Some(wanted) if given.contains(&wanted) => Ok(()),
            _ => Err(TokenFault::Audience),
        }
    }

    /// A whole number of seconds; anything else under this name is a fault.
    fn number(&self, name: &str) -> Result<Option<u64>, TokenFault> {
        self.0.get(name).map(|value| value.as_u64().ok_or(TokenFault::Claims)).transpose()
    }

    fn text(&self, name: &str) -> Result<Option<&str>, TokenFault> {
        self.0.get(name).map(|value| value.as_str().ok_or(TokenFault::Claims)).transpose()
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let mut claims = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if claims.insert(name, value).is_some() {
                return Err(A::Error::custom("a claim is repeated"));
            }
        }
        Ok(Claims(claims))
    }
}

#[cfg(test)]
mod tests;
