//! People known only by an address: Customer.io hears of them at that address where it may be kept, and not at all otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use aftersend::traffic::{Body, Outcome};
use aftersend_pipeline::unix_millis;
use aftersend_schemas::profile::ProfileRecord;
use aftersend_schemas::track_call::{Phase, TrackCall};
use aftersend_tests::{Service, Setup, eventually, read_topic};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::track::operator;

const PLAIN: &[(&str, &str)] = &[("AFTERSEND__PRIVACY__EMAIL", "plain")];
const LIMIT: Duration = Duration::from_secs(60);
const NO_IDENTIFIER: &str = "aftersend_track_profiles_total{result=\"no_identifier\"}";

/// Sends one webhook of which nobody knows more than the address.
async fn happens(setup: &Setup, recipient: &str, metric: &str, seconds_ago: i64) -> anyhow::Result<()> {
    let mut data = json!({"customer_id": "", "identifiers": {"id": null}, "recipient": recipient, "delivery_id": format!("d-{metric}")});
    if metric == "bounced" {
        data["failure_message"] = Value::from("550 5.1.1 User unknown");
    }
    let at = unix_millis() / 1000 - seconds_ago;
    let body =
        json!({"event_id": format!("{recipient} {metric}"), "object_type": "email", "metric": metric, "timestamp": at, "data": data});
    let outcome = setup.sender()?.send(&Body { event_id: None, bytes: body.to_string().into_bytes() }).await;
    ensure!(outcome == Outcome::Accepted, "{outcome:?}");
    Ok(())
}

async fn restart(setup: &mut Setup, service: Service, variables: &[(&str, &str)]) -> anyhow::Result<()> {
    ensure!(setup.stop(service).await?.success(), "{service:?}");
    setup.launch_with(service, variables)?;
    setup.ready(service).await
}

/// The last call that was answered, as `track-calls` has it.
fn last_answer(setup: &Setup) -> anyhow::Result<TrackCall> {
    let calls = read_topic(&setup.config, &setup.topics().track_calls())?;
    let calls = calls.iter().filter_map(|record| TrackCall::decode(record.value.as_deref()?).ok());
    calls.filter(|call| call.phase != Phase::Intent).max_by_key(|call| call.at).context("no answer yet")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_only_by_an_address_is_identified_and_suppressed_at_it_and_with_a_hash_never_called() -> anyhow::Result<()> {
    let mut setup = Setup::tracking("max_irreversible_share = 1.0\n", "[policy]\nhold_hard_bounce = \"0s\"\n").await?;
    for service in [Service::Ingest, Service::Processor, Service::Track] {
        setup.start(service).await?;
    }

    // A hash: scored, counted, not called.
    happens(&setup, "Ana <ANA@shop.example>", "delivered", 3_600).await?;
    happens(&setup, "bo@shop.example", "delivered", 3_600).await?;
    eventually(LIMIT, async || {
        let counted = setup.metric(Service::Track, NO_IDENTIFIER).await?;
        ensure!(counted == 2.0, "{counted} counted");
        Ok(())
    })
    .await?;
    assert_eq!(setup.track_api.asked().len(), 0);

    // In clear, from the next event on. What the API says is kept without the address.
    restart(&mut setup, Service::Track, PLAIN).await?;
    restart(&mut setup, Service::Processor, PLAIN).await?;
    setup.track_api.answer_with(Some(400));
    happens(&setup, "ana@shop.example", "opened", 3_000).await?;
    eventually(LIMIT, async || {
        let refused = last_answer(&setup)?;
        ensure!((refused.phase, refused.error.as_str()) == (Phase::Refused, "attribute too long for …"), "{refused:?}");
        Ok(())
    })
    .await?;
    setup.track_api.answer_with(None);
    happens(&setup, "Ana@Shop.example", "bounced", 60).await?;
    happens(&setup, "bo@shop.example", "clicked", 60).await?;
    eventually(LIMIT, async || {
        let people = setup.track_api.people();
        ensure!(people.get("ana@shop.example").is_some_and(|kept| kept.suppressed), "{people:?}");
        let bo = people.get("bo@shop.example").context("bo is not known")?;
        ensure!(!bo.suppressed && bo.attributes.get("aftersend_email_engaged_30d") == Some(&json!(true)), "{bo:?}");
        Ok(())
    })
    .await?;
    let by_person = setup.track_api.by_person();
    assert_eq!(by_person["ana@shop.example"], ["identify", "identify", "suppress"]);
    assert!(by_person.keys().eq(["ana@shop.example", "bo@shop.example"]), "{:?}", by_person.keys());
    let asked = setup.track_api.asked();
    assert!(asked.iter().all(|asked| asked.body.get("email").is_none() && asked.body.get("id").is_none()), "{asked:?}");
    assert!(asked.iter().filter(|asked| asked.call == "identify").all(|asked| asked.body["_update"] == true), "{asked:?}");

    // A hash again: nobody is called any more, though the profile still has the address; and that goes without another event.
    restart(&mut setup, Service::Track, &[]).await?;
    happens(&setup, "bo@shop.example", "spammed", 30).await?;
    eventually(LIMIT, async || {
        let counted = setup.metric(Service::Track, NO_IDENTIFIER).await?;
        ensure!(counted == 1.0, "{counted} counted");
        Ok(())
    })
    .await?;
    restart(&mut setup, Service::Processor, &[]).await?;
    eventually(LIMIT, async || {
        let counted = setup.metric(Service::Track, NO_IDENTIFIER).await?;
        ensure!(counted == 2.0, "{counted} counted");
        Ok(())
    })
    .await?;
    assert_eq!(setup.track_api.asked().len(), asked.len(), "somebody was called");

    // The records know them by their hashes; only what was written in clear has an address, and none is left in force.
    let topics = setup.topics();
    let profiles = read_topic(&setup.config, &topics.profiles())?;
    let mut last = BTreeMap::new();
    for record in &profiles {
        assert!(record.key_text().starts_with("default:email:") && !record.key_text().contains('@'));
        last.insert(record.key_text().into_owned(), ProfileRecord::decode(record.value.as_deref().context("a tombstone")?)?.address);
    }
    assert!(last.len() == 2 && last.values().all(Option::is_none), "{last:?}");
    for topic in [topics.track_calls(), topics.track_ledger(), topics.dead()] {
        for record in read_topic(&setup.config, &topic)? {
            let text = format!("{} {}", record.key_text(), String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()));
            assert!(!text.contains("shop.example"), "{topic}: {text}");
        }
    }
    for service in [Service::Ingest, Service::Processor, Service::Track] {
        assert!(!setup.process(service)?.log().contains("shop.example"), "{service:?}");
    }

    // A wrong suppress can be taken back by whoever knows the address.
    let status: Value = serde_json::from_str(&operator(&setup, &["status", "email:ana@shop.example", "--json"])?)?;
    assert_eq!(status["ledger"]["standing"], "suppressed", "{status}");
    operator(&setup, &["unsuppress", "email:Ana@shop.example", "--by", "ops"])?;
    assert!(!setup.track_api.people()["ana@shop.example"].suppressed);
    eventually(LIMIT, async || {
        let hash = status["person"].as_str().and_then(|person| person.strip_prefix("default:")).context("no person")?;
        let status: Value = serde_json::from_str(&operator(&setup, &["status", hash, "--json"])?)?;
        ensure!(status["ledger"].is_object() && status["ledger"]["standing"].is_null(), "{status}");
        Ok(())
    })
    .await?;
    setup.finish().await
}
