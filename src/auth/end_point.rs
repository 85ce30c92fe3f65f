//! The channel binding `tls-server-end-point` (RFC 5929, section 4): a hash of the server's certificate.

use std::sync::Arc;

use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// The hash of a DER certificate by the hash function of its signature, SHA-256 in the place of MD5 and SHA-1.
/// Nothing where the signature names no hash (Ed25519) or the certificate cannot be read: then no channel
/// binding is offered, as PostgreSQL does.
pub fn server_end_point(certificate: &[u8]) -> Option<Arc<[u8]>> {
    let algorithm = Certificate::from_der(certificate).ok()?.signature_algorithm.oid.to_string();
    match algorithm.as_str() {
        // MD5, SHA-1 and SHA-256 with RSA; SHA-1 and SHA-256 with ECDSA.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Some(Sha256::digest(certificate).as_slice().into()),
        // SHA-384 with RSA, with ECDSA.
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => {
            Some(Sha384::digest(certificate).as_slice().into())
        }
        // SHA-512 with RSA, with ECDSA.
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => {
            Some(Sha512::digest(certificate).as_slice().into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_has_no_end_point() {
        assert_eq!(server_end_point(b""), None);
        assert_eq!(server_end_point(&[0x30; 64]), None);
    }
}
