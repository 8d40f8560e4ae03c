//! The TLS side of the listener.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, version};

/// The TLS configuration of new connections. It can be replaced at any time; connections that run keep theirs.
///
/// Clones are the same one.
#[derive(Clone, Debug)]
pub struct CurrentTls(Arc<RwLock<Arc<ServerConfig>>>);

impl CurrentTls {
    /// Begins with this configuration.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    /// What the next connection gets.
    #[must_use]
    pub fn get(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives new connections another configuration.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
}

impl From<Arc<ServerConfig>> for CurrentTls {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self::new(config)
    }
}

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file could not be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not make a server identity.
    #[error("cannot use certificate and key: {0}")]
    Identity(#[from] rustls::Error),
}

/// Builds the configuration from certificate chain and key in PEM.
///
/// TLS 1.2 and 1.3, no ALPN: the HTTP/2 phase begins by an upgrade inside HTTP/1.1, a peer that negotiated `h2` would
/// never get there.
///
/// # Errors
/// When a PEM text holds no certificate or key, or the two do not fit.
pub fn server_config(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let read =
        |path: &str, reason: &dyn std::fmt::Display| TlsError::Read { path: path.into(), reason: reason.to_string() };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate_pem)
        .collect::<Result<_, _>>()
        .map_err(|error| read("certificate", &error))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| read("private key", &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols.clear();
    Ok(Arc::new(config))
}

/// Builds the configuration from two PEM files.
///
/// # Errors
/// As [`server_config`], and when a file cannot be read.
pub fn server_config_from_files(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let read = |path: &Path| {
        std::fs::read(path)
            .map_err(|error| TlsError::Read { path: path.display().to_string(), reason: error.to_string() })
    };
    server_config(&read(certificate)?, &read(key)?)
}
