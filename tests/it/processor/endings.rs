use std::time::Duration;

use aftersend::traffic::{Body, Random, SeedableRng as _};
use aftersend_pipeline::unix_millis;
use aftersend_tests::{Fleet, RawLog, Setup, eventually};
use anyhow::{Context as _, ensure};
use serde_json::json;

use super::{latest, records};

const YEAR: i64 = 365 * 86_400;

/// Somebody whose only mail was delivered a year ago ends in a tombstone, also if the processor dies before; who complained then is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_without_evidence_for_long_enough_ends_and_a_complaint_is_kept_for_good() -> anyhow::Result<()> {
    let setup = Setup::new("[policy]\nforget_after = \"365d\"\n").await?;
    let mut fleet = Fleet::of(&setup);
    fleet.launch("a")?;
    fleet.ready("a").await?;
    let log = RawLog::new(&setup.config)?;
    let mut random = Random::seed_from_u64(5);
    let ends = unix_millis() / 1000 + 12;
    let mut write = |customer: &str, delivery: &str, metric: &str, at: i64| {
        log.write("default", &Body::email(customer, delivery, metric, at, json!({}), &mut random), unix_millis())?;
        log.flush()
    };
    write("olga", "d-1", "delivered", ends - YEAR)?;
    write("karl", "d-2", "spammed", ends - YEAR)?;
    write("anna", "d-3", "delivered", ends - 60)?;
    eventually(Duration::from_secs(10), async || {
        let people = latest(&records(&setup.config)?)?;
        ensure!(people.len() == 3, "{:?}", people.keys());
        Ok(())
    })
    .await?;
    fleet.kill("a")?;
    fleet.launch("a")?;
    let ended = eventually(Duration::from_secs(40), async || {
        let records = records(&setup.config)?;
        let tombstone = records.iter().find(|record| record.value.is_none()).context("nobody ended")?;
        Ok((tombstone.key_text().into_owned(), tombstone.timestamp))
    })
    .await?;
    assert_eq!(ended.0, "default:id:olga");
    assert!(ended.1 >= ends * 1000, "{} before its time, {ends}", ended.1);
    let left = latest(&records(&setup.config)?)?;
    assert_eq!(left.keys().collect::<Vec<_>>(), ["default:id:anna", "default:id:karl"]);

    // Who comes back is somebody new, to a store that had known them, too.
    write("olga", "d-4", "delivered", ends)?;
    let olga = eventually(Duration::from_secs(20), async || {
        latest(&records(&setup.config)?)?.remove("default:id:olga").context("olga is not back")
    })
    .await?;
    assert_eq!(olga.evaluation.facts.delivered_90d, 1);
    let tombstones = records(&setup.config)?.iter().filter(|record| record.value.is_none()).count();
    assert_eq!(tombstones, 1);
    assert_eq!(fleet.metric("a", "aftersend_processor_profiles_forgotten_total").await?, 1.0);
    fleet.stop_all().await?;
    setup.finish().await
}
