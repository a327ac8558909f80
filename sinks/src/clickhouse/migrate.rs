use aftersend_pipeline::config::ClickHouse;
use aftersend_schemas::migrations::MIGRATIONS;

use super::client;

/// A migration that failed.
#[derive(Debug, thiserror::Error)]
#[error("migration {name} failed at clickhouse.url {url}: {source}")]
pub struct MigrateError {
    name: &'static str,
    url: String,
    source: clickhouse::error::Error,
}

/// Creates the database and brings its tables up to date. Every statement may run again.
pub async fn migrate(config: &ClickHouse) -> Result<(), MigrateError> {
    let client = client(config);
    let failed = |name| move |source| MigrateError { name, url: config.url.clone(), source };
    let without_database = client.clone().with_database("default");
    let create = format!("CREATE DATABASE IF NOT EXISTS {}", config.database);
    without_database.query_raw(&create).execute().await.map_err(failed("CREATE DATABASE"))?;
    for migration in MIGRATIONS {
        for statement in migration.statements(&config.database) {
            client.query_raw(&statement).execute().await.map_err(failed(migration.name))?;
        }
    }
    Ok(())
}
