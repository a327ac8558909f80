//! Brokers that are fenced all at once: for a moment a cluster says that it has none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aftersend_pipeline::config::Config;
use aftersend_pipeline::kafka::{ClientWatch, consumer_config, producer};
use aftersend_tests::{Engine, Engines, Setup};
use anyhow::{Context as _, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::producer::FutureRecord;
use rdkafka::{ClientContext, Message as _, Statistics};

const CLIENTS: usize = 20;
/// Longer than the broker's session with its controller.
const PAUSE: Duration = Duration::from_millis(3_500);
/// By far more than are needed: in one pause of two a client or more forgets its brokers.
const PAUSES: usize = 12;

struct Context {
    watch: ClientWatch,
    /// It has known no broker at some time.
    forgot: AtomicBool,
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        if !statistics.brokers.values().any(|broker| broker.source != "logical") {
            self.forgot.store(true, Ordering::Relaxed);
        }
        self.watch.stats(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(&error, reason);
    }
}

impl ConsumerContext for Context {}

/// A member of a group of its own that asks for the brokers all the time.
fn client(config: &Config, number: usize, topic: &str) -> anyhow::Result<BaseConsumer<Context>> {
    let watch = ClientWatch::new(config);
    let consumer: BaseConsumer<Context> = consumer_config(config, "test", &format!("{}.fenced-{number}", config.kafka.topic_prefix))
        .set("topic.metadata.refresh.interval.ms", "50")
        .set("statistics.interval.ms", "500")
        .create_with_context(Context { watch: watch.clone(), forgot: AtomicBool::new(false) })?;
    watch.attach(consumer.client());
    consumer.subscribe(&[topic])?;
    Ok(consumer)
}

/// Polls all of them for so long, or until each has read a record with this payload. How many have.
fn poll(clients: &[BaseConsumer<Context>], limit: Duration, wanted: &[u8]) -> usize {
    let deadline = Instant::now() + limit;
    let mut read = vec![false; clients.len()];
    while Instant::now() < deadline && read.contains(&false) {
        for (client, read) in clients.iter().zip(&mut read) {
            if let Some(Ok(message)) = client.poll(Duration::from_millis(2)) {
                *read |= message.payload() == Some(wanted);
            }
        }
    }
    read.into_iter().filter(|read| *read).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_told_that_there_are_no_brokers_finds_them_again() -> anyhow::Result<()> {
    let broker = Engines::kafka()?;
    let clickhouse = std::env::var("CLICKHOUSE_URL").context("CLICKHOUSE_URL is not set: run `make test`")?;
    let setup = Setup::with(&broker.brokers(), &clickhouse, "").await?;
    let (config, topic) = (setup.config.clone(), setup.topics().raw());
    let clients: Vec<_> = (0..CLIENTS).map(|number| client(&config, number, &topic)).collect::<anyhow::Result<_>>()?;
    let clients = Arc::new(clients);
    let polled = async |seconds, wanted: &'static str| {
        let clients = clients.clone();
        tokio::task::spawn_blocking(move || poll(&clients, Duration::from_secs(seconds), wanted.as_bytes())).await
    };
    let write = async |payload: &str| {
        let record = FutureRecord::to(&topic).key("key").payload(payload).partition(0);
        let written = producer(&config, "test")?.send(record, Duration::from_secs(10)).await;
        written.map(|_| ()).map_err(|(error, _)| anyhow::Error::new(error))
    };

    write("before").await?;
    assert_eq!(polled(60, "before").await?, CLIENTS);
    let forgetful = || clients.iter().filter(|client| client.context().forgot.load(Ordering::Relaxed)).count();
    for _ in 0..PAUSES {
        broker.pause(Engine::Kafka, PAUSE).await?;
        polled(5, "after").await?;
        if forgetful() > 0 {
            break;
        }
    }
    ensure!(forgetful() > 0, "no client forgot its brokers: nothing was tried");

    write("after").await?;
    assert_eq!(polled(60, "after").await?, CLIENTS, "{} of them had forgotten the brokers", forgetful());
    setup.finish().await
}
