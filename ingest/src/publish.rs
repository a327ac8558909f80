//! One record to Kafka, and its delivery report.

use std::time::{Duration, Instant};

use actix_web::web::Bytes;
use aftersend_pipeline::config::Config;
use aftersend_pipeline::kafka::{ClientWatch, producer_config};
use aftersend_schemas::topics::Topics;
use prometheus::IntCounter;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{DeliveryResult, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Statistics};
use tokio::sync::oneshot;

use crate::admission::BodyPermit;
use crate::answer::Answer;
use crate::metrics::IngestMetrics;

/// How long the client goes on trying, also after the request was answered 503 or its client left. The record may still be written then: counted as late.
const DELIVERY_TIMEOUT_MS: u32 = 10_000;

/// A record as it is handed over; the client copies it.
pub(crate) struct Outgoing {
    pub(crate) key: String,
    pub(crate) value: Bytes,
    pub(crate) headers: OwnedHeaders,
    /// Unix milliseconds.
    pub(crate) received_at: i64,
}

/// Where a record goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Destination {
    Raw,
    Dead,
}

/// Travels with a record through the client. Whoever waits may have gone; the bytes count as in flight until the client lets go of them.
struct Ticket {
    delivered: oneshot::Sender<Result<(), KafkaError>>,
    permit: BodyPermit,
}

/// Receives delivery reports, on the client's own thread.
struct Reports {
    late: IntCounter,
    watch: ClientWatch,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(facility, "{message}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(facility, "{message}"),
            _ => tracing::debug!(facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.watch.stats(&statistics);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Self::DeliveryOpaque) {
        let Ticket { delivered, permit } = *ticket;
        // Before the answer, which may bring the next request at once.
        drop(permit);
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone());
        if let Err(Ok(())) = delivered.send(result) {
            self.late.inc();
        }
    }
}

/// Writes records and waits for the brokers.
pub(crate) struct Publisher {
    producer: ThreadedProducer<Reports>,
    raw: String,
    dead: String,
    metrics: IngestMetrics,
    /// Of one kind of failure there is a line a minute, however many records fail.
    watch: ClientWatch,
}

/// Waits for a delivery report. What arrives when nobody asks any more is counted as late, also in the moment in which the waiting is given up.
struct Waiting<'p> {
    report: oneshot::Receiver<Result<(), KafkaError>>,
    late: &'p IntCounter,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // From here on the report finds nobody; it may have come before.
        self.report.close();
        if let Ok(Ok(())) = self.report.try_recv() {
            self.late.inc();
        }
    }
}

impl Publisher {
    pub(crate) fn new(config: &Config, metrics: IngestMetrics) -> KafkaResult<Self> {
        let topics = Topics::new(&config.kafka.topic_prefix);
        let mut client = producer_config(config, "ingest", DELIVERY_TIMEOUT_MS);
        // Batching follows the load: a record that finds the connection idle leaves at once, and while requests are under way what arrives
        // makes the next batch.
        client.set("linger.ms", "0").set("max.in.flight.requests.per.connection", "1");
        let watch = ClientWatch::new(config);
        let producer: ThreadedProducer<Reports> =
            client.create_with_context(Reports { late: metrics.late.clone(), watch: watch.clone() })?;
        watch.attach(producer.client());
        Ok(Self { producer, raw: topics.raw(), dead: topics.dead(), metrics, watch })
    }

    /// Writes a record and waits for every in-sync replica to have it. Dropping the future leaves the record in the client.
    pub(crate) async fn write(&self, to: Destination, record: Outgoing, permit: BodyPermit) -> Result<(), Answer> {
        let topic = match to {
            Destination::Raw => &self.raw,
            Destination::Dead => &self.dead,
        };
        let started = Instant::now();
        let (delivered, report) = oneshot::channel();
        let mut waiting = Waiting { report, late: &self.metrics.late };
        self.send(topic, record, Ticket { delivered, permit })?;
        match (&mut waiting.report).await {
            Ok(Ok(())) => {
                self.metrics.acknowledge_seconds.observe(started.elapsed().as_secs_f64());
                Ok(())
            }
            Ok(Err(error)) => {
                self.watch.error(&error, "a record was not delivered");
                Err(Answer::ProduceFailed)
            }
            Err(_) => Err(Answer::ProduceFailed),
        }
    }

    fn send(&self, topic: &str, record: Outgoing, ticket: Ticket) -> Result<(), Answer> {
        let base = BaseRecord::with_opaque_to(topic, Box::new(ticket))
            .key(&record.key)
            .payload(&record.value[..])
            .timestamp(record.received_at)
            .headers(record.headers);
        match self.producer.send(base) {
            Ok(()) => Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Err(Answer::QueueFull),
            Err((error, _)) => {
                self.watch.error(&error, "the producer refused a record");
                Err(Answer::ProduceFailed)
            }
        }
    }

    /// Records that the client holds.
    pub(crate) fn queued(&self) -> i32 {
        self.producer.in_flight_count()
    }

    /// Waits for what is still queued. Blocks.
    pub(crate) fn flush(&self, limit: Duration) -> KafkaResult<()> {
        self.producer.flush(limit)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_util::task::noop_waker_ref;

    use super::*;

    #[test]
    fn a_record_is_late_if_nobody_heard_that_it_was_written() {
        let late = IntCounter::new("late", "late").unwrap();
        for (report, is_heard, is_late) in [
            (Some(Ok(())), false, true),
            (Some(Ok(())), true, false),
            (Some(Err(KafkaError::Canceled)), false, false),
            (None, false, false),
        ] {
            late.reset();
            let (delivered, receiver) = oneshot::channel();
            let mut waiting = Waiting { report: receiver, late: &late };
            let mut context = Context::from_waker(noop_waker_ref());
            assert!(Pin::new(&mut waiting.report).poll(&mut context).is_pending());
            // The request's future is woken, and may be dropped before it is polled.
            if let Some(report) = report {
                delivered.send(report).unwrap();
            }
            if is_heard {
                assert!(matches!(Pin::new(&mut waiting.report).poll(&mut context), Poll::Ready(Ok(Ok(())))));
            }
            drop(waiting);
            assert_eq!(late.get(), u64::from(is_late));
        }
    }
}
