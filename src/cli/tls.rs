//! TLS towards clients: the certificate and its key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::auth::end_point::server_end_point;
use crate::config::model::{ClientTls, General};

/// Why TLS towards clients cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// `tls_cert_file` or `tls_key_file` is not set.
    #[error("`tls` needs `tls_cert_file` and `tls_key_file`")]
    Missing,
    /// A file is no PEM of the wanted kind.
    #[error("{path}: {source}", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error("the certificate cannot be used: {0}")]
    Certificate(#[from] rustls::Error),
}

/// What a listener with TLS has.
#[derive(Debug)]
pub(super) struct Listener {
    /// For the handshake.
    pub(super) config: Arc<ServerConfig>,
    /// For channel binding.
    pub(super) end_point: Option<Arc<[u8]>>,
}

/// Reads the certificate chain and its key; nothing where TLS is off.
pub(super) fn listener(general: &General) -> Result<Option<Listener>, TlsFault> {
    if general.tls == ClientTls::Disable {
        return Ok(None);
    }
    let (Some(chain), Some(key)) = (&general.tls_cert_file, &general.tls_key_file) else {
        return Err(TlsFault::Missing);
    };
    let chain = certificates(chain)?;
    let key =
        PrivateKeyDer::from_pem_file(key).map_err(|source| TlsFault::Pem { path: key.clone(), source })?;
    let end_point = chain.first().and_then(|certificate| server_end_point(certificate));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Some(Listener { config: Arc::new(config), end_point }))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let failed = |source| TlsFault::Pem { path: path.to_owned(), source };
    CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}
