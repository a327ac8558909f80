//! The Track sink: how soon a complaint is acted on, how many calls are saved, how fast people are passed who need none, what a restart costs.
//! The release binary, against a stand-in for the API that answers at once. Results go to `target/bench/track-sink.json`. See `tests/README.md`.

mod restore;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aftersend::traffic::Body;
use aftersend_pipeline::config::Track;
use aftersend_pipeline::kafka::{consumer_config, producer_config};
use aftersend_pipeline::unix_millis;
use aftersend_schemas::identity::{Namespace, Person};
use aftersend_schemas::ledger::{LedgerRecord, Seen};
use aftersend_schemas::profile::{Cadence, Channel, ChannelReason, EmailState, Evaluation, Facts, Grounds, ProfileRecord};
use aftersend_schemas::topics::{PARTITIONS, partition_of};
use aftersend_sinks::track::{Names, wanted_attributes};
use aftersend_tests::bench::{Figure, Goal, Spread, print, write as write_figures};
use aftersend_tests::{Service, Setup, eventually};
use anyhow::{Context as _, ensure};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use serde_json::json;
use tokio::task::JoinSet;

fn main() -> anyhow::Result<()> {
    // `cargo test --all-targets` runs benchmarks too, with nothing to run them on.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        // Names of parts may be given: `cargo bench -p aftersend-tests --bench track -- restore`.
        let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
        let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
        let mut figures = Vec::new();
        if wanted("complaints") {
            figures.push(complaints().await?);
        }
        if wanted("coalescing") {
            figures.push(coalescing().await?);
        }
        if wanted("in_step") {
            figures.push(in_step().await?);
        }
        if wanted("restore") {
            figures.extend(restore::restore().await?);
        }
        print(&figures);
        eprintln!("written to {}", write_figures("track-sink.json", "track", &figures)?.display());
        Ok(())
    })
}

const NO_LIMITS: &str = "max_irreversible_per_hour = 1000000\nmax_irreversible_share = 1.0\n";

/// Signed webhooks at 500 a second, one in twenty a complaint; from the moment one falls due to the suppress at the API.
async fn complaints() -> anyhow::Result<Figure> {
    const RATE: u32 = 500;
    const SECONDS: u32 = 30;
    let mut setup = Setup::tracking(NO_LIMITS, "").await?;
    for service in [Service::Ingest, Service::Processor, Service::Track] {
        setup.launch(service)?;
    }
    for service in [Service::Ingest, Service::Processor, Service::Track] {
        setup.ready(service).await?;
    }
    let mut random = StdRng::seed_from_u64(1);
    let now = unix_millis() / 1_000;
    let mut warm = JoinSet::new();
    let mut sends = JoinSet::new();
    let mut due_at: BTreeMap<String, i64> = BTreeMap::new();
    let sender = std::sync::Arc::new(setup.sender()?);
    for number in 0..200 {
        let (sender, body) = (sender.clone(), Body::email(&format!("w-{number}"), "d", "delivered", now, json!({}), &mut random));
        warm.spawn(async move { sender.send(&body).await });
    }
    while warm.join_next().await.is_some() {}
    eventually(Duration::from_secs(60), async || {
        ensure!(setup.track_api.people().len() == 200);
        Ok(())
    })
    .await?;
    let began = tokio::time::Instant::now();
    for number in 0..RATE * SECONDS {
        tokio::time::sleep_until(began + Duration::from_secs(1) * number / RATE).await;
        let complains = number % 20 == 0;
        let customer = if complains { format!("c-{number}") } else { format!("r-{}", number % 2_000) };
        let metric = if complains { "spammed" } else { "delivered" };
        let body = Body::email(&customer, &format!("d-{number}"), metric, unix_millis() / 1_000, json!({}), &mut random);
        if complains {
            due_at.insert(customer, unix_millis());
        }
        let sender = sender.clone();
        sends.spawn(async move { sender.send(&body).await });
    }
    while sends.join_next().await.is_some() {}
    let mut waits = eventually(Duration::from_secs(60), async || {
        let asked = setup.track_api.asked();
        let waits = asked.iter().filter(|asked| asked.call == "suppress").filter_map(|asked| Some(asked.at - due_at.get(&asked.person)?));
        let waits: Vec<i64> = waits.collect();
        ensure!(waits.len() == due_at.len(), "{} of {}", waits.len(), due_at.len());
        Ok(waits)
    })
    .await?;
    waits.sort_unstable();
    let p99 = waits[waits.len() * 99 / 100] as f64;
    eprintln!("{} complaints: median {} ms, p99 {p99} ms, most {} ms", waits.len(), waits[waits.len() / 2], waits[waits.len() - 1]);
    setup.finish().await?;
    figure("complaint_to_suppress_p99_ms", "ms", p99, None, Goal::AtMost(1_000.0))
}

fn figure(name: &'static str, unit: &'static str, ours: f64, baseline: Option<(f64, &str)>, goal: Goal) -> anyhow::Result<Figure> {
    let once = |value| Spread::of(vec![value]).context("one run");
    let (baseline, beside) = baseline.map(|(value, beside)| (value, beside.to_owned())).unzip();
    Ok(Figure { name: name.into(), unit, ours: once(ours)?, baseline: baseline.map(once).transpose()?, beside, goal })
}

fn profile(id: &str, change: i64) -> ProfileRecord {
    let evaluation = Evaluation {
        score: 80,
        state: EmailState::Healthy,
        email_deliverable: true,
        email_promotional_ok: true,
        best_channel: Some(Channel::Email),
        best_channel_reason: ChannelReason::EmailWorks,
        email_cadence: Cadence::Full,
        email_transactional_ok: true,
        never_suppress: false,
        grounds: Grounds::Worded { reason: format!("change {change}"), contributions: Vec::new() },
        verdict: None,
        facts: Facts::default(),
        changes_at: None,
    };
    let person = Person { workspace: "default".into(), namespace: Namespace::Id, id: id.into() };
    ProfileRecord { person, as_of: 1_770_000_000 + change, policy_version: 1, evaluation, state: vec![7; 300], address: None }
}

/// What the ledger says of somebody who is in step with a profile.
fn ledger(person: i64, change: i64) -> (String, Vec<u8>) {
    let id = format!("u-{person}");
    let profile = profile(&id, change);
    let mut record = LedgerRecord::new(profile.person.clone());
    record.attributes = wanted_attributes(&profile, &Names::new(&Track::default()));
    record.seen = Seen { as_of: profile.as_of, offset: i64::MAX / 2, policy_version: 1 };
    (id, record.encode())
}

/// Writes one record for each person, to the partition of the person.
async fn write(setup: &Setup, topic: &str, records: impl Iterator<Item = (String, Vec<u8>)>) -> anyhow::Result<()> {
    let producer: FutureProducer = producer_config(&setup.config, "bench", 30_000).set("linger.ms", "20").create()?;
    let mut sent = FuturesUnordered::new();
    for (id, value) in records {
        let key = format!("default:id:{id}");
        let record = FutureRecord::to(topic).partition(partition_of(id.as_bytes())).key(&key).payload(&value);
        sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
        if sent.len() > 20_000 {
            sent.next().await.context("something was sent")??.map_err(|(error, _)| error)?;
        }
    }
    while let Some(delivered) = sent.next().await {
        delivered?.map_err(|(error, _)| error)?;
    }
    Ok(())
}

/// 20,000 changes of 1,000 people in 20 seconds, each of which a call would be made for by itself.
async fn coalescing() -> anyhow::Result<Figure> {
    const CHANGES: i64 = 20_000;
    let mut setup = Setup::tracking(&format!("coalesce = \"5s\"\n{NO_LIMITS}"), "").await?;
    setup.start(Service::Track).await?;
    let topic = setup.topics().profiles();
    let mut random = StdRng::seed_from_u64(2);
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    let began = tokio::time::Instant::now();
    for batch in 0..100 {
        tokio::time::sleep_until(began + Duration::from_millis(200) * batch).await;
        let batch = i64::from(batch);
        let changes: Vec<(String, i64)> = (batch * CHANGES / 100..(batch + 1) * CHANGES / 100)
            .map(|change| (format!("u-{}", random.random_range(0..1_000)), change))
            .collect();
        last.extend(changes.iter().cloned());
        write(&setup, &topic, changes.into_iter().map(|(id, change)| (id.clone(), profile(&id, change).encode()))).await?;
    }
    eventually(Duration::from_secs(60), async || {
        let people = setup.track_api.people();
        let in_step = |(id, change): &(&String, &i64)| {
            people.get(*id).is_some_and(|kept| kept.attributes.get("aftersend_reason") == Some(&json!(format!("change {change}"))))
        };
        let known = last.iter().filter(in_step).count();
        ensure!(known == last.len(), "{known} of {} people are known", last.len());
        Ok(())
    })
    .await?;
    let calls = setup.track_api.asked().len() as f64;
    eprintln!("{CHANGES} changes, {calls} calls");
    setup.finish().await?;
    figure("calls_saved_by_coalescing", "calls", CHANGES as f64 - calls, Some((CHANGES as f64, "a call for each change")), Goal::None)
}

/// A replay of 300,000 profiles of 100,000 people who are all in step, beside a reader that only decodes them.
async fn in_step() -> anyhow::Result<Figure> {
    const PEOPLE: i64 = 100_000;
    const VERSIONS: i64 = 3;
    let total = PEOPLE * VERSIONS;
    let mut setup = Setup::new("").await?;
    let topics = setup.topics();
    write(&setup, &topics.track_ledger(), (0..PEOPLE).map(|person| ledger(person, VERSIONS))).await?;
    for version in 1..=VERSIONS {
        let profiles = (0..PEOPLE).map(|person| (format!("u-{person}"), profile(&format!("u-{person}"), version).encode()));
        write(&setup, &topics.profiles(), profiles).await?;
    }
    let config = setup.config.clone();
    let topic = topics.profiles();
    let baseline = tokio::task::spawn_blocking(move || -> anyhow::Result<f64> {
        let consumer: BaseConsumer = consumer_config(&config, "bench", "bench-reader").remove("group.instance.id").create()?;
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(&topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        let mut read = 0;
        let mut began = None;
        while read < total {
            if let Some(message) = consumer.poll(Duration::from_secs(1)) {
                let message = message?;
                began.get_or_insert_with(Instant::now);
                ProfileRecord::decode(message.payload().unwrap_or_default())?;
                read += 1;
            }
        }
        Ok(total as f64 / began.context("something was read")?.elapsed().as_secs_f64())
    });
    let baseline = baseline.await??;
    setup.launch(Service::Track)?;
    setup.ready(Service::Track).await?;
    let passed = async || setup.metric(Service::Track, "aftersend_track_profiles_total").await;
    let mut began = None;
    let deadline = Instant::now() + Duration::from_secs(120);
    let (from, at) = loop {
        ensure!(Instant::now() < deadline, "the sink does not come to the end");
        let (passed, now) = (passed().await?, Instant::now());
        if passed > 0.0 {
            began.get_or_insert((passed, now));
        }
        if setup.metric(Service::Track, "aftersend_consumer_records_total").await? >= total as f64
            && setup.metric(Service::Track, "aftersend_track_open_people").await? == 0.0
            && passed > 0.0
        {
            break (began.context("it began")?, now);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    // Versions that were passed over unread by the plan count as much as those that were looked at.
    let seconds = (at - from.1).as_secs_f64();
    assert!(setup.track_api.asked().is_empty(), "nobody needed a call");
    setup.finish().await?;
    eprintln!("{total} profiles in {seconds:.2} s; a reader that decodes them: {baseline:.0}/s");
    let beside = Some((baseline, "a reader that only decodes"));
    figure("profiles_per_s_no_call_needed", "profiles/s", total as f64 / seconds, beside, Goal::None)
}
