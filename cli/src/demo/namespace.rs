use aftersend_pipeline::config::Config;
use aftersend_pipeline::kafka::producer_config;
use aftersend_schemas::topics::Topics;
use aftersend_sinks::clickhouse::{TABLES, client};
use anyhow::Context as _;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

use super::track_api::{API_KEY, SITE_ID};
use crate::args::DemoOptions;
use crate::migrate;

/// The key of the demo's only source.
pub(super) const SIGNING_KEY: &str = "demo signing key";
/// Dropped and made anew by every demo; nothing else uses this name.
const DATABASE: &str = "aftersend_demo";

/// Topics and tables of one run: topics of its own, so that no earlier run can be mistaken for it.
pub(super) struct Namespace {
    pub(super) config: Config,
}

impl Namespace {
    /// The configuration; `AFTERSEND__...` variables override it as anywhere.
    pub(super) fn new(options: &DemoOptions, track_url: &str, now: i64) -> anyhow::Result<Self> {
        let text = |text: &str| toml_text(text);
        let toml = format!(
            r#"
            instance = "demo"
            [kafka]
            brokers = {brokers}
            topic_prefix = "aftersend-demo-{now}"
            allow_single_replica = true
            [[source]]
            name = "default"
            signing_keys = {key}
            [clickhouse]
            url = {clickhouse}
            database = "{DATABASE}"
            [track]
            mode = "live"
            url = {track}
            site_id = "{SITE_ID}"
            api_key = "{API_KEY}"
            max_requests_per_second = 1000
            [policy]
            hold_hard_bounce = "0s"
            [privacy]
            hash_keys = [{{ key = "demo hash key" }}]
            "#,
            brokers = text(&options.brokers),
            key = text(SIGNING_KEY),
            clickhouse = text(&options.clickhouse),
            track = text(track_url),
        );
        let config = Config::parse(&toml, std::env::vars()).context("the demo's configuration")?;
        Ok(Self { config })
    }

    pub(super) fn webhook_url(&self) -> String {
        format!("http://{}/v1/webhooks/customerio/reporting", self.config.ingest.listen)
    }

    /// Makes topics and tables; what an earlier demo left in the database goes.
    pub(super) async fn create(&self) -> anyhow::Result<()> {
        let clickhouse = &self.config.clickhouse;
        let drop = format!("DROP DATABASE IF EXISTS {DATABASE} SYNC");
        let dropped = client(clickhouse).with_database("default").query_raw(&drop).execute().await;
        dropped.with_context(|| format!("ClickHouse at {} does not answer; `make up` starts one", clickhouse.url))?;
        migrate::migrate(&self.config).await.with_context(|| format!("Kafka at {}; `make up` starts one", self.config.kafka.brokers))?;
        Ok(())
    }

    /// Removes this run's topics and groups. Best effort: they disturb nobody.
    pub(super) async fn delete_topics(&self) {
        let topics = Topics::new(&self.config.kafka.topic_prefix);
        let Ok(admin) = producer_config(&self.config, "demo", 5_000).create::<AdminClient<DefaultClientContext>>() else { return };
        let names: Vec<String> = topics.specs().into_iter().map(|spec| spec.name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let options = AdminOptions::new();
        if let Err(error) = admin.delete_topics(&names, &options).await {
            tracing::warn!(%error, "cannot delete the demo's topics");
        }
        let groups: Vec<String> =
            TABLES.iter().map(|table| topics.clickhouse_group(table)).chain([topics.processor_group(), topics.track_group()]).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        if let Err(error) = admin.delete_groups(&groups, &options).await {
            tracing::warn!(%error, "cannot delete the demo's groups");
        }
    }
}

/// A text as TOML writes it; JSON's escapes are a subset of TOML's.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
