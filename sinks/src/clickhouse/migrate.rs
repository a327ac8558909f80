use std::collections::{BTreeMap, BTreeSet};

use aftersend_pipeline::config::ClickHouse;
use aftersend_schemas::columns::TABLES;
use aftersend_schemas::migrations::{MIGRATIONS, Migration, RECORDS, RETENTION, Target, VIEWS};
use clickhouse::Client;
use clickhouse::error::Error;

use super::client;
use super::limit::{MIGRATION, QUESTION, within};

/// So much of what the server says is shown: a balancer may answer with a page.
const SAID: usize = 400;

/// Why a database is not as this release needs it, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A statement failed.
    #[error("{what} failed at clickhouse.url {url}: {}", said(source))]
    Failed {
        /// Migration, or what else was tried.
        what: &'static str,
        /// As configured.
        url: String,
        /// What the server says.
        source: Error,
    },
    /// A newer release was here.
    #[error(
        "database {database} has migration {number} ({name}) of release {release}, and this release knows {known}: it would write what the tables are no longer made for; use release {release} or newer"
    )]
    Newer {
        /// As configured.
        database: String,
        /// The newest that is recorded.
        number: u32,
        /// Its file.
        name: String,
        /// Who applied it.
        release: String,
        /// The newest here.
        known: u32,
    },
    /// Another text was applied under the same number.
    #[error(
        "migration {name} in database {database} was applied by release {release} with another text: that was no release of this project, or an unfinished one; set clickhouse.database to a new name and replay"
    )]
    Changed {
        /// As configured.
        database: String,
        /// Its file.
        name: &'static str,
        /// Who applied it.
        release: String,
    },
    /// There are tables, and no record of how they were made.
    #[error(
        "database {0} has our tables and no record of migrations: they were made before there was one; set clickhouse.database to a new name and replay, or drop it"
    )]
    Unrecorded(String),
    /// A table is not there.
    #[error("table {0} does not exist: run `aftersend migrate`, which makes it again; its rows come back by a replay")]
    NoTable(String),
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

#[derive(Debug, Clone, clickhouse::Row, serde::Deserialize)]
struct Recorded {
    number: u32,
    name: String,
    checksum: String,
    release: String,
}

/// Creates the database and brings tables, retention and views up to date. May run any number of times, and be broken off anywhere. Returns the names of
/// what was applied.
pub async fn migrate(config: &ClickHouse) -> Result<Vec<&'static str>, MigrateError> {
    let client = client(config);
    let failed = |what| failure(config, what);
    let target = target(config);
    let create = client.clone().with_database("default").query_raw(&target.create_database()).execute();
    within(MIGRATION, create).await.map_err(failed("CREATE DATABASE"))?;
    let run = async |what: &'static str, statements: Vec<String>| {
        for statement in statements {
            within(MIGRATION, client.query_raw(&statement).execute()).await.map_err(failed(what))?;
        }
        Ok::<_, MigrateError>(())
    };
    let there = tables(&client, config).await?;
    if !there.contains("migrations") && MIGRATIONS.iter().flat_map(Migration::tables).any(|table| there.contains(table)) {
        return Err(MigrateError::Unrecorded(config.database.clone()));
    }
    run("the record of migrations", target.statements(RECORDS)).await?;
    let recorded = recorded(&client, config).await?;
    not_newer(config, &recorded)?;
    let mut applied = Vec::new();
    // A table that was dropped is made again, and whatever changed it later is applied again.
    let is_whole =
        |migration: &&Migration| recorded.contains_key(&migration.number) && migration.tables().all(|table| there.contains(table));
    for migration in MIGRATIONS.iter().skip_while(is_whole) {
        run(migration.name, migration.statements(&target)).await?;
        applied.push(migration.name);
        if recorded.contains_key(&migration.number) {
            continue;
        }
        let record = client
            .query(&target.fill("INSERT INTO {database}.migrations (number, name, checksum, release) VALUES (?, ?, ?, ?)"))
            .bind(migration.number)
            .bind(migration.name)
            .bind(migration.checksum())
            .bind(env!("CARGO_PKG_VERSION"));
        within(MIGRATION, record.execute()).await.map_err(failed(migration.name))?;
    }
    for rule in RETENTION {
        let Some(days) = config.retention.days(rule.table) else { continue };
        let query = "SELECT create_table_query FROM system.tables WHERE database = ? AND name = ?";
        let made = client.query(query).bind(&config.database).bind(rule.table).fetch_one::<String>();
        let made = within(QUESTION, made).await.map_err(failed("retention"))?;
        // A change marks every part anew, so only where there is one.
        if !made.contains(&format!("TTL {} SETTINGS", rule.expression(days))) {
            run("retention", vec![target.retain(&rule, days)]).await?;
        }
    }
    // A view over a column that somebody dropped fails with less to say.
    check_columns(&client, config, |_| true).await?;
    run("views", target.statements(VIEWS)).await?;
    Ok(applied)
}

pub(super) fn target(config: &ClickHouse) -> Target<'_> {
    Target { database: &config.database, cluster: config.cluster.as_deref() }
}

/// Refuses a database that a newer release, or none, has made. True if it lacks nothing that this one knows.
pub(super) async fn is_current(client: &Client, config: &ClickHouse) -> Result<bool, MigrateError> {
    if !tables(client, config).await?.contains("migrations") {
        return Ok(false);
    }
    let recorded = recorded(client, config).await?;
    not_newer(config, &recorded)?;
    Ok(MIGRATIONS.iter().all(|migration| recorded.contains_key(&migration.number)))
}

fn not_newer(config: &ClickHouse, recorded: &BTreeMap<u32, Recorded>) -> Result<(), MigrateError> {
    let known = MIGRATIONS.iter().map(|migration| migration.number).max().unwrap_or_default();
    if let Some((_, newest)) = recorded.last_key_value()
        && newest.number > known
    {
        let Recorded { number, name, release, .. } = newest.clone();
        return Err(MigrateError::Newer { database: config.database.clone(), number, name, release, known });
    }
    for migration in MIGRATIONS {
        if let Some(record) = recorded.get(&migration.number)
            && record.checksum != migration.checksum()
        {
            let release = record.release.clone();
            return Err(MigrateError::Changed { database: config.database.clone(), name: migration.name, release });
        }
    }
    Ok(())
}

async fn recorded(client: &Client, config: &ClickHouse) -> Result<BTreeMap<u32, Recorded>, MigrateError> {
    let query = format!("SELECT number, name, checksum, release FROM {}.migrations FINAL ORDER BY number", config.database);
    let rows = within(QUESTION, client.query_raw(&query).fetch_all::<Recorded>()).await;
    let rows = rows.map_err(failure(config, "reading the record of migrations"))?;
    Ok(rows.into_iter().map(|row| (row.number, row)).collect())
}

/// Tables and views of the database.
pub(super) async fn tables(client: &Client, config: &ClickHouse) -> Result<BTreeSet<String>, MigrateError> {
    let query = client.clone().with_database("system").query("SELECT name FROM system.tables WHERE database = ?").bind(&config.database);
    let found = within(QUESTION, query.fetch_all::<String>()).await;
    Ok(found.map_err(failure(config, "looking for tables"))?.into_iter().collect())
}

/// Refuses tables of which a column is missing or has another type.
pub(super) async fn check_columns(client: &Client, config: &ClickHouse, is_filled: impl Fn(&str) -> bool) -> Result<(), MigrateError> {
    let query = client
        .clone()
        .with_database("system")
        .query("SELECT table, name, type FROM system.columns WHERE database = ?")
        .bind(&config.database);
    let rows = within(QUESTION, query.fetch_all::<(String, String, String)>()).await.map_err(failure(config, "looking at columns"))?;
    let mut found: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (table, column, kind) in rows {
        found.entry(table).or_default().insert(column, kind);
    }
    for table in TABLES.iter().filter(|table| is_filled(table.name)) {
        let name = || format!("{}.{}", config.database, table.name);
        let columns = found.get(table.name).ok_or_else(|| MigrateError::NoTable(name()))?;
        for &(column, needed) in table.columns {
            match columns.get(column) {
                None => return Err(MigrateError::NoColumn { table: name(), column, needed }),
                Some(kind) if kind != needed => {
                    return Err(MigrateError::OtherType { table: name(), column, found: kind.clone(), needed });
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// One line of it.
fn said(error: &Error) -> String {
    let text = error.to_string();
    let line: String = text.chars().take(SAID).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if line.len() < text.len() { format!("{line} ...") } else { line }
}

pub(super) fn failure(config: &ClickHouse, what: &'static str) -> impl FnOnce(Error) -> MigrateError + use<> {
    let url = config.url.clone();
    move |source| MigrateError::Failed { what, url, source }
}
