//! Whether the tables are as this release fills them, asked before the first record is read.

use std::time::{Duration, Instant};

use aftersend_pipeline::config::ClickHouse;
use aftersend_pipeline::retry::Backoff;
use aftersend_pipeline::telemetry::Latch;
use aftersend_schemas::migrations::{MIGRATIONS, Migration, views};
use tokio_util::sync::CancellationToken;

use super::client;
use super::failure::Cause;
use super::metrics::SinkMetrics;
use super::migrate::{MigrateError, check_columns, is_current, tables};
use super::outage::Outage;

/// What is wrong with the tables, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The server does not answer, a newer release was here, or a table is not as it was made.
    #[error(transparent)]
    Migrations(#[from] MigrateError),
    /// An older release made the tables.
    #[error("database {0} lacks migrations of this release: run `aftersend migrate`")]
    Behind(String),
    /// A view is not there.
    #[error("view {0} does not exist: run `aftersend migrate`, which makes it again; nothing is lost")]
    NoView(String),
}

impl SchemaError {
    /// What the server said, if waiting may help.
    fn passing(&self) -> Option<&clickhouse::error::Error> {
        match self {
            Self::Migrations(MigrateError::Failed { source, .. }) => Some(source),
            _ => None,
        }
    }
}

/// [`check_schema`], waiting for ClickHouse to answer. False if `shutdown` came first. A database that is away is waited out like later, with the latch
/// released: nothing else can be done about it here, and the metrics tell of every table.
pub(super) async fn wait_for_schema(
    config: &ClickHouse,
    metrics: &SinkMetrics,
    latch: Latch,
    shutdown: &CancellationToken,
) -> Result<bool, SchemaError> {
    let mut latch = Some(latch);
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    let mut outage = Outage::default();
    loop {
        let Some(checked) = shutdown.run_until_cancelled(check_schema(config)).await else { return Ok(false) };
        let passing = checked.as_ref().err().and_then(SchemaError::passing).map(Cause::of);
        if (checked.is_ok() || passing.is_some())
            && let Some(latch) = latch.take()
        {
            latch.release();
        }
        match (checked, passing) {
            (Ok(()), _) => return Ok(true),
            (Err(error), Some(cause)) => {
                config.tables.iter().for_each(|table| metrics.failed(table, cause));
                if let Some(report) = outage.failed(cause.as_str(), Instant::now()) {
                    tracing::warn!(%error, attempts = report.failures, "waiting for clickhouse");
                }
            }
            (Err(error), None) => return Err(error),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(false),
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

/// Refuses a database in which anything is missing that this release makes, or that cannot be filled: what people ask, too.
pub async fn check_database(config: &ClickHouse) -> Result<(), SchemaError> {
    check_schema(config).await?;
    let there = tables(&client(config), config).await?;
    let name = |missing: &str| format!("{}.{missing}", config.database);
    if let Some(missing) = MIGRATIONS.iter().flat_map(Migration::tables).find(|name| !there.contains(*name)) {
        return Err(MigrateError::NoTable(name(missing)).into());
    }
    views().find(|name| !there.contains(*name)).map_or(Ok(()), |missing| Err(SchemaError::NoView(name(missing))))
}

/// Refuses tables that the configured ones cannot be filled as.
pub async fn check_schema(config: &ClickHouse) -> Result<(), SchemaError> {
    let client = client(config).with_database("system");
    if !is_current(&client, config).await? {
        return Err(SchemaError::Behind(config.database.clone()));
    }
    Ok(check_columns(&client, config, |table| config.fills(table)).await?)
}
