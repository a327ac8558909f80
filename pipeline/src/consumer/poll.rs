use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::{Semaphore, mpsc};

use super::context::Context;
use super::{Handle, Notice, Reader};
use crate::offsets::NextOffset;
use crate::telemetry::ConsumerMetrics;

/// A chunk is handed on at this many records or bytes, or when nothing more is at hand.
const CHUNK_RECORDS: usize = 2_000;
const CHUNK_BYTES: usize = 2 * 1024 * 1024;
const IDLE: Duration = Duration::from_millis(100);
/// A service that is busy for less is waited for: a pause throws away what the client has fetched.
const PATIENCE: Duration = Duration::from_secs(2);

/// Polls until told to stop. Never blocks on the service for long: when it is busy, everything is paused and polling goes on, so the group stays alive.
pub(super) fn run<R: Reader>(
    mut reader: R,
    group: &Handle<R::Item>,
    notices: &mpsc::UnboundedSender<Notice<R::Item>>,
    room: &Semaphore,
    metrics: &ConsumerMetrics,
) {
    let consumer = group.consumer.as_ref();
    let mut topics: HashMap<String, Arc<str>> = HashMap::new();
    let mut chunk: Vec<R::Item> = Vec::new();
    let mut bytes = 0;
    let mut held = false;
    let mut full_since: Option<Instant> = None;
    while !group.stop.load(Ordering::Relaxed) {
        // With records at hand only what is already here is added to them.
        let wait = if chunk.is_empty() { IDLE } else { Duration::ZERO };
        let wait = if held { Duration::from_millis(10) } else { wait };
        let polled = consumer.poll(wait);
        let idle = polled.is_none();
        // A revoke runs inside poll: what is at hand of its partitions must not follow it.
        let changes = consumer.context().take_changes();
        for (topic, partition) in changes.gone {
            chunk.retain(|item| R::place(item) != (topic.as_ref(), partition));
        }
        if chunk.is_empty() {
            (bytes, full_since) = (0, None);
            if std::mem::take(&mut held) {
                set_paused(group, false);
            }
        } else if held && changes.came {
            set_paused(group, true);
        }
        match polled {
            Some(Ok(message)) => {
                let topic = match topics.get(message.topic()) {
                    Some(topic) => topic.clone(),
                    None => topics.entry(message.topic().to_owned()).or_insert_with(|| Arc::from(message.topic())).clone(),
                };
                let item = reader.read(&message, &topic);
                bytes += R::size(&item);
                chunk.push(item);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                chunk.extend(reader.end_at(partition, |topic| position(consumer, topic, partition)));
            }
            Some(Err(error)) if is_fatal(consumer, &error) => {
                let error = consumer.client().fatal_error().map_or(error, |(code, reason)| {
                    tracing::error!(%code, reason, "the consumer cannot go on");
                    KafkaError::MessageConsumptionFatal(code)
                });
                let _ = notices.send(Notice::Failed(error));
                return;
            }
            Some(Err(error)) => tracing::warn!(%error, "poll"),
            None => {}
        }
        if chunk.is_empty() || !(idle || chunk.len() >= CHUNK_RECORDS || bytes >= CHUNK_BYTES) {
            continue;
        }
        loop {
            if let Ok(permit) = room.try_acquire() {
                permit.forget();
                let count = chunk.iter().filter(|item| R::is_record(item)).count();
                if notices.send(Notice::Records(std::mem::take(&mut chunk))).is_err() {
                    return;
                }
                metrics.records.inc_by(count as u64);
                break;
            }
            if held || group.stop.load(Ordering::Relaxed) {
                break;
            }
            if full_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                held = true;
                set_paused(group, true);
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// How far a partition has been handed over by polling, what ended transactions included.
fn position<T: Send + 'static>(consumer: &BaseConsumer<Context<T>>, topic: &str, partition: i32) -> Option<NextOffset> {
    let positions = consumer.position().ok()?;
    match positions.find_partition(topic, partition)?.offset() {
        Offset::Offset(next) => Some(NextOffset(next)),
        _ => None,
    }
}

fn is_fatal<T: Send + 'static>(consumer: &BaseConsumer<Context<T>>, error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
        || consumer.client().fatal_error().is_some()
}

/// Pauses everything, or resumes what the service itself has not paused.
fn set_paused<T: Send + 'static>(group: &Handle<T>, paused: bool) {
    let Ok(assignment) = group.consumer.assignment() else { return };
    let result = if paused {
        group.consumer.pause(&assignment)
    } else {
        let held = group.paused();
        let mut list = TopicPartitionList::new();
        for element in assignment.elements() {
            let partition = (Arc::from(element.topic()), element.partition());
            if !held.contains(&partition) {
                list.add_partition(element.topic(), element.partition());
            }
        }
        group.consumer.resume(&list)
    };
    if let Err(error) = result {
        tracing::warn!(%error, paused, "cannot change delivery");
    }
}
