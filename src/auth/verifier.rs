//! Makes SCRAM verifiers, for `hash-password`.

pub use crate::config::verifier::{ScramVerifier, VerifierError};

/// A SCRAM-SHA-256 verifier of a password with a fresh salt, in PostgreSQL's text form: what belongs in a
/// user's `verifier`.
pub fn make(password: &str) -> String {
    postgres_protocol::password::scram_sha_256(password.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_read_again_and_salted() {
        let (one, two) = (make("pencil"), make("pencil"));
        assert_ne!(one, two);
        assert!(ScramVerifier::parse(&one).is_ok());
    }
}
