use std::time::Duration;

use aftersend::traffic::{Body, Random, SeedableRng as _};
use aftersend_pipeline::kafka::producer_config;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::identity::{Namespace, Person};
use aftersend_schemas::operator::{Decision, OperatorRecord};
use aftersend_schemas::profile::EmailState;
use aftersend_tests::{Fleet, RawLog, Setup, eventually};
use anyhow::{Context as _, ensure};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

use super::{latest, records};

/// What an operator says stands in the log beside the events: it is folded once, also by a processor that comes later, and once more changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_complaint_that_an_operator_lifts_stays_lifted_until_the_next_one() -> anyhow::Result<()> {
    let setup = Setup::new("").await?;
    let mut fleet = Fleet::of(&setup);
    fleet.launch("a")?;
    let log = RawLog::new(&setup.config)?;
    let now = unix_millis() / 1000;
    let mut random = Random::seed_from_u64(1);
    log.write("default", &Body::email("omar", "d-1", "delivered", now - 7_200, serde_json::json!({}), &mut random), unix_millis())?;
    log.write("default", &Body::email("omar", "d-1", "spammed", now - 3_600, serde_json::json!({}), &mut random), unix_millis())?;
    log.flush()?;
    let state = async |expected: EmailState| {
        eventually(Duration::from_secs(30), async || {
            let records = records(&setup.config)?;
            let people = latest(&records)?;
            let omar = people.get("default:id:omar").context("nobody yet")?;
            ensure!(omar.evaluation.state == expected, "{:?} instead of {expected:?}", omar.evaluation.state);
            let partition = records.iter().find(|record| record.key == b"default:id:omar").context("no record")?.partition;
            Ok(partition)
        })
        .await
    };
    let partition = state(EmailState::Complained).await?;

    let person = Person { workspace: "default".into(), namespace: Namespace::Id, id: "omar".into() };
    let decision = OperatorRecord::new(person, Decision::LiftComplaint, now - 60);
    let producer: ThreadedProducer<_> = producer_config(&setup.config, "test", 10_000).create()?;
    let topic = setup.topics().operator();
    for _ in 0..2 {
        let (key, value) = (decision.key(), decision.encode());
        let record = BaseRecord::<_, _>::to(&topic).partition(partition).key(&key).payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(Duration::from_secs(10))?;
    state(EmailState::Healthy).await?;

    fleet.kill("a")?;
    fleet.launch("b")?;
    log.write("default", &Body::email("omar", "d-2", "delivered", now - 30, serde_json::json!({}), &mut random), unix_millis())?;
    log.flush()?;
    eventually(Duration::from_secs(60), async || {
        let people = latest(&records(&setup.config)?)?;
        ensure!(people["default:id:omar"].evaluation.facts.delivered_90d == 2, "the second mail is not folded yet");
        Ok(())
    })
    .await?;
    state(EmailState::Healthy).await?;
    log.write("default", &Body::email("omar", "d-2", "spammed", now - 10, serde_json::json!({}), &mut random), unix_millis())?;
    state(EmailState::Complained).await?;
    fleet.stop_all().await?;
    setup.finish().await
}
