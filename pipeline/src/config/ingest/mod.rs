mod allowlist;
mod network;
mod timestamp_window;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, Span, socket_address};

pub use allowlist::{AllowedAddresses, Allowlist};
pub use network::Network;
pub use timestamp_window::TimestampWindow;
pub use tls::Tls;

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
    /// Largest body that is read and verified at all, in bytes; above it 413. Default: 64 MiB.
    pub hard_limit_bytes: usize,
    /// Verified requests at once, until their answer; above it 503. Default: 4096.
    pub max_in_flight_requests: usize,
    /// Bytes of bodies at once, from the first piece to the delivery report; above it 503. Bodies that come in pieces get three quarters. Default: 24 MiB.
    pub max_in_flight_bytes: usize,
    /// Connections whose requests are served; on further ones they get 503. Default: 12288.
    pub max_connections: usize,
    /// How long a drain goes on answering before the port is given up. Default: 10 s.
    pub drain: Span,
    /// Unix socket over which a starting ingest takes the port from a running one. Default: none.
    pub handover: Option<PathBuf>,
    /// Accepted age of `X-CIO-Timestamp`. Default: any.
    pub timestamp_window: Option<TimestampWindow>,
    /// Proxies whose `X-Forwarded-For` is believed. Default: none.
    pub trusted_proxies: Vec<Network>,
    /// Addresses that may send. Default: all.
    pub allowlist: Option<Allowlist>,
    /// Certificate and key for HTTPS. Default: plain HTTP.
    pub tls: Option<Tls>,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            admin: "127.0.0.1:9101".into(),
            max_body_bytes: 4 * MIB,
            hard_limit_bytes: 64 * MIB,
            max_in_flight_requests: 4_096,
            max_in_flight_bytes: 24 * MIB,
            max_connections: 12_288,
            drain: Span(Duration::from_secs(10)),
            handover: None,
            timestamp_window: None,
            trusted_proxies: Vec::new(),
            allowlist: None,
            tls: None,
        }
    }
}

const MIB: usize = 1024 * 1024;
/// What Kafka clients and brokers handle without being rebuilt around it.
const LARGEST_BODY_BYTES: usize = 64 * MIB;
/// Beyond it reading and verifying would not end within Customer.io's 4 s.
const LARGEST_HARD_LIMIT_BYTES: usize = 1024 * MIB;
/// Longest drain: what waits longer is stuck.
const LONGEST_DRAIN: Duration = Duration::from_secs(3_600);
/// A window that refuses nearly everything would cost an hour each time.
const SHORTEST_PAST: Duration = Duration::from_secs(10);

impl Ingest {
    pub(super) fn validate(&mut self) -> Result<(), ConfigError> {
        between("ingest.max_body_bytes", self.max_body_bytes, 1, LARGEST_BODY_BYTES)?;
        between("ingest.hard_limit_bytes", self.hard_limit_bytes, self.max_body_bytes, LARGEST_HARD_LIMIT_BYTES)?;
        between("ingest.max_in_flight_requests", self.max_in_flight_requests, 1, 1_000_000)?;
        // One body of the accepted size must fit, or it would be refused for ever.
        between("ingest.max_in_flight_bytes", self.max_in_flight_bytes, self.max_body_bytes, 1024 * LARGEST_BODY_BYTES)?;
        between("ingest.max_connections", self.max_connections, 1, 1_000_000)?;
        if self.drain.0 > LONGEST_DRAIN {
            let value = self.drain.to_string();
            return Err(ConfigError::value("ingest.drain", value, "use at most an hour"));
        }
        if let Some(window) = &self.timestamp_window
            && window.past.0 < SHORTEST_PAST
        {
            let value = window.past.to_string();
            return Err(ConfigError::value("ingest.timestamp_window.past", value, "use at least 10s: a request needs a while to arrive"));
        }
        if let Some(allowlist) = &mut self.allowlist {
            allowlist.validate()?;
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

fn between(key: &str, value: usize, least: usize, most: usize) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::value(key, value.to_string(), format!("use {least} to {most}")))
}
