use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use serde::{Deserialize, Deserializer};

use super::ConfigError;

/// `[kafka]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// `host:port` pairs, separated by commas. Default: 127.0.0.1:9092.
    pub brokers: String,
    /// First part of every topic's and consumer group's name. Default: aftersend.
    pub topic_prefix: String,
    /// Accept topics with fewer than 3 replicas or `min.insync.replicas` below 2. For a local broker only: a 2xx then outlives no machine.
    pub allow_single_replica: bool,
    /// Settings passed to the client (TLS, SASL and the like).
    pub properties: Properties,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".into(),
            topic_prefix: "aftersend".into(),
            allow_single_replica: false,
            properties: Properties::default(),
        }
    }
}

/// Client settings by dotted name. Values are not shown: passwords are among them.
#[derive(Clone, Default)]
pub struct Properties(pub BTreeMap<String, String>);

impl std::fmt::Debug for Properties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(deserializer).map_err(|_| serde::de::Error::custom("expected a table of client settings"))?;
        let mut properties = BTreeMap::new();
        flatten("", &toml::Value::Table(table), &mut properties);
        Ok(Self(properties))
    }
}

/// `security.protocol = "SSL"` without quotes around the name is a table inside a table in TOML; both spellings mean the same here.
fn flatten(name: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (part, value) in table {
                let name = if name.is_empty() { part.clone() } else { format!("{name}.{part}") };
                flatten(&name, value, into);
            }
        }
        toml::Value::String(text) => {
            into.insert(known_as(name).to_owned(), text.clone());
        }
        other => {
            into.insert(known_as(name).to_owned(), other.to_string());
        }
    }
}

/// Settings that the client knows by two names, and the name by which we know them: a client that is given both takes either.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("metadata.broker.list", "bootstrap.servers"),
    ("request.required.acks", "acks"),
    ("auto.commit.enable", "enable.auto.commit"),
    ("message.timeout.ms", "delivery.timeout.ms"),
    ("message.send.max.retries", "retries"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("compression.codec", "compression.type"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("sasl.mechanisms", "sasl.mechanism"),
];

fn known_as(name: &str) -> &str {
    OTHER_NAMES.iter().find(|(other, _)| *other == name).map_or(name, |(_, ours)| ours)
}

/// Settings on which a promise rests, and what that is.
const OURS: &[(&str, &str)] = &[
    ("bootstrap.servers", "set kafka.brokers"),
    ("enable.idempotence", "a retried record would be written twice"),
    ("acks", "a 2xx would no longer mean that every in-sync replica has the event"),
    ("enable.auto.commit", "offsets are committed only behind finished work"),
    ("enable.auto.offset.store", "offsets are committed only behind finished work"),
    ("isolation.level", "aborted records would be read"),
    ("transactional.id", "set instance"),
    ("group.id", "set kafka.topic_prefix"),
    ("group.instance.id", "set instance"),
    ("partitioner", "a key would change its partition"),
    ("partition.assignment.strategy", "all members of a group must agree"),
];

impl Kafka {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.brokers.trim().is_empty() {
            return Err(ConfigError::value("kafka.brokers", &self.brokers, "list host:port pairs, separated by commas"));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.topic_prefix.is_empty() || self.topic_prefix.len() > 200 || !self.topic_prefix.chars().all(legal) {
            return Err(ConfigError::value("kafka.topic_prefix", &self.topic_prefix, "use letters, digits, '-', '_' and '.'"));
        }
        for (name, why) in OURS {
            if self.properties.0.contains_key(*name) {
                let other = OTHER_NAMES.iter().find(|(_, ours)| ours == name).map(|(other, _)| format!(", nor as {other}"));
                let other = other.unwrap_or_default();
                return Err(ConfigError::missing(format!("kafka.properties.{name}"), format!("cannot be set here{other}: {why}")));
            }
        }
        // The client's own error would show the value.
        let mut client = ClientConfig::new();
        client.extend(self.properties.0.clone());
        match client.create_native_config() {
            Err(KafkaError::ClientConfig(_, _, name, _)) if !self.properties.0.contains_key(&name) => Ok(()),
            Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _)) => {
                Err(ConfigError::missing(format!("kafka.properties.{name}"), "the Kafka client has no such setting"))
            }
            Err(KafkaError::ClientConfig(_, _, name, _)) => {
                Err(ConfigError::missing(format!("kafka.properties.{name}"), "the Kafka client does not take this value"))
            }
            _ => Ok(()),
        }
    }
}
