//! Certificate and key of the door, read again when the files change.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aftersend_pipeline::config::{ConfigError, Tls};
use aftersend_pipeline::unix_millis;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

/// What the door shows to clients.
pub(crate) struct Certificates {
    files: Tls,
    seen: [Option<SystemTime>; 2],
    current: Arc<Current>,
    expires_at: i64,
}

/// A certificate and its key, as they were read.
struct Pair {
    key: CertifiedKey,
    /// Unix seconds.
    expires_at: i64,
}

/// Reads the files as ingest will. When the certificate expires, in Unix seconds.
pub fn check_certificate(files: &Tls) -> Result<i64, ConfigError> {
    read(files).map(|pair| pair.expires_at)
}

struct Current(ArcSwap<CertifiedKey>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(certificate)")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificates {
    /// Reads the files.
    pub(crate) fn new(files: &Tls) -> Result<Self, ConfigError> {
        let Pair { key, expires_at } = read(files)?;
        warn_if_expired(expires_at);
        let current = Arc::new(Current(ArcSwap::from_pointee(key)));
        Ok(Self { files: files.clone(), seen: modified(files), current, expires_at })
    }

    /// Unix seconds.
    pub(crate) fn expires_at(&self) -> i64 {
        self.expires_at
    }

    /// For the server. Connections made later use what was read last.
    pub(crate) fn server_config(&self) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions()?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Reads the files again if they have changed.
    pub(crate) fn refresh(&mut self) {
        if modified(&self.files) != self.seen {
            self.reload();
        }
    }

    /// Reads the files again. If they cannot be used, the last ones count, and the result is false.
    pub(crate) fn reload(&mut self) -> bool {
        self.seen = modified(&self.files);
        match read(&self.files) {
            Ok(Pair { key, expires_at }) => {
                self.current.0.store(Arc::new(key));
                self.expires_at = expires_at;
                tracing::info!("the certificate was read again");
                warn_if_expired(expires_at);
                true
            }
            // Half of the pair may have been written so far: its next half changes the time again.
            Err(error) => {
                tracing::error!(%error, "the new certificate cannot be used; the last one counts");
                false
            }
        }
    }
}

fn warn_if_expired(expires_at: i64) {
    if expires_at <= unix_millis() / 1_000 {
        tracing::error!("the certificate of ingest.tls has expired: clients refuse it, and every event waits");
    }
}

fn modified(files: &Tls) -> [Option<SystemTime>; 2] {
    [&files.certificate_file, &files.private_key_file].map(|file| std::fs::metadata(file).and_then(|file| file.modified()).ok())
}

fn read(files: &Tls) -> Result<Pair, ConfigError> {
    let certificate_file =
        |fix: String| ConfigError::value("ingest.tls.certificate_file", files.certificate_file.display().to_string(), fix);
    let key_file = |fix: String| ConfigError::value("ingest.tls.private_key_file", files.private_key_file.display().to_string(), fix);
    let chain = CertificateDer::pem_file_iter(&files.certificate_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| certificate_file(format!("cannot be read as PEM: {error}")))?;
    let Some(first) = chain.first() else { return Err(certificate_file("holds no certificate".to_owned())) };
    let (_, certificate) =
        parse_x509_certificate(first).map_err(|error| certificate_file(format!("its first certificate cannot be read: {error}")))?;
    let expires_at = certificate.validity().not_after.timestamp();
    let is_encrypted = || std::fs::read_to_string(&files.private_key_file).is_ok_and(|text| text.contains("ENCRYPTED"));
    let key = PrivateKeyDer::from_pem_file(&files.private_key_file).map_err(|error| {
        let why = if is_encrypted() { "it is encrypted, write it without a passphrase".to_owned() } else { error.to_string() };
        key_file(format!("cannot be read as PEM: {why}"))
    })?;
    let key = ring::sign::any_supported_type(&key)
        .map_err(|_| key_file("holds a key of a kind that is not supported: use RSA, ECDSA P-256 or P-384, or Ed25519".to_owned()))?;
    let key = CertifiedKey::new(chain, key);
    match key.keys_match() {
        Ok(()) => Ok(Pair { key, expires_at }),
        Err(rustls::Error::InconsistentKeys(_)) => Err(key_file("does not belong to the certificate".to_owned())),
        Err(error) => Err(certificate_file(format!("its first certificate cannot be used: {error}"))),
    }
}
