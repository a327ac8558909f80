use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};

use super::Network;
use crate::config::{ConfigError, Region, Secret, Span};

/// `[ingest.allowlist]`: a second line of defence behind the signature. A request from elsewhere gets 403.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allowlist {
    /// Who may send; at least one entry.
    pub addresses: Vec<AllowedAddresses>,
    /// How often Customer.io is asked for the addresses of its regions. Default: never, the list as published in 2026 counts.
    pub refresh: Option<Span>,
    /// Asked instead of Customer.io's own address; `{region}` stands for us or eu.
    pub refresh_url: Option<String>,
    /// App API key sent with the question; Customer.io documents none as needed.
    pub app_api_key: Secret,
    /// File that holds the key.
    pub app_api_key_file: Option<PathBuf>,
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedAddresses {
    /// `customerio`: what Customer.io publishes for the region of the source.
    Source,
    /// `us` or `eu`: what it publishes for that region.
    Region(Region),
    /// An address or a network.
    Network(Network),
}

impl Allowlist {
    pub(super) fn validate(&mut self) -> Result<(), ConfigError> {
        if self.addresses.is_empty() {
            return Err(ConfigError::missing(
                "ingest.allowlist.addresses",
                "name who may send: \"customerio\", \"us\", \"eu\" or networks",
            ));
        }
        if let Some(refresh) = self.refresh
            && refresh.0.as_secs() < 60
        {
            let value = refresh.to_string();
            return Err(ConfigError::value("ingest.allowlist.refresh", value, "use at least 1m: the addresses seldom change"));
        }
        if let Some(url) = &self.refresh_url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            // It may hold a password.
            return Err(ConfigError::missing("ingest.allowlist.refresh_url", "needs a URL that begins with http:// or https://"));
        }
        self.app_api_key.read_file("ingest.allowlist.app_api_key", self.app_api_key_file.as_ref())
    }
}

impl<'de> Deserialize<'de> for AllowedAddresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "customerio" => Ok(Self::Source),
            "us" => Ok(Self::Region(Region::Us)),
            "eu" => Ok(Self::Region(Region::Eu)),
            other => Network::parse(other).map(Self::Network).ok_or_else(|| {
                de::Error::custom(format!("{other:?} is not known: write \"customerio\", \"us\", \"eu\", an address or a network"))
            }),
        }
    }
}
