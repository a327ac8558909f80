use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aftersend_schemas::topics::{TopicSpec, Topics};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode;
use tokio_util::sync::CancellationToken;

use super::client::producer_config;
use crate::config::Config;
use crate::retry::Backoff;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a topic cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// No broker answered.
    #[error("kafka at {brokers} does not answer: {source}; check kafka.brokers and kafka.properties")]
    Unreachable {
        /// As configured.
        brokers: String,
        /// What the client says.
        source: KafkaError,
    },
    /// The topic is not there.
    #[error("topic {0} does not exist, or kafka's user may not see it: run `aftersend migrate`, or look at the rights in docs/access.md")]
    Missing(String),
    /// The topic has another number of partitions.
    #[error(
        "topic {topic} has {found} partitions and needs {needed}: a key must keep its partition, so the number cannot be changed; create the topics under another kafka.topic_prefix, let ingest write there, and replay"
    )]
    Partitions {
        /// Its name.
        topic: String,
        /// Partitions it has.
        found: usize,
        /// Partitions it must have.
        needed: i32,
    },
    /// Acknowledged would not mean safe.
    #[error(
        "topic {topic} has {replicas} replica(s) and min.insync.replicas = {min_insync}: a 2xx means something only with 3 and 2; raise them, or set kafka.allow_single_replica = true for a local broker"
    )]
    Replicas {
        /// Its name.
        topic: String,
        /// Replicas it has.
        replicas: usize,
        /// As the topic or the broker sets it.
        min_insync: u32,
    },
    /// A body of the accepted size would not fit.
    #[error(
        "topic {topic} takes records of up to {found} bytes (max.message.bytes) and ingest.max_body_bytes needs {needed}: lower it, or run `kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config max.message.bytes={needed}`"
    )]
    RecordSize {
        /// Its name.
        topic: String,
        /// Its `max.message.bytes`.
        found: usize,
        /// See [`Config::max_record_bytes`].
        needed: usize,
    },
    /// It would forget what must be kept, or keep one record of a key where all are asked for.
    #[error(
        "topic {topic} has cleanup.policy = {found} and needs {needed}, or it loses records that count: run `kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config 'cleanup.policy=[{needed}]'`"
    )]
    Cleanup {
        /// Its name.
        topic: String,
        /// Its `cleanup.policy`.
        found: String,
        /// See [`Topics::specs`].
        needed: String,
    },
    /// There are fewer brokers than it has to have replicas.
    #[error(
        "cannot create topic {topic} with {replicas} replica(s): fewer brokers are alive; start them, or set kafka.allow_single_replica = true for a local broker"
    )]
    Brokers {
        /// Its name.
        topic: String,
        /// As `kafka.allow_single_replica` asks for.
        replicas: i32,
    },
    /// The broker refused to create it.
    #[error("cannot create topic {topic}: {code}")]
    Create {
        /// Its name.
        topic: String,
        /// What the broker says.
        code: RDKafkaErrorCode,
    },
}

fn client(config: &Config) -> Result<AdminClient<DefaultClientContext>, TopicError> {
    let client = producer_config(config, "admin", 10_000);
    client.create().map_err(|source| unreachable(config, source))
}

fn unreachable(config: &Config, source: KafkaError) -> TopicError {
    TopicError::Unreachable { brokers: config.kafka.brokers.clone(), source }
}

/// What the cluster knows of its topics. Blocks.
fn metadata(config: &Config) -> Result<Metadata, TopicError> {
    client(config)?.inner().fetch_metadata(None, TIMEOUT).map_err(|source| unreachable(config, source))
}

/// Creates the topics that are missing. Returns their names. Existing topics are checked and left as they are.
pub async fn create_topics(config: &Config, specs: &[TopicSpec]) -> Result<Vec<String>, TopicError> {
    let admin = client(config)?;
    let replicas = if config.kafka.allow_single_replica { 1 } else { 3 };
    let new: Vec<NewTopic<'_>> = specs
        .iter()
        .map(|spec| {
            let topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(replicas));
            let topic = spec.config.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
            if replicas == 3 { topic.set("min.insync.replicas", "2") } else { topic }
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));
    let deadline = Instant::now() + TIMEOUT;
    let (mut created, mut has_told) = (Vec::new(), false);
    'again: loop {
        for result in admin.create_topics(&new, &options).await.map_err(|source| unreachable(config, source))? {
            match result {
                Ok(name) => created.push(name),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                // Brokers that have only just started do not count yet.
                Err((_, RDKafkaErrorCode::InvalidReplicationFactor)) if Instant::now() < deadline => {
                    if !std::mem::replace(&mut has_told, true) {
                        tracing::warn!(replicas, "fewer brokers are alive than a topic needs: waiting for more");
                    }
                    tokio::time::sleep(backoff.next_delay()).await;
                    continue 'again;
                }
                Err((topic, RDKafkaErrorCode::InvalidReplicationFactor)) => return Err(TopicError::Brokers { topic, replicas }),
                Err((topic, code)) => return Err(TopicError::Create { topic, code }),
            }
        }
        break;
    }
    known_everywhere(config, &created).await?;
    Ok(created)
}

/// Waits until brokers know what the controller has created: until then they say that it does not exist.
async fn known_everywhere(config: &Config, created: &[String]) -> Result<(), TopicError> {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let shared = config.clone();
        let known = tokio::task::spawn_blocking(move || metadata(&shared)).await;
        let known = known.unwrap_or_else(|_| Err(unreachable(config, KafkaError::Canceled)))?;
        let is_known = |name: &str| known.topics().iter().any(|topic| topic.name() == name && topic.error().is_none());
        match created.iter().find(|name| !is_known(name)) {
            None => return Ok(()),
            Some(missing) if Instant::now() > deadline => return Err(TopicError::Missing(missing.clone())),
            Some(_) => tokio::time::sleep(backoff.next_delay()).await,
        }
    }
}

/// [`check_topics`], waiting for Kafka to answer. False if `shutdown` came first.
pub async fn wait_for_topics(config: &Config, names: &[String], shutdown: &CancellationToken) -> Result<bool, TopicError> {
    let mut backoff = Backoff::new(Duration::from_millis(500), TIMEOUT);
    loop {
        match check_topics(config, names).await {
            Ok(()) => return Ok(true),
            Err(error @ TopicError::Unreachable { .. }) => tracing::warn!(%error, "waiting for kafka"),
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(false),
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

/// Refuses topics on which a promise would not hold.
pub async fn check_topics(config: &Config, names: &[String]) -> Result<(), TopicError> {
    let shared = config.clone();
    let known =
        tokio::task::spawn_blocking(move || metadata(&shared)).await.unwrap_or_else(|_| Err(unreachable(config, KafkaError::Canceled)))?;
    let mut replicas = Vec::new();
    for name in names {
        let topic = known.topics().iter().find(|topic| topic.name() == name && topic.error().is_none());
        let topic = topic.ok_or_else(|| TopicError::Missing(name.clone()))?;
        let found = topic.partitions().len();
        let needed = Topics::partitions(name);
        if i32::try_from(found) != Ok(needed) {
            return Err(TopicError::Partitions { topic: name.clone(), found, needed });
        }
        replicas.push(topic.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0));
    }
    let specs = Topics::new(&config.kafka.topic_prefix).specs(config.max_record_bytes());
    let admin = client(config)?;
    let resources: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let described = admin.describe_configs(&resources, &AdminOptions::new().request_timeout(Some(TIMEOUT))).await;
    let described = described.map_err(|source| unreachable(config, source))?;
    for ((topic, replicas), settings) in names.iter().zip(replicas).zip(described) {
        // Without the right to describe them, settings count as unknown.
        let settings = settings.ok();
        let setting = |name: &str| settings.as_ref()?.get(name)?.value.as_deref();
        let min_insync = setting("min.insync.replicas").and_then(|value| value.parse().ok()).unwrap_or(1);
        if !config.kafka.allow_single_replica && (replicas < 3 || min_insync < 2) {
            return Err(TopicError::Replicas { topic: topic.clone(), replicas, min_insync });
        }
        let needed = config.max_record_bytes();
        if let Some(found) = setting("max.message.bytes").and_then(|value| value.parse().ok())
            && found < needed
        {
            return Err(TopicError::RecordSize { topic: topic.clone(), found, needed });
        }
        let wanted = specs.iter().find(|spec| spec.name == *topic);
        let wanted = wanted.and_then(|spec| spec.config.iter().find(|(name, _)| *name == CLEANUP)).map(|(_, value)| value);
        if let (Some(found), Some(needed)) = (setting(CLEANUP), wanted)
            && policies(found) != policies(needed)
        {
            return Err(TopicError::Cleanup { topic: topic.clone(), found: found.to_owned(), needed: needed.clone() });
        }
    }
    Ok(())
}

const CLEANUP: &str = "cleanup.policy";

/// Brokers write several policies in any order.
fn policies(setting: &str) -> BTreeSet<&str> {
    setting.split(',').map(str::trim).collect()
}

/// One setting of a topic; nothing where the broker does not say.
pub async fn topic_setting(config: &Config, topic: &str, name: &str) -> Result<Option<String>, TopicError> {
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let described = client(config)?.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await;
    let described = described.map_err(|source| unreachable(config, source))?;
    let settings = described.into_iter().next().and_then(Result::ok);
    Ok(settings.and_then(|settings| settings.get(name)?.value.clone()))
}
