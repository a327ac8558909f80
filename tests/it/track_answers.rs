//! The Track sink when the API stops, asks for quiet, or leaves it open whether it heard.

use std::time::Duration;

use aftersend_pipeline::unix_millis;
use aftersend_schemas::profile::{Cause, ProfileRecord, Verdict};
use aftersend_schemas::track_call::{Call, Phase, TrackCall};
use aftersend_tests::{Service, Setup, SlowBroker, eventually, kafka_brokers, read_topic};
use anyhow::ensure;
use serde_json::json;

use super::track::{Profiles, profile};

/// Somebody whose verdict changes no attribute, so that a suppress is all that is wanted.
fn condemned(id: &str, change: i64) -> ProfileRecord {
    let now = unix_millis();
    let mut condemned = profile(id, change, None);
    condemned.as_of += 1;
    condemned.evaluation.verdict = Some(Verdict { cause: Cause::HardBounce, at: now / 1000, received_at: now });
    condemned
}

/// What was written down about somebody, in order.
fn calls_of(setup: &Setup, id: &str) -> anyhow::Result<Vec<(Call, Phase)>> {
    let records = read_topic(&setup.config, &setup.topics().track_calls())?;
    let calls = records.iter().map(|record| TrackCall::decode(record.value.as_deref().unwrap_or_default()));
    let calls = calls.collect::<Result<Vec<_>, _>>()?;
    Ok(calls.into_iter().filter(|call| call.person.id == id).map(|call| (call.call, call.phase)).collect())
}

async fn is_known(setup: &Setup, id: &str, change: i64) -> anyhow::Result<()> {
    eventually(Duration::from_secs(40), async || {
        let kept = setup.track_api.people().remove(id).unwrap_or_default();
        ensure!(kept.attributes.get("aftersend_reason") == Some(&json!(format!("change {change}"))), "{kept:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suppress_without_an_answer_is_withdrawn_once_it_is_no_longer_wanted_whether_the_sink_died_or_not() -> anyhow::Result<()> {
    let mut setup = Setup::tracking("", "[policy]\nhold_hard_bounce = \"0s\"\n").await?;
    let profiles = Profiles::new(&setup)?;
    setup.start(Service::Track).await?;
    for (id, dies) in [("stays", false), ("dies", true)] {
        profiles.write(&[profile(id, 1, None)]).await?;
        is_known(&setup, id, 1).await?;
        setup.track_api.answer_with(Some(503));
        profiles.write(&[condemned(id, 1)]).await?;
        eventually(Duration::from_secs(20), async || {
            let asked = setup.track_api.asked();
            ensure!(asked.iter().any(|asked| asked.person == id && asked.call == "suppress"), "no suppress was tried");
            Ok(())
        })
        .await?;
        if dies {
            setup.kill(Service::Track)?;
        }
        // Mail was delivered.
        let mut alive = profile(id, 2, None);
        alive.as_of += 2;
        profiles.write(&[alive]).await?;
        if dies {
            setup.track_api.answer_with(None);
            setup.start(Service::Track).await?;
        } else {
            eventually(Duration::from_secs(40), async || {
                let withdrawn = "aftersend_track_calls_total{call=\"suppress\",result=\"withdrawn\"";
                ensure!(setup.metric(Service::Track, withdrawn).await? == 1.0);
                Ok(())
            })
            .await?;
            setup.track_api.answer_with(None);
        }
        is_known(&setup, id, 2).await?;
        eventually(Duration::from_secs(20), async || {
            let calls = calls_of(&setup, id)?;
            let expected = [
                (Call::Identify, Phase::Intent),
                (Call::Identify, Phase::Acknowledged),
                (Call::Suppress, Phase::Intent),
                (Call::Suppress, Phase::Withdrawn),
                (Call::Identify, Phase::Intent),
                (Call::Identify, Phase::Acknowledged),
            ];
            ensure!(calls == expected, "{id}: {calls:?}");
            Ok(())
        })
        .await?;
        assert!(!setup.track_api.people()[id].suppressed);
        // What follows has nothing to withdraw.
        profiles.write(&[profile(id, 30, None)]).await?;
        is_known(&setup, id, 30).await?;
        let withdrawn = calls_of(&setup, id)?.into_iter().filter(|(_, phase)| *phase == Phase::Withdrawn).count();
        assert_eq!(withdrawn, 1, "{id}");
    }
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_where_nobody_answers_like_the_api_stops_the_calls_and_loses_none_and_a_pause_is_shown() -> anyhow::Result<()> {
    let mut setup = Setup::tracking("", "").await?;
    let profiles = Profiles::new(&setup)?;
    setup.start(Service::Track).await?;
    setup.track_api.answer_with(Some(404));
    profiles.write(&[profile("u-1", 1, None)]).await?;
    eventually(Duration::from_secs(20), async || {
        ensure!(setup.metric(Service::Track, "aftersend_track_stopped").await? == 1.0);
        Ok(())
    })
    .await?;
    setup.track_api.answer_with(None);
    is_known(&setup, "u-1", 1).await?;
    assert_eq!(calls_of(&setup, "u-1")?, [(Call::Identify, Phase::Intent), (Call::Identify, Phase::Acknowledged)]);
    assert_eq!(setup.metric(Service::Track, "aftersend_track_stopped").await?, 0.0);

    setup.track_api.ask_for_quiet(Some(120));
    profiles.write(&[profile("u-1", 20, None)]).await?;
    eventually(Duration::from_secs(20), async || {
        let paused = setup.metric(Service::Track, "aftersend_track_paused_seconds{workspace=\"default\"}").await?;
        ensure!(paused > 60.0, "{paused} seconds");
        Ok(())
    })
    .await?;
    let log = setup.process(Service::Track)?.log();
    assert!(log.contains("the track API asks for a pause, or does not answer"), "{log}");
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_profile_frees_that_could_not_be_fetched_yet_is_not_suppressed() -> anyhow::Result<()> {
    let mut setup = Setup::tracking("", "[policy]\nhold_hard_bounce = \"10s\"\nhold_complaint = \"10s\"\n").await?;
    let profiles = Profiles::new(&setup)?;
    let broker = SlowBroker::start(&kafka_brokers()?, "aftersend-sink-track-test").await?;
    setup.launch_with(Service::Track, &[("AFTERSEND__KAFKA__BROKERS", &broker.address().to_string())])?;
    setup.ready(Service::Track).await?;
    let now = unix_millis();
    let people = [("bounced", Cause::HardBounce), ("complained", Cause::Complaint)];
    for (id, cause) in people {
        profiles.write(&[profile(id, 1, Some(Verdict { cause, at: now / 1000, received_at: now }))]).await?;
        is_known(&setup, id, 1).await?;
    }
    broker.stall(true);
    for (id, _) in people {
        profiles.write(&[profile(id, 2, None)]).await?;
    }
    // Long after it was due.
    tokio::time::sleep(Duration::from_secs(14)).await;
    ensure!(setup.track_api.asked().iter().all(|asked| asked.call != "suppress"), "somebody was suppressed");
    broker.stall(false);
    for (id, _) in people {
        is_known(&setup, id, 2).await?;
    }
    profiles.write(&[profile("bounced", 3, Some(Verdict { cause: Cause::HardBounce, at: now / 1000, received_at: now }))]).await?;
    eventually(Duration::from_secs(20), async || {
        let suppressed: Vec<_> =
            setup.track_api.asked().into_iter().filter(|asked| asked.call == "suppress").map(|asked| asked.person).collect();
        ensure!(suppressed == ["bounced"], "{suppressed:?}");
        Ok(())
    })
    .await?;
    setup.finish().await
}
