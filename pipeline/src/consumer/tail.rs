use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::alone::{alone_config, watched};
use crate::config::Config;
use crate::kafka::ClientWatch;
use crate::offsets::NextOffset;
use crate::record::Record;

const WAIT: Duration = Duration::from_millis(100);
/// Records that may wait for the service.
const RECORDS: usize = 1_000;

/// Follows partitions that are given to it, without a group: for what a service reads beside its own topic. Committed records only.
pub struct Tail<T = Record> {
    consumer: Arc<BaseConsumer<ClientWatch>>,
    items: mpsc::Receiver<T>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Tail {
    /// Follows nothing yet.
    pub fn start(config: &Config, name: &str) -> KafkaResult<Self> {
        Self::start_with(|record| record, config, name, name, RECORDS)
    }
}

impl<T: Send + 'static> Tail<T> {
    /// The same, with records read by `read` on the polling thread; it gets nothing each time that everything there is of a partition has been read.
    /// `room` is how many of what it gives may wait for the service.
    pub fn start_with(
        read: impl FnMut(Option<Record>) -> Option<T> + Send + 'static,
        config: &Config,
        name: &str,
        group: &str,
        room: usize,
    ) -> KafkaResult<Self> {
        let mut client = alone_config(config, "read_committed", name);
        client.set("group.id", format!("{}.{group}", config.kafka.topic_prefix));
        let consumer = Arc::new(watched(config, &client)?);
        let (sender, items) = mpsc::channel(room);
        let stop = Arc::new(AtomicBool::new(false));
        let (polled, stopped) = (consumer.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name(format!("tail-{name}"))
            .spawn(move || run(read, &polled, &sender, &stopped))
            .map_err(|error| KafkaError::ClientCreation(format!("cannot start the thread of a tail: {error}")))?;
        Ok(Self { consumer, items, stop, thread: Some(thread) })
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
    pub async fn next(&mut self) -> Option<T> {
        self.items.recv().await
    }

    /// One that waits already, if any does.
    pub fn try_next(&mut self) -> Option<T> {
        self.items.try_recv().ok()
    }

    /// Ends.
    pub async fn close(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.items.close();
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl<T> Drop for Tail<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn run<T>(
    mut read: impl FnMut(Option<Record>) -> Option<T>,
    consumer: &BaseConsumer<ClientWatch>,
    items: &mpsc::Sender<T>,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        let item = match consumer.poll(WAIT) {
            Some(Ok(message)) => read(Some(Record::copy(&message, message.topic().into()))),
            Some(Err(KafkaError::PartitionEOF(_))) => read(None),
            Some(Err(error)) => {
                tracing::warn!(%error, "poll");
                None
            }
            None => None,
        };
        if item.is_some_and(|item| items.blocking_send(item).is_err()) {
            return;
        }
    }
}
