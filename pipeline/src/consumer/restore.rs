use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use super::alone::alone;
use crate::config::Config;
use crate::offsets::NextOffset;
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

/// A partition that was read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Partition.
    pub partition: i32,
    /// Everything before this has been seen.
    pub next: NextOffset,
    /// Where reading began: earlier than asked for if the partition ends before that.
    pub from: Option<NextOffset>,
}

/// Reads compacted partitions from their beginning to the high watermarks as they stand now. See [`read_to_end`]. Blocks; returns the number of records seen.
pub fn restore_partitions(config: &Config, topic: &str, partitions: &[i32], mut apply: impl FnMut(Record)) -> Result<u64, RestoreError> {
    let starts: Vec<_> = partitions.iter().map(|partition| (*partition, None)).collect();
    let mut seen = 0;
    let apply = |record| {
        seen += 1;
        apply(record);
        true
    };
    read_to_end(config, topic, &starts, apply)?;
    Ok(seen)
}

/// Reads partitions from given offsets (nothing: their beginning) to the high watermarks as they stand now, committed records only: a transaction that
/// is open below such a mark is waited for, since it may belong to a predecessor that just died. A partition that ends before its start is read from its
/// beginning: it is another one. Ends early when `apply` says false. Blocks.
pub fn read_to_end(
    config: &Config,
    topic: &str,
    starts: &[(i32, Option<NextOffset>)],
    mut apply: impl FnMut(Record) -> bool,
) -> Result<Vec<Restored>, RestoreError> {
    let failed = |source| RestoreError::Kafka { topic: topic.to_owned(), source };
    let stalled = || RestoreError::Stalled { topic: topic.to_owned() };
    let partitions: Vec<i32> = starts.iter().map(|(partition, _)| *partition).collect();
    let ends = high_watermarks(config, topic, &partitions).map_err(failed)?;
    let mut restored: Vec<Restored> = starts
        .iter()
        .zip(&ends)
        .map(|((partition, from), end)| Restored {
            partition: *partition,
            next: NextOffset(*end),
            from: from.filter(|from| from.0 <= *end),
        })
        .collect();

    let consumer = alone(config, "read_committed", "restore").map_err(failed)?;
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
    for Restored { partition, from, .. } in &restored {
        let start = from.map_or(Offset::Beginning, |from| Offset::Offset(from.0));
        list.add_partition_offset(topic, *partition, start).map_err(failed)?;
    }
    consumer.assign(&list).map_err(failed)?;
    let name: Arc<str> = Arc::from(topic);
    let mut unread: HashSet<i32> = partitions.iter().copied().collect();
    moved = Instant::now();
    while !unread.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let after = NextOffset::after(message.offset());
                if let Some(place) = restored.iter_mut().find(|place| place.partition == message.partition()) {
                    place.next = place.next.max(after);
                }
                if !apply(Record::copy(&message, name.clone())) {
                    break;
                }
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
    Ok(restored)
}

fn high_watermarks(config: &Config, topic: &str, partitions: &[i32]) -> KafkaResult<Vec<i64>> {
    let consumer = alone(config, "read_uncommitted", "restore")?;
    partitions.iter().map(|partition| Ok(consumer.fetch_watermarks(topic, *partition, TIMEOUT)?.1)).collect()
}
