//! The consumer loop as a member of a real group.

use std::collections::BTreeSet;
use std::time::Duration;

use aftersend_pipeline::consumer::{Consumer, Notice, Partition};
use aftersend_pipeline::kafka::producer_config;
use aftersend_pipeline::telemetry::{ConsumerFamilies, Metrics};
use aftersend_schemas::topics::PARTITIONS;
use aftersend_tests::Setup;
use anyhow::Context as _;
use rdkafka::producer::{FutureProducer, FutureRecord};

/// A dynamic member: it leaves at once when it is closed.
fn member(setup: &Setup) -> anyhow::Result<Consumer> {
    let (mut config, topic) = (setup.config.clone(), setup.topics().raw());
    config.instance = None;
    let group = format!("{}.consumer", config.kafka.topic_prefix);
    let metrics = ConsumerFamilies::new(&Metrics::new()).of(&group);
    Ok(Consumer::subscribe(&config, "test", &group, &[&topic], Duration::from_secs(10), metrics)?)
}

async fn next(consumer: &mut Consumer) -> anyhow::Result<Notice> {
    tokio::time::timeout(Duration::from_secs(60), consumer.next()).await?.context("the poll thread ended")
}

async fn assigned(consumer: &mut Consumer) -> anyhow::Result<Vec<Partition>> {
    match next(consumer).await? {
        Notice::Assigned(partitions) => Ok(partitions),
        other => anyhow::bail!("{other:?} in place of an assignment"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_was_paused_when_it_went_is_delivered_when_it_comes_again() -> anyhow::Result<()> {
    let setup = Setup::new("").await?;
    let topic = setup.topics().raw();
    let mut first = member(&setup)?;
    let all = assigned(&mut first).await?;
    assert_eq!(all.len(), usize::try_from(PARTITIONS)?);
    for partition in &all {
        first.handle().pause(partition)?;
    }

    let mut second = member(&setup)?;
    let Notice::Revoked(went, released) = next(&mut first).await? else { anyhow::bail!("nothing was revoked") };
    for partition in &went {
        first.handle().forget(partition);
    }
    drop(released);
    assert_eq!(assigned(&mut second).await?.len(), went.len());
    second.close().await;
    let came = assigned(&mut first).await?;
    let numbers = |partitions: &[Partition]| partitions.iter().map(|(_, number)| *number).collect::<BTreeSet<_>>();
    assert_eq!(numbers(&came), numbers(&went));

    let producer: FutureProducer = producer_config(&setup.config, "test", 10_000).create()?;
    for partition in 0..PARTITIONS {
        let record = FutureRecord::to(&topic).key("key").payload("{}").partition(partition);
        producer.send(record, Duration::from_secs(10)).await.map_err(|(error, _)| error)?;
    }
    let mut delivered = BTreeSet::new();
    while delivered.len() < came.len() {
        let Notice::Records(records) = next(&mut first).await? else { anyhow::bail!("another rebalance") };
        delivered.extend(records.iter().map(|record| record.partition));
    }
    assert_eq!(delivered, numbers(&came), "what stayed is still paused");
    first.close().await;
    setup.finish().await
}
