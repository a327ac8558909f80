use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aftersend::traffic::{Body, Outcome, SAMPLE_PEOPLE, SAMPLE_SUPPRESSED, STORIES_SUPPRESSED, disturb, samples, stories};
use aftersend_pipeline::unix_millis;
use aftersend_processor::fold::{Observation, State};
use aftersend_processor::score::{NoQuarantine, Policy, evaluate};
use aftersend_schemas::identity::Subject;
use aftersend_schemas::oddity::Oddity;
use aftersend_tests::{Service, Setup, eventually};
use anyhow::{Context as _, ensure};
use clickhouse::Row;
use serde::Deserialize;

#[derive(Debug, Row, Deserialize)]
struct Scored {
    namespace: String,
    person_id: String,
    score: u8,
    state: String,
    email_deliverable: bool,
    reason: String,
    as_of: u32,
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_webhooks_become_exact_rows_scores_and_calls_in_any_order_with_any_duplicates() -> anyhow::Result<()> {
    let mut setup = Setup::new("[policy]\nhold_hard_bounce = \"0s\"\n").await?;
    setup.start_all().await?;
    let now = unix_millis() / 1000;
    let mut events: Vec<Body> = stories(now, 7).into_iter().flat_map(|story| story.events).collect();
    let mut random = <aftersend::traffic::Random as aftersend::traffic::SeedableRng>::seed_from_u64(7);
    events.push(Body::email("with/slash+plus", "d-slash", "delivered", now, serde_json::json!({}), &mut random));
    let mut bodies = disturb(events.clone(), 30, 1_000, 7);
    bodies.extend(samples());
    events.extend(samples());
    let distinct: BTreeSet<String> = events.iter().filter_map(|body| body.event_id.clone()).collect();
    let total = bodies.len() as u64;

    let sender = setup.sender()?;
    let sent = sender.send_all(bodies, 16, 0, &tokio_util::sync::CancellationToken::new()).await;
    assert!(sent.iter().all(|sent| sent.outcome == Outcome::Accepted));

    eventually(Duration::from_secs(60), async || {
        ensure!(setup.count("SELECT count() FROM raw_events_current").await? == total);
        let rows = setup.count("SELECT count() FROM message_outcomes_current").await?;
        ensure!(rows == distinct.len() as u64, "{rows} rows instead of {}", distinct.len());
        Ok(())
    })
    .await?;
    assert_eq!(setup.count("SELECT uniqExact(event_id) FROM message_outcomes").await?, distinct.len() as u64);
    assert_eq!(setup.count("SELECT count() FROM dead_letters").await?, 0);
    let duplicate = "SELECT count() FROM message_outcomes_current WHERE event_id = '01KGE4QREDPKK4SFSGH5MT4GQT'";
    assert_eq!(setup.count(duplicate).await?, 1, "the byte-identical repeat of line 13 is one row");
    assert_eq!(sample_rows(&setup).await?, include_str!("sample_rows.tsv"), "rows of the samples");

    let reference = reference(&setup, &events)?;
    let people = eventually(Duration::from_secs(30), async || {
        let people = profiles(&setup).await?;
        ensure!(people.len() == reference.len(), "{} of {} people", people.len(), reference.len());
        for (key, scored) in &people {
            let state = reference.get(key).with_context(|| format!("{key:?} should not be there"))?;
            let expected = evaluate(state, &Policy::new(&setup.config.policy, "default"), &NoQuarantine, i64::from(scored.as_of));
            let found = (scored.score, scored.state.as_str(), scored.email_deliverable, scored.reason.as_str());
            ensure!(
                found == (expected.score, expected.state.as_str(), expected.email_deliverable, expected.reason().as_ref()),
                "{scored:?}"
            );
        }
        Ok(people)
    })
    .await?;
    for (person, score, state) in
        [("gone-greta", 0, "dead"), ("angry-omar", 0, "complained"), ("u-1008", 0, "dead"), ("u-1014", 0, "complained")]
    {
        let scored = &people[&("id".to_owned(), person.to_owned())];
        assert_eq!((scored.score, scored.state.as_str()), (score, state), "{person}");
    }
    for story in stories(now, 7) {
        let scored = &people[&("id".to_owned(), story.customer.to_owned())];
        assert_eq!(scored.state, story.state.as_str(), "{}", story.customer);
        assert!((story.score.0..=story.score.1).contains(&scored.score), "{}: {}", story.customer, scored.score);
    }

    eventually(Duration::from_secs(30), async || check_calls(&setup)).await?;
    let forms = setup.track_api.asked();
    let identify = forms.iter().find(|asked| asked.person == "loyal-lena").context("no call for loyal-lena")?;
    assert_eq!(identify.body["_update"], true);
    assert!(identify.body["_timestamp"].is_i64() && identify.body["aftersend_email_score"].is_i64());
    assert!(identify.body.get("id").is_none() && identify.body.get("email").is_none() && identify.body.get("unsubscribed").is_none());
    assert!(forms.iter().all(|asked| asked.call == "identify" || asked.call == "suppress"), "nothing else is asked");

    // Every one drains and ends with 0.
    setup.stop_all().await?;
    setup.finish().await
}

fn check_calls(setup: &Setup) -> anyhow::Result<()> {
    let asked = setup.track_api.by_person();
    let called: BTreeSet<&str> = asked.keys().map(String::as_str).collect();
    let suppressed: BTreeSet<&str> = SAMPLE_SUPPRESSED.into_iter().chain(STORIES_SUPPRESSED).collect();
    let stories = ["loyal-lena", "full-felix", "cold-carla", "with/slash+plus"];
    let expected: BTreeSet<&str> = SAMPLE_PEOPLE.into_iter().chain(stories).chain(suppressed.iter().copied()).collect();
    ensure!(called == expected, "missing {:?}, surplus {:?}", expected.difference(&called), called.difference(&expected));
    for (person, calls) in &asked {
        let suppresses = calls.iter().filter(|call| *call == "suppress").count();
        if suppressed.contains(person.as_str()) {
            ensure!(suppresses == 1 && calls.len() > 1 && calls.last().is_some_and(|call| call == "suppress"), "{person}: {calls:?}");
        } else {
            ensure!(suppresses == 0, "{person}: {calls:?}");
        }
    }
    Ok(())
}

/// Every person's state, folded here from each event once, in the order they were made.
fn reference(setup: &Setup, events: &[Body]) -> anyhow::Result<BTreeMap<(String, String), State>> {
    let normaliser = setup.config.normaliser()?;
    let mut people: BTreeMap<(String, String), State> = BTreeMap::new();
    for body in events {
        let event = normaliser.event(&body.bytes)?;
        let subject = Subject::of(&event, &normaliser.privacy);
        let Some(person) = subject.person("default", &subject.key()) else { continue };
        if event.oddities.contains(Oddity::Undocumented) {
            continue;
        }
        if let Some(observation) = Observation::of(&event, 0, &normaliser) {
            people.entry((person.namespace.as_str().to_owned(), person.id)).or_default().observe(&observation);
        }
    }
    Ok(people)
}

async fn profiles(setup: &Setup) -> anyhow::Result<BTreeMap<(String, String), Scored>> {
    let query = "SELECT namespace, person_id, score, state, email_deliverable, reason, toUInt32(as_of) AS as_of FROM profiles_current";
    let rows = setup.database().query(query).fetch_all::<Scored>().await?;
    Ok(rows.into_iter().map(|row| ((row.namespace.clone(), row.person_id.clone()), row)).collect())
}

/// The rows of the samples in a form that can be read beside the file they come from.
async fn sample_rows(setup: &Setup) -> anyhow::Result<String> {
    let query = "SELECT arrayStringConcat([event_id, event_type, channel, metric, toString(toUInt32(timestamp)), customer_id, cio_id, message_id, \
                 ifNull(toString(campaign_id), '-'), ifNull(toString(broadcast_id), '-'), ifNull(toString(newsletter_id), '-'), \
                 ifNull(toString(transactional_message_id), '-'), ifNull(toString(action_id), '-'), bounce_class, substring(failure_message, 1, 80), \
                 href, recipient_domain, mailbox_provider, toString(length(email_hash)), metadata, source, workspace, toString(epoch)], '\\t') \
                 FROM message_outcomes_current WHERE event_id >= '01KGE3' AND event_id < '01KGF' ORDER BY event_id";
    let rows = setup.database().query(query).fetch_all::<String>().await?;
    Ok(rows.join("\n") + "\n")
}

/// A service that is stopped in the middle of traffic loses nothing: what is left is done by the next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_every_service_in_the_middle_of_traffic_loses_and_doubles_nothing() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start_all().await?;
    let crowd = aftersend::traffic::Crowd { customers: 40, days: 60, bad_percent: 0, now: unix_millis() / 1000, seed: 3 };
    let bodies = crowd.events(3_000);
    let (sender, stop) = (setup.sender()?, tokio_util::sync::CancellationToken::new());
    let sending = tokio::spawn(async move { sender.send_all(bodies, 8, 500, &stop).await });
    for service in [Service::Processor, Service::ClickHouse, Service::Track] {
        assert!(setup.stop(service).await?.success(), "{service:?}");
        setup.start(service).await?;
    }
    let sent = sending.await?;
    assert!(sent.iter().all(|sent| sent.outcome == Outcome::Accepted));
    eventually(Duration::from_secs(60), async || {
        for table in ["message_outcomes_current", "raw_events_current"] {
            let rows = setup.count(&format!("SELECT count() FROM {table}")).await?;
            ensure!(rows == 3_000, "{rows} rows in {table}");
        }
        Ok(())
    })
    .await?;
    let doubled = setup.count("SELECT toUInt64(count() - uniqExact(src_partition, src_offset)) FROM raw_events").await?;
    assert_eq!(doubled, 0, "a clean stop commits what it inserted");
    setup.finish().await
}

/// What kill -9 leaves behind is taken up by the next start: transactions aborted, batches sent again, calls compared with the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_every_service_in_the_middle_of_traffic_changes_no_result() -> anyhow::Result<()> {
    let mut setup = Setup::new("[policy]\nhold_hard_bounce = \"0s\"\n").await?;
    setup.start_all().await?;
    let crowd = aftersend::traffic::Crowd { customers: 30, days: 60, bad_percent: 2, now: unix_millis() / 1000, seed: 11 };
    let events = crowd.events(3_000);
    let bodies = disturb(events.clone(), 10, 200, 11);
    let total = bodies.len() as u64;
    let (sender, stop) = (setup.sender()?, tokio_util::sync::CancellationToken::new());
    let sending = tokio::spawn(async move { sender.send_all(bodies, 8, 400, &stop).await });
    for service in [Service::Processor, Service::ClickHouse, Service::Track, Service::Processor, Service::Track, Service::ClickHouse] {
        setup.kill(service)?;
        setup.start(service).await?;
    }
    let sent = sending.await?;
    assert!(sent.iter().all(|sent| sent.outcome == Outcome::Accepted));

    let reference = reference(&setup, &events)?;
    eventually(Duration::from_secs(90), async || {
        let raw = setup.count("SELECT count() FROM raw_events_current").await?;
        let outcomes = setup.count("SELECT count() FROM message_outcomes_current").await?;
        ensure!(raw == total && outcomes == 3_000, "{raw} of {total} records, {outcomes} of 3000 outcomes");
        let people = profiles(&setup).await?;
        ensure!(people.len() == reference.len(), "{} of {} people", people.len(), reference.len());
        let mut gone = BTreeSet::new();
        for (key, scored) in &people {
            let expected = evaluate(&reference[key], &Policy::new(&setup.config.policy, "default"), &NoQuarantine, i64::from(scored.as_of));
            ensure!(
                (scored.score, scored.state.as_str()) == (expected.score, expected.state.as_str()),
                "{scored:?} instead of {expected:?}"
            );
            if expected.verdict.is_some() {
                gone.insert(key.1.clone());
            }
        }
        let asked = setup.track_api.by_person();
        let called: BTreeSet<String> = asked.keys().cloned().collect();
        ensure!(called == reference.keys().map(|(_, id)| id.clone()).collect(), "{} people called", called.len());
        for (person, calls) in asked {
            let first = calls.iter().position(|call| call == "suppress");
            match first {
                // A hard bounce that a later delivery took back may have been acted on before that delivery arrived.
                Some(first) => ensure!(first > 0 && calls[first..].iter().all(|call| call == "suppress"), "{person}: {calls:?}"),
                None => ensure!(!gone.contains(&person), "{person} was not suppressed: {calls:?}"),
            }
        }
        Ok(())
    })
    .await?;
    setup.finish().await
}
