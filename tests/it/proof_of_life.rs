//! What cancels a suppress: evidence that has arrived and is not judged yet, and an operator's word about evidence dated ahead.

use std::time::Duration;

use aftersend::traffic::{Body, Random, SeedableRng as _};
use aftersend_pipeline::unix_millis;
use aftersend_schemas::topics::partition_of;
use aftersend_tests::{RawLog, Service, Setup, eventually};
use anyhow::{Context as _, ensure};
use serde_json::json;

use super::track::operator;

/// What Customer.io knows of somebody, once it is so.
async fn becomes(setup: &Setup, id: &str, state: &str, suppressed: bool) -> anyhow::Result<()> {
    eventually(Duration::from_secs(40), async || {
        let kept = setup.track_api.people().remove(id).with_context(|| format!("{id} is not known"))?;
        ensure!(kept.suppressed == suppressed, "{kept:?}");
        ensure!(suppressed || kept.attributes.get("aftersend_email_state") == Some(&json!(state)), "{kept:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_life_that_has_arrived_cancels_a_suppress_even_while_no_processor_runs() -> anyhow::Result<()> {
    let mut setup = Setup::tracking("", "[policy]\nhold_hard_bounce = \"6s\"\n").await?;
    setup.start(Service::Processor).await?;
    setup.start(Service::Track).await?;
    let log = RawLog::new(&setup.config)?;
    let mut random = Random::seed_from_u64(1);
    let now = unix_millis() / 1000;
    let alive = "alive";
    let gone =
        (0..).map(|n| format!("gone-{n}")).find(|id| partition_of(id.as_bytes()) != partition_of(alive.as_bytes())).context("an id")?;
    for id in [alive, &gone] {
        let unknown = json!({"failure_message": "550 5.1.1 User unknown"});
        log.write("default", &Body::email(id, "d-1", "bounced", now - 60, unknown, &mut random), unix_millis())?;
    }
    log.flush()?;
    becomes(&setup, alive, "dead", false).await?;
    becomes(&setup, &gone, "dead", false).await?;
    setup.kill(Service::Processor)?;
    log.write("default", &Body::email(alive, "d-2", "delivered", now - 30, json!({}), &mut random), unix_millis())?;
    log.flush()?;
    // Everything of the other one has been judged.
    becomes(&setup, &gone, "", true).await?;
    eventually(Duration::from_secs(20), async || {
        let waits = setup.metric(Service::Track, "aftersend_track_awaits_processor").await?;
        ensure!(waits == 1.0, "{waits} partitions wait");
        Ok(())
    })
    .await?;
    setup.start(Service::Processor).await?;
    becomes(&setup, alive, "healthy", false).await?;
    eventually(Duration::from_secs(20), async || {
        ensure!(setup.metric(Service::Track, "aftersend_track_open_people").await? == 0.0);
        ensure!(setup.metric(Service::Track, "aftersend_track_awaits_processor").await? == 0.0);
        Ok(())
    })
    .await?;
    let suppressed = setup.track_api.asked().into_iter().filter(|asked| asked.call == "suppress").map(|asked| asked.person);
    assert_eq!(suppressed.collect::<Vec<_>>(), [gone]);
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_an_operator_frees_stays_free_of_evidence_that_was_known_however_it_is_dated() -> anyhow::Result<()> {
    let mut setup = Setup::tracking("", "").await?;
    setup.start(Service::Processor).await?;
    setup.start(Service::Track).await?;
    let log = RawLog::new(&setup.config)?;
    let mut random = Random::seed_from_u64(2);
    let now = unix_millis() / 1000;
    let mut write = |delivery: &str, metric: &str, at: i64| {
        log.write("default", &Body::email("omar", delivery, metric, at, json!({}), &mut random), unix_millis())?;
        log.flush()
    };
    write("d-1", "delivered", now - 3_600)?;
    write("d-1", "spammed", now + 1_800)?;
    becomes(&setup, "omar", "", true).await?;
    operator(&setup, &["unsuppress", "omar", "--by", "ops"])?;
    becomes(&setup, "omar", "healthy", false).await?;
    write("d-2", "delivered", now - 60)?;
    eventually(Duration::from_secs(20), async || {
        let status: serde_json::Value = serde_json::from_str(&operator(&setup, &["status", "omar", "--json"])?)?;
        ensure!(status["next"] == json!({"nothing": "in_step"}), "{status}");
        Ok(())
    })
    .await?;
    let suppresses = setup.track_api.asked().into_iter().filter(|asked| asked.call == "suppress").count();
    assert_eq!(suppresses, 1);
    assert!(!setup.track_api.people()["omar"].suppressed);
    setup.finish().await
}
