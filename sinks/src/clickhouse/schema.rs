//! Whether the tables are as this release fills them, asked before the first record is read.

use std::collections::BTreeMap;
use std::time::Duration;

use aftersend_pipeline::config::ClickHouse;
use aftersend_pipeline::retry::Backoff;
use aftersend_pipeline::telemetry::Latch;
use aftersend_schemas::columns::TABLES;
use aftersend_schemas::migrations::{MIGRATIONS, Migration, views};
use tokio_util::sync::CancellationToken;

use super::client;
use super::failure::Cause;
use super::metrics::SinkMetrics;
use super::migrate::{MigrateError, failure, is_current, tables};

/// What is wrong with the tables, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The server does not answer, or a newer release was here.
    #[error(transparent)]
    Migrations(#[from] MigrateError),
    /// An older release made the tables.
    #[error("database {0} lacks migrations of this release: run `aftersend migrate`")]
    Behind(String),
    /// A table is not there.
    #[error("table {0} does not exist: run `aftersend migrate`, which makes it again; its rows come back by a replay")]
    NoTable(String),
    /// A view is not there.
    #[error("view {0} does not exist: run `aftersend migrate`, which makes it again; nothing is lost")]
    NoView(String),
    /// A column is not there.
    #[error(
        "table {table} has no column {column}, which needs type {needed}: run `aftersend migrate`; if it was dropped by hand, add it with ALTER TABLE {table} ADD COLUMN {column} {needed}"
    )]
    NoColumn {
        /// With its database.
        table: String,
        /// Its name.
        column: &'static str,
        /// As the server names it.
        needed: &'static str,
    },
    /// A column has another type.
    #[error(
        "column {column} of {table} has type {found} and needs {needed}: run `aftersend migrate`; if it was changed by hand, change it back with ALTER TABLE {table} MODIFY COLUMN {column} {needed}"
    )]
    OtherType {
        /// With its database.
        table: String,
        /// Its name.
        column: &'static str,
        /// As it is.
        found: String,
        /// As it must be.
        needed: &'static str,
    },
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
    loop {
        let checked = check_schema(config).await;
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
                tracing::warn!(%error, "waiting for clickhouse");
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
        return Err(SchemaError::NoTable(name(missing)));
    }
    views().find(|name| !there.contains(*name)).map_or(Ok(()), |missing| Err(SchemaError::NoView(name(missing))))
}

/// Refuses tables that the configured ones cannot be filled as.
pub async fn check_schema(config: &ClickHouse) -> Result<(), SchemaError> {
    let client = client(config).with_database("system");
    if !is_current(&client, config).await? {
        return Err(SchemaError::Behind(config.database.clone()));
    }
    let query = client.query("SELECT table, name, type FROM system.columns WHERE database = ?").bind(&config.database);
    let rows = query.fetch_all::<(String, String, String)>().await.map_err(failure(config, "looking at columns"))?;
    let mut found: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (table, column, kind) in rows {
        found.entry(table).or_default().insert(column, kind);
    }
    for table in TABLES.iter().filter(|table| config.fills(table.name)) {
        let name = || format!("{}.{}", config.database, table.name);
        let columns = found.get(table.name).ok_or_else(|| SchemaError::NoTable(name()))?;
        for &(column, needed) in table.columns {
            match columns.get(column) {
                None => return Err(SchemaError::NoColumn { table: name(), column, needed }),
                Some(kind) if kind != needed => {
                    return Err(SchemaError::OtherType { table: name(), column, found: kind.clone(), needed });
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}
