//! The Track sink's cache of its ledger: what is read after a restart, and what is not believed.

use std::collections::BTreeSet;
use std::time::Duration;

use aftersend_pipeline::kafka::producer_config;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::profile::{Cause, ProfileRecord, Verdict};
use aftersend_schemas::topics::PARTITIONS;
use aftersend_tests::{Service, Setup, eventually, read_topic};
use anyhow::ensure;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

use super::track::{Profiles, operator, profile};

const RESTORED: &str = "aftersend_track_ledger_restored_total";

/// Starts the sink with a cache of that name, and waits until it has its partitions.
async fn start(setup: &mut Setup, cache: &str) -> anyhow::Result<()> {
    let directory = setup.directory().join(cache).to_string_lossy().into_owned();
    setup.launch_with(Service::Track, &[("AFTERSEND__TRACK__STATE_DIR", directory.as_str())])?;
    setup.ready(Service::Track).await?;
    eventually(Duration::from_secs(40), async || {
        // The log goes on where a predecessor's ended.
        let log = setup.process(Service::Track)?.log();
        let last = log.rsplit_once("track sink is starting").map_or("", |(_, last)| last);
        ensure!(last.contains("ledger restored"), "not restored yet");
        Ok(())
    })
    .await
}

/// Waits until Customer.io was called so often and nobody is open any more, then stops the sink.
async fn stop_after(setup: &mut Setup, calls: usize) -> anyhow::Result<()> {
    eventually(Duration::from_secs(40), async || {
        let asked = setup.track_api.asked().len();
        ensure!(asked == calls, "{asked} calls instead of {calls}");
        ensure!(setup.metric(Service::Track, "aftersend_track_open_people").await? == 0.0);
        Ok(())
    })
    .await?;
    ensure!(setup.stop(Service::Track).await?.success());
    Ok(())
}

fn people(prefix: &str, count: i64) -> Vec<ProfileRecord> {
    (0..count).map(|number| profile(&format!("{prefix}-{number}"), number, None)).collect()
}

/// Each of these profiles is looked at and found in step.
async fn in_step(setup: &Setup, profiles: &[ProfileRecord]) -> anyhow::Result<()> {
    eventually(Duration::from_secs(40), async || {
        let in_step = setup.metric(Service::Track, "aftersend_track_profiles_total{result=\"in_step\"").await?;
        ensure!(in_step == profiles.len() as f64, "{in_step} of {} are in step", profiles.len());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_sink_reads_only_what_its_cache_has_missed_and_calls_nobody_again() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    let profiles = Profiles::new(&setup)?;
    let (first, second) = (people("u", 300), people("v", 50));
    start(&mut setup, "a").await?;
    profiles.write(&first).await?;
    stop_after(&mut setup, 300).await?;
    let ledger = setup.topics().track_ledger();
    assert_eq!(read_topic(&setup.config, &ledger)?.len(), 300);

    start(&mut setup, "a").await?;
    profiles.write(&first).await?;
    in_step(&setup, &first).await?;
    assert_eq!(setup.metric(Service::Track, RESTORED).await?, 0.0, "a clean stop leaves nothing to read");
    assert!(setup.metric(Service::Track, "aftersend_track_store_bytes").await? > 0.0);
    stop_after(&mut setup, 300).await?;

    // A replica with another cache works for a while: that is what the first one has missed.
    start(&mut setup, "b").await?;
    assert_eq!(setup.metric(Service::Track, RESTORED).await?, 300.0, "a new replica reads everything");
    profiles.write(&second).await?;
    stop_after(&mut setup, 350).await?;
    start(&mut setup, "a").await?;
    assert_eq!(setup.metric(Service::Track, RESTORED).await?, 50.0);
    assert_eq!(setup.metric(Service::Track, "aftersend_track_store_discarded_total").await?, 0.0);
    let all = [first, second].concat();
    profiles.write(&all).await?;
    in_step(&setup, &all).await?;
    assert_eq!(setup.track_api.asked().len(), 350, "nobody was called again");

    // Killed, it has lost nothing that it had read back.
    eventually(Duration::from_secs(10), async || {
        ensure!(setup.metric(Service::Track, "aftersend_track_ledger_pending").await? == 0.0);
        Ok(())
    })
    .await?;
    setup.kill(Service::Track)?;
    start(&mut setup, "a").await?;
    assert_eq!(setup.metric(Service::Track, RESTORED).await?, 0.0);
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_made_anew_is_not_mistaken_for_the_old_one() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    let profiles = Profiles::new(&setup)?;
    let (old, new) = (people("u", 100), people("v", 300));
    start(&mut setup, "a").await?;
    profiles.write(&old).await?;
    stop_after(&mut setup, 100).await?;

    // More records than before in every partition, so that no offset tells: written by a replica with a cache of its own.
    let admin: AdminClient<DefaultClientContext> = producer_config(&setup.config, "test", 10_000).create()?;
    let ledger = setup.topics().track_ledger();
    let ends = |records: &[aftersend_pipeline::record::Record]| {
        let partitions: BTreeSet<i32> = records.iter().map(|record| record.partition).collect();
        partitions.into_iter().map(|one| (one, records.iter().filter(|record| record.partition == one).count())).collect::<Vec<_>>()
    };
    let before = ends(&read_topic(&setup.config, &ledger)?);
    for result in admin.delete_topics(&[ledger.as_str()], &AdminOptions::new()).await? {
        result.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
    }
    eventually(Duration::from_secs(30), async || setup.migrate()).await?;
    start(&mut setup, "b").await?;
    profiles.write(&new).await?;
    stop_after(&mut setup, 400).await?;
    let after = ends(&read_topic(&setup.config, &ledger)?);
    assert!(before.iter().all(|(partition, old)| after.iter().any(|(one, new)| one == partition && new >= old)), "{before:?} {after:?}");

    start(&mut setup, "a").await?;
    assert_eq!(setup.metric(Service::Track, RESTORED).await?, 300.0, "all of the new one");
    let discarded = setup.metric(Service::Track, "aftersend_track_store_discarded_total{reason=\"other_topic\"").await?;
    assert_eq!(discarded, f64::from(PARTITIONS));
    // Of these the new ledger knows nothing.
    profiles.write(&old).await?;
    stop_after(&mut setup, 500).await?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_an_operator_freed_while_the_sink_was_away_is_free_in_a_cache_that_has_missed_nothing() -> anyhow::Result<()> {
    let mut setup = Setup::tracking("max_irreversible_share = 1.0\n", "[policy]\nhold_hard_bounce = \"0s\"\n").await?;
    let profiles = Profiles::new(&setup)?;
    let now = unix_millis();
    let bounced = profile("u-1", 1, Some(Verdict { cause: Cause::HardBounce, at: now / 1_000, received_at: now }));
    start(&mut setup, "a").await?;
    profiles.write(std::slice::from_ref(&bounced)).await?;
    // Identify, then suppress.
    stop_after(&mut setup, 2).await?;
    operator(&setup, &["unsuppress", "u-1", "--by", "ops"])?;
    start(&mut setup, "a").await?;
    assert_eq!(setup.metric(Service::Track, RESTORED).await?, 0.0);
    eventually(Duration::from_secs(20), async || {
        let status: serde_json::Value = serde_json::from_str(&operator(&setup, &["status", "u-1", "--json"])?)?;
        ensure!(status["ledger"].is_object() && status["ledger"]["standing"].is_null(), "{status}");
        Ok(())
    })
    .await?;
    setup.finish().await
}
