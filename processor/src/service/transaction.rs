use std::time::Duration;

use aftersend_pipeline::config::Config;
use aftersend_pipeline::consumer::{Handle, Partition};
use aftersend_pipeline::kafka::transactional_producer_config;
use aftersend_pipeline::offsets::NextOffset;
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::topics::Topics;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

const TIMEOUT: Duration = Duration::from_secs(15);

/// A profile for its partition.
pub(super) struct Output {
    pub(super) partition: i32,
    pub(super) key: String,
    pub(super) timestamp: i64,
    pub(super) record: ProfileRecord,
}

/// The one transactional producer of this replica. Every call blocks.
pub(super) struct Transactions {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
}

impl Transactions {
    /// Fences a predecessor of the same name and aborts what it left open.
    pub(super) fn start(config: &Config) -> KafkaResult<Self> {
        let topics = Topics::new(&config.kafka.topic_prefix);
        let client = transactional_producer_config(config, "processor", &topics.processor_group());
        let producer: ThreadedProducer<DefaultProducerContext> = client.create()?;
        producer.init_transactions(TIMEOUT)?;
        Ok(Self { producer, topic: topics.profiles() })
    }

    /// Writes profiles and offsets, both or neither. After an error the caller starts over: what was written is aborted here or by the next start.
    pub(super) fn commit(&self, outputs: &[Output], offsets: &[(Partition, NextOffset)], group: &Handle) -> KafkaResult<()> {
        let result = self.try_commit(outputs, offsets, group);
        if result.is_err()
            && let Err(error) = self.producer.abort_transaction(TIMEOUT)
        {
            tracing::warn!(%error, "cannot abort the transaction; the next start does");
        }
        result
    }

    fn try_commit(&self, outputs: &[Output], offsets: &[(Partition, NextOffset)], group: &Handle) -> KafkaResult<()> {
        self.producer.begin_transaction()?;
        for output in outputs {
            self.send(output)?;
        }
        let member = group.group_metadata().ok_or_else(|| KafkaError::ClientCreation("no membership of the group".into()))?;
        self.producer.send_offsets_to_transaction(&Handle::list(offsets)?, &member, TIMEOUT)?;
        loop {
            match self.producer.commit_transaction(TIMEOUT) {
                // The outcome is not known yet; asking again is what the protocol wants.
                Err(KafkaError::Transaction(error)) if error.is_retriable() => tracing::warn!(%error, "commit is retried"),
                result => return result,
            }
        }
    }

    fn send(&self, output: &Output) -> KafkaResult<()> {
        let value = output.record.encode();
        let mut record =
            BaseRecord::to(&self.topic).partition(output.partition).key(&output.key).payload(&value).timestamp(output.timestamp);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}
