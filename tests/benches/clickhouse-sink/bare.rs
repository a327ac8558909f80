//! The baseline: rows of both tables, encoded before the clock runs, in as many inserts as the sink made, four at a time.

use std::time::Instant;

use aftersend_pipeline::unix_millis;
use aftersend_schemas::row_binary::Block;
use aftersend_schemas::rows::{Position, RawEvent};
use aftersend_tests::Setup;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::log;

const AT_ONCE: usize = 4;

/// Rows a second.
pub(crate) async fn run(setup: &Setup, records: usize, rows_per_insert: usize, round: usize) -> anyhow::Result<f64> {
    let inserts = encode(setup, records, rows_per_insert.max(1))?;
    let rows: usize = inserts.iter().map(|(_, block)| block.rows()).sum();
    let (url, database) = (setup.config.clickhouse.url.clone(), setup.config.clickhouse.database.clone());
    let client = reqwest::Client::new();
    let started = Instant::now();
    stream::iter(inserts.into_iter().enumerate())
        .map(|(number, (table, block))| {
            let statement = format!("INSERT INTO {database}.{table} ({}) FORMAT RowBinary", block.columns().join(", "));
            let token = format!("bare-{round}-{number}");
            let query = [("query", statement.as_str()), ("async_insert", "0"), ("insert_deduplication_token", &token)];
            let request = client.post(&url).query(&query).body(block.into_bytes());
            async move { anyhow::Ok(request.send().await?.error_for_status()?.bytes().await?) }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(rows as f64 / started.elapsed().as_secs_f64())
}

fn encode(setup: &Setup, records: usize, rows_per_insert: usize) -> anyhow::Result<Vec<(&'static str, Block)>> {
    let normaliser = setup.config.normaliser()?;
    let (now, topic) = (unix_millis(), setup.topics().raw());
    let received = log::received(now);
    let mut inserts = Vec::new();
    for first in (0..records).step_by(rows_per_insert) {
        let (mut raw, mut outcomes) = (Block::default(), Block::default());
        for n in first..(first + rows_per_insert).min(records) {
            // Offsets that the sink never has.
            let offset = i64::try_from(n)? + 1_000_000_000_000;
            let (key, body) = log::event(n + 1_000_000_000, now / 1000);
            let position = Position { topic: &topic, partition: 99, offset };
            outcomes.push(&normaliser.outcome(&body, &received, &position, 0)?)?;
            raw.push(&RawEvent {
                payload: &body,
                key: &key,
                source: &received.source,
                workspace: &received.workspace,
                signature_timestamp: &received.signature_timestamp,
                content_type: &received.content_type,
                received_at: now,
                src_topic: &topic,
                src_partition: 99,
                src_offset: u64::try_from(offset)?,
                epoch: 0,
            })?;
        }
        inserts.push(("raw_events", raw));
        inserts.push(("message_outcomes", outcomes));
    }
    Ok(inserts)
}
