//! The ClickHouse schema: numbered files and views, embedded, written once for one server and for a cluster of replicas.
//!
//! A file is SQL with placeholders: `{database}`; `{on_cluster}` behind the name of what is created or changed; `{ReplacingMergeTree version}` for an
//! engine; `{deduplication}` for the settings that keep insert tokens. Statements end with a semicolon at the end of a line, lines that begin with
//! `--` are comments.

use sha2::{Digest as _, Sha256};

/// One file of `clickhouse/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Its number; applied once, in ascending order. Every statement may run again: a migration that was broken off is applied from its beginning.
    pub number: u32,
    /// File name, for messages.
    pub name: &'static str,
    sql: &'static str,
}

/// Every migration, oldest first. A released one is never changed: what comes later is a further one.
pub const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, name: "0001_tables.sql", sql: include_str!("../clickhouse/0001_tables.sql") },
    Migration { number: 2, name: "0002_counts.sql", sql: include_str!("../clickhouse/0002_counts.sql") },
    Migration { number: 3, name: "0003_audits.sql", sql: include_str!("../clickhouse/0003_audits.sql") },
    Migration { number: 4, name: "0004_call_errors.sql", sql: include_str!("../clickhouse/0004_call_errors.sql") },
];

/// Views, replaced by every `migrate`: they hold nothing, and a view keeps the columns it was made with.
pub const VIEWS: &str = include_str!("../clickhouse/views.sql");

/// What was applied: one row a migration.
pub const RECORDS: &str = include_str!("../clickhouse/migrations.sql");

/// Counts slices: with [`Target::count`].
const COUNT: &str = include_str!("../clickhouse/count.sql");
/// Counts people: with [`Target::count_people`].
const PEOPLE: &str = include_str!("../clickhouse/people.sql");
/// Looks for gaps and leaks: with [`Target::audit`].
const AUDIT: &str = include_str!("../clickhouse/audit.sql");

impl Migration {
    /// Tells this text from any other under the same number.
    pub fn checksum(&self) -> String {
        let digest = hex::encode(Sha256::digest(self.sql));
        digest[..16].to_owned()
    }

    /// The tables that it makes.
    pub fn tables(&self) -> impl Iterator<Item = &'static str> {
        created(self.sql, "CREATE TABLE IF NOT EXISTS {database}.")
    }

    /// See [`Target::statements`].
    pub fn statements(&self, target: &Target<'_>) -> Vec<String> {
        target.statements(self.sql)
    }
}

/// Names of the views.
pub fn views() -> impl Iterator<Item = &'static str> {
    created(VIEWS, "CREATE OR REPLACE VIEW {database}.")
}

fn created(sql: &'static str, how: &'static str) -> impl Iterator<Item = &'static str> {
    sql.lines().filter_map(move |line| Some(line.strip_prefix(how)?.split_once('{')?.0))
}

/// The longest that rows may be kept. The server adds it to a time in whole seconds of 32 bits: what passes 2106 begins again in 1970, and the row goes.
pub const LONGEST_DAYS: u32 = 18_250;
/// The latest arrival that is stored, Unix milliseconds; what claims a later one is stored with this. So no retention ends behind what the server can count.
pub const LATEST_MILLIS: i64 = (u32::MAX as i64 - LONGEST_DAYS as i64 * 86_400) * 1_000;

/// How rows of a table end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Its name.
    pub table: &'static str,
    /// What the age counts from.
    from: &'static str,
    /// Which rows end; all if empty.
    only: &'static str,
}

/// Every table whose rows end. Outcomes go by their arrival: an undated one has no other time. What says that a person must not be written to stays.
pub const RETENTION: [Retention; 7] = [
    Retention { table: "message_outcomes", from: "received_at", only: "" },
    Retention { table: "raw_events", from: "received_at", only: "" },
    Retention { table: "profiles", from: "written_at", only: " WHERE state NOT IN ('complained', 'unsubscribed', 'dead')" },
    Retention { table: "dead_letters", from: "received_at", only: "" },
    Retention { table: "track_calls", from: "at", only: "" },
    Retention { table: "campaign_counts", from: "counted_at", only: "" },
    Retention { table: "provider_counts", from: "counted_at", only: "" },
];

impl Retention {
    /// As ClickHouse itself writes it.
    pub fn expression(&self, days: u32) -> String {
        format!("toDateTime({}) + toIntervalDay({days}){}", self.from, self.only)
    }
}

/// Where tables are made. Both names must have been checked to need no quoting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// Database.
    pub database: &'a str,
    /// Cluster of replicas, as the servers know it; none for a single server.
    pub cluster: Option<&'a str>,
}

impl Target<'_> {
    /// `CREATE DATABASE`
    pub fn create_database(&self) -> String {
        self.fill("CREATE DATABASE IF NOT EXISTS {database}{on_cluster}")
    }

    /// The statements of a file.
    pub fn statements(&self, sql: &str) -> Vec<String> {
        let code: String = sql.lines().filter(|line| !line.trim_start().starts_with("--")).flat_map(|line| [line, "\n"]).collect();
        code.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()).map(|statement| self.fill(statement)).collect()
    }

    /// What counts these slices, in order. `now` is Unix nanoseconds: of two counts of a slice the later one is valid, so no two may have the same.
    pub fn count(&self, slices: &[u32], now: i64) -> Vec<String> {
        let slices: Vec<String> = slices.iter().map(u32::to_string).collect();
        let (slices, now) = (slices.join(","), now.to_string());
        let filled = |statement: String| statement.replace("{slices}", &slices).replace("{now}", &now);
        self.statements(COUNT).into_iter().map(filled).collect()
    }

    /// What counts people by state and score. `now` as in [`Target::count`].
    pub fn count_people(&self, now: i64) -> Vec<String> {
        self.statements(PEOPLE).into_iter().map(|statement| statement.replace("{now}", &now.to_string())).collect()
    }

    /// What audits deliveries and people as they were at `now`, Unix milliseconds, in order.
    pub fn audit(&self, now: i64) -> Vec<String> {
        self.statements(AUDIT).into_iter().map(|statement| statement.replace("{now}", &now.to_string())).collect()
    }

    /// Sets how long rows of a table are kept.
    pub fn retain(&self, rule: &Retention, days: u32) -> String {
        self.fill(&format!("ALTER TABLE {{database}}.{}{{on_cluster}} MODIFY TTL {}", rule.table, rule.expression(days)))
    }

    /// One statement with its placeholders filled in.
    pub fn fill(&self, statement: &str) -> String {
        let mut text = String::with_capacity(statement.len());
        let mut rest = statement;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let Some((name, behind)) = after.split_once('}') else {
                rest = after;
                text.push('{');
                continue;
            };
            match self.value(name) {
                Some(value) => text.push_str(&value),
                // A parameter of a view.
                None => {
                    text.push('{');
                    text.push_str(name);
                    text.push('}');
                }
            }
            rest = behind;
        }
        text.push_str(rest);
        text
    }

    fn value(&self, name: &str) -> Option<String> {
        Some(match (name, self.cluster) {
            ("database", _) => self.database.to_owned(),
            ("on_cluster", None) => String::new(),
            ("on_cluster", Some(cluster)) => format!(" ON CLUSTER {cluster}"),
            ("deduplication", None) => "non_replicated_deduplication_window = 10000".to_owned(),
            // Seven days: as long as Customer.io tries again, and longer than any sink sleeps.
            ("deduplication", Some(_)) => {
                "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800".to_owned()
            }
            (engine, cluster) => {
                let version = engine.strip_prefix("ReplacingMergeTree ")?;
                match cluster {
                    None => format!("ReplacingMergeTree({version})"),
                    // `{shard}`, `{table}` and `{replica}` are macros of the servers.
                    Some(_) => format!(
                        "ReplicatedReplacingMergeTree('/clickhouse/tables/{{shard}}/{}/{{table}}', '{{replica}}', {version})",
                        self.database
                    ),
                }
            }
        })
    }
}
