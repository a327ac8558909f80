use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, socket_address};

/// `[processor]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Processor {
    /// Where `/livez`, `/readyz` and `/metrics` are served. Default: 127.0.0.1:9102.
    pub admin: String,
    /// Where a local copy of the state is to be kept. Accepted, not used yet: the state is held in memory and restored from `profiles`.
    pub state_dir: Option<PathBuf>,
}

impl Default for Processor {
    fn default() -> Self {
        Self { admin: "127.0.0.1:9102".into(), state_dir: None }
    }
}

impl Processor {
    /// The address of the admin pages.
    pub fn admin_address(&self) -> Result<SocketAddr, ConfigError> {
        socket_address("processor.admin", &self.admin)
    }
}
