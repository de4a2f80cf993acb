//! Encryption of a listener: a certificate and its key from PEM files, which may be replaced by others
//! while it serves.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::server::TlsStream;

/// Time for a client to agree on keys.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Longest file of certificates, or of a key, in bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// A certificate with those above it, and its key: what new connections are encrypted with.
#[derive(Debug)]
pub struct Keys {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Keys {
    /// Reads both files.
    ///
    /// # Errors
    /// Names the file, or says that the key is another certificate's.
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, String> {
        let current = RwLock::new(Arc::new(read(certificate, key)?));
        Ok(Arc::new(Self { certificate: certificate.into(), key: key.into(), current }))
    }

    /// Reads them again; connections that stand keep what they have.
    ///
    /// # Errors
    /// As [`Self::load`]; what was read before goes on then.
    pub fn reload(&self) -> Result<(), String> {
        let read = Arc::new(read(&self.certificate, &self.key)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// What encrypts connections with them.
    ///
    /// # Errors
    /// None that a caller can do anything about.
    pub(super) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Keys {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_slice_iter(&whole(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("{}: no certificate in PEM: {e}", certificate.display()))?;
    if chain.is_empty() {
        return Err(format!("{}: no certificate in PEM", certificate.display()));
    }
    let secret = PrivateKeyDer::from_pem_slice(&whole(key)?)
        .map_err(|e| format!("{}: no private key in PEM: {e}", key.display()))?;
    let pair = CertifiedKey::from_der(chain, secret, &aws_lc_rs::default_provider());
    pair.map_err(|e| format!("{} and {}: {e}", certificate.display(), key.display()))
}

fn whole(path: &Path) -> Result<Vec<u8>, String> {
    let named = |e: std::io::Error| format!("{}: {e}", path.display());
    if std::fs::metadata(path).map_err(named)?.len() > FILE_MAX_BYTES {
        return Err(format!("{}: larger than {FILE_MAX_BYTES} bytes", path.display()));
    }
    std::fs::read(path).map_err(named)
}

/// The encrypted connection; `None` when the client does not come so far in time.
pub(super) async fn secure<S>(acceptor: &TlsAcceptor, stream: S) -> Option<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            // Scanners try every day.
            tracing::debug!(%error, "no secure connection");
            None
        }
        Err(_) => None,
    }
}
