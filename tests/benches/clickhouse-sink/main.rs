//! The ClickHouse sink from Kafka to committed rows, beside a bare HTTP client that inserts the same rows, already encoded, in inserts of the same
//! size. Results go to `target/bench/clickhouse-sink.json`. See `tests/README.md`.

mod bare;
mod freshness;
mod log;

use std::time::{Duration, Instant};

use aftersend_tests::bench::{Figure, Goal, Spread, Usage, print, write};
use aftersend_tests::{Service, Setup, eventually};
use anyhow::ensure;
use clap::Parser;

/// The ClickHouse sink beside a bare client.
#[derive(Debug, Parser)]
struct Options {
    /// Interleaved runs of each.
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 5)]
    rounds: usize,
    /// Records a run: so many that the wait of the last batches for more weighs little.
    #[arg(long, default_value_t = 300_000)]
    records: usize,
    /// Seconds of a run at 2,000 events a second.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// Anything else that `cargo bench` is given.
    #[arg(hide = true)]
    rest: Vec<String>,
}

/// Tables that are filled from `raw`, which is where the volume is.
const TABLES: [&str; 2] = ["raw_events", "message_outcomes"];

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if !options.bench {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    setup.start(Service::ClickHouse).await?;
    // Every lane has begun, and everything has been used once.
    log::produce(&setup, 5_000).await?;
    written(&setup, 5_000.0).await?;
    // Before the server has a million rows of the other runs to merge and to count.
    let mut visible = Vec::new();
    setup.start(Service::Ingest).await?;
    let mut total = 5_000.0;
    for round in 0..options.rounds {
        let (p99, rows) = freshness::p99_ms(&setup, Duration::from_secs(options.seconds)).await?;
        eprintln!("freshness {}/{}: p99 {p99:.0} ms", round + 1, options.rounds);
        total += rows as f64;
        visible.push(p99);
    }
    setup.stop(Service::Ingest).await?;
    written(&setup, total).await?;
    let mut ours = Runs::default();
    let mut bare = Vec::new();
    for round in 0..options.rounds {
        total += options.records as f64;
        let run = catch_up(&mut setup, options.records, total).await?;
        let (rate, cpu) = (run.rows / run.elapsed.as_secs_f64(), run.cpu.as_secs_f64() * 1e6 / run.rows);
        eprintln!("run {}/{}: {rate:.0} rows/s, {cpu:.2} us/row, {:.0} rows an insert", round + 1, options.rounds, run.rows_per_insert);
        let baseline = bare::run(&setup, options.records, run.rows_per_insert as usize, round).await?;
        eprintln!("          {baseline:.0} rows/s of the bare client, {:.2}", rate / baseline);
        ours.rates.push(rate);
        ours.cpu.push(cpu);
        bare.push(baseline);
    }
    let memory = Usage::of(setup.process(Service::ClickHouse)?.id())?.peak_mib;
    let beside = Some("a bare HTTP client, rows encoded before".to_owned());
    let figure = |name: &'static str, unit, ours: Vec<f64>, baseline: Option<Vec<f64>>, goal| {
        let beside = beside.clone().filter(|_| baseline.is_some());
        Spread::of(ours).map(|ours| Figure { name: name.into(), unit, ours, baseline: baseline.and_then(Spread::of), beside, goal })
    };
    let figures: Vec<Figure> = [
        figure("rows_vs_bare_insert", "rows/s", ours.rates, Some(bare), Goal::RatioAtLeast(0.6)),
        figure("cpu_us_per_row", "us", ours.cpu, None, Goal::AtMost(3.0)),
        figure("rss_mib", "MiB", vec![memory], None, Goal::AtMost(256.0)),
        figure("visible_p99_ms", "ms", visible, None, Goal::AtMost(2_000.0)),
    ]
    .into_iter()
    .flatten()
    .collect();
    print(&figures);
    eprintln!("written to {}", write("clickhouse-sink.json", "catch-up", &figures)?.display());
    setup.finish().await
}

#[derive(Default)]
struct Runs {
    rates: Vec<f64>,
    cpu: Vec<f64>,
}

struct Run {
    rows: f64,
    elapsed: Duration,
    cpu: Duration,
    rows_per_insert: f64,
}

/// Records pile up while the sink is stopped, for less than its session; then it is let go.
async fn catch_up(setup: &mut Setup, records: usize, total: f64) -> anyhow::Result<Run> {
    let inserts = "aftersend_clickhouse_inserts_total{result=\"ok\"";
    let inserts_before = setup.metric(Service::ClickHouse, inserts).await?;
    let id = setup.process(Service::ClickHouse)?.id();
    setup.process(Service::ClickHouse)?.signal("STOP")?;
    let stopped = Instant::now();
    log::produce(setup, records).await?;
    ensure!(stopped.elapsed() < Duration::from_secs(13), "producing took {:?}: the session is over", stopped.elapsed());
    let before = Usage::of(id)?.cpu;
    let started = Instant::now();
    setup.process(Service::ClickHouse)?.signal("CONT")?;
    written(setup, total).await?;
    let elapsed = started.elapsed();
    let cpu = Usage::of(id)?.cpu - before;
    let inserts = setup.metric(Service::ClickHouse, inserts).await? - inserts_before;
    let rows = (records * TABLES.len()) as f64;
    Ok(Run { rows, elapsed, cpu, rows_per_insert: rows / inserts.max(1.0) })
}

/// Waits until so many rows of each table are acknowledged.
async fn written(setup: &Setup, rows: f64) -> anyhow::Result<()> {
    let deadline = Duration::from_secs(120);
    let started = Instant::now();
    loop {
        let mut least = f64::MAX;
        for table in TABLES {
            least = least.min(setup.metric(Service::ClickHouse, &format!("aftersend_clickhouse_rows_total{{table=\"{table}\"}}")).await?);
        }
        if least >= rows {
            return Ok(());
        }
        ensure!(started.elapsed() < deadline, "{least} of {rows} rows");
        // Each look costs the sink CPU time, which is measured.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits for what may take a moment.
async fn soon<T>(ask: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    eventually(Duration::from_secs(30), ask).await
}
