use std::collections::BTreeMap;
use std::time::Duration;

use aftersend::traffic::Body;
use aftersend_pipeline::unix_millis;
use aftersend_tests::{Fleet, RawLog, Setup, eventually};
use anyhow::ensure;
use serde_json::{Value, json};

use super::{latest, records};

/// One event: workspace, what `data` says of the person, metric, hours ago.
type Row = (&'static str, Value, &'static str, i64);

/// What happens, in the order in which it happens.
fn events() -> Vec<Row> {
    let hard = |recipient: &str, id: &str| json!({"customer_id": id, "recipient": recipient, "failure_message": "550 5.1.1 User unknown"});
    vec![
        // The same id in two workspaces.
        ("shop", json!({"customer_id": "7", "recipient": "a@one.example"}), "delivered", 90),
        ("blog", json!({"customer_id": "7", "recipient": "a@one.example"}), "spammed", 80),
        // A new address starts clean: the bounce stays with the old one.
        ("shop", hard("old@two.example", "mover"), "bounced", 70),
        ("shop", json!({"customer_id": "mover", "recipient": "new@two.example"}), "delivered", 60),
        ("shop", hard("stay@two.example", "stayer"), "bounced", 70),
        // An anonymous person is known by cio_id, and by an id of their own from then on: two profiles.
        ("shop", json!({"identifiers": {"cio_id": "c0ffee"}, "recipient": "x@three.example"}), "delivered", 50),
        (
            "shop",
            json!({"customer_id": "named", "identifiers": {"id": "named", "cio_id": "c0ffee"}, "recipient": "x@three.example"}),
            "clicked",
            40,
        ),
        // Blank ids are none.
        ("shop", json!({"customer_id": "  ", "identifiers": {"id": ""}, "delivery_id": "d-blank"}), "delivered", 30),
        // Consent goes back and forth: the latest counts, in whatever order it arrives.
        ("shop", json!({"customer_id": "back", "recipient": "b@four.example"}), "subscribed", 10),
        ("shop", json!({"customer_id": "back", "recipient": "b@four.example"}), "unsubscribed", 20),
        ("shop", json!({"customer_id": "gone", "recipient": "g@four.example"}), "unsubscribed", 10),
        ("shop", json!({"customer_id": "gone", "recipient": "g@four.example"}), "subscribed", 20),
    ]
}

/// What is expected, person by person.
const TABLE: &[(&str, &str)] = &[
    ("blog:id:7", "complained"),
    ("shop:cio:c0ffee", "healthy"),
    ("shop:id:7", "healthy"),
    ("shop:id:back", "unknown"),
    ("shop:id:gone", "unsubscribed"),
    ("shop:id:mover", "healthy"),
    ("shop:id:named", "unknown"),
    ("shop:id:stayer", "dead"),
];

#[tokio::test(flavor = "multi_thread")]
async fn two_workspaces_and_people_who_change_id_address_or_consent_end_in_the_profiles_of_the_table() -> anyhow::Result<()> {
    let setup = Setup::new("").await?;
    let mut fleet = Fleet::of(&setup);
    fleet.launch("a")?;
    let log = RawLog::new(&setup.config)?;
    let now = unix_millis() / 1000;
    for (n, (workspace, mut data, metric, hours)) in events().into_iter().enumerate() {
        if data.get("delivery_id").is_none() {
            data["delivery_id"] = json!(format!("d-{n}"));
        }
        let event =
            json!({"event_id": format!("e-{n}"), "object_type": "email", "metric": metric, "timestamp": now - hours * 3_600, "data": data});
        let body = Body { event_id: None, bytes: event.to_string().into_bytes() };
        log.write(workspace, &body, unix_millis())?;
    }
    log.flush()?;
    let expected: BTreeMap<String, String> = TABLE.iter().map(|(key, state)| ((*key).to_owned(), (*state).to_owned())).collect();
    eventually(Duration::from_secs(40), async || {
        let people = latest(&records(&setup.config)?)?;
        let found: BTreeMap<String, String> =
            people.into_iter().map(|(key, profile)| (key, profile.evaluation.state.as_str().to_owned())).collect();
        ensure!(found == expected, "{found:#?}");
        Ok(())
    })
    .await?;
    fleet.stop_all().await?;
    setup.finish().await
}
