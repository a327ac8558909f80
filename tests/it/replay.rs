use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;

use aftersend::traffic::{Outcome, samples, stories};
use aftersend_pipeline::unix_millis;
use aftersend_tests::{Service, Setup, eventually, kafka_brokers, repository};
use anyhow::ensure;

/// What `docs/replay.md` says, step by step.
#[tokio::test(flavor = "multi_thread")]
async fn resetting_offsets_replays_into_the_same_tables_and_calls_nobody_again() -> anyhow::Result<()> {
    let mut setup = Setup::new("[policy]\nhold_hard_bounce = \"0s\"\n").await?;
    setup.start_all().await?;
    let mut bodies: Vec<_> = stories(unix_millis() / 1000, 3).into_iter().flat_map(|story| story.events).collect();
    bodies.extend(samples());
    let total = bodies.len() as u64;
    // A body without an id is known by its bytes.
    let ids = bodies.iter().map(|body| body.event_id.as_ref().map_or(body.bytes.as_slice(), |id| id.as_bytes()));
    let distinct = ids.collect::<HashSet<_>>().len() as u64;
    let sent = setup.sender()?.send_all(bodies, 8, 0, &tokio_util::sync::CancellationToken::new()).await;
    assert!(sent.iter().all(|sent| sent.outcome == Outcome::Accepted));
    settled(&setup, total, distinct).await?;
    let tables = contents(&setup).await?;
    let versions = setup.count("SELECT count() FROM profiles FINAL").await?;
    let calls = setup.track_api.asked().len();
    assert!(calls > 40, "{calls}");

    for service in [Service::Processor, Service::ClickHouse, Service::Track] {
        assert!(setup.stop(service).await?.success());
    }
    let (topics, raw_copies) = (setup.topics(), setup.count("SELECT count() FROM raw_events").await?);
    let tables_of = |table: &str| topics.clickhouse_group(table);
    for (group, topic) in [
        (topics.processor_group(), topics.raw()),
        (tables_of("message_outcomes"), topics.raw()),
        (tables_of("raw_events"), topics.raw()),
        (tables_of("profiles"), topics.profiles()),
        (topics.track_group(), topics.profiles()),
    ] {
        // A member with a configured name stays in the group until its session times out.
        eventually(Duration::from_secs(40), async || reset(&group, &topic)).await?;
    }
    for service in [Service::Processor, Service::ClickHouse, Service::Track] {
        setup.start(service).await?;
    }
    eventually(Duration::from_secs(60), async || {
        let replayed = setup.count("SELECT count() FROM raw_events WHERE epoch = 1").await?;
        let merged = setup.count("SELECT count() FROM raw_events_current WHERE epoch = 1").await?;
        ensure!(merged == total, "{replayed} rows of the new epoch, {merged} of {total} current");
        let outcomes = setup.count("SELECT count() FROM message_outcomes_current WHERE epoch = 1").await?;
        let all = setup.count("SELECT count() FROM message_outcomes_current").await?;
        ensure!(outcomes == all, "{outcomes} of {all} outcomes are of the new epoch");
        let (events, profiles) = (records(&setup, Service::Processor).await?, records(&setup, Service::Track).await?);
        ensure!(events == total && profiles == versions, "{events} of {total} events and {profiles} of {versions} profiles read again");
        ensure!(setup.metric(Service::Track, "aftersend_track_open_people").await? == 0.0, "not everybody is looked at yet");
        Ok(())
    })
    .await?;
    assert_eq!(setup.count("SELECT count() FROM raw_events_current").await?, raw_copies);
    assert_eq!(contents(&setup).await?, tables, "the current views show what they showed before");
    assert_eq!(setup.track_api.asked().len(), calls, "nobody was called again");
    setup.finish().await
}

/// Everything that the views show, without where it was read and when it was written.
async fn contents(setup: &Setup) -> anyhow::Result<Vec<String>> {
    let mut contents = Vec::new();
    for query in [
        "SELECT toString(tuple(event_id, event_type, timestamp, customer_id, bounce_class, metadata, src_partition, src_offset)) FROM message_outcomes_current ORDER BY event_id",
        "SELECT toString(tuple(payload, key, src_partition, src_offset)) FROM raw_events_current ORDER BY src_partition, src_offset",
        "SELECT toString(tuple(workspace, namespace, person_id, score, state, reason, contributions)) FROM profiles_current ORDER BY workspace, namespace, person_id",
    ] {
        contents.extend(setup.database().query(query).fetch_all::<String>().await?);
    }
    Ok(contents)
}

/// Waits until every event is folded and an outcome, every profile is a row, and everybody is in step.
async fn settled(setup: &Setup, total: u64, distinct: u64) -> anyhow::Result<()> {
    eventually(Duration::from_secs(60), async || {
        let rows = setup.count("SELECT count() FROM raw_events_current").await?;
        let outcomes = setup.count("SELECT count() FROM message_outcomes_current").await?;
        ensure!(outcomes == distinct, "{outcomes} of {distinct} outcomes");
        let folded = setup.metric(Service::Processor, "aftersend_processor_events_total").await? as u64;
        let written = setup.metric(Service::Processor, "aftersend_processor_profiles_written_total").await? as u64;
        let (stored, read) = (setup.count("SELECT count() FROM profiles FINAL").await?, records(setup, Service::Track).await?);
        let held = setup.metric(Service::Track, "aftersend_track_open_people").await?;
        ensure!(rows == total && folded == total, "{rows} rows and {folded} events of {total}");
        ensure!(stored == written && read == written && held == 0.0, "{written} profiles, {stored} stored, {read} read, {held} held");
        Ok(())
    })
    .await
}

/// Records that a service has read since it was started.
async fn records(setup: &Setup, service: Service) -> anyhow::Result<u64> {
    Ok(setup.metric(service, "aftersend_consumer_records_total").await? as u64)
}

fn reset(group: &str, topic: &str) -> anyhow::Result<()> {
    let output = Command::new(repository().join("deploy/local/kafka-tool.sh"))
        .args(["kafka-consumer-groups", "--bootstrap-server", &kafka_brokers()?, "--group", group, "--topic", topic])
        .args(["--reset-offsets", "--to-earliest", "--execute"])
        .output()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success() && !out.contains("Error"), "{group}: {out}{err}");
    Ok(())
}
