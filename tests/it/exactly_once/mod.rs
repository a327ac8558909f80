//! Each record is one row, whatever dies: the ClickHouse sink alone, on records that the tests write themselves.

mod answers;
mod kills;
mod outages;
mod poison;
mod recovery;
mod zombie;

use std::collections::BTreeSet;
use std::time::Duration;

use aftersend_pipeline::kafka::producer_config;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::headers::Received;
use aftersend_schemas::identity::{Namespace, Person};
use aftersend_schemas::profile::{Cadence, ChannelReason, EmailState, Evaluation, Facts, Grounds, ProfileRecord};
use aftersend_schemas::track_call::{Call, Phase, TrackCall};
use aftersend_tests::{Setup, eventually, read_topic};
use anyhow::{Context as _, ensure};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

/// A producer that waits for a broker which is away.
fn producer(setup: &Setup) -> anyhow::Result<FutureProducer> {
    Ok(producer_config(&setup.config, "test", 120_000).create()?)
}

/// What ingest would have written for an event.
fn event(number: u64) -> Vec<u8> {
    let at = unix_millis() / 1000 - i64::try_from(number % 40).unwrap_or(0) * 86_400;
    let event = serde_json::json!({
        "event_id": format!("event-{number}"), "object_type": "email", "metric": "delivered", "timestamp": at,
        "data": {"customer_id": format!("c-{}", number % 97), "delivery_id": format!("d-{number}")},
    });
    event.to_string().into_bytes()
}

fn received() -> Received<'static> {
    Received { source: "default".into(), workspace: "default".into(), received_at: unix_millis(), ..Received::default() }
}

/// One record, acknowledged.
async fn produce(producer: &FutureProducer, topic: &str, partition: Option<i32>, key: &str, value: &[u8]) -> anyhow::Result<()> {
    let headers = aftersend_pipeline::record_headers::raw(&received());
    let mut record = FutureRecord::to(topic).key(key).payload(value).headers(headers);
    record.partition = partition;
    producer.send(record, Duration::from_secs(120)).await.map_err(|(error, _)| error)?;
    Ok(())
}

/// So many events, into one partition or by their keys.
async fn produce_events(setup: &Setup, partition: Option<i32>, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
    let (producer, topic) = (producer(setup)?, setup.topics().raw());
    let sends: Vec<_> = numbers.map(|number| (format!("c-{}", number % 97), event(number))).collect();
    for some in sends.chunks(500) {
        futures_util::future::try_join_all(some.iter().map(|(key, value)| produce(&producer, &topic, partition, key, value))).await?;
    }
    Ok(())
}

fn profile(person: &str, score: u8) -> Vec<u8> {
    let evaluation = Evaluation {
        score,
        state: EmailState::Healthy,
        email_deliverable: true,
        email_promotional_ok: true,
        email_transactional_ok: true,
        email_cadence: Cadence::Full,
        best_channel: None,
        best_channel_reason: ChannelReason::NoneReached,
        never_suppress: false,
        grounds: Grounds::Worded { reason: String::new(), contributions: Vec::new() },
        verdict: None,
        facts: Facts::default(),
        changes_at: None,
    };
    ProfileRecord { person: some_person(person), as_of: 7, policy_version: 1, evaluation, state: Vec::new(), address: None }.encode()
}

fn track_call(person: &str) -> Vec<u8> {
    let call = TrackCall {
        version: TrackCall::VERSION,
        person: some_person(person),
        call: Call::Identify,
        phase: Phase::Intent,
        rule: String::new(),
        evidence: String::new(),
        policy_version: 1,
        at: unix_millis(),
        status: 0,
        latency_ms: 0,
        received_at: 0,
        error: String::new(),
    };
    call.encode()
}

fn some_person(id: &str) -> Person {
    Person { workspace: "default".into(), namespace: Namespace::Id, id: id.to_owned() }
}

/// Merges would hide what was written twice.
async fn without_merges(setup: &Setup, tables: &[&str]) -> anyhow::Result<()> {
    for table in tables {
        let settings = "max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1";
        setup.database().query(&format!("ALTER TABLE {table} MODIFY SETTING {settings}")).execute().await?;
    }
    Ok(())
}

/// Every record of a topic is one row of the table: counted without FINAL, in one epoch, in no other place.
async fn each_once(setup: &Setup, table: &str, topic: &str) -> anyhow::Result<()> {
    let config = setup.config.clone();
    let name = topic.to_owned();
    let records = tokio::task::spawn_blocking(move || read_topic(&config, &name)).await??;
    let produced: BTreeSet<(u32, u64)> =
        records.iter().map(|record| (u32::try_from(record.partition).unwrap_or(0), u64::try_from(record.offset).unwrap_or(0))).collect();
    eventually(Duration::from_secs(90), async || {
        let unique = setup.count(&format!("SELECT uniqExact(src_partition, src_offset) FROM {table}")).await?;
        ensure!(unique == produced.len() as u64, "{unique} of {} records in {table}", produced.len());
        Ok(())
    })
    .await?;
    let places = setup.database().query(&format!("SELECT src_partition, src_offset FROM {table} ORDER BY 1, 2")).fetch_all().await?;
    let rows: Vec<(u32, u64)> = places;
    assert_eq!(rows.len(), produced.len(), "count() of {table} is that of its records: none twice");
    assert!(rows.iter().eq(produced.iter()), "the rows of {table} are the records");
    // Rows of `dead_letters` do not say which partition of `dead` they were in: one without a commit begins in the next epoch.
    if table != "dead_letters" {
        assert_eq!(setup.count(&format!("SELECT toUInt64(max(epoch)) FROM {table}")).await?, 0, "no replay of {table}");
    }
    Ok(())
}

/// The group of a table, committed by hand while it is empty.
fn commit(setup: &Setup, table: &str, topic: &str, offsets: &[(i32, i64)], metadata: &str) -> anyhow::Result<()> {
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &setup.config.kafka.brokers)
        .set("group.id", setup.topics().clickhouse_group(table))
        .set("enable.auto.commit", "false")
        .create()?;
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        if !metadata.is_empty() {
            list.find_partition(topic, *partition).context("just added")?.set_metadata(metadata);
        }
    }
    Ok(consumer.commit(&list, CommitMode::Sync)?)
}

/// What a group has committed for a partition.
fn committed(setup: &Setup, table: &str, topic: &str, partition: i32) -> anyhow::Result<(Offset, String)> {
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &setup.config.kafka.brokers)
        .set("group.id", setup.topics().clickhouse_group(table))
        .create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    let list = consumer.committed_offsets(list, Duration::from_secs(10))?;
    let element = list.find_partition(topic, partition).context("asked for")?;
    Ok((element.offset(), element.metadata().to_owned()))
}
