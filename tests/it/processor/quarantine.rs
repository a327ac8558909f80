use std::time::Duration;

use aftersend::traffic::{Body, Random, SeedableRng as _};
use aftersend_pipeline::unix_millis;
use aftersend_schemas::profile::EmailState;
use aftersend_tests::{Fleet, RawLog, Setup, eventually};
use anyhow::ensure;
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
    fleet.stop_all().await?;
    setup.finish().await
}
