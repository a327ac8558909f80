//! The long run: memory must not grow over ten minutes of full load, nor burst with 10,000 idle connections beside it.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use crate::candidate::{Candidate, Target};
use crate::connection::Connection;
use crate::load::Span;
use crate::options::Options;
use crate::requests::Requests;
use crate::rounds::{Bench, Load};
use aftersend_tests::bench::{Figure, Goal, Spread, Usage, print, write};

const IDLE: usize = 10_000;
/// Each has some 28,000 ports.
const SOURCES: u8 = 4;
/// A connection that never asked anything is closed within seconds, and any other after 120 s: so each asks now and then.
const ASK_EVERY: Duration = Duration::from_secs(60);
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(options: &Options, seconds: f64) -> anyhow::Result<()> {
    let bench = Bench::start(&[Candidate::Ours]).await?;
    let target = bench.target(Candidate::Ours).context("ours is not running")?;
    let load = Load::Closed { connections: options.connections };

    eprintln!("full load for {seconds} s");
    let span = Span { warm_up: Duration::from_secs_f64((seconds / 10.0).min(30.0)), measured: Duration::from_secs_f64(seconds) };
    let samples = sampled(&bench, target, load, span).await?;
    let tenth = (samples.len() / 10).max(1);
    let first = Spread::of(samples[..tenth.min(samples.len())].to_vec());
    let last = Spread::of(samples[samples.len().saturating_sub(tenth)..].to_vec()).context("no samples")?;

    eprintln!("{IDLE} idle connections beside it");
    let mut idle = open_idle(target, bench.requests()).await?;
    let span = Span { warm_up: Duration::from_secs(5), measured: ASK_EVERY };
    let samples = tokio::select! {
        samples = sampled(&bench, target, load, span) => samples?,
        failed = keep_alive(&mut idle, bench.requests()) => match failed? {},
    };
    let with_idle = Spread::of(samples).context("no samples")?;
    drop(idle);
    bench.candidates.finish().await?;

    let beside = |text: &str| Some(text.to_owned());
    let figures = [
        Figure {
            name: "rss_flat".into(),
            unit: "MiB",
            ours: last,
            baseline: first,
            beside: beside("the first tenth of the run"),
            goal: Goal::RatioAtMost(1.1),
        },
        Figure {
            name: "rss_idle_connections_mib".into(),
            unit: "MiB",
            ours: with_idle,
            baseline: Some(last),
            beside: beside("before they were opened"),
            goal: Goal::AtMost(100.0),
        },
    ];
    print(&figures);
    eprintln!("written to {}", write("ingest-soak.json", "soak", &figures)?.display());
    Ok(())
}

/// Resident MiB of the target, second by second, once it is warm.
async fn sampled(bench: &Bench, target: &Target, load: Load, span: Span) -> anyhow::Result<Vec<f64>> {
    let from = Instant::now() + span.warm_up;
    let mut samples = Vec::new();
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    let run = bench.run(target, load, span);
    tokio::pin!(run);
    loop {
        tokio::select! {
            run = &mut run => {
                eprintln!("{}", run?);
                return Ok(samples);
            }
            now = ticks.tick() => if now >= from {
                samples.push(Usage::of(target.process)?.resident_mib);
            },
        }
    }
}

/// From several addresses; each has asked once.
async fn open_idle(target: &Target, requests: &Requests) -> anyhow::Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(IDLE);
    for (n, source) in (1..=SOURCES).cycle().enumerate().take(IDLE) {
        let source = IpAddr::from(Ipv4Addr::new(127, 0, 0, source));
        let opened = Connection::open_from(source, target.address).await;
        let mut connection = opened.with_context(|| format!("connection {n} of {IDLE}: is `ulimit -n` high enough?"))?;
        connection.exchange(requests.get(n)).await?;
        connections.push(connection);
    }
    Ok(connections)
}

/// Ends only with an error.
async fn keep_alive(connections: &mut [Connection], requests: &Requests) -> anyhow::Result<Infallible> {
    let mut turns = tokio::time::interval(ASK_EVERY.div_f64(connections.len() as f64));
    loop {
        for (n, connection) in connections.iter_mut().enumerate() {
            turns.tick().await;
            connection.exchange(requests.get(n)).await.context("an idle connection")?;
        }
    }
}
