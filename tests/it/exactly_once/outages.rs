use std::time::{Duration, Instant};

use aftersend_pipeline::consumer::{Consumer, Notice};
use aftersend_pipeline::telemetry::{ConsumerFamilies, Metrics};
use aftersend_tests::{Service, Setup, eventually};
use anyhow::{Context as _, ensure};

use super::{each_once, produce_events};

/// Each way in which a server can refuse everything: it is named, nothing is lost, and the sink goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_clickhouse_refuses_everything_for_is_named_and_waited_out() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    let raw = setup.topics().raw();
    setup.start(Service::ClickHouse).await?;
    let mut sent = 100;
    produce_events(&setup, None, 0..sent).await?;
    each_once(&setup, "raw_events", &raw).await?;
    for (cause, breaking, mending) in [
        ("schema", "RENAME TABLE raw_events TO hidden", "RENAME TABLE hidden TO raw_events"),
        ("schema", "ALTER TABLE raw_events RENAME COLUMN key TO other", "ALTER TABLE raw_events RENAME COLUMN other TO key"),
        // Of the same bytes, so that nothing but the type tells.
        ("schema", "ALTER TABLE raw_events MODIFY COLUMN key LowCardinality(String)", "ALTER TABLE raw_events MODIFY COLUMN key String"),
        ("read_only", "ALTER TABLE raw_events MODIFY SETTING table_readonly = 1", "ALTER TABLE raw_events RESET SETTING table_readonly"),
        (
            "no_space",
            "ALTER TABLE raw_events MODIFY SETTING min_free_disk_bytes_to_perform_insert = 1000000000000000",
            "ALTER TABLE raw_events RESET SETTING min_free_disk_bytes_to_perform_insert",
        ),
        (
            "too_many_parts",
            "ALTER TABLE raw_events MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1",
            "ALTER TABLE raw_events RESET SETTING parts_to_delay_insert, parts_to_throw_insert",
        ),
    ] {
        setup.database().query(breaking).execute().await.with_context(|| breaking.to_owned())?;
        produce_events(&setup, None, sent..sent + 100).await?;
        sent += 100;
        let failures = format!("aftersend_clickhouse_insert_failures_total{{cause=\"{cause}\",table=\"raw_events\"}}");
        let before = setup.metric(Service::ClickHouse, &failures).await?;
        eventually(Duration::from_secs(30), async || {
            ensure!(setup.metric(Service::ClickHouse, &failures).await? > before, "{cause} is not named");
            Ok(())
        })
        .await?;
        setup.database().query(mending).execute().await.with_context(|| mending.to_owned())?;
        eventually(Duration::from_secs(30), async || {
            let rows = setup.count("SELECT count() FROM raw_events_current").await?;
            ensure!(rows == sent, "{rows} of {sent} rows after {cause}");
            Ok(())
        })
        .await?;
    }
    assert_eq!(setup.count("SELECT count() FROM dead_letters").await?, 0, "nobody is blamed for an outage");
    each_once(&setup, "raw_events", &raw).await?;
    setup.finish().await
}

/// Nothing is inserted then, so nothing but what is asked can tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_waits_for_clickhouse_before_its_first_insert_says_so() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    let counted = async |setup: &Setup, cause: &str, before: f64| {
        let failures = format!("aftersend_clickhouse_insert_failures_total{{cause=\"{cause}\",table=\"raw_events\"}}");
        eventually(Duration::from_secs(40), async || {
            let failed = setup.metric(Service::ClickHouse, &failures).await?;
            ensure!(failed > before, "{cause} is not counted");
            Ok(failed)
        })
        .await
    };
    // Away at its start.
    setup.launch_with(Service::ClickHouse, &[("AFTERSEND__CLICKHOUSE__URL", "http://127.0.0.1:1")])?;
    counted(&setup, "unreachable", 0.0).await?;
    assert!(setup.stop(Service::ClickHouse).await?.success());

    // Refuses to say where partitions stand that come back from another member.
    setup.start(Service::ClickHouse).await?;
    let (raw, group) = (setup.topics().raw(), setup.topics().clickhouse_group("raw_events"));
    produce_events(&setup, None, 0..100).await?;
    each_once(&setup, "raw_events", &raw).await?;
    setup.database().query("RENAME TABLE raw_events TO hidden").execute().await?;
    let mut config = setup.config.clone();
    config.instance = None;
    let metrics = ConsumerFamilies::new(&Metrics::new()).of(&group);
    let mut other = Consumer::subscribe(&config, "other", &group, &[&raw], Duration::from_secs(10), metrics)?;
    while !matches!(other.next().await, Some(Notice::Assigned(_))) {}
    other.close().await;
    counted(&setup, "schema", 2.0).await?;
    let log = setup.process(Service::ClickHouse)?.log();
    assert_eq!(log.lines().filter(|line| line.contains("where a partition stands")).count(), 1, "a line for all partitions:\n{log}");
    setup.database().query("RENAME TABLE hidden TO raw_events").execute().await?;
    produce_events(&setup, None, 100..200).await?;
    each_once(&setup, "raw_events", &raw).await?;
    setup.finish().await
}

/// The backlog of an outage waits in Kafka: memory stays bounded, the group alive, and catching up is faster than arrival.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_not_kept_in_memory_and_is_caught_up_faster_than_it_came() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::ClickHouse).await?;
    for table in ["raw_events", "message_outcomes"] {
        setup.database().query(&format!("RENAME TABLE {table} TO {table}_hidden")).execute().await?;
    }
    let started = Instant::now();
    produce_events(&setup, None, 0..100_000).await?;
    let arrival = started.elapsed();
    let held = "aftersend_clickhouse_held_bytes{table=\"raw_events\"}";
    for _ in 0..5 {
        assert!(setup.metric(Service::ClickHouse, held).await? < 64.0 * 1024.0 * 1024.0);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    setup.process(Service::ClickHouse)?.check()?;
    let id = setup.process(Service::ClickHouse)?.id();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    eprintln!("resident with a backlog: {resident:?} kB");
    let started = Instant::now();
    for table in ["raw_events", "message_outcomes"] {
        setup.database().query(&format!("RENAME TABLE {table}_hidden TO {table}")).execute().await?;
    }
    each_once(&setup, "raw_events", &setup.topics().raw()).await?;
    eventually(Duration::from_secs(60), async || {
        ensure!(setup.count("SELECT count() FROM message_outcomes").await? == 100_000);
        Ok(())
    })
    .await?;
    eprintln!("100,000 records came in {arrival:?} and were caught up in {:?}", started.elapsed());
    setup.finish().await
}
