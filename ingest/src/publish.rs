//! One record to Kafka, and its delivery report.

use std::time::{Duration, Instant};

use aftersend_pipeline::config::Config;
use aftersend_pipeline::dead_letter;
use aftersend_pipeline::kafka::producer_config;
use aftersend_schemas::headers::Received;
use aftersend_schemas::topics::Topics;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;

use crate::answer::Answer;
use crate::metrics::IngestMetrics;

/// How long the client goes on trying after the request was answered 503. The record may still be written then: counted as late.
const DELIVERY_TIMEOUT_MS: u32 = 10_000;

#[derive(Clone)]
pub(crate) struct Publisher {
    producer: FutureProducer,
    raw: String,
    dead: String,
    metrics: IngestMetrics,
}

impl Publisher {
    pub(crate) fn new(config: &Config, metrics: IngestMetrics) -> KafkaResult<Self> {
        let topics = Topics::new(&config.kafka.topic_prefix);
        let producer = producer_config(config, "ingest", DELIVERY_TIMEOUT_MS).create()?;
        Ok(Self { producer, raw: topics.raw(), dead: topics.dead(), metrics })
    }

    /// Writes an event and waits for the brokers, until `deadline`.
    pub(crate) async fn event(&self, key: &str, body: &[u8], received: &Received, deadline: Instant) -> Answer {
        let headers = received.to_headers();
        let headers = dead_letter::owned(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
        self.write(&self.raw, key, body, headers, received.received_at, deadline, Answer::Accepted).await
    }

    /// Writes what is no event, with the reason.
    pub(crate) async fn dead(&self, key: &str, body: &[u8], received: &Received, reason: &str, deadline: Instant) -> Answer {
        let headers = dead_letter::from_request(received, reason);
        self.write(&self.dead, key, body, headers, received.received_at, deadline, Answer::Dead).await
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one record, the deadline and the answer if all goes well")]
    async fn write(&self, topic: &str, key: &str, body: &[u8], headers: OwnedHeaders, at: i64, deadline: Instant, done: Answer) -> Answer {
        let record = FutureRecord::to(topic).key(key).payload(body).timestamp(at).headers(headers);
        let mut report = match self.producer.send_result(record) {
            Ok(report) => report,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => return Answer::QueueFull,
            Err((error, _)) => {
                tracing::error!(%error, topic, bytes = body.len(), "the producer refused a record");
                return Answer::ProduceFailed;
            }
        };
        let started = Instant::now();
        match tokio::time::timeout_at(deadline.into(), &mut report).await {
            Ok(Ok(Ok(_))) => {
                self.metrics.acknowledge_seconds.observe(started.elapsed().as_secs_f64());
                done
            }
            Ok(Ok(Err((error, _)))) => {
                tracing::warn!(%error, topic, "a record was not delivered");
                Answer::ProduceFailed
            }
            Ok(Err(_)) => Answer::ProduceFailed,
            Err(_) => {
                let late = self.metrics.late.clone();
                tokio::spawn(async move {
                    if matches!(report.await, Ok(Ok(_))) {
                        late.inc();
                    }
                });
                Answer::NotAcknowledged
            }
        }
    }

    /// Waits for what is still queued. Blocks.
    pub(crate) fn flush(&self, limit: Duration) -> KafkaResult<()> {
        self.producer.flush(limit)
    }
}
