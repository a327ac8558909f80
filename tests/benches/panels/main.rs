//! How long the queries behind the dashboard's panels take on ten million outcomes, over all 28 days and all workspaces of them.
//!
//! `make bench` runs it on a ClickHouse of its own. `PANELS_DATABASE=name` fills that database once and keeps it for further runs.

mod figures;
mod outcomes;

use std::process::Command;
use std::time::Instant;

use aftersend_pipeline::config::{ClickHouse, Config};
use aftersend_pipeline::telemetry::Metrics;
use aftersend_sinks::clickhouse::{Rollups, client, migrate};
use aftersend_tests::bench::{print, write};
use aftersend_tests::repository;
use anyhow::{Context as _, ensure};
use clickhouse::Client;
use serde::Deserialize;

use crate::figures::{Panel, figures};
use crate::outcomes::Outcomes;

const RUNS: usize = 7;

#[derive(Deserialize)]
struct Query {
    title: String,
    sql: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let kept = std::env::var("PANELS_DATABASE").ok();
    let config = config(kept.as_deref().unwrap_or("aftersend_bench_panels"))?;
    let client = client(&config);
    if kept.is_none() {
        drop_database(&client, &config).await?;
    }
    migrate(&config).await?;
    let outcomes = Outcomes::of(&client, &config).await?;
    let rollups = Rollups::new(&config, &Metrics::new());
    let queries = queries(&outcomes)?;
    ensure!(!queries.is_empty(), "the dashboard asks ClickHouse nothing");
    let mut panels = Vec::new();
    if !outcomes.are_counted().await? {
        // Everything is counted anew while nothing is: what the panels would take without counts.
        for query in &queries {
            outcomes.keep_uncounted(&query.title, milliseconds(&client, &query.sql).await?).await?;
        }
        outcomes.count(&rollups).await?;
    }
    let uncounted = outcomes.uncounted().await?;
    for query in queries {
        let mut runs = Vec::with_capacity(RUNS);
        // The first one reads the disk and is left out.
        for _ in 0..=RUNS {
            runs.push(milliseconds(&client, &query.sql).await?);
        }
        let uncounted = uncounted.get(&query.title).copied();
        panels.push(Panel { title: query.title, runs: runs.split_off(1), uncounted });
    }
    let size = outcomes.size().await?;
    let figures = figures(&panels, &size);
    print(&figures);
    eprintln!("{} rows; written to {}", size.rows, write("clickhouse-sink.json", "panels", &figures)?.display());
    if kept.is_none() {
        drop_database(&client, &config).await?;
    }
    Ok(())
}

fn config(database: &str) -> anyhow::Result<ClickHouse> {
    let url = std::env::var("CLICKHOUSE_URL").context("CLICKHOUSE_URL is not set: run `make bench`")?;
    let text = format!("[clickhouse]\nurl = \"{url}\"\ndatabase = \"{database}\"\n[privacy]\nhash_keys = [{{ key = \"k\" }}]\n");
    Ok(Config::parse(&text, [])?.clickhouse)
}

async fn drop_database(client: &Client, config: &ClickHouse) -> anyhow::Result<()> {
    let drop = format!("DROP DATABASE IF EXISTS {} SYNC", config.database);
    Ok(client.clone().with_database("default").query_raw(&drop).execute().await?)
}

/// As the dashboard has them.
fn queries(outcomes: &Outcomes) -> anyhow::Result<Vec<Query>> {
    let (from, to) = outcomes.seconds();
    let output = Command::new("python3")
        .arg(repository().join("deploy/grafana/queries.py"))
        .args(["--from", &from.to_string(), "--to", &to.to_string(), "--customer", "277155"])
        .output()
        .context("python3 reads the dashboard")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::Deserializer::from_slice(&output.stdout).into_iter().map(|query| Ok(query?)).collect()
}

/// From the question to the last byte of the answer.
async fn milliseconds(client: &Client, sql: &str) -> anyhow::Result<f64> {
    let started = Instant::now();
    client.query_raw(sql).fetch_bytes("JSONCompact")?.collect().await.with_context(|| sql.to_owned())?;
    Ok(started.elapsed().as_secs_f64() * 1000.0)
}
