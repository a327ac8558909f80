use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{FutureProducer, Producer as _};

use super::ClientWatch;
use crate::config::{Config, Kafka};

/// What every client shares: brokers, the user's own settings, quiet logs.
fn base(kafka: &Kafka, client_id: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in &kafka.properties.0 {
        config.set(name, value);
    }
    config
        .set("bootstrap.servers", &kafka.brokers)
        .set("client.id", client_id)
        .set("log.connection.close", "false")
        .set("reconnect.backoff.max.ms", "2000")
        .set("topic.metadata.refresh.interval.ms", "30000")
        // For lags, and for the watch that looks after a client.
        .set("statistics.interval.ms", "5000")
        .set_log_level(RDKafkaLogLevel::Warning);
    config
}

/// A producer that never writes a record twice by itself and gives up on it after `delivery_timeout_ms`.
pub fn producer_config(config: &Config, service: &str, delivery_timeout_ms: u32) -> ClientConfig {
    let mut client = base(&config.kafka, &client_id(config, service));
    client
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        .set("message.max.bytes", config.max_record_bytes().to_string())
        .set("queue.buffering.max.kbytes", "65536")
        .set("delivery.timeout.ms", delivery_timeout_ms.to_string())
        .set("request.timeout.ms", delivery_timeout_ms.min(5_000).to_string())
        .set("linger.ms", "2");
    client
}

/// A producer of single records, looked after.
pub fn producer(config: &Config, service: &str) -> KafkaResult<FutureProducer<ClientWatch>> {
    let watch = ClientWatch::new(config);
    let producer: FutureProducer<ClientWatch> = producer_config(config, service, 10_000).create_with_context(watch.clone())?;
    watch.attach(producer.client());
    Ok(producer)
}

/// The processor's producer. Its transactional id is stable, so that a restart aborts what its predecessor left open.
pub fn transactional_producer_config(config: &Config, service: &str, group: &str) -> ClientConfig {
    let mut client = base(&config.kafka, &client_id(config, service));
    client
        .set("transactional.id", format!("{group}.{}", config.instance_name()))
        .set("transaction.timeout.ms", "15000")
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        .set("message.max.bytes", config.max_record_bytes().to_string())
        .set("queue.buffering.max.kbytes", "65536")
        .set("linger.ms", "2");
    client
}

/// A consumer whose offsets move only when we say so.
pub fn consumer_config(config: &Config, service: &str, group: &str) -> ClientConfig {
    let mut client = base(&config.kafka, &client_id(config, service));
    client
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "15000")
        .set("heartbeat.interval.ms", "2000")
        .set("max.poll.interval.ms", "300000")
        .set("queued.max.messages.kbytes", "4096")
        // A full queue is soon empty again: with the default of a second nobody would read more than one queue a second.
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.message.max.bytes", "1048576")
        // An answer is held whole, and unpacked beside it: a megabyte of each of twelve partitions would take a hundred.
        .set("fetch.max.bytes", "1048576")
        .set("fetch.wait.max.ms", "100");
    // A static member keeps its partitions over a restart. A name that was not chosen may be shared by accident, and the second member would fence the first.
    if let Some(instance) = &config.instance {
        client.set("group.instance.id", instance);
    }
    client
}

fn client_id(config: &Config, service: &str) -> String {
    format!("aftersend-{service}-{}", config.instance_name())
}
