//! From the arrival of an event to its profile, at a steady 2,000 a second.

use std::time::{Duration, Instant};

use aftersend_pipeline::kafka::consumer_config;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::topics::PARTITIONS;
use aftersend_tests::Setup;
use aftersend_tests::bench::{Figure, Goal, Spread};
use anyhow::Context as _;
use hdrhistogram::Histogram;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::Options;
use crate::events::{Events, Writer};
use crate::runs::{NAME, launch};

const PER_SECOND: u64 = 2_000;
const WARM_UP: u64 = 5;
const SECONDS: u64 = 20;

pub(crate) async fn measure(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let setup = Setup::new("").await?;
    let mut ours = launch(&setup, options.core)?;
    ours.ready(NAME).await?;
    let (config, profiles) = (setup.config.clone(), setup.topics().profiles());
    let reading = std::thread::spawn(move || -> anyhow::Result<Histogram<u64>> {
        let consumer: BaseConsumer = consumer_config(&config, "bench", "aftersend-bench").create()?;
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(&profiles, partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        let mut latencies = Histogram::<u64>::new(3)?;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(WARM_UP + SECONDS + 2) {
            let Some(message) = consumer.poll(Duration::from_millis(50)) else { continue };
            // A profile's timestamp is the arrival of the event behind it.
            let arrived = message?.timestamp().to_millis().context("no timestamp")?;
            if begin.elapsed() > Duration::from_secs(WARM_UP) {
                latencies.record(u64::try_from(unix_millis() - arrived).unwrap_or_default())?;
            }
        }
        Ok(latencies)
    });
    let writer = Writer::to(&setup.config, &setup.topics().raw())?;
    let mut events = Events::of(options.customers, 11);
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let begin = Instant::now();
    let mut sent = 0;
    while begin.elapsed() < Duration::from_secs(WARM_UP + SECONDS) {
        tick.tick().await;
        let due = u64::try_from(begin.elapsed().as_millis())? * PER_SECOND / 1000;
        while sent < due {
            let (key, body, _) = events.next(unix_millis());
            writer.write(&(key, body, unix_millis()))?;
            sent += 1;
        }
    }
    writer.flush()?;
    let latencies = tokio::task::spawn_blocking(move || reading.join()).await?.map_err(|_| anyhow::anyhow!("the reader died"))??;
    ours.stop_all().await?;
    setup.finish().await?;
    let figure = |name: &'static str, quantile, goal| {
        let ours = Spread::of(vec![latencies.value_at_quantile(quantile) as f64])?;
        Some(Figure { name: name.into(), unit: "ms", ours, baseline: None, beside: None, goal })
    };
    let p99 = figure("profile_p99_ms", 0.99, Goal::AtMost(300.0));
    Ok([p99, figure("profile_p50_ms", 0.5, Goal::None), figure("profile_p999_ms", 0.999, Goal::None)].into_iter().flatten().collect())
}
