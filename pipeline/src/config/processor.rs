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
    /// Where this replica keeps its copy of the state, so that a restart reads only what it missed. Default: a temporary directory, and every start
    /// reads the whole of its partitions.
    pub state_dir: Option<PathBuf>,
    /// Memory for people who were looked at lately, in MiB. Default: 192.
    pub cache_mib: u32,
}

impl Default for Processor {
    fn default() -> Self {
        Self { admin: "127.0.0.1:9102".into(), state_dir: None, cache_mib: 192 }
    }
}

impl Processor {
    /// The address of the admin pages.
    pub fn admin_address(&self) -> Result<SocketAddr, ConfigError> {
        socket_address("processor.admin", &self.admin)
    }
}
