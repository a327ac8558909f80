use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aftersend::traffic::Body;
use aftersend_pipeline::config::Config;
use aftersend_pipeline::kafka::producer_config;
use aftersend_pipeline::record_headers;
use aftersend_processor::fold::{Observation, State};
use aftersend_schemas::headers::Received;
use aftersend_schemas::identity::Subject;
use aftersend_schemas::normaliser::Normaliser;
use aftersend_schemas::oddity::Oddity;
use aftersend_schemas::topics::Topics;
use anyhow::Context as _;
use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

/// Writes to `raw` as ingest would, and folds what the brokers acknowledged in the simplest way there is.
pub struct RawLog {
    producer: ThreadedProducer<Acknowledged>,
    acknowledged: Acknowledged,
    normaliser: Normaliser,
    topic: String,
}

/// What was acknowledged, as it was written.
#[derive(Clone, Default)]
struct Acknowledged(Arc<Mutex<Vec<Written>>>);

#[derive(Clone)]
struct Written {
    workspace: String,
    received_at: i64,
    key: String,
    body: Vec<u8>,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = Box<Written>;

    fn delivery(&self, result: &DeliveryResult<'_>, written: Box<Written>) {
        if result.is_ok() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(*written);
        }
    }
}

impl RawLog {
    /// For the topics of a configuration.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let acknowledged = Acknowledged::default();
        let producer = producer_config(config, "test", 30_000).create_with_context(acknowledged.clone())?;
        let topic = Topics::new(&config.kafka.topic_prefix).raw();
        Ok(Self { producer, acknowledged, normaliser: config.normaliser()?, topic })
    }

    /// Hands a body to the client.
    pub fn write(&self, workspace: &str, body: &Body, received_at: i64) -> anyhow::Result<()> {
        let event = self.normaliser.event(&body.bytes)?;
        let key = Subject::of(&event, &self.normaliser.privacy).key().into_owned();
        let received = Received { source: "default".into(), workspace: workspace.into(), received_at, ..Received::default() };
        let written = Written { workspace: workspace.into(), received_at, key: key.clone(), body: body.bytes.clone() };
        let mut record = BaseRecord::with_opaque_to(&self.topic, Box::new(written))
            .key(&key)
            .payload(&body.bytes)
            .timestamp(received_at)
            .headers(record_headers::raw(&received));
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Waits until everything is acknowledged.
    pub fn flush(&self) -> anyhow::Result<()> {
        self.producer.flush(Duration::from_secs(60)).context("not everything was acknowledged")
    }

    /// Records that were acknowledged.
    pub fn len(&self) -> usize {
        self.acknowledged.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everybody's state by the key of their profile, folded from what was acknowledged.
    pub fn reference(&self) -> anyhow::Result<BTreeMap<String, State>> {
        let mut people: BTreeMap<String, State> = BTreeMap::new();
        for written in self.acknowledged.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let event = self.normaliser.event(&written.body)?;
            let subject = Subject::of(&event, &self.normaliser.privacy);
            let Some(person) = subject.person(&written.workspace, &written.key) else { continue };
            if event.oddities.contains(Oddity::Undocumented) || event.oddities.contains(Oddity::TestEvent) {
                continue;
            }
            if let Some(observation) = Observation::of(&event, written.received_at, &self.normaliser) {
                people.entry(person.to_string()).or_default().observe(&observation);
            }
        }
        Ok(people)
    }
}
