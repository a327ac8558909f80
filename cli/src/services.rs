//! One function per service.

use aftersend_ingest::{Ingest, IngestError};
use aftersend_pipeline::config::{Config, ConfigError};
use aftersend_pipeline::shutdown::Reloads;
use aftersend_processor::{Processor, ProcessorError};
use aftersend_sinks::clickhouse::{ClickHouseSink, ClickHouseSinkError, MigrateError};
use aftersend_sinks::track::{TrackSink, TrackSinkError};
use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

/// Receives webhooks until `shutdown`.
pub async fn ingest(config: &Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    // First: until then the signal would end the process.
    let reloads = Reloads::on_signal()?;
    Ingest::bind(config)?.run(shutdown, reloads).await.context("ingest")
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

/// True if mending the configuration, or running another release, is what helps: starting again does not.
pub fn is_configuration(error: &anyhow::Error) -> bool {
    error.is::<ConfigError>()
        || matches!(error.downcast_ref(), Some(IngestError::Config(_)))
        || matches!(error.downcast_ref(), Some(ProcessorError::Config(_)))
        || matches!(error.downcast_ref(), Some(ClickHouseSinkError::Config(_) | ClickHouseSinkError::Schema(_)))
        || error.downcast_ref::<MigrateError>().is_some_and(|error| !matches!(error, MigrateError::Failed { .. }))
        || matches!(error.downcast_ref(), Some(TrackSinkError::Config(_)))
}
