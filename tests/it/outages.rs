use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aftersend::traffic::{Body, Crowd, Outcome, Sender, sign};
use aftersend_pipeline::unix_millis;
use aftersend_tests::{Engine, Engines, Proxy, Service, Setup, eventually, kafka_brokers, read_topic};
use anyhow::{Context as _, bail, ensure};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn with_kafka_killed_under_load_requests_get_503_within_3_s_and_every_service_recovers_by_itself() -> anyhow::Result<()> {
    let broker = Engines::kafka()?;
    let clickhouse = std::env::var("CLICKHOUSE_URL").context("CLICKHOUSE_URL is not set: run `make test`")?;
    let mut setup = Setup::with(&broker.brokers(), &clickhouse, "").await?;
    setup.start_all().await?;
    let crowd = Crowd { customers: 10, days: 60, bad_percent: 0, now: unix_millis() / 1000, seed: 5 };
    let events = crowd.events(1_500);
    let (probes, load) = events.split_at(4);
    let mut accepted: Vec<Body> = Vec::new();
    let sender = setup.sender()?;

    // The sender tries again as Customer.io does, and nobody restarts anything.
    let sending = tokio::spawn({
        let (sender, load) = (sender.clone(), load.to_vec());
        async move { sender.send_all(load, 8, 0, &CancellationToken::new()).await }
    });
    eventually(Duration::from_secs(20), async || {
        ensure!(sender.accepted() >= 300, "{} accepted", sender.accepted());
        Ok(())
    })
    .await?;
    broker.kill(Engine::Kafka)?;
    ensure!(!sending.is_finished(), "killed in the middle of it");
    for event in probes {
        let timestamp = (unix_millis() / 1000).to_string();
        let signature = sign(b"test signing key", &timestamp, &event.bytes);
        let started = Instant::now();
        assert_eq!(sender.post(&event.bytes, &timestamp, &signature).await?, 503);
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
    assert!(setup.metric(Service::Ingest, "aftersend_ingest_webhooks_total{result=\"not_acknowledged\"").await? >= 1.0);

    broker.heal()?;
    let sent = sending.await?.into_iter().chain(sender.send_all(probes.to_vec(), 4, 0, &CancellationToken::new()).await);
    for sent in sent {
        assert_eq!(sent.outcome, Outcome::Accepted);
        accepted.push(sent.body);
    }
    let stored: BTreeSet<Vec<u8>> =
        read_topic(&setup.config, &setup.topics().raw())?.into_iter().filter_map(|record| record.value).collect();
    let customers: BTreeSet<String> = accepted.iter().filter_map(customer).collect();
    let sent: BTreeSet<Vec<u8>> = accepted.into_iter().map(|body| body.bytes).collect();
    assert_eq!(stored, sent, "every event that was answered 2xx is there exactly as sent, and nothing else");

    eventually(Duration::from_secs(90), async || {
        for service in Service::ALL {
            setup.process(service)?.check()?;
        }
        let rows = setup.count("SELECT count() FROM message_outcomes_current").await?;
        ensure!(rows == 1_500, "{rows} outcomes");
        let people = setup.count("SELECT count() FROM profiles_current").await?;
        if people != customers.len() as u64 {
            // Whose fault it is: the one who writes them, or the one who reads them.
            let written = read_topic(&setup.config, &setup.topics().profiles())?.len();
            bail!("{people} people in the table, {written} records in the topic");
        }
        let called: BTreeSet<String> = setup.track_api.asked().into_iter().map(|asked| asked.person).collect();
        ensure!(called == customers, "{} of {} people were called", called.len(), customers.len());
        Ok(())
    })
    .await?;
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_clickhouse_and_the_track_api_down_nothing_is_lost_and_the_sinks_catch_up() -> anyhow::Result<()> {
    let clickhouse = std::env::var("CLICKHOUSE_URL").context("CLICKHOUSE_URL is not set: run `make test`")?;
    let wire = Proxy::start(clickhouse.trim_start_matches("http://").to_owned()).await?;
    let mut setup = Setup::with(&kafka_brokers()?, &format!("http://{}", wire.address()), "").await?;
    wire.cut();
    setup.track_api.answer_with(Some(500));
    setup.start_all().await?;

    let crowd = Crowd { customers: 50, days: 60, bad_percent: 0, now: unix_millis() / 1000, seed: 9 };
    let mut bodies = crowd.events(2_000);
    let mut random = <aftersend::traffic::Random as aftersend::traffic::SeedableRng>::seed_from_u64(9);
    bodies.push(Body::email("complainer", "d-complaint", "spammed", unix_millis() / 1000, serde_json::json!({}), &mut random));
    let customers: BTreeSet<String> = bodies.iter().filter_map(customer).collect();
    let sender = Sender::new(&setup.webhook_url("default"), "test signing key")?;
    let sent = sender.send_all(bodies, 16, 0, &CancellationToken::new()).await;
    assert!(sent.iter().all(|sent| sent.outcome == Outcome::Accepted), "ingest needs neither");
    eventually(Duration::from_secs(30), async || {
        let failed = setup.metric(Service::ClickHouse, "aftersend_clickhouse_inserts_total{result=\"failed\"").await?;
        let retried = setup.metric(Service::Track, "aftersend_track_calls_total{call=\"identify\",result=\"retried\"}").await?;
        // Without an answer to where the partition stands not even an insert is tried.
        ensure!(retried > 0.0 && failed >= 0.0, "{failed} {retried}");
        Ok(())
    })
    .await?;
    assert!(setup.process(Service::ClickHouse)?.check().is_ok() && setup.process(Service::Track)?.check().is_ok());

    wire.mend();
    setup.track_api.answer_with(None);
    eventually(Duration::from_secs(90), async || {
        for table in ["raw_events", "message_outcomes"] {
            let rows = setup.count(&format!("SELECT count() FROM {table}")).await?;
            ensure!(rows == 2_001, "{rows} rows in {table}");
        }
        let acknowledged: BTreeSet<String> =
            setup.track_api.asked().into_iter().filter(|asked| asked.status == 200).map(|asked| asked.person).collect();
        ensure!(acknowledged == customers, "{} of {} people", acknowledged.len(), customers.len());
        let suppressed: Vec<_> =
            setup.track_api.asked().into_iter().filter(|asked| asked.call == "suppress" && asked.status == 200).collect();
        ensure!(suppressed.len() == 1 && suppressed[0].person == "complainer", "{suppressed:?}");
        Ok(())
    })
    .await?;
    setup.finish().await
}

fn customer(body: &Body) -> Option<String> {
    let event: serde_json::Value = serde_json::from_slice(&body.bytes).ok()?;
    event["data"]["customer_id"].as_str().map(str::to_owned)
}
