use std::collections::BTreeMap;

use aftersend_pipeline::config::Config;
use aftersend_sinks::clickhouse::client;
use clickhouse::Row;
use serde::Deserialize;

/// What is there, each number counted by itself.
pub(super) struct Measured {
    /// 2xx answers, as the sender counted them.
    pub(super) accepted: usize,
    /// Rows of `raw_events_current`.
    pub(super) raw: u64,
    /// Rows of `message_outcomes_current`.
    pub(super) outcomes: u64,
    /// Records of `raw` whose event id another record has too, counted in the payloads.
    pub(super) duplicates: u64,
    /// Rows of `dead_letters_current`.
    pub(super) dead: u64,
    /// The latest profile of everybody, by id.
    pub(super) people: BTreeMap<String, Person>,
    /// Table and rows.
    pub(super) rows: Vec<(String, u64)>,
}

/// A row of `profiles_current`.
#[derive(Debug, Clone, Row, Deserialize)]
pub(super) struct Person {
    pub(super) person_id: String,
    pub(super) score: u8,
    pub(super) state: String,
    pub(super) reason: String,
    pub(super) contributions: String,
}

impl Measured {
    pub(super) async fn take(config: &Config, accepted: usize) -> anyhow::Result<Self> {
        let client = client(&config.clickhouse);
        let count = async |what: &str| client.query(&format!("SELECT {what}")).fetch_one::<u64>().await;
        let id = "if(JSONExtractString(payload, 'event_id') != '', JSONExtractString(payload, 'event_id'), hex(SHA256(payload)))";
        let people =
            client.query("SELECT person_id, score, state, reason, contributions FROM profiles_current").fetch_all::<Person>().await?;
        let mut rows = Vec::new();
        for table in aftersend_sinks::clickhouse::TABLES {
            rows.push((table.to_owned(), count(&format!("count() FROM {table}_current")).await?));
        }
        Ok(Self {
            accepted,
            raw: count("count() FROM raw_events_current").await?,
            outcomes: count("count() FROM message_outcomes_current").await?,
            duplicates: count(&format!("toUInt64(count() - uniqExact({id})) FROM raw_events_current")).await?,
            dead: count("count() FROM dead_letters_current").await?,
            people: people.into_iter().map(|person| (person.person_id.clone(), person)).collect(),
            rows,
        })
    }
}

/// True once an event has its row.
pub(super) async fn has_row(config: &Config, event_id: &str) -> anyhow::Result<bool> {
    let query = client(&config.clickhouse).query("SELECT count() FROM message_outcomes WHERE event_id = ?").bind(event_id);
    Ok(query.fetch_one::<u64>().await? > 0)
}
