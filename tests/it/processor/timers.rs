use std::time::Duration;

use aftersend::traffic::{Body, Random, SeedableRng as _};
use aftersend_pipeline::unix_millis;
use aftersend_schemas::profile::{EmailState, ProfileRecord};
use aftersend_tests::{Fleet, RawLog, Setup, eventually};
use anyhow::{Context as _, ensure};

use super::records;

const DAY: i64 = 86_400;
/// A hard bounce that is not certain stops mail for a week, and then is only watched.
const WEEK: i64 = 7 * DAY;
const PEOPLE: i64 = 20;

/// Twenty people whose week ends one after the other from `first` on, and nothing else that happens to them.
fn write(log: &RawLog, first: i64) -> anyhow::Result<()> {
    let mut random = Random::seed_from_u64(3);
    for n in 0..PEOPLE {
        // Not in the order in which they end.
        let n = n * 7 % PEOPLE;
        let at = first + n / 4 - WEEK;
        let uncertain = serde_json::json!({"failure_message": "550 5.1.2 Host unknown: domain does not exist"});
        let body = Body::email(&format!("t-{n}"), &format!("d-{n}"), "bounced", at, uncertain, &mut random);
        log.write("default", &body, at * 1000)?;
    }
    log.flush()
}

/// Person, time of the verdict, when it was written: of every verdict that the time alone made, in the order of the log.
fn ended(setup: &Setup) -> anyhow::Result<Vec<(i32, String, i64)>> {
    let mut ended = Vec::new();
    for record in records(&setup.config)? {
        let profile = ProfileRecord::decode(record.value.as_deref().context("a tombstone")?)?;
        if profile.evaluation.state == EmailState::Watch {
            ended.push((record.partition, record.key_text().into_owned(), profile.as_of));
        }
    }
    Ok(ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_fire_within_two_seconds_of_their_time_and_in_the_same_order_in_a_replay() -> anyhow::Result<()> {
    let live = Setup::new("").await?;
    let mut fleet = Fleet::of(&live);
    fleet.launch("a")?;
    fleet.ready("a").await?;
    let log = RawLog::new(&live.config)?;
    let first = unix_millis() / 1000 + 12;
    write(&log, first)?;
    eventually(Duration::from_secs(10), async || {
        let grey = records(&live.config)?.len();
        ensure!(grey >= usize::try_from(PEOPLE)?, "{grey} of {PEOPLE} people");
        Ok(())
    })
    .await?;
    // In the middle of it, too: timers outlive a processor.
    fleet.kill("a")?;
    fleet.launch("a")?;
    let fired = eventually(Duration::from_secs(40), async || {
        let fired = ended(&live)?;
        ensure!(fired.len() == usize::try_from(PEOPLE)?, "{} of {PEOPLE} timers", fired.len());
        Ok(fired)
    })
    .await?;
    for (_, person, as_of) in &fired {
        let n: i64 = person.rsplit_once('-').context("no number")?.1.parse()?;
        ensure!((0..=1).contains(&(as_of - (first + n / 4))), "{person} was judged at {as_of}, {} was due", first + n / 4);
    }
    let late = fleet.metric("a", "aftersend_processor_timer_delay_seconds_bucket{le=\"2.5\"}").await?;
    let all = fleet.metric("a", "aftersend_processor_timer_delay_seconds_count").await?;
    ensure!(late == all && all >= PEOPLE as f64, "{late} of {all} timers fired in time");
    fleet.stop_all().await?;

    // The same log a week later: one record of somebody else in every partition tells the time.
    let replay = Setup::new("").await?;
    let again = RawLog::new(&replay.config)?;
    write(&again, first)?;
    let mut random = Random::seed_from_u64(4);
    for n in 0..200 {
        let body = Body::email(&format!("clock-{n}"), &format!("c-{n}"), "delivered", first + 5, serde_json::json!({}), &mut random);
        again.write("default", &body, (first + 6) * 1000)?;
    }
    again.flush()?;
    let mut fleet = Fleet::of(&replay);
    fleet.launch("a")?;
    let replayed = eventually(Duration::from_secs(40), async || {
        let fired = ended(&replay)?;
        ensure!(fired.len() == usize::try_from(PEOPLE)?, "{} of {PEOPLE} timers", fired.len());
        Ok(fired)
    })
    .await?;
    assert_eq!(replayed, fired);
    fleet.stop_all().await?;
    live.finish().await?;
    replay.finish().await
}
