//! TLS towards the server, as `tls` of a database says it (the meaning of libpq's `sslmode`).

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::model::{BackendTls, Database};

/// Why TLS towards a server cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// `verify-ca` or `verify-full` without `tls_ca_file`.
    #[error("tls_ca_file is needed to verify the server's certificate")]
    NoAuthority,
    /// The CA bundle could not be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Bundle {
        /// `tls_ca_file`.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The CA bundle holds no usable certificate.
    #[error("cannot use the certificates in {path}: {found}", path = path.display())]
    Authority {
        /// `tls_ca_file`.
        path: PathBuf,
        /// What rustls says.
        found: String,
    },
    /// rustls does not take the settings.
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

/// The client's side of TLS towards `database`. Its certificate is verified as `tls` says.
///
/// # Errors
/// When the CA bundle is missing, unreadable or empty.
pub fn client_config(database: &Database) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let config = match database.tls {
        BackendTls::Disable | BackendTls::Prefer | BackendTls::Require => {
            let verifier = Verifier { chain: None, algorithms: provider.signature_verification_algorithms };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        BackendTls::VerifyCa => {
            let chain =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots(database)?), provider.clone())
                    .build()
                    .map_err(|error| authority_error(database, &error))?;
            let verifier =
                Verifier { chain: Some(chain), algorithms: provider.signature_verification_algorithms };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        BackendTls::VerifyFull => builder.with_root_certificates(roots(database)?),
    };
    Ok(config.with_no_client_auth())
}

fn roots(database: &Database) -> Result<RootCertStore, TlsError> {
    let path = database.tls_ca_file.as_ref().ok_or(TlsError::NoAuthority)?;
    let bundle = |source| TlsError::Bundle { path: path.clone(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(bundle)? {
        roots.add(certificate.map_err(bundle)?).map_err(|error| authority_error(database, &error))?;
    }
    if roots.is_empty() {
        return Err(authority_error(database, &"no certificate in it"));
    }
    Ok(roots)
}

fn authority_error(database: &Database, found: &dyn std::fmt::Display) -> TlsError {
    TlsError::Authority { path: database.tls_ca_file.clone().unwrap_or_default(), found: found.to_string() }
}

/// Verifies less than rustls does by itself: the chain but not the name (`verify-ca`), or neither
/// (`prefer`, `require`). The handshake's signature is always checked.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
