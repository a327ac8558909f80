//! The consumer loop as a member of a real group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aftersend_pipeline::consumer::{Consumer, Notice, Partition, Reader, Tail};
use aftersend_pipeline::kafka::producer_config;
use aftersend_pipeline::record::Record;
use aftersend_pipeline::telemetry::{ConsumerFamilies, Metrics};
use aftersend_schemas::topics::PARTITIONS;
use aftersend_tests::Setup;
use anyhow::Context as _;
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{FutureProducer, FutureRecord};

/// A dynamic member, that leaves at once when it is closed, or one with a fixed name.
fn member(setup: &Setup, instance: Option<&str>) -> anyhow::Result<Consumer> {
    let (mut config, topic) = (setup.config.clone(), setup.topics().raw());
    config.instance = instance.map(str::to_owned);
    let group = format!("{}.consumer", config.kafka.topic_prefix);
    let metrics = ConsumerFamilies::new(&Metrics::new()).of(&group);
    // Longer than any test: a revoke that is not released stays where it is.
    Ok(Consumer::subscribe(&config, "test", &group, &[&topic], Duration::from_secs(240), metrics)?)
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

fn numbers(partitions: &[Partition]) -> BTreeSet<i32> {
    partitions.iter().map(|(_, number)| *number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_was_paused_when_it_went_is_delivered_when_it_comes_again() -> anyhow::Result<()> {
    let setup = Setup::new("").await?;
    let topic = setup.topics().raw();
    let mut first = member(&setup, None)?;
    let all = assigned(&mut first).await?;
    assert_eq!(all.len(), usize::try_from(PARTITIONS)?);
    for partition in &all {
        first.handle().pause(partition)?;
    }

    let mut second = member(&setup, None)?;
    let Notice::Revoked(went, released) = next(&mut first).await? else { anyhow::bail!("nothing was revoked") };
    for partition in &went {
        first.handle().forget(partition);
    }
    drop(released);
    assert_eq!(assigned(&mut second).await?.len(), went.len());
    second.close().await;
    let came = assigned(&mut first).await?;
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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_static_member_had_when_it_died_within_a_rebalance_finds_an_owner() -> anyhow::Result<()> {
    let setup = Setup::new("").await?;
    let mut dies = member(&setup, Some("first"))?;
    let all = numbers(&assigned(&mut dies).await?);
    let mut second = member(&setup, Some("second"))?;
    // It has been told what it loses, and has not asked for the round that gives it to the other: it never will.
    let Notice::Revoked(went, released) = next(&mut dies).await? else { anyhow::bail!("nothing was revoked") };

    // Its successor of the same name is given the rest at once.
    let mut first = member(&setup, Some("first"))?;
    let kept = numbers(&assigned(&mut first).await?);
    assert_eq!(&kept | &numbers(&went), all);
    assert_ne!(kept, all, "the others are without an owner");

    let mut owned = [kept, BTreeSet::new()];
    while &owned[0] | &owned[1] != all {
        let (owned, notice) = tokio::select! {
            notice = next(&mut first) => (&mut owned[0], notice?),
            notice = next(&mut second) => (&mut owned[1], notice?),
        };
        match notice {
            Notice::Assigned(partitions) => owned.extend(numbers(&partitions)),
            Notice::Revoked(partitions, _released) => owned.retain(|number| !numbers(&partitions).contains(number)),
            other => anyhow::bail!("{other:?}"),
        }
    }
    assert!(owned[0].is_disjoint(&owned[1]), "{owned:?}");
    drop(released);
    for consumer in [dies, first, second] {
        consumer.close().await;
    }
    setup.finish().await
}

/// Has a defect: it cannot read a record with a key.
struct Defective;

impl Reader for Defective {
    type Item = Record;

    fn read(&mut self, message: &BorrowedMessage<'_>, topic: &Arc<str>) -> Record {
        let record = Record::copy(message, topic.clone());
        assert!(record.key.is_empty(), "the defect of this test");
        record
    }

    fn place(record: &Record) -> (&str, i32) {
        (&record.topic, record.partition)
    }

    fn size(record: &Record) -> usize {
        record.size()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_thread_that_dies_is_heard_of() -> anyhow::Result<()> {
    let setup = Setup::new("").await?;
    let (config, topic) = (setup.config.clone(), setup.topics().raw());
    let group = format!("{}.consumer", config.kafka.topic_prefix);
    let metrics = ConsumerFamilies::new(&Metrics::new()).of(&group);
    let mut consumer = Consumer::subscribe_with(Defective, &config, "test", &group, &[&topic], Duration::from_secs(10), metrics)?;
    let producer: FutureProducer = producer_config(&setup.config, "test", 10_000).create()?;
    producer.send(FutureRecord::to(&topic).key("key").payload("{}"), Duration::from_secs(10)).await.map_err(|(error, _)| error)?;
    let end = async { while consumer.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(30), end).await.context("nobody hears of it")?;
    consumer.close().await;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_tells_records_from_ends_and_its_death_is_heard_of() -> anyhow::Result<()> {
    let setup = Setup::new("").await?;
    let topic = setup.topics().raw();
    let defective = |record: Option<Record>| {
        assert!(record.as_ref().is_none_or(|record| record.key.is_empty()), "the defect of this test");
        Some(record.is_some())
    };
    let mut tail = Tail::start_with(defective, &setup.config, "test", "tail", 10)?;
    tail.follow(&topic, &[(0, None)])?;
    let mut next = async || tokio::time::timeout(Duration::from_secs(30), tail.next()).await.context("nobody hears of it");
    assert_eq!(next().await?, Some(false), "the partition is empty");
    let producer: FutureProducer = producer_config(&setup.config, "test", 10_000).create()?;
    for (key, heard) in [("", &[true, false][..]), ("key", &[])] {
        let record = FutureRecord::to(&topic).partition(0).key(key).payload("{}");
        producer.send(record, Duration::from_secs(10)).await.map_err(|(error, _)| error)?;
        for heard in heard {
            assert_eq!(next().await?, Some(*heard));
        }
    }
    assert_eq!(next().await?, None);
    tail.close().await;
    setup.finish().await
}
