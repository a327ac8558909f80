use std::collections::BTreeMap;

use aftersend_pipeline::config::ClickHouse;
use aftersend_pipeline::unix_millis;
use aftersend_sinks::clickhouse::Rollups;
use clickhouse::Client;

/// Deliveries, and milliseconds between two of them: 10 million outcomes in 28 days.
const DELIVERIES: u64 = 4_430_000;
const GAP: u64 = 540;
/// Inserts, so that parts arrive as they would: each holds half a day, and a hundredth of the one before it once more.
const INSERTS: u64 = 56;
/// Rows stored since the last count: four minutes of them.
const TAIL: u64 = 1_000;

/// The generated outcomes of a database.
pub(crate) struct Outcomes<'a> {
    client: &'a Client,
    config: &'a ClickHouse,
    base: u64,
}

/// What they take on disk.
pub(crate) struct Size {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) uncompressed: u64,
    pub(crate) count_bytes: u64,
}

impl<'a> Outcomes<'a> {
    /// Generates them, unless they are there.
    pub(crate) async fn of(client: &'a Client, config: &'a ClickHouse) -> anyhow::Result<Self> {
        let there = client.query_raw("SELECT toUnixTimestamp(min(timestamp)) FROM message_outcomes").fetch_one::<u32>().await?;
        let base = if there > 0 { u64::from(there) * 1000 } else { unix_millis().cast_unsigned() - DELIVERIES * GAP - 86_400_000 };
        let this = Self { client, config, base: base / 1000 * 1000 };
        if there == 0 {
            this.generate().await?;
        }
        Ok(this)
    }

    async fn generate(&self) -> anyhow::Result<()> {
        self.run("CREATE TABLE IF NOT EXISTS {database}.uncounted (title String, ms Float64) ENGINE = MergeTree ORDER BY title;").await?;
        let each = DELIVERIES / INSERTS;
        for insert in 0..INSERTS {
            self.deliveries(insert * each, each).await?;
            if insert > 0 {
                self.deliveries((insert - 1) * each, each / 100).await?;
            }
        }
        self.run(include_str!("people.sql")).await
    }

    async fn deliveries(&self, first: u64, count: u64) -> anyhow::Result<()> {
        let filled = include_str!("outcomes.sql").replace("{first}", &first.to_string()).replace("{count}", &count.to_string());
        self.run(&filled).await
    }

    async fn run(&self, statements: &str) -> anyhow::Result<()> {
        let code: String = statements.lines().filter(|line| !line.starts_with("--")).flat_map(|line| [line, "\n"]).collect();
        for statement in code.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
            let filled = statement
                .replace("{database}", &self.config.database)
                .replace("{base}", &self.base.to_string())
                .replace("{gap}", &GAP.to_string());
            self.client.query_raw(&filled).execute().await?;
        }
        Ok(())
    }

    /// From the first to the last of them, Unix seconds.
    pub(crate) fn seconds(&self) -> (u64, u64) {
        (self.base / 1000, (self.base + DELIVERIES * GAP) / 1000 + 86_400)
    }

    pub(crate) async fn are_counted(&self) -> anyhow::Result<bool> {
        Ok(self.client.query_raw("SELECT count() FROM count_marks").fetch_one::<u64>().await? > 0)
    }

    /// Counts all, then stores what came since.
    pub(crate) async fn count(&self, rollups: &Rollups) -> anyhow::Result<()> {
        // As if two minutes had passed since the last insert.
        let later = unix_millis() + 121_000;
        rollups.count(later).await?;
        rollups.count_people(later).await?;
        rollups.audit(self.seconds().1.cast_signed() * 1000).await?;
        self.deliveries(DELIVERIES, TAIL / 2).await?;
        // Some that were late, or came twice.
        for day in 0..7 {
            self.deliveries(DELIVERIES - 1 - day * 86_400_000 / GAP, 3).await?;
        }
        Ok(())
    }

    pub(crate) async fn keep_uncounted(&self, title: &str, ms: f64) -> anyhow::Result<()> {
        let insert = self.client.query("INSERT INTO uncounted (title, ms) VALUES (?, ?)").bind(title).bind(ms);
        Ok(insert.execute().await?)
    }

    /// What each panel took before.
    pub(crate) async fn uncounted(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        let rows = self.client.query_raw("SELECT title, ms FROM uncounted").fetch_all::<(String, f64)>().await?;
        Ok(rows.into_iter().collect())
    }

    pub(crate) async fn size(&self) -> anyhow::Result<Size> {
        let query = "SELECT sumIf(rows, table = 'message_outcomes'), sumIf(bytes_on_disk, table = 'message_outcomes'), sumIf(data_uncompressed_bytes, table = 'message_outcomes'), sumIf(bytes_on_disk, table IN ('campaign_counts', 'provider_counts')) FROM system.parts WHERE active AND database = ?";
        let query = self.client.query(query).bind(&self.config.database);
        let (rows, bytes, uncompressed, count_bytes) = query.fetch_one::<(u64, u64, u64, u64)>().await?;
        Ok(Size { rows, bytes, uncompressed, count_bytes })
    }
}
