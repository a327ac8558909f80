use std::time::Duration;

use aftersend::traffic::{Body, Crowd, Random, SeedableRng as _};
use aftersend_pipeline::kafka::producer_config;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::profile::EmailState;
use aftersend_schemas::topics::PARTITIONS;
use aftersend_tests::{Fleet, RawLog, Setup, eventually};
use anyhow::ensure;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};

use super::{agrees, latest, records};

const RESTORED: &str = "aftersend_processor_profiles_restored_total";

fn write(log: &RawLog, customers: u32, count: usize, seed: u64) -> anyhow::Result<()> {
    let crowd = Crowd { customers, days: 60, bad_percent: 1, now: unix_millis() / 1000, seed };
    for body in crowd.events(count) {
        log.write("default", &body, unix_millis())?;
    }
    log.flush()
}

/// Everything is restored: there is nothing between the checkpoint and what is committed.
async fn settled(fleet: &Fleet, name: &str) -> anyhow::Result<()> {
    eventually(Duration::from_secs(60), async || {
        let restored = fleet.log(name).matches("state restored").count();
        ensure!(restored > 0, "not restored yet");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_reads_only_what_the_store_has_missed() -> anyhow::Result<()> {
    let setup = Setup::new("").await?;
    let mut fleet = Fleet::of(&setup);
    let log = RawLog::new(&setup.config)?;
    fleet.launch("a")?;
    write(&log, 500, 3_000, 1)?;
    let whole = agrees(&setup.config, &log, Duration::from_secs(60)).await?.len();
    fleet.stop("a").await?;

    fleet.launch("a")?;
    fleet.ready("a").await?;
    write(&log, 20, 100, 2)?;
    agrees(&setup.config, &log, Duration::from_secs(60)).await?;
    ensure!(fleet.metric("a", RESTORED).await? == 0.0, "a clean stop leaves nothing to read");

    // Somebody else works for a while: that is what the first one has missed.
    fleet.stop("a").await?;
    let before = records(&setup.config)?.len();
    fleet.launch("b")?;
    write(&log, 50, 500, 3)?;
    let after = agrees(&setup.config, &log, Duration::from_secs(90)).await?.len();
    ensure!(fleet.metric("b", RESTORED).await? == before as f64, "a new replica reads everything");
    fleet.stop("b").await?;
    fleet.launch("a")?;
    write(&log, 10, 50, 4)?;
    agrees(&setup.config, &log, Duration::from_secs(90)).await?;
    let missed = fleet.metric("a", RESTORED).await?;
    ensure!(missed == (after - before) as f64, "read {missed} records, missed {} of {whole} and more", after - before);
    fleet.stop("a").await?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_not_mistaken_for_the_old_one() -> anyhow::Result<()> {
    let setup = Setup::new("").await?;
    let mut fleet = Fleet::of(&setup);
    let log = RawLog::new(&setup.config)?;
    fleet.launch("a")?;
    write(&log, 200, 2_000, 1)?;
    let old = agrees(&setup.config, &log, Duration::from_secs(60)).await?.len();
    fleet.stop("a").await?;

    // As many records as before, so that no offset tells: written by a processor with a store of its own.
    let admin: AdminClient<DefaultClientContext> = producer_config(&setup.config, "test", 10_000).create()?;
    let (profiles, raw) = (setup.topics().profiles(), setup.topics().raw());
    for topic in [&profiles, &raw] {
        for result in admin.delete_topics(&[topic.as_str()], &AdminOptions::new()).await? {
            result.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
        }
    }
    eventually(Duration::from_secs(30), async || setup.migrate()).await?;
    let again = RawLog::new(&setup.config)?;
    fleet.launch("b")?;
    write(&again, 200, 3_000, 9)?;
    let new = agrees(&setup.config, &again, Duration::from_secs(90)).await?.len();
    eprintln!("{old} records, then {new}");
    fleet.stop("b").await?;
    fleet.launch("a")?;
    settled(&fleet, "a").await?;
    write(&again, 30, 100, 10)?;
    agrees(&setup.config, &again, Duration::from_secs(90)).await?;
    let discarded = "aftersend_processor_store_discarded_total{reason=\"other_topic\"}";
    ensure!(fleet.metric("a", discarded).await? > 0.0, "the old copy was trusted");
    fleet.stop("a").await?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_keeps_what_lasts_longer_than_the_log() -> anyhow::Result<()> {
    let setup = Setup::new("").await?;
    let mut fleet = Fleet::of(&setup);
    let log = RawLog::new(&setup.config)?;
    let now = unix_millis() / 1000;
    let mut random = Random::seed_from_u64(1);
    fleet.launch("a")?;
    let gone = serde_json::json!({"failure_message": "550 5.1.1 User unknown"});
    log.write("default", &Body::email("omar", "d-1", "spammed", now - 7_200, serde_json::json!({}), &mut random), unix_millis())?;
    log.write("default", &Body::email("greta", "d-2", "bounced", now - 7_200, gone, &mut random), unix_millis())?;
    agrees(&setup.config, &log, Duration::from_secs(40)).await?;
    fleet.kill("a")?;

    // Nothing is left of the log, of the offsets, of the store.
    let raw = setup.topics().raw();
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(&raw, partition, Offset::End)?;
    }
    let admin: AdminClient<DefaultClientContext> = producer_config(&setup.config, "test", 10_000).create()?;
    admin.delete_records(&all, &AdminOptions::new()).await?;
    let group = setup.topics().processor_group();
    eventually(Duration::from_secs(40), async || {
        for result in admin.delete_groups(&[&group], &AdminOptions::new()).await? {
            result.map_err(|(group, code)| anyhow::anyhow!("{group}: {code}"))?;
        }
        Ok(())
    })
    .await?;
    fleet.launch("b")?;
    for (customer, delivery) in [("omar", "d-3"), ("greta", "d-4")] {
        // Before the bounce: it is no proof of life.
        let delivered = Body::email(customer, delivery, "delivered", now - 9_000, serde_json::json!({}), &mut random);
        log.write("default", &delivered, unix_millis())?;
    }
    let records = agrees(&setup.config, &log, Duration::from_secs(60)).await?;
    let people = latest(&records)?;
    let state = |key: &str| people[key].evaluation.state;
    assert_eq!((state("default:id:omar"), state("default:id:greta")), (EmailState::Complained, EmailState::Dead));
    fleet.stop_all().await?;
    setup.finish().await
}
