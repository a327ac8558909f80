use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use aftersend::traffic::{Body, Outcome};
use aftersend_pipeline::kafka::producer_config;
use aftersend_pipeline::unix_millis;
use aftersend_tests::{Service, Setup, binary, eventually, read_topic};
use anyhow::{Context as _, bail, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

const RULES: &str = r#"
[[bounce.rule]]
id = "our-relay"
stage = "phrase"
class = "mailbox_full"
confidence = 85
phrases = ["relay is at its limit"]
tests = ["550 relay is at its limit"]

[[test_event]]
field = "data.subject"
value = "[Test]*"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn configured_rules_decide_test_events_are_kept_out_of_scores_and_unknown_kinds_are_counted_by_name() -> anyhow::Result<()> {
    let mut setup = Setup::new(RULES).await?;
    setup.start_all().await?;
    let mut random = StdRng::seed_from_u64(7);
    let now = unix_millis() / 1000;
    let sender = setup.sender()?;
    for (customer, metric, more) in [
        ("real", "bounced", json!({"failure_message": "550 relay is at its limit <real@shop.example>"})),
        ("tester", "spammed", json!({"subject": "[Test] News"})),
        ("real", "Reacted", json!({"reaction": "heart"})),
        ("real", "delivered", json!({"identifiers": {"id": "somebody-else"}})),
    ] {
        let body = Body::email(customer, &format!("d-{metric}"), metric, now, more, &mut random);
        assert_eq!(sender.send(&body).await, Outcome::Accepted);
    }
    eventually(Duration::from_secs(30), async || {
        ensure!(setup.count("SELECT count() FROM message_outcomes_current").await? == 4);
        ensure!(setup.metric(Service::Processor, "aftersend_processor_events_total").await? >= 4.0);
        ensure!(setup.count("SELECT count() FROM profiles").await? > 0);
        Ok(())
    })
    .await?;
    let query = "SELECT arrayStringConcat([event_type, customer_id, bounce_class, bounce_rule, toString(bounce_confidence), \
                 JSONExtractRaw(metadata, 'aftersend_oddities')], ' ') FROM message_outcomes_current ORDER BY event_type";
    let rows = setup.database().query(query).fetch_all::<String>().await?;
    assert_eq!(
        rows,
        [
            r#"email_Reacted real   0 ["undocumented"]"#,
            r#"email_bounced real mailbox_full our-relay 85 "#,
            r#"email_delivered real   0 ["identifiers_differ"]"#,
            r#"email_spammed tester   0 ["test_event"]"#,
        ]
    );
    for (series, expected) in [
        ("aftersend_processor_events_total{result=\"test_event\"", 1.0),
        ("aftersend_processor_events_total{result=\"undocumented\"", 1.0),
        ("aftersend_processor_undocumented_events_total{metric=\"Reacted\",object_type=\"email\"", 1.0),
        ("aftersend_processor_odd_events_total{oddity=\"identifiers_differ\"", 1.0),
    ] {
        assert_eq!(setup.metric(Service::Processor, series).await?, expected, "{series}");
    }
    let people = setup.database().query("SELECT DISTINCT person_id FROM profiles").fetch_all::<String>().await?;
    assert_eq!(people, ["real"], "a complaint from a test is nobody's complaint");

    // The same rules by hand.
    let mut classify = Command::new(binary()?);
    classify.args(["classify", "--json", "--config"]).arg(setup.file()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = classify.spawn()?;
    child.stdin.take().context("no stdin")?.write_all(b"\"550 relay is at its limit\"\n")?;
    let output = String::from_utf8(child.wait_with_output()?.stdout)?;
    assert_eq!(output, "{\"class\":\"mailbox_full\",\"rule\":\"our-relay\",\"confidence\":0.85}\n");
    setup.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_of_a_newer_release_stops_whoever_reads_it_before_anything_is_written() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    let profiles = setup.topics().profiles();
    let producer: FutureProducer = producer_config(&setup.config, "newer-release", 10_000).create()?;
    let newer = FutureRecord::to(&profiles).key("default:id:u-1").payload(&[4, 0, 0]).partition(3);
    producer.send(newer, Duration::from_secs(10)).await.map_err(|(error, _)| error)?;

    for service in [Service::ClickHouse, Service::Processor, Service::Track] {
        setup.launch(service)?;
        let ended = eventually(Duration::from_secs(30), async || match setup.process(service)?.check() {
            Ok(()) => bail!("{service:?} still runs"),
            Err(ended) => Ok(ended.to_string()),
        })
        .await?;
        assert!(ended.contains("ended with exit status: 1"), "{ended}");
        assert!(ended.contains("profile of version 4: this release reads up to version 3, upgrade it to go on"), "{ended}");
    }
    assert_eq!(setup.count("SELECT count() FROM profiles").await?, 0);
    assert_eq!(read_topic(&setup.config, &setup.topics().dead())?.len(), 0, "it is no dead letter: an upgrade goes on at it");
    assert_eq!(read_topic(&setup.config, &profiles)?.len(), 1);
    assert!(setup.track_api.by_person().is_empty());
    Ok(())
}
