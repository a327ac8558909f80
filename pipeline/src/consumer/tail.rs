use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::alone::alone;
use crate::config::Config;
use crate::kafka::ClientWatch;
use crate::offsets::NextOffset;
use crate::record::Record;

const WAIT: Duration = Duration::from_millis(100);
/// Records that may wait for the service.
const RECORDS: usize = 1_000;

/// Follows partitions that are given to it, without a group: for what a service reads beside its own topic. Committed records only.
pub struct Tail {
    consumer: Arc<BaseConsumer<ClientWatch>>,
    records: mpsc::Receiver<Record>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Tail {
    /// Follows nothing yet.
    pub fn start(config: &Config, name: &str) -> KafkaResult<Self> {
        let consumer = Arc::new(alone(config, "read_committed", name)?);
        let (sender, records) = mpsc::channel(RECORDS);
        let stop = Arc::new(AtomicBool::new(false));
        let (polled, stopped) = (consumer.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name(format!("tail-{name}"))
            .spawn(move || run(&polled, &sender, &stopped))
            .map_err(|error| KafkaError::ClientCreation(format!("cannot start the thread of a tail: {error}")))?;
        Ok(Self { consumer, records, stop, thread: Some(thread) })
    }

    /// Follows more partitions, each from an offset or from its beginning.
    pub fn follow(&self, topic: &str, starts: &[(i32, Option<NextOffset>)]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for (partition, from) in starts {
            let start = from.map_or(Offset::Beginning, |from| Offset::Offset(from.0));
            list.add_partition_offset(topic, *partition, start)?;
        }
        self.consumer.incremental_assign(&list)
    }

    /// Follows these no more. What was read of them may still come.
    pub fn leave(&self, topic: &str, partitions: &[i32]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(topic, *partition);
        }
        self.consumer.incremental_unassign(&list)
    }

    /// The next record; nothing once the thread has ended.
    pub async fn next(&mut self) -> Option<Record> {
        self.records.recv().await
    }

    /// One that waits already, if any does.
    pub fn try_next(&mut self) -> Option<Record> {
        self.records.try_recv().ok()
    }

    /// Ends.
    pub async fn close(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.records.close();
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn run(consumer: &BaseConsumer<ClientWatch>, records: &mpsc::Sender<Record>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match consumer.poll(WAIT) {
            Some(Ok(message)) => {
                let topic = Arc::from(message.topic());
                if records.blocking_send(Record::copy(&message, topic)).is_err() {
                    return;
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) | None => {}
            Some(Err(error)) => tracing::warn!(%error, "poll"),
        }
    }
}
