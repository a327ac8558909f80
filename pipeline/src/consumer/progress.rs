use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::alone::{alone_config, watched};
use crate::config::Config;
use crate::kafka::ClientWatch;

const TIMEOUT: Duration = Duration::from_secs(5);

/// How far a group has come in a topic, for somebody outside of it. Every question blocks, for five seconds at most; brokers that do not answer by then
/// are an error. A client that has failed is dropped: the next question finds its brokers anew.
pub struct Progress {
    config: Config,
    client: ClientConfig,
    consumer: Mutex<Option<BaseConsumer<ClientWatch>>>,
    topic: String,
}

impl Progress {
    /// A client of its own, which never joins the group.
    pub fn new(config: &Config, name: &str, group: &str, topic: &str) -> KafkaResult<Self> {
        Self::isolated(config, "read_committed", name, group, topic)
    }

    /// The same, for a topic written in transactions: its end is behind what stands in open ones, too.
    pub fn uncommitted(config: &Config, name: &str, group: &str, topic: &str) -> KafkaResult<Self> {
        Self::isolated(config, "read_uncommitted", name, group, topic)
    }

    fn isolated(config: &Config, isolation: &str, name: &str, group: &str, topic: &str) -> KafkaResult<Self> {
        let mut client = alone_config(config, isolation, name);
        // Nobody polls it between two questions, which may be days apart: what it told of itself would pile up.
        client.set("group.id", group).set("statistics.interval.ms", "0");
        let consumer = Mutex::new(Some(watched(config, &client)?));
        Ok(Self { config: config.clone(), client, consumer, topic: topic.to_owned() })
    }

    /// The first offset that a partition still holds, and the one behind its last record.
    pub fn bounds(&self, partition: i32) -> KafkaResult<(i64, i64)> {
        self.ask(|consumer| consumer.fetch_watermarks(&self.topic, partition, TIMEOUT))
    }

    /// The offsets at which the group goes on; nothing for a partition of which it has committed none.
    pub fn committed(&self, partitions: impl IntoIterator<Item = i32>) -> KafkaResult<HashMap<i32, i64>> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        let committed = self.ask(|consumer| consumer.committed_offsets(list, TIMEOUT))?;
        let offset = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(next) => Some((element.partition(), next)),
            _ => None,
        };
        Ok(committed.elements().into_iter().filter_map(offset).collect())
    }

    fn ask<T>(&self, question: impl FnOnce(&BaseConsumer<ClientWatch>) -> KafkaResult<T>) -> KafkaResult<T> {
        let mut kept = self.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        let consumer = match kept.take() {
            Some(consumer) => consumer,
            None => watched(&self.config, &self.client)?,
        };
        let answer = question(&consumer)?;
        *kept = Some(consumer);
        Ok(answer)
    }
}
