//! What a reload swaps while requests go on.

use std::net::IpAddr;

use aftersend_pipeline::config::{Config, ConfigError, Network, TimestampWindow};
use aftersend_schemas::privacy::Privacy;

use crate::allowlist::Allowlist;
use crate::metrics::IngestMetrics;
use crate::sources::Sources;

/// Sources, their keys, and who may send.
pub(crate) struct Rules {
    pub(crate) sources: Sources,
    pub(crate) window: Option<TimestampWindow>,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) allowlist: Option<Allowlist>,
    pub(crate) privacy: Privacy,
}

impl Rules {
    /// `before` is what counted until now.
    pub(crate) fn new(config: &Config, before: Option<&Self>, metrics: &IngestMetrics) -> Result<Self, ConfigError> {
        let listed = before.and_then(|before| before.allowlist.as_ref());
        let sources = config.require_sources()?;
        for source in sources.iter().filter(|source| source.is_unsigned()) {
            tracing::warn!(source.name, "this source has no signing keys: whoever knows its secret can send what he likes");
        }
        Ok(Self {
            sources: Sources::new(sources, metrics),
            window: config.ingest.timestamp_window,
            trusted_proxies: config.ingest.trusted_proxies.clone(),
            allowlist: config.ingest.allowlist.as_ref().map(|allowlist| Allowlist::new(allowlist, listed, metrics)),
            privacy: config.privacy.privacy()?,
        })
    }

    /// True if a client (nothing if its address is not known) may send to a source of that region.
    pub(crate) fn allows(&self, client: Option<IpAddr>, region: aftersend_pipeline::config::Region) -> bool {
        match &self.allowlist {
            None => true,
            Some(allowlist) => client.is_some_and(|address| allowlist.allows(address, region)),
        }
    }
}
