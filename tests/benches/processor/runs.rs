//! Runs over a full topic: ours and the baselines, interleaved, each on the same core.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use aftersend_pipeline::config::Config;
use aftersend_pipeline::kafka::create_topics;
use aftersend_schemas::topics::PARTITIONS;
use aftersend_tests::bench::{Figure, Goal, Spread};
use aftersend_tests::{Fleet, Process, Setup, binary, eventually};
use anyhow::{Context as _, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::pinned::{self, Run, watch};
use crate::{Options, Part, events, streams};

pub(crate) const NAME: &str = "bench";
const LIMIT: Duration = Duration::from_secs(600);

/// The release binary on one core.
pub(crate) fn launch(setup: &Setup, core: usize) -> anyhow::Result<Fleet> {
    let mut fleet = Fleet::of(setup);
    fleet.launch_by(NAME, pinned::on(core, binary()?), &[])?;
    Ok(fleet)
}

/// Reads a topic whole and does nothing; prints how many it has read.
#[expect(clippy::print_stdout, reason = "whoever started this reads it")]
pub(crate) fn consume(topic: &str, events: usize) -> anyhow::Result<()> {
    let brokers = aftersend_tests::kafka_brokers()?;
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("group.id", "aftersend-bench").set("enable.auto.commit", "false");
    client.set("isolation.level", "read_committed").set("queued.max.messages.kbytes", "32768");
    let consumer: BaseConsumer = client.create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut read = 0;
    while read < events {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            message?;
            read += 1;
            if read % 5_000 == 0 || read == events {
                println!("{read}");
            }
        }
    }
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

fn printed(log: &std::path::Path) -> Option<f64> {
    std::fs::read_to_string(log).ok()?.lines().rev().find_map(|line| line.parse().ok())
}

/// Ours over the whole topic.
async fn ours(setup: &Setup, options: &Options, events: usize) -> anyhow::Result<(Run, Fleet)> {
    let mut fleet = launch(setup, options.core)?;
    let run = watched(&mut fleet, events as f64).await?;
    Ok((run, fleet))
}

async fn watched(fleet: &mut Fleet, last: f64) -> anyhow::Result<Run> {
    let url = fleet.metrics_url(NAME)?;
    let count = async || {
        let text = reqwest::get(&url).await.ok()?.text().await.ok()?;
        let lines = text.lines().filter(|line| line.starts_with("aftersend_processor_events_total"));
        Some(lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    };
    watch(fleet.process(NAME)?, last, LIMIT, count).await
}

/// Nothing, if nothing was measured.
fn figure(
    name: impl Into<Cow<'static, str>>,
    unit: &'static str,
    ours: Vec<f64>,
    beside: Option<(&str, Vec<f64>)>,
    goal: Goal,
) -> Option<Figure> {
    let (beside, baseline) = beside.map_or((None, None), |(who, values)| (Some(who.to_owned()), Spread::of(values)));
    Some(Figure { name: name.into(), unit, ours: Spread::of(ours)?, baseline, beside, goal })
}

/// Rates, and what a restore takes.
pub(crate) async fn throughput(options: &Options) -> anyhow::Result<(Vec<Figure>, Vec<Figure>)> {
    let source = Setup::new("").await?;
    let raw = source.topics().raw();
    eprintln!("writing {} events of {} customers", options.events, options.customers);
    events::fill(&source.config, &raw, options.customers, options.events)?;
    let (mut mine, mut nothing, mut streaming) = (Vec::new(), Vec::new(), Vec::new());
    let mut restores = Vec::new();
    for round in 0..options.rounds {
        if options.wants(Part::Throughput) {
            let log = source.directory().join(format!("consume-{round}.log"));
            let mut command = pinned::on(options.core, std::env::current_exe()?);
            command.args(["--consume", &raw, "--events", &options.events.to_string()]);
            let mut process = Process::spawn("consume".into(), &mut command, log.clone())?;
            let run = watch(&mut process, options.events as f64, LIMIT, async || printed(&log)).await?;
            eprintln!("round {round}  nothing  {run}");
            nothing.push(run);
            process.kill()?;

            let out = out_topic(&source.config, round).await?;
            let (mut process, log) = streams::start(&source, options.core, &raw, &out, round)?;
            // What is hot is compiled in the first seconds, which count for nobody.
            let limit = Duration::from_secs(options.streams_seconds);
            watch(&mut process, options.events as f64, limit / 2, async || printed(&log)).await?;
            let run = watch(&mut process, options.events as f64, limit, async || printed(&log)).await?;
            eprintln!("round {round}  streams  {run}");
            streaming.push(run);
            process.kill()?;
        }
        reset(&source).await?;
        let (run, mut fleet) = ours(&source, options, options.events).await?;
        eprintln!("round {round}  ours     {run}");
        mine.push(run);
        fleet.stop_all().await?;
        if round + 1 == options.rounds && options.wants(Part::Restore) {
            restores = restore(&source, options).await?;
        }
    }
    source.finish().await?;
    if !options.wants(Part::Throughput) {
        return Ok((Vec::new(), restores));
    }
    let of = |runs: &[Run], value: fn(&Run) -> f64| runs.iter().map(value).collect::<Vec<_>>();
    let (rates, cpu) = (of(&mine, Run::per_second), of(&mine, Run::cpu_us));
    let idle = |value| Some(("a consumer that does nothing", of(&nothing, value)));
    let streams = |value| Some(("Kafka Streams, exactly_once_v2, eight maxima a customer", of(&streaming, value)));
    let per_second = "events/s";
    let figures = [
        figure("events_per_s_one_core", per_second, rates.clone(), None, Goal::AtLeast(150_000.0)),
        figure("vs_consume_only", per_second, rates.clone(), idle(Run::per_second), Goal::RatioAtLeast(0.2)),
        figure("vs_kafka_streams", per_second, rates, streams(Run::per_second), Goal::RatioAtLeast(6.0)),
        figure("cpu_us_vs_consume_only", "us/event", cpu.clone(), idle(Run::cpu_us), Goal::None),
        figure("cpu_us_vs_kafka_streams", "us/event", cpu, streams(Run::cpu_us), Goal::None),
        figure("peak_mib", "MiB", of(&mine, |run| run.peak_mib), None, Goal::None),
    ];
    Ok((figures.into_iter().flatten().collect(), restores))
}

/// A restart with the store as it was left, and one without it.
async fn restore(setup: &Setup, options: &Options) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, warm, most) in [("warm_restart_s", true, 2.0), ("restore_1m_s", false, 20.0)] {
        let directory = Fleet::of(setup).state_dir(NAME);
        if !warm {
            std::fs::remove_dir_all(&directory)?;
        }
        let log = Fleet::of(setup).log(NAME).len();
        let begin = Instant::now();
        let mut fleet = launch(setup, options.core)?;
        let line = eventually(LIMIT, async || {
            let all = fleet.log(NAME);
            let line = all.get(log..).unwrap_or_default().lines().find(|line| line.contains("state restored")).map(str::to_owned);
            line.context("not restored yet")
        })
        .await?;
        let seconds = begin.elapsed().as_secs_f64();
        eprintln!("{name}: {line}");
        fleet.stop_all().await?;
        figures.extend(figure(name, "s", vec![seconds], None, Goal::AtMost(most)));
    }
    Ok(figures)
}

/// The cost of an event with few customers and with many, and the memory at many.
pub(crate) async fn growth(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let mut runs = Vec::new();
    for customers in [10_000, options.many] {
        let setup = Setup::new("").await?;
        let raw = setup.topics().raw();
        let first = usize::try_from(customers)?.max(1_000_000);
        events::fill(&setup.config, &raw, customers, first)?;
        let (run, mut fleet) = ours(&setup, options, first).await?;
        eprintln!("{customers} customers, first {first} events: {run}");
        let writer = events::Writer::to(&setup.config, &raw)?;
        let mut more = events::Events::of(customers, 13);
        fleet.stop_all().await?;
        for _ in 0..1_000_000 {
            let now = aftersend_pipeline::unix_millis();
            writer.write(&more.next(now))?;
        }
        writer.flush()?;
        let mut fleet = launch(&setup, options.core)?;
        let run = watched(&mut fleet, 1_000_000.0).await?;
        eprintln!("{customers} customers, a million more: {run}");
        runs.push(run);
        fleet.stop_all().await?;
        setup.finish().await?;
    }
    let (few, many) = (runs.first().context("no run")?, runs.last().context("no run")?);
    let size = if options.many == 5_000_000 { "5m".to_owned() } else { options.many.to_string() };
    let ours = vec![many.cpu_us()];
    let baseline = Some(("10,000 customers", vec![few.cpu_us()]));
    let figures = [
        figure(format!("growth_{size}_vs_10k"), "us/event", ours, baseline, Goal::RatioAtMost(1.3)),
        figure(format!("rss_{size}_mib"), "MiB", vec![many.peak_mib], None, Goal::AtMost(512.0)),
    ];
    Ok(figures.into_iter().flatten().collect())
}

async fn out_topic(config: &Config, round: usize) -> anyhow::Result<String> {
    let topics = aftersend_schemas::topics::Topics::new(&config.kafka.topic_prefix);
    let mut spec = topics.specs(config.max_record_bytes()).into_iter().find(|spec| spec.name == topics.profiles()).context("no topic")?;
    spec.name = format!("{}.streams-out-{round}", config.kafka.topic_prefix);
    let name = spec.name.clone();
    create_topics(config, &[spec]).await?;
    Ok(name)
}

/// Nothing was ever processed: no profiles, no offsets, no store.
async fn reset(setup: &Setup) -> anyhow::Result<()> {
    let topics = setup.topics();
    let _ = std::fs::remove_dir_all(Fleet::of(setup).state_dir(NAME));
    let admin: rdkafka::admin::AdminClient<_> = aftersend_pipeline::kafka::producer_config(&setup.config, "bench", 10_000).create()?;
    let options = rdkafka::admin::AdminOptions::new();
    // A member with a name stays in the group until its session times out.
    let group = topics.processor_group();
    eventually(Duration::from_secs(40), async || {
        for result in admin.delete_groups(&[&group], &options).await? {
            match result {
                Ok(_) | Err((_, rdkafka::types::RDKafkaErrorCode::GroupIdNotFound)) => {}
                Err((_, code)) => anyhow::bail!("cannot delete the group: {code}"),
            }
        }
        Ok(())
    })
    .await?;
    let names = [topics.profiles(), topics.providers()];
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for result in admin.delete_topics(&names, &options).await? {
        ensure!(result.is_ok(), "cannot delete a topic");
    }
    eventually(Duration::from_secs(30), async || setup.migrate()).await
}
