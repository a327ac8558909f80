use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aftersend_tests::{Engine, Engines, Service, Setup, eventually, read_topic};
use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{each_once, event, produce, producer, profile, track_call, without_merges};

/// Named points of the protocol at which the sink ends itself as kill -9 would.
const POINTS: [&str; 5] =
    ["clickhouse-before-intent", "clickhouse-after-intent", "clickhouse-mid-insert", "clickhouse-after-insert", "clickhouse-before-commit"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    /// At any time.
    Sink,
    SinkAt(&'static str),
    ClickHouse,
    /// Between the token and the rows.
    ClickHouseAtRename,
    Kafka,
}

/// Thirty kills in `make test`; `make kills KILLS=300` for a long run. `KILL_SEED` repeats a run.
#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_one_row_after_kills_of_sink_clickhouse_and_kafka_at_random_and_at_every_point() -> anyhow::Result<()> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = number("KILLS").unwrap_or(30);
    let seed = number("KILL_SEED").unwrap_or_else(|| rand::rng().random());
    eprintln!("{kills} kills, KILL_SEED={seed}");
    let engines = Engines::both()?;
    let mut setup = Setup::with(&engines.brokers(), &engines.clickhouse_url()?, "").await?;
    without_merges(&setup, &["raw_events", "dead_letters", "track_calls"]).await?;

    let stop = Arc::new(AtomicBool::new(false));
    let traffic = tokio::spawn(traffic(producer(&setup)?, setup.topics(), stop.clone()));
    let mut random = StdRng::seed_from_u64(seed);
    let mut renames = 0;
    for n in 0..kills {
        let kill = plan(n, &mut random);
        ensure!(!traffic.is_finished(), "the traffic ended: {:?}", traffic.await);
        match carry_out(kill, &engines, &mut setup, &mut random).await.with_context(|| format!("{kill:?}, KILL_SEED={seed}"))? {
            Kill::ClickHouseAtRename => renames += 1,
            kill => eprintln!("{kill:?}"),
        }
    }
    eprintln!("{renames} at a rename");
    stop.store(true, Ordering::Relaxed);
    let people = traffic.await??;
    start_sink(&mut setup, &[]).await?;

    let topics = setup.topics();
    for (table, topic) in [("raw_events", topics.raw()), ("dead_letters", topics.dead()), ("track_calls", topics.track_calls())] {
        each_once(&setup, table, &topic).await.with_context(|| format!("KILL_SEED={seed}"))?;
    }
    let (config, raw) = (setup.config.clone(), topics.raw());
    let records = tokio::task::spawn_blocking(move || read_topic(&config, &raw)).await??;
    let mut ids: Vec<String> = Vec::new();
    for record in &records {
        let event: serde_json::Value = serde_json::from_slice(record.value.as_deref().context("a value")?)?;
        ids.push(event["event_id"].as_str().context("an id")?.to_owned());
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert!(ids.len() < all, "there were duplicates");
    eventually(Duration::from_secs(90), async || {
        let found = setup.count("SELECT uniqExact(event_id) FROM message_outcomes").await?;
        ensure!(found == ids.len() as u64, "{found} of {} events", ids.len());
        Ok(())
    })
    .await?;
    let current = setup.database().query("SELECT event_id FROM message_outcomes_current ORDER BY 1").fetch_all::<String>().await?;
    assert_eq!(current, ids, "each event once");
    eventually(Duration::from_secs(90), async || {
        let latest = "SELECT person_id, toUInt32(score) FROM profiles_current ORDER BY 1";
        let latest = setup.database().query(latest).fetch_all::<(String, u32)>().await?;
        ensure!(latest == people, "the latest version of everyone");
        Ok(())
    })
    .await?;
    assert_eq!(setup.metric(Service::ClickHouse, "aftersend_clickhouse_stopped_partitions").await?, 0.0);
    eprintln!("{} raw records, {} events, {} kills", all, ids.len(), kills);
    setup.finish().await
}

/// Of thirty: two of Kafka, six of ClickHouse, four of these at a rename, and the sink's points in turn.
fn plan(n: u64, random: &mut StdRng) -> Kill {
    match n % 15 {
        4 | 11 => Kill::ClickHouseAtRename,
        7 => Kill::ClickHouse,
        13 => Kill::Kafka,
        at if at.is_multiple_of(3) => Kill::Sink,
        _ => Kill::SinkAt(POINTS[random.random_range(0..POINTS.len())]),
    }
}

/// Ready is not enough: it should be in the middle of it.
async fn start_sink(setup: &mut Setup, variables: &[(&str, &str)]) -> anyhow::Result<()> {
    if setup.process(Service::ClickHouse).is_err() {
        setup.launch_with(Service::ClickHouse, variables)?;
    }
    Ok(())
}

async fn carry_out(kill: Kill, engines: &Engines, setup: &mut Setup, random: &mut StdRng) -> anyhow::Result<Kill> {
    let while_busy = Duration::from_millis(random.random_range(0..1_500));
    match kill {
        Kill::Sink => {
            start_sink(setup, &[]).await?;
            tokio::time::sleep(while_busy).await;
            setup.kill(Service::ClickHouse)?;
        }
        Kill::SinkAt(point) => {
            // One that runs without faults makes room for one with.
            if setup.process(Service::ClickHouse).is_ok() {
                setup.kill(Service::ClickHouse)?;
            }
            let faults = format!("{point}={}*off->return", random.random_range(0..40));
            start_sink(setup, &[("FAILPOINTS", &faults)]).await?;
            setup.ended(Service::ClickHouse).await?;
        }
        Kill::ClickHouse => {
            start_sink(setup, &[]).await?;
            tokio::time::sleep(while_busy).await;
            engines.kill(Engine::ClickHouse)?;
            heal(engines).await?;
        }
        Kill::ClickHouseAtRename => {
            start_sink(setup, &[]).await?;
            tokio::time::sleep(while_busy).await;
            let Some(_strace) = engines.kill_at_rename(Engine::ClickHouse)? else {
                engines.kill(Engine::ClickHouse)?;
                heal(engines).await?;
                return Ok(Kill::ClickHouse);
            };
            eventually(Duration::from_secs(30), async || {
                ensure!(!engines.is_running(Engine::ClickHouse)?, "nothing was renamed");
                Ok(())
            })
            .await?;
            heal(engines).await?;
        }
        Kill::Kafka => {
            start_sink(setup, &[]).await?;
            tokio::time::sleep(while_busy).await;
            engines.kill(Engine::Kafka)?;
            heal(engines).await?;
        }
    }
    Ok(kill)
}

async fn heal(engines: &Engines) -> anyhow::Result<()> {
    tokio::task::block_in_place(|| engines.heal())
}

/// Writes to every topic that the sink reads until told to stop; the latest score of each person. Some events come twice.
async fn traffic(
    producer: rdkafka::producer::FutureProducer,
    topics: aftersend_schemas::topics::Topics,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Vec<(String, u32)>> {
    let (raw, dead, calls, profiles) = (topics.raw(), topics.dead(), topics.track_calls(), topics.profiles());
    let mut scores = std::collections::BTreeMap::new();
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        let mut sends: Vec<(&str, String, Vec<u8>)> = Vec::new();
        for _ in 0..30 {
            number += 1;
            let key = format!("c-{}", number % 97);
            sends.push((&raw, key.clone(), event(number)));
            if number.is_multiple_of(10) {
                sends.push((&raw, key.clone(), event(number - 5)));
                sends.push((&dead, key.clone(), b"{broken".to_vec()));
            }
            if number.is_multiple_of(5) {
                sends.push((&calls, key.clone(), track_call(&key)));
                let score = u8::try_from(number / 5 % 100).unwrap_or(0);
                scores.insert(key.clone(), u32::from(score));
                sends.push((&profiles, key.clone(), profile(&key, score)));
            }
        }
        // In order for each key; a broker that is away is waited for.
        let sends = sends.iter().map(|(topic, key, value)| produce(&producer, topic, None, key, value));
        futures_util::future::try_join_all(sends).await?;
        tokio::time::sleep(Duration::from_millis(100).saturating_sub(started.elapsed())).await;
    }
    Ok(scores.into_iter().collect())
}
