//! From webhook to visible row at 2,000 events a second, with default settings, ingest and generator on the same machine.

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use aftersend_pipeline::unix_millis;
use aftersend_tests::{Process, SIGNING_KEY, Setup, binary};
use anyhow::ensure;
use hdrhistogram::Histogram;

use crate::soon;

const RATE: u64 = 2_000;
/// More looks would be a load of their own.
const LOOK: Duration = Duration::from_millis(200);

/// Looks five times a second which offsets are visible. A row counts from its arrival at ingest to the end of the first look that shows it. With the
/// percentile: how many rows that were.
pub(crate) async fn p99_ms(setup: &Setup, span: Duration) -> anyhow::Result<(f64, u64)> {
    let began = unix_millis();
    let count = RATE * span.as_secs();
    let mut command = Command::new(binary()?);
    command.args(["simulate", "--url", &setup.webhook_url("default"), "--signing-key", SIGNING_KEY]);
    command.args(["--rate", &RATE.to_string(), "--count", &count.to_string(), "--duplicates", "0", "--customers", "4000", "--days", "0"]);
    command.args(["--seed", &began.to_string()]);
    let generator = Process::spawn("simulate".to_owned(), &mut command, setup.directory().join("simulate.log"))?;
    let database = setup.database();
    let mut looks: Vec<(i64, HashMap<u32, u64>)> = Vec::new();
    let started = Instant::now();
    while started.elapsed() < span + Duration::from_secs(3) {
        // Only what was stored since: a look at everything would keep the server busier than the sink does.
        let visible = format!(
            "SELECT src_partition, max(src_offset) FROM message_outcomes WHERE src_partition < 99 AND stored_at >= fromUnixTimestamp64Milli({began}) GROUP BY src_partition"
        );
        let visible = database.query(&visible).fetch_all::<(u32, u64)>().await?;
        looks.push((unix_millis(), visible.into_iter().collect()));
        tokio::time::sleep(LOOK).await;
    }
    ensure!(generator.ended().await?.success(), "the generator failed");
    let rows = format!(
        "SELECT src_partition, src_offset, toUnixTimestamp64Milli(received_at) FROM message_outcomes WHERE src_partition < 99 AND received_at >= fromUnixTimestamp64Milli({began})"
    );
    let rows = soon(async || {
        let rows = database.query(&rows).fetch_all::<(u32, u64, i64)>().await?;
        ensure!(rows.len() as u64 >= count, "{} of {count} rows", rows.len());
        Ok(rows)
    })
    .await?;
    let mut ages = Histogram::<u64>::new_with_bounds(1, 600_000, 3)?;
    for (partition, offset, received_at) in rows {
        let seen = looks.iter().find(|(_, visible)| visible.get(&partition).is_some_and(|last| *last >= offset));
        // Not seen at all counts as seen last of all: too late in any case.
        let at = seen.map_or(unix_millis(), |(at, _)| *at);
        ages.record(u64::try_from(at - received_at).unwrap_or(1).max(1))?;
    }
    Ok((ages.value_at_percentile(99.0) as f64, count))
}
