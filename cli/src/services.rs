//! One function per service.

use aftersend_ingest::Ingest;
use aftersend_pipeline::config::Config;
use aftersend_processor::Processor;
use aftersend_sinks::clickhouse::ClickHouseSink;
use aftersend_sinks::track::TrackSink;
use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

/// Receives webhooks until `shutdown`.
pub async fn ingest(config: &Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    Ingest::bind(config)?.run(shutdown).await.context("ingest")
}

/// Folds and scores until `shutdown`.
pub async fn processor(config: &Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    Processor::new(config)?.run(shutdown).await.context("processor")
}

/// Fills the tables until `shutdown`.
pub async fn clickhouse(config: &Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    ClickHouseSink::new(config)?.run(shutdown).await.context("clickhouse sink")
}

/// Calls the Track API until `shutdown`.
pub async fn track(config: &Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    TrackSink::new(config)?.run(shutdown).await.context("track sink")
}
