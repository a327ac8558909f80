use rdkafka::config::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;

use crate::config::Config;
use crate::kafka::{Complaints, consumer_config};

/// A consumer without a group: partitions are assigned by hand and nothing is ever committed.
pub(super) fn alone(config: &Config, isolation: &str, name: &str) -> KafkaResult<BaseConsumer<Complaints>> {
    alone_config(config, isolation, name).create_with_context(Complaints::default())
}

/// The same, before it is made.
pub(super) fn alone_config(config: &Config, isolation: &str, name: &str) -> ClientConfig {
    let mut client = consumer_config(config, name, &format!("{}.{name}", config.kafka.topic_prefix));
    client.remove("group.instance.id");
    client.set("isolation.level", isolation).set("statistics.interval.ms", "0").set("enable.partition.eof", "true");
    client
}
