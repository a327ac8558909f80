use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aftersend_schemas::topics::Topics;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use super::{ClientWatch, producer};
use crate::config::Config;
use crate::record::Record;
use crate::record_headers;
use crate::retry::Backoff;

/// Takes the records that a service behind ingest cannot deliver. Its client is made with the first of them: most services never need it.
pub struct DeadLetterQueue {
    config: Config,
    service: &'static str,
    topic: String,
    producer: Mutex<Option<FutureProducer<ClientWatch>>>,
}

impl DeadLetterQueue {
    /// For a service.
    pub fn new(config: &Config, service: &'static str) -> Self {
        Self { config: config.clone(), service, topic: Topics::new(&config.kafka.topic_prefix).dead(), producer: Mutex::default() }
    }

    /// Writes one with its original bytes, and ends once the brokers have it. `error` must hold no payload.
    pub async fn write(&self, record: &Record, stage: &str, reason: &str, error: &str) {
        let topic = &self.topic;
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            let failed = match self.producer() {
                Err(error) => error,
                Ok(producer) => {
                    let headers = record_headers::dead_letter_from_record(record, stage, reason, error);
                    let value = record.value.as_deref().unwrap_or_default();
                    let letter = FutureRecord::to(topic).key(&record.key).payload(value).timestamp(record.timestamp).headers(headers);
                    match producer.send(letter, Duration::ZERO).await {
                        Ok(_) => return,
                        Err((error, _)) => error,
                    }
                }
            };
            tracing::warn!(error = %failed, topic, "a dead letter was not written; trying again");
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    /// The client; another one once it can do nothing any more.
    fn producer(&self) -> KafkaResult<FutureProducer<ClientWatch>> {
        let mut kept = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_ref().filter(|producer| producer.client().fatal_error().is_none()) {
            Some(producer) => Ok(producer.clone()),
            None => Ok(kept.insert(producer(&self.config, self.service)?).clone()),
        }
    }
}
