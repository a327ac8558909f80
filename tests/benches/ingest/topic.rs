//! Topics of a run: one more beside `raw`, how many records are in one, and their end.

use std::time::Duration;

use aftersend_pipeline::config::Config;
use aftersend_pipeline::kafka::{consumer_config, create_topics, producer_config};
use aftersend_schemas::topics::PARTITIONS;
use aftersend_tests::Setup;
use anyhow::Context as _;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

/// Creates a topic with the partitions and settings of `raw`.
pub(crate) async fn beside_raw(setup: &Setup, name: &str) -> anyhow::Result<String> {
    let topics = setup.topics();
    let mut spec =
        topics.specs(setup.config.max_record_bytes()).into_iter().find(|spec| spec.name == topics.raw()).context("raw is no topic")?;
    spec.name = format!("{}.{name}", setup.config.kafka.topic_prefix);
    let name = spec.name.clone();
    create_topics(&setup.config, &[spec]).await?;
    Ok(name)
}

/// Records ever written to a topic: the sum of its partitions' ends.
pub(crate) fn written(config: &Config, topic: &str) -> anyhow::Result<u64> {
    let consumer: BaseConsumer = consumer_config(config, "bench", "aftersend-bench").create()?;
    let ends = (0..PARTITIONS).map(|partition| Ok(consumer.fetch_watermarks(topic, partition, Duration::from_secs(10))?.1));
    Ok(u64::try_from(ends.sum::<anyhow::Result<i64>>()?)?)
}

/// A run writes gigabytes.
pub(crate) async fn delete(config: &Config, topics: &[String]) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = producer_config(config, "bench", 10_000).create()?;
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    for result in admin.delete_topics(&names, &AdminOptions::new()).await? {
        result.map_err(|(topic, code)| anyhow::anyhow!("cannot delete {topic}: {code}"))?;
    }
    Ok(())
}
