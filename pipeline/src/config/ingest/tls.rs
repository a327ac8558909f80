use std::path::PathBuf;

use serde::Deserialize;

/// `[ingest.tls]`: HTTPS at the door. The files are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file: the certificate, then what signed it.
    pub certificate_file: PathBuf,
    /// PEM file: its private key.
    pub private_key_file: PathBuf,
}
