use std::collections::BTreeMap;
use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use aftersend::traffic::{Body, Random, SeedableRng as _};
use aftersend_pipeline::kafka::producer_config;
use aftersend_pipeline::unix_millis;
use aftersend_processor::providers::{BUCKET, Quarantine, QuarantineKey, QuarantineRecord};
use aftersend_schemas::address::ProviderId;
use aftersend_schemas::profile::EmailState;
use aftersend_schemas::topics::partition_of;
use aftersend_tests::{Fleet, RawLog, Service, Setup, binary, eventually, read_topic};
use anyhow::{Context as _, ensure};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use serde_json::json;

use super::{latest, records};

const GMAIL: &str =
    "550-5.1.1 The email account that you tried to reach does not exist. Please try double-checking the recipient's email address";

/// The first who bounce are dead until so many others bounced with the same words that it is the provider who is not believed: in all partitions, over two
/// processors, in one workspace only.
#[tokio::test(flavor = "multi_thread")]
async fn people_who_bounced_before_a_provider_was_in_quarantine_are_judged_again_when_it_is() -> anyhow::Result<()> {
    let setup = Setup::new("").await?;
    let mut fleet = Fleet::of(&setup);
    for name in ["a", "b"] {
        fleet.launch(name)?;
    }
    for name in ["a", "b"] {
        fleet.ready(name).await?;
    }
    // Who bounced lately is kept in memory: where partitions move meanwhile, the timer ten minutes after the bounce sees to it.
    eventually(Duration::from_secs(40), async || {
        ensure!(["a", "b"].iter().all(|name| fleet.log(name).contains("state restored")), "partitions are still moving");
        Ok(())
    })
    .await?;
    let log = RawLog::new(&setup.config)?;
    let mut random = Random::seed_from_u64(1);
    let at = unix_millis() / 1000 - 60;
    let mut bounce = |workspace: &str, id: String, domain: &str| {
        let more = json!({"recipient": format!("{id}@{domain}"), "failure_message": GMAIL});
        let body = Body::email(&id, &format!("d-{id}"), "bounced", at, more, &mut random);
        log.write(workspace, &body, unix_millis())
    };
    for n in 0..10 {
        bounce("shop", format!("early-{n}"), "gmail.com")?;
    }
    bounce("shop", "elsewhere".into(), "corp.example")?;
    bounce("blog", "reader".into(), "gmail.com")?;
    log.flush()?;
    let states = async |expected: &dyn Fn(&str) -> EmailState, people: usize| {
        eventually(Duration::from_secs(40), async || {
            let found = latest(&records(&setup.config)?)?;
            ensure!(found.len() == people, "{} of {people} people", found.len());
            let wrong: Vec<_> =
                found.iter().filter(|(key, profile)| profile.evaluation.state != expected(key)).map(|(key, _)| key).collect();
            ensure!(wrong.is_empty(), "{wrong:?}");
            Ok(())
        })
        .await
    };
    states(&|_| EmailState::Dead, 12).await?;
    let mut random = Random::seed_from_u64(2);
    for n in 0..60 {
        let id = format!("late-{n}");
        let more = json!({"recipient": format!("{id}@googlemail.com"), "failure_message": GMAIL});
        let body = Body::email(&id, &format!("d-{id}"), "bounced", at + 20, more, &mut random);
        log.write("shop", &body, unix_millis())?;
    }
    log.flush()?;
    let expected = |key: &str| match key {
        "shop:id:elsewhere" | "blog:id:reader" => EmailState::Dead,
        _ => EmailState::Grey,
    };
    states(&expected, 72).await?;
    for name in ["a", "b"] {
        ensure!(fleet.metric(name, "aftersend_processor_quarantines").await? == 1.0, "{name} knows of no quarantine");
    }
    // Whoever starts when its windows are forgotten knows of it by its record.
    eventually(Duration::from_secs(10), async || {
        let recorded = recorded(&setup)?;
        let seconds: Vec<(&str, &Range<i64>)> = recorded.iter().map(|(key, (seconds, _))| (&*key.workspace, seconds)).collect();
        ensure!(matches!(seconds[..], [("shop", seconds)] if seconds.contains(&at) && seconds.contains(&(at + 20))), "{seconds:?}");
        Ok(())
    })
    .await?;
    explained(&setup, &[("shop:id:early-0", " grey\n"), ("blog:id:reader", " dead\n")])?;
    fleet.stop_all().await?;
    setup.finish().await
}

/// Its windows are long gone, its record is about to go: who bounced in it is not believed to be dead, and it is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_quarantine_of_weeks_ago_is_remembered_and_written_again_before_it_is_forgotten() -> anyhow::Result<()> {
    const DAY: i64 = 86_400;
    let mut setup = Setup::new("").await?;
    let now = unix_millis() / 1000;
    let start = u32::try_from(now - 20 * DAY)?.next_multiple_of(BUCKET);
    let key = QuarantineKey { workspace: "shop".into(), provider: ProviderId::of_domain("gmail.com"), start };
    let quarantine = Quarantine { until: start + 7200, usual: 0.01 };
    // Nothing else has bounced in the workspace since.
    let (found_at, written_at) = (i64::from(start) + 600, now - 2 * DAY);
    let record = QuarantineRecord { quarantine, newest: start + BUCKET, found_at, written_at };
    let (topic, name, value) = (setup.topics().providers(), key.encode(), record.encode());
    let producer: ThreadedProducer<_> = producer_config(&setup.config, "test", 30_000).create()?;
    let written = unix_millis() - 2 * DAY * 1000;
    let record = BaseRecord::to(&topic).partition(partition_of(&name)).key(&name).payload(&value).timestamp(written);
    producer.send(record).map_err(|(error, _)| error)?;
    producer.flush(Duration::from_secs(10))?;

    setup.start(Service::Processor).await?;
    let log = RawLog::new(&setup.config)?;
    let mut random = Random::seed_from_u64(1);
    for (id, domain, at) in
        [("in", "gmail.com", start + 60), ("after", "gmail.com", start + 7200), ("elsewhere", "corp.example", start + 60)]
    {
        let more = json!({"recipient": format!("{id}@{domain}"), "failure_message": GMAIL});
        let body = Body::email(id, &format!("d-{id}"), "bounced", at.into(), more, &mut random);
        log.write("shop", &body, unix_millis())?;
    }
    log.flush()?;
    eventually(Duration::from_secs(40), async || {
        let found: Vec<_> = latest(&records(&setup.config)?)?.into_iter().map(|(key, profile)| (key, profile.evaluation.state)).collect();
        let states: Vec<_> = found.iter().map(|(key, state)| (key.as_str(), *state)).collect();
        let expected = [("shop:id:after", EmailState::Dead), ("shop:id:elsewhere", EmailState::Dead), ("shop:id:in", EmailState::Watch)];
        ensure!(states == expected, "{states:?}");
        let recorded = recorded(&setup)?;
        let (seconds, last) = recorded.get(&key).context("its record is gone")?;
        ensure!(*seconds == (start.into()..quarantine.until.into()) && *last > written, "{seconds:?} written at {last}");
        Ok(())
    })
    .await?;
    explained(&setup, &[("shop:id:in", " watch\n"), ("shop:id:after", " dead\n")])?;
    setup.finish().await
}

/// The quarantines in `providers`: their seconds, and when each was written (Unix milliseconds).
fn recorded(setup: &Setup) -> anyhow::Result<BTreeMap<QuarantineKey, (Range<i64>, i64)>> {
    let mut known = BTreeMap::new();
    for record in read_topic(&setup.config, &setup.topics().providers())? {
        let Some(key) = QuarantineKey::decode(&record.key) else { continue };
        match record.value {
            Some(value) => {
                let seconds = i64::from(key.start)..QuarantineRecord::decode(&value)?.quarantine.until.into();
                known.insert(key, (seconds, record.timestamp))
            }
            None => known.remove(&key),
        };
    }
    Ok(known)
}

/// What `aftersend explain` says of people.
fn explained(setup: &Setup, people: &[(&str, &str)]) -> anyhow::Result<()> {
    for (person, state) in people {
        let output = Command::new(binary()?).args(["explain", person, "--config"]).arg(setup.file()).output()?;
        let told = String::from_utf8(output.stdout)?;
        ensure!(told.contains(state), "{person} is explained otherwise than its profile says: {told}");
    }
    Ok(())
}
