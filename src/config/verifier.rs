//! A SCRAM verifier as PostgreSQL stores it in `pg_authid.rolpassword`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Iterations below this are refused (RFC 7677, section 4).
const LEAST_ITERATIONS: u32 = 4096;
/// Iterations above this are refused: clients do not take more (libraries stop at 100 000).
const MOST_ITERATIONS: u32 = 100_000;

/// What a server keeps of a SCRAM-SHA-256 password (RFC 5802, section 3; PostgreSQL's
/// `parse_scram_secret`). It proves who knows the password, and does not give it away.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// Salt, as bytes.
    pub salt: Vec<u8>,
    /// `StoredKey`.
    pub stored_key: [u8; 32],
    /// `ServerKey`.
    pub server_key: [u8; 32],
}

/// Why a text is no verifier. The text itself is never part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// Not `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
    #[error("not of the form SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>")]
    Shape,
    /// Too few or too many iterations.
    #[error("iterations must lie between {LEAST_ITERATIONS} and {MOST_ITERATIONS}")]
    Iterations,
    /// A part is not base64, or has the wrong length.
    #[error("salt, StoredKey or ServerKey is not base64 of the right length")]
    Encoding,
}

impl ScramVerifier {
    /// Reads PostgreSQL's text form.
    pub fn parse(text: &str) -> Result<Self, VerifierError> {
        let parts = text.strip_prefix("SCRAM-SHA-256$").ok_or(VerifierError::Shape)?;
        let (parameters, keys) = parts.split_once('$').ok_or(VerifierError::Shape)?;
        let (iterations, salt) = parameters.split_once(':').ok_or(VerifierError::Shape)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(VerifierError::Shape)?;
        let iterations: u32 = iterations.parse().map_err(|_| VerifierError::Iterations)?;
        if !(LEAST_ITERATIONS..=MOST_ITERATIONS).contains(&iterations) {
            return Err(VerifierError::Iterations);
        }
        let salt = STANDARD.decode(salt).map_err(|_| VerifierError::Encoding)?;
        if !(8..=64).contains(&salt.len()) {
            return Err(VerifierError::Encoding);
        }
        Ok(Self { iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? })
    }
}

impl std::fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramVerifier(…)")
    }
}

fn key(text: &str) -> Result<[u8; 32], VerifierError> {
    let bytes = STANDARD.decode(text).map_err(|_| VerifierError::Encoding)?;
    bytes.try_into().map_err(|_| VerifierError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn the_verifier_of_rfc_7677s_password_is_read() {
        let verifier = ScramVerifier::parse(GOOD).unwrap();
        assert_eq!((verifier.iterations, verifier.salt.len()), (4096, 16));
    }

    #[test]
    fn anything_else_is_not_a_verifier() {
        for (bad, error) in [
            ("", VerifierError::Shape),
            ("SCRAM-SHA-256$…", VerifierError::Shape),
            ("md5d41d8cd98f00b204e9800998ecf8427e", VerifierError::Shape),
            (&GOOD.replace("4096", "0"), VerifierError::Iterations),
            (&GOOD.replace("4096", "2147483647"), VerifierError::Iterations),
            (&GOOD.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "AA=="), VerifierError::Encoding),
            (&GOOD.replace("WG5d8oPm", ""), VerifierError::Encoding),
            (&format!("{GOOD}:x"), VerifierError::Encoding),
        ] {
            assert_eq!(ScramVerifier::parse(bad), Err(error), "{bad}");
        }
    }
}
