use std::net::SocketAddr;

use serde::Deserialize;

use super::{ConfigError, socket_address};

/// `[ingest]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// Where webhooks are received. Default: 127.0.0.1:8080.
    pub listen: String,
    /// Where `/livez`, `/readyz` and `/metrics` are served. Default: 127.0.0.1:9101.
    pub admin: String,
    /// Largest body that goes to `raw` whole, in bytes. A larger signed body is answered 2xx and its head kept in `dead`. Default: 4 MiB.
    pub max_body_bytes: usize,
}

impl Default for Ingest {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8080".into(), admin: "127.0.0.1:9101".into(), max_body_bytes: 4 * 1024 * 1024 }
    }
}

/// What fits into a record of the topics as `migrate` creates them, with its headers.
const LARGEST_BODY_BYTES: usize = 4 * 1024 * 1024 + 512 * 1024;

impl Ingest {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=LARGEST_BODY_BYTES).contains(&self.max_body_bytes) {
            let fix = format!("use 1 to {LARGEST_BODY_BYTES}: what is larger does not fit into a record");
            return Err(ConfigError::value("ingest.max_body_bytes", self.max_body_bytes.to_string(), fix));
        }
        Ok(())
    }

    /// The address of the door.
    pub fn listen_address(&self) -> Result<SocketAddr, ConfigError> {
        socket_address("ingest.listen", &self.listen)
    }

    /// The address of the admin pages.
    pub fn admin_address(&self) -> Result<SocketAddr, ConfigError> {
        socket_address("ingest.admin", &self.admin)
    }
}
