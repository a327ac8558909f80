//! The configuration: a TOML file, overridden by `AFTERSEND__SECTION__KEY`, checked whole before anything starts.

mod bounce;
mod clickhouse;
mod duration;
mod environment;
mod error;
mod http_url;
mod ingest;
mod kafka;
mod load;
mod policy;
mod privacy;
mod processor;
mod secret;
mod source;
mod test_event;
mod track;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use aftersend_schemas::normaliser::Normaliser;
use serde::Deserialize;

pub use bounce::Bounce;
pub use clickhouse::ClickHouse;
pub use duration::Span;
pub use environment::variables;
pub use error::ConfigError;
pub use ingest::{AllowedAddresses, Allowlist, Ingest, Network, TimestampWindow, Tls};
pub use kafka::Kafka;
pub use policy::{BounceMode, Cadences, Policy, Reaction, Rules, Score, Scoring, Soft};
pub use privacy::{EmailPrivacy, HashKeyConfig, PrivacyConfig};
pub use processor::Processor;
pub use secret::{Secret, Secrets};
pub use source::{BasicAuth, Region, SecretHeader, Source};
pub use test_event::TestEventMark;
pub use track::{Track, TrackCredentials, TrackMode};

/// Everything a service can be told. Every key has a default unless its documentation says otherwise.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of this replica: stable over restarts, unique within a service. Default: the host name. Set it where there is more than one replica or a
    /// container: it makes `transactional.id` and, when set, the static group membership, so that a restart takes over at once.
    pub instance: Option<String>,
    /// The brokers.
    pub kafka: Kafka,
    /// The HTTP door.
    pub ingest: Ingest,
    /// Where webhooks come from: one entry per reporting webhook.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
    /// The fold and the score.
    pub processor: Processor,
    /// The database.
    pub clickhouse: ClickHouse,
    /// The Track API.
    pub track: Track,
    /// Rules of the score and of what is written back.
    pub policy: Policy,
    /// What happens to addresses.
    pub privacy: PrivacyConfig,
    /// How failure texts are classified.
    pub bounce: Bounce,
    /// Marks of test events.
    #[serde(rename = "test_event")]
    pub test_events: Vec<TestEventMark>,
    /// The file it was read from.
    #[serde(skip)]
    file: Option<PathBuf>,
}

impl Config {
    /// Reads `file` (if given) and the environment, and checks everything that can be checked without a connection.
    pub fn load(file: Option<&std::path::Path>) -> Result<Self, ConfigError> {
        Ok(Self { file: file.map(Into::into), ..load::load(file, environment::variables()?)? })
    }

    /// Reads the same file and the environment again.
    pub fn reload(&self) -> Result<Self, ConfigError> {
        Self::load(self.file.as_deref())
    }

    /// As [`Config::load`], from a text and given variables: for tests and built-in set-ups.
    pub fn parse(toml: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        load::parse(toml, variables)
    }

    /// The name of this replica.
    pub fn instance_name(&self) -> String {
        self.instance
            .clone()
            .unwrap_or_else(|| hostname::get().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "aftersend".into()))
    }

    fn validate(&mut self) -> Result<(), ConfigError> {
        if let Some(instance) = &self.instance
            && (instance.is_empty() || !instance.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)))
        {
            return Err(ConfigError::value("instance", instance, "use letters, digits, '-', '_' and '.'"));
        }
        self.kafka.validate()?;
        self.ingest.validate()?;
        source::validate(&mut self.sources)?;
        self.clickhouse.validate()?;
        self.track.validate()?;
        self.policy.validate(&self.workspaces())?;
        self.bounce.table()?;
        test_event::read(&self.test_events)?;
        self.privacy.validate()?;
        // Of every service: one file serves them all.
        self.ingest.listen_address()?;
        let admins =
            [self.ingest.admin_address(), self.processor.admin_address(), self.clickhouse.admin_address(), self.track.admin_address()];
        admins.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(())
    }

    /// The workspaces that a source or credentials belong to; none where there are neither, as for a processor alone.
    pub fn workspaces(&self) -> BTreeSet<&str> {
        let of_sources = self.sources.iter().map(|source| source.workspace.as_str());
        of_sources.chain(self.track.workspaces.keys().map(String::as_str)).collect()
    }

    /// Largest record of any topic: a body of the accepted size with its key and headers.
    pub fn max_record_bytes(&self) -> usize {
        (self.ingest.max_body_bytes + RECORD_OVERHEAD_BYTES).max(LEAST_RECORD_BYTES)
    }

    /// How events are read: the same in every service that has this configuration.
    pub fn normaliser(&self) -> Result<Normaliser, ConfigError> {
        Ok(Normaliser {
            privacy: self.privacy.privacy()?,
            bounces: self.bounce.table()?,
            test_events: test_event::read(&self.test_events)?,
            keeps_content: self.privacy.keep_content,
        })
    }

    /// For ingest: refuses a configuration under which nothing could be verified.
    pub fn require_sources(&self) -> Result<&[Source], ConfigError> {
        if self.sources.is_empty() {
            return Err(ConfigError::missing(
                "source",
                "add a [[source]] with name and signing_keys; the key is on the page of the reporting webhook in Customer.io",
            ));
        }
        Ok(&self.sources)
    }
}

/// Room for the key, the headers and what a dead letter adds to them.
const RECORD_OVERHEAD_BYTES: usize = 1024 * 1024;
/// A profile may be larger than a small `ingest.max_body_bytes`.
const LEAST_RECORD_BYTES: usize = 5 * 1024 * 1024;

/// Reads `host:port`, with the key in the error.
pub(crate) fn socket_address(key: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| ConfigError::value(key, text, "use an IP address and a port, such as 127.0.0.1:8080"))
}
