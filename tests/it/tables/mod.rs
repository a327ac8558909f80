//! The tables and views by themselves, on the ClickHouse that `CLICKHOUSE_URL` names: the local engine, a server or a cluster.

mod cases;
mod migrations;
mod naive;
mod views;

use std::sync::atomic::{AtomicU32, Ordering};

use aftersend_pipeline::config::ClickHouse;
use aftersend_pipeline::unix_millis;
use aftersend_sinks::clickhouse::{client, migrate};
use anyhow::Context as _;
use clickhouse::Client;
use serde::de::DeserializeOwned;

/// A database of a test's own. `AFTERSEND__CLICKHOUSE__USER`, `..._PASSWORD` and `..._CLUSTER` count here too.
struct Database {
    config: ClickHouse,
    client: Client,
}

impl Database {
    fn unmigrated() -> anyhow::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("aftersend_tables_{}_{}_{number}", unix_millis(), std::process::id());
        let url = std::env::var("CLICKHOUSE_URL").context("CLICKHOUSE_URL is not set: run `make test`")?;
        let text = format!("[clickhouse]\nurl = \"{url}\"\ndatabase = \"{name}\"\n[privacy]\nhash_keys = [{{ key = \"k\" }}]\n");
        let given = std::env::vars()
            .filter(|(name, _)| ["USER", "PASSWORD", "CLUSTER"].iter().any(|key| *name == format!("AFTERSEND__CLICKHOUSE__{key}")));
        let config = aftersend_pipeline::config::Config::parse(&text, given)?.clickhouse;
        Ok(Self { client: client(&config), config })
    }

    async fn new() -> anyhow::Result<Self> {
        let this = Self::unmigrated()?;
        migrate(&this.config).await?;
        Ok(this)
    }

    async fn execute(&self, query: &str) -> anyhow::Result<()> {
        self.client.query_raw(query).execute().await.with_context(|| query.chars().take(200).collect::<String>())
    }

    /// Rows of any shape that serde reads from JSON: a row of one column as its value, of more as a tuple.
    async fn rows<T: DeserializeOwned>(&self, query: &str) -> anyhow::Result<Vec<T>> {
        let about = || query.chars().take(200).collect::<String>();
        let lines =
            self.client.query_raw(query).fetch_bytes("JSONCompactEachRow").with_context(about)?.collect().await.with_context(about)?;
        let lines = serde_json::Deserializer::from_slice(&lines).into_iter::<Vec<serde_json::Value>>();
        lines
            .map(|row| {
                let mut row = row?;
                let row = if row.len() == 1 { row.remove(0) } else { row.into() };
                Ok(serde_json::from_value(row)?)
            })
            .collect()
    }

    async fn finish(self) -> anyhow::Result<()> {
        let on_cluster = self.config.cluster.as_ref().map_or_else(String::new, |cluster| format!(" ON CLUSTER {cluster}"));
        let drop = format!("DROP DATABASE IF EXISTS {}{on_cluster} SYNC", self.config.database);
        Ok(self.client.with_database("default").query_raw(&drop).execute().await?)
    }
}
