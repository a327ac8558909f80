//! States that a crash can leave behind, made by hand: each is completed without a row lost or doubled.

use std::time::Duration;

use aftersend_schemas::topics::Topics;
use aftersend_tests::{Service, Setup, eventually};
use anyhow::ensure;
use rdkafka::Offset;

use super::{commit, committed, each_once, produce, produce_events, producer, without_merges};

const PARTITION: i32 = 3;

fn token(topics: &Topics, last: u32) -> String {
    format!("raw_events:{}:{PARTITION}:0-{last}:0:0", topics.raw())
}

/// A partition with twenty records, all of them announced as one batch.
async fn announced() -> anyhow::Result<Setup> {
    let setup = Setup::new("").await?;
    without_merges(&setup, &["raw_events"]).await?;
    produce_events(&setup, Some(PARTITION), 0..20).await?;
    commit(&setup, "raw_events", &setup.topics().raw(), &[(PARTITION, 0)], "v2 epoch=0 first=0 last=19 n=20")?;
    Ok(setup)
}

/// Rows as a predecessor would have written them, under the token of the batch. Every second one is of yesterday: another partition of the table.
async fn insert(setup: &Setup, rows: &str) -> anyhow::Result<()> {
    let (topics, days) = (setup.topics(), "now64(3) - toIntervalDay(number % 2)");
    let select = format!("SELECT '{{}}', '{}', {PARTITION}, number, {days}, 0 FROM numbers(20) WHERE {rows}", topics.raw());
    let token = token(&topics, 19);
    let settings =
        format!("insert_deduplication_token = '{token}', async_insert = 0, deduplicate_insert_select = 'enable_even_for_bad_queries'");
    let insert =
        format!("INSERT INTO raw_events (payload, src_topic, src_partition, src_offset, received_at, epoch) SETTINGS {settings} {select}");
    Ok(setup.database().query(&insert).execute().await?)
}

async fn recovered(mut setup: Setup, missing: f64) -> anyhow::Result<Setup> {
    setup.start(Service::ClickHouse).await?;
    each_once(&setup, "raw_events", &setup.topics().raw()).await?;
    eventually(Duration::from_secs(20), async || {
        let (offset, text) = committed(&setup, "raw_events", &setup.topics().raw(), PARTITION)?;
        ensure!(offset == Offset::Offset(20) && text == "v2 epoch=0", "{offset:?} {text}");
        Ok(())
    })
    .await?;
    let counted = setup.metric(Service::ClickHouse, "aftersend_clickhouse_missing_rows_total{table=\"raw_events\"}").await?;
    assert_eq!(counted, missing, "rows sent again");
    let recoveries = setup.metric(Service::ClickHouse, "aftersend_clickhouse_recoveries_total{table=\"raw_events\"}").await?;
    assert_eq!(recoveries, 1.0);
    Ok(setup)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_batch_of_which_nothing_was_sent_is_sent() -> anyhow::Result<()> {
    recovered(announced().await?, 0.0).await?.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_batch_that_was_stored_is_not_stored_again_and_neither_is_a_zombies_late_copy() -> anyhow::Result<()> {
    let setup = announced().await?;
    insert(&setup, "1").await?;
    let setup = recovered(setup, 0.0).await?;
    insert(&setup, "1").await?;
    each_once(&setup, "raw_events", &setup.topics().raw()).await?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_token_that_was_written_before_clickhouse_died_are_sent_again() -> anyhow::Result<()> {
    let setup = announced().await?;
    insert(&setup, "1").await?;
    // A deletion keeps the token: what a crash between the token and the rows leaves behind.
    setup.database().query("ALTER TABLE raw_events DELETE WHERE 1 SETTINGS mutations_sync = 2").execute().await?;
    insert(&setup, "1").await?;
    assert_eq!(setup.count("SELECT count() FROM raw_events").await?, 0, "the token alone loses them silently");
    let setup = recovered(setup, 20.0).await?;
    // And whoever wakes up late adds nothing.
    insert(&setup, "1").await?;
    each_once(&setup, "raw_events", &setup.topics().raw()).await?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_half_of_whose_partitions_are_there_the_other_half_is_sent() -> anyhow::Result<()> {
    let setup = announced().await?;
    insert(&setup, "1").await?;
    setup.database().query("ALTER TABLE raw_events DELETE WHERE src_offset % 2 = 1 SETTINGS mutations_sync = 2").execute().await?;
    recovered(setup, 10.0).await?.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_not_ours_is_no_intent() -> anyhow::Result<()> {
    for text in ["", "junk", "v2 epoch=0 first=5 last=9 n=5", &"x".repeat(4_000)] {
        let mut setup = Setup::new("").await?;
        produce_events(&setup, Some(PARTITION), 0..20).await?;
        // Ahead of nothing: the first ten are passed over and counted, and no epoch is opened.
        commit(&setup, "raw_events", &setup.topics().raw(), &[(PARTITION, 10)], text)?;
        setup.start(Service::ClickHouse).await?;
        eventually(Duration::from_secs(30), async || {
            let rows = setup.count("SELECT count() FROM raw_events WHERE epoch = 0 AND src_offset >= 10").await?;
            ensure!(rows == 10, "{rows} rows");
            Ok(())
        })
        .await?;
        assert_eq!(setup.count("SELECT count() FROM raw_events").await?, 10, "{text}");
        let skipped = "aftersend_clickhouse_skipped_offsets_total{table=\"raw_events\"}";
        assert_eq!(setup.metric(Service::ClickHouse, skipped).await?, 10.0, "{text}");
        setup.finish().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_set_back_open_the_next_epoch_and_set_forward_are_counted() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    without_merges(&setup, &["raw_events"]).await?;
    let raw = setup.topics().raw();
    produce_events(&setup, Some(PARTITION), 0..100).await?;
    setup.start(Service::ClickHouse).await?;
    each_once(&setup, "raw_events", &raw).await?;

    // From the beginning, from the middle, and with a text of ours put back with the offset.
    for (epoch, from, text) in [(1, 0_u64, ""), (2, 50, ""), (3, 70, "v2 epoch=2"), (4, 0, "v2 epoch=3 first=0 last=9 n=10")] {
        reset(&mut setup, i64::try_from(from)?, text).await?;
        setup.start(Service::ClickHouse).await?;
        eventually(Duration::from_secs(30), async || {
            let rows = setup.count(&format!("SELECT count() FROM raw_events WHERE epoch = {epoch} AND src_offset >= {from}")).await?;
            ensure!(rows == 100 - from, "{rows} rows of epoch {epoch}");
            Ok(())
        })
        .await?;
        assert_eq!(setup.count("SELECT count() FROM raw_events_current").await?, 100, "the views show each once");
        assert_eq!(setup.metric(Service::ClickHouse, "aftersend_clickhouse_replays_total{table=\"raw_events\"}").await?, 1.0);
    }
    // To where it was: nothing is replayed.
    reset(&mut setup, 100, "").await?;
    produce_events(&setup, Some(PARTITION), 100..110).await?;
    setup.start(Service::ClickHouse).await?;
    eventually(Duration::from_secs(30), async || {
        ensure!(setup.count("SELECT count() FROM raw_events WHERE epoch = 4").await? == 110);
        Ok(())
    })
    .await?;
    // Forward: what is passed over is counted.
    produce_events(&setup, Some(PARTITION), 110..111).await?;
    eventually(Duration::from_secs(30), async || {
        ensure!(setup.count("SELECT count() FROM raw_events_current").await? == 111);
        Ok(())
    })
    .await?;
    assert!(setup.stop(Service::ClickHouse).await?.success());
    produce_events(&setup, Some(PARTITION), 111..130).await?;
    reset_stopped(&setup, 125, "").await?;
    setup.start(Service::ClickHouse).await?;
    eventually(Duration::from_secs(30), async || {
        let rows = setup.count("SELECT count() FROM raw_events_current").await?;
        ensure!(rows == 116, "{rows}");
        Ok(())
    })
    .await?;
    assert_eq!(setup.metric(Service::ClickHouse, "aftersend_clickhouse_skipped_offsets_total{table=\"raw_events\"}").await?, 14.0);
    setup.finish().await
}

/// Of two records of one event one row stays, so the other is looked for by its id, and so is whatever a query can hold.
#[tokio::test(flavor = "multi_thread")]
async fn rows_with_the_longest_ids_are_read_back() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    let (producer, raw) = (producer(&setup)?, setup.topics().raw());
    let body = |number: usize| {
        format!(
            r#"{{"event_id":"{number:0>512}","object_type":"email","metric":"delivered","timestamp":1770000000,"data":{{"customer_id":"u"}}}}"#
        )
    };
    for numbers in [0..600, 0..600] {
        let bodies: Vec<_> = numbers.map(body).collect();
        let sends = bodies.iter().map(|body| produce(&producer, &raw, Some(PARTITION), "u", body.as_bytes()));
        futures_util::future::try_join_all(sends).await?;
    }
    commit(&setup, "message_outcomes", &raw, &[(PARTITION, 0)], "v2 epoch=0 first=0 last=1199 n=1200")?;
    setup.start(Service::ClickHouse).await?;
    eventually(Duration::from_secs(40), async || {
        let (offset, _) = committed(&setup, "message_outcomes", &raw, PARTITION)?;
        ensure!(offset == Offset::Offset(1_200), "{offset:?}");
        Ok(())
    })
    .await?;
    assert_eq!(setup.count("SELECT uniqExact(event_id) FROM message_outcomes").await?, 600);
    setup.finish().await
}

/// ClickHouse keeps the tokens of deleted rows, and what is sent again has the same bounds and the same epoch.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_deleted_come_back_by_a_replay() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    let raw = setup.topics().raw();
    produce_events(&setup, Some(PARTITION), 0..20).await?;
    setup.start(Service::ClickHouse).await?;
    each_once(&setup, "raw_events", &raw).await?;
    assert!(setup.stop(Service::ClickHouse).await?.success());
    let delete = format!("ALTER TABLE raw_events DELETE WHERE src_topic = '{raw}' SETTINGS mutations_sync = 2");
    setup.database().query(&delete).execute().await?;
    reset_stopped(&setup, 0, "").await?;
    setup.start(Service::ClickHouse).await?;
    each_once(&setup, "raw_events", &raw).await?;
    setup.finish().await
}

async fn reset(setup: &mut Setup, offset: i64, text: &str) -> anyhow::Result<()> {
    assert!(setup.stop(Service::ClickHouse).await?.success());
    reset_stopped(setup, offset, text).await
}

/// A static member keeps its place until its session ends; nobody else may commit before.
async fn reset_stopped(setup: &Setup, offset: i64, text: &str) -> anyhow::Result<()> {
    eventually(Duration::from_secs(40), async || commit(setup, "raw_events", &setup.topics().raw(), &[(PARTITION, offset)], text)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_topic_of_the_same_name_stops_its_partition_and_no_other() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    produce_events(&setup, Some(PARTITION), 0..5).await?;
    // Rows that this log has never held.
    let raw = setup.topics().raw();
    let rows = format!(
        "INSERT INTO raw_events (src_topic, src_partition, src_offset, received_at) SELECT '{raw}', {PARTITION}, number, now64(3) FROM numbers(50)"
    );
    setup.database().query(&rows).execute().await?;
    setup.start(Service::ClickHouse).await?;
    eventually(Duration::from_secs(20), async || {
        let stopped = "aftersend_clickhouse_stopped_partitions{reason=\"other_log\",table=\"raw_events\"}";
        ensure!(setup.metric(Service::ClickHouse, stopped).await? == 1.0);
        Ok(())
    })
    .await?;
    let (producer, other) = (producer(&setup)?, Some(PARTITION + 1));
    produce(&producer, &raw, other, "k", b"{}").await?;
    eventually(Duration::from_secs(20), async || {
        ensure!(setup.count("SELECT count() FROM raw_events WHERE src_partition = 4").await? == 1);
        Ok(())
    })
    .await?;
    assert_eq!(setup.count("SELECT count() FROM raw_events WHERE src_partition = 3").await?, 50);
    setup.finish().await
}
