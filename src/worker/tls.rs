//! TLS towards clients: the certificate and its key, which can be replaced while connections are open.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use crate::auth::end_point::server_end_point;
use crate::config::model::General;

/// The protocol that a client of PostgreSQL names (ALPN); without it TLS must be asked for first.
pub const ALPN: &[u8] = b"postgresql";

/// Why TLS towards clients cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// `tls_cert_file` or `tls_key_file` is not set.
    #[error("`tls` needs `tls_cert_file` and `tls_key_file`")]
    Missing,
    /// A file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
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

/// The certificate that new connections are shown.
#[derive(Debug)]
pub struct ServerTls {
    chain: PathBuf,
    key: PathBuf,
    current: ArcSwap<Certified>,
    /// Hash of the files as they were last looked at, good or bad.
    seen: Mutex<[u8; 32]>,
}

/// A certificate in use.
#[derive(Debug)]
pub struct Certified {
    /// For the handshake.
    pub config: Arc<ServerConfig>,
    /// For channel binding.
    pub end_point: Option<Arc<[u8]>>,
}

/// The files as they are at one moment.
struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl ServerTls {
    /// Reads the certificate chain and its key; nothing where no listener has TLS.
    pub fn read(general: &General) -> Result<Option<Self>, TlsFault> {
        if !general.listeners().any(|listener| listener.has_tls()) {
            return Ok(None);
        }
        let (Some(chain), Some(key)) = (general.tls_cert_file.clone(), general.tls_key_file.clone()) else {
            return Err(TlsFault::Missing);
        };
        let files = Files::read(&chain, &key)?;
        let current = ArcSwap::from_pointee(files.certified(&chain, &key)?);
        let seen = Mutex::new(files.hash());
        Ok(Some(Self { chain, key, current, seen }))
    }

    /// What a new connection gets.
    pub fn current(&self) -> Arc<Certified> {
        self.current.load_full()
    }

    /// Reads the files again if they have changed since they were last looked at; true if there is a new
    /// certificate. Where they cannot be used the old one stays.
    pub fn reload(&self) -> Result<bool, TlsFault> {
        let files = Files::read(&self.chain, &self.key)?;
        let hash = files.hash();
        if std::mem::replace(&mut *self.seen.lock(), hash) == hash {
            return Ok(false);
        }
        self.current.store(Arc::new(files.certified(&self.chain, &self.key)?));
        Ok(true)
    }
}

impl Files {
    fn read(chain: &Path, key: &Path) -> Result<Self, TlsFault> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsFault::File { path: path.to_owned(), source })
        };
        Ok(Self { chain: read(chain)?, key: read(key)? })
    }

    fn hash(&self) -> [u8; 32] {
        let lengths = self.chain.len().to_be_bytes();
        Sha256::new()
            .chain_update(lengths)
            .chain_update(&self.chain)
            .chain_update(&self.key)
            .finalize()
            .into()
    }

    fn certified(&self, chain_path: &Path, key_path: &Path) -> Result<Certified, TlsFault> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsFault::Pem { path, source }
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.chain).collect();
        let chain = chain.map_err(failed(chain_path))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(failed(key_path))?;
        let end_point = chain.first().and_then(|certificate| server_end_point(certificate));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Certified { config: Arc::new(config), end_point })
    }
}
