use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;

use crate::config::Config;
use crate::kafka::{ClientWatch, consumer_config};

/// A consumer without a group: partitions are assigned by hand and nothing is ever committed.
pub(super) fn alone(config: &Config, isolation: &str, name: &str) -> KafkaResult<BaseConsumer<ClientWatch>> {
    watched(config, &alone_config(config, isolation, name))
}

/// Makes one of these settings. It has to be polled, or told to be silent (`statistics.interval.ms = 0`): what it tells of itself every five seconds is kept
/// until then.
pub(super) fn watched(config: &Config, client: &ClientConfig) -> KafkaResult<BaseConsumer<ClientWatch>> {
    let watch = ClientWatch::new(config);
    let consumer: BaseConsumer<ClientWatch> = client.create_with_context(watch.clone())?;
    watch.attach(consumer.client());
    Ok(consumer)
}

/// The settings of [`alone`].
pub(super) fn alone_config(config: &Config, isolation: &str, name: &str) -> ClientConfig {
    let mut client = consumer_config(config, name, &format!("{}.{name}", config.kafka.topic_prefix));
    client.remove("group.instance.id");
    client.set("isolation.level", isolation).set("enable.partition.eof", "true");
    client
}
