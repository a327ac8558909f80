//! What every replica hears: the brake's log and the decisions of operators, from their beginning and for as long as it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aftersend_pipeline::config::Config;
use aftersend_pipeline::kafka::{ClientWatch, consumer_config};
use aftersend_schemas::DecodeError;
use aftersend_schemas::brake::{BrakeEntry, BrakeRelease};
use aftersend_schemas::operator::OperatorRecord;
use aftersend_schemas::topics::{PARTITIONS, Topics};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::sync::mpsc;

const WAITING: usize = 4_096;

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// The next entry of the brake's log, and the broker's time of it.
    Brake { offset: i64, at: i64, entry: BrakeEntry },
    /// An operator decided something about a person.
    Decided(OperatorRecord),
    /// An operator released a brake.
    Released(BrakeRelease),
    /// Everything there was at the start has been heard.
    CaughtUp,
    /// A newer release wrote something that this one must not pass over.
    TooNew(DecodeError),
}

/// Listens on a thread of its own until it is dropped.
pub(super) struct Listener {
    heard: mpsc::Receiver<Heard>,
    stop: Arc<AtomicBool>,
}

impl Listener {
    pub(super) fn start(config: &Config) -> KafkaResult<Self> {
        let topics = Topics::new(&config.kafka.topic_prefix);
        let mut client = consumer_config(config, "sink-track-listener", &format!("{}.listener", config.kafka.topic_prefix));
        // No group: partitions are assigned by hand and nothing is committed.
        client.remove("group.instance.id");
        client.set("enable.partition.eof", "true");
        let watch = ClientWatch::new(config);
        let consumer: BaseConsumer<ClientWatch> = client.create_with_context(watch.clone())?;
        watch.attach(consumer.client());
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topics.track_brake(), 0, Offset::Beginning)?;
        for partition in 0..PARTITIONS {
            list.add_partition_offset(&topics.operator(), partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        let (sender, heard) = mpsc::channel(WAITING);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let brake = topics.track_brake();
        std::thread::Builder::new()
            .name("listen-track".into())
            .spawn(move || listen(&consumer, &brake, list.count(), &sender, &stopped))
            .map_err(|error| KafkaError::ClientCreation(format!("cannot start the listener: {error}")))?;
        Ok(Self { heard, stop })
    }

    pub(super) async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn listen(consumer: &BaseConsumer<ClientWatch>, brake: &str, partitions: usize, heard: &mpsc::Sender<Heard>, stop: &AtomicBool) {
    let mut ends = 0;
    while !stop.load(Ordering::Relaxed) {
        let next = match consumer.poll(Duration::from_millis(100)) {
            None => continue,
            Some(Ok(message)) => {
                let read = match message.payload() {
                    None => continue,
                    Some(value) if message.topic() == brake => BrakeEntry::decode(value).map(|entry| Heard::Brake {
                        offset: message.offset(),
                        at: message.timestamp().to_millis().unwrap_or_default(),
                        entry,
                    }),
                    Some(value) if is_release(message.key().unwrap_or_default()) => BrakeRelease::decode(value).map(Heard::Released),
                    Some(value) => OperatorRecord::decode(value).map(Heard::Decided),
                };
                match read {
                    Ok(read) => read,
                    Err(error @ DecodeError::TooNew { .. }) => Heard::TooNew(error),
                    Err(error) => {
                        tracing::warn!(%error, topic = message.topic(), partition = message.partition(), offset = message.offset(), "passed over");
                        continue;
                    }
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                ends += 1;
                if ends != partitions {
                    continue;
                }
                Heard::CaughtUp
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "listening");
                continue;
            }
        };
        if heard.blocking_send(next).is_err() {
            return;
        }
    }
}

fn is_release(key: &[u8]) -> bool {
    std::str::from_utf8(key).is_ok_and(|key| BrakeRelease::workspace_of(key).is_some())
}
