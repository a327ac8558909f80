use std::sync::Arc;
use std::time::Duration;

use aftersend_pipeline::config::Config;
use aftersend_pipeline::kafka::consumer_config;
use aftersend_pipeline::record::Record;
use aftersend_schemas::topics::PARTITIONS;
use anyhow::bail;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

/// Every committed record of a topic, partition by partition. Blocks for as long as there is nothing new, but at least once around.
pub fn read_topic(config: &Config, topic: &str) -> anyhow::Result<Vec<Record>> {
    let consumer: BaseConsumer = consumer_config(config, "test", "aftersend-test-reader").create()?;
    let mut list = TopicPartitionList::new();
    let mut total = 0;
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
        total += consumer.fetch_watermarks(topic, partition, Duration::from_secs(10))?.1;
    }
    consumer.assign(&list)?;
    let name: Arc<str> = Arc::from(topic);
    let mut records = Vec::new();
    let mut idle = 0;
    // Markers of transactions take offsets, so the end is where nothing more comes.
    while i64::try_from(records.len())? < total && idle < 20 {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                records.push(Record::copy(&message, name.clone()));
                idle = 0;
            }
            Some(Err(error)) => bail!("reading {topic}: {error}"),
            None => idle += 1,
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// Partitions of a topic in which a transaction is open: what is committed ends before what is written.
pub fn open_transactions(config: &Config, topic: &str) -> anyhow::Result<Vec<i32>> {
    let ends = |isolation: &str| -> anyhow::Result<Vec<i64>> {
        let consumer: BaseConsumer = consumer_config(config, "test", "aftersend-test-reader").set("isolation.level", isolation).create()?;
        (0..PARTITIONS).map(|partition| Ok(consumer.fetch_watermarks(topic, partition, Duration::from_secs(10))?.1)).collect()
    };
    let (committed, written) = (ends("read_committed")?, ends("read_uncommitted")?);
    Ok((0..PARTITIONS)
        .zip(committed)
        .zip(written)
        .filter(|((_, committed), written)| committed < written)
        .map(|((partition, _), _)| partition)
        .collect())
}
