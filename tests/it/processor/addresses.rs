use std::collections::BTreeMap;
use std::time::Duration;

use aftersend::traffic::{Body, disturb};
use aftersend_pipeline::record::Record;
use aftersend_pipeline::unix_millis;
use aftersend_tests::{Fleet, RawLog, Setup, eventually};
use anyhow::ensure;
use serde_json::{Value, json};

use super::{agrees, latest, records};

const PLAIN: &[(&str, &str)] = &[("AFTERSEND__PRIVACY__EMAIL", "plain")];
const DROP: &[(&str, &str)] = &[("AFTERSEND__PRIVACY__EMAIL", "drop")];
const LIMIT: Duration = Duration::from_secs(60);

fn event(now: i64, n: usize, metric: &str, mut data: Value) -> Body {
    data["delivery_id"] = json!(format!("d-{n}"));
    let at = now - 86_400 + i64::try_from(n).unwrap_or_default();
    let body = json!({"event_id": format!("e-{n}"), "object_type": "email", "metric": metric, "timestamp": at, "data": data});
    Body { event_id: None, bytes: body.to_string().into_bytes() }
}

/// Ten people known only by an address that is spelled in three ways, and one with an id.
fn events(now: i64) -> Vec<Body> {
    let mut bodies = Vec::new();
    for (place, metric) in ["delivered", "opened", "clicked"].into_iter().enumerate() {
        for person in 0..10 {
            let spelt =
                [format!("p{person}@bücher.example"), format!("<P{person}@Bücher.Example>"), format!("p{person}@xn--bcher-kva.example")];
            bodies.push(event(now, bodies.len(), metric, json!({"recipient": spelt[(place + person) % 3]})));
        }
        bodies.push(event(now, bodies.len(), metric, json!({"customer_id": "u-1", "recipient": "u1@bücher.example"})));
    }
    bodies
}

/// The address of everybody, by their key; the version of each record tells whether there is room for one.
fn addresses(records: &[Record]) -> anyhow::Result<BTreeMap<String, Option<String>>> {
    for record in records {
        let value = record.value.as_deref().unwrap_or_default();
        let has_address = memchr::memmem::find(value, b"xn--bcher-kva.example").is_some();
        ensure!(value.first() == Some(if has_address { &3 } else { &2 }), "{}", record.key_text());
    }
    Ok(latest(records)?.into_iter().map(|(key, profile)| (key, profile.address)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_known_only_by_an_address_have_it_in_their_profile_for_as_long_as_it_may_be_kept() -> anyhow::Result<()> {
    let setup = Setup::new("").await?;
    let mut fleet = Fleet::of(&setup);
    let log = RawLog::new(&setup.config)?;
    let now = unix_millis() / 1000;
    let events = events(now);

    // Hashes only: nobody has an address.
    fleet.launch("a")?;
    log.write("default", &events[0], unix_millis())?;
    let found = addresses(&agrees(&setup.config, &log, LIMIT).await?)?;
    assert_eq!(found.values().collect::<Vec<_>>(), [&None]);
    fleet.stop("a").await?;

    // In clear: what is read again adds no evidence, but the address.
    fleet.launch_with("a", PLAIN)?;
    log.write("default", &events[0], unix_millis())?;
    eventually(LIMIT, async || {
        let found = addresses(&records(&setup.config)?)?;
        ensure!(found.values().eq([&Some("p0@xn--bcher-kva.example".to_owned())]), "{found:?}");
        Ok(())
    })
    .await?;
    // In any order and with duplicates: one spelling each, and none for whom an id is known.
    for body in disturb(events, 60, 100, 3) {
        log.write("default", &body, unix_millis())?;
    }
    agrees(&setup.config, &log, LIMIT).await?;
    let expected: Vec<Option<String>> = (0..10).map(|person| Some(format!("p{person}@xn--bcher-kva.example"))).collect();
    let (plain, found) = eventually(LIMIT, async || {
        let records = records(&setup.config)?;
        let mut found = addresses(&records)?;
        ensure!(found.remove("default:id:u-1") == Some(None), "{found:?}");
        let mut sorted: Vec<_> = found.values().cloned().collect();
        sorted.sort();
        ensure!(sorted == expected, "{sorted:?}");
        Ok((records, found))
    })
    .await?;
    // A store that is thrown away is restored with addresses: a replica that knows nobody keeps them.
    fleet.stop("a").await?;
    fleet.launch_with("b", PLAIN)?;
    log.write("default", &event(now, 100, "clicked", json!({"recipient": "p0@bücher.example"})), unix_millis())?;
    let records_now = agrees(&setup.config, &log, LIMIT).await?;
    assert_eq!(addresses(&records_now)?.into_iter().filter(|(_, address)| address.is_some()).collect::<BTreeMap<_, _>>(), found);
    fleet.stop("b").await?;

    // No longer in clear: every address goes, though nothing happens to anybody; nobody else is written.
    fleet.launch("a")?;
    let hashed = eventually(LIMIT, async || {
        let records = records(&setup.config)?;
        let found = addresses(&records)?;
        ensure!(found.len() == 11 && found.values().all(Option::is_none), "{found:?}");
        Ok(records)
    })
    .await?;
    let of_u1 = |records: &[Record]| records.iter().filter(|record| record.key_text() == "default:id:u-1").count();
    assert_eq!(of_u1(&hashed), of_u1(&plain));
    agrees(&setup.config, &log, LIMIT).await?;
    fleet.stop("a").await?;

    // Not at all: nobody new is known by an address.
    fleet.launch_with("a", DROP)?;
    log.write("default", &event(now, 101, "delivered", json!({"recipient": "p11@bücher.example"})), unix_millis())?;
    log.flush()?;
    eventually(LIMIT, async || {
        ensure!(fleet.metric("a", "aftersend_processor_events_total{result=\"no_person\"}").await? == 1.0);
        Ok(())
    })
    .await?;
    assert_eq!(addresses(&records(&setup.config)?)?, addresses(&hashed)?);
    for name in ["a", "b"] {
        assert!(!fleet.log(name).contains("bcher"), "an address in a log");
    }
    fleet.stop_all().await?;
    setup.finish().await
}
