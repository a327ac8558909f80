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
/// First part of the demo's topics; only these are deleted at its end.
const TOPIC_PREFIX: &str = "aftersend-demo-";
/// What the environment may change: where to listen, and how to reach Kafka and ClickHouse. Never whom to call and where to write: these variables may be
/// set for a real deployment, and the demo suppresses people and drops its database.
const OVERRIDES: [&str; 8] = [
    "AFTERSEND__INGEST__LISTEN",
    "AFTERSEND__INGEST__ADMIN",
    "AFTERSEND__PROCESSOR__ADMIN",
    "AFTERSEND__CLICKHOUSE__ADMIN",
    "AFTERSEND__CLICKHOUSE__USER",
    "AFTERSEND__CLICKHOUSE__PASSWORD",
    "AFTERSEND__TRACK__ADMIN",
    "AFTERSEND__KAFKA__PROPERTIES__",
];

/// Topics and tables of one run: topics of its own, so that no earlier run can be mistaken for it.
pub(super) struct Namespace {
    pub(super) config: Config,
}

impl Namespace {
    /// The configuration; of the `AFTERSEND__...` variables only [`OVERRIDES`] count.
    pub(super) fn new(
        options: &DemoOptions,
        track_url: &str,
        now: i64,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> anyhow::Result<Self> {
        let text = |text: &str| toml_text(text);
        let toml = format!(
            r#"
            instance = "demo"
            [kafka]
            brokers = {brokers}
            topic_prefix = "{TOPIC_PREFIX}{now}"
            allow_single_replica = true
            [ingest]
            drain = "0s"
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
            coalesce = "0s"
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
        let allowed =
            |name: &str| OVERRIDES.iter().any(|known| if known.ends_with("__") { name.starts_with(known) } else { name == *known });
        let config = Config::parse(&toml, variables.into_iter().filter(|(name, _)| allowed(name))).context("the demo's configuration")?;
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
        if !self.config.kafka.topic_prefix.starts_with(TOPIC_PREFIX) {
            return;
        }
        let topics = Topics::new(&self.config.kafka.topic_prefix);
        let Ok(admin) = producer_config(&self.config, "demo", 5_000).create::<AdminClient<DefaultClientContext>>() else { return };
        let names: Vec<String> = topics.specs(self.config.max_record_bytes()).into_iter().map(|spec| spec.name).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_a_real_deployment_turn_the_demo_against_nobody() {
        let options = DemoOptions { once: true, brokers: "127.0.0.1:9092".into(), clickhouse: "http://127.0.0.1:8123".into() };
        let variables = [
            ("AFTERSEND__TRACK__URL", "https://track.customer.io"),
            ("AFTERSEND__TRACK__SITE_ID", "real"),
            ("AFTERSEND__TRACK__API_KEY", "real"),
            ("AFTERSEND__TRACK__WORKSPACES__OTHER__SITE_ID", "real"),
            ("AFTERSEND__KAFKA__TOPIC_PREFIX", "aftersend"),
            ("AFTERSEND__KAFKA__BROKERS", "real:9092"),
            ("AFTERSEND__CLICKHOUSE__DATABASE", "aftersend"),
            ("AFTERSEND__CLICKHOUSE__URL", "http://real:8123"),
            ("AFTERSEND__INGEST__LISTEN", "127.0.0.1:18080"),
            ("AFTERSEND__KAFKA__PROPERTIES__SECURITY__PROTOCOL", "PLAINTEXT"),
        ];
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Namespace::new(&options, "http://127.0.0.1:1", 7, variables).unwrap().config;
        let track = &config.track.workspaces["default"];
        assert_eq!((track.base_url().as_str(), track.site_id.as_str(), config.track.workspaces.len()), ("http://127.0.0.1:1", SITE_ID, 1));
        assert_eq!((config.kafka.topic_prefix.as_str(), config.kafka.brokers.as_str()), ("aftersend-demo-7", "127.0.0.1:9092"));
        assert_eq!((config.clickhouse.database.as_str(), config.clickhouse.url.as_str()), (DATABASE, "http://127.0.0.1:8123"));
        assert_eq!(config.ingest.listen, "127.0.0.1:18080");
        assert_eq!(config.kafka.properties.0.get("security.protocol").map(String::as_str), Some("PLAINTEXT"));
    }
}
