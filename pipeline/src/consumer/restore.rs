use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::ConsumerContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::config::Config;
use crate::kafka::consumer_config;
use crate::record::Record;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a transaction may stay open (15 s), with room for the broker to abort it.
const STALL: Duration = Duration::from_secs(60);

/// Why compacted partitions could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The client failed.
    #[error("cannot restore {topic}: {source}")]
    Kafka {
        /// Topic.
        topic: String,
        /// Why.
        source: KafkaError,
    },
    /// No progress for a minute.
    #[error("restoring {topic} made no progress for {} s", STALL.as_secs())]
    Stalled {
        /// Topic.
        topic: String,
    },
}

/// Reads compacted partitions from their beginning to the high watermarks as they stand now, committed records only: a transaction that is open below
/// such a mark is waited for, since it may belong to a predecessor that just died. Blocks; returns the number of records seen.
pub fn restore_partitions(config: &Config, topic: &str, partitions: &[i32], mut apply: impl FnMut(Record)) -> Result<u64, RestoreError> {
    let failed = |source| RestoreError::Kafka { topic: topic.to_owned(), source };
    let stalled = || RestoreError::Stalled { topic: topic.to_owned() };
    let ends = high_watermarks(config, topic, partitions).map_err(failed)?;

    let consumer = client(config, "read_committed").map_err(failed)?;
    let mut moved = Instant::now();
    for (partition, end) in partitions.iter().zip(ends) {
        // Under read_committed the upper watermark is the last stable offset.
        while consumer.fetch_watermarks(topic, *partition, TIMEOUT).map_err(failed)?.1 < end {
            if moved.elapsed() > STALL {
                return Err(stalled());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(topic, *partition, Offset::Beginning).map_err(failed)?;
    }
    consumer.assign(&list).map_err(failed)?;
    let name: Arc<str> = Arc::from(topic);
    let mut unread: HashSet<i32> = partitions.iter().copied().collect();
    let mut seen = 0;
    moved = Instant::now();
    while !unread.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                seen += 1;
                apply(Record::copy(&message, name.clone()));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
            }
            Some(Err(error)) => {
                tracing::warn!(%error, topic, "restore");
                continue;
            }
            None if moved.elapsed() > STALL => return Err(stalled()),
            None => continue,
        }
        moved = Instant::now();
    }
    Ok(seen)
}

fn high_watermarks(config: &Config, topic: &str, partitions: &[i32]) -> KafkaResult<Vec<i64>> {
    let consumer = client(config, "read_uncommitted")?;
    partitions.iter().map(|partition| Ok(consumer.fetch_watermarks(topic, *partition, TIMEOUT)?.1)).collect()
}

/// A consumer without a group: partitions are assigned by hand and nothing is ever committed.
fn client(config: &Config, isolation: &str) -> KafkaResult<BaseConsumer<Reader>> {
    let mut client = consumer_config(config, "restore", &format!("{}.restore", config.kafka.topic_prefix));
    client.remove("group.instance.id");
    client
        .set("isolation.level", isolation)
        .set("statistics.interval.ms", "0")
        .set("enable.partition.eof", "true")
        .create_with_context(Reader)
}

/// The end of a partition is what a restore waits for, no error to log.
struct Reader;

impl ClientContext for Reader {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::warn!(%error, reason, "kafka client");
        }
    }
}

impl ConsumerContext for Reader {}
